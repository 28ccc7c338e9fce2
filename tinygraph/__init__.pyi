"""The public names of tinygraph, each imported from its module when it is first used.

This is the one list of them: editors and type checkers read it, and so does ``__init__.py``. Those declared as
``OpFunction`` are operations, taken from the table of ``graph/registry.py``.
"""

from tinygraph import errors as errors
from tinygraph import testing as testing
from tinygraph.draw import draw as draw
from tinygraph.engines import Engine as Engine
from tinygraph.engines import engines as engines
from tinygraph.engines.plan import Plan as Plan
from tinygraph.engines.plan import compile as compile
from tinygraph.errors import AttributeValueError as AttributeValueError
from tinygraph.errors import DataError as DataError
from tinygraph.errors import DTypeError as DTypeError
from tinygraph.errors import EngineError as EngineError
from tinygraph.errors import FeedError as FeedError
from tinygraph.errors import GradientError as GradientError
from tinygraph.errors import ModelError as ModelError
from tinygraph.errors import OnnxError as OnnxError
from tinygraph.errors import OperationError as OperationError
from tinygraph.errors import RenderError as RenderError
from tinygraph.errors import RuleError as RuleError
from tinygraph.errors import ShapeError as ShapeError
from tinygraph.errors import StaleValueError as StaleValueError
from tinygraph.errors import TinygraphError as TinygraphError
from tinygraph.errors import TrainingError as TrainingError
from tinygraph.errors import UnknownNameError as UnknownNameError
from tinygraph.errors import ValueUnavailable as ValueUnavailable
from tinygraph.errors import WeightsError as WeightsError
from tinygraph.graph.apply import apply as apply
from tinygraph.graph.attributes import Decision as Decision
from tinygraph.graph.attributes import Edge as Edge
from tinygraph.graph.attributes import Sample as Sample
from tinygraph.graph.backprop import grad as grad
from tinygraph.graph.batch import MEAN as MEAN
from tinygraph.graph.batch import TOTAL as TOTAL
from tinygraph.graph.batch import Each as Each
from tinygraph.graph.composite import Composite as Composite
from tinygraph.graph.derivatives import hessian as hessian
from tinygraph.graph.derivatives import hvp as hvp
from tinygraph.graph.derivatives import jacobian as jacobian
from tinygraph.graph.derivatives import value_and_grad as value_and_grad
from tinygraph.graph.explanation import Explanation as Explanation
from tinygraph.graph.explanation import Terms as Terms
from tinygraph.graph.function import OpFunction as OpFunction
from tinygraph.graph.function import composite as composite
from tinygraph.graph.function import op as op
from tinygraph.graph.function import register as register
from tinygraph.graph.graph import Graph as Graph
from tinygraph.graph.op import Op as Op
from tinygraph.graph.registry import operation as operation
from tinygraph.graph.registry import operations as operations
from tinygraph.graph.run import run as run
from tinygraph.graph.tensor import Tensor as Tensor
from tinygraph.graph.tensor import constant as constant
from tinygraph.graph.tensor import input as input
from tinygraph.graph.tensor import parameter as parameter
from tinygraph.graph.tensor import state as state
from tinygraph.graph.tensor import tensor as tensor
from tinygraph.interop.onnx import from_onnx as from_onnx
from tinygraph.interop.onnx import to_onnx as to_onnx
from tinygraph.model import Model as Model
from tinygraph.model import load_model as load_model
from tinygraph.notes.notes import Notes as Notes
from tinygraph.notes.notes import notes as notes
from tinygraph.ops.indexing.select import split as split
from tinygraph.train import SGD as SGD
from tinygraph.train import Adam as Adam
from tinygraph.train import AdamW as AdamW
from tinygraph.train import CosineDecay as CosineDecay
from tinygraph.train import Data as Data
from tinygraph.train import EarlyStopping as EarlyStopping
from tinygraph.train import History as History
from tinygraph.train import RMSprop as RMSprop
from tinygraph.train import Schedule as Schedule
from tinygraph.train import StepDecay as StepDecay
from tinygraph.train import StopTraining as StopTraining
from tinygraph.train import TrainingDiverged as TrainingDiverged
from tinygraph.train import TrainingInterrupted as TrainingInterrupted
from tinygraph.train import evaluate as evaluate
from tinygraph.train import fit as fit
from tinygraph.train import load_data as load_data
from tinygraph.train import update_equations as update_equations
from tinygraph.verify import check as check
from tinygraph.verify.certificate import Certificate as Certificate
from tinygraph.verify.certificate import certify as certify
from tinygraph.verify.certificate import check_op as check_op

__version__: str

gelu: OpFunction
leaky_relu: OpFunction
log_sigmoid: OpFunction
log_softmax: OpFunction
mish: OpFunction
relu: OpFunction
sigmoid: OpFunction
silu: OpFunction
softmax: OpFunction
softplus: OpFunction
softsign: OpFunction
stop_gradient: OpFunction
tanh: OpFunction
celu: OpFunction
elu: OpFunction
hard_sigmoid: OpFunction
hard_swish: OpFunction
hard_tanh: OpFunction
prelu: OpFunction
relu6: OpFunction
selu: OpFunction
thresholded_relu: OpFunction
clip: OpFunction
equal: OpFunction
gate: OpFunction
greater: OpFunction
greater_equal: OpFunction
isinf: OpFunction
isnan: OpFunction
less: OpFunction
less_equal: OpFunction
logical_and: OpFunction
logical_not: OpFunction
logical_or: OpFunction
logical_xor: OpFunction
maximum: OpFunction
minimum: OpFunction
not_equal: OpFunction
where: OpFunction
conv1d: OpFunction
conv1d_kernel_gradient: OpFunction
conv2d: OpFunction
conv2d_kernel_gradient: OpFunction
conv3d: OpFunction
conv3d_kernel_gradient: OpFunction
conv_transpose1d: OpFunction
conv_transpose2d: OpFunction
conv_transpose3d: OpFunction
dropout: OpFunction
dropout_mask: OpFunction
abs: OpFunction
add: OpFunction
divide: OpFunction
identity: OpFunction
multiply: OpFunction
negative: OpFunction
sign: OpFunction
subtract: OpFunction
cast: OpFunction
cbrt: OpFunction
erf: OpFunction
exp: OpFunction
exp2: OpFunction
expm1: OpFunction
log: OpFunction
log10: OpFunction
log1p: OpFunction
log2: OpFunction
logaddexp: OpFunction
normal_cdf: OpFunction
normal_pdf: OpFunction
power: OpFunction
sqrt: OpFunction
add_all: OpFunction
maximum_all: OpFunction
mean_all: OpFunction
minimum_all: OpFunction
ceil: OpFunction
floor: OpFunction
mod: OpFunction
round: OpFunction
trunc: OpFunction
acos: OpFunction
acosh: OpFunction
asin: OpFunction
asinh: OpFunction
atan: OpFunction
atan2: OpFunction
atanh: OpFunction
cos: OpFunction
cosh: OpFunction
hypot: OpFunction
reciprocal: OpFunction
sin: OpFunction
sinh: OpFunction
tan: OpFunction
embedding: OpFunction
gather: OpFunction
gather_elements: OpFunction
scatter_add: OpFunction
scatter_add_elements: OpFunction
gather_nd: OpFunction
scatter_add_nd: OpFunction
resize: OpFunction
concatenate: OpFunction
flip: OpFunction
getitem: OpFunction
pad: OpFunction
put: OpFunction
stack: OpFunction
einsum: OpFunction
matmul: OpFunction
bce: OpFunction
bce_with_logits: OpFunction
hinge: OpFunction
cross_entropy: OpFunction
kl_divergence: OpFunction
nll: OpFunction
one_hot: OpFunction
huber: OpFunction
l1: OpFunction
mse: OpFunction
smooth_l1: OpFunction
batch_norm: OpFunction
group_norm: OpFunction
instance_norm: OpFunction
layer_norm: OpFunction
local_response_norm: OpFunction
running_mean: OpFunction
running_variance: OpFunction
global_avg_pool: OpFunction
global_avg_pool2d: OpFunction
global_lp_pool: OpFunction
global_max_pool: OpFunction
lp_pool1d: OpFunction
lp_pool2d: OpFunction
lp_pool3d: OpFunction
max_pool1d: OpFunction
max_pool2d: OpFunction
max_pool3d: OpFunction
max_unpool1d: OpFunction
max_unpool2d: OpFunction
max_unpool3d: OpFunction
avg_pool1d: OpFunction
avg_pool2d: OpFunction
avg_pool3d: OpFunction
avg_unpool1d: OpFunction
avg_unpool2d: OpFunction
avg_unpool3d: OpFunction
cumprod: OpFunction
cumsum: OpFunction
diff: OpFunction
prod: OpFunction
argmax: OpFunction
argmin: OpFunction
sort: OpFunction
top_k: OpFunction
top_k_indices: OpFunction
l1_norm: OpFunction
l2_norm: OpFunction
logsumexp: OpFunction
max: OpFunction
mean: OpFunction
min: OpFunction
sum: OpFunction
depth_to_space: OpFunction
space_to_depth: OpFunction
tile: OpFunction
trilu: OpFunction
broadcast_to: OpFunction
expand_dims: OpFunction
flatten: OpFunction
reshape: OpFunction
squeeze: OpFunction
sum_to: OpFunction
transpose: OpFunction
moving_sum: OpFunction
standardize: OpFunction
std: OpFunction
variance: OpFunction
