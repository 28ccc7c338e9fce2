"""tinygraph: models as equations, recorded as a graph whose backward pass is more graph.

>>> import tinygraph as tg
>>> Z2 = tg.tensor([[1.02, -0.25], [-3.45, 2.2]], name="Z2")
>>> C2 = tg.relu(Z2)
>>> (dZ2,) = tg.grad((C2 * C2).sum(), [Z2])
>>> dZ2.name, dZ2.value
('dZ2', array([[2.04, 0.  ],
       [0.  , 4.4 ]]))
"""

from tinygraph import interruption  # isort: skip  # First: Ctrl-C may come during the other imports.
from tinygraph import testing
from tinygraph.draw import draw
from tinygraph.engines.plan import Plan, compile
from tinygraph.errors import (
    AttributeValueError,
    DataError,
    DTypeError,
    FeedError,
    GradientError,
    ModelError,
    OnnxError,
    OperationError,
    RenderError,
    RuleError,
    ShapeError,
    StaleValueError,
    TinygraphError,
    TrainingError,
    UnknownNameError,
    ValueUnavailable,
    WeightsError,
)
from tinygraph.graph.apply import apply
from tinygraph.graph.backprop import grad
from tinygraph.graph.composite import Composite
from tinygraph.graph.explanation import Explanation, Terms
from tinygraph.graph.function import OpFunction, composite, op, register
from tinygraph.graph.graph import Graph
from tinygraph.graph.leaves import constant, input, parameter, state, tensor
from tinygraph.graph.op import Edge, Op, Sample
from tinygraph.graph.protocols import attribute_hint as _attribute_hint
from tinygraph.graph.readers import MODULES
from tinygraph.graph.registry import operation, operations
from tinygraph.graph.run import run
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx import from_onnx, to_onnx
from tinygraph.model import Model, load_model
from tinygraph.notes import Notes, notes
from tinygraph.ops.activation.activation import (
    gelu,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from tinygraph.ops.activation.rectifier import (
    celu,
    elu,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    prelu,
    relu6,
    selu,
    thresholded_relu,
)
from tinygraph.ops.comparison.comparison import (
    clip,
    equal,
    gate,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
    where,
)
from tinygraph.ops.comparison.logic import isinf, isnan, logical_and, logical_not, logical_or, logical_xor
from tinygraph.ops.convolution.convolution import (
    conv1d,
    conv1d_kernel_gradient,
    conv2d,
    conv2d_kernel_gradient,
    conv3d,
    conv3d_kernel_gradient,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from tinygraph.ops.dropout.dropout import dropout, dropout_mask
from tinygraph.ops.elementwise.arithmetic import (
    abs,
    add,
    divide,
    identity,
    multiply,
    negative,
    sign,
    subtract,
)
from tinygraph.ops.elementwise.cast import cast
from tinygraph.ops.elementwise.exponential import (
    erf,
    exp,
    expm1,
    log,
    log1p,
    normal_cdf,
    normal_pdf,
    power,
    sqrt,
)
from tinygraph.ops.elementwise.n_ary import add_all, maximum_all, mean_all, minimum_all
from tinygraph.ops.elementwise.rounding import ceil, floor, mod, round, trunc
from tinygraph.ops.elementwise.trigonometry import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cos,
    cosh,
    hypot,
    reciprocal,
    sin,
    sinh,
    tan,
)
from tinygraph.ops.indexing.gather import embedding, gather, gather_elements, scatter_add, scatter_add_elements
from tinygraph.ops.indexing.gather_nd import gather_nd, scatter_add_nd
from tinygraph.ops.indexing.resize import resize
from tinygraph.ops.indexing.select import concatenate, flip, getitem, pad, put, split
from tinygraph.ops.linear.einsum import einsum
from tinygraph.ops.linear.linear import matmul
from tinygraph.ops.loss.binary import bce, bce_with_logits, mse
from tinygraph.ops.loss.classification import cross_entropy, hinge, kl_divergence, nll, one_hot
from tinygraph.ops.loss.regression import huber, l1, smooth_l1
from tinygraph.ops.normalization.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    running_mean,
    running_variance,
)
from tinygraph.ops.pooling.global_pooling import (
    global_avg_pool,
    global_avg_pool2d,
    global_lp_pool,
    global_max_pool,
)
from tinygraph.ops.pooling.lp_pooling import lp_pool1d, lp_pool2d, lp_pool3d
from tinygraph.ops.pooling.max_pooling import (
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_take1d,
    max_take2d,
    max_take3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from tinygraph.ops.pooling.pooling import avg_pool1d, avg_pool2d, avg_pool3d, avg_unpool1d, avg_unpool2d, avg_unpool3d
from tinygraph.ops.reduction.norm import l1_norm, l2_norm
from tinygraph.ops.reduction.product import cumsum, prod
from tinygraph.ops.reduction.ranking import argmax, argmin, top_k, top_k_indices
from tinygraph.ops.reduction.reduction import logsumexp, max, mean, min, sum
from tinygraph.ops.shape.arrange import depth_to_space, space_to_depth, tile, trilu
from tinygraph.ops.shape.shape import broadcast_to, expand_dims, flatten, reshape, squeeze, sum_to, transpose
from tinygraph.ops.statistics.statistics import moving_sum, standardize, variance
from tinygraph.train import (
    SGD,
    Adam,
    Data,
    History,
    TrainingDiverged,
    TrainingInterrupted,
    evaluate,
    fit,
    load_data,
    update_equations,
)
from tinygraph.verify import check, check_op
from tinygraph.verify.certificate import Certificate, certify

__version__ = "0.1.0"

# What rooms above offer to tensors, graphs and models.
MODULES.update(
    lay_out="tinygraph.describe.text",
    equations_text="tinygraph.describe.text",
    aligned="tinygraph.describe.text",
    notebook_view="tinygraph.draw.picture",
    plan_for="tinygraph.engines.predict",
    predicted="tinygraph.engines.predict",
    CompiledStep="tinygraph.train.step",
    from_onnx="tinygraph.interop.onnx",
    to_onnx="tinygraph.interop.onnx",
)


def __getattr__(name: str) -> object:
    """Raise the ``AttributeError`` that says what a name of another framework is called here."""
    raise AttributeError(f"tinygraph has no {name!r}{_attribute_hint(name)}", name=name)
