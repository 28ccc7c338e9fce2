"""Images in another size: each element a copy of the nearest one, or on the straight line between two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape, Value
from tinygraph.ops.floating import floating
from tinygraph.ops.gather import scatter_add
from tinygraph.ops.samples import each, normal

FAMILY = "indexing"

_ROUNDING: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@register
@dataclass(frozen=True)
class Resize(Op):
    """Images ``(N, C, ...)`` at another ``size``, or at a ``scale`` of their own: copies of the nearest, or ``"linear"``.

    One number for all axes but the first two, or one for each; a scale may be a fraction, and the size is then rounded down.
    ``coordinates`` says where the element ``i`` of the result lies among those of ``x``: at ``(i + 1/2) / scale - 1/2``
    (``"half_pixel"``), at ``i / scale`` (``"asymmetric"``), or so that first and last stay first and last
    (``"align_corners"``). ``rounding`` says which element is nearest to that; in mode ``"linear"`` the two beside it share.
    PyTorch's ``nearest`` is asymmetric with ``"floor"``. An element gets the gradients of all that it had a share in.

    Source: ONNX's ``Resize``. Raises ``AttributeValueError`` unless either size or scale is given, and ``ShapeError`` where
    nothing would be left.

    >>> import tinygraph as tg
    >>> tg.resize(np.array([[[1.0, 2.0]]]), scale=2.5)
    array([[[1., 1., 1., 2., 2.]]])
    >>> tg.resize(np.array([[[1.0, 2.0]]]), size=3, mode="linear")
    array([[[1. , 1.5, 2. ]]])
    """

    size: int | tuple[int, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    mode: Literal["nearest", "linear"] = "nearest"
    coordinates: Literal["half_pixel", "asymmetric", "align_corners"] = "half_pixel"
    rounding: Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] = "round_prefer_floor"
    formula: ClassVar[str] = "resize({x})"
    tex: ClassVar[str] = r"\operatorname{resize}({x})"
    holomorphic: ClassVar[bool] = True
    samples = staticmethod(
        each(
            normal,
            ((1, 2, 2, 3), {"scale": 2.0}),
            ((2, 1, 3, 4), {"size": (5, 3), "mode": "linear"}),
            ((1, 1, 4), {"scale": 1.6, "coordinates": "asymmetric", "rounding": "floor"}),
            ((1, 2, 5), {"size": 2, "rounding": "ceil"}),
            ((1, 2, 3), {"size": 4, "mode": "linear", "coordinates": "align_corners"}),
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.size is None) == (self.scale is None):
            raise AttributeValueError(
                f"resize: give either size or scale; found size={self.size!r} and scale={self.scale!r}"
            )
        given = self.scale if self.size is None else self.size
        numbers = given if isinstance(given, tuple) else (given,)
        if not all(number is not None and 0 < number < math.inf for number in numbers):
            raise AttributeValueError(f"resize: size and scale must be positive; found {given}")

    def shape(self, x: Value) -> Shape:
        return (*x.shape[:2], *(size for size, _, _ in self._steps(x)))

    def result_dtype(self, x: Value) -> np.dtype[Any]:
        return np.result_type(x.dtype, *([0.0] if self.mode == "linear" else []))

    def _steps(self, x: Value) -> list[tuple[int, float, int]]:
        """Return for each resized axis its new size, and its scale as a quotient, which for sizes is exact."""
        old = tuple(x.shape[2:])
        given: Any = self.scale if self.size is None else self.size
        numbers = given if isinstance(given, tuple) else (given,) * len(old)
        if not old or len(numbers) != len(old) or 0 in old:
            self.refuse(
                [x], f"images (N, C, ...) with a number for each axis after the first two are needed; found {given}"
            )
        if self.size is not None:
            return [(new, new, size) for new, size in zip(numbers, old, strict=True)]
        steps = [(math.floor(size * scale), scale, 1) for size, scale in zip(old, numbers, strict=True)]
        if any(size < 1 for size, _, _ in steps):
            self.refuse([x], f"nothing would be left at the scale {given}")
        return steps

    def places(self, x: Value) -> list[tuple[int, list[tuple[Any, Any]]]]:
        """Return each resized axis with the elements along it that are copied, and with which shares: one list or two."""
        found = []
        for axis, (size, new, old) in enumerate(self._steps(x), start=2):
            last, column = x.shape[axis] - 1, (-1, *[1] * (len(x.shape) - 1 - axis))
            if self.coordinates == "align_corners":
                at = np.arange(size) * last / max(size - 1, 1)
            else:
                shift = 0.5 if self.coordinates == "half_pixel" else 0.0
                at = (np.arange(size) + shift) * old / new - shift
            if self.mode == "nearest":
                found.append((axis, [(_within(_ROUNDING[self.rounding](at), last), 1)]))
                continue
            below = np.floor(np.clip(at, 0, last))
            share = (np.clip(at, 0, last) - below).astype(self.result_dtype(x)).reshape(column)
            found.append((axis, [(_within(below, last), 1 - share), (_within(below + 1, last), share)]))
        return found

    def forward(self, x: Value) -> Value:
        x = floating(x) if self.mode == "linear" else x
        for axis, shares in self.places(x):
            x = sum(np.take(x, indices, axis) * share for indices, share in shares)
        return x

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        for axis, shares in self.places(x):
            parts = [scatter_add(dy * share, indices, x.shape[axis], axis) for indices, share in shares]
            dy = parts[0] + parts[1] if len(parts) > 1 else parts[0]
        return dy


def _within(at: Any, last: int) -> Any:
    """Return positions as whole numbers from 0 to the last."""
    return np.clip(at, 0, last).astype(np.intp)


resize = Resize.function
