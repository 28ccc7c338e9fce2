"""The search for shapes that fit together: which ranks forward accepts, and which axes must have the same size.

Most operations run on inputs whose axes all have one size, if only their numbers of axes are right. So these are found
first, then which axes change together, and last a size of its own for each set of axes. Where forward stops halfway, as
where a matrix must have four times as many columns, the sizes of sets of axes are multiplied until it gets further.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from tinygraph.graph import Shape

# One axis of one input, and the shapes of all inputs.
Axis = tuple[int, int]
Shapes = tuple[Shape, ...]
# How far forward got, a larger tuple the further; ``RAN`` where it returned.
Progress = tuple[int, ...]
RAN: Progress = (2,)

_SIZES = (3, 4, 2)
_DISTINCT = (3, 4, 2, 5, 6, 7, 8)
_MOST_RANKS = 800
_STARTS, _ROUNDS = 10, 4
_SMALL, _MOST_MIXED = (2, 3, 4, 1, 5), 12


def fitting_shapes(
    count: int, progress: Callable[[Shapes], Progress], accepted: Callable[[Shapes], bool]
) -> Iterator[Shapes]:
    """Yield shapes for ``count`` inputs on which forward runs and which are ``accepted``, in sizes as different as they can be.

    >>> def product(shapes):
    ...     x, w = shapes
    ...     return RAN if len(x) == len(w) == 2 and x[1] == w[0] else (1, len(x), len(w))
    >>> list(fitting_shapes(2, product, lambda shapes: True))
    [((3, 4), (4, 2))]
    """
    halfway: list[tuple[Progress, Shapes]] = []
    seen: set[tuple[int, ...]] = set()
    every = list(itertools.islice(_ranks(count), _MOST_RANKS))
    alike = (tuple((size,) * rank for rank in ranks) for size, ranks in itertools.product(_SIZES, every))
    # Later ones only where no inputs of one size fit.
    mixed = (shapes for ranks in every[:_MOST_MIXED] if not seen for shapes in _mixed(ranks))
    for shapes in itertools.chain(alike, mixed):
        ranks, reached = tuple(map(len, shapes)), progress(shapes)
        if reached == RAN and ranks not in seen and accepted(shapes):
            seen.add(ranks)
            yield _distinct(shapes, progress)
        elif len(halfway) < len(every):
            halfway.append((reached, shapes))
    halfway.sort(key=lambda entry: entry[0], reverse=True)
    for reached, shapes in () if seen else halfway[:_STARTS]:
        found = _climbed(shapes, reached, progress)
        if found and accepted(found):
            yield _distinct(found, progress)
            return


def _ranks(count: int) -> Iterator[tuple[int, ...]]:
    """Yield numbers of axes for inputs: matrices and vectors first, then all of one rank, then mixtures."""
    few = range(6) if count < 3 else range(4) if count < 5 else range(1, 4) if count < 7 else range(1, 3)
    mixed = sorted(itertools.product(few, repeat=count), key=lambda ranks: (max(ranks), -sum(ranks)))
    yield from dict.fromkeys([*((rank,) * count for rank in (2, 1, 3, 4, 5)), *mixed])


def _mixed(ranks: tuple[int, ...]) -> Iterator[Shapes]:
    """Yield a few hundred shapes: of a few axes each in all small sizes, of more axes the last one of each input.

    >>> len(list(_mixed((2, 2)))), list(_mixed((1, 2)))[1], list(_mixed((2, 3)))[1]
    (625, ((2,), (2, 3)), ((3, 2), (3, 3, 3)))
    """
    few = sum(ranks) <= 4
    for sizes in itertools.product(_SMALL, repeat=sum(ranks) if few else min(len(ranks), 3)):
        rest = iter(sizes)
        yield tuple(tuple(next(rest, 3) if few or axis == rank - 1 else 3 for axis in range(rank)) for rank in ranks)


def _distinct(shapes: Shapes, progress: Callable[[Shapes], Progress]) -> Shapes:
    """Return shapes with a size of its own for each set of axes that change together."""

    def runs(tried: Shapes) -> bool:
        return progress(tried) == RAN

    changed = shapes
    for number, axes in enumerate(linked_axes(shapes, runs)):
        size = min(shapes[place][axis] for place, axis in axes)
        tried = (resized(changed, axes, size, new) for new in _DISTINCT[number % 7 :])
        changed = next((other for other in tried if runs(other)), changed)
    return changed


def _climbed(shapes: Shapes, reached: Progress, progress: Callable[[Shapes], Progress]) -> Shapes | None:
    """Return shapes on which forward runs, by multiplying the sizes of sets of axes until it gets further and further."""
    for _ in range(_ROUNDS):
        least = reached

        def as_far(tried: Shapes, least: Progress = least) -> bool:
            return progress(tried) >= least

        sets = linked_axes(shapes, as_far)
        # Two sets may belong together, where slices of no elements hide it; or the last axes of several inputs, as those of
        # the weights and the bias of a cell with gates, where one condition in a shape rule speaks of all of them.
        last = [{(place, len(shape) - 1)} for place, shape in enumerate(shapes) if shape]
        groups = (group for size in range(2, len(last) + 1) for group in itertools.combinations(last, size))
        both = [
            *sets,
            *(one | other for one, other in itertools.combinations(sets, 2)),
            *(set().union(*g) for g in groups),
        ]
        tried = [resized(shapes, axes, 1, times) for axes in both for times in (2, 3, 4)]
        reached, shapes = max(((progress(other), other) for other in tried), default=(least, shapes))
        if reached == RAN:
            return shapes
        if reached <= least:
            break
    return None


def resized(shapes: Shapes, axes: Iterable[Axis], size: int, new: int) -> Shapes:
    """Return shapes whose given axes are ``new / size`` times as long.

    >>> resized(((3, 4), (4, 8)), [(0, 1), (1, 0), (1, 1)], 4, 5)
    ((3, 5), (5, 10))
    """
    changed = [list(shape) for shape in shapes]
    for place, axis in axes:
        changed[place][axis] = changed[place][axis] * new // size
    return tuple(map(tuple, changed))


def linked_axes(shapes: Shapes, runs: Callable[[Shapes], bool], tied: Sequence[Axis] = ()) -> list[frozenset[Axis]]:
    """Return the sets of axes that can change in size together, where ``runs`` says whether forward accepts shapes.

    An axis is tried alone, then with up to two others of its size or a multiple of it, then with all of these, less those
    that can stay as they are. Axes that are ``tied`` go with those of their size, if forward accepts that.

    >>> linked_axes(((3, 4), (4, 2)), lambda shapes: shapes[0][1] == shapes[1][0]) == [
    ...     frozenset({(0, 0)}), frozenset({(0, 1), (1, 0)}), frozenset({(1, 1)})
    ... ]
    True
    """
    every = [(place, axis) for place, shape in enumerate(shapes) for axis in range(len(shape))]
    found: list[frozenset[Axis]] = []
    for one in every:
        if shapes[one[0]][one[1]] and not any(one in axes for axes in found):
            axes = _linked(one, every, found, shapes, runs, tied)
            found += [axes] if axes else []
    return found


def _linked(
    one: Axis,
    every: Sequence[Axis],
    known: Sequence[frozenset[Axis]],
    shapes: Shapes,
    runs: Callable[[Shapes], bool],
    tied: Sequence[Axis],
) -> frozenset[Axis]:
    sizes = {axis: shapes[axis[0]][axis[1]] for axis in every}
    others = [axis for axis in every if axis != one and sizes[axis] and sizes[axis] % max(sizes[one], 2) == 0]
    bound = [axis for axis in tied if axis != one and sizes[axis] == sizes[one]]
    for new in (sizes[one] + 1, sizes[one] + 2, 2 * sizes[one]):
        few = (more for count in range(3 if len(every) <= 12 else 2) for more in itertools.combinations(others, count))
        for more in itertools.chain([bound] if bound else [], few):
            if runs(resized(shapes, (one, *more), sizes[one], new)):
                return frozenset((one, *more))
        together = {one, *others}
        if runs(resized(shapes, together, sizes[one], new)):
            for part in [*known, *({axis} for axis in others)]:
                if one not in part and part <= together and runs(resized(shapes, together - part, sizes[one], new)):
                    together -= part
            return frozenset(together)
    return frozenset()
