"""Remarks: what a formula leaves out of the operation that it is of, such as a padding, or the axes of a sum."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from tinygraph.errors import TinygraphError
from tinygraph.graph.op import Op
from tinygraph.graph.tensor import Tensor
from tinygraph.ops.convolution.convolution import ConvolveTransposed

# Attributes that only repeat what the shapes of the arrays, or the formula, say.
_REPEATED = frozenset({"to", "output_size", "kernel_size", "dtype", "classes", "keepdims", "equation"})
_AXES = ("samples", "channels", "rows", "columns")


def left_out(node: Tensor, op: Op, template: str, batched: bool) -> list[str]:
    """Return what the template that a node is written by leaves out: its attributes, and the axes of a sum or a mean.

    ``batched`` says that the first axis is that of samples, and that four axes are those of images.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3, 8, 8))
    >>> left_out(node := tg.mean(x, axis=(0, 2, 3)), node.op, node.op.written_tex(x), True)
    ['over samples, rows and columns']
    """
    x = node.inputs[0] if node.inputs else node
    if op.name == "sum_to":
        return _over(_summed(x.shape, node.shape), x, batched)
    if isinstance(op, ConvolveTransposed) and (padded := _padded(op, node)):
        return [padded]
    fields = {f.name: f for f in dataclasses.fields(op)} if op.attributes() else {}  # type: ignore[arg-type]
    # A formula for one element says by its factor how large the windows are.
    hidden = _REPEATED | {"window"} if re.match(r"_\{\w+\} = ", template) else _REPEATED
    found = {
        name: value
        for name, value in op.attributes().items()
        if name not in hidden and f"{{{name}}}" not in template and value != fields[name].default
    }
    over: list[str] = []
    if "axis" in found and (op.family == "reduction" or op.name in ("variance", "standardize")):
        axes = found.pop("axis")
        own = {axis % x.ndim for axis in (axes if isinstance(axes, tuple) else (axes,)) if axis is not None}
        over = _over(sorted(own), x, batched) or ["over all elements"]
    # What the formula itself depends on is said by it.
    told = {name for name in found if _with(op, name, fields[name].default).written_tex(*node.inputs) != template}
    return over + [f"{name} {value}" for name, value in found.items() if name not in told]


def _over(axes: Sequence[int], x: Tensor, batched: bool) -> list[str]:
    """Say over which axes of a tensor something goes."""
    if batched and axes == [0]:
        return ["over the samples"]
    if not axes:
        return []
    is_image = batched and x.ndim == len(_AXES)
    names = [_AXES[axis] if is_image else str(axis) for axis in axes]
    kind = "" if is_image else "axis " if len(names) == 1 else "axes "
    return [f"over {kind}{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"over {kind}{names[0]}"]


def _summed(large: tuple[int, ...], small: tuple[int, ...]) -> list[int]:
    """Return over which axes a tensor was summed."""
    extra = len(large) - len(small)
    return [*range(extra), *(extra + i for i, n in enumerate(small) if n == 1 and large[extra + i] != 1)]


def _padded(op: ConvolveTransposed, node: Tensor) -> str:
    """Return by how much the correlation that a transposed convolution is pads its image, where all sides are alike."""
    windows = op.windows(node.shape, node.inputs[1].shape)
    sides = {reach - 1 - pixels for reach, pair in zip(windows.reach, windows.padding, strict=True) for pixels in pair}
    return f"padded by {sides.pop()}" if set(windows.stride) == {1} and len(sides) == 1 and op.groups == 1 else ""


def _with(op: Op, name: str, value: Any) -> Op:
    """Return an operation with another value of an attribute, or itself where it must not have that."""
    try:
        return dataclasses.replace(op, **{name: value})  # type: ignore[type-var]
    except (TinygraphError, TypeError):
        return op
