"""The one edit of a rule that makes its gradient right: a sign, a factor, an axis, a transpose, another name.

The rule runs again and again, each time with one value changed (``spots.Rule``). An edit is named if the gradient then
agrees with the numeric derivatives of every input that was tried, those on which the rule was right before as well.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph.verify.hints import kinds
from tinygraph.verify.hints.kinds import Edit, Edits, is_array, is_real
from tinygraph.verify.hints.spots import Change, Rule, Spot
from tinygraph.verify.hints.terms import missing_term
from tinygraph.verify.hints.trial import PROVEN, Trial, agree, is_plain, names_of, redrawn

# Seconds of computing for the edits of one gradient.
SECONDS = 1.2
_MOST_TRIALS = 8
_SIMPLE = ("0", "-1", "2", "0.5")
# In this order: the first kind with an edit that fits is named. Factors made of sizes, and then what the rule computes, are
# tried between them.
_FIRST: tuple[Edits, ...] = (kinds.left_out, kinds.numbers, kinds.names, kinds.conditions, kinds.orders)
_SECOND: tuple[Edits, ...] = (kinds.calls, kinds.moves, kinds.functions)
_LAST: tuple[Edits, ...] = (kinds.products, kinds.other_conditions)


def find(trials: Sequence[Trial]) -> str:
    """Return the edit of a rule that makes its gradient right in all trials, in words, or nothing."""
    if not any(trial.finding.wrong and trial.points for trial in trials):
        return ""
    return Search(trials).find()


class Search:
    """Edits of one rule, looked for in one trial that is wrong and confirmed in all others."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        wrong = [trial for trial in trials if trial.finding.wrong and trial.points]
        self.trial = max(wrong, key=lambda trial: min(len(trial.wrong), _MOST_TRIALS) - trial.rule.y.size / 1e6)
        right, half = [trial for trial in trials if not trial.finding.wrong and trial.points], _MOST_TRIALS // 2
        others = [*wrong[:half], *right[:half], *wrong[half:], *right[half:]]
        if self.trial.finding.message:
            # A rule that fails is seldom made for all shapes that forward takes.
            axes = [x.ndim for x in self.trial.values]
            others = [trial for trial in others if [x.ndim for x in trial.values] == axes]
        others = [trial for trial in others if trial is not self.trial][: _MOST_TRIALS - 1]
        self.others = others or [redrawn(self.trial)]
        self.rule = Rule(type(self.trial.rule.op))
        self.ends = time.thread_time() + SECONDS
        self._traces: dict[Trial, dict[int, Any]] = {}
        # Spots on which the gradient does not depend.
        self._idle: set[int] = set()

    def find(self) -> str:
        """Return the edit in words, or nothing."""
        seen = self.trace(self.trial)
        if self.trial.fits(self.run(self.trial)):
            # It fails on tensors alone.
            return ""
        text = self._statement()
        edited = lambda some: [functools.partial(self._edited, edits) for edits in some]  # noqa: E731
        simple, of_case = (functools.partial(self._fitted, of_case) for of_case in (False, True))
        computed = functools.partial(self._edited, self._with_computed)
        looks = (simple, *edited(_FIRST), of_case, *edited(_SECOND), computed, *edited(_LAST))
        # What a condition compares is changed last: one that always chooses the same hides what is wrong with the other choice.
        for look, compared in itertools.chain(((look, False) for look in looks), ((look, True) for look in looks)):
            found: dict[str, str] = {}
            for number, spot in enumerate(self.rule.spots) if not text else ():
                asked = number in seen and number not in self._idle and spot.compared == compared
                if asked and time.thread_time() < self.ends:
                    sentence = look(number, spot, seen[number])
                    found.setdefault(sentence.partition(":")[0], sentence)
            text = text or "; or ".join([*filter(None, found.values())][:2])
        return text or self._missing_term()

    def run(self, trial: Trial, spot: int = -1, change: Change | None = None, place: int | None = None) -> Any:
        """Return the gradient with a spot changed; None where the rule raises or gives none."""
        with contextlib.suppress(Exception):
            chosen = trial.place if place is None else place
            return np.asarray(self.rule.gradient(trial.rule.op, chosen, trial.arguments, spot, change))
        return None

    def fits(self, spot: int, change: Callable[[Trial], Change]) -> bool:
        """Whether a change makes all trials right, and leaves the gradients of the other inputs as right as they are."""
        if not self.trial.fits(self.run(self.trial, spot, change(self.trial))):
            return False
        for trial in (self.trial, *self.others):
            found = self.run(trial, spot, change(trial))
            if not (trial.fits(found) and trial.fits_along(found)):
                return False
        right = [Trial(self.trial.rule, each) for each in self.trial.findings if not each.wrong and each.points]
        return all(each.fits(self.run(self.trial, spot, change(self.trial), each.place)) for each in right)

    def _edited(self, edits: Edits, number: int, spot: Spot, value: Any) -> str:
        for edit in edits(spot, value, self.trial):
            if time.thread_time() > self.ends:
                break
            with contextlib.suppress(Exception):
                if self.fits(number, edit.change):
                    new = edit.new.removesuffix(" + 0 * {e}")
                    return self._sentence(edit.said(edit.words, spot.text), spot, edit.said(new, spot.operand))
        return ""

    def _fitted(self, of_case: bool, number: int, spot: Spot, value: Any) -> str:
        """Return the factor with which the value of a spot makes the gradient right, where the gradient is linear in it.

        It is a simple number, or, ``of_case``, one that is made of sizes and attributes.
        """
        # Whole numbers count and select, and attributes are what they are called.
        scaled = is_real(value) and not isinstance(value, int) and (spot.line or np.ndim(value))
        factor = self._factor(self.trial, number) if scaled else None
        if factor is None or abs(factor - 1) < 1e-6:
            return ""
        # A number that is written in a rule has few digits.
        whole = spot.constant and math.isclose(factor * value, float(f"{factor * value:.5g}"), rel_tol=1e-6)
        for name in names_of(factor, self.trial):
            by_chance = name == f"{factor:.6g}" and not (whole or is_plain(factor))
            if of_case == (name not in _SIMPLE) and not by_chance:
                with contextlib.suppress(Exception):
                    if self.fits(number, Edit("", f"{{e}} * ({name})").change):
                        return self._sentence(*_factor_words(name, factor, spot, value))
        return ""

    def _factor(self, trial: Trial, number: int) -> float | None:
        once = trial.at_points(self.run(trial, number, lambda value: value * 1.0))
        slope = trial.at_points(self.run(trial, number, lambda value: value * 2.0)) - once
        size = float(slope @ slope)
        if size == 0:
            self._idle.add(number)
        if not math.isfinite(size) or size == 0:
            return None
        step = float(slope @ (trial.numeric - once)) / size
        return 1 + step if agree(once + step * slope, trial.numeric) else None

    def _statement(self) -> str:
        """Return a statement that should add up where it assigns, or the like."""
        plain = self.rule
        with contextlib.suppress(IndexError):
            for number in itertools.count():
                self.rule = Rule(type(self.trial.rule.op), number)
                old, new, line = self.rule.statement
                if self.fits(-1, lambda trial: lambda value: value):
                    words = "sign" if "-=" in new or "-=" in old else "gradients add up"
                    words = "gradients add up where indices repeat" if "add.at" in new else words
                    return f"{words}: in line {line}, `{old}` should be `{new}`{self._proof()}"
        self.rule = plain
        return ""

    def _missing_term(self) -> str:
        gradients = {trial: self.run(trial) for trial in (self.trial, *self.others)}
        sign, term = missing_term(gradients, self._parts)
        x, parts = self.trial.name(self.trial.place), self._parts(self.trial)
        chosen = any(name in term for name, part in parts.items() if is_array(part, "b"))
        what = "a condition is missing" if chosen else "a term is missing"
        return f"{what}: `{sign} {term}` belongs to the gradient of {x}{self._proof()}" if term else ""

    # ---- what the rule computes

    def trace(self, trial: Trial) -> dict[int, Any]:
        """Return the values of all spots in a trial, where the rule is as it is."""
        if trial not in self._traces:
            self.run(trial)
            self._traces[trial] = dict(self.rule.seen)
        return self._traces[trial]

    @functools.cached_property
    def computed(self) -> dict[str, Callable[[Trial], Any]]:
        """What the rule computes, by its shortest text; and how many hold, for each condition among it."""
        texts: dict[int, str] = {}
        spots: dict[str, int] = {}
        trace = self.trace(self.trial)
        for number, value in trace.items():
            text = self.rule.spots[number].operand
            if (is_real(value) or is_array(value, "b")) and not self.rule.spots[number].constant and np.size(value):
                texts[id(value)] = min(texts.get(id(value), text), text, key=len)
                spots.setdefault(text, number)
        found = {texts[id(trace[number])]: functools.partial(self._value, number) for number in spots.values()}
        for text, compute in [*found.items()]:
            if is_array(compute(self.trial), "b"):
                found[f"{text}.sum(axis=-1, keepdims=True)"] = functools.partial(_count, compute)
        return dict(sorted(found.items(), key=lambda entry: len(entry[0])))

    def _value(self, number: int, trial: Trial) -> Any:
        return self.trace(trial)[number]

    def _parts(self, trial: Trial) -> dict[str, Any]:
        """Return the numbers that a term may be made of: the arguments, and what the rule computes of them."""
        parts = dict(trial.named)
        for name, compute in self.computed.items():
            # What a branch computes is not computed in all trials.
            with contextlib.suppress(KeyError):
                parts[name] = np.asarray(compute(trial))
        return parts

    def _with_computed(self, spot: Spot, value: Any, trial: Trial) -> Iterator[Edit]:
        order = {self.rule.spots[number].operand: place for place, number in enumerate(self.trace(self.trial))}
        for name, compute in self.computed.items() if is_real(value) and not spot.constant else ():
            # What is computed later is not known yet.
            if name != spot.operand and order.get(name, 0) < order[spot.operand]:
                edits = (edit for edit in kinds.COMPUTED if "/" not in edit.new or is_real(compute(trial)))
                yield from (replace(edit, other=(name, compute)) for edit in edits)

    # ---- sentences

    def _sentence(self, words: str, spot: Spot, new: str) -> str:
        lines = (
            [spot.line]
            if spot.line
            else [other.line for other in self.rule.spots if other.line and other.text == spot.text]
        )
        where = f"in line {lines[0]}" if len(lines) == 1 else "everywhere in the rule"
        words = f"in a condition, {words}" if spot.compared else words
        if "where(" in spot.text and new != spot.text and new.strip("()") in spot.text:
            words = "a condition is wrong, or what it chooses"
        new = new if new == "left out" else f"`{new}`"
        # An edit of a call is shown with the whole call.
        old = spot.called(*spot.arguments) if spot.arguments is not None and new.endswith(")`") else spot.text
        return f"{words}: {where}, `{old}` should be {new}{self._proof()}"

    def _proof(self) -> str:
        return f"; then the gradient is right on all {1 + len(self.others)}{PROVEN}"


def _count(compute: Callable[[Trial], Any], trial: Trial) -> Any:
    return compute(trial).sum(axis=-1, keepdims=True)


def _factor_words(name: str, factor: float, spot: Spot, value: Any) -> tuple[str, Spot, str]:
    e = spot.operand
    if name == "0":
        return "a term too many", spot, "0"
    if name == "-1":
        return "sign", spot, f"-{e}"
    if spot.constant:
        return "a constant", spot, f"{factor * value:.7g}" if name[-1].isdigit() else f"{e} * {name}"
    if name in ("2", "0.5"):
        return f"off by a factor of {1 / factor:g}", spot, f"2 * {e}" if name == "2" else f"{e} / 2"
    if name.startswith("1 / "):
        mean = " (a mean, not a sum)" if "." in name else ""
        return f"missing {name.replace(' ', '', 2)}{mean}", spot, f"{e} / {name[4:]}"
    return f"missing factor {name}", spot, f"{name} * {e}"
