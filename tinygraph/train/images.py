"""Read folders of images, with one sub-folder for each class."""

from __future__ import annotations

import os
import warnings
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import DataError, listing
from tinygraph.files import open_plain
from tinygraph.graph import Array, opening
from tinygraph.readers import import_module
from tinygraph.train.archive import reason
from tinygraph.train.lazy import Lazy
from tinygraph.train.source import Source, class_numbers, feature_of, pixels

if TYPE_CHECKING:
    from tinygraph.model import Model
    from tinygraph.model.declaration import Input

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
# Without formats that start other programs, such as EPS.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# What a pixel takes in memory while it is read and converted. A small file may claim any number of pixels.
_BYTES = 6
# ``PIL.Image.Resampling.BILINEAR``; every pixel of a larger image takes part.
_BILINEAR = 2
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Those to look at during a training come before the last one.
_TEST_FOLDERS = ("val", "valid", "validation", "test")


def read_images(folder: Path, model: Model | None) -> Source:
    """Return the images in the class folders of a folder, or of ``train`` and ``test`` (or ``val``, ``validation``) in it.

    They have the shape of the model's input; without a model, or for an input that is flat, the size of the first image, in
    one channel if it is grey and in three otherwise. Raises ``DataError``.
    """
    wanted = feature_of(model, "images")
    tested = next((name for name in _TEST_FOLDERS if _folders(folder / name)), None)
    places = [folder / "train"] if _folders(folder / "train") else [folder]
    places += [folder / tested] if tested and places != [folder] else []
    listed = [_listed(place, model) for place in places]
    form, classes, parts, names = _form(next(chain(*listed[0].values())), wanted), tuple[str, ...](), [], []
    for place, files in zip(places, listed, strict=True):
        every, y = [*chain(*files.values())], None
        if "" not in files:
            classes, y = class_numbers([*files], np.repeat(range(len(files)), [*map(len, files.values())]), classes)
        parts.append((_images(every, form, wanted), y))
        names.append(np.array([_name(file, place) for file in every]))
    why = f"{places[0]}: labels need a folder for each class"
    return Source(parts, classes, f"the folder {tested!r}", unlabelled=why, names=names)


def _name(file: str, folder: Path) -> str:
    return Path(file).name if Path(file) == folder else Path(file).relative_to(folder).as_posix()


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden."""
    found = (path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()
    return sorted(path for path in found if not path.name.startswith((".", "__")))


def _files(folder: Path) -> list[str]:
    """Return the images in a folder and below; hidden files, and files that are no images, are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [str(path) for path in sorted(found) if "." not in {part[0] for part in path.relative_to(folder).parts}]


def _listed(folder: Path, model: Model | None) -> dict[str, list[str]]:
    """Return the files of each class; those of the class ``""`` if there are no folders, or the model takes no labels."""
    if folder.is_file():
        return {"": [str(folder)]}
    classes = _folders(folder) if model is None or model.labels else []
    files = {path.name: _files(path) for path in classes} or {"": _files(folder)}
    for name, images in files.items():
        if not images:
            where = f"the class folder {name!r} holds" if name else "the folder holds no .npy and IDX files, and"
            raise DataError(f"{folder}: {where} no images ({', '.join(SUFFIXES)})")
    if len(files) == 1 and classes:
        raise DataError(f"{folder}: images need at least two class folders; this folder holds only {listing(files)}")
    return files


def _form(file: str, wanted: Input | None) -> tuple[int, int, int]:
    """Return the channels, height and width of all images, given the first one and the input that they are for."""
    shape = () if wanted is None else wanted.shape
    if len(shape) == 2:
        return 1, *shape
    if len(shape) == 3 and shape[0] in _MODES:
        return shape
    first = _loaded(file)
    return 1 if first.mode in ("1", "L", "LA") else 3, first.height, first.width


def _images(files: list[str], form: tuple[int, int, int], wanted: Input | None) -> Any:
    channels, height, width = form

    def read(at: Array) -> Array:
        array = np.stack([_loaded(files[i], _MODES[channels], (width, height)) for i in at])
        return np.ascontiguousarray(np.moveaxis(array.reshape(len(at), height, width, channels), -1, 1))

    return pixels(Lazy(read, np.arange(len(files)), form, np.uint8), wanted)


def _loaded(file: str, mode: str | None = None, size: tuple[int, int] | None = None) -> Any:
    """Return an image of Pillow, upright, with 8 bits for each number, in a mode and size. Errors name the file."""
    try:
        image_module, operations = import_module("PIL.Image"), import_module("PIL.ImageOps")
    except ImportError:
        raise DataError("reading images needs the package Pillow: pip install 'tinygraph-engine[images]'") from None
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            open_plain(file) as stream,
            opening(os.fstat(stream.fileno()).st_size) as budget,
        ):
            image = image_module.open(stream, formats=_FORMATS)
            budget.spend("bytes of values", _BYTES * image.width * image.height)
            if image.mode == "F":
                raise ValueError("its pixels are real numbers; expected 8 or 16 bits")
            operations.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):
                image = image_module.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert(mode) if mode and mode != image.mode else image
            return image.resize(size or image.size, _BILINEAR)
    except image_module.UnidentifiedImageError:
        raise DataError(f"{file}: it is not an image that can be read ({', '.join(_FORMATS)})") from None
    except Exception as error:  # Pillow raises almost anything for damaged files.
        raise DataError(f"{file}: the image cannot be read ({reason(error)})") from None
