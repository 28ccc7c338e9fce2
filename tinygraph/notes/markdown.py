"""Derived notes as Markdown, with formulas between dollar signs as GitHub and most other readers take them."""

import re
from collections.abc import Iterator

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number, tex_number
from tinygraph.describe.symbols import Formula, shown
from tinygraph.notes import document as blocks


def markdown_text(document: blocks.Document) -> str:
    """Return the document as Markdown.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.compose import document_of
    >>> print(markdown_text(document_of(tg.load_model("xor"))).splitlines()[0])
    # Exclusive or, with four hidden units
    """
    parts = [f"# {literal(document.title)}"]
    for section in document.printed:
        parts.append(f"## {literal(section.title)}")
        for block in section.blocks:
            parts += _block(block)
    return "\n\n".join(part for part in parts if part) + "\n"


def literal(text: str) -> str:
    r"""Return text that Markdown shows unchanged.

    >>> literal("a_b <i>")
    'a\\_b &lt;i&gt;'
    """
    text = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", text)


def _block(block: blocks.Block) -> Iterator[str]:
    match block:
        case blocks.Paragraph(words):
            yield _words(words)
        case blocks.Equations(lines, heading):
            yield f"### {literal(heading)}" if heading else ""
            yield from map(_line, lines)
        case blocks.Table(_, head, rows):
            cells = [head, ["---"] * len(head), *(map(_cell, row) for row in rows)]
            yield "\n".join(f"| {' | '.join(row)} |" for row in cells)
        case blocks.Numbers(heading, numbers):
            yield f"### {literal(heading)}"
            for number in numbers:
                note = f" {literal(number.note)}" if number.note else ""
                yield f"${number.symbol.tex}$ of shape {literal(number.shape)}{':' if number.rows else ''}{note}"
                yield _matrix(number)
        case blocks.Tasks(heading, tasks, start, solved):
            yield f"### {literal(heading)}"
            for i, task in enumerate(tasks, start):
                yield from _task(i, task, solved)
        case blocks.Figure(_, text):
            fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
            yield "\n".join([f"{fence}text", *map(shown, text.splitlines()), fence])


def _words(words: blocks.Words) -> str:
    return "".join(literal(word) if isinstance(word, str) else f"${word.tex}$" for word in words)


def _cell(cell: str | Formula) -> str:
    return literal(cell) if isinstance(cell, str) else f"${cell.tex}$".replace("|", r"\vert ")


def _line(line: Line) -> str:
    tag = rf" \tag{{{', '.join(line.ids)}}}" if line.ids else ""
    is_plain = re.fullmatch(r"[a-zA-Z0-9 ,.()'=-]+", line.remark)
    remark = rf" \qquad \small{{\text{{{line.remark}}}}}" if is_plain else ""
    return f"$$\n{line.formula.tex}{remark}{tag}\n$$"


def _matrix(number: Number, blank: bool = False) -> str:
    if not number.rows:
        return ""
    body = " \\\\\n".join(" & ".join(r"\square" if blank else tex_number(cell) for cell in row) for row in number.rows)
    body = body if number.shape == "()" else f"\\begin{{bmatrix}}\n{body}\n\\end{{bmatrix}}"
    return f"$$\n{number.symbol.tex} = {body}\n$$"


def _task(i: int, task: blocks.Task, solved: bool) -> Iterator[str]:
    if isinstance(task.answer, Number):
        yield f"**{i}.** {_words(task.given)}"
        yield _matrix(task.answer, blank=not solved)
    else:
        right = task.answer.tex if solved else r"\underline{\hspace{12em}}"
        yield f"**{i}.** {_words(task.given)}${task.left.tex} = {right}$"
