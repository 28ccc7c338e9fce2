"""Scalars in plain Python, in the manner of Karpathy's micrograd, with a sweep that does not call itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..workloads import Expression, Sweep


class Value:
    """A number that remembers what it was made from, and how to hand its gradient back."""

    def __init__(self, data: float, inputs: tuple[Value, ...] = ()) -> None:
        self.data, self.inputs = data, inputs
        self.grad = 0.0
        self.give: Callable[[], None] = lambda: None

    def __add__(self, other: Value) -> Value:
        result = Value(self.data + other.data, (self, other))

        def give() -> None:
            self.grad += result.grad
            other.grad += result.grad

        result.give = give
        return result

    def __mul__(self, other: Value) -> Value:
        result = Value(self.data * other.data, (self, other))

        def give() -> None:
            self.grad += other.data * result.grad
            other.grad += self.data * result.grad

        result.give = give
        return result

    def tanh(self) -> Value:
        t = math.tanh(self.data)
        result = Value(t, (self,))

        def give() -> None:
            self.grad += (1 - t * t) * result.grad

        result.give = give
        return result

    def backward(self) -> None:
        order: list[Value] = []
        seen: set[Value] = set()
        stack = [(self, False)]
        while stack:
            value, finished = stack.pop()
            if finished:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                stack.extend((x, False) for x in value.inputs)
        self.grad = 1.0
        for value in reversed(order):
            value.give()


class MicrogradPeer:
    """Expressions of single numbers; no networks."""

    def __init__(self, threads: int) -> None:
        pass

    def record(self, expression: Expression, *values: float) -> Sweep:
        """Compute an expression of numbers, and return the function that finds its gradients."""
        leaves = [Value(value) for value in values]
        result = expression(Value.tanh, *leaves)

        def sweep() -> list[float]:
            result.backward()
            return [leaf.grad for leaf in leaves]

        return sweep
