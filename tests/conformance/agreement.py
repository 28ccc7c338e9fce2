"""When two results agree: the rule of the whole suite.

- Shapes and dtypes are equal. Integers and truth values are equal. An input that one refuses, all refuse with the same class
  of error.
- NaN and infinities stand in the same places. Where products or quotients of finite inputs overflow, it does not
  matter which of NaN and the infinities comes out: a fused multiply-add, or a sum in another order, gives another one. What
  is computed from a sum of finite numbers that overflows, such as its relu, may come out as from any of them.
- For finite numbers, plain evaluation is repeated with every number of the graph moved at random by one or two units in the
  last place of its dtype. A result may differ from the plain one by ``FACTOR`` times the largest change that this makes,
  and by ``UNITS`` units in its own last place. So a sum may be off by a few units of its largest *term*, and nothing else
  may be. Equal numbers are moved alike and zeros not at all, so that ties stay ties; inputs of an ``exact`` problem are not
  moved. Truth values and integers that this changes are decided by rounding, and may come out either way.
- Zeros of both signs are the same number: a sum in another order, or a gate that multiplies, gives the other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache

import numpy as np

import tinygraph as tg
from tinygraph.graph.apply import evaluate
from tinygraph.ops.pooling.pooling import AvgUnpool

from .problem import Answer, Arrays, Problem

FACTOR = 8
UNITS = 8
# Most differences are explained by the first repetitions; the others are made before two results are said to differ.
REPETITIONS = (0, 4), (4, 32)


def differences(problem: Problem, found: Answer, wanted: Answer) -> str:
    """Return in words how the answer of an engine differs from the plain one; nothing where the two agree."""
    if isinstance(found, type) or isinstance(wanted, type):
        return "" if found is wanted else f"found {_kind(found)}, plain evaluation gives {_kind(wanted)}"
    if len(found) != len(wanted):
        return f"{len(found)} outputs, plain evaluation gives {len(wanted)}"
    for number, (x, y) in enumerate(zip(found, wanted, strict=True)):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            return f"output {number} is {x.dtype} {x.shape}, plain evaluation gives {y.dtype} {y.shape}"
        with np.errstate(all="ignore"):
            wrong = _beyond_rounding(problem, number, x, y)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"output {number}{list(place) or ''}: {x[place]!r}, plain evaluation gives {y[place]!r}"
    return ""


def _kind(answer: Answer) -> str:
    return answer.__name__ if isinstance(answer, type) else f"results {[x.shape for x in answer]}"


def _same(x: np.ndarray, y: np.ndarray, overflows: bool) -> np.ndarray:
    if x.dtype.kind not in "fc":
        return np.asarray(x == y)
    return np.asarray((x == y) | (np.isnan(x) & np.isnan(y)) | (overflows & ~np.isfinite(x) & ~np.isfinite(y)))


def _beyond_rounding(problem: Problem, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where two outputs differ by more than rounding."""
    wrong, moved = ~_same(x, y, problem.overflows), np.zeros(y.shape)
    for first, last in REPETITIONS if wrong.any() else ():
        for results in _nudged_runs(problem, range(first, last)):
            z = results[number]
            wrong = wrong & ~_same(x, z, problem.overflows)
            moved = np.fmax(moved, _distance(z, y))
        wrong = wrong & ~(_distance(x, y) <= FACTOR * moved + UNITS * _spacing(y))
        if not wrong.any():
            break
    return wrong


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far apart finite floating numbers are; NaN for all others."""
    if y.dtype.kind not in "fc":
        return np.full(y.shape, np.nan)
    apart = np.abs(x.astype(np.result_type(x, np.float64)) - y)
    return np.where(np.isfinite(apart), apart, np.nan)


def _spacing(y: np.ndarray) -> np.ndarray:
    size = np.abs(y) if y.dtype.kind in "fc" else np.zeros(y.shape)
    return np.spacing(np.where(np.isfinite(size), size, 0)).astype(np.float64)


def _nudged_runs(problem: Problem, salts: Iterable[int]) -> Iterator[Arrays]:
    """Yield the results of repetitions, without those in which a number leaves what an operation accepts."""
    for salt in salts:
        with suppress(tg.TinygraphError):
            yield _nudged_run(problem, salt)


def _nudged_run(problem: Problem, salt: int) -> Arrays:
    """Evaluate a problem's graph node by node, every number moved a little."""
    values = {}
    names = {leaf: name for name, leaf in problem.graph.inputs.items()}
    for node in problem.graph.nodes:
        if node.op is not None:
            given = [values[x] for x in node.inputs]
            value = _nudged(np.asarray(evaluate(node.op, given, node.shape, node.dtype)), salt)
            if problem.overflows and not node.op.elementwise and all(np.isfinite(x).all() for x in given):
                value = _overflown(value, salt)
            if isinstance(node.op, AvgUnpool):
                # Shares are rounded before they are added up, so terms that cancel leave a rest in another order.
                apart = _spacing(evaluate(node.op, [np.abs(x) for x in given], node.shape, node.dtype))
                apart *= np.random.default_rng(salt).choice([-1.0, 0.0, 1.0], node.shape)
                value = np.asarray(value + apart, node.dtype)
            values[node] = value
        else:
            value = np.asarray(problem.feeds[names[node]] if node in names else node.value, node.dtype)
            values[node] = value if problem.exact or node.kind == "constant" else _nudged(value, salt)
    return tuple(values[output] for output in problem.graph.outputs)


def _nudged(x: np.ndarray, salt: int) -> np.ndarray:
    """Return numbers moved by one or two units in the last place, equal ones alike; zeros and infinities stay."""
    if x.dtype.kind != "f":
        return x
    size, bits = np.abs(x), x.astype(np.float64).view(np.uint64)
    mixed = (bits ^ np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    steps = _steps()[(mixed >> np.uint64(62)).astype(int)].astype(x.dtype)
    moved = size + steps * np.spacing(np.where(np.isfinite(size), size, 0)).astype(x.dtype)
    keep = (size == 0) | ~np.isfinite(moved)
    return np.asarray(np.where(keep, x, np.copysign(moved, x)), x.dtype)


def _overflown(x: np.ndarray, salt: int) -> np.ndarray:
    """Return numbers of which those that are not finite are any of NaN and the infinities."""
    drawn = np.random.default_rng(salt).choice([np.inf, -np.inf, np.nan], x.shape)
    return x if np.isfinite(x).all() else np.asarray(np.where(np.isfinite(x), x, drawn), x.dtype)


@cache
def _steps() -> np.ndarray:
    return np.array([-2.0, -1.0, 1.0, 2.0])
