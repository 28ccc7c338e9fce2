"""Nodes inside a node: the branches of an ``If``, and the definition that ONNX has of an operator in other operators."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.graph import Tensor
from tinygraph.interop.onnx.node import OPERATORS, Node, Value, operator, with_branches
from tinygraph.interop.onnx.tensors import NUMBERS, package

_BRANCHES = ("then_branch", "else_branch")


@operator("If", constants=(0,))
def branch(node: Node, condition: Value) -> Any:
    """Return the branch that a condition on shapes and constants chooses: a graph, which the importer computes."""
    if isinstance(condition, Tensor):
        node.fail("which branch is computed depends on data; only conditions on shapes and constants are supported")
    if condition is None or condition.size != 1:
        node.fail("its condition must be one truth value")
    graphs = {attribute.name: attribute.g for attribute in node.proto.attribute}
    for name in _BRANCHES:
        if name not in graphs:
            node.fail(f"it needs its attribute {name!r}")
    graph = graphs[_BRANCHES[0 if condition.item() else 1]]
    if len(graph.output) != len(node.outputs):
        node.fail(f"it and its branch must have as many results; found {len(node.outputs)} and {len(graph.output)}")
    return graph


def names_read(proto: Any) -> set[str]:
    """Return the names that a node reads, with those that its branches read."""
    inner = list(with_branches([proto]))
    outputs = {value.name for node in inner for attribute in node.attribute for value in attribute.g.output}
    return outputs.union(*(node.input for node in inner))


def schema_of(node: Node) -> Any:
    """Return ONNX's description of an operator in a node's operator set, or ``None`` where the set does not have it."""
    defs = package().defs
    try:
        return defs.get_schema(node.op_type, node.opset, "")
    except defs.SchemaError:
        return None


def is_known(node: Node) -> bool:
    """Whether an operator has a rule, or ONNX defines it, in the node's operator set, by other operators."""
    schema = schema_of(node)
    defined = schema is not None and (schema.has_function or schema.has_context_dependent_function)
    return node.op_type in OPERATORS or bool(defined)


def definition(node: Node, given: Sequence[Value], unnamed: str) -> list[Node]:
    """Return the nodes that define a node, given its inputs; ``unnamed`` begins the names of results between them."""
    schema, function = schema_of(node), package().FunctionProto()
    try:
        if schema.has_context_dependent_function:
            types = [_type_of(x).SerializeToString() for x in given]
            function.ParseFromString(schema.get_context_dependent_function(node.proto.SerializeToString(), types))
        else:
            function.CopyFrom(schema.function_body)
    except Exception as error:  # ONNX's own code raises errors of many classes.
        node.fail(f"ONNX's definition of it does not fit its inputs: {error}")
    opset = next((entry.version for entry in function.opset_import if entry.domain == ""), node.opset)
    names = dict(zip(function.input, [*node.inputs, *[""] * len(function.input)], strict=False))
    names |= dict(zip(function.output, node.outputs, strict=False))
    attributes = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    attributes |= {a.name: a for a in (*function.attribute_proto, *node.proto.attribute)}
    found = [node.inner(p, opset) for p in _renamed(function.node, names, f"{unnamed}{node.outputs[0]}.", attributes)]
    for each in found:
        each.within = node.describe()
    return found


def _type_of(x: Value) -> Any:
    """Return the type of an input as ONNX's message; an empty one for an input that is left out."""
    if x is None:
        return package().TypeProto()
    return package("onnx.helper").make_tensor_type_proto(NUMBERS[np.dtype(x.dtype)], [int(size) for size in x.shape])


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
            # An attribute that the definition takes from the node is left out where the node does not have it.
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
