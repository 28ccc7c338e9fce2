"""A process for each peer, so that nobody's threads and memory disturb the others: it waits, asleep, until it is asked.

Waiting threads are left as each library has them. OpenMP's passive waiting would double PyTorch's times; its threads and
those of BLAS spin for some ten milliseconds after their work, which the pause before each turn lets pass.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from .peers import load


class PeerError(Exception):
    """A peer could not do what it was asked to; the message is its own."""


class Site:
    """What a process holds: its peer, and the work that is to be timed."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.work: Callable[[], object] = lambda: None


class PeerProcess:
    """A peer in a process of its own, which answers questions: functions of its site and arguments, both picklable."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, name, threads))
        self._process.start()
        theirs.close()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``question(site, *arguments)`` gives over there. Raises ``PeerError``."""
        try:
            self._connection.send((question, arguments))
            answered, answer = self._connection.recv()
        except (EOFError, BrokenPipeError):
            raise PeerError(f"{self.name}: the process ended") from None
        if not answered:
            raise PeerError(f"{self.name}: {answer}")
        return answer

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def serve(connection: Connection, name: str, threads: int) -> None:
    """Answer questions until nobody asks any more."""
    only_cores(threads)
    site = None
    while True:
        try:
            question, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            site = site or Site(load(name, threads))
            connection.send((True, question(site, *arguments)))
        except Exception as error:
            traceback.print_exc()
            connection.send((False, f"{type(error).__name__}: {error}"))


def set_environment(threads: int, kernels: str = "numpy") -> None:
    """Give every process started from now on ``threads`` threads, by all the names that libraries know this under.

    Ours computes with ``kernels``.
    """
    for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    os.environ["TINYGRAPH_THREADS"] = str(threads)
    os.environ["TINYGRAPH_KERNELS"] = kernels
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={threads}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    # PyTorch's compiler would keep processes of its own, which are not measured and must not run beside those that are.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    # Everybody's modules are compiled once and kept, as Python does unless it is told not to.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def only_cores(count: int) -> None:
    """Keep this process on the first ``count`` of its cores, where the system can do so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
