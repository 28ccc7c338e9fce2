"""How commands read an ``.onnx`` file: the options that say what its author left open."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
# Options by the arguments of ``from_onnx``.
OPTIONS = {"output": "--output", "loss": "--loss", "sizes": "--size", "values": "--value", "dtype": "--dtype"}


def named(text: str) -> str:
    """Return the text of an option that must not be empty; an empty path would be the current folder."""
    if not text:
        raise click.BadParameter("it is empty")
    return text


def _pairs(given: tuple[str, ...], what: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """Return what is given as NAME=VALUE, by name."""
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        try:
            if not name:
                raise ValueError
            found[name] = read(value)
        except (ValueError, RecursionError):
            raise click.BadParameter(f"{what}; found {text!r}") from None
    return found


def _sizes(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    def size(text: str) -> int:
        # More digits than any size has.
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise ValueError
        return int(text)

    return _pairs(given, "a size is given as NAME=NUMBER", size)


def _values(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    return _pairs(given, "a value is given as NAME=VALUE, a number, true, false or a list as [1, 2]", _value)


def _value(text: str) -> Any:
    value = json.loads(text)
    if value is None or isinstance(value, (str, dict)):
        raise ValueError
    return value


def onnx_options(loss: str = "--loss") -> Callable[[Command], Command]:
    """Return the options for ``.onnx`` files; the command gets them as ``onnx``, the arguments for ``from_onnx``.

    ``loss`` is what the option for the loss is called, where ``--loss`` is another option of the command.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*args: Any, **given: Any) -> Any:
            onnx = {argument: given.pop(f"onnx_{argument}") for argument in OPTIONS}
            return command(*args, onnx={name: value for name, value in onnx.items() if value}, **given)

        for option in reversed(_options(loss)):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[return-value]

    return decorate


def _options(loss: str) -> list[Callable[[Any], Any]]:
    return [
        click.option(
            "--output",
            "onnx_output",
            metavar="NAME",
            type=named,
            help="Which output of an .onnx file.  [default: the first]",
        ),
        click.option(
            loss,
            "onnx_loss",
            metavar="NAME",
            type=named,
            help="The loss of an .onnx file, which names none: an operation, or one of its outputs.",
        ),
        click.option(
            "--size",
            "onnx_sizes",
            metavar="NAME=NUMBER",
            multiple=True,
            callback=_sizes,
            help="A size that an .onnx file leaves open, by its name or place, such as x.2.  May be given more than once.",
        ),
        click.option(
            "--value",
            "onnx_values",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_values,
            help="A value that an input of an .onnx file always has.  May be given more than once.",
        ),
        click.option(
            "--dtype",
            "onnx_dtype",
            type=click.Choice(["float32", "float64"]),
            help="What float16 and float32 in an .onnx file are read as.",
        ),
    ]
