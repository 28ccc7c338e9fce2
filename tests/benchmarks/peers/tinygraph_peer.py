"""tinygraph itself: its compiled execution, and plain evaluation, which is the reference of everything here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.train import initial_state, training_step

from ..further import Network
from ..workloads import Array, Expression, Sweep, Workload

MODELS = Path(__file__).resolve().parents[3] / "models"


def declare(workload: Workload, parameters: Mapping[str, Array]) -> tg.Model:
    """Return a workload as a model with the given parameters."""
    tables = workload.model
    if isinstance(tables, str):
        tables = tomllib.loads((MODELS / f"{tables}.toml").read_text(encoding="utf-8"))
    inputs = {**tables["inputs"], "Inp": list(workload.image)}
    model = tg.Model(inputs, tables["parameters"], **tables["model"], name=workload.name)
    for name, parameter in model.parameters.items():
        parameter.value = parameters[name].reshape(parameter.shape)
    return model


def with_parameters(network: Network, parameters: Mapping[str, Array]) -> tg.Model:
    """Return a network of equations as a model with the given parameters."""
    model = tg.Model(**network.tables(), name="network")
    for name, parameter in model.parameters.items():
        parameter.value = parameters[name]
    return model


class TinygraphPeer:
    """Models trained and run by a plan, or node by node."""

    def __init__(self, threads: int, compiled: bool = True) -> None:
        self.threads, self.compiled = threads, compiled

    def training(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Any:
        """Return a training: a step on a batch, and the parameters by name."""
        model, optimizer = declare(workload, parameters), tg.SGD(workload.learning_rate)
        if self.compiled:
            compiled = model.compile_step(optimizer, size, self.threads)
            step = lambda x, y: compiled({"Inp": x, "y": y})[1]  # noqa: E731
        else:
            recorded, state = training_step(model, optimizer, size), initial_state(model, optimizer)
            step = lambda x, y: recorded({"Inp": x, "y": y}, state)[1]  # noqa: E731
        return step, lambda: {name: parameter.value for name, parameter in model.parameters.items()}

    def inference(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Callable[[Array], Array]:
        """Return the function from images to predictions."""
        output = declare(workload, parameters).record(size).output
        if self.compiled:
            plan = tg.compile(output, size, self.threads)
            return lambda x: plan({"Inp": x})[0]
        graph = tg.Graph(output)
        return lambda x: tg.run(graph, {"Inp": x})[0]

    def further_training(self, network: Network, parameters: Mapping[str, Array], rate: float) -> Any:
        """Return a training of a network of equations: a step on a batch by name, and the parameters by name."""
        model, optimizer = with_parameters(network, parameters), tg.SGD(rate)
        if self.compiled:
            compiled = model.compile_step(optimizer, network.batch, self.threads)
            step = lambda batch: compiled(batch)[1]  # noqa: E731
        else:
            recorded, state = training_step(model, optimizer, network.batch), initial_state(model, optimizer)
            step = lambda batch: recorded(batch, state)[1]  # noqa: E731
        return step, lambda: {name: parameter.value for name, parameter in model.parameters.items()}

    def further_inference(self, network: Network, parameters: Mapping[str, Array]) -> Any:
        """Return the function from a batch by name to the output of a network of equations."""
        output = with_parameters(network, parameters).record(network.batch).output
        if self.compiled:
            plan = tg.compile(output, network.batch, self.threads)
            return lambda batch: plan(batch)[0]
        graph = tg.Graph(output)
        return lambda batch: tg.run(graph, batch)[0]

    def record(self, expression: Expression, *values: float) -> Sweep:
        """Compute an expression of numbers, and return the function that finds its gradients."""
        leaves = [tg.tensor(np.float32(value)) for value in values]
        result = expression(tg.tanh, *leaves)

        def sweep() -> list[float]:
            result.backward()
            return [float(leaf.grad) for leaf in leaves]

        return sweep
