"""Evaluate a model on data, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, Unpack

import numpy as np

from tinygraph.engines.predict import in_parts
from tinygraph.engines.processes import own_share, shared_rows
from tinygraph.errors import TrainingError
from tinygraph.graph import MEAN, Array, Each, integer, run
from tinygraph.interruption import raise_if_interrupted
from tinygraph.train.data import DataSource, PartName, as_data
from tinygraph.train.evaluation import evaluation_of
from tinygraph.train.feeds import as_model, feeds_of
from tinygraph.train.metrics import DecisionRule, Metrics, RunningMeans, decision_rule
from tinygraph.train.samples import sample_count

if TYPE_CHECKING:
    from tinygraph.engines import Choice
    from tinygraph.model import Model

Feeds: TypeAlias = Mapping[str, Array]
EVALUATION_BATCH = 256


def evaluate(
    model: Model,
    data: DataSource,
    batch_size: int = EVALUATION_BATCH,
    compiled: bool = True,
    part: PartName = "test",
    **on: Unpack[Choice],
) -> Metrics:
    """Return how good ``model`` is on data: on a ``part`` of a ``Data``, or on a pair ``(x, y)``.

    The ``Metrics`` have the mean loss, the accuracy and the number of samples. If the outputs can be compared with labels,
    they are an ``Evaluation``: with the confusion, and precision, recall and F1 of each class, or with MAE, RMSE and R2.
    ``print`` shows all of it, and the worst mistakes.

    The model is evaluated as in prediction: dropout does nothing, and batch normalization uses its running statistics.
    ``data`` is given as for ``fit``; the test part of a ``Data`` without one is its training part. If the loss is a
    mean over samples, batches of ``batch_size`` bound the memory; otherwise all samples are evaluated together, because
    the result would differ. For a model with a fixed batch size the loss is the mean over its batches.
    ``compiled=False`` uses plain evaluation; the engine is chosen as for ``tg.compile``. Raises ``DataError``, and
    ``TrainingError`` for a model without a loss or with a parameter that holds NaN.

    >>> from tinygraph.model import load_model
    >>> found = evaluate(load_model("xor"), "xor")
    >>> found.count, found.confusion.sum()
    (4, np.int64(4))
    """
    data = as_data(as_model("evaluate", model), data)
    for name, tensor in {**model.parameters, **model.state}.items():
        count = int(np.isnan(tensor.value).sum())
        if count:
            found = f"{tensor.kind} {name!r} of model {model.name!r} holds NaN in {count} of {tensor.size} elements"
            advice = "load other weights, or train again with a lower learning rate"
            raise TrainingError(f"{found}, so every result would be NaN or meaningless; {advice}")
    size, outputs = integer("batch_size", model.batch or batch_size), list[Array]()
    x, y, numbers = data.part(part)
    feeds = feeds_of(model, x, y, ("x_test", "y_test") if part == "test" and data.test is not None else ("x", "y"))
    metrics = metrics_of(model, feeds, size, compiled, on, outputs)
    if any(output.ndim == 0 for output in outputs) or sum(map(len, outputs)) != metrics.count:
        # There is no output for each sample.
        return metrics
    return evaluation_of(model, metrics, np.concatenate(outputs), feeds, numbers)


def batches(feeds: Feeds, batch_size: int, order: Array | None = None) -> Iterator[dict[str, Array]]:
    """Yield the samples of ``feeds`` in batches, in their own order or at the places in ``order``. The last may be smaller.

    >>> [batch["x"].tolist() for batch in batches({"x": np.array([5, 6, 7])}, 2, np.array([2, 0, 1]))]
    [[7, 5], [6]]
    """
    for start in range(0, sample_count(feeds) if order is None else len(order), batch_size):
        chosen = slice(start, start + batch_size)
        yield {name: array[chosen if order is None else order[chosen]] for name, array in feeds.items()}


def metrics_of(
    model: Model, feeds: Feeds, batch_size: int, compiled: bool, on: Choice, collected: list[Array] | None = None
) -> Metrics:
    """Return the metrics of samples, and add the output of each batch to ``collected``."""
    count = sample_count(feeds)
    if model.batch is None and model.loss is not None and count > batch_size:
        # Loss and metric must be means of those of batches, and each sample must have its own output.
        parts = [tiling.state for tiling in in_parts(model, count, batch_size) or ()]
        if not parts or not isinstance(parts[0], Each) or any(x is not MEAN and not isinstance(x, Each) for x in parts):
            batch_size = count
    means, collected = RunningMeans(model.metric), [] if collected is None else collected
    # Of several processes, each evaluates its share of the batches.
    own = own_share(-(-count // batch_size)) if on.get("engine", "plan") != "plan" else None
    rows = slice(None) if own is None else slice(own.start * batch_size, own.stop * batch_size)
    for batch in batches(feeds, batch_size, None if own is None else np.arange(count)[rows]):
        raise_if_interrupted()
        recording = model.record(sample_count(batch))
        if recording.loss is None:
            raise TrainingError(f"the model {model.name!r} declares no loss, so there is nothing to evaluate")
        known = recording.graph.inputs
        with np.errstate(all="ignore"):
            evaluated = model.plan_for(sample_count(batch), **on) if compiled else partial(run, recording.graph)
            outputs = evaluated({name: array for name, array in batch.items() if name in known})
        collected.append(outputs[0])
        found = dict(zip(recording.graph.outputs, outputs, strict=True))
        right = right_rows(decision_rule(recording), outputs[0], batch)
        share = None if right is None else float(right.mean())
        metric = share if recording.metric is None else float(np.mean(found[recording.metric]))
        means.add(float(found[recording.loss]), metric, sample_count(batch))
    if own is not None:
        means.add_others()
        collected[:] = [shared_rows(rows, np.concatenate(collected), count)]
    return means.metrics


def right_rows(rule: DecisionRule | None, output: Array, feeds: Feeds, own: slice = slice(None)) -> Array | None:
    """Return which decisions for samples are right, or ``None`` if the output is none; ``feeds`` has its ``own`` rows."""
    if rule is None or rule.labels is None:
        return None
    return rule.right(output[own], feeds[rule.labels])
