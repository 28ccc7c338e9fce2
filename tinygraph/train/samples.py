"""Samples as users give them: how many, which classes, and how a notebook shows them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.describe import html
from tinygraph.errors import counted
from tinygraph.graph import Array
from tinygraph.model.values import is_one_hot
from tinygraph.train.lazy import Lazy

# How many images a notebook shows.
_SHOWN = 10


def sample_count(samples: Any) -> int:
    """Return how many samples there are, in an array or in a dict of arrays by the names of inputs.

    >>> sample_count({"image": np.zeros((3, 8, 8)), "size": np.zeros((3,))})
    3
    """
    return len(next(iter(samples.values())) if isinstance(samples, Mapping) else samples)


def of_each(function: Callable[..., Any], *samples: Any) -> Any:
    """Return ``function`` of the samples: of arrays, or in a dict for each input of dicts of arrays."""
    if isinstance(samples[0], Mapping):
        return {name: function(*(arrays[name] for arrays in samples)) for name in samples[0]}
    return function(*samples)


def classes_of(y: Array) -> Array | None:
    """Return the class of each sample, counted from 0, or ``None`` for labels that are not classes."""
    rows = y.reshape(len(y), -1) if y.size else y
    if not y.size or y.dtype.kind not in "biuf" or not np.array_equal(rows, np.rint(rows)):
        return None
    if rows.shape[1] > 1:
        if not is_one_hot(rows):
            return None
        rows = rows.argmax(axis=1)
    _, classes = np.unique(rows, return_inverse=True)
    classes = classes.reshape(len(y))
    return classes if 2 * (classes.max() + 1) <= len(y) else None


def count_text(samples: Any) -> str:
    """Return how many samples there are, in words. They may be anything that a user gave.

    >>> count_text([0]), count_text(3)
    ('1 sample', 'unknown samples')
    """
    try:
        return counted(sample_count(samples), "sample")
    except (TypeError, StopIteration):
        return "unknown samples"


def samples_view(caption: str, parts: Mapping[str, tuple[Any, Any]], split: str, classes: Sequence[str] = ()) -> str:
    """Return what a notebook shows of samples and labels: shapes, numbers, classes, and some samples if they are images.

    >>> "int64 (3,)" in samples_view("mine", {"train": (np.eye(3), np.array([0, 1, 1]))}, "")
    True
    """
    rows: list[tuple[str, ...]] = []
    images: list[str] = []
    for part, (x, y) in parts.items():
        for role, arrays in (("x", x), ("y", y)):
            for name, samples in (arrays if isinstance(arrays, Mapping) else {role: arrays}).items():
                # What is read from a file when it is needed has no least and greatest number yet.
                array = samples if isinstance(samples, Lazy) else _array(samples)
                form = f"{array.dtype} {array.shape}"
                rows.append((part, str(name), form, *_described(array, role == "y")))
                images += _images(array, y, classes) if role == "x" and not images else []
    head = ("part", "array", "shape", "least", "greatest", "classes")
    below = html.paragraph(f"test: {split}") if split else ""
    if classes and all(isinstance(y, np.ndarray) for _, y in parts.values()):
        counts = [class_counts(y, len(classes)) for _, y in parts.values()]
        below += html.table(
            ("class", *parts), [(name, *map(str, row)) for name, *row in zip(classes, *counts, strict=True)]
        )
    return html.view(html.table(head, rows, caption), html.pictures(images), below)


def class_counts(y: Any, count: int) -> Array:
    """Return how many samples each of ``count`` classes has: class numbers, a column of them, or one-hot rows.

    >>> class_counts(np.array([[1.0], [0.0], [1.0]]), 2), class_counts(np.eye(3)[[0, 2]], 3)
    (array([1, 2]), array([1, 0, 1]))
    """
    rows = np.asarray(y).reshape(len(y), -1)
    return np.bincount(rows.argmax(1) if rows.shape[1] > 1 else rows[:, 0].astype(int), minlength=count)


def _array(samples: Any) -> Array:
    """Return samples as an array, of objects where they are rows of unequal length."""
    try:
        return np.asarray(samples)
    except ValueError:
        return np.array([*samples], object)


def _described(array: Any, labels: bool) -> tuple[str, str, str]:
    if isinstance(array, Lazy) or not array.size or array.dtype.kind not in "biuf":
        return "", "", ""
    classes = classes_of(array) if labels and array.ndim else None
    return html.number(array.min()), html.number(array.max()), "" if classes is None else str(classes.max() + 1)


def are_images(x: Any) -> bool:
    """Whether samples, an array or ``Lazy``, are images ``(N, C, H, W)`` of one or three channels."""
    return len(x.shape) == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 3 and x.dtype.kind in "biuf"


def _images(x: Any, y: Any, classes: Sequence[str]) -> Iterator[str]:
    """Yield some samples as pictures, with their labels below, if they are images of one or three channels."""
    if are_images(x):
        # Not the first ones: images of a folder are in the order of their classes.
        for i in np.linspace(0, len(x) - 1, min(len(x), _SHOWN)).astype(int):
            label = np.asarray(y[i]) if isinstance(y, (np.ndarray, list)) else np.zeros((0, 0))
            named = classes and label.size in (1, len(classes))
            name = classes[int(label.argmax() if label.size > 1 else label.item())] if named else ""
            yield html.image(x[i], name or (html.number(label.item()) if label.size == 1 else ""))
