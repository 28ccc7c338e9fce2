"""Remarks: what the formula of an operation leaves out, such as a padding, or the axes of a sum."""

import dataclasses
import re
from typing import Any

from tinygraph.errors import TinygraphError
from tinygraph.graph import Op, Tensor

# Attributes that only repeat what the shapes of the arrays or the formula say.
_REPEATED = frozenset({"to", "output_size", "kernel_size", "dtype", "classes", "keepdims", "equation"})
_AXES = ("samples", "channels", "rows", "columns")


def left_out(node: Tensor, op: Op, template: str, batched: bool) -> list[str]:
    """Return what the template of a node leaves out: its attributes, and the axes of a sum or a mean.

    ``batched`` says that the first axis is that of samples, and that four axes are those of images.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3, 8, 8))
    >>> left_out(node := tg.mean(x, axis=(0, 2, 3)), node.op, node.op.written_tex(x), True)
    ['over samples, rows and columns']
    """
    x = node.inputs[0] if node.inputs else node
    remark = op.remark(node, *node.inputs)
    if remark:
        return [remark]
    fields = {f.name: f for f in dataclasses.fields(op)} if op.attributes() else {}  # type: ignore[arg-type]
    # A formula for one element says by its factor how large the windows are.
    hidden = _REPEATED | {"window"} if re.match(r"_\{\w+\} = ", template) else _REPEATED
    found = {
        name: value
        for name, value in op.attributes().items()
        if name not in hidden and f"{{{name}}}" not in template and value != fields[name].default
    }
    over: list[str] = []
    if "axis" in found or "axis" not in op.attributes():
        axes = op.combined_axes(*node.inputs)
        if axes:
            over = ["over all elements"] if found.pop("axis", ()) is None else _over(axes, x, batched)
    # The formula shows what it depends on.
    shown = {name for name in found if _with(op, name, fields[name].default).written_tex(*node.inputs) != template}
    return over + [f"{name} {value}" for name, value in found.items() if name not in shown]


def _over(axes: tuple[int, ...], x: Tensor, batched: bool) -> list[str]:
    """Name the axes that a sum or a mean runs over."""
    if batched and axes == (0,):
        return ["over the samples"]
    if not axes:
        return []
    is_image = batched and x.ndim == len(_AXES)
    names = [_AXES[axis] if is_image else str(axis) for axis in axes]
    kind = "" if is_image else "axis " if len(names) == 1 else "axes "
    return [f"over {kind}{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"over {kind}{names[0]}"]


def _with(op: Op, name: str, value: Any) -> Op:
    """Return an operation with another value of an attribute, or itself where it must not have that."""
    try:
        return dataclasses.replace(op, **{name: value})  # type: ignore[type-var]
    except (TinygraphError, TypeError):
        return op
