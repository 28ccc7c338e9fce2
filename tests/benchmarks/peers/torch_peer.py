"""PyTorch, eager or compiled, with images as NCHW or with the channels last in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..further import Network
from ..workloads import Array, Expression, Sweep, Workload
from .torch_words import words


class TorchPeer:
    """Networks in ``torch.nn.functional``; the loss (or the prediction) is what ``torch.compile`` is given."""

    def __init__(self, threads: int, compiled: bool = False, channels_last: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.functional = torch, torch.nn.functional
        self.compiled = compiled
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.tanh, self.relu = torch.tanh, torch.relu

    def conv(self, x: Any, k: Any, b: Any, padding: int) -> Any:
        return self.functional.conv2d(x, k, b, padding=padding)

    def avg_pool(self, x: Any) -> Any:
        return self.functional.avg_pool2d(x, 2)

    def max_pool(self, x: Any) -> Any:
        return self.functional.max_pool2d(x, 2)

    def flatten(self, x: Any) -> Any:
        return x.flatten(1)

    def dense(self, x: Any, W: Any, b: Any) -> Any:
        return self.torch.addmm(b, x, W)

    def training(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Any:
        """Return a training: a step on a batch, and the parameters by name."""
        weights = {name: self._laid_out(array.copy()).requires_grad_() for name, array in parameters.items()}
        optimizer = self.torch.optim.SGD(weights.values(), lr=workload.learning_rate, foreach=True)
        compare = getattr(
            self.functional, {"bce": "binary_cross_entropy_with_logits"}.get(workload.loss, workload.loss)
        )
        cost = self._finished(lambda x, y: compare(workload.logits(self, weights, x), y))

        def step(x: Array, y: Array) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = cost(self._laid_out(x), self.torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            return loss.item()

        return step, lambda: {name: weight.detach().numpy() for name, weight in weights.items()}

    def inference(self, workload: Workload, parameters: Mapping[str, Array], size: int) -> Callable[[Array], Array]:
        """Return the function from images to predictions."""
        weights = {name: self._laid_out(array) for name, array in parameters.items()}
        decide = self.torch.sigmoid if workload.loss == "bce" else lambda z: self.torch.softmax(z, 1)
        predict = self._finished(lambda x: decide(workload.logits(self, weights, x)))

        def infer(x: Array) -> Array:
            with self.torch.inference_mode():
                return predict(self._laid_out(x)).numpy()

        return infer

    def further_training(self, network: Network, parameters: Mapping[str, Array], rate: float) -> Any:
        """Return a training of a network of equations: a step on a batch by name, and the parameters by name."""
        weights = {name: self._laid_out(array.copy()).requires_grad_() for name, array in parameters.items()}
        optimizer = self.torch.optim.SGD(weights.values(), lr=rate, foreach=True)
        cost = self._finished(self._function(network.text, "cost", [*weights, *network.tables()["inputs"]]))

        def step(batch: Mapping[str, Array]) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = cost(*weights.values(), *map(self._laid_out, batch.values()))
            loss.backward()
            optimizer.step()
            return loss.item()

        return step, lambda: {name: weight.detach().numpy() for name, weight in weights.items()}

    def further_inference(self, network: Network, parameters: Mapping[str, Array]) -> Any:
        """Return the function from a batch by name to the output of a network of equations."""
        weights = [self._laid_out(array) for array in parameters.values()]
        out = self._finished(self._function(network.equations, "out", [*parameters, "x", *network.others]))

        def infer(batch: Mapping[str, Array]) -> Array:
            with self.torch.inference_mode():
                return out(*weights, *map(self._laid_out, batch.values())).numpy()

        return infer

    def _function(self, equations: str, result: str, arguments: Iterable[str]) -> Callable[..., Any]:
        """Return equations as a function, as a user of PyTorch would write it."""
        body = "".join(f"    {line}\n" for line in equations.strip().splitlines())
        namespace = words(self.torch)
        exec(f"def network({', '.join(arguments)}):\n{body}    return {result}", namespace)
        return namespace["network"]

    def _finished(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.torch.compile(function, dynamic=False) if self.compiled else function

    def _laid_out(self, array: Array) -> Any:
        tensor = self.torch.from_numpy(array)
        return tensor.contiguous(memory_format=self.layout) if tensor.dim() == 4 else tensor

    def record(self, expression: Expression, *values: float) -> Sweep:
        """Compute an expression of numbers, and return the function that finds its gradients."""
        leaves = [self.torch.tensor(value, requires_grad=True) for value in values]
        result = expression(self.torch.tanh, *leaves)

        def sweep() -> list[float]:
            result.backward()
            return [leaf.grad.item() for leaf in leaves]

        return sweep
