"""The command line: what every command prints and writes, and how every mistake ends."""

import contextlib
import csv
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.cli.folders import file_name
from tinygraph.cli.gradients import gradient_lines
from tinygraph.cli.options import import_operations
from tinygraph.cli.outputs import Outputs
from tinygraph.cli.progress import line, loss_text, reporter
from tinygraph.draw import render
from tinygraph.model import bundled_models, load_model
from tinygraph.ops import FAMILIES
from tinygraph.train import Progress, Row
from tinygraph.train.labels import DecisionRule

PROGRAM = [sys.executable, "-c", "from tinygraph.cli import main; main(prog_name='tinygraph')"]
CUSTOM = """
from dataclasses import dataclass
import numpy as np
import tinygraph as tg

@tg.op(formula="log(1 + exp({x}))", samples=lambda rng: [tg.Sample(rng.standard_normal((2, 3)))])
def soft_plus(x):
    '''A smooth ReLU.

    >>> tg.operation("soft_plus")(np.array([0.0])).round(4)
    array([0.6931])
    '''
    return np.logaddexp(0, x)

@soft_plus.vjp
def soft_plus_vjp(dy, y, x):
    return dy * tg.sigmoid(x) * FACTOR

@tg.register
@dataclass(frozen=True)
class Scaled(tg.Op):
    by: float = 2.0
    formula = "{by} · {x}"
    def forward(self, x):
        return self.by * x
    def vjp(self, dy, y, x):
        return self.by * dy
"""
MODEL = """
name = "own"
[inputs]
x = [2]
y = [1]
[parameters]
W = { shape = [2, 1], init = "ones" }
[model]
equations = '''
h = soft_plus(x @ W)
z = scaled(h, by=0.5)
cost = mse(z, y)
'''
output = "z"
loss = "cost"
[training]
data = "xor"
epochs = 2
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder, and return its result; no command may end in an exception of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "\x1b" not in result.output
        return result

    return invoke


@pytest.fixture
def fails(run):
    """Run a command that must end in one clear message and code 2, and return the message."""

    def invoke(*args):
        result = run(*args)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.output
        return result.stderr.strip()

    return invoke


@pytest.fixture
def own(tmp_path, registry):
    """A model with operations of the user's own, and the file that registers them."""
    (tmp_path / "own.toml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "my_ops.py").write_text(CUSTOM.replace("FACTOR", "1"), encoding="utf-8")
    return "own.toml", "my_ops.py"


@pytest.fixture
def trained(tmp_path):
    """The weights of an untrained xor."""
    path = tmp_path / "xor.safetensors"
    load_model("xor").save(path)
    return path


def xor_file(path, **arrays):
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    np.savez(path, **({"x": x, "y": y} | arrays))
    return path


# train


def test_train_writes_weights_history_curve_and_picture(run):
    result = run("train", "xor", "--epochs", 3)
    assert result.exit_code == 0
    folder = Path("runs/xor")
    written = {path.name for path in folder.iterdir()}
    assert {"weights.safetensors", "history.csv"} <= written
    assert "graph.svg" in written or "graph.gv" in written
    model = load_model("xor")
    model.load(folder / "weights.safetensors")
    with open(folder / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_train_prints_the_model_and_the_result_beside_the_majority(run):
    output = run("train", "xor", "--epochs", 3).stdout
    assert re.search(r"W1 +parameter +float32 \(2, 4\) +8\n", output)
    assert re.search(r"a += sigmoid\(Z\) +float32 \(m, 1\)\n", output)
    assert re.search(r"parameters +17\n", output)
    assert "epochs: 3, batch size: 4, SGD(learning_rate=1.0, momentum=0.0)" in output
    assert re.search(
        r"^epoch 3/3   loss 0\.\d{4}, test 0\.\d{4}   accuracy 0\.\d{4}, test 0\.\d{4}$", output, re.MULTILINE
    )
    assert "4 samples to learn from, and the same to test on\n" in output
    assert re.search(r"test accuracy 0\.\d{4} \(always the most frequent class: 0\.5000\)", output)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(run):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("train", "xor", "--epochs", 2, "--seed", seed, "--out", name).exit_code == 0
    weights = [Path(name, "weights.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_the_options_of_train_are_used(run):
    result = run(
        *("train", "xor", "--optimizer", "adam", "--learning-rate", "0.5", "--batch-size", 2, "--epochs", 1),
        *("--data", xor_file("four.npz"), "--out", "deep/er"),
    )
    assert result.exit_code == 0
    assert "Adam(learning_rate=0.5," in result.stdout
    assert "batch size: 2" in result.stdout
    assert "data four: 4 samples to learn from" in result.stdout
    assert Path("deep/er/weights.safetensors").is_file()


def test_another_optimizer_does_not_take_over_the_learning_rate_of_the_models_own(run):
    assert "Adam(learning_rate=0.001," in run("train", "xor", "--optimizer", "adam", "--epochs", 1).stdout
    assert "SGD(learning_rate=0.5," in run("train", "xor", "--learning-rate", "0.5", "--epochs", 1).stdout


def test_long_trainings_print_about_twenty_lines(run):
    lines = re.findall(r"^epoch .*", run("train", "xor", "--epochs", 205).stdout, re.MULTILINE)
    assert 15 <= len(lines) <= 25
    assert lines[0].startswith("epoch   1/205")
    assert lines[-1].startswith("epoch 205/205")


def test_training_that_predicts_numbers_reports_its_loss(run, own):
    model, ops = own
    result = run("train", model, "--ops", ops)
    assert result.exit_code == 0
    assert re.search(r"^test loss \d", result.stdout, re.MULTILINE)


def test_training_needs_no_renderer_and_no_matplotlib(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("train", "xor", "--epochs", 1)
    assert result.exit_code == 0
    assert {path.name for path in Path("runs/xor").iterdir()} == {"weights.safetensors", "history.csv", "graph.gv"}
    notes = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert "matplotlib" in notes[0]
    assert "`pip install pygraphviz matplotlib` (pygraphviz renders" in notes[1]
    assert "`dot` is on PATH" in notes[1]


def test_files_of_an_earlier_run_do_not_pass_for_those_of_this_one(run, monkeypatch):
    folder = Path("runs/xor")
    folder.mkdir(parents=True)
    for name in ("weights.safetensors", "history.csv", "curve.png", "graph.svg", "graph.gv", "notes.txt"):
        (folder / name).write_text("earlier")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("train", "xor", "--epochs", 1, "--out", folder, "--force").exit_code == 0
    left = {path.name: path.read_bytes() == b"earlier" for path in folder.iterdir()}
    assert left == {"weights.safetensors": False, "history.csv": False, "graph.gv": False, "notes.txt": True}


def test_a_training_leaves_the_results_of_another(run, fails):
    for number in ("", "_2", "_3"):
        assert f"in runs/xor{number}\n" in run("train", "xor", "--epochs", 1).stdout
    assert len({Path(f"runs/xor{n}/history.csv").read_text() for n in ("", "_2")}) == 2  # their times differ
    before = Path("runs/xor/weights.safetensors").read_bytes()
    message = fails("train", "xor", "--epochs", 2, "--out", "runs/xor")
    assert "weights.safetensors' exists and is not replaced: --out names another folder, or --force replaces" in message
    assert Path("runs/xor/weights.safetensors").read_bytes() == before
    assert run("train", "xor", "--epochs", 2, "--out", "runs/xor", "--force").exit_code == 0
    assert Path("runs/xor/weights.safetensors").read_bytes() != before


def test_two_models_of_one_name_do_not_share_a_folder(run, own):
    model, ops = own
    Path("other.toml").write_text(MODEL.replace("ones", "zeros"), encoding="utf-8")
    assert "in runs/own\n" in run("train", model, "--ops", ops).stdout
    assert "in runs/own_2\n" in run("train", "other.toml", "--ops", ops).stdout


def test_data_of_a_model_file_are_relative_to_it(run):
    folder = Path("deep")
    folder.mkdir()
    xor_file(folder / "mine.npz")
    text = bundled_models()["xor"].read_text(encoding="utf-8")
    (folder / "net.toml").write_text(text.replace('data = "xor"', 'data = "mine.npz"'), encoding="utf-8")
    load_model("xor").save("w.safetensors")
    for arguments in (
        ["train", "--epochs", 1],
        ["predict", "--weights", "w.safetensors"],
        ["draw", "--sample", 3, "-o", "x.gv"],
        ["notes", "-o", "x.md"],
    ):
        result = run(arguments[0], folder / "net.toml", *arguments[1:])
        assert result.exit_code == 0, result.output
    assert len(tg.fit(load_model(folder / "net.toml"), epochs=1)) == 1


def test_samples_to_test_on_that_are_others_are_counted(run):
    x = np.random.default_rng(0).random((10, 2))
    xor_file("ten.npz", x=x, y=np.zeros((10, 1)))
    output = run("train", "xor", "--data", "ten.npz", "--epochs", 1).stdout
    assert "8 samples to learn from, 2 to test on (one in five of each class, drawn with seed 0)\n" in output


def test_an_interruption_keeps_what_was_learned(run, monkeypatch):
    from tinygraph.cli import progress

    def interrupt(report):
        if report.epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "plain_report", interrupt)
    result = run("train", "xor", "--epochs", 50)
    assert result.exit_code == 130
    assert "interrupted after 2 epochs; what was learned so far is kept" in result.stdout
    model = load_model("xor")
    model.load("runs/xor/weights.safetensors")
    fresh = load_model("xor").parameters["W1"].value
    assert not np.array_equal(model.parameters["W1"].value, fresh)
    assert len(Path("runs/xor/history.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_the_package_runs_as_a_module_too():
    result = subprocess.run(
        [sys.executable, "-m", "tinygraph", "equations", "--help"], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.startswith("Usage: python -m tinygraph equations")
    assert result.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send to one process")
def test_ctrl_c_keeps_what_was_learned(tmp_path, interruptible):
    process = subprocess.Popen(
        [*PROGRAM, "train", "xor", "--epochs", "10000000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith(b"epoch "):
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"what was learned so far is kept" in output
    assert errors == b""
    assert (tmp_path / "runs/xor/weights.safetensors").is_file()


def test_a_loss_that_is_not_finite_stops_training_and_names_the_node(fails):
    text = MODEL.replace("soft_plus(x @ W)", "x @ W").replace("scaled(h, by=0.5)", "h * 2")
    Path("steep.toml").write_text(text, encoding="utf-8")
    message = fails("train", "steep.toml", "--learning-rate", "1e30", "--epochs", 3)
    assert "epoch 2, step 1" in message
    assert "the first value that is not finite is cost = mse(z, y)" in message


def test_a_folder_that_cannot_be_written_to_is_found_out_before_training(fails):
    Path("somefile").write_text("")
    message = fails("train", "notes_cnn_28", "--out", "somefile/x")
    assert "'somefile/x' cannot be written to: Not a directory" in message
    assert "'somefile' cannot be written to: it is a file" in fails("train", "notes_cnn_28", "--out", "somefile")


def test_a_model_that_names_no_data_asks_for_some(fails, own):
    model, ops = own
    Path(model).write_text(MODEL.replace('data = "xor"\n', ""), encoding="utf-8")
    assert "give --data" in fails("train", model, "--ops", ops)
    load_model(model).save("w.safetensors")
    assert "give --data" in fails("predict", model, "--ops", ops, "--weights", "w.safetensors")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--epochs", "0"], "'--epochs'"),
        (["--epochs", "many"], "'--epochs'"),
        (["--batch-size", "-1"], "'--batch-size'"),
        (["--seed", "-1"], "'--seed'"),
        (["--learning-rate", "fast"], "'--learning-rate'"),
        (["--learning-rate", "0"], "learning_rate must be positive"),
        (["--learning-rate", "nan"], "learning_rate must be positive"),
        (["--optimizer", "adm"], "did you mean 'adam'?"),
        (["--data", "dgits"], "did you mean 'digits'?"),
        (["--data", "digits"], "expects (1438, 2)"),
        (["--data", "missing.npz"], "there is no such file"),
        (["--out", ""], "'--out': it is empty"),
        (["--data", ""], "'--data': it is empty"),
        (["--epoch", "3"], "--epochs"),
        (["extra"], "extra"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, expected, fails):
    message = fails("train", "xor", *options)
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"x": np.array([[0, np.nan], [0, 1]], "float32"), "y": np.zeros((2, 1))},
            "x is not finite in 1 of 4 elements",
        ),
        ({"x": np.zeros((0, 2)), "y": np.zeros((0, 1))}, "x is empty"),
        ({"y": np.full((4, 1), 3.0)}, "labels 'y' must lie between 0 and 1"),
        ({"x": np.zeros((4, 3))}, "x has shape (4, 3)"),
        ({"x": np.zeros((3, 2))}, "x has 3 samples and y has 4"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(arrays, expected, fails):
    assert expected in fails("train", "xor", "--data", xor_file("bad.npz", **arrays))
    assert not Path("runs").exists()


def test_a_file_that_holds_no_arrays_is_refused(fails):
    Path("text.npz").write_text("not a zip file")
    assert "text.npz" in fails("train", "xor", "--data", "text.npz")


# Models that cannot be read


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


# predict


def test_predict_prints_the_first_rows_and_the_accuracy(run):
    load_model("notes_cnn").save("w.safetensors")
    output = run("predict", "notes_cnn", "--weights", "w.safetensors").stdout
    assert output.splitlines()[0].split() == ["sample", "a", "predicted", "label"]
    assert "... and 349 more" in output
    assert re.search(r"^accuracy 0\.\d{4} on 359 samples$", output, re.MULTILINE)


def labelled(path, **arrays):
    """A file of twelve samples with two classes, not in the order of the classes."""
    x = np.random.default_rng(0).standard_normal((12, 2)).astype("float32")
    return xor_file(path, x=x, y=np.array([[0], [0], [1]] * 4), **arrays), x


def test_predict_scores_the_samples_that_train_tests_on(run, trained):
    path, x = labelled("twelve.npz")
    data = tg.load_data(path)
    rule = "to test on (one in five of each class, drawn with seed 0)\n"
    assert f"10 samples to learn from, 2 {rule}" in run("train", "xor", "--data", path, "--epochs", 1).stdout
    output = run("predict", "xor", "--weights", trained, "--data", path, "--out", "o.npz").stdout
    assert f"data twelve: the 2 samples {rule}" in output
    assert "on 2 samples" in output
    with np.load("o.npz") as written:
        assert written["sample"].tolist() == data.drawn.tolist()
        assert np.array_equal(written["output"], load_model("xor").predict(x[data.drawn]))


def test_predict_scores_the_test_samples_of_a_file_that_has_some(run, trained):
    path, _ = labelled("own.npz", x_test=np.ones((3, 2)), y_test=np.ones((3, 1)))
    output = run("predict", "xor", "--weights", trained, "--data", path).stdout
    assert "data own: the 3 samples to test on (x_test and y_test of the file)\n" in output
    assert "on 3 samples" in output


@pytest.mark.parametrize("part", ["train", "all"])
def test_predict_takes_the_other_samples_when_asked(run, trained, part):
    path, x = labelled("twelve.npz")
    output = run("predict", "xor", "--weights", trained, "--data", path, "--part", part, "--out", "o.npz").stdout
    at = np.setdiff1d(np.arange(12), tg.load_data(path).drawn) if part == "train" else np.arange(12)
    assert f"the {len(at)} samples {'to learn from' if part == 'train' else 'of both parts'}" in output
    with np.load("o.npz") as written:
        assert written["sample"].tolist() == at.tolist()
        assert np.array_equal(written["output"], load_model("xor").predict(x[at]))


def test_outputs_do_not_replace_the_data(fails, trained):
    path, _ = labelled("twelve.npz")
    before = Path(path).read_bytes()
    message = fails("predict", "xor", "--weights", trained, "--data", path, "--out", "./twelve.npz")
    assert "'twelve.npz' holds the data" in message
    assert Path(path).read_bytes() == before


def test_predict_needs_no_labels(run, trained):
    np.savez("x.npz", x=np.zeros((3, 2)))
    result = run("predict", "xor", "--weights", trained, "--data", "x.npz", "--out", "o.csv")
    assert result.exit_code == 0
    assert "accuracy" not in result.stdout
    assert result.stdout.splitlines()[0].split() == ["sample", "a", "predicted"]
    with open("o.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    output = load_model("xor").predict(np.zeros((3, 2)))
    assert [np.float32(row["a"]) for row in rows] == output.ravel().tolist()
    assert [int(row["predicted"]) for row in rows] == (output > 0.5).ravel().tolist()


def test_predict_shows_and_writes_classes_as_columns(run):
    load_model("lenet5").save("w.safetensors")
    result = run("predict", "lenet5", "--weights", "w.safetensors", "--out", "o.csv")
    assert result.exit_code == 0
    names = ["sample", "predicted", "label", *(f"a[{i}]" for i in range(10))]
    table = result.stdout.splitlines()[:11]
    assert table[0].split() == names
    assert len({len(line) for line in table}) == 1
    assert all(re.fullmatch(r" +\d+  +\d  +\d(  0\.\d{4}){10}", line) for line in table[1:])
    with open("o.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == names
    assert len(rows) == 359
    for row in rows[:5]:
        assert int(row["predicted"]) == np.argmax([float(row[f"a[{i}]"]) for i in range(10)])


def test_labels_in_a_row_of_classes_are_shown_as_the_class():
    outputs = Outputs("a", np.array([[0.1, 0.9], [0.8, 0.2]]), np.eye(2), DecisionRule())
    assert outputs.shown() == [
        ["sample", "predicted", "label", "a[0]", "a[1]"],
        ["0", "1", "0", "0.1000", "0.9000"],
        ["1", "0", "1", "0.8000", "0.2000"],
    ]


def test_outputs_that_decide_nothing_are_shown_as_numbers():
    assert Outputs("z", np.array([1.5e-9, 2.0]), np.array([0.5, 1e7])).shown() == [
        ["sample", "z", "label"],
        ["0", "1.5e-09", "0.5"],
        ["1", "2", "10000000"],
    ]
    header, row = Outputs("z", np.arange(12.0).reshape(1, 3, 4)).shown()
    assert header[-1] == "z[2, 1]"
    assert row == ["0", *"0123456789"]


def test_help_says_which_data_predict_takes(run):
    assert "[default: what the model says]" in " ".join(run("predict", "--help").stdout.split())


def test_weights_of_another_model_are_refused(fails, trained):
    assert "not the weights of model 'notes_cnn'" in fails("predict", "notes_cnn", "--weights", trained)


def test_damaged_weights_are_refused(fails, trained):
    content = trained.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 64):
        trained.write_bytes(damaged)
        assert trained.name in fails("predict", "xor", "--weights", trained)


def test_missing_weights_are_an_error(fails):
    assert "none.safetensors" in fails("predict", "xor", "--weights", "none.safetensors")
    assert "--weights" in fails("predict", "xor")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": np.array([[np.inf, 0.0]])}, "x is not finite in 1 of 2 elements"),
        ({"x": np.array([[1e300, 0.0]])}, "holds float32, which ends at"),
        ({"x": np.zeros((2, 5))}, "(2, 5)"),
        ({"z": np.zeros((2, 2))}, "an array called 'x' is missing"),
        ({"x": np.array([[np.nan, 0.0]]), "y": np.zeros((1, 1))}, "x is not finite"),
    ],
)
def test_samples_that_do_not_fit_are_refused(arrays, expected, fails, trained):
    np.savez("bad.npz", **arrays)
    assert expected in fails("predict", "xor", "--weights", trained, "--data", "bad.npz")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_samples_that_cannot_be_read_are_refused(content, fails, trained):
    Path("bad.npz").write_bytes(content)
    assert "bad.npz: cannot be read as an .npz file" in fails(
        "predict", "xor", "--weights", trained, "--data", "bad.npz"
    )


def test_a_single_array_is_no_npz_file(fails, trained):
    np.save("x.npy", np.zeros((2, 2)))
    assert "x.npy: a single array" in fails("predict", "xor", "--weights", trained, "--data", "x.npy")


def test_outputs_are_written_as_npz_or_csv_only(fails, trained):
    assert "written as .npz or .csv" in fails("predict", "xor", "--weights", trained, "--out", "o.txt")
    Path("somefile").write_text("")
    for name in ("o.npz", "o.csv"):
        assert "somefile" in fails("predict", "xor", "--weights", trained, "--out", f"somefile/{name}")


# draw


@pytest.mark.parametrize("name", list(bundled_models()))
def test_every_bundled_model_is_drawn(name, run):
    assert run("draw", name, "-o", "picture.gv").stdout == "wrote picture.gv\n"
    assert Path("picture.gv").read_text(encoding="utf-8").startswith("digraph tinygraph {")


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_pictures_are_rendered(suffix, run):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert run("draw", "xor", "-o", f"picture.{suffix}").exit_code == 0
    assert Path(f"picture.{suffix}").stat().st_size > 500


def test_a_picture_is_named_after_its_model(run):
    if not render.renderers():
        pytest.skip("no renderer is installed")
    assert run("draw", "xor").stdout == "wrote xor.svg\n"


def test_without_a_renderer_draw_leaves_the_gv_and_names_both_fixes(fails, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    message = fails("draw", "xor")
    assert "wrote 'xor.gv'" in message
    assert "`pip install pygraphviz matplotlib`" in message
    assert "`dot` is on PATH" in message
    assert Path("xor.gv").is_file()


def test_pictures_of_unknown_formats_and_in_unwritable_folders_are_refused(fails):
    assert "'.gv', '.svg', '.png' and '.pdf'" in fails("draw", "xor", "-o", "x.jpg")
    Path("somefile").write_text("")
    assert "cannot be written" in fails("draw", "xor", "-o", "somefile/x.gv")


def test_the_name_of_a_model_is_no_way_out_of_the_folder():
    assert file_name("../../etc/passwd") == "etc_passwd"
    assert file_name("..") == "model"
    assert file_name("ŷ net") == "ŷ_net"


# equations


def test_equations_are_those_of_the_file(run):
    output = run("equations", "notes_cnn").stdout
    assert re.search(r"^Z1 +=  ?conv2d\(Inp, K1, padding=1\) \+ B1 +float32 \(1, 8, 8, 8\)$", output, re.MULTILINE)
    assert "Backward" not in output


def test_backward_equations_are_derived_and_ordered_as_computed(run):
    output = run("equations", "notes_cnn", "--backward").stdout
    forward, backward, update = re.split(r"\nBackward\n|\nUpdate\n", output)
    made = [line.split()[0] for line in backward.splitlines() if line]
    assert made[:2] == ["dcost", "dZ3"]
    expected = ["dZ3", "df", "dP2", "dC2", "dZ2", "dP1", "dC1", "dZ1"]
    assert [name for name in made if name in expected] == expected
    assert {"dW3", "dB3", "dK2", "dB2", "dK1", "dB1"} <= set(made)
    assert not {"da", "dInp", "dy", "m"} & set(made)
    assert re.search(r"^dZ3 += a - y +float32 \(1, 1\)$", backward, re.MULTILINE)
    assert re.search(r"^dW3 += f\.T @ dZ3 +float32", backward, re.MULTILINE)
    assert "Z3" in forward
    assert [line.split()[0] for line in update.splitlines()] == [f"{p}_new" for p in load_model("notes_cnn").parameters]
    rate = load_model("notes_cnn").training.learning_rate
    assert re.search(rf"^W3_new += W3 - {rate} \* dW3$", update, re.MULTILINE)


def test_the_mean_of_a_larger_batch_is_in_the_equations(run):
    output = run("equations", "notes_cnn", "--backward", "--batch-size", 8).stdout
    assert re.search(r"^dZ3 += \(a - y\) / m +float32 \(8, 1\)$", output, re.MULTILINE)
    assert re.search(r"^m += 8 ", output, re.MULTILINE)


@pytest.mark.parametrize("name", list(bundled_models()))
def test_every_parameter_has_its_gradient_and_update(name, run):
    output = run("equations", name, "--backward").stdout
    for parameter in load_model(name).parameters:
        assert re.search(rf"^d{re.escape(parameter)} +=", output, re.MULTILINE)
        assert re.search(rf"^{re.escape(parameter)}_new +=", output, re.MULTILINE)


def test_the_update_is_that_of_the_models_own_optimizer(run):
    text = """
[inputs]
x = [1]
[parameters]
W = { shape = [], init = "ones" }
V = { shape = [], init = "ones" }
[model]
equations = '''
s = sum(x)
cost = W + V + s
'''
output = "s"
loss = "cost"
[training]
optimizer = "adam"
learning_rate = 0.5
"""
    Path("shared.toml").write_text(text, encoding="utf-8")
    output = run("equations", "shared.toml", "--backward").stdout
    assert re.search(r"^dW += 1 ", output, re.MULTILINE)
    assert re.search(r"^W_new += W - 0\.5 \*", output, re.MULTILINE)
    assert re.search(r"^m_V_new +=", output, re.MULTILINE)


def test_a_very_long_equation_does_not_move_the_columns_of_the_others(run):
    text = "[inputs]\nx = [2]\n[model]\nequations = '''\nshort = relu(x)\nlong = " + " + ".join(["short"] * 40)
    Path("long.toml").write_text(text + "\n'''\noutput = 'long'\nloss = false\n", encoding="utf-8")
    first, second = run("equations", "long.toml").stdout.splitlines()
    assert len(first) < 50
    assert len(second) > 200


def test_what_gradients_need_of_the_inside_of_an_equation_is_defined(run):
    output = run("equations", "residual", "--backward").stdout
    _, backward, _ = re.split(r"\nBackward\n|\nUpdate\n", output)
    used = set(re.findall(r"\bt\d+\b", backward))
    assert used
    assert used == set(re.findall(r"^(t\d+) +=", backward, re.MULTILINE))


def test_a_model_without_a_loss_has_no_backward_pass(fails):
    text = "[inputs]\nx = [2]\n[model]\nequations = 'z = relu(x)'\noutput = 'z'\nloss = false\n"
    Path("lossless.toml").write_text(text, encoding="utf-8")
    assert "declares no loss" in fails("equations", "lossless.toml", "--backward")


# check


def test_check_prints_a_report_and_ends_with_zero(run):
    result = run("check", "xor")
    assert result.exit_code == 0
    assert "all gradients: worst relative error" in result.stdout


def test_check_takes_data_batch_size_and_seed(run):
    result = run("check", "xor", "--data", "xor", "--batch-size", 3, "--seed", 7)
    assert result.exit_code == 0
    assert "6 of 6" in result.stdout
    assert run("check", "xor", "--batch-size", 3, "--seed", 7).stdout != run("check", "xor", "--seed", 8).stdout


def test_check_ends_with_one_where_a_rule_is_wrong(run, own):
    model, ops = own
    assert run("check", model, "--ops", ops).exit_code == 0
    Path("liar.py").write_text(CUSTOM.replace("FACTOR", "2"), encoding="utf-8")
    result = run("check", model, "--ops", "liar.py")
    assert result.exit_code == 1
    assert re.search(r"soft_plus .* wrong$", result.stdout, re.MULTILINE)


# ops


def test_ops_lists_every_operation_by_family(run):
    output = run("ops").stdout
    listed = re.findall(r"^(\w+)\(", output, re.MULTILINE)
    assert set(listed) == set(tg.operations())
    headings = re.findall(r"^([a-z]+)$", output, re.MULTILINE)
    assert tuple(headings[: len(FAMILIES)]) == FAMILIES
    assert listed.index("conv1d") + 1 == listed.index("conv2d")


def test_ops_explains_one(run):
    output = run("ops", "relu").stdout
    assert "relu(x)   (activation)" in output
    assert re.search(r"^formula +max\(0, x\)$", output, re.MULTILINE)
    assert re.search(r"^gradient +dx = dy \* \(x > 0\)$", output, re.MULTILINE)
    assert re.search(r"^attributes +none$", output, re.MULTILINE)
    assert "Rectified linear unit" in output
    assert ">>> tg.relu(" in output


def test_ops_shows_attributes_with_types_and_defaults(run):
    output = run("ops", "conv2d").stdout
    assert "dk = conv2d_kernel_gradient(x, dy, kernel_size=(3, 2))" in output
    assert "stride: int or a pair of int, default 1" in output
    assert re.search(r"window: int or a pair of int$", run("ops", "max_pool2d").stdout, re.MULTILINE)


@pytest.mark.parametrize("name", [n for n, f in tg.operations().items() if f.op.__module__.startswith("tinygraph.ops")])
def test_every_gradient_can_be_written_out(name):
    text = "\n".join(gradient_lines(tg.operation(name).op))
    assert "not written out" not in text
    assert "None" not in text or "axis=None" in text


def test_gradients_of_whole_numbers_are_none():
    assert gradient_lines(tg.greater.op) == ["none: no gradient flows through a result that is not floating"]
    assert "dcondition: none" in gradient_lines(tg.where.op)


def test_an_operation_without_a_rule_says_that_it_has_none(run, registry):
    @tg.op
    def ruleless(x):
        return np.exp(x)

    (told,) = gradient_lines(ruleless.op)
    assert told == "none: ruleless has no gradient rule; add vjp(self, dy, y, ...), or @ruleless.vjp"
    with pytest.raises(tg.RuleError) as caught:
        ruleless(tg.tensor(1.0)).backward()
    assert told.removeprefix("none: ") in str(caught.value)


def test_notes_are_written_of_a_model_with_the_user_s_own_operations(run, own):
    pytest.importorskip("latex2mathml")
    model, ops = own
    result = run("notes", model, "--ops", ops, "--data", "xor", "-o", "own.html")
    assert result.exit_code == 0
    page = Path("own.html").read_text(encoding="utf-8")
    # The user's operations by name, their gradients derived, and the numbers of a sample to step through.
    assert "soft_plus" in page
    assert 'data-node="dh"' in page
    assert 'id="stepper-data"' in page
    text = run("notes", model, "--ops", ops, "--data", "xor", "-o", "own.txt")
    assert text.exit_code == 0
    lines = Path("own.txt").read_text(encoding="utf-8").splitlines()
    assert any("dW = x^T" in line for line in lines)


def test_the_automatic_docstring_of_a_dataclass_is_not_shown(run, own):
    _, ops = own
    assert "about" not in run("ops", "scaled", "--ops", ops).stdout
    assert "A smooth ReLU" in run("ops", "soft_plus", "--ops", ops).stdout


def test_an_example_imports_what_it_uses(run, own):
    _, ops = own
    shown = run("ops", "soft_plus", "--ops", ops).stdout
    assert re.search(r"^example +>>> import numpy as np\n +>>> tg.operation", shown, re.MULTILINE)
    assert run("ops", "relu").stdout.count("import numpy as np") == 1


def test_long_names_keep_the_table_of_operations_in_line(run, registry):
    @tg.op(formula="{x}")
    def an_operation_with_a_name_that_is_long(x):
        return x

    lines = run("ops").stdout.splitlines()
    start = lines[0].index("formula")
    assert all(re.search(r"  \S", line[start - 2 : start + 1]) for line in lines[1:-1] if "(" in line[:start])


def test_an_opaque_rule_says_so(registry):
    @tg.op
    def opaque_cube(x):
        return x**3

    @opaque_cube.vjp(opaque=True)
    def opaque_cube_vjp(dy, y, x):
        return dy * 3 * np.asarray(x) ** 2

    assert gradient_lines(opaque_cube.op) == ["dx: an opaque rule, which computes on arrays and has no formula"]
    assert opaque_cube.op.readable_formula() == ""


def test_operations_without_samples_are_tried_on_small_matrices(registry):
    @tg.op
    def doubled(x):
        return 2 * x

    @doubled.vjp
    def doubled_vjp(dy, y, x):
        return 2 * dy

    @tg.op
    def needy(x, *, how: int):
        return x * how

    @needy.vjp
    def needy_vjp(dy, y, x, *, how):
        return how * dy

    @tg.op
    def crooked(x):
        return x + 0.0

    @crooked.vjp
    def crooked_vjp(dy, y, x):
        return dy, dy

    assert gradient_lines(doubled.op)[0] == "dx = 2 * dy"
    assert gradient_lines(needy.op) == ["not written out: no samples; give the operation samples to see it"]
    assert gradient_lines(crooked.op)[0].startswith("not written out: crooked:")


def test_an_unknown_operation_offers_the_nearest(fails):
    assert "did you mean 'conv2d'?" in fails("ops", "conv2")


# Operations of the user's own


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


# what fits no command


@pytest.mark.parametrize("command", ["plan", "equations", "check"])
def test_more_samples_than_an_array_can_hold_are_refused(fails, command):
    assert "not in the range 1<=x<=2147483647" in fails(command, "xor", "--batch-size", "99999999999999")


def test_text_and_a_file_at_once_are_refused(fails):
    assert "writes no file; leave out -o 'x.svg'" in fails("draw", "xor", "--format", "text", "-o", "x.svg")
    assert not Path("x.svg").exists()


def test_an_onnx_file_is_called_one(fails):
    assert fails("export", "xor", "-o", "x.txt") == "error: an ONNX file ends in .onnx; found 'x.txt'"


def test_export_replaces_no_file_unless_forced(run, fails):
    Path("xor.onnx").write_text("mine")
    assert "'xor.onnx' exists and is not replaced: -o names another file, or --force" in fails("export", "xor")
    assert Path("xor.onnx").read_text() == "mine"
    assert run("export", "xor", "--force").exit_code == 0
    assert Path("xor.onnx").read_bytes() != b"mine"


def test_names_of_another_models_weights_are_told_in_order(fails):
    load_model("lenet5").save("w.safetensors")
    told = fails("predict", "xor", "--weights", "w.safetensors").partition("not in the model ")[2]
    assert told == "'B3', 'B5', 'B6', 'B7', 'K1', 'K3', 'W5', 'W6' and 'W7'"


# doctor


def test_doctor_says_what_is_installed(run):
    result = run("doctor")
    assert result.exit_code == 0
    found = dict(re.findall(r"^(\w+) +(.+)$", result.stdout, re.MULTILINE))
    assert found["tinygraph"] == tg.__version__
    assert found["numpy"].startswith(np.__version__)
    assert "BLAS" in found["numpy"]
    assert {"Python", "dot", "graphviz", "pygraphviz", "matplotlib", "safetensors", "renderer"} <= set(found)
    assert found["pictures"].startswith("gv")


def test_doctor_names_one_fix_for_each_thing_that_is_missing(run, monkeypatch):
    from importlib import metadata

    real = metadata.version

    def version(package):
        if package in ("matplotlib", "pygraphviz", "latex2mathml", "safetensors"):
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(metadata, "version", version)
    output = run("doctor").stdout
    assert re.search(r"^renderer +missing$", output, re.MULTILINE)
    assert re.search(r"^pictures +gv$", output, re.MULTILINE)
    fixes = re.findall(r"^fix: (.*)$", output, re.MULTILINE)
    assert len(fixes) == 4
    assert "`dot` is on PATH" in fixes[0]
    assert fixes[1] == "to draw learning curves: pip install matplotlib"
    assert fixes[2] == "to write notes as HTML: pip install latex2mathml"
    assert "pip install safetensors" in fixes[3]


def test_doctor_sees_a_renderer_that_cannot_do_everything(run, monkeypatch):
    def svg_only(dot, format):
        if format != "svg":
            raise tg.RenderError("no cairo")
        return b""

    monkeypatch.setattr(render, "renderers", lambda: (render.Renderer("dot", "1.0", svg_only),))
    monkeypatch.setattr("tinygraph.cli.doctor.version_of", lambda package: "1.14" if package == "pygraphviz" else "9")
    output = run("doctor").stdout
    assert "fix: dot 1.0 cannot render png, pdf" in output
    assert "fix: pygraphviz older than 2.0" in output


def test_doctor_tries_what_it_finds(run, monkeypatch):
    def broken(dot, format):
        raise tg.RenderError("libcgraph.so.6 is missing")

    sound = render.Renderer("pygraphviz", "2.0", lambda dot, format: b"picture")
    monkeypatch.setattr(render, "renderers", lambda: (render.Renderer("dot", "", broken), sound))
    output = run("doctor").stdout
    assert re.search(r"^dot +found but does not work: libcgraph.so.6 is missing$", output, re.MULTILINE)
    assert re.search(r"^renderer +pygraphviz 2.0$", output, re.MULTILINE)
    assert re.search(r"^pictures +gv, svg, png, pdf$", output, re.MULTILINE)
    monkeypatch.setattr(render, "renderers", lambda: (render.Renderer("dot", "", broken),))
    output = run("doctor").stdout
    assert re.search(r"^renderer +missing$", output, re.MULTILINE)
    assert "fix: to render pictures, either `pip install pygraphviz" in output


def test_an_unknown_blas_is_no_failure(monkeypatch):
    from tinygraph.cli import doctor

    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert doctor.blas() == "BLAS: unknown"


# The group


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
@pytest.mark.parametrize("arguments", [["ops"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments):
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
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
    heavy = {"rich", "matplotlib", "graphviz", "pygraphviz", "safetensors"}
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
def test_a_terminal_gets_a_bar_which_is_cleared_at_the_end(tmp_path):
    output = in_a_terminal(tmp_path, "train", "xor", "--epochs", "3", TERM="xterm", COLUMNS="100")
    assert "━".encode() in output
    assert b"epoch 3/3   loss" in output
    # One line up, and that line cleared.
    assert b"\x1b[1A\x1b[2K" in output[output.rindex("━".encode()) :]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of Unix")
@pytest.mark.parametrize("environment", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_escape_codes_gets_none(environment, tmp_path):
    assert b"\x1b" not in in_a_terminal(tmp_path, "train", "xor", "--epochs", "3", **environment)


def test_a_bar_and_a_line_for_each_epoch_are_shown_in_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    with reporter() as report:
        report(Progress(1, 2, 1, 1, loss=0.5, accuracy=None))
        report(Progress(1, 2, 1, 1, loss=0.5, accuracy=None, row=Row(1, 0.5, None, 0.25, None, 1.0)))
    shown = sys.stdout.getvalue()
    assert "epoch 1/2   loss 0.5000, test 0.2500" in shown
    assert "━" in shown


def test_lines_of_epochs_fit_into_80_columns():
    assert line(Row(3, 0.5, None, None, None, 1.234), 10) == "epoch  3/10   loss 0.5000"
    for loss in (0.5, 99.99, 9999.99, 1.234e30, float("nan")):
        assert len(line(Row(1, loss, 0.5, loss, 0.5, 1.0), 9_999)) <= 79
    assert loss_text(1e30) == "1e+30"
