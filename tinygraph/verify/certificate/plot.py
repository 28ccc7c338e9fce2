"""The curves of a certificate as a picture, with matplotlib."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Sequence

from tinygraph.errors import RenderError, listing, nearest
from tinygraph.files import as_path, write_whole
from tinygraph.verify.certificate.curve import STEPS, Curve

# Okabe and Ito's colours, which remain apart for all eyes.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_FLOOR = 1e-17
_FORMATS = (".png", ".svg", ".pdf")


def plot(curves: Sequence[Curve], name: str, path: str | os.PathLike[str]) -> None:
    """Draw the errors of gradients against the step, both in powers of ten, and write the picture to ``path``.

    Raises ``RenderError`` without matplotlib, for a path that cannot be written, and for one that does not end
    with ``.png``, ``.svg`` or ``.pdf``.
    """
    form = plot_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for curve, colour in zip(curves, _COLOURS * len(curves), strict=False):
        axes.loglog(STEPS, [max(error, _FLOOR) for error in curve.errors], "o-", color=colour, label=curve.label)
    axes.set_xticks(STEPS)
    axes.set(title=f"gradients of {name}: rule beside central differences", xlabel="step", ylabel="relative error")
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=form)
    try:
        write_whole(path, drawn.getvalue())
    except OSError as error:
        raise RenderError(f"{os.fspath(path)!r} cannot be written: {error.strerror or error}") from None


def plot_format(path: str | os.PathLike[str]) -> str:
    """Return the format that the suffix of a plot names; what keeps a plot from being made is said here, before the work.

    Raises ``RenderError`` for another suffix, and without matplotlib.

    >>> plot_format("curve.txt")
    Traceback (most recent call last):
    tinygraph.errors.RenderError: 'curve.txt' cannot be written: a plot ends with ...
    """
    suffix = as_path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise RenderError(
            f"{os.fspath(path)!r} cannot be written: a plot ends with {listing(_FORMATS)}{nearest(suffix, _FORMATS)}"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise RenderError("--plot needs matplotlib: pip install matplotlib")
    return suffix[1:]
