"""Crosswalk: which statement of the lecture notes a derived formula equals, found by the text of the formula.

Samples are rows here and the cost is a mean. So a product of the notes has its factors in the reverse order, and the 1/m that
the dense slide writes into every gradient appears once, in the first.
"""

from collections.abc import Collection

_LAYERS = ("Z1 = conv(Inp, K1) + B1", "Z2 = conv(P1, K2) + B2", "Z3 = f W3 + B3", "Z3 = A2 W3 + B3")
_COST = "[y_i log a_i + (1 - y_i) log(1 - a_i)]"

# The formulas that express each statement, by its id.
STATEMENTS = {
    "F1": (_LAYERS[0],),
    "F2": ("C1 = ReLU(Z1)",),
    "F3": ("P1 = AvgPool(C1)",),
    "F4": (_LAYERS[1],),
    "F5": ("C2 = ReLU(Z2)",),
    "F6": ("P2 = MaxPool(C2)",),
    "F7": ("f = flatten(P2)",),
    "F8": (_LAYERS[2],),
    "F9": ("a = sigmoid(Z3)",),
    "F10": (f"cost = -1/m sum_i {_COST}",),
    "F11": ("loss = -[y log a + (1 - y) log(1 - a)]",),
    "B1": ("dZ3 = (a - y)/m",),
    "B2": ("dW3 = f^T dZ3",),
    "B3": ("dB3 = sum(dZ3)",),
    "B4": ("df = dZ3 W3^T",),
    "B5": ("dP2 = reshape(df, shape(P2))",),
    "B6": ("dC2[m,n] = dP2[x,y] if C2[m,n] is the max of its window, 0 otherwise",),
    "B7": ("dC2/dZ2 = 1 if Z2 > 0, 0 otherwise", "dZ2 = dC2 * dC2/dZ2"),
    "B8": ("dK2 = conv(P1, dZ2)",),
    "B9": ("dB2 = sum(dZ2)",),
    "B10": ("dP1 = conv(padded(dZ2), rot180(K2))",),
    "B11": ("dC1[m,n] = 1/4 dP1[x,y], x = floor(m/2), y = floor(n/2)",),
    "B12": ("dC1/dZ1 = 1 if Z1 > 0, 0 otherwise", "dZ1 = dC1 * dC1/dZ1"),
    "B13": ("dK1 = conv(Inp, dZ1)",),
    "B14": ("dB1 = sum(dZ1)",),
    "A1": ("dZ3 = (A3 - Y)/m",),
    "A2": ("dW3 = A2^T dZ3",),
    "A3": ("dB3 = sum(dZ3)",),
    # The slide says in one formula, dZ2 = (W3^T dZ3) * f2'(Z2), what two lines show here; f2 is tanh, sigmoid or ReLU.
    "A4": (
        "dA2 = dZ3 W3^T",
        "dZ2 = dA2 * (1 - A2^2)",
        "dZ2 = dA2 * A2 * (1 - A2)",
        "dA2/dZ2 = 1 if Z2 > 0, 0 otherwise",
        "dZ2 = dA2 * dA2/dZ2",
    ),
    **{f"U{i}": (f"{x} = {x} - alpha d{x}",) for i, x in enumerate(("W3", "B3", "K2", "B2", "K1", "B1"), start=1)},
}
# Statements that a formula expresses only in a document that contains another one: the layer that it belongs to.
_GIVEN = {"B3": _LAYERS[2], "B9": _LAYERS[1], "B14": _LAYERS[0], "A3": _LAYERS[3], "A4": _LAYERS[3]}


def statements_of(text: str, all_texts: Collection[str]) -> tuple[str, ...]:
    """Return the ids of the statements that a formula expresses, in a document that contains ``all_texts``.

    >>> statements_of("dK2 = conv(P1, dZ2)", ())
    ('B8',)
    >>> statements_of("dB3 = sum(dZ3)", ["Z3 = f W3 + B3"]), statements_of("dB3 = sum(dZ3)", ["Z3 = A2 W3 + B3"])
    (('B3',), ('A3',))
    """
    found = (id for id, formulas in STATEMENTS.items() if text in formulas)
    return tuple(id for id in found if id not in _GIVEN or _GIVEN[id] in all_texts)
