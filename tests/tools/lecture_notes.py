"""The lecture notes' CNN, and comparisons with its transcription in plain NumPy."""

import numpy as np

import tinygraph as tg

PARAMETERS = ("W3", "B3", "K2", "B2", "K1", "B1")
NODES = ("Z3", "f", "P2", "C2", "Z2", "P1", "C1", "Z1")


def close(actual, expected):
    """Equal to 1e-12 of the largest expected number; an expectation of zeros alone would show nothing."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.any(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


class NotesCNN:
    """The notes' CNN recorded on m samples in float64, with ``cnn["Z2"]`` and ``cnn["dZ2"]`` as arrays.

    With padding 0 an image of 10 by 10 leaves even sizes for both pools; with padding 1 one of 8 by 8 does.
    """

    def __init__(self, m, padding):
        rng = np.random.default_rng(20 + m + padding)
        size, features = (8, 64) if padding else (10, 16)
        self.m, self.padding = m, padding
        leaves = {
            "Inp": tg.tensor(rng.random((m, 1, size, size)), name="Inp"),
            "y": tg.tensor(np.arange(m, dtype=float).reshape(m, 1) % 2, name="y"),
            "K1": tg.parameter(rng.normal(size=(8, 1, 3, 3)) / 3, name="K1"),
            "B1": tg.parameter(rng.normal(size=(8, 1, 1)) / 3, name="B1"),
            "K2": tg.parameter(rng.normal(size=(16, 8, 3, 3)) / 6, name="K2"),
            "B2": tg.parameter(rng.normal(size=(16, 1, 1)) / 3, name="B2"),
            "W3": tg.parameter(rng.normal(size=(features, 1)) / 8, name="W3"),
            "B3": tg.parameter(rng.normal(size=(1,)), name="B3"),
        }
        self.tensors = leaves | record(**leaves, padding=padding)
        wanted = NODES + PARAMETERS
        found = tg.grad(self.tensors["cost"], [self.tensors[symbol] for symbol in wanted])
        self.gradients = dict(zip(wanted, found, strict=True))

    def __getitem__(self, symbol):
        if symbol in self.tensors:
            return self.tensors[symbol].value
        return self.gradients[symbol.removeprefix("d")].value


def record(Inp, y, K1, B1, K2, B2, W3, B3, padding):
    """The notes' forward page, equation by equation, with its symbols as names."""
    Z1 = named("Z1", tg.conv2d(Inp, K1, padding=padding) + B1)
    C1 = named("C1", tg.relu(Z1))
    P1 = named("P1", tg.avg_pool2d(C1, 2))
    Z2 = named("Z2", tg.conv2d(P1, K2, padding=padding) + B2)
    C2 = named("C2", tg.relu(Z2))
    P2 = named("P2", tg.max_pool2d(C2, 2))
    f = named("f", tg.flatten(P2))
    Z3 = named("Z3", f @ W3 + B3)
    a = named("a", tg.sigmoid(Z3))
    cost = named("cost", tg.bce(a, y))
    return {"Z1": Z1, "C1": C1, "P1": P1, "Z2": Z2, "C2": C2, "P2": P2, "f": f, "Z3": Z3, "a": a, "cost": cost}


def named(name, tensor):
    tensor.name = name
    return tensor


def image(rows):
    return tg.tensor(np.array(rows, dtype=float)[np.newaxis, np.newaxis])


def gradient_of(output, x, cotangent):
    return tg.grad(output, [x], cotangent=np.array(cotangent, dtype=float)[np.newaxis, np.newaxis])[0].value[0, 0]
