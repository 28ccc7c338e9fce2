"""How an operation treats the samples of a batch, so that an engine may cut the batch into tiles and join their results.

``Op.batch(use)`` answers this for one use of an operation:

- ``Each(axis)``: each sample alone; the result holds the samples along ``axis``.
- ``TOTAL`` or ``MEAN``: the sum, or the mean, over the samples.
- ``Tiling``: one of these, where a tile also needs other attributes or rows of a constant.
- ``None``: the samples are mixed in another way, so the batch cannot be cut.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tinygraph.errors import OperationError

if TYPE_CHECKING:
    from tinygraph.graph.op import Op


@dataclass(frozen=True)
class Each:
    """Each sample alone: the samples lie along ``axis``.

    >>> Each(0).axis
    0
    """

    axis: int


class Part(enum.Enum):
    """What has no samples of its own.

    ``SHARED`` is the same for every tile, and ``AFTER`` is computed from totals and means, once all tiles are done.
    """

    SHARED = "shared"
    TOTAL = "total"
    MEAN = "mean"
    AFTER = "after"


SHARED, TOTAL, MEAN, AFTER = Part.SHARED, Part.TOTAL, Part.MEAN, Part.AFTER
State: TypeAlias = Each | Part


@dataclass(frozen=True)
class Tiling:
    """The state of a result, and what a tile needs to compute its part of it.

    ``for_tile`` returns the operation for a tile of so many samples, where an attribute holds the size of the batch.
    ``sliced`` lists the inputs without samples from which a tile takes its own rows.
    """

    state: State
    for_tile: Callable[[int], Op] | None = None
    sliced: tuple[int, ...] = ()


@dataclass(frozen=True)
class Use:
    """One use of an operation in a graph: its ``node``, the states of the node's inputs, and the size of the batch.

    At least one input is ``Each``, and the others are ``SHARED``. An engine's nodes have ``op``, ``inputs``, ``shape``
    and ``ndim`` as tensors do, and a ``value`` that is ``None`` if it is not known before the graph is run.
    """

    node: Any
    states: tuple[State, ...]
    count: int

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The inputs of the node, with ``shape`` and ``ndim``."""
        return tuple(self.node.inputs)

    def tiling(self) -> Tiling | None:
        """Return what the rule of the operation says, or raise ``OperationError`` where it returns something else."""
        op, rule = self.node.op, self.node.op.batch(self)
        if rule is not None and not isinstance(rule, (Each, Part, Tiling)):
            raise OperationError(
                f"{op.name}: batch must return tg.Each(axis), tg.TOTAL, tg.MEAN or None; found {rule!r}"
            )
        return Tiling(rule) if isinstance(rule, (Each, Part)) else rule

    def axis(self, *places: int) -> int | None:
        """Return the axis of the samples of the inputs at ``places``, by default all inputs.

        ``None`` if it is not the same axis in each of them, or if another input holds samples too.
        """
        places = places or tuple(range(len(self.states)))
        chosen = {self.states[place] for place in places}
        others = {state for place, state in enumerate(self.states) if place not in places}
        if len(chosen) > 1 or others - {SHARED}:
            return None
        (state,) = chosen
        return state.axis if isinstance(state, Each) else None

    def each(self, *places: int) -> Each | None:
        """Return ``Each(0)`` if the samples lie along the first axis of the inputs at ``places``, by default all inputs."""
        return Each(0) if self.axis(*places) == 0 else None

    def mean(self, *places: int) -> Part | None:
        """Return ``MEAN`` if the samples lie along the same axis of the inputs at ``places``, by default all inputs."""
        return None if self.axis(*places) is None else MEAN

    def outside_axis(self) -> Each | None:
        """Return ``Each`` of the samples' axis, or ``None`` if the operation works along that axis."""
        named, ndim, axis = self.node.op.axis, self.inputs[0].ndim, self.axis()
        named = range(ndim) if named is None else named if isinstance(named, tuple) else (named,)
        return None if axis is None or axis in {i % ndim for i in named} else Each(axis)

    def sized(self, axis: int, op: Any = None) -> Tiling:
        """Return ``Each(axis)`` for an operation whose attribute ``to`` is the shape of its result; a tile's is smaller.

        ``op`` is what a tile is computed by; by default the operation with another ``to``.
        """
        given, shape = op or self.node.op, self.node.shape
        return Tiling(Each(axis), lambda size: dataclasses.replace(given, to=(*shape[:axis], size, *shape[axis + 1 :])))

    def elementwise(self) -> Tiling | None:
        """Return the rule of operations that broadcast: the samples lie along one axis of the result."""
        shifts = [self.node.ndim - x.ndim for x in self.inputs]
        axes = {s.axis + shift for s, shift in zip(self.states, shifts, strict=True) if isinstance(s, Each)}
        if len(axes) != 1:
            return None
        (axis,), sliced = axes, []
        for place, (x, state, shift) in enumerate(zip(self.inputs, self.states, shifts, strict=True)):
            if state is SHARED and axis >= shift and x.shape[axis - shift] != 1:
                if (x.value is None and x.op is None) or axis != shift:
                    return None
                sliced.append(place)
        return Tiling(Each(axis), sliced=tuple(sliced))


BatchRule: TypeAlias = State | Tiling | None
