"""``tinygraph new``: a model file to start from."""

import re
import shlex
from pathlib import Path

import click

from tinygraph.cli import options
from tinygraph.cli.terminal import say
from tinygraph.files import write_whole
from tinygraph.model import bundled_models

# What stands above each table, by the table; the first is for the name.
COMMENTS = {
    "": "The name is also that of the folder of results. The title is for pictures and notes.",
    "inputs": """What is given: for each input the shape of one sample. The batch axis comes before it.
A class number is { shape = [], dtype = "int64" }, an answer yes or no is [1].""",
    "parameters": """What is learned: its shape, in numbers or as sizes of tensors, as in "f.shape[1]"; and how the first
values are drawn: zeros, ones, normal, he_normal, glorot_uniform and others. With trainable = false they are kept.""",
    "state": "What is kept from step to step and not learned, with the expression of its next value.",
    "blocks": "A block is a part of the model that is declared once and called like an operation.",
    "model": """The equations, from the inputs to the output and the loss. Each line defines a tensor; @ is the matrix product.
"tinygraph ops" lists the operations. The output is what "predict" computes, the loss what training makes small.
For a loss of your own, metric = "NAME" names an equation that says how good the model is.""",
    "training": """How "tinygraph train" trains. Its options replace these settings. The data are a built-in set (digits,
digits_odd, digits28, digits28_odd, xor), or a file or folder: images in a folder for each class, .csv, .npz, IDX.""",
}


_FROM, _BUNDLED = "The bundled model to start from.", click.Choice([*bundled_models()])


def model_path(text: str) -> Path:
    """Return the file of a new model, given its name or path, with or without ``.toml``.

    >>> str(model_path("mine")), str(model_path("models/mine.toml"))
    ('mine.toml', 'models/mine.toml')
    """
    path = options.file_path(text)
    if not path.name or text.endswith(("/", ".")):
        raise click.BadParameter(f"it is not the name of a file; found {text!r}")
    return options.writable(path if path.suffix == ".toml" else path.with_name(f"{path.name}.toml"))


@click.command
@click.argument("path", metavar="NAME", type=model_path)
@click.option("--from", "source", type=_BUNDLED, default="notes_cnn", help=_FROM, show_default=True)
@options.force_option
def new(path: Path, source: str, force: bool) -> None:
    """Write a model file to start from.

    NAME.toml is a copy of a bundled model, with comments that explain its tables.
    """
    options.refuse_to_replace(path, "give another name", force)
    name = options.file_name(path.stem)
    write_whole(path, commented(bundled_models()[source].read_text(encoding="utf-8"), name, source).encode("utf-8"))
    say(f"wrote {path}, a copy of {source} with comments. Next:")
    file, picture = (shlex.quote(str(place)) for place in (path, path.with_suffix(".svg")))
    for command in (
        f"train {file}",
        f"evaluate {file} --weights runs/{name}/weights.safetensors",
        f"draw {file} -o {picture}",
        f"train {file} --data YOUR_FILE_OR_FOLDER",
    ):
        say(f"  tinygraph {command}")


def commented(text: str, name: str, source: str) -> str:
    r"""Return the text of a bundled model under another name, with a comment above each table.

    >>> print(commented('# A net.\nname = "a"\n', "b", "a"))
    # Begun as a copy of a.
    # A net.
    <BLANKLINE>
    # The name is also that of the folder of results. The title is for pictures and notes.
    name = "b"
    <BLANKLINE>
    """
    lines, left = [f"# Begun as a copy of {source}."], dict(COMMENTS)
    for line in text.splitlines():
        table = re.match(r"\[(\w+)|name = ", line)
        comment = left.pop(table[1] or "", None) if table else None
        if table and comment:
            words = [f"# {each}" for each in comment.splitlines()]
            # A comment of the bundled model on a table comes after the general one.
            place = max(i for i, each in enumerate(lines, 1) if not each.startswith("#")) if table[1] else len(lines)
            lines[place:place] = words if table[1] else ["", *words]
        lines.append(re.sub("^name = .*", f'name = "{name}"', line))
    return "\n".join([*lines, ""])
