"""Memory of a program: which arrays share bytes. One arena, in which a place is free again when its last reader has run."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

# Vectors of the widest instructions, and lines of the cache, begin at multiples of this.
ALIGNMENT = 64


@dataclass
class Arena:
    """Bytes from 0 up, handed out at the lowest free place that fits.

    >>> arena = Arena()
    >>> a, b = arena.take(100), arena.take(100)
    >>> arena.give(a, 100)
    >>> arena.take(64), arena.take(200), arena.size
    (0, 256, 512)
    """

    size: int = 0
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def take(self, nbytes: int) -> int:
        """Return the place of ``nbytes`` bytes that are free."""
        nbytes = _rounded(nbytes)
        for i, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= nbytes:
                self._starts[i] = start + nbytes
                if self._starts[i] == end:
                    del self._starts[i], self._ends[i]
                return start
        # What is free at the very end grows.
        start = self.size
        if self._ends and self._ends[-1] == self.size:
            start = self._starts.pop()
            self._ends.pop()
        self.size = start + nbytes
        return start

    def give(self, start: int, nbytes: int) -> None:
        """Make bytes free that were taken."""
        end = start + _rounded(nbytes)
        i = bisect.bisect_left(self._starts, start)
        if i < len(self._starts) and self._starts[i] == end:
            end = self._ends[i]
            del self._starts[i], self._ends[i]
        if i > 0 and self._ends[i - 1] == start:
            self._ends[i - 1] = end
            return
        self._starts.insert(i, start)
        self._ends.insert(i, end)


def _rounded(nbytes: int) -> int:
    return max(-(-nbytes // ALIGNMENT), 1) * ALIGNMENT
