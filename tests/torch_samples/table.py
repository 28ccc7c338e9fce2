"""The table: for each of PyTorch's records, how many of its samples are compared, and the call of ours that is."""

from __future__ import annotations

import math

import numpy as np

import tinygraph as tg

from . import losses, normalizations, places, products, reductions, shapes, windows
from .compare import Row

# The counts are those of this version; another may publish other samples.
COUNTED_WITH = "2.13"
PLACES = {"return_indices": "places of the maxima as numbers of the whole image"}

UNARY = {
    "abs": Row(1, tg.abs),
    "acos": Row(3, tg.acos),
    "acosh": Row(3, tg.acosh),
    "asin": Row(1, tg.asin),
    "asinh": Row(1, tg.asinh),
    "atan": Row(1, tg.atan),
    "atanh": Row(1, tg.atanh),
    "ceil": Row(1, tg.ceil),
    "clone": Row(2, tg.identity),
    "contiguous": Row(2, tg.identity),
    "cos": Row(3, tg.cos),
    "cosh": Row(3, tg.cosh),
    "deg2rad": Row(1, lambda x: x * (math.pi / 180)),
    "erf": Row(1, tg.erf),
    "erfc": Row(3, lambda x: 1 - tg.erf(x)),
    "exp": Row(3, tg.exp),
    "exp2": Row(3, tg.exp2),
    "expm1": Row(1, tg.expm1),
    "floor": Row(1, tg.floor),
    "frac": Row(1, lambda x: x - tg.trunc(x)),
    "isinf": Row(1, tg.isinf),
    "isnan": Row(1, tg.isnan),
    "isneginf": Row(1, lambda x: tg.isinf(x, positive=False)),
    "isposinf": Row(1, lambda x: tg.isinf(x, negative=False)),
    "log": Row(3, tg.log),
    "log10": Row(3, tg.log10),
    "log1p": Row(1, tg.log1p),
    "log2": Row(3, tg.log2),
    "logical_not": Row(3, lambda x: tg.logical_not(x != 0)),
    "logit": Row(2, lambda x, eps=None: tg.log(x / (1 - x)), {"eps": "limits of x"}),
    "neg": Row(1, tg.negative),
    "positive": Row(1, tg.identity),
    "rad2deg": Row(1, lambda x: x * (180 / math.pi)),
    "reciprocal": Row(3, tg.reciprocal),
    "round": Row(1, tg.round),
    "rsqrt": Row(3, lambda x: 1 / tg.sqrt(x)),
    "sgn": Row(1, tg.sign),
    "sigmoid": Row(3, tg.sigmoid),
    "sign": Row(1, tg.sign),
    "sin": Row(1, tg.sin),
    "sinh": Row(1, tg.sinh),
    "sqrt": Row(1, tg.sqrt),
    "square": Row(3, lambda x: x**2),
    "tan": Row(1, tg.tan),
    "tanh": Row(1, tg.tanh),
    "trunc": Row(1, tg.trunc),
}

BINARY = {
    "__radd__": Row(9, lambda x, y: y + x),
    "__rdiv__": Row(9, lambda x, y: y / x),
    "__rmatmul__": Row(15, lambda x, y: y @ x),
    "__rmod__": Row(9, lambda x, y: tg.mod(y, x)),
    "__rmul__": Row(9, lambda x, y: y * x),
    "__rpow__": Row(9, lambda x, y: y**x),
    "__rsub__": Row(9, lambda x, y: y - x),
    "add": Row(11, lambda x, y, *, alpha=1: x + alpha * y),
    "addcdiv": Row(12, lambda x, y, z, *, value=1: x + value * y / z),
    "addcmul": Row(12, lambda x, y, z, *, value=1: x + value * y * z),
    "atan2": Row(9, tg.atan2),
    "clamp": Row(7, lambda x, min=None, max=None: shapes.clamped(x, min, max)),
    "clamp_max": Row(9, tg.minimum),
    "clamp_min": Row(9, tg.maximum),
    "div floor_rounding": Row(9, lambda x, y, *, rounding_mode: tg.floor(x / y)),
    "div no_rounding_mode": Row(9, tg.divide),
    "div trunc_rounding": Row(9, lambda x, y, *, rounding_mode: tg.trunc(x / y)),
    "eq": Row(10, tg.equal),
    "float_power": Row(9, tg.power),
    "floor_divide": Row(9, np.floor_divide),
    "fmax": Row(9, np.fmax),
    "fmin": Row(9, np.fmin),
    "fmod": Row(9, lambda x, y: tg.mod(x, y, fmod=True)),
    "ge": Row(9, tg.greater_equal),
    "gt": Row(9, tg.greater),
    "hypot": Row(9, tg.hypot),
    "le": Row(9, tg.less_equal),
    "lerp": Row(14, lambda x, y, weight: x + weight * (y - x)),
    "logaddexp": Row(9, tg.logaddexp),
    "logaddexp2": Row(1, np.logaddexp2),
    "logical_and": Row(9, lambda x, y: tg.logical_and(x != 0, y != 0)),
    "logical_or": Row(9, lambda x, y: tg.logical_or(x != 0, y != 0)),
    "logical_xor": Row(9, lambda x, y: tg.logical_xor(x != 0, y != 0)),
    "lt": Row(9, tg.less),
    "masked_fill": Row(8, lambda x, mask, value: tg.where(mask, value, x)),
    "max binary": Row(9, lambda x, y: tg.maximum_all([x, y])),
    "maximum": Row(9, tg.maximum),
    "min binary": Row(9, lambda x, y: tg.minimum_all([x, y])),
    "minimum": Row(9, tg.minimum),
    "mul": Row(9, tg.multiply),
    "ne": Row(9, tg.not_equal),
    "pow": Row(9, tg.power),
    "remainder": Row(9, tg.mod),
    "rsub": Row(11, lambda x, y, alpha=1: y - alpha * x),
    "sub": Row(11, lambda x, y, *, alpha=1: x - alpha * y),
    "true_divide": Row(9, tg.divide),
    "where": Row(6, lambda x, condition, y: tg.where(condition, x, y)),
}

REDUCTIONS = {
    "all": Row(20, reductions.reduction(lambda x, **s: tg.min(tg.cast(x != 0, "int64"), **s) == 1)),
    "amax": Row(20, reductions.reduction(tg.max)),
    "amin": Row(20, reductions.reduction(tg.min)),
    "aminmax": Row(
        7, lambda x, *, dim=None, keepdim=False: [reductions.reduction(f)(x, dim, keepdim) for f in (tg.min, tg.max)]
    ),
    "any": Row(20, reductions.reduction(lambda x, **s: tg.max(tg.cast(x != 0, "int64"), **s) == 1)),
    "argmax": Row(13, reductions.reduction(tg.argmax)),
    "argmin": Row(13, reductions.reduction(tg.argmin)),
    "argsort": Row(55, lambda *x, **s: places.in_order(*x, **s)[1]),
    "count_nonzero": Row(20, lambda x, dim=None: tg.sum(tg.cast(x != 0, "int64"), axis=reductions.axes(x, dim))),
    "cumsum": Row(4, reductions.along(tg.cumsum)),
    "linalg.vector_norm": Row(60, normalizations.vector_norm),
    "log_softmax": Row(7, reductions.along(tg.log_softmax)),
    "log_softmax with_dtype": Row(7, reductions.along(tg.log_softmax)),
    "logsumexp": Row(15, reductions.reduction(tg.logsumexp)),
    "max reduction_no_dim": Row(2, reductions.extreme(tg.max, tg.argmax)),
    "max reduction_with_dim": Row(4, reductions.extreme(tg.max, tg.argmax)),
    "mean": Row(20, reductions.reduction(tg.mean)),
    "min reduction_no_dim": Row(2, reductions.extreme(tg.min, tg.argmin)),
    "min reduction_with_dim": Row(4, reductions.extreme(tg.min, tg.argmin)),
    "msort": Row(2, lambda x: places.in_order(x, 0)[0]),
    "nn.functional.softmin": Row(7, reductions.along(lambda x, dim: tg.softmax(-x, dim))),
    "nn.functional.softmin with_dtype": Row(7, reductions.along(lambda x, dim: tg.softmax(-x, dim))),
    "norm fro": Row(3, lambda x, p="fro", dim=None: tg.l2_norm(x, axis=reductions.axes(x, dim))),
    "prod": Row(39, reductions.reduction(tg.prod)),
    "softmax": Row(7, reductions.along(tg.softmax)),
    "softmax with_dtype": Row(7, reductions.along(tg.softmax)),
    "sort": Row(55, places.in_order),
    "std": Row(10, reductions.spread(square=False)),
    "std unbiased": Row(2, reductions.spread(square=False)),
    "std_mean": Row(10, reductions.spread(square=False, also_mean=True)),
    "std_mean unbiased": Row(2, reductions.spread(square=False, also_mean=True)),
    "sum": Row(20, reductions.reduction(tg.sum)),
    "topk": Row(7, places.largest),
    "trace": Row(5, lambda x: tg.sum(x * np.eye(*x.shape))),
    "var": Row(10, reductions.spread(square=True)),
    "var unbiased": Row(2, reductions.spread(square=True)),
    "var_mean": Row(10, reductions.spread(square=True, also_mean=True)),
    "var_mean unbiased": Row(2, reductions.spread(square=True, also_mean=True)),
}

SHAPES = {
    "T": Row(2, lambda x: x.T),
    "atleast_1d": Row(6, lambda *x: [tg.reshape(y, y.shape or (1,)) for y in shapes.tensors(x)]),
    "broadcast_tensors": Row(1, lambda *x: shapes.alike(*x)),
    "broadcast_to": Row(7, shapes.expanded),
    "cat": Row(9, shapes.concatenated),
    "chunk": Row(3, shapes.chunks),
    "column_stack": Row(3, lambda x: tg.concatenate([tg.reshape(y, (-1, 1)) if y.ndim < 2 else y for y in x], axis=1)),
    "dstack": Row(2, lambda x: tg.concatenate([shapes.deep(y) for y in x], axis=2)),
    "expand": Row(9, shapes.expanded),
    "expand_as": Row(3, lambda x, y: tg.broadcast_to(x, y.shape)),
    "flatten": Row(6, lambda x, start_dim=0, end_dim=-1: shapes.flattened(x, start_dim, end_dim)),
    "flip": Row(10, lambda x, dims: tg.flip(x, tuple(dims))),
    "fliplr": Row(2, lambda x: tg.flip(x, 1)),
    "flipud": Row(2, lambda x: tg.flip(x, 0)),
    "hstack": Row(2, lambda x: tg.concatenate([tg.reshape(y, y.shape or (1,)) for y in x], axis=min(x[0].ndim, 2) - 1)),
    "mT": Row(5, lambda x: shapes.swapped(x, -1, -2)),
    "meshgrid list_of_tensors": Row(10, lambda x, **s: shapes.grid(x, **s)),
    "meshgrid variadic_tensors": Row(10, lambda *x, **s: shapes.grid(x, **s)),
    "movedim": Row(2, shapes.moved),
    "narrow": Row(10, lambda x, dim, start, length: shapes.narrowed(x, dim, start, length)),
    "permute": Row(4, lambda x, dims: tg.transpose(x, tuple(dims))),
    "ravel": Row(3, lambda x: tg.reshape(x, (-1,))),
    "repeat": Row(24, lambda x, reps: shapes.repeated(x, reps)),
    "reshape": Row(7, lambda x, shape: tg.reshape(x, tuple(shape))),
    "reshape_as": Row(4, lambda x, y: tg.reshape(x, y.shape)),
    "roll": Row(17, shapes.rolled),
    "rot90": Row(34, shapes.turned),
    "select": Row(6, lambda x, dim, index: x[shapes.at(x, dim, index)]),
    "slice": Row(4, lambda x, dim=0, start=None, end=None, step=1: x[shapes.at(x, dim, slice(start, end, step))]),
    "split": Row(2, shapes.parts),
    "split list_args": Row(3, shapes.parts),
    "split_with_sizes": Row(4, shapes.parts),
    "squeeze": Row(8, lambda x, dim=None: shapes.squeezed(x, dim)),
    "squeeze multiple": Row(6, lambda x, dim: shapes.squeezed(x, dim)),
    "stack": Row(9, shapes.stacked),
    "sum_to_size": Row(16, lambda x, *shape: tg.sum_to(x, shapes.sizes(*shape))),
    "t": Row(3, lambda x: x.T),
    "tensor_split": Row(10, shapes.split_at),
    "tile": Row(28, lambda x, reps: shapes.repeated(x, reps)),
    "transpose": Row(8, shapes.swapped),
    "tril": Row(8, lambda x, k=0: tg.trilu(x, k, upper=False)),
    "triu": Row(8, lambda x, k=0: tg.trilu(x, k)),
    "unbind": Row(6, lambda x, dim=0: [x[shapes.at(x, dim, i)] for i in range(x.shape[dim])]),
    "unflatten": Row(10, lambda x, dim, sizes: tg.reshape(x, shapes.unflattened(x, dim, sizes))),
    "unsqueeze": Row(9, lambda x, dim: tg.expand_dims(x, dim)),
    "view": Row(7, lambda x, shape: tg.reshape(x, tuple(shape))),
    "view_as": Row(4, lambda x, y: tg.reshape(x, y.shape)),
    "vstack": Row(2, lambda x: tg.concatenate([tg.reshape(y, (1, -1)) if y.ndim < 2 else y for y in x], axis=0)),
}

PICKING = {
    "__getitem__": Row(16, places.indexed),
    "gather": Row(4, places.gathered),
    "index_add": Row(6, places.added_at),
    "index_put": Row(4, places.put_at),
    "index_select": Row(2, places.picked),
    "masked_select": Row(6, places.masked),
    "nn.functional.embedding": Row(3, lambda w, ids, **s: tg.embedding(w, ids)),
    "nn.functional.one_hot": Row(6, lambda x, num_classes=-1: places.one_hot(x, num_classes)),
    "scatter_add": Row(6, places.scattered),
    "take": Row(10, lambda x, index: tg.gather(tg.reshape(x, (-1,)), index)),
    "take_along_dim": Row(5, places.taken_along),
}

LINEAR = {
    "addbmm": Row(6, products.plus_product(lambda x, y: tg.sum(x @ y, axis=0))),
    "addmm": Row(6, products.plus_product(tg.matmul)),
    "addmm decomposed": Row(6, products.plus_product(tg.matmul)),
    "addmv": Row(6, products.plus_product(tg.matmul)),
    "addr": Row(4, products.plus_product(products.outer)),
    "baddbmm": Row(6, products.plus_product(tg.matmul)),
    "bmm": Row(1, tg.matmul),
    "dot": Row(1, tg.matmul),
    "einsum": Row(10, products.einsum),
    "inner": Row(2, products.inner),
    "linalg.vecdot": Row(44, lambda x, y, dim=-1: tg.sum(x * y, axis=dim)),
    "matmul": Row(15, tg.matmul),
    "mm": Row(3, tg.matmul),
    "mv": Row(1, tg.matmul),
    "nn.functional.bilinear": Row(16, products.bilinear),
    "nn.functional.linear": Row(18, products.affine),
    "nn.functional.scaled_dot_product_attention": Row(
        13, products.attention, {"dropout_p": "chance, which is another there", "enable_gqa": "groups of heads"}
    ),
    "outer": Row(1, products.outer),
    "tensordot": Row(2, products.summed_products),
    "vdot": Row(1, tg.matmul),
}

ACTIVATIONS = {
    # PyTorch's gradient takes alpha as a float32 number.
    "nn.functional.celu": Row(3, tg.celu, rtol=1e-6),
    "nn.functional.elu": Row(3, tg.elu),
    "nn.functional.gelu": Row(8, tg.gelu),
    "nn.functional.glu": Row(46, lambda x, dim=-1: (lambda a, b: a * tg.sigmoid(b))(*shapes.chunks(x, 2, dim))),
    # PyTorch's gradient has the slope 1/6 as a float32 number, whatever the dtype.
    "nn.functional.hardsigmoid": Row(3, lambda x: tg.hard_sigmoid(x, alpha=1 / 6), rtol=1e-7),
    "nn.functional.hardswish": Row(4, tg.hard_swish),
    "nn.functional.hardtanh": Row(5, lambda x, min_val=-1.0, max_val=1.0: tg.hard_tanh(x, min_val, max_val)),
    "nn.functional.leaky_relu": Row(9, lambda x, negative_slope=0.01: tg.leaky_relu(x, negative_slope)),
    "nn.functional.logsigmoid": Row(3, tg.log_sigmoid),
    "nn.functional.mish": Row(3, tg.mish),
    "nn.functional.prelu": Row(25, lambda x, weight: tg.prelu(x, shapes.channels(weight, x))),
    "nn.functional.relu": Row(4, tg.relu),
    "nn.functional.relu6": Row(3, tg.relu6),
    "nn.functional.selu": Row(3, tg.selu),
    "nn.functional.silu": Row(3, tg.silu),
    "nn.functional.softplus": Row(
        3, lambda x, beta=1, threshold=20: tg.where(x * beta > threshold, x, tg.softplus(x * beta) / beta)
    ),
    "nn.functional.softsign": Row(3, tg.softsign),
    "nn.functional.tanhshrink": Row(3, lambda x: x - tg.tanh(x)),
    "nn.functional.threshold": Row(4, lambda x, threshold, value: tg.where(x > threshold, x, value)),
}

LOSSES = {
    "nn.functional.binary_cross_entropy": Row(7, losses.loss(tg.bce), {"weight": "weights of elements"}),
    "nn.functional.binary_cross_entropy_with_logits": Row(
        9, losses.loss(tg.bce_with_logits), {"weight": "weights of elements"}
    ),
    "nn.functional.cross_entropy": Row(
        13,
        losses.of_classes(tg.cross_entropy),
    ),
    "nn.functional.huber_loss": Row(6, losses.loss(tg.huber)),
    "nn.functional.kl_div": Row(12, losses.divergence),
    "nn.functional.l1_loss": Row(5, losses.loss(tg.l1)),
    "nn.functional.mse_loss": Row(5, losses.loss(tg.mse)),
    "nn.functional.nll_loss": Row(21, losses.of_classes(tg.nll)),
    "nn.functional.smooth_l1_loss": Row(7, losses.loss(losses.smooth_l1)),
    "nn.functional.soft_margin_loss": Row(5, losses.loss(lambda x, y: tg.mean(tg.softplus(-y * x)))),
}

WINDOWS = {
    **{f"nn.functional.conv{n}d": Row(count, windows.conv(n)) for n, count in enumerate((10, 30, 20), 1)},
    **{
        f"nn.functional.conv_transpose{n}d": Row(count, windows.conv_transpose(n))
        for n, count in enumerate((10, 10, 8), 1)
    },
    **{
        f"nn.functional.avg_pool{n}d": Row(count, windows.pool("avg", n), {"divisor_override": "another divisor"})
        for n, count in enumerate((9, 2, 4), 1)
    },
    **{
        f"nn.functional.max_pool{n}d": Row(count, windows.pool("max", n), PLACES)
        for n, count in enumerate((432, 720, 288), 1)
    },
    **{
        f"nn.functional.adaptive_avg_pool{n}d": Row(count, windows.adaptive("avg", n))
        for n, count in enumerate((2, 2, 4), 1)
    },
    **{
        f"nn.functional.adaptive_max_pool{n}d": Row(count, windows.adaptive("max", n), PLACES)
        for n, count in enumerate((2, 4, 4), 1)
    },
    "constant_pad_nd": Row(51, lambda x, pads, value=0: windows.padded(x, pads, "constant", value)),
    "nn.functional.pad circular": Row(8, windows.padded),
    "nn.functional.pad constant": Row(51, windows.padded),
    "nn.functional.pad reflect": Row(12, windows.padded),
    "nn.functional.pad replicate": Row(12, windows.padded),
    "nn.functional.pad replicate_negative": Row(6, windows.padded),
    "nn.functional.pixel_shuffle": Row(5, lambda x, upscale_factor: tg.depth_to_space(x, upscale_factor, mode="CRD")),
    "nn.functional.pixel_unshuffle": Row(
        5, lambda x, downscale_factor: tg.space_to_depth(x, downscale_factor, mode="CRD")
    ),
    "nn.functional.interpolate bilinear": Row(24, windows.resized(mode="linear")),
    "nn.functional.interpolate bicubic": Row(24, windows.resized(mode="cubic")),
    "nn.functional.interpolate linear": Row(18, windows.resized(mode="linear")),
    "nn.functional.interpolate nearest": Row(23, windows.resized(coordinates="asymmetric", rounding="floor")),
    "nn.functional.interpolate nearest-exact": Row(23, windows.resized(rounding="round_prefer_ceil")),
    "nn.functional.interpolate trilinear": Row(24, windows.resized(mode="linear")),
    "nn.functional.upsample_bilinear": Row(4, windows.resized(mode="linear", coordinates="align_corners")),
    "nn.functional.upsample_nearest": Row(12, windows.resized(coordinates="asymmetric", rounding="floor")),
}

NORMALIZATIONS = {
    "nn.functional.batch_norm": Row(10, normalizations.batch_norm),
    "nn.functional.dropout": Row(9, normalizations.dropout),
    "nn.functional.group_norm": Row(17, normalizations.group_norm),
    "nn.functional.instance_norm": Row(9, normalizations.instance_norm),
    "nn.functional.layer_norm": Row(5, normalizations.layer_norm),
    "nn.functional.local_response_norm": Row(11, normalizations.response_norm),
    "nn.functional.normalize": Row(4, normalizations.normalized),
    "nn.functional.rms_norm": Row(6, normalizations.rms_norm),
}

TABLE = UNARY | BINARY | REDUCTIONS | SHAPES | PICKING | LINEAR | ACTIVATIONS | LOSSES | WINDOWS | NORMALIZATIONS

# Operations of ours that no row reaches.
WITHOUT_SAMPLES = {
    "cbrt": "PyTorch has none",
    "dropout_mask": "chance, which is another there",
    "gather_nd": "PyTorch has none",
    "global_avg_pool2d": "global_avg_pool by an older name",
    "global_lp_pool": "PyTorch has no samples of it",
    "hinge": "PyTorch's samples have labels other than -1 and 1",
    "lp_pool1d": "PyTorch has no samples of it",
    "lp_pool2d": "PyTorch has no samples of it",
    "lp_pool3d": "PyTorch has no samples of it",
    "mean_all": "PyTorch has none",
    "scatter_add_nd": "PyTorch has none",
    "thresholded_relu": "PyTorch's samples have thresholds below 0",
}
