"""Convolutions, pools, padding and resizing: lists as tuples, images without a batch as a batch of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygraph as tg

from .compare import Call, need


def batched(rank: int, x: Any, function: Call) -> Any:
    """Call ``function`` with a batch, of one image where PyTorch is given an image without a batch."""
    return function(x) if x.ndim == rank + 2 else tg.squeeze(function(tg.expand_dims(x, 0)), 0)


def each_axis(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def per_axis(value: Any, rank: int) -> Any:
    """Return a list as a tuple of one size for each axis; PyTorch lets one stand for all."""
    return tuple(value) * (rank if len(value) == 1 else 1) if isinstance(value, list | tuple) else value


def conv(rank: int) -> Call:
    function = tg.operation(f"conv{rank}d")

    def call(
        x: Any, k: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        settings = {name: each_axis(value) for name, value in settings.items()}
        y = batched(rank, x, lambda x: function(x, k, **settings, groups=groups))
        return y if bias is None else y + tg.reshape(bias, (-1,) + (1,) * rank)

    return call


def conv_transpose(rank: int) -> Call:
    function = tg.operation(f"conv_transpose{rank}d")

    def fits(stride: Any, more: Any) -> bool:
        return all(n < step for n, step in zip(np.broadcast_to(more, rank), np.broadcast_to(stride, rank), strict=True))

    def call(
        x: Any,
        k: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        need(fits(stride, output_padding) or not np.any(output_padding), "images in which another window would fit")
        settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        settings = {name: each_axis(value) for name, value in settings.items()}
        y = batched(rank, x, lambda x: function(x, k, **settings, groups=groups))
        return y if bias is None else y + tg.reshape(bias, (-1,) + (1,) * rank)

    return call


def pool(kind: str, rank: int) -> Call:
    function = tg.operation(f"{kind}_pool{rank}d")

    def call(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return pooled(x, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)

    def mean(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Any:
        return pooled(x, kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

    def pooled(x: Any, *sizes: Any, **settings: Any) -> Any:
        window, stride, padding = (per_axis(size, rank) for size in sizes)
        settings = {name: each_axis(value) for name, value in settings.items()}
        return batched(rank, x, lambda x: function(x, window, stride or None, padding, **settings))

    return mean if kind == "avg" else call


def adaptive(kind: str, rank: int) -> Call:
    function, whole = tg.operation(f"{kind}_pool{rank}d"), tg.operation(f"global_{kind}_pool")

    def call(x: Any, output_size: Any, return_indices: bool = False) -> Any:
        wanted = tuple(output_size) if isinstance(output_size, list | tuple) else (output_size,) * rank
        images = x.shape[-rank:]
        wanted = tuple(size if size is not None else old for size, old in zip(wanted, images, strict=True))
        need(
            all(size and old % size == 0 for size, old in zip(wanted, images, strict=True)), "windows of several sizes"
        )
        if set(wanted) == {1}:
            return batched(rank, x, lambda x: whole(x, keepdims=True))
        window = tuple(old // size for size, old in zip(wanted, images, strict=True))
        return batched(rank, x, lambda x: function(x, window))

    return call


def padded(x: Any, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """PyTorch's pairs begin with the last axis; a negative one cuts off."""
    pairs = [(0, 0)] * x.ndim
    for i in range(len(pads) // 2):
        pairs[-1 - i] = (pads[2 * i], pads[2 * i + 1])
    names = {"reflect": "reflect", "replicate": "edge"}
    kept = [slice(max(-first, 0), size - max(-last, 0)) for size, (first, last) in zip(x.shape, pairs, strict=True)]
    grown = tuple((max(first, 0), max(last, 0)) for first, last in pairs)
    if mode == "constant":
        return tg.pad(x[tuple(kept)], grown, value or 0.0)
    if mode == "circular":
        return tg.pad(x[tuple(kept)], grown, mode="wrap")
    cut = tuple(slice(max(-first, 0), min(last, 0) or None) for first, last in pairs)
    return tg.pad(x, grown, mode=names[mode])[cut]


def resized(**settings: Any) -> Call:
    def call(
        x: Any,
        size: Any = None,
        scale_factor: Any = None,
        mode: Any = None,
        align_corners: Any = None,
        recompute_scale_factor: Any = None,
        antialias: bool = False,
    ) -> Any:
        chosen = dict(settings)
        if align_corners:
            chosen["coordinates"] = "align_corners"
        if recompute_scale_factor:
            size = [math.floor(length * scale_factor) for length in x.shape[2:]]
        if size is not None:
            return tg.resize(x, size=each_axis(size), **chosen)
        return tg.resize(x, scale=each_axis(scale_factor), **chosen)

    return call
