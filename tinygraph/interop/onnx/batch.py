"""What follows the batch: sizes learned from recordings for two sizes of batch, and operations that hold for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tinygraph.graph.op import Op
from tinygraph.ops.index import Index

Fail = Callable[[str], NoReturn]
# Two sizes of batch tell what follows the batch and what does not.
BATCHES = (2, 3)


class Size(int):
    """A size that follows the batch, ``times`` its size and ``plus``: a number for one batch, an expression for all.

    >>> size = Size(5, 2, 1, "x.shape[0]")
    >>> size, size + 0
    (2 * x.shape[0] + 1, 5)
    """

    times: int
    plus: int
    batch: str

    def __new__(cls, number: int, times: int, plus: int, batch: str) -> Size:
        """Return the size that is ``number`` now; ``batch`` is how the size of the batch is written."""
        size = super().__new__(cls, number)
        size.times, size.plus, size.batch = times, plus, batch
        return size

    def __repr__(self) -> str:
        text = self.batch if self.times == 1 else f"{self.times} * {self.batch}"
        return text + (f" + {self.plus}" if self.plus > 0 else f" - {-self.plus}" if self.plus else "")


def followed(ops: Sequence[Op], batches: Sequence[int], batch: str, fail: Fail) -> Op:
    """Return one operation for those recorded with several sizes of batch: its sizes follow the batch where theirs do."""
    if any(type(op) is not type(ops[0]) for op in ops):
        fail("its graph is not the same for every size of batch")
    if all(op == ops[0] for op in ops):
        return ops[0]
    attributes = {name: common([getattr(op, name) for op in ops], batches, batch, fail) for name in ops[0].attributes()}
    return dataclasses.replace(ops[0], **attributes)  # type: ignore[type-var]


def common(values: Sequence[Any], batches: Sequence[int], batch: str, fail: Fail) -> Any:
    """Return the value of an attribute for every size of batch, given its values for some."""
    if all(value == values[0] for value in values):
        return values[0]
    if all(dataclasses.is_dataclass(value) for value in values):
        fields = [field.name for field in dataclasses.fields(values[0])]
        parts = {name: common([getattr(value, name) for value in values], batches, batch, fail) for name in fields}
        return dataclasses.replace(values[0], **parts)
    if all(isinstance(value, tuple) and len(value) == len(values[0]) for value in values):
        items = [common(several, batches, batch, fail) for several in zip(*values, strict=True)]
        return Index(items) if isinstance(values[0], Index) else tuple(items)
    if not batch or not all(isinstance(value, int) for value in values):
        fail("its graph is not the same for every size of batch")
    (small, large), (one, other) = batches, values
    times, rest = divmod(other - one, large - small)
    if rest:
        fail(f"a size in it is {one} for {small} samples and {other} for {large}, which follows no rule")
    return Size(one, times, one - times * small, batch)
