"""``--loss``: the commands that speak of gradients take the loss of an .onnx file, all in the same way."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main

COMMANDS = {
    "check": [],
    "draw": ["--format", "text", "--fold", "none"],
    "equations": ["--backward"],
    "notes": ["-o", "net.md"],
    "plan": ["--batch-size", "4"],
    "train": ["--data", "data.npz", "--epochs", "1", "--out", "run"],
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tg.load_model("xor").to_onnx("net.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(size=(8, 2)), y=rng.integers(0, 2, (8, 1)))

    def run(*args):
        outcome = CliRunner().invoke(main, list(args), standalone_mode=False)
        if outcome.exception:
            raise outcome.exception
        return outcome.output

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_loss_gives_a_backward_pass(run, command):
    printed = run(command, "net.onnx", "--loss", "mse", *COMMANDS[command])
    if command == "notes":
        with open("net.md", encoding="utf-8") as file:
            printed = file.read()
    assert {
        "check": "mse",
        "draw": "dW1",
        "equations": "dW1",
        "notes": "partial",
        "plan": "W1_new",
        "train": "epoch",
    }[command] in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_model_file_names_its_own_loss(run, command):
    with pytest.raises(tg.DataError, match=r"--loss is for \.onnx files; a model file names its own loss"):
        run(command, "xor", "--loss", "mse")


@pytest.mark.parametrize(("command", "lacking"), [("equations", "no backward pass"), ("train", "nothing to train on")])
def test_what_needs_a_loss_says_how_to_give_one(run, command, lacking):
    with pytest.raises(tg.TinygraphError, match=f"declares no loss, so there is {lacking}; name one with --loss"):
        run(command, "net.onnx", *COMMANDS[command])


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"equations", "train"}))
def test_the_others_do_without(run, command):
    run(command, "net.onnx", *COMMANDS[command])


def test_equations_forward_need_no_loss(run):
    assert "sigmoid" in run("equations", "net.onnx")


def test_help_says_the_same_everywhere(run):
    wanted = "The loss of an .onnx file, which names none: an operation, or one of its outputs."
    for command in COMMANDS:
        assert wanted in " ".join(run(command, "--help").split())
