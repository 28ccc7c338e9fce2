"""Compare training steps on an accelerator: ``python -m tests.benchmarks.accelerator --batch 512 --steps 50``.

The wide CNN and ``residual``, in float32, by tinygraph on XLA, by hand-written JAX, and by PyTorch, each on the first device
that it finds. The losses of the first steps are compared with those of the plan. A step includes the copy of the batch to the
device, and of the loss back. JAX and PyTorch may round the factors of products on a GPU (TF32), as tinygraph does with the
precision "fast".
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

import tinygraph as tg

from .peers import installed
from .peers.jax_peer import JaxPeer
from .peers.tinygraph_peer import declare
from .peers.torch_peer import TorchPeer
from .workloads import WORKLOADS, Array, Operations, Workload

Step = Callable[[Array, Array], float]


def residual(nn: Operations, p: Mapping[str, Any], x: Any) -> Any:
    """The residual network of ``models/residual.toml``."""
    h = nn.relu(nn.conv(x, p["K0"], p["B0"], 1))
    for block in ("R1", "R2"):
        h = nn.max_pool(h) if block == "R2" else h
        inner = nn.relu(nn.conv(h, p[f"{block}.K1"], p[f"{block}.B1"], 1))
        h = nn.relu(nn.conv(inner, p[f"{block}.K2"], p[f"{block}.B2"], 1) + h)
    return nn.dense(h.mean((2, 3)), p["W"], p["B"])


def residual_workload() -> Workload:
    """Return the residual network with the shapes of its model file."""
    shapes = {
        name: parameter.shape[:1] if parameter.ndim == 3 else parameter.shape
        for name, parameter in tg.load_model("residual").parameters.items()
    }
    return Workload("residual", residual, "cross_entropy", (1, 8, 8), shapes, "residual", 0.03)


def tinygraph_step(workload: Workload, size: int, **on: Any) -> Step:
    """Return the step of the declared model."""
    if isinstance(workload.model, str):
        model = tg.load_model(workload.model)
        for name, value in workload.parameters().items():
            model.parameters[name].value = value.reshape(model.parameters[name].shape)
    else:
        model = declare(workload, workload.parameters())
    step = model.compile_step(tg.SGD(workload.learning_rate), size, **on)
    return lambda x, y: step({"Inp": x, "y": y})[1]


def torch_step(workload: Workload) -> tuple[Step, str]:
    """Return the step of PyTorch in eager mode, and the device that it uses."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    peer, p = TorchPeer(torch.get_num_threads()), workload.parameters()
    weights = {name: torch.from_numpy(array).to(device).requires_grad_() for name, array in p.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=workload.learning_rate, foreach=True)

    def step(x: Array, y: Array) -> float:
        optimizer.zero_grad(set_to_none=True)
        images, labels = (torch.from_numpy(array).to(device) for array in (x, y))
        loss = torch.nn.functional.cross_entropy(workload.logits(peer, weights, images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, torch.cuda.get_device_name() if device == "cuda" else "CPU"


def main() -> int:
    """Print a line for each network and library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    import jax

    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; batch {options.batch}, float32, medians of steps")
    for workload in (WORKLOADS["wide_cnn"], residual_workload()):
        batches = workload.batches(options.batch, options.steps)
        steps = {
            f"tinygraph, {precision}": tinygraph_step(workload, options.batch, engine="xla", precision=precision)
            for precision in ("full", "fast")
        }
        steps["JAX by hand"] = JaxPeer(1).training(workload, workload.parameters(), options.batch)[0]
        if installed("torch"):
            steps_of_torch, device = torch_step(workload)
            steps[f"PyTorch on {device}"] = steps_of_torch
        plan = tinygraph_step(workload, options.batch)
        expected = np.array([plan(*batch) for batch in batches[:10]])
        for name, step in steps.items():
            losses, seconds = [], []
            for batch in batches:
                begin = time.perf_counter()
                losses.append(step(*batch))
                seconds.append(time.perf_counter() - begin)
            error = np.abs(np.array(losses[:10]) / expected - 1).max()
            print(f"{workload.name:10}{name:24}{1e3 * median(seconds[3:]):9.3f} ms   loss of the plan to {error:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
