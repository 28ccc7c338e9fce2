"""The operations, one family to a file. Importing this package registers them all."""

from tinygraph.ops import (
    activation,
    comparison,
    convolution,
    elementwise,
    indexing,
    linear,
    logic,
    loss,
    pooling,
    rectifier,
    reduction,
    rounding,
    several,
    shape,
    trigonometry,
)

__all__ = [
    "activation",
    "comparison",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "logic",
    "loss",
    "pooling",
    "rectifier",
    "reduction",
    "rounding",
    "several",
    "shape",
    "trigonometry",
]
