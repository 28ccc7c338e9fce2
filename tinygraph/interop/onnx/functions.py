"""Operators that ONNX itself defines by others: what the table lacks is read by that definition, where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import Node, Value
from tinygraph.interop.onnx.package import package
from tinygraph.interop.onnx.tensors import NUMBERS


def is_defined(node: Node) -> bool:
    """Whether ONNX defines an operator, in a node's operator set, by other operators."""
    defs = package().defs
    try:
        schema = defs.get_schema(node.op_type, node.opset, "")
    except defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def body_of(node: Node, given: Sequence[Value], unnamed: str) -> list[Node]:
    """Return the nodes that a node stands for, given its inputs; what is between them begins with ``unnamed``."""
    types = [_type_of(x) for x in given]
    schema = package().defs.get_schema(node.op_type, node.opset, "")
    function = package().FunctionProto()
    try:
        if schema.has_context_dependent_function:
            data = schema.get_context_dependent_function(node.proto.SerializeToString(), types)
            function.ParseFromString(data)
        else:
            function.CopyFrom(schema.function_body)
    except Exception as error:  # Whatever ONNX's own code says that it cannot.
        node.fail(f"ONNX's definition of it does not fit its inputs: {error}")
    opset = next((entry.version for entry in function.opset_import if entry.domain == ""), node.opset)
    names = dict(zip(function.input, [*node.inputs, *[""] * len(function.input)], strict=False))
    names |= dict(zip(function.output, node.outputs, strict=False))
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    attributes = defaults | {a.name: a for a in function.attribute_proto} | {a.name: a for a in node.proto.attribute}
    protos = list(_renamed(function.node, names, f"{unnamed}{node.outputs[0]}.", attributes))
    return [Node(proto, opset, node.file, node.folder) for proto in protos]


def _type_of(x: Value) -> bytes:
    """Return the type of an input as ONNX writes it; none for one that is left out."""
    if x is None:
        return bytes(package().TypeProto().SerializeToString())
    made = package("onnx.helper").make_tensor_type_proto(NUMBERS[np.dtype(x.dtype)], [int(size) for size in x.shape])
    return bytes(made.SerializeToString())


def _renamed(nodes: Any, names: dict[str, str], prefix: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
    def renamed(name: str) -> str:
        return names.setdefault(name, prefix + name) if name else ""

    for node in nodes:
        copy = package().NodeProto()
        copy.CopyFrom(node)
        for field in (copy.input, copy.output):
            field[:] = map(renamed, field)
        del copy.attribute[:]
        for attribute in node.attribute:
            # One that the definition takes from the node is left out where the node does not give it.
            if not attribute.ref_attr_name:
                copy.attribute.append(attribute)
            elif attribute.ref_attr_name in attributes:
                given = copy.attribute.add()
                given.CopyFrom(attributes[attribute.ref_attr_name])
                given.name = attribute.name
        for attribute in copy.attribute:
            # The branches of an If read what is around them.
            inner = list(_renamed(attribute.g.node, names, prefix, attributes))
            del attribute.g.node[:]
            attribute.g.node.extend(inner)
            for value in (*attribute.g.initializer, *attribute.g.output):
                value.name = renamed(value.name)
        yield copy
