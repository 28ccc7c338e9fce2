"""Equations for every number of samples: found from recordings for several numbers, and verified on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import BASES, FEW, FIXING, MANY, Unknown
from tinygraph.interop.onnx.equations import Equations, equations_of
from tinygraph.interop.onnx.importer import Imported
from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.tensors import Fail

# All equations are tried on the first numbers; those of a file that computes with sizes on the others and a large one too.
_TRIED, _TRIED_MORE, _LARGE = (1, 2, 3), (4, 5, 7, 8, 16, 31), (1019, 307, 3061)
# For a file with more nodes, fewer numbers are tried.
_MANY_NODES = 1000
_COMPARING = {"Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod"}
_COMPARING |= {"Div", "OneHot", "Range"}
_MOST_CROSSINGS, _MOST_MEETINGS = 40, 10_000
# The most numbers of samples that are tried for a file that fits only one.
_MOST_ALONE = 16


class _Recordings:
    """The recordings of a file for numbers of samples, or the errors, each made once."""

    def __init__(self, record: Callable[[int], Imported]) -> None:
        self._record = record
        self.known: dict[int, Imported | OnnxError] = {}

    def get(self, m: int) -> Imported | None:
        """Return the recording for ``m`` samples, or ``None`` where there is an error."""
        if m not in self.known:
            try:
                self.known[m] = self._record(m)
            except OnnxError as error:
                self.known[m] = error
        found = self.known[m]
        return found if isinstance(found, Imported) else None

    def error(self, m: int) -> str:
        """Return the error for ``m`` samples, or nothing."""
        return str(self.known[m]) if self.get(m) is None else ""


def equations_for_any(record: Callable[[int], Imported], nodes: Sequence[Node], proto: Any, fail: Fail) -> Equations:
    """Return equations that hold for every number of samples; ``record`` returns the graph for one number.

    Sizes become expressions of the number of samples. Raises ``OnnxError`` where no equations are right for all numbers
    tried.
    """
    recordings = _Recordings(record)
    wrong, opens = 0, False
    for base in BASES:
        for steps in (FEW, MANY):
            found = {m: graph for m in (base + step for step in steps) if (graph := recordings.get(m)) is not None}
            opens = opens or bool(found)
            if not found and recordings.error(2) == recordings.error(3):
                # The number of samples does not matter to an error that is the same for all numbers.
                raise OnnxError(recordings.error(2))
            if len(found) < len(FEW):
                continue
            if _diagonals_grow(nodes, found.values()):
                fail(f"numbers in it are computed from the number of samples, by EyeLike; {FIXING}")
            try:
                equations = equations_of(list(found.values()), list(found), proto, fail)
                wrong = _disagreement(equations, recordings, nodes, list(found))
            except Unknown:
                continue
            if not wrong:
                return equations
    if not opens:
        _fail_alone(recordings, fail)
    why = f"for {wrong} it computes something else" if wrong else "a size in it follows no known rule"
    fail(f"its graph is not the same for every number of samples: {why}; {FIXING}")


def _disagreement(equations: Equations, recordings: _Recordings, nodes: Sequence[Node], batches: Sequence[int]) -> int:
    """Return a number of samples for which the equations are not what the file computes, or 0."""
    tried = [*_TRIED]
    if any(node.op_type in ("Shape", "Size", "If") for node in nodes) or "shape[0]" in equations.text:
        large = next((m for m in _LARGE if m > 2 * batches[-1] and recordings.get(m) is not None), None)
        tried += _TRIED_MORE[: 2 if len(nodes) > _MANY_NODES else None]
        tried += [large] if large is not None else []
        tried += _crossings(nodes, [(m, recordings.get(m)) for m in batches[:2]])
    for m in dict.fromkeys(tried):
        found = recordings.get(m)
        if found is None:
            continue
        inputs = {name: x for name, x in found.leaves.items() if isinstance(x, Tensor)}
        if not equations.template.agrees(list(found.outputs.values()), inputs, m):
            return m
    return 0


def _diagonals_grow(nodes: Iterable[Node], recordings: Iterable[Imported]) -> bool:
    """Whether a matrix with ones on a diagonal grows with the samples: those tried may all be too few to reach the ones."""
    names = [node.outputs[0] for node in nodes if node.op_type == "EyeLike"]
    return any(len({np.shape(found.known.get(name)) for found in recordings}) > 1 for name in names)  # type: ignore[arg-type]


def _crossings(nodes: Iterable[Node], pair: Sequence[tuple[int, Imported | None]]) -> list[int]:
    """Return the numbers of samples around those where a size that follows the batch meets a number it is compared with."""
    found: set[int] = set()
    comparing = (node for node in nodes if node.op_type in _COMPARING)
    for count, place in enumerate(place for node in comparing for place in _meetings(node, pair)):
        found.update(m for m in range(place - 1, place + 3) if 1 <= m < 1 << 20)
        if len(found) > _MOST_CROSSINGS or count > _MOST_MEETINGS:
            raise Unknown
    return sorted(found)


def _meetings(node: Node, pair: Sequence[tuple[int, Imported | None]]) -> Iterator[int]:
    (small, first), (large, second) = pair
    fixed: list[float] = []
    moving: list[tuple[float, float]] = []
    for name in node.inputs:
        ends: list[Any] = [each and each.known.get(name) for each in (first, second)]
        if not all(isinstance(end, np.ndarray) and end.size <= 64 and end.dtype.kind in "iuf" for end in ends):
            continue
        if ends[0].size == ends[1].size:
            for a, b in zip(*(end.ravel().tolist() for end in ends), strict=True):
                fixed += [a] if a == b else []
                moving += [(a, (b - a) / (large - small))] if a != b else []
    for start, slope in moving:
        places = (small + (number - start) / slope for number in fixed)
        yield from (math.floor(place) for place in places if math.isfinite(place))


def _fail_alone(recordings: _Recordings, fail: Fail) -> NoReturn:
    """Raise the error of a file that large numbers of samples do not fit."""
    if recordings.error(2) != recordings.error(3):
        alone = next((m for m in range(1, _MOST_ALONE + 1) if recordings.get(m) is not None), None)
        if alone is not None:
            fail(f"it fits only {alone} samples; {FIXING}")
    raise OnnxError(recordings.error(2))
