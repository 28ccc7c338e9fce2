"""The passes that turn a recorded graph into the graph that is computed, in their order."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.engines.plan.channels import into_kernels
from tinygraph.engines.plan.fuse import fuse
from tinygraph.engines.plan.groups import with_axes_apart
from tinygraph.engines.plan.joined import joined
from tinygraph.engines.plan.kernels.windows import by_windows, is_depthwise, is_overlapping_pool
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.node import Node, constant, is_a, is_own, make, nodes_of, remade, rewrite, users
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Op, evaluate, topological
from tinygraph.ops.activation.activation import relu
from tinygraph.ops.comparison.comparison import gate, greater
from tinygraph.ops.elementwise.arithmetic import divide, identity, multiply, stop_gradient
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.pooling.max_pooling import MaxPool, MaxPool2d, MaxUnpool, MaxUnpool2d
from tinygraph.ops.shape.shape import BroadcastTo, Reshape, SameElements, SumTo, Transpose

# A larger constant is computed in each run instead of kept.
_MOST_BYTES = 1 << 20


def prepared(
    graph: Graph, kernels: str = "numpy", alike: Sequence[Sequence[int]] = ()
) -> tuple[list[Node], list[Node]]:
    """Return a graph's outputs as they are computed, and the nodes that are not computed a second time.

    The order matters. Equal nodes are merged first because the gates and ``lower`` ask how many nodes read a node: while there
    are two copies of it, each copy has only some of the readers. They are merged again at the end because ``lower`` makes new
    nodes, and some are equal: a convolution and its kernel gradient share their patches, a pool and its gradient the maxima.
    What is ``alike`` is joined when nothing else changes it, and with ``kernels="numba"`` chains are fused last.
    A new pass that only removes nodes belongs next to ``simplify``; one that counts readers after the first merge.

    Every pass begins at the outputs, so it leaves out the nodes that no output needs.

    >>> import tinygraph as tg
    >>> prepared(Graph(tg.relu(tg.input("x", (2,)))))
    ([<relu float32 (2,)>], [])
    """
    outputs, early = share_common(simplify(fold_constants(nodes_of(graph))))
    outputs = gate_by_result(pool_before_relu(into_kernels(outputs)))
    outputs = by_windows(outputs, is_depthwise) if kernels == "numba" else outputs
    outputs, late = share_common(with_axes_apart(lower(outputs)))
    outputs = joined(outputs, alike)
    return fuse(by_windows(outputs, is_overlapping_pool)) if kernels == "numba" else outputs, early + late


def fold_constants(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with the results of operations on constants as constants.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import make
    >>> two = make(tg.operation("add").op(), constant(1.0), constant(1.0))
    >>> fold_constants([two])[0].value
    array(2.)
    """
    return rewrite(outputs, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op is None or not is_own(node.op) or node.nbytes > _MOST_BYTES or any(x.value is None for x in inputs):
        return remade(node, inputs)
    try:
        with np.errstate(all="ignore"):
            value = evaluate(node.op, [x.value for x in inputs], node.shape, node.dtype)
    except TinygraphError:
        return remade(node, inputs)
    return constant(np.array(value), node.tensors)


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs without operations that change nothing: identities, factors of one, reshapes of reshapes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2, 3))
    >>> simplify(nodes_of(tg.Graph(tg.relu(x).reshape(6).reshape(3, 2) * 1.0)))[0].inputs
    (<relu float32 (2, 3)>,)
    """
    return rewrite(outputs, _simplified)


def _simplified(node: Node, inputs: tuple[Node, ...]) -> Node:
    for x in _handed_on(node.op, inputs):
        if (x.shape, x.dtype) == (node.shape, node.dtype):
            x.tensors += node.tensors
            return x
    if is_a(node.op, SameElements) and is_a(inputs[0].op, SameElements):
        return make(Reshape(node.shape), inputs[0].inputs[0], tensors=node.tensors)
    return remade(node, inputs)


def _handed_on(op: Op | None, inputs: tuple[Node, ...]) -> list[Node]:
    """Return the inputs whose values an operation hands on unchanged if they have the shape and dtype of its result."""
    if is_a(op, identity.op, stop_gradient.op, Cast, BroadcastTo, SumTo):
        return [inputs[0]]
    if is_a(op, SameElements):
        return [inputs[0], *(inputs[0].inputs if is_a(inputs[0].op, SameElements) else ())]
    if is_a(op, Transpose) and op.axes is not None and tuple(op.axes) == tuple(range(len(op.axes))):
        return [inputs[0]]
    if is_a(op, multiply.op):
        return [x for x, other in zip(inputs, inputs[::-1], strict=True) if _is_one(other)]
    return [inputs[0]] if is_a(op, divide.op) and _is_one(inputs[1]) else []


def _is_one(x: Node) -> bool:
    return x.value is not None and x.size == 1 and x.value.item() == 1


def share_common(outputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Return the outputs with equal nodes made one, and the nodes that are not computed any more.

    Nodes are equal if they apply the same operation of this package, with equal attributes, to the same inputs, or if they
    are constants with the same bits.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2,))
    >>> shared, spared = share_common(nodes_of(tg.Graph([tg.exp(x), tg.exp(x)])))
    >>> shared[0] is shared[1], len(spared)
    (True, 1)
    """
    first: dict[Any, Node] = {}
    new: dict[Node, Node] = {}
    spared: list[Node] = []
    for node in topological(outputs):
        made = remade(node, tuple(new[x] for x in node.inputs))
        key = _key(made)
        new[node] = made if key is None else first.setdefault(key, made)
        if new[node] is not made:
            new[node].tensors += made.tensors
            spared += [node] * (node.op is not None)
    return [new[output] for output in outputs], spared


def _key(node: Node) -> Any:
    """Return what equal nodes have in common, or ``None`` for a node that is equal to no other."""
    if node.value is not None:
        return node.shape, node.dtype.str, node.value.tobytes()
    if node.op is None or not is_own(node.op):
        return None
    try:
        hash(node.op)
    except TypeError:
        return None
    # 0.0 == -0.0, but their quotients differ.
    negative = [name for name, x in node.op.attributes().items() if isinstance(x, float) and math.copysign(1, x) < 0]
    return type(node.op), node.op, tuple(negative), node.inputs


# The two passes over relu and max-pooling let their gradients read smaller arrays. Both are exact. The gate ``z > 0`` is open
# where ``relu(z) > 0``, NaN included, so ``z`` need not be kept. And ``relu`` and the maximum of windows may change places:
# both are monotone, so where the maximum is positive the two orders find the same winner, and elsewhere the gate is closed.


def pool_before_relu(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with ``max_pool2d(relu(z))`` as ``relu(max_pool2d(z))``, and its gradient accordingly.

    Done where nothing but the pool and its gradient reads ``relu(z)``.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> z = tg.input("z", (1, 1, 4, 4))
    >>> pool_before_relu(nodes_of(tg.Graph(tg.max_pool2d(tg.relu(z), 2))))
    [<relu float32 (1, 1, 2, 2)>]
    """
    used_by = users(outputs)
    moved = {node for node in topological(outputs) if _movable(node, used_by)}
    # The new relu for each z: the pool and its gradient read the same one, whichever of them comes first.
    rectified: dict[Node, Node] = {}

    def relu_of_pool(z: Node, pool: MaxPool) -> Node:
        return rectified.setdefault(z, make(relu.op(), make(pool, z)))

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if is_a(node.op, MaxPool2d) and node.inputs[0] in moved:
            result = relu_of_pool(inputs[0].inputs[0], node.op)
            result.tensors += node.tensors
            return result
        if _is_gate_of(node, moved):
            unpool = inputs[0].op
            assert isinstance(unpool, MaxUnpool)
            dy, (z,) = inputs[0].inputs[0], inputs[0].inputs[1].inputs
            positive = make(greater.op(), relu_of_pool(z, unpool.counterpart(MaxPool)), inputs[1].inputs[1])
            return make(unpool, make(gate.op(), dy, positive), z, tensors=node.tensors)
        return remade(node, inputs)

    return rewrite(outputs, rule)


def _movable(node: Node, used_by: Mapping[Node, list[Node]]) -> bool:
    """Whether a relu is read only by one max-pool and by the gradient of that pool, on its way through the relu."""
    if not is_a(node.op, relu.op) or node.dtype.kind != "f" or node in used_by[node]:
        return False
    readers = used_by[node]
    pools = [reader.op for reader in readers if is_a(reader.op, MaxPool2d)]
    unpools = [(reader, reader.op) for reader in readers if is_a(reader.op, MaxUnpool2d)]
    if len(pools) != 1 or len(pools) + len(unpools) != len(readers):
        return False
    return all(
        op.counterpart(MaxPool) == pools[0]
        and unpool.inputs[0] is not node
        and len(used_by[unpool]) == 1
        and _is_gate_of(used_by[unpool][0], {node})
        for unpool, op in unpools
    )


def _is_gate_of(node: Node, rectified: set[Node]) -> bool:
    """Whether a node is ``gate(max_unpool2d(dy, r), z > 0)`` with ``r = relu(z)`` among ``rectified``."""
    if not is_a(node.op, gate.op):
        return False
    unpool, condition = node.inputs
    if not is_a(unpool.op, MaxUnpool2d) or unpool.inputs[1] not in rectified:
        return False
    return _is_positive(condition) and condition.inputs[0] is unpool.inputs[1].inputs[0]


def _is_positive(node: Node) -> bool:
    """Whether a node is ``z > 0``."""
    if not is_a(node.op, greater.op):
        return False
    zero = node.inputs[1].value
    return zero is not None and zero.size == 1 and zero.ndim == 0 and zero.item() == 0


def gate_by_result(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with ``z > 0`` as ``relu(z) > 0`` where ``relu(z)`` is computed anyway.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> z = tg.input("z", (2,))
    >>> gate_by_result(nodes_of(tg.Graph([tg.relu(z), z > 0])))[1].inputs[0]
    <relu float32 (2,)>
    """
    arguments = {node.inputs[0] for node in topological(outputs) if is_a(node.op, relu.op)}
    rectified: dict[Node, Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        is_relu = is_a(node.op, relu.op)
        if not is_relu and not (_is_positive(node) and node.inputs[0] in arguments):
            return remade(node, inputs)
        result = rectified.setdefault(inputs[0], make(relu.op(), inputs[0]))
        if not is_relu:
            return remade(node, (result, inputs[1]))
        result.tensors += node.tensors
        return result

    return rewrite(outputs, rule)
