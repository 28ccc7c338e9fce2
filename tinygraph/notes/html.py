"""Derived notes as one HTML file: no network, no framework, formulas in MathML; all but the stepper works without a script."""

from __future__ import annotations

import html
import importlib.util
import re
from collections.abc import Iterator
from importlib import resources

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number
from tinygraph.describe.symbols import Formula, shown
from tinygraph.errors import RenderError
from tinygraph.notes.document import (
    Block,
    Document,
    Equations,
    Figure,
    Numbers,
    Paragraph,
    Section,
    Stepper,
    Table,
    Task,
    Tasks,
    Words,
)
from tinygraph.notes.stepper import page as stepper

_SUBTITLE = (
    "Lecture notes derived from the graph: forward propagation, and the backward propagation that follows from it."
)
# Nothing may be fetched, whatever the page holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# Sections whose equations belong to the way of the gradient.
_GRADIENT_LANE = frozenset({"backward", "update", "worksheet", "solution"})


def html_text(document: Document) -> str:
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
    style = resources.files("tinygraph.notes").joinpath("document.css").read_text(encoding="utf-8")
    policy, script = _POLICY, ""
    if any(isinstance(block, Stepper) for section in document.sections for block in section.blocks):
        style += stepper.style()
        policy += f"; script-src {stepper.script_policy()}"
        script = f"<script>{stepper.script()}</script>\n"
    links = "".join(f'<li><a href="#{s.slug}">{_text(s.title)}</a></li>' for s in document.sections)
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
<p class="subtitle">{_SUBTITLE}</p>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main id="notes" tabindex="-1">
{sections}
</main>
{script}</body>
</html>
"""


def _text(text: str) -> str:
    return html.escape(shown(text))


def _words(words: Words) -> str:
    return "".join(_text(word) if isinstance(word, str) else word.mathml() for word in words)


def _section(section: Section) -> str:
    lane = ' class="gradient"' if section.slug in _GRADIENT_LANE else ""
    body = "\n".join(_block(block, section.slug) for block in section.blocks)
    title = f'<h2 id="heading-{section.slug}">{_text(section.title)}</h2>'
    return f'<section id="{section.slug}"{lane} aria-labelledby="heading-{section.slug}">\n{title}\n{body}\n</section>'


def _block(block: Block, slug: str) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_words(block.words)}</p>"
    if isinstance(block, Equations):
        heading = f"<h3>{_text(block.heading)}</h3>\n" if block.heading else ""
        return heading + "\n".join(map(_line, block.lines))
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Numbers):
        return _numbers(block)
    if isinstance(block, Tasks):
        return _tasks(block)
    if isinstance(block, Stepper):
        return stepper.stepper_html(block.walk, lambda line: _line(line, linked=False))
    return _figure(block)


def _line(line: Line, linked: bool = True) -> str:
    ids = "".join(f'<span class="id" title="{id} in the lecture notes">{id}</span>' for id in line.ids)
    remark = f'<span class="remark">{_text(line.remark)}</span>' if line.remark else ""
    place = f' id="eq-{_text(line.slug)}" data-node="{_text(line.label)}"' if linked else ""
    return (
        f'<div class="equation"{place}>'
        f'<span class="formula">{line.formula.mathml(display=True)}</span>{remark}<span class="ids">{ids}</span></div>'
    )


def _cell(cell: str | Formula) -> str:
    return _numbered(cell) if isinstance(cell, str) else cell.mathml()


def _numbered(text: str) -> str:
    """Return text in which the minus of a number is one."""
    return re.sub(r"-(?=\d|inf)", "−", _text(text))


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    rows = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_text(table.caption)}</caption>"
    return (
        f'<div class="wide" role="region" aria-label="{_text(table.caption)}" tabindex="0"><table class="listing">{caption}\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _numbers(block: Numbers) -> str:
    figures = "\n".join(_number(number) for number in block.numbers)
    return f'<h3>{_text(block.heading)}</h3>\n<div class="numbers">\n{figures}\n</div>'


def _number(number: Number, blank: bool = False) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{'' if blank else _numbered(cell)}</td>" for cell in row) + "</tr>"
        for row in number.rows
    )
    note = f'<span class="note">{_numbered(number.note)}</span>' if number.note else ""
    caption = f'{number.symbol.mathml()} <span class="shape">{_text(number.shape)}</span>{note}'
    kind = "matrix blank" if blank else "matrix"
    return (
        f'<figure class="number"><figcaption>{caption}</figcaption>'
        f'<div class="wide"><table class="{kind}"><tbody>{rows}</tbody></table></div></figure>'
    )


def _tasks(block: Tasks) -> str:
    tasks = "\n".join(f"<li>{_task(task, block.solved)}</li>" for task in block.tasks)
    return f'<h3>{_text(block.heading)}</h3>\n<ol class="tasks" start="{block.first}">\n{tasks}\n</ol>'


def _task(task: Task, solved: bool) -> str:
    given = f'<p class="given">{_words(task.given)}</p>' if task.given else ""
    return given + "".join(_answer(task, solved))


def _answer(task: Task, solved: bool) -> Iterator[str]:
    for answer in task.answer:
        if isinstance(answer, Number):
            yield _number(answer, blank=not solved)
        elif isinstance(answer, Formula) and solved:
            math = Formula(f"{task.left.source} = {answer.source}", task.left.symbols).mathml(display=True)
            yield f'<span class="formula">{math}</span>'
        else:
            blank = '<span class="line" role="img" aria-label="blank"></span>'
            yield f'<span class="question">{Formula(f"{task.left.source} =", task.left.symbols).mathml()}{blank}</span>'


def _figure(figure: Figure) -> str:
    if figure.svg:
        return f'<figure class="picture" tabindex="0">{stepper.with_width(figure.svg)}</figure>'
    why = f"<figcaption>The picture is shown as text: {_text(figure.why)}.</figcaption>" if figure.why else ""
    text = "\n".join(map(_text, figure.text.splitlines()))
    return f'<figure class="picture"><pre>{text}</pre>{why}</figure>'
