"""Symbols: how a name in a graph is written in mathematics, and formulas made of symbols."""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tinygraph.describe.plain import plain

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", _GREEK_NAMES.split(), strict=True))
# Blocks with dots, then letters, a number, and after an underscore the subscript.
_NAME = re.compile(
    rf"(?:(?P<block>[A-Za-z]\w*(?:\.\w+)*)\.)?(?P<letters>[A-Za-z]+|[{''.join(_GREEK_LETTERS)}])"
    r"(?P<number>\d*)(?:_(?P<below>[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*))?",
    re.ASCII,
)
# In the source of a formula every symbol is one character of this private range, so that no name can become markup.
FIRST, LAST = "\U000f0000", "\U0010fffd"
_CHARACTER_NAMES = "backslash asciicircum asciitilde less greater bar asciigrave"
_ESCAPES = {
    **{c: rf"\text{name}{{}}" for c, name in zip("\\^~<>|`", _CHARACTER_NAMES.split(), strict=True)},
    **{c: f"\\{c}" for c in "{}$&#%_"},
}


@dataclass(frozen=True)
class Symbol:
    """A name as mathematics: ``base`` in TeX, with its superscript and subscript; ``text`` is the name in plain text.

    A name that is no symbol has no ``base``: it is shown unchanged, in upright letters. ``before`` is the d of a gradient.
    """

    text: str
    base: str = ""
    above: str = ""
    below: str = ""
    before: str = ""

    def tex(self, below: str = "", above: str = "", literal: Callable[[str], str] | None = None) -> str:
        r"""Return the symbol in TeX, with an index ``below`` and a power or ``T`` ``above`` if given.

        >>> symbol_of("Z1").tex(), symbol_of("R1.K2").tex(), symbol_of("Z1").tex("mn"), symbol_of("x").tex(above="2")
        ('Z^{[1]}', 'K^{[2]}_{\\mathrm{R1}}', 'Z^{[1]}_{mn}', 'x^{2}')
        """
        base = self.before + (self.base or rf"\text{{{(literal or escaped)(self.text[len(self.before) :])}}}")
        raised = self.above + above if above == "T" or not self.above else self.above
        under = ",".join(part for part in (self.below, below) if part)
        written = base + (f"^{{{raised}}}" if raised else "") + (f"_{{{under}}}" if under else "")
        return written if above == "T" or not (above and self.above) else rf"\left({written}\right)^{{{above}}}"


def symbol_of(name: str) -> Symbol:
    r"""Return a name as a symbol.

    A number after a capital is that of a layer: a superscript in brackets, as in the notes. A number after a small letter is
    a subscript, and so is the block before a dot.

    >>> [symbol_of(name).tex() for name in ("W3", "f", "t1", "alpha", "v_K1", "Inp", "x{y}", "Z1_hat")]
    ['W^{[3]}', 'f', 't_{1}', '\\alpha', 'v_{\\mathrm{K1}}', '\\mathrm{Inp}', '\\text{x\\{y\\}}', '\\hat{Z}^{[1]}']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return Symbol(name)
    letters, number = match["letters"], match["number"]
    layer = number and letters[0].isupper()
    below = [number] if number and not layer else []
    hat = match["below"] == "hat"
    beneath = (None if hat else match["below"], match["block"])
    below += [rf"\mathrm{{{escaped(part)}}}" for part in beneath if part]
    base = rf"\hat{{{_letters(letters)}}}" if hat else _letters(letters)
    return Symbol(name, base, f"[{number}]" if layer else "", ",".join(below))


def _letters(letters: str) -> str:
    if letters in {*_GREEK_LETTERS, *_GREEK_LETTERS.values()}:
        return f"\\{_GREEK_LETTERS.get(letters, letters)}"
    return letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"


def gradient_symbol(symbol: Symbol, way: int | str = 0) -> Symbol:
    """Return the symbol of the gradient of the tensor with ``symbol``, or of one of several contributions if ``way`` is given.

    ``way`` is the number of the contribution, or a letter for any number.

    >>> gradient_symbol(symbol_of("Z1")).tex(), gradient_symbol(symbol_of("Z1"), 2).tex()
    ('dZ^{[1]}', 'dZ^{[1](2)}')
    """
    way_text = f"({way})" if way else ""
    return replace(symbol, text=f"d{symbol.text}{way_text}", before="d", above=symbol.above + way_text)


def escaped(name: str) -> str:
    r"""Return text for TeX that shows it unchanged.

    >>> escaped("a_b & \\c")
    'a\\_b \\& \\textbackslash{}c'
    """
    return "".join(_ESCAPES.get(c, c) for c in shown(name))


@dataclass
class Symbols:
    """The symbols of one document, each with the character that represents it in the source of formulas."""

    known: dict[str, Symbol] = field(default_factory=dict)
    _characters: dict[Symbol, str] = field(default_factory=dict)

    def character(self, symbol: Symbol) -> str:
        """Return the character that represents a symbol."""
        character = self._characters.setdefault(symbol, chr(ord(FIRST) + len(self._characters)))
        self.known[character] = symbol
        return character

    def literal(self, text: str) -> str:
        """Return the character that represents text to show unchanged."""
        return self.character(Symbol(text))


# Names of functions are spaced as in TeX: browsers put too much space around operators, and none around logarithms.
_SPACING = (
    (re.compile(r"<mo>([A-Za-z]{2,})</mo>"), r"<mi>\1</mi>"),
    (re.compile(r"<mi>(log|exp)</mi>"), r'<mspace width="0.17em"/><mi>\1</mi><mspace width="0.17em"/>'),
)
_USE = re.compile(rf"([{FIRST}-{LAST}])(?:_\{{([^{{}}]*)\}})?(?:\^\{{([^{{}}]*)\}})?")


@dataclass(frozen=True)
class Formula:
    r"""One formula, written as TeX, as plain text or as MathML. ``source`` is TeX with a character for each symbol.

    >>> symbols = Symbols()
    >>> Z, f = (symbols.character(symbol_of(name)) for name in ("Z3", "f"))
    >>> formula = Formula(rf"d{Z} = {f}^{{T}} \odot {Z}_{{mn}}", symbols.known)
    >>> formula.tex
    'dZ^{[3]} = f^{T} \\odot Z^{[3]}_{mn}'
    >>> formula.text
    'dZ3 = f^T * Z3[m,n]'
    """

    source: str
    symbols: Mapping[str, Symbol] = field(repr=False, compare=False)

    @property
    def tex(self) -> str:
        """The formula in TeX, as between dollar signs."""
        return self._written(None)

    @property
    def text(self) -> str:
        """The formula in one line of plain text."""
        return plain(self.source, {character: symbol.text for character, symbol in self._used().items()})

    def mathml(self, display: bool = False) -> str:
        """Return the formula as a ``math`` element. Needs the package latex2mathml; see ``tinygraph.notes.html``."""
        characters = {symbol: character for character, symbol in self._used().items()}
        try:
            element = mathml(self._written(characters), display)
        except Exception:
            return f"<math><mtext>{html.escape(self.text)}</mtext></math>"

        def literal(match: re.Match[str]) -> str:
            symbol = self.symbols[match[0]]
            return html.escape(shown(symbol.text[len(symbol.before) :]))

        return re.sub(rf"[{FIRST}-{LAST}]", literal, element)

    def _used(self) -> dict[str, Symbol]:
        return {c: self.symbols[c] for c in self.source if FIRST <= c <= LAST}

    def _written(self, characters: Mapping[Symbol, str] | None) -> str:
        def use(match: re.Match[str]) -> str:
            symbol = self.symbols[match[1]]
            literal = None if characters is None else lambda name: characters[symbol]
            # Subscripts and superscripts may contain symbols too, such as the exponent of x**y.
            below, above = (_USE.sub(use, script or "") for script in match.group(2, 3))
            return symbol.tex(below, above, literal)

        return _USE.sub(use, self.source)


def mathml(tex: str, display: bool = False) -> str:
    """Return TeX as a ``math`` element, spaced as TeX would space it. Needs the package latex2mathml."""
    from latex2mathml.converter import convert

    element: str = convert(tex, display="block" if display else "inline")
    for pattern, spaced in _SPACING:
        element = pattern.sub(spaced, element)
    return element


def shown(text: str) -> str:
    r"""Return text in which nothing is invisible: escapes for what does not print.

    >>> shown("a\x00b")
    'a\\x00b'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
