"""Files are written whole, or what was there stays."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.files import write_whole
from tinygraph.model import load_model
from tinygraph.train import History, Row, read_arrays

ROW = Row(1, 0.5, 0.8, 0.4, 0.9, 1.5)

# A file may be no longer than this, as on a disk that is full.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
from tinygraph.cli import main
main(prog_name="tinygraph")
"""


@pytest.mark.parametrize("command", [["draw", "xor", "-o", "x.gv"], ["notes", "xor", "-o", "x.md"]])
def test_a_disk_that_is_full_leaves_the_old_file_and_no_other(tmp_path, command):
    pytest.importorskip("resource")
    kept = tmp_path / command[-1]
    kept.write_text("old")
    # Without a cache of bytecode, which would be cut off as well.
    ended = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(tg.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert re.fullmatch(rf"error: '{command[-1]}' cannot be written: File too large\n", ended.stderr)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    write_whole(link, b"new")
    assert (link.is_symlink(), file.read_text()) == (True, "new")


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_an_overwritten_file_keeps_its_permissions(tmp_path, mode):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(mode)
    link.symlink_to(file)
    write_whole(link, b"new")
    assert (file.stat().st_mode & 0o777, file.read_text()) == (mode, "new")
    new = tmp_path / "new"
    write_whole(new, b"")
    (tmp_path / "like").touch()
    assert new.stat().st_mode == (tmp_path / "like").stat().st_mode


def test_what_is_no_file_is_written_to_as_it_is():
    write_whole(os.devnull, b"lost")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("what", ["weights", "picture", "curve"])
def test_a_folder_where_a_file_should_go_is_named(tmp_path, what):
    if what == "curve":
        pytest.importorskip("matplotlib")
    writers = {
        "weights": load_model("xor").save,
        "picture": tg.draw(tg.tensor(1.0, name="x")).render,
        "curve": History([ROW]).curve,
    }
    for name in ("x.gv", "x.gv/") if what != "curve" else ("x.png", "x.png/"):
        (tmp_path / name).mkdir(exist_ok=True)
        with pytest.raises(tg.TinygraphError, match=r"x\.(gv|png)/?'.*: it is a folder$"):
            writers[what](f"{tmp_path}/{name}")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    # The superuser may write everywhere, so the answer of the system is put in its place.
    for closed, message in ((file, "it may not be written to"), (tmp_path, "the folder '.*' may not be written to")):
        monkeypatch.setattr(os, "access", lambda path, mode, closed=closed: Path(path) != closed)
        with pytest.raises(PermissionError, match=message):
            write_whole(file, b"new")
    assert file.read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders")
def test_the_file_and_its_folder_are_flushed_to_disk(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def noted(descriptor):
        flushed.append((os.fstat(descriptor).st_ino, (tmp_path / "file").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(tmp_path / "file", b"new")
    # The data before the file has its name, and the folder after that.
    assert flushed == [((tmp_path / "file").stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_file_system_that_cannot_flush_is_written_to(tmp_path, monkeypatch):
    def cannot(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_errors_name_the_file_and_not_the_partial_one(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device", "0123.partial")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_whole(tmp_path / "file", b"new")
    assert error.value.filename == str(tmp_path / "file")
    assert not os.listdir(tmp_path)


WRITER = """
import os, signal, sys
import tinygraph.files
def stop(descriptor):
    print("written", flush=True)
    sys.stdin.read() or os.kill(os.getpid(), signal.SIGKILL)
os.fsync = stop
tinygraph.files.write_whole(sys.argv[1], b"half")
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    killed, alive = (
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in ("killed", "alive")
    )
    for writer in (killed, alive):
        assert writer.stdout.readline() == b"written\n"
    killed.communicate(timeout=60)
    # Names that are somebody else's, and one whose writer may not have locked it yet.
    others = {"thesis.partial", "0123.partial", f"{'0' * 16}.partial"}
    for name in others:
        (tmp_path / name).write_bytes(b"" if name.startswith("00") else b"x")
    assert len(list(tmp_path.glob("*.partial"))) == 5
    write_whole(tmp_path / "next", b"new")
    assert len(list(tmp_path.glob("*.partial"))) == 4
    alive.kill()
    alive.communicate(timeout=60)
    os.utime(tmp_path / f"{'0' * 16}.partial", (0, 0))
    write_whole(tmp_path / "next", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"next", "thesis.partial", "0123.partial"}


@pytest.mark.parametrize("locks", ["refused", "unknown"])
def test_files_are_written_without_locks_too(tmp_path, monkeypatch, locks):
    """Some network drives refuse locks, and Windows has others; there only old files are taken for abandoned."""

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    if locks == "unknown":
        monkeypatch.setattr("tinygraph.files.fcntl", None)
    else:
        monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    old, new = (tmp_path / f"{digit * 16}.partial" for digit in "01")
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_whole(tmp_path / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", new.name}
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'"):
        write_whole(tmp_path / "nowhere" / "file", b"")
    with pytest.raises(tg.RenderError, match=r"x\.gv' cannot be written: there is no folder '.*nowhere'"):
        tg.draw(tg.tensor(1.0, name="x"), tmp_path / "nowhere" / "x.gv")


ENTRANCES = {
    "save": lambda path: tg.load_model("xor").save(path),
    "load": lambda path: tg.load_model("xor").load(path),
    "load_data": tg.load_data,
    "read_arrays": read_arrays,
    "save_csv": History([ROW]).save_csv,
    "curve": History([ROW]).curve,
    "to_onnx": lambda path: tg.load_model("xor").to_onnx(path),
    "from_onnx": tg.from_onnx,
    "render": lambda path: tg.draw(tg.load_model("xor")).render(path),
    "notes": lambda path: tg.notes(tg.load_model("xor")).write(path),
    "load_model": tg.load_model,
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    "name", [None, 3, b"x.svg", [], "", ".", "a\0.svg", "a" * 300, "a" * 300 + ".svg", "a" * 300 + ".npz"], ids=repr
)
def test_what_names_no_file_is_refused_in_words(entrance, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tg.TinygraphError):
        ENTRANCES[entrance](name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pets.csv", "pets.tsv", "pets.npz", "pets.npy", "pets.png", "pets.gz"])
def test_a_missing_file_is_missing_whatever_its_format(tmp_path, name):
    (tmp_path / f"pet{Path(name).suffix}").touch()
    with pytest.raises(tg.DataError, match=f"{name}: there is no such file; did you mean 'pet{Path(name).suffix}'"):
        tg.load_data(tmp_path / name, tg.load_model("xor"), labels=False)
    with pytest.raises(tg.DataError, match=f"birds{Path(name).suffix}: there is no such file$"):
        tg.load_data(tmp_path / f"birds{Path(name).suffix}")
