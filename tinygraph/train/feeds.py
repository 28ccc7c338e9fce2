"""Feeds: samples and labels as a model's inputs by name, checked, in the model's dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import DataError, DTypeError, ShapeError, TinygraphError, listing, nearest
from tinygraph.graph.arrays import Array, cast_array, numeric_array
from tinygraph.model.declaration import Input
from tinygraph.model.model import Model
from tinygraph.model.values import shape_hint, warn_unscaled
from tinygraph.train.labels import check_labels


def as_model(who: str, model: Any) -> Model:
    """Return ``model``, or raise ``TinygraphError`` for anything else, such as the name of one.

    >>> as_model("fit", "xor")
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: fit takes a model, such as load_model('xor'); found 'xor'
    """
    if isinstance(model, Model):
        return model
    found = repr(model) if isinstance(model, str) else described(model)
    example = f"load_model({model!r})" if isinstance(model, str) else "load_model('xor')"
    raise TinygraphError(f"{who} takes a model, such as {example}; found {found}")


def described(value: Any) -> str:
    """Return a phrase for an argument of the wrong type.

    >>> described(3), described(int)
    ('int', 'the class int itself')
    """
    return f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__


def feeds_of(model: Model, x: Any, y: Any, called: tuple[str, str] = ("x", "y")) -> dict[str, Array]:
    """Return the arrays for all inputs of ``model`` by name, in its dtypes, or raise the ``DataError`` of ``check_data``.

    ``called`` are the names that messages give to ``x`` and ``y``.
    """
    given = _by_name(called[0], x, model.features)
    if model.labels:
        if y is None:
            raise DataError(f"the model's loss needs labels for {listing(model.labels)}, and {called[1]} is None")
        given |= _by_name(called[1], y, model.labels)
    for name in given:
        if not model.inputs[name].batched:
            raise DataError(f"the model's input {name!r} does not hold samples, so data cannot be fed to it in batches")
    arrays = {name: _fitted(what, array, name, model) for name, (what, array) in given.items()}
    _check_counts(given, arrays)
    if model.batch and len(next(iter(arrays.values()))) % model.batch:
        model.check_batch(len(next(iter(arrays.values()))))
    check_labels(model.record(), arrays, {name: what for name, (what, _) in given.items()})
    return arrays


def _by_name(what: str, value: Any, names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return each input's name with the value given for it and with what messages call that value."""
    if not isinstance(value, Mapping):
        if len(names) != 1:
            raise DataError(f"the model takes {listing(names)}; give {what} as a dict of arrays by these names")
        return {names[0]: (what, value)}
    for name in value:
        if name not in names:
            raise DataError(
                f"{what} holds {name!r}, which the model does not take{nearest(str(name), names)} "
                f"(it takes {listing(names)})"
            )
    missing = [name for name in names if name not in value]
    if missing:
        raise DataError(f"{what} lacks {listing(missing)}; the model takes {listing(names)}")
    return {name: (f"{what}[{name!r}]", value[name]) for name in names}


def _fitted(what: str, value: Any, name: str, model: Model) -> Array:
    """Return ``value`` as an array of the shape and dtype of an input, all of it finite."""
    expected = model.inputs[name]
    try:
        array = numeric_array(value, what)
    except (DTypeError, ShapeError) as error:
        raise DataError(str(error)) from None
    if array.dtype.kind == "c":
        raise DataError(f"{what} must hold real numbers; found {array.dtype}")
    if array.size == 0:
        raise DataError(f"{what} is empty: its shape is {array.shape}")
    if array.shape[1:] != expected.shape or not array.ndim:
        raise DataError(_shape_message(what, array, name, expected, name in model.labels))
    check_finite(what, array)
    try:
        cast = cast_array(array, expected.dtype, f"{what}: the model's input {name!r}")
    except DTypeError as error:
        raise DataError(str(error)) from None
    if name not in model.labels:
        warn_unscaled(model.record(), name, array)
    return cast


def _shape_message(what: str, array: Array, name: str, expected: Input, label: bool) -> str:
    count = array.shape[0] if array.ndim else "N"
    wanted = ", ".join(map(str, (count, *expected.shape))) + ("" if expected.shape else ",")
    message = f"{what} has shape {array.shape}; the model's input {name!r} expects ({wanted}), one row for each sample"
    hint = shape_hint(what, array, expected, label)
    return f"{message} ({hint})" if hint else message


def check_finite(what: str, array: Array) -> None:
    """Raise ``DataError``, with the first place, if an array holds NaN or infinity.

    >>> check_finite("x", np.array([[1.0], [np.nan]]))
    Traceback (most recent call last):
    tinygraph.errors.DataError: x is not finite in 1 of 2 elements, the first, nan, at index (1, 0) of shape (2, 1)
    """
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        bad = int(finite.size - finite.sum())
        place = f"the first, {array[index]}, at index {index} of shape {array.shape}"
        raise DataError(f"{what} is not finite in {bad} of {finite.size} elements, {place}")


def _check_counts(given: Mapping[str, tuple[str, Any]], arrays: Mapping[str, Array]) -> None:
    counts = {given[name][0]: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{what} has {count}" for what, count in counts.items())
        raise DataError(f"all arrays need the same number of samples; {found}")
