"""Attributes of operations, checked against the annotations of their fields."""

import types
import typing
from typing import Any, Literal, Union

import numpy as np

from tinygraph.errors import AttributeValueError, nearest

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
