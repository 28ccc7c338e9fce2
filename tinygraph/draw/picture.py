"""A picture of a graph or a model: it can be rendered to a file and is shown by notebooks."""

from __future__ import annotations

import os
import re
import warnings
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.describe.html import scrolled
from tinygraph.describe.subject import subject_of
from tinygraph.draw.build import Fold, drawing_of
from tinygraph.draw.cards import Card, Drawing
from tinygraph.draw.dot import dot_source
from tinygraph.draw.figures import MOST_NUMBERS
from tinygraph.draw.pages import measured, pages_of
from tinygraph.draw.paper import FONT, SMALLEST, Paper
from tinygraph.draw.render import accessible, format_of, joined, render
from tinygraph.errors import RenderError
from tinygraph.files import as_path, write_whole
from tinygraph.graph import Graph, Tensor
from tinygraph.model.model import Model
from tinygraph.train.metrics import class_words

if TYPE_CHECKING:
    from tinygraph.verify import Report

# The most cards of a picture in full detail that is checked, and the most nodes of a graph that a notebook draws.
MOST_CHECKED, MOST_SHOWN = 200, 20_000
# The most cards of a picture of which a notebook keeps a PNG too, unless it asks for one: above that it takes long and much
# room. A PNG of 14 cards has 400 kB.
MOST_IN_PNG = 30
# A picture that is higher than this, in points, scrolls in a notebook.
HIGHEST = 640.0
TEXT, HTML, SVG, PNG = "text/plain", "text/html", "image/svg+xml", "image/png"


class Picture:
    """A picture of a graph or a model. A notebook shows it; ``render`` writes it to a file.

    ``drawing`` is the record of its cards and edges, ``dot`` the same in the language of Graphviz.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> picture = draw(x * x)
    >>> print(picture)
    x          value       float64 ()  3
      dt1/dx   dx = x + x  float64 ()  6
    t1         = x * x     float64 ()  9
      dt1/dt1  dt1 = 1     float64 ()  1
               to dx: x
               to dx: x
    """

    def __init__(self, drawing: Drawing, paper: Paper | None = None) -> None:
        self.drawing = drawing
        self.paper = paper or Paper()

    @cached_property
    def dot(self) -> str:
        """The picture in DOT; the same picture gives the same text."""
        return dot_source(self.drawing, self.paper.direction)

    def svg(self, prefix: str | None = None) -> str:
        """Return the picture as SVG text. Raises ``RenderError`` if no renderer is installed.

        All ids in it begin with ``prefix``, so that one page can contain several pictures. Without one they begin with a
        checksum of the content: the same picture has the same ids. Pages are for files: this is the picture as one sheet.
        """
        return self._svg(self._sized("svg", self.paper), self.drawing, prefix)

    def png(self) -> bytes:
        """Return the picture as PNG. Raises ``RenderError`` if no renderer is installed."""
        return render(self._sized("png", self.paper), "png")

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file and return its path, or that of the first page; see ``save``."""
        return self.save(path)[0]

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        width: str | None = None,
        dpi: float | None = None,
        pages: str | None = None,
    ) -> list[Path]:
        """Write the picture to a file, in the format of its suffix (.gv, .svg, .png, .pdf), and return the paths of all files.

        ``width``, ``dpi`` and ``pages`` are explained in ``tg.draw``. Several pages are one PDF (joined by the package pypdf),
        or numbered files. Raises ``RenderError`` for another suffix or a folder that cannot be written to. If no renderer is
        installed, a ``.gv`` file is written instead, and the error explains how to install one.
        """
        path = as_path(path)
        format, paper = format_of(path), self.paper.changed(None, width, dpi, pages)
        if format == "gv" and paper.page:
            raise RenderError(f"pages are laid out for .svg, .png and .pdf; found {str(path)!r}")
        if paper.dpi and format != "png":
            raise RenderError(f"dpi is for .png, the only format with pixels; found {str(path)!r}")
        try:
            files = self._files(path, format, paper)
        except RenderError as fault:
            kept = _write(path.with_suffix(".gv"), self.dot.encode("utf-8"))
            raise RenderError(f"wrote {str(kept)!r} instead of {str(path)!r}: {fault}") from None
        return [_write(file, content) for file, content in files.items()]

    def _files(self, path: Path, format: str, paper: Paper) -> dict[Path, bytes]:
        sheets = self._sheets(format, paper)
        whole = joined(sheets) if format == "pdf" else None
        if whole is not None or len(sheets) == 1:
            return {path: whole or sheets[0]}
        return {path.with_stem(f"{path.stem}-{page}"): sheet for page, sheet in enumerate(sheets, start=1)}

    def _sheets(self, format: str, paper: Paper) -> list[bytes]:
        """Return the picture in one piece, or each of its pages."""
        if format == "gv":
            return [self._sized(format, paper).encode("utf-8")]
        sheets = [(self._sized(format, paper), self.drawing)]
        if paper.page:
            pages = pages_of(self.drawing, paper, lambda dot: measured(render(dot, "plain").decode("utf-8")), format)
            sheets = [(page.dot, page.drawing) for page in pages]
            if (small := FONT * min(page.scale for page in pages)) < SMALLEST:
                why = "a card does not fit on a page of this size; show less on it, or take larger pages"
                warnings.warn(f"text is {small:.1f} points high where it should be {SMALLEST:g}: {why}", stacklevel=4)
        if format == "svg":
            return [self._svg(dot, drawing).encode("utf-8") for dot, drawing in sheets]
        return [render(dot, format) for dot, _ in sheets]

    def _sized(self, format: str, paper: Paper) -> str:
        settings = paper.settings(format)
        return dot_source(self.drawing, paper.direction, (), settings) if settings else self.dot

    def _svg(self, dot: str, drawing: Drawing, prefix: str | None = None) -> str:
        prefix = f"p{zlib.crc32(dot.encode()):08x}-" if prefix is None else prefix
        return accessible(render(dot, "svg").decode("utf-8"), drawing, prefix)

    def for_document(self, size: str, format: str = "pdf") -> list[bytes]:
        """Return the picture as PDF or SVG files that fit on pages of this size, such as "16x22cm", of another document.

        Raises ``RenderError`` if no renderer is installed.
        """
        return self._sheets(format, replace(Paper().changed(None, None, None, size), tight=True))

    def __str__(self) -> str:
        return str(self.drawing)

    def __repr__(self) -> str:
        return f"<Picture: {len(self.drawing.cards)} cards, {len(self.drawing.edges)} edges>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: SVG, PNG, and text; see ``notebook_view``. ``include`` and ``exclude`` are types."""
        return _shown(str(self), lambda: self, include, exclude)


def draw(
    thing: Any,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    *,
    feeds: Mapping[Any, Any] | None = None,
    detail: str | None = None,
    view: str = "both",
    fold: Fold = "auto",
    edit: Callable[[Card], Card] | None = None,
    report: Report | None = None,
    numbers: int = MOST_NUMBERS,
    batch_size: int | None = None,
    direction: str | None = None,
    width: str | None = None,
    dpi: float | None = None,
    pages: str | None = None,
    only: str | None = None,
) -> Picture:
    """Draw a tensor, several, a ``Graph`` or a ``Model``, and write the picture to ``path`` if that is given.

    There is a card for each operation, or for each equation of a model. Values go down, an edge for each use of a tensor;
    gradients return upwards from the card whose rule computes them, and beads sum several gradients of one tensor. ``feeds``
    are values of inputs, as in ``tg.run``. Without them, a model is drawn with its own ``sample`` or, if it has none or
    ``batch_size`` is given, for a batch of one or of that size, with the numbers of its parameters if these were given or
    loaded. Arrays of up to ``numbers`` elements are written as numbers, larger ones are drawn as heat maps. ``only`` is the
    name of a tensor or of a gradient: it is drawn with what leads to it.

    ``detail`` is "shape", "rule" (with the lines of the backward pass), "value" (with numbers; the default if there are
    any) or "full" (also with the tensors kept for the backward pass, and a check of each rule). ``view`` is "forward",
    "backward" or "both". ``fold`` is "auto" (above 60 cards), "none", "all" or a list of block instances. ``edit`` may
    change each card. ``report``, the result of ``tg.check`` for the same thing, gives each card its verdict. If a model is
    not valid, ``thing`` may be the ``ModelError``: the equations before the mistake are drawn.

    Suffixes of ``path`` are .gv, .svg, .png and .pdf. ``direction`` is "down" or "right". ``width``, such as "16cm", makes
    the picture that wide. ``dpi`` is the number of pixels in an inch of a PNG, by default 96. ``pages``, "a4", "a3", "a5",
    "letter" or a size such as "160x90mm", breaks the picture into columns and pages on which text is at least 7 points high.

    Raises ``RenderError``, ``FeedError``, and ``TinygraphError`` for anything that cannot be drawn.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> draw(x * x)
    <Picture: 2 cards, 5 edges>
    """
    paper = Paper().changed(direction, width, dpi, pages)
    if feeds is None and batch_size is None and isinstance(thing, Model):
        feeds = thing.sample or None
    subject, note = subject_of(thing, feeds, title, batch_size), ""
    if detail == "full" and report is None and view != "forward" and subject.backward is not None:
        report, note = _checked(thing, feeds, len(subject.items))
    drawing = drawing_of(subject, detail, view, fold, edit, report, numbers, only)
    if isinstance(thing, Model) and subject.values:
        words = class_words(thing, {x.name or "": value for x, value in subject.values.items()})
        cards = (replace(card, note=card.note or words.get(card.symbol, "")) for card in drawing.cards)
        drawing = replace(drawing, cards=tuple(cards))
    if note:
        drawing = replace(drawing, caption="; ".join(filter(None, [drawing.caption, note])))
    picture = Picture(drawing, paper)
    if path is not None:
        picture.render(path)
    return picture


def notebook_view(thing: Any, text: str, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """Return what a notebook shows of a tensor, a graph or a model: its picture, or ``text`` alone where none can be made.

    ``include`` and ``exclude`` are collections of MIME types, as IPython gives them. A notebook asks for all types and keeps
    what it gets in its file. It shows the SVG; nbconvert needs the PNG for PDF, and so does a notebook that is not trusted.
    """

    def picture() -> Picture | None:
        # Very large graphs would take too long; tg.draw draws them on request.
        nodes = Graph(thing).nodes if isinstance(thing, Tensor) else getattr(thing, "nodes", ())
        return draw(thing) if len(nodes) <= MOST_SHOWN else None

    bundle = _shown(text, picture, include, exclude)
    return bundle | {"text/plain": text} if "text/plain" in bundle else bundle


def _shown(text: str, picture: Callable[[], Picture | None], include: Any, exclude: Any) -> dict[str, str]:
    """Return the wanted ones of text, SVG, HTML and PNG; if there is no picture, the text says why.

    The HTML is there if the picture is higher than a screen: a frame in which it scrolls, which notebooks prefer to the SVG.
    """
    kinds = (TEXT, HTML, SVG, PNG)
    wanted = [kind for kind in kinds if kind in (include or kinds) and kind not in (exclude or ())]
    bundle = {TEXT: text}
    try:
        drawn = picture() if {SVG, PNG} & set(wanted) else None
        if drawn is not None and SVG in wanted:
            bundle[SVG] = svg = drawn.svg()
            height = re.search(r'<svg[^>]*? height="([\d.]+)pt"', svg)
            if height and float(height[1]) > HIGHEST:
                bundle[HTML] = scrolled(svg[svg.find("<svg") :], "picture of the graph")
        if drawn is not None and PNG in wanted and (include or len(drawn.drawing.cards) <= MOST_IN_PNG):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bundle[PNG] = b64encode(drawn.png()).decode("ascii")
    except Exception as error:
        bundle[TEXT] += f"\n({error})"
    return {kind: bundle[kind] for kind in wanted if kind in bundle}


def _checked(thing: Any, feeds: Mapping[Any, Any] | None, size: int) -> tuple[Report | None, str]:
    """Return the report of a check, or the reason why there is none."""
    from tinygraph.verify import check

    if size > MOST_CHECKED:
        return None, f"more than {MOST_CHECKED} cards are not checked unless a report is given"
    try:
        return check(Graph(list(thing)) if isinstance(thing, (list, tuple)) else thing, feeds), ""
    except Exception as error:
        # The check computes in float64, in which a user's operation may fail; the picture is drawn nevertheless.
        return None, f"not checked: {error}"


def _write(path: Path, content: bytes) -> Path:
    try:
        write_whole(path, content)
    except OSError as error:
        raise RenderError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None
    return path
