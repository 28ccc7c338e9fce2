"""From a declared model to an ONNX file, for any size of batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ModelError, OnnxError, nearest
from tinygraph.files import as_path, write_whole
from tinygraph.graph.apply import whole
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx import export_layers, export_moves
from tinygraph.interop.onnx.batch import BASES, FEW, MANY, Size, Unknown, common, followed, side_by_side
from tinygraph.interop.onnx.exports import EXPORTS
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.tensors import NUMBERS, proto_of
from tinygraph.interop.onnx.verify import agrees
from tinygraph.interop.onnx.writer import OPSET, PRODUCER, Step, Writer
from tinygraph.model.model import Model
from tinygraph.ops.normalization.normalization import BatchNorm

__all__ = ["export_layers", "export_moves", "proto_of_model", "save_onnx"]
_IR_VERSION = 10
# What the first axis of inputs and outputs is called.
_BATCH = "m"


def save_onnx(what: Model | Graph | Tensor, path: str | os.PathLike[str], loss: bool) -> None:
    """Write a model as an ONNX file, whole or not at all; see ``to_onnx``."""
    target = as_path(path)
    proto = proto_of_model(what, loss=loss) if isinstance(what, Model) else proto_of_graph(what)
    try:
        write_whole(target, proto.SerializeToString())
    except (OSError, ValueError) as error:
        raise OnnxError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def proto_of_model(model: Model, *, loss: bool = False) -> Any:
    """Return a model as ONNX's own message, checked by ONNX's own checker."""
    if loss and model.loss is None:
        raise OnnxError(f"model {model.name!r} declares no loss")
    for name, parameter in model.parameters.items():
        if not np.isfinite(parameter.value).all():
            raise OnnxError(f"model {model.name!r} was not written as ONNX: {name!r} holds NaN or infinity")
    metadata = {"name": model.name, "title": model.title, "output": model.output}
    metadata |= {"loss": str(model.loss)} if loss else {}

    def graph(count: int) -> Graph:
        with whole():
            recording = model.record_again(count, partial=not loss)
        named = [recording.output, recording.loss if loss and recording.loss is not recording.output else None]
        return Graph([tensor for tensor in named if tensor is not None])

    if model.batch is not None:
        return _proto([graph(model.batch)], [model.batch], metadata)
    for batches in ([BASES[0] + step for step in steps] for steps in (FEW, MANY)):
        graphs = [graph(count) for count in batches]
        try:
            _verify(graphs, batches, graph)
        except Unknown:
            continue
        return _proto(graphs, batches, metadata)
    raise OnnxError(
        f"model {model.name!r} cannot be written as ONNX: its sizes follow the batch by no rule that is known"
    )


def _verify(graphs: Sequence[Graph], batches: Sequence[int], graph: Callable[[int], Graph]) -> None:
    """Raise ``Unknown`` unless operations whose sizes follow the batch are those of the model for other numbers too."""
    batch = _batch_of(graphs)
    copies: dict[Tensor, Tensor] = {}
    numbers = {}
    for nodes in side_by_side(graphs):
        node = copies[nodes[0]] = nodes[0]
        if node.op is not None:
            op = followed([each.op for each in nodes if each.op is not None], batches, batch)
            inputs = tuple(copies[x] for x in node.inputs)
            copies[node] = Tensor("node", op, inputs, None, node.shape, node.dtype, node.name)
        elif node.kind == "constant" and (size := _following(nodes, batches, batch)) is not None:
            numbers[node] = size.rule
    names = {x: x.name for x in graphs[0].nodes if x.op is None and x.name}
    for count in (1, 2, 3, 8, 16 * BASES[0]):
        try:
            one = graph(count)
        except ModelError:
            # The model does not take so few samples.
            continue
        if not agrees([copies[x] for x in graphs[0].outputs], names, numbers, list(one.outputs), one.inputs, count):
            raise Unknown


def _following(nodes: Sequence[Tensor], batches: Sequence[int], batch: str) -> Size | None:
    """Return the size that a constant is, where it follows the batch, as in ``x / x.shape[0]``."""
    if all(node.value.tobytes() == nodes[0].value.tobytes() for node in nodes):
        return None
    if any(node.size != 1 or node.value.item() != int(node.value.item()) for node in nodes):
        raise Unknown
    size: Size = common([int(node.value.item()) for node in nodes], batches, batch)
    return size


def _batch_of(graphs: Sequence[Graph]) -> str:
    """Return the input whose first axis is the batch, or nothing where no size follows it."""
    pairs = graphs[0].inputs.items() if len(graphs) > 1 else ()
    return next((name for name, x in pairs if x.shape != graphs[1].inputs[name].shape), "")


def proto_of_graph(what: Graph | Tensor) -> Any:
    """Return a graph as ONNX's own message, in the sizes that it was recorded for; its inputs are those of the file."""
    graph = what if isinstance(what, Graph) else Graph(what)
    return _proto([graph], [0], {"name": "graph"})


def _proto(graphs: Sequence[Graph], batches: Sequence[int], metadata: dict[str, str]) -> Any:
    helper = package("onnx.helper")
    writer, names = _written(graphs, batches)
    graph = helper.make_graph(
        writer.nodes,
        metadata["name"] or "model",
        [_value(leaves, names[leaves[0]]) for leaves in zip(*(g.inputs.values() for g in graphs), strict=True)],
        [_value(tensors, names[tensors[0]]) for tensors in zip(*(g.outputs for g in graphs), strict=True)],
        writer.used(),
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    proto.producer_name = PRODUCER
    metadata = metadata | {"state": " ".join(_kept(graphs[0]))}
    helper.set_model_props(proto, {f"tinygraph.{key}": text for key, text in metadata.items() if text})
    package("onnx.checker").check_model(proto)
    return proto


def _kept(graph: Graph) -> list[str]:
    """Return the state that no operator of ONNX knows to be state: a file that is read again would take it for weights."""
    statistics = {x for node in graph.nodes if isinstance(node.op, BatchNorm) for x in node.inputs[3:]}
    return [x.name for x in graph.nodes if x.kind == "state" and x not in statistics and x.name]


def _written(graphs: Sequence[Graph], batches: Sequence[int]) -> tuple[Writer, dict[Tensor, str]]:
    """Return the nodes of a graph recorded for one number of samples or several, and what its tensors are called."""
    first = graphs[0]
    outputs = {tensor: tensor.name for tensor in first.outputs if tensor.name}
    kept = [x.name for x in first.nodes if x.op is None and x.kind != "constant" and x.name]
    writer = Writer([*kept, *outputs.values()], _batch_of(graphs))
    names: dict[Tensor, str] = {}
    for nodes in side_by_side(graphs):
        node = nodes[0]
        if node.op is None:
            names[node] = _leaf(writer, nodes, batches)
            continue
        names[node] = _node(writer, nodes, batches, [names[x] for x in node.inputs], outputs.get(node))
    return writer, names


def _leaf(writer: Writer, nodes: Sequence[Tensor], batches: Sequence[int]) -> str:
    node = nodes[0]
    if node.kind == "constant":
        size = _following(nodes, batches, writer.batch_of)
        if size is not None:
            number = writer.cast(writer.whole([size]), node.dtype)
            return writer.node("Reshape", number, writer.whole(node.shape))
        return writer.array(node.value, "value" if node.size <= 64 else "constant")
    assert node.name is not None
    if node.kind != "input":
        writer.arrays.append(proto_of(node.value, node.name))
    return node.name


def _node(writer: Writer, nodes: Sequence[Tensor], batches: Sequence[int], names: list[str], own: str | None) -> str:
    node = nodes[0]

    def fail(why: str) -> Any:
        raise OnnxError(f"{node.describe()} cannot be written as ONNX: {why}")

    op = followed([each.op for each in nodes if each.op is not None], batches, writer.batch_of)
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
        counts = [BASES[0] + step for step in FEW]
        for axis, found in enumerate(zip(*(tensor.shape for tensor in tensors[: len(FEW)]), strict=True)):
            if len(set(found)) > 1:
                sizes[axis] = _BATCH if list(found) == counts else None
    return package("onnx.helper").make_tensor_value_info(name, NUMBERS[first.dtype], sizes)
