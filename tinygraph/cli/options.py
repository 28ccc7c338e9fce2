"""Arguments and options that several commands share, and what they stand for: models, data, paths, operations."""

import contextlib
import functools
import importlib.util
import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from tinygraph import model as models
from tinygraph.cli.terminal import say
from tinygraph.engines.plan.kernels.generated import KERNELS, VARIABLE, kernel_choice
from tinygraph.errors import DataError, TinygraphError, listing
from tinygraph.files import check_writable
from tinygraph.readers import reader
from tinygraph.train.data import check_label

# Opens the model of a command, with a seed or weights.
Load = Callable[..., models.Model]
# Values of inputs, by the names of samples.
Samples = Mapping[str, Mapping[Any, Any]]
Command = TypeVar("Command", bound=Callable[..., Any])
# Sizes of arrays must fit into 64 bits, and these are multiplied by others.
MOST_SAMPLES = 2**31 - 1


def not_empty(text: str) -> str:
    """Return the text of an option that must not be empty; an empty path would be the current folder."""
    if not text:
        raise click.BadParameter("it is empty")
    return text


def file_path(text: str) -> Path:
    """Return the path that an option names."""
    return Path(not_empty(text))


def writable(path: Path) -> Path:
    """Return a path to which a file can be written, or raise ``TinygraphError`` before any work is done.

    >>> writable(Path("."))
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: '.' cannot be written: it is a folder
    """
    try:
        check_writable(path)
    except OSError as error:
        raise TinygraphError(f"{str(path)!r} cannot be written: {error.strerror}") from None
    return path


def new_file(text: str) -> Path:
    """Return the path of a file to write; a place where that is impossible is refused before the work."""
    return writable(file_path(text))


force_option = click.option("--force", is_flag=True, help="Replace files that exist.")


def _use_kernels(context: click.Context, option: click.Parameter, name: str | None) -> None:
    """Use kernels for all that the command computes."""
    if name is not None:
        restored = {VARIABLE: os.environ.get(VARIABLE, KERNELS[0])}
        os.environ[VARIABLE] = kernel_choice(name)
        context.call_on_close(functools.partial(os.environ.update, restored))


kernels_option = click.option(
    "--kernels",
    type=click.Choice(KERNELS),
    expose_value=False,
    callback=_use_kernels,
    help=f"What computes: NumPy alone, or loops compiled by Numba (the extra fast).  [default: {VARIABLE}, or numpy]",
)
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Seed of all random numbers.")


def data_option(help: str, divided: bool = False) -> Callable[[Command], Command]:
    """Return the options ``--data`` and ``--label``, and those that say what is tested on where data are ``divided``.

    ``model_options`` puts all of them into the settings of the model's training, which ``load_data`` reads.
    """
    options = [
        click.option("--data", metavar="NAME|FILE|FOLDER", type=not_empty, help=help),
        click.option("--label", metavar="COLUMN", type=not_empty, help="The column of the labels in a .csv file."),
        click.option("--test-fraction", type=float, help="Share of the data to test on, such as 0.3, drawn at random."),
        click.option("--validation", metavar="FILE|FOLDER", type=not_empty, help="Data to test on."),
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options if divided else options[:2]):
            command = option(command)
        return command

    return decorate


def weights_option(help: str) -> Callable[[Command], Command]:
    """Return the option ``--weights``."""
    return click.option("--weights", metavar="FILE", type=file_path, help=help)


part_option = click.option(
    "--part",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Which samples of labelled data: those to test on, those to train on, or all.",
)


def trained(load: Load, weights: Path | None) -> models.Model:
    """Return the model of a command with the weights of a training, or its own. Raises ``UsageError`` if it has none."""
    model = load(weights=weights)
    if weights is None and not model.weighted:
        path = Path("runs", file_name(model.name), "weights.safetensors")
        such = f", such as {path}" if path.is_file() else ""
        raise click.UsageError(f"model {model.name!r} comes without weights; give --weights{such}")
    return model


def part_options(command: Command) -> Command:
    """Add the options to load a part of the weights; the command gets those given as ``part``, arguments of ``load``."""

    @functools.wraps(command)
    def wrapped(*args: Any, only: Any, skip: Any, rename: tuple[str, ...], **given: Any) -> Any:
        if wrong := [text for text in rename if "=" not in text]:
            raise click.BadParameter(f"another name is given as OLD=NEW; found {wrong[0]!r}", param_hint="'--rename'")
        part = {"only": only, "skip": skip, "rename": dict(text.split("=", 1) for text in rename)}
        return command(*args, part={name: value for name, value in part.items() if value}, **given)

    for name, metavar, text in (
        ("--rename", "OLD=NEW", "What a name in --weights is called in MODEL, as enc.*=R1.*; may be given again."),
        ("--skip", "PATTERN", "Parameters that are not loaded from --weights; may be given again."),
        ("--only", "PATTERN", "Parameters that are loaded from --weights, the others not; may be given again."),
    ):
        wrapped = click.option(name, metavar=metavar, multiple=True, help=text)(wrapped)
    return wrapped  # type: ignore[return-value]


def out_option(metavar: str, help: str) -> Callable[[Command], Command]:
    """Return the option ``-o``, a file to write."""
    return click.option("-o", "--out", metavar=metavar, type=new_file, help=help)


def batch_option(default: int, help: str = "How many samples.") -> Callable[[Command], Command]:
    """Return the option ``--batch-size``; ``None`` stands for the one size that a model is for, or the default."""
    return click.option("--batch-size", type=click.IntRange(1, MOST_SAMPLES), help=f"{help}  [default: {default}]")


# ---- options for .onnx files


def _named(message: str, accepts: Callable[[Any], bool]) -> Callable[[str], tuple[str, Any]]:
    """Return the type of an option NAME=VALUE, whose value is read as JSON; ``message`` refuses others."""

    def read(text: str) -> tuple[str, Any]:
        name, _, value = text.rpartition("=")
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(value)
            if name and accepts(found):
                return name, found
        raise click.BadParameter(f"{message}; found {text!r}")

    return read


_size = _named("a size is given as NAME=NUMBER", lambda size: type(size) is int and 0 <= size < 10**18)
_value = _named(
    "a value is given as NAME=VALUE, a number, true, false or a list as [1, 2]",
    lambda value: value is not None and not isinstance(value, (str, dict)),
)
_LOSS = "The loss of an .onnx file, which names none: an operation, or one of its outputs."
_OUTPUT = "Which output of an .onnx file; given again, it shows others too.  [default: the first]"
_SIZE = "A size that an .onnx file leaves open, by its name or place, such as x.2.  May be given more than once."
_VALUE = "A value that an input of an .onnx file always has.  May be given more than once."
_DTYPE = "What float16 and float32 in an .onnx file are read as."
# Arguments of ``from_onnx``, each with its option: the flag, what is given, its type, and the help.
_ONNX: dict[str, tuple[str, str | None, Any, str]] = {
    "output": ("--output", "NAME", not_empty, _OUTPUT),
    "loss": ("--loss", "NAME", not_empty, _LOSS),
    "sizes": ("--size", "NAME=NUMBER", _size, _SIZE),
    "values": ("--value", "NAME=VALUE", _value, _VALUE),
    "dtype": ("--dtype", None, click.Choice(["float32", "float64"]), _DTYPE),
}


def onnx_options(loss: str = "--loss") -> Callable[[Command], Command]:
    """Return the options for ``.onnx`` files; the command gets them as ``onnx``, the arguments for ``from_onnx``.

    ``loss`` is the name of the option for the loss, where ``--loss`` is another option of the command.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*args: Any, **given: Any) -> Any:
            onnx = {name: given.pop(f"onnx_{name}") for name in _ONNX}
            onnx = {
                name: dict(onnx[name]) if name in ("sizes", "values") else onnx[name] for name in onnx if onnx[name]
            }
            return command(*args, onnx=onnx, **given)

        for name, (flag, metavar, kind, text) in reversed(_ONNX.items()):
            flag, multiple = loss if name == "loss" else flag, name in ("output", "sizes", "values")
            option = click.option(flag, f"onnx_{name}", metavar=metavar, type=kind, multiple=multiple, help=text)
            wrapped = option(wrapped)
        return wrapped  # type: ignore[return-value]

    return decorate


# ---- models


def model_options(command: Command) -> Command:
    """Add the argument MODEL and the options for ``.onnx`` files; the command gets ``load``, ``opened`` for that model."""

    @functools.wraps(command)
    def wrapped(*args: Any, model: str, onnx: dict[str, Any], **given: Any) -> Any:
        settings = {name: given.pop(name, None) for name in ("label", "test_fraction", "validation")}
        paths = {"data": given.get("data"), "validation": settings["validation"]}
        # Of a path, the folder is that of the user and not of the model.
        settings |= {
            name: os.path.abspath(path) if path and os.path.exists(path) else path for name, path in paths.items()
        }
        return command(*args, load=functools.partial(opened, model, onnx, settings), **given)

    return click.argument("model")(onnx_options()(wrapped))  # type: ignore[return-value]


def file_name(name: str) -> str:
    """Return a model's name as the name of a file, which is in no other folder and not too long, whatever the model says.

    >>> file_name("notes_cnn"), file_name("../etc/x y")
    ('notes_cnn', 'etc_x_y')
    """
    return re.sub(r"[^\w.-]+", "_", name[:80]).strip("._") or "model"


def refuse_to_replace(path: Path, otherwise: str, force: bool = False) -> None:
    """Raise ``TinygraphError`` for a file that exists, unless it may be replaced by ``force``."""
    if path.is_file() and not force:
        raise TinygraphError(f"{str(path)!r} exists and is not replaced: {otherwise}, or --force replaces it")


def opened(
    model: str,
    onnx: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    weights: Path | None = None,
    needs_loss: str = "",
    part: Mapping[str, Any] | None = None,
) -> models.Model:
    """Return the model of a command; ``onnx`` are the options for an .onnx file, as ``onnx_options`` gives them.

    ``settings`` about data replace those of the model. ``needs_loss`` says what is missing without a loss, where a command
    needs one. ``part`` are the options of ``part_options``.
    """
    is_onnx = model.lower().endswith(".onnx")
    if onnx and not is_onnx:
        flag = next((_ONNX[name][0] for name in onnx if name != "loss"), "--loss")
        own = "; a model file names its own loss" if flag == "--loss" else ""
        raise DataError(f"{flag} is for .onnx files{own}")
    declared: models.Model = reader("from_onnx")(model, **onnx) if onnx else models.load_model(model, seed)
    if needs_loss and declared.loss is None:
        hint = "; name one with --loss" if is_onnx else ""
        raise TinygraphError(f"model {declared.name!r} declares no loss, so there is {needs_loss}{hint}")
    if part and weights is None:
        raise DataError(f"{' and '.join(f'--{name}' for name in part)}: there are no --weights to load")
    loaded = [] if weights is None else declared.load(weights, **(part or {}))
    if part:
        say(f"loaded {listing(loaded)} from {weights}")
    given: dict[str, Any] = {name: value for name, value in (settings or {}).items() if value is not None}
    # How the model's own data are divided says nothing about others.
    division = dict.fromkeys(("test_fraction", "validation")) if given.keys() - {"label"} else {}
    declared.training = replace(declared.training, **{**division, **given})
    check_label(given.get("label"), declared.training.data, declared.training.validation)
    return declared


def numbers_options(data: str) -> Callable[[Command], Command]:
    """Return the options ``--data``, ``--sample`` and ``--weights``; ``data`` is what is shown where no data are named."""

    def decorate(command: Command) -> Command:
        sample = click.option("--sample", type=click.IntRange(min=0), help="Which sample of the data, from 0.")
        named = data_option(f"Data whose sample is shown in numbers.  [default: {data}]")
        return named(sample(weights_option("Weights of a training.  [default: initial values]")(command)))

    return decorate


def samples_named(model: models.Model, data: str | None, sample: int | None, count: int = 1) -> Samples | None:
    """Return the samples of a model that ``--data`` and ``--sample`` name, ``count`` from the first on, or ``None``."""
    from tinygraph.notes.notes import samples_of

    return None if data is None and sample is None else samples_of(model, data, sample or 0, count)


def feeds_for(model: models.Model, data: str | None, sample: int | None) -> tuple[Mapping[Any, Any] | None, str]:
    """Return the values of the sample that ``--data`` and ``--sample`` name, or else an example and a sentence about it."""
    from tinygraph.notes.notes import example_of

    samples, remark = samples_named(model, data, sample), ""
    if samples is None:
        samples, remark = example_of(model)
    return (next(iter(samples.values())) if samples else None), remark


# ---- operations of the user's own


def _import_all(context: click.Context, option: click.Parameter, paths: tuple[Path, ...]) -> None:
    for path in paths:
        import_operations(path, "--ops: ")


_OPS = click.Option(
    ["--ops"],
    metavar="FILE.py",
    type=file_path,
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_import_all,
    help="Run a Python file that registers operations of your own. May be given more than once.",
)


def command(function: Callable[..., Any]) -> click.Command:
    """Make a command that also has the option ``--ops``, the last one in its help, after those for ``.onnx`` files."""
    made = click.command(function)
    made.params.sort(key=lambda parameter: str(parameter.name).startswith("onnx_"))
    made.params.append(_OPS)
    return made


def import_operations(path: Path, option: str = "") -> None:
    """Run a Python file for the operations that it registers; errors begin with ``option``.

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
        warnings.showwarning = lambda warning, *rest: say(
            f"note: {_last_line(path, traceback.extract_stack())}: {warning}", error=True
        )
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            # A script that ends itself does not end this program.
            del sys.modules[name]
            raise TinygraphError(f"{option}{_failure(path, error)}") from None


def _failure(path: Path, error: BaseException) -> str:
    """Return the message of an error, after the last line of the file that it passed through."""
    if isinstance(error, SyntaxError):
        file = Path(error.filename or path)
        return f"{path if file == path.absolute() else file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    return f"{_last_line(path, traceback.extract_tb(error.__traceback__))}: {type(error).__name__}: {error}"


def _last_line(path: Path, frames: traceback.StackSummary) -> str:
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f"{path}:{lines[-1]}" if lines else str(path)
