"""A declared model with its parameters, recorded as a graph for any batch size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from tinygraph.errors import DataError, WeightsError, listing
from tinygraph.files import as_path
from tinygraph.graph import Array, Graph, Tensor, current, integer, opening
from tinygraph.graph.graph import NamedTensors
from tinygraph.graph.tensor import input as declare_input
from tinygraph.locks import Recent
from tinygraph.model.declaration import Declaration, Input, declare
from tinygraph.model.recorder import Recording, record
from tinygraph.model.toml import Source, read_toml
from tinygraph.model.values import check_names, fitted, leaves_for
from tinygraph.model.variables import Variables, names_like
from tinygraph.model.weights import load_weights, save_weights
from tinygraph.model.writer import text_of
from tinygraph.readers import notebook_view, reader

if TYPE_CHECKING:
    from tinygraph.engines import Choice
    from tinygraph.engines.plan import Plan
    from tinygraph.train.optimizers import Optimizer
    from tinygraph.train.step import CompiledStep

MOST_RECORDINGS = 8


class Model:
    """A model declared as equations, with its parameters.

    The arguments are the tables of a model file. ``inputs`` gives shapes without the batch; ``parameters`` gives shapes
    and initializers, or values, as in ``{"b": {"value": [0.5, 1]}}``; a size is a number or a text such as
    ``"f.shape[1]"``. ``equations`` are parsed, never executed, and may call registered operations and the ``blocks``;
    ``output`` and ``loss`` name tensors, ``metric`` an equation whose mean says how good the model is: it replaces the accuracy
    in histories. ``state`` declares tensors that are kept but not trained, with the expression of
    their ``next`` value. ``sample`` gives values of inputs, with or without a batch axis, for pictures, notes and checks.
    ``dtype`` is that of the parameters. Raises ``ModelError`` with line, column and equation.

    Its attributes are ``name``, ``title`` (one line about it, or an empty text), ``output``, ``loss`` and ``metric`` (the names
    of the tensors; the last two may be ``None``), ``batch`` (the only batch size that it accepts, ``None`` if it accepts any),
    ``training`` (the default settings of training), ``sample`` (the values that the declaration gives for inputs, by name, with
    their batch axis; empty where it gives none), ``has_modes`` (whether training differs from prediction: an operation
    depends on the mode, or a state changes) and ``classes`` (the names of the classes in the order of their numbers, which
    ``tg.fit`` takes from its data and the file of the weights keeps; empty where there are none).

    >>> import numpy as np
    >>> model = Model(
    ...     inputs={"x": [3], "y": [1]},
    ...     parameters={"W": {"shape": ["x.shape[1]", 1], "init": "he_normal"}, "b": {"shape": [1], "init": "zeros"}},
    ...     equations="Z = x @ W + b\\na = sigmoid(Z)\\ncost = bce(a, y)",
    ...     output="a",
    ...     loss="cost",
    ... )
    >>> print(model)
    x     input                float32 (m, 3)
    y     input                float32 (m, 1)
    W     parameter            float32 (3, 1)    3
    b     parameter            float32 (1,)      1
    Z     = x @ W + b          float32 (m, 1)
    a     = sigmoid(Z)         float32 (m, 1)
    cost  = bce(a, y)          float32 ()
                               parameters        4
    >>> model.predict(np.ones((2, 3))).shape
    (2, 1)
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        equations: str,
        output: str,
        loss: str | None = None,
        *,
        metric: str | None = None,
        name: str = "model",
        title: str = "",
        state: Mapping[str, Any] | None = None,
        blocks: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        sample: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        tables: dict[str, Any] = {"name": name, "title": title, "dtype": dtype}
        tables |= {"inputs": inputs, "parameters": parameters, "state": state or {}, "blocks": blocks or {}}
        tables["model"] = {"equations": equations, "output": output, "loss": False if loss is None else loss}
        tables["model"]["metric"] = metric
        tables |= {"training": training or {}, "sample": sample or {}}
        self._build(declare(tables, Source()), None, seed)

    @classmethod
    def from_toml(cls, text: str, path: str | os.PathLike[str] | None = None, seed: int | None = None) -> Model:
        """Return the model that a TOML text declares; ``path`` is the file that errors name.

        >>> Model.from_toml("name = 'net'")
        Traceback (most recent call last):
        tinygraph.errors.ModelError: model:1: the table [model] is missing
        """
        with opening(len(str(text))):
            tables, source = read_toml(text, None if path is None else str(path))
            return cls._of(declare(tables, source), None if path is None else as_path(path), seed)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], values: Mapping[str, Any]) -> Model:
        """Return the model that the tables of a model file declare, with values for parameters and state by name."""
        return cls._of(declare(tables, Source()), None, None, values)

    @classmethod
    def _of(cls, *args: Any) -> Model:
        model = cls.__new__(cls)
        model._build(*args)
        return model

    def _build(
        self, declaration: Declaration, path: Path | None, seed: int | None, values: Any = None, trainable: Any = None
    ) -> None:
        self.declaration, self.path = declaration, path
        self.name, self.title, self.training = declaration.name, declaration.title, declaration.training
        self.output, self.loss, self.batch = declaration.main.outputs[0], declaration.loss, declaration.batch
        self.metric = declaration.metric
        self.has_modes, self.sample = declaration.has_modes, MappingProxyType(dict(declaration.sample))
        weights = None if declaration.weights is None else Path(path or "").parent / declaration.weights
        if weights is not None and (budget := current()) is not None:
            with contextlib.suppress(OSError):
                budget.allow(weights.stat())
        first_seed = declaration.training.seed if seed is None else integer("seed", seed, least=0)
        self._variables = Variables(declaration.source, first_seed, declaration.dtype, values)
        self._recordings = Recent[tuple[int, bool], Recording](MOST_RECORDINGS)
        # With two samples and with three: a model must work for more than one batch size.
        for training in (False, True):
            for batch in (2, 3) if self.batch is None else (self.batch,):
                self.record(batch, training)
        self._variables.sort(list(declaration.main.variables))
        if trainable is not None:
            self.freeze()
            self._variables.set_trainable(trainable, True)
        needed = self.declaration.needed_for(self.output)
        self.features = tuple(name for name in self.inputs if name in needed)
        self.classes: tuple[str, ...] = ()
        self.weighted = values is not None or declaration.weights is not None or self._variables.are_given
        self.labels = tuple(name for name in self.inputs if name not in needed)
        if weights is not None and values is None:
            self.load(weights)

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The declared inputs by name."""
        return MappingProxyType(self.declaration.inputs)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters by name, in the order of their declaration; those of blocks follow, as ``R1.K1``."""
        return NamedTensors(self._variables.of_kind("parameter"))

    @property
    def trainable(self) -> Mapping[str, Tensor]:
        """The parameters that training moves, by name: those that are not frozen."""
        return NamedTensors(self._variables.trainable())

    def freeze(self, *patterns: str) -> None:
        """Keep parameters as they are in training: those whose names fit one of the patterns, or all without a pattern.

        In a pattern ``*`` stands for any letters, as in ``"encoder.*"``. Training steps compute no gradients of frozen
        parameters; the model's state, such as a running mean, still changes. It holds for trainings and compiled steps that
        begin later. Raises ``UnknownNameError`` for a pattern that fits no parameter; then nothing has changed.

        >>> import tinygraph as tg
        >>> model = tg.load_model("residual")
        >>> model.freeze("R1.*", "K0")
        >>> list(model.trainable)
        ['B0', 'W', 'B', 'R2.K1', 'R2.B1', 'R2.K2', 'R2.B2']
        """
        self._variables.set_trainable(self._parameters_like(patterns), False)

    def unfreeze(self, *patterns: str) -> None:
        """Let training move parameters again: those whose names fit one of the patterns, or all; see ``freeze``.

        >>> import tinygraph as tg
        >>> model = tg.load_model("xor")
        >>> model.freeze()
        >>> model.unfreeze("B*")
        >>> list(model.trainable)
        ['B1', 'B2']
        """
        self._variables.set_trainable(self._parameters_like(patterns), True)

    def _parameters_like(self, patterns: tuple[str, ...]) -> list[str]:
        return names_like(patterns or "*", self.parameters, f"model {self.name!r}", "parameter")

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The state by name, in the order of its declaration; that of blocks follows, as ``R1.mean``."""
        return NamedTensors(self._variables.of_kind("state"))

    @property
    def seed(self) -> int:
        """The seed that the parameters were last drawn from."""
        return self._variables.seed

    def record(self, batch: int | None = None, training: bool = False) -> Recording:
        """Return the model recorded with shapes for ``batch`` samples; for each size and mode it is recorded once.

        Dropout, batch normalization and state differ in ``training``. Without ``batch``, a size is used that the model accepts.

        >>> import tinygraph as tg
        >>> list(tg.load_model("notes_cnn_norm").record(2, training=True).new_state)
        ['M1', 'V1', 'M2', 'V2', 'chance']
        """
        batch = integer("batch", (self.batch or 2) if batch is None else batch)
        key = (batch, bool(training) and self.has_modes)
        self._variables.settle()
        return self._recordings.of(key, lambda: self.record_again(batch, training=key[1]))

    def record_again(self, batch: int, *, training: bool = False, partial: bool = False) -> Recording:
        """Return a new recording for ``batch`` samples; a ``partial`` one has no loss."""
        self.check_batch(batch)
        leaves = {name: declare_input(name, i.batch_shape(batch), i.dtype) for name, i in self.inputs.items()}
        only = self.declaration.needed_for(self.output) if partial else None
        with opening():
            return record(self.declaration, self._variables, leaves, only, training)

    def check_batch(self, count: int) -> None:
        """Raise ``DataError`` for a batch of another size than the only one that the model accepts."""
        if self.batch and count != self.batch:
            raise DataError(f"model {self.name!r} is for batches of {self.batch} samples only; found {count}")

    def graph(self, batch: int) -> Graph:
        """Return the graph of output and loss, with the metric between them, for ``batch`` samples, as in prediction.

        >>> import tinygraph as tg
        >>> list(tg.load_model("xor").graph(4).inputs)
        ['x', 'y']
        """
        return self.record(integer("batch", batch)).graph

    def trace(self, feeds: Mapping[str, Any], training: bool = False) -> Recording:
        """Return the model recorded on values, so that each of its tensors has a value.

        Without values for the labels, only the output is recorded. Raises ``DataError``.

        >>> import tinygraph as tg
        >>> recording = tg.load_model("xor").trace({"x": [[0.0, 1.0]], "y": [[1.0]]})
        >>> recording.loss.has_value
        True
        """
        leaves = leaves_for(self.declaration, feeds, self.features)
        complete = all(name in leaves for name in self.inputs)
        only = None if complete else self.declaration.needed_for(self.output)
        return record(self.declaration, self._variables, leaves, only, training)

    def fitted(self, name: str, value: Any) -> Array:
        """Return ``value`` as a batch of the input called ``name``, or raise ``DataError`` or ``DTypeError``."""
        return fitted(self.declaration, name, value)

    def __call__(self, *features: Any) -> Tensor:
        """Return the output for a batch, recorded on values; arguments are the inputs that the output depends on.

        >>> import tinygraph as tg
        >>> tg.load_model("xor")([[0.0, 1.0]]).shape
        (1, 1)
        """
        return self.trace(self._by_name(features)).output

    def predict(self, *features: Any, batch_size: int = 256, compiled: bool = True, **on: Unpack[Choice]) -> Array:
        """Return the outputs for arrays of samples, evaluated ``batch_size`` at a time. Raises ``DataError``.

        The arrays are given in the order of the inputs that the output depends on, or as one mapping by name. If the output
        of a sample depends on others or on their number, all are evaluated together, regardless of ``batch_size``. The
        engine is chosen as for ``tg.compile``; with ``compiled=False``, plain evaluation gives the same results, to rounding.

        >>> import tinygraph as tg
        >>> tg.load_model("xor").predict([[0.0, 1.0], [1.0, 1.0]]).shape
        (2, 1)
        """
        samples = self._by_name(features)
        return cast(Array, reader("predicted")(self, samples, integer("batch_size", batch_size), compiled, on))

    def plan_for(self, batch: int, of: Literal["output", "graph"] = "graph", **on: Unpack[Choice]) -> Plan:
        """Return the plan for ``batch`` samples: of the output, or of the graph of output and loss. It is compiled once.

        >>> import tinygraph as tg
        >>> tg.load_model("xor").plan_for(4).batch_size
        4
        """
        return cast("Plan", reader("plan_for")(self, batch, of, on))

    def compile_step(
        self, optimizer: Optimizer | str | None, batch_size: int, threads: int | None = None, **on: Unpack[Choice]
    ) -> CompiledStep:
        """Return a function that does training steps: forward pass, backward pass and update, compiled together.

        ``output, loss = step(feeds)``; see ``CompiledStep``. ``optimizer`` is given as for ``tg.fit``, the others as for
        ``tg.compile``. With ``engine="xla"`` new values are in the model after ``step.pull()``. Raises ``TrainingError`` for
        a model without a loss, ``AttributeValueError`` for sizes that are not positive integers.

        >>> import tinygraph as tg
        >>> step = tg.load_model("xor").compile_step(tg.SGD(0.5), batch_size=4)
        >>> step({"x": [[0.0, 1.0]] * 4, "y": [[1.0]] * 4})[0].shape
        (4, 1)
        """
        return cast("CompiledStep", reader("step_on")(self, optimizer, batch_size, threads, **on))

    def _by_name(self, features: tuple[Any, ...]) -> dict[str, Any]:
        if len(features) == 1 and isinstance(features[0], Mapping):
            check_names(self.declaration, features[0], self.features)
            return {name: features[0][name] for name in self.features}
        if len(features) != len(self.features):
            raise DataError(f"model {self.name!r} takes {listing(self.features)}; found {len(features)} arrays")
        return dict(zip(self.features, features, strict=True))

    def initialize(self, seed: int | None = None) -> None:
        """Draw all parameters and the state again, from ``seed`` or the model's own.

        >>> import tinygraph as tg
        >>> model = tg.load_model("xor")
        >>> model.initialize(seed=1)
        """
        self._variables.initialize(self.seed if seed is None else integer("seed", seed, least=0))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters, the state and the names of the classes to a safetensors file.

        Raises ``WeightsError`` if the file cannot be written or is the model file, and for parameters that are not finite.
        """
        target = as_path(path)
        if self.path is not None and os.path.exists(target) and target.samefile(self.path):
            raise WeightsError(f"{str(path)!r} is the model file itself; weights are written to a file of their own")
        save_weights(path, self._variables.tensors, self.name, self._variables.constant_state(), self.classes)

    def load(
        self,
        path: str | os.PathLike[str],
        only: str | Iterable[str] | None = None,
        skip: str | Iterable[str] = (),
        rename: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Read parameters and state from a safetensors file, and return their names. After an error they are unchanged.

        The file has the names and shapes of this model, or of a part: ``only`` the names that fit a pattern or one of several,
        such as ``"encoder.*"``, without those to ``skip``; the file may then contain more. ``rename`` has the model's name for
        names of the file, as ``{"fc.W": "W", "enc.*": "encoder.*"}``; the first that fits decides. The names of the classes
        come with a complete model. Raises ``WeightsError``, and ``UnknownNameError`` for a pattern that fits no name.

        >>> import tempfile, tinygraph as tg
        >>> model, other = tg.load_model("xor"), tg.load_model("xor", seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/xor.safetensors")
        ...     other.load(f"{folder}/xor.safetensors", skip="*2")
        ['W1', 'B1']
        """
        fixed = self._variables.constant_state()
        loaded, classes = load_weights(path, self._variables.tensors, self.name, fixed, only, skip, rename)
        if only is None and not skip:
            self.classes = classes
        self.weighted = self.weighted or self.parameters.keys() <= set(loaded)
        return loaded

    def to_toml(self, values: bool = False) -> str:
        """Return the text of a model file for this model, which ``Model.from_toml`` reads back.

        A parameter of a block is frozen there if it is in all calls. With ``values``, current values are written in place of
        initializers. Raises ``ModelError`` for those that are not finite, too many, or different for the calls of a block.

        >>> import tinygraph as tg
        >>> Model.from_toml(tg.load_model("xor").to_toml()).parameters["W1"].shape
        (2, 4)
        """
        return text_of(self, values)

    def to_onnx(self, path: str | os.PathLike[str], *, loss: bool = False) -> None:
        """Write the model, with its weights, as an ONNX file; see ``tg.to_onnx``."""
        reader("to_onnx")(self, path, loss=loss)

    def __reduce__(self) -> Any:
        """Copy and pickle the declaration, the seed, the values, what is frozen, and the names of the classes."""
        values = {name: tensor.value for name, tensor in self._variables.tensors.items()}
        arguments = (self.declaration, self.path, self.seed, values, tuple(self.trainable))
        return type(self)._of, arguments, {"classes": self.classes}

    def __str__(self) -> str:
        return str(reader("model_text")(self))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: the picture, or only text if it cannot be rendered."""
        return notebook_view(self, str(self), include, exclude)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {listing(self.inputs)} -> {self.output!r}, {len(self.parameters)} parameters>"
