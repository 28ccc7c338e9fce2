"""Samples as users give them: how many, which classes, and how a notebook shows them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygraph.describe import html
from tinygraph.errors import counted
from tinygraph.graph import Array
from tinygraph.model.values import is_one_hot


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


def samples_view(caption: str, parts: Mapping[str, tuple[Any, Any]], split: str) -> str:
    """Return what a notebook shows of samples and labels: shapes, numbers, classes, and the first samples if they are images.

    >>> "int64 (3,)" in samples_view("mine", {"train": (np.eye(3), np.array([0, 1, 1]))}, "")
    True
    """
    rows: list[tuple[str, ...]] = []
    images: list[str] = []
    for part, (x, y) in parts.items():
        for role, arrays in (("x", x), ("y", y)):
            for name, array in (arrays if isinstance(arrays, Mapping) else {role: arrays}).items():
                rows.append((part, str(name), *_described(_array(array), role == "y")))
                images += _images(_array(array), y) if role == "x" and not images else []
    head = ("part", "array", "shape", "least", "greatest", "classes")
    below = html.paragraph(f"test: {split}") if split else ""
    return html.view(html.table(head, rows, caption), html.pictures(images), below)


def _array(samples: Any) -> Array:
    """Return samples as an array, of objects where they are rows of unequal length."""
    try:
        return np.asarray(samples)
    except ValueError:
        return np.array([*samples], object)


def _described(array: Array, labels: bool) -> tuple[str, str, str, str]:
    numbers = bool(array.size) and array.dtype.kind in "biuf"
    classes = classes_of(array) if labels and array.ndim else None
    return (
        f"{array.dtype} {array.shape}",
        *((html.number(array.min()), html.number(array.max())) if numbers else ("", "")),
        "" if classes is None else str(classes.max() + 1),
    )


def are_images(x: Any) -> bool:
    """Whether samples, an array or ``Lazy``, are images ``(N, C, H, W)`` of one or three channels."""
    return len(x.shape) == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 3 and x.dtype.kind in "biuf"


def _images(x: Array, y: Any) -> Iterator[str]:
    """Yield the first samples as pictures, with their labels below, if they are images of one or three channels."""
    if are_images(x):
        for i in range(min(len(x), 10)):
            label = np.asarray(y[i]) if isinstance(y, (np.ndarray, list)) else np.zeros((0, 0))
            yield html.image(x[i], html.number(label.item()) if label.size == 1 else "")
