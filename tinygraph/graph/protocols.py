"""How a tensor behaves like an array: Python's operators, some methods, and NumPy's protocols."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from tinygraph.errors import AttributeValueError, DTypeError, ShapeError, TinygraphError, UnknownNameError, users_own
from tinygraph.graph.arrays import Shaped, numeric_dtype
from tinygraph.graph.conversion import converted, refuse_in_list
from tinygraph.graph.registry import NUMPY_FUNCTIONS, load_operations
from tinygraph.graph.registry import OPERATIONS as _TABLE
from tinygraph.synonyms import FORMULAS, called_here

if TYPE_CHECKING:
    from tinygraph.graph.tensor import Tensor


def _of_numpy(names: str) -> frozenset[Callable[..., Any]]:
    return frozenset(getattr(np, name) for name in names.split())


# Functions of NumPy that ask about values: they record nothing, and return plain arrays.
_QUESTIONS = _of_numpy(
    "all allclose any argpartition argsort argwhere array_equal array_equiv array_repr array_str count_nonzero flatnonzero "
    "isclose isfinite isin isinf isnan isneginf isposinf lexsort nanargmax nanargmin nonzero searchsorted signbit"
)
_QUESTION_NAMES = frozenset(question.__name__ for question in _QUESTIONS)
# What needs only the shape and the dtype of a tensor.
_OF_SHAPES = _of_numpy("shape ndim size zeros_like ones_like empty_like iscomplexobj isrealobj result_type")
# Called with a tensor, every operation returns one.
OPERATIONS = cast("dict[str, Callable[..., Tensor]]", _TABLE)

# Attributes of NumPy's arrays and PyTorch's tensors, and what to write instead.
_ATTRIBUTES = {
    **dict.fromkeys(("numpy", "data", "cpu", "tolist"), "; its numbers are in .value"),
    "detach": "; write x.detach()",
    **dict.fromkeys(("requires_grad", "zero_grad", "grad_fn"), "; gradients are computed by tg.grad, or .backward()"),
}

Axis = int | tuple[int, ...] | None
Method = Callable[[Any, Any], "Tensor"]
Number = TypeVar("Number")


def _unary(name: str) -> Callable[[Any], Tensor]:
    return lambda x: OPERATIONS[name](x)


def _binary(name: str) -> tuple[Method, Method]:
    """Return the methods of an operator on two operands: the tensor on the left, and on the right."""
    return lambda x, y: OPERATIONS[name](x, y), lambda x, y: OPERATIONS[name](y, x)


def _methods(names: str) -> Iterator[Any]:
    """Yield the methods that call NumPy's functions of these names, which record the tensor."""
    return map(functools.partialmethod, (getattr(np, name) for name in names.split()))


def _logical(name: str, sign: str) -> tuple[Method, Method]:
    return lambda x, y: _on_booleans(name, sign, x, y), lambda x, y: _on_booleans(name, sign, y, x)


def _on_booleans(name: str, sign: str, *operands: Any) -> Tensor:
    """Return the result of a logical operation. Only booleans are accepted: for integers, ``&`` would mean bitwise and."""
    for x in operands:
        dtype = x.dtype if isinstance(x, Protocols) else np.asarray(x).dtype
        if dtype != np.bool_:
            example = f"(x > 0) {sign} (x < 1)" if len(operands) > 1 else f"{sign}(x > 0)"
            power = "; a power is written x ** 2" if sign == "^" else ""
            raise DTypeError(f"{sign} is for booleans, such as {example}, in parentheses; found {dtype}{power}")
    return OPERATIONS[name](*operands)


# NumPy's operators on bits: on booleans, and on those alone, they are logical operations.
_LOGICAL: dict[np.ufunc, tuple[str, str]] = {
    np.bitwise_and: ("logical_and", "&"),
    np.bitwise_or: ("logical_or", "|"),
    np.bitwise_xor: ("logical_xor", "^"),
    np.invert: ("logical_not", "~"),
}


def _number(kind: Callable[[Any], Number]) -> Callable[[Any], Number]:
    """Return the method that makes a Python number of a tensor with one element."""

    def convert(self: Tensor) -> Number:
        refuse_in_list(self, sys._getframe(1))
        return kind(self.item())

    return convert


class Protocols(Shaped):
    """Operators, methods and NumPy's ``__array_ufunc__`` and ``__array_function__``, each an operation by its name."""

    __slots__ = ()

    if TYPE_CHECKING:
        dtype: Any
        value: Any
        has_value: Any

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __pow__, __rpow__ = _binary("power")
    __matmul__, __rmatmul__ = _binary("matmul")
    __mod__, __rmod__ = _binary("mod")
    __floordiv__, __rfloordiv__ = (lambda x, y: np.floor_divide(x, y)), (lambda x, y: np.floor_divide(y, x))
    __divmod__, __rdivmod__ = (lambda x, y: np.divmod(x, y)), (lambda x, y: np.divmod(y, x))
    # Python itself reverses a comparison: x < y is tried as y > x.
    __lt__, __gt__ = _binary("less")[0], _binary("greater")[0]
    __le__, __ge__ = _binary("less_equal")[0], _binary("greater_equal")[0]
    __and__, __rand__ = _logical("logical_and", "&")
    __or__, __ror__ = _logical("logical_or", "|")
    __xor__, __rxor__ = _logical("logical_xor", "^")
    __neg__, __pos__, __abs__ = _unary("negative"), _unary("identity"), _unary("abs")
    __bool__, __float__, __int__ = _number(bool), _number(float), _number(int)

    def __eq__(self, other: Any) -> Any:
        return NotImplemented if other is None else OPERATIONS["equal"](self, other)

    def __ne__(self, other: Any) -> Any:
        return NotImplemented if other is None else OPERATIONS["not_equal"](self, other)

    def __invert__(self) -> Tensor:
        return _on_booleans("logical_not", "~", self)

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    # Comparison is elementwise, so dictionaries and sets go by identity.
    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Tensor:
        return OPERATIONS["getitem"](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TinygraphError(
            "a tensor is not changed in place; make another, with tg.where or tg.put, or set its .value"
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            hint = "" if name.startswith("_") else attribute_hint(name)
            raise AttributeError(f"a tensor has no attribute {name!r}{hint}", name=name, obj=self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def item(self) -> Any:
        """Return the one element as a Python number. Raises ``ShapeError`` where there are more, or none."""
        if self.size != 1:
            raise ShapeError(
                f"one number or boolean is needed here; found a tensor of shape {self.shape} "
                "(sum, mean, max and min make one of many, where chooses element by element)"
            )
        return self.value.item()

    @property
    def T(self) -> Tensor:
        """The transpose: axes in reverse order."""
        return OPERATIONS["transpose"](self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``tg.sum``."""
        return OPERATIONS["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``tg.mean``."""
        return OPERATIONS["mean"](self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``tg.max``."""
        return OPERATIONS["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``tg.min``."""
        return OPERATIONS["min"](self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        """See ``tg.reshape``; the shape may be given as one tuple or as numbers."""
        one_tuple = len(shape) == 1 and isinstance(shape[0], (tuple, list))
        return OPERATIONS["reshape"](self, shape[0] if one_tuple else shape)

    def flatten(self, start_axis: int = 0) -> Tensor:
        """Return the elements in one axis, as NumPy's ``flatten`` does; see ``tg.flatten`` to keep the batch axis."""
        return OPERATIONS["flatten"](self, start_axis)

    def transpose(self, *axes: Any) -> Tensor:
        """See ``tg.transpose``; axes may be given as one tuple or as numbers."""
        one_tuple = len(axes) == 1 and not isinstance(axes[0], int)
        return OPERATIONS["transpose"](self, (axes[0] if one_tuple else axes) or None)

    def astype(self, dtype: Any) -> Tensor:
        """Return the numbers in another dtype; see ``tg.cast``."""
        return OPERATIONS["cast"](self, numeric_dtype(dtype, "astype").name)

    # Other methods of NumPy's arrays, and functions of one tensor that PyTorch has as methods too.
    all, any, argmax, argmin, argsort, clip, conj, copy = _methods("all any argmax argmin argsort clip conj copy")
    cumprod, cumsum, diagonal, dot, nonzero, prod, ptp = _methods("cumprod cumsum diagonal dot nonzero prod ptp")
    ravel, repeat, squeeze, std, swapaxes, take, var = _methods("ravel repeat squeeze std swapaxes take var")
    round, trace, abs, ceil, floor, sign, square, sqrt = _methods("round trace abs ceil floor sign square sqrt")
    exp, log, sin, cos, tan, tanh, matmul = _methods("exp log sin cos tan tanh matmul")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = np.array(self.value, dtype=dtype, copy=copy)
        return converted(cast("Tensor", self), array, sys._getframe(1), _QUESTION_NAMES)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc in _QUESTIONS:
            return getattr(ufunc, method)(*map(_plain, inputs), **options)
        if ufunc in _LOGICAL and method == "__call__" and not options:
            return _on_booleans(*_LOGICAL[ufunc], *inputs)
        if method != "__call__":
            raise TinygraphError(
                f"numpy.{ufunc.__name__}.{method} cannot be recorded on tensors; use tg.sum, tg.max, ..."
            )
        function = _operation_for(ufunc)
        if "out" in options:
            # array[part] += tensor and array *= tensor come here.
            raise TinygraphError(
                f"numpy.{ufunc.__name__} on tensors takes no option 'out': what writes into an array cannot be recorded; "
                "add tensors with +, or mark a rule that needs arrays as opaque"
            )
        if options:
            raise TinygraphError(f"numpy.{ufunc.__name__} on tensors takes no option {sorted(options)[0]!r}")
        return function(*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        for functions, plain in ((_OF_SHAPES, _like), (_QUESTIONS, _plain)):
            if function in functions:
                return function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})
        record = _operation_for(function)
        try:
            return _recorded(function, record, args, kwargs)
        except TinygraphError:
            raise
        except (ValueError, TypeError, LookupError) as error:
            raise AttributeValueError(f"numpy.{function.__name__} on tensors: {error}") from users_own(error)


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Protocols) else x


def _like(x: Any) -> Any:
    """Return an array of a tensor's shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Protocols) else x


@functools.cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _recorded(function: Callable[..., Any], record: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call what records a function of NumPy, with the arguments that both have; another one may only have its default value.

    Arguments are matched by name. A required one that has another name here, such as ``x`` or ``to``, is matched by its place.
    """
    try:
        ours, bound = _signature(record).parameters, _signature(function).bind(*args, **kwargs)
    except ValueError:
        # Before version 2.4 some of NumPy's functions have no signature.
        return record(*args, **kwargs)
    if any(p.kind == p.VAR_KEYWORD for p in ours.values()):
        return record(*bound.args, **bound.kwargs)
    theirs = bound.signature.parameters
    required = [name for name, p in ours.items() if p.default is p.empty]
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for place, (name, value) in enumerate(bound.arguments.items()):
        here = required[place] if name not in ours and place < len(required) and required[place] not in theirs else name
        if theirs[name].kind == inspect.Parameter.VAR_POSITIONAL:
            positional += value
        elif theirs[name].kind == inspect.Parameter.VAR_KEYWORD:
            named |= value
        elif here in ours and ours[here].kind == inspect.Parameter.VAR_POSITIONAL:
            positional.append(value)
        elif here in ours or value is not theirs[name].default:
            named[here] = value
    for name in set(named) - set(ours):
        raise TinygraphError(f"numpy.{function.__name__} on tensors takes no option {name!r}")
    return record(*positional, **named)


def attribute_hint(name: str) -> str:
    """Return what to write for an attribute that NumPy or another framework has, or an empty string.

    >>> attribute_hint("logsumexp"), attribute_hint("vstack"), attribute_hint("rsqrt"), attribute_hint("banana")
    ('; write tg.logsumexp(...)', '; write numpy.vstack(...)', '; write 1 / sqrt(x)', '')
    """
    load_operations()
    here = called_here(name, _TABLE)
    recorded = dict[Any, Any](NUMPY_FUNCTIONS).get(getattr(np, name, None))
    if recorded not in (None, _TABLE.get(name), here and _TABLE[here]):
        return f"; write numpy.{name}(...)"
    if here is not None:
        return f"; write tg.operation({here!r})(...)" if _TABLE[here].op.helper else f"; write tg.{here}(...)"
    formula = FORMULAS.get(name.lower())
    return f"; write {formula}" if formula else _ATTRIBUTES.get(name, "")


def _operation_for(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return NUMPY_FUNCTIONS[function]
    except KeyError:
        name = function.__name__
        hint = attribute_hint(name) or "; write it with operations, make one with @tg.op, or use it on .value"
        raise UnknownNameError(f"numpy.{name} cannot be recorded on tensors{hint}") from None
