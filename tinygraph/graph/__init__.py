"""The graph: the core of tinygraph. It imports no other room, and all other rooms import it.

To understand how everything works, read these files in this order:

1. ``tensor.py``: a node of the graph: the operation that made it, its inputs, shape, dtype, name and value;
   and those that no operation made: inputs, parameters, states, constants.
2. ``op.py``: an operation: attributes, shape, forward, gradient rule, formula, samples.
3. ``function.py``: how an operation is made and registered (``@tg.op``), and how it is called.
4. ``apply.py``: a call computes on arrays and records a node on tensors.
5. ``graph.py``: the nodes that some outputs depend on, in topological order.
6. ``run.py``: the values of a graph, node by node: the meaning that every engine must reproduce.
7. ``backprop.py``: the reverse sweep, which adds gradient nodes and calls the gradient rules.
8. ``composite.py``: operations made of other operations.
9. ``derivatives.py``: Jacobians, Hessians and their products with vectors, from reverse sweeps.

The other files serve these, and may be read when they are met:

- ``protocols.py``, ``conversion.py``: how a tensor behaves like an array of NumPy.
- ``registry.py``: the table of operations.
- ``attributes.py``, ``batch.py``, ``explanation.py``: types and checks of what an operation declares.
- ``arrays.py``, ``budget.py``: arrays that users give, the cost of opening a file.

Other rooms import these names from here.
"""

from tinygraph.graph.apply import apply, composites_as_nodes, compute, computing_in, evaluate
from tinygraph.graph.arrays import MOST_AXES, Array, Shaped, all_finite, cast_array, check_size, extent, numeric_array
from tinygraph.graph.attributes import Decision, Edge, Sample, SampleInputs, Samples, conform, integer, require, shown
from tinygraph.graph.backprop import Backward, OpaqueGradient, backward_of, call_rule, grad, gradients_of
from tinygraph.graph.batch import AFTER, MEAN, SHARED, TOTAL, BatchRule, Each, Part, Tiling, Use
from tinygraph.graph.budget import charge, current, opening
from tinygraph.graph.composite import Composite
from tinygraph.graph.explanation import Explanation, Terms, element_at, extreme_of, members
from tinygraph.graph.function import OpFunction, composite, op, register
from tinygraph.graph.graph import Graph, topological
from tinygraph.graph.op import Op, Shape, Value, label
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS, is_operation, operation, operation_hint, operations
from tinygraph.graph.run import bind, fitting, require_feeds, run, typed
from tinygraph.graph.tensor import Kind, Tensor, constant, input
