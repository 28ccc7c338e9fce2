"""The pictures of the documentation: ``python -m tests.pictures docs/pictures``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinygraph as tg
from tests.tools.models import exercise_text
from tinygraph.draw import Picture, draw
from tinygraph.model import bundled_models
from tinygraph.notes.notes import samples_of

FORMATS = ("svg", "png", "pdf", "gv")


def square() -> Picture:
    """Draw the smallest graph in which a tensor is used twice."""
    x = tg.tensor(3.0, name="x")
    return draw(x * x, title="x * x")


def diamond() -> Picture:
    """Draw a graph that parts and meets again."""
    x = tg.tensor(2.0, name="x")
    a, b = tg.exp(x), tg.tanh(x)
    a.name, b.name = "a", "b"
    return draw(a * b, title="A diamond")


def expression() -> Picture:
    """Draw an expression of single numbers, as lessons on backpropagation begin with."""
    a, b, c, f = (tg.tensor(value, name=name) for name, value in {"a": 2.0, "b": -3.0, "c": 10.0, "f": -2.0}.items())
    e = a * b
    d = e + c
    loss = d * f
    e.name, d.name, loss.name = "e", "d", "L"
    return draw(loss, title="An expression of four numbers")


def neuron() -> Picture:
    """Draw a neuron with two inputs; one of its weights gets no gradient, for its input is 0."""
    values = {"x1": 2.0, "w1": -3.0, "x2": 0.0, "w2": 1.0, "b": 6.88}
    x1, w1, x2, w2, b = (tg.tensor(value, name=name) for name, value in values.items())
    n = x1 * w1 + x2 * w2 + b
    o = tg.tanh(n)
    n.name, o.name = "n", "o"
    return draw(o, title="A neuron")


def matrix() -> Picture:
    """Draw the worked example of the notes' activation: a matrix small enough to be written out."""
    z = tg.tensor([[1.02, -0.25], [-3.45, 2.2]], name="Z2")
    c = tg.relu(z)
    c.name = "C2"
    return draw((c * c).sum(), title="A matrix through ReLU")


def marks() -> Picture:
    """Draw a graph in which a number stops being one."""
    x = tg.tensor([-1.0, 4.0], name="x")
    with np.errstate(invalid="ignore"):
        return draw(tg.sqrt(x).sum(), title="A square root of -1")


@dataclass(frozen=True)
class Cubed(tg.Op):
    """The third power, with a rule that forgets a factor of 3."""

    elementwise = True

    def forward(self, x):  # type: ignore[no-untyped-def]
        """Return x to the third."""
        return x * x * x

    def vjp(self, dy, y, x):  # type: ignore[no-untyped-def]
        """Return a third of the gradient."""
        return dy * x * x


def verdicts() -> Picture:
    """Draw what a check finds of a rule that is wrong."""
    x = tg.tensor([0.5, -1.0], name="x")
    y = tg.apply(Cubed(), [tg.tanh(x)]).sum()
    return draw(y, title="A rule with a mistake", report=tg.check(y))


def mistake() -> Picture:
    """Draw a model whose fourth equation does not fit."""
    try:
        tg.Model(
            inputs={"X": [8], "Y": [1]},
            parameters={
                "W1": {"shape": [8, 4], "init": "he_normal"},
                "B1": {"shape": [4], "init": "zeros"},
                "W2": {"shape": [3, 1], "init": "he_normal"},
            },
            equations="Z1 = X @ W1 + B1\nA1 = relu(Z1)\nZ2 = A1 @ W2\na = sigmoid(Z2)\ncost = bce(a, Y)",
            output="a",
            loss="cost",
            title="W2 has a row too few",
        )
    except tg.ModelError as error:
        return draw(error)
    raise AssertionError("the model is valid")


def with_values(name: str) -> Picture:
    """Draw a bundled model with the numbers of the second sample of its data."""
    model = tg.load_model(name)
    return draw(model, feeds=samples_of(model, str(model.training.data), 1)["sample 1"])


def pictures() -> Mapping[str, Callable[[], Picture]]:
    """Return what makes each picture, by the name of its file."""
    made: dict[str, Callable[[], Picture]] = {
        function.__name__: function
        for function in (square, diamond, expression, neuron, matrix, marks, verdicts, mistake)
    }
    for name in bundled_models():
        made[name] = lambda name=name: draw(tg.load_model(name))  # type: ignore[misc]
    for name in ("xor", "notes_cnn"):
        made[f"{name}_values"] = lambda name=name: with_values(name)  # type: ignore[misc]
    made["exercise"] = lambda: draw(tg.Model.from_toml(exercise_text()))
    made["residual_folded"] = lambda: draw(tg.load_model("residual"), fold="all")
    made["xor_full"] = lambda: draw(tg.load_model("xor"), detail="full", view="both")
    made["xor_forward"] = lambda: draw(tg.load_model("xor"), detail="shape", view="forward")
    made["xor_right"] = lambda: draw(tg.load_model("xor"), detail="shape", direction="right")
    return made


def main() -> None:
    """Write all pictures, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--format", choices=FORMATS, default="svg")
    parser.add_argument("--only", nargs="+", choices=sorted(pictures()), default=list(pictures()), metavar="NAME")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = pictures()[name]().render(options.folder / f"{name}.{options.format}")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
