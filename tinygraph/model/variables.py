"""Parameters and state of a model. They are made when an equation first reads them, because sizes may read tensors.

Each has its own random generator, so that no initial value depends on another parameter.
"""

from __future__ import annotations

import ast
import fnmatch
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import BudgetError, DTypeError, ModelError, UnknownNameError, listing, nearest
from tinygraph.graph import Array, Kind, Shape, Tensor, cast_array, charge, check_size
from tinygraph.model.parse import Statement, evaluate_expression
from tinygraph.model.toml import Source

if TYPE_CHECKING:
    from tinygraph.model.declaration import Variable
    from tinygraph.model.recorder import Scope


class Variables:
    """Parameters and state by name, with what is needed to draw them again."""

    def __init__(self, source: Source, seed: int, dtype: np.dtype[Any], given: Mapping[str, Any] | None = None) -> None:
        self.source, self.seed, self.dtype = source, seed, dtype
        # Values by name that are used instead of the first drawn ones.
        self.given = dict(given or {})
        self._tensors: dict[str, Tensor] = {}
        # Brings values that a training step keeps on its devices.
        self.pull: Callable[[], object] | None = None
        self.declared: dict[str, Variable] = {}
        # How often each block is repeated that is called so.
        self.times: dict[str, int] = {}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The parameters and state by name."""
        self.settle()
        return self._tensors

    def settle(self) -> None:
        """Get the newest values, where a training step keeps them on its devices."""
        pull, self.pull = self.pull, None
        if pull is not None:
            pull()

    def get(self, scope: Scope, name: str, trusted: bool) -> Tensor:
        """Return the parameter or state that a scope calls ``name``; it is made at first use.

        Unless it is ``trusted``, its sizes are computed again: a shape that changes with the batch is refused.
        """
        full, variable = scope.owner + name, scope.equations.variables[name]
        known = self.tensors.get(full)
        if known is not None and trusted:
            return known
        shape = self._shape(scope, full, name, variable)
        if known is None:
            value = self._value(full, shape, variable, self.given.pop(full, None))
            self._tensors[full] = Tensor(variable.kind, value=value, name=full)
            self.declared[full] = variable
        elif known.shape != shape:
            cause = "batch size" if scope.owner == scope.prefix else "repetition, although all share it"
            self.source.fail(f"the shape of {variable.kind} {name!r} depends on the {cause}", *variable.path)
        return self.tensors[full]

    @property
    def are_given(self) -> bool:
        """Whether the declaration gives the value of every parameter, and there is one."""
        values = [variable.value for variable in self.declared.values() if variable.kind == "parameter"]
        return bool(values) and all(value is not None for value in values)

    def of_kind(self, kind: Kind) -> dict[str, Tensor]:
        """Return the parameters, or the state."""
        return {name: tensor for name, tensor in self.tensors.items() if tensor.kind == kind}

    def trainable(self) -> dict[str, Tensor]:
        """Return the parameters that are not frozen."""
        return {name: x for name, x in self.of_kind("parameter").items() if self.declared[name].trainable}

    def set_trainable(self, names: Iterable[str], trainable: bool) -> None:
        """Let training move the parameters of these names, or not."""
        self.declared |= {name: replace(self.declared[name], trainable=trainable) for name in names}

    def current(self, values: bool) -> dict[tuple[str, ...], Variable]:
        """Return the declared variables by their places in the file: frozen if all of a place are, with ``values`` on request.

        Raises ``ModelError`` for values that a file cannot have: not finite, or different ones for the calls of a block.
        """
        found: dict[tuple[str, ...], Variable] = {}
        for name, variable in self.declared.items():
            value: Any = self.tensors[name].value if values else variable.value
            known = found.get(variable.path, replace(variable, value=value))
            constant = variable.kind == "state" and variable.next is None
            if values and (np.isnan(value) if constant else ~np.isfinite(value)).any():
                raise ModelError(f"{variable.kind} {name!r} holds NaN or infinity, which a model file cannot have")
            if values and not np.array_equal(value, np.asarray(known.value)):
                why = "a file holds one for all calls of its block; model.save(path) writes the values of each"
                raise ModelError(f"{variable.kind} {name!r} has a value of its own: {why}")
            found[variable.path] = replace(known, trainable=known.trainable or variable.trainable)
        return found

    def constant_state(self) -> set[str]:
        """Return the names of the state that never changes, such as a mask."""
        return {name for name, variable in self.declared.items() if variable.kind == "state" and variable.next is None}

    def initialize(self, seed: int) -> None:
        """Draw all values again, from another seed; those that the model file gives are as it gives them."""
        self.seed = seed
        for name, tensor in self.tensors.items():
            tensor.value = self._value(name, tensor.shape, self.declared[name])

    def sort(self, names: list[str]) -> None:
        """Put the variables called ``names`` first, in that order."""
        first = {name: self.tensors[name] for name in names if name in self.tensors}
        self._tensors = first | self.tensors

    def _value(self, name: str, shape: tuple[int, ...], variable: Variable, given: Any = None) -> Any:
        """Return the value of a variable, ``given``, declared or drawn; its memory is taken from the budget first."""
        dtype, what = variable.dtype or self.dtype, f"{variable.kind} {name!r}"
        if variable.value is not None and variable.value.shape != shape:
            found = f"{what} has the shape {shape}, and a value of shape {variable.value.shape}"
            hint = '; init = "constant" fills a shape with one number' if not variable.value.ndim else ""
            self.source.fail(found + hint, *variable.path, "value")
        try:
            check_size(shape, dtype, what)
            charge("bytes of values", math.prod(shape) * dtype.itemsize)
            # Drawn values need no copy, which would double the memory.
            if given is not None:
                return np.array(given)
            if variable.value is not None:
                return cast_array(variable.value, dtype, "its value").copy()
            return initial_value(name, shape, variable.init, variable.options, self.seed, dtype)
        except (BudgetError, DTypeError, MemoryError, ValueError, OverflowError) as error:
            self.source.fail(f"{what} of shape {shape} cannot be made: {error}", *variable.path)

    def _shape(self, scope: Scope, full: str, name: str, variable: Variable) -> tuple[int, ...]:
        being_sized = scope.recorder.being_sized
        if full in being_sized:
            chain = " -> ".join([*being_sized[being_sized.index(full) :], full])
            self.source.fail(f"the sizes of parameters are a cycle: {chain}", *variable.path)
        being_sized.append(full)
        shape = tuple(size if isinstance(size, int) else _size(scope, name, size) for size in variable.shape)
        being_sized.pop()
        return shape


def names_like(patterns: str | Iterable[str], names: Collection[str], owner: str, kind: str) -> list[str]:
    """Return the names that a pattern, or one of several, fits, in their order. ``*`` stands for any letters.

    Raises ``UnknownNameError`` for a pattern that fits none.

    >>> names_like(["R1.*", "W"], ["W", "R1.K1", "R1.B1", "R2.K1"], "model 'net'", "parameter")
    ['W', 'R1.K1', 'R1.B1']
    >>> names_like(["R1"], ["W", "R1.K1"], "model 'net'", "parameter")
    Traceback (most recent call last):
    tinygraph.errors.UnknownNameError: model 'net' has no parameter 'R1'; did you mean 'R1.*'? ...
    """
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) or not isinstance(patterns, Iterable) else patterns:
        fitting = [name for name in names if isinstance(pattern, str) and fnmatch.fnmatchcase(name, pattern)]
        if not fitting:
            is_block = any(name.startswith(f"{pattern}.") for name in names)
            near = f"; did you mean '{pattern}.*'?" if is_block else nearest(str(pattern), names)
            raise UnknownNameError(f"{owner} has no {kind} {pattern!r}{near} (names: {listing(names)})")
        found.update(fitting)
    return [name for name in names if name in found]


def _size(scope: Scope, name: str, statement: Statement) -> int:
    for node in ast.walk(statement.value):
        if isinstance(node, ast.Name) and node.id == name:
            statement.fail(f"the size of {name!r} is read off {name!r} itself")
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
            owner, axis = node.value.value, ast.unparse(node.slice)
            tensor = scope.values.get(owner.id) if isinstance(owner, ast.Name) else None
            if isinstance(tensor, Tensor) and tensor.kind not in ("parameter", "state") and tensor.ndim:
                if axis in ("0", str(-tensor.ndim)):
                    statement.fail(f"{ast.unparse(node)} is the batch size, which a parameter cannot depend on")
    value = evaluate_expression(statement, scope)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        statement.fail(f"a size must be a whole number of at least 1; {ast.unparse(statement.value)!r} gives {value!r}")
    return value


# Initial values

# The number of values drawn at a time.
_PIECE = 1 << 20


@dataclass(frozen=True)
class Initializer:
    """A function that draws a number of initial values, and the names of its options."""

    draw: Callable[..., Array]
    options: tuple[str, ...] = ()


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of inputs and of outputs that a weight connects.

    Matrices are ``(inputs, outputs)``; kernels are ``(outputs, inputs, height, width)``.

    >>> fans((64, 10)), fans((8, 3, 5, 5))
    ((64, 10), (75, 200))
    """
    if len(shape) < 2:
        return max(math.prod(shape), 1), max(math.prod(shape), 1)
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _normal(rng: np.random.Generator, shape: Shape, count: int, mean: float = 0.0, std: float = 0.01) -> Array:
    if std < 0:
        raise ValueError(f"std must not be negative; found {std}")
    return rng.normal(mean, std, count)


def _uniform(rng: np.random.Generator, shape: Shape, count: int, low: float = -0.05, high: float = 0.05) -> Array:
    if low > high:
        raise ValueError(f"low must not be above high; found {low} and {high}")
    return rng.uniform(low, high, count)


def _glorot_uniform(rng: np.random.Generator, shape: Shape, count: int) -> Array:
    """Within ``sqrt(6 / (inputs + outputs))`` of 0. Source: Glorot and Bengio, 2010."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, count)


INITIALIZERS: Mapping[str, Initializer] = {
    "zeros": Initializer(lambda rng, shape, count: np.zeros(count)),
    "ones": Initializer(lambda rng, shape, count: np.ones(count)),
    "constant": Initializer(lambda rng, shape, count, value=0.0: np.full(count, float(value)), ("value",)),
    "normal": Initializer(_normal, ("mean", "std")),
    "uniform": Initializer(_uniform, ("low", "high")),
    # Standard deviation sqrt(2 / inputs). Source: He, Zhang, Ren and Sun, 2015 (arXiv:1502.01852).
    "he_normal": Initializer(lambda rng, shape, count: rng.normal(0.0, math.sqrt(2 / fans(shape)[0]), count)),
    "glorot_uniform": Initializer(_glorot_uniform),
}

# A state may also be an integer: the seed of the random numbers used in training.
STATE_INITIALIZERS: Mapping[str, Initializer] = {
    **INITIALIZERS,
    "seed": Initializer(lambda rng, shape, count: rng.integers(2**62, size=count)),
}


def initial_value(
    name: str, shape: tuple[int, ...], init: str, options: Mapping[str, float], seed: int, dtype: np.dtype[Any]
) -> Array:
    """Return the initial value of the parameter or state called ``name``, the same for the same name and seed.

    >>> initial_value("b", (2,), "constant", {"value": 0.5}, seed=0, dtype=np.dtype("float32"))
    array([0.5, 0.5], dtype=float32)
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    value = np.empty(math.prod(shape), dtype)
    # In pieces: values are drawn in float64, which would take twice the memory of the float32 that are kept.
    for start in range(0, value.size, _PIECE):
        piece = value[start : start + _PIECE]
        with np.errstate(over="ignore"):
            piece[:] = STATE_INITIALIZERS[init].draw(rng, shape, piece.size, **options)
        if not np.isfinite(piece).all():
            raise OverflowError(f"its values are too large for {dtype}")
    return value.reshape(shape)
