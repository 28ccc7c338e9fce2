"""The labels of cards: HTML-like tables of Graphviz."""

from collections.abc import Iterable, Sequence

from tinygraph.describe.numbers import number_text
from tinygraph.draw import colours
from tinygraph.draw.cards import Card, Drawing
from tinygraph.draw.colours import GRADIENT_INK, INK, PAPER, QUIET, VALUE_INK
from tinygraph.draw.figures import MOST_IN_A_ROW, Figures, Heat, colour
from tinygraph.draw.literal import text, tooltip, wrapped

BREAK = '<br align="left"/>'
_LANE_WIDTH, _HEADER_WIDTH, _LEAF_WIDTH = 56, 40, 44
# How many points of width or height each of several heat maps takes, about.
_MAP = 32
# The most columns of numbers that stand next to the text; more are written below it.
_MOST_BESIDE = 5


def card_label(card: Card, drawing: Drawing) -> str:
    """Return a card as a table: a header, a row for each lane, and rows for notes, warnings and verdicts."""
    if card.kind == "link":
        look = f'style="rounded" border="1" cellborder="0" cellspacing="0" cellpadding="3" color="{QUIET}"'
        where = f'<td port="{card.id}g">{_small(wrapped(card.expression, _LEAF_WIDTH), QUIET)}</td>'
        return f'<table {look}><tr><td port="{card.id}v"><b>{text(card.symbol)}</b></td>{where}</tr></table>'
    rows = [_leaf_header(card) if card.is_leaf else _header(card), *_lanes(card, drawing), *_remarks(card)]
    verdict = "error" if card.kind == "error" else card.verdict
    border, line = (2, colours.VERDICTS[verdict][1]) if verdict else (0, colours.LINE)
    look = f'border="{border}" cellborder="1" cellspacing="0" cellpadding="4" color="{line}" bgcolor="{PAPER}"'
    return f"<table {look}>{''.join(rows)}</table>"


def table(rows: Iterable[str], padding: int = 0, spacing: int = 2, size: str = "") -> str:
    """Return a table without borders; a row is the text of its cells."""
    inner = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table border="0" cellborder="0" cellspacing="{spacing}" cellpadding="{padding}"{size}>{inner}</table>'


def card_text(card: Card) -> str:
    """Return a card in one line, for a tooltip."""
    if card.kind == "error":
        return f"{card.symbol} = {card.expression}: {card.note}" if card.symbol else card.note
    if card.kind == "link":
        return f"{card.symbol} {card.expression}"
    parts = [f"{card.symbol} {card.kind if card.is_leaf else f'= {card.expression}'}, {card.dtype} {card.shape}"]
    for name, figures in (("value", card.value), ("gradient", card.gradient_value)):
        if figures is not None and figures.norm is not None:
            parts.append(f"norm of the {name} {number_text(figures.norm)}")
    return "; ".join([*parts, *card.marks, *card.checks, *[card.doc] * bool(card.doc)])


def _header(card: Card) -> str:
    family = colours.FAMILIES.get(card.family, colours.CUSTOM)
    shade = colours.WRONG if card.kind == "error" else colours.tint(family)
    number = f"{card.number} " if card.number else ""
    attributes = f" {_small(wrapped(card.attributes, _HEADER_WIDTH), INK)}" if card.attributes else ""
    return f'<tr><td bgcolor="{shade}" align="left"><b>{number}{text(card.title)}</b>{attributes}</td></tr>'


def _leaf_header(card: Card) -> str:
    shade = colours.tint(colours.PARAMETER) if card.kind == "parameter" else PAPER
    symbol = f"<b>{'<br/>'.join(map(text, wrapped(card.symbol, _HEADER_WIDTH)))}</b>"
    rest = f"{_small([_shape(card)], QUIET)}<br/>{_small([f'{card.counts or card.kind}, {card.dtype}'], QUIET)}"
    if card.kind == "constant" and card.expression.startswith("="):
        rest = text(card.expression)
    return f'<tr><td port="{card.id}v" bgcolor="{shade}">{symbol} {rest}</td></tr>'


def _shape(card: Card) -> str:
    return str(card.shape) if card.shape else "scalar"


def _lanes(card: Card, drawing: Drawing) -> list[str]:
    """Return a row for the value and a row for the gradient. The ports of a leaf contain its id: it may be in a stack."""
    port, width = (card.id, _LEAF_WIDTH) if card.is_leaf else ("", _LANE_WIDTH)
    forward = drawing.view != "backward"
    rows, lines = [], []
    if not card.is_leaf and (forward or card.kind == "error"):
        lines += _lines(f"{card.symbol} = {card.expression}", VALUE_INK)
    if card.kind == "error":
        return [_row("v", lines, None, INK)] if card.symbol else []
    if not card.is_leaf:
        said = f"{_shape(card)} {card.dtype}" + f", {card.counts}" * bool(card.counts)
        lines.append(BREAK.join(_lines(said, QUIET)))
    lines += [BREAK.join(_lines(line, VALUE_INK, width)) for line in card.inside]
    shows_value = drawing.shows_values or card.value is not None
    shows_value = shows_value and forward and card.kind != "constant" and card.title != "same as"
    if shows_value:
        lines += _statistics(card.value)
    if shows_value or not card.is_leaf:
        rows.append(_row("" if card.is_leaf else "v", lines, card.value if forward else None, VALUE_INK))
    if card.gradient or card.rules:
        lines = [BREAK.join(_lines(f"d{drawing.output}/d{card.symbol}", GRADIENT_INK, _HEADER_WIDTH))] * bool(
            card.gradient
        )
        lines += [BREAK.join(_lines(rule, GRADIENT_INK, width)) for rule in card.rules]
        if drawing.shows_values and card.gradient:
            lines += _statistics(card.gradient_value)
        rows.append(_row(f"{port}g", lines, card.gradient_value, GRADIENT_INK))
    return rows


def _statistics(figures: Figures | None) -> list[str]:
    if figures is None:
        lines = ["not computed"]
    elif figures.size == 1:
        lines = [f"= {figures.line}"]
    else:
        lines = [figures.line, figures.heat.caption] if figures.heat else [figures.not_finite, figures.note]
    return [_font(line, QUIET) for line in lines if line]


def _row(port: str, lines: Sequence[str], figures: Figures | None, ink: str) -> str:
    port = f' port="{port}"' if port else ""
    content = "".join(f'{line}<br align="left"/>' for line in lines) or " "
    numbers = _numbers(figures, ink)
    if numbers and lines:
        # A table of its own, so that the port is as wide as the card and arrows may come from either side.
        said, shown = f'<td align="left" balign="left">{content}</td>', f"<td>{numbers}</td>"
        below = figures is not None and max(map(len, figures.numbers), default=0) > _MOST_BESIDE
        content = table([said, shown] if below else [f'{said}<td width="8"></td>{shown}'], spacing=0)
    elif numbers:
        content = numbers
    return f'<tr><td{port} align="left" balign="left">{content}</td></tr>'


def _numbers(figures: Figures | None, ink: str) -> str:
    """Return numbers, or a heat map, as a table; nothing for a single number, which is part of the text."""
    if figures is None or figures.size < 2:
        return ""
    if figures.heat is not None:
        return _maps(figures.heat)
    rows = (
        "".join(f'<td align="right">{_font(cell, ink)}</td>' if cell else '<td width="8"></td>' for cell in row)
        or '<td height="4"></td>'
        for row in figures.numbers
    )
    return table(rows, padding=1)


def _maps(heat: Heat) -> str:
    rows, columns = len(heat.maps[0]), len(heat.maps[0][0])
    side = (_MAP if len(heat.maps) > 1 else 2 * _MAP) // max(rows, columns)
    width = max(4, min(8, side))
    # A single row of numbers would be too thin a line in square cells.
    height = 8 if rows == 1 else width
    drawn = [_map(part, height, width) for part in heat.maps]
    lines = [drawn[i : i + MOST_IN_A_ROW] for i in range(0, len(drawn), MOST_IN_A_ROW)]
    fixed = _fixed(len(lines) * (rows * height + 4) + 2, len(lines[0]) * (columns * width + 4) + 2)
    return table(("".join(f"<td>{table}</td>" for table in line) for line in lines), size=fixed)


def _map(part: Sequence[Sequence[int | str]], height: int, width: int) -> str:
    cell = f'<td width="{width}" height="{height}" fixedsize="true" bgcolor='
    rows = "".join("<tr>" + "".join(f'{cell}"{colour(level)}"></td>' for level in row) + "</tr>" for row in part)
    fixed = _fixed(len(part) * height + 2, len(part[0]) * width + 2)
    return f'<table border="1" color="#BBBBBB" cellborder="0" cellspacing="0" cellpadding="0"{fixed}>{rows}</table>'


def _fixed(height: int, width: int) -> str:
    """Return the size of a table that must not grow with the cell around it."""
    return f' fixedsize="true" height="{height}" width="{width}"'


def _remarks(card: Card) -> list[str]:
    """Return the rows below the lanes: the note, warnings, checks, and what is kept for the backward pass."""
    rows = [(f"in the file: {card.original}", PAPER)] if card.original else []
    rows += [(card.note, colours.WRONG if card.kind == "error" else PAPER)] if card.note else []
    rows += [(mark, colours.WARNING) for mark in card.marks]
    rows += [(line, colours.VERDICTS[card.verdict][0] if card.verdict else PAPER) for line in card.checks]
    rows += [(line, PAPER) for line in card.kept]
    return [
        f'<tr><td align="left" balign="left" bgcolor="{shade}">{_small(wrapped(line, _LANE_WIDTH), INK)}</td></tr>'
        for line, shade in rows
    ]


def _lines(line: str, colour: str, width: int = _LANE_WIDTH) -> list[str]:
    return [_font(part, colour) for part in wrapped(line, width)]


def _font(line: str, colour: str) -> str:
    """Return a line of a lane. Graphviz spaces lines well only where all have one size and none is bold."""
    return f'<font color="{colour}">{text(line)}</font>'


def _small(lines: Iterable[str], colour: str) -> str:
    return f'<font point-size="10" color="{colour}">{BREAK.join(text(line) for line in lines)}</font>'


def attribute(line: str) -> str:
    """Return text for an attribute of a cell, which Graphviz reads like a label."""
    return text(str(tooltip(line)).replace("\\" * 4, "\\").replace("&amp;", "&"))
