"""Outputs of a model for any number of samples, computed in batches where that gives the same numbers."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from tinygraph.engines import Choice
from tinygraph.engines.plan import Plan, compile
from tinygraph.engines.plan.kernels.generated import kernel_choice
from tinygraph.engines.plan.node import Node, nodes_of
from tinygraph.engines.plan.threads import thread_count
from tinygraph.engines.plan.tiles import analyse
from tinygraph.errors import DataError, ModelError
from tinygraph.graph import Array, Each, Graph, Tiling, run, topological
from tinygraph.locks import Recent
from tinygraph.model.model import MOST_RECORDINGS, Model
from tinygraph.model.values import batched_inputs, counts_text, warn_unscaled

# The plans of each model, by number of samples, part, number of threads and kernels, and the choice of the engine.
_plans: WeakKeyDictionary[Model, Recent[Any, Plan]] = WeakKeyDictionary()


def plan_for(model: Model, batch: int, of: Literal["output", "graph"], on: Choice) -> Plan:
    """Return the plan for ``batch`` samples, compiled once; see ``Model.plan_for``."""
    recording, plans = model.record(batch), _plans.setdefault(model, Recent(MOST_RECORDINGS))
    threads = thread_count()
    key = (batch, of, threads, kernel_choice(on.get("kernels")), *sorted(on.items(), key=str))
    return plans.of(
        key, lambda: compile(recording.graph if of == "graph" else Graph(recording.output), batch, threads, **on)
    )


def predicted(model: Model, features: Mapping[str, Any], batch_size: int, compiled: bool, on: Choice) -> Array:
    """Return the outputs for features by name; see ``Model.predict``."""
    arrays = {name: model.fitted(name, value) for name, value in features.items()}
    samples = {name: array for name, array in arrays.items() if model.inputs[name].batched}
    counts = {len(array) for array in samples.values()} or {model.batch or 1}
    if counts == {0} or len(counts) != 1:
        raise DataError(
            f"predict takes the same number of samples for each input, at least one; found {counts_text(samples)}"
        )
    total, batch_size = counts.pop(), model.batch or batch_size
    if model.batch and total % model.batch:
        model.check_batch(total)
    for name, value in features.items():
        warn_unscaled(model.record(), name, np.asarray(value))
    axis = _joined_axis(model, total, batch_size)
    batch_size = total if axis is None else batch_size
    outputs = []
    for start in range(0, total, batch_size):
        count = min(batch_size, total - start)
        batch = arrays | {name: array[start : start + count] for name, array in samples.items()}
        evaluate = model.plan_for(count, "output", **on) if compiled else partial(run, model.record(count).output)
        outputs.append(evaluate(batch)[0])
    return outputs[0] if axis is None else np.concatenate(outputs, axis)


def _joined_axis(model: Model, total: int, batch_size: int) -> int | None:
    """Return the axis along which outputs of batches are joined, or ``None`` where the samples are evaluated together."""
    if total <= batch_size:
        return None
    if model.batch is None:
        found = in_parts(model, total, batch_size, "output")
        return None if found is None else getattr(found[0].state, "axis", None)
    shape = model.record(model.batch).output.shape
    if shape[:1] != (model.batch,):
        raise DataError(
            f"model {model.name!r} is for batches of {model.batch} samples, and its output {model.output!r} of shape {shape} "
            f"has no row for each; predict {model.batch} samples at a time"
        )
    return 0


def in_parts(
    model: Model, total: int, batch_size: int, of: Literal["output", "graph"] = "graph"
) -> list[Tiling] | None:
    """Return how outputs for ``total`` samples are made from those for batches of ``batch_size``, or ``None`` if they are not.

    ``of`` chooses the output alone, or the graph of output and loss. They are not made from those of batches where an
    operation mixes samples, or where a number or an attribute depends on how many samples there are.

    >>> import tinygraph as tg
    >>> [tiling.state for tiling in in_parts(tg.load_model("xor"), 10, 4)]
    [Each(axis=0), <Part.MEAN: 'mean'>]
    """
    sizes = [total, *{batch_size, total % batch_size} - {0, total}]
    try:
        graphs = [model.graph(size) if of == "graph" else Graph(model.record(size).output) for size in sizes]
    except ModelError:
        # The model does not take so few samples. If it does not take all of them either, evaluating it raises the error.
        return None
    outputs, *fewer = map(nodes_of, graphs)
    samples = {leaf: 0 for name, leaf in graphs[0].inputs.items() if name in batched_inputs(model)}
    found = analyse(outputs, samples, total)
    if found is None or not all(map(partial(_alike, topological(outputs), found), map(topological, fewer), sizes[1:])):
        return None
    return [found[output] for output in outputs]


def _alike(nodes: list[Node], found: Mapping[Node, Tiling], others: list[Node], size: int) -> bool:
    """Whether the nodes recorded for ``size`` samples are what the nodes of all samples say."""
    if len(nodes) != len(others):
        return False
    for node, other in zip(nodes, others, strict=True):
        shape, tiling = node.shape, found[node]
        if isinstance(tiling.state, Each):
            shape = (*shape[: tiling.state.axis], size, *shape[tiling.state.axis + 1 :])
        same_op = node.op is None or node.op == other.op or tiling.for_tile is not None
        same_value = node.value is None or (
            other.value is not None and np.array_equal(node.value, other.value, equal_nan=True)
        )
        if other.shape != shape or not (same_op and same_value):
            return False
    return True
