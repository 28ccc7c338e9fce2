"""What a notebook shows of a result: a compact table in HTML, and a picture where one helps. No script, nothing fetched.

Text has the notebook's own colour and font, so that it can be read on a light and on a dark page.
"""

import base64
import html
import math
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tinygraph.describe.symbols import shown
from tinygraph.errors import counted
from tinygraph.graph import Array, Tensor

# A table of this many rows is about as high as a screen.
MOST_ROWS = 24
# The rows of a table that has a picture above it.
SHORT = 12
# More points than this would be closer to each other than the pixels of a curve.
_MOST_POINTS = 150
_COLOURS = ("#2f81d6", "#d97706", "#2e9e5b")
_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*(e[+-]?\d+)?|inf|nan)( ?[A-Za-z%]{1,2})?|-?|")
# More specific than the rules of Jupyter, which put every cell to the right.
_STYLE = """<style>
.tg-view { max-width: 100%; overflow-x: auto; line-height: 1.35; font-size: 13px; margin: .3em 0; }
.tg-view.tg-view table { border-collapse: collapse; table-layout: auto; margin: .3em 0; width: auto; font-size: inherit; }
.tg-view caption { caption-side: top; text-align: left; font-weight: 600; padding: 0 .7em .3em; color: inherit; }
.tg-view table, .tg-view th { color: inherit; }
.tg-view.tg-view table tr.bad { background: rgba(220, 60, 60, .16); }
.tg-view.tg-view table th, .tg-view.tg-view table td { text-align: left; padding: .1em .7em; border: 0; }
.tg-view th, .tg-view td { vertical-align: baseline; white-space: nowrap; }
.tg-view.tg-view table tr.gap td { border-top: 1px dotted rgba(128, 128, 128, .8); }
.tg-view.tg-view table thead th { border-bottom: 1px solid rgba(128, 128, 128, .5); font-weight: 600; }
.tg-view.tg-view table .n { text-align: right; font-variant-numeric: tabular-nums; }
.tg-view.tg-view p, .tg-view.tg-view table td.note { margin: 0; padding: .1em .7em; opacity: .75; white-space: normal; }
.tg-view .pictures { display: flex; flex-wrap: wrap; gap: .3em 1.2em; }
.tg-view figure { margin: 0; text-align: center; font-size: 12px; }
.tg-view svg text { fill: currentColor; font-size: 11px; }
.tg-view img { display: block; height: 56px; image-rendering: pixelated; border: 1px solid rgba(128, 128, 128, .5); }
</style>"""


def view(*parts: str) -> str:
    """Return parts below each other, with the style that they share.

    >>> view(table(("name", "size"), [("W", "12")])).count("<style>")
    1
    """
    return f'<div class="tg-view">{_STYLE}{"".join(parts)}</div>'


def text(words: str) -> str:
    """Return text for HTML, in which nothing is invisible."""
    return html.escape(shown(words))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    *,
    notes: Mapping[int, str] | None = None,
    bad: Iterable[int] = (),
    first: Iterable[int] = (),
    most: int = MOST_ROWS,
    all_in: str = "",
) -> str:
    """Return a table of at most ``most`` rows, with columns of numbers to the right.

    ``notes`` are lines below rows, and ``bad`` are rows to mark, both by the row's number from 0. Where there are more
    rows, ``bad`` ones are shown before others, then those of ``first``, then the last three, then the others from the
    beginning; a line below says how many are shown, and that ``all_in`` shows all. Dots are where rows are left out, unless
    numbers in the first column say so.

    >>> print(table(("epoch", "loss"), [("1", "0.5"), ("2", "0.25")], "losses"))
    <table><caption>losses</caption><thead><tr><th class="n">epoch</th><th class="n">loss</th></tr></thead><tbody>
    <tr><td class="n">1</td><td class="n">0.5</td></tr>
    <tr><td class="n">2</td><td class="n">0.25</td></tr>
    </tbody></table>
    >>> print(table(("i",), [(str(i),) for i in range(100)], most=4, all_in="print(report)"))
    <table><thead><tr><th class="n">i</th></tr></thead><tbody>
    <tr><td class="n">0</td></tr>
    <tr><td class="n">97</td></tr>
    <tr><td class="n">98</td></tr>
    <tr><td class="n">99</td></tr>
    <tr><td class="note" colspan="1">4 of 100 rows; print(report) shows all</td></tr>
    </tbody></table>
    """
    notes, bad, width = notes or {}, set(bad), len(head)
    numeric = [all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(width)]

    def cells(tag: str, row: Sequence[str]) -> str:
        classes = [' class="n"' * number for number in numeric]
        return "".join(f"<{tag}{kind}>{text(cell)}</{tag}>" for cell, kind in zip(row, classes, strict=True))

    lines, before = [], -1
    chosen = _chosen(len(rows), [*sorted(bad), *first], most)
    for i in chosen:
        marks = " ".join(["gap"] * (i - before > 1 and not numeric[0]) + ["bad"] * (i in bad))
        lines.append(f"<tr{f' class={marks!r}' if marks else ''}>{cells('td', rows[i])}</tr>")
        if notes.get(i):
            lines.append(f'<tr><td class="note" colspan="{width}">{text(notes[i])}</td></tr>')
        before = i
    if len(chosen) < len(rows):
        words = f"{len(chosen):,} of {len(rows):,} rows" + (f"; {all_in} shows all" if all_in else "")
        lines.append(f'<tr><td class="note" colspan="{width}">{text(words)}</td></tr>')
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    return "\n".join([f"<table>{above}<thead><tr>{cells('th', head)}</tr></thead><tbody>", *lines, "</tbody></table>"])


def _chosen(count: int, wanted: Iterable[int], most: int) -> list[int]:
    """Return the numbers of the rows that are shown, in their order."""
    order = dict.fromkeys([*wanted, *range(max(count - 3, 0), count), *range(count)])
    return sorted([*order][:most])


def paragraph(words: str) -> str:
    """Return a line of text below a table."""
    return f"<p>{text(words)}</p>"


def curve(title: str, first: int, series: Mapping[str, Sequence[float | None]]) -> str:
    """Return lines over whole numbers from ``first`` on as SVG, with the extremes on the axes; nothing for a single point.

    Numbers that are missing or not finite are left out.

    >>> svg = curve("loss", 1, {"training": [0.5, 0.3, 0.2], "test": [0.6, 0.4, 0.4]})
    >>> svg.count("<polyline"), curve("loss", 1, {"training": [0.5]})
    (2, '')
    """
    lines = {}
    for name, values in series.items():
        points = [(i, v) for i, v in enumerate(values) if v is not None and math.isfinite(v)]
        step = -(-len(points) // _MOST_POINTS)
        lines[name] = [*points[: len(points) - 1 : max(step, 1)], *points[-1:]]
    found = [point for points in lines.values() for point in points]
    last, low, high = (max(i for i, _ in found), *_extremes(v for _, v in found)) if found else (0, 0.0, 0.0)
    if not last:
        return ""
    # Halves first: the difference of two large numbers may overflow.
    height = (high / 2 - low / 2) or 1.0

    def place(i: int, value: float) -> str:
        return f"{46 + 254 * i / last:.1f},{118 - 96 * ((value / 2 - low / 2) / height):.1f}"

    names = [name for name, points in lines.items() if points]
    drawn = [
        f'<polyline points="{" ".join(place(*point) for point in lines[name])}" fill="none" stroke="{colour}" '
        'stroke-width="1.6" stroke-linejoin="round"/>'
        for name, colour in zip(names, _COLOURS, strict=False)
    ]
    legend = "".join(
        f'<tspan style="fill:{colour}" dx="8">— {text(name)}</tspan>'
        for name, colour in zip(names, _COLOURS, strict=False)
    )
    words = f"{title} from {first} to {first + last}: {low:.4g} to {high:.4g}"
    return (
        f'<svg width="310" height="138" viewBox="0 0 310 138" role="img" aria-label="{text(words)}">'
        f'<text x="46" y="12">{text(title)} {legend}</text>'
        '<path d="M46 20V120H304" fill="none" stroke="currentColor" stroke-opacity=".45"/>'
        f'<text x="41" y="26" text-anchor="end">{high:.3g}</text><text x="41" y="120" text-anchor="end">{low:.3g}</text>'
        f'<text x="46" y="134">{first}</text><text x="300" y="134" text-anchor="end">{first + last}</text>'
        f"{''.join(drawn)}</svg>"
    )


def _extremes(values: Iterable[float]) -> tuple[float, float]:
    numbers = list(values)
    return min(numbers), max(numbers)


def pictures(figures: Iterable[str]) -> str:
    """Return figures next to each other, or nothing if there are none."""
    found = "".join(figures)
    return f'<div class="pictures">{found}</div>' if found else ""


def image(pixels: Array, caption: str = "") -> str:
    """Return an array ``(H, W)``, or ``(3, H, W)`` in colour, as a picture from black, its least number, to white.

    >>> image(np.array([[0.0, 1.0]]), "1")[:39]
    '<figure><img src="data:image/png;base64'
    """
    pixels = np.nan_to_num(np.asarray(pixels, np.float32))
    low, high = float(pixels.min()), float(pixels.max())
    levels = ((pixels - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    levels = levels.reshape(-1, *pixels.shape[-2:]).transpose(1, 2, 0)
    height, width, channels = levels.shape
    kind = 2 if channels == 3 else 0
    lines = b"".join(b"\0" + line.tobytes() for line in levels)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
            (b"IDAT", zlib.compress(lines)),
            (b"IEND", b""),
        )
    )
    source = base64.b64encode(png).decode("ascii")
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/png;base64,{source}" alt="{text(caption)}"/>{below}</figure>'


def scrolled(content: str, label: str) -> str:
    """Return content in a frame that is as high as a screen, scrolls, and can be made higher with the mouse.

    >>> scrolled("<svg></svg>", "a picture")[:48]
    '<div role="region" aria-label="a picture" tabind'
    """
    style = "height: 640px; overflow: auto; resize: vertical; border: 1px solid rgba(128, 128, 128, .5)"
    return f'<div role="region" aria-label="{text(label)}" tabindex="0" style="{style}">{content}</div>'


def framed(page: str, label: str, note: str) -> str:
    """Return a complete HTML page in a frame that is as high as a screen and keeps its style to itself, below a note.

    >>> framed("<!doctype html><p>&lt;", "a page", "notes").partition("srcdoc=")[2]
    '"<!doctype html><p>&amp;lt;"></iframe></div></div>'
    """
    # Addresses in a frame are relative to the page around it.
    source = page.replace('href="#', 'href="about:srcdoc#').replace("&", "&amp;").replace('"', "&quot;")
    # No script of the page runs, and it cannot act on the notebook.
    style = "display: block; width: 100%; height: 100%; border: 0"
    frame = f'<iframe sandbox title="{text(label)}" style="{style}" srcdoc="{source}"></iframe>'
    return view(paragraph(note), scrolled(frame, label))


def number(value: float) -> str:
    """Return a number in a few digits.

    >>> number(0.123456), number(1234567.0), number(3.0)
    ('0.1235', '1.235e+06', '3')
    """
    return f"{float(value):.4g}"


def tensors_view(tensors: Mapping[str, Tensor]) -> str:
    """Return named tensors as a table: shapes, how many elements, and which numbers they hold.

    >>> import tinygraph as tg
    >>> "2, 4" in tensors_view(tg.load_model("xor").parameters)
    True
    """
    rows = []
    for name, x in tensors.items():
        value = np.asarray(x.value) if x.has_value and x.size and x.dtype.kind in "biuf" else None
        with np.errstate(all="ignore"):
            figures = ["", "", ""] if value is None else [number(f(value)) for f in (np.min, np.mean, np.max)]
        rows.append((name, x.kind, f"{x.dtype} {x.shape}", f"{x.size:,}", *figures))
    total = sum(x.size for x in tensors.values())
    caption = f"{counted(len(rows), 'tensor')}, {total:,} element{'' if total == 1 else 's'}"
    return view(
        table(("name", "kind", "shape", "elements", "least", "mean", "greatest"), rows, caption, all_in="print")
    )
