"""What kernels share: the table of kernels, their scratch memory, and the calls from which they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tinygraph.engines.plan.memory import strides_in
from tinygraph.engines.plan.node import Node, is_own
from tinygraph.graph import Array, Op, Shape, evaluate
from tinygraph.ops.sums import FEW, total

Call: TypeAlias = Callable[[], object]


class Scratch:
    """Memory for a kernel while it runs. The next kernel may get the same bytes."""

    def __init__(self) -> None:
        self._blocks: list[Array] = []
        self._taken = 0
        self._kept = 0

    def begin(self) -> None:
        """Begin another kernel."""
        self._taken = 0

    def take(self, shape: Shape, dtype: np.dtype[Any], like: Array | None = None) -> Array:
        """Return an array, its axes in memory as those of ``like``."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if self._taken == len(self._blocks) or self._blocks[self._taken].nbytes < nbytes:
            self._blocks[self._taken : self._taken + 1] = [np.empty(nbytes, np.uint8)]
        block = self._blocks[self._taken]
        self._taken += 1
        order = range(len(shape)) if like is None else sorted(range(like.ndim), key=lambda i: (-like.strides[i], i))
        return np.ndarray(shape, dtype, block, 0, strides_in(order, shape, dtype.itemsize))

    def zeros(self, shape: Shape, dtype: np.dtype[Any], like: Array | None = None) -> Array:
        """Return zeros that this kernel keeps from one run to the next, their axes in memory as those of ``like``.

        >>> scratch = Scratch()
        >>> zeros, taken = scratch.zeros((2, 3), np.dtype(np.float32)), scratch.take((5,), np.dtype(np.float64))
        >>> np.may_share_memory(zeros, taken), scratch.nbytes
        (False, 64)
        """
        array = np.zeros(shape, dtype) if like is None else np.zeros_like(like, dtype, shape=shape)
        self._kept += array.nbytes
        return array

    @property
    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._kept + sum(block.nbytes for block in self._blocks)


@dataclass(frozen=True)
class Work:
    """One node's work: its operation, the arrays that it reads, the array that it writes, and scratch memory."""

    node: Node
    out: Array
    inputs: tuple[Array, ...]
    scratch: Scratch

    @property
    def op(self) -> Any:
        """The operation, whose class the kernel knows."""
        return self.node.op


Kernel: TypeAlias = Callable[[Work], Sequence[Call]]


@dataclass(frozen=True)
class Entry:
    """A kernel, whether its result may overwrite an input, and whether it needs zeros where it does not write."""

    kernel: Kernel
    in_place: bool = False
    zeroed: bool = False


_ENTRIES: dict[type[Op], Entry] = {}


def kernel(
    *classes: type[Op], in_place: bool = False, zeroed: bool = False, floats: bool = False
) -> Callable[[Kernel], Kernel]:
    """Register a kernel for some operations; use as a decorator.

    With ``floats``, it gets only arrays of float32 or float64 that are not empty; others are left to the ordinary rule.
    """

    def chosen(function: Kernel, work: Work) -> Sequence[Call]:
        dtypes = {work.out.dtype, *(x.dtype for x in work.inputs if x.dtype.kind == "f")}
        first = work.inputs[0]
        fits = dtypes == {first.dtype} and first.dtype.char in "fd" and first.size and work.out.size
        return function(work) if fits else ordinary(work)

    def note(function: Kernel) -> Kernel:
        entry = Entry(partial(chosen, function) if floats else function, in_place, zeroed)
        _ENTRIES.update(dict.fromkeys(classes, entry))
        return function

    return note


def ordinary(work: Work) -> Sequence[Call]:
    """Return the call for an operation without a kernel: its forward, with the result copied."""
    op, shape, dtype, out = work.node.op, work.node.shape, work.node.dtype, work.out
    assert op is not None
    inputs = [_read_only(x.view()) for x in work.inputs]
    if op.moves and is_own(op) and not op.has_check and len(inputs) == 1:
        moved = op.forward(*inputs)
        if np.may_share_memory(moved, inputs[0]):
            # A view of memory that stays where it is: copying it is all that is left to do.
            return [partial(np.copyto, out, moved)]

    def call() -> None:
        out[...] = evaluate(op, inputs, shape, dtype)

    def call_with_copies() -> None:
        out[...] = evaluate(op, [_read_only(x.copy()) for x in inputs], shape, dtype)

    # A user's operation may keep its inputs, and the plan would overwrite them.
    return [call if is_own(op) else call_with_copies]


def _read_only(x: Array) -> Array:
    x.flags.writeable = False
    return x


_ORDINARY = Entry(ordinary)


def entry(op: Op) -> Entry:
    """Return how the plan computes an operation."""
    return _ENTRIES.get(type(op), _ORDINARY)


def provided(holds: Callable[[], bool], calls: Sequence[Call], work: Work) -> Sequence[Call]:
    """Return a call that makes ``calls`` if ``holds()`` is true, and runs the ordinary rule otherwise."""
    rule = ordinary(work)

    def call() -> None:
        for each in calls if holds() else rule:
            each()

    return [call]


def gated(x: Array, condition: Array, out: Array) -> Call:
    """Return a call that writes ``x`` where the condition holds and 0 elsewhere: a product of the bits, as in ``tg.gate``.

    >>> out = np.empty(2)
    >>> call = gated(np.array([np.inf, np.inf]), np.array([True, False]), out)
    >>> _ = call()
    >>> out
    array([inf,  0.])
    """
    bits = f"u{x.itemsize}"
    return partial(np.multiply, x.view(bits), condition, out.view(bits))


def summing(x: Array, out: Array, axes: int | tuple[int, ...]) -> Call:
    """Return a call that adds up along axes, kept with size 1, with the error of pairwise summation."""
    if x.size <= FEW * out.size or out.dtype.kind not in "fc":
        return partial(np.add.reduce, x, axes, out.dtype, out, True)
    return lambda: np.copyto(out, total(x, axes, keepdims=True))
