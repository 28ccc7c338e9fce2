"""Depthwise convolutions and max-pools of pictures as generated loops over windows, without copies of their pixels.

The loops go over channels, rows of windows and the offsets in a window. For each of these, the pixels at the offset are one
run, along columns and samples: such runs are read, multiplied and added while they are in the cache. BLAS has little to do
where each channel has a kernel of its own.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary, provided
from tinygraph.engines.plan.kernels.generated import call_of, kernel_source
from tinygraph.engines.plan.kernels.pooling import MaxUnpoolGivenMaxima, disjoint
from tinygraph.engines.plan.node import Node, is_a, remade, rewrite
from tinygraph.graph import Array, BatchRule, Op, Use, Value, all_finite
from tinygraph.ops.convolution.convolution import Convolution, Convolve, ConvolveTransposed
from tinygraph.ops.pooling.max_pooling import MaxPool2d
from tinygraph.ops.windows import Windows

# Numbers have no sign, so a row above the image has a very large number.
_ROWS = """\
for f in range(filters):
    for h in range(rows):
        for u in range(kh):
            row = h * stride + u * dilation - padding
            if row >= height:
                continue
            for s in range(spans):
                v, start = m[U({table}) + U(4) * s], m[U({table}) + U(4) * s + U(1)]
                count, first = m[U({table}) + U(4) * s + U(2)], m[U({table}) + U(4) * s + U(3)]"""


@dataclass(frozen=True)
class ByWindows(Op):
    """An operation of windows that is computed by generated loops."""

    of: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.of.name)

    def forward(self, *x: Value) -> Value:
        return self.of.forward(*x)

    def batch(self, use: Use) -> BatchRule:
        rule: BatchRule = self.of.batch(use)
        return rule


def by_windows(outputs: Sequence[Node], chosen: Callable[[Node], bool]) -> list[Node]:
    """Return the outputs with chosen operations of windows, on float32 or float64, computed by generated loops.

    Convolutions are chosen before ``lower`` replaces them, and pools when it has made the operation for their gradient.
    """

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        fits = node.dtype.char in "fd" and node.size and all(x.dtype == node.dtype and x.size for x in inputs)
        if fits and chosen(node):
            return Node(node.shape, node.dtype, ByWindows(node.op), inputs, tensors=node.tensors)
        return remade(node, inputs)

    return rewrite(outputs, rule)


def is_depthwise(node: Node) -> bool:
    """Whether a node is a convolution of lines or pictures, its transpose or its kernel gradient, by channel.

    With one channel alone, all filters read the same pixels, and BLAS is fast.
    """
    if not is_a(node.op, Convolution) or node.op.rank > 2 or node.op.groups == 1:
        return False
    return (node.inputs[1] if is_a(node.op, Convolve, ConvolveTransposed) else node).shape[1] == 1


def is_overlapping_pool(node: Node) -> bool:
    """Whether a node is a max-pool of pictures, or its gradient, whose windows overlap: NumPy is fast for others."""
    if is_a(node.op, MaxPool2d):
        return not disjoint(node.op.windows(node.inputs[0].shape))
    return is_a(node.op, MaxUnpoolGivenMaxima) and not disjoint(node.op.of.windows(node.shape))


@kernel(ByWindows)
def _by_windows(work: Work) -> Sequence[Call]:
    op, out = work.op.of, work.out
    if any(step % x.itemsize for x in (*work.inputs, out) for step in x.strides):
        return ordinary(work)
    if isinstance(op, MaxPool2d):
        (x,) = work.inputs
        body = ["{y} = {x} if ({x} > {y}) | ({x} != {x}) else {y}"]
        return [partial(out.fill, -math.inf), _loops(op.windows(x.shape), body, {"x": x}, {"y": out})]
    if isinstance(op, MaxUnpoolGivenMaxima):
        dy, x, y = work.inputs
        taken = work.scratch.take(y.shape, np.dtype(bool), like=y)
        body = ["hit = ({x} == {y}) & ({taken} == 0)", "{dx} += {dy} if hit else T(0)"]
        body.append("{taken} = np.uint8(({taken} != 0) | hit)")
        loops = _loops(op.of.windows(x.shape), body, {"x": x, "dx": out}, {"y": y, "dy": dy, "taken": taken})
        # A NaN equals nothing: the ordinary rule finds its element.
        calls: list[Call] = [partial(out.fill, 0), partial(taken.fill, False), loops]
        return provided(lambda: not math.isnan(np.maximum.reduce(y, axis=None)), calls, work)
    return _depthwise(op, work)


def _depthwise(op: Convolution, work: Work) -> Sequence[Call]:
    (first, second), out = work.inputs, work.out
    if isinstance(op, Convolve):
        x, k, y, body = first, second, out, ["{y} = add_product({y}, weight, {x})"]
    elif isinstance(op, ConvolveTransposed):
        y, k, x, body = first, second, out, ["{x} = add_product({x}, weight, {y})"]
    else:
        x, y, body = first, second, ["total = add_product(total, {x}, {y})"]
        k = work.scratch.take(out.shape, np.dtype(np.float64))
    windows, result = op.windows(x.shape, k.shape), k if "total" in body[0] else out
    if op.rank == 1:
        # A line is a picture with one row.
        image, size, stride, dilation = windows.image, windows.kernel, windows.stride, windows.dilation
        windows = Windows((1, *image), (1, *size), (1, *stride), (1, *dilation), ((0, 0), *windows.padding))
        x, y, k = (np.expand_dims(array, 2) for array in (x, y, k))
    calls: list[Call] = [partial(result.fill, 0), _loops(windows, body, {"x": x}, {"y": y}, k[:, 0])]
    calls += [] if result is out else [partial(np.copyto, out, result, casting="same_kind")]
    # The rule multiplies the zeros of the padding too: by what is not finite, they are NaN.
    if isinstance(op, ConvolveTransposed) or not windows.has_padding:
        return calls
    if isinstance(op, Convolve):
        return provided(partial(all_finite, k), calls, work)
    if any(max(pads) >= reach for pads, reach in zip(windows.padding, windows.reach, strict=True)):
        # A window lies in the padding.
        return ordinary(work)
    return [*calls, *provided(partial(all_finite, out), [], work)]


def _loops(
    windows: Windows,
    body: Sequence[str],
    images: Mapping[str, Array],
    results: Mapping[str, Array],
    k: Array | None = None,
) -> Call:
    """Return the call of loops that do ``body`` for every pixel of every window.

    ``images (N, C, H, W)`` and ``results (N, F, rows, columns)`` are named in the body. ``k (F, kh, kw)`` is the kernel with
    the ``weight`` of each offset, or in float64 what gets the ``total`` of each.
    """
    operands = {**images, **results}
    (samples, filters, rows, _), channels = next(iter(results.values())).shape, next(iter(images.values())).shape[1]
    numbers = {"filters": filters, "shared": filters // channels, "rows": rows, "height": windows.image[0]}
    numbers |= {"kh": windows.kernel[0], "stride": windows.stride[0], "dilation": windows.dilation[0]}
    numbers |= {"padding": windows.padding[0][0], "spans": len(windows.spans(1)), "samples": samples}
    joined, inside = True, list[str]()
    at = {}
    for name, array in operands.items():
        sample, c, h, w = (step // array.itemsize for step in array.strides)
        step, channel, row, first = w, "f", "h", "start"
        if name in images:
            step, channel, row, first = w * windows.stride[1], "(f // shared)", "row", "first"
        numbers |= {f"{name}_c": c, f"{name}_h": h, f"{name}_w": w, f"{name}_i": step, f"{name}_j": sample}
        joined &= step == sample * samples or (samples == 1 and step == 1)
        inside.append(f"{name}_at = {channel} * {name}_c + {row} * {name}_h + {first} * {name}_w")
        inner = "j" if sample == 1 or samples == 1 else f"j * {name}_j"
        at[name] = f"{name}[{name}_at + i * {name}_i + {inner}]"
    # Columns and samples are one run where the memory allows it.
    numbers |= {"joined": joined}
    if k is not None:
        numbers |= dict(zip(("k_f", "k_u", "k_v"), (step // k.itemsize for step in k.strides), strict=True))
        operands["k"] = k
    weight, sums = "k[f * k_f + u * k_u + v * k_v]", "total" in body[0]
    inside += ["total = T(0)" if sums else f"weight = {weight}"] * (k is not None)
    inside += [
        "for i in range(U(1) if joined else count):",
        "    for j in range(count * samples if joined else samples):",
    ]
    inside += ["        " + line.format(**at) for line in body] + [f"{weight} += np.float64(total)"] * sums
    lines = [f"{name} = m[{i}]" for i, name in enumerate(numbers)] + _ROWS.format(table=len(numbers)).splitlines()
    kinds = {name: "BYTES" if x.dtype.kind == "b" else "NUMBERS" for name, x in operands.items()}
    source = kernel_source(kinds | {"k": "SUMS"} if sums else kinds, lines + [" " * 16 + line for line in inside])
    table = [(v, on.start, on.stop - on.start, pixels.start) for v, on, pixels in windows.spans(1)]
    sizes = np.array([*numbers.values(), *itertools.chain(*table)], np.int64)
    return call_of(source, max(x.itemsize for x in images.values()), [*operands.values(), sizes])
