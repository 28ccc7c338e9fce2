"""Check samples and labels, and return them as feeds: arrays by the names of a model's inputs, in its dtypes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import DataError, DTypeError, ShapeError, TinygraphError, listing, nearest
from tinygraph.graph import Array, cast_array, numeric_array
from tinygraph.model.model import Model
from tinygraph.model.values import check_shape, warn_unscaled
from tinygraph.train.lazy import Lazy, lazily
from tinygraph.train.metrics import check_labels

# Of samples that are read in batches, so many are looked at before.
_FEW = 64


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


def feeds_of(model: Model, x: Any, y: Any, called: tuple[str, str] = ("x", "y"), labels: bool = True) -> dict[str, Any]:
    """Return the samples for all inputs of ``model`` by name, in its dtypes, or raise the ``DataError`` of ``check_data``.

    Samples are arrays, or ``Lazy``: these are checked and cast when a batch is read. An input without a batch axis is
    ``Lazy`` too, and every batch gets all of it. ``called`` are the names of ``x`` and ``y`` in errors. Without ``labels``,
    only features are returned.
    """
    given = _by_name(called[0], x, model.features)
    if model.labels and labels:
        if y is None:
            raise DataError(f"the model's loss needs labels for {listing(model.labels)}, and {called[1]} is None")
        given |= _by_name(called[1], y, model.labels)
    # Data hold an input without a batch axis once for each sample.
    alone = {name for name in given if not model.inputs[name].batched and isinstance(given[name][1], Lazy)}
    values = {name: value[0] if name in alone else lazily(value) for name, (_, value) in given.items()}
    found = {name: _fitted(given[name][0], value, name, model) for name, value in values.items()}
    arrays = {name: array for name, array in found.items() if model.inputs[name].batched}
    if not arrays:
        raise DataError(f"no input of the model {model.name!r} holds samples, so data cannot be fed to it in batches")
    counts = {given[name][0]: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        different = ", ".join(f"{what} has {count}" for what, count in counts.items())
        raise DataError(f"all arrays need the same number of samples; {different}")
    count = next(iter(counts.values()))
    if model.batch and count % model.batch:
        model.check_batch(count)
    read = {name: array for name, array in found.items() if not isinstance(array, Lazy)}
    check_labels(model.record(), read, {name: what for name, (what, _) in given.items()})
    # The samples come first: their number is that of the batch.
    others = {name: array for name, array in found.items() if name not in arrays}
    return arrays | {name: _whole(array, count) for name, array in others.items()}


def _whole(array: Array, count: int) -> Lazy:
    return Lazy(lambda at: array, np.arange(count), array.shape, array.dtype)


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


def _fitted(what: str, value: Any, name: str, model: Model) -> Any:
    """Return ``value`` in the shape and dtype of an input, all elements finite; ``Lazy`` ones are checked when read."""
    role, label = f"{what}: the model's input {name!r}", name in model.labels
    dtype = model.inputs[name].dtype

    def checked(array: Array, places: Array | None = None) -> Array:
        try:
            check_finite(what, array, places)
            cast = cast_array(array, dtype, role)
        except DTypeError as error:
            raise DataError(str(error)) from None
        if places is not None and label:
            check_labels(model.record(), {name: cast}, {name: what})
        return cast

    try:
        # Of lazy samples, shape and dtype are known.
        known = np.broadcast_to(np.zeros((), value.dtype), value.shape) if isinstance(value, Lazy) else value
        array = numeric_array(known, what)
        if array.dtype.kind == "c":
            raise DataError(f"{what} must hold real numbers; found {array.dtype}")
        if array.size == 0:
            raise DataError(f"{what} is empty: its shape is {array.shape}")
        check_shape(model.declaration, name, array, role, what, label)
    except (DTypeError, ShapeError) as error:
        raise DataError(str(error)) from None
    if not label:
        warn_unscaled(model.record(), name, value[:_FEW] if isinstance(value, Lazy) else array)
    return value.map(checked, dtype, value.sample) if isinstance(value, Lazy) else checked(array)


def check_finite(what: str, array: Array, places: Array | None = None) -> None:
    """Raise ``DataError`` with the first index if an array holds NaN or infinity; ``places`` are those of its samples.

    >>> check_finite("x", np.array([[1.0], [np.nan]]))
    Traceback (most recent call last):
    tinygraph.errors.DataError: x is not finite in 1 of 2 elements, the first, nan, at index (1, 0) of shape (2, 1)
    """
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        bad = int(finite.size - finite.sum())
        first, shape = array[index], f"of shape {array.shape}"
        if places is not None:
            index, shape = (int(places[index[0]]), *index[1:]), "of the data"
        raise DataError(
            f"{what} is not finite in {bad} of {finite.size} elements, the first, {first}, at index {index} {shape}"
        )
