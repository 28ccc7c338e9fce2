"""The likely cause of a mistake in a gradient rule, in a sentence."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.verify.hints import edits, facts, paths, slips
from tinygraph.verify.hints.exceptions import cause_of
from tinygraph.verify.hints.trial import PROVEN, Trial
from tinygraph.verify.nodes import frozen

if TYPE_CHECKING:
    from tinygraph.verify.checker import Finding, LocalRule

    Compared = tuple[LocalRule, Finding, Sequence[Finding]]

__all__ = ["PROVEN", "UNKNOWN", "VALUE_READ", "cause_of", "hint"]


# The beginning of a hint that says what is known alone.
UNKNOWN = facts.UNKNOWN
VALUE_READ = (
    "forward reads the value of a tensor (x.value, x.detach(), np.asarray), which is a constant for gradients: write that "
    "part in operations"
)


@np.errstate(all="ignore")
def hint(compared: Sequence[Compared], more: Iterable[Compared] = ()) -> str:
    """Return the cause of a wrong gradient in words, or what is known of it; an empty string for a rule that fails.

    ``compared`` are the trials of one input: the rule of each case, what was found for the input, and for all inputs.
    What is known, and edits, are tried on ``more`` of them.
    """
    trials = [Trial(*each) for each in compared]
    every = [*trials, *(Trial(*each) for each in more)]
    if trials[0].rule.op.composite:
        # Its rule is the sweep through its parts.
        reads = frozen(trials[0].rule.op, trials[0].values, ("constant", "tensor"))
        return VALUE_READ if reads else paths.find(every) or facts.known(trials)
    cause = slips.slip(trials, certain=True)
    # An edited rule may do anything, and so may an operation.
    with contextlib.suppress(Exception):
        cause = cause or edits.find(every) or paths.find(every)
    cause = cause or slips.slip(trials, certain=False)
    unused = facts.unused_attribute(trials)
    if unused and cause.endswith(PROVEN):
        # It is said as well if the edit is about the same attribute.
        return f"{unused}; {cause}" if re.search(rf"\b{unused.split()[2].partition('=')[0]}\b", cause) else cause
    # Where windows do not overlap, which depends on attributes, an assignment is as good as a sum.
    if unused or cause.endswith(PROVEN) or "add up" in cause:
        return cause if "add up" in cause else unused or cause
    values = facts.attribute(trials)[1]
    return "; ".join(filter(None, (values, cause))) if cause else facts.known(every)
