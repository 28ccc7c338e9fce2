"""Signals, closed pipes and full disks end the command line cleanly and lose nothing that was learned."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tests.interruptions import (
    Outcome,
    faults_of_files,
    faults_of_mixture,
    handlers_installed,
    interrupt,
    summary,
    without_effect,
)
from tests.tools.commands import model_text
from tinygraph import interruption
from tinygraph.cli import main
from tinygraph.cli.runs import run_folder
from tinygraph.model import load_model

PROGRAM = [sys.executable, "-m", "tinygraph"]
LONG = ["train", "xor", "--epochs", "10000000", "--out", "o"]
STEEP = model_text(name="steep")
FAILING = """
import numpy as np
import tinygraph as tg
calls = []

@tg.op
def failing_tanh(x):
    calls.append(x)
    if len(calls) > 40:
        raise ValueError("no more")
    return np.tanh(x)

@failing_tanh.vjp
def failing_tanh_vjp(dy, y, x):
    return dy * (1 - y * y)
"""
SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def started(arguments, folder, program=PROGRAM, **streams):
    return subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        env=os.environ | {"PYTHONPATH": str(Path(tg.__file__).parents[1])},
    )


def until_it_learns(process):
    while not process.stdout.readline().startswith(b"epoch "):
        assert process.poll() is None


def kept(folder):
    """Whether weights other than the initial ones are there, with a history."""
    model = load_model("xor")
    model.load(folder / "weights.safetensors")
    fresh = load_model("xor").parameters["W1"].value
    assert (folder / "history.csv").read_text(encoding="utf-8").startswith("epoch,loss")
    return not np.array_equal(model.parameters["W1"].value, fresh) and not faults_of_files(folder)


# When the program starts


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says which signals a process handles")
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("way", ["module", "script"])
def test_a_signal_during_the_imports_is_one_line(tmp_path, name, way):
    script = tmp_path / "tinygraph"
    script.write_text("from tinygraph.cli import main\nmain()\n")
    process = started(["train", "xor"], tmp_path, PROGRAM if way == "module" else [sys.executable, str(script)])
    while not handlers_installed(process.pid):
        assert process.poll() is None
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=60)
    by = "" if name == "SIGINT" else f" by {name}"
    assert (process.returncode, errors.decode(), output) == (
        128 + getattr(signal, name),
        f"error: interrupted{by}\n",
        b"",
    )


@pytest.mark.parametrize(
    "code", ["import tinygraph", "import sys; sys.argv = ['my_tinygraph.py']; import tinygraph.cli"]
)
def test_other_programs_keep_their_signals(code):
    said = "; import signal as s; print(s.getsignal(s.SIGINT) is s.default_int_handler, s.getsignal(s.SIGTERM) is s.SIG_DFL)"
    shown = subprocess.run([sys.executable, "-c", code + said], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "True True\n"


@pytest.mark.parametrize(
    ("argv", "command", "expected"),
    [
        (["/usr/bin/tinygraph"], [], True),
        ([r"C:/Scripts/tinygraph.exe"], [], True),
        (["-m"], ["python", "-B", "-m", "tinygraph", "train"], True),
        (["-m"], ["python", "-m", "other", "tinygraph"], False),
        (["-m"], ["python", "-m"], False),
        (["train.py"], ["python", "train.py", "tinygraph"], False),
        ([""], [], False),
        ([], [], False),
    ],
)
def test_only_the_program_takes_over_signals(monkeypatch, argv, command, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", command)
    assert interruption._runs_the_program() == expected


@posix
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    code = (
        "import sys, signal; sys.argv = ['tinygraph']; signal.signal(signal.SIGHUP, signal.SIG_IGN); import tinygraph"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code + "; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout == "True\n"


# While it waits

HELD = """
import os, signal, sys, time
import tinygraph.interruption as i
i.take_over()
i.PATIENCE = 0.2
def send(name): os.kill(os.getpid(), getattr(signal, name))
"""


@posix
@pytest.mark.parametrize(
    ("code", "end", "said"),
    [
        ("send('SIGTERM')", 143, "error: interrupted by SIGTERM\n"),
        ("i.note_results('runs/x'); send('SIGINT')", 130, "error: interrupted; what was learned is kept in runs/x\n"),
        # The first signal counts, and takes effect at the end of the outermost part that holds it.
        (
            "with i.held():\n with i.held(): send('SIGHUP'); send('SIGTERM')\n print('on')",
            129,
            "error: interrupted by SIGHUP\n",
        ),
        # Training is told once, and then goes on to save what was learned.
        (
            "with i.held():\n send('SIGTERM')\n try: i.raise_if_interrupted()\n except KeyboardInterrupt: print('on')\n"
            " i.raise_if_interrupted()\nsys.exit(i.exit_code(0))",
            143,
            "",
        ),
        # A user who insists is not kept waiting, and a signal sent twice at once is no insisting.
        (
            "try:\n with i.held(): send('SIGINT'); send('SIGINT'); print('on'); time.sleep(0.3); send('SIGINT'); print('off')\n"
            "except KeyboardInterrupt: sys.exit(i.exit_code(0))",
            130,
            "",
        ),
        ("i.finish(); send('SIGINT'); send('SIGTERM'); print('on'); sys.exit(i.exit_code(7))", 7, ""),
    ],
)
def test_when_a_signal_takes_effect(code, end, said):
    done = subprocess.run([sys.executable, "-c", HELD + code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (end, said)
    assert done.stdout == ("on\n" if "'on'" in code else "")


@posix
def test_a_file_is_completed_before_a_signal_ends_the_program(tmp_path):
    code = "import tinygraph.files as f\nfsync = os.fsync\ndef slow(d): send('SIGTERM'); fsync(d)\nos.fsync = slow\n"
    code += f"f.write_whole({str(tmp_path / 'file')!r}, b'new')\nprint('on')"
    done = subprocess.run([sys.executable, "-c", HELD + code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (143, "error: interrupted by SIGTERM\n", "")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


# While it trains


@posix
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_keeps_what_was_learned(tmp_path, name):
    process = started(LONG, tmp_path)
    until_it_learns(process)
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + getattr(signal, name), b"")
    assert re.search(
        rb"training was interrupted after \d+ epochs?; what was learned so far is kept, and --resume continues\n$",
        output,
    )
    assert kept(tmp_path / "o")


@posix
def test_a_closed_pipe_keeps_what_was_learned(tmp_path):
    # A closed pipe is noticed when something is written, so lines must come often.
    process = started(["train", "xor", "--epochs", "20000", "--out", "p"], tmp_path)
    until_it_learns(process)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (141, b"")
    assert kept(tmp_path / "p")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", [["train", "xor"], ["equations", "xor"], ["--help"], ["--version"]])
def test_a_full_device_is_an_error(tmp_path, command):
    with Path("/dev/full").open("wb") as full:
        process = started(command, tmp_path, stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"error: (standard output: )?No space left on device\n", errors.decode())


@posix
def test_a_device_that_becomes_full_keeps_what_was_learned(run, monkeypatch):
    from tinygraph.cli import terminal

    def fail(report):
        if report.epoch == 3:
            raise OSError(28, "No space left on device", "standard output")

    monkeypatch.setattr(terminal, "plain_report", fail)
    result = run("train", "xor", "--epochs", 50, "--out", "o")
    assert result.exit_code == 2
    assert result.stderr == "error: standard output: No space left on device; what was learned is kept in o\n"
    assert kept(Path("o"))
    assert {path.name for path in Path("o").iterdir()} >= {"history.csv", "weights.safetensors"}


@posix
@pytest.mark.parametrize("way", ["closed", "Ctrl-C", "Ctrl-C twice"])
def test_a_terminal_keeps_what_was_learned(tmp_path, way):
    """As users train: with a line of progress, in a terminal that may be closed at any time."""
    terminal, end = os.openpty()
    code = "import os, fcntl, termios; os.setsid(); fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
    code += f"os.execv({sys.executable!r}, {[*PROGRAM, *LONG]!r})"
    streams = {"stdin": end, "stdout": end, "stderr": end}
    process = started([], tmp_path, [sys.executable, "-c", code], **streams)
    os.close(end)
    shown = b""
    while b"epoch " not in shown:
        shown += os.read(terminal, 10000)
    if way == "closed":
        os.close(terminal)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    else:
        os.write(terminal, b"\x03" * (1 + (way == "Ctrl-C twice")))
        with contextlib.suppress(OSError):
            while more := os.read(terminal, 10000):
                shown += more
        os.close(terminal)
        assert process.wait(timeout=60) == 130
        assert b"Traceback" not in shown
        # The cursor is never hidden, and the line that was updated is ended before the next one.
        assert b"\x1b[?25l" not in shown
        assert re.search(rb"\nwrote weights.safetensors, [^\r\n]*\r\n", shown)
    assert kept(tmp_path / "o")


def test_a_loss_that_is_not_finite_keeps_what_was_learned(run):
    Path("steep.toml").write_text(STEEP, encoding="utf-8")
    result = run("train", "steep.toml", "--learning-rate", 1e30, "--epochs", 5, "--out", "o")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"error: epoch 2, step 1: the first value that is not finite is .*; what was learned is kept in o\n",
        result.stderr,
    )
    # The curve and the picture follow where there is a renderer for them.
    assert "wrote weights.safetensors, history.csv" in result.stdout
    model = load_model("steep.toml")
    model.load("o/weights.safetensors")
    assert abs(model.parameters["W"].value).max() > 1e20
    assert len(Path("o/history.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_an_operation_that_fails_keeps_what_was_learned(run, registry):
    Path("ops.py").write_text(FAILING, encoding="utf-8")
    text = load_model("xor").path.read_text(encoding="utf-8").replace("h = tanh(", "h = failing_tanh(")
    Path("mine.toml").write_text(text, encoding="utf-8")
    result = run("train", "mine.toml", "--ops", "ops.py", "--epochs", 50, "--out", "o")
    assert result.exit_code == 2
    assert re.fullmatch(r"error: .*no more.*; what was learned is kept in o\n", result.stderr)
    assert kept(Path("o"))


def test_the_history_of_a_training_that_diverged_is_kept():
    model = load_model("xor")
    rows = []

    def spoil(progress):
        rows.extend([progress.row] if progress.row else [])
        if progress.epoch == 3:
            model.parameters["W1"].value = np.full_like(model.parameters["W1"].value, np.inf)

    with pytest.raises(tg.TrainingDiverged, match=r"^epoch 4, step 1: ") as error:
        tg.fit(model, epochs=9, batch_size=4, callback=spoil)
    assert error.value.history.rows == rows
    assert len(rows) == 3


def test_nothing_learned_leaves_an_earlier_training_as_it_was(run):
    assert run("train", "xor", "--epochs", 1, "--out", "o").exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("o").iterdir()}
    Path("bad.toml").write_text(STEEP.replace("z = ", "z = 1e30 * "), encoding="utf-8")
    result = run("train", "bad.toml", "--out", "o", "--force")
    assert "no parameter has moved yet" in result.stderr
    assert {path.name: path.read_bytes() for path in Path("o").iterdir()} == before


def test_no_thread_is_started_by_the_program(run, monkeypatch):
    """Imports on a thread, and an interruption that waits for it, were a deadlock."""
    names, start = [], threading.Thread.start

    def noted(self):
        names.append(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", noted)
    monkeypatch.setenv("TINYGRAPH_THREADS", "1")
    monkeypatch.setattr("tinygraph.cli.terminal.styled", lambda: True)
    assert run("train", "xor", "--epochs", 3).exit_code == 0
    # Subprocesses, such as that of Graphviz, are read without threads where the system allows it.
    assert [name for name in names if "communicate" not in name] == []


# Where results go


@posix
def test_two_trainings_do_not_share_a_folder(tmp_path):
    process = started(LONG, tmp_path)
    until_it_learns(process)
    other = subprocess.run(
        [*PROGRAM, "train", "xor", "--out", "o", "--force"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(tg.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    process.kill()
    process.communicate()
    assert other.returncode == 2
    assert other.stderr == (
        "error: another training writes to the output folder 'o'; wait for its end, or name another folder with --out\n"
    )
    # The lock is gone with the process.
    with run_folder(tmp_path / "o", "xor", force=True) as folder:
        assert folder == tmp_path / "o"
    # What it left is a result.
    with pytest.raises(tg.TinygraphError, match=r"checkpoint\.safetensors' exists and is not replaced"):
        run_folder(tmp_path / "o", "xor", force=False).__enter__()


def test_trainings_at_once_choose_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with run_folder(None, "xor", False) as first, run_folder(None, "xor", False) as second:
        assert (first, second) == (Path("runs/xor"), Path("runs/xor_2"))
        with pytest.raises(tg.TinygraphError, match="another training writes to"), run_folder(None, "xor", True):
            pass
    with run_folder(None, "xor", False) as third:
        assert third == first


def test_what_a_killed_training_left_is_removed_by_the_next(run):
    for folder in ("runs/xor", "runs/xor_2"):
        Path(folder).mkdir(parents=True)
        Path(folder, f"{'0' * 16}.partial").write_bytes(b"half")
    Path("runs/xor/weights.safetensors").write_bytes(b"")
    assert run("train", "xor", "--epochs", 1).exit_code == 0
    assert not list(Path("runs").rglob("*.partial"))
    assert Path("runs/xor_2/weights.safetensors").is_file()


@pytest.mark.parametrize("name", ["weights.safetensors", "history.csv", "curve.png", "graph.svg", "graph.gv"])
def test_a_folder_where_a_result_should_go_is_noticed_before_training(run, name):
    Path("o", name).mkdir(parents=True)
    result = run("train", "xor", "--out", "o", "--force")
    assert (result.exit_code, result.stderr) == (2, f"error: 'o/{name}' cannot be written: it is a folder\n")
    assert result.stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "xor", "--weights", "w", "--out"],
        ["draw", "xor", "-o"],
        ["notes", "xor", "-o"],
        ["export", "xor", "-o"],
        ["import", "x.onnx", "-o"],
        ["check", "xor", "--draw"],
    ],
)
def test_where_no_file_can_be_written_is_noticed_before_the_work(run, command, monkeypatch):
    Path("folder.csv").mkdir()
    for path, why in (("folder.csv", "it is a folder"), ("nowhere/x.csv", "there is no folder 'nowhere'")):
        result = run(*command, path)
        assert (result.exit_code, result.stderr) == (2, f"error: '{path}' cannot be written: {why}\n")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run(*command, "x.csv").stderr == "error: 'x.csv' cannot be written: the folder '.' may not be written to\n"


def test_a_disk_that_is_full_at_the_end_does_not_lose_what_was_learned(run, monkeypatch):
    write, here = tg.Model.save, Path.cwd()

    def full(self, path):
        if Path(path).resolve().is_relative_to(here / "o"):
            raise tg.WeightsError(f"{str(path)!r} cannot be written: No space left on device")
        write(self, path)

    monkeypatch.setattr(tg.Model, "save", full)
    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = run("train", "xor", "--epochs", 1, "--out", "o")
    found = re.fullmatch(
        r"error: 'o/weights.safetensors' cannot be written: No space left on device; what was learned is kept in '(.*)'\n",
        result.stderr,
    )
    assert result.exit_code == 2
    assert kept(Path(found[1]))


# At random moments


@posix
def test_interruptions_at_random_moments(tmp_path):
    """A short part of ``python -m tests.interruptions``, which says what it looks at."""
    outcomes = interrupt(15, seed=int(time.time()), seconds=12, commands=["train again"])
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.faults] == []


def test_faults_are_found(tmp_path):
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    for folder in (earlier, later):
        folder.mkdir()
        model = load_model("xor", seed=len(folder.name))
        model.save(folder / "weights.safetensors")
        (folder / "history.csv").write_text("epoch,loss\n1,2\n")
        (folder / "graph.svg").write_text("<svg/>")
        (folder / "curve.png").write_bytes(b"...IEND\xaeB`\x82")
    assert faults_of_files(earlier) == []
    assert faults_of_mixture(later, earlier) != []
    assert faults_of_mixture(earlier, earlier) == []
    for path in later.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    (later / "0.partial").write_bytes(b"")
    names = ["0.partial is left", *(f"{path.name} is not whole" for path in sorted(earlier.iterdir()))]
    assert faults_of_files(later) == names
    assert "2 interruptions, 1 faults" in summary(
        [Outcome("a", "SIGINT", 0, "hung", ("it hung",)), Outcome("a", "SIGKILL", 0, "finished")]
    )
    assert without_effect([Outcome("a", "SIGHUP", 0, "interrupted")] * 6) == []
    assert without_effect([Outcome("a", "SIGHUP", 0, "finished")] * 6) == ["SIGHUP"]
