"""Trainings of the bundled models on this process's devices, or next to other processes: ``layouts.py [HOST:PORT I N]``.

The losses of 50 steps, and whether a repetition gave the same bits, are printed as JSON.
"""

from __future__ import annotations

import json
import sys

from tests.engines.xla.models import NAMES, OPTIMIZERS, batches, model_in, size_for
from tinygraph.engines.processes import Place

STEPS = 50


def losses_of(name: str, **choice: object) -> tuple[list[float], bool]:
    """Return the losses of steps, and whether they and the parameters are the same, to the bit, when they are repeated."""
    model, size = model_in("float64", name), size_for(name)
    step = model.compile_step(OPTIMIZERS["momentum"], size, **choice)
    own = step.rows(size) if choice else slice(None)
    given = [{key: x[own] for key, x in feeds.items()} for feeds in batches(model, size, STEPS, odd=False)]
    start = {key: x.value.copy() for key, x in (model.parameters | model.state).items()}
    zeros = {key: tuple(x.copy() for x in values) for key, values in step.state.items()}
    runs = []
    for _ in range(2):
        for key, value in start.items():
            (model.parameters | model.state)[key].value = value.copy()
        step.state.update({key: tuple(x.copy() for x in values) for key, values in zeros.items()})
        losses = [step(feeds, step.state, *([size] if choice else []))[1] for feeds in given]
        runs.append([losses, *(x.value.tobytes() for x in (model.parameters | model.state).values())])
    return runs[0][0], runs[0] == runs[1]


def main(coordinator: str = "", index: str = "0", count: str = "1") -> None:
    """Train, and print."""
    if coordinator:
        Place(coordinator, int(index), int(count), local=True).join()
    print(json.dumps({name: losses_of(name, engine="xla") for name in NAMES}))
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
