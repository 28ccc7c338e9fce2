"""An ONNX file as a checked model: bytes in, a structure out that is safe to walk. Nothing of it is executed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError, listing
from tinygraph.files import as_path, open_plain
from tinygraph.graph.arrays import Array
from tinygraph.graph.budget import charge
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.roles import Roles
from tinygraph.interop.onnx.tensors import array_of, dtype_of

# The newest operator set that the table of operators was written against.
NEWEST_OPSET = 28
# Protocol buffers end here.
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class File:
    """A model as read: ONNX's own message, checked, the file's name for messages, and the folder of data beside it.

    ``arrays`` are those that were read out of it, by name.
    """

    proto: Any
    name: str
    folder: Path | None
    opset: int
    arrays: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def roles(self) -> Roles:
        """What the arrays are for."""
        return Roles(self.proto)

    def array(self, tensor: Any, typed: Callable[[Array], Array]) -> Array:
        """Return an initializer as an array in the dtype that ``typed`` gives it, read once."""
        if tensor.name not in self.arrays:
            array = array_of(tensor, self.folder, lambda why: self.fail(f"initializer {why}"))
            self.arrays[tensor.name] = typed(array)
        return self.arrays[tensor.name]

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the file."""
        raise OnnxError(f"{self.name}: {why}")

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the dtype of an input or output of the graph, or fail for one that is no tensor of numbers."""
        if not value.type.HasField("tensor_type"):
            self.fail(f"{value.name!r} is no tensor")
        return dtype_of(value.type.tensor_type.elem_type, lambda why: self.fail(f"{value.name!r}: {why}"))


def read(path: str | os.PathLike[str]) -> File:
    """Return the model in a file. Raises ``OnnxError`` for one that is damaged or makes no sense."""
    file = as_path(path)
    onnx = package()
    try:
        with open_plain(file) as stream:
            if os.fstat(stream.fileno()).st_size > _MOST_BYTES:
                raise OnnxError(f"{path}: larger than 2 GB, which no ONNX file is")
            data = stream.read()
    except OnnxError:
        raise
    except FileNotFoundError:
        raise OnnxError(f"{path}: there is no such file") from None
    except IsADirectoryError as error:
        raise OnnxError(f"{path}: {error.strerror}") from None
    except (OSError, ValueError) as error:
        raise OnnxError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data:
        raise OnnxError(f"{path}: the file is empty")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # The class of its error depends on the implementation of protocol buffers.
        raise OnnxError(f"{path}: damaged, or not an ONNX file: {error}") from None
    return checked(proto, str(path), file.parent)


def checked(proto: Any, name: str, folder: Path | None = None) -> File:
    """Return a model in memory, checked: a graph in order, every name defined once and before it is used."""

    def fail(why: str) -> NoReturn:
        raise OnnxError(f"{name}: {why}")

    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        fail("damaged, or not an ONNX file: it holds no graph")
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None:
        others = f"only operators of {listing(opsets)}, which are not read" if opsets else "none"
        fail(f"it must say which set of ONNX's operators it is written in; found {others}")
    newest = max(NEWEST_OPSET, package().defs.onnx_opset_version())
    if not 1 <= opset <= newest:
        fail(f"it is written in operator set {opset}; known are 1 to {newest}")
    if len(proto.functions) > 0:
        own = proto.functions[0].name
        fail(
            f"it defines operators of its own ({own!r}), which are not read; onnx.inliner.inline_local_functions puts them in"
        )
    if not all(isinstance(text, str) for text in (proto.producer_name, proto.producer_version, *_properties(proto))):
        fail("damaged: its metadata are not text")
    _charge(proto.graph)
    _check_graph(proto.graph, fail)
    return File(proto, name, folder, opset)


def _charge(graph: Any) -> None:
    """Charge the nodes of a graph and of its branches, before anything is done for each."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        charge("operations", sum(1 + len(node.input) // 4 for node in graph.node))
        waiting += [attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute]


def _check_graph(graph: Any, fail: Any, around: Set[str] = frozenset()) -> None:
    """Every value is defined once, and before a node uses it; so there is no cycle. A branch reads what is ``around`` it."""
    texts = [graph.name, *_names(graph.input), *_names(graph.output), *_names(graph.initializer)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output, *_names(node.attribute)]
        texts += _properties(node)
    texts += [dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim]
    if not all(isinstance(text, str) for text in texts):
        fail("damaged: a name in it is not text")
    known: set[str] = set(around)
    for kind, names in (("input", _names(graph.input)), ("initializer", _names(graph.initializer))):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                fail(f"{kind} {name!r} is defined twice")
            seen.add(name)
        known |= seen
    if graph.sparse_initializer:
        fail("it holds sparse initializers, which are not read; write them as dense ones")
    later = {name for node in graph.node for name in node.output if name}
    for place, node in enumerate(graph.node):
        where = f"node {node.name or place!r} ({node.op_type})"
        for name in node.input:
            if name and name not in known:
                why = (
                    "only a later node defines: a cycle, or nodes out of order" if name in later else "nothing defines"
                )
                fail(f"{where} reads {name!r}, which {why}")
        for attribute in node.attribute if node.op_type == "If" else ():
            _check_graph(attribute.g, lambda why, where=where: fail(f"{where}: in its branch {why}"), known)
        for name in node.output:
            if name in known:
                fail(f"{where} defines {name!r}, which is defined already")
            if name:
                known.add(name)
    for output in graph.output:
        if output.name not in known:
            fail(f"the output {output.name!r} is defined by no node")
    if not graph.output:
        fail("its graph has no output")


def _properties(thing: Any) -> Iterator[Any]:
    """Yield keys and values of the metadata of a model or node; invalid text is left as bytes."""
    for entry in thing.metadata_props:
        yield from (entry.key, entry.value)


def _names(values: Any) -> Iterator[str]:
    return (value.name for value in values)
