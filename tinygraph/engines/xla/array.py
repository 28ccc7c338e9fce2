"""Traced: a value of XLA with NumPy's protocols, on which an operation's own ``forward`` runs, so that JAX sees what it does.

``np.f(x)`` becomes ``jnp.f(x)`` by ``__array_ufunc__`` and ``__array_function__`` (NEP 13 and 18), in the dtypes that NumPy
would choose. Elements may be assigned, as in ``y[0] += 1``, where no other array could share their memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tinygraph.graph import Op
from tinygraph.graph.budget import setting

# The outcomes that ``bool`` gives for comparisons of values, and the comparisons met; see ``explored``.
_outcomes: ContextVar[tuple[Sequence[bool], list[tuple[Any, bool]]] | None] = ContextVar("outcomes", default=None)
# What lowers an operation that is called while another one is traced.
_lower: ContextVar[Callable[[Op, Sequence[Any]], Any]] = ContextVar("lower")
# A forward that asks more questions about values than this is not traced.
_MOST_PATHS = 32
# Whether products of float32 round their operands to bfloat16.
_bfloat16: ContextVar[bool] = ContextVar("bfloat16", default=False)
# Whether the operation that is traced has checked its own positions.
_positions_checked: ContextVar[bool] = ContextVar("positions", default=False)
# Functions whose result is new; that of others may share memory with an argument, as that of ``reshape``.
_NEW = {"copy", "zeros_like", "ones_like", "full_like", "empty_like", "where", "concatenate", "stack", "pad", "take"}
_NEW |= {"take_along_axis", "einsum", "sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax"}
_NEW |= {"argmin", "cumsum", "sort", "argsort", "clip", "repeat", "tile", "roll"}
# Functions whose arguments have one dtype in the result.
_JOINING = {"concatenate", "stack", "vstack", "hstack", "where", "einsum", "dot", "tensordot", "inner", "outer"}
# Methods that change their array.
_CHANGING = {"sort", "partition", "resize", "put"}
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all"}


class Untraceable(TypeError):
    """A forward that does what JAX cannot follow, such as ``float(x)``; its operation runs on the host."""


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A value of XLA as NumPy's functions see it.

    A part ``x[2:]`` keeps its ``base`` and index: what is written into it goes into the base. A ``frozen`` one is not written
    into: NumPy might write into another array with it.
    """

    __slots__ = ("_base", "_index", "_value", "frozen")

    def __init__(self, value: Any, frozen: bool = False, base: Traced | None = None, index: Any = None) -> None:
        self._value, self.frozen, self._base, self._index = value, frozen, base, index

    @property
    def value(self) -> Any:
        """The array of JAX."""
        return self._value if self._base is None else self._base.value[self._index]

    shape = property(lambda self: tuple(self.value.shape))
    ndim = property(lambda self: len(self.value.shape))
    size = property(lambda self: math.prod(self.value.shape))
    dtype = property(lambda self: np.dtype(self.value.dtype))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    real = property(lambda self: Traced(self.value.real) if self.dtype.kind == "c" else self)
    T = property(lambda self: np.transpose(self))

    def write(self, index: Any, value: Any, how: str = "set") -> None:
        """Assign elements, or add to them and the like, as ``how`` says."""
        if self.frozen or (self._base is not None and self._base.frozen):
            raise Untraceable("writes into an array that may share its memory")
        _require_within(index if isinstance(index, tuple) else (index,), self.shape)
        if self._base is not None:
            changed = Traced(self.value)
            changed.write(index, value, how)
            self._base.write(self._index, changed.value)
        elif how == "set" and getattr(index, "dtype", np.dtype(int)).kind == "b" and np.ndim(value) == 0:
            self._value = jnp.where(_bare(index), jnp.asarray(_bare(value), self.dtype), self._value)
        else:
            self._value = getattr(self._value.at[_index_of(index)], how)(jnp.asarray(_bare(value)).astype(self.dtype))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        name = ufunc.__name__
        if getattr(np, name, None) is not ufunc or "where" in options or not hasattr(jnp, name):
            raise Untraceable(f"{name} has no counterpart in JAX")
        if method == "at":
            return inputs[0].write(inputs[1], inputs[2], {"maximum": "max", "minimum": "min"}.get(name, name))
        if method == "reduce" and name in _REDUCTIONS:
            return getattr(np, _REDUCTIONS[name])(inputs[0], **{"axis": 0} | options)
        if method != "__call__":
            raise Untraceable(f"{name}.{method}")
        kinds = [type(x) if type(x) in (int, float, complex) else getattr(x, "dtype", np.dtype(bool)) for x in inputs]
        chosen = {"signature": (*[None] * len(kinds), options["dtype"])} if "dtype" in options else {}
        *own, result = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), **chosen)
        f = getattr(jnp, name)
        if name == "power" and result.kind in "iu":
            if np.any(np.less(inputs[1], 0)):
                raise ValueError("integers to negative integer powers are not allowed")
            f = _whole_power
        call = product if name == "matmul" else _call
        value = call(f, inputs, own)
        if out is None:
            return Traced(value.astype(result)) if ufunc.nout == 1 else tuple(map(Traced, value))
        if not isinstance(out[0], Traced):
            raise Untraceable("writes a traced value into an array of NumPy's")
        out[0].write(..., value)
        return out[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name, kwargs = func.__name__, dict(kwargs)
        library = jnp.linalg if func.__module__ == "numpy.linalg" else jnp
        if kwargs.pop("out", None) is not None or not hasattr(library, name):
            raise Untraceable(f"{name} has no counterpart in JAX")
        views = name not in _NEW
        for x in args if views else ():
            if isinstance(x, Traced):
                x.freeze()
        if name in ("take", "take_along_axis") and "mode" not in kwargs:
            axis = kwargs.get("axis", args[2] if len(args) > 2 else None)
            _require_positions(args[1], np.size(args[0]) if axis is None else np.shape(args[0])[axis])
        if name in _JOINING:
            skipped = args[:1] if name == "where" else ()
            args = (*skipped, *_promoted(args[len(skipped) :]))
        if name == "argsort":
            kwargs = {key: value for key, value in kwargs.items() if key != "kind"} | {"stable": True}
        if name in ("mean", "var", "std") and args[0].dtype.kind not in "fc":
            args = (args[0].astype(np.float64), *args[1:])
        f = getattr(library, name)
        args, kwargs = _bare(args), _bare(kwargs)
        if name in ("einsum", "dot", "tensordot", "inner", "outer"):
            return dressed(product(f, args, precise=kwargs), views)
        return dressed(f(*args, **kwargs), views)

    def freeze(self) -> None:
        """Refuse to be written into from now on."""
        self.frozen = True
        if self._base is not None:
            self._base.freeze()

    def __tinygraph_op__(self, op: Op, inputs: Sequence[Any]) -> Any:
        """Return what an operation makes of inputs, one of them traced: ``graph/apply.py:compute`` asks for it."""
        return _lower.get()(op, inputs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Untraceable("needs an array of NumPy's")

    __float__ = __int__ = __index__ = __complex__ = __array__

    def __bool__(self) -> bool:
        asked = _outcomes.get()
        if asked is None:
            raise Untraceable("asks for a value")
        path, met = asked
        met.append((self.value, path[len(met)] if len(met) < len(path) else False))
        return met[-1][1]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Traced]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Traced:
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
            return Traced(None, self.frozen, self, index)
        _require_within(parts, self.shape)
        try:
            return Traced(self.value[_index_of(index)])
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
            raise Untraceable("has a shape that depends on values") from None

    def __setitem__(self, index: Any, value: Any) -> None:
        self.write(index, value)

    def astype(self, dtype: Any, **options: Any) -> Traced:
        """Return the value in another dtype."""
        if not options.get("copy", True):
            self.freeze()
        return Traced(self.value.astype(dtype))

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """Return the same elements in another shape."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self, *axes: Any) -> Any:
        """Return the value with its axes in another order."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def __getattr__(self, name: str) -> Any:
        """Return a method of arrays: the function of the same name."""
        if name.startswith("_") or name in _CHANGING or not hasattr(np.ndarray, name) or not hasattr(np, name):
            raise AttributeError(name)
        return functools.partial(getattr(np, name), self)

    def __repr__(self) -> str:
        return f"a value of {self.dtype} {self.shape}"


def _require_within(parts: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Ask whether the traced positions in an index lie within their axes, for JAX takes the nearest where they do not."""
    widths = [getattr(p, "ndim", 1) if _kind(p) == "b" else 0 if p is None or p is Ellipsis else 1 for p in parts]
    axis = 0
    for part, width in zip(parts, widths, strict=True):
        axis += len(shape) - sum(widths) if part is Ellipsis else 0
        if _kind(part) in "iu":
            _require_positions(part, shape[axis])
        axis += width


def _require_positions(positions: Any, size: int) -> None:
    if isinstance(positions, Traced) and not _positions_checked.get():
        if np.any(np.less(positions, -size) | np.greater_equal(positions, size)):
            raise IndexError(f"a position lies beyond an axis of size {size}")


def _kind(x: Any) -> str:
    return x.dtype.kind if hasattr(x, "dtype") else "O"


def _bare(x: Any) -> Any:
    """Return arguments with arrays of JAX in place of traced values."""
    if isinstance(x, Traced):
        return x.value
    if isinstance(x, (tuple, list)):
        return type(x)(map(_bare, x))
    return {key: _bare(value) for key, value in x.items()} if isinstance(x, dict) else x


def _index_of(index: Any) -> Any:
    """Return an index as JAX takes it: arrays in place of lists."""
    parts = index if isinstance(index, tuple) else (index,)
    bare = tuple(np.asarray(part) if isinstance(part, list) else _bare(part) for part in parts)
    return bare if isinstance(index, tuple) else bare[0]


def dressed(x: Any, frozen: bool = False) -> Any:
    """Return results of JAX as traced values."""
    if isinstance(x, (tuple, list)):
        return type(x)(dressed(y, frozen) for y in x)
    return Traced(x, frozen) if isinstance(x, jax.Array) else x


def traced(x: Any) -> Any:
    """Return an input of an operation as its ``forward`` sees it; a constant stays an array of NumPy's."""
    return Traced(x, frozen=True) if isinstance(x, jax.Array) else x


def _promoted(args: Sequence[Any]) -> list[Any]:
    """Return arguments with all arrays among them in the dtype that NumPy would join them in."""
    numbers = (bool, int, float, complex)
    found = [x for arg in args for x in (arg if isinstance(arg, (list, tuple)) else (arg,)) if not isinstance(x, str)]
    found = [x for x in found if isinstance(x, numbers) or hasattr(x, "dtype")]
    dtype = np.result_type(*[x if isinstance(x, numbers) else x.dtype for x in found])

    def cast(x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(map(cast, x))
        return x.astype(dtype) if hasattr(x, "dtype") else x

    return list(map(cast, args))


def _whole_power(x: Any, y: Any) -> Any:
    """Return integers to powers, which wrap as those of NumPy do: JAX's own has exponents below 64."""

    def step(_: Any, state: Any) -> Any:
        x, y, z = state
        return x * x, y >> 1, jnp.where(y & 1 == 1, z * x, z)

    return jax.lax.fori_loop(0, 8 * y.dtype.itemsize, step, (*jnp.broadcast_arrays(x, y), jnp.ones_like(x * y)))[2]


def _call(f: Callable[..., Any], inputs: Sequence[Any], dtypes: Sequence[Any]) -> Any:
    beyond = [
        type(x) is int and d.kind in "iu" and not np.iinfo(d).min <= x <= np.iinfo(d).max
        for x, d in zip(inputs, dtypes, strict=True)
    ]
    if any(beyond):
        # Only comparisons accept a number that no element can have.
        dtypes = [np.dtype(np.float64)] * len(inputs)
    return f(*[jnp.asarray(_bare(x), dtype) for x, dtype in zip(inputs, dtypes, strict=True)])


def product(
    f: Callable[..., Any], inputs: Sequence[Any], dtypes: Sequence[Any] | None = None, precise: Any = None
) -> Any:
    """Return a sum of products; of float32 with operands rounded to bfloat16, where this precision is chosen."""
    options = {} if precise is None else precise
    args = [
        _bare(x) if isinstance(x, str) else jnp.asarray(_bare(x), None if dtypes is None else dtypes[i])
        for i, x in enumerate(inputs)
    ]
    arrays = [x for x in args if not isinstance(x, str)]
    if not _bfloat16.get() or any(x.dtype != jnp.float32 for x in arrays):
        return f(*args, **options)
    return f(*[x if isinstance(x, str) else x.astype(jnp.bfloat16) for x in args], **options).astype(jnp.float32)


def lowering(lower: Callable[[Op, Sequence[Any]], Any]) -> AbstractContextManager[Any]:
    """Within this context operations on traced values are lowered by this function."""
    return setting(_lower, lower)


def positions_checked(already: bool) -> AbstractContextManager[Any]:
    """Within this context positions in traced arrays are not checked: the package's own operations do it themselves."""
    return setting(_positions_checked, already)


def bfloat16_products(wanted: bool) -> AbstractContextManager[Any]:
    """Within this context products of float32 round their operands to bfloat16, if this is wanted."""
    return setting(_bfloat16, wanted)


def explored(f: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Return what ``f`` makes of traced values, and conditions under which it raises nothing.

    ``f`` is run for every outcome of its questions about values, as of ``if (x < 0).any()``. Outcomes with which it raises are
    refused; among the results of several others, the values choose. Raises ``Untraceable`` where all raise.
    """
    found, todo, error = list[tuple[Any, Any]](), [tuple[bool, ...]()], Exception()
    while todo:
        path, met = todo.pop(), list[tuple[Any, bool]]()
        token = _outcomes.set((path, met))
        try:
            y = f()
            condition = functools.reduce(
                jnp.logical_and, [asked == outcome for asked, outcome in met], jnp.asarray(True)
            )
            found.append((_array(y), condition if met else None))
        except Exception as raised:
            error = raised
        finally:
            _outcomes.reset(token)
        todo += [(*(o for _, o in met[:i]), not met[i][1]) for i in range(len(path), len(met))]
        if len(todo) > _MOST_PATHS:
            raise Untraceable("depends on too many comparisons of values")
    if not found:
        raise Untraceable(str(error)) from error
    y, conditions = found[0][0], [condition for _, condition in found if condition is not None]
    for other, condition in found[1:]:
        if y is not None and (other.shape, other.dtype) != (y.shape, y.dtype):
            raise Untraceable("has a shape that depends on values")
        y = y if y is None else jnp.where(condition, other, y)
    return y, [functools.reduce(jnp.logical_or, conditions)] if conditions else []


def _array(y: Any) -> Any:
    if y is None or isinstance(y, Traced):
        return None if y is None else y.value
    if not isinstance(y, (np.ndarray, np.generic, bool, int, float, complex)):
        raise Untraceable(f"returns a {type(y).__name__}")
    return jnp.asarray(y)
