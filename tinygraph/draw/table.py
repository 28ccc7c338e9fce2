"""Cards as HTML-like tables of Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygraph.draw.cards import Card, Drawing
from tinygraph.draw.figures import Figures, number_text
from tinygraph.draw.heat import MOST_IN_A_ROW, Heat, colour
from tinygraph.draw.literal import text, tooltip, wrapped

INK, QUIET, LINE, PAPER = "#1A1A1A", "#595959", "#8A8A8A", "#FFFFFF"
VALUE_LANE, GRADIENT_LANE = "#0072B2", "#D55E00"
# The lanes' colours, dark enough for small text.
VALUE_INK, GRADIENT_INK = "#005A8C", "#A34700"
PARAMETER, WARNING, WRONG, RIGHT = "#F0E442", "#FFF3BF", "#F8C9BD", "#D5EFE5"
# The colours of a verdict: of the line that says it, and around the card.
VERDICTS = {
    "ok": (RIGHT, "#00785A"),
    "at kinks": (WARNING, "#8A6D00"),
    "not finite": (WARNING, "#8A6D00"),
    "wrong": (WRONG, "#B3261E"),
    "failed": (WRONG, "#B3261E"),
    "error": (WRONG, "#B3261E"),
}
# The palette of Okabe and Ito, which is told apart with every kind of colour vision. Its blue and vermilion are kept for
# values and gradients on their ways.
FAMILIES = {
    "convolution": "#56B4E9",
    "linear": "#56B4E9",
    "activation": "#009E73",
    "pooling": "#CC79A7",
    "reduction": "#CC79A7",
    "normalization": "#CC79A7",
    "statistics": "#CC79A7",
    "dropout": "#BBBBBB",
    "loss": "#E69F00",
    "elementwise": "#BBBBBB",
    "comparison": "#BBBBBB",
    "shape": "#BBBBBB",
    "indexing": "#BBBBBB",
    "": "#BBBBBB",
}
CUSTOM = "#595959"

LEFT = '<br align="left"/>'

_EXPRESSION_WIDTH, _HEADER_WIDTH, _SIDE_WIDTH = 56, 40, 44
# How many points of width or height each of several heat maps takes, about.
_MAP = 32


def card_table(card: Card, drawing: Drawing) -> str:
    """Return a card as a table: for a leaf its name and what it is, for the others a header, and a row for each lane."""
    rows = [_leaf_header(card)] if card.is_leaf else [_header(card)]
    if card.is_leaf:
        rows += _leaf_rows(card, drawing)
    else:
        rows += _lane_rows(card, drawing)
    judged = VERDICTS.get("error" if card.kind == "error" else card.verdict)
    rows += _said(card, drawing)
    return _table(rows) if judged is None else _table(rows, 2, judged[1])


def stack_table(cards: Iterable[Card], drawing: Drawing) -> str:
    """Return cards one below the other. Each is a cell with the card's id, tooltip, and ports for its lanes."""
    rows = "".join(
        f'<tr><td id="{card.id}" href="#" title="{_attribute(describe(card))}">{card_table(card, drawing)}</td></tr>'
        for card in cards
    )
    return f'<table border="0" cellborder="0" cellspacing="2" cellpadding="0">{rows}</table>'


def describe(card: Card) -> str:
    """Return a card in one line of words, for a tooltip."""
    if card.kind == "error":
        return f"{card.symbol} = {card.expression}: {card.note}" if card.symbol else card.note
    made = card.kind if card.is_leaf else f"= {card.expression}"
    parts = [f"{card.symbol} {made}, {card.dtype} {card.shape}"]
    for what, figures in (("value", card.value), ("gradient", card.gradient_value)):
        if figures is not None and figures.norm is not None:
            parts.append(f"norm of the {what} {number_text(figures.norm)}")
    return "; ".join([*parts, *card.marks, *card.checks, *[card.doc] * bool(card.doc)])


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape for a card.

    >>> shape_text((8, 1, 3, 3)), shape_text(())
    ('(8, 1, 3, 3)', 'scalar')
    """
    return str(shape) if shape else "scalar"


def tint(colour: str, strength: float = 0.45) -> str:
    """Return a colour ``#RRGGBB`` mixed with white, light enough for black text.

    >>> tint("#000000", 0.5)
    '#808080'
    """
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02X}" for part in parts)


def _table(rows: Iterable[str], border: int = 0, line: str = LINE) -> str:
    return (
        f'<table border="{border}" cellborder="1" cellspacing="0" cellpadding="4" color="{line}" bgcolor="{PAPER}">'
        f"{''.join(rows)}</table>"
    )


def _header(card: Card) -> str:
    shade = WRONG if card.kind == "error" else tint(FAMILIES.get(card.family, CUSTOM))
    number = "" if card.number is None else f"{card.number} "
    attributes = f" {_small(wrapped(card.attributes, _HEADER_WIDTH), INK)}" if card.attributes else ""
    return f'<tr><td bgcolor="{shade}" align="left"><b>{number}{text(card.title)}</b>{attributes}</td></tr>'


def _leaf_header(card: Card) -> str:
    shade = tint(PARAMETER) if card.kind == "parameter" else PAPER
    symbol = f"<b>{'<br/>'.join(map(text, wrapped(card.symbol, _HEADER_WIDTH)))}</b>"
    if card.kind == "constant" and card.expression.startswith("="):
        inner = f"{symbol} {text(card.expression)}"
    else:
        inner = f"{symbol} {_quiet(shape_text(card.shape))}<br/>{_quiet(f'{card.kind}, {card.dtype}')}"
    return f'<tr><td port="{card.id}v" bgcolor="{shade}">{inner}</td></tr>'


def _leaf_rows(card: Card, drawing: Drawing) -> list[str]:
    rows = []
    if drawing.shows_values and drawing.view != "backward" and card.kind != "constant":
        rows.append(_row("", [_grey(line) for line in _stats(card.value)], card.value, VALUE_INK))
    if card.gradient:
        lines = [_slope(card, drawing), *(_rule(line, _SIDE_WIDTH) for line in card.rules)]
        if drawing.shows_values:
            lines += [_grey(line) for line in _stats(card.gradient_value)]
        rows.append(_row(f"{card.id}g", lines, card.gradient_value, GRADIENT_INK))
    return rows


def _lane_rows(card: Card, drawing: Drawing) -> list[str]:
    made = wrapped(f"{card.symbol} = {card.expression}", _EXPRESSION_WIDTH)
    lines = [f'<font color="{VALUE_INK}">{text(line)}</font>' for line in made]
    if card.kind == "error":
        return [_row("v", lines, None, INK)] if card.symbol else []
    lines.append(_grey(f"{shape_text(card.shape)} {card.dtype}"))
    if drawing.view == "backward":
        lines = lines[-1:]
    elif drawing.shows_values and card.title != "same as":
        lines += [_grey(line) for line in _stats(card.value)]
    rows = [_row("v", lines, card.value if drawing.view != "backward" else None, VALUE_INK)]
    if card.gradient:
        lines = [_slope(card, drawing), *(_rule(line, _EXPRESSION_WIDTH) for line in card.rules)]
        if drawing.shows_values:
            lines += [_grey(line) for line in _stats(card.gradient_value)]
        rows.append(_row("g", lines, card.gradient_value, GRADIENT_INK))
    return rows


def _slope(card: Card, drawing: Drawing) -> str:
    written = wrapped(f"d{drawing.output}/d{card.symbol}", _HEADER_WIDTH)
    return LEFT.join(f'<font color="{GRADIENT_INK}">{text(line)}</font>' for line in written)


def _rule(line: str, width: int) -> str:
    return LEFT.join(f'<font color="{GRADIENT_INK}">{text(part)}</font>' for part in wrapped(line, width))


def _stats(figures: Figures | None) -> list[str]:
    if figures is None:
        return ["not computed"]
    if figures.size == 1:
        return [f"= {figures.line}"]
    lines = [figures.line] if figures.heat else [figures.faults] if figures.faults else []
    return lines + ([figures.heat.caption] if figures.heat and figures.heat.caption else [])


def _row(port: str, lines: Sequence[str], figures: Figures | None, ink: str) -> str:
    port = f' port="{port}"' if port else ""
    shown = _shown(figures, ink)
    told = "".join(f'{line}<br align="left"/>' for line in lines if line) or " "
    if shown and any(lines):
        # A table of its own, so that the port is as wide as the card and arrows may come from either side.
        beside = f'<td align="left" balign="left">{told}</td><td width="8"></td><td>{shown}</td>'
        told = f'<table border="0" cellborder="0" cellspacing="0" cellpadding="0"><tr>{beside}</tr></table>'
    elif shown:
        told = shown
    return f'<tr><td{port} align="left" balign="left">{told}</td></tr>'


def _shown(figures: Figures | None, ink: str) -> str:
    """Return numbers, or a heat map, as a table; nothing where one number is said in words."""
    if figures is None or figures.size < 2:
        return ""
    if figures.heat is not None:
        return _maps(figures.heat)
    rows = "".join(
        "<tr>" + "".join(f'<td align="right"><font color="{ink}">{text(cell)}</font></td>' for cell in row) + "</tr>"
        for row in figures.numbers
    )
    return f'<table border="0" cellborder="0" cellspacing="2" cellpadding="1">{rows}</table>'


def _maps(heat: Heat) -> str:
    rows, columns = len(heat.maps[0]), len(heat.maps[0][0])
    side = (_MAP if len(heat.maps) > 1 else 2 * _MAP) // max(rows, columns)
    width = max(4, min(8, side))
    # One row of numbers would be too thin a line in square cells.
    height = 8 if rows == 1 else width
    drawn = [_map(part, height, width) for part in heat.maps]
    lines = [drawn[i : i + MOST_IN_A_ROW] for i in range(0, len(drawn), MOST_IN_A_ROW)]
    inner = "".join(f"<tr>{''.join(f'<td>{table}</td>' for table in line)}</tr>" for line in lines)
    fixed = _fixed(len(lines) * (rows * height + 4) + 2, len(lines[0]) * (columns * width + 4) + 2)
    return f'<table border="0" cellborder="0" cellspacing="2" cellpadding="0"{fixed}>{inner}</table>'


def _map(part: Sequence[Sequence[int | str]], height: int, width: int) -> str:
    cell = f'<td width="{width}" height="{height}" fixedsize="true" bgcolor='
    rows = "".join("<tr>" + "".join(f'{cell}"{colour(level)}"></td>' for level in row) + "</tr>" for row in part)
    fixed = _fixed(len(part) * height + 2, len(part[0]) * width + 2)
    return f'<table border="1" color="#BBBBBB" cellborder="0" cellspacing="0" cellpadding="0"{fixed}>{rows}</table>'


def _fixed(height: int, width: int) -> str:
    """Return the size of a table that must not grow with the cell around it."""
    return f' fixedsize="true" height="{height}" width="{width}"'


def _said(card: Card, drawing: Drawing) -> list[str]:
    """Return the rows below the lanes: notes, marks, checks, and what is kept."""
    rows = [(card.note, WRONG if card.kind == "error" else PAPER)] if card.note else []
    rows += [(mark, WARNING) for mark in card.marks]
    rows += [(line, VERDICTS[card.verdict][0] if card.verdict else PAPER) for line in card.checks]
    rows += [(line, PAPER) for line in card.kept]
    return [
        f'<tr><td align="left" balign="left" bgcolor="{shade}">'
        f"{_small(wrapped(line, _EXPRESSION_WIDTH), INK)}</td></tr>"
        for line, shade in rows
    ]


def _quiet(line: str) -> str:
    return _small([line], QUIET)


def _grey(line: str) -> str:
    """Return a line of a lane. Only where all lines have one size, and none is bold, does Graphviz leave room between."""
    return f'<font color="{QUIET}">{text(line)}</font>'


def _small(lines: Iterable[str], colour: str) -> str:
    return f'<font point-size="10" color="{colour}">{LEFT.join(text(line) for line in lines)}</font>'


def _attribute(line: str) -> str:
    """Return text for an attribute of a cell, which Graphviz reads as it does a label."""
    return text(str(tooltip(line)).replace("\\" * 4, "\\").replace("&amp;", "&"))
