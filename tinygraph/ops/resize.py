"""Images in another size, each pixel a copy of the nearest one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph.function import register
from tinygraph.graph.op import Op, Shape, Value
from tinygraph.ops.gather import add_along, take_along
from tinygraph.ops.samples import each, normal

_ROUNDING: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@register
@dataclass(frozen=True)
class Resize(Op):
    """Images ``(N, C, ...)`` at another ``size``, or at a ``scale`` of their own, each element a copy of the nearest.

    One number for all axes but the first two, or one for each; a scale may be a fraction, and the size is then rounded down.
    ``coordinates`` says where the element ``i`` of the result lies among those of ``x``: at ``(i + 1/2) / scale - 1/2``
    (``"half_pixel"``) or at ``i / scale`` (``"asymmetric"``); ``rounding`` says which element is nearest to that. PyTorch's
    ``nearest`` is asymmetric with ``"floor"``. An element that was copied several times gets all of their gradients.

    Source: ONNX's ``Resize``. Raises ``AttributeValueError`` unless either size or scale is given, and ``ShapeError`` where
    nothing would be left.

    >>> import tinygraph as tg
    >>> tg.resize(np.array([[[1.0, 2.0]]]), scale=2.5)
    array([[[1., 1., 2., 2., 2.]]])
    """

    size: int | tuple[int, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    coordinates: Literal["half_pixel", "asymmetric"] = "half_pixel"
    rounding: Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] = "round_prefer_floor"
    formula: ClassVar[str] = "resize({x})"
    tex: ClassVar[str] = r"\operatorname{resize}({x})"
    holomorphic: ClassVar[bool] = True
    samples = staticmethod(
        each(
            normal,
            ((1, 2, 2, 3), {"scale": 2.0}),
            ((2, 1, 3, 4), {"size": (5, 3)}),
            ((1, 1, 4), {"scale": 1.6, "coordinates": "asymmetric", "rounding": "floor"}),
            ((1, 2, 5), {"size": 2, "rounding": "ceil"}),
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
        return (*x.shape[:2], *(size for size, _ in self._steps(x)))

    def _steps(self, x: Value) -> list[tuple[int, float]]:
        """Return for each resized axis its new size, and how many new elements there are to an old one."""
        old = tuple(x.shape[2:])
        given: Any = self.scale if self.size is None else self.size
        numbers = given if isinstance(given, tuple) else (given,) * len(old)
        if not old or len(numbers) != len(old) or 0 in old:
            self.refuse(
                [x], f"images (N, C, ...) with a number for each axis after the first two are needed; found {given}"
            )
        if self.size is not None:
            return [(new, new / size) for new, size in zip(numbers, old, strict=True)]
        steps = [(math.floor(size * scale), scale) for size, scale in zip(old, numbers, strict=True)]
        if any(size < 1 for size, _ in steps):
            self.refuse([x], f"nothing would be left at the scale {given}")
        return steps

    def places(self, x: Value) -> dict[int, Any]:
        """Return for each axis which elements of ``x`` are copied, in the order of the result."""
        found = {}
        for axis, (size, scale) in enumerate(self._steps(x), start=2):
            shift = 0.5 if self.coordinates == "half_pixel" else 0.0
            at = (np.arange(size) + shift) / scale - shift
            found[axis] = np.clip(_ROUNDING[self.rounding](at), 0, x.shape[axis] - 1).astype(np.intp)
        return found

    def forward(self, x: Value) -> Value:
        return take_along(x, self.places(x))

    def vjp(self, dy: Value, y: Value, x: Value) -> Value:
        return add_along(dy, self.places(x), x.shape)


resize = Resize.function
