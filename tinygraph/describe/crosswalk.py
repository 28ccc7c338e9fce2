"""Crosswalk: which statement of the lecture notes a derived formula equals, found by the text of the formula.

Samples are rows here and the cost is a mean. So a product of the notes has its factors in the reverse order, and the 1/m that
the dense slide writes into every gradient appears once, in the first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tinygraph.describe.derive import Line


@dataclass(frozen=True)
class Statement:
    """A statement of the notes: its id, the formulas that express it, and one that the same document must contain, if any."""

    id: str
    formulas: tuple[str, ...]
    given: str = ""


_LAYERS = ("Z1 = conv(Inp, K1) + B1", "Z2 = conv(P1, K2) + B2", "Z3 = f W3 + B3", "Z3 = A2 W3 + B3")
_COST = "[y_i log a_i + (1 - y_i) log(1 - a_i)]"

STATEMENTS = (
    Statement("F1", (_LAYERS[0],)),
    Statement("F2", ("C1 = ReLU(Z1)",)),
    Statement("F3", ("P1 = AvgPool(C1)",)),
    Statement("F4", (_LAYERS[1],)),
    Statement("F5", ("C2 = ReLU(Z2)",)),
    Statement("F6", ("P2 = MaxPool(C2)",)),
    Statement("F7", ("f = flatten(P2)",)),
    Statement("F8", (_LAYERS[2],)),
    Statement("F9", ("a = sigmoid(Z3)",)),
    Statement("F10", (f"cost = -1/m sum_i {_COST}",)),
    Statement("F11", ("loss = -[y log a + (1 - y) log(1 - a)]",)),
    Statement("B1", ("dZ3 = (a - y)/m",)),
    Statement("B2", ("dW3 = f^T dZ3",)),
    Statement("B3", ("dB3 = sum(dZ3)",), _LAYERS[2]),
    Statement("B4", ("df = dZ3 W3^T",)),
    Statement("B5", ("dP2 = reshape(df, shape(P2))",)),
    Statement("B6", ("dC2[m,n] = dP2[x,y] if C2[m,n] is the max of its window, 0 otherwise",)),
    Statement("B7", ("dC2/dZ2 = 1 if Z2 > 0, 0 otherwise", "dZ2 = dC2 * dC2/dZ2")),
    Statement("B8", ("dK2 = conv(P1, dZ2)",)),
    Statement("B9", ("dB2 = sum(dZ2)",), _LAYERS[1]),
    Statement("B10", ("dP1 = conv(padded(dZ2), rot180(K2))",)),
    Statement("B11", ("dC1[m,n] = 1/4 dP1[x,y], x = floor(m/2), y = floor(n/2)",)),
    Statement("B12", ("dC1/dZ1 = 1 if Z1 > 0, 0 otherwise", "dZ1 = dC1 * dC1/dZ1")),
    Statement("B13", ("dK1 = conv(Inp, dZ1)",)),
    Statement("B14", ("dB1 = sum(dZ1)",), _LAYERS[0]),
    Statement("A1", ("dZ3 = (A3 - Y)/m",)),
    Statement("A2", ("dW3 = A2^T dZ3",)),
    Statement("A3", ("dB3 = sum(dZ3)",), _LAYERS[3]),
    # The slide says in one formula, dZ2 = (W3^T dZ3) * f2'(Z2), what two lines show here; f2 is tanh, sigmoid or ReLU.
    Statement(
        "A4",
        (
            "dA2 = dZ3 W3^T",
            "dZ2 = dA2 * (1 - A2^2)",
            "dZ2 = dA2 * A2 * (1 - A2)",
            "dA2/dZ2 = 1 if Z2 > 0, 0 otherwise",
            "dZ2 = dA2 * dA2/dZ2",
        ),
        _LAYERS[3],
    ),
    *(
        Statement(f"U{i}", (f"{symbol} = {symbol} - alpha d{symbol}",))
        for i, symbol in enumerate(("W3", "B3", "K2", "B2", "K1", "B1"), start=1)
    ),
)


def statements_of(text: str, all_texts: Collection[str]) -> tuple[str, ...]:
    """Return the ids of the statements that a formula expresses, in a document that contains ``all_texts``.

    >>> statements_of("dK2 = conv(P1, dZ2)", ())
    ('B8',)
    >>> statements_of("dB3 = sum(dZ3)", ["Z3 = f W3 + B3"]), statements_of("dB3 = sum(dZ3)", ["Z3 = A2 W3 + B3"])
    (('B3',), ('A3',))
    """
    return tuple(
        statement.id
        for statement in STATEMENTS
        if text in statement.formulas and (not statement.given or statement.given in all_texts)
    )


def recognized(lines: Sequence[Line]) -> list[Line]:
    """Return displayed equations with the ids of the statements that they equal."""
    texts = {line.formula.text for line in lines}
    return [replace(line, ids=statements_of(line.formula.text, texts)) for line in lines]
