"""Inputs for an operation that has no samples: small shapes and plain attributes, tried until its forward runs.

After them each attribute gets its other values: a rule may be right for one of them alone.
"""

import contextlib
import functools
import inspect
import itertools
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tinygraph.graph import Array, Op, Sample, Shape, call_rule, evaluate
from tinygraph.verify.certificate.redraw import redrawn, with_own
from tinygraph.verify.certificate.search import RAN, Progress, Shapes, fitting_shapes, linked_axes, resized

# Matrices and vectors first; then stacks, and images with kernels.
_SHAPES: tuple[Shape, ...] = ((3, 4), (4,), (4, 2), (2,), (2, 3, 4), (1, 2, 5, 6), (3, 2, 2, 2), ())
_MOST = 3
_TRIES = 400
_RETURNED = 10**6
_MOST_SIZE = 100

Draw = Callable[[np.random.Generator, Shape], Any]


def proposed_samples(op: type[Op], rng: np.random.Generator) -> list[Sample]:
    """Return a few samples on which the forward of ``op`` runs and gives finite numbers, in different shapes.

    Small inputs are tried first, and inputs of one shape; numbers away from zero, then numbers between 0 and 1, then
    integers in one place or two, then booleans. Most shapes of several inputs make no sense together: where the rule runs on
    some samples, only those count. One more sample follows for each other value of each attribute that changes the result.

    >>> import tinygraph as tg
    >>> [[x.shape for x in s.inputs] for s in proposed_samples(tg.matmul.op, np.random.default_rng(0))]
    [[(4,), (4,)], [(3, 4), (4,)], [(3, 4), (4, 2)]]
    """
    found = _running(op, rng)
    if not any(_is_intended(op, sample) or _lacks_sums(op, sample) for sample in found):
        found = _searched(op, rng, found)
    chosen = _different(_intended(op, found))
    return [*chosen, *_conditions(op, chosen[:1], rng), *varied(op, chosen, found[:2])]


def refusal(op: type[Op]) -> str:
    """Return what forward raised or gave for the plainest inputs that were tried, with their shapes.

    >>> import tinygraph as tg
    >>> refusal(tg.conv2d.op)
    'x (3, 4), k (3, 4): ShapeError: conv2d: x (3, 4), k (3, 4): x must have 4 axes (batch, channels, height, width)'
    """
    shapes, attributes = next(_calls(op))
    rng = np.random.default_rng(0)
    sample = Sample(*[_off_zero(rng, shape) for shape in shapes], **attributes)
    names = op.parameters * len(shapes) if op.variadic else op.parameters
    inputs = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=False))
    try:
        y = _result(op, sample)
    except Exception as error:
        return f"{inputs}: {type(error).__name__}: {error}"
    return f"{inputs} gave {'numbers that are not finite' if y.size else 'no elements'}"


def sample_line(op: type[Op]) -> str:
    """Return a sample for an operation as one would write it, with shapes to be put right.

    >>> import tinygraph as tg
    >>> sample_line(tg.conv2d.op)
    'tg.Sample(rng.standard_normal((3, 4)), rng.standard_normal((3, 4)))'
    """
    arrays = ["rng.standard_normal((3, 4))"] * (len(op.parameters) + op.variadic)
    attributes = [f"{name}={value!r}" for name, value in _attributes(op)[0].items()]
    return f"tg.Sample({', '.join([*arrays, *attributes])})"


def _running(op: type[Op], rng: np.random.Generator) -> list[Sample]:
    """Return samples on which forward runs, the plainest first, drawn in the first way in which there are any."""
    count = len(op.parameters) + op.variadic
    floating: list[tuple[Draw, ...]] = [(_off_zero,) * count, (_between_0_and_1,) * count]
    # Ids stand in one place, the last if that runs, or in two.
    pairs = itertools.combinations(range(count), 2 if 2 < count < 5 else 9)
    places = [*((place,) for place in reversed(range(count))), *pairs]
    integers, booleans = ([_drawn(draw, marked, count) for marked in places] for draw in (_integers, _booleans))
    for ways in (floating, integers, booleans, []):
        accepted = _finite if ways else _somewhere_finite
        found: list[Sample] = []
        for shapes, attributes in itertools.islice(_calls(op), _TRIES if count < 5 else _TRIES // 8):
            inputs = (
                [draw(rng, shape) for draw, shape in zip(draws, shapes, strict=True)] for draws in ways or floating
            )
            samples = (_made(op, drawn, attributes) for drawn in inputs)
            found += itertools.islice((sample for sample in samples if accepted(_attempt(op, sample))), 1)
        if found:
            return found
    return []


def _drawn(draw: Draw, places: Sequence[int], count: int) -> tuple[Draw, ...]:
    return tuple(draw if place in places else _off_zero for place in range(count))


def _intended(op: type[Op], found: Sequence[Sample]) -> list[Sample]:
    """Return the samples for which the operation was probably written: those on which the rule gives all gradients.

    If there are none, and several inputs, those on which it gives most gradients, and of these the ones with most axes.
    There is at least one sample of matrices, if any was found.
    """
    several = len(op.parameters) + op.variadic > 1
    if several:
        # Images among several inputs make sense where nothing plainer does.
        found = _without_more_axes(found, 3)
    intended = [sample for sample in found if _is_intended(op, sample)]
    if not intended and several:
        # Stacks and images may fit a mistake by chance; then matrices, which the author had in mind, say more about it.
        plain = _without_more_axes(found, 2)
        ranks = [(_gradients(op, sample)[0], sum(x.ndim for x in sample.inputs)) for sample in plain]
        intended = [sample for sample, rank in zip(plain, ranks, strict=True) if rank == max(ranks)]
    intended = intended or list(found)
    if all(x.ndim != 2 for sample in intended for x in sample.inputs):
        intended += [sample for sample in found if all(x.ndim == 2 for x in sample.inputs)][:1]
    return intended


def _is_intended(op: type[Op], sample: Sample) -> bool:
    given, wanted = _gradients(op, sample)
    return given == wanted


def _searched(op: type[Op], rng: np.random.Generator, found: list[Sample]) -> list[Sample]:
    """Return samples in shapes for which the rule gives all gradients, found with forward's own errors as a guide.

    If there are none, those ``found`` before, or else one on which at least forward runs.
    """
    count = len(op.parameters) + op.variadic
    running: list[Sample] = []
    plain = [(draw,) * count for draw in (_off_zero, _between_0_and_1, _positive)]
    # Labels and marks stand in one place, where there is nothing that takes other numbers.
    places = itertools.product((_integers, _booleans), reversed(range(count)))
    mixed = [_drawn(draw, (place,), count) for draw, place in places if not found and count > 1]
    for draws, attributes in itertools.product([*plain, *mixed], _attributes(op)[:4]):
        if running and draws in mixed:
            break
        drawn = functools.cache(lambda place, shape, draws=draws: draws[place](rng, shape))
        made = functools.partial(_made_in, op, drawn, attributes)
        fits = functools.partial(_fits, op, made, running)
        shapes = [*fitting_shapes(count, functools.partial(_progress, op, made), fits)]
        # Forward may run on stacks by chance, where it is made for matrices.
        ranks = [max(map(len, each)) for each in shapes]
        samples = [made(each) for each, rank in zip(shapes, ranks, strict=True) if rank == ranks[0]]
        if any(_is_intended(op, sample) for sample in samples):
            return samples
    return found or running


def _fits(op: type[Op], made: Callable[[Shapes], Sample], running: list[Sample], shapes: Shapes) -> bool:
    """Whether the rule gives all gradients in some shapes; the first sample on which forward runs is kept."""
    if _attempt(op, made(shapes)) is None:
        return False
    running += [] if running else [made(shapes)]
    return _is_intended(op, made(shapes))


def _made(op: type[Op], drawn: Sequence[Any], attributes: dict[str, Any]) -> Sample:
    return Sample(*with_own(op(**attributes), np.random.default_rng(0), drawn), **attributes)


def _made_in(op: type[Op], drawn: Callable[[int, Shape], Any], attributes: dict[str, Any], shapes: Shapes) -> Sample:
    return _made(op, [drawn(place, shape) for place, shape in enumerate(shapes)], attributes)


def _progress(op: type[Op], made: Callable[[Shapes], Sample], shapes: Shapes) -> Progress:
    """Return how far forward gets: the places in its code, and that of its callees, where it raises."""
    part = 0
    try:
        sample = made(shapes)
        called = op(**sample.attributes)
        if called.has_shape_rule:
            called.shape(*sample.inputs)
        part = 1
        with np.errstate(all="ignore"):
            return RAN if _finite(np.asarray(called.forward(*sample.inputs))) else (1, _RETURNED)
    except Exception as error:
        trace, places = error.__traceback__, [part]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
            places.append(trace.tb_lasti)
        return tuple(places)


def _without_more_axes(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """Return the samples whose inputs have at most so many axes; all of them, where there are none."""
    return [sample for sample in samples if all(x.ndim <= most for x in sample.inputs)] or samples


def _lacks_sums(op: type[Op], sample: Sample) -> bool:
    """Whether all that a rule lacks is a sum over the axes along which forward broadcasts an input, a bias for example."""
    with contextlib.suppress(Exception), np.errstate(all="ignore"):
        y, made = _result(op, sample), op(**sample.attributes)
        returned = made.vjp(np.ones(y.shape), y, *sample.inputs)
        shapes = [np.shape(dx() if callable(dx) else dx) for dx in returned]
        pairs = list(zip(shapes, (x.shape for x in sample.inputs), strict=True))
        return all(dx == x or dx == y.shape == np.broadcast_shapes(dx, x) for dx, x in pairs)
    return False


def _gradients(op: type[Op], sample: Sample) -> tuple[int, int]:
    """Return for how many inputs the rule gives a gradient of the right shape, and how many inputs should get one."""
    made, y, count = op(**sample.attributes), _result(op, sample), 0
    floating = [place for place, x in enumerate(sample.inputs) if y.dtype.kind == x.dtype.kind == "f"]
    for place in floating:
        # A rule is anyone's code: the check of gradients reports what it raises.
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            call_rule(made, [place], np.ones(y.shape), y, *sample.inputs)
            count += 1
    return count, len(floating)


def _different(found: Sequence[Sample]) -> list[Sample]:
    """Return up to three samples: first of those that differ in their numbers of axes, or in which shapes are alike."""
    kinds: dict[Any, Sample] = {}
    for sample in found:
        shapes = [x.shape for x in sample.inputs]
        kinds.setdefault((tuple(map(len, shapes)), tuple(map(shapes.index, shapes))), sample)
    chosen = list(kinds.values())[:_MOST]
    rest = [sample for sample in found if sample not in chosen]
    return sorted([*chosen, *rest][:_MOST], key=found.index)


def _with_input(sample: Sample, place: int, x: Array) -> Sample:
    return Sample(*sample.inputs[:place], x, *sample.inputs[place + 1 :], **sample.attributes)


def _conditions(op: type[Op], found: Sequence[Sample], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield samples with booleans in one place where more inputs matter then: a number off zero is always true."""
    for sample in found:
        matter = _mattering(op, sample)
        for place, x in enumerate(sample.inputs):
            decided = _with_input(sample, place, rng.random(x.shape) < 0.5)
            runs = len(sample.inputs) > 1 and _somewhere_finite(_attempt(op, decided))
            if runs and _mattering(op, decided) > matter:
                yield decided


def _mattering(op: type[Op], sample: Sample) -> set[int]:
    """Return the places of the inputs whose elements, moved by one place, change the result."""
    places = enumerate(sample.inputs)
    return {place for place, x in places if _differs(op, _with_input(sample, place, np.roll(x, 1)), sample)}


def varied(op: type[Op], found: Sequence[Sample], enlarged: Sequence[Sample] = ()) -> Iterator[Sample]:
    """Yield a sample for each other value of an attribute: the first on which it gives another result.

    Where it does so on none, axes may be too short, as 3 channels for a quarter of them: then the axes of ``enlarged`` grow.
    """
    for name, argument in inspect.signature(op).parameters.items() if found else ():
        given = found[0].attributes.get(name, argument.default)
        for value in _other_values(given, op.attribute_annotations()[name]):
            larger = (sample for old in enlarged for sample in _larger(op, old, given, value))
            for old in itertools.chain(found, larger):
                sample = Sample(*old.inputs, **{**old.attributes, name: value})
                if _differs(op, sample, old):
                    yield from [sample] if old in found else [old, sample]
                    break


def _larger(op: type[Op], sample: Sample, given: Any, value: Any) -> Iterator[Sample]:
    """Yield a sample with its axes, one after another, as long as two whole numbers of an attribute need.

    Their quotients by the two numbers differ, or both numbers divide them.
    """
    whole = type(given) is type(value) is int
    shapes, drawn = tuple(x.shape for x in sample.inputs), functools.partial(redrawn, np.random.default_rng([0, 9]))

    def made(tried: Shapes) -> Sample:
        return Sample(*map(drawn, sample.inputs, tried), **sample.attributes)

    for axes in linked_axes(shapes, lambda tried: _somewhere_finite(_attempt(op, made(tried)))) if whole else ():
        size = min(shapes[place][axis] for place, axis in axes)
        for new in (2 * max(abs(given), abs(value)) - 1, abs(given * value)):
            if size < new <= _MOST_SIZE:
                yield made(resized(shapes, axes, size, new))


def _other_values(given: Any, annotation: Any) -> list[Any]:
    """Return values for an attribute in place of the given one, near it where it is a number.

    >>> _other_values(0.5, float), _other_values("sum", Literal["sum", "mean"]), _other_values(1, int | None)
    ([0.75, 0.25], ['mean'], [2, 0])
    """
    if isinstance(given, bool):
        return [not given]
    if isinstance(given, int):
        return [given + 1, given - 1]
    if isinstance(given, float):
        return [given + 0.25, given / 2]
    options = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else _values(annotation)
    return [value for value in options if value != given]


def _differs(op: type[Op], sample: Sample, plain: Sample) -> bool:
    """Whether forward runs on a sample, and gives another result than on the one from which it was made.

    The gradient of a surrogate may depend on what the result does not.
    """
    y, before = _attempt(op, sample), _attempt(op, plain)
    alike = op.surrogate is None and before is not None and np.array_equal(np.asarray(y), before)
    return _somewhere_finite(y) and before is not None and not alike


def _calls(op: type[Op]) -> Iterator[tuple[tuple[Shape, ...], dict[str, Any]]]:
    count = len(op.parameters) + op.variadic
    # For more inputs there are too many products; the search goes on where these end.
    shapes = sorted(
        itertools.product(_SHAPES[: 8 if count < 4 else 4 if count < 7 else 1], repeat=count), key=_plainness
    )
    return itertools.product(shapes, _attributes(op))


def _plainness(shapes: tuple[Shape, ...]) -> tuple[bool, int, int]:
    """Return what shapes are sorted by: scalars alone last, then the most axes of one, and how many differ."""
    most = max(map(len, shapes), default=0)
    return most == 0, most // 3, len(set(shapes))


def _attributes(op: type[Op]) -> list[dict[str, Any]]:
    """Return values for the attributes that have no default, of the kinds that their annotations name."""
    annotations = op.attribute_annotations()
    arguments = inspect.signature(op).parameters.items()
    wanted = {name: _values(annotations[name]) for name, argument in arguments if argument.default is argument.empty}
    return [dict(zip(wanted, values, strict=True)) for values in itertools.product(*wanted.values())]


def _values(annotation: Any) -> list[Any]:
    plain: dict[Any, list[Any]] = {int: [2, 1], float: [0.5], bool: [False], str: ["float64"], Any: [2, 0.5]}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return [arguments[0]]
    if origin is tuple:
        items = [argument for argument in arguments if argument is not Ellipsis]
        return [tuple(_values(item)[0] for item in (items * 2 if len(items) < len(arguments) else items))]
    if arguments:
        return _values(next(option for option in arguments if option is not type(None)))
    return [None]


def _result(op: type[Op], sample: Sample) -> Array:
    """Return what forward gives, unless the shape rule refuses; whether the two agree is another check."""
    made = op(**sample.attributes)
    if made.has_shape_rule:
        made.shape(*sample.inputs)
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(made, sample.inputs, None))


def _attempt(op: type[Op], sample: Sample) -> Array | None:
    """Return what forward gives, or None: most inputs are not what its author had in mind, and it may raise anything."""
    with contextlib.suppress(Exception):
        return _result(op, sample)
    return None


def _finite(y: Array | None) -> bool:
    return y is not None and bool(y.size and np.isfinite(y).all())


def _somewhere_finite(y: Array | None) -> bool:
    return y is not None and bool(np.isfinite(y).any() and not np.isnan(y).any())


# Different numbers with few digits, so that an example shows all of them.
def _off_zero(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.choice([-1.0, 1.0], shape) * rng.choice(np.arange(200, 2000), shape, replace=False) / 1000


def _between_0_and_1(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.choice(np.arange(100, 900), shape, replace=False) / 1000


def _positive(rng: np.random.Generator, shape: Shape) -> Any:
    """Positive definite matrices where the last two sizes are equal."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return _between_0_and_1(rng, shape)
    root = rng.integers(-9, 9, shape) / 10
    return root @ root.swapaxes(-1, -2) + np.eye(shape[-1])


def _integers(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.integers(0, 2, shape)


def _booleans(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.random(shape) < 0.5
