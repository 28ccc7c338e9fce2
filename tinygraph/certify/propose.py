"""Inputs for an operation that has no samples: small shapes and plain attributes, tried until its forward runs.

After them each attribute that has a default is given another value once: a rule may be right for the default alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from tinygraph.errors import TinygraphError
from tinygraph.graph.apply import compute
from tinygraph.graph.op import Op, Sample, Shape

# Matrices and vectors first; then images with kernels, and stacks.
_SHAPES: tuple[Shape, ...] = ((3, 4), (4,), (4, 2), (1, 2, 5, 6), (3, 2, 2, 2), (2, 3, 4), ())
_MOST = 3
_TRIES = 400


def proposed_samples(op: type[Op], rng: np.random.Generator) -> list[Sample]:
    """Return up to three samples on which the forward of ``op`` runs and gives finite numbers, in different shapes.

    Small inputs are tried first, and those of one shape; numbers off zero, then numbers between 0 and 1. One more sample
    follows for each attribute with a default, where another value of it makes a difference.

    >>> import tinygraph as tg
    >>> [[x.shape for x in s.inputs] for s in proposed_samples(tg.matmul.op, np.random.default_rng(0))]
    [[(4,), (4,)], [(3, 4), (4,)], [(3, 4), (4, 2)]]
    """
    found: list[Sample] = []
    for shapes, attributes in itertools.islice(_calls(op), _TRIES):
        for draw in (_off_zero, _unit):
            sample = Sample(*[draw(rng, shape) for shape in shapes], **attributes)
            if _runs(op, sample):
                found.append(sample)
                break
        if len(found) == _MOST:
            break
    return [*found, *_varied(op, found)]


def _varied(op: type[Op], found: list[Sample]) -> Iterator[Sample]:
    """Yield a sample for each attribute with a default: the first found that gives another result when it is changed."""
    fields: tuple[Any, ...] = dataclasses.fields(op) if dataclasses.is_dataclass(op) else ()
    for field in fields:
        if field.init and field.default is not dataclasses.MISSING:
            values = _other_values(field.default, op.attribute_annotations()[field.name])
            samples = (
                Sample(*sample.inputs, **sample.attributes, **{field.name: value})
                for value, sample in itertools.product(values, found)
            )
            yield from itertools.islice((sample for sample in samples if _differs(op, sample, field.name)), 1)


def _other_values(default: Any, annotation: Any) -> list[Any]:
    """Return values for an attribute in place of its default, near it where it is a number.

    >>> _other_values(0.5, float), _other_values("sum", Literal["sum", "mean"]), _other_values(1, int | None)
    ([0.75, 0.25], ['mean'], [2, 0])
    """
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default + 1, default - 1]
    if isinstance(default, float):
        return [default + 0.25, default / 2]
    options = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else _values(annotation)
    return [value for value in options if value != default]


def _differs(op: type[Op], sample: Sample, name: str) -> bool:
    """Whether forward runs on a sample, and gives another result than with the default of an attribute."""
    plain = Sample(*sample.inputs, **{key: value for key, value in sample.attributes.items() if key != name})
    try:
        with np.errstate(all="ignore"):
            y, default = (compute(op(**each.attributes), each.inputs) for each in (sample, plain))
    except Exception:
        # An attribute is given what its author may not have thought of.
        return False
    return bool(y.size and np.isfinite(y).all() and not np.array_equal(y, default))


def _calls(op: type[Op]) -> Iterator[tuple[tuple[Shape, ...], dict[str, Any]]]:
    count = len(op.parameters) + op.variadic
    shapes = sorted(itertools.product(_SHAPES, repeat=count), key=_plainness)
    return itertools.product(shapes, _attributes(op))


def _plainness(shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Return what shapes are sorted by: the most axes of one, and how many differ."""
    return max(map(len, shapes), default=0) // 3, len(set(shapes))


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


def _runs(op: type[Op], sample: Sample) -> bool:
    try:
        with np.errstate(all="ignore"):
            y = compute(op(**sample.attributes), sample.inputs)
    except (TinygraphError, ArithmeticError, TypeError, ValueError, IndexError):
        return False
    return bool(y.size and np.isfinite(y).all())


Draw = Callable[[np.random.Generator, Shape], Any]


def _off_zero(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.2, 2.0, shape)


def _unit(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.uniform(0.1, 0.9, shape)
