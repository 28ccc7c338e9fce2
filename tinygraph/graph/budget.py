"""What opening a file may cost: charged before anything is computed, recorded or allocated.

A few bytes can cause any amount of work: ``tile(W, 10**9)``. While a file is opened, its model is recorded with shapes
only, and what has to be computed or kept is charged to a ``Budget`` first. Its limits grow with the size of the file: a
large model with its weights opens, and a small file that needs as much is refused.
"""

from __future__ import annotations

import math
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from tinygraph.errors import BudgetError

if TYPE_CHECKING:
    from tinygraph.graph.op import Op

Value = TypeVar("Value")
#: The environment variable that multiplies all limits.
VARIABLE = "TINYGRAPH_BUDGET"
# For each kind of cost: the limit for an empty file, and what each byte of the file adds.
_LIMITS = {
    "bytes of values": (2**28, 16),
    "steps of computation": (2**25, 16),
    "operations": (100_000, 1 / 64),
    "characters": (2**19, 0),
}
_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


class Budget:
    """What a file of ``size`` bytes may still cost. An infinite size has no limit.

    >>> budget = Budget(size=1000)
    >>> budget.spend("operations", 100_000)
    >>> budget.spend("operations", 100_000)
    Traceback (most recent call last):
    tinygraph.errors.BudgetError: opening this file would take more than 100,015 operations; ...
    """

    def __init__(self, size: float) -> None:
        self.size, self.factor = size, _factor()
        self.spent: Counter[str] = Counter()
        self._files: set[tuple[int, int]] = set()

    def allow(self, file: os.stat_result) -> None:
        """Raise the limits for a further file, such as one of weights; each file counts once."""
        known, size = (file.st_dev, file.st_ino), file.st_size
        if known in self._files or not stat.S_ISREG(file.st_mode):
            return
        self._files.add(known)
        self.size += size

    def limit(self, what: str) -> float:
        """Return how much of ``what`` the files may take in all."""
        base, each = _LIMITS[what]
        return math.inf if self.size == math.inf else int((base + each * self.size) * self.factor)

    def spend(self, what: str, amount: int) -> None:
        """Charge an amount of ``what``, or raise ``BudgetError`` if less is left."""
        self.spent[what] += amount
        if self.spent[what] > self.limit(what):
            raise BudgetError(
                f"opening this file would take more than {self.limit(what):,} {what}; if you trust it, set the "
                f"environment variable {VARIABLE}=10 to allow ten times as much"
            )

    def compute(self, op: Op, inputs: Sequence[Any]) -> None:
        """Charge the steps of computing ``op``, and the memory of its result."""
        self.spend("steps of computation", op.work(*inputs))
        width = max((x.dtype.itemsize for x in inputs if hasattr(x, "dtype")), default=8)
        self.spend("bytes of values", op.result_size(*inputs) * width)


def charge(what: str, amount: int) -> None:
    """Charge the budget of the file that is being opened; do nothing if there is none."""
    budget = _current.get()
    if budget is not None:
        budget.spend(what, amount)


def current() -> Budget | None:
    """Return the budget of the file that is being opened, or ``None``."""
    return _current.get()


@contextmanager
def setting(variable: ContextVar[Any], value: Value) -> Iterator[Value]:
    """Within this context a variable has another value."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def opening(size: float = math.inf) -> AbstractContextManager[Budget]:
    """Within this context tensors are recorded with shapes only, on a budget for a file of ``size`` bytes.

    A context inside another spends from the outer one's budget.

    >>> import tinygraph as tg
    >>> with opening():
    ...     print(tg.parameter([1.0, 2.0]).sum().has_value)
    False
    """
    return setting(_current, _current.get() or Budget(size))


def _factor() -> float:
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise BudgetError(f"the environment variable {VARIABLE} must be a positive number; found {text!r}")
    return factor
