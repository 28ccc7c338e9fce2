"""Composites: operations made of other operations. A call records the parts, so a composite needs no gradient rule."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import AttributeValueError, DTypeError, OperationError, ShapeError
from tinygraph.graph.apply import as_tensors
from tinygraph.graph.backprop import gradients_of
from tinygraph.graph.op import Op
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor


class Composite(Op):
    """An operation whose ``forward`` is written in operations: on arrays it computes, on tensors it records its parts.

    Attributes, formula, samples and a shape rule (for clear errors) are as for any operation. It needs no gradient rule,
    because the sweep goes through the parts. Where it is recorded as one node, as for its certificate, its rule runs the
    sweep through the parts.

    >>> import tinygraph as tg
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Swish(Composite):
    ...     slope: float = 1.0
    ...     def forward(self, x):
    ...         return x * tg.sigmoid(self.slope * x)
    >>> print(tg.Graph(Swish()(tg.input("x", (2,)))))
    x   input             float32 (2,)
    t1  = x * sigmoid(x)  float32 (2,)
    """

    composite: ClassVar[bool] = True

    def compose(self, *inputs: Any) -> Tensor:
        """Record the parts on tensors and return the result: always a new node, also where ``forward`` returns an input.

        Raises ``OperationError`` if ``forward`` returns no tensor.
        """
        operands = as_tensors(self, inputs)
        if self.has_shape_rule:
            self.shape(*operands)
        y = self.parts(*operands)
        if not isinstance(y, Tensor):
            raise OperationError(
                f"{self.name}: forward returned {type(y).__name__} for tensors; write it with operators and operations"
            )
        y = OPERATIONS["identity"](y) if any(y is x for x in operands) else y
        y.call = (self, operands)
        return y

    def parts(self, *inputs: Any) -> Any:
        """Return what ``forward`` makes of tensors or arrays; errors of the parts begin with the name of the composite."""
        try:
            return self.forward(*inputs)
        except (ShapeError, DTypeError, AttributeValueError, OperationError) as error:
            raise type(error)(f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}") from None

    @staticmethod
    def named(part: Any, x: Any, suffix: str) -> Any:
        """Return a part, named after the input that it belongs to if that has a name, for use in equations.

        >>> import tinygraph as tg
        >>> x = tg.tensor([1.0, 2.0], name="x")
        >>> Composite.named(x * 2, x, "double").name
        'x_double'
        """
        recorded = isinstance(part, Tensor) and part.op is not None and part.name is None
        if recorded and getattr(x, "name", None):
            part.name = f"{x.name}_{suffix}"
        return part

    def vjp(self, dy: Any, y: Any, /, *inputs: Any) -> Sequence[Any]:
        """Return the gradients of the inputs, found by a sweep through the parts; ``None`` where no gradient flows."""
        recording = any(isinstance(x, Tensor) for x in (dy, *inputs))
        leaves = _leaves(inputs)
        found = gradients_of(self.forward(*leaves), leaves, dy)
        gradients = (found.get(leaf) for leaf in leaves)
        return tuple(dx if recording or dx is None else dx.value for dx in gradients)


def _leaves(inputs: Sequence[Any]) -> list[Tensor]:
    """Return one tensor for each input, at which a sweep ends.

    If a tensor is given twice, or computed from another input, then each input is replaced by an ``identity`` of it.
    """
    tensors = [x if isinstance(x, Tensor) else Tensor("tensor", value=np.array(x)) for x in inputs]
    if len(set(tensors)) == len(tensors) and all(x.op is None for x in tensors):
        return tensors
    return [OPERATIONS["identity"](x) for x in tensors]
