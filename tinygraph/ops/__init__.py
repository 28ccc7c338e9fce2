"""The operations, one family to a file. Importing this package registers them all."""

from tinygraph.ops import (
    activation,
    comparison,
    convolution,
    dropout,
    elementwise,
    indexing,
    linear,
    loss,
    normalization,
    pooling,
    reduction,
    shape,
    statistics,
)

__all__ = [
    "activation",
    "comparison",
    "convolution",
    "dropout",
    "elementwise",
    "indexing",
    "linear",
    "loss",
    "normalization",
    "pooling",
    "reduction",
    "shape",
    "statistics",
]
