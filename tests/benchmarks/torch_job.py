"""The main job in PyTorch, as one would write it: what ``tinygraph train models/notes_cnn.toml`` does, as a script.

The same data, initial weights, shuffles, batches, learning rate, epochs and files: weights, history, curve.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = Path(__file__).resolve().parents[2] / "tinygraph" / "train" / "digits.npz"
EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 30, 32, 0.5, 0
EVALUATION_BATCH = 256
COLUMNS = ("epoch", "loss", "accuracy", "test_loss", "test_accuracy", "seconds")


def load_digits() -> tuple[Any, Any, Any, Any]:
    """Return images and labels (is the digit odd?) to train on and to test on, divided as tinygraph divides them."""
    with np.load(DIGITS) as arrays:
        x = arrays["x"][:, np.newaxis].astype(np.float32) / 16
        digits = arrays["y"]
    y = (digits[:, np.newaxis] % 2).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    test = np.zeros(len(x), bool)
    test[order[np.argsort(digits[order], kind="stable")][4::5]] = True
    return x[~test], y[~test], x[test], y[test]


def draw(name: str, shape: tuple[int, ...]) -> Any:
    """Return initial weights: He's normal distribution for kernels, Glorot's uniform one for the dense layer."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    if len(shape) == 4:
        return rng.normal(0.0, math.sqrt(2 / math.prod(shape[1:])), shape).astype(np.float32)
    limit = math.sqrt(6 / sum(shape))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def make_network(torch: Any) -> Any:
    """Return the CNN of the notes; it gives logits."""

    class NotesCNN(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 8, 3, padding=1)
            self.conv2 = torch.nn.Conv2d(8, 16, 3, padding=1)
            self.dense = torch.nn.Linear(64, 1)
            with torch.no_grad():
                self.conv1.weight.copy_(torch.from_numpy(draw("K1", (8, 1, 3, 3))))
                self.conv2.weight.copy_(torch.from_numpy(draw("K2", (16, 8, 3, 3))))
                self.dense.weight.copy_(torch.from_numpy(draw("W3", (64, 1)).T))
                for layer in (self.conv1, self.conv2, self.dense):
                    layer.bias.zero_()

        def forward(self, x: Any) -> Any:
            functional = torch.nn.functional
            h = functional.avg_pool2d(functional.relu(self.conv1(x)), 2)
            h = functional.max_pool2d(functional.relu(self.conv2(h)), 2)
            return self.dense(h.flatten(1))

    return NotesCNN()


def train(torch: Any, network: Any) -> list[tuple[float, ...]]:
    """Train, print a line for each epoch, and return the rows of the history."""
    x, y, x_test, y_test = map(torch.from_numpy, load_digits())
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, foreach=True)
    cost = torch.nn.functional.binary_cross_entropy_with_logits
    rows = []
    for epoch in range(1, EPOCHS + 1):
        start, loss_sum, right = time.perf_counter(), 0.0, 0
        order = torch.from_numpy(np.random.default_rng([SEED, epoch]).permutation(len(x)))
        for chosen in order.split(BATCH_SIZE):
            images, labels = x[chosen], y[chosen]
            optimizer.zero_grad(set_to_none=True)
            z = network(images)
            loss = cost(z, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(chosen)
            right += ((z > 0) == (labels > 0.5)).sum().item()
        tested = test(torch, network, x_test, y_test)
        rows.append((epoch, loss_sum / len(x), right / len(x), *tested, time.perf_counter() - start))
        print("epoch {}: loss {:.4f}, accuracy {:.4f}, test loss {:.4f}, test accuracy {:.4f}".format(*rows[-1]))
    return rows


def test(torch: Any, network: Any, x: Any, y: Any) -> tuple[float, float]:
    """Return mean loss and accuracy on the test samples."""
    loss, right = 0.0, 0
    with torch.inference_mode():
        for images, labels in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
            z = network(images)
            loss += torch.nn.functional.binary_cross_entropy_with_logits(z, labels).item() * len(images)
            right += ((z > 0) == (labels > 0.5)).sum().item()
    return loss / len(x), right / len(x)


def draw_curve(rows: list[tuple[float, ...]], path: Path) -> None:
    """Draw loss and accuracy against the epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for place, column in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        for name, label in ((column, "training"), (f"test_{column}", "test")):
            values = [row[COLUMNS.index(name)] for row in rows]
            axes.plot([row[0] for row in rows], values, marker="o", markersize=3, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(column)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, and write everything into a folder."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--curve", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    network = make_network(torch)
    rows = train(torch, network)
    torch.save(network.state_dict(), options.out / "weights.pt")
    with open(options.out / "history.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    if options.curve:
        draw_curve(rows, options.out / "curve.png")


if __name__ == "__main__":
    main()
