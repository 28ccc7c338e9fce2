"""ONNX's operators as operations. Each module enters its rules in the table, ``OPERATORS``."""

from tinygraph.interop.onnx.operators import elementwise, layers, quantized, recurrent, reducing, shaping, windows
from tinygraph.interop.onnx.operators.table import OPERATORS

__all__ = ["OPERATORS", "elementwise", "layers", "quantized", "recurrent", "reducing", "shaping", "windows"]
