"""What the numbers of an input look like, and other numbers like them: in a range, in order, in rows that add up to 1."""

import numpy as np

from tinygraph.graph import Array, Shape


def redrawn(rng: np.random.Generator, x: Array, shape: Shape) -> Array:
    """Return an array of another shape with elements like those of ``x``: of their kind, in their range, in their order.

    Symmetric matrices stay symmetric and positive, rows that add up to 1 do so again, and sorted elements are sorted.
    """
    if not x.size:
        return np.zeros(shape, x.dtype)
    y = rng.choice(x.ravel(), shape)
    if is_free(x):
        y = y * rng.uniform(0.7, 1.0, shape)
    if x.dtype.kind == "f" and is_symmetric(x) and len(shape) > 1 and shape[-1] == shape[-2]:
        root = rng.standard_normal(shape) / np.sqrt(shape[-1])
        return np.asarray(root @ root.swapaxes(-1, -2) + np.eye(shape[-1]))
    if is_sorted(x) or (x.dtype.kind in "iu" and x.ndim and (np.diff(x, axis=-1) >= 0).all()):
        y = np.sort(y, axis=-1)
    return y / y.sum(axis=-1, keepdims=True) if is_distribution(x) else y


def is_free(x: Array) -> bool:
    """Whether elements may be numbers of any size: they are not marks such as 0 and 1, and rows do not add up to 1."""
    marks = x.dtype.kind != "f" or np.isin(x, (-1.0, 0.0, 1.0)).all() or not np.isfinite(x).all()
    return not marks and not is_distribution(x)


def is_symmetric(x: Array) -> bool:
    return x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1 and np.allclose(x, x.swapaxes(-1, -2))


def is_sorted(x: Array) -> bool:
    """Whether numbers that are not whole are sorted, as knots and times are."""
    return x.dtype.kind == "f" and x.ndim > 0 and x.shape[-1] > 2 and bool((np.diff(x, axis=-1) > 0).all())


def is_distribution(x: Array) -> bool:
    """Whether the elements of every row are not negative and add up to 1."""
    sums = x.ndim and x.dtype.kind == "f" and x.shape[-1] > 1 and (x >= 0).all()
    return bool(sums and np.allclose(x.sum(axis=-1), 1))
