"""Source to machine code by Numba, compiled once and kept on disk: an optional extra, ``tinygraph-engine[fast]``.

A kernel is a function of pointers without a result. It is compiled when a plan first needs it, in about half a second, and
kept in the user's cache folder, in a file whose name is a hash of the source, the version of Numba and the processor. Several
processes may write the same file: each writes one of its own and renames it. Where the folder cannot be written, the kernel is
compiled for this process alone.
"""

import ctypes
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from tinygraph.engines.plan.kernels.base import Call
from tinygraph.engines.plan.kernels.scalars import functions
from tinygraph.errors import AttributeValueError, TinygraphError, unknown
from tinygraph.graph import Array
from tinygraph.locks import Lock

VARIABLE = "TINYGRAPH_KERNELS"
KERNELS = ("numpy", "numba")
_PRELUDE = """
import numpy as np
from numba import cfunc, njit, types

T, I, U = np.{T}, np.{I}, np.uint64
NUMBERS, BYTES, SIZES = (types.CPointer(x) for x in (types.{T}, types.uint8, types.uint64))
SUMS = types.CPointer(types.float64)
helper = njit(forceinline=True, error_model="numpy")

@njit(forceinline=True, fastmath={{"reassoc"}})
def add(x, y):
    # Sums may be taken in any order, and in vectors. Nothing else may.
    return x + y
"""


def kernel_choice(kernels: str | None = None) -> str:
    """Return which kernels to use: ``kernels``, or what ``TINYGRAPH_KERNELS`` says, or "numpy".

    Raises ``AttributeValueError`` for another name, and ``TinygraphError`` for "numba" where Numba is not installed.

    >>> kernel_choice("numpy")
    'numpy'
    """
    where = "" if kernels is not None else f" in the environment variable {VARIABLE}"
    name = os.environ.get(VARIABLE) or "numpy" if kernels is None else kernels
    if name not in KERNELS:
        raise AttributeValueError(unknown("tinygraph", f"kind of kernels{where}", name, KERNELS))
    if name == "numba" and importlib.util.find_spec("numba") is None:
        raise TinygraphError(f"kernels='numba'{where} needs the package Numba: pip install 'tinygraph-engine[fast]'")
    return name


def call_of(source: str, itemsize: int, arrays: Sequence[Array]) -> Call:
    """Return a call of the function ``kernel`` of a source with the addresses of arrays, which it keeps alive."""
    function = _function(source, itemsize, len(arrays))
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    return lambda: function(*pointers)


_lock = Lock()


def _function(source: str, itemsize: int, count: int) -> Callable[..., None]:
    with _lock.own:
        return _compiled(source, itemsize, count)


@cache
def _compiled(source: str, itemsize: int, count: int) -> Callable[..., None]:
    types = {"T": f"float{8 * itemsize}", "I": f"int{8 * itemsize}"}
    text = _PRELUDE.format(**types) + functions(itemsize) + source
    path = _file(text)
    try:
        module = None if path is None else _module(path, text)
    except (OSError, RuntimeError):
        # The folder became read-only, or Numba finds no place for its own files.
        module = None
    if module is None:
        module = ModuleType("tinygraph_kernel")
        exec(compile(text.replace("cache=True", "cache=False"), "<kernel>", "exec"), module.__dict__)
    # The call releases Python's lock, so that threads run side by side.
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(module.kernel.address)


def folder() -> Path:
    """Return the folder of the compiled kernels, which may be deleted at any time."""
    home = Path.home()
    place = {"win32": os.environ.get("LOCALAPPDATA"), "darwin": str(home / "Library" / "Caches")}.get(sys.platform)
    return Path(place or os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tinygraph" / "kernels"


def _file(text: str) -> Path | None:
    """Return a file that contains ``text``, by its hash, or ``None`` where none can be written."""
    import llvmlite.binding as llvm
    import numba

    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    name = hashlib.sha256("\n".join([text, numba.__version__, processor]).encode()).hexdigest()[:32]
    try:
        path = folder() / f"kernel_{name}.py"
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".new", delete=False, encoding="utf-8"
            ) as file:
                file.write(text)
            os.replace(file.name, path)
        # What anybody else may have changed is not run.
        return path if path.read_text(encoding="utf-8") == text else None
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


def _module(path: Path, text: str) -> ModuleType:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module
