"""From a declared model to an ONNX file, for any size of batch."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ModelError, OnnxError
from tinygraph.files import write_whole
from tinygraph.graph import Graph, Tensor, composites_as_nodes
from tinygraph.interop.onnx.batch import BASES, FEW, MANY, Size, Template, Unknown
from tinygraph.interop.onnx.export import EXPORTS
from tinygraph.interop.onnx.export.table import Writer, write_node
from tinygraph.interop.onnx.tensors import NUMBERS, PRODUCER, package, proto_of
from tinygraph.model.model import Model
from tinygraph.ops.normalization.normalization import BatchNorm

__all__ = ["EXPORTS", "proto_of_graph", "proto_of_model", "save_onnx"]
# The operator set and the format of files that are written.
_OPSET, _IR_VERSION = 21, 10
# The name of the first axis of inputs and outputs.
_BATCH = "m"


def save_onnx(what: Model | Graph | Tensor, path: str | os.PathLike[str], loss: bool) -> None:
    """Write a model as an ONNX file, completely or not at all; see ``to_onnx``."""
    proto = proto_of_model(what, loss=loss) if isinstance(what, Model) else proto_of_graph(what)
    try:
        write_whole(path, proto.SerializeToString())
    except (OSError, ValueError) as error:
        raise OnnxError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def proto_of_graph(what: Graph | Tensor) -> Any:
    """Return a graph as ONNX's own message, in the sizes that it was recorded for; its inputs are those of the file."""
    return _Export([what if isinstance(what, Graph) else Graph(what)], [0]).proto({"name": "graph"})


def proto_of_model(model: Model, *, loss: bool = False) -> Any:
    """Return a model as ONNX's own message, checked by ONNX's own checker."""
    if loss and model.loss is None:
        raise OnnxError(f"model {model.name!r} declares no loss")
    for name, parameter in model.parameters.items():
        if not np.isfinite(parameter.value).all():
            raise OnnxError(f"model {model.name!r} was not written as ONNX: {name!r} holds NaN or infinity")
    metadata = {"name": model.name, "title": model.title, "output": model.output}
    metadata |= {"loss": str(model.loss)} if loss else {}
    metadata["frozen"] = " ".join(name for name in model.parameters if name not in model.trainable)

    def graph(count: int) -> Graph:
        with composites_as_nodes(EXPORTS):
            recording = model.record_again(count, partial=not loss)
        named = [recording.output, recording.loss if loss and recording.loss is not recording.output else None]
        return Graph([tensor for tensor in named if tensor is not None])

    if model.batch is not None:
        return _Export([graph(model.batch)], [model.batch]).proto(metadata)
    for batches in ([BASES[0] + step for step in steps] for steps in (FEW, MANY)):
        graphs = [graph(count) for count in batches]
        try:
            export = _Export(graphs, batches)
            for count in (1, 2, 3, 8, 16 * BASES[0]):
                try:
                    one = graph(count)
                except ModelError:
                    # The model does not take so few samples.
                    continue
                if not export.agrees(list(one.outputs), one.inputs, count):
                    raise Unknown
        except Unknown:
            continue
        return export.proto(metadata)
    raise OnnxError(f"model {model.name!r} cannot be written as ONNX: its sizes follow the batch by no known rule")


class _Export(Template):
    """A graph that was recorded for one number of samples or more, and the file that is written."""

    def proto(self, metadata: dict[str, str]) -> Any:
        """Return the graph as ONNX's own message."""
        helper, graph = package("onnx.helper"), self.graphs[0]
        writer, names = self._written()
        inputs = zip(*(g.inputs.values() for g in self.graphs), strict=True)
        outputs = zip(self.results, *(g.outputs for g in self.graphs), strict=True)
        made = helper.make_graph(
            writer.nodes,
            metadata["name"] or "model",
            [self._value(tensors) for tensors in inputs],
            [self._value(tensors, names[copy]) for copy, *tensors in outputs],
            writer.used(),
        )
        proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        proto.producer_name = PRODUCER
        # ONNX has no mark for state but in an operator: a file that is read again would take other state for weights.
        statistics = {x for node in graph.nodes if isinstance(node.op, BatchNorm) for x in node.inputs[3:]}
        state = [x.name for x in graph.nodes if x.kind == "state" and x not in statistics and x.name]
        metadata = metadata | {"state": " ".join(state)}
        helper.set_model_props(proto, {f"tinygraph.{key}": text for key, text in metadata.items() if text})
        package("onnx.checker").check_model(proto)
        return proto

    def _written(self) -> tuple[Writer, dict[Tensor, str]]:
        """Return the nodes of the template, and the names of its tensors in the file."""
        nodes, outputs = Graph(self.results).nodes, set(self.results)
        reserved = {x.name for x in nodes if x.name and x.kind != "constant" and (x.op is None or x in outputs)}
        writer = Writer(reserved, self.batch)
        names: dict[Tensor, str] = {}
        for node in nodes:
            if node.op is not None:
                names[node] = write_node(writer, node.op, node, names)
                if node.name:
                    own = node.name if node in outputs else writer.new(node.name)
                    names[node] = writer.rename(names[node], own)
            elif node in self.follows:
                size = Size(1, self.follows[node], self.batch)
                number = writer.cast(writer.integers([size]), node.dtype)
                names[node] = writer.node("Reshape", number, writer.integers(node.shape))
            elif node.kind == "constant":
                names[node] = writer.array(node.value)
            else:
                names[node] = node.name or ""
                if node.kind != "input":
                    writer.arrays.append(proto_of(node.value, names[node]))
        return writer, names

    def _value(self, tensors: Sequence[Tensor], name: str | None = None) -> Any:
        """Return the declaration of an input or output: its axes, the batch by its name."""
        first = tensors[0]
        sizes: list[int | str | None] = [int(size) for size in first.shape]
        for axis, found in enumerate(zip(*(tensor.shape for tensor in tensors), strict=True)):
            if len(set(found)) > 1:
                sizes[axis] = _BATCH if list(found) == list(self.batches) else None
        return package("onnx.helper").make_tensor_value_info(name or first.name, NUMBERS[first.dtype], sizes)
