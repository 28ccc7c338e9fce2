"""A hint that names an edit of the rule is tried: does the edit make the gradient right on calls that no certificate saw?"""

import re
import warnings

from tests.strangers import truth
from tests.strangers.cases import HEADER, Case, load

EDIT = re.compile(r"in line (?P<line>\d+), `(?P<old>[^`]+)` should be `(?P<new>[^`]+)`")


def edited(source: str, hint: str) -> list[str]:
    """Return the sources that a hint may mean: its edit in each place of its line where the text stands.

    >>> edited("y = x * x", "in line 6, `x` should be `-x`; then it is right")
    ['y = -x * x', 'y = (-x) * x', 'y = x * -x', 'y = x * (-x)']
    """
    found = EDIT.search(hint)
    lines = source.split("\n")
    number = int(found["line"]) - HEADER.count("\n") - 1 if found else -1
    if not 0 <= number < len(lines):
        return []
    before, line, after = lines[:number], lines[number], lines[number + 1 :]
    places = [place.span() for place in re.finditer(re.escape(found["old"]), line)]
    # The text as it stands, or as the operand that it is.
    texts = [found["new"], f"({found['new']})"]
    return ["\n".join([*before, line[:i] + new + line[j:], *after]) for i, j in places for new in texts]


def helps(case: Case, source: str, hint: str) -> bool | None:
    """Say whether the edit of a hint makes the gradients of a mistaken source right; ``None`` if it names no edit in a line."""
    if not EDIT.search(hint):
        return None
    right = load(case.name, case.source)
    calls = truth.calls(case.calls)
    for version in edited(source, hint):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                repaired = load(case.name, version)
            except SyntaxError:
                continue
            outcomes = [(truth.outcome(right, *call), truth.outcome(repaired, *call)) for call in calls]
        if not any(truth.differs(*pair) for pair in outcomes):
            return True
    return False
