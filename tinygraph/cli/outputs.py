"""The outputs of a model as a table: what is predicted, the label, and the numbers behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.files import write_whole

if TYPE_CHECKING:
    from tinygraph.graph.arrays import Array
    from tinygraph.train.labels import DecisionRule

SHOWN_ROWS, SHOWN_NUMBERS = 10, 10


@dataclass(frozen=True)
class Outputs:
    """Outputs with a row for each sample, and beside them decisions and labels where there are any.

    A single number comes before the decision that follows from it, several come after. ``numbers`` are those of the samples in
    their source, ``None`` for 0, 1, 2...
    """

    name: str
    values: Array
    labels: Array | None = None
    rule: DecisionRule | None = None
    numbers: Array | None = None

    def table(self, write: Callable[[Any], str], most: int | None = None) -> Iterator[list[str]]:
        """Yield a line of names and then the cells of each sample, of which ``write`` writes the numbers.

        Of each sample no more than ``most`` numbers are given.
        """
        import numpy as np

        shape = self.values.shape[1:]
        single = not shape or shape == (1,)
        names = [self.name] if single else [f"{self.name}{list(index)}" for index in islice(np.ndindex(shape), most)]
        beside = self._beside()
        yield ["sample", *(names + list(beside) if single else list(beside) + names)]
        for sample, row in enumerate(self.values.reshape(len(self.values), -1)[:, :most]):
            numbers = [write(number) for number in row]
            words = [" ".join(whole(part, write) for part in np.ravel(array[sample])) for array in beside.values()]
            place = sample if self.numbers is None else self.numbers[sample]
            yield [str(place), *(numbers + words if single else words + numbers)]

    def _beside(self) -> dict[str, Array]:
        beside = {} if self.rule is None else {"predicted": decided(self.rule, self.values)}
        if self.labels is not None:
            classes = self.rule is not None and self.rule.threshold is None and self.labels.ndim == self.values.ndim
            beside["label"] = self.labels.argmax(axis=-1) if classes else self.labels
        return beside

    def shown(self) -> list[list[str]]:
        """Return the first rows for the eye: few digits, and not all of very many numbers."""
        write = number if self.rule is None else probability
        return list(islice(self.table(write, SHOWN_NUMBERS), SHOWN_ROWS + 1))

    def write(self, path: Path) -> None:
        """Write all outputs as arrays, ``output`` and ``sample``, to ``.npz``, or as a table, numbers in full, to ``.csv``."""
        import numpy as np

        if path.suffix == ".npz":
            packed = io.BytesIO()
            numbers = np.arange(len(self.values)) if self.numbers is None else self.numbers
            np.savez(packed, output=self.values, sample=numbers)
            write_whole(path, packed.getvalue())
            return
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(self.table(str))
        write_whole(path, text.getvalue().encode("utf-8"))


def decided(rule: DecisionRule, output: Array) -> Array:
    """Return what a model decides: 1 or 0 for each element, or the number of the class.

    >>> import numpy as np
    >>> from tinygraph.train.labels import DecisionRule
    >>> decided(DecisionRule(0.5), np.array([[0.9], [0.2]])).tolist(), decided(DecisionRule(), np.eye(3)).tolist()
    ([[1], [0]], [0, 1, 2])
    """
    import numpy as np

    if rule.threshold is None:
        return np.asarray(output.argmax(axis=-1))
    return np.greater(output, rule.threshold).astype(int)


def whole(value: Any, write: Callable[[Any], str]) -> str:
    """Return a class or a decision as a whole number, and any other label as ``write`` writes numbers.

    >>> whole(1.0, str), whole(0.5, str)
    ('1', '0.5')
    """
    return f"{value:.0f}" if float(value).is_integer() else write(value)


def probability(value: Any) -> str:
    """Return a probability, or a number that decides, with four digits after the point.

    >>> probability(0.25), probability(-1e9)
    ('0.2500', '-1e+09')
    """
    return f"{value:.4f}" if abs(value) < 1e4 else number(value)


def number(value: Any) -> str:
    """Return a number with four digits.

    >>> number(0.25), number(1.23456e-9)
    ('0.25', '1.235e-09')
    """
    return f"{value:.4g}"
