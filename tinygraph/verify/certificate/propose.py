"""Inputs for an operation that has no samples: small shapes and plain attributes, tried until its forward runs.

After them each attribute is given its other values: a rule may be right for one of them alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tinygraph.graph.arrays import Array
from tinygraph.graph.op import Op, Shape, evaluate
from tinygraph.graph.record import Sample
from tinygraph.graph.rules import call_rule

# Matrices and vectors first; then stacks, and images with kernels.
_SHAPES: tuple[Shape, ...] = ((3, 4), (4,), (4, 2), (2,), (2, 3, 4), (1, 2, 5, 6), (3, 2, 2, 2), ())
_MOST = 3
_TRIES = 400

Draw = Callable[[np.random.Generator, Shape], Any]


def proposed_samples(op: type[Op], rng: np.random.Generator) -> list[Sample]:
    """Return a few samples on which the forward of ``op`` runs and gives finite numbers, in different shapes.

    Small inputs are tried first, and those of one shape; numbers off zero, then numbers between 0 and 1, then whole numbers
    in one place. Of several inputs most shapes make no sense together: those count on which the rule runs too, where there
    are any. One more sample follows for each other value of each attribute, where it makes a difference.

    >>> import tinygraph as tg
    >>> [[x.shape for x in s.inputs] for s in proposed_samples(tg.matmul.op, np.random.default_rng(0))]
    [[(4,), (4,)], [(3, 4), (4,)], [(3, 4), (4, 2)]]
    """
    chosen = _different(_meant(op, _running(op, rng)))
    return [*chosen, *_conditions(op, chosen[:1], rng), *_varied(op, chosen)]


def refusal(op: type[Op]) -> str:
    """Return what forward said to the plainest inputs that were tried, with their shapes.

    >>> import tinygraph as tg
    >>> refusal(tg.conv2d.op)
    'x (3, 4), k (3, 4): ShapeError: conv2d: x (3, 4), k (3, 4): x must have 4 axes (batch, channels, height, width)'
    """
    shapes, attributes = next(_calls(op))
    rng = np.random.default_rng(0)
    sample = Sample(*[_off_zero(rng, shape) for shape in shapes], **attributes)
    names = op.parameters * len(shapes) if op.variadic else op.parameters
    told = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=False))
    try:
        with np.errstate(all="ignore"):
            y = _result(op, sample)
    except Exception as error:
        return f"{told}: {type(error).__name__}: {error}"
    return f"{told} gave {'numbers that are not finite' if y.size else 'no elements'}"


def _running(op: type[Op], rng: np.random.Generator) -> list[Sample]:
    """Return samples on which forward runs, the plainest first, drawn in the first way in which there are any."""
    count = len(op.parameters) + op.variadic
    floating: list[tuple[Draw, ...]] = [(_off_zero,) * count, (_unit,) * count]
    whole: list[tuple[Draw, ...]] = [
        tuple(_whole if other == place else _off_zero for other in range(count)) for place in reversed(range(count))
    ]
    for ways, accepted in ((floating, _finite), (whole, _finite), (floating, _somewhere_finite)):
        found: list[Sample] = []
        for shapes, attributes in itertools.islice(_calls(op), _TRIES):
            samples = (
                Sample(*[draw(rng, shape) for draw, shape in zip(draws, shapes, strict=True)], **attributes)
                for draws in ways
            )
            found += itertools.islice((sample for sample in samples if accepted(op, sample)), 1)
        if found:
            return found
    return []


def _meant(op: type[Op], found: Sequence[Sample]) -> list[Sample]:
    """Return the samples on which the rule gives all gradients, or those of ``_nearly``; of matrices one at least, if any."""
    several = len(op.parameters) + op.variadic > 1
    if several:
        # Images among several inputs make sense where nothing plainer does.
        found = [sample for sample in found if all(x.ndim <= 3 for x in sample.inputs)] or found
    given = [(sample, *_carried(op, sample)) for sample in found]
    meant = [sample for sample, count, wanted in given if count == wanted]
    meant = meant or (_nearly([(sample, count) for sample, count, _ in given]) if several else list(found))
    if all(x.ndim != 2 for sample in meant for x in sample.inputs):
        meant += [sample for sample in found if all(x.ndim == 2 for x in sample.inputs)][:1]
    return meant


def _nearly(given: Sequence[tuple[Sample, int]]) -> list[Sample]:
    """Return the samples on which the rule gives most gradients, and of those the ones with most axes.

    Stacks and images count where there is nothing else: they may fit a mistake by chance, and then say less about it than
    the matrices that its author had in mind.
    """
    plain = [(sample, count) for sample, count in given if all(x.ndim <= 2 for x in sample.inputs)] or given
    most = max(((count, _axes(sample)) for sample, count in plain), default=(0, 0))
    return [sample for sample, count in plain if (count, _axes(sample)) == most]


def _axes(sample: Sample) -> int:
    return sum(x.ndim for x in sample.inputs)


def _carried(op: type[Op], sample: Sample) -> tuple[int, int]:
    """Return for how many inputs the rule gives a gradient of the right shape, and for how many it should."""
    made, count = op(**sample.attributes), 0
    with np.errstate(all="ignore"):
        y = _result(op, sample)
        floating = [place for place, x in enumerate(sample.inputs) if y.dtype.kind == x.dtype.kind == "f"]
        for place in floating:
            # A rule is anyone's code: what it raises is told by the check of gradients.
            with contextlib.suppress(Exception):
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


def _conditions(op: type[Op], found: Sequence[Sample], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield samples with truth values in one place where more inputs matter then: a number off zero is true throughout."""
    for sample in found:
        matter = _mattering(op, sample)
        for place, x in enumerate(sample.inputs):
            inputs = [*sample.inputs[:place], rng.random(x.shape) < 0.5, *sample.inputs[place + 1 :]]
            decided = Sample(*inputs, **sample.attributes)
            if len(inputs) > 1 and _somewhere_finite(op, decided) and _mattering(op, decided) > matter:
                yield decided


def _mattering(op: type[Op], sample: Sample) -> set[int]:
    """Return the places of the inputs whose elements make a difference to the result when they change places."""
    found = set()
    for place, x in enumerate(sample.inputs):
        inputs = [*sample.inputs[:place], np.roll(x, 1), *sample.inputs[place + 1 :]]
        if _differs(op, Sample(*inputs, **sample.attributes), sample):
            found.add(place)
    return found


def _varied(op: type[Op], found: Sequence[Sample]) -> Iterator[Sample]:
    """Yield a sample for each other value of an attribute: the first on which it gives another result."""
    fields: tuple[Any, ...] = dataclasses.fields(op) if dataclasses.is_dataclass(op) else ()
    for field in fields if found else ():
        if not field.init:
            continue
        given = found[0].attributes.get(field.name, field.default)
        for value in _other_values(given, op.attribute_annotations()[field.name]):
            samples = (Sample(*sample.inputs, **{**sample.attributes, field.name: value}) for sample in found)
            pairs = zip(samples, found, strict=True)
            yield from itertools.islice((sample for sample, plain in pairs if _differs(op, sample, plain)), 1)


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
    """Whether forward runs on a sample, and gives another result than on the one whose attribute was changed."""
    try:
        with np.errstate(all="ignore"):
            y, before = _result(op, sample), _result(op, plain)
    except Exception:
        # An attribute is given what its author may not have thought of.
        return False
    return bool(y.size and np.isfinite(y).any() and not np.isnan(y).any() and not np.array_equal(y, before))


def _calls(op: type[Op]) -> Iterator[tuple[tuple[Shape, ...], dict[str, Any]]]:
    count = len(op.parameters) + op.variadic
    shapes = sorted(itertools.product(_SHAPES, repeat=count), key=_plainness)
    return itertools.product(shapes, _attributes(op))


def _plainness(shapes: tuple[Shape, ...]) -> tuple[bool, int, int]:
    """Return what shapes are sorted by: numbers alone last, then the most axes of one, and how many differ."""
    most = max(map(len, shapes), default=0)
    return most == 0, most // 3, len(set(shapes))


def _attributes(op: type[Op]) -> list[dict[str, Any]]:
    """Return values for the attributes that have no default, of the kinds that their annotations name."""
    fields: tuple[Any, ...] = dataclasses.fields(op) if dataclasses.is_dataclass(op) else ()
    annotations = op.attribute_annotations()
    wanted = {
        field.name: _values(annotations[field.name])
        for field in fields
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
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
    """Return what forward gives, where the shape rule refuses nothing; whether the two agree is for a check to say."""
    made = op(**sample.attributes)
    if made.has_shape_rule:
        made.shape(*sample.inputs)
    return np.asarray(evaluate(made, sample.inputs, None))


def _finite(op: type[Op], sample: Sample) -> bool:
    return _gives(op, sample, lambda y: bool(y.size and np.isfinite(y).all()))


def _somewhere_finite(op: type[Op], sample: Sample) -> bool:
    return _gives(op, sample, lambda y: bool(np.isfinite(y).any() and not np.isnan(y).any()))


def _gives(op: type[Op], sample: Sample, wanted: Callable[[Array], bool]) -> bool:
    try:
        with np.errstate(all="ignore"):
            return wanted(_result(op, sample))
    except Exception:
        # Most inputs are not what the author had in mind, and what a forward or a shape rule does then is anyone's guess.
        return False


def _off_zero(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.choice([-1.0, 1.0], shape) * _thousandths(rng, shape, 200, 2000)


def _unit(rng: np.random.Generator, shape: Shape) -> Any:
    return _thousandths(rng, shape, 100, 900)


def _thousandths(rng: np.random.Generator, shape: Shape, low: int, high: int) -> Any:
    """Return numbers without a tie, of so few digits that an example shows them whole."""
    return rng.choice(np.arange(low, high), shape, replace=False) / 1000


def _whole(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.integers(0, 2, shape)
