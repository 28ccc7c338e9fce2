"""Derived notes as plain text: what a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator

from tinygraph.describe.columns import aligned
from tinygraph.describe.symbols import Formula, shown
from tinygraph.notes.document import Block, Document, Equations, Numbers, Paragraph, Table, Words


def plain_text(document: Document) -> str:
    """Return the document in lines, without the picture and the worksheet.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.compose import document_of
    >>> text = plain_text(document_of(tg.load_model("notes_cnn")))
    >>> next(line for line in text.splitlines() if line.startswith("B10"))
    'B10  dP1 = conv(padded(dZ2), rot180(K2))  (padded by 1)'
    """
    parts = [shown(document.title)]
    for section in document.printed:
        blocks = [part for block in section.blocks for part in _block(block)]
        if blocks and section.slug not in ("worksheet", "solution"):
            parts += ["", shown(section.title), *blocks]
    return "\n".join(parts) + "\n"


def _words(words: Words) -> str:
    return "".join(shown(word) if isinstance(word, str) else word.text for word in words)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _words(block.words)
    elif isinstance(block, Equations):
        if block.heading:
            yield shown(block.heading)
        for line in block.lines:
            remark = f"  ({line.remark})" if line.remark else ""
            yield f"{', '.join(line.ids):<3}  {shown(line.formula.text)}{shown(remark)}".rstrip()
    elif isinstance(block, Table):
        yield aligned([block.head, *([_cell(cell) for cell in row] for row in block.rows)])
    elif isinstance(block, Numbers):
        yield shown(block.heading)
        for number in block.numbers:
            note = f"  ({number.note})" if number.note else ""
            yield f"{shown(number.symbol.text)}  {number.shape}{note}"
            yield aligned([(*row, *[""] * (len(number.rows[0]) - len(row))) for row in number.rows])


def _cell(cell: str | Formula) -> str:
    return shown(cell if isinstance(cell, str) else cell.text)
