"""Picture: a drawing that can be rendered, and shows itself in a notebook."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygraph.draw.cards import Drawing, graph_drawing, model_drawing
from tinygraph.draw.dot import dot_source
from tinygraph.draw.render import format_of, render
from tinygraph.errors import RenderError, TinygraphError
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor


class Picture:
    """A picture of a graph or a model. In a notebook it shows itself; ``render`` writes it to a file.

    ``drawing`` is the record of its cards and edges, ``dot`` the same in the language of Graphviz.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> picture = draw(x * x)
    >>> print(picture)
    x   value    float64 ()
    t1  = x * x  float64 ()
    """

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing

    @cached_property
    def dot(self) -> str:
        """The picture in DOT; the same picture gives the same text."""
        return dot_source(self.drawing)

    def svg(self) -> str:
        """Return the picture as SVG text. Raises ``RenderError`` where no renderer is installed."""
        return render(self.dot, "svg").decode("utf-8")

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file, in the format of its suffix (.gv, .svg, .png, .pdf), and return its path.

        Raises ``RenderError`` for another suffix or a folder that cannot be written to. Where no renderer is installed, the
        ``.gv`` file is written in its place, and the error says so and how to get one.
        """
        path = Path(path)
        format = format_of(path)
        source = self.dot.encode("utf-8")
        if format == "gv":
            return _write(path, source)
        try:
            content = render(self.dot, format)
        except RenderError as fault:
            kept = _write(path.with_suffix(".gv"), source)
            raise RenderError(f"wrote {str(kept)!r} in place of {str(path)!r}: {fault}") from None
        return _write(path, content)

    def __str__(self) -> str:
        return str(self.drawing)

    def __repr__(self) -> str:
        return f"<Picture: {len(self.drawing.cards)} cards, {len(self.drawing.edges)} edges>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: SVG, or text where it cannot be made."""
        bundle = {"text/plain": str(self)}
        try:
            bundle["image/svg+xml"] = self.svg()
        except Exception as error:
            bundle["text/plain"] += f"\n({error})"
        return bundle


def draw(thing: Any, path: str | os.PathLike[str] | None = None, title: str | None = None) -> Picture:
    """Draw a tensor, several, a ``Graph`` or a ``Model``, and write the picture to ``path`` if that is given.

    The picture shows what is computed from what: a card for each operation, or for each equation of a model, and an edge
    for each use of a tensor. A model is drawn for a batch of one. Suffixes are .gv, .svg, .png and .pdf. Raises
    ``RenderError``.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> draw(x * x)
    <Picture: 2 cards, 2 edges>
    """
    picture = Picture(_drawing(thing, title))
    if path is not None:
        picture.render(path)
    return picture


def _drawing(thing: Any, title: str | None) -> Drawing:
    if isinstance(thing, (Tensor, list, tuple)):
        thing = Graph(thing)
    if isinstance(thing, Graph):
        return graph_drawing(thing, title or "")
    from tinygraph.model import Model

    if isinstance(thing, Model):
        return model_drawing(thing.record(1), thing.title or thing.name if title is None else title)
    raise TinygraphError(f"draw takes a tensor, a list of tensors, a Graph or a Model; found {type(thing).__name__}")


def _write(path: Path, content: bytes) -> Path:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RenderError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None
    return path
