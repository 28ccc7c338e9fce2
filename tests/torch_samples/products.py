"""Products of matrices, written with ``matmul`` and ``einsum``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import Call, need
from .shapes import swapped


def plus_product(product: Call) -> Call:
    """A tensor times beta plus a product times alpha."""
    return lambda x, *factors, beta=1, alpha=1: beta * x + alpha * product(*factors)


def affine(x: Any, weight: Any, bias: Any = None) -> Any:
    y = x @ swapped(weight, 0, 1) if weight.ndim == 2 else x @ weight
    return y if bias is None else y + bias


def einsum(x: Any, equation: str) -> Any:
    need(
        "..." not in equation or "->" not in equation or "..." in equation.split("->")[1],
        "a ... that the result leaves out: it is refused, as in NumPy",
    )
    return tg.einsum(x, equation)


def inner(x: Any, y: Any) -> Any:
    return x * y if 0 in (x.ndim, y.ndim) else tg.einsum([x, y], "ai,bi->ab" if x.ndim + y.ndim == 4 else "...i,i->...")


def outer(x: Any, y: Any) -> Any:
    return tg.reshape(x, (-1, 1)) * tg.reshape(y, (1, -1))


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    z = tg.einsum([x, weight, y], "...i,kij,...j->...k")
    return z if bias is None else z + bias


def summed_products(x: Any, y: Any, dims: Any) -> Any:
    first, second = (range(x.ndim - dims, x.ndim), range(dims)) if isinstance(dims, int) else dims
    letters = [chr(ord("a") + i) for i in range(x.ndim)], [chr(ord("A") + i) for i in range(y.ndim)]
    need(all(x.shape[i] == y.shape[j] for i, j in zip(first, second, strict=True)), "sizes of 1 that stand for any")
    for i, j in zip(first, second, strict=True):
        letters[1][j] = letters[0][i]
    once = [a for a in letters[0] if a not in letters[1]] + [b for b in letters[1] if b not in letters[0]]
    return tg.einsum([x, y], f"{''.join(letters[0])},{''.join(letters[1])}->{''.join(once)}")


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    last = key.ndim - 1
    scores = query @ swapped(key, last, last - 1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        attn_mask = np.tri(*scores.shape[-2:], dtype=bool)
    if attn_mask is not None:
        scores = tg.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    return tg.softmax(scores) @ value
