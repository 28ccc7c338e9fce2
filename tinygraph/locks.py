"""Locks that are free after a fork: a child process has none of the threads that could release a lock of its parent."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar


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
