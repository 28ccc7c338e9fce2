"""What an operation declares: attributes, checked against the annotations of their fields, and the types of other things.

These are samples, the gradients that it chooses at kinks, and how a loss is read.
"""

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union

import numpy as np

from tinygraph.errors import AttributeValueError, nearest
from tinygraph.graph.arrays import Array

_MISFIT = object()


def conform(operation: str, name: str, value: Any, annotation: Any) -> Any:
    """Return ``value`` in the type that ``annotation`` names, or raise ``AttributeValueError``.

    An integer is accepted for a float, a list for a tuple, a NumPy scalar for Python's, and never a ``bool`` for a number.
    Annotations may be ``int``, ``float``, ``bool``, ``str``, ``None``, ``Any``, ``Literal``, unions and tuples of these;
    other classes are checked with ``isinstance``.

    >>> conform("conv2d", "stride", [2, 1], tuple[int, int])
    (2, 1)
    >>> conform("conv2d", "groups", "two", int)
    Traceback (most recent call last):
    tinygraph.errors.AttributeValueError: conv2d: groups must be int; found 'two' (str)
    """
    fitted = _fit(value, annotation)
    if fitted is _MISFIT:
        raise AttributeValueError(
            f"{operation}: {name} must be {describe(annotation)}; found {shown(value)}{_alike(value, annotation)}"
        )
    return fitted


def require(holds: bool, op: Any, what: str) -> None:
    """Raise ``AttributeValueError`` in the name of an operation, unless a condition on its attributes holds."""
    if not holds:
        raise AttributeValueError(f"{op.name}: {what}")


def integer(name: str, value: Any, least: int = 1) -> int:
    """Return ``value`` as an integer that is at least ``least``, or raise ``AttributeValueError``.

    >>> integer("epochs", 0)
    Traceback (most recent call last):
    tinygraph.errors.AttributeValueError: epochs must be a whole number of at least 1; found 0
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise AttributeValueError(f"{name} must be a whole number of at least {least}; found {value!r}")
    return int(value)


def shown(value: Any) -> str:
    """Return a value and its type for a message; of an array, the shape.

    >>> shown(2.0), shown("a"), shown(np.ones((2, 3)))
    ('2.0 (float)', "'a' (str)", 'an array of shape (2, 3)')
    """
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return value.describe() if hasattr(value, "describe") else f"{value!r} ({type(value).__name__})"


def _alike(value: Any, annotation: Any) -> str:
    """Return the nearest of the texts that an annotation allows, as the end of a message."""
    kinds = typing.get_args(annotation) if typing.get_origin(annotation) in (Union, types.UnionType) else [annotation]
    texts = [text for kind in kinds if typing.get_origin(kind) is Literal for text in typing.get_args(kind)]
    return nearest(value, texts) if isinstance(value, str) else ""


def _fit(value: Any, annotation: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if annotation is Any:
        return value
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        fits = (_fit(value, option) for option in typing.get_args(annotation))
        return next((fit for fit in fits if fit is not _MISFIT), _MISFIT)
    if origin is Literal:
        options = typing.get_args(annotation)
        return value if any(type(value) is type(o) and value == o for o in options) else _MISFIT
    if origin is tuple or annotation is tuple:
        return _fit_tuple(value, typing.get_args(annotation))
    if isinstance(value, bool) and annotation in (int, float):
        return _MISFIT
    if annotation is float and isinstance(value, int):
        return float(value) if abs(value) < 1e300 else _MISFIT
    return value if isinstance(value, origin or annotation or type(None)) else _MISFIT


def _fit_tuple(value: Any, items: tuple[Any, ...]) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, (tuple, list)):
        return _MISFIT
    if not items:
        return tuple(value)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return _MISFIT
    fitted = tuple(_fit(item, kind) for item, kind in zip(value, items, strict=True))
    return _MISFIT if any(item is _MISFIT for item in fitted) else fitted


def describe(annotation: Any) -> str:
    """Return an annotation in words for a message.

    >>> describe(int | None), describe(tuple[int, int]), describe(Literal["same", "valid"])
    ('int or None', 'a pair of int', "'same' or 'valid'")
    >>> describe(tuple[tuple[int, int], tuple[int, int]]), describe(tuple[int])
    ('a pair of pairs of int', 'a tuple of one int')
    """
    if annotation is None or annotation is type(None):
        return "None"
    origin, items = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(item) for item in items)
    if origin is Literal:
        return " or ".join(repr(item) for item in items)
    if origin is tuple and len(items) == 2 and items[1] is Ellipsis:
        return f"a tuple of {describe(items[0])}"
    if origin is tuple and len(set(items)) == 1:
        item = describe(items[0])
        if len(items) == 1:
            return f"a tuple of one {item.removeprefix('a ')}"
        return f"{'a pair' if len(items) == 2 else f'{len(items)}'} of {item.replace('a pair of', 'pairs of')}"
    return str(getattr(annotation, "__name__", annotation))


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs and attributes on which everything about an operation is tested.

    ``Sample(x, k, stride=2)`` stands for the call ``conv2d(x, k, stride=2)``. Inputs are arrays; floating ones are
    differentiated. Samples keep away from kinks and ties by more than 1e-3, so that differences never straddle one.

    >>> sample = Sample(np.ones((2, 2)), axis=1)
    >>> sample.inputs[0].shape, sample.attributes
    ((2, 2), {'axis': 1})
    """

    inputs: tuple[np.ndarray, ...]
    attributes: dict[str, Any]

    def __init__(self, *inputs: Any, **attributes: Any) -> None:
        object.__setattr__(self, "inputs", tuple(np.asarray(x) for x in inputs))
        object.__setattr__(self, "attributes", attributes)


@dataclass(frozen=True, eq=False)
class Edge:
    """The gradients that a rule chooses at a kink or a tie, where there is no derivative to compare it with.

    ``Edge(Sample([0.0]), [0.0])`` says that for the input 0 and a gradient of ones for the result, the gradient of the
    input is 0. One array of gradients for each floating input.

    >>> edge = Edge(Sample([0.0, 1.0]), [0.0, 1.0])
    >>> edge.gradients
    (array([0., 1.]),)
    """

    sample: Sample
    gradients: tuple[np.ndarray, ...]

    def __init__(self, sample: Sample, *gradients: Any) -> None:
        object.__setattr__(self, "sample", sample)
        object.__setattr__(self, "gradients", tuple(np.asarray(gradient, dtype=np.float64) for gradient in gradients))


@dataclass(frozen=True)
class Decision:
    """How the inputs of a loss are read as decisions, by which accuracy is counted.

    ``labels`` is the place of the input that holds the labels. ``thresholds`` gives, for places of inputs, the number above
    which an element decides for 1; a label above 0.5 says that this is right. Without thresholds, the class with the largest
    number in the first input is chosen, and labels are class numbers or probabilities for each class.

    >>> Decision(thresholds={0: 0.0}).labels
    1
    """

    labels: int = 1
    thresholds: Mapping[int, float] = field(default_factory=dict)


Samples: TypeAlias = Callable[[np.random.Generator], Iterable[Sample]]
# One entry for each input: values that the operation accepts, or ``None`` where it accepts any.
SampleInputs: TypeAlias = Sequence[Array | None]
