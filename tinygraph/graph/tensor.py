"""Tensor: a node of the graph, and its value if its inputs had values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tinygraph.errors import DTypeError, FeedError, ShapeError, TinygraphError, ValueUnavailable
from tinygraph.graph.protocols import Protocols

if TYPE_CHECKING:
    from tinygraph.graph.op import Op, Shape

Kind = Literal["input", "parameter", "tensor", "constant", "node"]

# Nodes are numbered as they are made, and inputs are made before what uses them, so the numbers are a topological order.
_clock = itertools.count(1)


class Tensor(Protocols):
    """A node: the operation that made it, its inputs, shape, dtype and name, and a value if its inputs had values.

    Made by ``tg.tensor``, ``tg.parameter``, ``tg.input`` and ``tg.constant`` (leaves, whose ``op`` is
    ``None``) and by operations. Python's operators and NumPy's functions on tensors record operations.

    The graph owns its values: what is handed in is copied, and ``value`` is read-only, so a change in place is an
    error where it is tried. A leaf is changed by assigning to ``value``; asking a recording made before that for
    gradients raises ``StaleValueError``.

    >>> x = tensor([[1.02, -0.25], [-3.45, 2.2]], name="Z2")
    >>> x.shape, x.dtype, x.name, x.op, x.inputs
    ((2, 2), dtype('float64'), 'Z2', None, ())
    >>> (x * x).sum().op.name
    'sum'
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_dtype",
        "_shape",
        "_value",
        "grad",
        "inputs",
        "kind",
        "name",
        "op",
        "order",
    )

    kind: Kind
    op: Op | None
    inputs: tuple[Tensor, ...]
    name: str | None
    grad: Tensor | None
    order: int

    def __init__(
        self,
        kind: Kind,
        op: Op | None = None,
        inputs: tuple[Tensor, ...] = (),
        value: Any = None,
        shape: Shape | None = None,
        dtype: np.dtype[Any] | None = None,
        name: str | None = None,
    ) -> None:
        if value.__class__ is np.ndarray:
            value.flags.writeable = False
        self.kind = kind
        self.op = op
        self.inputs = inputs
        self._value = value
        self._shape = shape
        self._dtype = dtype
        self.name = name
        self.grad = None
        self.order = next(_clock)
        self._changed = 0

    @property
    def has_value(self) -> bool:
        """Whether the tensor has a value, or only a shape."""
        return self._value is not None

    @property
    def value(self) -> Any:
        """The value, read-only. Raises ``ValueUnavailable`` for a tensor recorded from inputs without values."""
        value = self._value
        if value.__class__ is np.ndarray:
            return value
        if value is None:
            raise ValueUnavailable(
                f"{self.describe()} has a shape and no value, because an input of it was declared without one; "
                "evaluate it with tg.run(tg.Graph(output), feeds)"
            )
        array: npt.NDArray[Any] = np.asarray(value)
        array.flags.writeable = False
        self._value = array
        return array

    @value.setter
    def value(self, new: Any) -> None:
        if self.kind not in ("parameter", "tensor"):
            raise TinygraphError(
                f"{self.describe()} cannot be assigned to; only parameters and tensors made from values can"
            )
        array = numeric_array(new, self.describe())
        if array.shape != self.shape:
            raise ShapeError(f"{self.describe()} cannot take a value of shape {array.shape}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise DTypeError(f"{self.describe()} cannot take a value of dtype {array.dtype}")
        self._value = np.array(array, dtype=self.dtype)
        self._value.flags.writeable = False
        self._changed = next(_clock)

    @property
    def shape(self) -> Shape:
        """The shape, a tuple of integers."""
        return self._shape if self._value is None else self._value.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self._dtype if self._value is None else self._value.dtype  # type: ignore[return-value]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def changed(self) -> int:
        """When ``value`` was last assigned, on the clock of ``order``; 0 if never."""
        return self._changed

    def backward(self, cotangent: Any = None) -> None:
        """Fill ``grad`` of the parameters and tensors that this one was computed from.

        Gradients add up over calls, as in PyTorch; intermediate nodes keep none. ``grad`` is a tensor with a value and
        no history. The rules run on arrays and record nothing. See ``tg.grad`` for gradients that are graph.

        >>> x = tensor([3.0], name="x")
        >>> (x * x).sum().backward()
        >>> x.grad.value
        array([6.])
        """
        from tinygraph.graph.backprop import fill_gradients

        fill_gradients(self, cotangent)

    def detach(self) -> Tensor:
        """Return a tensor with the same value and no history: gradients stop there.

        >>> x = tensor([3.0])
        >>> (x * x).detach().op is None
        True
        """
        return Tensor("tensor", value=self.value, name=self.name)

    def describe(self) -> str:
        """Return what the tensor is, for a message: ``parameter 'K1' (8, 1, 3, 3)``."""
        what = self.op.name if self.op is not None else self.kind
        return f"{what} {self.name!r} {self.shape}" if self.name else f"{what} {self.shape}"

    def __repr__(self) -> str:
        head = f"{self.name} = " if self.name else ""
        made = f"{self.op.name}(...)" if self.op is not None else self.kind
        lines = [f"{head}{made}  {self.dtype} {self.shape}"]
        lines.append(str(self.value) if self.has_value else "value: not computed")
        if self.kind in ("parameter", "tensor"):
            lines.append("gradient: not computed" if self.grad is None else f"gradient:\n{self.grad.value}")
        return "\n".join(lines)


def numeric_array(value: Any, what: str) -> npt.NDArray[Any]:
    """Return ``value`` as an array of numbers, or raise an error that says what it is for."""
    if isinstance(value, Tensor):
        return value.value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{what}: rows of unequal length do not make an array ({error})") from None
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"{what}: expected numbers; found {array.dtype} ({type(value).__name__})")
    return array


def _owned(value: Any, dtype: npt.DTypeLike | None, what: str) -> npt.NDArray[Any]:
    array = numeric_array(value, what)
    return np.array(array, dtype=array.dtype if dtype is None else dtype)


def tensor(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf with a copy of ``value``; arrays keep their dtype, Python floats become float64.

    Raises ``DTypeError`` for anything but numbers and ``ShapeError`` for rows of unequal length.

    >>> tensor([1.0, 2.0], name="x").value
    array([1., 2.])
    """
    return Tensor("tensor", value=_owned(value, dtype, "tensor"), name=name)


def parameter(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that training updates, with a copy of ``value``.

    >>> W = parameter(np.zeros((4, 2)), name="W")
    >>> W.kind
    'parameter'
    """
    return Tensor("parameter", value=_owned(value, dtype, "parameter"), name=name)


def constant(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that is never differentiated, with a copy of ``value``.

    >>> constant(2.0).kind
    'constant'
    """
    return Tensor("constant", value=_owned(value, dtype, "constant"), name=name)


def input(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Tensor:
    """Return a leaf without a value: what is computed from it is recorded with shapes only.

    ``tg.run`` gives it a value by its name.

    >>> Inp = input("Inp", (1, 1, 28, 28))
    >>> Inp.shape, Inp.has_value
    ((1, 1, 28, 28), False)
    """
    if not isinstance(name, str) or not name:
        raise FeedError(f"an input needs a name to be fed by; found {name!r}")
    sizes = tuple(shape)
    if any(isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0 for size in sizes):
        raise ShapeError(f"input {name!r}: a shape is a tuple of whole numbers, none negative; found {tuple(shape)}")
    return Tensor("input", shape=tuple(int(size) for size in sizes), dtype=np.dtype(dtype), name=name)
