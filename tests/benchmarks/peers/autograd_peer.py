"""HIPS autograd: convolution as patches and a matrix product, pools as reshaped means and maxima.

Its own ``scipy.signal.convolve`` is slower by orders of magnitude.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..workloads import Array, Expression, Sweep, Workload


class AutogradPeer:
    """Networks in ``autograd.numpy``."""

    def __init__(self, threads: int) -> None:
        import autograd
        import autograd.numpy

        self.autograd, self.numpy = autograd, autograd.numpy
        self.tanh = autograd.numpy.tanh

    def conv(self, x: Any, k: Any, b: Any, padding: int) -> Any:
        n, _, h, w = x.shape
        filters, _, kh, kw = k.shape
        rows, columns = h + 2 * padding - kh + 1, w + 2 * padding - kw + 1
        margin = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        padded = self.numpy.pad(x, margin, "constant") if padding else x
        slices = [padded[:, :, u : u + rows, v : v + columns] for u in range(kh) for v in range(kw)]
        patches = self.numpy.stack(slices, axis=2).reshape(n, -1, rows * columns)
        return (k.reshape(filters, -1) @ patches).reshape(n, filters, rows, columns) + b.reshape(-1, 1, 1)

    def relu(self, x: Any) -> Any:
        return self.numpy.maximum(x, 0)

    def avg_pool(self, x: Any) -> Any:
        n, c, h, w = x.shape
        return self.numpy.mean(x.reshape(n, c, h // 2, 2, w // 2, 2), axis=(3, 5))

    def max_pool(self, x: Any) -> Any:
        n, c, h, w = x.shape
        return self.numpy.max(x.reshape(n, c, h // 2, 2, w // 2, 2), axis=(3, 5))

    def flatten(self, x: Any) -> Any:
        return x.reshape(len(x), -1)

    def dense(self, x: Any, W: Any, b: Any) -> Any:
        return self.numpy.dot(x, W) + b

    def training(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Any:
        """Return a training: a step on a batch, and the parameters by name."""
        weights = dict(parameters)

        def cost(weights: Any, x: Array, y: Array) -> Any:
            z = workload.logits(self, weights, x)
            if workload.loss == "bce":
                return self.numpy.mean(self.numpy.logaddexp(np.float32(0), z) - z * y)
            top = self.numpy.max(z, axis=1, keepdims=True)
            logs = z - top - self.numpy.log(self.numpy.sum(self.numpy.exp(z - top), axis=1, keepdims=True))
            return -self.numpy.mean(logs[np.arange(len(y)), y])

        gradient = self.autograd.value_and_grad(cost)

        def step(x: Array, y: Array) -> float:
            loss, gradients = gradient(weights, x, y)
            for name, weight in weights.items():
                weights[name] = weight - workload.learning_rate * gradients[name]
            return float(loss)

        return step, lambda: weights

    def inference(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Callable[[Array], Array]:
        """Return the function from images to predictions."""

        def infer(x: Array) -> Array:
            z = workload.logits(self, parameters, x)
            if workload.loss == "bce":
                return 1 / (1 + np.exp(-z))
            exponentials = np.exp(z - z.max(axis=1, keepdims=True))
            return exponentials / exponentials.sum(axis=1, keepdims=True)

        return infer

    def record(self, expression: Expression, *values: float) -> Sweep:
        """Compute an expression of numbers, and return the function that finds its gradients."""
        traced = self.autograd.make_vjp(lambda *leaves: expression(self.numpy.tanh, *leaves), argnum=(0, 1))
        vjp, _ = traced(*map(np.float32, values))
        return lambda: [float(gradient) for gradient in vjp(np.float32(1))]
