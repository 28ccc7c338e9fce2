"""Pieces of formulas: TeX with how tightly it binds, so that parentheses stand where they are needed and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

# A piece of a formula and how tightly it binds; a comparison binds with 0.
Piece: TypeAlias = tuple[str, int]
SUM, PRODUCT, SIGN, POWER, ATOM = 1, 2, 3, 4, 9


def filled(template: str, shown: Mapping[str, Piece]) -> str:
    r"""Return a template with its operands in place: ``{x}`` as it is, ``{(x)}`` in parentheses where it is no symbol.

    All other braces are those of TeX.

    >>> filled(r"\sqrt{{x}} + {(y)}^{T}", {"x": ("a", 9), "y": ("b + c", 1)})
    '\\sqrt{a} + \\left(b + c\\right)^{T}'
    """

    def put(match: re.Match[str]) -> str:
        piece = shown.get(match["name"])
        if piece is None:
            return match[0]
        return within(piece, ATOM) if match["needs"] else piece[0]

    return re.sub(r"\{(?P<needs>\()?(?P<name>[A-Za-z_]\w*)(?(needs)\))\}", put, template)


def within(piece: Piece, needed: int) -> str:
    r"""Return a piece, in parentheses if it binds less tightly than its place needs.

    >>> within(("a + b", 1), 2), within(("a", 9), 2)
    ('\\left(a + b\\right)', 'a')
    """
    text, binding = piece
    if binding >= needed:
        return text
    return rf"\mathbf{{1}}\left[{text}\right]" if binding == 0 else rf"\left({text}\right)"


def truth(piece: Piece) -> Piece:
    r"""Return a piece as a part of a statement, where a comparison is one itself and not 1 or 0.

    >>> truth((r"x > 0", 0)), truth(("a", 9))
    (('\\left(x > 0\\right)', 9), ('a', 9))
    """
    text, binding = piece
    return piece if binding > 0 else (text if binding_of(text) == ATOM else rf"\left({text}\right)", ATOM)


def binding_of(text: str) -> int:
    r"""Return how tightly a written formula binds.

    >>> binding_of(r"-\frac{1}{m} x"), binding_of(r"\operatorname{conv}(a + b)"), binding_of(r"\log x")
    (1, 9, 2)
    """
    depth = 0
    loosest = SUM if text.startswith("-") or r"\begin{cases}" in text else ATOM
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c == " ":
            loosest = min(loosest, SUM if text[i + 1 : i + 2] in ("+", "-") else PRODUCT)
    return loosest


def number(value: Any) -> str:
    r"""Return a number in TeX.

    >>> number(0.25), number(np.float32(1e-8)), number(3)
    ('0.25', '10^{-8}', '3')
    """
    if not np.isfinite(value):
        return r"\text{nan}" if np.isnan(value) else r"\infty" if value > 0 else r"-\infty"
    text = f"{float(value):.6g}" if isinstance(value, (float, np.floating)) else str(int(value))
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"
