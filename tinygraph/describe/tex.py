"""The formulas of a subject: a right-hand side for every node that has a line of its own, made from the nodes themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tinygraph.describe.pieces import ATOM, POWER, PRODUCT, SIGN, SUM, Piece, binding_of, filled, number, truth, within
from tinygraph.describe.remarks import left_out
from tinygraph.describe.subject import Subject, written_inputs
from tinygraph.describe.symbols import LAST, Formula, Symbol, Symbols, gradient_symbol
from tinygraph.describe.ways import owners_of, symbol_in, ways_of
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.shape.shape import Transpose

# How tightly operators bind, and how they are written between arrays.
_OPERATORS = {
    ">": (0, ">"),
    ">=": (0, r"\geq"),
    "<": (0, "<"),
    "<=": (0, r"\leq"),
    "==": (0, "="),
    "!=": (0, r"\neq"),
    "+": (1, "+"),
    "-": (1, "-"),
    "*": (2, r"\odot"),
    "/": (2, "/"),
    "@": (2, r"\,"),
    "**": (4, "^"),
}
# A sum of more contributions than this is written with a sign for the sum.
_LONGEST_SUM = 6
# How a size is written: as a number, or as a multiple of the number of samples.
Size: TypeAlias = Callable[[Tensor, int], str]


@dataclass(frozen=True)
class Slope:
    """A local slope that is written on a line of its own, as in the notes: ``left = right``."""

    left: str
    right: str


@dataclass
class Written:
    """What was written of a subject.

    ``symbols`` stand for nodes; ``right`` are right-hand sides, ``index`` those that tell of one element, by its index;
    ``remarks`` say which attributes a line leaves out; ``slopes`` are the slopes that a line speaks of; ``alias`` maps a
    node of the backward pass to the tensor of the forward pass that it computes again.
    """

    subject: Subject
    symbols: Symbols
    characters: dict[Tensor, str] = field(default_factory=dict)
    right: dict[Tensor, str] = field(default_factory=dict)
    index: dict[Tensor, str] = field(default_factory=dict)
    remarks: dict[Tensor, tuple[str, ...]] = field(default_factory=dict)
    slopes: dict[Tensor, Slope] = field(default_factory=dict)
    alias: dict[Tensor, Tensor] = field(default_factory=dict)

    def formula(self, source: str) -> Formula:
        """Return a formula made of the symbols of this document."""
        return Formula(source, self.symbols.known)

    def symbol(self, node: Tensor) -> Formula:
        """Return a node's symbol alone."""
        return self.formula(self.characters[node])

    def equation(self, node: Tensor, left: str = "") -> Formula:
        """Return the line of a node: its symbol, or another left-hand side, and its right-hand side."""
        left = left or self.characters[node]
        return self.formula(f"{left}{self.index.get(node, '')} = {self.right[node]}")


def write(
    subject: Subject,
    symbols: Symbols | None = None,
    size: Size | None = None,
    names: Mapping[Tensor, Symbol] | None = None,
    numbers: Mapping[float, str] | None = None,
    shown: Collection[Tensor] | None = None,
) -> Written:
    """Write every formula of a subject.

    ``size`` writes the size of a node's axis, ``names`` are symbols to use for some nodes, and ``numbers`` what stands in
    place of some constants; ``shown`` are the nodes with a line of their own, if not those of the subject.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> subject = subject_of(tg.load_model("notes_cnn"))
    >>> written = write(subject)
    >>> dK2 = next(node for node in subject.nodes if node.name == "dK2")
    >>> written.equation(dK2).text
    'dK2 = conv(P1, dZ2)'
    """
    written = Written(subject, symbols if symbols is not None else Symbols())
    shown = subject.expressions if shown is None else shown
    writer = _Writer(written, size or _as_it_is, dict(names or {}), dict(numbers or {}), shown)
    for node in subject.nodes:
        writer.add(node)
    return written


class _Writer:
    def __init__(
        self,
        written: Written,
        size: Size,
        names: dict[Tensor, Symbol],
        numbers: dict[float, str],
        shown: Collection[Tensor],
    ) -> None:
        self.written, self.subject, self.size, self.numbers = written, written.subject, size, numbers
        self.shown = shown
        self.owners = owners_of(self.subject)
        self.names = ways_of(self.subject) | names
        self.items = {item.node for item in self.subject.items}
        # Inputs of a model hold samples along their first axis; of other arrays nobody knows what the axes are.
        self.batched = any(node.kind == "input" for node in self.items)
        self.forward = {node for item in self.subject.items for node in item.nodes}
        self.pieces: dict[Tensor, Piece] = {}
        self.made: dict[Any, Tensor] = {}

    def symbol_of(self, node: Tensor) -> Symbol:
        """Return the symbol of a node: of a gradient, the d of what it is the gradient of."""
        return symbol_in(self.subject, self.owners, node)

    def add(self, node: Tensor) -> None:
        """Write one node, whose inputs have been written."""
        written = self.written
        symbol = self.names.get(node) or self.symbol_of(node)
        written.characters[node] = written.symbols.character(symbol)
        known = (written.characters[node], ATOM)
        number = self.number(node)
        if number is not None:
            self.pieces[node] = number
        elif node.op is None:
            self.pieces[node] = known
        elif self.is_repeated(node):
            self.pieces[node] = self.pieces[written.alias[node]]
        else:
            shown = node in self.shown or node in self.names
            piece = self.expression(node, shown)
            written.right[node] = piece[0]
            self.pieces[node] = known if shown else piece
            if node in self.items:
                self.made.setdefault(self.key(node), node)

    def number(self, node: Tensor) -> Piece | None:
        """Return a constant as a number: one without a line of its own, or equal to 1, whose elements are equal."""
        if node.kind != "constant" or not node.size or node.dtype.kind not in "biuf":
            return None
        first = node.value.flat[0]
        if (node.name and first != 1 and node in self.items) or not (node.value == first).all():
            return None
        if float(first) in self.numbers:
            return self.numbers[float(first)], ATOM
        text = self.size(node, -1) if not node.shape else ""
        text = text or number(first)
        return text, SIGN if text.startswith("-") else PRODUCT if r"\cdot" in text else ATOM

    def is_repeated(self, node: Tensor) -> bool:
        """Whether a node computes again what a line of the forward pass has computed: then that is what is written."""
        if node in self.forward or node in self.owners or node in self.names:
            return False
        first = self.made.get(self.key(node))
        if first is not None:
            self.written.alias[node] = first
        return first is not None

    def key(self, node: Tensor) -> Any:
        alias = self.written.alias
        inputs = tuple(alias.get(x, x).order for x in written_inputs(node))
        return type(node.op), repr(node.op.attributes() if node.op else ""), inputs

    def operands(self, node: Tensor) -> list[Piece]:
        return [self.pieces[x] for x in written_inputs(node)]

    def expression(self, node: Tensor, shown: bool) -> Piece:
        """Write what makes a node; slopes, and what is told of one element, need a line of their own (``shown``)."""
        op = node.op
        assert op is not None
        operands = self.operands(node)
        self.remark(node, op)
        slope = self.slope(node) if shown else None
        if slope is not None:
            self.written.slopes[node] = slope
            return rf"{self.pieces[node.inputs[0]][0]} \odot {slope.left}", PRODUCT
        if op.symbol in _OPERATORS and len(operands) == 2:
            return self.infix(op.symbol, node)
        if op.symbol == "same" or self.is_repacked(node, op):
            return operands[0]
        if _is_transpose(node) and self.is_inner_product(node.inputs[0]):
            left, right = (self.transposed(x) for x in reversed(node.inputs[0].inputs))
            return rf"{within(left, PRODUCT)} \, {within(right, PRODUCT + 1)}", PRODUCT
        if _is_transpose(node) and _is_transpose(node.inputs[0]):
            return self.transposed(node.inputs[0])
        if op.symbol == "neg":
            return f"-{within(operands[0], PRODUCT)}", SIGN
        if op.symbol == "+" and len(operands) > 2:
            total = self.sum_of_ways(node, operands)
            return total or " + ".join(within(operand, SUM) for operand in operands), SUM
        return self.template(node, op, operands, shown)

    def is_inner_product(self, node: Tensor) -> bool:
        """Whether a node is a product of matrices inside an equation: its transpose is the product of theirs, turned round."""
        matrices = node.op is not None and node.op.symbol == "@" and all(x.ndim == 2 for x in node.inputs)
        return matrices and node not in self.shown and node not in self.names

    def transposed(self, node: Tensor) -> Piece:
        """Write the transpose of a matrix; of a transpose, the matrix."""
        if _is_transpose(node) and node not in self.shown:
            return self.pieces[node.inputs[0]]
        return f"{within(self.pieces[node], ATOM)}^{{T}}", POWER

    def slope(self, node: Tensor) -> Slope | None:
        """Return the slope of a gate: a gradient times whether something holds, where that gradient's tensor is the gate."""
        if node.op is None or node.op.symbol != "*":
            return None
        gradient, condition = node.inputs
        gate = self.owners.get(gradient)
        if gate is None or condition.op is None or condition in self.shown:
            return None
        if condition.dtype.kind != "b" or len(gate.inputs) != 1 or condition.inputs[0] is not gate.inputs[0]:
            return None
        y, x = self.written.characters[gate], self.pieces[gate.inputs[0]][0]
        if len(x) > 1:
            return None
        cases = rf"\begin{{cases}} 1 & \text{{if }} {self.pieces[condition][0]} \\ 0 & \text{{otherwise}} \end{{cases}}"
        return Slope(rf"\frac{{\partial {y}}}{{\partial {x}}}", cases)

    def sum_of_ways(self, node: Tensor, operands: Sequence[Piece]) -> str:
        """Write a long sum of all that comes back to a tensor with a sign for the sum; nothing where it is no such sum."""
        owner, count = self.owners.get(node), len(operands)
        if owner is None or count <= _LONGEST_SUM:
            return ""
        symbols, symbol = self.written.symbols, self.symbol_of(owner)
        ways = [symbols.character(gradient_symbol(symbol, way)) for way in (*range(1, count + 1), "i")]
        return rf"\sum_{{i=1}}^{{{count}}} {ways[-1]}" if [text for text, _ in operands] == ways[:-1] else ""

    def infix(self, symbol: str, node: Tensor) -> Piece:
        """Write ``left symbol right``, leaving out a one that changes nothing."""
        x, y = node.inputs
        # An equation of the model stays as it was written; in those that follow from it, a number comes first.
        if symbol == "*" and node not in self.forward and self.number(y) is not None and self.number(x) is None:
            x, y = y, x
        left, right = self.pieces[x], self.pieces[y]
        if symbol == "*" and "1" in (left[0], right[0]):
            return right if left[0] == "1" else left
        if symbol in ("/", "**") and right[0] == "1":
            return left
        binding, sign = _OPERATORS[symbol]
        if symbol == "/":
            return rf"\frac{{{within(left, SUM)}}}{{{within(right, SUM)}}}", PRODUCT
        if symbol == "**" or (symbol == "*" and left == right):
            return f"{within(left, ATOM)}^{{{within(right, SUM) if symbol == '**' else 2}}}", POWER
        if symbol == "*":
            sign = self.times(x, y)
        if right[0].startswith("-"):
            right = (right[0], SUM)
        elif symbol == "*" and right[0].startswith(r"\frac") and binding_of(right[0]) == ATOM:
            right = (right[0], ATOM)
        return f"{within(left, max(binding, SUM))} {sign} {within(right, binding + 1)}", binding

    def times(self, x: Tensor, y: Tensor) -> str:
        """Return the sign of a product: of arrays a circle, of numbers a dot, and nothing after a number that is written."""
        if x.size > 1 and y.size > 1:
            return r"\odot"
        between_numbers = max(x.size, y.size) == 1 and self.number(x) is None
        return r"\cdot" if between_numbers or self.pieces[y][0][:1].isdigit() else r"\,"

    def template(self, node: Tensor, op: Op, operands: Sequence[Piece], shown: bool) -> Piece:
        """Write an operation as its own template says, or as a call of its name."""
        template = op.written_tex(*node.inputs)
        index = re.match(r"(_\{\w+\}) = ", template)
        if not template or (index and not shown):
            return self.call(op, operands), ATOM
        is_truth = node.dtype.kind == "b"
        operands = [truth(x) for x in operands] if is_truth else self.spread(node, operands)
        fields = dict(zip(op.parameters, operands, strict=False))
        if op.variadic:
            fields = {f"{op.parameters[-1]}{i}": operand for i, operand in enumerate(operands)}
            fields[op.parameters[-1]] = ", ".join(text for text, _ in operands), ATOM
        for name, value in op.attributes().items():
            if f"{{{name}}}" in template:
                fields.setdefault(name, self.attribute(value))
        fields.setdefault("shape", (self.shape(node), ATOM))
        counted = node.inputs[0] if node.inputs else node
        fields.setdefault("size", (self.count(counted, counted.ndim), ATOM))
        fields.setdefault("rows", (self.count(counted, counted.ndim - 1), ATOM))
        if index:
            self.written.index[node] = index[1]
            template = template[index.end() :]
        text = filled(template, fields)
        return text, 0 if is_truth else operands[0][1] if template == "{x}" and operands else binding_of(text)

    def spread(self, node: Tensor, operands: Sequence[Piece]) -> Sequence[Piece]:
        """Return what is repeated over axes without the change of shape that makes room for them."""
        inner = node.inputs[0] if node.inputs else node
        if node.op is None or node.op.name != "broadcast_to" or inner in self.shown or inner.op is None:
            return operands
        return self.operands(inner) if inner.op.name in ("reshape", "expand_dims") else operands

    def is_repacked(self, node: Tensor, op: Op) -> bool:
        """Whether an operation inside an equation, or one that gives a gradient its shape, only adds axes of size 1 or drops
        them: what broadcasting needs, and no lecturer writes."""
        sizes = [[size for size in x.shape if size != 1] for x in (node, *node.inputs)]
        return op.name == "reshape" and sizes[0] == sizes[1] and node not in self.items

    def call(self, op: Op, operands: Sequence[Piece]) -> str:
        """Write a call: a name that is no symbol, operands, and attributes as text."""
        texts = [text for text, _ in operands]
        if type(op).expression is Op.expression:
            shown = [f"[{', '.join(texts)}]"] if op.variadic else texts
            shown += [self.written.symbols.literal(text) for text in op.written_attributes()]
            return f"{self.written.symbols.literal(op.name)}({', '.join(shown)})"
        # An operation that writes itself is asked to do so with private characters, to find its operands again.
        marks = [chr(ord(LAST) - i) for i in range(len(texts))]
        pieces = re.split(f"([{''.join(marks)}])", op.expression(*marks))
        known = dict(zip(marks, texts, strict=True))
        return "".join(known.get(piece) or self.written.symbols.literal(piece) for piece in pieces if piece)

    def attribute(self, value: Any) -> Piece:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = number(value)
            return text, SIGN if text.startswith("-") else ATOM
        return self.written.symbols.literal(str(value)), ATOM

    def shape(self, node: Tensor) -> str:
        """Write the shape of a node: as that of a tensor whose gradient it is, or in numbers."""
        owner = self.owners.get(node)
        if owner is not None:
            return rf"\operatorname{{shape}}({self.written.characters[owner]})"
        sizes = ", ".join(self.size(node, axis) for axis in range(node.ndim))
        return f"({sizes}{',' if node.ndim == 1 else ''})"

    def count(self, node: Tensor, axes: int) -> str:
        """Write how many elements the first axes of a node have."""
        sizes = [self.size(node, axis) for axis in range(axes)]
        known = math.prod(int(size) for size in sizes if size.isdigit())
        growing = [size for size in sizes if not size.isdigit()]
        return r"\,".join(growing if growing and known == 1 else [str(known), *growing])

    def remark(self, node: Tensor, op: Op) -> None:
        """Keep what the line leaves out: attributes that its template does not write, and the axes of a sum."""
        template = op.written_tex(*node.inputs)
        is_told = template == "{x}" or not (template or op.symbol in _OPERATORS) or self.is_repacked(node, op)
        found = [] if is_told else left_out(node, op, template, self.batched)
        inlined = [x for x in node.inputs if x.op is not None and x not in self.shown]
        found += [text for x in inlined for text in self.written.remarks.get(x, ())]
        if found:
            self.written.remarks[node] = tuple(dict.fromkeys(found))


def _is_transpose(node: Tensor) -> bool:
    return isinstance(node.op, Transpose) and node.op.axes is None


def _as_it_is(node: Tensor, axis: int) -> str:
    return str(node.shape[axis]) if axis >= 0 else ""
