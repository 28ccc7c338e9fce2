"""Fonts for machines that have none, such as small containers: those that matplotlib brings along."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path("~/.local/share/fonts").expanduser(),
    Path("~/.fonts").expanduser(),
)


def lend_fonts(folders: Sequence[Path] = FOLDERS) -> bool:
    """Let Fontconfig find matplotlib's fonts where none are installed, and return whether that was done.

    Without any font Graphviz draws every letter of a PNG or PDF as an empty box. It must be called before Fontconfig is first
    used in the process.
    """
    configured = "FONTCONFIG_FILE" in os.environ or "FONTCONFIG_PATH" in os.environ
    if not sys.platform.startswith("linux") or configured or has_fonts(folders):
        return False
    lent = _fonts_of_matplotlib()
    if lent is None:
        return False
    folder = Path(tempfile.mkdtemp(prefix="tinygraph-fonts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "fonts.conf"
    file.write_text(f"<fontconfig><dir>{lent}</dir><cachedir>{folder}</cachedir></fontconfig>", encoding="utf-8")
    os.environ["FONTCONFIG_FILE"] = str(file)
    return True


def has_fonts(folders: Sequence[Path] = FOLDERS) -> bool:
    """Whether any font file lies in the folders in which systems keep them."""
    return any(
        path.suffix.lower() in (".ttf", ".otf", ".ttc", ".pfb", ".t1")
        for folder in folders
        for path in folder.rglob("*")
    )


def _fonts_of_matplotlib() -> Path | None:
    spec = importlib.util.find_spec("matplotlib")
    for location in (spec.submodule_search_locations or []) if spec else []:
        fonts = Path(location) / "mpl-data" / "fonts" / "ttf"
        if fonts.is_dir():
            return fonts
    return None
