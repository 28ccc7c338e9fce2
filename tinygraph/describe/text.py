"""A graph as equations: a line for each named or shared node, written as in a model file. Rows of cells as lines of text."""

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from tinygraph.describe.numbers import number_text
from tinygraph.describe.sizes import number_with_m, text_with_m
from tinygraph.describe.writer import Binds, Piece, Writer, binding_of, equal_elements, spread_out, written_inputs
from tinygraph.graph import OPERATIONS, Op, Tensor
from tinygraph.model import Model
from tinygraph.model.values import batch_shape_text, shape_in_batches

LONGEST_SUM = 6
_LONGEST_INLINE = 48


@dataclass(frozen=True)
class TextLine:
    """One line of a graph's text: the node, its label, and the expression that makes it (empty for a leaf)."""

    node: Tensor
    label: str
    expression: str


@dataclass(frozen=True)
class Layout:
    """A graph as text: its lines, a label for every node, and the text of each node where it is used.

    ``same`` maps a node without a line that repeats another one, such as ``x * 1``, to that one.
    """

    equations: list[TextLine]
    labels: dict[Tensor, str]
    texts: dict[Tensor, str]
    same: dict[Tensor, Tensor]


class _Code(Writer):
    """Expressions as a model file writes them. ``larger`` has the nodes of the same graph for one more sample."""

    def __init__(self, larger: Mapping[Tensor, Tensor]) -> None:
        super().__init__()
        self.larger = larger

    def call(self, node: Tensor, op: Op, operands: Sequence[Piece]) -> Piece:
        """Write the call as the operation itself does."""
        texts = [self.within(operands[0], Binds.ATOM)] if op.symbol == "postfix" else [text for text, _ in operands]
        text, other = op.expression(*texts), self.larger.get(node, node).op
        return text if other is None else text_with_m(text, other.expression(*texts)), Binds.ATOM

    def sum(self, node: Tensor, operands: Sequence[Piece]) -> str:
        """Write a sum; of many numbered contributions the first and the last."""
        texts, count = [text for text, _ in operands], len(operands)
        name = texts[0].removesuffix("(1)")
        if count > LONGEST_SUM and texts == [f"{name}({i})" for i in range(1, count + 1)]:
            return f"{texts[0]} + ... + {texts[-1]}"
        return super().sum(node, operands)


def lay_out(
    nodes: Sequence[Tensor],
    outputs: Iterable[Tensor],
    names: Mapping[Tensor, str] | None = None,
    digits: Callable[[Tensor], str | None] | None = None,
    *,
    longest: int = _LONGEST_INLINE,
    lines: Collection[Tensor] | None = None,
    inside: Mapping[Tensor, str] | None = None,
    larger: Mapping[Tensor, Tensor] | None = None,
) -> Layout:
    """Return the lines of a graph in its order.

    A node without a name that is used once, or is only a leaf rearranged, is written inside the equations that use it if
    it is at most ``longest`` characters long. Other nodes without a name are called t1, t2, ... in their order. Names that
    several nodes share get a number. ``names`` replace the nodes' own; ``digits`` writes the constants that are numbers, by
    default to six digits. ``lines`` are the results of operations that have a line, if that is known. ``inside`` are names
    of nodes that need no line for that reason. ``larger`` has the nodes of the same graph for one more sample, by which
    what depends on the number of samples is written with m.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> graph = tg.Graph((x + 1) * tg.sin(x))
    >>> [f"{line.label} = {line.expression}" for line in lay_out(graph.nodes, graph.outputs).equations]
    ['x = ', 't1 = (x + 1) * sin(x)']
    """
    larger = larger or {}
    uses = Counter(x for node in nodes for x in written_inputs(node))
    names = {node: node.name for node in nodes if node.name} | dict(names or {})
    ends = set(outputs)
    kept = {*ends, *names}
    labels = _own_labels(nodes, {**(inside or {}), **names})
    taken = set(labels.values())
    fresh = (name for name in (f"t{i}" for i in itertools.count(1)) if name not in taken)
    writer = _Code(larger)
    written: list[TextLine] = []
    lined: set[Tensor] = set()
    same: dict[Tensor, Tensor] = {}
    # Whoever passes ``digits`` knows which constants a number may replace.
    spread = spread_out(nodes) if digits is None else set[Tensor]()
    for node in nodes:
        in_samples = number_with_m(node, larger.get(node))
        number = None if node in spread else in_samples or (digits or _digits)(node)
        if number is not None:
            writer.pieces[node] = number, Binds.SIGN if number.startswith("-") else binding_of(number)
            # A constant called m needs no line where m is the number of samples.
            shown = node in (ends if in_samples else kept)
        elif node.op is None:
            shown = True
        else:
            piece = writer.pieces[node] = writer.expression(node)
            first = next((x for x in node.inputs if writer.pieces.get(x) is piece), node)
            first = same.get(first, first)
            inline = node not in kept and (
                first in lined or (len(piece[0]) <= longest and (uses[node] == 1 or _is_view(node)))
            )
            if first in lined and inline:
                same[node] = first
            shown = not inline if lines is None else node in lines
        if shown:
            label = labels.get(node) or labels.setdefault(node, next(fresh))
            written.append(TextLine(node, label, "" if node.op is None else writer.pieces[node][0]))
            if number is None:
                writer.pieces[node] = label, Binds.ATOM
                lined.add(node)
    for node in nodes:
        if node not in labels:
            labels[node] = next(fresh)
    return Layout(written, labels, {node: text for node, (text, _) in writer.pieces.items()}, same)


def _own_labels(nodes: Iterable[Tensor], names: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """Return the names of the nodes that have one, each in one line and made unique by a number."""
    wanted = {node: " ".join(str(names[node]).split()) for node in nodes if node in names}
    taken = set(wanted.values())
    labels: dict[Tensor, str] = {}
    used: set[str] = set()
    for node, name in wanted.items():
        numbered = (f"{name}_{i}" for i in itertools.count(2))
        labels[node] = name if name not in used else next(n for n in numbered if n not in used and n not in taken)
        used.add(labels[node])
    return labels


def _is_view(node: Tensor) -> bool:
    """Whether a node is only a leaf rearranged, which needs no name however many times it is used."""
    return node.op is not None and node.op.moves and len(node.inputs) == 1 and node.inputs[0].op is None


def equations_text(lines: Iterable[TextLine]) -> str:
    """Return lines of a graph as aligned text with dtypes and shapes."""
    return aligned([(line.label, right_side(line), f"{line.node.dtype} {line.node.shape}") for line in lines])


def right_side(line: TextLine) -> str:
    """Return what follows the label of a line: an expression, or what a leaf is."""
    return f"= {line.expression}" if line.expression else leaf_note(line.node)


def leaf_note(node: Tensor) -> str:
    """Return what a leaf has in place of an expression: its kind, or the number that a constant is."""
    if node.kind == "constant" and node.size == 1:
        return f"= {node.value.item():.6g}"
    return "value" if node.kind == "tensor" else node.kind


def _digits(node: Tensor) -> str | None:
    """Return a constant as a number: one without a name, or equal to 1, with equal elements."""
    first = equal_elements(node)
    if first is None or (node.name and first != 1):
        return None
    return f"{first:.6g}" if node.dtype.kind == "f" else str(first)


# Operations and constants in words, for the cards of a picture


def uniform(node: Tensor, expression: str) -> str:
    """Return an expression; for a constant with equal elements, what they are.

    >>> import tinygraph as tg
    >>> uniform(tg.constant([1.0, 1.0]), "constant"), uniform(tg.constant([1.0, 2.0]), "constant")
    ('1 everywhere', 'constant')
    """
    value = equal_elements(node)
    if value is None or node.size < 2 or expression != leaf_note(node):
        return expression
    return f"{value + 0.0:.6g} everywhere" if node.dtype.kind == "f" else f"{number_text(value)} everywhere"


def attributes_text(op: Op) -> str:
    """Return the attributes that a call must name: required ones, and those changed from their default.

    Operations written after their operand, such as ``x[1:3]``, show theirs in the equation only.

    >>> import tinygraph as tg
    >>> attributes_text(tg.operation("avg_pool2d").op(2))
    'window=2'
    """
    if op.symbol == "postfix":
        return ""
    defaults = {field.name: field.default for field in fields(op)}  # type: ignore[arg-type]
    return ", ".join(f"{name}={value!r}" for name, value in op.attributes().items() if value != defaults[name])


def composite_called(expression: str) -> tuple[type[Op], str] | None:
    """Return the composite operation that an expression calls, and the attributes that it is given.

    >>> found = composite_called("dropout(f, chance, rate=0.2)")
    >>> (found[0].name, found[1]), composite_called("relu(Z)")
    (('dropout', 'rate=0.2'), None)
    """
    name = expression.partition("(")[0]
    if name not in OPERATIONS or not OPERATIONS[name].op.composite:
        return None
    # The names of what a repeated block computes have numbers, as R.2.f.
    call = ast.parse(re.sub(r"\.(?=\d+\.)", "._", expression), mode="eval").body
    if not isinstance(call, ast.Call):
        return None
    op = OPERATIONS[name].op
    given = [f"{word.arg}={ast.unparse(word.value)}" for word in call.keywords if word.arg not in op.parameters]
    return op, ", ".join(given)


def doc_line(op: Op | type[Op]) -> str:
    """Return the first line of an operation's documentation, empty where it has none of its own.

    >>> import tinygraph as tg
    >>> doc_line(tg.relu.op()) != ""
    True
    """
    # A dataclass without a docstring is given its signature for one.
    kind = op if isinstance(op, type) else type(op)
    doc = (kind.__doc__ or "").strip().split("\n")[0]
    return "" if doc.startswith(f"{kind.__name__}(") else doc


def title_of(ops: Sequence[Op]) -> str:
    """Return the names of a card's operations, each once, in the order in which they are computed."""
    names = list(dict.fromkeys(op.name for op in ops))
    if len(names) > 3:
        return f"{', '.join(names[:3])} … ({len(ops)} operations)"
    return ", ".join(names) or "same as"


def aligned(rows: Sequence[Sequence[str]], right: bool = False, longest: tuple[int, int] = (24, 72)) -> str:
    """Return rows as lines in which every column starts at the same place, or ends there with ``right``.

    With columns to the left, cells that are the last of their row do not widen the column, nor those longer than
    ``longest``, a limit for the first column and one for the others.

    >>> print(aligned([("x", "input"), ("Z3", "= f @ W3")]))
    x   input
    Z3  = f @ W3
    >>> print(aligned([("x", "y"), ("long", "1")], right=True))
       x  y
    long  1
    """
    widths = [0] * max(map(len, rows), default=0)
    for row in rows:
        for i, cell in enumerate(row):
            if right or (any(row[i + 1 :]) and len(cell) <= longest[min(i, 1)]):
                widths[i] = max(widths[i], len(cell))
    place = str.rjust if right else str.ljust
    return "\n".join("  ".join(map(place, row, widths)).rstrip() for row in rows)


def model_text(model: Model) -> str:
    """Return the inputs, parameters, state and equations of a model with their shapes, and how many parameters it has.

    >>> import tinygraph as tg
    >>> model = tg.load_model("xor")
    >>> model.freeze("W1")
    >>> print(model_text(model))
    x     input                float32 (m, 2)
    y     input                float32 (m, 1)
    W1    parameter, frozen    float32 (2, 4)  8
    B1    parameter            float32 (4,)    4
    W2    parameter            float32 (4, 1)  4
    B2    parameter            float32 (1,)    1
    h     = tanh(x @ W1 + B1)  float32 (m, 4)
    Z     = h @ W2 + B2        float32 (m, 1)
    a     = sigmoid(Z)         float32 (m, 1)
    cost  = bce(a, y)          float32 ()
                               parameters      17
                               trainable       9
    """
    counts, trainable = (2, 3, 61) if model.batch is None else (model.batch, model.batch + 1), model.trainable
    recordings = [model.record(model.batch or count, training=True) for count in counts]
    rows = [[n, "input", f"{i.dtype} {batch_shape_text(model.declaration, n)}", ""] for n, i in model.inputs.items()]
    for name, x in model.parameters.items():
        kind = "parameter" if name in trainable else "parameter, frozen"
        rows.append([name, kind, f"{x.dtype} {x.shape}", f"{x.size:,}"])
    rows += [[name, "state", f"{x.dtype} {x.shape}", ""] for name, x in model.state.items()]
    for first, *others in zip(*(recording.equations for recording in recordings), strict=True):
        shape = shape_in_batches({n: e.node.shape for n, e in zip(counts, [first, *others], strict=True)})
        rows.append([first.name, f"= {first.text.partition(' = ')[2]}", f"{first.node.dtype} {shape}", ""])
    total, moving = (sum(x.size for x in tensors.values()) for tensors in (model.parameters, trainable))
    rows += [["", "", "parameters", f"{total:,}"], ["", "", "trainable", f"{moving:,}"]][: 1 + (moving < total)]
    return aligned(rows)
