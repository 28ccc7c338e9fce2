"""The record of derived notes: sections of plain blocks. Renderers write them as HTML, Markdown, LaTeX or text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number
from tinygraph.describe.symbols import Formula

if TYPE_CHECKING:
    from tinygraph.draw.picture import Picture
    from tinygraph.notes.stepper.walk import Walk

Words: TypeAlias = tuple[str | Formula, ...]
# The sections that are printed on pages of their own.
SHEETS = frozenset({"worksheet", "solution"})


@dataclass(frozen=True)
class Paragraph:
    """Text, with formulas in it."""

    words: Words


@dataclass(frozen=True)
class Equations:
    """Equations below each other, with a heading if they belong to a block of the model."""

    lines: tuple[Line, ...]
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """A table: a caption, the heads of its columns, and rows, the first cell of each its head."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Formula, ...], ...]


@dataclass(frozen=True)
class Numbers:
    """Arrays in numbers, under a heading."""

    heading: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Task:
    """A question of the worksheet: what is given, the left-hand side to complete, the answer, and the rule that gives it."""

    given: Words
    left: Formula
    answer: Formula | Number
    rule: Words = ()


@dataclass(frozen=True)
class Tasks:
    """Questions, counted from ``first``; with answers on the solution page."""

    heading: str
    tasks: tuple[Task, ...]
    first: int = 1
    solved: bool = False


@dataclass(frozen=True)
class Figure:
    """The picture of the graph: SVG, or text and why there is no SVG.

    For paper, ``make`` draws it without numbers, and ``files`` are the names of its pages next to LaTeX.
    """

    svg: str
    text: str
    why: str = ""
    make: Callable[[], Picture] | None = field(default=None, repr=False, compare=False)
    files: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stepper:
    """The part of the HTML page that a reader steps through; ``make`` returns its data. Other formats leave it out.

    ``remark`` says where its numbers come from, if that needs to be said; ``in_text`` that formulas are text.
    """

    make: Callable[[], Walk]
    remark: str = ""
    in_text: bool = False

    @cached_property
    def walk(self) -> Walk:
        """The steps, arrays and numbers of the page."""
        return self.make()


Block: TypeAlias = Paragraph | Equations | Table | Numbers | Tasks | Figure | Stepper


@dataclass(frozen=True)
class Section:
    """A section: its name in links, its title, and its blocks."""

    slug: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """Derived notes as plain data; ``subject`` is the graph whose values the numbers are."""

    title: str
    sections: tuple[Section, ...]
    subject: Any = field(default=None, repr=False)

    @property
    def is_sheet(self) -> bool:
        """Whether it contains only a worksheet, its solution, or both."""
        return {section.slug for section in self.sections} <= SHEETS

    @property
    def printed(self) -> tuple[Section, ...]:
        """The sections that can be printed: those with more than what a reader steps through."""
        return tuple(s for s in self.sections if not all(isinstance(block, Stepper) for block in s.blocks))

    def lines(self) -> Iterator[Line]:
        """Yield every displayed equation, in order."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Equations):
                    yield from block.lines
