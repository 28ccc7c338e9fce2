"""Derived notes as an article in LaTeX, with amsmath, amssymb and geometry and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinygraph.notes.document import (
    Block,
    Document,
    Equations,
    Line,
    Number,
    Numbers,
    Paragraph,
    Table,
    Tasks,
    Words,
)
from tinygraph.notes.markdown import tex_number
from tinygraph.notes.symbols import Formula, escaped, shown

_OPENING = r"""\documentclass[11pt]{article}
\usepackage[a4paper, margin=25mm]{geometry}
\usepackage{amsmath}
\usepackage{amssymb}
\setcounter{MaxMatrixCols}{20}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{6pt}
\newcommand{\remark}[1]{\qquad\text{\small(#1)}}
"""


def latex_text(document: Document) -> str:
    """Return the document as LaTeX. The picture is left out: it needs packages for graphics.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.derive import document_of
    >>> print(latex_text(document_of(tg.load_model("xor"))).splitlines()[0])
    \\documentclass[11pt]{article}
    """
    parts = [_OPENING, rf"\title{{{literal(document.title)}}}", r"\date{}", r"\begin{document}", r"\maketitle"]
    for section in document.printed:
        blocks = [part for block in section.blocks for part in _block(block)]
        if blocks:
            parts += [
                r"\newpage" if section.slug in ("worksheet", "solution") else "",
                _heading("section", section.title),
            ]
            parts += blocks
    return "\n".join(part for part in [*parts, r"\end{document}"] if part) + "\n"


def literal(text: str) -> str:
    r"""Return text that LaTeX shows as it is; letters that its standard fonts lack are given by their numbers.

    >>> literal("50% of µ"), literal("中")
    ('50\\% of µ', '\\texttt{U+4E2D}')
    """
    return "".join(escaped(c) if ord(c) < 0x180 else rf"\texttt{{U+{ord(c):04X}}}" for c in shown(text))


def _math(formula: Formula) -> str:
    return "".join(c if ord(c) < 0x180 else rf"\texttt{{U+{ord(c):04X}}}" for c in formula.tex)


def _heading(kind: str, title: str) -> str:
    return rf"\{kind}*{{{literal(title)}}}"


def _words(words: Words) -> str:
    return "".join(literal(word) if isinstance(word, str) else f"${_math(word)}$" for word in words) + "\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _words(block.words)
    elif isinstance(block, Equations):
        if block.heading:
            yield _heading("subsection", block.heading)
        yield from map(_line, block.lines)
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Numbers):
        yield _heading("subsection", block.heading)
        yield from map(_number, block.numbers)
    elif isinstance(block, Tasks):
        yield _heading("subsection", block.heading)
        yield from _tasks(block)


def _line(line: Line) -> str:
    remark = rf" \remark{{{literal(line.remark)}}}" if line.remark else ""
    tag = rf" \tag{{{', '.join(line.ids)}}}" if line.ids else ""
    return rf"\begin{{equation*}} {_math(line.formula)}{remark}{tag} \end{{equation*}}"


def _table(table: Table) -> Iterator[str]:
    yield rf"\begin{{center}} \small \begin{{tabular}}{{{'l' * len(table.head)}}} \hline"
    yield _row([literal(cell) for cell in table.head]) + r" \hline"
    for row in table.rows:
        yield _row([literal(cell) if isinstance(cell, str) else f"${_math(cell)}$" for cell in row])
    yield r"\hline \end{tabular} \end{center}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(number: Number) -> str:
    about = f"${_math(number.symbol)}$ of shape {literal(number.shape)}"
    note = f": {literal(number.note)}" if number.note else ""
    return f"{about}{note}\n{_matrix(number)}"


def _matrix(number: Number, blank: bool = False) -> str:
    if not number.rows:
        return ""
    rows = [" & ".join(r"\square" if blank else tex_number(cell) for cell in row) for row in number.rows]
    body = r" \\ ".join(rows)
    size = r"\scriptsize" if len(number.rows[0]) > 6 else r"\small"
    matrix = rf"\begin{{equation*}} {_math(number.symbol)} = \begin{{bmatrix}} {body} \end{{bmatrix}} \end{{equation*}}"
    return f"{{{size} {matrix}}}"


def _tasks(block: Tasks) -> Iterator[str]:
    yield rf"\begin{{enumerate}} \setcounter{{enumi}}{{{block.first - 1}}}"
    for task in block.tasks:
        answer = task.answer[0]
        if isinstance(answer, Number):
            yield rf"\item {_words(task.given)} {_matrix(answer, blank=not block.solved)}"
        else:
            right = _math(answer) if block.solved and isinstance(answer, Formula) else r"\underline{\hspace{8cm}}"
            yield rf"\item $\displaystyle {_math(task.left)} = {right}$"
    yield r"\end{enumerate}"
