"""How good a model is, in numbers: confusion, precision and recall of decisions, errors of numbers, and the worst mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.describe import html
from tinygraph.describe.numbers import number_text
from tinygraph.describe.text import aligned
from tinygraph.errors import RenderError, listing
from tinygraph.graph import Array
from tinygraph.train.history import figure_of, save_figure
from tinygraph.train.metrics import DecisionRule, Metrics, class_names, decision_rule
from tinygraph.train.samples import are_images

if TYPE_CHECKING:
    from tinygraph.model import Model

# A confusion matrix of this many characters fits a window; of longer tables, the middle is left out.
WIDEST, MOST_ROWS, MOST_MISTAKES, IN_A_ROW = 100, 100, 10, 5
# The confusion of more classes would fill the memory.
MOST_CLASSES = 2000


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Evaluation(Metrics):
    """What ``tg.evaluate`` returns for a model whose outputs can be compared with labels; ``print`` shows all of it.

    ``values`` are arrays with a number for each of ``names``; they are also attributes. For a model that decides, the names are
    those of the classes, and the values

    - ``precision``: the share of the decisions for a class that are right,
    - ``recall``: the share of the samples of a class that are found,
    - ``f1``: the harmonic mean of both, and ``support``: the number of samples of a class.

    ``confusion[i, j]`` counts the samples of class i that are taken for class j. An output of one number decides between the
    classes 0 and 1. Where a sample has several labels of 0 or 1, the names are those of the labels, the values are about the
    decisions for 1, and ``confusion`` is an array ``(labels, 2, 2)``; it is ``None`` for more than 2,000 classes. For a model
    of numbers, the names are those of the numbers of an output, and the values

    - ``mae``: the mean absolute error, and ``rmse``: the root of the mean squared error,
    - ``r2``: 1 minus the mean squared error over the variance of the labels, which is 0 if the mean is always answered.

    The definitions are those of scikit-learn. A share of nothing, 0/0, is NaN; it is printed as "-" and left out of averages.

    ``mistakes`` are columns, arrays with an entry for each wrong decision, the largest loss first, or for the worst number of
    each sample, the largest error first. The column ``sample`` has the number of the sample in its source; ``order`` has its
    place among those evaluated.

    >>> output = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    >>> names, labels = ("cat", "dog", "emu"), np.array([0, 1, 1, 1])
    >>> print(classification(Metrics(0.5, 0.75, 4), output, labels, DecisionRule(), names, np.arange(4)))
    loss 0.5000, accuracy 0.7500, 4 samples
    <BLANKLINE>
    confusion (rows: true, columns: predicted)
         cat  dog  emu
    cat    1    0    0
    dog    1    2    0
    emu    0    0    0
    <BLANKLINE>
                  precision  recall      f1  support
             cat     0.5000  1.0000  0.6667        1
             dog     1.0000  0.6667  0.8000        3
             emu          -       -       -        0
       macro avg     0.7500  0.8333  0.7333        4
    weighted avg     0.8750  0.7500  0.7667        4
    <BLANKLINE>
    worst mistakes
    sample  true  predicted  confidence
         1   dog        cat      0.6000
    """

    names: tuple[str, ...]
    values: Mapping[str, Array]
    mistakes: Mapping[str, Array]
    order: Array
    confusion: Array | None = None

    def __getattr__(self, name: str) -> Array:
        known: dict[str, Array] = self.__dict__.get("values", {})
        if name not in known:
            raise AttributeError(f"this evaluation has no {name!r}; its values are {listing(known)}")
        return known[name]

    def tables(self, most: int = MOST_MISTAKES) -> dict[str, list[list[str]]]:
        """Return what ``print`` shows, by captions: rows of text below a row of names, with at most ``most`` mistakes."""
        rows = [[name, *map(_cell, row)] for name, *row in zip(self.names, *self.values.values(), strict=True)]
        support, ones = self.values.get("support"), np.ones(len(self.names))
        averages = {"mean": ones} if support is None else {"macro avg": ones, "weighted avg": support}
        for name, weights in averages.items() if len(rows) > 1 else ():
            rows.append([name, *(_cell(x.sum() if x is support else _mean(x, weights)) for x in self.values.values())])
        worst = [[*map(_cell, row)] for row in zip(*(x[:most] for x in self.mistakes.values()), strict=True)]
        tables = {**self._confused(), "": [["", *self.values], *rows]}
        return {**tables, **({"worst mistakes": [[*self.mistakes], *worst]} if worst else {})}

    def _confused(self) -> dict[str, list[list[str]]]:
        """Return the confusion as a matrix or, where that is too wide, the classes that are confused most often."""
        if "support" not in self.values or (self.confusion is not None and self.confusion.ndim > 2):
            return {}
        if self.confusion is not None and sum(max(len(name), 3) + 2 for name in self.names) <= WIDEST:
            matrix = zip(self.names, self.confusion.astype(str).tolist(), strict=True)
            return {
                "confusion (rows: true, columns: predicted)": [["", *self.names], *([n, *row] for n, row in matrix)]
            }
        pairs = Counter(zip(self.mistakes["true"], self.mistakes["predicted"], strict=True)).most_common(MOST_MISTAKES)
        counts = dict(zip(self.names, self.support, strict=True))
        rows = [[true, predicted, f"{count} of {counts[true]}"] for (true, predicted), count in pairs]
        return {"most often confused": [["true", "predicted", "samples"], *rows]} if rows else {}

    def __str__(self) -> str:
        parts = [super().__str__()]
        for caption, rows in self.tables().items():
            cut = [*rows[: MOST_ROWS + 1], ["..."], *rows[-2:]] if len(rows) > MOST_ROWS + 3 else rows
            parts.append("\n".join([*filter(None, [caption]), aligned(cut, right=True)]))
        return "\n\n".join(parts)

    def _tables_html(self) -> Iterator[str]:
        for caption, rows in self.tables().items():
            yield html.table(rows[0], rows[1:], caption, all_in="print")

    def draw_mistakes(self, path: str | PathLike[str], *inputs: Any, most: int = 20) -> None:
        """Draw the images of the worst mistakes into a file; its suffix (``.png``, ``.svg``, ``.pdf``) names the format.

        ``inputs`` hold the samples that were evaluated, images ``(N, C, H, W)`` of one or three channels; those of several
        inputs are drawn side by side. Raises ``RenderError`` without matplotlib, for samples that are no images, and where
        nothing is wrong.
        """
        samples = [x if hasattr(x, "shape") else np.asarray(x) for x in inputs]
        count, shapes = min(most, len(self.order)), {x.shape[:3] for x in samples}
        if not count or len(shapes) != 1 or not all(map(are_images, samples)):
            found = f"found shape {', '.join(str(x.shape) for x in samples)}" if count else "there is none"
            raise RenderError(f"mistakes are drawn for images (N, C, H, W) of one or three channels; {found}")
        down = -(-count // IN_A_ROW)
        # In inches, with room for the words above each image.
        height = 0.8 + 1.8 * min(samples[0].shape[2] / sum(x.shape[3] for x in samples), 3)
        figure = figure_of(1.9 * IN_A_ROW, height * down, "the mistakes")
        for place, axes in enumerate(figure.subplots(down, IN_A_ROW, squeeze=False).flat):
            axes.axis("off")
            if place < count:
                pixels = np.concatenate([x[self.order[place]] for x in samples], axis=-1, dtype=np.float64)
                levels = (pixels - pixels.min()) / (np.ptp(pixels) or 1.0)
                axes.imshow(levels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)
                # Of a long path, the end says most.
                words = [f"{name} {_cell(column[place])[-24:]}" for name, column in self.mistakes.items()]
                axes.set_title("\n".join(words).replace("$", r"\$"), fontsize=8)
        figure.tight_layout()
        save_figure(figure, path, "the picture of the mistakes")


def classification(
    metrics: Metrics, outputs: Array, labels: Array, rule: DecisionRule, names: tuple[str, ...], numbers: Array
) -> Evaluation:
    """Return ``metrics`` with what can be said about decisions; ``numbers`` are those of the samples in their source."""
    expected, decided = rule.expected(labels, outputs).ravel(), rule.decisions(outputs).ravel()
    probabilities, each = rule.probabilities(outputs).reshape(expected.size, -1), expected.size // len(outputs)
    # Other labels stand for samples that are to be ignored.
    counts = True if rule.ignored is None else expected != rule.ignored
    known = np.flatnonzero((expected >= 0) & (expected < probabilities.shape[1]) & counts)
    expected, several = expected.astype(int), rule.threshold is not None and len(names) == each > 1
    true, found, column = expected[known], decided[known], known % each
    wrong = known[true != found]
    wrong = wrong[np.argsort(probabilities[wrong, expected[wrong]], kind="stable")]
    called, places = np.array(("0", "1") if several else names), np.array(names if several else range(each))
    mistakes = {
        "sample": numbers[wrong // each],
        **({"output": places[wrong % each]} if each > 1 else {}),
        "true": called[expected[wrong]],
        "predicted": called[decided[wrong]],
        "confidence": probabilities[wrong, decided[wrong]],
    }
    tables, classes, counted = (each, 2, (true * found, found, true)) if several else (1, len(names), ())
    chosen = [column[x == 1] for x in counted] or [true[true == found], found, true]
    right, of, support = (np.bincount(x, minlength=len(names)) for x in chosen)
    values = {"precision": _ratio(right, of), "recall": _ratio(right, support), "f1": _ratio(2 * right, of + support)}
    confusion = None
    if classes <= MOST_CLASSES:
        codes = (column % tables * classes + true) * classes + found
        confusion = np.bincount(codes, minlength=tables * classes**2).reshape(tables, classes, classes)
        confusion = confusion if several else confusion[0]
    about = {"mistakes": mistakes, "order": wrong // each, "confusion": confusion, **vars(metrics)}
    return Evaluation(names=names, values={**values, "support": support}, **about)


def regression(metrics: Metrics, outputs: Array, labels: Array, names: tuple[str, ...], numbers: Array) -> Evaluation:
    """Return ``metrics`` with what can be said about numbers; ``numbers`` are those of the samples in their source.

    >>> output, labels = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]])
    >>> print(regression(Metrics(1 / 3, None, 3), output, labels, ("p",), np.arange(3)))
    loss 0.3333, 3 samples
    <BLANKLINE>
          mae    rmse      r2
    p  0.3333  0.5774  0.5000
    <BLANKLINE>
    worst mistakes
    sample    true  predicted   error
         2  3.0000     4.0000  1.0000
         0  1.0000     1.0000  0.0000
         1  2.0000     2.0000  0.0000
    """
    predicted, true = (x.reshape(len(x), -1).astype(np.float64) for x in (outputs, labels))
    errors = predicted - true
    squared = np.square(errors).mean(axis=0)
    values = {"mae": np.abs(errors).mean(axis=0), "rmse": np.sqrt(squared), "r2": 1 - _ratio(squared, true.var(axis=0))}
    order = np.argsort(-np.abs(errors).max(axis=1), kind="stable")
    at = order, np.abs(errors).argmax(axis=1)[order]
    mistakes = {
        "sample": numbers[order],
        **({"output": np.array(names)[at[1]]} if len(names) > 1 else {}),
        **{"true": true[at], "predicted": predicted[at], "error": errors[at]},
    }
    return Evaluation(**vars(metrics), names=names, values=values, mistakes=mistakes, order=order)


def evaluation_of(
    model: Model, metrics: Metrics, outputs: Array, feeds: Mapping[str, Array], numbers: Array | None = None
) -> Metrics:
    """Return the metrics of a model together with its outputs, if these can be compared with labels among the ``feeds``.

    ``numbers`` are those of the samples in their source. An output that decides nothing is compared with what the loss
    compares it with directly, as in ``mse(p, y)``; other labels may be on another scale.

    >>> import tinygraph as tg
    >>> model, (x, y) = tg.load_model("xor"), tg.load_data("xor").train
    >>> evaluation_of(model, Metrics(0.5, 0.5, 4), model.predict(x), {"x": x, "y": y}).support.tolist()
    [2, 2]
    """
    recording, numbers = model.record(), np.arange(len(outputs)) if numbers is None else numbers
    rule = decision_rule(recording)
    if rule is not None and rule.labels is not None:
        # One number decides between two classes; among several, each is a class or a label.
        count = 2 if rule.threshold is not None and outputs[:1].size == 1 else outputs.shape[-1]
        labels = np.asarray(feeds[rule.labels])
        return classification(metrics, outputs, labels, rule, class_names(model.classes, count), numbers)
    compared = {x for node in recording.graph.nodes if recording.output in {*node.inputs} for x in node.inputs}
    for name in feeds if rule is None else ():
        if recording.tensors[name] in compared and (len(outputs), *model.inputs[name].shape) == outputs.shape:
            places = [f"{model.output}{list(place)}" for place in np.ndindex(outputs.shape[1:])]
            names = tuple(places) if len(places) > 1 else (model.output,)
            return regression(metrics, outputs, np.asarray(feeds[name]), names, numbers)
    return metrics


def _ratio(part: Array, of: Array) -> Array:
    """Return part / of, NaN for a division by zero."""
    with np.errstate(all="ignore"):
        return np.where(of == 0, np.nan, part / of)


def _mean(values: Array, weights: Array) -> float:
    """Return the weighted mean of the values that are numbers, NaN if there are none."""
    known = ~np.isnan(values)
    return float(_ratio(np.sum(values[known] * weights[known]), np.sum(weights[known])))


def _cell(value: Any) -> str:
    """Return a text, a count, or a number: with four digits after the point, or six in all where that says more.

    >>> _cell("cat"), _cell(np.int64(3)), _cell(0.5), _cell(123.4567), _cell(1e-5), _cell(float("nan"))
    ('cat', '3', '0.5000', '123.457', '1e-05', '-')
    """
    if not isinstance(value, (float, np.floating)):
        return str(value)
    plain = value == 0 or 1e-3 <= abs(float(value)) < 10
    return "-" if np.isnan(value) else f"{value:.4f}" if plain else number_text(value, 6)
