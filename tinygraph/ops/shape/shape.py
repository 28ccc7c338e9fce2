"""Operations that move elements and compute nothing: each one's gradient is the move back."""

import builtins
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygraph.graph import TOTAL, Each, Op, Shape, register
from tinygraph.graph.explanation import moved, summed
from tinygraph.ops.samples import each, normal
from tinygraph.ops.sums import Axis, normalized_axes, normalized_axis, summed_dtype, total


@dataclass(frozen=True)
class Moving(Op):
    """The base of operations that only move elements: every element of the result is one of an input."""

    moves: ClassVar[bool] = True
    holomorphic: ClassVar[bool] = True

    explain = moved


@dataclass(frozen=True)
class SameElements(Moving):
    """The base of operations that only change the shape; the elements stay in row-major order."""

    reshapes: ClassVar[bool] = True

    def forward(self, x):
        return x.reshape(self.shape(x))

    def vjp(self, dy, y, x):
        return reshape(dy, x.shape)

    def batch(self, use):
        """Samples stay along an axis of the size of the batch that has as many elements before it as theirs."""
        shape, before = use.node.shape, math.prod(use.inputs[0].shape[: use.axis()])
        for axis, size in enumerate(shape):
            if math.prod(shape[:axis]) == before and size == use.count:
                return use.sized(axis, Reshape(shape))
        return None


@register(numpy=[np.reshape])
class Reshape(SameElements):
    """The same elements in another shape, row-major; one size may be -1 and is worked out. Source: notes B5.

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.reshape(np.arange(6), (2, -1))
    array([[0, 1, 2],
           [3, 4, 5]])
    """

    to: int | tuple[int, ...]
    formula: ClassVar[str] = "reshape({x}, {to})"
    tex: ClassVar[str] = r"\operatorname{reshape}({x}, {shape})"
    samples = each(normal, ((2, 6), {"to": (3, 4)}), ((2, 3, 2), {"to": (2, -1)}), ((4,), {"to": (2, 2)}))

    def shape(self, x) -> Shape:
        to = (self.to,) if isinstance(self.to, int) else self.to
        known = math.prod(size for size in to if size != -1)
        size = math.prod(x.shape)
        if to.count(-1) > 1 or any(n < -1 for n in to):
            self.refuse([x], f"a shape holds sizes, and -1 once at most; found {to}")
        if -1 in to and known and size % known == 0:
            to = tuple(size // known if n == -1 else n for n in to)
        if -1 in to or math.prod(to) != size:
            self.refuse([x], f"{size} elements do not fill shape {to}")
        return to


@register
class Flatten(SameElements):
    """The axes from ``start_axis`` on as one; by default all but the batch axis. Source: notes F7, its gradient B5.

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.flatten(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    start_axis: int = 1
    formula: ClassVar[str] = "flatten({x})"
    tex: ClassVar[str] = r"\operatorname{flatten}({x})"
    samples = each(normal, ((2, 3, 2), {}), ((2, 3, 2), {"start_axis": 0}), ((3,), {}))

    def shape(self, x) -> Shape:
        ndim = len(x.shape)
        if not -ndim <= self.start_axis <= ndim:
            self.refuse([x], f"start_axis {self.start_axis} is out of range for {ndim} axes")
        start = self.start_axis + ndim if self.start_axis < 0 else self.start_axis
        return (*x.shape[:start], math.prod(x.shape[start:]))


@register(numpy=[np.transpose])
class Transpose(Moving):
    """Axes in the order ``axes``; in reverse without it.

    Source: NumPy's ``transpose``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.transpose(np.zeros((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """

    axes: tuple[int, ...] | None = None
    formula: ClassVar[str] = "{x}ᵀ"
    symbol: ClassVar[str] = "postfix"
    samples = each(normal, ((2, 3), {}), ((2, 3, 4), {"axes": (1, -1, 0)}), ((3,), {}))

    def shape(self, x) -> Shape:
        return tuple(x.shape[axis] for axis in self._order(x))

    def _order(self, x) -> tuple[int, ...]:
        if self.axes is None:
            return tuple(range(len(x.shape)))[::-1]
        axes = tuple(normalized_axis(self, x, axis) for axis in self.axes)
        if sorted(axes) != list(range(len(x.shape))):
            self.refuse([x], f"axes must name each axis once; found {self.axes}")
        return axes

    def forward(self, x):
        return x.transpose(self._order(x))

    def vjp(self, dy, y, x):
        if self.axes is None:
            return transpose(dy)
        order = self._order(x)
        return transpose(dy, tuple(order.index(axis) for axis in range(len(order))))

    def expression(self, *arguments: str) -> str:
        if self.axes is None:
            return f"{arguments[0]}.T"
        return super().expression(*arguments)

    def written_tex(self, *inputs) -> str:
        swapped = (*range(len(inputs[0].shape) - 2), -1, -2)
        if self.axes is None or tuple(normalized_axis(self, inputs[0], axis) for axis in swapped) == self.axes:
            return "{(x)}^{T}"
        return r"\operatorname{transpose}({x}, {axes})"

    def batch(self, use):
        return Each(self._order(use.inputs[0]).index(use.axis()))


@register(numpy=[np.broadcast_to])
class BroadcastTo(Moving):
    """The tensor repeated to a larger shape, by NumPy's rules of broadcasting.

    Source: NumPy's ``broadcast_to``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the
    shape.

    >>> import tinygraph as tg
    >>> tg.broadcast_to(np.array([1, 2]), (2, 2))
    array([[1, 2],
           [1, 2]])
    """

    to: tuple[int, ...]
    formula: ClassVar[str] = "{x} repeated to {to}"
    tex: ClassVar[str] = r"\operatorname{broadcast}({x})"
    samples = each(normal, ((3,), {"to": (2, 3)}), ((2, 1, 2), {"to": (4, 2, 3, 2)}), ((), {"to": (2, 2)}))

    def shape(self, x) -> Shape:
        if not broadcasts_to(tuple(x.shape), self.to):
            self.refuse([x], f"does not broadcast to {self.to}")
        return self.to

    def forward(self, x):
        return np.broadcast_to(x, self.to)

    def vjp(self, dy, y, x):
        return sum_to(dy, x.shape)

    def batch(self, use):
        return use.sized(use.axis() + use.node.ndim - use.inputs[0].ndim)


def broadcasts_to(small: Shape, large: Shape) -> bool:
    """Whether an array of shape ``small`` can be repeated to ``large``."""
    aligned = large[len(large) - len(small) :]
    return len(small) <= len(large) and builtins.all(a in (1, b) for a, b in zip(small, aligned, strict=True))


@register
class SumTo(Op):
    """The tensor summed over the axes along which the shape ``to`` would be repeated: broadcasting taken back.

    This is how a bias gets its gradient. Source: notes B3, B9, B14, A3.

    Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.operation("sum_to")(np.ones((4, 3, 2)), (3, 1))
    array([[8.],
           [8.],
           [8.]])
    """

    to: tuple[int, ...]
    formula: ClassVar[str] = "sum({x})"
    tex: ClassVar[str] = r"\operatorname{sum}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(normal, ((2, 3), {"to": (3,)}), ((4, 2, 3, 2), {"to": (2, 1, 2)}), ((2, 2), {"to": ()}))

    def shape(self, x) -> Shape:
        if not broadcasts_to(self.to, tuple(x.shape)):
            self.refuse([x], f"is not what {self.to} broadcasts to")
        return self.to

    def forward(self, x):
        return total(x, self.combined_axes(x), keepdims=True).reshape(self.to)

    result_dtype = summed_dtype

    def combined_axes(self, x) -> tuple[int, ...]:
        extra = len(x.shape) - len(self.to)
        return (*range(extra), *(extra + i for i, size in enumerate(self.to) if size == 1 and x.shape[extra + i] != 1))

    def owners(self, shape: Shape):
        """Return, for each element of a tensor of ``shape``, the position in the result that it is added to."""
        return np.broadcast_to(np.arange(math.prod(self.to)).reshape(self.to), shape)

    explain = summed

    def vjp(self, dy, y, x):
        return broadcast_to(dy, x.shape)

    def batch(self, use):
        (x,), axis = use.inputs, use.axis()
        return TOTAL if axis in self.combined_axes(x) else use.sized(axis - (x.ndim - use.node.ndim))


@register(numpy=[np.squeeze])
class Squeeze(SameElements):
    """The tensor without the axes of size 1 that ``axis`` names, or without all of them.

    Source: NumPy's ``squeeze``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the shape.

    >>> import tinygraph as tg
    >>> tg.squeeze(np.zeros((2, 1, 3, 1)), axis=1).shape
    (2, 3, 1)
    """

    axis: Axis = None
    formula: ClassVar[str] = "squeeze({x})"
    tex: ClassVar[str] = r"\operatorname{squeeze}({x})"
    samples = each(normal, ((2, 1, 3), {}), ((1, 2, 1), {"axis": -1}), ((1, 2, 1), {"axis": (0, 2)}))

    def shape(self, x) -> Shape:
        if self.axis is None:
            return tuple(size for size in x.shape if size != 1)
        axes = normalized_axes(self, x, self.axis)
        if any(x.shape[axis] != 1 for axis in axes):
            self.refuse([x], f"only axes of size 1 can be dropped; found axis {self.axis}")
        return tuple(size for axis, size in enumerate(x.shape) if axis not in axes)


@register(numpy=[np.expand_dims])
class ExpandDims(SameElements):
    """The tensor with new axes of size 1 at the places that ``axis`` names in the result.

    Source: NumPy's ``expand_dims``. Raises ``ShapeError`` and ``AttributeValueError`` for what does not fit the
    shape.

    >>> import tinygraph as tg
    >>> tg.expand_dims(np.zeros((2, 3)), 0).shape
    (1, 2, 3)
    """

    axis: int | tuple[int, ...]
    formula: ClassVar[str] = "expand({x})"
    tex: ClassVar[str] = r"{x}"
    samples = each(normal, ((2, 3), {"axis": 0}), ((2, 3), {"axis": (1, -1)}), ((), {"axis": 0}))

    def shape(self, x) -> Shape:
        extra = 1 if isinstance(self.axis, int) else len(self.axis)
        places, sizes = normalized_axes(self, x, self.axis, extra), iter(x.shape)
        return tuple(1 if i in places else next(sizes) for i in range(len(x.shape) + extra))


reshape = Reshape.function
transpose = Transpose.function
broadcast_to = BroadcastTo.function
sum_to = SumTo.function
expand_dims = ExpandDims.function
