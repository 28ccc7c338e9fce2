"""JAX: the whole training step under ``jit``, parameters donated, with images as NCHW or NHWC inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..workloads import Array, Workload


class JaxPeer:
    """Networks in ``jax.numpy`` and ``jax.lax``; pools are reshaped means and maxima, faster on CPUs than windows."""

    def __init__(self, threads: int, channels_last: bool = False) -> None:
        import jax

        self.jax, self.numpy = jax, jax.numpy
        self.channels_last = channels_last
        self.order = ("NHWC", "HWIO", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW")
        self.tanh, self.relu = jax.numpy.tanh, jax.nn.relu

    def conv(self, x: Any, k: Any, b: Any, padding: int) -> Any:
        y = self.jax.lax.conv_general_dilated(x, k, (1, 1), [(padding, padding)] * 2, dimension_numbers=self.order)
        return y + (b if self.channels_last else b[:, None, None])

    def avg_pool(self, x: Any) -> Any:
        return self._windows(x).mean((2, 4) if self.channels_last else (3, 5))

    def max_pool(self, x: Any) -> Any:
        return self._windows(x).max((2, 4) if self.channels_last else (3, 5))

    def _windows(self, x: Any) -> Any:
        if self.channels_last:
            n, h, w, c = x.shape
            return x.reshape(n, h // 2, 2, w // 2, 2, c)
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2)

    def flatten(self, x: Any) -> Any:
        return (x.transpose(0, 3, 1, 2) if self.channels_last else x).reshape(len(x), -1)

    def dense(self, x: Any, W: Any, b: Any) -> Any:
        return x @ W + b

    def training(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Any:
        """Return a training: a step on a batch, and the parameters by name."""
        weights = self._weights(parameters)
        rate = workload.learning_rate

        def cost(weights: Any, x: Any, y: Any) -> Any:
            z = workload.logits(self, weights, self._images(x))
            if workload.loss == "bce":
                return (self.numpy.logaddexp(0, z) - z * y).mean()
            return -self.numpy.take_along_axis(self.jax.nn.log_softmax(z), y[:, None], axis=1).mean()

        def moved(weights: Any, x: Any, y: Any) -> Any:
            loss, gradients = self.jax.value_and_grad(cost)(weights, x, y)
            return {name: weight - rate * gradients[name] for name, weight in weights.items()}, loss

        compiled = self.jax.jit(moved, donate_argnums=0)

        def step(x: Array, y: Array) -> float:
            nonlocal weights
            weights, loss = compiled(weights, x, y)
            return float(loss)

        return step, lambda: {name: self._kernel_back(np.asarray(weight)) for name, weight in weights.items()}

    def inference(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Callable[[Array], Array]:
        """Return the function from images to predictions."""
        weights = self._weights(parameters)
        decide = self.jax.nn.sigmoid if workload.loss == "bce" else self.jax.nn.softmax
        predict = self.jax.jit(lambda weights, x: decide(workload.logits(self, weights, self._images(x))))
        return lambda x: np.asarray(predict(weights, x))

    def _weights(self, parameters: Mapping[str, Array]) -> dict[str, Any]:
        swapped = {
            name: array.transpose(2, 3, 1, 0) if self.channels_last and array.ndim == 4 else array
            for name, array in parameters.items()
        }
        return {name: self.numpy.array(array) for name, array in swapped.items()}

    def _kernel_back(self, array: Array) -> Array:
        return array.transpose(3, 2, 0, 1) if self.channels_last and array.ndim == 4 else array

    def _images(self, x: Any) -> Any:
        return x.transpose(0, 2, 3, 1) if self.channels_last else x
