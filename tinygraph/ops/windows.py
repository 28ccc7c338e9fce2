"""Windows of convolutions and pools over images of any rank, and what operations for each rank share.

An image is a line, a picture or a volume. Loops run only over the offsets inside a window, not over positions or samples.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np

from tinygraph.errors import AttributeValueError
from tinygraph.graph import Array, Explanation, Op, Terms, charge, register

Sizes: TypeAlias = tuple[int, ...]
# The pixels of padding before and after an axis of an image.
Sides: TypeAlias = tuple[int, int]
# Attributes of an operation for one rank: one number for all axes, or one for each; for padding also two for each.
Size: TypeAlias = int | Sizes
Padding: TypeAlias = int | Sizes | tuple[Sides, ...] | Literal["same", "same_upper", "same_lower", "valid"]

# Pairs of positions, one in each array.
Pairs: TypeAlias = tuple[Array, Array]

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
# The smallest value of each attribute that holds sizes, or one number.
LEAST = {"window": 1, "stride": 1, "dilation": 1, "padding": 0, "output_padding": 0, "groups": 1}
AnyRankedOp = TypeVar("AnyRankedOp", bound="RankedOp")


class RankedOp(Op):
    """An operation on images that exists for one, two and three axes, the rank of an image.

    A class without a rank holds the rules. One with a rank is an operation, and registers without ``@register``:
    ``class Conv2d(Convolve, rank=2)``. In the annotations of attributes, a tuple of any length means a tuple with one item
    for each axis.
    """

    rank: ClassVar[int]
    by_rank: ClassVar[dict[int, type[Any]]]

    def __init_subclass__(cls, rank: int | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if rank is None:
            cls.by_rank = {}
        else:
            cls.rank = rank
            cls.by_rank[rank] = register(cls)
            cls._annotations = {name: _annotation_for(kind, rank) for name, kind in cls.attribute_annotations().items()}

    def counterpart(self, kind: type[AnyRankedOp], **attributes: Any) -> AnyRankedOp:
        """Return the operation of a kind for the same rank, with the attributes that both have and those given."""
        cls: type[AnyRankedOp] = kind.by_rank[self.rank]
        own = self.attributes()
        return cls(**{name: own[name] for name in cls.attribute_annotations() if name in own} | attributes)

    def require_images(self, *inputs) -> None:
        """Refuse inputs that do not have the axes batch, channels and those of an image."""
        for x, name in zip(inputs, self.parameters, strict=True):
            if len(x.shape) != self.rank + 2:
                axes = ", ".join(("batch", "channels", *AXES[self.rank]))
                self.refuse(inputs, f"{name} must have {self.rank + 2} axes ({axes})")

    def check_attributes(self) -> None:
        """Check sizes among the attributes and write equal ones as one number, so that ``2`` equals ``(2, 2)``.

        A padding that is alike on both sides becomes one number for each axis, and ``"same_upper"`` becomes ``"same"``.
        """
        for name, value in self.attributes().items():
            if name in LEAST:
                object.__setattr__(self, name, self._simplified(name, value))

    def _simplified(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return "same" if value == "same_upper" else value
        items: Any = value if isinstance(value, tuple) else (value,)
        if min(min(item) if isinstance(item, tuple) else item for item in items) < LEAST[name]:
            raise AttributeValueError(f"{self.name}: {name} must be at least {LEAST[name]}; found {value}")
        if all(isinstance(item, tuple) and item[0] == item[1] for item in items):
            items = tuple(item[0] for item in items)
        return items[0] if len(set(items)) == 1 and isinstance(items[0], int) else items


def _annotation_for(annotation: Any, rank: int) -> Any:
    """Return an annotation with each tuple of any length made a tuple of ``rank`` items.

    >>> _annotation_for(Size, 2)
    int | tuple[int, int]
    """
    origin, items = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and items[-1] is Ellipsis:
        return types.GenericAlias(tuple, (items[0],) * rank)
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, (_annotation_for(item, rank) for item in items))
    return annotation


def per_axis(size: Size, rank: int) -> Sizes:
    """Return a size for each of ``rank`` axes."""
    return (size,) * rank if isinstance(size, int) else size


def sides(padding: Padding, rank: int) -> tuple[Sides, ...]:
    """Return the pixels before and after each axis for a padding by numbers; none for ``"valid"``."""
    if isinstance(padding, str):
        return ((0, 0),) * rank
    return tuple((p, p) if isinstance(p, int) else p for p in per_axis(padding, rank))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Windows:
    """Windows over an image, axis by axis: sizes in pixels, ``padding`` as pixels before and after."""

    image: Sizes
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    padding: tuple[Sides, ...]

    @classmethod
    def over(
        cls, image: Sizes, kernel: Size, stride: Size, padding: Padding, dilation: Size = 1, ceil_mode: bool = False
    ) -> Windows:
        """Return the windows that a padding by number, pair or name stands for.

        ``"same"`` gives ``ceil(size / stride)`` windows, with the smaller half of the padding before the image;
        ``"same_lower"`` with the larger half there. ``ceil_mode`` adds a last window that reaches beyond the padding, if it
        begins in the image or in the padding before it; the pixels that it reaches are padding too.
        """
        rank = len(image)
        kernel, stride, dilation = (per_axis(size, rank) for size in (kernel, stride, dilation))
        axes = list(zip(image, kernel, stride, dilation, strict=True))
        if isinstance(padding, str) and padding != "valid":
            pads = tuple(_same(*axis, padding == "same_lower") for axis in axes)
        else:
            pads = sides(padding, rank)
        if ceil_mode:
            pads = tuple(_reached(*axis, *before_after) for axis, before_after in zip(axes, pads, strict=True))
        return cls(image, kernel, stride, dilation, pads)

    @property
    def reach(self) -> Sizes:
        """How many pixels a window spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def padded(self) -> Sizes:
        """The size of the image with its padding."""
        return tuple(size + before + after for size, (before, after) in zip(self.image, self.padding, strict=True))

    @property
    def has_padding(self) -> bool:
        """Whether there is padding on any side."""
        return any(map(any, self.padding))

    @property
    def count(self) -> Sizes:
        """How many windows there are along each axis; not positive when none fits."""
        axes = zip(self.padded, self.reach, self.stride, strict=True)
        return tuple((size - reach) // s + 1 for size, reach, s in axes)

    def spans(self, axis: int) -> list[tuple[int, slice, slice]]:
        """Return, for each offset along an axis, the windows that have it inside the image, and its pixels; none is empty."""
        size, count, stride = self.image[axis], self.count[axis], self.stride[axis]
        spans = []
        for offset in range(self.kernel[axis]):
            first = offset * self.dilation[axis] - self.padding[axis][0]
            start, stop = max(0, -(first // stride)), min(count, (size - 1 - first) // stride + 1)
            if stop > start:
                pixels = slice(first + start * stride, first + (stop - 1) * stride + 1, stride)
                spans.append((offset, slice(start, stop), pixels))
        return spans

    def sizes_along(self, axis: int, counted: Sides) -> Any:
        """Return how many pixels each window has along an axis in the image or in the counted part of its padding."""
        charge("steps of computation", self.count[axis])
        first = np.arange(self.count[axis]) * self.stride[axis] - self.padding[axis][0]
        step, (before, after) = self.dilation[axis], counted
        start = np.maximum(-((first + before) // step), 0)
        end = np.minimum((self.image[axis] + after - 1 - first) // step, self.kernel[axis] - 1)
        return np.maximum(end - start + 1, 0)

    def sizes(self, counted: tuple[Sides, ...]) -> Any:
        """Return how many pixels each window has in the image or in the counted part of its padding."""
        along_each = (self.sizes_along(axis, sides) for axis, sides in enumerate(counted))
        return functools.reduce(np.multiply.outer, along_each, np.ones((), np.intp))

    def pixels(self) -> Iterator[tuple[Any, ...]]:
        """Yield, for each offset in a window, row-major, the index of the pixels at that offset of all windows."""
        axes = zip(self.kernel, self.count, self.stride, self.dilation, strict=True)
        spans = [[slice(i * d, i * d + s * (n - 1) + 1, s) for i in range(k)] for k, n, s, d in axes]
        return ((..., *pixels) for pixels in itertools.product(*spans))

    def views(self, x: Array, value: Any = 0) -> list[Array]:
        """Return, for each offset in a window, the pixels at that offset of all windows over images ``(..., H, W)``.

        They are views of the images, or of the images with a ``value`` in their padding.
        """
        if self.has_padding:
            x = np.pad(x, ((0, 0),) * (x.ndim - len(self.image)) + self.padding, constant_values=value)
        return [x[pixels] for pixels in self.pixels()]

    def overlay(self, parts: Iterable[Array]) -> Array:
        """Return images to which ``parts`` are added (col2im): for each offset in a window the pixels there of all windows."""
        padded: Any = None
        for part, pixels in zip(parts, self.pixels(), strict=True):
            if padded is None:
                padded = np.zeros((*part.shape[: -len(self.image)], *self.padded), part.dtype)
            padded[pixels] += part
        axes = zip(self.image, self.padding, strict=True)
        return padded[(..., *(slice(before, before + size) for size, (before, _) in axes))]  # type: ignore[no-any-return]

    def pairs(self, given: Literal["window", "offset", "pixel"], at: Sequence[int]) -> Pairs:
        """Return the positions of the other two, in this order, that meet a window, an offset in windows, or a pixel.

        Positions are counted row by row from 0; those in the padding are left out.

        >>> Windows.over((3, 3), 2, 1, 1).pairs("window", (0, 0))
        (array([3]), array([0]))
        >>> Windows.over((3, 3), 2, 1, 0).pairs("pixel", (0, 1))
        (array([1, 0]), array([0, 1]))
        >>> Windows.over((1, 3), (1, 2), 1, 0).pairs("offset", (0, 1))
        (array([0, 1]), array([1, 2]))
        """
        sizes = {"window": self.count, "offset": self.kernel, "pixel": self.image}
        found = {name: np.zeros(1, np.intp) for name in sizes if name != given}
        for axis, place in enumerate(at):
            offset, window = np.indices((self.kernel[axis], self.count[axis])).reshape(2, -1)
            pixel = window * self.stride[axis] - self.padding[axis][0] + offset * self.dilation[axis]
            along = {"window": window, "offset": offset, "pixel": pixel}
            meet = (along[given] == place) & (pixel >= 0) & (pixel < self.image[axis])
            for name, before in found.items():
                found[name] = (before[:, None] * sizes[name][axis] + along[name][meet]).reshape(-1)
        left, right = found.values()
        return left, right


def _same(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> Sides:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def _reached(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> Sides:
    """Return the padding, with the pixels added that a last window needs after it."""
    reach = dilation * (kernel - 1) + 1
    last = -(-(size + before + after - reach) // stride) * stride
    if last >= size + before:
        last -= stride
    return before, max(after, last + reach - size - before)


def image_size(count: Sizes, kernel: Sizes, stride: Size, padding: Padding, dilation: Size, added: Size) -> Sizes:
    """Return the size of the image that has so many windows, with some pixels ``added`` at its end."""
    rank = len(count)
    axes = zip(count, kernel, *(per_axis(size, rank) for size in (stride, dilation, added)), strict=True)
    if padding in ("same", "same_lower"):
        return tuple(n * s + extra for n, _, s, _, extra in axes)
    pads = map(sum, sides(padding, rank))
    return tuple(
        (n - 1) * s + d * (k - 1) + 1 + extra - pad for (n, k, s, d, extra), pad in zip(axes, pads, strict=True)
    )


def element(rank: int) -> tuple[str, str]:
    """Return the index of a pixel and that of a window, as the notes write them for pictures: ``mn`` and ``xy``.

    Neither is the name of an input, because a template would replace it.
    """
    return {1: ("i", "j"), 2: ("mn", "xy"), 3: ("lmn", "xyz")}[rank]


def pixels_in(kernel: Size, rank: int) -> int:
    """Return how many pixels a window has."""
    return math.prod(per_axis(kernel, rank))


def in_planes(cells: Array, planes: Sequence[int], images: Array) -> Array:
    """Return positions in one plane of images ``(N, C, ...)``, repeated in each of some planes, counted over N and C.

    >>> in_planes(np.array([0, 2]), range(2, 4), np.zeros((1, 4, 2, 5)))
    array([20, 22, 30, 32])
    """
    size = math.prod(images.shape[2:])
    return (np.asarray(planes, np.intp)[:, None] * size + cells).reshape(-1)


def sum_of_products(cells: Pairs, inputs: Sequence[Array], *planes: Sequence[int]) -> Explanation:
    """Return the explanation of a sum over positions that meet in some planes of two inputs."""
    factors = zip(cells, planes, inputs, strict=True)
    return Explanation((Terms(tuple((i, in_planes(*factor)) for i, factor in enumerate(factors))),))
