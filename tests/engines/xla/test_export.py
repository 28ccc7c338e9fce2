"""Programs as StableHLO, which run with JAX alone."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import tinygraph as tg
from tests.tools.commands import CUSTOM, model_text
from tinygraph.cli import main

pytest.importorskip("jax")
ALONE = """
import sys
import jax
from jax import export
from safetensors.numpy import load_file, save_file

jax.config.update("jax_enable_x64", True)
program = export.deserialize(bytearray(open("net.bin", "rb").read()))
assert program.platforms == ("cpu", "cuda", "tpu")
feeds = load_file("feeds.safetensors")
if sys.argv[1:]:
    state, losses = load_file("net.safetensors"), []
    for _ in range(5):
        state, (output, loss), accepted = program.call(state, feeds)
        assert accepted
        losses.append(loss)
    bad, _, accepted = program.call(state, {**feeds, "y": feeds["y"] + 20})
    assert not accepted and all((bad[name] == state[name]).all() for name in state)
    save_file({"loss": jax.numpy.stack(losses).__array__()}, "found.safetensors")
else:
    save_file({"output": program.call(feeds)[0].__array__()}, "found.safetensors")
assert "tinygraph" not in sys.modules
"""


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Export a model, run the file in a process without tinygraph, and return what it computed."""
    monkeypatch.chdir(tmp_path)

    def invoke(feeds, *options):
        result = CliRunner().invoke(main, ["export", "notes_cnn_norm", "--stablehlo", "net.bin", *options])
        assert result.exit_code == 0, result.output
        save_file(feeds, "feeds.safetensors")
        subprocess.run(
            [sys.executable, "-c", ALONE, *[option for option in options if option == "--step"]],
            check=True,
            timeout=100,
        )
        return load_file("found.safetensors")

    return invoke


def test_a_step_runs_with_jax_alone(export):
    model = tg.load_model("notes_cnn_norm")
    x, y = tg.load_data("digits").train
    step = model.compile_step(None, 16)
    feeds = {"Inp": x[:16], "y": y[:16]}
    rate = np.array(step.learning_rate, np.float32)
    found = export({**feeds, "learning_rate": rate}, "--step", "--batch-size", "16")
    np.testing.assert_allclose(found["loss"], [step(feeds)[1] for _ in range(5)], rtol=1e-5)


def test_a_prediction_holds_its_weights(export):
    x = tg.load_data("digits").train[0][:3]
    found = export({"Inp": x}, "--batch-size", "3")
    np.testing.assert_allclose(found["output"], tg.load_model("notes_cnn_norm").predict(x), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*runs on the host")
def test_what_runs_on_the_host_is_not_exported(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").write_text(model_text("z = soft_plus(x @ W)"), encoding="utf-8")
    host = CUSTOM.replace("FACTOR", "1").replace("np.logaddexp(0, x)", "np.vectorize(lambda v: float(v))(x)")
    (tmp_path / "my_ops.py").write_text(host, encoding="utf-8")
    result = CliRunner().invoke(main, ["export", "net.toml", "--ops", "my_ops.py", "--stablehlo", "net.bin"])
    assert result.exit_code == 2
    assert "operations that run in Python on the host cannot be exported: soft_plus " in result.stderr
    assert not (tmp_path / "net.bin").exists()
