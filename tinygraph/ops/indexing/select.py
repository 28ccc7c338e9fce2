"""Parts of tensors and tensors from parts: indexing, joining, padding, flipping. Each one's gradient is the move back."""

import builtins
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.graph import Each, Op, Sample, Shape, Tensor, composite, label, numeric_array, register
from tinygraph.graph.explanation import Explanation, Terms, moved, summed
from tinygraph.ops.indexing.gather import add_along
from tinygraph.ops.indexing.index import Index
from tinygraph.ops.samples import each, normal
from tinygraph.ops.shape.shape import Moving, expand_dims
from tinygraph.ops.sums import AlongAxes, Axis, normalized_axes, normalized_axis, widened


def _concatenate_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (2, 3)), normal(rng, (1, 3)))
    yield Sample(normal(rng, (2, 1)), normal(rng, (2, 3)), normal(rng, (2, 2)), axis=-1)


def _stack_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (2, 3)), normal(rng, (2, 3)), normal(rng, (2, 3)))
    yield Sample(normal(rng, (2, 3)), normal(rng, (2, 3)), axis=-1)
    yield Sample(normal(rng, ()), normal(rng, ()))


@register(numpy=[np.concatenate])
class Concatenate(Moving):
    """Tensors joined along ``axis``; each gets its own part of the gradient back.

    Source: NumPy's ``concatenate``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the
    shape.

    >>> import tinygraph as tg
    >>> tg.concatenate([np.array([1, 2]), np.array([3])])
    array([1, 2, 3])
    """

    axis: int = 0
    formula: ClassVar[str] = "join({x})"
    tex: ClassVar[str] = r"\operatorname{join}({x})"
    samples = _concatenate_samples

    def shape(self, *x) -> Shape:
        axis = normalized_axis(self, x[0], self.axis)
        shapes = [tuple(part.shape) for part in x]
        rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
        if len(rest) > 1 or len({len(shape) for shape in shapes}) > 1:
            self.refuse(x, f"sizes must be equal on every axis but {axis}")
        joined = builtins.sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])

    def forward(self, *x):
        return np.concatenate(x, axis=self.axis)

    def vjp(self, dy, y, *x) -> Any:
        axis = normalized_axis(self, x[0], self.axis)
        ends = np.cumsum([part.shape[axis] for part in x]).tolist()
        parts = [(slice(None),) * axis + (slice(*pair),) for pair in itertools.pairwise([0, *ends])]
        return tuple(functools.partial(getitem, dy, part) for part in parts)

    batch = AlongAxes.batch


@composite(
    formula="stack({x})", tex=r"\operatorname{stack}({x})", holomorphic=True, numpy=[np.stack], samples=_stack_samples
)
def stack(*x, axis: int = 0):
    """Tensors of one shape joined along a new ``axis`` of the result.

    Source: NumPy's ``stack``. Raises ``ShapeError`` for other shapes and for an axis that the result does not have.

    >>> import tinygraph as tg
    >>> tg.stack([np.array([1.0, 2.0]), np.array([3.0, 4.0])], axis=1)
    array([[1., 3.],
           [2., 4.]])
    """
    return concatenate([expand_dims(part, axis) for part in x], axis=axis)


def _index_samples(rng: np.random.Generator) -> Iterable[Sample]:
    yield Sample(normal(rng, (4, 3)), index=(slice(1, None, 2), 0))
    yield Sample(normal(rng, (4, 3)), index=(Ellipsis, None, slice(None, None, -1)))
    yield Sample(normal(rng, (4, 3)), index=(np.array([0, 2, 2]), np.array([1, 0, 0])))


@register
class Getitem(Moving):
    """Part of a tensor, ``x[index]``: numbers, slices, ``None``, ``...``, arrays of positions or of booleans, as in NumPy.

    A position that is taken twice gets both gradients.

    Source: NumPy's indexing. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])[:, 0].value
    array([1., 3.])
    """

    index: Any
    formula: ClassVar[str] = "{x}[{index}]"
    tex: ClassVar[str] = r"{(x)}[{index}]"
    symbol: ClassVar[str] = "postfix"
    samples = _index_samples

    def check_attributes(self) -> None:
        object.__setattr__(self, "index", Index.of(self.index, self.name))

    def shape(self, x) -> Shape:
        try:
            return self.index.picked(tuple(x.shape))  # type: ignore[no-any-return]
        except (IndexError, ValueError) as error:
            self.refuse([x], f"index [{self.index}] does not fit: {error}")

    def forward(self, x):
        return x[self.index.apply()]

    def vjp(self, dy, y, x):
        return Put(self.index, x.shape)(dy)

    def expression(self, *arguments: str) -> str:
        return f"{arguments[0]}[{self.index}]"

    def batch(self, use):
        return use.each() if self.index.keeps_first(use.count) else None


@register
class Put(Op):
    """Zeros of shape ``to`` with ``x`` added at ``index``: the gradient of indexing.

    Source: NumPy's ``add.at``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.operation("put")(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2]), (4,))
    array([1., 0., 6., 0.])
    """

    index: Any
    to: tuple[int, ...]
    formula: ClassVar[str] = "0 with {x} at [{index}]"
    tex: ClassVar[str] = r"\operatorname{put}({x}, [{index}])"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((3, 2), {"index": (np.array([0, 2, 2]),), "to": (4, 2)}),
        ((2,), {"index": slice(0, 2), "to": (3,)}),
    )

    def check_attributes(self) -> None:
        object.__setattr__(self, "index", Index.of(self.index, self.name))

    def shape(self, x) -> Shape:
        if Getitem(self.index).shape(np.broadcast_to(0, self.to)) != tuple(x.shape):
            self.refuse([x], f"does not fill [{self.index}] of shape {self.to}")
        return self.to

    def forward(self, x):
        x = widened(x)
        result = np.zeros(self.to, x.dtype)
        index = self.index.apply()
        if self.index.takes_once:
            result[index] = x
        else:
            np.add.at(result, index, x)
        return result

    def owners(self, shape: Shape):
        """Return, for each element of a tensor of ``shape``, the position in the result that it is added to."""
        return np.arange(math.prod(self.to)).reshape(self.to)[self.index.apply()]

    explain = summed

    def vjp(self, dy, y, x):
        return getitem(dy, self.index)

    def written_attributes(self) -> list[str]:
        return [f"[{self.index}]", repr(self.to)]

    def batch(self, use):
        fits = use.axis() == 0 and self.to[:1] == (use.count,) and self.index.keeps_first(use.count)
        return use.sized(0) if fits else None


@register
class Pad(Op):
    """The tensor with ``value`` around it; ``pad_width`` is NumPy's: a number, a pair, or a pair for each axis.

    The other modes put copies of elements around it, which send their gradients back: ``"edge"`` those at the ends,
    ``"reflect"`` mirrored ones, with the end as the mirror, ``"symmetric"`` with the end mirrored too, and ``"wrap"`` those of
    the other end.

    Source: NumPy's ``pad``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.pad(np.array([1.0, 2.0]), (1, 2))
    array([0., 1., 2., 0., 0.])
    """

    pad_width: int | tuple[int, int] | tuple[tuple[int, int], ...]
    value: float = 0.0
    mode: Literal["constant", "edge", "reflect", "symmetric", "wrap"] = "constant"
    formula: ClassVar[str] = "pad({x})"
    tex: ClassVar[str] = r"\operatorname{pad}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((2, 3), {"pad_width": ((1, 0), (2, 1))}),
        ((3,), {"pad_width": 2, "value": 1.5}),
        ((2, 2), {"pad_width": (0, 1)}),
        ((3, 2), {"pad_width": ((2, 1), (0, 0)), "mode": "reflect"}),
        ((2, 3), {"pad_width": 2, "mode": "edge"}),
        ((3,), {"pad_width": (1, 4), "mode": "wrap"}),
        ((3,), {"pad_width": (2, 4), "mode": "symmetric"}),
    )

    def _widths(self, x) -> list[tuple[int, int]]:
        given = self.pad_width
        width = (given, given) if isinstance(given, int) else given
        pairs: list[Any] = [width] * len(x.shape) if width and isinstance(width[0], int) else list(width)
        if len(pairs) != len(x.shape) or any(n < 0 for pair in pairs for n in pair):
            self.refuse([x], f"pad_width must hold a pair of sizes, none negative, for each axis; found {given}")
        if self.mode != "constant" and any(size == 0 < max(pair) for size, pair in zip(x.shape, pairs, strict=True)):
            self.refuse([x], f"an axis of size 0 has nothing that mode {self.mode!r} could copy")
        return pairs

    def shape(self, x) -> Shape:
        return tuple(before + size + after for size, (before, after) in zip(x.shape, self._widths(x), strict=True))

    def forward(self, x):
        if self.mode != "constant":
            return np.pad(x, self._widths(x), mode=self.mode)
        return np.pad(x, self._widths(x), constant_values=np.asarray(self.value).astype(x.dtype))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        element = moved(replace(self, value=0.0), index, y, *inputs)
        return element if element.terms else Explanation((Terms((), float(y[index])),), reason="padding")

    def vjp(self, dy, y, x):
        if self.mode != "constant":
            return add_along(dy, self._copied(x), x.shape)
        return getitem(
            dy, tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, self._widths(x), strict=True))
        )

    def _copied(self, x) -> dict[int, Any]:
        """Return for each padded axis which elements of ``x`` stand along it in the result."""
        widths = enumerate(self._widths(x))
        return {axis: np.pad(np.arange(x.shape[axis]), pair, mode=self.mode) for axis, pair in widths if any(pair)}

    def batch(self, use):
        axis = use.axis()
        return Each(axis) if use.node.shape[axis] == use.inputs[0].shape[axis] else None


@register(numpy=[np.flip])
class Flip(Moving):
    """Elements in reverse order along ``axis``; along the last two it turns a kernel by 180 degrees (notes B10).

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.flip(np.array([1, 2, 3]))
    array([3, 2, 1])
    """

    axis: Axis = None
    formula: ClassVar[str] = "flip({x})"
    tex: ClassVar[str] = r"\operatorname{flip}({x})"
    samples = each(normal, ((2, 3), {}), ((2, 3, 2), {"axis": (1, 2)}), ((3,), {"axis": 0}))

    def shape(self, x) -> Shape:
        normalized_axes(self, x, self.axis)
        return tuple(x.shape)

    def forward(self, x):
        return np.flip(x, self.axis)

    def vjp(self, dy, y, x):
        return self(dy)

    batch = AlongAxes.batch


def split(x, parts: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Return the parts of ``x`` along ``axis``: so many of one size, or one of each size.

    A node has one result, so every part is a node of its own, a slice ``x[...]``: in an equation a part is written like that.
    Raises ``ShapeError`` for parts that do not fill the axis.

    >>> import tinygraph as tg
    >>> first, rest = tg.split(tg.tensor([1.0, 2.0, 3.0]), [1, 2])
    >>> first.value, rest.value
    (array([1.]), array([2., 3.]))
    """
    if not isinstance(x, Tensor):
        x = numeric_array(x, "split")
    shape, given = tuple(x.shape), f"split: {label(x, 'x')} {tuple(x.shape)}"
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{given}: axis {axis} is out of range for {len(shape)} axes")
    size, axis = shape[axis], axis % len(shape)
    # A number of parts beyond the size would be a long list.
    even = parts if isinstance(parts, int) and 0 < parts <= size else 0
    sizes = [size // max(even, 1)] * even if isinstance(parts, int) else list(parts)
    if not sizes or builtins.sum(sizes) != size or any(part < 0 for part in sizes):
        raise ShapeError(f"{given}: the parts {parts} do not fill axis {axis} of size {size}")
    ends = np.cumsum([0, *sizes]).tolist()
    before = (slice(None),) * axis
    return tuple(getitem(x, (*before, slice(*pair))) for pair in itertools.pairwise(ends))


concatenate = Concatenate.function
getitem = Getitem.function
