"""Small models for tests, and what tests read of them."""

import re
from pathlib import Path

import numpy as np

import tinygraph as tg

DOCS = Path(__file__).parents[2] / "docs"
X = np.arange(8, dtype=np.float32).reshape(2, 4) / 4 - 1


def files_of_page(name):
    """The texts of a page of the documentation that begin with the name of a file, by that name."""
    page = (DOCS / name).read_text(encoding="utf-8")
    return {
        text[2 : text.index("\n")]: text for text in re.findall(r"^```\w+\n(# \w+\.\w+\n.*?)^```$", page, re.M | re.S)
    }


def exercise_text():
    """The model file of the page of the documentation on an exercise by hand."""
    return files_of_page("exercise.md")["exercise.toml"]


def net(equations, parameters=None, inputs=None, output="a", **options):
    """A model on ``x`` (m, 4), unless told otherwise."""
    return tg.Model(inputs or {"x": [4]}, parameters or {}, equations, output, **options)


SHAPES = {
    "notes_cnn": {
        "K1": (8, 1, 3, 3),
        "B1": (8, 1, 1),
        "K2": (16, 8, 3, 3),
        "B2": (16, 1, 1),
        "W3": (64, 1),
        "B3": (1,),
    },
    "notes_cnn_28": {
        "K1": (8, 1, 3, 3),
        "B1": (8, 1, 1),
        "K2": (16, 8, 3, 3),
        "B2": (16, 1, 1),
        "W3": (784, 1),
        "B3": (1,),
    },
    "notes_ann": {"W1": (64, 32), "B1": (32,), "W2": (32, 16), "B2": (16,), "W3": (16, 1), "B3": (1,)},
    "lenet5": {
        "K1": (6, 1, 5, 5),
        "B1": (6, 1, 1),
        "K3": (16, 6, 5, 5),
        "B3": (16, 1, 1),
        "W5": (400, 120),
        "B5": (120,),
        "W6": (120, 84),
        "B6": (84,),
        "W7": (84, 10),
        "B7": (10,),
    },
    "xor": {"W1": (2, 4), "B1": (4,), "W2": (4, 1), "B2": (1,)},
    "notes_cnn_norm": {
        "K1": (8, 1, 3, 3),
        "G1": (8,),
        "B1": (8,),
        "K2": (16, 8, 3, 3),
        "G2": (16,),
        "B2": (16,),
        "W3": (64, 10),
        "B3": (10,),
    },
    "residual": {
        "K0": (12, 1, 3, 3),
        "B0": (12, 1, 1),
        "W": (12, 10),
        "B": (10,),
        **{
            f"{block}.{name}": shape
            for block in ("R1", "R2")
            for name, shape in {"K1": (12, 12, 3, 3), "B1": (12, 1, 1), "K2": (12, 12, 3, 3), "B2": (12, 1, 1)}.items()
        },
    },
}


PLAIN = {"inputs": ["p"], "equations": "q = p * 2", "output": "q"}
