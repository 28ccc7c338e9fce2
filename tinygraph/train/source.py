"""What the files and folders of data hold, before they are divided, and how it is fitted to a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import DataError, counted, listing, nearest
from tinygraph.graph import Array
from tinygraph.train.lazy import Lazy, lazily
from tinygraph.train.metrics import classifying_losses

if TYPE_CHECKING:
    from tinygraph.model import Model
    from tinygraph.model.declaration import Input


@dataclass(frozen=True)
class Source:
    """Pairs of samples and labels in a file or folder: those to learn from, and those to test on if it has its own.

    Labels are ``None`` where there are none, which ``unlabelled`` explains, or may be text: the class of each. ``split`` says
    where the second part is. Without one, it is drawn from all classes of the labels, or of ``strata``. ``names`` are those of
    the samples of each part, if they have names.
    """

    parts: Sequence[tuple[Any, Any]]
    classes: tuple[str, ...] = ()
    split: str = ""
    description: str = ""
    unlabelled: str = ""
    strata: Array | None = None
    names: Sequence[Array] = ()


def feature_of(model: Model | None, what: str) -> Input | None:
    """Return the one input that ``what``, a format with one array of samples, is for; ``None`` without a model."""
    if model is not None and len(model.features) != 1:
        raise DataError(f"{what} give one input; the model takes {listing(model.features)}: make an .npz file of them")
    return None if model is None else model.inputs[model.features[0]]


def pixels(images: Lazy, wanted: Input | None) -> Any:
    """Return bytes in the shape of a model's input, scaled to 0 to 1; an input of integers gets 0 to 255.

    >>> pixels(Lazy.of(np.array([[0, 255]], np.uint8)), None)
    array([[0., 1.]], dtype=float32)
    """
    dtype = np.dtype(np.float32) if wanted is None else wanted.dtype
    shape, scaled = sample_shape(images.sample, wanted), images.dtype == np.uint8 and dtype.kind == "f"

    def fitted(array: Array, at: Array) -> Array:
        array = array.reshape(-1, *shape)
        return array.astype(dtype) / dtype.type(255) if scaled else array

    return lazily(images.map(fitted, dtype if scaled else images.dtype, shape))


def sample_shape(found: tuple[int, ...], wanted: Input | None) -> tuple[int, ...]:
    """Return the shape of an input if it only adds or removes axes of a sample, or splits or joins all; else that ``found``.

    >>> from types import SimpleNamespace
    >>> [sample_shape(found, SimpleNamespace(shape=(1, 2, 2))) for found in [(4,), (2, 2), (1, 4)]]
    [(1, 2, 2), (1, 2, 2), (1, 2, 2)]
    """
    if wanted is None:
        return found
    given, sizes = ([size for size in shape if size != 1] for shape in (found, wanted.shape))
    flat = math.prod(given) == math.prod(sizes) and min(len(given), len(sizes)) <= 1
    return wanted.shape if given == sizes or flat else found


def class_numbers(names: Sequence[str], labels: Array, known: Sequence[str] = ()) -> tuple[tuple[str, ...], Array]:
    """Return the names of the classes and the numbers of ``labels`` among them: of places in ``names``, or in ``known`` ones.

    >>> class_numbers(["cat", "dog"], np.array([1, 0, 1]), known=["ant", "cat", "dog"])
    (('ant', 'cat', 'dog'), array([2, 1, 2]))
    """
    classes = tuple(known or names)
    for name in (names[place] for place in np.unique(labels)):
        if name not in classes:
            raise DataError(f"the class {name!r} is none of {listing(classes)}{nearest(name, classes)}")
    places = {name: place for place, name in enumerate(classes)}
    return classes, np.array([places.get(name, -1) for name in names])[labels]


def fit_labels(model: Model | None, y: Any, classes: tuple[str, ...]) -> Any:
    """Return labels, one number for each sample, as the model's loss takes them: numbers, a column, or one-hot rows.

    Raises ``DataError`` if the data have other classes than the model's output. Other labels are returned unchanged.
    """
    if model is None or len(model.labels) != 1 or not isinstance(y, np.ndarray) or not y.size:
        return y
    wanted = model.inputs[model.labels[0]]
    several = len(wanted.shape) == 1 and wanted.shape[0] > 1
    count = wanted.shape[0] if several else _class_count(model)
    found = f"the data have {counted(len(classes), 'class')}, {listing(classes)}, and the model {model.name!r}"
    if classes and count and len(classes) != count:
        raise DataError(f"{found} has {count}, in its output {model.output!r}")
    if len(classes) > 2 and count is None and wanted.dtype.kind == "f":
        raise DataError(f"{found} takes numbers as labels, not classes")
    if y.ndim == 1 and several and y.dtype.kind in "iu" and y.min() >= 0 and y.max() < wanted.shape[0]:
        return np.eye(wanted.shape[0], dtype=wanted.dtype)[y]
    return y.reshape(-1, *wanted.shape) if y.ndim == 1 and set(wanted.shape) <= {1} else y


def _class_count(model: Model) -> int | None:
    """Return how many classes the loss of a model tells apart, or ``None`` where it is none of classes."""
    for node, decision in classifying_losses(model.record()):
        scores = node.inputs[0].shape[1:]
        if not decision.thresholds:
            return scores[-1] if scores else None
        return 2 if math.prod(scores) == 1 else None
    return None
