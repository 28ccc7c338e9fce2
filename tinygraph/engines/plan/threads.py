"""Threads: how many there are, running jobs on them, and holding BLAS to one thread meanwhile."""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
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

    ``look`` returns what to restore, ``take`` sets the state, and ``give_back`` restores it. Ctrl-C at any moment leaves
    nothing held: a generator that is dropped is closed.

    >>> quiet = Held(lambda: "noise", lambda found: print("without", found), lambda found: print("with", found))
    >>> with quiet(), quiet():
    ...     pass
    without noise
    with noise
    """

    def __init__(self, look: Callable[[], T], take: Callable[[T], object], give_back: Callable[[T], object]) -> None:
        self._look, self._take, self._give_back = look, take, give_back
        # A generator may be dropped at any moment, also while its thread is in here.
        self._lock = Lock(threading.RLock)
        self._holders: list[tuple[int, object]] = []
        self._found: list[T] = []
        super().__init__()

    def renew(self) -> None:
        """Forget the threads of the parent process."""
        self._holders = [holder for holder in self._holders if holder[0] == threading.get_ident()]
        self._settle()

    def _settle(self) -> None:
        if not self._holders and self._found:
            self._give_back(self._found[0])
            self._found = []

    def _leave(self, holder: tuple[int, object]) -> None:
        with self._lock.own:
            self._holders = [other for other in self._holders if other is not holder]
            self._settle()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the state while the body of a ``with`` statement runs."""
        holder = threading.get_ident(), object()
        try:
            with self._lock.own:
                self._holders.append(holder)
                if not self._found:
                    self._found = [self._look()]
                    self._take(self._found[0])
            yield
        finally:
            try:
                self._leave(holder)
            except KeyboardInterrupt:
                self._leave(holder)
                raise


@functools.lru_cache(1)
def _blas_libraries(modules: int) -> list[Any]:
    """Return the libraries that are loaded; looks again when ``modules``, how many are imported, has changed.

    The import of a module, such as ``scipy.linalg``, may load another library.
    """
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(counts: Sequence[tuple[Any, int]]) -> None:
    """Set the number of threads of libraries, from whichever Python thread this is.

    Newer versions of threadpoolctl obey only the first thread that sets the number. Here the thread that restores it may be
    another one.
    """
    for library, count in counts:
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


def _several() -> list[tuple[Any, int]]:
    """Return the libraries that have more than one thread, with how many."""
    libraries = _blas_libraries(len(sys.modules))
    return [(library, count) for library in libraries if (count := library.num_threads) != 1]


# Shared by all plans: a plan that starts while another runs must not take its one thread for the state to restore.
blas_on_one_thread = Held(_several, lambda found: _set_threads([(library, 1) for library, _ in found]), _set_threads)


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
        # What no thread has begun is done here: all may be waiting, and for this one, as where an operation calls a plan.
        for job, future in zip(others, futures, strict=True):
            (job if future.cancel() else future.result)()
    finally:
        _wait_for(futures)


def _wait_for(futures: Sequence[Future[None]]) -> None:
    """Wait until all that began have ended, also after Ctrl-C: no thread may leave while others write into shared arrays."""
    try:
        wait([future for future in futures if not future.cancel()])
    except KeyboardInterrupt:
        _wait_for(futures)
        raise
