"""What four devices compute, as JSON; the test runs it in a process of its own, which pretends to have them."""

from __future__ import annotations

import json
import re

import numpy as np

import tinygraph as tg
from tests.benchmarks.xla import shares
from tests.engines.xla import custom
from tests.engines.xla.models import batches, difference, model_in


def trained() -> list[np.ndarray]:
    """Return the parameters after a few steps of a model with batch normalization and dropout."""
    model = model_in("float64", "notes_cnn_norm")
    step = model.compile_step("adam", 16, engine="xla")
    for feeds in batches(model, 16, 3):
        step(feeds)
    return [x.value for x in model.parameters.values()]


def user_ops() -> dict[str, object]:
    """Return the difference of a user's operations to the plan, and how many numbers are gathered for the host."""
    model, twin = custom.model(), custom.model()
    step, plan = model.compile_step("sgd", 8, engine="xla"), twin.compile_step("sgd", 8, threads=1)
    losses = [(plan(feeds)[1], step(feeds)[1]) for feeds in batches(model, 8, 4)]
    text = step.lowered(next(batches(model, 8, 1))).compile().as_text()
    return {
        "losses": max(abs(x - y) / x for x, y in losses),
        "gathers": len(re.findall(r" all-gather(?:-start)?\(", text)),
    }


def main() -> None:
    """Print everything."""
    four, again = trained(), trained()
    mask = tg.Graph(tg.dropout_mask(tg.input("key", (), "int64"), (64, 3), rate=0.3, stream=2))
    keys = [{"key": np.array(key)} for key in (0, -5, 2**40 + 1)]
    masks = tg.compile(mask, engine="xla")
    part, messages = shares("notes_cnn", 4, 32)
    found = {
        "difference": difference("notes_cnn_norm", tg.SGD(0.05, momentum=0.9), "float64", 20, steps=5),
        "repeated": all(np.array_equal(x, y) for x, y in zip(four, again, strict=True)),
        "masks": all(np.array_equal(masks(key)[0], tg.run(mask, key)[0]) for key in keys),
        "user": user_ops(),
        "part": part,
        "messages": messages,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
