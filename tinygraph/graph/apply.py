"""Compute an operation on arrays, or record it on tensors: every node is made by ``apply``.

A call goes from ``call`` to ``compute`` if all inputs are arrays, and otherwise to ``Op.compose``. That is ``apply``, unless
the operation is made of others or adds an input. ``_record`` makes the node. ``evaluate`` runs ``forward`` for both, and
checks what it returns.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tinygraph.errors import DTypeError, OperationError, ShapeError, TinygraphError
from tinygraph.graph.arrays import check_size, numeric_array
from tinygraph.graph.budget import charge, current, setting
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor, constant

if TYPE_CHECKING:
    from tinygraph.graph.op import Op, Shape

_SCALARS = (bool, int, float, complex)
# NumPy's scalars of these types are results as they are. They are looked for first, which saves time in long expressions.
FLOATS = frozenset({np.float64, np.float32})
_as_nodes: ContextVar[Container[str]] = ContextVar("composites_as_nodes", default=())
_real: ContextVar[np.dtype[Any] | None] = ContextVar("computing_in", default=None)


def call(op: Op, inputs: Sequence[Any]) -> Any:
    """Record ``op`` when an input is a tensor; compute it when all are arrays."""
    for x in inputs:
        if x.__class__ is Tensor:
            return apply(op, inputs) if op.composite and op.name in _as_nodes.get() else op.compose(*inputs)
    return compute(op, inputs)


def apply(op: Op, inputs: Sequence[Any]) -> Tensor:
    """Record one node: check shapes, compute the value if every input has one, and return the tensor.

    Numbers and arrays among the inputs become constants; a Python number takes the dtype of the tensors that it meets,
    as in NumPy 2. An operation on constants alone is computed at once and gives a constant, without ``op`` and ``inputs``.
    While a file is opened, only such constants are computed; all else gets a shape alone.

    >>> import tinygraph as tg
    >>> y = apply(tg.operation("add").op(), [tg.tensor([1.0, 2.0], name="x"), 1])
    >>> y.value
    array([2., 3.])
    """
    result, dtype = _record(op, inputs), _real.get()
    if dtype is None or result.dtype == dtype or result.dtype.kind != "f":
        return result
    return _in_real(op, result, inputs, dtype)


def _record(op: Op, inputs: Sequence[Any]) -> Tensor:
    """Record one node, with its value where all inputs have one; while a file is opened, where all are constants."""
    for x in inputs:
        if x.__class__ is not Tensor:
            inputs = as_tensors(op, inputs)
            break
    values = []
    folded = known = True
    for x in inputs:
        values.append(x._value)
        folded = folded and x.kind == "constant"
        if x._value is None:
            known = False
    budget = current()
    if budget is not None:
        known = folded
        if not known:
            budget.spend("operations", 1)
        if known or not (op.elementwise or op.has_shape_rule):
            # It is computed now, or run on ones to find its shape.
            budget.compute(op, inputs)
    if known:
        value = evaluate(op, values, *_expected(op, inputs)) if op.has_shape_rule else evaluate(op, values, None)
        return Tensor("constant", None, (), value) if folded else Tensor("node", op, tuple(inputs), value)
    shape, dtype = op.infer(*inputs)
    check_size(shape, dtype, op.name)
    return Tensor("node", op, tuple(inputs), None, shape, dtype)


def compute(op: Op, inputs: Sequence[Any]) -> Any:
    """Return the result of ``op`` on arrays and numbers, recording nothing."""
    for x in inputs:
        # An array of an engine that sees what operations do with it.
        if hasattr(x, "__tinygraph_op__"):
            return x.__tinygraph_op__(op, inputs)
    # A Python number stays one where it may: its dtype is then that of the arrays.
    inputs = [x if op.elementwise and isinstance(x, _SCALARS) else numeric_array(x, op.name) for x in inputs]
    budget = current()
    if budget is not None:
        budget.compute(op, inputs)
    return np.asarray(evaluate(op, inputs, *_expected(op, inputs)))


def _expected(op: Op, inputs: Sequence[Any]) -> tuple[Shape | None, np.dtype[Any] | None]:
    """Return the shape and dtype that the rules of ``op`` promise, if it has any."""
    return (op.shape(*inputs), op.result_dtype(*inputs)) if op.has_shape_rule else (None, None)


def evaluate(op: Op, values: Sequence[Any], shape: Shape | None, dtype: np.dtype[Any] | None = None) -> Any:
    """Return ``op.forward(*values)``, an array or NumPy scalar, checked against shape and dtype where those are known."""
    try:
        if op.has_check:
            op.check(*values)
        value = (cast(Any, op).parts if op.composite else op.forward)(*values)
    except TinygraphError:
        raise
    except Exception as error:
        if op.elementwise:
            op.broadcast(*[np.asarray(value) for value in values])
        raise OperationError(f"{op.name}: forward failed: {type(error).__name__}: {error}") from error
    if shape is None and value.__class__ in FLOATS and values and value.__class__ is values[0].__class__:
        return value
    if value.__class__ not in FLOATS and (value.__class__ is not np.ndarray or value.dtype.kind not in "biufc"):
        value = _as_array(op, value)
    if shape is None and op.elementwise and value.shape != getattr(values[0], "shape", ()):
        shape = op.broadcast(*[np.asarray(value) for value in values])
    if shape is not None and value.shape != shape:
        rule = "it is elementwise, so the shape must be" if op.elementwise else "its shape rule says"
        raise OperationError(f"{op.name}: forward returned shape {value.shape}; {rule} {shape}")
    if dtype is not None and value.dtype != dtype:
        if value.dtype.kind != dtype.kind:
            raise OperationError(f"{op.name}: forward returned {value.dtype}; its result_dtype says {dtype}")
        value = value.astype(dtype)
    return value


def _as_array(op: Op, value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value
    if isinstance(value, tuple) or (not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "shape")):
        raise OperationError(f"{op.name}: forward returned a {type(value).__name__}; it must return one array")
    try:
        return numeric_array(value, f"{op.name}: forward returned {type(value).__name__}")
    except (DTypeError, ShapeError) as error:
        raise OperationError(str(error)) from None


def as_tensors(op: Op, inputs: Sequence[Any]) -> list[Tensor]:
    """Turn numbers and arrays among the inputs into constants."""
    arrays = {i: x for i, x in enumerate(inputs) if isinstance(x, (Tensor, np.ndarray, np.generic))}
    dtypes = [x.dtype for i, x in arrays.items() if i not in op.conditions]
    tensors = []
    for i, x in enumerate(inputs):
        if x.__class__ is not Tensor:
            if isinstance(x, Tensor):
                raise DTypeError(f"{op.name}: subclasses of Tensor are not supported; found {type(x).__name__}")
            if isinstance(x, _SCALARS) and dtypes and i not in op.conditions:
                x = Tensor("constant", None, (), _weak(op, x, dtypes))
            else:
                array = numeric_array(x, op.name)
                charge("bytes of values", array.nbytes)
                x = constant(array)
        tensors.append(x)
    return tensors


def _weak(op: Op, number: Any, dtypes: Sequence[Any]) -> Any:
    """Return a Python number in the dtype of what it meets, as NumPy 2 does."""
    if len(dtypes) == 1 and dtypes[0].kind == "f" and number.__class__ in (int, float):
        return dtypes[0].type(number)
    try:
        return np.asarray(number, dtype=np.result_type(*dtypes, number))
    except OverflowError:
        raise DTypeError(f"{op.name}: the number {number} is out of range for {np.result_type(*dtypes)}") from None


def composites_as_nodes(names: Container[str] = OPERATIONS) -> AbstractContextManager[Container[str]]:
    """Within this context a composite of these names is recorded as one node, as ONNX has one operator for ``layer_norm``.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3))
    >>> with composites_as_nodes():
    ...     print(tg.Graph(tg.layer_norm(x, np.ones(3), np.zeros(3))).outputs[0].op.name)
    layer_norm
    """
    return setting(_as_nodes, names)


def computing_in(dtype: np.dtype[Any]) -> AbstractContextManager[np.dtype[Any] | None]:
    """Within this context integers become ``dtype`` where NumPy would choose another dtype of real numbers.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2,), "uint8")
    >>> with computing_in(np.dtype("float32")):
    ...     print((x / 255).dtype, tg.exp(x).dtype, (x + 1).dtype)
    float32 float32 uint8
    >>> (x / 255).dtype, tg.exp(x).dtype
    (dtype('float64'), dtype('float64'))
    """
    return setting(_real, dtype)


def _in_real(op: Op, result: Tensor, inputs: Sequence[Any], dtype: np.dtype[Any]) -> Tensor:
    """Return the result of ``op`` on integers cast to ``dtype``, if that gives the result this dtype."""
    given = [x.dtype if hasattr(x, "dtype") else None for x in inputs]
    if any(found is not None and found.kind == "f" and found != dtype for found in given):
        return result
    integers = {i for i, found in enumerate(given) if found is not None and found.kind in "biu"} - set(op.conditions)
    cast = OPERATIONS["cast"]
    try:
        if integers:
            promoted = _record(op, [cast(x, dtype.name) if i in integers else x for i, x in enumerate(inputs)])
        else:
            # Numbers alone decide, as in where(x > 0, 1.0, 0.0).
            promoted = _record(op, [_weak(op, x, [dtype]) if type(x) is float else x for x in inputs])
    except TinygraphError:
        # Integers that are indices stay.
        return result
    return promoted if promoted.dtype == dtype else result
