"""Exports of convolutions, pools and norms."""

from typing import Any

from tinygraph.interop.onnx.export.table import EXPORTS, Export, Step, export_of, same_dtype
from tinygraph.ops.windows import per_axis, sides


def _flat(pairs: Any) -> list[int]:
    """Return pads in ONNX's order: all before, then all after."""
    return [before for before, _ in pairs] + [after for _, after in pairs]


def _padding(s: Step, axes: int) -> dict[str, Any]:
    padding = s.op.padding
    named = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
    if isinstance(padding, str) and set(per_axis(s.op.dilation, axes)) == {1}:
        return {"auto_pad": named[padding]}
    # Not every program computes a named padding correctly for windows with gaps.
    shapes = [x.shape for x in s.inputs]
    return {"pads": _flat(s.op.windows(*shapes).padding if isinstance(padding, str) else sides(padding, axes))}


def _spans(s: Step, axes: int) -> dict[str, Any]:
    return {"strides": per_axis(s.op.stride, axes), "dilations": per_axis(s.op.dilation, axes)}


@export_of("conv1d", "conv2d", "conv3d")
def _conv(s: Step) -> str:
    axes = len(s.inputs[0].shape) - 2
    return s.node("Conv", *same_dtype(s), group=s.op.groups, **_spans(s, axes), **_padding(s, axes))


@export_of("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(s: Step) -> str:
    x, k = s.inputs
    axes, padding, full = len(x.shape) - 2, s.op.padding, s.tensor.shape
    pairs = s.op.windows(full, k.shape).padding if isinstance(padding, str) else sides(padding, axes)
    spans = _spans(s, axes)
    rows = zip(x.shape[2:], spans["strides"], spans["dilations"], k.shape[2:], pairs, full[2:], strict=True)
    # The part of the image after the last window.
    extra = [size - ((n - 1) * t + d * (kk - 1) + 1 - sum(pair)) for n, t, d, kk, pair, size in rows]
    options = {"group": s.op.groups, "pads": _flat(pairs), "output_padding": extra if any(extra) else None}
    return s.node("ConvTranspose", *same_dtype(s), **options, **spans)


def _pool(operator: str, *attributes: str) -> Export:
    def export(s: Step) -> str:
        axes = len(s.inputs[0].shape) - 2
        window = per_axis(s.op.window, axes)
        options: dict[str, Any] = {name: int(getattr(s.op, name)) for name in attributes}
        if options.get("p", 0) != getattr(s.op, "p", 0):
            s.fail("ONNX's pools take only norms of whole numbers")
        options |= {"kernel_shape": window, "ceil_mode": int(s.op.ceil_mode), **_padding(s, axes)}
        strides = window if s.op.stride is None else per_axis(s.op.stride, axes)
        return s.node(operator, s.x, **options, strides=strides, dilations=per_axis(s.op.dilation, axes))

    return export


for _axes in (1, 2, 3):
    EXPORTS[f"max_pool{_axes}d"] = _pool("MaxPool")
    EXPORTS[f"avg_pool{_axes}d"] = _pool("AveragePool", "count_include_pad")
    EXPORTS[f"lp_pool{_axes}d"] = _pool("LpPool", "p")


def _global_pool(operator: str) -> Export:
    def export(s: Step) -> str:
        y = s.node(operator, s.x, p=int(s.op.p) if hasattr(s.op, "p") else None)
        return y if s.op.keepdims else s.node("Flatten", y, axis=1)

    return export


EXPORTS["global_avg_pool"] = EXPORTS["global_avg_pool2d"] = _global_pool("GlobalAveragePool")
EXPORTS["global_max_pool"] = _global_pool("GlobalMaxPool")
EXPORTS["global_lp_pool"] = _global_pool("GlobalLpPool")


@export_of("batch_norm")
def _batch_norm(s: Step) -> str:
    if s.op.training:
        s.fail("batch normalization in training")
    return s.node("BatchNormalization", *s.names, epsilon=s.op.epsilon)


@export_of("group_norm")
def _group_norm(s: Step) -> str:
    return s.node("GroupNormalization", *s.names, num_groups=s.op.groups, epsilon=s.op.epsilon)


@export_of("layer_norm")
def _layer_norm(s: Step) -> str:
    axis, shape = s.op.axis, s.inputs[0].shape
    over = shape[axis % len(shape) :]
    names = [
        name if x.shape == over else s.node("Expand", name, s.integers(over))
        for name, x in zip(s.names[1:], s.inputs[1:], strict=True)
    ]
    return s.node("LayerNormalization", s.x, *names, axis=axis, epsilon=s.op.epsilon)


@export_of("dropout")
def _dropout(s: Step) -> str:
    if s.op.training and s.op.rate:
        s.fail("dropout in training")
    return s.node("Identity", s.x)
