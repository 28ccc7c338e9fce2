"""The expression of a node, made from those of its inputs. Scripts (code, TeX) say how its parts are written."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, ClassVar, TypeAlias

from tinygraph.graph import Op, Tensor

# An expression and how tightly it binds.
Piece: TypeAlias = tuple[str, int]
Binds = IntEnum("Binds", "COMPARISON SUM PRODUCT SIGN POWER ATOM", start=0)
BINDING = {
    **dict.fromkeys((">", ">=", "<", "<=", "==", "!="), Binds.COMPARISON),
    **{"+": Binds.SUM, "-": Binds.SUM, "*": Binds.PRODUCT, "/": Binds.PRODUCT, "@": Binds.PRODUCT, "**": Binds.POWER},
}
# Conditions that always or never hold, as factors.
_TRUTHS = {"True": ("1", Binds.ATOM), "False": ("0", Binds.ATOM)}


def written_inputs(node: Tensor) -> tuple[Tensor, ...]:
    """Return the inputs that a node's equation names: not those that only keep its numbers accurate."""
    return node.inputs if node.op is None or node.op.variadic else node.inputs[: len(node.op.parameters)]


def equal_elements(node: Tensor) -> Any:
    """Return the number that every element of a constant is, or ``None`` where they differ or it is no constant.

    A power with the exponent zero, which derivatives of powers contain, is the constant 1.

    >>> import tinygraph as tg
    >>> equal_elements(tg.constant([2.0, 2.0])).item(), equal_elements(tg.constant([1.0, 2.0]))
    (2.0, None)
    """
    if node.op is not None and node.op.symbol == "**" and node.inputs[1].kind == "constant":
        return node.dtype.type(1) if node.size and not node.inputs[1].value.any() else None
    if node.kind != "constant" or not node.size:
        return None
    first = node.value.flat[0]
    return first if (node.value == first).all() else None


def spread_out(nodes: Iterable[Tensor]) -> set[Tensor]:
    """Return the constants with equal elements whose shape matters to a use, so that a number cannot replace the array.

    >>> import tinygraph as tg
    >>> ones, x = tg.constant([1.0, 1.0]), tg.tensor([1.0, 2.0])
    >>> spread_out(tg.Graph(ones * x).nodes) == set(), spread_out(tg.Graph(ones * x.sum()).nodes) == {ones}
    (True, True)
    """
    found: set[Tensor] = set()
    for node in nodes:
        for i, x in enumerate(node.inputs):
            if x.ndim and equal_elements(x) is not None:
                # Arithmetic spreads a number to the shape of another operand.
                shape = node.shape if node.op is not None and node.op.symbol in BINDING else x.shape
                others = [y.shape for j, y in enumerate(node.inputs) if j != i and equal_elements(y) is None]
                if shape not in others or (node.op is not None and node.op.symbol == "@"):
                    found.add(x)
    return found


def binding_of(text: str) -> int:
    """Return how tightly a written formula binds, by the signs and spaces outside of its parentheses."""
    depth = 0
    loosest = Binds.SUM if text.startswith("-") or r"\begin{cases}" in text else Binds.ATOM
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c == " ":
            loosest = min(loosest, Binds.SUM if text[i + 1 : i + 2] in ("+", "-") else Binds.PRODUCT)
    return loosest


class Writer:
    """Write nodes in the order of the graph; ``pieces`` has the text of each for later expressions.

    This class decides what is left out and where parentheses are needed. A subclass is a script: it writes operators and calls.
    """

    # How tightly an operand must bind to follow a minus sign without parentheses.
    negated: ClassVar[int] = Binds.SIGN

    def __init__(self) -> None:
        self.pieces: dict[Tensor, Piece] = {}

    def expression(self, node: Tensor) -> Piece:
        """Write what makes a node."""
        op = node.op
        assert op is not None
        operands = [self.pieces[x] for x in written_inputs(node)]
        if op.symbol in BINDING and len(operands) == 2:
            return self.infix(node, op.symbol, *node.inputs)
        if op.symbol == "same":
            return operands[0]
        if op.symbol == "neg":
            needed = Binds.ATOM if operands[0][0].startswith("-") else self.negated
            return f"-{self.within(operands[0], needed)}", Binds.SIGN
        if op.symbol == "+" and len(operands) > 2:
            return self.sum(node, operands), Binds.SUM
        return self.call(node, op, operands)

    def infix(self, node: Tensor, symbol: str, x: Tensor, y: Tensor) -> Piece:
        """Write ``x symbol y``, without a one that changes nothing."""
        left, right = self.pieces[x], self.pieces[y]
        if symbol == "*":
            right = _TRUTHS.get(right[0], right)
        if symbol == "*" and left[0] == "1" and y.shape == node.shape:
            return right
        if symbol in ("*", "/", "**") and right[0] == "1" and x.shape == node.shape:
            return left
        return self.joined(symbol, (x, left), (y, right))

    def joined(self, symbol: str, x: tuple[Tensor, Piece], y: tuple[Tensor, Piece]) -> Piece:
        """Write two operands, each a node and its piece, with an operator between them."""
        binding = BINDING[symbol]
        # A power takes its right operand first; comparisons cannot be chained.
        needed = (binding + 1, binding) if symbol == "**" else (max(binding, Binds.SUM), binding + 1)
        left, right = (self.within(piece, least) for (_, piece), least in zip((x, y), needed, strict=True))
        return f"{left} {self.sign(symbol, x[0], y[0])} {right}", binding

    def sign(self, symbol: str, x: Tensor, y: Tensor) -> str:
        """Return how an operator is written between two nodes."""
        return symbol

    def sum(self, node: Tensor, operands: Sequence[Piece]) -> str:
        """Write a sum of more than two operands."""
        return " + ".join(self.within(operand, Binds.SUM) for operand in operands)

    def call(self, node: Tensor, op: Op, operands: Sequence[Piece]) -> Piece:
        """Write an operation that is no operator."""
        raise NotImplementedError

    def within(self, piece: Piece, needed: int) -> str:
        """Return a piece, in parentheses if it binds less tightly than its place needs."""
        text, binding = piece
        return text if binding >= needed else f"({text})"
