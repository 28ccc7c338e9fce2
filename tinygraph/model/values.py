"""Fit arrays to the inputs that a model declares, or refuse them with a hint."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tinygraph.errors import DataError, DTypeError, FeedError, ShapeError, UnknownNameError, listing, unknown
from tinygraph.graph import OPERATIONS, Array, Tensor, cast_array, numeric_array, require_feeds, topological
from tinygraph.model.declaration import Declaration, Input
from tinygraph.model.recorder import Recording

if TYPE_CHECKING:
    from tinygraph.model.model import Model


def fitted(declaration: Declaration, name: str, value: Any) -> Array:
    """Return ``value`` as a batch of the input called ``name``, or raise ``DataError`` or ``DTypeError``."""
    array, what = numeric_array(value, f"input {name!r}"), f"input {name!r} of model {declaration.name!r}"
    check_shape(declaration, name, array, what)
    return cast_array(array, declaration.inputs[name].dtype, what)


def check_shape(
    declaration: Declaration, name: str, array: Array, what: str, called: str | None = None, label: bool = False
) -> None:
    """Raise ``DataError`` for an array that is no batch of the input ``name``, which the message calls ``what``.

    The hint calls the array ``called``, and may be one for a ``label``.
    """
    declared = declaration.inputs[name]
    if not declared.fits(array.shape):
        hint = shape_hint(called or name, array, declared, label) if declared.batched else None
        message = f"{what} takes {batch_shape_text(declaration, name)}; found shape {array.shape}"
        raise DataError(f"{message}; {hint}" if hint else message)


def leaves_for(declaration: Declaration, feeds: Mapping[str, Any], needed: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a leaf for each input that has a value: a tensor itself, or an input that holds the value.

    Raises ``DataError`` if a ``needed`` input has no value, or the inputs hold different numbers of samples.
    """
    check_names(declaration, feeds, needed)
    leaves = {name: _leaf(declaration, name, value) for name, value in feeds.items()}
    batched = {name: leaf for name, leaf in leaves.items() if declaration.inputs[name].batched}
    if len({leaf.shape[0] for leaf in batched.values()}) > 1:
        raise DataError("the inputs hold different numbers of samples: " + counts_text(batched))
    return leaves


def check_names(declaration: Declaration, feeds: Mapping[str, Any], needed: tuple[str, ...]) -> None:
    """Raise ``DataError`` or ``UnknownNameError`` unless ``feeds`` contains all ``needed`` inputs and only inputs."""
    if not isinstance(feeds, Mapping):
        example = ", ".join(f'"{name}": ...' for name in declaration.inputs)
        raise DataError(f"values are given by the names of inputs, as in {{{example}}}; found {type(feeds).__name__}")
    for name in feeds:
        if name not in declaration.inputs:
            raise UnknownNameError(unknown(f"model {declaration.name!r}", "input", name, declaration.inputs))
    missing = [name for name in needed if name not in feeds]
    if missing:
        raise DataError(f"model {declaration.name!r} needs values for {listing(missing)}")


def _leaf(declaration: Declaration, name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        return Tensor("input", value=np.array(fitted(declaration, name, value)), name=name)
    declared = declaration.inputs[name]
    if not declared.fits(value.shape):
        what = f"input {name!r} of shape {batch_shape_text(declaration, name)}"
        raise ShapeError(f"{value.describe()} does not fit {what}")
    if value.dtype == declared.dtype:
        return value
    if value.has_value and value.dtype.kind != "f" and declared.dtype.kind != "f":
        # Refuses a cast that changes a number; integers have no gradient to lose.
        cast_array(value.value, declared.dtype, f"input {name!r}")
    elif not np.can_cast(value.dtype, declared.dtype, "same_kind"):
        raise DTypeError(f"{value.describe()} holds {value.dtype}; input {name!r} takes {declared.dtype}")
    return cast(Tensor, OPERATIONS["cast"](value, declared.dtype.name))


def shape_hint(what: str, array: Array, expected: Input, label: bool = False) -> str | None:
    """Return a hint how to bring an array into the shape of an input without mixing up its elements, or ``None``.

    >>> shape_hint("x", np.zeros((60, 8, 8, 3)), Input((3, 8, 8), np.dtype("float32")))
    'for channels in the last axis, np.moveaxis(x, -1, 1)'
    """
    found, wanted = array.shape[1:], expected.shape
    given, sizes = ([size for size in shape if size != 1] for shape in (found, wanted))
    if not array.ndim:
        return None
    if len(found) == len(wanted) > 1 and found == (*wanted[1:], wanted[0]):
        return f"for channels in the last axis, np.moveaxis({what}, -1, 1)"
    if len(found) > 1 and len(wanted) > 1 and sorted(given) == sorted(sizes):
        if given != sizes:
            return "the axes are in another order: np.transpose, not reshape, would keep each value in its place"
    elif wanted == () and len(found) == 1 and found[0] > 1 and is_one_hot(array):
        return f"for one-hot labels, {what}.argmax(axis=1)"
    elif label and len(wanted) == 1 and wanted[0] > 1 and found in ((), (1,)) and array.dtype.kind in "biu":
        return f"for class numbers, one-hot rows: np.eye({wanted[0]})[{what}{'.ravel()' if found else ''}]"
    elif wanted == () and array.size == array.shape[0]:
        return f"{what}.ravel()"
    if array.shape == wanted:
        return f"for a single sample write {what}[None]"
    # One shape is the other flattened, or the other with axes of size one added or removed.
    flat = math.prod(given) == math.prod(sizes) and min(len(given), len(sizes)) == 1
    if given == sizes or flat:
        # Flat pixels of several channels may have been flattened with the channels last.
        order = " if it was flattened from this order" if len(given) == 1 and len(sizes) > 2 else ""
        return f"{what}.reshape({', '.join(map(str, (-1, *wanted)))}) would fit{order}"
    return None


def is_one_hot(array: Array) -> bool:
    """Whether each row along the last axis contains a single one, and zeros.

    >>> is_one_hot(np.eye(3)), is_one_hot(np.ones((3, 3)))
    (True, False)
    """
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=-1) == 1).all())


# Some pixels in 0 to 255 are above this; other small integers rarely are.
_HALF_OF_A_PIXEL = 127


def warn_unscaled(recording: Recording, name: str, array: Array) -> None:
    """Warn about bytes that look like pixels in 0 to 255, for an input of real numbers that no equation scales.

    >>> import tinygraph as tg
    >>> with warnings.catch_warnings(record=True, action="always") as caught:
    ...     warn_unscaled(tg.load_model("xor").record(1), "x", np.array([[0, 255]], "uint8"))
    >>> print(caught[0].message)
    input 'x' gets uint8, as pixels in 0 to 255, and the model does not scale them: train and predict with x / 255
    """
    if array.dtype != np.uint8 or array.max() <= _HALF_OF_A_PIXEL:
        return
    leaf = recording.tensors.get(name)
    users = [node for node in recording.graph.nodes if any(x is leaf for x in node.inputs)]
    scaled = all(n.op and n.op.elementwise and any(map(_is_fixed, n.inputs)) for n in users)
    if leaf is not None and leaf.dtype.kind == "f" and not scaled:
        # The same message at the same place: Python shows it once although data are checked several times.
        found = f"input {name!r} gets uint8, as pixels in 0 to 255, and the model does not scale them"
        warnings.warn(f"{found}: train and predict with {name} / 255", stacklevel=1)


def _is_fixed(x: Tensor) -> bool:
    """Whether a tensor is computed only from constants and state, such as a running mean."""
    return all(leaf.kind in ("constant", "state") for leaf in topological([x]) if leaf.op is None)


def batch_shape_text(declaration: Declaration, name: str) -> str:
    """Return the shape of an input with its batch axis, as ``(m, 1, 8, 8)``."""
    declared = declaration.inputs[name]
    samples = [str(declaration.batch or "m")] if declared.batched else []
    return _in_parentheses([*samples, *map(str, declared.shape)])


def _in_parentheses(sizes: Sequence[str]) -> str:
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def batched_inputs(model: Model) -> list[str]:
    """Return the names of the inputs whose first axis counts samples."""
    return [name for name, declared in model.inputs.items() if declared.batched]


def samples_in(model: Model, feeds: Mapping[Any, Any]) -> int | None:
    """Return how many samples are fed, by the first input that holds samples, or ``None``. Raises ``FeedError`` for none.

    >>> import tinygraph as tg
    >>> samples_in(tg.load_model("xor"), {"x": [[0.0, 1.0], [1.0, 1.0]]})
    2
    """
    names = batched_inputs(model)
    require_feeds(feeds, names)
    for name in names:
        if name not in feeds:
            continue
        value = feeds[name]
        try:
            shape = (value if isinstance(value, Tensor) else numeric_array(value, f"feed for input {name!r}")).shape
        except (DTypeError, ShapeError) as error:
            raise FeedError(str(error)) from None
        if shape and not shape[0]:
            raise FeedError(f"input {name!r} was fed no sample: its shape is {shape}")
        if shape:
            return shape[0]
    return None


def counts_text(arrays: Mapping[str, Any]) -> str:
    """Return how many samples each input has, as ``x 3, y 2``."""
    return ", ".join(f"{name} {array.shape[0]}" for name, array in arrays.items())


def shape_in_batches(shapes: Mapping[int, tuple[int, ...]]) -> str:
    """Return the shape for m samples, from the shapes for some numbers of samples; ``?`` for a size not linear in m.

    >>> shape_in_batches({2: (2, 8), 3: (3, 8), 61: (61, 8)}), shape_in_batches({2: (3,), 3: (4,), 61: (62,)})
    ('(m, 8)', '(m + 1,)')
    >>> shape_in_batches({2: (1, 4), 3: (1, 6), 61: (30, 122)})
    '(?, 2m)'
    """
    return _in_parentheses([_size_in_batches(list(shapes), found) for found in zip(*shapes.values(), strict=True)])


def _size_in_batches(counts: Sequence[int], sizes: Sequence[int]) -> str:
    times, rest = divmod(sizes[-1] - sizes[0], counts[-1] - counts[0])
    plus = sizes[0] - times * counts[0]
    if rest or any(times * count + plus != size for count, size in zip(counts, sizes, strict=True)):
        return "?"
    if not times:
        return str(plus)
    return f"{'' if times == 1 else times}m" + (f" + {plus}" if plus > 0 else f" - {-plus}" if plus else "")
