"""Writing files: whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file; one that was there is replaced only when the new one is whole.

    A link stays and what it leads to is replaced, with its permissions kept: a private file stays private. What is no file,
    such as ``/dev/null``, is written to directly. Raises ``OSError``, whose ``strerror`` names a missing folder.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "notes.txt", b"whole")
    >>> [file.read_bytes() for file in folder.iterdir()]
    [b'whole']
    """
    target = Path(os.path.realpath(path))
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {str(Path(path).parent)!r}", str(path))
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    # A name of its own, so that two writings at once do not meet in one file; unlike what tempfile makes, the file gets
    # the permissions that any new file gets.
    partial = target.with_name(f"{secrets.token_hex(8)}.partial")
    try:
        _create(partial, target)
        partial.write_bytes(data)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _create(partial: Path, target: Path) -> None:
    """Create an empty file with the permissions of ``target`` if that exists; no one else may read it in between."""
    if not target.exists():
        return partial.touch(exist_ok=False)
    partial.touch(0o600, exist_ok=False)
    partial.chmod(stat.S_IMODE(target.stat().st_mode))
