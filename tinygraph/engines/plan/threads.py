"""Threads: how many there are, running jobs on them, and holding BLAS to one thread meanwhile."""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from threadpoolctl import ThreadpoolController

from tinygraph.errors import AttributeValueError
from tinygraph.graph.attributes import integer
from tinygraph.locks import Lock, Renewed

VARIABLE = "TINYGRAPH_THREADS"
T = TypeVar("T")


def thread_count(threads: int | None = None) -> int:
    """Return how many threads to use: ``threads``, or what ``TINYGRAPH_THREADS`` says, or as many as there are CPUs.

    Raises ``AttributeValueError`` for anything but a positive whole number.

    >>> thread_count(2)
    2
    """
    if threads is not None:
        return integer("threads", threads)
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


class Held(Renewed, Generic[T]):
    """A state of the process that lasts while any thread needs it: the first to enter sets it, the last to leave restores it.

    >>> quiet = Held(lambda: print("taken"), lambda taken: print("given back"))
    >>> with quiet, quiet:
    ...     pass
    taken
    given back
    """

    def __init__(self, take: Callable[[], T], give_back: Callable[[T], object]) -> None:
        self._take, self._give_back = take, give_back
        self._lock = Lock()
        self._holders: list[int] = []
        self._taken: list[T] = []
        super().__init__()

    def renew(self) -> None:
        """Forget the threads of the parent process."""
        self._holders = [thread for thread in self._holders if thread == threading.get_ident()]
        if not self._holders and self._taken:
            self._give_back(self._taken.pop())

    def __enter__(self) -> None:
        with self._lock.own:
            if not self._holders:
                self._taken = [self._take()]
            self._holders.append(threading.get_ident())

    def __exit__(self, *error: object) -> None:
        with self._lock.own:
            self._holders.remove(threading.get_ident())
            if not self._holders:
                self._give_back(self._taken.pop())


@functools.cache
def _blas_libraries() -> list[Any]:
    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


def _set_threads(counts: Sequence[tuple[Any, int]]) -> None:
    """Set the number of threads of libraries, from whichever Python thread this is.

    Newer versions of threadpoolctl obey only the first thread that sets the number. Here the thread that restores it may be
    another one.
    """
    for library, count in counts:
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


def _hold_blas() -> list[tuple[Any, int]]:
    """Hold BLAS to one thread; return the libraries that had more, with how many."""
    counts = [(library, library.num_threads) for library in _blas_libraries()]
    several = [(library, count) for library, count in counts if count != 1]
    _set_threads([(library, 1) for library, _ in several])
    return several


# Shared by all plans: a plan that starts while another runs must not take its one thread for the state to restore.
blas_on_one_thread = Held(_hold_blas, _set_threads)


@functools.cache
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tinygraph")


if hasattr(os, "register_at_fork"):
    # A process that was forked off does not have the threads of its parent.
    os.register_at_fork(after_in_child=_executor.cache_clear)


def run_all(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs side by side, the first in this thread; raise the first error, once all have ended.

    >>> done = []
    >>> run_all([lambda: done.append(1), lambda: done.append(2)])
    >>> sorted(done)
    [1, 2]
    """
    first, *others = jobs
    futures: list[Future[None]] = []
    try:
        futures.extend(_executor(len(others)).submit(job) for job in others)
        first()
    finally:
        _wait_for(futures)
    for future in futures:
        future.result()


def _wait_for(futures: Sequence[Future[None]]) -> None:
    """Wait until all have ended, also after Ctrl-C: no thread may leave while others write into shared arrays."""
    try:
        wait(futures)
    except KeyboardInterrupt:
        _wait_for(futures)
        raise
