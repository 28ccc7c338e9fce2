"""``tinygraph plan``: what the compiled model does, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tinygraph.cli.options import batch_option, model_argument, opened, ops_option
from tinygraph.cli.reading import onnx_options
from tinygraph.cli.terminal import say

if TYPE_CHECKING:
    from tinygraph.graph.arrays import Array
    from tinygraph.model import Model


@click.command(short_help="Show how a model is computed: steps, memory, times.")
@model_argument
@onnx_options()
@batch_option(32)
@click.option("--threads", type=click.IntRange(min=1), help="Threads at most.  [default: one for each CPU]")
@click.option("--inference", is_flag=True, help="Show the computation of the output alone, not a training step.")
@click.option("--profile", is_flag=True, help="Run it on random samples and show the median time of each step.")
@ops_option
def plan(
    model: str, onnx: dict[str, Any], batch_size: int | None, threads: int | None, inference: bool, profile: bool
) -> None:
    """Show the schedule of MODEL, compiled for a batch: what each step computes, where in memory, in which tiles.

    Shown is a whole training step, forward, backward and update; with --inference, or for a model without a loss, the
    output alone.
    """
    from tinygraph.engines.plan import compile
    from tinygraph.train import make_optimizer

    declared = opened(model, onnx=onnx)
    batch_size = batch_size or declared.batch or 32
    settings = declared.training
    if inference or declared.loss is None:
        output = compile(declared.record(batch_size).output, batch_size, threads)
        if profile:
            output.profile({name: random_samples(declared, name, batch_size) for name in declared.features})
        say(output.describe())
        return
    optimizer = make_optimizer(settings.optimizer, settings.learning_rate, settings.momentum)
    step = declared.compile_step(optimizer, batch_size, threads)
    if profile:
        step.profile({name: random_samples(declared, name, batch_size) for name in declared.inputs})
    say(step.describe())


def random_samples(model: Model, name: str, count: int) -> Array:
    """Return samples for an input: numbers between 0 and 1, or zeros where it takes whole numbers."""
    import numpy as np

    declared = model.inputs[name]
    shape = declared.batch_shape(count)
    if declared.dtype.kind != "f":
        return np.zeros(shape, declared.dtype)
    return np.random.default_rng(0).random(shape).astype(declared.dtype)
