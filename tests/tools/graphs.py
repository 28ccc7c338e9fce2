"""What tests of graphs share."""

import tinygraph as tg


def network():
    """A dense layer without values, as the README writes it: the loss and its leaves."""
    x = tg.input("x", (4, 3), dtype="float64")
    W = tg.parameter([[0.1], [-0.2], [0.3]], name="W")
    b = tg.parameter([0.5], name="b")
    y = tg.input("y", (4, 1), dtype="float64")
    Z = x @ W + b
    Z.name = "Z"
    a = tg.sigmoid(Z)
    a.name = "a"
    cost = tg.bce(a, y)
    cost.name = "cost"
    return cost, x, W, b, y
