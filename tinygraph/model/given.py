"""Values that a model file gives: those of parameters and state, and a sample for the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import DTypeError, ShapeError, listing
from tinygraph.graph import Array, cast_array, numeric_array
from tinygraph.model.toml import Table, kind_of

if TYPE_CHECKING:
    from tinygraph.model.declaration import Input


def array_in(table: Table, key: str, what: str, dtype: np.dtype[Any] | None = None, infinities: bool = False) -> Array:
    """Return the numbers under a key, nested lists or an array, as an array that is read-only; in ``dtype`` if one is given.

    Raises ``ModelError`` for text, for rows of unequal length, for no numbers at all, for numbers that ``dtype`` does not
    hold, and for NaN and, unless there may be ``infinities``, infinity.

    >>> from tinygraph.model.toml import Source
    >>> array_in(Table(Source(), {"K": [[1, 0], [0, -1]]}), "K", "K", np.dtype("float32"))
    array([[ 1.,  0.],
           [ 0., -1.]], dtype=float32)
    >>> array_in(Table(Source(), {"K": [[1, 0], [0]]}), "K", "parameter 'K'")
    Traceback (most recent call last):
    tinygraph.errors.ModelError: model: parameter 'K': rows of unequal length do not make an array
    """
    wrong = _not_a_number(table.entries[key])
    if wrong is not None:
        table.fail(f"{what} must be numbers; found {kind_of(wrong)}, {wrong!r}", key)
    try:
        array = numeric_array(table.entries[key], what)
        array = array if dtype is None else cast_array(array, dtype, what)
    except (DTypeError, ShapeError, ValueError) as error:
        table.fail(str(error), key)
    if not array.size:
        table.fail(f"{what} is empty: its shape is {array.shape}", key)
    bad = np.argwhere(np.isnan(array) if infinities else ~np.isfinite(array))
    if len(bad):
        index = tuple(map(int, bad[0]))
        table.fail(f"{what} must be finite; found {array[index]} at index {index} of shape {array.shape}", key)
    array = np.array(array)
    array.flags.writeable = False
    return array


def _not_a_number(value: Any) -> Any:
    """Return the first text, table or date in nested lists, or ``None``."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting += reversed(item)
        elif item is None or isinstance(item, (str, Mapping)) or hasattr(item, "isoformat"):
            return item
    return None


def sample_in(table: Table, inputs: Mapping[str, Input], batch: int | None) -> dict[str, Array]:
    """Return the values that ``[sample]`` gives for all inputs, by name, each with its batch axis; nothing for an empty table.

    A value of an input's own shape is one sample, one with an axis more is a batch; of one number the brackets may be left
    out. Raises ``ModelError`` for an unknown or missing input, a wrong shape, and different numbers of samples.
    """
    found: dict[str, Array] = {}
    for key in table.entries:
        name = table.name(key, key)
        if name not in inputs:
            table.check_keys(inputs)
        declared, what = inputs[name], f"[sample]: input {name!r}"
        array = array_in(table, key, what, declared.dtype)
        if array.shape == declared.shape or (array.ndim == 0 and set(declared.shape) <= {1}):
            array = array.reshape(declared.batch_shape(1))
        if not declared.fits(array.shape):
            several = ", ".join(map(str, (batch or "m", *declared.shape)))
            shapes = f"{declared.shape}" + (f", or ({several}) for a batch," if declared.batched else "")
            table.fail(f"{what} takes the shape {shapes.rstrip(',')}; found {array.shape}", key)
        found[name] = array
    missing = [name for name in inputs if name not in found]
    if found and missing:
        table.fail(f"[sample] has no value for {listing(missing)}")
    counts = {name: len(array) for name, array in found.items() if inputs[name].batched}
    if len(set(counts.values())) > 1 or (batch is not None and set(counts.values()) - {batch}):
        each = ", ".join(f"{name} has {count}" for name, count in counts.items())
        wanted = "the same number of samples" if batch is None else f"{batch} samples, the batch of the model"
        table.fail(f"[sample] needs {wanted}, for every input; found: {each}")
    return found
