"""What the numbers of an input look like, and other numbers like them: in a range, in order, in rows that add up to 1."""

import contextlib
from collections.abc import Sequence

import numpy as np

from tinygraph.graph import Array, Op, Shape


def redrawn(rng: np.random.Generator, x: Array, shape: Shape) -> Array:
    """Return an array of another shape with elements like those of ``x``: of their kind, in their range, in their order.

    Symmetric matrices stay symmetric and positive, diagonals keep their numbers, rows that add up to 1 do so again, sorted
    elements are sorted, and rows of whole numbers have none twice.
    """
    if not x.size:
        return np.zeros(shape, x.dtype)
    y = rng.choice(x.ravel(), shape)
    if has_distinct_rows(x) and len(shape) > 1 and shape[-1] <= np.ptp(x) + 1:
        # The two ends of an edge are not one node.
        every = rng.random((*shape[:-1], int(np.ptp(x)) + 1)).argsort(axis=-1)
        return np.asarray(every[..., : shape[-1]] + x.min(), x.dtype)
    if x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1 and len(shape) > 1 and shape[-1] == shape[-2]:
        # A diagonal often has numbers of its own, such as large ones.
        own, on = np.eye(x.shape[-1], dtype=bool), np.eye(shape[-1], dtype=bool)
        y = np.where(on, rng.choice(x[..., own].ravel(), shape), rng.choice(x[..., ~own].ravel(), shape))
    if is_free(x):
        y = y * rng.uniform(0.7, 1.0, shape)
    if x.dtype.kind == "f" and is_symmetric(x) and len(shape) > 1 and shape[-1] == shape[-2]:
        root = rng.standard_normal(shape) / np.sqrt(shape[-1])
        return np.asarray(root @ root.swapaxes(-1, -2) + np.eye(shape[-1]))
    if is_sorted(x) or (x.dtype.kind in "iu" and x.ndim and (np.diff(x, axis=-1) >= 0).all()):
        y = np.sort(y, axis=-1)
    return y / y.sum(axis=-1, keepdims=True) if is_distribution(x) else y


def with_own(op: Op, rng: np.random.Generator, inputs: Sequence[Array]) -> list[Array]:
    """Return inputs with the values that the operation's ``sample_inputs`` draws for them."""
    # It may be written for other numbers of axes.
    with contextlib.suppress(Exception):
        drawn = op.sample_inputs(rng, *inputs)
        return [x if own is None else np.asarray(own) for x, own in zip(inputs, drawn, strict=True)]
    return list(inputs)


def has_distinct_rows(x: Array) -> bool:
    """Whether rows of two and more whole numbers have none twice."""
    whole = x.dtype.kind in "iu" and x.ndim > 1 and x.shape[-1] > 1
    return bool(whole and (np.diff(np.sort(x, axis=-1), axis=-1) > 0).all())


def is_free(x: Array) -> bool:
    """Whether elements may be numbers of any size: they are not marks such as 0 and 1, and rows do not add up to 1."""
    marks = x.dtype.kind != "f" or np.isin(x, (-1.0, 0.0, 1.0)).all() or not np.isfinite(x).all()
    return not marks and not is_distribution(x)


def is_symmetric(x: Array) -> bool:
    """Whether square matrices of more than one row are symmetric."""
    return x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1 and np.allclose(x, x.swapaxes(-1, -2))


def is_sorted(x: Array) -> bool:
    """Whether numbers that are not whole are sorted, as knots and times are."""
    return x.dtype.kind == "f" and x.ndim > 0 and x.shape[-1] > 2 and bool((np.diff(x, axis=-1) > 0).all())


def is_distribution(x: Array) -> bool:
    """Whether the elements of every row are not negative and add up to 1."""
    sums = x.ndim and x.dtype.kind == "f" and x.shape[-1] > 1 and (x >= 0).all()
    return bool(sums and np.allclose(x.sum(axis=-1), 1))
