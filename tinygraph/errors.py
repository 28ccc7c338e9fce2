"""The family of errors: every message names what was expected, what was found, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygraph.model.recording import Unfinished


class TinygraphError(Exception):
    """The root of the family: ``except tg.TinygraphError`` catches every mistake that tinygraph reports.

    >>> issubclass(ShapeError, TinygraphError)
    True
    """


class ShapeError(TinygraphError, ValueError):
    """Tensors whose shapes an operation cannot combine.

    >>> raise ShapeError("matmul: x (2, 3) and y (4, 5) do not fit")
    Traceback (most recent call last):
    tinygraph.errors.ShapeError: matmul: x (2, 3) and y (4, 5) do not fit
    """


class DTypeError(TinygraphError, TypeError):
    """A value whose element type an operation cannot use, such as text or objects.

    >>> issubclass(DTypeError, TypeError)
    True
    """


class AttributeValueError(TinygraphError, ValueError):
    """An attribute of an operation (``stride``, ``axis``, ...) of the wrong type or outside its range.

    >>> issubclass(AttributeValueError, ValueError)
    True
    """


class OperationError(TinygraphError, RuntimeError):
    """The forward computation of an operation failed or returned something that is not an array of the right shape.

    >>> issubclass(OperationError, RuntimeError)
    True
    """


class RuleError(TinygraphError, RuntimeError):
    """A gradient rule that is missing, or returned the wrong number, shape or type of gradients.

    >>> issubclass(RuleError, RuntimeError)
    True
    """


class GradientError(TinygraphError, ValueError):
    """A gradient was asked for that does not exist: no path, not a scalar, or no value to compute with.

    >>> issubclass(GradientError, ValueError)
    True
    """


class UnknownNameError(TinygraphError, LookupError):
    """A name that nothing answers to; the message offers the nearest valid one.

    >>> issubclass(UnknownNameError, LookupError)
    True
    """


class ValueUnavailable(TinygraphError, ValueError):
    """The value of a tensor that was recorded from inputs without values.

    >>> issubclass(ValueUnavailable, ValueError)
    True
    """


class StaleValueError(TinygraphError, RuntimeError):
    """A gradient was asked of a recording whose leaves have been given new values since.

    >>> issubclass(StaleValueError, RuntimeError)
    True
    """


class FeedError(TinygraphError, ValueError):
    """Feeds with a missing or unknown name, or with a wrong shape or dtype.

    >>> issubclass(FeedError, ValueError)
    True
    """


class DataError(TinygraphError, ValueError):
    """Data that cannot be trained or evaluated on: empty, not finite, of the wrong shape, or labels out of range.

    >>> issubclass(DataError, ValueError)
    True
    """


class WeightsError(TinygraphError, ValueError):
    """A weights file that is damaged or belongs to another model.

    >>> issubclass(WeightsError, ValueError)
    True
    """


class TrainingError(TinygraphError, RuntimeError):
    """Training that cannot go on, such as a loss that is no longer finite.

    >>> issubclass(TrainingError, RuntimeError)
    True
    """


class RenderError(TinygraphError, RuntimeError):
    """A picture that could not be rendered.

    >>> issubclass(RenderError, RuntimeError)
    True
    """


class OnnxError(TinygraphError, ValueError):
    """An ONNX file that is damaged, hostile, or says something that tinygraph has no operation for.

    The message names the file, the node, its operator and the operator set.

    >>> issubclass(OnnxError, ValueError)
    True
    """


class ModelError(TinygraphError, ValueError):
    """A mistake in a declared model, with the place where it stands.

    Lines and columns count from 1; each part of the place is ``None`` where it is not known. ``recorded`` is what was
    recorded of the model before the mistake, which ``tg.draw(error)`` shows, or ``None`` where nothing was.

    >>> error = ModelError("'K3' is not defined", file="net.toml", line=7, column=12, equation="Z = conv2d(x, K3)")
    >>> print(error)
    net.toml:7:12: 'K3' is not defined
        Z = conv2d(x, K3)
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        equation: str | None = None,
    ) -> None:
        self.message, self.file, self.line, self.column, self.equation = message, file, line, column, equation
        self.recorded: Unfinished | None = None
        place = ":".join(str(part) for part in (file or "model", line, column) if part is not None)
        super().__init__(f"{place}: {message}" + (f"\n    {equation}" if equation else ""))


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name closest to ``name``, or an empty string.

    >>> nearest("conv2", ["conv2d", "relu"])
    "; did you mean 'conv2d'?"
    >>> nearest("banana", ["conv2d", "relu"])
    ''
    """
    names = list(names)
    folded = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    matches = matches or [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)]
    return f"; did you mean {matches[0]!r}?" if matches else ""


def listing(names: Iterable[str]) -> str:
    """Return names as ``'a', 'b' and 'c'`` for a sentence, or ``none``.

    >>> listing(["a", "b", "c"])
    "'a', 'b' and 'c'"
    >>> listing([])
    'none'
    """
    quoted = [repr(name) for name in names]
    if len(quoted) < 2:
        return quoted[0] if quoted else "none"
    return ", ".join(quoted[:-1]) + " and " + quoted[-1]
