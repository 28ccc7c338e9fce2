"""The reverse sweep: gradients as nodes of the graph (``grad``), or as arrays (``Tensor.backward``).

Read aloud: order the nodes; seed the output with one; walk the order backwards; sum the contributions to a node; give the
sum to the rule of the operation that made the node; what the rule returns are contributions to the node's inputs. Only
nodes on a path to a wanted tensor are visited, each once. The rules are given tensors, so what they compute are nodes;
``Tensor.backward`` gives the same rules arrays, which records nothing, and drops a gradient after its last use. ``call_rule``
calls one rule, and fits what it returns to the inputs: shape, dtype, broadcasting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn, cast

import numpy as np

from tinygraph.errors import DTypeError, GradientError, RuleError, ShapeError, StaleValueError, TinygraphError, counted
from tinygraph.graph.apply import FLOATS, apply
from tinygraph.graph.arrays import cast_array, numeric_array
from tinygraph.graph.batch import BatchRule, Each, Tiling, Use
from tinygraph.graph.graph import tensors_of, topological
from tinygraph.graph.op import Op, Shape
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor, constant, now
from tinygraph.locks import Lock

# Several threads may add to the gradient of one leaf.
_accumulating = Lock()


def grad(
    output: Tensor,
    wrt: Sequence[Tensor],
    cotangent: Any = None,
    unreached: Literal["error", "zeros"] = "error",
) -> tuple[Tensor, ...]:
    """Return the gradients of ``output`` with respect to each tensor of ``wrt``, as tensors that are nodes of the graph.

    Pure: nothing is stored on the tensors. Each gradient has the shape and dtype of its tensor and is called ``d`` and its
    name. ``output`` must have one element, unless ``cotangent``, an array of its shape, is the gradient to start from.
    Gradients may be differentiated again. A tensor that ``output`` does not depend on is an error, or zeros
    with ``unreached="zeros"``.

    Raises ``GradientError``, ``RuleError`` for a rule that is missing or wrong, ``StaleValueError``. Source: the chain rule as
    the notes apply it from B1 to B14, visited in reverse topological order.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> y = x * x * x
    >>> (dx,) = grad(y, [x])
    >>> (ddx,) = grad(dx, [x])
    >>> dx.name, float(dx), float(ddx)
    ('dx', 27.0, 18.0)
    """
    if unreached not in ("error", "zeros"):
        raise GradientError(f"unreached must be 'error' or 'zeros'; found {unreached!r}")
    wanted = tensors_of(wrt, "gradients are taken with respect to tensors")
    gradients = gradients_of(output, wanted, cotangent)
    missing = [x for x in wanted if x not in gradients]
    if missing and unreached == "error":
        names = ", ".join(x.describe() for x in missing)
        raise GradientError(
            f"no gradient of {output.describe()} reaches {names}: no differentiable path leads there "
            '(unreached="zeros" gives zeros instead)'
        )
    for x in missing:
        gradients[x] = constant(np.zeros(x.shape, x.dtype), _gradient_name(x))
    return tuple(gradients[x] for x in wanted)


def gradients_of(output: Tensor, wrt: Sequence[Tensor], cotangent: Any = None) -> dict[Tensor, Tensor]:
    """Return the gradient of each tensor of ``wrt`` that the sweep reaches."""
    wanted, gradients = set(wrt), backward_of(output, wrt, cotangent).gradients
    return {x: gradient for x, gradient in gradients.items() if x in wanted}


@dataclass(frozen=True)
class Backward:
    """A recorded backward pass: the gradient of every node, and the contributions that it is the sum of.

    ``gradients`` maps forward nodes to their gradient nodes. ``contributions`` maps a use, given by a node and the place of
    an input, from 0, to what the rule of the node returned for that input.
    """

    output: Tensor
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)
    contributions: dict[tuple[Tensor, int], Tensor] = field(default_factory=dict)


def backward_of(output: Tensor, wrt: Sequence[Tensor], cotangent: Any = None) -> Backward:
    """Return the backward pass that finds the gradients of ``output`` for the tensors of ``wrt``, as graph.

    Raises ``GradientError`` as ``grad`` does. Tensors that no gradient reaches are not in it.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> y = x * x
    >>> backward = backward_of(y, [x])
    >>> backward.gradients[x].name, [float(backward.contributions[y, place]) for place in (0, 1)]
    ('dx', [3.0, 3.0])
    """
    seed = _seed(output, cotangent)
    return _sweep(topological([output]), set(wrt), seed, recording=True)


def fill_gradients(output: Tensor, cotangent: Any = None) -> None:
    """Add the gradients of ``output`` to ``grad`` of the parameters and tensors that it depends on (``Tensor.backward``)."""
    if not output.has_value:
        raise GradientError(
            f"{output.describe()} has no value, so there is nothing to compute gradients from; "
            "record them with tg.grad and evaluate with tg.run"
        )
    cotangent = cotangent.value if isinstance(cotangent, Tensor) else cotangent
    order = topological([output])
    leaves = {x for x in order if x.kind in ("parameter", "tensor") and _differentiable(x)}
    gradients = _sweep(order, leaves, _seed(output, cotangent).value, recording=False).gradients
    if not gradients:
        other = next((x for x in order if x.kind in ("parameter", "tensor")), None)
        hint = "" if other is None else f": {other.describe()} holds {other.dtype}; make it of floating point numbers"
        raise GradientError(f"{output.describe()} depends on no parameter or tensor that could take a gradient{hint}")
    with _accumulating.own:
        for leaf, gradient in gradients.items():
            total = np.array(gradient) if leaf.grad is None else np.asarray(leaf.grad) + gradient
            leaf.grad = Tensor("tensor", value=total, name=_gradient_name(leaf))


def _sweep(order: Sequence[Tensor], wanted: set[Tensor], seed: Any, recording: bool) -> Backward:
    """Return the backward pass from the last tensor of ``order``, whose gradient is ``seed``, to the wanted tensors.

    Without ``recording`` everything is computed on arrays, and only the gradients of wanted tensors are kept.
    """
    backward = Backward(order[-1])
    gradients, contributions = backward.gradients, backward.contributions
    pending: dict[Tensor, list[Any]] = {order[-1]: [seed]}
    # When you read this for the first time, skip the shortcuts. ``bce(a, y, z)`` with ``a = sigmoid(z)`` gives the gradient of
    # ``z`` itself. Its gradient of ``a`` is returned if it is wanted, but must not flow on through the sigmoid to ``z`` too.
    aside: dict[Tensor, list[Any]] = {}
    start = now() if recording else None
    # Only leaves get new values: a node made after the last such change cannot be stale.
    assigned = max(node.changed for node in order)
    for node, places in reversed(_leading_to(order, wanted).items()):
        arrived = pending.pop(node, [])
        if node in aside:
            gradients[node] = _gradient(node, arrived + aside.pop(node), start, True)
        if not arrived:
            continue
        gradient = _gradient(node, arrived, start, node in wanted and node not in gradients)
        if recording or node in wanted:
            gradients.setdefault(node, gradient)
        bypassed = node.op.bypassed(len(node.inputs)) if node.op is not None and node.op.shortcuts else ()
        if bypassed:
            places = [i for i in places if i not in bypassed or node.inputs[i] in wanted]
        if not places:
            continue
        if node.order < assigned and node._value is not None:
            _check_fresh(node)
        for place, contribution in _contributions(node, places, gradient, recording):
            waiting = aside if place in bypassed else pending
            waiting.setdefault(node.inputs[place], []).append(contribution)
            if recording:
                contributions[node, place] = contribution
    return backward


def _contributions(node: Tensor, places: Sequence[int], gradient: Any, recording: bool) -> list[tuple[int, Any]]:
    """Return what the gradient of a node contributes to its inputs: pairs of a place, one of ``places``, and a contribution."""
    op: Op = node.op  # type: ignore[assignment]
    if not recording:
        return call_rule(op, places, gradient, node._value, *[x._value for x in node.inputs])
    if op.opaque_vjp:
        return [(i, apply(OpaqueGradient(op, i), [gradient, node, *node.inputs])) for i in places]
    return call_rule(op, places, gradient, node, *node.inputs)


def _leading_to(order: Sequence[Tensor], wanted: set[Tensor]) -> dict[Tensor, list[int]]:
    """Return the nodes from which a gradient can reach a wanted tensor, with the places of the inputs that lead there."""
    leading: dict[Tensor, list[int]] = {}
    for node in order:
        places = [i for i, x in enumerate(node.inputs) if x in leading]
        if (places or node in wanted) and _differentiable(node):
            leading[node] = places
    return leading


def _check_fresh(node: Tensor) -> None:
    for x in node.inputs:
        if x.changed > node.order:
            raise StaleValueError(
                f"{x.describe()} was given a new value after {node.describe()} was computed from it; "
                "compute the output again before asking for gradients"
            )


def _gradient(node: Tensor, contributions: list[Any], start: int | None, returned: bool) -> Any:
    """Return the sum of a node's contributions, with a name if the sweep, which began at ``start``, records."""
    total = contributions[0]
    if len(contributions) > 2 and (start is not None or total.dtype.char == "e"):
        # One node; and float16 is accumulated in float32.
        total = OPERATIONS["add_all"](contributions)
    elif len(contributions) > 1:
        total = total + contributions[1]
        for contribution in contributions[2:]:
            total += contribution
    if start is not None:
        return _named(node, total, start, returned)
    if total.__class__ is np.ndarray:
        total.flags.writeable = False
    return total


def _named(node: Tensor, gradient: Tensor, start: int, returned: bool) -> Tensor:
    """Return a gradient under the name "d" and the node's name.

    A gradient that the sweep has made gets this name. One that has a name already (it is the gradient of another tensor too,
    or a tensor of the user's) keeps it; if it is ``returned`` to the user, an ``identity`` of it gets the new name.
    """
    name = _gradient_name(node)
    if name is None or gradient.name == name:
        return gradient
    if gradient.name is None and gradient.order > start:
        gradient.name = name
    elif returned:
        gradient = OPERATIONS["identity"](gradient)
        gradient.name = name
    return gradient


def _seed(output: Tensor, cotangent: Any) -> Tensor:
    """Return the gradient of the output itself: the cotangent, or one."""
    if not isinstance(output, Tensor):
        raise GradientError(f"gradients are taken of a tensor; found {type(output).__name__}")
    if not _differentiable(output):
        raise GradientError(
            f"{output.describe()} holds {output.dtype}; only real floating point numbers have gradients, "
            "so begin with tensors of these, such as tg.tensor([1.0, 2.0])"
        )
    if cotangent is None and output.size != 1:
        raise GradientError(
            f"{output.describe()} has {output.size} elements; give a cotangent of its shape, "
            "or reduce it to one number first, with .sum() for example"
        )
    what = f"the cotangent of {output.describe()}"
    if cotangent is None:
        cotangent = np.ones(output.shape, output.dtype)
    if not isinstance(cotangent, Tensor):
        array = cast_array(numeric_array(cotangent, what), output.dtype, what)
        cotangent = constant(array, _gradient_name(output))
    if cotangent.shape != output.shape:
        raise ShapeError(f"{what} must have its shape; found {cotangent.shape}")
    if not np.can_cast(cotangent.dtype, output.dtype, "same_kind"):
        raise DTypeError(f"{what} holds {output.dtype}; found {cotangent.dtype}")
    if cotangent.dtype != output.dtype:
        return cast(Tensor, OPERATIONS["cast"](cotangent, output.dtype.name))
    return cast(Tensor, cotangent)


def _differentiable(x: Tensor) -> bool:
    return x.dtype.kind == "f"


def _gradient_name(x: Tensor) -> str | None:
    return f"d{x.name}" if x.name else None


def call_rule(op: Op, places: Sequence[int], dy: Any, y: Any, *inputs: Any) -> list[tuple[int, Any]]:
    """Return pairs of a place and a gradient, for the inputs at ``places`` that the rule of ``op`` has a gradient for.

    ``y`` and ``inputs`` are all tensors or all arrays. A gradient has the shape and dtype of its input: it is summed over the
    axes along which the input was broadcast. Raises ``RuleError`` for a rule that fails, or returns the wrong number of
    gradients or one of the wrong shape or type. Wrong numbers are not noticed here; ``tg.check`` finds them.
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
    """Return a gradient as a tensor or array of the shape and dtype of its input, or raise ``RuleError``."""
    x = inputs[place]
    if not isinstance(gradient, (Tensor, np.ndarray, np.generic)) and not hasattr(gradient, "__tinygraph_op__"):
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

    def batch(self, use: Use) -> BatchRule:
        """Return that each sample is alone, where the operation says so of its result and the input holds samples too."""
        y, (dy_state, y_state, *states) = use.inputs[1], use.states
        if y.op != self.of or not all(isinstance(state, Each) for state in (dy_state, y_state, states[self.place])):
            return None
        alone = Use(y, tuple(states), use.count).tiling() == Tiling(y_state)
        return y_state if alone and {dy_state, states[self.place]} == {y_state} else None

    def vjp(self, dy: Any, y: Any, *inputs: Any) -> Any:
        raise RuleError(
            f"{self.of.name}: its gradient rule works on plain arrays (opaque), so it cannot be differentiated again; "
            "write the rule in operations, without opaque=True"
        )

    def expression(self, *arguments: str) -> str:
        return f"{self.of.name}_vjp({', '.join(arguments)})[{self.place}]"
