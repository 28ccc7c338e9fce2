"""Schedule: the steps of a plan as a record, and the record as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygraph.describe import html
from tinygraph.describe.text import aligned
from tinygraph.engines.plan.compiled import Compiled
from tinygraph.engines.plan.node import Node
from tinygraph.engines.plan.tiles import operations
from tinygraph.errors import counted
from tinygraph.graph import Tensor


@dataclass(frozen=True)
class Step:
    """One step: which operation computes which tensors of the graph, where, and how often.

    ``phase`` is "before" the tiles, "tile", "after" them, or "whole" where nothing is cut; a tile's step runs ``times``
    times, on ``samples`` samples. ``buffer`` is its place in the arena of its phase, in bytes, or ``None`` for memory of
    its own. ``operations`` counts the multiplications and additions of a matrix product. ``seconds`` is the median of a
    profile.
    """

    number: int
    phase: str
    times: int
    samples: int
    operation: str
    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    buffer: int | None
    nbytes: int
    in_place: bool
    fused: bool
    operations: int
    seconds: float | None = None


@dataclass(frozen=True)
class Spared:
    """A node that plain evaluation would have computed a second time."""

    operation: str
    tensors: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class Schedule:
    """All steps of a plan for a batch, and totals.

    ``nbytes`` is the memory that the plan holds, ``plain_nbytes`` what the results of all operations take together.
    """

    batch_size: int
    tiles: tuple[int, ...]
    threads: int
    mixes_samples: bool
    steps: tuple[Step, ...]
    spared: tuple[Spared, ...]
    nbytes: int
    plain_nbytes: int

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the steps, and totals."""
        return schedule_view(self)


def schedule_of(compiled: Compiled, seconds: Sequence[Sequence[float]] | None = None) -> Schedule:
    """Return the record of a compiled graph, with the times of a profile if there was one."""
    steps: list[Step] = []
    graph = compiled.graph
    for i, phase in enumerate(compiled.phases):
        for k, (node, _) in enumerate(phase.program.actions):
            places = phase.program.layout.places
            place = places[node]
            step = Step(
                number=len(steps) + 1,
                phase=phase.name,
                times=phase.times,
                samples=phase.samples,
                operation=node.op.name,  # type: ignore[union-attr]
                tensors=_names(node, graph.labels),
                shape=node.shape,
                dtype=str(node.dtype),
                buffer=places.get(place.root, place).offset,
                nbytes=node.nbytes,
                in_place=place.shares or place.root is not node,
                fused=len(node.tensors) > 1,
                operations=operations(node),
                seconds=None if seconds is None else seconds[i][k],
            )
            steps.append(step)
    return Schedule(
        compiled.count,
        tuple(compiled.sizes),
        compiled.threads,
        compiled.mixes_samples,
        tuple(steps),
        tuple(Spared(n.op.name, _names(n, graph.labels), n.nbytes) for n in compiled.spared if n.op is not None),
        compiled.nbytes,
        sum(node.size * node.dtype.itemsize for node in graph.nodes if node.op is not None),
    )


def _names(node: Node, labels: Mapping[Tensor, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels[x] for x in node.tensors if x in labels))


def described(schedule: Schedule) -> str:
    """Return a schedule as text: a line for each step, then totals."""
    return "\n".join([aligned(_rows(schedule)), "", *_totals(schedule)])


def schedule_view(schedule: Schedule) -> str:
    """Return a schedule as HTML: totals, and a table of its steps; of a long one that was profiled, of the slowest.

    >>> import tinygraph as tg
    >>> "batch: 4 samples" in schedule_view(tg.compile(tg.load_model("xor"), batch_size=4).schedule)
    True
    """
    head, *rows = _rows(schedule)
    slowest = sorted(range(len(rows)), key=lambda i: -(schedule.steps[i].seconds or 0) * schedule.steps[i].times)
    timed = [i for i in slowest if schedule.steps[i].seconds is not None]
    totals, caption = _totals(schedule), counted(len(rows), "step")
    most = html.MOST_ROWS - len(totals)
    listed = html.table(head, rows, caption, first=timed, most=most, all_in="print(plan.describe())")
    return html.view(listed, *map(html.paragraph, totals))


def _rows(schedule: Schedule) -> list[list[str]]:
    rows = [["", "phase", "operation", "computes", "shape", "buffer", "bytes", "", "us"], *map(_row, schedule.steps)]
    return rows if any(step.seconds is not None for step in schedule.steps) else [row[:-1] for row in rows]


# More names of tensors than this make a line too long.
_MOST_NAMES = 8


def _row(step: Step) -> list[str]:
    names = step.tensors
    return [
        str(step.number),
        step.phase if step.times == 1 else f"{step.phase} x{step.times}",
        step.operation,
        ", ".join(names if len(names) <= _MOST_NAMES else (*names[:3], "...", names[-1])),
        f"{step.dtype} {step.shape}",
        "own" if step.buffer is None else f"@{step.buffer:,}",
        f"{step.nbytes:,}",
        ", ".join(["in place"] * step.in_place + ["fused"] * step.fused),
        f"{(step.seconds or 0) * 1e6:.1f}",
    ]


def _totals(schedule: Schedule) -> list[str]:
    sizes = sorted(set(schedule.tiles), reverse=True)
    tiles = " and ".join(f"{schedule.tiles.count(size)} of {size}" for size in sizes)
    why = ", because an operation mixes samples" if schedule.mixes_samples else ""
    cut = f"tiles: {tiles} samples" if len(schedule.tiles) > 1 else f"not cut into tiles{why}"
    saved = "nothing here would be computed twice"
    if schedule.spared:
        nbytes = sum(node.nbytes for node in schedule.spared)
        what = ", ".join(dict.fromkeys(node.operation for node in schedule.spared))
        saved = f"{len(schedule.spared)} results ({nbytes:,} bytes) that would be computed twice: {what}"
    product = sum(step.operations * step.times for step in schedule.steps)
    lines = [
        f"batch: {schedule.batch_size} samples, {cut}; threads: {schedule.threads}",
        f"memory: {schedule.nbytes:,} bytes held; the results of plain evaluation take {schedule.plain_nbytes:,}",
        f"saved: {saved}",
        f"matrix products: {product:,} floating-point operations",
    ]
    if any(step.seconds is not None for step in schedule.steps):
        total = sum((step.seconds or 0) * step.times for step in schedule.steps)
        lines.append(f"time: {total * 1e3:.3f} ms for all steps, one after another on one thread")
    return lines
