"""A declared model as data, and how it is made from the tables of a model file: every key is checked, errors name its line."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tinygraph.errors import AttributeValueError, ShapeError
from tinygraph.graph import OPERATIONS, Array, check_size, conform, is_operation
from tinygraph.graph.registry import load_operations
from tinygraph.model.given import array_in, sample_in
from tinygraph.model.parse import Statement, Text, parse_equations, parse_expression
from tinygraph.model.toml import Source, Table, are_names, copied, is_list, is_number, is_size
from tinygraph.model.variables import INITIALIZERS, STATE_INITIALIZERS

# An input must at least have room for this many samples.
_LEAST_BATCH = 3
_TABLES = (
    *("name", "title", "dtype", "batch", "weights"),
    *("inputs", "parameters", "state", "blocks", "model", "training", "sample"),
    *("names", "groups"),
)

# What a history has for each epoch next to the metric.
_COLUMNS = ("epoch", "loss", "test_loss", "seconds")

Kind = Literal["parameter", "state"]


@dataclass(frozen=True)
class Input:
    """A declared input: its dtype, and its shape without the batch axis. An input that is not ``batched`` has none.

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
class Variable:
    """A declared parameter or state: its sizes (numbers, or statements such as ``f.shape[1]``) and its initializer or value.

    A state is not trained; ``next`` is the expression of its value after a training step, ``None`` if it never changes.
    ``path`` is its key in the model file. Where there is a ``value``, ``init`` is empty. A parameter that is not ``trainable``
    keeps its value in training.
    """

    kind: Kind
    shape: tuple[int | Statement, ...]
    init: str
    options: dict[str, float]
    path: tuple[str, ...]
    dtype: np.dtype[Any] | None = None
    next: Statement | None = None
    value: Array | None = field(default=None, compare=False)
    trainable: bool = True


@dataclass(frozen=True)
class Equations:
    """Inputs, variables (parameters, then state) and equations with an output: a model's, or those of a block."""

    inputs: tuple[str, ...]
    variables: dict[str, Variable]
    text: Text
    outputs: tuple[str, ...]
    path: tuple[str, ...]
    attributes: dict[str, int | float] = field(default_factory=dict)

    @cached_property
    def statements(self) -> dict[str, Statement]:
        """The parsed equations in their order, by the name that each defines. Raises ``ModelError``."""
        return {name: statement for statement in parse_equations(self.text) for name in statement.targets}

    @cached_property
    def reads(self) -> set[str]:
        """The names that the equations, the sizes of variables, and the next values of the state read."""
        variables = self.variables.values()
        sizes = [size for variable in variables for size in variable.shape if isinstance(size, Statement)]
        following = [variable.next for variable in variables if variable.next is not None]
        return set().union(*(statement.names for statement in [*self.statements.values(), *sizes, *following]))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived: syntax trees may be nested too deeply to be copied or pickled."""
        return {key: value for key, value in self.__dict__.items() if key not in ("statements", "reads")}


@dataclass(frozen=True)
class Training:
    """The ``[training]`` table: how a model is trained by default.

    ``data`` names a built-in data set, a file or a folder, or is ``None``; so are ``validation``, other data to test on, and
    ``test_fraction``, how much is drawn for the test. ``label`` is the column of the labels in a table.
    The settings of the optimizer are those of ``tg.train.make_optimizer``: what is ``None`` has the optimizer's default, and
    ``warmup`` is a number of steps.

    >>> Training().optimizer, Training().batch_size
    ('sgd', 32)
    """

    data: str | None = None
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float | None = None
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    momentum: float = 0.0
    weight_decay: float | None = None
    clip_norm: float | None = None
    schedule: Literal["constant", "step", "cosine"] = "constant"
    warmup: int = 0
    seed: int = 0
    label: str | None = None
    test_fraction: float | None = None
    validation: str | None = None


@dataclass(frozen=True)
class Declaration:
    """A declared model. ``batch`` is the only batch size that it accepts, and ``weights`` the file of its weights.

    ``metric`` names the equation that says how good the model is, where the loss does not say it by a decision.
    ``sample`` has values for its inputs, with their batch axis, or is empty. ``names`` are what tensors are called in the file
    that a model was made from, and ``groups`` the modules, with dots between nested ones, in which equations and variables
    are. ``tables`` are those that it was made from.
    """

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
    sample: Mapping[str, Array] = field(default_factory=dict, compare=False)
    names: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    tables: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def has_modes(self) -> bool:
        """Whether training differs from prediction: a state changes, or an operation has an attribute ``training``."""
        every = [self.main, *self.blocks.values()]
        if any(variable.next is not None for equations in every for variable in equations.variables.values()):
            return True
        called = set().union(*(s.calls for equations in every for s in equations.statements.values()))
        return any(is_operation(name) and "training" in OPERATIONS[name].attribute_names for name in called)

    def needed_for(self, target: str) -> set[str]:
        """Return the names of the main equations, inputs and variables that ``target`` is computed from, and itself."""
        return set(_readers(target, self.main.statements))


def dependency_path(start: str, goal: str, statements: Mapping[str, Statement]) -> list[str]:
    """Return a path of names from ``start`` to ``goal`` along what statements read, or an empty list."""
    readers = _readers(start, statements)
    path = [goal] if goal in readers else []
    while path and path[-1] != start:
        path.append(readers[path[-1]])
    return path[::-1]


def _readers(start: str, statements: Mapping[str, Statement]) -> dict[str, str]:
    """Return every name that ``start`` is computed from, and itself, with a name whose statement reads it."""
    readers, stack = {start: ""}, [start]
    while stack:
        name = stack.pop()
        read = sorted(statements[name].names - readers.keys()) if name in statements else []
        readers |= dict.fromkeys(read, name)
        stack += read
    return readers


def declare(tables: Mapping[str, Any], source: Source) -> Declaration:
    """Return the declaration in the tables of a model file. Raises ``ModelError`` at the first mistake."""
    file = Table(source, tables)
    file.check_keys(_TABLES)
    dtype = file.dtype("float32", known=("float32", "float64"))
    model = file.table("model")
    model.check_keys(("equations", "output", "loss", "metric"))
    declared = file.table("inputs")
    inputs = {declared.name(name, name): _input(declared, name, dtype) for name in declared.entries}
    if not inputs:
        file.fail("a model needs at least one input", "inputs")
    if "loss" not in model.entries:
        model.fail("the loss is missing: name the tensor to train on, or write loss = false for none")
    name, title = file.text("name", source.stem), file.text("title", "")
    main = _equations(tuple(inputs), file, model, {})
    loss = None if model.entries["loss"] in (False, None) else model.text("loss")
    metric = None if model.entries.get("metric") is None else model.text("metric")
    if metric is not None and metric in (loss, *_COLUMNS):
        model.fail(f"the metric cannot be {metric!r}, which the history of a training has anyway", "metric")
    table = file.table("blocks", {})
    blocks = {table.name(name, name): _block(table, name) for name in table.entries}
    training = _training(file.table("training", {}), dtype)
    batch = file.value("batch", lambda n: n is None or is_size(n), "batch must be a whole number of at least 1")
    weights = None if file.entries.get("weights") is None else file.text("weights")
    # A stranger's model must not read other folders.
    if weights in ("", ".", "..") or not set("/\\:\0").isdisjoint(weights or ""):
        file.fail(f"weights must be the name of a file in the model's folder; found {weights!r}", "weights")
    for equations in (main, *blocks.values()):
        # Parsed now, so that mistakes of syntax are found before anything is recorded.
        _ = equations.statements
    load_operations()
    for block in blocks:
        if block in (*OPERATIONS, "each"):
            table.fail(f"block {block!r} has the name of an operation", block)
    sample = sample_in(file.table("sample", {}), inputs, batch)
    names, groups = (
        _texts(file.table(key, {}), [*inputs, *main.variables, *main.statements]) for key in ("names", "groups")
    )
    rest = (blocks, training, source, batch, weights, sample, names, groups, metric, copied(tables))
    return Declaration(name, title, dtype, inputs, main, loss, *rest)


def _texts(table: Table, known: Sequence[str]) -> dict[str, str]:
    """Return the texts of a table, each for an input, a variable or an equation of the model."""
    table.check_keys(known)
    return {name: table.text(name) for name in table.entries}


def _input(inputs: Table, name: str, dtype: np.dtype[Any]) -> Input:
    sizes, batched, what = inputs.entries[name], True, f"input {name!r}"
    if isinstance(sizes, Mapping):
        table = inputs.table(name)
        table.check_keys(("shape", "dtype", "batched"))
        dtype, sizes = table.dtype(dtype.name), table.entries.get("shape")
        batched = table.value("batched", lambda b: isinstance(b, bool), f"{what}: batched is true or false", True)
    if not is_list(sizes, is_size):
        inputs.fail(f"{what} needs a shape, a list of sizes without the batch; found {sizes!r}", name)
    declared = Input(tuple(map(int, sizes)), dtype, batched)
    try:
        check_size(declared.batch_shape(_LEAST_BATCH), dtype, what)
    except ShapeError as error:
        inputs.fail(str(error), name)
    return declared


def _variable(tables: Table, name: str, kind: Kind) -> Variable:
    state = kind == "state"
    initializers = STATE_INITIALIZERS if state else INITIALIZERS
    keys = ("shape", "init", "dtype", "next") if state else ("shape", "init", "trainable")
    what, spec = f"{kind} {name!r}", tables.entries[name]
    if not isinstance(spec, Mapping):
        # A list of sizes was probably meant as the shape.
        sizes = list(spec) if is_list(spec, is_size) else [8]
        example = "glorot_uniform" if len(sizes) > 1 else "zeros"
        tables.fail(f'{what} needs a table: {{ shape = {sizes}, init = "{example}" }}, or {{ value = ... }}', name)
    table, value, init = tables.table(name), None, spec.get("init")
    known = {option for each in initializers.values() for option in each.options}
    if "value" in spec and (init is None or isinstance(spec["value"], (list, tuple, np.ndarray)) or init != "constant"):
        if init is not None:
            table.fail(f"{what} has a value and init = {init!r}: leave one of them out", "value")
        value = array_in(table, "value", what, infinities=state and spec.get("next") is None)
        keys, known = (*keys, "value"), set()
    if init is None or spec.get("shape") is None:
        table.check_keys((*keys, *sorted(known)))
    shape = None if value is None else value.shape
    needs = f"{what} needs a shape, a list of sizes" + ("" if "shape" in spec else ", or a value")
    shape = table.value("shape", lambda s: is_list(s, lambda n: isinstance(n, str) or is_size(n)), needs, shape)
    init = "" if value is not None else table.choice("init", initializers, f"{what} needs init,")
    table.check_keys((*keys, *(initializers[init].options if init else ())))
    options = {key: value for key, value in spec.items() if key not in keys}
    for key in options:
        table.value(key, lambda n: is_number(n) and abs(n) < 1e300, f"{what}: {key} must be a finite number")

    def parsed(text: str, target: str, form: str) -> Statement:
        return parse_expression(text, target, form, table.source, table.source.line(*table.path))

    parts = tuple(parsed(size, "size", "a size") if isinstance(size, str) else int(size) for size in shape)
    if not state:
        trained = table.value("trainable", lambda t: isinstance(t, bool), f"{what}: trainable is true or false", True)
        return Variable(kind, parts, init, options, table.path, value=value, trainable=trained)
    dtype = table.dtype("int64") if init == "seed" or spec.get("dtype") is not None else None
    following = spec.get("next")
    if init == "seed" and dtype != np.int64:
        table.fail(f'{what}: init = "seed" draws whole numbers, so the dtype must be int64')
    if following is not None and not isinstance(following, str):
        table.fail(f"{what}: next must be the expression of its value after a step, a text")
    statement = None if following is None else parsed(following, name, "an expression")
    return Variable(kind, parts, init, options, table.path, dtype, statement, value)


def _equations(
    inputs: tuple[str, ...], tables: Table, table: Table, attributes: dict[str, int | float], several: bool = False
) -> Equations:
    """Return the equations of ``table``, with the parameters and the state that ``tables`` contain.

    The output is a name or, where there may be ``several``, a list of names.
    """
    taken = dict.fromkeys(inputs, "an input") | dict.fromkeys(attributes, "an attribute")
    variables: dict[str, Variable] = {}
    kinds: dict[str, Kind] = {"parameters": "parameter", "state": "state"}
    for key, kind in kinds.items():
        declared = tables.table(key, {})
        for name in declared.entries:
            if name in taken:
                declared.fail(f"{name!r} is defined twice: as {taken[name]} and as a {kind}", name)
        made = {declared.name(name, name): _variable(declared, name, kind) for name in declared.entries}
        taken |= dict.fromkeys(made, f"a {kind}")
        variables |= made
    text = Text(table.text("equations"), table.source, *table.source.text_start(*table.path, "equations"))
    output = table.entries.get("output")
    if several and isinstance(output, (list, tuple)):
        outputs = tuple(table.value("output", are_names, "output must be a name or a list of names"))
    else:
        outputs = (table.text("output"),)
    return Equations(inputs, variables, text, outputs, table.path, attributes)


def _block(blocks: Table, name: str) -> Equations:
    table, what = blocks.table(name), f"block {name!r}"
    table.check_keys(("inputs", "parameters", "state", "attributes", "equations", "output"))
    inputs = table.value("inputs", are_names, f"{what} needs inputs, a list of names", [])
    for place, given in enumerate(inputs):
        table.name(given, "inputs")
        if given in inputs[:place]:
            table.fail(f"{what}: input {given!r} is listed twice", "inputs")
    attributes = table.value(
        "attributes",
        lambda a: isinstance(a, Mapping) and is_list([*a.values()], is_number),
        f"{what}: attributes must be numbers by name",
        {},
    )
    for given in attributes:
        table.name(given, "attributes")
        if given in inputs:
            table.fail(f"{given!r} is defined twice: as an input and as an attribute", "attributes")
        if given in ("times", "shared"):
            table.fail(
                f"{given!r} is said in a call, to repeat the block; the attribute needs another name", "attributes"
            )
    return _equations(tuple(inputs), table, table, dict(attributes), several=True)


def _training(table: Table, dtype: np.dtype[Any]) -> Training:
    kinds = typing.get_type_hints(Training)
    table.check_keys(kinds)
    values: dict[str, Any] = {}
    for name, value in table.entries.items():
        try:
            values[name] = conform("training", name, value, kinds[name])
        except AttributeValueError as error:
            table.fail(str(error), name)
    settings = Training(**values)
    rate, momentum, optimizer = values.get("learning_rate", 0.1), settings.momentum, settings.optimizer
    with np.errstate(all="ignore"):
        cast = float(dtype.type(rate))
    fraction = settings.test_fraction or 0.0
    positive = {name: values.get(name, 1) for name in ("epochs", "batch_size", "learning_rate", "clip_norm")}
    without = f"is a setting of 'sgd' and 'rmsprop'; optimizer {optimizer!r} takes none"
    for name, wrong, why in (
        *((name, not 0 < value < math.inf, f"must be positive; found {value}") for name, value in positive.items()),
        ("learning_rate", not 0 < cast < math.inf, f"{rate:g} is {cast:g} in {dtype}, the dtype of the model"),
        ("momentum", not 0 <= momentum < 1, f"must lie in 0 to 1, without 1; found {momentum}"),
        ("test_fraction", not 0 <= fraction < 1, f"must lie in 0 to 1, without 1; found {fraction}"),
        ("test_fraction", fraction and settings.validation, "and validation exclude each other"),
        *(
            (name, not 0 <= values.get(name, 0) < math.inf, f"must not be negative; found {values.get(name)}")
            for name in ("seed", "weight_decay", "warmup")
        ),
        ("momentum", momentum and optimizer not in ("sgd", "rmsprop"), without),
    ):
        if wrong:
            table.fail(f"training: {name} {why}", name)
    return settings
