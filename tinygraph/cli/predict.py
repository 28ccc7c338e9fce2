"""``tinygraph predict``: the outputs of a trained model."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygraph.cli import options
from tinygraph.cli.processes import engine_options
from tinygraph.cli.terminal import say
from tinygraph.describe.numbers import number_text
from tinygraph.describe.text import aligned
from tinygraph.engines import Choice
from tinygraph.engines.predict import in_parts
from tinygraph.engines.processes import is_first, own_share, several, shared_rows
from tinygraph.errors import DataError, counted
from tinygraph.files import write_whole
from tinygraph.graph import Array, Each
from tinygraph.model import Model
from tinygraph.train import Data, load_data
from tinygraph.train.data import PartName, beside, required_data, sample_count
from tinygraph.train.feeds import feeds_of
from tinygraph.train.lazy import Lazy
from tinygraph.train.measure import EVALUATION_BATCH, batches
from tinygraph.train.metrics import DecisionRule, class_names, decision_rule, labels_of


@options.command
@options.kernels_option
@options.weights_option("Weights of a training.  [default: those of the model's own file]")
@options.data_option(
    "A file, a folder or a built-in set; labels are optional.  [default: what the model says]", divided=True
)
@options.part_option
@click.option("--out", metavar="FILE.npz|.csv", type=options.new_file, help="File to write all outputs to.")
@options.model_options
@engine_options()
def predict(
    load: options.Load, weights: Path | None, data: str | None, part: PartName, out: Path | None, on: Choice
) -> None:
    """Compute the outputs of MODEL on data, with the weights of a training.

    Prints the first outputs, what they decide and how surely, and the accuracy where there are labels; --out writes all.
    Labelled data are divided as in train, and the samples to test on are used unless --part says otherwise; of data without
    labels, all samples are used.
    """
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise DataError(f"--out: outputs are written as .npz or .csv; found {str(out)!r}")
    trained = options.trained(load, weights)
    source = required_data(trained, data)
    read = [path for path in (source, beside(trained, trained.training.validation)) if path and Path(path).exists()]
    if out is not None and out.exists() and any(out.samefile(path) for path in read):
        raise DataError(f"--out: {str(out)!r} holds the data; outputs are written to another file")
    x, y, numbers, which = samples(trained, source, part)
    feeds = feeds_of(trained, x, None, labels=False)
    output, count = outputs_of(trained, feeds, on), sample_count(feeds)
    if output.shape[:1] != (count,):
        if out is not None and out.suffix == ".csv":
            shape = f"{trained.output} has shape {output.shape}"
            raise DataError(f"--out: {shape} and no row for each sample; write it as .npz")
        say(f"{trained.output} of shape {output.shape}, with no row for each sample:\n{output}\n{which}")
        write(out, {"output": output})
        return
    rule, y = decision_rule(trained.record()), labels_of(trained, y)
    outputs = Outputs(trained.output, output, y, rule, numbers, trained.classes)
    say(aligned(outputs.shown(), right=True))
    if count > SHOWN_ROWS:
        say(f"... and {count - SHOWN_ROWS} more")
    say(which)
    if rule is not None and y is not None:
        say(f"accuracy {rule.right(output, y).mean():.4f} on {count} samples")
    write(out, outputs.arrays, outputs.table(str))


def outputs_of(model: Model, feeds: Mapping[str, Any], on: Choice) -> Array:
    """Return the outputs; those of samples that are read when they are needed a batch at a time, if they are independent.

    Of several processes, each computes its share of independent samples.
    """
    count = sample_count(feeds)
    lazy = any(isinstance(x, Lazy) for x in feeds.values()) and count > EVALUATION_BATCH
    if (lazy or several()) and count > 1 and model.batch is None:
        parts = in_parts(model, count, min(EVALUATION_BATCH, count - 1), "output")
        if parts is not None and parts[0].state == Each(0):
            own = own_share(count)
            order = None if own is None else np.arange(count)[own]
            outputs = [model.predict(batch, **on) for batch in batches(feeds, EVALUATION_BATCH, order)]
            return shared_rows(own, np.concatenate(outputs), count)
    return model.predict({name: np.asarray(x) for name, x in feeds.items()}, **on)


def write(out: Path | None, arrays: Mapping[str, Array], table: Iterable[list[str]] = ()) -> None:
    """Write outputs as arrays to ``.npz``, or as a table, numbers in full, to ``.csv``."""
    if out is None or not is_first():
        return
    if out.suffix == ".npz":
        packed = io.BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        content = packed.getvalue()
    else:
        content = csv_bytes(table)
    write_whole(out, content)
    say(f"wrote {out}")


def csv_bytes(rows: Iterable[list[str]]) -> bytes:
    """Return rows as comma-separated values.

    >>> csv_bytes([["sample", "predicted"], ["0", "cat, wild"]])
    b'sample,predicted\\n0,"cat, wild"\\n'
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def part_text(data: Data, part: PartName) -> str:
    """Return which samples of data are used, as a line of text."""
    which = {"test": "to test on", "train": "to learn from", "all": "of both parts"}[part]
    split = f" ({data.split})" if data.split and part != "all" else ""
    return f"data {data.name}: the {sample_count(data.part(part)[0])} samples {which}{split}"


def samples(model: Model, source: str, part: PartName) -> tuple[Any, Any, Array | None, str]:
    """Return samples that fit the model, their labels if there are any, their names or numbers in the source, and which.

    Data with labels are divided as in training. The numbers are ``None`` where they count from 0. Raises ``DataError``.
    """
    data = load_data(source, model, labels=False)
    if data.train[1] is None and (model.labels or data.test is None):
        count = counted(sample_count(data.train[0]), "sample")
        return *data.part("train"), f"data {data.name}: {count}, without labels"
    return *data.part(part), part_text(data, part)


# ---- the outputs of a model as a table: what is predicted, the label, and the numbers that decide it

SHOWN_ROWS, SHOWN_NUMBERS = 10, 10


@dataclass(frozen=True)
class Outputs:
    """Outputs with a row for each sample, next to decisions and labels where there are any.

    A single number stands before the decision that follows from it, several stand after. ``numbers`` are those of the
    samples in their source, ``None`` for 0, 1, 2...
    """

    name: str
    values: Array
    labels: Array | None = None
    rule: DecisionRule | None = None
    numbers: Array | None = None
    classes: tuple[str, ...] = ()

    @property
    def arrays(self) -> dict[str, Array]:
        """The outputs, the numbers of their samples, and what was decided, as they are written to ``.npz``."""
        named = {"classes": np.array(self.classes)} if self.classes else {}
        return {
            "output": self.values,
            "sample": self._samples,
            **{k: x for k, (x, _) in self._decided(str).items()},
            **named,
        }

    @property
    def _samples(self) -> Array:
        return np.arange(len(self.values)) if self.numbers is None else self.numbers

    def table(self, write: Callable[[Any], str], most: int | None = None) -> Iterator[list[str]]:
        """Yield a row of names and then the cells of each sample, whose numbers ``write`` writes, at most ``most`` of them."""
        shape = self.values.shape[1:]
        single = not shape or shape == (1,)
        places = self.classes if shape == (len(self.classes),) else (str(list(at))[1:-1] for at in np.ndindex(shape))
        names = [self.name] if single else [f"{self.name}[{place}]" for place in islice(places, most)]
        decided = self._decided(write)
        yield ["sample", *(names + list(decided) if single else list(decided) + names)]
        rows = self.values.reshape(len(self.values), -1)[:, :most]
        for sample, (place, row) in enumerate(zip(self._samples, rows, strict=True)):
            numbers = [write(number) for number in row]
            words = [" ".join(map(cell, np.ravel(array[sample]))) for array, cell in decided.values()]
            yield [str(place), *(numbers + words if single else words + numbers)]

    def _decided(self, write: Callable[[Any], str]) -> dict[str, tuple[Array, Callable[[Any], str]]]:
        """Return decisions, labels and the probabilities of decisions, where there are any, each with what writes one."""
        found: dict[str, tuple[Array, Callable[[Any], str]]] = {}
        several = self.rule is not None and self.rule.threshold is not None and self.values[:1].size > 1

        def named(value: Any) -> str:
            if self.rule is not None and not several and value in range(len(self.classes)):
                return self.classes[int(value)]
            return f"{value:.0f}" if float(value).is_integer() else write(value)

        if self.rule is not None:
            found["predicted"] = (self.rule.decisions(self.values), named)
        if self.labels is not None:
            found["label"] = (self.rule.classes(self.labels, self.values) if self.rule else self.labels, named)
        if self.rule is not None:
            found["confidence"] = (self.rule.probabilities(self.values).max(axis=-1), write)
        return found

    def shown(self) -> list[list[str]]:
        """Return the first rows to be read: few digits, and not all of very many numbers."""
        write = number_text if self.rule is None else probability
        readable = replace(self, classes=class_names(self.classes, len(self.classes)))
        return list(islice(readable.table(write, SHOWN_NUMBERS), SHOWN_ROWS + 1))


def probability(value: Any) -> str:
    """Return a probability, or a number that decides, with four digits after the point.

    >>> probability(0.25), probability(-1e9)
    ('0.2500', '-1e+09')
    """
    return f"{value:.4f}" if abs(value) < 1e4 else number_text(value)
