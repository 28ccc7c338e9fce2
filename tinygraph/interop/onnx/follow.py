"""One page of equations for every number of samples: from recordings for several, and verified on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.batch import BASES, FEW, FIXING, MANY, Unknown
from tinygraph.interop.onnx.equations import Written, written
from tinygraph.interop.onnx.importer import Imported
from tinygraph.interop.onnx.node import Node
from tinygraph.interop.onnx.verify import agrees

Record = Callable[[int], Imported]
# Every page is tried on the first; one of a file that computes with sizes on the others too, and on a large number.
_TRIED, _TRIED_MORE, _LARGE = (1, 2, 3), (4, 5, 7, 8, 16, 31), (1019, 307, 3061)
# Of a larger file, fewer numbers are tried.
_MANY_NODES = 1000
_COMPARING = {"Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod"}
_COMPARING |= {"Div", "OneHot", "Range"}
_MOST_CROSSINGS, _MOST_MEETINGS = 40, 10_000
# How many numbers of samples are tried for a file that fits only one.
_MOST_ALONE = 16


def equations_for_any(record: Record, nodes: Sequence[Node], proto: Any, fail: Callable[[str], NoReturn]) -> Written:
    """Return equations that hold for every number of samples; ``record`` returns the graph for one number.

    Sizes become expressions of the number of samples. Raises ``OnnxError`` where no page is right for all numbers tried.
    """
    known: dict[int, Imported | OnnxError] = {}

    def recorded(m: int) -> Imported | None:
        if m not in known:
            try:
                known[m] = record(m)
            except OnnxError as error:
                known[m] = error
        found = known[m]
        return found if isinstance(found, Imported) else None

    wrong = 0
    for base in BASES:
        for steps in (FEW, MANY):
            batches = [base + step for step in steps if recorded(base + step) is not None]
            if not batches and _error(record, 2) == _error(record, 3):
                # An error that is the same for all numbers of samples has nothing to do with them.
                _give_up(record, known, wrong, fail)
            if len(batches) < len(FEW):
                continue
            if _diagonals_grow(nodes, [found for m in batches if (found := recorded(m)) is not None]):
                fail(f"numbers in it are computed from the number of samples, by EyeLike; {FIXING}")
            try:
                page = written([known[m] for m in batches], batches, proto, fail)  # type: ignore[misc]
                wrong = _disagreement(page, recorded, nodes, batches)
            except Unknown:
                continue
            if not wrong:
                return page
    _give_up(record, known, wrong, fail)


def _disagreement(
    page: Written, recorded: Callable[[int], Imported | None], nodes: Sequence[Node], batches: Sequence[int]
) -> int:
    """Return a number of samples for which the page is not what the file computes, or 0."""
    tried = [*_TRIED]
    if any(node.op_type in ("Shape", "Size", "If") for node in nodes) or "shape[0]" in page.equations:
        pair = [(m, recorded(m)) for m in batches[:2]]
        large = next((m for m in _LARGE if m > 2 * batches[-1] and recorded(m) is not None), 0)
        tried += [
            *_TRIED_MORE[: 2 if len(nodes) > _MANY_NODES else None],
            *filter(None, [large]),
            *_crossings(nodes, pair),
        ]
    for m in dict.fromkeys(tried):
        found = recorded(m)
        if found is None:
            continue
        tensors = {name: x for name, x in found.leaves.items() if isinstance(x, Tensor)}
        if not agrees(page.template, page.leaves, page.follows, list(found.outputs.values()), tensors, m):
            return m
    return 0


def _diagonals_grow(nodes: Iterable[Node], recordings: Sequence[Imported]) -> bool:
    """Whether a matrix with ones on a diagonal grows with the samples: those tried may all be too few to reach the ones."""
    names = [node.outputs[0] for node in nodes if node.op_type == "EyeLike"]
    return any(len({np.asarray(found.known.get(name)).shape for found in recordings}) > 1 for name in names)


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


def _give_up(
    record: Record, known: dict[int, Imported | OnnxError], wrong: int, fail: Callable[[str], NoReturn]
) -> NoReturn:
    """Raise the error that says why there is no page for every number of samples."""
    if not any(isinstance(found, Imported) for found in known.values()):
        errors = {m: _error(record, m) for m in (2, 3)}
        others = range(1, _MOST_ALONE + 1) if errors[2] != errors[3] else ()
        alone = next((m for m in others if _error(record, m) is None), None)
        if alone is None:
            raise OnnxError(errors[2])
        fail(f"it fits {alone} samples only; {FIXING}")
    why = (
        f"what it computes for {wrong} follows another rule" if wrong else "a size in it follows no rule that is known"
    )
    fail(f"its graph is not the same for every number of samples: {why}; {FIXING}")


def _error(record: Record, m: int) -> str | None:
    try:
        record(m)
    except OnnxError as error:
        return str(error)
    return None
