"""ONNX: the door. ``from_onnx`` reads a model, ``to_onnx`` writes one, ``Backend`` is ONNX's own interface.

The package ``onnx`` is imported when it is needed, not before.
"""

from __future__ import annotations

from typing import Any

from tinygraph.interop.onnx.export import to_onnx
from tinygraph.interop.onnx.model import from_onnx

__all__ = ["Backend", "from_onnx", "to_onnx"]


def __getattr__(name: str) -> Any:
    """Return ``Backend``, which needs the package ``onnx`` to be defined at all."""
    if name != "Backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygraph.interop.onnx.package import package

    package()
    from tinygraph.interop.onnx.backend import Backend

    return Backend
