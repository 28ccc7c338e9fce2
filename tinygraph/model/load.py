"""Models are found and loaded by file or name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from tinygraph.errors import ModelError, TinygraphError, UnknownNameError, listing, nearest
from tinygraph.files import nearest_file, open_plain
from tinygraph.model.model import Model
from tinygraph.readers import reader

# Files that may be mistaken for models, and how to read them.
_NO_MODELS = {
    ".safetensors": "weights, which model.load(path) reads",
    **dict.fromkeys((".npz", ".csv", ".npy"), "data, which tg.load_data(path) reads"),
    **dict.fromkeys(
        (".pt", ".pth", ".h5", ".keras", ".pb", ".tflite"), "a model of another framework; export it as ONNX"
    ),
}
# The readers of files of other formats, see ``tinygraph.readers``.
_OTHER_FORMATS = {".onnx": "from_onnx"}


def bundled_models() -> dict[str, Path]:
    """Return the files of the models that the package contains, by name."""
    package = Path(__file__).resolve().parents[1]
    folder = next((f for f in (package / "models", package.parent / "models") if f.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def load_model(path: str | os.PathLike[str], seed: int | None = None) -> Model:
    """Return the model that a TOML file declares; bundled models are also found by name.

    ``seed`` draws the parameters, by default the seed of the file. ONNX files, ``.onnx``, are read with their weights.
    Raises ``ModelError`` with file, line and column, and ``UnknownNameError`` for a name that is neither a file nor a
    bundled model.

    >>> load_model("notes_cnn").parameters["K1"].shape
    (8, 1, 3, 3)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TinygraphError(f"a model is loaded by its file or name; found {type(path).__name__}")
    file = Path(path)
    if not os.path.isfile(file):
        bundled = bundled_models()
        if str(path) not in bundled:
            hint = _why_no_file(path) or nearest_file(file, ".toml", ".onnx") or nearest(file.stem, bundled)
            missing = f"no model file {str(path)!r}, and no bundled model of that name{hint} ({listing(bundled)})"
            raise UnknownNameError(missing)
        file = bundled[str(path)]
    suffix = file.suffix.lower()
    if suffix in _OTHER_FORMATS:
        return cast(Model, reader(_OTHER_FORMATS[suffix])(file))
    if suffix in _NO_MODELS:
        raise ModelError(f"it is not a model file (.toml, .onnx); it holds {_NO_MODELS[suffix]}", file=str(file))
    try:
        with open_plain(file) as stream:
            text = stream.read().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        fault = f"not a text file in UTF-8: the byte at position {error.start:,} cannot be text"
        raise ModelError(fault, file=str(file)) from None
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", file=str(file)) from None
    return Model.from_toml(text, file, seed)


def _why_no_file(path: str | os.PathLike[str]) -> str:
    if os.path.isdir(path):
        return "; it is a folder"
    if os.path.exists(path):
        return "; it is not a regular file"
    return "; it is a link to a file that does not exist" if os.path.islink(path) else ""
