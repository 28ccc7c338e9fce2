"""The command line: the group, models that cannot be read, operations of the user, and what fits no command."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg
from tests.tools.commands import PROGRAM
from tinygraph.cli import main
from tinygraph.cli.options import import_operations
from tinygraph.cli.terminal import reporter
from tinygraph.model import bundled_models, load_model
from tinygraph.train import Progress, Row

# ---- Models that cannot be read


@pytest.mark.parametrize("command", ["train", "draw", "equations", "check"])
def test_an_unknown_model_offers_the_nearest_name(command, fails):
    assert "did you mean 'notes_cnn'?" in fails(command, "notes_cn")


def test_a_model_file_cut_in_the_middle_names_file_and_line(fails):
    text = bundled_models()["notes_cnn"].read_text(encoding="utf-8")
    Path("cut.toml").write_text(text[: text.index("P1 = avg_pool2d") + 8], encoding="utf-8")
    assert re.search(r"^error: cut\.toml:\d+", fails("train", "cut.toml"))


def test_an_unknown_operation_in_a_model_names_its_line_and_the_nearest(fails):
    text = bundled_models()["notes_cnn"].read_text(encoding="utf-8").replace("C1 = relu(Z1)", "C1 = rellu(Z1)")
    Path("typo.toml").write_text(text, encoding="utf-8")
    message = fails("equations", "typo.toml")
    number = text.splitlines().index("C1 = rellu(Z1)") + 1
    assert f"typo.toml:{number}:6: " in message
    assert "did you mean 'relu'?" in message


def test_a_folder_is_no_model(fails):
    Path("folder").mkdir()
    assert "folder" in fails("equations", "folder")


def test_a_model_that_is_no_text_is_an_error(fails):
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "binary.toml" in fails("draw", "binary.toml")


# ---- Operations of the user's own


def test_own_operations_work_in_every_command(run, own):
    model, ops = own
    assert "soft_plus(x)" in run("ops", "--ops", ops).stdout
    explained = run("ops", "soft_plus", "--ops", ops).stdout
    assert "dx = dy * sigmoid(x) * 1" in explained or "dx = dy * sigmoid(x)" in explained
    assert "(my_ops)" in explained
    assert "by: float, default 2.0" in run("ops", "scaled", "--ops", ops).stdout
    assert "soft_plus(x @ W)" in run("equations", model, "--backward", "--ops", ops).stdout
    assert run("draw", model, "-o", "own.gv", "--ops", ops).exit_code == 0
    assert "soft_plus" in Path("own.gv").read_text(encoding="utf-8")
    assert run("train", model, "--ops", ops).exit_code == 0
    assert run("predict", model, "--weights", "runs/own/weights.safetensors", "--ops", ops).exit_code == 0


def test_own_operations_are_unknown_without_the_option(fails, own):
    model, _ = own
    assert "soft_plus" in fails("train", model)


def test_the_file_of_own_operations_must_be_sound(fails):
    assert "no file 'none.py'" in fails("ops", "--ops", "none.py")
    Path("ops.txt").write_text("")
    assert "must end in .py" in fails("ops", "--ops", "ops.txt")
    Path("broken.py").write_text("x = 1\nx = x + unknown\n")
    assert "broken.py:2: NameError" in fails("ops", "--ops", "broken.py")
    Path("syntax.py").write_text("x = 1\n\ndef f(:\n")
    message = fails("ops", "--ops", "syntax.py")
    assert "--ops: syntax.py:3: SyntaxError: " in message
    assert message.count("syntax.py") == 1
    assert message.count("3") == 1
    Path("importing.py").write_text("import runpy\nrunpy.run_path('syntax.py')\n")
    assert "--ops: syntax.py:3: SyntaxError: " in fails("ops", "--ops", "importing.py")


def test_an_operation_that_replaces_another_is_noted(run, registry):
    Path("mine.py").write_text("import tinygraph as tg\n@tg.op\ndef tanh(x):\n    return x\n")
    result = run("ops", "tanh", "--ops", "mine.py")
    assert result.exit_code == 0
    assert result.stderr.startswith("note: mine.py:2: operation 'tanh'")
    assert "(mine)" in result.stdout


def test_a_file_may_be_imported_twice(run, own):
    _, ops = own
    import_operations(Path(ops).absolute())
    assert run("ops", "--ops", ops, "--ops", ops).exit_code == 0


# ---- what fits no command


@pytest.mark.parametrize("command", ["plan", "equations", "check"])
def test_more_samples_than_an_array_can_hold_are_refused(fails, command):
    assert "not in the range 1<=x<=2147483647" in fails(command, "xor", "--batch-size", "99999999999999")


def test_text_and_a_file_at_once_are_refused(fails):
    assert "writes no file; leave out -o 'x.svg'" in fails("draw", "xor", "--format", "text", "-o", "x.svg")
    assert not Path("x.svg").exists()


def test_an_onnx_file_is_called_one(fails):
    message = "error: an ONNX file ends in .onnx, and a model file in .toml; found 'x.txt'"
    assert fails("export", "xor", "-o", "x.txt") == message


def test_a_model_is_written_as_a_model_file_with_its_values(run, fails):
    model = load_model("xor", seed=1)
    model.save("w.safetensors")
    assert run("export", "xor", "--weights", "w.safetensors", "-o", "trained.toml").exit_code == 0
    assert (load_model("trained.toml").parameters["W1"].value == model.parameters["W1"].value).all()
    assert "exists and is not replaced" in fails("export", "xor", "-o", "trained.toml")
    assert run("export", "lenet5", "-o", "plain.toml").exit_code == 0
    model = load_model("lenet5", seed=1)
    model.save("w.safetensors")
    assert "model.save(path) writes the values" in fails(
        "export", "lenet5", "--weights", "w.safetensors", "-o", "large.toml"
    )


def test_export_replaces_no_file_unless_forced(run, fails):
    Path("xor.onnx").write_text("mine")
    assert "'xor.onnx' exists and is not replaced: -o names another file, or --force" in fails("export", "xor")
    assert Path("xor.onnx").read_text() == "mine"
    assert run("export", "xor", "--force").exit_code == 0
    assert Path("xor.onnx").read_bytes() != b"mine"


def test_names_of_another_models_weights_are_told_in_order(fails):
    load_model("lenet5").save("w.safetensors")
    told = fails("predict", "xor", "--weights", "w.safetensors").partition("the model lacks ")[2]
    assert told == "'B3', 'B5', 'B6', 'B7', 'K1', 'K3', 'W5', 'W6' and 'W7'"


# ---- The group


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    assert re.findall(r"^  ([a-z]+) ", result.stdout.partition("Commands:")[2], re.MULTILINE) == list(main.commands)
    for command in main.commands:
        assert run(command, "--help").exit_code == 0


def test_the_version_is_that_of_the_package(run):
    assert run("--version").stdout == f"tinygraph {tg.__version__}\n"


def test_without_a_command_the_help_is_shown(run):
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_a_command_with_a_typo_offers_the_nearest(fails):
    assert "train" in fails("trian", "xor")


def test_interruptions_elsewhere_end_with_130(run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygraph.model.load_model", interrupted)
    result = run("equations", "xor")
    assert result.exit_code == 130
    assert result.stderr.strip() == "error: interrupted"


def test_errors_of_the_system_name_the_file(fails, monkeypatch):
    def refused(*args):
        raise PermissionError(13, "Permission denied", "secret.toml")

    monkeypatch.setattr("tinygraph.model.load_model", refused)
    assert fails("equations", "xor") == "error: secret.toml: Permission denied"


def test_memory_that_is_not_there_is_an_error(fails, monkeypatch):
    def full(*args):
        raise MemoryError

    monkeypatch.setattr("tinygraph.model.load_model", full)
    assert fails("equations", "xor") == "error: not enough memory"


def test_the_group_can_be_called_from_python():
    assert main(["--version"], standalone_mode=False) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently there")
@pytest.mark.parametrize("arguments", [["ops"], ["--help"], ["certify", "loud.py"]])
def test_a_reader_that_goes_away_is_no_error(arguments, tmp_path):
    loud = "import tinygraph as tg\n\nprint('loading', flush=True)\n\n@tg.op\ndef loud(x):\n    return 2 * x\n"
    (tmp_path / "loud.py").write_text(loud, encoding="utf-8")
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="there is no shell that closes streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closed, tmp_path):
    command = f"{shlex.join([*PROGRAM, 'train', 'xor', '--epochs', '1', '--out', 'o'])} {closed}"
    result = subprocess.run(command, shell=True, capture_output=True, cwd=tmp_path, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "o/weights.safetensors").is_file()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_narrow_encodings_replace_what_they_lack(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run([*PROGRAM, "ops", "conv2d"], capture_output=True, env=environment, timeout=60)
    assert result.returncode == 0
    assert b"x ? k" in result.stdout
    result = subprocess.run([*PROGRAM, "ops", "⋆"], capture_output=True, env=environment, timeout=60)
    assert result.stderr.startswith(b"error: no operation is called '?'")


def test_a_warning_is_a_note(tmp_path):
    code = PROGRAM[-1].replace("main(", "import warnings, tinygraph.model as m; m.load_model = warnings.warn; main(")
    result = subprocess.run([sys.executable, "-c", code, "draw", "odd"], capture_output=True, text=True, timeout=60)
    assert result.stderr.startswith("note: odd\n")


def test_the_program_starts_without_anything_heavy():
    heavy = {"matplotlib", "graphviz", "pygraphviz", "safetensors"}
    code = f"import sys; from tinygraph.cli import main; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "[]\n", result.stderr


def in_a_terminal(folder, *arguments, **environment):
    """Run the program in a pseudo-terminal, and return what it wrote there."""
    import pty

    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments], cwd=folder, stdout=terminal, stderr=terminal, env=os.environ | environment
    )
    os.close(terminal)
    output = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(controller, 65536):
            output += chunk
    os.close(controller)
    assert process.wait(timeout=60) == 0
    return output


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of Unix")
def test_a_terminal_gets_a_line_that_is_updated_and_lines_of_epochs(tmp_path):
    output = in_a_terminal(tmp_path, "train", "xor", "--epochs", "3", TERM="xterm", COLUMNS="100").decode()
    # The terminal itself adds a carriage return to each line break.
    lines = [text.split("\r")[-1] for text in output.replace("\r\n", "\n").split("\n")]
    assert "epoch 1/3, step 1/1   loss" in output
    assert [text[:9] for text in lines if text.startswith("epoch ")] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of Unix")
@pytest.mark.parametrize("environment", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_escape_codes_gets_none(environment, tmp_path):
    assert b"\x1b" not in in_a_terminal(tmp_path, "train", "xor", "--epochs", "3", **environment)


def test_a_line_for_each_epoch_replaces_the_one_that_is_updated(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    with reporter() as report:
        report(Progress(1, 2, 1, 1, loss=0.5, accuracy=None))
        report(Progress(1, 2, 1, 1, loss=0.5, accuracy=None, row=Row(1, 0.5, None, 0.25, None, 1.0)))
    state, _, row = sys.stdout.getvalue().partition("\r")
    assert state == "epoch 1/2, step 1/1   loss 0.5000   0 s left"
    assert row == f"{'epoch 1/2   loss 0.5000, test 0.2500':<{len(state)}}\n"
