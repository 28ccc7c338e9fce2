"""Open files that contain data, and write files completely or not at all."""

import contextlib
import difflib
import errno
import os
import re
import stat
import time
from pathlib import Path
from typing import Any, BinaryIO

from tinygraph.errors import TinygraphError
from tinygraph.interruption import held

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PARTIAL = re.compile(r"[0-9a-f]{16}\.partial")
# In seconds. A new file may not be locked yet, and where there are no locks, the age decides.
_YOUNG = 600.0
# Errors of file systems that cannot flush.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def as_path(path: Any) -> Path:
    """Return the path of a file as a ``Path``, or raise ``TinygraphError`` for anything else, and for impossible names.

    >>> as_path(None)
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: a file is named by text or a pathlib.Path; found NoneType
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(name, str):
        raise TinygraphError(f"a file is named by text or a pathlib.Path; found {type(path).__name__}")
    if "\0" in name:
        raise TinygraphError("the name of a file must not contain null characters; found one")
    if any(len(os.fsencode(part)) > 255 for part in Path(name).parts):
        raise TinygraphError(f"the name of a file has at most 255 bytes; found {name!r}")
    return Path(name)


def nearest_file(path: Path, *suffixes: str) -> str:
    """Return ``"; did you mean 'x'?"`` for the name closest to that of a missing file, in its folder, or an empty string.

    >>> nearest_file(Path(__file__).with_name("flies.py"))
    "; did you mean 'files.py'?"
    """
    with contextlib.suppress(OSError):
        files = [file for file in os.listdir(path.parent) if file.endswith(suffixes or ("",))]
        return "".join(f"; did you mean {near!r}?" for near in difflib.get_close_matches(path.name, files, 1, 0.8))
    return ""


def open_plain(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading. Raises ``OSError`` for a folder, and for a pipe or a device, which could be endless.

    >>> open_plain("/dev/null")
    Traceback (most recent call last):
    OSError: [Errno 22] it is not a regular file: '/dev/null'
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # Non-blocking, because opening a pipe waits for its writer.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file and flush it to disk; an older one is replaced only when the new one is complete.

    The data are written to a file ``....partial`` first; such files of killed processes are removed from the folder. A link
    stays, and the file that it leads to is replaced and keeps its permissions. A device, such as ``/dev/null``, is
    written to directly. Raises ``OSError`` with the path; its ``strerror`` says if the folder is missing.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "notes.txt", b"whole")
    >>> [file.read_bytes() for file in folder.iterdir()]
    [b'whole']
    """
    path = as_path(path)
    target = Path(os.path.realpath(path))
    check_writable(path)
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    # A new name, so that two processes never write to one file.
    partial = target.with_name(f"{os.urandom(8).hex()}.partial")
    with held():
        remove_stale(target.parent)
        try:
            _write(partial, target, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` if a file cannot be written: it is a folder, or its folder is missing or not writable.

    >>> check_writable("/nowhere/notes.txt")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] there is no folder '/nowhere': '/nowhere/notes.txt'
    """
    target = Path(os.path.realpath(as_path(path)))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {str(Path(path).parent)!r}", str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written to", str(path))
    if not os.access(target.parent, os.W_OK) and (target.is_file() or not target.exists()):
        raise PermissionError(errno.EACCES, f"the folder {str(Path(path).parent)!r} may not be written to", str(path))


def remove_stale(folder: Path) -> None:
    """Remove the unfinished files in a folder whose writers were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PARTIAL.fullmatch(entry.name) and _abandoned(entry):
                os.unlink(entry)


def lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until this process closes it or ends.

    Return whether this process has the lock now, or ``None`` if the file system has no locks.
    """
    try:
        if fcntl is None:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _write(partial: Path, target: Path, data: bytes) -> None:
    exists = target.exists()
    # Until it has the permissions of the old file, nobody else may read the new one.
    with open(partial, "xb", opener=lambda path, flags: os.open(path, flags, 0o600 if exists else 0o666)) as file:
        lock(file.fileno())
        if exists:
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        file.write(data)
        file.flush()
        _flush(file.fileno())
        if fcntl is not None:
            os.replace(partial, target)
    if fcntl is None:
        # On Windows an open file cannot be renamed, nor a folder flushed.
        os.replace(partial, target)
    else:
        _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        # A folder may be writable and not readable.
        return
    try:
        _flush(descriptor)
    finally:
        os.close(descriptor)


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def _abandoned(entry: os.DirEntry[str]) -> bool:
    """Whether the process that wrote this file has ended; while it runs, it holds a lock on the file."""
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return False
    old = time.time() - found.st_mtime > _YOUNG
    if fcntl is None or not (old or found.st_size):
        return old
    with open(entry, "rb") as file:
        free = lock(file.fileno())
    return old if free is None else free
