"""``tinygraph train``."""

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.commands import OWN, PROGRAM, xor_file
from tinygraph.model import bundled_models, load_model

WRITTEN = ("checkpoint.safetensors", "weights.safetensors", "best.safetensors", "history.csv")


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
    assert "epochs: 3, batch size: 4, SGD(learning_rate=1.0)" in output
    assert re.search(
        r"^epoch 3/3   loss 0\.\d{4}, test 0\.\d{4}   accuracy 0\.\d{4}, test 0\.\d{4}$", output, re.MULTILINE
    )
    assert "4 samples to learn from, and the same to test on\n" in output
    assert re.search(r"test accuracy 0\.\d{4} \(always the most frequent class: 0\.5000\)", output)


def test_frozen_parameters_keep_their_values(run):
    result = run("train", "xor", "--epochs", 2, "--freeze", "W1", "--freeze", "*2")
    assert result.exit_code == 0
    assert re.search(r"W1 +parameter, frozen +float32", result.stdout)
    trained, drawn = load_model("xor"), load_model("xor")
    trained.load("runs/xor/weights.safetensors")
    moved = [name for name, p in drawn.parameters.items() if (p.value != trained.parameters[name].value).any()]
    assert moved == ["B1"]
    assert "error: model 'xor' has no parameter 'W9'" in run("train", "xor", "--freeze", "W9").stderr


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
    assert "Adam(learning_rate=0.5)" in result.stdout
    assert "batch size: 2" in result.stdout
    assert "data four: 4 samples to learn from" in result.stdout
    assert Path("deep/er/weights.safetensors").is_file()


def test_the_options_of_the_update_are_used(run):
    result = run(
        *("train", "xor", "--optimizer", "rmsprop", "--momentum", 0.5, "--weight-decay", 0.01, "--clip-norm", 2),
        *("--schedule", "cosine", "--warmup", 3, "--epochs", 9),
    )
    rate = "CosineDecay(rate=0.01, warmup=3)"
    assert f"RMSprop(learning_rate={rate}, weight_decay=0.01, clip_norm=2.0, momentum=0.5)" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--optimizer", "adam", "--momentum", "0.9"),
            "momentum is a setting of 'sgd' and 'rmsprop'; 'adam' takes none",
        ),
        (("--schedule", "cos"), "no schedule is called 'cos'; did you mean 'cosine'?"),
        (
            ("--schedule", "step", "--warmup", "99", "--epochs", "9"),
            "99 steps must be shorter than the training, 9 steps",
        ),
        (("--clip-norm", "-1"), "SGD: clip_norm must be positive and finite; found -1.0"),
        (("--weight-decay", "nan"), "SGD: weight_decay must be finite and not negative; found nan"),
        (("--momentum", "1"), "SGD: momentum must lie in 0 to 1, without 1; found 1.0"),
    ],
)
def test_settings_of_the_update_that_make_no_sense(run, options, message):
    result = run("train", "xor", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_another_optimizer_does_not_take_over_the_learning_rate_of_the_models_own(run):
    assert "Adam(learning_rate=0.001)" in run("train", "xor", "--optimizer", "adam", "--epochs", 1).stdout
    assert "SGD(learning_rate=0.5)" in run("train", "xor", "--learning-rate", "0.5", "--epochs", 1).stdout


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
    assert {path.name for path in Path("runs/xor").iterdir()} == {*WRITTEN, "graph.gv"}
    notes = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert "matplotlib" in notes[0]
    assert "`pip install pygraphviz matplotlib` (pygraphviz renders" in notes[1]
    assert "`dot` is on PATH" in notes[1]


def test_files_of_an_earlier_run_do_not_pass_for_those_of_this_one(run, monkeypatch):
    folder = Path("runs/xor")
    folder.mkdir(parents=True)
    for name in (*WRITTEN, "curve.png", "graph.svg", "graph.gv", "notes.txt"):
        (folder / name).write_text("earlier")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("train", "xor", "--epochs", 1, "--out", folder, "--force").exit_code == 0
    left = {path.name: path.read_bytes() == b"earlier" for path in folder.iterdir()}
    assert left == {**dict.fromkeys(WRITTEN, False), "graph.gv": False, "notes.txt": True}


def test_a_training_leaves_the_results_of_another(run, fails):
    for number in ("", "_2", "_3"):
        assert f"in runs/xor{number}\n" in run("train", "xor", "--epochs", 1).stdout
    assert len({Path(f"runs/xor{n}/history.csv").read_text() for n in ("", "_2")}) == 2  # their times differ
    before = Path("runs/xor/weights.safetensors").read_bytes()
    message = fails("train", "xor", "--epochs", 2, "--out", "runs/xor")
    assert (
        "checkpoint.safetensors' exists and is not replaced: --out names another folder, or --force replaces" in message
    )
    assert Path("runs/xor/weights.safetensors").read_bytes() == before
    assert run("train", "xor", "--epochs", 2, "--out", "runs/xor", "--force").exit_code == 0
    assert Path("runs/xor/weights.safetensors").read_bytes() != before


def test_two_models_of_one_name_do_not_share_a_folder(run, own):
    model, ops = own
    Path("other.toml").write_text(OWN.replace("ones", "zeros"), encoding="utf-8")
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
    from tinygraph.cli import terminal

    def interrupt(report):
        if report.epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(terminal, "plain_report", interrupt)
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
    text = OWN.replace("soft_plus(x @ W)", "x @ W").replace("scaled(h, by=0.5)", "h * 2")
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
    Path(model).write_text(OWN.replace('data = "xor"\n', ""), encoding="utf-8")
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
        (["--data", "digits"], "takes (m, 2); found shape"),
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
        ({"y": np.full((4, 1), 3.0)}, "labels 'y': bce: labels must lie between 0 and 1"),
        ({"x": np.zeros((4, 3))}, "takes (m, 2); found shape (4, 3)"),
        ({"x": np.zeros((3, 2))}, "x has 3 samples and y has 4"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(arrays, expected, fails):
    assert expected in fails("train", "xor", "--data", xor_file("bad.npz", **arrays))
    assert not Path("runs").exists()


def test_a_file_that_holds_no_arrays_is_refused(fails):
    Path("text.npz").write_text("not a zip file")
    assert "text.npz" in fails("train", "xor", "--data", "text.npz")


def test_ignored_labels_are_no_most_frequent_class(run):
    Path("padded.toml").write_text(
        'inputs = { x = [2], y = { shape = [], dtype = "int64" } }\n'
        'parameters = { W = { shape = [2, 3], init = "glorot_uniform" } }\n'
        'model = { equations = "Z = x @ W\\ncost = cross_entropy(Z, y, weight=[1, 2, 5], ignore_index=-1)", '
        'output = "Z", loss = "cost" }\n',
        encoding="utf-8",
    )
    y = np.array([-1] * 12 + [0, 0, 0, 1])
    np.savez("padded.npz", x=np.eye(16, 2), y=y, x_test=np.eye(16, 2), y_test=y)
    result = run("train", "padded.toml", "--data", "padded.npz", "--epochs", 2, "--batch-size", 16)
    assert result.exit_code == 0
    assert "(always the most frequent class: 0.7500)" in result.stdout
