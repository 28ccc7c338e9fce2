"""Models and operations for tests of the command line."""

import sys

import numpy as np

PROGRAM = [sys.executable, "-c", "from tinygraph.cli import main; main(prog_name='tinygraph')"]
CUSTOM = """
from dataclasses import dataclass
import numpy as np
import tinygraph as tg

@tg.op(formula="log(1 + exp({x}))", samples=lambda rng: [tg.Sample(rng.standard_normal((2, 3)))])
def soft_plus(x):
    '''A smooth ReLU.

    >>> tg.operation("soft_plus")(np.array([0.0])).round(4)
    array([0.6931])
    '''
    return np.logaddexp(0, x)

@soft_plus.vjp
def soft_plus_vjp(dy, y, x):
    return dy * tg.sigmoid(x) * FACTOR

@tg.register
@dataclass(frozen=True)
class Scaled(tg.Op):
    by: float = 2.0
    formula = "{by} · {x}"
    def forward(self, x):
        return self.by * x
    def vjp(self, dy, y, x):
        return self.by * dy
"""


MODEL = """
name = "NAME"
title = "TITLE"
[inputs]
x = [2]
y = [1]
[parameters]
W = { shape = [2, 1], init = "ones" }
[model]
equations = '''
EQUATIONS
cost = mse(z, y)
'''
output = "z"
loss = "cost"
[training]
data = "xor"
epochs = 2
"""


def model_text(equations="z = x @ W", name="net", title=""):
    """Return a model file on xor, whose equations make ``z`` of ``x`` and ``W``."""
    return MODEL.replace("NAME", name).replace("TITLE", title).replace("EQUATIONS", equations)


OWN = model_text("h = soft_plus(x @ W)\nz = scaled(h, by=0.5)", "own")


def xor_file(path, **arrays):
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    np.savez(path, **({"x": x, "y": y} | arrays))
    return path
