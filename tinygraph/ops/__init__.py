"""The operations, one family to a file. Importing this package registers them all."""

from tinygraph.ops import activation, convolution, elementwise, linear, loss, pooling, reduction, shape

__all__ = ["activation", "convolution", "elementwise", "linear", "loss", "pooling", "reduction", "shape"]
