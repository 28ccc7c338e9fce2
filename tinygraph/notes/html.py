"""Derived notes as one HTML file: no network, no framework, formulas in MathML. Only the stepper needs its script."""

import contextlib
import html
import importlib.util
import re
import warnings
from dataclasses import replace

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number
from tinygraph.describe.symbols import Formula, shown
from tinygraph.draw.paper import FONT, SMALLEST
from tinygraph.errors import RenderError
from tinygraph.notes import document as blocks
from tinygraph.notes.stepper import page as stepper

_SUBTITLE = (
    "Lecture notes derived from the graph: forward propagation, and the backward propagation that follows from it."
)
# In a document with more equations they are text.
MOST_FORMULAS = 1000
# Nothing may be fetched, whatever the page contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# What a sheet of A4 has room for in most browsers, in points, with a heading.
_SHEET = 510, 680
# Sections whose equations belong to the backward pass.
_GRADIENT_LANE = frozenset({"backward", "update"})


def html_text(document: blocks.Document) -> str:
    """Return the document as one HTML page. Raises ``RenderError`` where latex2mathml is not installed.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.compose import document_of
    >>> page = html_text(document_of(tg.load_model("xor")))
    >>> page[:15], page.count('<div class="equation"') > 10
    ('<!doctype html>', True)
    """
    if importlib.util.find_spec("latex2mathml") is None:
        raise RenderError(
            "formulas in HTML need the package latex2mathml: either `pip install latex2mathml`, "
            "or write .md or .tex, which need nothing"
        )
    if sum(1 for _ in document.lines()) > MOST_FORMULAS:
        document = replace(document, sections=tuple(map(_in_text, document.sections)))
    style = stepper.part_of_page("document.css")
    policy, script = _POLICY, ""
    if any(isinstance(block, blocks.Stepper) for section in document.sections for block in section.blocks):
        style += stepper.part_of_page("stepper/stepper.css")
        policy += f"; script-src {stepper.script_policy()}"
        script = f"<script>{stepper.script()}</script>\n"
    subtitle, links = "", ""
    if not document.is_sheet:
        subtitle = f'<p class="subtitle">{_SUBTITLE}</p>\n'
        links = _contents(document)
    sections = "\n".join(_section(section) for section in document.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{_text(document.title)}</title>
<style>
{style}
</style>
</head>
<body>
<a class="skip" href="#notes">Skip to the notes</a>
<header>
<h1>{_text(document.title)}</h1>
{subtitle}{links}</header>
<main id="notes" tabindex="-1">
{sections}
</main>
{script}</body>
</html>
"""


class _Text(Formula):
    """A formula that is written as text."""

    def mathml(self, display: bool = False) -> str:
        return f"<code>{_text(self.text)}</code>"


def _as_text(formula: Formula) -> Formula:
    return _Text(formula.source, formula.symbols)


def _line_in_text(line: Line) -> Line:
    return replace(line, formula=_as_text(line.formula))


def _in_text(section: blocks.Section) -> blocks.Section:
    """Return a section of a very large graph: a browser takes long to lay out thousands of formulas."""

    def changed(block: blocks.Block) -> blocks.Block:
        if isinstance(block, blocks.Equations):
            return replace(block, lines=tuple(map(_line_in_text, block.lines)))
        if isinstance(block, blocks.Table):
            rows = ((_as_text(cell) if isinstance(cell, Formula) else cell for cell in row) for row in block.rows)
            return replace(block, rows=tuple(map(tuple, rows)))
        return replace(block, in_text=True) if isinstance(block, blocks.Stepper) else block

    return replace(section, blocks=tuple(map(changed, section.blocks)))


def _contents(document: blocks.Document) -> str:
    links = "".join(f'<li><a href="#{s.slug}">{_text(s.title)}</a></li>' for s in document.sections)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n'


def _text(text: str) -> str:
    return html.escape(shown(text))


def _words(words: blocks.Words) -> str:
    return "".join(_text(word) if isinstance(word, str) else word.mathml() for word in words)


def _section(section: blocks.Section) -> str:
    lane = ' class="gradient"' if section.slug in _GRADIENT_LANE else ""
    body = "\n".join(map(_block, section.blocks))
    title = f'<h2 id="heading-{section.slug}">{_text(section.title)}</h2>'
    return f'<section id="{section.slug}"{lane} aria-labelledby="heading-{section.slug}">\n{title}\n{body}\n</section>'


def _block(block: blocks.Block) -> str:
    match block:
        case blocks.Paragraph(words):
            return f"<p>{_words(words)}</p>"
        case blocks.Equations(lines, heading):
            return "\n".join([*([f"<h3>{_text(heading)}</h3>"] if heading else []), *map(_line, lines)])
        case blocks.Table():
            return _table(block)
        case blocks.Numbers(heading, numbers):
            figures = "\n".join(map(_number, numbers))
            return f'<h3>{_text(heading)}</h3>\n<div class="numbers">\n{figures}\n</div>'
        case blocks.Tasks(heading, tasks, first, solved):
            items = "\n".join(f"<li>{_task(task, solved)}</li>" for task in tasks)
            return f'<h3>{_text(heading)}</h3>\n<ol class="tasks" start="{first}">\n{items}\n</ol>'
        case blocks.Stepper():
            remark = f"<p>{_text(block.remark)}</p>\n" if block.remark else ""
            written = _as_text if block.in_text else lambda formula: formula
            return remark + stepper.stepper_html(
                block.walk,
                lambda line: _line(replace(line, formula=written(line.formula)), linked=False),
                lambda symbol: written(symbol).mathml(),
            )
        case blocks.Figure(svg, text, why):
            if svg:
                sheets = [
                    f'<figure class="picture sheet">{stepper.with_width(sheet)}</figure>' for sheet in _sheets(block)
                ]
                kind = "picture screen" if sheets else "picture"
                return "\n".join([f'<figure class="{kind}" tabindex="0">{stepper.with_width(svg)}</figure>', *sheets])
            caption = f"<figcaption>The picture is shown as text: {_text(why)}.</figcaption>" if why else ""
            body = "\n".join(map(_text, text.splitlines()))
            return f'<figure class="picture"><pre>{body}</pre>{caption}</figure>'


def _sheets(figure: blocks.Figure) -> list[str]:
    """Return the pages on which a picture is printed whose text would be too small on a single one."""
    size = re.search(r'<svg[^>]*? width="([\d.]+)pt"\s+height="([\d.]+)pt"', figure.svg)
    scale = min(of / float(side) for of, side in zip(_SHEET, size.groups(), strict=True)) if size else 1.0
    if figure.make is None or scale * FONT >= SMALLEST:
        return []
    with contextlib.suppress(RenderError), warnings.catch_warnings():
        # A card that is too large for a page is smaller there, as it would be on a single page.
        warnings.simplefilter("ignore")
        return [
            sheet.decode("utf-8")
            for sheet in figure.make().for_document("x".join(f"{side}pt" for side in _SHEET), "svg")
        ]
    return []


def _line(line: Line, linked: bool = True) -> str:
    ids = "".join(f'<span class="id" title="{id} in the lecture notes">{id}</span>' for id in line.ids)
    remark = f'<span class="remark">{_text(line.remark)}</span>' if line.remark else ""
    place = f' id="eq-{_text(line.slug)}" data-node="{_text(line.label)}"' if linked else ""
    return (
        f'<div class="equation"{place}>'
        f'<span class="formula">{line.formula.mathml(display=True)}</span>{remark}<span class="ids">{ids}</span></div>'
    )


def _numbered(text: str) -> str:
    """Return text with minus signs in its numbers."""
    return re.sub(r"-(?=\d|inf)", "−", _text(text))


def _table(table: blocks.Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    rows = []
    for row in table.rows:
        first, *cells = (_numbered(cell) if isinstance(cell, str) else cell.mathml() for cell in row)
        rows.append(f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    body = "\n".join(rows)
    caption = _text(table.caption)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table class="listing">'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _number(number: Number, blank: bool = False) -> str:
    rows = (("" if blank else _numbered(cell) for cell in row) for row in number.rows)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    note = f'<span class="note">{_numbered(number.note)}</span>' if number.note else ""
    caption = f'{number.symbol.mathml()} <span class="shape">{_text(number.shape)}</span>{note}'
    kind = "matrix blank" if blank else "matrix"
    return (
        f'<figure class="number"><figcaption>{caption}</figcaption>'
        f'<div class="wide"><table class="{kind}"><tbody>{body}</tbody></table></div></figure>'
    )


def _task(task: blocks.Task, solved: bool) -> str:
    given = f'<p class="given">{_words(task.given)}</p>' if task.given else ""
    if isinstance(task.answer, Number):
        return given + _number(task.answer, blank=not solved)
    if solved:
        math = Formula(f"{task.left.source} = {task.answer.source}", task.left.symbols).mathml(display=True)
        return f'{given}<span class="formula">{math}</span>'
    blank = '<span class="line" role="img" aria-label="blank"></span>'
    return f'{given}<span class="question">{Formula(f"{task.left.source} =", task.left.symbols).mathml()}{blank}</span>'
