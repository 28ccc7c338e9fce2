"""Folding: which items share a card. Blocks, equal equations that follow each other, and runs if there are still too many."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np

from tinygraph.describe.subject import Item
from tinygraph.describe.text import attributes_text
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph import Array, Tensor

# Above so many cards, long chains of equal equations are folded; above so many, all that can be is folded.
FEW_CARDS, MOST_CARDS = 30, 60
# How many runs there are, how many leaves keep a card of their own, and from how many cards on no more detail is looked for.
_RUNS, _MOST_LEAVES, _ENOUGH = 40, 20, 8
# What repeats itself: how many times at least, in a picture with room for all cards and in another one, and how many cards at
# most come again and again.
_MANY_TIMES, _LEAST_TIMES, _LONGEST_PERIOD = 10, 3, 200


@dataclass(frozen=True)
class Part:
    """The items, by their numbers, that one card represents.

    ``block`` is their block instance, if they are one. Equal equations follow each other ``times`` times; ``first`` and
    ``final`` are then the blocks at both ends, if they are blocks.
    """

    items: tuple[int, ...]
    block: str = ""
    times: int = 1
    first: str = ""
    final: str = ""

    @property
    def last(self) -> int:
        """The item that the card shows: the last, which is the result of a block."""
        return self.items[-1]


def parts_of(items: Sequence[Item], fold: str | Collection[str] = "auto") -> list[Part]:
    """Return the parts of a picture in topological order.

    ``fold`` is ``"none"``, ``"all"`` (each block is one card), names of block instances, or ``"auto"``. With ``"auto"``,
    nothing is folded up to 30 cards, and up to 60 only the steps of long chains, ten or more equal equations that each use
    the one before. Above, blocks are folded, the innermost alone if that is enough, and chains of them, three or more if they
    share weights; then equal equations or blocks that follow each other, and then runs of operations. Inputs and weights that
    several equations use keep cards of their own. Raises ``TinygraphError`` for the name of something that is no block.
    """
    if isinstance(fold, Collection) and not isinstance(fold, str):
        # An array of names would be compared element by element.
        fold = [*fold]
    elif fold not in ("auto", "none", "all"):
        raise TinygraphError(f"fold must be 'auto', 'none', 'all' or a list of blocks; found {fold!r}")
    if fold == "none" or (fold == "auto" and len(items) <= FEW_CARDS):
        return [Part((i,)) for i in range(len(items))]
    folding = _Folding(items)
    if fold == "auto":
        return folding.automatic() if len(items) > MOST_CARDS else folding.without_chains()
    known = dict.fromkeys(part for item in items if item.group for part in _with_parents(item.group))
    for name in () if fold == "all" else fold:
        if name not in known:
            raise TinygraphError(
                f"there is no block {name!r} to fold{nearest(str(name), known)} (blocks: {listing(known)})"
            )
    folded = {name for name in known if "." not in name} if fold == "all" else set(fold)

    def block_of(group: str) -> str:
        return next((name for name in _with_parents(group) if name in folded), "") if group else ""

    return folding.parts(folding.in_blocks(block_of), lambda leaf, readers: block_of(items[leaf].group))


def parts_within(items: Sequence[Item], part: Part) -> list[Part]:
    """Return the parts of the picture of what one card represents: more than one, and at most 60.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.subject import subject_of
    >>> items = subject_of(tg.load_model("residual")).items
    >>> block = next(part for part in parts_of(items, "all") if part.block)
    >>> block.block, [items[inner.last].symbol for inner in parts_within(items, block)][:3]
    ('R1', ['R1.K1', 'R1.B1', 'R1.Z1'])
    """
    if len(part.items) <= MOST_CARDS:
        return [Part((i,)) for i in part.items]
    inner = [
        replace(item, group=item.group.removeprefix(part.block).lstrip("."))
        for item in map(items.__getitem__, part.items)
    ]
    # What repeats itself is shown once for each time, as the automatic way would fold it to one card again.
    for fold in ("all", "auto"):
        found = parts_of(inner, fold)
        if 1 < len(found) <= MOST_CARDS and all(2 * len(each.items) <= len(inner) for each in found):
            break
    else:
        size = -(-len(inner) // _RUNS)
        found = [Part(tuple(range(i, min(i + size, len(inner))))) for i in range(0, len(inner), size)]
    prefix = f"{part.block}." if part.block else ""
    return [
        replace(each, items=tuple(part.items[i] for i in each.items), block=each.block and prefix + each.block)
        for each in found
    ]


def _with_parents(group: str) -> list[str]:
    """Return a block instance and those that contain it, the outermost first."""
    return list(accumulate(group.split("."), lambda outer, inner: f"{outer}.{inner}"))


@dataclass(frozen=True)
class _Run:
    """Equations that follow each other, by their places among all equations, and what is known of them; see ``Part``."""

    start: int
    stop: int
    block: str = ""
    times: int = 1
    first: str = ""
    final: str = ""


class _Folding:
    """The items of one picture: equations in their order, and leaves with the equations that read them."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        seen: set[Tensor] = set()
        self.equations, self.leaves = list[int](), list[int]()
        for i, item in enumerate(items):
            # A second name of a tensor is an equation too.
            (self.equations if item.nodes or item.node in seen else self.leaves).append(i)
            seen.add(item.node)
        self.readers: dict[Tensor, list[int]] = defaultdict(list)
        for place, i in enumerate(self.equations):
            for x in dict.fromkeys(x for node in items[i].nodes for x in node.inputs):
                self.readers[x].append(place)

    @cached_property
    def signatures(self) -> list[int]:
        """A number for each equation; equal equations have the same."""
        found: dict[object, int] = {}
        return [found.setdefault(_signature(self.items[i]), len(found)) for i in self.equations]

    def automatic(self) -> list[Part]:
        """Return the parts that are folded where nothing else is asked for."""
        depth = max((item.group.count(".") + 1 for item in self.items if item.group), default=0)
        levels = [self.in_blocks(lambda group, d=d: _prefix(group, d)) for d in range(depth, -1, -1)]  # type: ignore[misc]
        levels = [*(self._joined(runs, _LEAST_TIMES, chains=True) for runs in levels[:depth]), *levels[depth:]]
        fits = (parts for runs in levels[:depth] if len(parts := self.kept(runs)) <= MOST_CARDS)
        found, coarsest = next(fits, []), levels[max(0, depth - 1)]
        # Blocks that repeat themselves, the outermost first, where blocks alone are too many or show too little.
        for runs in reversed(levels[:depth] or levels):
            if len(found) >= _ENOUGH:
                return found
            repeated = self.repeated(runs)
            coarsest = repeated if runs is coarsest else coarsest
            parts = self.kept(repeated)
            if len(found) <= len(parts) <= MOST_CARDS:
                found = parts
        return found or self.kept(self.cut(coarsest))

    def without_chains(self) -> list[Part]:
        """Return the parts in which only long chains are folded, if these are most of the picture."""
        alone = self.in_blocks(lambda group: "")
        parts = self.kept(self._joined(alone, _MANY_TIMES, chains=True))
        return parts if 2 * len(parts) <= len(self.items) else self.kept(alone)

    # Runs of equations

    def in_blocks(self, block_of: Callable[[str], str]) -> list[_Run]:
        """Return runs of equations of the same block, and the others one by one.

        A block whose equations do not follow each other has several runs: as one card it would be before and after others.
        """
        runs: list[_Run] = []
        for place, i in enumerate(self.equations):
            block = block_of(self.items[i].group)
            if block and runs and runs[-1].block == block:
                runs[-1] = replace(runs[-1], stop=place + 1)
            else:
                runs.append(_Run(place, place + 1, block))
        return runs

    def repeated(self, runs: list[_Run]) -> list[_Run]:
        """Return runs in which those that repeat themselves are one, the shortest repetitions first."""
        before = 0
        while len(runs) != before and len(self.kept(runs)) > MOST_CARDS:
            before, runs = len(runs), self._joined(runs, _LEAST_TIMES)
        return runs

    def _joined(self, runs: list[_Run], least: int, chains: bool = False) -> list[_Run]:
        """Return runs in which equal ones that follow each other are one; with ``chains`` only those of ``_is_chain``."""
        keys = [(run.times, bool(run.block), *self.signatures[run.start : run.stop]) for run in runs]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        found, done = list[_Run](), 0
        for place, period, times in _repetitions(np.array([numbers[key] for key in keys]), least):
            first, final = runs[place], runs[place + period * times - 1]
            if chains and not self._is_chain(runs[place : place + 2 * period], times >= _MANY_TIMES):
                continue
            ends = (first.block, final.block) if first.block and period == 1 else ("", "")
            found += [*runs[done:place], _Run(first.start, final.stop, "", times, *ends)]
            done = place + period * times
        return found + runs[done:]

    def _is_chain(self, steps: Sequence[_Run], long: bool) -> bool:
        """Whether the second half of some runs reads what the first half makes and, unless they are long, the same weights."""
        start, middle, stop = steps[0].start, steps[len(steps) // 2].start, steps[-1].stop
        first, second = (
            [n for i in self.equations[a:b] for n in self.items[i].nodes] for a, b in ((start, middle), (middle, stop))
        )
        read = {x for node in second for x in node.inputs}
        shared = read.intersection(x for node in first for x in node.inputs if x.kind == "parameter")
        return not read.isdisjoint(first) and (long or len(shared) > 0)

    def cut(self, runs: list[_Run]) -> list[_Run]:
        """Return about forty runs, cut where few tensors go from one to the next."""
        crossing = self._crossing(runs)
        length = max(1, len(runs) / _RUNS)
        cuts = [0]
        for k in range(1, _RUNS):
            first = max(cuts[-1] + 1, int(length * (k - 0.3)))
            around = range(first, min(len(runs), max(first + 1, int(length * (k + 0.3)))))
            if around:
                cuts.append(min(around, key=lambda cut: (crossing[cut], abs(cut - length * k))))
        pairs = zip(cuts, [*cuts[1:], len(runs)], strict=True)
        return [runs[a] if b == a + 1 else _Run(runs[a].start, runs[b - 1].stop) for a, b in pairs]

    def _crossing(self, runs: Sequence[_Run]) -> list[int]:
        """Return, for each cut before a run, how many tensors made before it are used after it."""
        run_of = [k for k, run in enumerate(runs) for _ in range(run.start, run.stop)]
        change = [0] * (len(runs) + 1)
        for place, i in enumerate(self.equations):
            for node in self.items[i].nodes:
                if readers := self.readers.get(node):
                    change[run_of[place] + 1] += 1
                    change[run_of[readers[-1]] + 1] -= 1
        return list(accumulate(change))

    # Leaves

    def kept(self, runs: Sequence[_Run]) -> list[Part]:
        """Return the parts of runs. A weight is part of the run whose one equation uses it; the other leaves are kept.

        Of very many leaves only those are kept that most runs use, inputs first.
        """
        run_of = [k for k, run in enumerate(runs) for _ in range(run.start, run.stop)]

        def is_own(leaf: int, readers: Sequence[int], least: int = 1) -> bool:
            item, users = self.items[leaf], {run_of[place] for place in readers}
            if len(users) != 1 or item.node.kind in ("input", "tensor"):
                return False
            run = runs[min(users)]
            inside = bool(run.block) and f"{item.group}.".startswith(f"{run.block}.")
            return inside or (len(readers) == 1 and run.stop - run.start >= least)

        # A card of its own for the weight of an equation that is alone on its card, if there is room.
        parts = self.parts(runs, lambda leaf, readers: is_own(leaf, readers, 2))
        if len(parts) <= MOST_CARDS:
            return parts

        def rank(leaf: int) -> tuple[bool, int, int]:
            item = self.items[leaf]
            return item.node.kind != "input", -len({run_of[p] for p in self.readers[item.node]}), leaf

        others = [leaf for leaf in self.leaves if not is_own(leaf, self.readers[self.items[leaf].node])]
        cards = set(sorted(others, key=rank)[:_MOST_LEAVES])
        return self.parts(runs, lambda leaf, readers: leaf not in cards and len(readers) > 0)

    def parts(self, runs: Sequence[_Run], belongs: Callable[[int, Sequence[int]], object]) -> list[Part]:
        """Return the parts of runs. A leaf that ``belongs`` there is part of the run that reads it first, others are alone."""
        run_of = [k for k, run in enumerate(runs) for _ in range(run.start, run.stop)]
        members = [[*self.equations[run.start : run.stop]] for run in runs]
        alone: list[Part] = []
        for leaf in self.leaves:
            readers = self.readers[self.items[leaf].node]
            if readers and belongs(leaf, readers):
                members[run_of[readers[0]]].append(leaf)
            else:
                alone.append(Part((leaf,)))
        found = [
            Part(tuple(sorted(own)), run.block, run.times, run.first, run.final)
            for own, run in zip(members, runs, strict=True)
        ]
        return sorted([*found, *alone], key=lambda part: part.last)


def _prefix(group: str, depth: int) -> str:
    """Return the first ``depth`` names of a block instance, or nothing where it is not that deep."""
    names = group.split(".")
    return ".".join(names[:depth]) if group and depth and len(names) >= depth else ""


def _number(x: Tensor) -> object:
    """Return the number that a constant is; a sum of powers does not repeat itself."""
    return x.value.item() if x.kind == "constant" and x.size == 1 else None


def _signature(item: Item) -> tuple[object, ...]:
    """Return what an equation has in common with equal ones: operations, attributes and shapes, but no names and indices."""
    places = {node: place for place, node in enumerate(item.nodes)}
    return tuple(
        (
            (node.op.name, attributes_text(node.op)) if node.op else "",
            node.shape,
            *(places.get(x, (x.kind in ("parameter", "state"), x.shape, _number(x))) for x in node.inputs),
        )
        for node in item.nodes
    )


def _repetitions(numbers: Array, least: int) -> Iterator[tuple[int, int, int]]:
    """Yield what repeats itself in a sequence: the place, the length of what comes again, and how many times it is there.

    >>> list(_repetitions(np.array([7, 1, 2, 1, 2, 1, 2, 5, 5, 5]), 3))
    [(1, 2, 3), (7, 1, 3)]
    """
    count = len(numbers)
    longest = min(_LONGEST_PERIOD, count // least)
    # For each period and place, how many numbers from there on are equal to those a period later.
    equal = np.zeros((longest, count), np.int32)
    for period in range(1, longest + 1):
        ends = np.flatnonzero(np.append(numbers[:-period] != numbers[period:], True))
        places = np.arange(count - period)
        equal[period - 1, : count - period] = ends[np.searchsorted(ends, places)] - places
    place, periods = 0, np.arange(1, longest + 1)
    while place < count:
        times = equal[:, place] // periods + 1
        shortest = int(np.argmax(times >= least)) if longest else 0
        if longest and times[shortest] >= least:
            yield place, shortest + 1, int(times[shortest])
            place += (shortest + 1) * int(times[shortest])
        else:
            place += 1
