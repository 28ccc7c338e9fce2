"""Elementwise kernels: ufuncs of NumPy, which overwrite an input if nothing else reads it."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, gated, kernel, ordinary, provided
from tinygraph.ops.activation import activation
from tinygraph.ops.activation.activation import relu, sigmoid
from tinygraph.ops.comparison import comparison
from tinygraph.ops.comparison.comparison import gate
from tinygraph.ops.elementwise import arithmetic, exponential
from tinygraph.ops.elementwise.arithmetic import add_all
from tinygraph.ops.elementwise.cast import Cast

# Operations that are the ufunc of NumPy with the same name.
_UFUNCS = {
    getattr(module, name).op: getattr(np, name)
    for module, names in (
        (arithmetic, "add subtract multiply divide negative abs sign"),
        (exponential, "exp expm1 log log1p sqrt"),
        (comparison, "greater greater_equal less less_equal equal not_equal maximum minimum"),
        (activation, "tanh"),
    )
    for name in names.split()
}


@kernel(*_UFUNCS, in_place=True)
def _ufunc(work: Work) -> Sequence[Call]:
    # Of small integers NumPy computes functions such as exp in float16, and operations in float64.
    if work.out.dtype.kind == "f" and work.inputs[0].dtype.kind in "biu":
        return ordinary(work)
    return [partial(_UFUNCS[type(work.op)], *work.inputs, out=work.out)]


@kernel(gate.op, in_place=True)
def _gate(work: Work) -> Sequence[Call]:
    x, condition = work.inputs
    return [gated(x, condition, work.out)] if work.out.dtype.char in "efd" else ordinary(work)


@kernel(add_all.op)
def _add_all(work: Work) -> Sequence[Call]:
    first, *rest = work.inputs
    if not rest or work.out.dtype.char == "e":
        return ordinary(work)
    return [partial(np.add, first, rest[0], work.out)] + [partial(np.add, work.out, x, work.out) for x in rest[1:]]


@kernel(Cast, in_place=True)
def _cast(work: Work) -> Sequence[Call]:
    return [partial(np.copyto, work.out, work.inputs[0], casting="unsafe")]


# For more elements than this, clip with two numbers is faster than maximum; for fewer, its wrapper costs more.
_MANY = 4096


@kernel(relu.op, in_place=True)
def _relu(work: Work) -> Sequence[Call]:
    (x,), zero = work.inputs, np.zeros((), work.node.dtype)
    if work.node.dtype.kind == "f" and x.size > _MANY:
        return [partial(np.clip, x, zero, np.asarray(np.inf, zero.dtype), work.out)]
    return [partial(np.maximum, x, zero, out=work.out)]


# exp(-x) is finite, and 1/(1 + exp(-x)) no subnormal number, for every x above these.
_LEAST = {"f": -87.0, "d": -708.0}


@kernel(sigmoid.op, in_place=True, floats=True)
def _sigmoid(work: Work) -> Sequence[Call]:
    """1/(1 + exp(-x)), where exp does not overflow."""
    (x,), y = work.inputs, work.out
    one, least = np.ones((), y.dtype), _LEAST[y.dtype.char]
    calls = [
        partial(np.negative, x, y),
        partial(np.exp, y, y),
        partial(np.add, y, one, y),
        partial(np.true_divide, one, y, y),
    ]
    return provided(lambda: bool(np.minimum.reduce(x, None) >= least), calls, work)
