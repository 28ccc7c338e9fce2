"""What threads share: locks that are free after a fork, and results that are kept by key.

A child process has none of the threads that could release a lock of its parent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Renewed:
    """An object whose ``renew`` is called in a forked child process, to replace what the child must not inherit."""

    _living: ClassVar[weakref.WeakSet[Renewed]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.renew()
        self._living.add(self)

    def renew(self) -> None:
        """Make what processes must not share."""
        raise NotImplementedError

    @classmethod
    def renew_all(cls) -> None:
        for each in list(cls._living):
            each.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Renewed.renew_all)


class Lock(Renewed):
    """A lock that is free in a child process: ``with lock.own: ...``.

    ``own`` is a lock of ``threading``, which ``with`` takes without a gap in which Ctrl-C could leave it locked.

    >>> lock = Lock()
    >>> with lock.own:
    ...     lock.own.locked()
    True
    >>> lock.own.locked()
    False
    """

    def __init__(self, kind: Callable[[], Any] = threading.Lock) -> None:
        self._kind = kind
        super().__init__()

    def renew(self) -> None:
        """Replace the lock: its holder may be a thread of the parent process."""
        self.own = self._kind()


class Recent(dict[K, V]):
    """The newest of what was made for keys, at most ``most``, and what was made for ``always``. Any thread may ask.

    Threads that ask for the same new key at the same time may each make it.

    >>> squares = Recent(2, always=1)
    >>> [squares.of(i, lambda i=i: i * i) for i in (1, 2, 3)], squares
    ([1, 4, 9], {1: 1, 3: 9})
    """

    def __init__(self, most: int, always: K | None = None) -> None:
        self._most, self._always, self._lock = most, always, Lock()
        super().__init__()

    def of(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept for a key; it is made where there is none."""
        found = self.get(key)
        if found is None:
            found = make()
            with self._lock.own:
                self[key] = found
                if len(self) > self._most:
                    del self[next(other for other in self if other != self._always)]
        return found
