"""The names of other frameworks for what tinygraph has: an error about such a name offers the right one."""

import functools
import re
from collections.abc import Iterable, Mapping

# A name of tinygraph, and the names of the same thing in NumPy, PyTorch, Keras, JAX and ONNX, in lower case.
# Those that differ only in spelling are left out, see ``_SPELLINGS``.
_ELSEWHERE = {
    # operations
    "abs": "absolute",
    "add": "plus",
    "add_all": "add_n",
    "avg_pool2d": "avg_pool mean_pool2d",
    "batch_norm": "batchnorm1d batch_norm2d",
    "bce": "binary_cross_entropy log_loss",
    "bce_with_logits": "binary_cross_entropy_with_logits sigmoid_cross_entropy sigmoid_binary_cross_entropy "
    "sigmoid_cross_entropy_with_logits",
    "broadcast_to": "expand expand_as broadcast",
    "cast": "as_type",
    "clip": "clamp clip_by_value",
    "concatenate": "cat concat hstack vstack",
    "conv2d": "conv convolve correlate2d convolve2d",
    "conv_transpose1d": "conv1d_transpose deconv1d",
    "conv_transpose2d": "conv_transpose conv2d_transpose deconv deconv2d",
    "conv_transpose3d": "conv3d_transpose deconv3d",
    "cross_entropy": "cross_entropy_with_logits categorical_cross_entropy sparse_categorical_crossentropy "
    "softmax_cross_entropy softmax_cross_entropy_with_logits",
    "cumsum": "cumulative_sum",
    "depth_to_space": "pixel_shuffle",
    "divide": "div truediv true_divide",
    "embedding": "embed embedding_lookup lookup",
    "equal": "eq",
    "expand_dims": "unsqueeze newaxis",
    "flatten": "ravel",
    "gather": "take index_select",
    "gather_elements": "take_along_axis",
    "global_avg_pool2d": "adaptive_avg_pool2d global_average_pool",
    "global_max_pool": "adaptive_max_pool2d global_max_pool2d",
    "greater": "gt",
    "greater_equal": "ge gte greaterorequal",
    "hard_swish": "hard_silu",
    "identity": "noop linear_activation",
    "stop_gradient": "detach",
    "kl_divergence": "kl_div kullback_leibler",
    "l1": "mae mean_absolute_error",
    "l2_norm": "norm vector_norm",
    "leaky_relu": "lrelu",
    "less": "lt",
    "less_equal": "le lte lessorequal",
    "local_response_norm": "lrn",
    "log": "ln",
    "logical_not": "bitwise_not invert",
    "matmul": "dot mm bmm mv gemm",
    "max": "amax",
    "max_pool2d": "max_pool",
    "mean": "avg",
    "min": "amin",
    "mod": "remainder fmod",
    "mse": "mean_squared_error l2_loss squared_error quadratic",
    "multiply": "mul times hadamard",
    "negative": "neg",
    "nll": "negative_log_likelihood",
    "not_equal": "ne neq",
    "one_hot": "to_categorical",
    "power": "pow",
    "prod": "product",
    "relu": "rectifier rectified_linear",
    "reshape": "view",
    "resize": "upsample interpolate upsample2d upsampling2d",
    "scatter_add": "index_add segment_sum",
    "sigmoid": "logistic expit sigm",
    "sign": "sgn signum",
    "silu": "swish",
    "space_to_depth": "pixel_unshuffle",
    "std": "stddev",
    "subtract": "sub minus",
    "transpose": "permute swapaxes permute_dims moveaxis",
    "trilu": "tril triu",
    "trunc": "fix",
    "variance": "var",
    "where": "select masked_fill if_else cond",
    # attributes and settings
    "alpha": "negative_slope",
    "axis": "dim dims axes",
    "classes": "num_classes n_classes depth",
    "dilation": "dilations dilation_rate rate",
    "epsilon": "eps",
    "groups": "group feature_group_count",
    "high": "a_max max max_value maxval",
    "keepdims": "keepdim",
    "learning_rate": "lr step_size",
    "low": "a_min min min_value minval",
    "padding": "pad pads",
    "rate": "p prob drop_prob",
    "slope": "negative_slope alpha",
    "stride": "strides subsample",
    "to": "shape newshape",
    "window": "kernel_size kernel_shape pool_size ksize size",
    # dtypes
    "bool": "boolean",
    "float16": "half",
    "float32": "float single",
    "float64": "double",
    "int64": "int integer long",
    # initializers and optimizers
    "constant": "const fill full",
    "glorot_uniform": "xavier xavier_uniform_ glorot",
    "he_normal": "he kaiming kaiming_normal_",
    "normal": "gaussian randn random_normal truncated_normal",
    "ones": "one",
    "sgd": "gd gradient_descent nesterov",
    "uniform": "rand random random_uniform",
    "zeros": "zero",
}
# What frameworks write differently in names that otherwise agree, such as ReduceMean, MSELoss and average_pooling2d.
_SPELLINGS = {
    "_": "",
    "^reduce(?=.)|(?<!^log)(?<=.)loss$": "",
    "^arc": "a",
    "average": "avg",
    "pooling": "pool",
    "convolution": "conv",
    "normalization": "norm",
}

# Constants of other frameworks, and their values.
CONSTANTS = {"pi": "3.141592653589793", "e": "2.718281828459045"}
# Operations of other frameworks, and the equation to write instead.
FORMULAS: Mapping[str, str] = {
    **dict.fromkeys(("linear", "dense", "fc", "fully_connected", "affine", "addmm"), "x @ W + b"),
    **dict.fromkeys(
        ("attention", "scaled_dot_product_attention"), "softmax(q @ transpose(k, (0, 2, 1)) / q.shape[2] ** 0.5) @ v"
    ),
    **dict.fromkeys(("rms_norm", "rmsnorm"), "x / sqrt(mean(x ** 2, axis=-1, keepdims=True) + 1e-6) * scale"),
    **dict.fromkeys(("glu", "gated_linear_unit"), "a * sigmoid(b)"),
    "square": "x ** 2",
    "rsqrt": "1 / sqrt(x)",
    "logit": "log(x / (1 - x))",
    "softmin": "softmax(-x)",
    "tanhshrink": "x - tanh(x)",
    "swiglu": "silu(a) * b",
}


@functools.cache
def _spelled(name: str) -> str:
    name = name.lower()
    for theirs, ours in _SPELLINGS.items():
        name = re.sub(theirs, ours, name)
    return name


SYNONYMS: dict[str, list[str]] = {}
for _here, _others in _ELSEWHERE.items():
    for _other in _others.split():
        SYNONYMS.setdefault(_spelled(_other), []).append(_here)


def called_here(name: str, names: Iterable[str]) -> str | None:
    """Return which of ``names`` is called ``name`` in another framework, if any.

    >>> called_here("AveragePooling2D", ["avg_pool2d"]), called_here("swish", ["silu"]), called_here("banana", ["relu"])
    ('avg_pool2d', 'silu', None)
    """
    known = {_spelled(here): here for here in names}
    candidates = [_spelled(here) for here in (*SYNONYMS.get(_spelled(name), ()), name)]
    return next((known[here] for here in candidates if here in known), None)
