"""``tinygraph train`` with the weights of another model: a backbone that is loaded in part, renamed and frozen."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tinygraph.model import load_model

# The backbone is the block; the head has one output for each class.
NET = """
[inputs]
x = [1, 8, 8]
y = { shape = [], dtype = "int64" }

[parameters]
HEAD = { shape = [6, CLASSES], init = "he_normal" }

[blocks.backbone]
inputs = ["x"]
equations = '''
C = relu(conv2d(x, K) + B)
f = global_avg_pool2d(C)
'''
output = "f"

[blocks.backbone.parameters]
K = { shape = [6, 1, 3, 3], init = "he_normal" }
B = { shape = [6, 1, 1], init = "zeros" }

[model]
equations = '''
NAME = backbone(x)
z = NAME @ HEAD
cost = cross_entropy(z, y)
'''
output = "z"
loss = "cost"
"""
LOAD = ("--weights", "old.safetensors", "--only", "features.*", "--rename", "enc.*=features.*")


def write(name, classes, block, head):
    text = NET.replace("CLASSES", str(classes)).replace("NAME", block).replace("HEAD", head)
    Path(f"{name}.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def old():
    """Weights for ten digits, a model for two classes with other names, and data for it. The old values by name."""
    write("old", 10, "enc", "W")
    write("new", 2, "features", "V")
    rng = np.random.default_rng(0)
    np.savez("two.npz", x=rng.random((20, 1, 8, 8)), y=rng.integers(2, size=20))
    model = load_model("old.toml", seed=3)
    model.save("old.safetensors")
    return {name: p.value for name, p in model.parameters.items()}


def values(path):
    model = load_model("new.toml")
    model.load(path)
    return {name: p.value for name, p in model.parameters.items()}


def test_a_backbone_is_loaded_frozen_and_kept_while_the_head_learns(run, old):
    given = ("train", "new.toml", "--data", "two.npz", *LOAD, "--freeze", "features.*", "--epochs", 4)
    result = run(*given, "--out", "done")
    assert result.exit_code == 0
    assert "loaded 'features.K' and 'features.B' from old.safetensors\n" in result.stdout
    trained = values("done/weights.safetensors")
    assert_array_equal(trained["features.K"], old["enc.K"])
    assert_array_equal(trained["features.B"], old["enc.B"])
    assert (trained["V"] != load_model("new.toml").parameters["V"].value).any()
    # What is continued keeps its options, and loads nothing again.
    assert run(*given[:-1], 2, "--out", "part").exit_code == 0
    more = run("train", "new.toml", "--out", "part", "--resume", "--epochs", 4)
    assert more.exit_code == 0
    assert "loaded" not in more.stdout
    assert "features.K  parameter, frozen" in " ".join(more.stdout.split("\n"))
    for name, value in values("part/weights.safetensors").items():
        assert_array_equal(value, trained[name])


def test_all_but_the_head_is_loaded_with_skip(run, old):
    write("same", 2, "enc", "W")
    result = run(
        "train", "same.toml", "--data", "two.npz", "--weights", "old.safetensors", "--skip", "W", "--epochs", 1
    )
    assert result.exit_code == 0
    assert "loaded 'enc.K' and 'enc.B' from old.safetensors\n" in result.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (LOAD[:2], "the file lacks 'V', 'features.K' and 'features.B', and the model lacks"),
        (("--only", "features.*"), "--only: there are no --weights to load"),
        (("--skip", "V", "--rename", "a=b"), "--skip and --rename: there are no --weights to load"),
        ((*LOAD[:2], "--only", "feature.*"), "has no parameter or state 'feature.*'"),
        ((*LOAD[:2], "--rename", "enc.*"), "another name is given as OLD=NEW; found 'enc.*'"),
        ((*LOAD[:2], "--rename", "enc.*=features"), "rename needs a * in both names or in none"),
        ((*LOAD[:2], "--rename", "encoder.*=features.*"), "has no array 'encoder.*'"),
        (
            (*LOAD[:2], "--rename", "W=V", "--rename", "enc.*=features.*"),
            "'V' has shape (6, 10), the model's (6, 2); skip 'V'",
        ),
    ],
)
def test_mistakes_leave_no_folder(fails, old, given, message):
    assert message in fails("train", "new.toml", "--data", "two.npz", *given)
    assert not Path("runs").exists()
