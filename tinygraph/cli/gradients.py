"""An operation's gradient rule as equations: what it records on tensors that have only shapes."""

import dataclasses

import numpy as np

from tinygraph.describe.text import leaf_note
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Op, Sample, Tensor, apply, gradients_of, input

_NO_SAMPLES = "not written out: no samples; give the operation samples to see it"


def gradient_lines(op: type[Op]) -> list[str]:
    """Return an operation's gradient rule, written out for its first sample: a line for each input, and for what they share.

    >>> import tinygraph as tg
    >>> gradient_lines(tg.relu.op)
    ['dx = dy * (x > 0)', 'where y = relu(x), x (3, 4)']
    """
    sample = first_sample(op)
    if op.vjp is Op.vjp:
        # A result of integers or booleans needs no rule.
        if sample is not None and op(**sample.attributes)(*sample.inputs).dtype.kind not in "fc":
            return ["none: no gradient flows through a result that is not floating"]
        return [f"none: {op.name} has no gradient rule; add vjp(self, dy, y, ...), or @{op.name}.vjp"]
    if op.opaque_vjp:
        return [f"d{name}: an opaque rule, which computes on arrays and has no formula" for name in op.parameters]
    if sample is None:
        return [_NO_SAMPLES]
    try:
        inputs, y, dy = recorded(op, sample)
        gradients = gradients_of(y, inputs, dy)
    except TinygraphError as error:
        return [f"not written out: {error}"]
    lines, forward = [], ""
    for line in Graph([y, *gradients.values()]).layout.equations:
        if line.node is y:
            forward = line.expression or ""
        elif line.expression or line.node.kind == "constant":
            lines.append(f"{line.label} {f'= {line.expression}' if line.expression else leaf_note(line.node)}")
    lines += [f"d{x.name}: none" for x in inputs if x not in gradients]
    shapes = ", ".join(f"{x.name} {x.shape}" for x in inputs)
    return [*lines, f"where {y.name} = {forward}, {shapes}"]


def part_lines(op: type[Op]) -> list[str]:
    """Return the operations that a composite is made of, as equations, written out for its first sample.

    >>> import tinygraph as tg
    >>> part_lines(tg.layer_norm.op)
    ['x_hat = standardize(x, axis=(1,))', 'y = x_hat * scale + shift']
    """
    sample = first_sample(op)
    if sample is None:
        return [_NO_SAMPLES]
    try:
        inputs = _inputs(op, sample)
        y = op(**sample.attributes)(*inputs)
    except TinygraphError as error:
        return [f"not written out: {error}"]
    y.name = _result_name(inputs)
    return [f"{line.label} = {line.expression}" for line in Graph(y).layout.equations if line.expression]


def first_sample(op: type[Op]) -> Sample | None:
    """Return the first sample of an operation; without samples, small matrices if its attributes allow."""
    if op.samples is not None:
        return next(iter(op.samples(np.random.default_rng(0))), None)
    required = [field for field in dataclasses.fields(op) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]
    return None if required or op.variadic else Sample(*[np.ones((2, 3)) for _ in op.parameters])


def recorded(op: type[Op], sample: Sample) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return inputs like a sample's, the result of the operation for them, and an input for its gradient; none has a value.

    >>> import tinygraph as tg
    >>> inputs, y, dy = recorded(tg.relu.op, tg.Sample(np.ones((2, 3))))
    >>> inputs[0].name, y.name, dy.name, dy.shape
    ('x', 'y', 'dy', (2, 3))
    """
    inputs = _inputs(op, sample)
    y = apply(op(**sample.attributes), inputs)
    y.name = _result_name(inputs)
    return inputs, y, input(f"d{y.name}", y.shape, y.dtype)


def _inputs(op: type[Op], sample: Sample) -> list[Tensor]:
    """Return inputs without values like a sample's, with the operation's names: numbered where it takes any number."""
    count = len(sample.inputs)
    names = [f"{op.parameters[0]}{i}" for i in range(1, count + 1)] if op.variadic else op.parameters[:count]
    return [input(name, x.shape, x.dtype) for name, x in zip(names, sample.inputs, strict=True)]


def _result_name(inputs: list[Tensor]) -> str:
    """Return a name for the result that no input has, and whose gradient's name none has either."""
    taken = [x.name for x in inputs]
    return next(name for name in ("y", "z", "r", "result") if name not in taken and f"d{name}" not in taken)
