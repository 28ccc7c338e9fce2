"""Rendering: from DOT to a picture, by the ``dot`` program where it is installed, else by pygraphviz within the process."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tinygraph.draw.fonts import lend_fonts
from tinygraph.errors import RenderError, listing, nearest
from tinygraph.graph.locks import Lock

FORMATS = ("gv", "svg", "png", "pdf")
FIXES = (
    "either `pip install pygraphviz matplotlib` (pygraphviz renders, matplotlib brings fonts and draws learning curves), "
    "or install Graphviz so that `dot` is on PATH"
)
# In seconds: the largest bundled model takes less than one.
TIMEOUT, VERSION_TIMEOUT = 60.0, 10.0

_in_process = Lock()


@dataclass(frozen=True)
class Renderer:
    """A way to lay out and render DOT: its name, the version of Graphviz or of the package, and the function."""

    name: str
    version: str
    render: Callable[[str, str], bytes]


def renderers() -> tuple[Renderer, ...]:
    """Return the renderers that are installed, the one that is used first.

    >>> all(renderer.name in ("dot", "pygraphviz") for renderer in renderers())
    True
    """
    found = []
    if shutil.which("dot"):
        found.append(Renderer("dot", dot_version() or "", _by_dot))
    version = pygraphviz_version()
    if version is not None and carries_graphviz(version):
        found.append(Renderer("pygraphviz", version, _by_pygraphviz))
    return tuple(found)


def render(dot: str, format: str) -> bytes:
    """Return DOT rendered as ``"svg"``, ``"png"`` or ``"pdf"``, by the first renderer that can.

    Raises ``RenderError``: none is installed, or none could render it.
    """
    if format not in FORMATS[1:]:
        raise RenderError(f"pictures are rendered as {listing(FORMATS[1:])}; found {format!r}")
    installed = renderers()
    if not installed:
        raise RenderError(f"no renderer is installed, so no {format} can be made: {FIXES}")
    faults: list[str] = []
    for renderer in installed:
        try:
            picture = renderer.render(dot, format)
        except RenderError as fault:
            faults.append(f"{renderer.name} failed: {fault}")
            continue
        if faults:
            warnings.warn(f"{'; '.join(faults)}; {renderer.name} rendered the picture instead", stacklevel=2)
        return picture
    raise RenderError(f"the picture could not be rendered as {format}: {'; '.join(faults)}")


def format_of(path: Path) -> str:
    """Return the format that a file's suffix names, or raise ``RenderError`` with the valid ones.

    >>> format_of(Path("net.SVG"))
    'svg'
    """
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        valid = listing(f".{name}" for name in FORMATS)
        raise RenderError(
            f"the suffix of {str(path)!r} does not name a format of pictures{nearest(suffix, FORMATS)} (valid: {valid})"
        )
    return suffix


def dot_version() -> str | None:
    """Return the version of the ``dot`` program on PATH, or ``None`` where there is none that says its version."""
    with contextlib.suppress(RenderError):
        done = _run_dot(["-V"], b"", VERSION_TIMEOUT)
        said = re.search(rb"version (\d+(?:\.\d+)*)", done.stderr + done.stdout)
        return said[1].decode() if said else None
    return None


def pygraphviz_version() -> str | None:
    """Return the version of the installed pygraphviz, or ``None``."""
    try:
        present = importlib.util.find_spec("pygraphviz") is not None
    except (ImportError, ValueError):
        present = False
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("pygraphviz") if present else None
    return None


def carries_graphviz(version: str) -> bool:
    """Whether this version of pygraphviz brings the layout engine: 2.0 and newer.

    >>> carries_graphviz("2.0.4"), carries_graphviz("1.14")
    (True, False)
    """
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= 2


def _by_dot(dot: str, format: str) -> bytes:
    done = _run_dot([f"-T{format}"], dot.encode("utf-8"), TIMEOUT)
    if not done.stdout:
        raise RenderError("it wrote no picture")
    return done.stdout


def _run_dot(options: list[str], source: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("dot")
    if program is None:
        raise RenderError("it is not on PATH")
    try:
        done = subprocess.run([program, *options], input=source, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RenderError(f"it did not end within {timeout:g} seconds") from None
    except OSError as error:
        raise RenderError(error.strerror or str(error)) from None
    if done.returncode:
        raise RenderError(_first_line(done.stderr) if done.stderr.strip() else f"it ended with code {done.returncode}")
    return done


def _by_pygraphviz(dot: str, format: str) -> bytes:
    lend_fonts()
    try:
        import pygraphviz
    except Exception as error:
        raise RenderError(f"it cannot be imported: {_first_line(str(error))}") from None
    with _in_process.own, _captured_stderr() as said:
        try:
            return bytes(pygraphviz.AGraph(string=dot).draw(format=format, prog="dot"))
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
    raise RenderError(_first_line(said() or fault))


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Keep what C libraries write to the standard error stream; Fontconfig writes warnings there that no one can act on."""
    kept: list[str] = []
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:
            yield lambda: ""
            return
        stack.callback(os.close, saved)
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: "".join(kept)
        finally:
            os.dup2(saved, 2)
            file.seek(0)
            kept.append(file.read().decode("utf-8", "replace"))


def _first_line(said: Any) -> str:
    lines = (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).strip().splitlines()
    telling = [line for line in lines if "Fontconfig" not in line]
    return (telling or lines or ["it said nothing"])[0]
