"""Steps of a model on the plan and on XLA, for comparison; importing this needs JAX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph.train.feeds import feeds_of

MODELS = Path(tg.__file__).parents[1] / "models"


def model_in(dtype: str, name: str) -> tg.Model:
    """Return a bundled model in a dtype."""
    text = (MODELS / f"{name}.toml").read_text(encoding="utf-8")
    return tg.load_model(name) if dtype == "float32" else tg.Model.from_toml(f'dtype = "{dtype}"\n{text}')


# The optimizers with which the models are trained, and the size of their batches.
OPTIMIZERS = {"sgd": tg.SGD(0.05), "momentum": tg.SGD(0.05, momentum=0.9), "adam": tg.Adam(1e-3)}
NAMES = sorted(path.stem for path in MODELS.glob("*.toml"))


def size_for(name: str) -> int:
    return 4 if name == "xor" else 16


def batches(model: tg.Model, size: int, count: int, odd: bool = True) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of the model's own data; where one is ``odd``, the last but one has a sample less."""
    feeds = feeds_of(model, *tg.load_data(model.training.data).train)
    order = np.random.default_rng(0).permutation(len(next(iter(feeds.values()))))
    for i in range(count):
        chosen = np.take(order, range(i * size, (i + 1) * size - (odd and i == count - 2)), mode="wrap")
        yield {name: x[chosen] for name, x in feeds.items()}


def difference(
    name: str, optimizer: object, dtype: str, size: int, devices: int | None = None, steps: int = 20, odd: bool = True
):
    """Return the largest relative differences of losses, and of parameters and states, between XLA and the plan."""
    wanted, model = model_in(dtype, name), model_in(dtype, name)
    plan = wanted.compile_step(optimizer, size, threads=1)
    step = model.compile_step(optimizer, size, engine="xla", devices=devices)
    losses = [(plan(batch)[1], step(batch)[1]) for batch in batches(model, size, steps, odd)]
    step.pull()
    pairs = [(x.value, y.value) for kind in ("parameters", "state") for x, y in _pairs(wanted, model, kind)]
    pairs += [(x, y) for key in plan.state for x, y in zip(plan.state[key], step.state[key], strict=True)]
    moved = max(float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-3)) for x, y in pairs)
    return max(abs(x - y) / abs(x) for x, y in losses), moved


def _pairs(first: tg.Model, second: tg.Model, kind: str):
    return zip(getattr(first, kind).values(), getattr(second, kind).values(), strict=True)
