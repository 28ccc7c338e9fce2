"""The errors of tinygraph: a message names what was expected, what was found, and the nearest valid name.

Messages are short and safe to print, whatever the file or the argument they quote.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tinygraph.synonyms import called_here

if TYPE_CHECKING:
    from tinygraph.model.recorder import Unfinished

# Control characters except tab and line feed, characters that reorder or hide text, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_LONGEST_MESSAGE, _LONGEST_WORD, _LONGEST_EQUATION = 480, 80, 120


class ShortTraceback(BaseException):
    """An exception whose traceback shows the user's own lines in IPython and Jupyter, and none of tinygraph's.

    ``%xmode Verbose`` shows all lines. Plain Python prints every exception in full.

    >>> issubclass(TinygraphError, ShortTraceback)
    True
    """

    def _render_traceback_(self) -> list[str]:
        """Return the traceback as lines, as IPython asks for it."""
        shell = sys.modules["IPython"].get_ipython()
        show, chain = shell.InteractiveTB, [*_chain(self)]
        tracebacks = [error.__traceback__ for error in chain]
        short = show.mode != "Verbose" and _without_ours(self.__traceback__)
        try:
            for error in chain if short else ():
                error.__traceback__ = _without_ours(error.__traceback__)
            lines: list[str] = show.structured_traceback(
                type(self), self, self.__traceback__, tb_offset=0 if short else 1
            )
        finally:
            for error, traceback in zip(chain, tracebacks, strict=True):
                error.__traceback__ = traceback
        return lines


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the lines of this package and of IPython."""
    found = []
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in ("tinygraph", "IPython"):
            found.append(traceback)
        traceback = traceback.tb_next
    short = None
    for part in reversed(found):
        short = TracebackType(short, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return short


def users_own(error: BaseException | None) -> BaseException | None:
    """Return the error in code of the user that led to ``error``, to be chained, or ``None``: messages of our own say it all.

    >>> users_own(ShapeError("x (2, 3) and y (4, 5) do not fit"))
    """
    while isinstance(error, TinygraphError):
        error = error.__cause__
    traceback = None if error is None else _without_ours(error.__traceback__)
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "numpy":
        traceback = traceback.tb_next
    return None if traceback is None else error


class TinygraphError(ShortTraceback, Exception):
    """The base of all errors: ``except tg.TinygraphError`` catches every mistake that tinygraph reports.

    A message is one line of at most a few hundred characters, without control characters.

    >>> issubclass(ShapeError, TinygraphError)
    True
    >>> print(TinygraphError("no file '\\x1b[2J'"))
    no file '\\x1b[2J'
    """

    def __init__(self, message: object = "", *others: object) -> None:
        super().__init__(shortened(_in_one_line(message)) if isinstance(message, str) else message, *others)

    def __reduce__(self) -> Any:
        # The class is not called: some take other arguments than the message.
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[TinygraphError], args: tuple[Any, ...], attributes: dict[str, Any]) -> TinygraphError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class ShapeError(TinygraphError, ValueError):
    """Shapes that an operation cannot combine.

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
    """A forward computation that failed, or returned something other than an array of the right shape.

    >>> issubclass(OperationError, RuntimeError)
    True
    """


class RuleError(TinygraphError, RuntimeError):
    """A gradient rule that is missing, or returned the wrong number, shape or type of gradients.

    >>> issubclass(RuleError, RuntimeError)
    True
    """


class GradientError(TinygraphError, ValueError):
    """A gradient that does not exist: there is no path, no value to compute with, or the output is not one number.

    >>> issubclass(GradientError, ValueError)
    True
    """


class UnknownNameError(TinygraphError, LookupError):
    """A name that does not exist; the message offers the nearest valid one.

    >>> issubclass(UnknownNameError, LookupError)
    True
    """


class ValueUnavailable(TinygraphError, ValueError):
    """The value of a tensor that was recorded from inputs without values.

    >>> issubclass(ValueUnavailable, ValueError)
    True
    """


class StaleValueError(TinygraphError, RuntimeError):
    """A gradient of an output that was computed before a leaf got a new value.

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


class EngineError(TinygraphError, RuntimeError):
    """An engine that failed, such as XLA where a device has not enough memory.

    >>> issubclass(EngineError, RuntimeError)
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


class BudgetError(TinygraphError, RuntimeError):
    """A file that needs more memory or work than a file of its size may (see docs/trust.md).

    >>> issubclass(BudgetError, RuntimeError)
    True
    """


class OnnxError(TinygraphError, ValueError):
    """An ONNX file that is damaged, hostile, or contains something that tinygraph has no operation for.

    The message names the file, the node, its operator and the operator set.

    >>> issubclass(OnnxError, ValueError)
    True
    """


class ModelError(TinygraphError, ValueError):
    """A mistake in a declared model, with its place in the file.

    Lines and columns count from 1; each part of the place is ``None`` where it is not known. ``recorded`` is the part of
    the model before the mistake, which ``tg.draw(error)`` shows, or ``None``.

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
        self.message, self.equation = shortened(_in_one_line(message)), equation and shortened(equation)
        self.file, self.line, self.column = file, line, column
        self.recorded: Unfinished | None = None
        name = shortened(_in_one_line(file or "model"))
        place = ":".join(str(part) for part in (name, line, column) if part is not None)
        BaseException.__init__(self, f"{place}: {self.message}" + (f"\n    {self.equation}" if self.equation else ""))

    def __reduce__(self) -> Any:
        # The nodes of a graph cannot be pickled.
        return _restored, (type(self), self.args, {**vars(self), "recorded": None})


def printable(text: str) -> str:
    """Return text with all characters that could control a terminal written as escapes, except line breaks.

    >>> print(printable("red \\x1b[31m, reversed \\u202e"))
    red \\x1b[31m, reversed \\u202e
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shortened(text: str) -> str:
    """Return text in at most about 480 printable characters; the middle of very long words, and then of the text, is left out.

    >>> shortened("'" + "a" * 1000 + "' is not a name")
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa … aaaaaaaaaaaaaaaaaaa' is not a name"
    """
    if len(text) <= _LONGEST_MESSAGE:
        text = printable(text)
    if len(text) <= _LONGEST_MESSAGE:
        return text
    # Escapes make a text longer, so it is shortened before and after.
    text = printable(_without_middle(_short_words(text), 16 * _LONGEST_MESSAGE))
    return _without_middle(_short_words(text), _LONGEST_MESSAGE)


def _in_one_line(text: str) -> str:
    """Return text without line breaks, so that a quoted text cannot look like a new message."""
    return " ".join(filter(None, map(str.strip, text.split("\n")))) if "\n" in text else text


def _short_words(text: str) -> str:
    most = 3 * _LONGEST_WORD // 4
    return re.sub(rf"(?<!\S)\S{{{_LONGEST_WORD},}}", lambda match: _without_middle(match[0], most), text)


def _without_middle(text: str, most: int) -> str:
    head, tail = 2 * most // 3, most // 3
    return text if len(text) <= most else f"{text[:head]} … {text[-tail:]}"


def excerpt(line: str, at: int) -> str:
    """Return the part of a long line of source around the column ``at``, counted from 0, or a short line unchanged.

    >>> excerpt("y = " + "relu(" * 100 + "oops", 504)
    '… (relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(relu(oops'
    """
    start = max(0, min(at - _LONGEST_EQUATION // 2, len(line) - _LONGEST_EQUATION))
    part = line[start : start + _LONGEST_EQUATION]
    return ("… " if start else "") + part.strip() + (" …" if start + len(part) < len(line) else "")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name closest to ``name``, or an empty string.

    For a name that another framework uses, it is the name of the same thing here.

    >>> nearest("conv2", ["conv2d", "relu"])
    "; did you mean 'conv2d'?"
    >>> nearest("swish", ["silu", "sinh"])
    "; here it is called 'silu'"
    >>> nearest("banana", ["conv2d", "relu"])
    ''
    """
    names = [known for known in names if isinstance(known, str)]
    folded = {known.lower(): known for known in names}
    if name.lower() in folded:
        return f"; did you mean {folded[name.lower()]!r}?"
    if here := called_here(name, names):
        return f"; here it is called {here!r}"
    if len(name) > _LONGEST_WORD:
        return ""
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    matches = matches or [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)]
    return f"; did you mean {matches[0]!r}?" if matches else ""


def unknown(owner: str, kind: str, name: object, names: Iterable[str]) -> str:
    """Return the message for a name that ``owner`` does not have, with the nearest and all valid ones.

    >>> unknown("model 'xor'", "input", "z", ["x", "y"])
    "model 'xor' has no input 'z' (inputs: 'x' and 'y')"
    """
    names = list(names)
    return f"{owner} has no {kind} {name!r}{nearest(str(name), names)} ({kind}s: {listing(names)})"


def counted(number: int, noun: str) -> str:
    """Return ``1 input`` or ``2 inputs``.

    >>> counted(1, "input"), counted(2, "class")
    ('1 input', '2 classes')
    """
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def listing(names: Iterable[str]) -> str:
    """Return names as ``'a', 'b' and 'c'`` for a message, or ``none``.

    >>> listing(["a", "b", "c"])
    "'a', 'b' and 'c'"
    >>> listing([])
    'none'
    """
    quoted = [repr(name) for name in names]
    if len(quoted) < 2:
        return quoted[0] if quoted else "none"
    return ", ".join(quoted[:-1]) + " and " + quoted[-1]
