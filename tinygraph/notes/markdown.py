"""Derived notes as Markdown, with formulas between dollar signs as GitHub and most others read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number, tex_number
from tinygraph.describe.symbols import Formula, shown
from tinygraph.notes.document import (
    Block,
    Document,
    Equations,
    Figure,
    Numbers,
    Paragraph,
    Table,
    Task,
    Tasks,
    Words,
)


def markdown_text(document: Document) -> str:
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
    r"""Return text that Markdown shows as it is.

    >>> literal("a_b <i>")
    'a\\_b &lt;i&gt;'
    """
    text = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", text)


def _words(words: Words) -> str:
    return "".join(literal(word) if isinstance(word, str) else f"${word.tex}$" for word in words)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _words(block.words)
    elif isinstance(block, Equations):
        yield f"### {literal(block.heading)}" if block.heading else ""
        yield from map(_line, block.lines)
    elif isinstance(block, Table):
        yield _table(block.head, [[_cell(cell) for cell in row] for row in block.rows])
    elif isinstance(block, Numbers):
        yield f"### {literal(block.heading)}"
        yield from map(_number, block.numbers)
    elif isinstance(block, Tasks):
        yield f"### {literal(block.heading)}"
        for i, task in enumerate(block.tasks, start=block.first):
            yield from _task(i, task, block.solved)
    elif isinstance(block, Figure):
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", block.text)), 3)
        text = "\n".join(map(shown, block.text.splitlines()))
        yield f"{fence}text\n{text}\n{fence}"


def _line(line: Line) -> str:
    tag = rf" \tag{{{', '.join(line.ids)}}}" if line.ids else ""
    remark = rf" \qquad \small{{\text{{{line.remark}}}}}" if line.remark.isascii() and _is_plain(line.remark) else ""
    return f"$$\n{line.formula.tex}{remark}{tag}\n$$"


def _is_plain(remark: str) -> bool:
    return bool(re.fullmatch(r"[\w ,.()'=-]+", remark)) and "_" not in remark


def _cell(cell: str | Formula) -> str:
    return literal(cell) if isinstance(cell, str) else f"${cell.tex}$".replace("|", r"\vert ")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(number: Number) -> str:
    note = f" {literal(number.note)}" if number.note else ""
    return (
        f"${number.symbol.tex}$ of shape {literal(number.shape)}{':' if number.rows else ''}{note}\n\n{_matrix(number)}"
    )


def _matrix(number: Number, blank: bool = False) -> str:
    if not number.rows:
        return ""
    body = " \\\\\n".join(" & ".join(r"\square" if blank else tex_number(cell) for cell in row) for row in number.rows)
    body = body if number.shape == "()" else f"\\begin{{bmatrix}}\n{body}\n\\end{{bmatrix}}"
    return f"$$\n{number.symbol.tex} = {body}\n$$"


def _task(i: int, task: Task, solved: bool) -> Iterator[str]:
    given = f"{_words(task.given)}" if task.given else ""
    answer = task.answer[0]
    if isinstance(answer, Number):
        yield f"**{i}.** {given}"
        yield _matrix(answer, blank=not solved)
    else:
        right = answer.tex if solved and isinstance(answer, Formula) else r"\underline{\hspace{12em}}"
        yield f"**{i}.** {given}${task.left.tex} = {right}$"
