"""Arguments and options that several commands share."""

from __future__ import annotations

import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tinygraph.cli.folders import writable
from tinygraph.cli.reading import OPTIONS, named
from tinygraph.cli.terminal import say
from tinygraph.errors import DataError, TinygraphError

if TYPE_CHECKING:
    from tinygraph.model import Model

Command = TypeVar("Command", bound=Callable[..., Any])

model_argument = click.argument("model")
# Sizes of arrays must fit into 64 bits, and these are multiplied by others.
MOST_SAMPLES = 2**31 - 1
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Seed of all random numbers.")


def data_option(help: str) -> Callable[[Command], Command]:
    """Return the option ``--data``."""
    return click.option("--data", metavar="NAME|FILE.npz", type=named, help=help)


def data_of(model: Model, given: str | None) -> str:
    """Return the data of a command: what ``--data`` says, or what the model names."""
    from tinygraph.train.data import data_of

    source = given or data_of(model)
    if source is None:
        raise DataError(f"model {model.name!r} does not name data; give --data")
    return source


def batch_option(default: int, help: str = "How many samples.") -> Callable[[Command], Command]:
    """Return the option ``--batch-size``; ``None`` stands for the one size that a model is for, or the default."""
    return click.option("--batch-size", type=click.IntRange(1, MOST_SAMPLES), show_default=str(default), help=help)


def opened(
    model: str, seed: int | None = None, onnx: Mapping[str, Any] | None = None, *, needs_loss: str = ""
) -> Model:
    """Return the model of a command; ``onnx`` are the options for an .onnx file, as ``onnx_options`` gives them.

    ``needs_loss`` says what is missing without a loss, where a command needs one.
    """
    from tinygraph.interop.onnx import from_onnx
    from tinygraph.model import load_model

    is_onnx = model.lower().endswith(".onnx")
    if onnx and not is_onnx:
        others = [OPTIONS[name] for name in onnx if name != "loss"]
        own = (
            f"{others[0]} is for .onnx files"
            if others
            else "--loss is for .onnx files; a model file names its own loss"
        )
        raise DataError(own)
    declared = from_onnx(model, **onnx) if onnx else load_model(model, seed)
    if needs_loss and declared.loss is None:
        hint = "; name one with --loss" if is_onnx else ""
        raise TinygraphError(f"model {declared.name!r} declares no loss, so there is {needs_loss}{hint}")
    return declared


def file_path(text: str) -> Path:
    """Return the path that an option names."""
    return Path(named(text))


def new_file(text: str) -> Path:
    """Return the path of a file to write; a place where that is impossible is refused before the work."""
    return writable(file_path(text))


def ops_option(command: Command) -> Command:
    """Add the option ``--ops FILE.py``, which imports operations of the user's own before the command runs."""
    return click.option(
        "--ops",
        metavar="FILE.py",
        type=file_path,
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=_import_all,
        help="Run a Python file that registers operations of your own. May be given more than once.",
    )(command)


def _import_all(context: click.Context, option: click.Parameter, paths: tuple[Path, ...]) -> None:
    for path in paths:
        import_operations(path, "--ops: ")


def import_operations(path: Path, option: str = "") -> None:
    """Run a Python file for the operations that it registers, named by an ``option`` or as an argument.

    Raises ``TinygraphError`` with the line that failed.
    """
    if not path.is_file():
        raise TinygraphError(f"{option}there is no file {str(path)!r}")
    # The last part of a module's name is the family of its operations; the first keeps it apart from installed modules.
    name = f"tinygraph_ops.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TinygraphError(f"{option}{str(path)!r} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda warning, *rest: say(f"note: {_here(path)}: {warning}", error=True)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            # A script that ends itself is no end of this program.
            del sys.modules[name]
            raise TinygraphError(f"{option}{_told(path, error)}") from None


def _told(path: Path, error: BaseException) -> str:
    """Return what an error says, after the last line of the file that it passed through."""
    if isinstance(error, SyntaxError):
        file = Path(error.filename or path)
        return f"{path if file == path.absolute() else file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    return f"{_place(path, traceback.extract_tb(error.__traceback__))}: {type(error).__name__}: {error}"


def _here(path: Path) -> str:
    """Return the line of the file that is running."""
    return _place(path, traceback.extract_stack())


def _place(path: Path, frames: traceback.StackSummary) -> str:
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f"{path}:{lines[-1]}" if lines else str(path)
