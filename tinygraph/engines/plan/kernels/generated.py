"""Source to machine code by Numba, compiled once and kept on disk: an optional extra, ``tinygraph-engine[fast]``.

A kernel is a function of pointers without a result. It is compiled when a plan first needs it, in about half a second, and
kept in the user's cache folder, in a file whose name is a hash of the source, the version of Numba and the processor. Several
processes may write the same file: each writes one of its own and renames it. Where the folder cannot be written, the kernel is
compiled for this process alone.
"""

import ctypes
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from tinygraph.engines.plan.kernels.base import Call
from tinygraph.engines.plan.kernels.scalars import functions
from tinygraph.errors import AttributeValueError, TinygraphError
from tinygraph.graph import Array
from tinygraph.locks import Lock

VARIABLE = "TINYGRAPH_KERNELS"
KERNELS = ("numpy", "numba")
_PRELUDE = """
import numpy as np
from numba import cfunc, njit, types

T, I, U, inf, nan = np.{T}, np.{I}, np.uint64, np.inf, np.nan
NUMBERS, BYTES, SIZES = (types.CPointer(x) for x in (types.{T}, types.uint8, types.uint64))
SUMS = types.CPointer(types.float64)
helper = njit(forceinline=True, error_model="numpy")

@njit(forceinline=True, fastmath={{"reassoc"}})
def add(x, y):
    # Sums may be taken in any order, and in vectors. Nothing else may.
    return x + y

@njit(forceinline=True, fastmath={{"reassoc", "contract"}})
def add_product(total, x, y):
    # Rounded once, as in the products of BLAS.
    return total + x * y
"""


def kernel_choice(kernels: str | None = None) -> str:
    """Return which kernels to use: ``kernels``, or what ``TINYGRAPH_KERNELS`` says, or "numpy".

    Raises ``AttributeValueError`` for another name, and ``TinygraphError`` for "numba" where Numba is not installed.

    >>> kernel_choice("numpy")
    'numpy'
    """
    where = "kernels" if kernels is not None else f"the environment variable {VARIABLE}"
    name = os.environ.get(VARIABLE) or "numpy" if kernels is None else kernels
    if name not in KERNELS:
        raise AttributeValueError(f"{where} must be {' or '.join(map(repr, KERNELS))}; found {name!r}")
    if name == "numba":
        try:
            import numba  # noqa: F401
        except ImportError as error:
            install = "pip install 'tinygraph-engine[fast]'"
            raise TinygraphError(f"{where}: 'numba' needs the package Numba: {install} ({error})") from None
    return name


def kernel_source(kinds: Mapping[str, str], lines: Sequence[str]) -> str:
    """Return the source of a function of pointers, by name and kind, and of ``m``, which points to sizes.

    >>> print(kernel_source({"x": "NUMBERS"}, ["x[0] = T(m[0])"]))
    @cfunc(types.void(NUMBERS, SIZES), error_model="numpy", cache=True)
    def kernel(x, m):
        x[0] = T(m[0])
    """
    head = f'@cfunc(types.void({", ".join([*kinds.values(), "SIZES"])}), error_model="numpy", cache=True)'
    return "\n".join([head, f"def kernel({', '.join([*kinds, 'm'])}):", *("    " + line for line in lines)])


_lock = Lock()


def call_of(source: str, itemsize: int, arrays: Sequence[Array]) -> Call:
    """Return a call of the function ``kernel`` of a source with the addresses of arrays, which it keeps alive."""
    with _lock.own:
        function = _compiled(source, itemsize, len(arrays))
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    return partial(function, *pointers)


@cache
def _compiled(source: str, itemsize: int, count: int) -> Callable[..., None]:
    types = {"T": f"float{8 * itemsize}", "I": f"int{8 * itemsize}"}
    text = _PRELUDE.format(**types) + functions(itemsize) + source
    path = _file(text)
    try:
        module = None if path is None else _module(path.stem, text, str(path))
    except Exception:
        # Numba's own files are damaged, or the folder has become read-only.
        module = None
    if module is None:
        module = _module("kernel", text.replace("cache=True", "cache=False"), "<kernel>")
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
        # What anybody else may have changed is not run.
        if not path.exists() or path.read_bytes() != text.encode():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".new", delete=False) as file:
                file.write(text.encode())
            os.replace(file.name, path)
    except (OSError, RuntimeError):
        return None
    return path


def _module(name: str, text: str, file: str) -> ModuleType:
    # Numba looks modules up by their names when it reads its files.
    sys.modules[name] = module = ModuleType(name)
    module.__file__ = file
    exec(compile(text, file, "exec"), module.__dict__)
    return module
