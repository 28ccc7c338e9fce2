"""The outputs of a model as a table: what is predicted, the label, and the numbers that decide it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tinygraph.describe.numbers import number_text
from tinygraph.graph import Array
from tinygraph.train.metrics import DecisionRule

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

    @property
    def arrays(self) -> dict[str, Array]:
        """The outputs and the numbers of their samples, as they are written to ``.npz``."""
        numbers = np.arange(len(self.values)) if self.numbers is None else self.numbers
        return {"output": self.values, "sample": numbers}

    def table(self, write: Callable[[Any], str], most: int | None = None) -> Iterator[list[str]]:
        """Yield a row of names and then the cells of each sample, whose numbers ``write`` writes, at most ``most`` of them."""
        shape = self.values.shape[1:]
        single = not shape or shape == (1,)
        names = [self.name] if single else [f"{self.name}{list(index)}" for index in islice(np.ndindex(shape), most)]
        decided = self._decided()
        yield ["sample", *(names + list(decided) if single else list(decided) + names)]
        rows = self.values.reshape(len(self.values), -1)[:, :most]
        for sample, (place, row) in enumerate(zip(self.arrays["sample"], rows, strict=True)):
            numbers = [write(number) for number in row]
            words = [" ".join(_label(one, write) for one in np.ravel(array[sample])) for array in decided.values()]
            yield [str(place), *(numbers + words if single else words + numbers)]

    def _decided(self) -> dict[str, Array]:
        """Return decisions and labels, where there are any: 1 or 0 for each element, or the number of the class."""
        found: dict[str, Array] = {}
        threshold = self.rule.threshold if self.rule else None
        if threshold is not None:
            found["predicted"] = np.greater(self.values, threshold).astype(int)
        elif self.rule is not None:
            found["predicted"] = self.values.argmax(axis=-1)
        if self.labels is not None:
            classes = self.rule is not None and threshold is None and self.labels.ndim == self.values.ndim
            found["label"] = self.labels.argmax(axis=-1) if classes else self.labels
        return found

    def shown(self) -> list[list[str]]:
        """Return the first rows to be read: few digits, and not all of very many numbers."""
        write = number_text if self.rule is None else probability
        return list(islice(self.table(write, SHOWN_NUMBERS), SHOWN_ROWS + 1))


def _label(value: Any, write: Callable[[Any], str]) -> str:
    """Return a class or a decision as an integer, and any other label as ``write`` writes numbers."""
    return f"{value:.0f}" if float(value).is_integer() else write(value)


def probability(value: Any) -> str:
    """Return a probability, or a number that decides, with four digits after the point.

    >>> probability(0.25), probability(-1e9)
    ('0.2500', '-1e+09')
    """
    return f"{value:.4f}" if abs(value) < 1e4 else number_text(value)
