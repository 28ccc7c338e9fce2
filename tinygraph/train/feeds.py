"""Check samples and labels, and return them as feeds: arrays by the names of a model's inputs, in its dtypes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import DataError, DTypeError, ShapeError, TinygraphError, listing, nearest
from tinygraph.graph import Array, cast_array, numeric_array
from tinygraph.model.model import Model
from tinygraph.model.values import check_shape, warn_unscaled
from tinygraph.train.metrics import check_labels


def as_model(who: str, model: Any) -> Model:
    """Return ``model``, or raise ``TinygraphError`` for anything else, such as the name of a model.

    >>> as_model("fit", "xor")
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: fit takes a model, such as load_model('xor'); found 'xor'
    """
    if isinstance(model, Model):
        return model
    name, found = (model, repr(model)) if isinstance(model, str) else ("xor", type_name(model))
    raise TinygraphError(f"{who} takes a model, such as load_model({name!r}); found {found}")


def type_name(value: Any) -> str:
    """Return a phrase for an argument of the wrong type.

    >>> type_name(3), type_name(int)
    ('int', 'the class int itself')
    """
    return f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__


def feeds_of(model: Model, x: Any, y: Any, called: tuple[str, str] = ("x", "y")) -> dict[str, Array]:
    """Return the arrays for all inputs of ``model`` by name, in its dtypes, or raise the ``DataError`` of ``check_data``.

    ``called`` are the names of ``x`` and ``y`` in errors.
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
    counts = {given[name][0]: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{what} has {count}" for what, count in counts.items())
        raise DataError(f"all arrays need the same number of samples; {found}")
    count = next(iter(counts.values()))
    if model.batch and count % model.batch:
        model.check_batch(count)
    check_labels(model.record(), arrays, {name: what for name, (what, _) in given.items()})
    return arrays


def _by_name(what: str, value: Any, names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return, by the name of each input, the name of its value in errors, and the value."""
    if not isinstance(value, Mapping):
        if len(names) != 1:
            raise DataError(f"the model takes {listing(names)}; give {what} as a dict of arrays by these names")
        return {names[0]: (what, value)}
    for name in value:
        if name not in names:
            hint = nearest(str(name), names)
            raise DataError(f"{what} holds {name!r}, which the model does not take{hint} (it takes {listing(names)})")
    missing = [name for name in names if name not in value]
    if missing:
        raise DataError(f"{what} lacks {listing(missing)}; the model takes {listing(names)}")
    return {name: (f"{what}[{name!r}]", value[name]) for name in names}


def _fitted(what: str, value: Any, name: str, model: Model) -> Array:
    """Return ``value`` as an array of the shape and dtype of an input. All elements must be finite."""
    role, label = f"{what}: the model's input {name!r}", name in model.labels
    try:
        array = numeric_array(value, what)
        if array.dtype.kind == "c":
            raise DataError(f"{what} must hold real numbers; found {array.dtype}")
        if array.size == 0:
            raise DataError(f"{what} is empty: its shape is {array.shape}")
        check_shape(model.declaration, name, array, role, what, label)
        check_finite(what, array)
        cast = cast_array(array, model.inputs[name].dtype, role)
    except (DTypeError, ShapeError) as error:
        raise DataError(str(error)) from None
    if not label:
        warn_unscaled(model.record(), name, array)
    return cast


def check_finite(what: str, array: Array) -> None:
    """Raise ``DataError`` with the first index if an array holds NaN or infinity.

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
