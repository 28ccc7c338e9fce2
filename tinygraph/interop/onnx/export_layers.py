"""Convolutions, pools, norms and losses as ONNX's operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.interop.onnx.exports import EXPORTS, export_of, joined
from tinygraph.interop.onnx.writer import Step
from tinygraph.ops.windows import per_axis, sides


def _padding(s: Step, axes: int) -> dict[str, Any]:
    padding = s.attributes["padding"]
    named = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
    if isinstance(padding, str) and set(per_axis(s.attributes["dilation"], axes)) == {1}:
        return {"auto_pad": named[padding]}
    # Not every program works a padding out by its name where windows have gaps.
    shapes = [x.shape for x in s.inputs]
    pairs = s.op.windows(*shapes).padding if isinstance(padding, str) else sides(padding, axes)  # type: ignore[attr-defined]
    return {"pads": [before for before, _ in pairs] + [after for _, after in pairs]}


def _spans(s: Step, axes: int) -> dict[str, Any]:
    return {"strides": per_axis(s.attributes["stride"], axes), "dilations": per_axis(s.attributes["dilation"], axes)}


@export_of("conv1d", "conv2d", "conv3d")
def _conv(s: Step) -> str:
    axes = len(s.inputs[0].shape) - 2
    group = s.attributes["groups"]
    return s.writer.node("Conv", *joined(s), group=group, **_spans(s, axes), **_padding(s, axes))


@export_of("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(s: Step) -> str:
    x, k = s.inputs
    axes = len(x.shape) - 2
    padding = s.attributes["padding"]
    pairs = s.op.windows(s.tensor.shape, k.shape).padding if isinstance(padding, str) else sides(padding, axes)  # type: ignore[attr-defined]
    spans = _spans(s, axes)
    rows = zip(x.shape[2:], spans["strides"], spans["dilations"], k.shape[2:], pairs, s.tensor.shape[2:], strict=True)
    # What is left of the image beyond the windows comes after it.
    extra = [size - ((n - 1) * t + d * (kk - 1) + 1 - sum(pair)) for n, t, d, kk, pair, size in rows]
    pads = [before for before, _ in pairs] + [after for _, after in pairs]
    options = {"group": s.attributes["groups"], "pads": pads, "output_padding": extra if any(extra) else None}
    return s.writer.node("ConvTranspose", *joined(s), **options, **spans)


def _pool(operator: str) -> Any:
    def export(s: Step) -> str:
        axes = len(s.inputs[0].shape) - 2
        window = per_axis(s.attributes["window"], axes)
        strides = window if s.attributes["stride"] is None else per_axis(s.attributes["stride"], axes)
        options: dict[str, Any] = {"kernel_shape": window, "strides": strides}
        options |= {"dilations": per_axis(s.attributes["dilation"], axes), "ceil_mode": int(s.attributes["ceil_mode"])}
        if "count_include_pad" in s.attributes:
            options["count_include_pad"] = int(s.attributes["count_include_pad"])
        if "p" in s.attributes:
            options["p"] = int(s.attributes["p"])
            if options["p"] != s.attributes["p"]:
                s.fail("ONNX's pools are by whole norms")
        return s.writer.node(operator, s.x, **options, **_padding(s, axes))

    return export


for _axes in (1, 2, 3):
    EXPORTS[f"max_pool{_axes}d"] = _pool("MaxPool")
    EXPORTS[f"avg_pool{_axes}d"] = _pool("AveragePool")
    EXPORTS[f"lp_pool{_axes}d"] = _pool("LpPool")


@export_of("global_avg_pool", "global_avg_pool2d", "global_max_pool", "global_lp_pool")
def _global_pool(s: Step) -> str:
    operator = {"avg": "GlobalAveragePool", "max": "GlobalMaxPool", "lp_": "GlobalLpPool"}[s.op.name[7:10]]
    options = {"p": int(s.attributes["p"])} if "p" in s.attributes else {}
    y = s.writer.node(operator, s.x, **options)
    return y if s.attributes["keepdims"] else s.writer.node("Flatten", y, axis=1)


@export_of("batch_norm")
def _batch_norm(s: Step) -> str:
    if s.attributes["training"]:
        s.fail("batch normalization in training")
    return s.writer.node("BatchNormalization", *s.names, epsilon=s.attributes["epsilon"])


@export_of("layer_norm")
def _layer_norm(s: Step) -> str:
    axis = s.attributes["axis"]
    over = s.inputs[0].shape[axis % len(s.inputs[0].shape) :]
    names = [
        name if x.shape == over else s.writer.node("Expand", name, s.writer.whole(over))
        for name, x in zip(s.names[1:], s.inputs[1:], strict=True)
    ]
    return s.writer.node("LayerNormalization", s.x, *names, axis=axis, epsilon=s.attributes["epsilon"])


@export_of("group_norm")
def _group_norm(s: Step) -> str:
    options = {"num_groups": s.attributes["groups"], "epsilon": s.attributes["epsilon"]}
    return s.writer.node("GroupNormalization", *s.names, **options)


@export_of("instance_norm")
def _instance_norm(s: Step) -> str:
    return s.writer.node("InstanceNormalization", *s.names, epsilon=s.attributes["epsilon"])


@export_of("local_response_norm")
def _local_response_norm(s: Step) -> str:
    return s.writer.node("LRN", s.x, **{name: s.attributes[name] for name in ("size", "alpha", "beta", "bias")})


@export_of("cross_entropy", "nll")
def _cross_entropy(s: Step) -> str:
    """The mean of minus the log-probability at the label; for probabilities, of the sum of -p log q."""
    w, labels = s.writer, s.names[1]
    logs = s.x if s.op.name == "nll" else w.node("LogSoftmax", s.x, axis=-1)
    if s.inputs[1].dtype.kind in "iu":
        places = w.node("Unsqueeze", w.cast(labels, np.int64), w.whole(-1))
        picked = w.node("GatherElements", logs, places, axis=-1)
    else:
        picked = w.node("ReduceSum", w.node("Mul", logs, labels), w.whole(-1), keepdims=1)
    return w.node("Neg", w.node("ReduceMean", picked, keepdims=0))


@export_of("bce", "bce_with_logits")
def _bce(s: Step) -> str:
    """From the logits where the loss has them: the mean of softplus(z) - z y."""
    w = s.writer
    labels = s.names[1] if s.inputs[1].dtype == s.tensor.dtype else w.cast(s.names[1], s.tensor.dtype)
    if s.op.name == "bce" and len(s.names) == 2:
        one = w.number(1.0, s.tensor)
        yes = w.node("Mul", labels, w.node("Log", s.x))
        no = w.node("Mul", w.node("Sub", one, labels), w.node("Log", w.node("Sub", one, s.x)))
        return w.node("Neg", w.node("ReduceMean", w.node("Add", yes, no), keepdims=0))
    z = s.names[-1] if s.op.name == "bce" else s.x
    # softplus(z) as max(z, 0) + log(1 + exp(-|z|)), which overflows for no z.
    small = w.node("Log", w.node("Add", w.node("Exp", w.node("Neg", w.node("Abs", z))), w.number(1.0, s.tensor)))
    smooth = w.node("Add", w.node("Relu", z), small)
    return w.node("ReduceMean", w.node("Sub", smooth, w.node("Mul", z, labels)), keepdims=0)


def _real(s: Step) -> list[str]:
    """Return predictions and labels in the dtype of the loss."""
    pairs = zip(s.names, s.inputs, strict=True)
    return [name if x.dtype == s.tensor.dtype else s.writer.cast(name, s.tensor.dtype) for name, x in pairs]


@export_of("mse", "l1")
def _mse(s: Step) -> str:
    apart = s.writer.node("Sub", *_real(s))
    size = s.writer.node("Abs", apart) if s.op.name == "l1" else s.writer.node("Mul", apart, apart)
    return s.writer.node("ReduceMean", size, keepdims=0)


@export_of("huber", "smooth_l1")
def _huber(s: Step) -> str:
    """With m the smaller of size and width: m (size - m/2), over the width for the smooth one."""
    w, width = s.writer, s.attributes["delta" if s.op.name == "huber" else "beta"]
    size = w.node("Abs", w.node("Sub", *_real(s)))
    near = w.node("Min", size, w.number(width, s.tensor))
    bent = w.node("Mul", near, w.node("Sub", size, w.node("Mul", near, w.number(0.5, s.tensor))))
    mean = w.node("ReduceMean", bent, keepdims=0)
    return mean if s.op.name == "huber" else w.node("Div", mean, w.number(width, s.tensor))


@export_of("hinge")
def _hinge(s: Step) -> str:
    margin = s.writer.node("Sub", s.writer.number(1.0, s.tensor), s.writer.node("Mul", *_real(s)))
    return s.writer.node("ReduceMean", s.writer.node("Relu", margin), keepdims=0)


@export_of("kl_divergence")
def _kl_divergence(s: Step) -> str:
    """The sum of p (log p - log q), where 0 log 0 is 0."""
    w, (logs, labels) = s.writer, joined(s)
    zero, one = w.number(0.0, s.tensor), w.number(1.0, s.tensor)
    some = w.node("Greater", labels, zero)
    apart = w.node("Sub", w.node("Log", w.node("Where", some, labels, one)), logs)
    terms = w.node("Where", some, w.node("Mul", labels, apart), zero)
    return w.node("ReduceMean", w.node("ReduceSum", terms, w.whole(-1), keepdims=0), keepdims=0)
