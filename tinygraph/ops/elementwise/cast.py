"""Numbers in another dtype."""

from typing import ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError, DTypeError
from tinygraph.graph.arrays import numeric_dtype
from tinygraph.graph.explanation import Explanation, weighted
from tinygraph.graph.function import register
from tinygraph.graph.op import Op
from tinygraph.ops.samples import each, normal


def require_numeric(op: Op, dtype: str) -> None:
    """Refuse an attribute ``dtype`` that names no type of numbers."""
    try:
        numeric_dtype(dtype, op.name)
    except DTypeError as error:
        raise AttributeValueError(str(error)) from None


@register
class Cast(Op):
    """The same numbers in another dtype, given by its name; the gradient is cast back.

    Source: NumPy's ``astype``. Raises ``AttributeValueError`` for a name that is no type of numbers.

    >>> import tinygraph as tg
    >>> tg.cast(np.array([1, 2]), "float32")
    array([1., 2.], dtype=float32)
    """

    dtype: str
    formula: ClassVar[str] = "{x} as {dtype}"
    tex: ClassVar[str] = r"{x}"
    elementwise: ClassVar[bool] = True

    def check_attributes(self) -> None:
        require_numeric(self, self.dtype)

    def forward(self, x):
        return np.asarray(x).astype(self.dtype)

    def vjp(self, dy, y, x):
        return cast(dy, x.dtype.name)

    samples = each(normal, ((2, 3), {"dtype": "float64"}))

    def explain(self, index: tuple[int, ...], y, /, *inputs) -> Explanation:
        return weighted(index, inputs, (1,))


cast = Cast.function
