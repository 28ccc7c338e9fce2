"""Threads: how many, who runs on them, and BLAS held to one of its own meanwhile."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from tinygraph.errors import AttributeValueError
from tinygraph.graph.attributes import whole

VARIABLE = "TINYGRAPH_THREADS"
T = TypeVar("T")


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


class Held(Generic[T]):
    """A state of the whole process that lasts while anyone asks for it: the first to come takes, the last to leave gives back.

    >>> quiet = Held(lambda: print("taken"), lambda taken: print("given back"))
    >>> with quiet, quiet:
    ...     pass
    taken
    given back
    """

    def __init__(self, take: Callable[[], T], give_back: Callable[[T], object]) -> None:
        self._take, self._give_back = take, give_back
        self._lock = threading.Lock()
        self._holders = 0
        self._taken: list[T] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._taken = [self._take()]
            self._holders += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._give_back(self._taken.pop())


@functools.cache
def _blas_libraries() -> list[Any]:
    # Imported late: it looks through every library of the process.
    from threadpoolctl import ThreadpoolController

    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


def _set_threads(library: Any, count: int) -> None:
    """Set a library's threads from whichever Python thread this is.

    Newer threadpoolctl obeys only the first thread that asks. Here the first to come sets and the last to leave restores,
    and these may be two threads.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


def _to_one_thread() -> list[tuple[Any, int]]:
    """Hold BLAS to one thread; return the libraries that had more, with how many."""
    before = [(library, library.num_threads) for library in _blas_libraries()]
    several = [(library, count) for library, count in before if count != 1]
    for library, _ in several:
        _set_threads(library, 1)
    return several


def _to_several_threads(before: list[tuple[Any, int]]) -> None:
    for library, count in before:
        _set_threads(library, count)


# Two plans that run at once must not find each other's one thread and take it for what was there before.
blas_on_one_thread = Held(_to_one_thread, _to_several_threads)


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
