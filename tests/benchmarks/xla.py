"""Training steps on XLA next to hand-written JAX, and how the devices share one: ``python -m tests.benchmarks.xla``.

With ``--devices N`` it prints the floating-point operations of a step on each of N virtual devices, as XLA counts them, and
what the devices send to one another.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Callable

BATCH, TURNS, STEPS = 32, 15, 20
MODELS = ("notes_cnn_28", "lenet5", "residual")


def by_hand(name: str, model) -> Callable[[dict], float]:
    """Return a training step with momentum, as one writes it in JAX."""
    import jax
    import jax.numpy as jnp

    conv = lambda x, k, padding: jax.lax.conv_general_dilated(x, k, (1, 1), padding)  # noqa: E731
    windows = lambda x: x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2)  # noqa: E731
    relu, tanh = jax.nn.relu, jnp.tanh

    def logits(p, x):
        if name == "notes_cnn_28":
            x = windows(relu(conv(x, p["K1"], "SAME") + p["B1"])).mean((3, 5))
            x = windows(relu(conv(x, p["K2"], "SAME") + p["B2"])).max((3, 5))
            return x.reshape(len(x), -1) @ p["W3"] + p["B3"]
        if name == "lenet5":
            x = windows(tanh(conv(x, p["K1"], "SAME") + p["B1"])).mean((3, 5))
            x = windows(tanh(conv(x, p["K3"], "VALID") + p["B3"])).mean((3, 5)).reshape(len(x), -1)
            x = tanh(tanh(x @ p["W5"] + p["B5"]) @ p["W6"] + p["B6"])
            return x @ p["W7"] + p["B7"]

        def block(x, r):
            c = relu(conv(x, p[f"{r}.K1"], "SAME") + p[f"{r}.B1"])
            return relu(conv(c, p[f"{r}.K2"], "SAME") + p[f"{r}.B2"] + x)

        x = block(relu(conv(x, p["K0"], "SAME") + p["B0"]), "R1")
        return block(windows(x).max((3, 5)), "R2").mean((2, 3)) @ p["W"] + p["B"]

    def cost(p, x, y):
        z = logits(p, x)
        if name == "notes_cnn_28":
            return (jnp.logaddexp(0, z) - z * y).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()

    @jax.jit
    def step(p, v, x, y):
        loss, g = jax.value_and_grad(cost)(p, x, y)
        v = jax.tree.map(lambda v, g: 0.9 * v + g, v, g)
        return jax.tree.map(lambda p, v: p - 0.01 * v, p, v), v, loss

    p = {key: jnp.array(x.value) for key, x in model.parameters.items()}
    held = [p, jax.tree.map(jnp.zeros_like, p)]

    def run(feeds):
        *held[:], loss = step(*held, feeds["Inp"], feeds["y"])
        return float(loss)

    return run


def times(name: str) -> str:
    """Return a line of the shortest times of a step: other work on the machine only adds to them."""
    import tinygraph as tg
    from tests.engines.xla.models import batches

    feeds = next(batches(tg.load_model(name), BATCH, 1))
    optimizer = tg.SGD(0.01, momentum=0.9)
    ways = {
        "xla": tg.load_model(name).compile_step(optimizer, BATCH, engine="xla"),
        "by hand": by_hand(name, tg.load_model(name)),
        "plan": tg.load_model(name).compile_step(optimizer, BATCH, threads=1),
    }
    found = {way: [] for way in ways}
    for _ in range(TURNS + 1):
        for way, step in ways.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step(feeds)
            found[way].append((time.perf_counter() - start) / STEPS)
    least = {way: min(seconds) for way, seconds in found.items()}
    shown = "  ".join(f"{way} {seconds * 1e3:7.3f} ms" for way, seconds in least.items())
    return f"{name:14} {shown}  xla / by hand {least['xla'] / least['by hand']:.2f}"


def shares(name: str, devices: int, batch: int = 64) -> tuple[float, Counter[str]]:
    """Return the part of a step's floating-point operations that each device does, and the messages between devices."""
    import tinygraph as tg
    from tests.engines.xla.models import batches

    found = []
    for count in (1, devices):
        model = tg.load_model(name)
        step = model.compile_step(tg.SGD(0.01, momentum=0.9), batch, engine="xla", devices=count)
        found.append(step.lowered(next(batches(model, batch, 1))).compile())
    one, each = (float(compiled.cost_analysis()["flops"]) for compiled in found)
    return each / one, Counter(
        re.findall(r" (all-\w+|reduce-scatter|collective-permute)(?:-start)?\(", found[1].as_text())
    )


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.xla", description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--devices", type=int, help="count the operations on so many virtual devices")
    options = parser.parse_args()
    if options.devices is not None:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={options.devices}"
    for name in options.models:
        if options.devices is None:
            print(times(name), flush=True)
        else:
            part, messages = shares(name, options.devices)
            print(
                f"{name:14} each of {options.devices} devices does {part:.3f} of the work; {dict(messages)}", flush=True
            )


if __name__ == "__main__":
    main()
