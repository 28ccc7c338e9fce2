"""A declared model as data: inputs, parameters, state, equations, and what each name depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tinygraph.graph import OPERATIONS, is_operation
from tinygraph.model.parse import Statement, Text, parse_equations
from tinygraph.model.toml import Source

Size = int | Statement


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
    """A declared parameter or state: its sizes (numbers, or statements such as ``f.shape[1]``) and its initializer.

    A state is not trained; ``next`` is the expression of its value after a training step, ``None`` if it never changes.
    ``path`` is its key in the model file.
    """

    kind: Literal["parameter", "state"]
    shape: tuple[Size, ...]
    init: str
    options: dict[str, float]
    path: tuple[str, ...]
    dtype: np.dtype[Any] | None = None
    next: Statement | None = None


@dataclass(frozen=True)
class Equations:
    """Inputs, variables (parameters, then state) and equations with an output: a model's, or those of a block."""

    inputs: tuple[str, ...]
    variables: dict[str, Variable]
    text: Text
    output: str
    path: tuple[str, ...]
    attributes: dict[str, int | float] = field(default_factory=dict)

    @cached_property
    def statements(self) -> dict[str, Statement]:
        """The parsed equations in their order, by the name that each defines. Raises ``ModelError``."""
        return {statement.target: statement for statement in parse_equations(self.text)}

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
    """A declared model. ``batch`` is the only batch size that it accepts, and ``weights`` the file of its weights."""

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
        statements = self.main.statements
        needed, stack = {target}, [target]
        while stack:
            name = stack.pop()
            new = statements[name].names - needed if name in statements else set()
            needed |= new
            stack += new
        return needed


def dependency_path(start: str, goal: str, statements: Mapping[str, Statement]) -> list[str]:
    """Return a path of names from ``start`` to ``goal`` along what statements read, or an empty list."""
    paths = {start: [start]}
    stack = [start]
    while stack:
        name = stack.pop()
        if name == goal:
            return paths[name]
        for read in sorted(statements[name].names) if name in statements else ():
            if read not in paths:
                paths[read] = [*paths[name], read]
                stack.append(read)
    return []
