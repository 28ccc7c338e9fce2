"""Images in another size: each element a copy of the nearest one, or on a line between two or a curve between four."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.graph import Op, Shape, register, require
from tinygraph.ops.indexing.gather import scatter_add
from tinygraph.ops.samples import each, normal
from tinygraph.ops.sums import floating

_ROUNDING: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@register
class Resize(Op):
    """Images ``(N, C, ...)`` at another ``size``, or at a ``scale`` of their own: copies of the nearest, or between some.

    One number for all axes but the first two, or one for each; a scale may be a fraction, and the size is then rounded down.
    ``coordinates`` says where the element ``i`` of the result lies among those of ``x``: at ``(i + 1/2) / scale - 1/2``
    (``"half_pixel"``), at ``i / scale`` (``"asymmetric"``), or so that first and last stay first and last
    (``"align_corners"``). ``rounding`` says which element is nearest to that; in mode ``"linear"`` the two next to it share,
    in mode ``"cubic"`` the four, by the curve of bicubic interpolation (Keys, with a slope of -3/4 as in PyTorch).
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
    mode: Literal["nearest", "linear", "cubic"] = "nearest"
    coordinates: Literal["half_pixel", "asymmetric", "align_corners"] = "half_pixel"
    rounding: Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] = "round_prefer_floor"
    formula: ClassVar[str] = "resize({x})"
    tex: ClassVar[str] = r"\operatorname{resize}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((1, 2, 2, 3), {"scale": 2.0}),
        ((2, 1, 3, 4), {"size": (5, 3), "mode": "linear"}),
        ((1, 1, 4), {"scale": 1.6, "coordinates": "asymmetric", "rounding": "floor"}),
        ((1, 2, 5), {"size": 2, "rounding": "ceil"}),
        ((1, 2, 3), {"size": 4, "mode": "linear", "coordinates": "align_corners"}),
        ((1, 1, 4, 5), {"scale": 1.6, "mode": "cubic"}),
    )

    def check_attributes(self) -> None:
        found = f"size={self.size!r} and scale={self.scale!r}"
        require((self.size is None) != (self.scale is None), self, f"give either size or scale; found {found}")
        given = self.scale if self.size is None else self.size
        numbers = given if isinstance(given, tuple) else (given,)
        positive = all(number is not None and 0 < number < math.inf for number in numbers)
        require(positive, self, f"size and scale must be positive; found {given}")

    def shape(self, x) -> Shape:
        return (*x.shape[:2], *(size for size, _, _ in self._steps(x)))

    def result_dtype(self, x) -> np.dtype[Any]:
        return np.result_type(x.dtype, *([] if self.mode == "nearest" else [0.0]))

    def _steps(self, x) -> list[tuple[int, float, int]]:
        """Return for each resized axis its new size, and its scale as a quotient, which for sizes is exact."""
        old = tuple(x.shape[2:])
        given: Any = self.scale if self.size is None else self.size
        numbers = given if isinstance(given, tuple) else (given,) * len(old)
        if not old or len(numbers) != len(old) or 0 in old:
            why = "images (N, C, ...) with a number for each axis after the first two are needed"
            self.refuse([x], f"{why}; found {given}")
        if self.size is not None:
            return [(new, new, size) for new, size in zip(numbers, old, strict=True)]
        steps = [(math.floor(size * scale), scale, 1) for size, scale in zip(old, numbers, strict=True)]
        if any(size < 1 for size, _, _ in steps):
            self.refuse([x], f"nothing would be left at the scale {given}")
        return steps

    def places(self, x) -> list[tuple[int, list[tuple[Any, Any]]]]:
        """Return each resized axis with the elements along it that are copied, and with which shares: one, two or four."""
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
            at = np.clip(at, 0, last) if self.mode == "linear" else at
            below = np.floor(at)
            share = (at - below).astype(self.result_dtype(x)).reshape(column)
            shares = {0: 1 - share, 1: share} if self.mode == "linear" else _cubic(share)
            found.append((axis, [(_within(below + i, last), part) for i, part in shares.items()]))
        return found

    def forward(self, x):
        x = x if self.mode == "nearest" else floating(x)
        for axis, shares in self.places(x):
            x = sum(np.take(x, indices, axis) * share for indices, share in shares)
        return x

    def vjp(self, dy, y, x):
        for axis, shares in self.places(x):
            parts = [scatter_add(dy * share, indices, x.shape[axis], axis) for indices, share in shares]
            dy = functools.reduce(operator.add, parts)
        return dy

    def batch(self, use):
        return use.each()


def _cubic(share: Any) -> dict[int, Any]:
    """Return the shares of the four elements around a place, by their distance from the one before it."""
    a = -0.75

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return {-1: far(1 + share), 0: near(share), 1: near(1 - share), 2: far(2 - share)}


def _within(at: Any, last: int) -> Any:
    """Return positions as whole numbers from 0 to the last."""
    return np.clip(at, 0, last).astype(np.intp)
