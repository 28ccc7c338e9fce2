"""A contest: everybody does the same piece of work, is shown to have computed the same, and is then timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from .measure import Controller, Measured, Settings, alternate, warmed
from .peers import OURS, PEERS, PLAIN
from .process import PeerError, PeerProcess
from .workloads import Array

TOLERANCE = 1e-3


class DisagreementError(Exception):
    """A peer computes something else than tinygraph's plain evaluation, so that its times would mean nothing."""


@dataclass(frozen=True)
class Work:
    """A piece of work: ``prepare(site, *arguments)`` makes it the site's and returns arrays that peers must agree on.

    Times are divided by ``parts``, the number of things (nodes) that are done in it.
    """

    name: str
    prepare: Callable[..., dict[str, Array]]
    arguments: tuple[Any, ...] = ()
    parts: int = 1


def contest(suite: str, works: Iterable[Work], settings: Settings) -> Iterator[Measured]:
    """Yield the times of each piece of work, for the peers that take part in a suite."""
    names = [name for name in settings.peers if suite in PEERS[name].suites]
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(PeerProcess(name, settings.threads)) for name in dict.fromkeys([PLAIN, *names])
        }
        reference = processes[PLAIN]
        for work in works:
            expected = reference.ask(work.prepare, *work.arguments)
            ready, failures = {}, {}
            for name in names:
                try:
                    agree(f"{name}, {work.name}", processes[name].ask(work.prepare, *work.arguments), expected)
                    processes[name].ask(warmed)
                    ready[name] = processes[name]
                except PeerError as error:
                    if name == OURS:
                        raise
                    failures[name] = str(error)
            controller = Controller(reference)
            spreads = alternate(ready, controller, settings, work.parts)
            yield Measured(suite, work.name, "s", spreads, failures, controller.control)


def agree(who: str, found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Raise ``DisagreementError`` unless two peers have computed the same.

    >>> agree("liar", {"losses": np.array([1.01])}, {"losses": np.array([1.0])})
    Traceback (most recent call last):
    tests.benchmarks.contest.DisagreementError: liar: losses are 1.0e-02 away from plain evaluation, relative to them
    """
    for what, array in expected.items():
        distance = float(np.linalg.norm(found[what] - array) / np.linalg.norm(array))
        if not distance <= TOLERANCE:
            raise DisagreementError(f"{who}: {what} are {distance:.1e} away from plain evaluation, relative to them")
