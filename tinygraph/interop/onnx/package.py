"""The package ``onnx``: imported when it is needed, and a clear error where it is missing."""

from __future__ import annotations

import importlib
from typing import Any

from tinygraph.errors import OnnxError

NEEDED = "pip install onnx"


def package(part: str = "onnx") -> Any:
    """Return the package ``onnx``, or a module of it. Raises ``OnnxError`` with the command that installs it."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise OnnxError(f"ONNX files need the package onnx, which cannot be imported ({error}): {NEEDED}") from None
