"""History: the losses and accuracies of every epoch, as a table, a CSV file and a curve."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from os import PathLike
from typing import Any

from tinygraph.describe import html
from tinygraph.describe.text import aligned
from tinygraph.errors import RenderError, TinygraphError, UnknownNameError, counted, unknown
from tinygraph.files import as_path, write_whole
from tinygraph.graph import Array


@dataclass(frozen=True)
class Row:
    """One epoch: loss and accuracy as means over its batches, then those of the test set after it.

    Accuracies lie in 0 to 1, unless they are of a metric that the model declares; values that were not measured are ``None``.
    ``seconds`` is the time of the epoch with its test;
    it is ignored when rows are compared.

    >>> Row(1, 0.5, 0.8, 0.4, 0.9, seconds=1.5) == Row(1, 0.5, 0.8, 0.4, 0.9, seconds=2.0)
    True
    """

    epoch: int
    loss: float
    accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float = field(compare=False)


# With more epochs, the markers of a curve would overlap.
MOST_MARKERS = 60
COLUMNS = tuple(f.name for f in fields(Row))
MONITORS = COLUMNS[1:-1]


class Best:
    """The best epoch by a column of the history: ``row``, and ``values``, what parameters and state then held.

    A loss is better if it is lower by more than ``min_delta``, an accuracy if it is higher. Before the first epoch, and
    where the column was not measured, ``row`` is ``None``.

    >>> best = Best("test_loss")
    >>> for epoch, loss in enumerate([0.5, 0.25, 0.375], start=1):
    ...     improved = best.add(Row(epoch, 0.5, None, loss, None, 1.5))
    >>> best.row.epoch, improved
    (2, False)
    """

    def __init__(self, monitor: str = "test_loss", min_delta: float = 0.0) -> None:
        if monitor not in MONITORS:
            raise UnknownNameError(unknown("a history", "column", monitor, MONITORS))
        self.monitor, self.min_delta = monitor, min_delta
        self.row: Row | None = None
        self.values: dict[str, Array] = {}

    def add(self, row: Row) -> bool:
        """Note the next epoch, and return whether it is better than all before it."""
        value, best = (None if x is None else getattr(x, self.monitor) for x in (row, self.row))
        sign = 1 if self.monitor.endswith("loss") else -1
        better = value is not None and sign * value < (float("inf") if best is None else sign * best - self.min_delta)
        if better:
            self.row = row
        return better


class History(list[Row]):
    """The list of the rows of a training, one for each complete epoch.

    ``stopped`` says why a callback ended the training before its last epoch; it is empty otherwise. ``best`` is the best
    epoch by the loss of the test samples, with the values of parameters and state after it; see ``Best``. ``measure`` is what
    its accuracies are called: the name of the metric that the model declares.

    >>> history = History([Row(1, 0.5, 0.8, 0.4, 0.9, 1.5), Row(2, 0.3, 0.9, 0.3, 0.9, 1.5)])
    >>> len(history), history[-1].loss
    (2, 0.3)
    >>> print(history)
    epoch  loss    accuracy  test_loss  test_accuracy  seconds
    1      0.5000  0.8000    0.4000     0.9000         1.50
    2      0.3000  0.9000    0.3000     0.9000         1.50
    """

    stopped = ""

    def __init__(self, rows: Iterable[Row] = (), best: Best | None = None, measure: str = "accuracy") -> None:
        super().__init__(rows)
        self.best, self.measure = Best() if best is None else best, measure

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns; for a model that declares a metric, its name is in place of the accuracy."""
        return tuple(name.replace("accuracy", self.measure) for name in COLUMNS)

    @property
    def rows(self) -> list[Row]:
        """The rows as a list."""
        return self

    def __str__(self) -> str:
        rows = [[_cell(*cell) for cell in zip(COLUMNS, astuple(row), strict=True)] for row in self]
        return aligned([self.columns, *rows])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the curves, and a table of about ten epochs."""
        rows = [[_cell(*cell) for cell in zip(COLUMNS, astuple(row), strict=True)] for row in self]
        first, series = self[0].epoch if self else 1, {}
        for column in ("loss", "accuracy"):
            names = {"training": column, "test": f"test_{column}"}
            shown = column if column == "loss" else self.measure
            series[shown] = {label: [getattr(row, name) for row in self] for label, name in names.items()}
        every = {*range(0, len(self), -(-len(self) // (html.SHORT - 1)) or 1), *([len(self) - 1] if self else [])}
        listed = html.table(self.columns, rows, first=every, most=len(every), all_in="print(history)")
        curves = [html.curve(column, first, lines) for column, lines in series.items()]
        return html.view(html.pictures(curves), listed)

    def __repr__(self) -> str:
        return f"<History of {counted(len(self), 'epoch')}>"

    def save_csv(self, path: str | PathLike[str]) -> None:
        """Write the rows as comma-separated values below a line of column names; ``None`` is an empty cell.

        Numbers are written with all digits, so that reading them gives the same bits. Raises ``TinygraphError`` if the file
        cannot be written.

        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "history.csv")
        >>> History([Row(1, 0.5, None, 0.25, None, 1.5)]).save_csv(path)
        >>> print(path.read_text())
        epoch,loss,accuracy,test_loss,test_accuracy,seconds
        1,0.5,,0.25,,1.5
        """
        rows = (self.columns, *map(astuple, self))
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
        try:
            write_whole(path, "\n".join([*lines, ""]).encode("utf-8"))
        except OSError as error:
            raise TinygraphError(f"the history cannot be written to {str(path)!r}: {error.strerror}") from None

    def curve(self, path: str | PathLike[str]) -> None:
        """Draw loss and accuracy against the epoch into a file; its suffix (``.png``, ``.svg``, ``.pdf``) names the format.

        Raises ``RenderError`` without matplotlib, without any row, or if the file cannot be written.

        >>> History().curve("curve.png")
        Traceback (most recent call last):
        tinygraph.errors.RenderError: there is no curve to draw: the history has no complete epoch
        """
        if not self:
            raise RenderError("there is no curve to draw: the history has no complete epoch")
        columns = ["loss", "accuracy"] if self[0].accuracy is not None else ["loss"]
        # Margins in inches: a layout that matplotlib computes would draw everything twice.
        width, height = 1.0 + 4.0 * len(columns), 3.6
        figure = figure_of(width, height, "a curve")
        figure.subplots_adjust(
            left=0.8 / width, right=1 - 0.2 / width, bottom=0.55 / height, top=1 - 0.25 / height, wspace=0.25
        )
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
            for name, label in ((column, "training"), (f"test_{column}", "test")):
                values = [getattr(row, name) for row in self]
                if None not in values:
                    marker = "o" if len(self) <= MOST_MARKERS else None
                    axes.plot([row.epoch for row in self], values, marker=marker, markersize=3, label=label)
            axes.set(xlabel="epoch", ylabel=column if column == "loss" else self.measure)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        save_figure(figure, path, "the curve")


def figure_of(width: float, height: float, what: str) -> Any:
    """Return an empty figure of matplotlib, sizes in inches. Raises ``RenderError`` where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RenderError(f"drawing {what} needs matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height))


def save_figure(figure: Any, path: str | PathLike[str], what: str) -> None:
    """Write a figure to a file, whose suffix names the format. Raises ``RenderError`` if it cannot be written."""
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, format=as_path(path).suffix[1:].lower() or "none", dpi=120)
        write_whole(path, drawn.getvalue())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RenderError(f"{what} cannot be written to {str(path)!r}: {why}") from None


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    digits = {"epoch": 0, "seconds": 2}.get(column, 4)
    return f"{value:.{digits}f}"
