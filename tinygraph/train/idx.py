"""Read IDX files, the format of MNIST, gzipped or not. Source: http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import DataError, TinygraphError, listing
from tinygraph.files import open_plain
from tinygraph.graph import Array, opening
from tinygraph.train.archive import check_claim, reason
from tinygraph.train.lazy import Lazy
from tinygraph.train.source import Source, feature_of, pixels

if TYPE_CHECKING:
    from tinygraph.model import Model
    from tinygraph.model.declaration import Input

# The third byte of a file says what it holds, most significant byte first; the fourth, how many axes.
_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP, _TESTS = b"\x1f\x8b", ("t10k", "test")


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
    files = sorted(filter(is_idx, path.iterdir())) if path.is_dir() else [path]
    files.sort(key=lambda file: file.name.startswith(_TESTS))
    if [file.name.startswith(_TESTS) for file in files] not in ([False], [False, True]) and path.is_dir():
        found = listing(file.name for file in files)
        raise DataError(f"{path}: expected a file of images to learn from, and one called t10k or test; found {found}")
    wanted = feature_of(model, "images")
    pairs, missing = zip(*(_pair(file, wanted) for file in files), strict=True)
    without = "".join(missing)
    if without and not all(missing):
        raise DataError(without)
    return Source(pairs, split=f"the file {files[-1].name!r}", unlabelled=without)


def _pair(path: Path, wanted: Input | None) -> tuple[tuple[Any, Any], str]:
    """Return the images in a file and their labels, or ``None`` and why there are none."""
    images = _array(path)
    if len(images.shape) != 3:
        raise DataError(f"{path}: expected images, three axes; found an array of shape {images.shape}")
    x = pixels(Lazy.of(images[:, np.newaxis]), wanted)
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    file = next(filter(Path.is_file, (path.with_name(name), path.with_name(f"{name}.gz"))), None)
    if file is None:
        return (x, None), f"{path}: there is no file {name!r} with the labels"
    y = _array(file)
    if y.shape != images.shape[:1]:
        raise DataError(f"{file}: its shape is {y.shape}; expected a label for each of the {len(images):,} images")
    return (x, np.array(y, np.int64)), ""


def _array(path: Path) -> Array:
    """Return the array in a file, mapped into memory unless it is compressed. Sizes are compared before memory is allocated."""
    try:
        with open_plain(path) as file, opening(os.fstat(file.fileno()).st_size) as budget:
            packed = file.read(2) == _GZIP
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            head = stream.read(4).ljust(4)
            sizes = stream.read(4 * head[3])
            if head[:2] != b"\0\0" or head[2] not in _DTYPES or len(sizes) != 4 * head[3]:
                raise ValueError("it does not begin as one")
            dtype, shape = np.dtype(_DTYPES[head[2]]), tuple(map(int, np.frombuffer(sizes, ">u4")))
            size, data = math.prod(shape) * dtype.itemsize, b""
            if not size:
                raise ValueError("it holds no numbers")
            if packed:
                budget.spend("bytes of values", size)
                # One byte more says whether there are more.
                data = stream.read(size + 1)
            check_claim(
                "an array", shape, dtype, len(data) if packed else os.fstat(file.fileno()).st_size - file.tell()
            )
            if packed:
                return np.frombuffer(data, dtype).reshape(shape)
            return np.memmap(file, dtype, "r", file.tell(), shape)
    except (OSError, EOFError, zlib.error, ValueError, TinygraphError) as error:
        raise DataError(f"{path}: cannot be read as an IDX file ({reason(error)})") from None
