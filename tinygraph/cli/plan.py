"""``tinygraph plan``: what the compiled model does, step by step."""

from typing import Any

import click
import numpy as np

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.engines.plan import compile
from tinygraph.graph import Array
from tinygraph.model import Model
from tinygraph.train.optimizers import as_optimizer
from tinygraph.train.update import over


@options.command
@options.model_options
@options.batch_option(32)
@click.option("--threads", type=click.IntRange(min=1), help="Threads at most.  [default: one for each CPU]")
@click.option("--inference", is_flag=True, help="Show the computation of the output alone, not a training step.")
@click.option("--profile", is_flag=True, help="Run it on random samples and show the median time of each step.")
def plan(load: options.Load, batch_size: int | None, threads: int | None, inference: bool, profile: bool) -> None:
    """Show the schedule of MODEL, compiled for a batch: what each step computes, where in memory, in which tiles.

    Shown is a training step, forward, backward and update; with --inference, or for a model without a loss, the
    output alone.
    """
    declared = load()
    batch_size = batch_size or declared.batch or 32
    if inference or declared.loss is None:
        compiled: Any = compile(declared.record(batch_size).output, batch_size, threads)
        names = declared.features
    else:
        # The length of a schedule changes no step of the plan.
        optimizer = over(as_optimizer(declared, None), 10**9)
        compiled = declared.compile_step(optimizer, batch_size, threads)
        names = tuple(declared.inputs)
    if profile:
        compiled.profile({name: random_samples(declared, name, batch_size) for name in names})
    say(compiled.describe())


def random_samples(model: Model, name: str, count: int) -> Array:
    """Return samples for an input: numbers between 0 and 1, or zeros where it takes integers."""
    declared = model.inputs[name]
    shape = declared.batch_shape(count)
    if declared.dtype.kind != "f":
        return np.zeros(shape, declared.dtype)
    return np.random.default_rng(0).random(shape).astype(declared.dtype)
