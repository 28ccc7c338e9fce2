"""An ONNX file as a checked model: bytes in, a structure out that is safe to walk. Nothing in it is executed."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.errors import OnnxError, listing
from tinygraph.files import as_path, open_plain
from tinygraph.graph import Array, charge
from tinygraph.interop.onnx.node import with_branches
from tinygraph.interop.onnx.roles import Roles
from tinygraph.interop.onnx.tensors import Fail, array_of, dtype_of, package

# The newest operator set that the table of operators was written against.
NEWEST_OPSET = 28
# The limit of protocol buffers.
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class File:
    """A model that was read: ONNX's own message, checked, the file's name for messages, and the folder with its data.

    ``arrays`` are the initializers that have been read, by name.
    """

    proto: Any
    name: str
    folder: Path | None = None
    arrays: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def opset(self) -> int:
        """The operator set that the model is written in."""
        opsets = {entry.domain: entry.version for entry in self.proto.opset_import}
        opset = opsets.get("", opsets.get("ai.onnx"))
        if opset is None:
            others = f"only operators of {listing(opsets)}, which are not supported" if opsets else "none"
            self.fail(f"it must say which set of ONNX's operators it is written in; found {others}")
        newest = max(NEWEST_OPSET, package().defs.onnx_opset_version())
        if not 1 <= opset <= newest:
            self.fail(f"it is written in operator set {opset}; supported are 1 to {newest}")
        return int(opset)

    @cached_property
    def roles(self) -> Roles:
        """What the arrays are for."""
        return Roles(self.proto)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The metadata of the file."""
        return {entry.key: entry.value for entry in self.proto.metadata_props}

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The inputs that have no value in the file, as ONNX declares them, by name."""
        given = {tensor.name for tensor in self.proto.graph.initializer}
        return {value.name: value for value in self.proto.graph.input if value.name not in given}

    def array(self, tensor: Any, typed: Callable[[Array], Array]) -> Array:
        """Return an initializer as an array in the dtype that ``typed`` gives it, read once."""
        if tensor.name not in self.arrays:
            array = array_of(tensor, self.folder, lambda why: self.fail(f"initializer {why}"))
            self.arrays[tensor.name] = typed(array)
        return self.arrays[tensor.name]

    def fail(self, why: str) -> NoReturn:
        """Raise the error that names the file."""
        raise OnnxError(f"{self.name}: {why}") from None

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the dtype of an input or output of the graph, or fail for one that is not a tensor of numbers."""
        if not value.type.HasField("tensor_type"):
            self.fail(f"{value.name!r} is not a tensor")
        return dtype_of(value.type.tensor_type.elem_type, lambda why: self.fail(f"{value.name!r}: {why}"))


def read(path: str | os.PathLike[str]) -> File:
    """Return the model in a file. Raises ``OnnxError`` for one that is damaged or inconsistent."""
    file, onnx = as_path(path), package()
    try:
        with open_plain(file) as stream:
            if os.fstat(stream.fileno()).st_size > _MOST_BYTES:
                raise OnnxError(f"{path}: larger than 2 GB, the limit of ONNX files")
            data = stream.read()
    except FileNotFoundError:
        raise OnnxError(f"{path}: there is no such file") from None
    except OSError as error:
        what = "" if isinstance(error, IsADirectoryError) else "cannot be read: "
        raise OnnxError(f"{path}: {what}{error.strerror or error}") from None
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

    file = File(proto, name, folder)
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        file.fail("damaged, or not an ONNX file: it holds no graph")
    _ = file.opset  # Raises an error for one that is missing or not supported.
    if len(proto.functions) > 0:
        file.fail(
            f"it defines operators of its own ({proto.functions[0].name!r}), which are not supported; inline them with "
            "onnx.inliner.inline_local_functions"
        )
    if not all(isinstance(text, str) for text in (proto.producer_name, proto.producer_version, *_properties(proto))):
        file.fail("damaged: its metadata are not text")
    charge("operations", sum(1 + len(node.input) // 4 for node in with_branches(proto.graph.node)))
    _check_graph(proto.graph, file.fail)
    return file


def _check_graph(graph: Any, fail: Fail, around: Set[str] = frozenset()) -> None:
    """Check that every value is defined once, and before a node uses it. A branch reads values of the graph ``around`` it."""
    if not all(isinstance(text, str) for text in _texts(graph)):
        fail("damaged: a name in it is not text")
    known: set[str] = set(around)
    for kind, values in (("input", graph.input), ("initializer", graph.initializer)):
        for name, count in Counter(_names(values)).items():
            if count > 1:
                fail(f"{kind} {name!r} is defined twice")
            known.add(name)
    if graph.sparse_initializer:
        fail("it holds sparse initializers, which are not supported; write them as dense ones")
    later = {name for node in graph.node for name in node.output if name}
    for place, node in enumerate(graph.node):
        where = f"node {node.name or place!r} ({node.op_type})"
        for name in node.input:
            if name and name not in known:
                cycle = "only a later node defines: a cycle, or nodes out of order"
                fail(f"{where} reads {name!r}, which {cycle if name in later else 'nothing defines'}")
        for attribute in node.attribute if node.op_type == "If" else ():
            _check_graph(attribute.g, lambda why, where=where: fail(f"{where}: in its branch {why}"), known)  # type: ignore[misc]
        for name in filter(None, node.output):
            if name in known:
                fail(f"{where} defines {name!r}, which is defined already")
            known.add(name)
    for name in _names(graph.output):
        if name not in known:
            fail(f"the output {name!r} is defined by no node")
    if not graph.output:
        fail("its graph has no output")


def _texts(graph: Any) -> Iterator[Any]:
    """Yield all names in a graph; invalid text is left as bytes."""
    yield from (graph.name, *_names(graph.input), *_names(graph.output), *_names(graph.initializer))
    yield from (dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output, *_names(node.attribute))
        yield from _properties(node)


def _properties(thing: Any) -> Iterator[Any]:
    """Yield keys and values of the metadata of a model or node."""
    for entry in thing.metadata_props:
        yield from (entry.key, entry.value)


def _names(values: Any) -> Iterator[str]:
    return (value.name for value in values)
