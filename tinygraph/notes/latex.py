"""Derived notes as an article in LaTeX, with packages that every distribution has."""

import re
from collections.abc import Iterator, Sequence

from tinygraph.describe.derive import Line
from tinygraph.describe.numbers import Number, tex_number
from tinygraph.describe.symbols import Formula, escaped, shown
from tinygraph.notes import document as blocks

_OPENING = r"""% Made by tinygraph. Compile it with pdflatex, lualatex or xelatex: it needs the packages of TeX Live's basic and
% recommended LaTeX collections, on Debian and Ubuntu texlive-latex-recommended and lmodern, and nothing else.
\documentclass[11pt]{article}
\ifdefined\directlua\else\ifdefined\XeTeXversion\else
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\fi\fi
\usepackage[a4paper, margin=25mm]{geometry}
\usepackage{amsmath}
\usepackage{amssymb}
\usepackage{graphicx}
\usepackage{longtable}
\setcounter{MaxMatrixCols}{20}
\allowdisplaybreaks
\raggedbottom
\setlength{\parindent}{0pt}
\setlength{\parskip}{6pt}
\setlength{\LTleft}{0pt}
\renewcommand{\arraystretch}{1.15}
\newcommand{\airy}{\setlength{\tabcolsep}{4pt}\renewcommand{\arraystretch}{1.3}}
% No page ends before the second or the last question of a list, so that none is alone on a page.
\newcommand{\together}{\csname @itempenalty\endcsname=10000\relax}
\newcommand{\apart}{\csname @itempenalty\endcsname=-51\relax}
\newcommand{\remark}[1]{\qquad\text{\small(#1)}}
% A formula, made smaller where it is wider than the page.
\newsavebox{\formula}
\newcommand{\fit}[1]{\sbox{\formula}{$\displaystyle #1$}%
\ifdim\wd\formula>.88\linewidth\resizebox{.88\linewidth}{!}{\usebox{\formula}}\else\usebox{\formula}\fi}
"""
# Latin letters that LaTeX's own fonts lack.
_MISSING = frozenset("ĦħĸĿŀŉŦŧſ")
# A formula of more letters is measured, in case it is wider than the page; a table with more in a row has a smaller print.
_LONG, _WIDE = 60, 80


def latex_text(document: blocks.Document) -> str:
    """Return the document as LaTeX. The picture is in files of its own, which its figure names, or left out.

    >>> import tinygraph as tg
    >>> from tinygraph.notes.compose import document_of
    >>> print(latex_text(document_of(tg.load_model("xor"))).splitlines()[2])
    \\documentclass[11pt]{article}
    """
    parts = [_OPENING, rf"\title{{{literal(document.title)}}}", r"\author{}\date{}", r"\begin{document}", r"\maketitle"]
    for section in document.printed:
        body = [part for block in section.blocks for part in _block(block)]
        if body:
            # On pages of its own, unless nothing comes before it.
            parts.append(r"\newpage" if section.slug in blocks.SHEETS and section is not document.sections[0] else "")
            parts += [_heading("section", section.title), *body]
    return "\n".join(part for part in [*parts, r"\end{document}"] if part) + "\n"


def literal(text: str) -> str:
    r"""Return text that LaTeX shows unchanged; letters that its standard fonts lack are given by their numbers.

    >>> literal("50% of µ"), literal("中")
    ('50\\% of µ', '\\texttt{U+4E2D}')
    """
    return _known("".join(map(escaped, shown(text))))


def _known(tex: str) -> str:
    return "".join(c if ord(c) < 0x180 and c not in _MISSING else rf"\texttt{{U+{ord(c):04X}}}" for c in tex)


def _math(formula: Formula) -> str:
    return _known(formula.tex)


def _heading(kind: str, title: str) -> str:
    return rf"\{kind}*{{{literal(title)}}}"


def _block(block: blocks.Block) -> Iterator[str]:
    match block:
        case blocks.Paragraph(words):
            yield _words(words)
        case blocks.Equations(lines, heading):
            yield from [_heading("subsection", heading)] if heading else []
            yield from map(_line, lines)
        case blocks.Table():
            yield from _table(block)
        case blocks.Numbers(heading, numbers):
            yield _heading("subsection", heading)
            for number in numbers:
                note = f": {literal(number.note)}" if number.note else ""
                yield f"${_math(number.symbol)}$ of shape {literal(number.shape)}{note}\n{_matrix(number)}"
        case blocks.Figure(files=files, why=why):
            yield from (rf"\begin{{center}}\includegraphics{{{file}}}\end{{center}}" for file in files)
            if why and not files:
                yield f"The picture is left out: {literal(why)}.\n"
        case blocks.Tasks(heading, tasks, first, solved):
            yield _heading("subsection", heading)
            yield rf"\begin{{enumerate}} \raggedright \setcounter{{enumi}}{{{first - 1}}}"
            yield r"\postdisplaypenalty=10000\relax"
            for i, task in enumerate(tasks):
                yield (r"\together" if i in (0, 1, len(tasks) - 1) else r"\apart") + _task(task, solved)
            yield r"\end{enumerate}"


def _words(words: blocks.Words) -> str:
    return "".join(map(_word, words)) + "\n"


def _word(word: str | Formula) -> str:
    """Return text or a formula; several underscores in a row are a line to write on."""
    if isinstance(word, str):
        return re.sub(r"(\\_){4,}", r"\\rule{6cm}{0.4pt}", literal(word))
    math = _math(word)
    return rf"\fit{{{math}}}" if r"\begin{" in math else f"${math}$"


def _line(line: Line) -> str:
    remark = rf" \remark{{{literal(line.remark)}}}" if line.remark else ""
    tag = rf" \tag{{{', '.join(line.ids)}}}" if line.ids else ""
    body = f"{_math(line.formula)}{remark}"
    if len(line.formula.text) + len(line.remark) > _LONG:
        body = rf"\fit{{{body}}}"
    return rf"\begin{{equation*}} {body}{tag} \end{{equation*}}"


def _table(table: blocks.Table) -> Iterator[str]:
    widest = max(sum(len(cell if isinstance(cell, str) else cell.text) for cell in row) for row in table.rows)
    size = r"\scriptsize" if widest > _WIDE else r"\footnotesize"
    yield rf"{{{size} \airy \begin{{longtable}}{{@{{}}{'l' * len(table.head)}@{{}}}} \hline"
    yield rf"{_row(table.head)} \hline \endhead"
    yield from map(_row, table.rows)
    yield r"\hline \end{longtable}}"


def _row(cells: Sequence[str | Formula]) -> str:
    return " & ".join(literal(cell) if isinstance(cell, str) else f"${_math(cell)}$" for cell in cells) + r" \\"


def _matrix(number: Number, blank: bool = False) -> str:
    if not number.rows:
        return ""
    body = r" \\ ".join(" & ".join(r"\square" if blank else tex_number(cell) for cell in row) for row in number.rows)
    body = body if number.shape == "()" else rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
    return rf"{{\small \begin{{equation*}} \fit{{{_math(number.symbol)} = {body}}} \end{{equation*}}}}"


def _task(task: blocks.Task, solved: bool) -> str:
    if isinstance(task.answer, Number):
        return rf"\item {_words(task.given)} {_matrix(task.answer, blank=not solved)}"
    right = _math(task.answer) if solved else r"\rule[-2pt]{8cm}{0.4pt}"
    return rf"\item $\displaystyle {_math(task.left)} = {right}$"
