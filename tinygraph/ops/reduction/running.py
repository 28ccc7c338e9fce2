"""What runs along an axis: sums and products of the elements up to each, and differences."""

from typing import ClassVar

import numpy as np

from tinygraph.graph import OPERATIONS, composite, register, require
from tinygraph.ops.indexing.select import concatenate
from tinygraph.ops.samples import each, normal, off_zero
from tinygraph.ops.sums import AlongAxes, narrowed, size_along, summed_dtype, widened


@register
class Cumsum(AlongAxes):
    """Running sums along ``axis``: each element becomes the sum of those up to it.

    ``exclusive`` leaves the element itself out, so that the first sum is 0; ``reverse`` begins at the end. The gradient is the
    running sum the other way.

    Source: NumPy's ``cumsum``; ONNX's ``CumSum`` for the options. Raises ``ShapeError`` for an axis that is not there.

    >>> import tinygraph as tg
    >>> tg.cumsum(np.array([1.0, 2.0, 4.0]), 0), tg.cumsum(np.array([1.0, 2.0, 4.0]), 0, exclusive=True, reverse=True)
    (array([1., 3., 7.]), array([6., 4., 0.]))
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False
    formula: ClassVar[str] = "cumsum({x})"
    tex: ClassVar[str] = r"\operatorname{cumsum}({x})"
    holomorphic: ClassVar[bool] = True
    samples = each(
        normal,
        ((3, 4), {"axis": 1}),
        ((2, 3, 2), {"axis": -2, "exclusive": True}),
        ((4,), {"axis": 0, "reverse": True}),
        ((4, 2), {"axis": 0, "exclusive": True, "reverse": True}),
    )

    result_dtype = summed_dtype

    def forward(self, x):
        step = -1 if self.reverse else 1
        summands = np.moveaxis(x, self.axis, 0)[::step]
        # One after the other, float32 would stop counting at 2**24.
        sums = np.zeros(summands.shape, np.float64 if x.dtype.kind == "f" and x.itemsize < 8 else self.result_dtype(x))
        if self.exclusive:
            np.cumsum(summands[:-1], axis=0, out=sums[1:])
        else:
            np.cumsum(summands, axis=0, out=sums)
        return np.moveaxis(sums[::step], 0, self.axis)

    def vjp(self, dy, y, x):
        return Cumsum(self.axis, self.exclusive, not self.reverse)(dy)


_factors = each(off_zero, ((3, 4), {"axis": 1}), ((5,), {"axis": 0}), ((2, 3, 2), {"axis": -2}))


@composite(formula="cumprod({x})", tex=r"\operatorname{cumprod}({x})", holomorphic=True, samples=_factors)
def cumprod(x, *, axis: int):
    """Running products along ``axis``: each element becomes the product of those up to it. Factors may be 0.

    Products of 2, 4, 8, ... elements are made of two halves each, so the gradient needs no division. Source: NumPy's
    ``cumprod``; Hillis and Steele, *Data Parallel Algorithms*, 1986. Raises ``ShapeError`` for an axis that is not there.

    >>> import tinygraph as tg
    >>> tg.cumprod(np.array([1.0, 2.0, 0.0, 4.0]), 0)
    array([1., 2., 0., 0.])
    """
    size, done, dtype = size_along("cumprod", x, axis), 1, np.prod(np.empty(0, x.dtype)).dtype
    y = widened(x) if x.dtype == dtype else OPERATIONS["cast"](x, dtype.name)
    before = (slice(None),) * (axis % len(x.shape))
    while done < size:
        first, later, earlier = (y[(*before, part)] for part in (slice(done), slice(done, None), slice(size - done)))
        y, done = concatenate([first, later * earlier], axis=axis), 2 * done
    return narrowed(y, x)


_in_a_row = each(normal, ((3, 4), {}), ((4, 2), {"axis": 0, "n": 2}), ((3,), {"n": 0}))


@composite(
    formula="differences of {x}", tex=r"\operatorname{diff}({x})", holomorphic=True, numpy=[np.diff], samples=_in_a_row
)
def diff(x, *, n: int = 1, axis: int = -1):
    """Each element less the one before it along ``axis``, ``n`` times over; of booleans, whether they differ.

    Source: NumPy's ``diff``. Raises ``ShapeError`` for an axis that is not there.

    >>> import tinygraph as tg
    >>> tg.diff(np.array([1.0, 4.0, 9.0])), tg.diff(np.array([1.0, 4.0, 9.0]), n=2)
    (array([3., 5.]), array([2.]))
    """
    require(n >= 0, diff, f"n must not be negative; found {n}")
    size = size_along("diff", x, axis)
    before = (slice(None),) * (axis % len(x.shape))
    for _ in range(min(n, size)):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(-1))]
        x = later != earlier if x.dtype == bool else later - earlier
    return x
