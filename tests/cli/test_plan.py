"""``tinygraph plan``: the schedule of a model on the terminal."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.model import load_model
from tinygraph.train import SGD

TIME = r"\btime\b|\d ?(ns|us|µs|ms|s)\b"
CUSTOM = """
import numpy as np
import tinygraph as tg

@tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal((2, 3)))])
def wave(x):
    return np.sin(x)

@wave.vjp
def wave_vjp(dy, y, x):
    return dy * tg.sqrt(1 - y * y)
"""
MODEL = """
name = "own"
[inputs]
x = [2]
[parameters]
W = {{ shape = [2, 1], init = "ones" }}
[model]
equations = '''
h = {function}(x @ W)
cost = mean(h * h)
'''
output = "h"
{loss}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder, and return its result; no command may end in an exception of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        result = CliRunner().invoke(main, ["plan", *(str(arg) for arg in args)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "\x1b" not in result.output
        return result

    return invoke


@pytest.fixture
def shown(run):
    """Run a command that must succeed, and return what it prints."""

    def invoke(*args):
        result = run(*args)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def test_plan_prints_the_schedule_of_the_training_step(shown):
    output = shown("notes_cnn", "--batch-size", 16, "--threads", 1)
    model = load_model("notes_cnn")
    assert model.compile_step(SGD(0.5), 16, 1).describe().splitlines()[0] in output
    words = set(re.findall(r"[\w.]+", output))
    assert {"Z1", "P1", "a", "cost", "dZ3", "W3_new", "K1_new"} <= words
    assert re.search(r"\d bytes", output)


def test_plan_takes_the_optimizer_of_the_model(shown):
    assert re.search(r"\bv_\w+_new\b", shown("residual", "--batch-size", 8))


def test_plan_prints_the_schedule_of_inference(shown):
    output = shown("notes_cnn", "--batch-size", 16, "--inference")
    words = set(re.findall(r"[\w.]+", output))
    assert {"Z1", "P1", "a"} <= words
    assert not {"dZ3", "dW3", "W3_new", "K1_new"} & words


def test_plan_of_a_model_without_a_loss_is_that_of_inference(shown):
    Path("own.toml").write_text(MODEL.format(function="tanh", loss="loss = false"), encoding="utf-8")
    assert re.search(r"\bh\b", shown("own.toml", "--batch-size", 4))


def test_plan_shows_times_when_it_is_asked_to(shown):
    assert not re.search(TIME, shown("notes_cnn", "--batch-size", 8))
    assert re.search(TIME, shown("notes_cnn", "--batch-size", 8, "--profile"))
    assert re.search(TIME, shown("notes_cnn", "--batch-size", 8, "--profile", "--inference"))


@pytest.mark.parametrize("name", ["xor", "notes_ann", "notes_cnn_28", "lenet5", "residual", "notes_cnn_norm"])
def test_plan_of_every_model_is_profiled(shown, name):
    assert shown(name, "--batch-size", 5, "--profile")


def test_plan_with_operations_of_the_users_own(shown, registry):
    Path("own.toml").write_text(MODEL.format(function="wave", loss="loss = 'cost'"), encoding="utf-8")
    Path("my_ops.py").write_text(CUSTOM, encoding="utf-8")
    assert "wave" in shown("own.toml", "--batch-size", 4, "--ops", "my_ops.py")


def test_plan_says_the_batch_and_the_threads(shown):
    output = shown("notes_cnn_28", "--batch-size", 100, "--threads", 2)
    assert "100 samples" in output
    assert re.search(r"threads: \d", output)


def test_plan_prints_the_same_again(shown):
    assert shown("notes_cnn", "--batch-size", 8) == shown("notes_cnn", "--batch-size", 8)


def test_plan_writes_no_files(shown):
    shown("xor", "--batch-size", 4, "--profile")
    assert not list(Path.cwd().iterdir())


def test_help_tells_about_plan(shown):
    assert "--batch-size" in shown("--help")
    assert re.search(r"^ +plan ", CliRunner().invoke(main, ["--help"]).output, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["xor", "--batch-size", "0"], "batch-size"),
        (["xor", "--batch-size", "-3"], "batch-size"),
        (["xor", "--batch-size", "many"], "batch-size"),
        (["xor", "--batch-size", "4", "--threads", "0"], "threads"),
        (["xor", "--batch-size", "4", "--threads", "two"], "threads"),
        (["xorr", "--batch-size", "4"], "xorr"),
        (["missing.toml", "--batch-size", "4"], "missing.toml"),
        (["xor", "--batch-size", "4", "--ops", "missing.py"], "missing.py"),
        (["xor", "--batch-size", "4", "--profil"], "profil"),
        (["--batch-size", "4"], "MODEL"),
    ],
)
def test_mistakes_end_in_one_clear_message(run, arguments, named):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert named in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_number_of_threads_in_the_environment_is_named(run, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "none")
    result = run("xor", "--batch-size", 4)
    assert result.exit_code == 2
    assert "TINYGRAPH_THREADS" in result.stderr


def test_loss_that_takes_no_labels_can_be_profiled(shown):
    Path("own.toml").write_text(MODEL.format(function="tanh", loss="loss = 'cost'"), encoding="utf-8")
    assert "W_new" in shown("own.toml", "--batch-size", 4, "--profile")
    assert tg.Model.from_toml(Path("own.toml").read_text(encoding="utf-8")).labels == ()
