"""The table of ONNX's operators: each one as tinygraph's operations. What is not here is refused by name."""

from __future__ import annotations

from tinygraph.interop.onnx import elementwise as ew
from tinygraph.interop.onnx import losses as ls
from tinygraph.interop.onnx import norms as nm
from tinygraph.interop.onnx import quantized as qu
from tinygraph.interop.onnx import recurrent as rc
from tinygraph.interop.onnx import reducing as rd
from tinygraph.interop.onnx import sequences as sq
from tinygraph.interop.onnx import shaping as sp
from tinygraph.interop.onnx import windows as wn
from tinygraph.interop.onnx.branches import undecided
from tinygraph.interop.onnx.node import Operator as Op
from tinygraph.ops.activation import activation as act
from tinygraph.ops.activation import rectifier
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.comparison import logic
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.elementwise import exponential as ex
from tinygraph.ops.elementwise import n_ary as several
from tinygraph.ops.elementwise import rounding
from tinygraph.ops.elementwise import trigonometry as tri
from tinygraph.ops.indexing import gather as ga
from tinygraph.ops.indexing import gather_nd as gd
from tinygraph.ops.linear.einsum import einsum
from tinygraph.ops.linear.linear import matmul
from tinygraph.ops.pooling import global_pooling as gp
from tinygraph.ops.reduction import norm, product, ranking
from tinygraph.ops.reduction import reduction as red
from tinygraph.ops.shape import arrange

OPERATORS: dict[str, Op] = {
    # One result for each element.
    "Abs": Op(ew.unary(el.abs)),
    "Acos": Op(ew.unary(tri.acos)),
    "Acosh": Op(ew.unary(tri.acosh)),
    "Add": Op(ew.binary(el.add)),
    "And": Op(ew.binary(logic.logical_and)),
    "Asin": Op(ew.unary(tri.asin)),
    "Asinh": Op(ew.unary(tri.asinh)),
    "Atan": Op(ew.unary(tri.atan)),
    "Atanh": Op(ew.unary(tri.atanh)),
    "Cast": Op(ew.cast),
    "CastLike": Op(ew.cast_like),
    "Ceil": Op(ew.unary(rounding.ceil)),
    "Celu": Op(ew.numbered(rectifier.celu, alpha=("alpha", 1.0))),
    "Clip": Op(ew.clip, constants=(1, 2)),
    "Cos": Op(ew.unary(tri.cos)),
    "Cosh": Op(ew.unary(tri.cosh)),
    "Div": Op(ew.divide),
    "Dropout": Op(ew.dropout, constants=(1, 2)),
    "Elu": Op(ew.numbered(rectifier.elu, alpha=("alpha", 1.0))),
    "Equal": Op(ew.binary(cmp.equal)),
    "Erf": Op(ew.unary(ex.erf)),
    "Exp": Op(ew.unary(ex.exp)),
    "Floor": Op(ew.unary(rounding.floor)),
    "Gelu": Op(ew.gelu),
    "Greater": Op(ew.binary(cmp.greater)),
    "GreaterOrEqual": Op(ew.binary(cmp.greater_equal)),
    "HardSigmoid": Op(ew.numbered(rectifier.hard_sigmoid, alpha=("alpha", 0.2), beta=("beta", 0.5))),
    "HardSwish": Op(ew.unary(rectifier.hard_swish)),
    "Identity": Op(lambda n, x: x),
    "IsInf": Op(ew.is_infinite),
    "IsNaN": Op(ew.unary(logic.isnan)),
    "LeakyRelu": Op(ew.numbered(act.leaky_relu, slope=("alpha", 0.01))),
    "Less": Op(ew.binary(cmp.less)),
    "LessOrEqual": Op(ew.binary(cmp.less_equal)),
    "Log": Op(ew.unary(ex.log)),
    "Max": Op(ew.several(several.maximum_all)),
    "Mean": Op(ew.several(several.mean_all)),
    "Min": Op(ew.several(several.minimum_all)),
    "Mish": Op(ew.unary(act.mish)),
    "Mod": Op(lambda n, x, y: rounding.mod(x, y, fmod=bool(n.get("fmod", 0)))),
    "Mul": Op(ew.binary(el.multiply)),
    "Neg": Op(ew.unary(el.negative)),
    "Not": Op(ew.unary(logic.logical_not)),
    "Or": Op(ew.binary(logic.logical_or)),
    "Pow": Op(ew.power),
    "PRelu": Op(ew.prelu),
    "Reciprocal": Op(ew.unary(tri.reciprocal)),
    "Relu": Op(ew.unary(act.relu)),
    "Round": Op(ew.unary(rounding.round)),
    "Selu": Op(ew.selu),
    "Shrink": Op(ew.shrink),
    "Sigmoid": Op(ew.unary(act.sigmoid)),
    "Sign": Op(ew.unary(el.sign)),
    "Sin": Op(ew.unary(tri.sin)),
    "Sinh": Op(ew.unary(tri.sinh)),
    "Softplus": Op(ew.unary(act.softplus)),
    "Softsign": Op(ew.unary(act.softsign)),
    "Sqrt": Op(ew.unary(ex.sqrt)),
    "Sub": Op(ew.binary(el.subtract)),
    "Sum": Op(ew.several(several.add_all)),
    "Swish": Op(ew.swish),
    "Tan": Op(ew.unary(tri.tan)),
    "Tanh": Op(ew.unary(act.tanh)),
    "ThresholdedRelu": Op(ew.thresholded_relu),
    "Where": Op(lambda n, condition, x, y: cmp.where(condition, x, y)),
    "Xor": Op(ew.binary(logic.logical_xor)),
    # Elements moved and picked, and shapes computed.
    "Compress": Op(sp.compress, constants=(1,)),
    "Concat": Op(sp.concat),
    "Constant": Op(sp.constant),
    "ConstantOfShape": Op(sp.constant_of_shape, constants=(0,)),
    "DepthToSpace": Op(lambda n, x: arrange.depth_to_space(x, n.need("blocksize"), mode=n.get("mode", "DCR"))),
    "Expand": Op(sp.expand, constants=(1,)),
    "EyeLike": Op(sp.eye_like),
    "Flatten": Op(sp.flatten),
    "Gather": Op(sp.gather),
    "GatherElements": Op(lambda n, x, indices: ga.gather_elements(x, indices, axis=n.axis(n.get("axis", 0), x))),
    "GatherND": Op(lambda n, x, indices: gd.gather_nd(x, indices, batch_dims=n.get("batch_dims", 0))),
    "NonZero": Op(sp.nonzero, constants=(0,)),
    "OneHot": Op(sp.one_hot, constants=(1,)),
    "Pad": Op(sp.pad, constants=(1, 2, 3)),
    "Range": Op(sp.arange, constants=(0, 1, 2)),
    "Reshape": Op(sp.reshape, constants=(1,)),
    "Scatter": Op(sp.scatter_elements),
    "ScatterElements": Op(sp.scatter_elements),
    "ScatterND": Op(sp.scatter_nd),
    "Shape": Op(sp.shape),
    "Size": Op(sp.size),
    "Slice": Op(sp.slice_, constants=(1, 2, 3, 4)),
    "SpaceToDepth": Op(lambda n, x: arrange.space_to_depth(x, n.need("blocksize"), mode=n.get("mode", "DCR"))),
    "Split": Op(sp.split, constants=(1,)),
    "Squeeze": Op(sp.squeeze, constants=(1,)),
    "Tile": Op(sp.tile, constants=(1, 2)),
    "TopK": Op(sp.top_k, constants=(1,)),
    "Transpose": Op(sp.transpose),
    "Trilu": Op(sp.trilu, constants=(1,)),
    "Unsqueeze": Op(sp.unsqueeze, constants=(1,)),
    # Several tensors as one value.
    "ConcatFromSequence": Op(sq.concatenated),
    "SequenceAt": Op(sq.at, constants=(1,)),
    "SequenceConstruct": Op(sq.construct),
    "SequenceLength": Op(sq.length),
    "SplitToSequence": Op(sq.split_to_sequence, constants=(1,)),
    # Elements put together.
    "ArgMax": Op(rd.place(ranking.argmax)),
    "ArgMin": Op(rd.place(ranking.argmin)),
    "Einsum": Op(lambda n, *x: einsum(list(x), n.need("equation").replace(" ", ""))),
    "CumSum": Op(rd.cumsum, constants=(1,)),
    "Gemm": Op(rd.gemm),
    "Hardmax": Op(rd.hardmax),
    "LogSoftmax": Op(rd.softmax(act.log_softmax)),
    "MatMul": Op(lambda n, x, y: matmul(x, y)),
    "ReduceL1": Op(rd.reduction(norm.l1_norm), constants=(1,)),
    "ReduceL2": Op(rd.reduction(norm.l2_norm), constants=(1,)),
    "ReduceLogSum": Op(rd.sum_of(lambda x: x, ex.log), constants=(1,)),
    "ReduceLogSumExp": Op(rd.reduction(red.logsumexp), constants=(1,)),
    "ReduceMax": Op(rd.reduction(red.max), constants=(1,)),
    "ReduceMean": Op(rd.reduction(red.mean), constants=(1,)),
    "ReduceMin": Op(rd.reduction(red.min), constants=(1,)),
    "ReduceProd": Op(rd.reduction(product.prod), constants=(1,)),
    "ReduceSum": Op(rd.reduction(red.sum), constants=(1,)),
    "ReduceSumSquare": Op(rd.sum_of(rd.square), constants=(1,)),
    "Softmax": Op(rd.softmax(act.softmax)),
    # Losses.
    "NegativeLogLikelihoodLoss": Op(ls.negative_log_likelihood),
    "SoftmaxCrossEntropyLoss": Op(ls.softmax_cross_entropy),
    # Norms.
    "BatchNormalization": Op(nm.batch_normalization, state={3: "running_mean", 4: "running_variance"}),
    "GroupNormalization": Op(nm.group_normalization),
    "InstanceNormalization": Op(nm.instance_normalization),
    "LayerNormalization": Op(nm.layer_normalization),
    "LpNormalization": Op(nm.lp_normalization),
    "LRN": Op(nm.local_response_normalization),
    "MeanVarianceNormalization": Op(nm.mean_variance_normalization),
    "RMSNormalization": Op(nm.rms_normalization),
    # Whole numbers that stand for real ones. Their rounding stops every gradient; what is read from them has one.
    "ConvInteger": Op(qu.conv_integer),
    "DequantizeLinear": Op(qu.dequantize, constants=(1, 2)),
    "MatMulInteger": Op(qu.matmul_integer),
    "QLinearConv": Op(qu.of_quantized(wn.conv, axis=0), constants=(1, 2, 4, 5, 6, 7)),
    "QLinearMatMul": Op(qu.of_quantized(lambda n, x, y: matmul(x, y), axis=-1), constants=(1, 2, 4, 5, 6, 7)),
    "QuantizeLinear": Op(qu.quantize, constants=(1, 2)),
    # Sequences, step by step.
    "GRU": Op(rc.unrolled(rc.gru, 3, ("Sigmoid", "Tanh"), bias_apart=True), since=7),
    "LSTM": Op(rc.unrolled(rc.lstm, 4, ("Sigmoid", "Tanh", "Tanh")), since=7),
    "RNN": Op(rc.unrolled(rc.rnn, 1, ("Tanh",)), since=7),
    # One of two graphs, by a condition on shapes and constants; the importer follows it.
    "If": Op(undecided, constants=(0,)),
    # Windows over images.
    "AveragePool": Op(wn.average_pool),
    "Conv": Op(wn.conv, columns=(2,)),
    "ConvTranspose": Op(wn.conv_transpose, columns=(2,)),
    "GlobalAveragePool": Op(wn.whole_image(gp.global_avg_pool)),
    "GlobalLpPool": Op(wn.global_lp_pool),
    "GlobalMaxPool": Op(wn.whole_image(gp.global_max_pool)),
    "LpPool": Op(wn.lp_pool),
    "MaxPool": Op(wn.max_pool),
    "Resize": Op(wn.resize, constants=(1, 2, 3)),
    "Upsample": Op(wn.resize, constants=(1,)),
}
