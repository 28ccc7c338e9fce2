"""How a training step grows with the number of devices, on paper: ``python -m tests.growth --batch 8192``.

Measured are the floating-point operations of a step for one sample, by XLA's cost analysis, and the bytes of the gradients,
which the devices add up once in a step. Assumed are the device and its network, and that computing and adding do not overlap:

    time(n) = overhead + operations * ceil(batch / n) / rate + 2 * (n - 1) / n * bytes / bandwidth + 2 * log2(n) * latency

The bandwidth is that inside a machine for as many devices as it has, and that between machines for more. A number of devices is
worth it while the speed-up is at least half of that number.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, fields
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg

MODELS = ("xor", "notes_ann", "notes_cnn", "notes_cnn_28", "notes_cnn_norm", "lenet5", "residual", "resnet50")
DEVICES = [2**power for power in range(13)]


@dataclass(frozen=True)
class Machine:
    """What is assumed: rates in operations and bytes a second, times in seconds.

    The defaults are round numbers for a GPU of 67 TFLOP/s in float32, 40 % of which are reached, eight of them in a machine
    on NVLink, and 400 Gbit/s from each to other machines.
    """

    rate: float = 27e12
    inside: float = 300e9
    between: float = 40e9
    latency: float = 10e-6
    overhead: float = 200e-6
    devices: int = 8


def step_time(work: float, size: float, batch: int, count: int, machine: Machine) -> float:
    """Return the seconds of a step on ``count`` devices; ``work`` is that of a sample, ``size`` the bytes of the gradients.

    >>> f"{step_time(24e9, 1e8, 8192, 1, Machine()):.2f} s, {step_time(24e9, 1e8, 8192, 64, Machine()):.3f} s"
    '7.28 s, 0.119 s'
    """
    bandwidth = machine.inside if count <= machine.devices else machine.between
    added = 2 * (count - 1) / count * size / bandwidth + 2 * log2(count) * machine.latency
    return machine.overhead + work * ceil(batch / count) / machine.rate + added


def most_worth(times: dict[int, float]) -> int:
    """Return the largest number of devices whose speed-up is at least half of it.

    >>> most_worth({1: 8.0, 2: 4.5, 4: 3.0, 8: 2.5})
    4
    """
    return max(count for count, time in times.items() if 2 * times[1] / time >= count)


def measured(name: str) -> tuple[float, float]:
    """Return the operations of a training step for one sample, and the bytes of the gradients."""
    if name == "resnet50":
        import onnx

        # The architecture that travels inside the package onnx; its weights are made up when it is opened.
        os.environ["TINYGRAPH_BUDGET"] = "100"
        path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
        model = tg.from_onnx(path, loss="cross_entropy")
    else:
        model = tg.load_model(name)
    counts = [model.batch] if model.batch else [8, 16]
    work = []
    for count in counts:
        step: Any = model.compile_step("sgd", count, engine="xla", devices=1)
        feeds = {n: np.zeros(x.batch_shape(count), x.dtype) for n, x in model.inputs.items()}
        work.append(step.lowered(feeds).cost_analysis()["flops"])
    # The update is the same for any number of samples, so it is not in the difference.
    each = (work[-1] - work[0]) / (counts[-1] - counts[0]) if len(work) > 1 else work[0] / counts[0]
    return each, sum(parameter.size * parameter.dtype.itemsize for parameter in model.trainable.values())


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8192, help="samples in a step, of all devices together")
    for field in fields(Machine):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    batch, machine = options.pop("batch"), Machine(**options)
    columns = [count for count in DEVICES if count in (1, 8, 64, 256, 1024, 4096)]
    print(f"batch {batch:,}; {machine}\n")
    print("| model | operations | gradients |", " | ".join(f"{count:,}" for count in columns), "| worth it up to |")
    print("|---" * (len(columns) + 4) + "|")
    for name in MODELS:
        work, size = measured(name)
        times = {count: step_time(work, size, batch, count, machine) for count in DEVICES}
        row = [f"`{name}`", f"{work / 1e6:,.3g} M", f"{size / 1e6:,.3g} MB", *(_time(times[n]) for n in columns)]
        print("|", " | ".join(row), f"| {most_worth(times):,} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
