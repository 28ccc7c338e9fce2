"""The plain text of formulas: TeX in one line, as one would type it."""

import re
from collections.abc import Mapping

from tinygraph.describe.writer import Binds, binding_of

# Commands whose text is not their name.
_COMMANDS = {
    **dict.fromkeys(("odot", "cdot", "times", "ast"), "*"),
    **dict.fromkeys(("quad", "qquad", "left", "right"), ""),
    **dict.fromkeys(("rfloor", "rceil"), ")"),
    **dict.fromkeys(("lVert", "rVert"), "|"),
    **{"leq": "<=", "geq": ">=", "neq": "!=", "leftarrow": "=", "ldots": "...", "varepsilon": "epsilon"},
    **{"land": "and", "lor": "or", "oplus": "xor", "bmod": "mod", "lnot": "not "},
    **{"partial": "d", "lfloor": "floor(", "lceil": "ceil("},
}
# Commands without a space before what follows.
_PREFIXES = {"partial", "lfloor", "rfloor", "lceil", "rceil", "lVert", "rVert", "lnot", "left", "right", "ast"}
_WRAPPERS = ("operatorname", "mathrm", "text", "mathbf", "mathit")
_INDICES = {"mn": "[m,n]", "xy": "[x,y]"}
_TOKEN = re.compile(r"\\(?P<command>[A-Za-z]+)|\\?.", re.S)
# What separates the cells and the rows of a matrix or of cases, until they are joined.
_CELL, _ROW = "\0", "\1"
_CHARACTERS = {"&": _CELL, "\\\\": _ROW, **dict.fromkeys((r"\,", r"\;", r"\:", r"\!", "\\ "), " ")}


def plain(source: str, names: Mapping[str, str]) -> str:
    r"""Return TeX as text; ``names`` maps its private characters to text.

    >>> plain(r"\frac{a - y}{m}", {}), plain(r"x^{T} \odot \operatorname{sum}(y)", {})
    ('(a - y)/m', 'x^T * sum(y)')
    >>> plain(r"\begin{cases} 1 & \text{if } Z > 0 \\ 0 & \text{otherwise} \end{cases}", {})
    '1 if Z > 0, 0 otherwise'
    >>> plain(r"\lnot \left\lceil x \right\rceil", {})
    'not ceil(x)'
    """
    text = _Reader(source, names).group().replace(_CELL, "").replace(_ROW, "; ")
    return " ".join(text.split()).replace(" )", ")")


class _Reader:
    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self.source, self.names = source, names
        self.place = self.depth = 0

    def group(self) -> str:
        """Read up to a closing brace, the end of an environment, or the end of the source."""
        parts: list[str] = []
        while match := _TOKEN.match(self.source, self.place):
            self.place = match.end()
            token, command = match[0], match["command"]
            if token == "}" or command == "end":
                break
            if command:
                parts.append(self.command(command))
            elif token in ("_", "^"):
                parts.append(self.script(token))
            elif token == "{":
                parts.append(self.group())
            else:
                parts.append(_CHARACTERS.get(token) or self.names.get(token, token[-1]))
        return "".join(parts)

    def command(self, name: str) -> str:
        if name == "begin":
            return self.environment()
        if name == "frac":
            over, under = self.argument(), self.argument()
            return f"{enclosed(over, Binds.PRODUCT)}/{enclosed(under, Binds.ATOM)}"
        if name == "sqrt":
            return f"sqrt({self.argument()})"
        if name == "sum":
            return self.sum()
        if name in _WRAPPERS:
            return self.argument()
        if name in _PREFIXES:
            self.skip_spaces()
        return _COMMANDS.get(name, name)

    def skip_spaces(self) -> None:
        while self.source.startswith(" ", self.place):
            self.place += 1

    def argument(self) -> str:
        """Read one argument of a command: a group, or a single character."""
        self.skip_spaces()
        first = self.source[self.place : self.place + 1]
        self.place += 1
        return self.group() if first == "{" else self.names.get(first, first)

    def script(self, sign: str) -> str:
        text = self.argument().strip()
        if sign == "_" and text in _INDICES:
            return _INDICES[text]
        if re.fullmatch(r"\w+", text):
            return f"{sign}{text}"
        return f"^({text})" if sign == "^" else f"[{text}]"

    def sum(self) -> str:
        index = ""
        while (sign := self.source[self.place : self.place + 1]) in ("_", "^") and sign:
            self.place += 1
            text = self.argument()
            index = text.partition("=")[0].strip() if sign == "_" else index
        return f"sum_{index} " if re.fullmatch(r"\w+", index) else f"sum over {index} of " if index else "sum "

    def environment(self) -> str:
        """Read cases, or a matrix; cases inside another environment get parentheses."""
        name = self.argument()
        self.depth += 1
        text = self.group()
        self.depth -= 1
        self.argument()
        rows = [[" ".join(cell.split()) for cell in row.split(_CELL)] for row in text.split(_ROW)]
        if name != "cases":
            return f"[{'; '.join(', '.join(row) for row in rows)}]"
        cases = ", ".join(" ".join(row) for row in rows)
        return f"({cases})" if self.depth else cases


def enclosed(text: str, least: int) -> str:
    """Return an operand of a fraction in text, in parentheses if it binds less tightly than ``least``.

    >>> enclosed("a - y", Binds.PRODUCT), enclosed("log(a - y)", Binds.PRODUCT), enclosed("2 m", Binds.ATOM)
    ('(a - y)', 'log(a - y)', '(2 m)')
    """
    return text if binding_of(text.removeprefix("-")) >= least else f"({text})"
