"""From a declared model to an ONNX file, for any size of batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygraph.errors import OnnxError, nearest
from tinygraph.files import write_whole
from tinygraph.graph.apply import whole
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx import export_layers, export_moves
from tinygraph.interop.onnx.batch import BATCHES, followed
from tinygraph.interop.onnx.exports import EXPORTS
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.tensors import NUMBERS, proto_of
from tinygraph.interop.onnx.writer import OPSET, PRODUCER, Step, Writer
from tinygraph.model.model import Model
from tinygraph.ops.normalization import BatchNorm

__all__ = ["export_layers", "export_moves", "proto_of_model", "save_onnx"]
_IR_VERSION = 10
# What the first axis of inputs and outputs is called.
_BATCH = "m"


def save_onnx(what: Model | Graph | Tensor, path: str | os.PathLike[str], loss: bool) -> None:
    """Write a model as an ONNX file, whole or not at all; see ``to_onnx``."""
    target = Path(path)
    if not target.parent.is_dir():
        raise OnnxError(f"{path}: cannot be written: there is no folder {str(target.parent)!r}")
    if not target.name or target.is_dir():
        raise OnnxError(f"{str(path)!r} is a folder; a model is written to a file")
    proto = proto_of_model(what, loss=loss) if isinstance(what, Model) else proto_of_graph(what)
    try:
        write_whole(target, proto.SerializeToString())
    except (OSError, ValueError) as error:
        raise OnnxError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def proto_of_model(model: Model, *, loss: bool = False) -> Any:
    """Return a model as ONNX's own message, checked by ONNX's own checker."""
    if loss and model.loss is None:
        raise OnnxError(f"model {model.name!r} declares no loss")
    batches = BATCHES if model.batch is None else (model.batch,)
    with whole():
        recordings = [model.record_anew(count, partial=not loss) for count in batches]
    outputs = [[r.output, r.loss] if loss and r.loss is not r.output else [r.output] for r in recordings]
    graphs = [Graph([tensor for tensor in each if tensor is not None]) for each in outputs]
    told = {"name": model.name, "title": model.title, "output": model.output}
    return _proto(graphs, batches, told | ({"loss": str(model.loss)} if loss else {}))


def proto_of_graph(what: Graph | Tensor) -> Any:
    """Return a graph as ONNX's own message, in the sizes that it was recorded for; its inputs are those of the file."""
    graph = what if isinstance(what, Graph) else Graph(what)
    return _proto([graph], [0], {"name": "graph"})


def _proto(graphs: Sequence[Graph], batches: Sequence[int], told: dict[str, str]) -> Any:
    helper = package("onnx.helper")
    writer, names = _written(graphs, batches)
    graph = helper.make_graph(
        writer.nodes,
        told["name"],
        [_value(leaves, names[leaves[0]]) for leaves in zip(*(g.inputs.values() for g in graphs), strict=True)],
        [_value(tensors, names[tensors[0]]) for tensors in zip(*(g.outputs for g in graphs), strict=True)],
        writer.used(),
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    proto.producer_name = PRODUCER
    told = told | {"state": " ".join(_kept(graphs[0]))}
    helper.set_model_props(proto, {f"tinygraph.{key}": text for key, text in told.items() if text})
    package("onnx.checker").check_model(proto)
    return proto


def _kept(graph: Graph) -> list[str]:
    """Return the state that no operator of ONNX knows to be state: a file that is read again would take it for weights."""
    statistics = {x for node in graph.nodes if isinstance(node.op, BatchNorm) for x in node.inputs[3:]}
    return [x.name for x in graph.nodes if x.kind == "state" and x not in statistics and x.name]


def _written(graphs: Sequence[Graph], batches: Sequence[int]) -> tuple[Writer, dict[Tensor, str]]:
    """Return the nodes of a graph recorded for one size of batch or two, and what its tensors are called."""
    first = graphs[0]
    growing = len(graphs) > 1
    batch_of = next((n for n, x in first.inputs.items() if growing and x.shape != graphs[1].inputs[n].shape), "")
    outputs = {tensor: tensor.name for tensor in first.outputs if tensor.name}
    kept = [x.name for x in first.nodes if x.op is None and x.kind != "constant" and x.name]
    writer = Writer([*kept, *outputs.values()], batch_of)
    names: dict[Tensor, str] = {}
    for nodes in zip(*(graph.nodes for graph in graphs), strict=True):
        node = nodes[0]
        if node.op is None:
            names[node] = _leaf(writer, node)
            continue
        names[node] = _node(writer, nodes, batches, [names[x] for x in node.inputs], outputs.get(node))
    return writer, names


def _leaf(writer: Writer, node: Tensor) -> str:
    if node.kind == "constant":
        return writer.array(node.value, "value" if node.size <= 64 else "constant")
    assert node.name is not None
    if node.kind != "input":
        writer.arrays.append(proto_of(node.value, node.name))
    return node.name


def _node(writer: Writer, nodes: Sequence[Tensor], batches: Sequence[int], names: list[str], own: str | None) -> str:
    node = nodes[0]

    def fail(why: str) -> Any:
        raise OnnxError(f"{node.describe()} cannot be written as ONNX: {why}")

    op = followed([each.op for each in nodes if each.op is not None], batches, writer.batch_of, fail)
    if op.name not in EXPORTS:
        fail(f"ONNX has no operator for {op.name!r}{nearest(op.name, EXPORTS)} (docs/onnx.md says which have)")
    made = EXPORTS[op.name](Step(writer, op, node, names))
    if own is not None:
        writer.release(own)
        return writer.call_it(made, own)
    return writer.call_it(made, node.name) if node.name else made


def _value(tensors: Sequence[Tensor], name: str) -> Any:
    """Return the declaration of an input or output: its axes, the batch by its name."""
    first = tensors[0]
    sizes: list[int | str | None] = [int(size) for size in first.shape]
    if len(tensors) > 1:
        for axis, (small, large) in enumerate(zip(first.shape, tensors[1].shape, strict=True)):
            if small != large:
                sizes[axis] = _BATCH if (small, large) == BATCHES else None
    return package("onnx.helper").make_tensor_value_info(name, NUMBERS[first.dtype], sizes)
