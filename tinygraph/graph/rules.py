"""Call a gradient rule, and fit what it returns to the inputs: shape, dtype, broadcasting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from tinygraph.errors import DTypeError, RuleError, ShapeError, TinygraphError, counted
from tinygraph.graph.apply import FLOATS
from tinygraph.graph.arrays import numeric_array
from tinygraph.graph.leaves import constant
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor


def call_rule(op: Op, places: Sequence[int], dy: Any, y: Any, *inputs: Any) -> list[tuple[int, Any]]:
    """Return pairs of a place and a gradient, for the inputs at ``places`` that the rule of ``op`` has a gradient for.

    ``y`` and ``inputs`` are all tensors or all arrays. A gradient has the shape and dtype of its input: it is summed over the
    axes along which the input was broadcast. Raises ``RuleError`` for a rule that fails, or returns the wrong number of
    gradients or one of the wrong shape or type.
    """
    try:
        returned = op.vjp(dy, y, *inputs)
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        if len(returned) != len(inputs):
            raise RuleError(
                f"{op.name}: its gradient rule returned {counted(len(returned), 'gradient')} for "
                f"{counted(len(inputs), 'input')}; return one for each input, None where no gradient flows"
            )
        found = []
        for place in places:
            gradient = returned[place]
            if callable(gradient):
                gradient = gradient()
            # Two NumPy scalars of one class have the same shape and dtype, and are never changed.
            if gradient.__class__ in FLOATS and gradient.__class__ is inputs[place].__class__:
                found.append((place, gradient))
            elif gradient is not None:
                found.append((place, _fitted(op, place, gradient, y, inputs)))
        return found
    except TinygraphError:
        raise
    except Exception as error:
        raise RuleError(f"{op.name}: its gradient rule failed: {type(error).__name__}: {error}") from error


def _fitted(op: Op, place: int, gradient: Any, y: Any, inputs: Sequence[Any]) -> Any:
    x = inputs[place]
    if not isinstance(gradient, (Tensor, np.ndarray, np.generic)):
        try:
            gradient = numeric_array(gradient, "not numbers")
        except (DTypeError, ShapeError):
            _blame(op, place, x, type(gradient).__name__)
    if x.__class__ is Tensor and gradient.__class__ is not Tensor:
        gradient = constant(gradient)
    if gradient.shape != x.shape:
        if not _was_broadcast(gradient.shape, y.shape, inputs):
            _blame(op, place, x, f"shape {gradient.shape}")
        gradient = OPERATIONS["sum_to"](gradient, x.shape)
    if gradient.dtype != x.dtype:
        if gradient.dtype.kind not in "biuf" and gradient.dtype.kind != x.dtype.kind:
            _blame(op, place, x, str(gradient.dtype))
        gradient = OPERATIONS["cast"](gradient, x.dtype.name)
    if gradient.__class__ is np.ndarray:
        # If the rule wrote into this array in a later call, it would change a gradient that is in use.
        gradient.flags.writeable = False
    return gradient


def _blame(op: Op, place: int, x: Any, found: str) -> NoReturn:
    name = op.parameters[min(place, len(op.parameters) - 1)]
    raise RuleError(f"{op.name}: its gradient rule returned {found} for input {name} of shape {x.shape} ({x.dtype})")


def _was_broadcast(gradient: Shape, result: Shape, inputs: Sequence[Any]) -> bool:
    try:
        broadcast = np.broadcast_shapes(*[x.shape for x in inputs])
    except ValueError:
        return False
    return gradient == broadcast == result


@dataclass(frozen=True)
class OpaqueGradient(Op):
    """The gradient of one input by a rule that needs plain arrays: one node, without a second derivative."""

    of: Op
    place: int
    name: ClassVar[str] = "opaque_gradient"

    def forward(self, dy: Any, y: Any, *inputs: Any) -> Any:
        for _, gradient in call_rule(self.of, [self.place], dy, y, *inputs):
            return gradient
        return np.zeros_like(inputs[self.place])

    def shape(self, *inputs: Any) -> Shape:
        return tuple(inputs[2 + self.place].shape)

    def result_dtype(self, *inputs: Any) -> np.dtype[Any]:
        return np.result_type(inputs[2 + self.place].dtype)

    def vjp(self, dy: Any, y: Any, *inputs: Any) -> Any:
        raise RuleError(
            f"{self.of.name}: its gradient rule works on plain arrays (opaque), so it cannot be differentiated again; "
            "write the rule in operations, without opaque=True"
        )

    def expression(self, *arguments: str) -> str:
        return f"{self.of.name}_vjp({', '.join(arguments)})[{self.place}]"
