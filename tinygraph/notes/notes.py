"""Notes: a derived document that can be written as HTML, Markdown, LaTeX or plain text."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.random import default_rng

from tinygraph.describe.html import framed
from tinygraph.describe.origin_words import MOST_TERMS, origin_text
from tinygraph.describe.origins import Origins
from tinygraph.errors import DataError, FeedError, RenderError, TinygraphError, listing, nearest
from tinygraph.files import as_path, write_whole
from tinygraph.graph import Graph, Tensor, integer
from tinygraph.model.model import Model
from tinygraph.notes.compose import document_of, sheets_of
from tinygraph.notes.document import Block, Document, Figure
from tinygraph.notes.html import html_text
from tinygraph.notes.latex import latex_text
from tinygraph.notes.markdown import markdown_text
from tinygraph.notes.text import plain_text
from tinygraph.notes.variants import drawn_again, other_inputs
from tinygraph.train import data as sources
from tinygraph.train.metrics import class_words
from tinygraph.verify.nodes import completed

# Of a graph with more numbers, the values are not computed for random inputs.
MOST_RANDOM = 4_000_000
# The samples that a reader of the page can choose from.
MOST_SAMPLES = 4
_WRITERS = {"html": html_text, "md": markdown_text, "tex": latex_text, "txt": plain_text}
# The largest picture on a page of the LaTeX article, below a heading.
TEXT_AREA = "160x225mm"


class Notes:
    """Derived notes. A notebook displays them; ``write`` writes them to a file.

    ``document`` is the record from which all formats are written, ``written`` the files of the last ``write``.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, name="x")
    >>> notes = tg.notes(x * x)
    >>> print(notes.text().splitlines()[0])
    Notes of a graph
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.written: list[Path] = []

    def html(self) -> str:
        """Return one self-contained HTML page. Raises ``RenderError`` where the package latex2mathml is missing."""
        return html_text(self.document)

    def markdown(self) -> str:
        """Return Markdown with formulas between dollar signs."""
        return markdown_text(self.document)

    def tex(self) -> str:
        """Return an article in LaTeX."""
        return latex_text(self.document)

    def text(self) -> str:
        """Return plain text."""
        return plain_text(self.document)

    def explain(self, name: str, *index: int, terms: int = MOST_TERMS) -> str:
        """Return in words where one number comes from: the terms that make it, and what decided between them.

        ``name`` is that of a value or a gradient, and ``index`` the place of the element. Of a sum of more than ``terms``
        the first ones are written. A click on the number on the HTML page gives the same answer. Raises ``TinygraphError``
        for an unknown name or element, and for notes without numbers, and ``AttributeValueError`` for fewer terms than 1.

        >>> import tinygraph as tg
        >>> print(tg.notes(tg.load_model("notes_cnn")).explain("P1", 0, 0, 1, 1))
        P1[0,0,1,1] = 0.4481, the sum of 4 terms
          0.25 · C1[0,0,2,2] = 0.25 · 0.3701 = 0.09252
          0.25 · C1[0,0,2,3] = 0.25 · 0.6657 = 0.1664
          0.25 · C1[0,0,3,2] = 0.25 · 0.7012 = 0.1753
          0.25 · C1[0,0,3,3] = 0.25 · 0.05555 = 0.01389
        """
        subject, most = self.document.subject, integer("terms", terms)
        if not subject.values:
            raise TinygraphError("these notes contain no numbers; give feeds, or a sample of the model's data")
        origins = Origins(subject)
        return origin_text(origins, origins.of(origins.node(name), index), most)

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write the notes to a file and return its path; without ``format`` the suffix names the format.

        Formats are html, md, tex and txt. Next to LaTeX, the picture is written as PDF, one file for each page. Raises
        ``RenderError`` for other formats, and if a file cannot be written.
        """
        path = as_path(path)
        format, document, files = format_of(path, format), self.document, dict[Path, bytes]()
        if format == "tex":
            document, files = _with_files(document, path)
        files[path] = _WRITERS[format](document).encode("utf-8")
        for file, content in files.items():
            try:
                write_whole(file, content)
            except OSError as error:
                raise RenderError(f"{str(file)!r} cannot be written: {error.strerror or error}") from None
        self.written = list(files)
        return path

    def __repr__(self) -> str:
        return f"<Notes of {self.document.title}: {sum(1 for _ in self.document.lines())} equations>"

    __str__ = text
    # What a notebook shows where there is no HTML, and what becomes of it in print.
    _repr_markdown_ = markdown

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: the page in a frame, without the steps, which take long to find; ``write`` has them."""
        try:
            page = html_text(replace(self.document, sections=self.document.printed))
        except RenderError:
            return None
        more = 'notes.write("notes.html") writes this page, with steps to click through'
        return framed(page, self.document.title, f"{repr(self)[1:-1]}; {more}")


def _with_files(document: Document, path: Path) -> tuple[Document, dict[Path, bytes]]:
    """Return a document whose picture is in files next to ``path``, and these files."""
    files: dict[Path, bytes] = {}

    def placed(block: Block) -> Block:
        if not isinstance(block, Figure) or block.make is None:
            return block
        try:
            pages = block.make().for_document(TEXT_AREA)
        except RenderError as error:
            return replace(block, why=str(error))
        # LaTeX reads some characters of a name in its own way.
        stem = re.sub(r"[^A-Za-z0-9-]+", "_", path.stem)
        names = [f"{stem}_picture{f'-{page}' if len(pages) > 1 else ''}.pdf" for page in range(1, len(pages) + 1)]
        files.update(zip(map(path.with_name, names), pages, strict=True))
        return replace(block, files=tuple(names))

    sections = (replace(part, blocks=tuple(map(placed, part.blocks))) for part in document.sections)
    return replace(document, sections=tuple(sections)), files


def notes(
    thing: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    feeds: Mapping[Any, Any] | None = None,
    samples: Mapping[str, Mapping[Any, Any]] | None = None,
    format: str | None = None,
    title: str | None = None,
    seed: int = 0,
    worksheet: bool = False,
    solution: bool = False,
    variant: int | None = None,
) -> Notes:
    """Derive the lecture notes of a tensor, several, a ``Graph`` or a ``Model``, and write them to ``path`` if it is given.

    They contain the equations of the forward pass, those of the backward pass as the gradient nodes of the graph define them,
    the update, symbols and shapes, the picture, and worked numbers. The numbers are those of ``feeds``, or of the ``sample``
    of a model, or of the first samples of the data that it names, or else of random inputs from ``seed``, and the notes then
    say so. ``samples`` are feeds by name: the reader of the HTML page can step through each of them, and everything else
    shows the first. Suffixes are .html, .md, .tex and .txt; ``format`` overrides them.

    ``worksheet`` and ``solution`` leave only the worksheet, its solution, or both. ``variant`` is the number of a variant of a
    model, which is printed on each sheet: its random parameters and, unless ``feeds`` or ``samples`` are given, its inputs are
    other numbers, drawn from it. Raises ``RenderError``, ``FeedError``, and ``TinygraphError`` for other things.

    >>> import tinygraph as tg
    >>> lines = notes(tg.load_model("notes_cnn")).text().splitlines()
    >>> print(*(line for line in lines if "dK2" in line and "=" in line), sep="\\n")
    B8   dK2 = conv(P1, dZ2)  (padding 1)
    U3   K2 = K2 - alpha dK2
    """
    if path is not None:
        format_of(as_path(path), format)
    remark, label = "", ""
    if variant is not None:
        if not isinstance(thing, Model):
            raise TinygraphError(f"only a Model has variants; found {type(thing).__name__}")
        variant, label = integer("variant", variant, least=0), f"variant {variant}"
        thing, title = drawn_again(thing, variant), f"{title or thing.title or thing.name}, {label}"
        if feeds is None and samples is None:
            samples = other_inputs(thing, variant, partial(_random, thing))
    if feeds is None and samples is None:
        samples, remark = example_of(thing, seed)
    if samples is not None and not (
        isinstance(samples, Mapping) and all(isinstance(s, Mapping) for s in samples.values())
    ):
        raise FeedError(
            'samples are feeds by the name of a sample, such as {"first": {"x": x}}; a single one goes to feeds'
        )
    if samples:
        feeds = next(iter(samples.values()))
    wanted = [name for name, asked in (("worksheet", worksheet), ("solution", solution)) if asked]
    made = Notes(
        sheets_of(thing, feeds, title, label, wanted) if wanted else document_of(thing, feeds, title, samples, remark)
    )
    if path is not None:
        made.write(path, format)
    return made


def _random(model: Model, seed: int) -> Mapping[Any, Any]:
    samples, _ = example_of(model, seed)
    return next(iter(samples.values())) if samples else {}


def example_of(thing: Any, seed: int = 0) -> tuple[dict[str, Mapping[Any, Any]] | None, str]:
    """Return feeds by name for a thing of which nobody gives any, and a sentence about them if they are random.

    They are a model's own sample, the first of its data, or random values that the operations accept. There are none for a
    thing that needs none, or is so large that computing it would take long.

    >>> import tinygraph as tg
    >>> example_of(tg.relu(tg.input("x", (2,))))[1]
    'The inputs are random numbers, from seed 0: no sample and no data are given.'
    """
    if isinstance(thing, Model) and thing.sample:
        return {"the model's sample": thing.sample}, ""
    if isinstance(thing, Model) and thing.training.data is not None:
        return dict(samples_of(thing)), ""
    if isinstance(thing, Model):
        recording = thing.record(thing.batch or 1, training=thing.loss is not None)
        # An equation may read inputs that neither output nor loss depends on.
        graph = Graph([*recording.full_graph.outputs, *(equation.node for equation in recording.equations)])
    elif isinstance(thing, (Tensor, list, tuple)):
        graph = Graph(thing)
    else:
        graph = thing
    if not isinstance(graph, Graph) or sum(node.size for node in graph.nodes) > MOST_RANDOM:
        return None, ""
    drawn = completed(graph, {name: x.value for name, x in graph.inputs.items() if x.has_value}, default_rng(seed))
    sentence = f"The inputs are random numbers, from seed {seed}: no sample and no data are given."
    return ({f"random numbers from seed {seed}": drawn}, sentence) if drawn else (None, "")


def samples_of(
    model: Model, data: str | None = None, first: int = 0, count: int = MOST_SAMPLES
) -> dict[str, dict[str, Any]]:
    """Return samples of a data set, by default of the model's own, by name: ``count`` in its order from ``first`` on.

    Each sample has arrays by the names of the model's inputs. Its name says its class, if the model knows its classes.
    Raises ``DataError`` for a sample that does not exist, and for a model without data.

    >>> import tinygraph as tg
    >>> samples_of(tg.load_model("xor"), first=1, count=1)
    {'sample 1': {'x': array([[0., 1.]], dtype=float32), 'y': array([[1.]], dtype=float32)}}
    """
    source = sources.required_data(model, data)
    arrays = sources.samples_of(model, source)
    size = min(len(array) for array in arrays.values())
    if not 0 <= first < size:
        raise DataError(f"{source} has the samples 0 to {size - 1}; found {first}")
    found: dict[str, dict[str, Any]] = {}
    for i in range(first, min(first + count, size)):
        sample = {name: array[i : i + 1] for name, array in arrays.items()}
        words = class_words(model, {**sample, model.output: model.predict(sample)}) if model.classes else {}
        found[", ".join([f"sample {i}", *(words[name] for name in words if name != model.output)])] = sample
    return found


def format_of(path: Path, format: str | None = None) -> str:
    """Return ``format``, or the format that a file's suffix names. Raises ``RenderError`` with the valid ones.

    >>> format_of(Path("notes.HTML")), format_of(Path("notes"), "md")
    ('html', 'md')
    """
    asked = format or path.suffix.removeprefix(".").lower()
    asked = {"htm": "html", "markdown": "md", "latex": "tex"}.get(asked, asked)
    if asked not in _WRITERS:
        what = f"{format!r}" if format else f"the suffix of {str(path)!r}"
        raise RenderError(
            f"{what} does not name a format of notes{nearest(asked, _WRITERS)} (there are {listing(_WRITERS)})"
        )
    return asked
