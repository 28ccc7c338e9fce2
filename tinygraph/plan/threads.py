"""Threads: how many, who runs on them, and BLAS held to one of its own meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from tinygraph.errors import AttributeValueError
from tinygraph.graph.attributes import whole

VARIABLE = "TINYGRAPH_THREADS"


def thread_count(threads: int | None = None) -> int:
    """Return how many threads to use: ``threads``, or what ``TINYGRAPH_THREADS`` says, or as many as there are CPUs.

    Raises ``AttributeValueError`` for anything but a positive whole number.

    >>> thread_count(2)
    2
    """
    if threads is not None:
        return whole("threads", threads)
    text = os.environ.get(VARIABLE)
    if text is None:
        return usable_cpus()
    if not (text.strip().isascii() and text.strip().isdigit() and int(text) >= 1):
        raise AttributeValueError(
            f"the environment variable {VARIABLE} must hold a whole number of at least 1; found {text!r}"
        )
    return int(text)


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _set_threads(library: Any, count: int) -> None:
    """Set a library's threads from whichever Python thread this is.

    Newer threadpoolctl obeys only the first thread that asks. Here the first to come sets and the last to leave restores,
    and these may be two threads.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


class _Blas:
    """BLAS libraries of this process, held to one thread while anyone asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._libraries: list[Any] | None = None
        self._before: list[tuple[Any, int]] = []

    def hold(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                if self._libraries is None:
                    # Imported late: it looks through every library of the process.
                    from threadpoolctl import ThreadpoolController

                    self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
                found = [(library, library.num_threads) for library in self._libraries]
                self._before = [(library, count) for library, count in found if count != 1]
                for library, _ in self._before:
                    _set_threads(library, 1)

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for library, count in self._before:
                    _set_threads(library, count)


_blas = _Blas()


@contextlib.contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Hold BLAS to one thread; the last to leave gives back what the first has found.

    >>> with blas_on_one_thread():
    ...     pass
    """
    _blas.hold()
    try:
        yield
    finally:
        _blas.release()


class _Pool:
    """Threads that wait for work, made when first needed, again in a process that was forked off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._size = 0
        self._process = 0

    def submit(self, jobs: Sequence[Callable[[], None]], threads: int) -> list[Future[None]]:
        with self._lock:
            if self._executor is None or self._size < threads or self._process != os.getpid():
                self._executor = ThreadPoolExecutor(threads, thread_name_prefix="tinygraph")
                self._size, self._process = threads, os.getpid()
            return [self._executor.submit(job) for job in jobs]


_pool = _Pool()


def run_all(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs side by side, the first in this thread; raise the first error, once all have ended.

    >>> done = []
    >>> run_all([lambda: done.append(1), lambda: done.append(2)])
    >>> sorted(done)
    [1, 2]
    """
    first, *others = jobs
    futures = _pool.submit(others, len(others)) if others else []
    try:
        first()
    finally:
        # Nobody may leave while others still write into arrays that are not theirs alone.
        wait(futures)
    for future in futures:
        future.result()
