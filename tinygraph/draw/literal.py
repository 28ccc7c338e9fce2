"""Escape text for Graphviz, so that it is shown literally: it can neither be markup nor disappear."""

import html
import textwrap

MOST_LINES = 8
LONGEST_TOOLTIP = 400


def wrapped(line: str, width: int) -> list[str]:
    """Return text in at most 8 lines no longer than ``width``; the rest is replaced by an ellipsis.

    >>> wrapped("conv2d(P1, K2) + B2", 12)
    ['conv2d(P1,', 'K2) + B2']
    """
    lines = textwrap.wrap(visible(line), width, break_on_hyphens=False, max_lines=MOST_LINES, placeholder=" …")
    return lines or [visible(line)]


def visible(line: str) -> str:
    r"""Return text without invisible parts: characters that do not print are escaped, an empty text is named.

    >>> visible("a\nb"), visible("")
    ('a\\nb', '(empty)')
    """
    if not line.strip():
        return repr(line) if line else "(empty)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def text(line: str) -> str:
    r"""Return text for the inside of an HTML-like label, where it shows literally.

    Graphviz replaces ``\N`` and its like even there, so backslashes are doubled.

    >>> text("<b> & \\N")
    '&lt;b&gt; &amp; \\\\N'
    """
    return html.escape(visible(line)).replace("\\", "\\\\")


def tooltip(line: str) -> str:
    r"""Return text for a tooltip, in which Graphviz resolves entities once and backslashes twice.

    >>> tooltip("a & \\N")
    'a &amp; \\\\\\\\N'
    """
    import graphviz

    # The package graphviz reads text between angle brackets as markup unless it has this type.
    shown = visible(line if len(line) <= LONGEST_TOOLTIP else line[:LONGEST_TOOLTIP] + "…")
    literal: str = graphviz.nohtml(shown.replace("&", "&amp;").replace("\\", "\\" * 4))
    return literal
