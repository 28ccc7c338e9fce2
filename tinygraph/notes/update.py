"""The update: how the optimizer of a model changes each parameter, as equations and in numbers."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinygraph.describe.derive import Derivation, Line, line_of, ordered_rules
from tinygraph.describe.numbers import first_entries, number_text
from tinygraph.describe.subject import Subject, values_of
from tinygraph.describe.symbols import Formula, Symbol, gradient_symbol
from tinygraph.describe.tex import Formulas
from tinygraph.graph import Array, Tensor
from tinygraph.graph.tensor import input as declare_input
from tinygraph.notes.document import Block, Equations, Paragraph, Table
from tinygraph.train.optimizers import Optimizer, as_optimizer
from tinygraph.train.schedules import Schedule
from tinygraph.train.update import STEP_COUNT, first_update, over, record_updates

# The settings of optimizers: how the literature writes them, and what they are. U1 to U6 of the notes have alpha.
_SETTINGS = {
    "learning_rate": (r"\alpha", "learning rate"),
    "momentum": (r"\mu", "momentum"),
    "rho": (r"\rho", "decay of the mean square"),
    "beta1": (r"\beta_{1}", "first decay"),
    "beta2": (r"\beta_{2}", "second decay"),
    "epsilon": (r"\varepsilon", "smallest step"),
    "weight_decay": (r"\lambda", "weight decay"),
}


def optimizer_of(derivation: Derivation) -> Optimizer | None:
    """Return the optimizer that a model with a backward pass names."""
    if derivation.model is None or derivation.subject.backward is None:
        return None
    return as_optimizer(derivation.model, None)


def _parameters(derivation: Derivation) -> list[Tensor]:
    """Return the parameters that have a gradient, in the order of the backward pass."""
    targets = (rule.target for _, rule in ordered_rules(derivation.subject))
    return list(dict.fromkeys(x for x in targets if x is not None and x.kind == "parameter"))


def update(derivation: Derivation) -> tuple[Block, ...]:
    """Return the update of every parameter by the model's optimizer."""
    optimizer, written = optimizer_of(derivation), derivation.written
    if optimizer is None:
        return ()
    lines = _update_lines(written, optimizer, _parameters(derivation))
    settings = _settings(optimizer)
    words: list[str | Formula] = []
    for i, (name, value) in enumerate(settings, start=1):
        end = "." if i == len(settings) else "; "
        words += [written.formula(_SETTINGS[name][0]), f" = {value:g} is the {_SETTINGS[name][1]}{end}"]
    if isinstance(getattr(optimizer, "learning_rate", None), Schedule):
        words = [written.formula("t"), " counts the steps done before. ", *words]
    return (Equations(tuple(lines)), *([Paragraph(tuple(words))] if words else []))


def _update_lines(written: Formulas, optimizer: Optimizer, parameters: Sequence[Tensor]) -> Iterator[Line]:
    gradients = {str(x.name): (x, declare_input(f"d{x.name}", x.shape, x.dtype)) for x in parameters}
    recorded = record_updates(over(optimizer, declare_input("steps", (), "float64")), gradients)
    names = {x: Symbol("alpha", r"\alpha") for x in recorded.shared if x.name == "learning_rate"}
    for each in recorded.each:
        own = written.symbols.known[written.characters[each.parameter]]
        names |= {each.parameter: own, gradients[each.name][1]: gradient_symbol(own), each.new: own}
        for before, after in zip(each.state, each.new_state, strict=True):
            label = (before.name or "s").removesuffix(f"_{each.name}")
            names[before] = names[after] = Symbol(f"{label}_{own.text}", label, "", own.tex())
    names |= dict.fromkeys((x for pair in recorded.states.get(STEP_COUNT, ()) for x in pair), Symbol("t", "t"))
    shown, shared = set(recorded.outputs), set(recorded.shared)
    graph = Subject("", (), outputs=tuple(recorded.outputs))
    made = Formulas(graph, written.symbols, names=names, numbers=_setting_numbers(optimizer), shown=shown)
    for node in graph.nodes:
        if node in shown and node in made.right:
            sign = "=" if node in shared else r"\leftarrow"
            equation, label = f"{made.characters[node]} {sign} {made.right[node]}", graph.labels[node]
            yield line_of(f"update-{label}", made.formula(equation), label=label)


def moved(derivation: Derivation, values: Mapping[Tensor, Array]) -> dict[Tensor, Array]:
    """Return the parameters after one update, given the values of all nodes before it; nothing if there is no update."""
    optimizer = optimizer_of(derivation)
    found: dict[Tensor, tuple[Array, Array]] = {}
    if optimizer is not None and values:
        for gradient, parameter in updates(derivation).items():
            found[parameter] = values[parameter], values[gradient]
        return first_update(optimizer, found)
    return {}


def updates(derivation: Derivation) -> dict[Tensor, Tensor]:
    """Return the parameter that the update changes by each gradient, in the graph that has the numbers."""
    backward = derivation.numeric.backward
    if backward is None or optimizer_of(derivation) is None:
        return {}
    return {backward.gradients[parameter]: parameter for parameter in _parameters(derivation)}


def before_and_after(derivation: Derivation) -> tuple[Block, ...]:
    """Return the parameters and the loss before and after one update on the numbers of the sample."""
    numeric, written = derivation.numeric, derivation.written
    values, backward, after = numeric.values, numeric.backward, moved(derivation, numeric.values)
    if not after or backward is None or derivation.subject.backward is None:
        return ()
    rows: list[tuple[str | Formula, ...]] = []
    for parameter, new in after.items():
        arrays = values[parameter], values[backward.gradients[parameter]], new
        rows.append((written.symbol(parameter), *map(first_entries, arrays)))
    leaves = [x for x in numeric.nodes if x.op is None and x.kind != "constant"]
    later = values_of(numeric, {x: after.get(x, values[x]) for x in leaves})
    losses = [found[backward.output].item() for found in (values, later)]
    first, second = map(number_text, losses)
    rows.append((written.symbol(derivation.subject.backward.output), first, "", second))
    change = "falls" if losses[1] < losses[0] else "does not fall"
    words = f"One update on {samples_in_words(numeric)} alone: the loss {change}, from {first} to {second}."
    head = ("symbol", "before", "gradient", "after")
    return Paragraph((words,)), Table("First elements before and after one update", head, tuple(rows))


def _settings(optimizer: Optimizer) -> list[tuple[str, float]]:
    found = ((name, getattr(optimizer, name, None)) for name in _SETTINGS)
    return [(name, value) for name, value in found if value and isinstance(value, float)]


def _setting_numbers(optimizer: Optimizer) -> dict[float, str]:
    """Return how the numbers among an optimizer's settings are written; equal settings stay numbers.

    So do those of clipping and of a schedule, and the 1 of Adam.
    """
    found: dict[float, set[str]] = {}
    schedule = getattr(optimizer, "learning_rate", None)
    kept = {getattr(optimizer, "clip_norm", None), *(vars(schedule).values() if isinstance(schedule, Schedule) else ())}
    kept |= {1.0} if hasattr(optimizer, "beta1") else set()
    for name, value in _settings(optimizer):
        pairs = [(value, _SETTINGS[name][0])]
        if name == "rho" or name.startswith("beta"):
            pairs.append((1 - value, rf"\left(1 - {_SETTINGS[name][0]}\right)"))
        for number, text in pairs:
            for seen in {float(number), float(np.float32(number))}:
                found.setdefault(seen, set()).add(text)
    return {number: texts.pop() for number, texts in found.items() if len(texts) == 1 and number not in kept}


def samples_in_words(subject: Subject) -> str:
    """Return in words how many samples the inputs of a model contain."""
    return "this sample" if subject.samples < 2 else f"these {subject.samples} samples"
