"""Files are written whole, or what was there stays."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.certify.plot import plot_format
from tinygraph.files import write_whole

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


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'"):
        write_whole(tmp_path / "nowhere" / "file", b"")
    with pytest.raises(tg.RenderError, match=r"x\.gv' cannot be written: there is no folder '.*nowhere'"):
        tg.draw(tg.tensor(1.0, name="x"), tmp_path / "nowhere" / "x.gv")


def test_a_plot_that_cannot_be_made_is_refused_before_the_work(monkeypatch):
    with pytest.raises(tg.RenderError, match=r"ends with '\.png', '\.svg' and '\.pdf'; did you mean '\.png'\?"):
        plot_format("x.pngg")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(tg.RenderError, match=r"needs matplotlib: pip install matplotlib$"):
        plot_format("x.png")
