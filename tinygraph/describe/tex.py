"""The formulas of a subject in TeX: a right-hand side for every node that has a line of its own."""

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from tinygraph.describe.numbers import tex_number
from tinygraph.describe.subject import Subject
from tinygraph.describe.symbols import LAST, Formula, Symbol, Symbols, gradient_symbol
from tinygraph.describe.text import LONGEST_SUM
from tinygraph.describe.writer import BINDING, Binds, Piece, Writer, binding_of, equal_elements, written_inputs
from tinygraph.errors import TinygraphError
from tinygraph.graph import Op, Tensor

_SIGNS = {">=": r"\geq", "<=": r"\leq", "==": "=", "!=": r"\neq", "@": r"\,"}
_TRANSPOSED = "{(x)}^{T}"
# Attributes that only repeat what the shapes of the arrays or the formula say.
_REPEATED = frozenset({"to", "output_size", "kernel_size", "dtype", "classes", "keepdims", "equation"})
_AXES = ("samples", "channels", "rows", "columns")
# How a size is written: as a number, or as a multiple of the number of samples.
Size: TypeAlias = Callable[[Tensor, int], str]


class Formulas(Writer):
    """The formulas of a subject, written in the order of its nodes.

    ``size`` writes the size of a node's axis. ``names`` are symbols for some nodes, ``numbers`` the text for some constants,
    and ``shown`` the nodes with a line of their own, if not those of the subject.

    ``characters`` represent the symbols of nodes, ``right`` are right-hand sides, and ``index`` the indices of those that
    describe one element. ``remarks`` say which attributes a line leaves out. ``slopes`` are left and right-hand sides of the
    local slopes that a line uses. ``alias`` maps a node of the backward pass to the node of the forward pass that it repeats.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> subject = subject_of(tg.load_model("notes_cnn"))
    >>> formulas = Formulas(subject)
    >>> formulas.equation(next(node for node in subject.nodes if node.name == "dK2")).text
    'dK2 = conv(P1, dZ2)'
    """

    negated = Binds.PRODUCT

    def __init__(
        self,
        subject: Subject,
        symbols: Symbols | None = None,
        size: Size | None = None,
        names: Mapping[Tensor, Symbol] | None = None,
        numbers: Mapping[float, str] | None = None,
        shown: Collection[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.subject, self.symbols = subject, Symbols() if symbols is None else symbols
        self.size = size or _constant_size
        self.numbers = numbers or {}
        self.names = {**subject.numbered, **(names or {})}
        self.lines = {*(subject.expressions if shown is None else shown), *self.names}
        self.items = {item.node for item in subject.items}
        # Inputs of a model have samples along their first axis; the axes of other arrays have no known meaning.
        self.batched = any(node.kind == "input" for node in self.items)
        self.forward = {node for item in subject.items for node in item.nodes}
        self.characters: dict[Tensor, str] = {}
        self.right: dict[Tensor, str] = {}
        self.index: dict[Tensor, str] = {}
        self.remarks: dict[Tensor, tuple[str, ...]] = {}
        self.slopes: dict[Tensor, tuple[str, str]] = {}
        self.alias: dict[Tensor, Tensor] = {}
        self._made: dict[Any, Tensor] = {}
        for node in subject.nodes:
            self._add(node)

    def formula(self, source: str) -> Formula:
        """Return a formula made of the symbols of this document."""
        return Formula(source, self.symbols.known)

    def symbol(self, node: Tensor) -> Formula:
        """Return a node's symbol alone."""
        return self.formula(self.characters[node])

    def equation(self, node: Tensor) -> Formula:
        """Return the line of a node: its symbol and its right-hand side."""
        return self.formula(f"{self.characters[node]}{self.index.get(node, '')} = {self.right[node]}")

    def _add(self, node: Tensor) -> None:
        """Write one node, whose inputs have been written."""
        character = self.symbols.character(self.names.get(node) or self.subject.symbol(node))
        self.characters[node] = character
        number, first = self.number(node), self._repeated(node)
        if number is not None or node.op is None:
            self.pieces[node] = number or (character, Binds.ATOM)
        elif first is not None:
            self.alias[node] = first
            self.pieces[node] = self.pieces[first]
        else:
            piece = self.expression(node)
            self.right[node] = piece[0]
            self.pieces[node] = (character, Binds.ATOM) if node in self.lines else piece
            if node in self.items:
                self._made.setdefault(self._key(node), node)

    def number(self, node: Tensor) -> Piece | None:
        """Return a constant as a number: one without a line of its own, or equal to 1, with equal elements."""
        first = equal_elements(node)
        if first is None or node.dtype.kind == "c" or (node.name and first != 1 and node in self.items):
            return None
        if float(first) in self.numbers:
            return self.numbers[float(first)], Binds.ATOM
        text = (self.size(node, -1) if not node.shape else "") or tex_number(first)
        return text, Binds.SIGN if text.startswith("-") else Binds.PRODUCT if r"\cdot" in text else Binds.ATOM

    def _repeated(self, node: Tensor) -> Tensor | None:
        """Return the node with a line of the forward pass that a node computes again: then that symbol is written."""
        is_new = node in self.forward or node in self.subject.owners or node in self.names
        return None if is_new else self._made.get(self._key(node))

    def _key(self, node: Tensor) -> Any:
        inputs = tuple(self.alias.get(x, x).order for x in written_inputs(node))
        return type(node.op), repr(node.op.attributes() if node.op else ""), inputs

    # Expressions

    def expression(self, node: Tensor) -> Piece:
        """Write what makes a node. Slopes, and formulas for one element, need a line of their own."""
        op = node.op
        assert op is not None
        self._keep_remark(node, op)
        slope = self._slope(node, op) if node in self.lines else None
        if slope is not None:
            self.slopes[node] = slope
            return rf"{self.pieces[node.inputs[0]][0]} \odot {slope[0]}", Binds.PRODUCT
        if self._is_repacked(node, op):
            return self.pieces[node.inputs[0]]
        if _is_transpose(node):
            x = node.inputs[0]
            if _is_transpose(x):
                return self._transposed(x)
            # The transpose of a product inside an equation is the product of the transposes in reverse order.
            if x.op is not None and x.op.symbol == "@" and all(y.ndim == 2 for y in x.inputs) and x not in self.lines:
                left, right = (self._transposed(y) for y in reversed(x.inputs))
                return rf"{self.within(left, Binds.PRODUCT)} \, {self.within(right, Binds.PRODUCT + 1)}", Binds.PRODUCT
        return super().expression(node)

    def _is_repacked(self, node: Tensor, op: Op) -> bool:
        """Whether an operation inside an equation only adds axes of size 1 or drops them, which no lecturer writes."""
        sizes = [[size for size in x.shape if size != 1] for x in (node, *node.inputs)]
        return op.reshapes and sizes[0] == sizes[1] and node not in self.items

    def _transposed(self, node: Tensor) -> Piece:
        if _is_transpose(node) and node not in self.lines:
            return self.pieces[node.inputs[0]]
        return f"{self.within(self.pieces[node], Binds.ATOM)}^{{T}}", Binds.POWER

    def _slope(self, node: Tensor, op: Op) -> tuple[str, str] | None:
        """Return the slope of a gate: of a gradient times a condition, where that gradient's tensor is the gate."""
        if op.symbol != "*":
            return None
        gradient, condition = node.inputs
        gate = self.subject.owners.get(gradient)
        if gate is None or condition.op is None or condition in self.lines:
            return None
        if condition.dtype.kind != "b" or len(gate.inputs) != 1 or condition.inputs[0] is not gate.inputs[0]:
            return None
        y, x = self.characters[gate], self.pieces[gate.inputs[0]][0]
        if len(x) > 1:
            return None
        cases = rf"\begin{{cases}} 1 & \text{{if }} {self.pieces[condition][0]} \\ 0 & \text{{otherwise}} \end{{cases}}"
        return rf"\frac{{\partial {y}}}{{\partial {x}}}", cases

    def sum(self, node: Tensor, operands: Sequence[Piece]) -> str:
        """Write a sum; a long one of all contributions to a gradient with a sign for the sum."""
        owner, count = self.subject.owners.get(node), len(operands)
        if owner is not None and count > LONGEST_SUM:
            symbol = self.subject.symbol(owner)
            ways = [self.symbols.character(gradient_symbol(symbol, way)) for way in (*range(1, count + 1), "i")]
            if [text for text, _ in operands] == ways[:-1]:
                return rf"\sum_{{i=1}}^{{{count}}} {ways[-1]}"
        return super().sum(node, operands)

    def infix(self, node: Tensor, symbol: str, x: Tensor, y: Tensor) -> Piece:
        """Write ``x symbol y``. Equations of the model keep their order; in the others a number comes first."""
        if symbol == "*" and node not in self.forward and self.number(y) is not None and self.number(x) is None:
            x, y = y, x
        return super().infix(node, symbol, x, y)

    def joined(self, symbol: str, x: tuple[Tensor, Piece], y: tuple[Tensor, Piece]) -> Piece:
        """Write fractions and powers in two dimensions, other operators between their operands."""
        left, right = x[1], y[1]
        if symbol == "/":
            return rf"\frac{{{self.within(left, Binds.SUM)}}}{{{self.within(right, Binds.SUM)}}}", Binds.PRODUCT
        if symbol == "**" or (symbol == "*" and left == right):
            return (
                f"{self.within(left, Binds.ATOM)}^{{{self.within(right, Binds.SUM) if symbol == '**' else 2}}}",
                Binds.POWER,
            )
        if right[0].startswith("-"):
            right = right[0], Binds.SUM
        elif symbol == "*" and right[0].startswith(r"\frac") and binding_of(right[0]) == Binds.ATOM:
            right = right[0], Binds.ATOM
        return super().joined(symbol, x, (y[0], right))

    def sign(self, symbol: str, x: Tensor, y: Tensor) -> str:
        """Write a product of arrays with a circle, of numbers with a dot, and after a written number with nothing."""
        if symbol != "*":
            return _SIGNS.get(symbol, symbol)
        if x.size > 1 and y.size > 1:
            return r"\odot"
        between_numbers = max(x.size, y.size) == 1 and self.number(x) is None
        return r"\cdot" if between_numbers or self.pieces[y][0][:1].isdigit() else r"\,"

    def within(self, piece: Piece, needed: int) -> str:
        r"""Return a piece, in parentheses if it binds less tightly than its place needs; of a comparison 1 or 0."""
        text, binding = piece
        if binding >= needed:
            return text
        return rf"\mathbf{{1}}\left[{text}\right]" if binding == Binds.COMPARISON else rf"\left({text}\right)"

    # Calls

    def call(self, node: Tensor, op: Op, operands: Sequence[Piece]) -> Piece:
        """Write an operation by its own template, or as a call of its name."""
        template = op.written_tex(*node.inputs)
        index = re.match(r"(_\{\w+\}) = ", template)
        if not template or (index and node not in self.lines):
            return self._literal_call(op, [text for text, _ in operands]), Binds.ATOM
        is_truth = node.dtype.kind == "b"
        if is_truth:
            operands = [_statement(x) for x in operands]
        owner = self.subject.owners.get(node)
        counted = node.inputs[0] if node.inputs else node
        sizes = {"size": self._count(counted, counted.ndim), "rows": self._count(counted, counted.ndim - 1)}
        # The shape of a gradient is that of its tensor.
        sizes["shape"] = rf"\operatorname{{shape}}({self.characters[owner]})" if owner is not None else self.shape(node)
        fields: dict[str, Piece] = {name: (text, Binds.ATOM) for name, text in sizes.items()}
        fields |= {name: self._attribute(value) for name, value in op.attributes().items()}
        if op.variadic:
            name = op.parameters[-1]
            fields |= {f"{name}{i}": operand for i, operand in enumerate(operands)}
            fields[name] = ", ".join(text for text, _ in operands), Binds.ATOM
        else:
            fields |= dict(zip(op.parameters, operands, strict=False))
        if index:
            self.index[node] = index[1]
            template = template[index.end() :]

        def fill(match: re.Match[str]) -> str:
            piece = fields.get(match["name"])
            return match[0] if piece is None else self.within(piece, Binds.ATOM) if match["symbol"] else piece[0]

        # {x} is replaced without parentheses, {(x)} with them if it is no symbol; all other braces are those of TeX.
        text = re.sub(r"\{(?P<symbol>\()?(?P<name>[A-Za-z_]\w*)(?(symbol)\))\}", fill, template)
        if is_truth:
            return text, Binds.COMPARISON
        return text, operands[0][1] if template == "{x}" and operands else binding_of(text)

    def _literal_call(self, op: Op, texts: Sequence[str]) -> str:
        """Write a call: a name that is no symbol, operands, and attributes as text."""
        literal = self.symbols.literal
        if type(op).expression is Op.expression:
            given = [f"[{', '.join(texts)}]"] if op.variadic else list(texts)
            return f"{literal(op.name)}({', '.join([*given, *map(literal, op.written_attributes())])})"
        # An operation that writes itself gets private characters for its operands, which are then found again.
        marks = [chr(ord(LAST) - i) for i in range(len(texts))]
        pieces = re.split(f"([{''.join(marks)}])", op.expression(*marks))
        known = dict(zip(marks, texts, strict=True))
        return "".join(known.get(piece) or literal(piece) for piece in pieces if piece)

    def _attribute(self, value: Any) -> Piece:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = tex_number(value)
            return text, Binds.SIGN if text.startswith("-") else Binds.ATOM
        return self.symbols.literal(str(value)), Binds.ATOM

    def shape(self, node: Tensor) -> str:
        """Write the shape of a node in sizes."""
        sizes = ", ".join(self.size(node, axis) for axis in range(node.ndim))
        return f"({sizes}{',' if node.ndim == 1 else ''})"

    def _count(self, node: Tensor, axes: int) -> str:
        """Write how many elements the first axes of a node have."""
        sizes = [self.size(node, axis) for axis in range(axes)]
        known = math.prod(int(size) for size in sizes if size.isdigit())
        growing = [size for size in sizes if not size.isdigit()]
        return r"\,".join(growing if growing and known == 1 else [str(known), *growing])

    def _keep_remark(self, node: Tensor, op: Op) -> None:
        """Keep what the line leaves out: attributes that its template does not write, and the axes of a sum."""
        template = op.written_tex(*node.inputs)
        is_complete = template == "{x}" or not (template or op.symbol in BINDING) or self._is_repacked(node, op)
        found = [] if is_complete else left_out(node, op, template, self.batched)
        for x in node.inputs:
            if x.op is not None and x not in self.lines:
                found += self.remarks.get(x, ())
        if found:
            self.remarks[node] = tuple(dict.fromkeys(found))


def _statement(piece: Piece) -> Piece:
    """Return a piece as part of a statement, where a comparison is one itself and not 1 or 0."""
    text, binding = piece
    if binding > Binds.COMPARISON or binding_of(text) == Binds.ATOM:
        return text, binding or Binds.ATOM
    return rf"\left({text}\right)", Binds.ATOM


def _is_transpose(node: Tensor) -> bool:
    return node.op is not None and node.op.written_tex(*node.inputs) == _TRANSPOSED


def _constant_size(node: Tensor, axis: int) -> str:
    return str(node.shape[axis]) if axis >= 0 else ""


def left_out(node: Tensor, op: Op, template: str, batched: bool) -> list[str]:
    """Return what the template of a node leaves out: its attributes, and the axes of a sum or a mean.

    ``batched`` says that the first axis is that of samples, and that four axes are those of images.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3, 8, 8))
    >>> left_out(node := tg.mean(x, axis=(0, 2, 3)), node.op, node.op.written_tex(x), True)
    ['over samples, rows and columns']
    """
    x = node.inputs[0] if node.inputs else node
    remark = op.remark(node, *node.inputs)
    if remark:
        return [remark]
    fields = {f.name: f for f in dataclasses.fields(op)} if op.attributes() else {}  # type: ignore[arg-type]
    # A formula for one element says by its factor how large the windows are.
    hidden = _REPEATED | {"window"} if re.match(r"_\{\w+\} = ", template) else _REPEATED
    found = {
        name: value
        for name, value in op.attributes().items()
        if name not in hidden and f"{{{name}}}" not in template and value != fields[name].default
    }
    over: list[str] = []
    if "axis" in found or "axis" not in op.attributes():
        axes = op.combined_axes(*node.inputs)
        if axes:
            over = ["over all elements"] if found.pop("axis", ()) is None else _over(axes, x, batched)
    # The formula shows what it depends on.
    shown = {name for name in found if _with(op, name, fields[name].default).written_tex(*node.inputs) != template}
    return over + [f"{name} {value}" for name, value in found.items() if name not in shown]


def _over(axes: tuple[int, ...], x: Tensor, batched: bool) -> list[str]:
    """Name the axes that a sum or a mean runs over."""
    if batched and axes == (0,):
        return ["over the samples"]
    is_image = batched and x.ndim == len(_AXES)
    names = [_AXES[axis] if is_image else str(axis) for axis in axes]
    kind = "" if is_image else "axis " if len(names) == 1 else "axes "
    return [f"over {kind}{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"over {kind}{names[0]}"]


def _with(op: Op, name: str, value: Any) -> Op:
    """Return an operation with another value of an attribute, or itself where it must not have that."""
    try:
        return dataclasses.replace(op, **{name: value})  # type: ignore[type-var]
    except (TinygraphError, TypeError):
        return op
