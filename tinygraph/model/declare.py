"""From the tables of a model file to its declaration: every key is checked, and errors name its line."""

from __future__ import annotations

import keyword
import math
import typing
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from tinygraph.errors import AttributeValueError, ShapeError, listing, nearest, unknown
from tinygraph.graph import OPERATIONS, check_size, load_operations
from tinygraph.graph.attributes import conform
from tinygraph.model.declaration import Declaration, Equations, Input, Training, Variable
from tinygraph.model.initializers import INITIALIZERS, STATE_INITIALIZERS
from tinygraph.model.parse import Text, parse_expression
from tinygraph.model.toml import Source, kind_of

# An input must at least have room for this many samples.
_LEAST_BATCH = 3
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
class _Table:
    """A table of a model file and its path there."""

    source: Source
    entries: Mapping[str, Any]
    path: tuple[str, ...] = ()

    def fail(self, message: str, *keys: str) -> NoReturn:
        """Raise the ``ModelError`` at a key of this table."""
        self.source.fail(message, *self.path, *keys)

    def check_keys(self, known: Iterable[str]) -> None:
        known = tuple(known)
        for key in self.entries:
            if key not in known:
                where = f"[{'.'.join(self.path)}]" if self.path else "a model file"
                self.fail(unknown(where, "key", key, known), key)

    def table(self, key: str, default: Any = None) -> _Table:
        entries, path = self.entries.get(key, default), (*self.path, key)
        if entries is None:
            self.fail(f"the table [{'.'.join(path)}] is missing", key)
        if not isinstance(entries, Mapping):
            self.fail(f"[{'.'.join(path)}] must be a table; found {kind_of(entries)}", key)
        return _Table(self.source, entries, path)

    def text(self, key: str, default: str | None = None) -> str:
        text = self.entries.get(key, default)
        if text is None:
            self.fail(f"{key} is missing" + (f" in [{'.'.join(self.path)}]" if self.path else ""))
        if not isinstance(text, str):
            self.fail(f"{key} must be text; found {kind_of(text)}", key)
        return text

    def dtype(self, default: str, known: Collection[str] = _DTYPES) -> np.dtype[Any]:
        name = self.entries.get("dtype", default)
        if not isinstance(name, str) or name not in known:
            hint = nearest(str(name), known)
            self.fail(f"dtype must be one of {listing(known)}; found {name!r}{hint}", "dtype")
        return np.dtype(name)

    def name(self, name: Any, *keys: str) -> str:
        """Return a name in the form in which Python's parser reads it in equations."""
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            self.fail(
                f"{name!r} is not a name: use letters, digits and _, no digit first, and no keyword of Python such as 'for'",
                *keys,
            )
        return unicodedata.normalize("NFKC", name)


def declare(tables: Mapping[str, Any], source: Source) -> Declaration:
    """Return the declaration in the tables of a model file. Raises ``ModelError`` at the first mistake."""
    file = _Table(source, tables)
    file.check_keys(_TABLES)
    dtype = file.dtype("float32", known=("float32", "float64"))
    model = file.table("model")
    model.check_keys(("equations", "output", "loss"))
    declared = file.table("inputs")
    inputs = {declared.name(name, name): _input(declared, name, dtype) for name in declared.entries}
    if not inputs:
        file.fail("a model needs at least one input", "inputs")
    if "loss" not in model.entries:
        model.fail("the loss is missing: name the tensor to train on, or write loss = false for none")
    name, title = file.text("name", source.stem), file.text("title", "")
    main = _equations(tuple(inputs), file, model, {})
    loss = None if model.entries["loss"] in (False, None) else model.text("loss")
    blocks = file.table("blocks", {})
    declaration = Declaration(
        name,
        title,
        dtype,
        inputs,
        main,
        loss,
        {blocks.name(name, name): _block(blocks, name) for name in blocks.entries},
        _training(file.table("training", {}), dtype),
        source,
        _batch(file),
        _weights(file),
    )
    for equations in (main, *declaration.blocks.values()):
        # Parsed now, so that mistakes of syntax are found before anything is recorded.
        _ = equations.statements
    load_operations()
    for name in declaration.blocks:
        if name in OPERATIONS:
            blocks.fail(f"block {name!r} has the name of an operation", name)
    return declaration


def _batch(file: _Table) -> int | None:
    batch = file.entries.get("batch")
    if batch is not None and not _is_size(batch):
        file.fail(f"batch must be a whole number of at least 1; found {batch!r}", "batch")
    return batch


def _weights(file: _Table) -> str | None:
    """Return the name of a file in the model's folder: a stranger's model must not read other folders."""
    if file.entries.get("weights") is None:
        return None
    name = file.text("weights")
    if not name or name in (".", "..") or any(character in name for character in "/\\:\0"):
        file.fail(f"weights must be the name of a file in the model's folder; found {name!r}", "weights")
    return name


def _input(inputs: _Table, name: str, dtype: np.dtype[Any]) -> Input:
    sizes, batched = inputs.entries[name], True
    if isinstance(sizes, Mapping):
        table = inputs.table(name)
        table.check_keys(("shape", "dtype", "batched"))
        dtype = table.dtype(dtype.name)
        batched = table.entries.get("batched", True)
        if not isinstance(batched, bool):
            table.fail(f"input {name!r}: batched is true or false; found {batched!r}")
        sizes = table.entries.get("shape")
    if not isinstance(sizes, (list, tuple)) or not all(map(_is_size, sizes)):
        inputs.fail(f"input {name!r} needs a shape, a list of sizes without the batch; found {sizes!r}", name)
    declared = Input(tuple(map(int, sizes)), dtype, batched)
    try:
        check_size(declared.batch_shape(_LEAST_BATCH), dtype, f"input {name!r}")
    except ShapeError as error:
        inputs.fail(str(error), name)
    return declared


def _is_size(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and not isinstance(size, bool) and bool(size >= 1)


def _variable(tables: _Table, name: str, kind: Literal["parameter", "state"]) -> Variable:
    state = kind == "state"
    initializers = STATE_INITIALIZERS if state else INITIALIZERS
    keys = ("shape", "init", "dtype", "next") if state else ("shape", "init")
    what, spec = f"{kind} {name!r}", tables.entries[name]
    if not isinstance(spec, Mapping):
        # A list of sizes was probably meant as the shape.
        sizes = list(spec) if isinstance(spec, (list, tuple)) and all(map(_is_size, spec)) else [8]
        example = "glorot_uniform" if len(sizes) > 1 else "zeros"
        tables.fail(f'{what} needs a table such as {{ shape = {sizes}, init = "{example}" }}', name)
    table = tables.table(name)
    shape, init = spec.get("shape"), spec.get("init")
    if init is None or shape is None:
        table.check_keys((*keys, *sorted({option for each in initializers.values() for option in each.options})))
    if not isinstance(shape, (list, tuple)) or not all(isinstance(size, str) or _is_size(size) for size in shape):
        table.fail(f"{what} needs a shape, a list of sizes; found {shape!r}")
    if not isinstance(init, str) or init not in initializers:
        hint = nearest(str(init), initializers)
        table.fail(f"{what} needs init, one of {listing(initializers)}; found {init!r}{hint}")
    table.check_keys((*keys, *initializers[init].options))
    options = {key: value for key, value in spec.items() if key not in keys}
    for key, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            table.fail(f"{what}: {key} must be a finite number; found {value!r}")
    line = table.source.line(*table.path)
    parsed = tuple(
        parse_expression(size, "size", "a size", table.source, line) if isinstance(size, str) else int(size)
        for size in shape
    )
    if not state:
        return Variable(kind, parsed, init, options, table.path)
    dtype = table.dtype("int64") if init == "seed" or spec.get("dtype") is not None else None
    following = spec.get("next")
    if init == "seed" and dtype != np.int64:
        table.fail(f'{what}: init = "seed" draws whole numbers, so the dtype must be int64')
    if following is not None and not isinstance(following, str):
        table.fail(f"{what}: next must be the expression of its value after a step, a text")
    statement = None if following is None else parse_expression(following, name, "an expression", table.source, line)
    return Variable(kind, parsed, init, options, table.path, dtype, statement)


def _equations(inputs: tuple[str, ...], tables: _Table, table: _Table, attributes: dict[str, int | float]) -> Equations:
    """Return the equations of ``table``, with the parameters and the state that ``tables`` contain."""
    taken: dict[str, Collection[str]] = {"an input": inputs, "an attribute": attributes}
    variables: dict[str, Variable] = {}
    kinds: tuple[tuple[str, Literal["parameter", "state"]], ...] = (("parameters", "parameter"), ("state", "state"))
    for key, kind in kinds:
        declared = tables.table(key, {})
        for name in declared.entries:
            for other, names in taken.items():
                if name in names:
                    declared.fail(f"{name!r} is defined twice: as {other} and as a {kind}", name)
        made = {declared.name(name, name): _variable(declared, name, kind) for name in declared.entries}
        taken[f"a {kind}"] = made
        variables |= made
    source, path = table.source, table.path
    text = Text(table.text("equations"), source, *source.text_start(*path, "equations"))
    return Equations(inputs, variables, text, table.text("output"), path, attributes)


def _block(blocks: _Table, name: str) -> Equations:
    table = blocks.table(name)
    table.check_keys(("inputs", "parameters", "state", "attributes", "equations", "output"))
    inputs = table.entries.get("inputs", [])
    if not isinstance(inputs, (list, tuple)) or not inputs or not all(isinstance(i, str) for i in inputs):
        table.fail(f"block {name!r} needs inputs, a list of names; found {inputs!r}", "inputs")
    for place, given in enumerate(inputs):
        table.name(given, "inputs")
        if given in inputs[:place]:
            table.fail(f"block {name!r}: input {given!r} is listed twice", "inputs")
    attributes = table.entries.get("attributes", {})
    if not isinstance(attributes, Mapping) or any(
        isinstance(v, bool) or not isinstance(v, (int, float)) for v in attributes.values()
    ):
        table.fail(f"block {name!r}: attributes must be numbers by name; found {attributes!r}", "attributes")
    for given in attributes:
        table.name(given, "attributes")
        if given in inputs:
            table.fail(f"{given!r} is defined twice: as an input and as an attribute", "attributes")
    return _equations(tuple(inputs), table, table, dict(attributes))


def _training(table: _Table, dtype: np.dtype[Any]) -> Training:
    kinds = typing.get_type_hints(Training)
    table.check_keys(kinds)
    values: dict[str, Any] = {}
    for name, value in table.entries.items():
        try:
            values[name] = conform("training", name, value, kinds[name])
        except AttributeValueError as error:
            table.fail(str(error), name)
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
            table.fail(f"training: {name} {why}", name)
    return settings
