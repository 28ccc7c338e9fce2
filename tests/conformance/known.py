"""Differences that are known and not yet corrected, by a pattern of the names of their problems.

An entry that no longer differs fails the suite.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np

import tinygraph as tg
from tinygraph.ops.convolution.convolution import Convolution

from .problem import Problem

Values = dict[tg.Tensor, np.ndarray]
KNOWN: dict[str, str] = {}


def _has_subnormal(values: Values) -> bool:
    """Whether a number is so small that it is 0 where subnormal numbers are flushed."""
    found = (np.asarray(x) for x in values.values())
    return any(((x != 0) & (abs(x) < np.finfo(x.dtype).tiny)).any() for x in found if x.dtype.kind == "f")


def _compares_magnitudes(values: Values) -> bool:
    """Whether numbers are compared of which none is negative, as XLA may know of ``abs`` and ``relu``, and one is NaN."""
    compared = [x for node in values if node.op and node.op.name.startswith(("greater", "less")) for x in node.inputs]
    found = [values[x] for x in compared if x.op is not None and x.dtype.kind == "f"]
    return any(np.isnan(x).any() and not (x < 0).any() for x in found)


def _convolves_infinity(values: Values) -> bool:
    """Whether a number that is not finite may meet padding, that of the convolution or of its transpose."""
    convolutions = [node for node in values if isinstance(node.op, Convolution)]
    return any(not np.isfinite(values[x]).all() for node in convolutions for x in node.inputs)


# How an engine differs from plain evaluation, and whether it may on the values of a problem's nodes.
STATED: dict[str, dict[str, Callable[[Values], bool]]] = {
    "xla": {
        "subnormal numbers are 0 on CPUs": _has_subnormal,
        "abs(x) >= 0 and relu(x) >= 0 are true for NaN": _compares_magnitudes,
        "padding times an infinite number may be 0": _convolves_infinity,
    }
}


def stated(engine: str, problem: Problem) -> list[str]:
    """Return the differences that an engine may have on a problem."""
    if engine not in STATED:
        return []
    values: Values = {}
    with np.errstate(all="ignore"), contextlib.suppress(tg.TinygraphError):
        tg.run(problem.graph, problem.feeds, values.__setitem__)
    return [reason for reason, may_differ in STATED[engine].items() if may_differ(values)]
