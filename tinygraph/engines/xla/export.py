"""A program as a file of StableHLO that runs with JAX alone: ``jax.export.deserialize(file.read()).call(...)``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
from jax import export

from tinygraph.engines.xla.devices import Devices
from tinygraph.engines.xla.program import Program, computing
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Tensor

PLATFORMS = ("cpu", "cuda", "tpu")


def exported_prediction(graph: Graph, count: int, samples: Collection[str]) -> bytes:
    """Return a graph with the values of its parameters as a file: ``call(feeds) -> outputs``; see ``exported``."""
    leaves = [leaf for name, leaf in graph.inputs.items() if name in samples]
    return exported(Program(graph, leaves, count, Devices(1)), {})


def exported(program: Program, held: Mapping[Tensor, str]) -> bytes:
    """Return a program as a file for CPU, CUDA and TPU; it takes dicts of arrays by name, in the dtypes of the graph.

    ``held`` are the names of what a step changes. With them it is ``call(state, feeds) -> (state, results, accepted)``: where a
    value is not finite or is refused, ``accepted`` is false and the state the old one. Without, it is ``call(feeds) ->
    results``. Raises ``TinygraphError`` for a graph with operations that run on the host.
    """
    fed = {leaf: str(leaf.name) for leaf in program.fed if leaf.kind == "input"}

    def run(state: dict[str, Any], feeds: dict[str, Any]) -> Any:
        given = [feeds[fed[leaf]] if leaf in fed else leaf.value for leaf in program.fed]
        moved, results, accepted = program.traced([state[held[leaf]] for leaf in program.held], given)
        return {held[leaf]: x for leaf, x in zip(program.held, moved, strict=True)}, results, accepted

    def shapes(names: Mapping[Tensor, str]) -> dict[str, Any]:
        return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf, name in names.items()}

    function, arguments = jax.jit(lambda feeds: run({}, feeds)[1]), [shapes(fed)]
    if held:
        function, arguments = jax.jit(run), [shapes(held), shapes(fed)]
    with computing(program.precision):
        function.trace(*arguments)
        if program.lowering.on_host:
            reasons = "; ".join(f"{name} {why}" for name, why in program.lowering.on_host.items())
            raise TinygraphError(f"operations that run in Python on the host cannot be exported: {reasons}")
        return bytes(export.export(function, platforms=PLATFORMS)(*arguments).serialize())
