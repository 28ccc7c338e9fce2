"""The gradient of a length: the root of a sum of squares, which has no second derivative at 0, though its square has."""

import operator
from collections.abc import Callable

import numpy as np

from tinygraph.graph.op import Value
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.comparison.comparison import gate, where
from tinygraph.ops.elementwise.arithmetic import add, multiply
from tinygraph.ops.elementwise.exponential import power


def along(dy, y, x, spread: Callable[[Value], Value] = lambda length: length):
    """Return ``dy · x / y``, the gradient of ``x`` for a length ``y`` that ``spread`` repeats to its shape; 0 for the length 0.

    Where ``dy`` was recorded as a product with ``y``, as for a squared length, that factor is left out instead of
    divided by. The gradient of ``y**2`` is then recorded as ``2 x``, whose derivative is right at 0 too.

    >>> import tinygraph as tg
    >>> x = tg.tensor([0.0, 0.0], name="x")
    >>> print(tg.Graph(tg.grad(tg.l2_norm(x) ** 2, [x])[0]))
    x   value    float64 (2,)
    dx  = 2 * x  float64 (2,)
    """
    multiple = _multiple(dy, y)
    if multiple is not None:
        return spread(multiple) * x
    return spread(gate(dy, y != 0)) * (x / spread(where(y == 0, 1.0, y)))


def _multiple(dy, y, depth: int = 4) -> Value | None:
    """Return ``dy / y`` where ``dy`` was recorded as a product with ``y``, at most ``depth`` operations ago, or ``None``."""
    if not isinstance(dy, Tensor) or dy.op is None or not depth:
        return None
    if _is_same(dy, y) or (isinstance(dy.op, power.op) and _is_same(dy.inputs[0], y) and _is_one(dy.inputs[1])):
        return np.ones(y.shape, y.dtype)
    if isinstance(dy.op, add.op):
        first, second = (_multiple(x, y, depth - 1) for x in dy.inputs)
        return None if first is None or second is None else first + second
    if isinstance(dy.op, multiply.op):
        for x, other in (dy.inputs, dy.inputs[::-1]):
            rest = _multiple(x, y, depth - 1)
            if rest is not None:
                return rest * other
    return None


def _is_same(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are one, or made by one operation from the same inputs."""
    return x is y or (x.op == y.op and len(x.inputs) == len(y.inputs) and all(map(operator.is_, x.inputs, y.inputs)))


def _is_one(x: Tensor) -> bool:
    return x.kind == "constant" and x.size == 1 and x.item() == 1
