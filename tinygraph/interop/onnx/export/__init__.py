"""Operations as ONNX's operators. ``table`` and ``rules`` enter exports in the table ``EXPORTS``; ``save`` writes files."""

from tinygraph.interop.onnx.export import rules
from tinygraph.interop.onnx.export.table import EXPORTS

__all__ = ["EXPORTS", "rules"]
