"""``tinygraph train --resume``: interrupted trainings go on to the same bits."""

import os
import re
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygraph as tg
from tests.kills import kill
from tests.tools.commands import xor_file
from tinygraph.cli.runs import RESULTS
from tinygraph.model import load_model
from tinygraph.train import Checkpoint

ADAM = ("--optimizer", "adam", "--learning-rate", "0.05", "--batch-size", 2, "--seed", 5)


def bits(folder):
    """What a training wrote, but for the seconds of its history."""
    rows = Path(folder, "history.csv").read_text(encoding="utf-8").splitlines()
    weights = [Path(folder, name).read_bytes() for name in ("weights.safetensors", "best.safetensors")]
    return [row.rpartition(",")[0] for row in rows], *weights


@pytest.fixture
def interrupted(run, monkeypatch):
    """Run a training that Ctrl-C ends in the fourth epoch."""
    from tinygraph.cli import terminal

    def interrupt(progress):
        if progress.epoch == 4:
            raise KeyboardInterrupt

    def invoke(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr("tinygraph.train.checkpoint.SHARE", 0)
            patch.setattr(terminal, "plain_report", interrupt)
            result = run("train", *arguments)
        assert result.exit_code == 130
        assert "after 3 epochs; what was learned so far is kept, and --resume continues\n" in result.stdout

    return invoke


def test_a_training_goes_on_with_the_options_that_it_began_with(run, interrupted):
    assert run("train", "xor", *ADAM, "--epochs", 9, "--out", "whole").exit_code == 0
    interrupted("xor", *ADAM, "--epochs", 9)
    result = run("train", "xor", "--resume")
    assert result.exit_code == 0
    assert "epochs: 9, batch size: 2, Adam(learning_rate=0.05" in result.stdout
    assert "continues in runs/xor after 3 epochs\n" in result.stdout
    assert bits("runs/xor") == bits("whole")
    assert Path("runs/xor/curve.png").is_file() or find_spec("matplotlib") is None
    # Once more, and it says that nothing is left to do.
    again = run("train", "xor", "--resume")
    assert again.exit_code == 0
    assert "the training was complete already\n" in again.stdout
    assert bits("runs/xor") == bits("whole")


def test_options_that_are_given_again_count(run, interrupted):
    assert run("train", "xor", *ADAM, "--epochs", 12, "--out", "whole").exit_code == 0
    interrupted("xor", *ADAM, "--epochs", 9)
    assert "epoch 12/12 " in run("train", "xor", "--resume", "--epochs", 12).stdout
    assert bits("runs/xor") == bits("whole")
    # They are noted in their turn.
    assert "epochs: 12," in run("train", "xor", "--resume").stdout


def test_options_about_data_and_parameters_are_noted_too(run, interrupted):
    x = np.random.default_rng(0).random((20, 2))
    xor_file("mine.npz", x=x, y=(x.sum(axis=1, keepdims=True) > 1).astype(float))
    given = ("--data", "mine.npz", "--test-fraction", "0.4", "--freeze", "B1", "--freeze", "W2", "--epochs", 6)
    assert run("train", "xor", *given, "--out", "whole").exit_code == 0
    interrupted("xor", *given)
    assert "data mine: 12 samples to learn from, 8 to test on" in run("train", "xor", "--resume").stdout
    assert bits("runs/xor") == bits("whole")
    assert not load_file("runs/xor/weights.safetensors")["B1"].any()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--seed", 6), "seed is 5 there and 6 here"),
        (("--batch-size", 4), "batch size is 2 there and 4 here"),
        (("--learning-rate", "0.1"), "optimizer is Adam(learning_rate=0.05) there and Adam(learning_rate=0.1) here"),
        (("--optimizer", "sgd"), "optimizer is Adam(learning_rate=0.05) there and SGD(learning_rate=0.05) here"),
        (("--data", "few.npz"), "samples is 4 there and 3 here"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(given, expected, interrupted, fails):
    xor_file("few.npz", x=np.eye(3, 2), y=np.eye(3, 1), x_test=np.eye(1, 2), y_test=np.eye(1, 1))
    interrupted("xor", *ADAM, "--epochs", 9)
    before = {path.name: path.read_bytes() for path in Path("runs/xor").iterdir()}
    message = fails("train", "xor", "--resume", *given)
    assert f"runs/xor/checkpoint.safetensors: the checkpoint is of another training: {expected}; give" in message
    assert {path.name: path.read_bytes() for path in Path("runs/xor").iterdir()} == before


def test_another_model_of_the_same_name_is_refused(interrupted, fails):
    interrupted("xor", "--epochs", 9)
    text = load_model("xor").path.read_text(encoding="utf-8")
    Path("mine.toml").write_text(text.replace("tanh(", "relu("), encoding="utf-8")
    message = fails("train", "mine.toml", "--resume")
    assert "equations is h = tanh(x @ W1 + B1) there and h = relu(x @ W1 + B1) here" in message


def test_without_a_checkpoint_the_training_starts_from_the_beginning(run, fails):
    result = run("train", "xor", "--resume", "--epochs", 3, "--out", "o")
    assert result.exit_code == 0
    assert "starts in o: there is no checkpoint to continue from\n" in result.stdout
    assert (
        "starts in runs/xor: there is no checkpoint to continue from\n"
        in run("train", "xor", "--resume", "--epochs", 1).stdout
    )
    # What other trainings left is not replaced.
    Path("o/checkpoint.safetensors").unlink()
    assert "weights.safetensors' exists and is not replaced" in fails("train", "xor", "--resume", "--out", "o")


def test_the_latest_training_goes_on(run):
    for _ in range(3):
        assert run("train", "xor", "--epochs", 2).exit_code == 0
    run("train", "notes_cnn", "--epochs", 1)
    os.utime("runs/xor_2/checkpoint.safetensors", (2e9, 2e9))
    assert "continues in runs/xor_2 after 2 epochs\n" in run("train", "xor", "--resume", "--epochs", 3).stdout
    assert "continues in runs/xor_3 after 2 " in run("train", "xor", "--resume", "--out", "runs/xor_3").stdout


def test_a_killed_training_is_not_replaced(run, fails):
    assert run("train", "xor", "--epochs", 2, "--out", "runs/xor").exit_code == 0
    for name in set(RESULTS) - {"checkpoint.safetensors"}:
        Path("runs/xor", name).unlink(missing_ok=True)
    assert "in runs/xor_2\n" in run("train", "xor", "--epochs", 1).stdout
    assert "checkpoint.safetensors' exists and is not replaced" in fails("train", "xor", "--out", "runs/xor")
    assert run("train", "xor", "--epochs", 1, "--out", "runs/xor", "--force").exit_code == 0
    assert len(Checkpoint.load("runs/xor/checkpoint.safetensors").history) == 1


@pytest.mark.parametrize("how", ["cut", "changed", "other"])
def test_a_damaged_checkpoint_is_named(run, fails, how):
    assert run("train", "xor", "--epochs", 2, "--seed", 5, "--out", "o").exit_code == 0
    path = Path("o/checkpoint.safetensors")
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:1000],
            "changed": data[:-1] + bytes([data[-1] ^ 1]),
            "other": Path("o/weights.safetensors").read_bytes(),
        }[how]
    )
    message = fails("train", "xor", "--resume", "--out", "o")
    assert re.match("error: o/checkpoint.safetensors: (damaged|not a checkpoint of version 1)", message)
    assert Path("o/weights.safetensors").is_file()


def test_options_in_a_checkpoint_are_not_trusted(run, fails):
    assert run("train", "xor", "--epochs", 2, "--out", "o").exit_code == 0
    path = Path("o/checkpoint.safetensors")
    checkpoint = Checkpoint.load(path)

    def noting(options):
        replace(checkpoint, settings={**checkpoint.settings, "options": options}).save(path)

    noting({"epochs": "many"})
    assert "'many' is not a valid integer" in fails("train", "xor", "--resume", "--out", "o")
    for harmless in (3, {"force": True, "out": "elsewhere", "model": "notes_cnn", "unknown": 1}):
        noting(harmless)
        assert "continues in o after 2 epochs\n" in run("train", "xor", "--resume", "--epochs", 2, "--out", "o").stdout


# The disk


@pytest.mark.filterwarnings("default")
def test_a_checkpoint_that_cannot_be_written_is_a_note(run, monkeypatch):
    write = tg.model.weights.write_whole

    def full(path, data):
        if Path(path).name == "checkpoint.safetensors":
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr("tinygraph.model.weights.write_whole", full)
    result = run("train", "xor", "--epochs", 3, "--out", "o")
    assert result.exit_code == 0
    assert result.stderr == (
        "note: 'o/checkpoint.safetensors' cannot be written: No space left on device; "
        "the training goes on without a checkpoint\n"
    )
    assert {"weights.safetensors", "best.safetensors", "history.csv"} <= {path.name for path in Path("o").iterdir()}


def test_a_disk_that_is_full_loses_neither_the_result_nor_the_best_epoch(run, monkeypatch):
    write, here = tg.files.write_whole, Path.cwd()

    def full(path, data):
        if Path(path).resolve().is_relative_to(here / "o"):
            raise OSError(28, "No space left on device")
        write(path, data)

    for module in ("model.weights", "train.history"):
        monkeypatch.setattr(f"tinygraph.{module}.write_whole", full)
    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = run("train", "xor", "--epochs", 3, "--out", "o")
    assert result.exit_code == 2
    assert "error: 'o/weights.safetensors' cannot be written: No space left on device; what was" in result.stderr
    assert {path.name for path in next(here.glob("o_*")).iterdir()} == {
        *("weights.safetensors", "best.safetensors", "history.csv")
    }


# Where it starts and stops


def test_weights_to_start_from(run, interrupted, fails):
    assert run("train", "xor", "--epochs", 9, "--seed", 2, "--out", "first").exit_code == 0
    given = ("xor", "--weights", "first/best.safetensors", "--epochs", 9)
    assert run("train", *given, "--out", "whole").exit_code == 0
    interrupted(*given)
    # The checkpoint has all that is needed.
    Path("first/best.safetensors").unlink()
    assert run("train", "xor", "--resume").exit_code == 0
    assert bits("runs/xor") == bits("whole")
    assert "first/best.safetensors: cannot be read" in fails("train", *given)
    # A checkpoint has weights too.
    result = run("predict", "xor", "--weights", "whole/checkpoint.safetensors", "--data", "xor")
    assert result.exit_code == 0


def test_early_stopping_and_the_best_epoch(run, fails):
    given = ("xor", "--optimizer", "adam", "--learning-rate", "2", "--epochs", 200, "--early-stopping", 5)
    output = run("train", *given, "--out", "o").stdout
    losses = [row.test_loss for row in Checkpoint.load("o/checkpoint.safetensors").history]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 5 < 200
    assert f"best epoch: {best} of {best + 5}, with test loss {losses[best - 1]:.4g}\n" in output
    assert f"test_loss has not improved for 5 epochs; the best is {losses[best - 1]:.4g} of epoch {best}\n" in output
    model = load_model("xor")
    model.load("o/best.safetensors")
    assert tg.evaluate(model, "xor").loss == losses[best - 1]
    # It stops again, unless it is to be more patient.
    before = bits("o")
    again = run("train", "xor", "--resume", "--out", "o").stdout
    assert "has not improved for 5 epochs" in again
    assert "the training was complete already" in again
    assert bits("o") == before
    run("train", "xor", "--resume", "--early-stopping", 50, "--out", "o")
    assert len(Checkpoint.load("o/checkpoint.safetensors").history) > best + 5


# At random moments


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_trainings_go_on_to_the_same_bits():
    """A short part of ``python -m tests.kills``, which says what it looks at."""
    kills = kill(3, seed=int(time.time()))
    assert kills.faults == []
    assert kills.kinds.total() == 3
