"""Plain text of the TeX that formulas are written in: one line, as one would type it."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What a command is in text; a space after those of the second table only ends the command.
_COMMANDS = {
    "odot": "*",
    "cdot": "*",
    "times": "*",
    "leq": "<=",
    "geq": ">=",
    "neq": "!=",
    "leftarrow": "=",
    "land": "and",
    "lor": "or",
    "oplus": "xor",
    "bmod": "mod",
    "varepsilon": "epsilon",
    "log": "log",
    "exp": "exp",
    "max": "max",
    "min": "min",
    "tanh": "tanh",
    "quad": "",
    "qquad": "",
    "ldots": "...",
}
_PREFIXES = {
    "partial": "d",
    "lfloor": "floor(",
    "rfloor": ")",
    "lceil": "ceil(",
    "rceil": ")",
    "lVert": "|",
    "rVert": "|",
    "lnot": "not ",
    "left": "",
    "right": "",
    "ast": "*",
}
_WRAPPERS = ("operatorname", "mathrm", "text", "mathbf", "mathit")
_TOKEN = re.compile(
    r"\\(?P<command>[A-Za-z]+)|\\(?P<sign>.)|(?P<script>[_^])|(?P<group>\{)|(?P<end>\})|(?P<other>.)", re.S
)
_INDICES = {"mn": "[m,n]", "xy": "[x,y]"}
# Where a row of an environment ends, or a cell of it; and where one begins or ends inside of it.
_SEPARATOR = re.compile(r"\\\\|&|\\(?P<side>begin|end)\{\w+\}")


def plain(source: str, names: Mapping[str, str]) -> str:
    r"""Return TeX as text; ``names`` says what its private characters stand for.

    >>> plain(r"\frac{a - y}{m}", {}), plain(r"x^{T} \odot \operatorname{sum}(y)", {})
    ('(a - y)/m', 'x^T * sum(y)')
    >>> plain(r"\begin{cases} 1 & \text{if } Z > 0 \\ 0 & \text{otherwise} \end{cases}", {})
    '1 if Z > 0, 0 otherwise'
    >>> plain(r"\lnot \left\lceil x \right\rceil", {})
    'not ceil(x)'
    """
    return " ".join(_Reader(source, names).until("").split()).replace(" )", ")")


class _Reader:
    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self.source, self.names, self.place = source, names, 0

    def until(self, end: str) -> str:
        """Read up to a closing brace, or to the end."""
        parts: list[str] = []
        while self.place < len(self.source):
            match = _TOKEN.match(self.source, self.place)
            assert match is not None
            self.place = match.end()
            if match["end"]:
                if end:
                    break
            elif match["command"]:
                parts.append(self.command(match["command"]))
            elif match["script"]:
                parts.append(self.script(match["script"]))
            elif match["group"]:
                parts.append(self.until("}"))
            elif match["sign"]:
                parts.append(" " if match["sign"] in ",;:! " else "; " if match["sign"] == "\\" else match["sign"])
            else:
                parts.append("" if match["other"] == "&" else self.names.get(match["other"], match["other"]))
        return "".join(parts)

    def command(self, name: str) -> str:
        if name == "begin":
            return self.environment()
        if name == "frac":
            over, under = self.argument(), self.argument()
            return f"{enclosed(over)}/{enclosed(under, product=True)}"
        if name == "sqrt":
            return f"sqrt({self.argument()})"
        if name == "sum":
            return self.sum()
        if name in _WRAPPERS:
            return self.argument()
        if name in _COMMANDS:
            return _COMMANDS[name]
        if name not in _PREFIXES:
            return name
        while self.source[self.place : self.place + 1] == " ":
            self.place += 1
        return _PREFIXES[name]

    def argument(self) -> str:
        """Read one argument of a command: a group, or a single character."""
        while self.source[self.place : self.place + 1] == " ":
            self.place += 1
        if self.source[self.place : self.place + 1] == "{":
            self.place += 1
            return self.until("}")
        self.place += 1
        return self.names.get(self.source[self.place - 1 : self.place], self.source[self.place - 1 : self.place])

    def script(self, sign: str) -> str:
        text = self.argument().strip()
        if sign == "_" and text in _INDICES:
            return _INDICES[text]
        return f"{sign}{text}" if re.fullmatch(r"\w+", text) else f"{sign}({text})" if sign == "^" else f"[{text}]"

    def sum(self) -> str:
        below = ""
        while self.source[self.place : self.place + 1] in ("_", "^"):
            sign = self.source[self.place]
            self.place += 1
            text = self.argument()
            below = text if sign == "_" else below
        index = below.partition("=")[0].strip()
        return f"sum_{index} " if re.fullmatch(r"\w+", index) else f"sum over {index} of " if index else "sum "

    def environment(self) -> str:
        """Read cases, or a matrix; what one holds may hold others."""
        name = self.argument()
        rows = [[self.cell(source) for source in row] for row in self.rows()]
        if name == "cases":
            return ", ".join(" ".join(row) for row in rows)
        return f"[{'; '.join(', '.join(row) for row in rows)}]"

    def rows(self) -> list[list[str]]:
        """Read up to the end of an environment; return the source of its cells, row by row."""
        rows: list[list[str]] = [[]]
        depth, start = 1, self.place
        for match in _SEPARATOR.finditer(self.source, self.place):
            depth += (match["side"] == "begin") - (match["side"] == "end")
            if depth == 0 or (depth == 1 and not match["side"]):
                rows[-1].append(self.source[start : match.start()])
                start = self.place = match.end()
            if depth == 0:
                break
            if depth == 1 and match[0] == r"\\":
                rows.append([])
        return rows

    def cell(self, source: str) -> str:
        text = plain(source, self.names)
        return f"({text})" if r"\begin{cases}" in source else text


def enclosed(text: str, product: bool = False) -> str:
    """Return an operand of a fraction in text, in parentheses where it is a sum, or a product below the line.

    >>> enclosed("a - y"), enclosed("log(a - y)"), enclosed("2 m", product=True)
    ('(a - y)', 'log(a - y)', '(2 m)')
    """
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if depth == 0 and c == " " and (product or text[i + 1 : i + 2] in ("+", "-")):
            return f"({text})"
    return text
