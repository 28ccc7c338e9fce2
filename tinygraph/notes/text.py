"""Derived notes as plain text, for a terminal."""

from collections.abc import Iterator

from tinygraph.describe.symbols import Formula, shown
from tinygraph.describe.text import aligned
from tinygraph.notes import document as blocks


def plain_text(document: blocks.Document) -> str:
    """Return the document in lines, without the picture and, unless there is nothing else, without the worksheet.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.compose import document_of
    >>> text = plain_text(document_of(tg.load_model("notes_cnn")))
    >>> next(line for line in text.splitlines() if line.startswith("B10"))
    'B10  dP1 = conv(padded(dZ2), rot180(K2))  (padded by 1)'
    """
    parts = [shown(document.title)]
    for section in document.printed:
        lines = [part for block in section.blocks for part in _block(block)]
        if lines and (document.is_sheet or section.slug not in blocks.SHEETS):
            parts += ["", shown(section.title), *lines]
    return "\n".join(parts) + "\n"


def _block(block: blocks.Block) -> Iterator[str]:
    match block:
        case blocks.Paragraph(words):
            yield "".join(map(_text, words))
        case blocks.Equations(lines, heading):
            yield from [shown(heading)] if heading else []
            for line in lines:
                remark = f"  ({line.remark})" if line.remark else ""
                yield shown(f"{', '.join(line.ids):<3}  {line.formula.text}{remark}").rstrip()
        case blocks.Table(_, head, rows):
            yield aligned([head, *(list(map(_text, row)) for row in rows)])
        case blocks.Tasks(heading, tasks, first, solved):
            yield shown(heading)
            for i, task in enumerate(tasks, first):
                yield from _task(i, task, solved)
        case blocks.Numbers(heading, numbers):
            yield shown(heading)
            for number in numbers:
                note = f"  ({number.note})" if number.note else ""
                yield f"{shown(number.symbol.text)}  {number.shape}{note}"
                yield aligned([(*row, *[""] * (len(number.rows[0]) - len(row))) for row in number.rows])


def _task(i: int, task: blocks.Task, solved: bool) -> Iterator[str]:
    given, left = "".join(map(_text, task.given)), shown(task.left.text)
    if isinstance(task.answer, Formula):
        answer = shown(task.answer.text) if solved else "_" * 30
        yield f"{i:>3}. {given}{left} = {answer}"
        return
    yield f"{i:>3}. {given}"
    yield f"     {left} ="
    rows = [[cell if solved else "_" * 6 for cell in row] for row in task.answer.rows]
    yield from ("     " + line for line in aligned(rows).splitlines())


def _text(word: str | Formula) -> str:
    return shown(word if isinstance(word, str) else word.text)
