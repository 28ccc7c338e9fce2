"""``tinygraph equations``."""

import re
from pathlib import Path

import pytest

from tinygraph.model import bundled_models, load_model


def test_equations_are_those_of_the_file(run):
    output = run("equations", "notes_cnn").stdout
    assert re.search(r"^Z1 +=  ?conv2d\(Inp, K1, padding=1\) \+ B1 +float32 \(m, 8, 8, 8\)$", output, re.MULTILINE)
    assert "Backward" not in output


def test_backward_equations_are_derived_and_ordered_as_computed(run):
    output = run("equations", "notes_cnn", "--backward").stdout
    forward, backward, update = re.split(r"\nBackward\n|\nUpdate\n", output)
    made = [line.split()[0] for line in backward.splitlines() if line]
    assert made[:3] == ["m", "dcost", "dZ3"]
    expected = ["dZ3", "df", "dP2", "dC2", "dZ2", "dP1", "dC1", "dZ1"]
    assert [name for name in made if name in expected] == expected
    assert {"dW3", "dB3", "dK2", "dB2", "dK1", "dB1"} <= set(made)
    assert not {"da", "dInp", "dy"} & set(made)
    assert re.search(r"^dZ3 += \(a - y\) / m +float32 \(m, 1\)$", backward, re.MULTILINE)
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
