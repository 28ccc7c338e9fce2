"""ONNX's operators as operations. Each module enters its rules in the table, ``OPERATORS``."""

from tinygraph.interop.onnx.node import OPERATORS
from tinygraph.interop.onnx.operators import arithmetic, layers, quantized, shaping, windows

__all__ = ["OPERATORS", "arithmetic", "layers", "quantized", "shaping", "windows"]
