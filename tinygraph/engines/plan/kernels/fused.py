"""Several elementwise operations as one loop, with a sum or mean over its result where one follows: one pass over memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary
from tinygraph.engines.plan.kernels.generated import call_of, kernel_source
from tinygraph.graph import Array, BatchRule, Each, Op, Shape, Tiling, Use, Value, evaluate
from tinygraph.ops.reduction.reduction import Mean

# Sums of float64 are taken in parts of this many numbers, so that the error does not grow with each of them.
_PART = 1024


@dataclass(frozen=True)
class Fused(Op):
    """A chain of elementwise operations; its result is that of the last step.

    Each of ``steps`` is an operation, the places of its inputs, the dtype of its result, and its expression. Places count
    through the chain's inputs and the earlier steps.
    """

    steps: Any
    elementwise: ClassVar[bool] = True

    def forward(self, *x: Value) -> Value:
        values = list(x)
        for op, places, dtype, _ in self.steps:
            inputs = [values[place] for place in places]
            values.append(evaluate(op, inputs, np.broadcast_shapes(*map(np.shape, inputs)), dtype))
        return values[-1]

    def lines(self, loaded: Sequence[str], ending: str) -> tuple[list[str], str]:
        """Return statements that compute one element from the inputs' elements, and the name of the result.

        All new names have an ``ending``.
        """
        names, lines = list(loaded), []
        for number, (_, places, _, text) in enumerate(self.steps):
            lines.append(f"t{number}{ending} = " + text.format(*(names[place] for place in places)))
            names.append(f"t{number}{ending}")
        return lines, names[-1]


@dataclass(frozen=True)
class FusedSum(Op):
    """A sum or mean, ``reduction``, over the result of a chain."""

    chain: Any
    reduction: Any

    def full(self, inputs: Sequence[Any]) -> Any:
        """Return what stands for the result of the chain in rules about shapes."""
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        return SimpleNamespace(shape=shape, ndim=len(shape), size=math.prod(shape), inputs=inputs, value=None)

    def forward(self, *x: Value) -> Value:
        return self.reduction.forward(self.chain.forward(*x))

    def batch(self, use: Use) -> BatchRule:
        full = self.full(use.inputs)
        before = Use(full, use.states, use.count).elementwise()
        if before is None or not isinstance(before.state, Each):
            return None
        reduced = SimpleNamespace(op=self.reduction, inputs=(full,), shape=use.node.shape, ndim=use.node.ndim)
        after = Use(reduced, (before.state,), use.count).tiling()
        if after is None:
            return None
        smaller = after.for_tile
        return Tiling(
            after.state, smaller and (lambda size: replace(self, reduction=smaller(size))), sliced=before.sliced
        )


@kernel(Fused, in_place=True)
def _fused(work: Work) -> Sequence[Call]:
    out = work.out
    if not out.size or not all(map(_whole, (*work.inputs, out))):
        return ordinary(work)
    inputs, calls = _aligned(work, out)
    return [*calls, _loops(work.op, inputs, out, out.shape, sums=False)]


@kernel(FusedSum)
def _fused_sum(work: Work) -> Sequence[Call]:
    (op, out), full = (work.op, work.out), work.op.full(work.inputs)
    if not full.size or not out.size or not all(map(_whole, work.inputs)):
        return ordinary(work)
    axes = op.reduction.combined_axes(full)
    kept = tuple(1 if i in axes else size for i, size in enumerate(full.shape))
    # The sums lie as what is summed does.
    inputs, calls = _aligned(work, _largest([np.broadcast_to(x, full.shape) for x in work.inputs]))
    like = _largest([np.broadcast_to(x, full.shape) for x in inputs])
    sums, result = work.scratch.take(kept, np.dtype(np.float64), like), out.reshape(kept)
    count = np.float64(full.size // out.size if isinstance(op.reduction, Mean) else 1)
    ended = partial(np.divide, sums, count, result, casting="same_kind")
    return [*calls, partial(sums.fill, 0), _loops(op.chain, inputs, sums, full.shape, sums=True), ended]


def _largest(arrays: Sequence[Array]) -> Array:
    """Return the array that is repeated along the fewest axes."""
    return max(arrays, key=lambda x: np.count_nonzero(x.strides))


def _aligned(work: Work, like: Array) -> tuple[list[Array], list[Call]]:
    """Return the inputs, with small ones that lie in another order than ``like`` as copies in its order, and their calls.

    Elements that are apart in memory are read one by one.
    """
    inputs, calls = list(work.inputs), list[Call]()
    inner = min(range(like.ndim), key=lambda axis: (like.shape[axis] == 1, abs(like.strides[axis])), default=0)
    for place, x in enumerate(inputs):
        # One element stands for those that it is repeated to.
        x = x[tuple(slice(None) if step else slice(1) for step in x.strides)][(None,) * (like.ndim - x.ndim)]
        if x.ndim and x.shape[inner] > 1 and x.strides[inner] != x.itemsize and 4 * x.size <= like.size:
            inputs[place] = work.scratch.take(x.shape, x.dtype, like)
            calls.append(partial(np.copyto, inputs[place], x))
    return inputs, calls


def _whole(x: Array) -> bool:
    """Whether the strides of an array are whole numbers of elements."""
    return all(step % x.itemsize == 0 for step in x.strides)


def _loops(chain: Fused, inputs: Sequence[Array], out: Array, shape: Shape, sums: bool) -> Call:
    """Return the call of loops that compute a chain for each element of ``shape``, and write it or add it to ``out``."""
    operands = [np.broadcast_to(x, shape) for x in inputs]
    sizes = zip(out.shape, shape, out.strides, strict=True)
    operands.append(as_strided(out, shape, [step if kept == size else 0 for kept, size, step in sizes]))
    # The order of the loops is that of the memory of the result, or of what is summed.
    lying = _largest(operands[:-1]) if sums else out
    order = sorted(range(len(shape)), key=lambda axis: -abs(lying.strides[axis]))
    loops = _collapsed(operands, order)
    # A result in the place of an input is read and written through one pointer: two would be taken for an overlap.
    names = [f"p{i}" for i in range(len(operands))]
    for i, x in enumerate(inputs if not sums else ()):
        if (x.ctypes.data, x.shape, x.strides) == (out.ctypes.data, out.shape, out.strides):
            names[i] = names[-1]
    kinds = ["BYTES" if x.dtype.kind == "b" else "NUMBERS" for x in operands[:-1]]
    kinds.append("SUMS" if sums else "BYTES" if out.dtype.kind == "b" else "NUMBERS")
    itemsize = max((x.itemsize for x in (*inputs, *[out] * (not sums)) if x.dtype.kind == "f"), default=4)
    source = _source(chain, names, kinds, [steps for _, steps in loops])
    numbers = [size for size, _ in loops] + [step for _, steps in loops for step in steps]
    return call_of(source, itemsize, [*operands, np.array(numbers, np.int64)])


def _collapsed(operands: Sequence[Array], order: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Return as few loops as possible, the innermost last: the size of each, and the steps of the operands in elements."""
    loops: list[tuple[int, tuple[int, ...]]] = []
    for axis in order:
        size, steps = operands[0].shape[axis], tuple(x.strides[axis] // x.itemsize for x in operands)
        if loops and loops[-1][1] == tuple(size * step for step in steps):
            size *= loops.pop()[0]
        if size > 1:
            loops.append((size, steps))
    return loops or [(1, (1,) * len(operands))]


def _source(chain: Fused, names: Sequence[str], kinds: Sequence[str], loops: Sequence[tuple[int, ...]]) -> str:
    """Return the source of a kernel for ``loops``, each given by the steps of the operands; the last one gets the result.

    ``m`` holds the sizes of the loops and then these steps, ``a0`` is where the innermost loop begins in the first operand, and
    ``x0`` the element of it. The innermost steps are part of the source if they are 0 or 1.
    """
    target, last, steps = len(names) - 1, len(loops) - 1, loops[-1]
    inputs, operands, sums = range(target), range(target + 1), kinds[target] == "SUMS"
    numbers = [f"n{axis}" for axis in range(len(loops))]
    numbers += [f"s{i}_{axis}" for axis in range(len(loops)) for i in operands]
    lines = [f"{name} = m[{place}]" for place, name in enumerate(numbers)]
    within = sums and steps[target] == 0

    def add(depth: int, *added: str) -> None:
        lines.extend("    " * depth + line for line in added)

    def element(number: int) -> tuple[list[str], list[str], str, str]:
        """Return what to do before the innermost loop and in it, the result, and its place, ``number`` elements outside."""
        starts = [f"a{i}" + f" + U({number}) * s{i}_{last - 1}" * bool(number) for i in operands]
        at = [starts[i] + {0: "", 1: " + j"}.get(steps[i], f" + j * s{i}_{last}") for i in operands]
        # What is read where the result is written has its index too: LLVM must see that no other element is.
        at = [at[target] if name == names[target] else own for own, name in zip(at, names, strict=True)]
        loads = [f"x{i}_{number} = {names[i]}[{at[i]}]" + " != 0" * (kinds[i] == "BYTES") for i in inputs]
        computed, result = chain.lines([f"x{i}_{number}" for i in inputs], f"_{number}")
        each = [loads[i] for i in inputs if steps[i] != 0] + computed
        return [loads[i] for i in inputs if steps[i] == 0], each, result, f"{names[target]}[{at[target]}]"

    # Where a sum is added to in the innermost loop, four elements of the loop outside are added at once.
    several = sums and not within and last > 0 and loops[-2][target] == 0
    for axis in range(last - several):
        add(axis, f"for i{axis} in range(n{axis}):")
    for width in (4, 1) if several else (1,):
        if several:
            whole = f"n{last - 1} // U(4) * U(4)"
            bounds = f"U(0), {whole}, U(4)" if width == 4 else f"{whole}, n{last - 1}"
            add(last - 1, f"for i{last - 1} in range({bounds}):")
        for i in operands:
            add(last, f"a{i} = " + " + ".join(["U(0)", *(f"i{axis} * s{i}_{axis}" for axis in range(last))]))
        before, each, results, places = zip(*map(element, range(width)), strict=True)
        place, computed = places[0], list(itertools.chain(*each))
        add(last, *itertools.chain(*before))
        if within:
            add(last, "start = U(0)", f"while start < n{last}:")
            add(last + 1, f"end, total = min(start + U({_PART}), n{last}), 0.0", "for j in range(start, end):")
            add(last + 2, *computed, f"total = add(total, np.float64({results[0]}))")
            add(last + 1, f"{place} += total", "start = end")
        else:
            stored = {
                "SUMS": f"{place} += np.float64({' + '.join(results)})",
                "BYTES": f"{place} = np.uint8({results[0]})",
            }
            add(last, f"for j in range(n{last}):")
            add(last + 1, *computed, stored.get(kinds[target], f"{place} = {results[0]}"))
    return kernel_source({f"p{i}": kinds[i] for i in operands}, lines)
