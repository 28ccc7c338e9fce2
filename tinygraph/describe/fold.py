"""Folding: which items share a card. Blocks, and runs of operations where there are still too many."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tinygraph.describe.subject import Item
from tinygraph.errors import TinygraphError, listing, nearest
from tinygraph.graph import Tensor

MOST_CARDS = 60
_RUNS = 40


@dataclass(frozen=True)
class Part:
    """The items, by their numbers, that one card represents, and their block instance, if they are one."""

    items: tuple[int, ...]
    block: str = ""

    @property
    def last(self) -> int:
        """The item that the card shows: the last, which is the result of a block."""
        return self.items[-1]


def parts_of(items: Sequence[Item], fold: str | Collection[str] = "auto") -> list[Part]:
    """Return the parts of a picture in topological order.

    ``fold`` is ``"none"``, ``"all"`` (each block is one card), names of block instances, or ``"auto"``. With ``"auto"``,
    nothing is folded up to 60 cards; above, blocks are folded, and if that is not enough, runs of operations. Raises
    ``TinygraphError`` for the name of something that is no block.
    """
    single = [Part((i,)) for i in range(len(items))]
    if fold == "none" or (fold == "auto" and len(items) <= MOST_CARDS):
        return single
    if fold in ("auto", "all"):
        parts = _blocks(items, {item.group.partition(".")[0] for item in items if item.group})
        return _runs(items, parts) if fold == "auto" and len(parts) > MOST_CARDS else parts
    if isinstance(fold, str) or not isinstance(fold, Collection):
        raise TinygraphError(f"fold must be 'auto', 'none', 'all' or a list of blocks; found {fold!r}")
    known = dict.fromkeys(part for item in items if item.group for part in _with_parents(item.group))
    for name in fold:
        if name not in known:
            raise TinygraphError(
                f"there is no block {name!r} to fold{nearest(str(name), known)} (blocks: {listing(known)})"
            )
    return _blocks(items, fold)


def _with_parents(group: str) -> list[str]:
    """Return a block instance and those that contain it, the outermost first."""
    return list(accumulate(group.split("."), lambda outer, inner: f"{outer}.{inner}"))


def _blocks(items: Sequence[Item], folded: Collection[str]) -> list[Part]:
    """Return parts in the order of their last items; each block instance in ``folded`` is one part."""
    members: dict[str | int, list[int]] = {}
    for i, item in enumerate(items):
        block = next((name for name in _with_parents(item.group) if name in folded), None) if item.group else None
        members.setdefault(i if block is None else block, []).append(i)
    parts = [Part(tuple(found), block if isinstance(block, str) else "") for block, found in members.items()]
    return sorted(parts, key=lambda part: part.last)


def _runs(items: Sequence[Item], parts: Sequence[Part]) -> list[Part]:
    """Return parts in about forty runs, cut where few tensors go from one to the next."""
    ordered = _leaves_before_their_use(items, parts)
    crossing = _crossing(items, ordered)
    length = len(ordered) / _RUNS
    cuts = [0]
    for k in range(1, _RUNS):
        first = max(cuts[-1] + 1, int(length * (k - 0.3)))
        around = range(first, max(first + 1, int(length * (k + 0.3))))
        cut = min(around, key=lambda cut: (crossing[cut], abs(cut - length * k)))
        # A card shows its last item, which should be an operation: a parameter belongs to what uses it.
        while cut > cuts[-1] and not items[ordered[cut - 1].last].nodes:
            cut -= 1
        if cut > cuts[-1]:
            cuts.append(cut)
    runs = [ordered[a:b] for a, b in zip(cuts, [*cuts[1:], len(ordered)], strict=True)]
    return [run[0] if len(run) == 1 else Part(tuple(i for part in run for i in part.items)) for run in runs]


def _leaves_before_their_use(items: Sequence[Item], parts: Sequence[Part]) -> list[Part]:
    """Return the parts with each leaf directly before the part that uses it first."""
    first = {x: part.last for part in reversed(parts) for x in _read(items, part)}

    def place(part: Part) -> tuple[int, bool]:
        item = items[part.last]
        return (part.last, True) if item.nodes else (first.get(item.node, part.last), False)

    return sorted(parts, key=place)


def _crossing(items: Sequence[Item], ordered: Sequence[Part]) -> list[int]:
    """Return, for each cut before a part, how many tensors made before it are used after it."""
    made = {items[i].node: place for place, part in enumerate(ordered) for i in part.items}
    last_use = {x: place for place, part in enumerate(ordered) for x in _read(items, part) if x in made}
    change = [0] * (len(ordered) + 1)
    for x, place in last_use.items():
        change[made[x] + 1] += 1
        change[place + 1] -= 1
    return list(accumulate(change))


def _read(items: Sequence[Item], part: Part) -> list[Tensor]:
    """Return what the nodes of a part read."""
    return [x for i in part.items for node in items[i].nodes for x in node.inputs]
