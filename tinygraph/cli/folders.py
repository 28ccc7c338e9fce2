"""Where results are written."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tinygraph.errors import TinygraphError


def file_name(name: str) -> str:
    """Return a model's name as the name of a file; a name from a stranger's model leads into no other folder.

    >>> file_name("notes_cnn"), file_name("../etc/x y")
    ('notes_cnn', 'etc_x_y')
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"


def prepared_folder(folder: Path) -> Path:
    """Make a folder, with its parents, and find out whether files can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror
        raise TinygraphError(f"the output folder {str(folder)!r} cannot be written to: {why}") from None
    return folder
