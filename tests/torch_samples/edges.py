"""Where PyTorch's inputs at the edges (zeros, ties, NaN, infinities, huge numbers) meet what both settle differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .compare import NotOursError, need
from .table import ACTIVATIONS, BINARY, UNARY

# Larger ones say nothing more.
LARGE = 20_000
Inputs = list[Any]


def not_a_number(x: Inputs) -> bool:
    return any(np.isnan(part).any() for part in x)


def zero(x: Inputs) -> bool:
    return bool((x[0] == 0).any())


def at_one(x: Inputs) -> bool:
    return bool((abs(x[0]) == 1).any())


def tied(x: Inputs) -> bool:
    return bool((x[0] == x[1]).any()) or not_a_number(x)


def rounded_quotient(x: Inputs) -> bool:
    """Tell whether a quotient is rounded to a whole number that it is not."""
    quotient = np.divide(*x)
    return bool(((quotient == np.round(quotient)) & (np.fmod(*x) != 0)).any())


SIGN = ("the sign of NaN is NaN, as in NumPy; 0 in PyTorch", not_a_number)
SMOOTH = ("the second slope at 0 is either side's", zero)
TIED = ("the gradient of a tie goes to the first; half to each in PyTorch", tied)
QUOTIENT = ("a quotient that rounding makes whole", rounded_quotient)
EDGES: dict[str, tuple[str, Callable[[Inputs], bool]]] = {
    "div floor_rounding": QUOTIENT,
    "fmod": QUOTIENT,
    "max binary": TIED,
    "maximum": TIED,
    "min binary": TIED,
    "minimum": TIED,
    "nn.functional.celu": SMOOTH,
    "nn.functional.elu": SMOOTH,
    "nn.functional.hardtanh": ("clip passes gradients on at its limits; PyTorch's hardtanh does not", at_one),
    "nn.functional.prelu": SMOOTH,
    "nn.functional.selu": SMOOTH,
    "nn.functional.threshold": ("NaN is not above a threshold; PyTorch lets it through", not_a_number),
    "sgn": SIGN,
    "sign": SIGN,
}
# Of these PyTorch's own inputs ask for other dtypes, orders of memory, or fail.
OTHERS = {"addcdiv", "addcmul", "clamp", "clone", "contiguous", "where"}
NAMES = [name for name in UNARY | ACTIVATIONS | BINARY if name not in OTHERS]


def refuse_edges(name: str, sample: Any) -> None:
    """Skip an input that says nothing here, or at which the two settle something differently."""
    numbers = [sample.input, *sample.args]
    tensors = [part for part in (*numbers, *sample.kwargs.values()) if hasattr(part, "numel")]
    need(hasattr(sample.input, "numel"), "a number instead of the first tensor")
    need(all(str(part.dtype) in ("torch.float64", "torch.bool") for part in tensors), "other dtypes")
    need(max(part.numel() for part in tensors) <= LARGE, "a large tensor")
    if name in EDGES:
        reason, there = EDGES[name]
        with np.errstate(all="ignore"):
            if there([np.asarray(part.detach() if hasattr(part, "numel") else part) for part in numbers]):
                raise NotOursError(reason)
