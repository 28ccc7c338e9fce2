"""ONNX: ``from_onnx`` opens a file as a model, ``to_onnx`` writes one, ``Backend`` is ONNX's own interface.

Read the room in this order. Opening a file: ``tensors`` and ``read`` (bytes to a checked structure), ``node``,
``operators`` (a table with a rule for each operator), ``importer`` (the walk over the nodes) and ``inner`` (nodes inside
nodes), ``roles`` (which arrays are weights, and the names of values), ``batch`` and ``equations`` (one text
for every number of samples), ``model`` (the declared model). Writing a file: ``export.table`` (an export for each
operation), ``export.save``. ``backend`` runs ONNX's own tests. The modules, and the package ``onnx``, are imported when
they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tinygraph.graph import Graph, Tensor

if TYPE_CHECKING:
    from tinygraph.model import Model

__all__ = ["Backend", "from_onnx", "to_onnx"]


def from_onnx(
    path: str | os.PathLike[str],
    *,
    output: str | Sequence[str] | None = None,
    loss: str | None = None,
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, npt.ArrayLike] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> Model:
    """Return the model in an ONNX file: equations and parameters like any other, with the weights of the file.

    ``output`` names one of the graph's outputs, by default the first, or several: the model's is the first of them, and the
    others are computed by its equations too, so that they can be drawn. ``loss`` makes the model trainable: it names an output
    of the graph that is one number, or an operation such as ``"mse"``, which is added after the output and takes labels
    ``y``. ``sizes`` gives sizes for those that the file only names, by these names or by the place of an axis,
    ``sizes={"x.2": 224}``; the first axis of the inputs, where it has no size, is the batch. ``values`` fixes inputs,
    ``values={"sr": 16000}``: they are not inputs of the model. ``dtype="float64"`` reads float16 and float32 as float64.
    Raises ``OnnxError``.

    >>> import tinygraph as tg
    >>> tg.from_onnx("missing.onnx")
    Traceback (most recent call last):
    tinygraph.errors.OnnxError: missing.onnx: there is no such file
    """
    from tinygraph.interop.onnx.model import model_in

    return model_in(path, output=output, loss=loss, sizes=sizes, values=values, dtype=dtype)


def to_onnx(model: Model | Graph | Tensor, path: str | os.PathLike[str], *, loss: bool = False) -> None:
    """Write a model, with its weights, as an ONNX file of operator set 21.

    The file computes what the model computes in prediction: its output, for any number of samples. With ``loss=True`` the
    loss is a second output, and the labels are inputs. A graph is written in the sizes that it was recorded for. Raises
    ``OnnxError`` for an operation that has no counterpart in ONNX.

    >>> import tinygraph as tg
    >>> tg.to_onnx(tg.load_model("xor"), "no/such/folder/xor.onnx")
    Traceback (most recent call last):
    tinygraph.errors.OnnxError: no/such/folder/xor.onnx: cannot be written: there is no folder 'no/such/folder'
    """
    from tinygraph.interop.onnx.export.save import save_onnx

    save_onnx(model, path, loss)


def __getattr__(name: str) -> Any:
    """Return ``Backend``, whose definition needs the package ``onnx``."""
    if name != "Backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygraph.interop.onnx.tensors import package

    package()
    from tinygraph.interop.onnx.backend import Backend

    return Backend
