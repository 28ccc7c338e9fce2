"""Tensor: a node of the graph; and the leaves, the tensors that no operation made."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tinygraph.errors import FeedError, ShapeError, TinygraphError, ValueUnavailable
from tinygraph.graph.arrays import Array, cast_array, check_size, numeric_array, numeric_dtype
from tinygraph.graph.protocols import Protocols
from tinygraph.readers import notebook_view

if TYPE_CHECKING:
    from tinygraph.graph.op import Op, Shape

Kind = Literal["input", "parameter", "state", "tensor", "constant", "node"]

# Nodes are numbered as they are made, and inputs are made before what uses them, so the numbers are a topological order.
_clock = itertools.count(1)


class Tensor(Protocols):
    """A node: the operation that made it, its inputs, shape, dtype and name, and a value if its inputs had values.

    Made by ``tg.tensor``, ``tg.parameter``, ``tg.input`` and ``tg.constant`` (leaves, whose ``op`` is
    ``None``) and by operations. Python's operators and NumPy's functions on tensors record operations.

    ``op`` is the operation that made it (``None`` for a leaf) and ``inputs`` are what it was made from; ``kind`` is "node" if
    an operation made it, and otherwise what the leaf is: "input", "parameter", "state", "constant", or "tensor" for data
    from ``tg.tensor``; ``name`` may be set at any time; ``grad`` is ``None`` until ``backward`` has filled it; ``order`` counts
    tensors in the order of their making.

    The graph owns its values: arrays that a user gives are copied, and ``value`` is read-only, so that a change in place is
    an error at once. A leaf is changed by assigning to ``value``. What was computed from the old value can then no
    longer be differentiated (``StaleValueError``); compute it again.

    >>> import tinygraph as tg
    >>> x = tg.tensor([[1.02, -0.25], [-3.45, 2.2]], name="Z2")
    >>> x.shape, x.dtype, x.name, x.op, x.inputs
    ((2, 2), dtype('float64'), 'Z2', None, ())
    >>> (x * x).sum().op.name
    'sum'
    """

    __slots__ = (
        "__weakref__",
        "_dtype",
        "_shape",
        "_value",
        "call",
        "changed",
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
    # When ``value`` was last assigned, counted as ``order`` is; 0 if never.
    changed: int
    # The composite whose result it is, and what that was called with; a checker looks at it. Other tensors do not have it.
    call: tuple[Op, Sequence[Tensor]]

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
            value = _sealed(value, op is None)
        self.kind = kind
        self.op = op
        self.inputs = inputs
        self._value = value
        self._shape = shape
        self._dtype = dtype
        self.name = name
        self.grad = None
        self.order = next(_clock)
        self.changed = 0

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
        array: Array = np.asarray(value)
        self._value = array = _sealed(array)
        return array

    @value.setter
    def value(self, new: Any) -> None:
        if self.kind not in ("parameter", "state", "tensor"):
            raise TinygraphError(
                f"{self.describe()} cannot be assigned to; only parameters, states and tensors made from values can"
            )
        old = self.value
        if new.__class__ is np.ndarray and new.dtype == old.dtype:
            array = new
        else:
            array = cast_array(numeric_array(new, self.describe()), old.dtype, self.describe())
        if array.shape != old.shape:
            raise ShapeError(f"{self.describe()} cannot take a value of shape {array.shape}")
        self._value = _sealed(np.array(array))
        self.changed = next(_clock)

    @property
    def shape(self) -> Shape:
        """The shape, a tuple of integers."""
        return self._shape if self._value is None else self._value.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self._dtype if self._value is None else self._value.dtype  # type: ignore[return-value]

    def backward(self, cotangent: Any = None) -> None:
        """Fill ``grad`` of the leaves that this one was computed from: those of ``tg.parameter`` and ``tg.tensor``.

        Gradients add up over calls, as in PyTorch; intermediate nodes keep none. ``grad`` is a tensor with a value and
        no history. The rules run on arrays and record nothing. See ``tg.grad`` for gradients that are graph.

        >>> import tinygraph as tg
        >>> x = tg.tensor([3.0], name="x")
        >>> (x * x).sum().backward()
        >>> x.grad.value
        array([6.])
        """
        from tinygraph.graph.backprop import fill_gradients

        fill_gradients(self, cotangent)

    def detach(self) -> Tensor:
        """Return a tensor with the same value and no history: gradients stop there.

        >>> import tinygraph as tg
        >>> x = tg.tensor([3.0])
        >>> (x * x).detach().op is None
        True
        """
        return Tensor("tensor", value=self.value, name=self.name)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: the picture, or text alone where none can be made."""
        return notebook_view(self, repr(self), include, exclude)

    def __reduce__(self) -> Any:
        """Copy and pickle leaves with their values. A node is refused, since its graph would have to be copied too."""
        if self.op is not None:
            raise TinygraphError(
                f"{self.describe()} cannot be copied or pickled; .detach() gives a leaf with its value"
            )
        return Tensor, (self.kind, None, (), self._value, self._shape, self._dtype, self.name)

    def describe(self) -> str:
        """Return kind or operation, name and shape for a message: ``parameter 'K1' (8, 1, 3, 3)``."""
        what = self.op.name if self.op is not None else self.kind
        return f"{what} {self.name!r} {self.shape}" if self.name else f"{what} {self.shape}"

    def __repr__(self) -> str:
        head = f"{self.name} = " if self.name else ""
        made = f"{self.op.name}(...)" if self.op is not None else self.kind
        lines = [f"{head}{made}  {self.dtype} {self.shape}"]
        lines.append(str(self.value) if self.has_value else "value: not computed")
        if self.kind in ("parameter", "tensor"):
            lines.append("gradient: not computed" if self.grad is None else f"gradient:\n{np.asarray(self.grad)}")
        return "\n".join(lines)


def now() -> int:
    """Return the time on the clock of ``Tensor.order``: tensors made later have larger numbers."""
    return next(_clock)


def _sealed(array: Array, is_leaf: bool = True) -> Array:
    """Return an array as read-only; for a leaf one that cannot be made writable, as plans look only for new arrays."""
    array = np.array(array) if is_leaf and array.base is not None else array
    array.flags.writeable = False
    return array.view() if is_leaf else array


def _leaf(kind: Kind, value: Any, name: str | None, dtype: npt.DTypeLike | None) -> Tensor:
    what = f"{kind} {name!r}" if name else kind
    if name is not None and not isinstance(name, str):
        raise TinygraphError(f"the name of a {kind} must be text; found {name!r}")
    array = numeric_array(value, what)
    if dtype is not None:
        array = cast_array(array, numeric_dtype(dtype, what), what)
    return Tensor(kind, value=np.array(array), name=name or None)


def tensor(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf with a copy of ``value``; arrays keep their dtype, Python floats become float64.

    Raises ``DTypeError`` for anything but numbers and ``ShapeError`` for rows of unequal length.

    >>> tensor([1.0, 2.0], name="x").value
    array([1., 2.])
    """
    return _leaf("tensor", value, name, dtype)


def parameter(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that training updates, with a copy of ``value``. Raises as ``tensor`` does.

    >>> W = parameter(np.zeros((4, 2)), name="W")
    >>> W.kind
    'parameter'
    """
    return _leaf("parameter", value, name, dtype)


def state(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that keeps a value from step to step and is not trained, with a copy of ``value``.

    A model declares them, with the equation of their next value, in its ``[state]`` table. Raises as ``tensor`` does.

    >>> mean = state(np.zeros(8), name="mean")
    >>> mean.kind
    'state'
    """
    return _leaf("state", value, name, dtype)


def constant(value: Any, name: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return a leaf that is never differentiated, with a copy of ``value``. Raises as ``tensor`` does.

    >>> constant(2.0).kind
    'constant'
    """
    return _leaf("constant", value, name, dtype)


def input(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Tensor:
    """Return a leaf without a value: operations on it are recorded with shapes only.

    ``tg.run`` gives it a value by its name. Raises ``FeedError`` without a name, ``ShapeError`` and ``DTypeError``.

    >>> Inp = input("Inp", (1, 1, 28, 28))
    >>> Inp.shape, Inp.has_value
    ((1, 1, 28, 28), False)
    """
    if not isinstance(name, str) or not name:
        raise FeedError(f"an input needs a name to be fed by; found {name!r}")
    sizes = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) and not isinstance(shape, str) else (None,)
    if any(isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0 for size in sizes):
        raise ShapeError(f"input {name!r}: a shape is a tuple of integers, none negative; found {shape!r}")
    checked, kind = tuple(int(size) for size in sizes), numeric_dtype(dtype, f"input {name!r}")
    check_size(checked, kind, f"input {name!r}")
    return Tensor("input", shape=checked, dtype=kind, name=name)
