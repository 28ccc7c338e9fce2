"""A problem: a computation, the arrays that it is done on, and what an engine answers to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import tinygraph as tg

Arrays = tuple[np.ndarray, ...]
# An engine's answer: the arrays of the outputs, or the class of the error with which it refuses.
Answer = Arrays | type[Exception]


@dataclass(frozen=True)
class Problem:
    """Outputs that ``build`` records from leaves, whose values are ``inputs``.

    ``batch`` is the number of samples, for inputs whose first axis has this size. ``exact`` says that the inputs are such
    round numbers that sums of them are exact, so that ties and kinks are where they seem to be. ``on_arrays`` computes
    the same outputs without recording, where that is possible.
    """

    name: str
    build: Callable[[Sequence[tg.Tensor]], Sequence[tg.Tensor]]
    inputs: Sequence[np.ndarray]
    batch: int | None = None
    exact: bool = False
    on_arrays: Callable[[Sequence[np.ndarray]], Arrays] | None = None

    @cached_property
    def graph(self) -> tg.Graph:
        """The outputs, recorded from inputs without values."""
        return tg.Graph(list(self.build([tg.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(self.inputs)])))

    @cached_property
    def feeds(self) -> dict[str, np.ndarray]:
        """The values of the inputs that the graph uses."""
        return {f"x{i}": x for i, x in enumerate(self.inputs) if f"x{i}" in self.graph.inputs}

    @cached_property
    def overflows(self) -> bool:
        """Whether products or quotients of inputs overflow."""
        return overflows(self.inputs)


def answer(engine: Callable[[Problem], Arrays], problem: Problem) -> Answer:
    """Return what an engine answers; any exception counts as a refusal."""
    try:
        with np.errstate(all="ignore"):
            return tuple(engine(problem))
    except Exception as error:
        return type(error)


def overflows(inputs: Sequence[np.ndarray]) -> bool:
    """Whether floating numbers are finite, and some so large or small that products or quotients of them are not."""
    floating = [np.abs(x) for x in inputs if x.dtype.kind == "f" and x.size]
    with np.errstate(divide="ignore", invalid="ignore"):
        extreme = any(((x > 0) & (np.abs(np.log2(x)) >= 0.3 * np.finfo(x.dtype).maxexp)).any() for x in floating)
    return bool(extreme and all(np.isfinite(x).all() for x in floating))


def veiled(outputs: Sequence[Any], overflow: bool) -> list[Any]:
    """Return questions about floating outputs whose answers are always finite, so that no engine can notice NaN in them.

    Where numbers ``overflow``, NaN and infinities are one answer.
    """
    found: list[Any] = []
    for y in outputs:
        if y.dtype.kind != "f":
            found.append(y)
        elif overflow:
            usable = tg.logical_not(tg.logical_or(tg.isnan(y), tg.isinf(y)))
            found += [usable, tg.logical_and(usable, y >= 0), tg.logical_and(usable, y <= 0)]
        else:
            found += [y >= 0, y <= 0, tg.isinf(y)]
    return found
