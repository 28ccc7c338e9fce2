"""MyGrad: its own convolution and max pool; average pooling is a reshaped mean, for it has none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..workloads import Array, Expression, Sweep, Workload


class MyGradPeer:
    """Networks in MyGrad's operations, its memory guard off, as its documentation advises for speed."""

    def __init__(self, threads: int) -> None:
        import mygrad
        from mygrad.nnet import layers, losses

        # Its sweep calls itself once for each node on the way back.
        sys.setrecursionlimit(100_000)
        mygrad.turn_memory_guarding_off()
        self.mygrad, self.layers, self.losses = mygrad, layers, losses
        self.tanh = mygrad.tanh

    def conv(self, x: Any, k: Any, b: Any, padding: int) -> Any:
        return self.layers.conv_nd(x, k, stride=1, padding=padding) + b.reshape(1, -1, 1, 1)

    def relu(self, x: Any) -> Any:
        return self.mygrad.maximum(x, 0)

    def avg_pool(self, x: Any) -> Any:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))

    def max_pool(self, x: Any) -> Any:
        return self.layers.max_pool(x, (2, 2), 2)

    def flatten(self, x: Any) -> Any:
        return x.reshape(len(x), -1)

    def dense(self, x: Any, W: Any, b: Any) -> Any:
        return self.mygrad.matmul(x, W) + b

    def training(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Any:
        """Return a training: a step on a batch, and the parameters by name."""
        weights = {name: self.mygrad.tensor(array.copy()) for name, array in parameters.items()}

        def step(x: Array, y: Array) -> float:
            z = workload.logits(self, weights, self.mygrad.tensor(x, constant=True))
            loss = self._bce(z, y) if workload.loss == "bce" else self.losses.softmax_crossentropy(z, y)
            loss.backward()
            for weight in weights.values():
                weight.data -= workload.learning_rate * weight.grad
                weight.null_grad()
            return loss.item()

        return step, lambda: {name: weight.data for name, weight in weights.items()}

    def _bce(self, z: Any, y: Array) -> Any:
        return (self.mygrad.logaddexp(np.float32(0), z) - z * y).mean()

    def inference(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Callable[[Array], Array]:
        """Return the function from images to predictions."""
        from mygrad.nnet.activations import sigmoid, softmax

        weights = {name: self.mygrad.tensor(array) for name, array in parameters.items()}
        decide = sigmoid if workload.loss == "bce" else softmax

        def infer(x: Array) -> Array:
            with self.mygrad.no_autodiff:
                return decide(workload.logits(self, weights, self.mygrad.tensor(x))).data

        return infer

    def record(self, expression: Expression, *values: float) -> Sweep:
        """Compute an expression of numbers, and return the function that finds its gradients."""
        leaves = [self.mygrad.tensor(np.float32(value)) for value in values]
        result = expression(self.mygrad.tanh, *leaves)

        def sweep() -> list[float]:
            result.backward()
            return [leaf.grad.item() for leaf in leaves]

        return sweep
