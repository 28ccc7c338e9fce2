"""The package ``onnx``, imported when it is needed, and the marks of files that tinygraph writes."""

from __future__ import annotations

import importlib
from typing import Any

from tinygraph.errors import OnnxError

PRODUCER = "tinygraph"
# The prefix, in such a file, of results that have no name in the model.
UNNAMED = "_"


def package(part: str = "onnx") -> Any:
    """Return the package ``onnx``, or a module of it. Raises ``OnnxError`` with the command that installs it."""
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise OnnxError(
            f"ONNX files need the package onnx, which cannot be imported ({error}): pip install onnx"
        ) from None
