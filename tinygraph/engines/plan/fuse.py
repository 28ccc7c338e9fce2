"""Pass, for generated kernels: chains of elementwise operations, with a sum or mean at their end, become one node.

A chain computed by NumPy reads and writes memory for each of its operations; a generated loop does so once. Every element is
computed by the same operations in the same order, so a chain is exact but for the last places of functions such as exp. Sums
of float32 are taken in float64. Only float32 and float64 are fused: the rules of small integers are NumPy's.

A result that several nodes read is computed again by each, if that is cheap and reads one large array at most; then it is
never written to memory.
"""

from collections.abc import Iterable, Mapping, Sequence

from tinygraph.engines.plan.kernels.fused import Fused, FusedSum
from tinygraph.engines.plan.kernels.scalars import DEAR, POWERS, expression
from tinygraph.engines.plan.node import Node, is_a, make, remade, rewrite, users
from tinygraph.graph import topological
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.comparison.comparison import logical_and, logical_not, logical_or
from tinygraph.ops.elementwise.arithmetic import divide, subtract
from tinygraph.ops.elementwise.cast import Cast
from tinygraph.ops.elementwise.exponential import exp, power, sqrt
from tinygraph.ops.pooling.global_pooling import GlobalAvgPool, GlobalAvgPool2d
from tinygraph.ops.reduction.extremes import Max
from tinygraph.ops.reduction.reduction import Mean, Sum
from tinygraph.ops.shape.shape import SumTo

# LLVM computes several elements at once only if few arrays could overlap with the result.
_MOST_INPUTS, _MOST_STEPS = 7, 40
# With fewer elements, how an array is repeated does not matter.
_LARGE = 1 << 14


def fuse(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with chains of elementwise operations as single nodes.

    >>> import tinygraph as tg
    >>> from tinygraph.engines.plan.node import nodes_of
    >>> x = tg.input("x", (2, 3))
    >>> fuse(nodes_of(tg.Graph(tg.mean(tg.exp(x * x)))))
    [<fused_sum float32 ()>]
    """
    outputs = rewrite(outputs, _in_parts)
    used_by = users(outputs)
    # The nodes that are computed together with each node, and itself.
    groups: dict[Node, set[Node]] = {}
    for node in topological(outputs):
        if _fits(node) or _is_sum(node):
            groups[node] = _group(node, groups, used_by)
    groups = {node: group for node, group in groups.items() if len(group) > 1 or _is_worth_it(node)}
    needed, waiting = set[Node](), list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += _inputs(groups[node]) if node in groups else node.inputs
    new: dict[Node, Node] = {}
    for node in topological(outputs):
        if node in needed:
            new[node] = (
                _fused(node, groups[node], new) if node in groups else remade(node, tuple(new[x] for x in node.inputs))
            )
    return [new[output] for output in outputs]


def _in_parts(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return a softmax as its parts, and a pool over images as a mean."""
    x, op = inputs[0] if inputs else node, node.op
    if node.dtype.char not in "fd" or x.dtype != node.dtype or not x.size:
        return remade(node, inputs)
    if is_a(op, Softmax):
        powers = make(exp.op(), make(subtract.op(), x, make(Max(op.axis, keepdims=True), x)))
        return make(divide.op(), powers, make(Sum(op.axis, keepdims=True), powers), tensors=node.tensors)
    if is_a(op, GlobalAvgPool, GlobalAvgPool2d):
        return make(Mean(tuple(range(2, x.ndim)), x.ndim == node.ndim), x, tensors=node.tensors)
    return remade(node, inputs)


def _is_worth_it(node: Node) -> bool:
    """Whether a loop computes one operation alone faster than NumPy, which repeats small arrays slowly."""
    repeats = not _is_sum(node) and any(1 < x.size < node.size for x in node.inputs)
    return is_a(node.op, Mean, *DEAR) or (repeats and node.size >= _LARGE)


def _text(node: Node) -> str | None:
    """Return the expression of a node for one element, or ``None`` if it has none."""
    if is_a(node.op, power.op):
        exponent = node.inputs[1]
        known = exponent.value is not None and exponent.ndim == 0 and exponent.dtype == node.dtype
        return POWERS.get(float(exponent.value)) if known else None  # type: ignore[arg-type]
    return None if node.op is None else expression(node.op, len(node.inputs))


def _fits(node: Node) -> bool:
    """Whether a node has an expression, and its numbers are of one dtype, float32 or float64."""
    op = node.op
    if op is None or not node.size or _text(node) is None:
        return False
    kinds = [x.dtype.kind for x in node.inputs]
    if set(kinds) == {"b"}:
        return is_a(op, Cast, logical_and.op, logical_or.op, logical_not.op) and node.dtype.char in "fd?"
    dtypes = {x.dtype.char for place, x in enumerate(node.inputs) if place not in op.conditions}
    numbers = dtypes | ({node.dtype.char} - {"?"})
    return len(numbers) == 1 and numbers <= {"f", "d"} and all(kinds[place] == "b" for place in op.conditions)


def _number(node: Node) -> str:
    """Return the dtype of the numbers of a node that fits, as a character; nothing where it has truth values alone."""
    return next((x.dtype.char for x in (node, *node.inputs) if x.dtype.kind == "f"), "")


def _is_sum(node: Node) -> bool:
    if not is_a(node.op, Sum, SumTo, Mean):
        return False
    x = node.inputs[0]
    return x.dtype == node.dtype and node.dtype.char in "fd" and bool(node.size and x.size)


def _group(node: Node, groups: Mapping[Node, set[Node]], used_by: Mapping[Node, list[Node]]) -> set[Node]:
    """Return the nodes to compute together with a node."""
    group = {node}
    for x in dict.fromkeys(node.inputs):
        if x in groups and _joins(x, node, groups[x], used_by):
            larger = group | groups[x]
            if len(larger) <= _MOST_STEPS and len(_inputs(larger)) <= _MOST_INPUTS:
                group = larger
    return group


def _joins(x: Node, node: Node, own: set[Node], used_by: Mapping[Node, list[Node]]) -> bool:
    """Whether an input is computed together with a node, and not written to memory."""
    readers = used_by[x]
    if _is_sum(x) or x in readers or not all(_fits(reader) or _is_sum(reader) for reader in readers):
        return False
    if (x.shape != node.shape and not _is_sum(node)) or len({_number(x), _number(node)} - {""}) > 1:
        return False
    large = [y for y in _inputs(own) if y.size == x.size]
    return len(readers) == 1 or (len(large) <= 1 and not any(is_a(y.op, *DEAR, divide.op, sqrt.op) for y in own))


def _inputs(group: Iterable[Node]) -> list[Node]:
    """Return what the nodes of a group read from outside, in the order of the graph."""
    group = set(group)
    return sorted({x for node in group for x in node.inputs} - group, key=lambda node: node.order)


def _fused(node: Node, group: set[Node], new: Mapping[Node, Node]) -> Node:
    """Return a group as one node."""
    inputs, chain = _inputs(group), sorted(group, key=lambda x: x.order)
    if _is_sum(node):
        chain.remove(node)
    places = {x: place for place, x in enumerate([*inputs, *chain])}
    steps = tuple((x.op, tuple(places[y] for y in x.inputs), x.dtype, _text(x)) for x in chain)
    op = FusedSum(Fused(steps), node.op) if _is_sum(node) else Fused(steps)
    tensors = tuple(x for each in (*chain, node)[: None if _is_sum(node) else -1] for x in each.tensors)
    return Node(node.shape, node.dtype, op, tuple(new[x] for x in inputs), tensors=tensors)
