"""Passes over relu and max-pooling that let their gradients read smaller arrays.

Both are exact. The gate ``z > 0`` is open where ``relu(z) > 0``, NaN included, so ``z`` need not be kept. And ``relu`` and the
maximum of windows may change places, because both are monotone: where the maximum is positive the two orders find the same
winner, and elsewhere the gate is closed.
"""

from collections.abc import Mapping, Sequence

from tinygraph.engines.plan.node import Node, in_order, is_a, make, remade, rewrite, users
from tinygraph.ops.activation.activation import relu
from tinygraph.ops.comparison.comparison import gate, greater
from tinygraph.ops.pooling.max_pooling import MaxPool, MaxPool2d, MaxUnpool, MaxUnpool2d


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
    moved = {node for node in in_order(outputs) if _movable(node, used_by)}
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
    arguments = {node.inputs[0] for node in in_order(outputs) if is_a(node.op, relu.op)}
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
