"""How good a model is, in numbers: confusion, precision and recall of decisions, errors of numbers, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tinygraph.describe import html
from tinygraph.describe.numbers import number_text
from tinygraph.describe.text import aligned
from tinygraph.errors import RenderError
from tinygraph.graph import Array
from tinygraph.train.history import figure_of, save_figure
from tinygraph.train.metrics import DecisionRule, Metrics, class_names, decision_rule
from tinygraph.train.samples import are_images

if TYPE_CHECKING:
    from tinygraph.model import Model

# Rows of text below a row of names.
Table: TypeAlias = list[list[str]]
# A confusion matrix of this many characters fits a window; of longer tables, the middle is left out.
WIDEST, MOST_ROWS, MOST_MISTAKES, IN_A_ROW = 100, 100, 10, 5
WORST = "worst mistakes"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Evaluation(Metrics):
    """Metrics with the ``outputs`` that they were computed from, and the labels ``expected`` for them.

    ``names`` are those of the classes, or of the numbers of an output; ``numbers`` are those of the samples in their source,
    ``None`` for 0, 1, 2... What there is to see depends on the kind; see ``Classification`` and ``Regression``.
    """

    outputs: Array
    expected: Array
    names: tuple[str, ...]
    numbers: Array | None = None

    @property
    def mistakes(self) -> Array:
        """The samples of the mistakes, the worst first, counted from 0 among those evaluated."""
        raise NotImplementedError

    def values(self) -> dict[str, Array]:
        """Return the numbers of each class, or of each number of an output, by what they are called."""
        raise NotImplementedError

    def tables(self, most: int = MOST_MISTAKES) -> dict[str, Table]:
        """Return what ``print`` shows, tables by their captions, with at most so many mistakes."""
        raise NotImplementedError

    def __str__(self) -> str:
        parts = [super().__str__()]
        for caption, rows in self.tables().items():
            cut = [*rows[: MOST_ROWS + 1], ["..."], *rows[-2:]] if len(rows) > MOST_ROWS + 3 else rows
            parts.append(f"{caption}\n{aligned(cut, right=True)}")
        return "\n\n".join(parts)

    def _tables_html(self) -> Iterator[str]:
        for caption, rows in self.tables().items():
            yield html.table(rows[0], rows[1:], caption, all_in="print")

    def draw_mistakes(self, path: str | PathLike[str], x: Any, most: int = 20) -> None:
        """Draw the images of the worst mistakes into a file; its suffix (``.png``, ``.svg``, ``.pdf``) names the format.

        ``x`` holds the samples that were evaluated, images ``(N, C, H, W)`` of one or three channels. Raises ``RenderError``
        without matplotlib, for samples that are no images, and where nothing is wrong.
        """
        head, *rows = self.tables(most).get(WORST, [[]])
        x = x if hasattr(x, "shape") else np.asarray(x)
        if not rows or not are_images(x):
            found = f"the samples have shape {x.shape}" if rows else "there is none"
            raise RenderError(f"mistakes are drawn for images (N, C, H, W) of one or three channels; {found}")
        down = -(-len(rows) // IN_A_ROW)
        figure = figure_of(1.9 * IN_A_ROW, 2.5 * down, "the mistakes")
        for axes in figure.subplots(down, IN_A_ROW, squeeze=False).flat:
            axes.axis("off")
        for axes, sample, row in zip(figure.axes, self.mistakes, rows, strict=False):
            pixels = np.asarray(x[sample], np.float64)
            levels = (pixels - pixels.min()) / (np.ptp(pixels) or 1.0)
            axes.imshow(levels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)
            words = "\n".join(f"{name} {cell}" for name, cell in zip(head, row, strict=True))
            axes.set_title(words.replace("$", r"\$"), fontsize=8)
        figure.tight_layout()
        save_figure(figure, path, "the picture of the mistakes")

    def _mistake_table(self, head: list[str], rows: Table) -> dict[str, Table]:
        """Return the table of mistakes, if there are any, with the number of each sample."""
        samples = self.mistakes if self.numbers is None else self.numbers[self.mistakes]
        numbered = [[str(sample), *row] for sample, row in zip(samples, rows, strict=False)]
        return {WORST: [["sample", *head], *numbered]} if numbered else {}


class _Decisions(NamedTuple):
    """The decisions that count: the place of each among all, the true and the chosen class, and their probabilities."""

    places: Array
    expected: Array
    decided: Array
    true: Array
    confidence: Array


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Classification(Evaluation):
    """What ``tg.evaluate`` returns for a model that decides among classes, or for or against each of several labels.

    ``precision`` of a class is the share of the decisions for it that are right, ``recall`` the share of its samples that
    are found, ``f1`` the harmonic mean of both, and ``support`` the number of its samples; the averages over the classes are
    plain (macro) and weighted by the support: the definitions of scikit-learn's ``classification_report``. 0/0 is NaN, is
    printed as "-", and is left out of the averages. An output of one number decides between the classes 0 and 1. Where
    samples have several labels, each of 0 or 1, a label has the numbers of the decisions for 1.

    >>> output = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    >>> labels, names = np.array([0, 1, 1, 1]), ("cat", "dog", "emu")
    >>> found = Classification(0.5, 0.75, 4, outputs=output, expected=labels, names=names, rule=DecisionRule())
    >>> print(found)
    loss 0.5000, accuracy 0.7500, 4 samples
    <BLANKLINE>
    confusion (rows: true, columns: predicted)
         cat  dog  emu
    cat    1    0    0
    dog    1    2    0
    emu    0    0    0
    <BLANKLINE>
    for each class
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

    rule: DecisionRule

    @cached_property
    def _several(self) -> bool:
        """Whether each sample has several labels of 0 or 1, one for each column of the output."""
        return self.rule.threshold is not None and self.outputs.ndim == 2 and self.outputs.shape[1] > 1

    @cached_property
    def _decisions(self) -> _Decisions:
        expected = self.rule.expected(self.expected, self.outputs).ravel()
        probabilities = self.rule.probabilities(self.outputs)
        count = probabilities.shape[-1]
        # Other labels stand for samples that are to be ignored.
        places = np.flatnonzero((expected >= 0) & (expected < count))
        expected, decided = expected[places].astype(int), self.rule.decisions(self.outputs).ravel()[places]
        each = probabilities.reshape(-1, count)[places]
        rows = np.arange(len(places))
        return _Decisions(places, expected, decided, each[rows, expected], each[rows, decided])

    @cached_property
    def _counts(self) -> list[Array]:
        """For each class: the decisions for it that are right, all decisions for it, and its samples."""
        places, expected, decided = self._decisions[:3]
        found = [expected[expected == decided], decided, expected]
        if self._several:
            found = [(places % len(self.names))[each == 1] for each in (expected * decided, decided, expected)]
        return [np.bincount(each, minlength=len(self.names)) for each in found]

    @cached_property
    def confusion(self) -> Array:
        """Counts of decisions: the rows are the true classes, the columns the predicted ones.

        Where samples have several labels, it is an array ``(labels, 2, 2)``: for each, the counts of 0 and 1.
        """
        places, expected, decided = self._decisions[:3]
        labels, classes = (len(self.names), 2) if self._several else (1, len(self.names))
        codes = (places % labels * classes + expected) * classes + decided
        counts = np.bincount(codes, minlength=labels * classes**2).reshape(labels, classes, classes)
        return counts if self._several else counts[0]

    @property
    def precision(self) -> Array:
        """For each class, the share of the decisions for it that are right."""
        return _ratio(self._counts[0], self._counts[1])

    @property
    def recall(self) -> Array:
        """For each class, the share of its samples that are found."""
        return _ratio(self._counts[0], self._counts[2])

    @property
    def f1(self) -> Array:
        """For each class, the harmonic mean of precision and recall."""
        return _ratio(2 * self._counts[0], self._counts[1] + self._counts[2])

    @property
    def support(self) -> Array:
        """For each class, the number of its samples."""
        return self._counts[2]

    @cached_property
    def _wrong(self) -> Array:
        """The wrong decisions; the first have the least probable truth, which is the largest loss."""
        wrong = np.flatnonzero(self._decisions.expected != self._decisions.decided)
        return wrong[np.argsort(self._decisions.true[wrong], kind="stable")]

    @property
    def mistakes(self) -> Array:
        """The samples of the wrong decisions, the largest loss first, counted from 0 among those evaluated."""
        return self._decisions.places[self._wrong] // self._each

    @property
    def _each(self) -> int:
        """How many decisions a sample has."""
        return self.rule.decisions(self.outputs[:1]).size

    def values(self) -> dict[str, Array]:
        """Return precision, recall, F1 and support of each class."""
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}

    def tables(self, most: int = MOST_MISTAKES) -> dict[str, Table]:
        """Return confusion, the numbers of each class and the worst mistakes as tables, with at most so many mistakes."""
        *shares, support = self.values().values()
        rows = [[name, *map(_share, row), str(n)] for name, *row, n in zip(self.names, *shares, support, strict=True)]
        for name, weights in (("macro avg", np.ones(len(support))), ("weighted avg", support)):
            rows.append([name, *(_share(_mean(share, weights)) for share in shares), str(support.sum())])
        each = {f"for each {'label' if self._several else 'class'}": [["", *self.values()], *rows]}
        return {
            **({} if self._several else self._confused()),
            **each,
            **self._mistake_table(self._head, self._rows(most)),
        }

    def _confused(self) -> dict[str, Table]:
        """Return the confusion as a matrix or, where that is too wide, the classes that are confused most often."""
        width = max(map(len, self.names)) + sum(max(len(name), 3) + 2 for name in self.names)
        if width <= WIDEST:
            matrix = zip(self.names, self.confusion.astype(str).tolist(), strict=True)
            return {
                "confusion (rows: true, columns: predicted)": [["", *self.names], *([n, *row] for n, row in matrix)]
            }
        pairs = np.stack(self._decisions[1:3])[:, self._wrong]
        found, counts = np.unique(pairs, axis=1, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MOST_MISTAKES]
        rows = [[*(self.names[i] for i in found[:, k]), f"{counts[k]} of {self.support[found[0, k]]}"] for k in order]
        return {"most often confused": [["true", "predicted", "samples"], *rows]} if rows else {}

    @property
    def _head(self) -> list[str]:
        place = [] if self._each == 1 else ["label" if self._several else "place"]
        return [*place, "true", "predicted", "confidence"]

    def _rows(self, most: int) -> Table:
        """Return the worst mistakes without the numbers of the samples."""
        rows, classes = [], ("0", "1") if self._several else self.names
        for place, expected, decided, _, confidence in zip(
            *(x[self._wrong[:most]] for x in self._decisions), strict=True
        ):
            at = place % self._each
            where = [] if self._each == 1 else [self.names[at] if self._several else str(at)]
            rows.append([*where, classes[expected], classes[decided], f"{confidence:.4f}"])
        return rows


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Regression(Evaluation):
    """What ``tg.evaluate`` returns for a model whose output is compared with numbers of the same shape.

    For each number of an output: ``mae``, the mean absolute error; ``rmse``, the root of the mean squared error; and
    ``r2``, the coefficient of determination, 1 minus the squared error over that of always answering the mean, NaN where all
    labels are equal. The last row is the mean over the numbers, as in scikit-learn.

    >>> output, labels = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]])
    >>> print(Regression(1 / 3, None, 3, outputs=output, expected=labels, names=("p",)))
    loss 0.3333, 3 samples
    <BLANKLINE>
    errors
          mae    rmse   r2
    p  0.3333  0.5774  0.5
    <BLANKLINE>
    worst mistakes
    sample  true  predicted  error
         2     3          4      1
         0     1          1      0
         1     2          2      0
    """

    @cached_property
    def _errors(self) -> Array:
        """The errors, a row for each sample."""
        shape = (len(self.outputs), -1)
        return self.outputs.reshape(shape).astype(np.float64) - self.expected.reshape(shape)

    @property
    def mae(self) -> Array:
        """The mean absolute error of each number of an output."""
        return np.asarray(np.abs(self._errors).mean(axis=0))

    @property
    def rmse(self) -> Array:
        """The root of the mean squared error of each number of an output."""
        return np.asarray(np.sqrt(np.square(self._errors).mean(axis=0)))

    @property
    def r2(self) -> Array:
        """The coefficient of determination of each number of an output."""
        labels = self.expected.reshape(self._errors.shape)
        return np.asarray(1 - _ratio(np.square(self._errors).mean(axis=0), labels.var(axis=0, dtype=np.float64)))

    @property
    def mistakes(self) -> Array:
        """The samples, the one with the largest error first, counted from 0 among those evaluated."""
        return np.argsort(-np.abs(self._errors).max(axis=1), kind="stable")

    def values(self) -> dict[str, Array]:
        """Return MAE, RMSE and R2 of each number of an output."""
        return {"mae": self.mae, "rmse": self.rmse, "r2": self.r2}

    def tables(self, most: int = MOST_MISTAKES) -> dict[str, Table]:
        """Return the errors of each number of an output, and of the samples with the largest errors, as tables."""
        values = [*self.values().values()]
        rows = [[name, *map(_number, row)] for name, *row in zip(self.names, *values, strict=True)]
        if len(rows) > 1:
            rows.append(["mean", *(_number(_mean(x, np.ones(len(x)))) for x in values)])
        worst = self.mistakes[:most]
        which = np.abs(self._errors[worst]).argmax(axis=1)
        mistakes, several = [], len(self.names) > 1
        for sample, column in zip(worst, which, strict=True):
            numbers = (x.reshape(len(x), -1)[sample, column] for x in (self.expected, self.outputs, self._errors))
            mistakes.append([*([self.names[column]] if several else []), *map(number_text, numbers)])
        head = [*(["output"] if several else []), "true", "predicted", "error"]
        return {"errors": [["", *self.values()], *rows], **self._mistake_table(head, mistakes)}


def _ratio(part: Array, of: Array) -> Array:
    """Return part / of, NaN for a division by zero."""
    with np.errstate(all="ignore"):
        return np.where(of == 0, np.nan, part / of)


def _mean(values: Array, weights: Array) -> float:
    """Return the weighted mean of the values that are numbers, NaN if there are none."""
    known = ~np.isnan(values)
    return float(_ratio(np.sum(values[known] * weights[known]), np.sum(weights[known])))


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else number_text(value)


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
    recording = model.record()
    rule, known = decision_rule(recording), {"outputs": outputs, "numbers": numbers, **vars(metrics)}
    if rule is not None and rule.labels is not None:
        # One number decides between two classes; among several, each is a class or a label.
        count = 2 if rule.threshold is not None and outputs[:1].size == 1 else outputs.shape[-1]
        expected = np.asarray(feeds[rule.labels])
        return Classification(expected=expected, rule=rule, names=class_names(model.classes, count), **known)
    compared = {x for node in recording.graph.nodes if recording.output in {*node.inputs} for x in node.inputs}
    for name in feeds if rule is None else ():
        if recording.tensors[name] in compared and (len(outputs), *model.inputs[name].shape) == outputs.shape:
            places = [list(place) for place in np.ndindex(outputs.shape[1:])]
            names = [f"{model.output}{place}" for place in places] if len(places) > 1 else [model.output]
            return Regression(expected=np.asarray(feeds[name]), names=tuple(names), **known)
    return metrics
