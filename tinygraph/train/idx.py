"""Read IDX files, the format of MNIST, gzipped or not. Source: http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.errors import DataError, TinygraphError, listing
from tinygraph.files import open_plain
from tinygraph.graph import Array, opening
from tinygraph.train.lazy import deferred
from tinygraph.train.source import Source, feature_of, pixels

if TYPE_CHECKING:
    from tinygraph.model import Model

# The third byte of a file says what it holds, most significant byte first; the fourth, how many axes.
_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP = b"\x1f\x8b"


def is_idx(path: Path) -> bool:
    """Whether a file is called as the images of MNIST: ``train-images-idx3-ubyte``, or with ``.gz``.

    >>> is_idx(Path("t10k-images.idx3-ubyte.gz")), is_idx(Path("t10k-labels-idx1-ubyte"))
    (True, False)
    """
    return "images" in path.name and "idx3" in path.name


def read_idx(path: Path, model: Model | None) -> Source:
    """Return the images in a file, with the labels of the file next to it; of a folder, those called ``train`` and ``t10k``.

    Bytes become numbers in 0 to 1, in the shape of the model's input, or (N, 1, height, width). Raises ``DataError``.
    """
    if not path.is_dir():
        return _pair(path, model)
    files = sorted(filter(is_idx, path.iterdir()))
    tests = [file for file in files if file.name.startswith(("t10k", "test"))]
    trains = [file for file in files if file not in tests]
    if len(trains) != 1 or len(tests) > 1:
        names = listing(file.name for file in files)
        raise DataError(
            f"{path}: expected one file of images to learn from, and one called t10k or test; found {names}"
        )
    first, test = _pair(trains[0], model), [_pair(file, model) for file in tests]
    if not test:
        return first
    if (test[0].y is None) != (first.y is None):
        raise DataError(test[0].unlabelled if test[0].y is None else first.unlabelled)
    return replace(first, test=(test[0].x, test[0].y), split=f"the file {tests[0].name!r}")


def _pair(path: Path, model: Model | None) -> Source:
    wanted, images = feature_of(model, "images"), _array(path)
    if len(images.shape) != 3:
        raise DataError(f"{path}: expected images, three axes; found an array of shape {images.shape}")
    x = pixels(deferred(images[:, np.newaxis]), wanted)
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    file = next(filter(Path.is_file, (path.with_name(name), path.with_name(f"{name}.gz"))), None)
    if file is None:
        return Source(x, None, unlabelled=f"{path}: there is no file {name!r} with the labels")
    y = _array(file)
    if y.shape != images.shape[:1]:
        raise DataError(f"{file}: its shape is {y.shape}; expected a label for each of the {len(images):,} images")
    return Source(x, np.array(y, np.int64))


def _array(path: Path) -> Array:
    """Return the array in a file, mapped into memory unless it is compressed. Sizes are compared before memory is allocated."""
    try:
        with open_plain(path) as file, opening(os.fstat(file.fileno()).st_size) as budget:
            packed = file.read(2) == _GZIP
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            head = stream.read(4)
            sizes = stream.read(4 * head[3]) if len(head) == 4 else b""
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or len(sizes) != 4 * head[3]:
                raise ValueError("it does not begin as one")
            dtype, shape = np.dtype(_DTYPES[head[2]]), tuple(map(int, np.frombuffer(sizes, ">u4")))
            wanted = math.prod(shape) * dtype.itemsize
            if packed:
                budget.spend("bytes of values", wanted)
            data = stream.read(wanted + 1) if packed else b""
            held = len(data) if packed else os.fstat(file.fileno()).st_size - file.tell()
            if held != wanted or not wanted:
                more = "more" if held > wanted else f"{held:,}"
                raise ValueError(f"an array of shape {shape} has {wanted:,} bytes; it holds {more}")
            return (
                np.frombuffer(data, dtype).reshape(shape) if packed else np.memmap(file, dtype, "r", file.tell(), shape)
            )
    except (OSError, EOFError, zlib.error, ValueError, TinygraphError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as an IDX file ({reason})") from None
