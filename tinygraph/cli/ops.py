"""``tinygraph ops``: the operations, in a table or one at a time."""

import inspect
import itertools
import re
from collections.abc import Iterable

import click
import numpy as np

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.describe.text import aligned, right_side
from tinygraph.errors import TinygraphError
from tinygraph.graph import Graph, Op, Sample, Tensor, apply, gradients_of, input, operation, operations
from tinygraph.graph.attributes import describe
from tinygraph.ops import FAMILIES


@options.command
@click.argument("name", required=False)
def ops(name: str | None) -> None:
    """List the operations, or explain the one called NAME: formula, gradient, attributes, example."""
    if name is None:
        print_table([function.op for function in operations().values()])
    else:
        print_operation(operation(name).op)


def print_table(operations: list[type[Op]]) -> None:
    """Print operations by family, with the columns of all families in line."""
    families = by_family(operations)
    ordered = itertools.chain.from_iterable(families.values())
    rows = [(call(op), op.readable_formula(), ", ".join(attribute_texts(op))) for op in ordered]
    lines = iter(aligned([("operation", "formula", "attributes"), *rows], longest=(99, 999)).splitlines())
    say(next(lines))
    for family, members in families.items():
        say(f"\n{family}", bold=True)
        for _ in members:
            say(next(lines))
    say("\ntinygraph ops NAME explains one of them.")


def by_family(operations: Iterable[type[Op]]) -> dict[str, list[type[Op]]]:
    """Return operations by family; those that differ only in the number of axes follow each other.

    >>> import tinygraph as tg
    >>> {name: [op.name for op in ops] for name, ops in by_family([tg.bce.op, tg.conv2d.op, tg.conv1d.op]).items()}
    {'convolution': ['conv1d', 'conv2d'], 'loss': ['bce']}
    """
    found: dict[str, list[type[Op]]] = {family: [] for family in FAMILIES}
    for op in operations:
        found.setdefault(op.family, []).append(op)
    # Without its number of axes, conv2d_kernel_gradient is conv_kernel_gradient.
    stems = {op: re.sub(r"\dd(?=_|$)", "", op.name) for ops in found.values() for op in ops}
    order = list(stems.values())
    return {
        family: sorted(ops, key=lambda op: (order.index(stems[op]), op.name)) for family, ops in found.items() if ops
    }


def print_operation(op: type[Op]) -> None:
    """Print everything about one operation."""
    summary, example = explanation(op)
    say(f"{call(op)}   ({op.family})", bold=True)
    kinds = op.attribute_annotations()
    attributes = [
        f"{a.name}: {describe(kinds[a.name])}" + ("" if a.default is a.empty else f", default {a.default!r}")
        for a in attributes_of(op)
    ]
    sections = {
        "formula": [op.readable_formula() or "not given"],
        "made of": part_lines(op) if op.composite else [],
        "gradient": gradient_lines(op),
        "attributes": attributes or ["none"],
        "about": summary,
        "example": example,
    }
    for heading, lines in sections.items():
        for index, line in enumerate(lines):
            say(f"{heading if not index else '':<12}{line}".rstrip())
        if lines:
            say()


def explanation(op: type[Op]) -> tuple[list[str], list[str]]:
    """Return the lines of an operation's docstring, and those of its example, with the import that they need."""
    written = (inspect.getdoc(op) or "").strip()
    # A dataclass without a docstring gets its signature as one.
    if re.fullmatch(rf"{re.escape(op.__name__)}\(.*\)", written, re.DOTALL):
        return [], []
    summary, mark, example = written.partition(">>>")
    lines = f"{mark}{example}".rstrip().splitlines()
    if re.search(r"\bnp\.", example) and "import numpy as np" not in example:
        lines.insert(0, ">>> import numpy as np")
    return summary.strip().splitlines(), lines


def call(op: type[Op]) -> str:
    """Return how an operation is called: its tensors, and the attributes that have no default.

    >>> import tinygraph as tg
    >>> call(tg.matmul.op), call(tg.concatenate.op), call(tg.avg_pool2d.op)
    ('matmul(x, y)', 'concatenate([x, ...])', 'avg_pool2d(x, window)')
    """
    tensors = [f"[{op.parameters[0]}, ...]"] if op.variadic else op.parameters
    required = [a for a in attributes_of(op) if a.default is a.empty]
    names = [f"{a.name}=..." if a.kind is a.KEYWORD_ONLY else a.name for a in required]
    return f"{op.name}({', '.join([*tensors, *names])})"


def attributes_of(op: type[Op]) -> list[inspect.Parameter]:
    """Return the attributes that a call may set, in the order in which the class declares them.

    >>> import tinygraph as tg
    >>> [attribute.name for attribute in attributes_of(tg.leaky_relu.op)]
    ['slope']
    """
    known = inspect.signature(op).parameters
    return [known[name] for name in op.attribute_annotations()]


def attribute_texts(op: type[Op]) -> list[str]:
    """Return attributes with their defaults; required ones have none.

    >>> import tinygraph as tg
    >>> attribute_texts(tg.avg_pool2d.op)[:2]
    ['window', 'stride=None']
    """
    return [a.name if a.default is a.empty else f"{a.name}={a.default!r}" for a in attributes_of(op)]


# ---- an operation's gradient rule as equations: what it records on tensors that have only shapes

_NO_SAMPLES = "not written out: no samples; give the operation samples to see it"


def gradient_lines(op: type[Op]) -> list[str]:
    """Return an operation's gradient rule, written out for its first sample: a line for each input, and for what they share.

    >>> import tinygraph as tg
    >>> gradient_lines(tg.relu.op)
    ['dx = dy * (x > 0)', 'where y = relu(x), x (3, 4)']
    """
    sample = first_sample(op)
    if op.stops_gradient:
        return ["none: no gradient flows, on purpose"]
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
            lines.append(f"{line.label} {right_side(line)}")
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
    required = [a for a in attributes_of(op) if a.default is a.empty]
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
