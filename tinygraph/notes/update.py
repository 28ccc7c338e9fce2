"""The update: how the optimizer of a model changes each parameter, as equations and in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.describe.derive import Line, in_order, line_of
from tinygraph.describe.numbers import first_entries, number_text
from tinygraph.describe.subject import Subject, values_of
from tinygraph.describe.symbols import Formula, Symbol, gradient_symbol
from tinygraph.describe.tex import Formulas
from tinygraph.graph import Array, Tensor
from tinygraph.graph.tensor import input as declare_input
from tinygraph.notes.document import Block, Equations, Paragraph, Table
from tinygraph.train.optimizers import Optimizer, make_optimizer, record_update

if TYPE_CHECKING:
    from tinygraph.model import Model

# The settings of optimizers: how the literature writes them, and what they are. U1 to U6 of the notes have alpha.
_SETTINGS = {
    "learning_rate": (r"\alpha", "learning rate"),
    "momentum": (r"\mu", "momentum"),
    "beta1": (r"\beta_{1}", "first decay"),
    "beta2": (r"\beta_{2}", "second decay"),
    "epsilon": (r"\varepsilon", "smallest step"),
}


@dataclass(frozen=True)
class Learning:
    """One step of a model's optimizer: equations in the symbols of ``written``, numbers from the values of ``numeric``."""

    model: Model
    written: Formulas
    numeric: Subject

    @cached_property
    def optimizer(self) -> Optimizer | None:
        """The optimizer that the model names."""
        if self.written.subject.backward is None:
            return None
        settings = self.model.training
        return make_optimizer(settings.optimizer, settings.learning_rate, settings.momentum)

    def _moved(self) -> list[tuple[str, Tensor]]:
        """Return the parameters that have a gradient, in the order of the backward pass."""
        assert self.written.subject.backward is not None
        order = [
            rule.target
            for item in reversed(self.written.subject.items)
            for rule in in_order(self.written.subject.rules(item))
            if rule.target is not None and rule.target.kind == "parameter"
        ]
        names = {parameter: name for name, parameter in self.model.parameters.items()}
        return [(names[node], node) for node in dict.fromkeys(order) if node in names]

    def update(self) -> tuple[Block, ...]:
        """Return the update of every parameter by the model's optimizer."""
        optimizer = self.optimizer
        if optimizer is None:
            return ()
        lines = [line for name, parameter in self._moved() for line in self._update_lines(optimizer, name, parameter)]
        settings = _settings(optimizer)
        words: list[str | Formula] = []
        for i, (name, value) in enumerate(settings, start=1):
            end = "." if i == len(settings) else "; "
            words += [self.written.formula(_SETTINGS[name][0]), f" = {value:g} is the {_SETTINGS[name][1]}{end}"]
        return (Equations(tuple(lines)), *([Paragraph(tuple(words))] if words else []))

    def _update_lines(self, optimizer: Optimizer, name: str, parameter: Tensor) -> Iterator[Line]:
        gradient = declare_input(f"d{name}", parameter.shape, parameter.dtype)
        recorded = record_update(optimizer, name, parameter, gradient)
        new, old, states = recorded.new, recorded.state, recorded.new_state
        own = self.written.symbols.known[self.written.characters[parameter]]
        names = {parameter: own, gradient: gradient_symbol(own), new: own}
        for before, after in zip(old, states, strict=True):
            label = (before.name or "s").removesuffix(f"_{name}")
            names[before] = names[after] = Symbol(f"{label}_{own.text}", label, "", own.tex())
        update = Subject("", (), outputs=(new, *states))
        numbers = _setting_numbers(optimizer)
        written = Formulas(update, self.written.symbols, names=names, numbers=numbers, shown={new, *states})
        for node in update.nodes:
            if node in {new, *states} and node in written.right:
                equation = f"{written.characters[node]} \\leftarrow {written.right[node]}"
                yield line_of(f"update-{update.labels[node]}", written.formula(equation), label=update.labels[node])

    def moved(self, values: Mapping[Tensor, Array]) -> dict[Tensor, Array]:
        """Return the parameters after one update, given the values of all nodes before it; nothing if there is no update."""
        optimizer, backward = self.optimizer, self.numeric.backward
        if optimizer is None or backward is None or not values:
            return {}
        found: dict[Tensor, Array] = {}
        for _, parameter in self._moved():
            before, gradient = values[parameter], values[backward.gradients[parameter]]
            found[parameter] = np.asarray(optimizer.update(before, gradient, optimizer.initial_state(before))[0])
        return found

    def step(self) -> tuple[Block, ...]:
        """Return the parameters and the loss before and after one update on the numbers of the sample."""
        values, backward = self.numeric.values, self.numeric.backward
        moved = self.moved(values)
        if not moved or backward is None:
            return ()
        rows: list[tuple[str | Formula, ...]] = []
        for parameter, after in moved.items():
            arrays = values[parameter], values[backward.gradients[parameter]], after
            rows.append((self.written.symbol(parameter), *map(first_entries, arrays)))
        leaves = [x for x in self.numeric.nodes if x.op is None and x.kind != "constant"]
        later = values_of(self.numeric, {x: moved.get(x, values[x]) for x in leaves})
        losses = [found[backward.output].item() for found in (values, later)]
        first, second = map(number_text, losses)
        assert self.written.subject.backward is not None
        rows.append((self.written.symbol(self.written.subject.backward.output), first, "", second))
        change = "falls" if losses[1] < losses[0] else "does not fall"
        words = f"One update on {samples_in_words(self.numeric)} alone: the loss {change}, from {first} to {second}."
        head = ("symbol", "before", "gradient", "after")
        return Paragraph((words,)), Table("First elements before and after one update", head, tuple(rows))


def _settings(optimizer: Optimizer) -> list[tuple[str, float]]:
    return [(name, value) for name in _SETTINGS if (value := getattr(optimizer, name, 0.0))]


def _setting_numbers(optimizer: Optimizer) -> dict[float, str]:
    """Return how the numbers among an optimizer's settings are written; equal settings stay numbers."""
    found: dict[float, set[str]] = {}
    for name, value in _settings(optimizer):
        pairs = [(value, _SETTINGS[name][0])]
        if name.startswith("beta"):
            pairs.append((1 - value, rf"\left(1 - {_SETTINGS[name][0]}\right)"))
        for number, text in pairs:
            for seen in {float(number), float(np.float32(number))}:
                found.setdefault(seen, set()).add(text)
    return {number: texts.pop() for number, texts in found.items() if len(texts) == 1}


def samples_in_words(subject: Subject) -> str:
    """Return in words how many samples the inputs of a model contain."""
    count = next((item.node.shape[0] for item in subject.items if item.node.kind == "input" and item.node.ndim), 1)
    return "this sample" if count == 1 else f"these {count} samples"
