"""Arguments and options that several commands share."""

from __future__ import annotations

import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinygraph.errors import TinygraphError

Command = TypeVar("Command", bound=Callable[..., Any])

model_argument = click.argument("model")
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Seed of all random numbers.")


def data_option(help: str) -> Callable[[Command], Command]:
    """Return the option ``--data``."""
    return click.option("--data", metavar="NAME|FILE.npz", help=help)


def ops_option(command: Command) -> Command:
    """Add the option ``--ops FILE.py``, which imports operations of the user's own before the command runs."""
    return click.option(
        "--ops",
        metavar="FILE.py",
        type=click.Path(path_type=Path),
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=_import_all,
        help="Run a Python file that registers operations of your own. May be given more than once.",
    )(command)


def _import_all(context: click.Context, option: click.Parameter, paths: tuple[Path, ...]) -> None:
    for path in paths:
        import_operations(path)


def import_operations(path: Path) -> None:
    """Run a Python file for the operations that it registers. Raises ``TinygraphError`` with the line that failed."""
    if not path.is_file():
        raise TinygraphError(f"--ops: there is no file {str(path)!r}")
    # The last part of a module's name is the family of its operations; the first keeps it apart from installed modules.
    name = f"tinygraph_ops.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TinygraphError(f"--ops: {str(path)!r} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise TinygraphError(f"--ops: {_place(path, error)}: {type(error).__name__}: {error}") from None
    for warning in caught:
        click.echo(f"note: {warning.message}", err=True)


def _place(path: Path, error: Exception) -> str:
    """Return the file, and the last line in it that the error passed through."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f"{path}:{lines[-1]}" if lines else str(path)
