"""Walk: the data of the stepper. Steps, arrays with their origins, and scenes."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinygraph.describe.crosswalk import recognized
from tinygraph.describe.derive import Derivation, Line
from tinygraph.describe.fold import parts_of
from tinygraph.describe.origins import Origins
from tinygraph.describe.symbols import Formula
from tinygraph.draw.cards import Edge
from tinygraph.graph import Array, Tensor
from tinygraph.notes.stepper.tables import Numbering, Table, table_of

# Elements of one array on the page, elements in all whose origin it explains, and scenes.
MOST_VALUES, MOST_EXPLAINED, MOST_SCENES = 16384, 24576, 8
MOST_EXPLAINED_IN_SCENES = 40000


@dataclass(frozen=True)
class Scene:
    """One set of numbers: a sample, before or after one update of the parameters."""

    sample: str
    updated: bool
    values: Mapping[Tensor, Array]


@dataclass(frozen=True, eq=False)
class Grid:
    """One array of the page: its name, symbol and shape, its role, its numbers in each scene, and their origins.

    The first ``held`` elements have their numbers here, and the first ``explained`` have an origin. ``table_of`` is the number
    of each scene's table in ``tables``.
    """

    name: str
    symbol: Formula | None
    shape: tuple[int, ...]
    dtype: str
    role: str
    values: tuple[Array, ...]
    held: int
    explained: int
    tables: tuple[Table, ...] = ()
    table_of: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One rule: the phase that it belongs to, its lines, the array that it makes, and the card of the picture."""

    phase: str
    lines: tuple[Line, ...]
    grid: int
    card: str


@dataclass(frozen=True)
class Map:
    """The picture of the stepper, as SVG, empty without a renderer; ``edges`` are those of its drawing."""

    svg: str = ""
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, eq=False)
class Walk:
    """All of the page's data."""

    steps: tuple[Step, ...]
    grids: tuple[Grid, ...]
    scenes: tuple[Scene, ...]
    map: Map


def walk_of(derivation: Derivation, scenes: Iterable[Scene], map: Map | None = None) -> Walk:
    """Return the walk through a derivation that has numbers, with as many of the scenes as fit the page.

    >>> import tinygraph as tg
    >>> from tinygraph.describe.derive import Derivation
    >>> from tinygraph.describe.subject import subject_of
    >>> subject = subject_of(tg.tensor(3.0, name="x") * 2)
    >>> walk = walk_of(Derivation(subject, subject), [Scene("", False, subject.values)])
    >>> [(step.phase, [line.formula.text for line in step.lines]) for step in walk.steps]
    [('forward', ['t1 = x * 2']), ('backward', ['dt1 = 1']), ('backward', ['dx = 2'])]
    """
    numeric = derivation.numeric
    pairs = derivation.numeric_nodes
    owners = {i: f"n{part.last + 1}" for part in parts_of(numeric.items) for i in part.items}
    places = {id(item): i for i, item in enumerate(derivation.subject.items)}
    numbers = Numbering()
    phases = {"forward": derivation.forward_lines(), "backward": derivation.backward_lines()}
    found = [(phase, *line) for phase, lines in phases.items() for line in lines]
    lines = iter(recognized([line for *_, line in found]))
    steps: list[Step] = []
    # A step has the lines that make one node of one item. By identity: tensors compare element by element.
    for _, same in itertools.groupby(found, key=lambda each: (each[0], id(each[1]), id(each[2]))):
        (phase, item, node, _), *others = same
        own = tuple(itertools.islice(lines, 1 + len(others)))
        steps.append(Step(phase, own, numbers[pairs.get(node, node)], owners[places[id(item)]]))
    for item in numeric.items:
        numbers[item.node]
    grids, kept = _grids(derivation, scenes, numbers, steps)
    return Walk(tuple(steps), grids, kept, map or Map())


def _grids(
    derivation: Derivation, scenes: Iterable[Scene], numbers: Numbering, steps: Sequence[Step]
) -> tuple[tuple[Grid, ...], tuple[Scene, ...]]:
    """Return the arrays of the page and the scenes that are kept."""
    remaining = iter(scenes)
    kept = [next(remaining)]
    origins = Origins(derivation.numeric, kept[0].values)
    most = _most_explained([node.size for node in numbers if node.op is not None])
    tables = {node: [table] for node, table in _tables(origins, numbers, most).items()}
    explained = sum(len(found[0].which) for found in tables.values())
    kept += itertools.islice(remaining, max(0, min(MOST_SCENES, MOST_EXPLAINED_IN_SCENES // max(explained, 1)) - 1))
    for scene in kept[1:]:
        other = Origins(derivation.numeric, scene.values)
        for node, found in tables.items():
            found.append(table_of(other, node, most, numbers) if found[0].depends else found[0])
    gradients = {step.grid for step in steps if step.phase == "backward"}
    grids = (
        _grid(derivation, origins, node, "gradient" if number in gradients else "", kept, tables.get(node, []))
        for node, number in list(numbers.items())
    )
    return tuple(grids), tuple(kept)


def _grid(
    derivation: Derivation, origins: Origins, node: Tensor, role: str, scenes: Sequence[Scene], tables: Sequence[Table]
) -> Grid:
    written = derivation.numeric_written
    own = list(dict.fromkeys(tables))
    return Grid(
        origins.text(node),
        written.symbol(node) if origins.has_name(node) else None,
        node.shape,
        str(node.dtype),
        role or ("value" if node.op is not None else str(node.kind)),
        tuple(scene.values[node] for scene in scenes),
        min(node.size, MOST_VALUES),
        len(own[0].which) if own else 0,
        tuple(own),
        tuple(own.index(table) for table in tables),
    )


def _tables(origins: Origins, numbers: Numbering, most: int) -> dict[Tensor, Table]:
    """Return the tables of all numbered nodes, and of those that these refer to."""
    found: dict[Tensor, Table] = {}
    while waiting := [node for node in numbers if node not in found and node.op is not None]:
        for node in waiting:
            found[node] = table_of(origins, node, most, numbers)
    return found


def _most_explained(sizes: Sequence[int]) -> int:
    """Return for how many elements of an array, at most, the page explains the origin, so that they are not too many in all.

    >>> _most_explained([10, 100]), _most_explained([100, 30000, 30000])
    (24576, 12238)
    """
    if sum(sizes) <= MOST_EXPLAINED:
        return MOST_EXPLAINED
    left = MOST_EXPLAINED
    for i, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - i)
        if size > share:
            return max(share, 1)
        left -= size
    return MOST_EXPLAINED
