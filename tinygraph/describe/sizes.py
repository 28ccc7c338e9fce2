"""Numbers that depend on the number of samples, written with m: found by comparing graphs for two and for three samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygraph.describe.writer import equal_elements
from tinygraph.graph import Tensor

if TYPE_CHECKING:
    from tinygraph.describe.subject import Subject

_NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])")


def with_m(two: Any, three: Any, times: str = " * ") -> str:
    r"""Write a number that is ``two`` for two samples and ``three`` for three.

    >>> with_m(7, 7), with_m(2, 3), with_m(8, 12), with_m(1, 2), with_m(8, 12, r"\,")
    ('7', 'm', '4 * m', 'm - 1', '4\\,m')
    >>> with_m(0.5, 1 / 3), with_m(1.5, 1.0), with_m(1 / 6, 1 / 9)
    ('1 / m', '3 / m', '1 / (3 * m)')
    """
    if two == three:
        return f"{two:g}" if isinstance(two, float) else str(two)
    if abs(2 * two - 3 * three) < 1e-6 * abs(two):
        one = 1 / (2 * two)
        whole = abs(one - round(one)) < 1e-6 * abs(one)
        return f"{2 * two:g} / m" if not whole or abs(one) < 1.5 else f"1 / ({one:g}{times}m)"
    factor = three - two
    rest = two - 2 * factor
    many = "m" if factor == 1 else f"{factor:g}{times}m"
    return many if not rest else f"{many} {'-' if rest < 0 else '+'} {abs(rest):g}"


def text_with_m(two: str, three: str) -> str:
    """Return text for two samples with m where the numbers in the text for three differ.

    >>> text_with_m("reshape(x, (2, 4))", "reshape(x, (3, 4))")
    'reshape(x, (m, 4))'
    """
    parts, others = _NUMBER.split(two), _NUMBER.split(three)
    if two == three or len(parts) != len(others):
        return two
    pairs = enumerate(zip(parts, others, strict=True))
    return "".join(with_m(_value(x), _value(y)) if i % 2 and x != y else x for i, (x, y) in pairs)


def _value(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def number_with_m(node: Tensor, other: Tensor | None, times: str = " * ") -> str:
    """Return a constant as a number with m, or nothing where the same constant for three samples, ``other``, is equal."""
    two, three = (None if x is None else equal_elements(x) for x in (node, other))
    return "" if two is None or three is None or two == three else with_m(two.item(), three.item(), times)


def counterparts(subject: Subject, other: Subject) -> dict[Tensor, Tensor]:
    """Return, for the nodes of a subject, those of the same subject for another number of samples.

    Both were recorded from the same equations, so their forward nodes correspond in order. Gradients and contributions
    correspond by what they belong to, and the nodes that these are computed from by their place. There may be nodes without
    a counterpart, for example because a gradient is summed over its samples only where there are several.
    """
    pairs = _pairs(subject.forward_nodes, other.forward_nodes)
    if subject.backward is None or other.backward is None:
        return pairs
    own, theirs = subject.backward, other.backward
    waiting = [(node, theirs.gradients.get(pairs.get(x, x))) for x, node in own.gradients.items()]
    waiting += [(node, theirs.contributions.get((pairs.get(x, x), i))) for (x, i), node in own.contributions.items()]
    # What is computed from a pair is looked at after all gradients and contributions, which are known to be pairs.
    for x, y in waiting:
        if y is not None and x not in pairs:
            pairs[x] = y
            if type(x.op) is type(y.op):
                waiting += zip(x.inputs, y.inputs, strict=False)
    return pairs


def _pairs(nodes: Sequence[Tensor], others: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """Return the nodes of two recordings in pairs; none where these differ in more than sizes."""
    # They share parameters, whose places may differ.
    shared = set(nodes) & set(others)
    own, theirs = ([x for x in each if x not in shared] for each in (nodes, others))
    if [type(x.op) for x in own] != [type(x.op) for x in theirs]:
        return {}
    return dict(zip(own, theirs, strict=True)) | {x: x for x in shared}
