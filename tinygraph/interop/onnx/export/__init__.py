"""Operations as ONNX's operators. Each module enters its exports in the table, ``EXPORTS``; ``save`` writes files."""

from tinygraph.interop.onnx.export import layers, moves
from tinygraph.interop.onnx.export.table import EXPORTS

__all__ = ["EXPORTS", "layers", "moves"]
