"""An operation's gradient rule as equations: what it records on tensors that have only shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygraph.graph.op import Op
    from tinygraph.graph.record import Sample
    from tinygraph.graph.tensor import Tensor


def gradient_lines(op: type[Op]) -> list[str]:
    """Return an operation's gradient rule, written out for its first sample: a line for each input, and for what they share.

    >>> import tinygraph as tg
    >>> gradient_lines(tg.relu.op)
    ['dx = dy * (x > 0)', 'where y = relu(x), x (3, 4)']
    """
    from tinygraph.errors import TinygraphError
    from tinygraph.graph.op import Op

    sample = first_sample(op)
    if op.vjp is Op.vjp:
        return [_without_a_rule(op, sample)]
    if op.opaque_vjp:
        return [f"d{name}: an opaque rule, which computes on arrays and has no formula" for name in op.parameters]
    if sample is None:
        return ["not written out: no samples; give the operation samples to see it"]
    try:
        return _recorded(op, sample)
    except TinygraphError as error:
        return [f"not written out: {error}"]


def part_lines(op: type[Op]) -> list[str]:
    """Return the operations that a composite is made of, as equations, written out for its first sample.

    >>> import tinygraph as tg
    >>> part_lines(tg.layer_norm.op)
    ['x_hat = standardize(x, axis=(1,))', 'y = x_hat * scale + shift']
    """
    from tinygraph.errors import TinygraphError
    from tinygraph.graph.graph import Graph
    from tinygraph.graph.leaves import input

    sample = first_sample(op)
    if sample is None:
        return ["not written out: no samples; give the operation samples to see it"]
    names = input_names(op, len(sample.inputs))
    try:
        inputs = [input(name, x.shape, x.dtype) for name, x in zip(names, sample.inputs, strict=True)]
        y = op(**sample.attributes)(*inputs)
    except TinygraphError as error:
        return [f"not written out: {error}"]
    y.name = result_name(names)
    return [f"{line.label} = {line.expression}" for line in Graph(y).layout.equations if line.expression]


def first_sample(op: type[Op]) -> Sample | None:
    """Return the first sample of an operation; without samples, small matrices if its attributes allow."""
    import dataclasses

    import numpy as np

    from tinygraph.graph.record import Sample

    if op.samples is not None:
        return next(iter(op.samples(np.random.default_rng(0))), None)
    required = [field for field in dataclasses.fields(op) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]
    return None if required or op.variadic else Sample(*[np.ones((2, 3)) for _ in op.parameters])


def _without_a_rule(op: type[Op], sample: Sample | None) -> str:
    """Return why there is no rule: a result of whole numbers or booleans needs none; any other lacks one."""
    if sample is not None and op(**sample.attributes)(*sample.inputs).dtype.kind not in "fc":
        return "none: no gradient flows through a result that is not floating"
    return f"none: {op.name} has no gradient rule; add vjp(self, dy, y, ...), or @{op.name}.vjp"


def _recorded(op: type[Op], sample: Sample) -> list[str]:
    from tinygraph.describe.text import leaf_note
    from tinygraph.graph.backprop import gradients_of
    from tinygraph.graph.graph import Graph

    inputs, y, dy = recorded(op, sample)
    gradients = gradients_of(y, inputs, dy)
    graph = Graph([y, *gradients.values()])
    lines = []
    for line in graph.layout.equations:
        if line.node is y:
            made = line.expression
        elif line.expression or line.node.kind == "constant":
            lines.append(f"{line.label} {f'= {line.expression}' if line.expression else leaf_note(line.node)}")
    lines += [f"d{x.name}: none" for x in inputs if x not in gradients]
    shapes = ", ".join(f"{x.name} {x.shape}" for x in inputs)
    return [*lines, f"where {y.name} = {made}, {shapes}"]


def recorded(op: type[Op], sample: Sample) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return inputs like a sample's, the result of the operation for them, and an input for its gradient; none has a value.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> inputs, y, dy = recorded(tg.relu.op, tg.Sample(np.ones((2, 3))))
    >>> inputs[0].name, y.name, dy.name, dy.shape
    ('x', 'y', 'dy', (2, 3))
    """
    from tinygraph.graph.apply import apply
    from tinygraph.graph.leaves import input

    names = input_names(op, len(sample.inputs))
    inputs = [input(name, x.shape, x.dtype) for name, x in zip(names, sample.inputs, strict=True)]
    y = apply(op(**sample.attributes), inputs)
    y.name = result_name(names)
    return inputs, y, input(f"d{y.name}", y.shape, y.dtype)


def input_names(op: type[Op], count: int) -> list[str]:
    """Return names for the inputs: the operation's own, numbered where it takes any number of them."""
    return [f"{op.parameters[0]}{i}" for i in range(1, count + 1)] if op.variadic else list(op.parameters[:count])


def result_name(taken: list[str]) -> str:
    """Return a name for the result that is not taken, and whose gradient's is not either.

    >>> result_name(["x", "y"]), result_name(["x", "dy"])
    ('z', 'z')
    """
    return next(name for name in ("y", "z", "r", "result") if name not in taken and f"d{name}" not in taken)
