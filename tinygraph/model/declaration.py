"""A declared model as data: its tables read and checked, before anything is recorded."""

from __future__ import annotations

import functools
import keyword
import math
import typing
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import AttributeValueError, ShapeError, listing, nearest
from tinygraph.graph.arrays import check_size
from tinygraph.graph.attributes import conform
from tinygraph.model.initializers import INITIALIZERS, STATE_INITIALIZERS, Initializer
from tinygraph.model.parse import Statement, parse_next, parse_size
from tinygraph.model.places import Source, kind_of

Size = int | Statement
# How many samples an array of an input must at least be able to hold.
_SOME = 3
_TABLES = (
    *("name", "title", "dtype", "batch", "weights"),
    *("inputs", "parameters", "state", "blocks", "model", "training"),
)
_DTYPES = (
    *("float32", "float64", "float16", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
)
_OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Input:
    """A declared input: its shape without the batch axis, and its dtype. One that is not ``batched`` is whole as it is.

    >>> Input((1, 8, 8), np.dtype("float32")).batch_shape(32)
    (32, 1, 8, 8)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool = True

    def batch_shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of a batch."""
        return (batch, *self.shape) if self.batched else self.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is a batch, of any size."""
        return shape[1:] == self.shape and len(shape) > 0 if self.batched else shape == self.shape


@dataclass(frozen=True)
class ParameterDeclaration:
    """A declared parameter: sizes (numbers, or statements such as ``f.shape[1]``), an initializer and its options."""

    shape: tuple[Size, ...]
    init: str
    options: dict[str, float]
    path: tuple[str, ...]
    kind: ClassVar[Literal["parameter", "state"]] = "parameter"
    dtype: np.dtype[Any] | None = None

    def reads(self) -> set[str]:
        """Return the names that the sizes speak of."""
        return set().union(*(size.names for size in self.shape if isinstance(size, Statement)))


@dataclass(frozen=True)
class StateDeclaration(ParameterDeclaration):
    """A declared state: as a parameter, but not trained. ``next`` is the expression of its value after a training step."""

    kind: ClassVar[Literal["parameter", "state"]] = "state"
    next: Statement | None = None


@dataclass(frozen=True)
class Equations:
    """Inputs, parameters, state and equations with an output: what a model and a block have in common."""

    inputs: tuple[str, ...]
    parameters: dict[str, ParameterDeclaration]
    text: str
    output: str
    path: tuple[str, ...]
    attributes: dict[str, int | float] = field(default_factory=dict)
    state: dict[str, StateDeclaration] = field(default_factory=dict)

    @functools.cached_property
    def leaves(self) -> dict[str, ParameterDeclaration]:
        """Parameters and state: what keeps its value between recordings."""
        return {**self.parameters, **self.state}


@dataclass(frozen=True)
class Training:
    """How a model is trained when nothing else is said: the ``[training]`` table.

    ``data`` names a built-in data set or a ``.npz`` file, or is ``None``.

    >>> Training().optimizer, Training().batch_size
    ('sgd', 32)
    """

    data: str | None = None
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Declaration:
    """A whole declared model. ``batch`` is the only size of batch that it is for, and ``weights`` the file of its weights."""

    name: str
    title: str
    dtype: np.dtype[Any]
    inputs: dict[str, Input]
    main: Equations
    loss: str | None
    blocks: dict[str, Equations]
    training: Training
    source: Source
    batch: int | None = None
    weights: str | None = None


def declare(tables: Mapping[str, Any], source: Source) -> Declaration:
    """Return the declaration that tables stand for, or raise ``ModelError`` at the first mistake."""
    _only_keys(source, tables, _TABLES)
    dtype = _dtype(source, tables.get("dtype", "float32"), "dtype", known=("float32", "float64"))
    model = _table(source, tables, "model")
    _only_keys(source, model, ("equations", "output", "loss"), "model")
    declared = _table(source, tables, "inputs")
    inputs = {
        _check_name(source, name, ("inputs", name)): _input(source, name, spec, dtype)
        for name, spec in declared.items()
    }
    if not inputs:
        source.fail("a model needs at least one input", "inputs")
    if "loss" not in model:
        source.fail("the loss is missing: name the tensor to train on, or write loss = false for none", "model")
    loss = model["loss"]
    return Declaration(
        name=_text(source, tables, "name", default=source.stem),
        title=_text(source, tables, "title", default=""),
        dtype=dtype,
        inputs=inputs,
        main=_equations(source, tuple(inputs), tables, model, ("model",), ()),
        loss=None if loss is False or loss is None else _text(source, model, "loss", path=("model",)),
        blocks={
            _check_name(source, name, ("blocks", name)): _block(source, name, spec)
            for name, spec in _table(source, tables, "blocks", {}).items()
        },
        training=_training(source, _table(source, tables, "training", {}), dtype),
        source=source,
        batch=_batch(source, tables),
        weights=_weights(source, tables),
    )


def _batch(source: Source, tables: Mapping[str, Any]) -> int | None:
    batch = tables.get("batch")
    if batch is not None and not _is_size(batch):
        source.fail(f"batch must be a whole number of at least 1; found {batch!r}", "batch")
    return batch


def _weights(source: Source, tables: Mapping[str, Any]) -> str | None:
    """Return the name of a file that lies beside the model's: a stranger's model reads no other folder."""
    if tables.get("weights") is None:
        return None
    name = _text(source, tables, "weights")
    if not name or name in (".", "..") or any(character in name for character in "/\\:\0"):
        source.fail(f"weights must be the name of a file in the model's folder; found {name!r}", "weights")
    return name


def _input(source: Source, name: str, spec: Any, dtype: np.dtype[Any]) -> Input:
    path, batched = ("inputs", name), True
    if isinstance(spec, dict):
        _only_keys(source, spec, ("shape", "dtype", "batched"), *path)
        dtype = _dtype(source, spec.get("dtype", dtype.name), *path)
        batched = spec.get("batched", True)
        if not isinstance(batched, bool):
            source.fail(f"input {name!r}: batched is true or false; found {batched!r}", *path)
        spec = spec.get("shape")
    if not isinstance(spec, (list, tuple)) or not all(_is_size(size) for size in spec):
        source.fail(f"input {name!r} needs a shape, a list of sizes without the batch; found {spec!r}", *path)
    declared = Input(tuple(int(size) for size in spec), dtype, batched)
    try:
        check_size(declared.batch_shape(_SOME), dtype, f"input {name!r}")
    except ShapeError as error:
        source.fail(str(error), *path)
    return declared


def _is_size(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and not isinstance(size, bool) and bool(size >= 1)


def _parameter(source: Source, name: str, spec: Any, path: tuple[str, ...]) -> ParameterDeclaration:
    return ParameterDeclaration(*_drawn(source, f"parameter {name!r}", spec, INITIALIZERS, ("shape", "init"), path))


def _state(source: Source, name: str, spec: Any, path: tuple[str, ...]) -> StateDeclaration:
    what, keys = f"state {name!r}", ("shape", "init", "dtype", "next")
    drawn = _drawn(source, what, spec, STATE_INITIALIZERS, keys, path)
    dtype = spec.get("dtype", "int64" if spec["init"] == "seed" else None)
    if dtype is not None:
        dtype = _dtype(source, dtype, *path, known=_DTYPES)
    if spec["init"] == "seed" and dtype != np.int64:
        source.fail(f'{what}: init = "seed" draws whole numbers, so the dtype must be int64', *path)
    following = spec.get("next")
    if following is not None and not isinstance(following, str):
        source.fail(f"{what}: next must be the expression of its value after a step, a text", *path)
    statement = None if following is None else parse_next(following, name, source, source.line(*path))
    return StateDeclaration(*drawn, dtype, statement)


def _drawn(
    source: Source,
    what: str,
    spec: Any,
    initializers: Mapping[str, Initializer],
    keys: tuple[str, ...],
    path: tuple[str, ...],
) -> tuple[tuple[Size, ...], str, dict[str, float], tuple[str, ...]]:
    """Return the sizes, initializer and options of a parameter or state, whose table has the ``keys`` besides options."""
    if not isinstance(spec, Mapping):
        source.fail(f"{what} needs a table such as {_table_for(spec, initializers)}", *path)
    shape, init = spec.get("shape"), spec.get("init")
    if init is None or shape is None:
        every_option = {option for initializer in initializers.values() for option in initializer.options}
        _only_keys(source, spec, (*keys, *sorted(every_option)), *path)
    if not isinstance(shape, (list, tuple)) or not all(isinstance(s, str) or _is_size(s) for s in shape):
        source.fail(f"{what} needs a shape, a list of sizes; found {shape!r}", *path)
    if not isinstance(init, str) or init not in initializers:
        hint = nearest(str(init), initializers)
        source.fail(f"{what} needs init, one of {listing(initializers)}; found {init!r}{hint}", *path)
    options = {key: value for key, value in spec.items() if key not in keys}
    _only_keys(source, spec, (*keys, *initializers[init].options), *path)
    for key, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            source.fail(f"{what}: {key} must be a finite number; found {value!r}", *path)
    line = source.line(*path)
    sizes = tuple(parse_size(s, source.file, line) if isinstance(s, str) else int(s) for s in shape)
    return sizes, init, options, path


def _table_for(spec: Any, initializers: Mapping[str, Initializer]) -> str:
    """Return the table that a shape alone may have been meant for."""
    sizes = list(spec) if isinstance(spec, (list, tuple)) and all(map(_is_size, spec)) else [8]
    init = "glorot_uniform" if len(sizes) > 1 and "glorot_uniform" in initializers else "zeros"
    return f'{{ shape = {sizes}, init = "{init}" }}'


def _equations(
    source: Source,
    inputs: tuple[str, ...],
    tables: Mapping[str, Any],
    table: Mapping[str, Any],
    path: tuple[str, ...],
    within: tuple[str, ...],
    attributes: dict[str, int | float] | None = None,
) -> Equations:
    """Return the equations of ``table``, with the parameters and the state of ``tables``, which stand at ``within``."""
    taken = [("an input", inputs), ("an attribute", attributes or {})]
    leaves: dict[str, dict[str, Any]] = {}
    for key, kind, declare_one in (("parameters", "a parameter", _parameter), ("state", "a state", _state)):
        declared, at = tables.get(key, {}), (*within, key)
        if not isinstance(declared, Mapping):
            source.fail(f"[{'.'.join(at)}] must be a table", *at)
        for name in declared:
            for other, names in taken:
                if name in names:
                    source.fail(f"{name!r} is defined twice: as {other} and as {kind}", *at, name)
        leaves[key] = {
            _check_name(source, name, (*at, name)): declare_one(source, name, spec, (*at, name))
            for name, spec in declared.items()
        }
        taken.append((kind, leaves[key]))
    return Equations(
        inputs,
        leaves["parameters"],
        _text(source, table, "equations", path=path),
        _text(source, table, "output", path=path),
        path,
        attributes or {},
        leaves["state"],
    )


def _block(source: Source, name: str, table: Any) -> Equations:
    path = ("blocks", name)
    if not isinstance(table, Mapping):
        source.fail(f"[blocks.{name}] must be a table", *path)
    _only_keys(source, table, ("inputs", "parameters", "state", "attributes", "equations", "output"), *path)
    inputs = table.get("inputs", [])
    if not isinstance(inputs, (list, tuple)) or not inputs or not all(isinstance(i, str) for i in inputs):
        source.fail(f"block {name!r} needs inputs, a list of names; found {inputs!r}", *path, "inputs")
    for place, given in enumerate(inputs):
        _check_name(source, given, (*path, "inputs"))
        if given in inputs[:place]:
            source.fail(f"block {name!r}: input {given!r} is listed twice", *path, "inputs")
    attributes = table.get("attributes", {})
    if not isinstance(attributes, Mapping) or any(
        isinstance(v, bool) or not isinstance(v, (int, float)) for v in attributes.values()
    ):
        source.fail(f"block {name!r}: attributes must be numbers by name; found {attributes!r}", *path, "attributes")
    for given in attributes:
        _check_name(source, given, (*path, "attributes"))
        if given in inputs:
            source.fail(f"{given!r} is defined twice: as an input and as an attribute", *path, "attributes")
    return _equations(source, tuple(inputs), table, table, path, path, dict(attributes))


def _training(source: Source, table: Mapping[str, Any], dtype: np.dtype[Any]) -> Training:
    kinds = typing.get_type_hints(Training)
    _only_keys(source, table, kinds, "training")
    values: dict[str, Any] = {}
    for name, value in table.items():
        try:
            values[name] = conform("training", name, value, kinds[name])
        except AttributeValueError as error:
            source.fail(str(error), "training", name)
    settings = Training(**values)

    with np.errstate(all="ignore"):
        cast = float(dtype.type(settings.learning_rate))
    rate, momentum, optimizer = settings.learning_rate, settings.momentum, settings.optimizer
    positive = {name: getattr(settings, name) for name in ("epochs", "batch_size", "learning_rate")}
    hint = nearest(optimizer, _OPTIMIZERS)
    for name, wrong, why in (
        *((name, not 0 < value < math.inf, f"must be positive; found {value}") for name, value in positive.items()),
        ("learning_rate", not 0 < cast < math.inf, f"{rate:g} is {cast:g} in {dtype}, the dtype of the model"),
        ("momentum", not 0 <= momentum < 1, f"must lie in 0 to 1, without 1; found {momentum}"),
        ("seed", settings.seed < 0, f"must not be negative; found {settings.seed}"),
        ("optimizer", optimizer not in _OPTIMIZERS, f"must be 'sgd' or 'adam'; found {optimizer!r}{hint}"),
        ("momentum", momentum and optimizer != "sgd", f"is a setting of 'sgd'; optimizer {optimizer!r} takes none"),
    ):
        if wrong:
            source.fail(f"training: {name} {why}", "training", name)
    return settings


def _only_keys(source: Source, table: Mapping[str, Any], known: Iterable[str], *path: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            where = f"[{'.'.join(path)}]" if path else "a model file"
            source.fail(f"{where} has no key {key!r}{nearest(str(key), known)} (keys: {listing(known)})", *path, key)


def _table(source: Source, tables: Mapping[str, Any], name: str, default: Any = None) -> Mapping[str, Any]:
    table = tables.get(name, default)
    if table is None:
        source.fail(f"the table [{name}] is missing", name)
    if not isinstance(table, Mapping):
        source.fail(f"[{name}] must be a table; found {kind_of(table)}", name)
    return table


def _text(
    source: Source, table: Mapping[str, Any], key: str, default: str | None = None, path: tuple[str, ...] = ()
) -> str:
    text = table.get(key, default)
    if text is None:
        source.fail(f"{key} is missing" + (f" in [{'.'.join(path)}]" if path else ""), *path)
    if not isinstance(text, str):
        source.fail(f"{key} must be text; found {kind_of(text)}", *path, key)
    return text


def _dtype(source: Source, name: Any, *path: str, known: tuple[str, ...] = _DTYPES) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in known:
        source.fail(f"dtype must be one of {listing(known)}; found {name!r}{nearest(str(name), known)}", *path)
    return np.dtype(name)


def _check_name(source: Source, name: str, path: tuple[str, ...]) -> str:
    """Return a name in the form in which equations read it."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        source.fail(
            f"{name!r} is not a name: use letters, digits and _, no digit first, and no keyword of Python such as 'for'",
            *path,
        )
    return unicodedata.normalize("NFKC", name)
