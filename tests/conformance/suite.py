"""The suite: which problems there are, and how engines differ on them."""

from __future__ import annotations

import itertools
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from . import graphs, listed, operations
from .agreement import differences
from .engines import ALL, ENGINES, on_arrays, run
from .known import KNOWN, stated
from .problem import Problem, answer


@dataclass
class Outcome:
    """How many problems each engine was compared on, and what differed: new differences, and those of the known table."""

    problems: Counter[str] = field(default_factory=Counter)
    comparisons: Counter[str] = field(default_factory=Counter)
    new: list[str] = field(default_factory=list)
    known: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Add what another part of the suite found."""
        self.problems += other.problems
        self.comparisons += other.comparisons
        self.new += other.new
        self.known += other.known


@dataclass(frozen=True)
class Choice:
    """A part of the suite: problems whose names match ``pattern``, a share of them by ``seed``, and a number of graphs."""

    names: Sequence[str] = ()
    engines: Sequence[str] = tuple(ENGINES)
    seed: int = 0
    part: float = 1.0
    graphs: range = range(0)
    pattern: str = ""
    listed: bool = True

    def chosen(self, name: str) -> bool:
        """Whether a problem takes part."""
        share = zlib.crc32(f"{self.seed} {name}".encode()) / 2**32
        return share < self.part and re.search(self.pattern, name) is not None

    def problems(self) -> Iterator[Problem]:
        """Yield the problems."""
        found: Iterable[Problem] = operations.problems(self.names, self.seed, self.chosen) if self.part else ()
        others = itertools.chain(listed.problems() if self.listed else (), graphs.problems(self.graphs, self.seed))
        yield from itertools.chain(found, (x for x in others if re.search(self.pattern, x.name)))


def compare(choice: Choice) -> Outcome:
    """Compare engines with plain evaluation on all problems of a choice."""
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for problem in choice.problems():
            kind = problem.name.split()[0] if problem.name.startswith(("graph", "listed")) else "operation"
            outcome.problems[kind] += 1
            wanted = answer(run, problem)
            for name in choice.engines:
                if ALL[name] is on_arrays and problem.on_arrays is None:
                    continue
                outcome.comparisons[name] += 1
                difference = differences(problem, answer(ALL[name], problem), wanted)
                if difference:
                    _note(outcome, f"{problem.name}: {name}: {difference}", problem.name, stated(name, problem))
    return outcome


def _note(outcome: Outcome, text: str, name: str, reasons: Sequence[str]) -> None:
    patterns = [*(pattern for pattern in KNOWN if re.search(pattern, name)), *reasons]
    outcome.known.update(patterns)
    if not patterns:
        outcome.new.append(text)
