"""Variants of a worksheet: the same questions with other numbers, drawn from a seed, the same on every machine."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng

from tinygraph.describe.subject import subject_of
from tinygraph.errors import TinygraphError
from tinygraph.graph import Array
from tinygraph.model.model import Model
from tinygraph.model.values import is_one_hot
from tinygraph.train import data as sources

# How often inputs are drawn again because a gradient is zero everywhere.
_ATTEMPTS = 12


def drawn_again(model: Model, seed: int) -> Model:
    """Return a copy of a model, its random parameters drawn from another seed and rounded to about two digits.

    Parameters that the model file gives, such as zeros, and those that were loaded stay as they are.

    >>> import tinygraph as tg
    >>> print(drawn_again(tg.load_model("xor"), 3).parameters["W2"].value.T)
    [[ 0.94  0.08 -0.31 -0.75]]
    """
    made, other = copy(model), copy(model)
    if model.weighted:
        return made
    made.initialize(seed)
    other.initialize(seed + 1)
    for name, parameter in made.parameters.items():
        if not np.array_equal(parameter.value, other.parameters[name].value):
            parameter.value = two_digits(np.asarray(parameter.value))
    return made


def two_digits(array: Array) -> Array:
    """Return numbers rounded to two digits of the largest, so that they can be worked with by hand.

    >>> two_digits(np.array([0.6123, -0.0456])).tolist(), two_digits(np.array([3, 4])).tolist()
    ([0.61, -0.05], [3, 4])
    """
    largest = np.abs(array[np.isfinite(array)]).max(initial=0.0)
    if array.dtype.kind != "f" or not largest:
        return array
    return np.round(array, 1 - int(np.floor(np.log10(largest)))).astype(array.dtype)


def other_inputs(model: Model, seed: int, random: Callable[[int], Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return inputs for a variant, by the name of the sample; drawn again where a gradient is zero everywhere.

    They are a sample of the model's data; or numbers in the range of its own ``[sample]``; or ``random`` ones, in two digits.
    An input of which the model takes no other numbers, such as a label, keeps those that it has.
    """
    for attempt in range(_ATTEMPTS):
        name, feeds = _drawn(model, default_rng([seed, attempt]), random)
        subject = subject_of(model, feeds)
        gradients = [] if subject.backward is None else subject.backward.gradients.items()
        if all(subject.values[slope].any() for x, slope in gradients if x.kind == "parameter"):
            break
    return {name: feeds}


def _drawn(model: Model, rng: Generator, random: Callable[[int], Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    if model.sample:
        first, found = dict(model.sample), {name: _alike(array, rng) for name, array in model.sample.items()}
    elif model.training.data is not None:
        arrays = sources.samples_of(model, sources.required_data(model, None))
        i = int(rng.integers(min(map(len, arrays.values()))))
        return f"sample {i}", {name: array[i : i + 1] for name, array in arrays.items()}
    else:
        first = dict(random(int(rng.integers(1 << 31))))
        found = {name: two_digits(np.asarray(array)) for name, array in first.items()}
    for name, array in found.items():
        if _is_accepted(model, {**first, name: array}):
            first[name] = array
    return "other numbers", first


def _alike(array: Array, rng: Generator) -> Array:
    """Return other numbers of the same kind: whole, if all are, and in the same range or, of equal numbers, around them."""
    rows = array.reshape(len(array), -1)
    if array.dtype.kind == "b" or (rows.shape[1] > 1 and is_one_hot(rows)):
        return rng.permuted(rows, axis=1).reshape(array.shape)
    least, most = float(array.min()), float(array.max())
    if least == most:
        least, most = least - 2, most + 2
    if (array == np.rint(array)).all():
        return rng.integers(int(least), int(most), array.shape, endpoint=True).astype(array.dtype)
    return two_digits(rng.uniform(least, most, array.shape)).astype(array.dtype)


def _is_accepted(model: Model, feeds: Mapping[str, Any]) -> bool:
    """Whether the operations of a model take these numbers, and all results are finite."""
    try:
        values = subject_of(model, feeds, backward=False).values
    except TinygraphError:
        return False
    return all(np.isfinite(array).all() for array in values.values() if array.dtype.kind == "f")
