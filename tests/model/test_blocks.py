"""Blocks: equations that a model uses several times."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.models import PLAIN, X, net

DENSE = {
    "inputs": ["x"],
    "parameters": {
        "W": {"shape": ["x.shape[1]", "width"], "init": "normal", "std": 1},
        "b": {"shape": ["width"], "init": "zeros"},
    },
    "attributes": {"width": 3, "slope": 0.5},
    "equations": "z = x @ W + b\nout = maximum(z, slope * z)",
    "output": "out",
}


TWICE = {
    "inputs": ["x"],
    "attributes": {"width": 2},
    "equations": "h = dense(x, width=width)\nout = dense(h, width=width * 2)",
    "output": "out",
}


def names(model):
    return list(model.parameters)


def test_parameters_of_a_block_are_named_after_the_equation():
    assert names(net("R1 = dense(x)\na = R1 + 1", blocks={"dense": DENSE})) == ["R1.W", "R1.b"]


def test_two_calls_have_separate_parameters():
    model = net("R1 = dense(x)\nR2 = dense(R1)\na = R2", blocks={"dense": DENSE})
    shapes = {name: p.shape for name, p in model.parameters.items()}
    assert shapes == {"R1.W": (4, 3), "R1.b": (3,), "R2.W": (3, 3), "R2.b": (3,)}


def test_a_block_computes_its_equations_on_the_parameters_of_each_call():
    model = net("R1 = dense(x)\nR2 = dense(R1)\na = R2", blocks={"dense": DENSE})
    value = X
    for call in ("R1", "R2"):
        z = value @ model.parameters[f"{call}.W"].value + model.parameters[f"{call}.b"].value
        value = np.maximum(z, 0.5 * z)
    assert_allclose(model.predict(X), value, rtol=1e-5)


def test_a_block_called_twice_in_one_equation_has_separate_parameters():
    model = net("R = dense(x) + dense(x)\na = R", blocks={"dense": DENSE})
    assert names(model) == ["R.W", "R.b", "R_2.W", "R_2.b"]
    assert (model.parameters["R.W"].value != model.parameters["R_2.W"].value).all()


def test_an_equation_named_like_a_second_call_keeps_parameters_of_its_own():
    model = net("R = dense(x) + dense(x)\nR_2 = dense(x)\na = R + R_2", blocks={"dense": DENSE})
    assert len(names(model)) == 6
    assert len({p.value.tobytes() for name, p in model.parameters.items() if name.endswith("W")}) == 3


def test_a_block_around_a_block_in_one_expression():
    model = net("R = dense(dense(x, width=5))\na = R", blocks={"dense": DENSE})
    assert {name: p.shape for name, p in model.parameters.items() if name.endswith("W")} == {
        "R.W": (4, 5),
        "R_2.W": (5, 3),
    }


def test_blocks_within_blocks():
    model = net("R = twice(x)\na = R", blocks={"twice": TWICE, "dense": DENSE})
    assert {name: p.shape for name, p in model.parameters.items()} == {
        "R.h.W": (4, 2),
        "R.h.b": (2,),
        "R.out.W": (2, 4),
        "R.out.b": (4,),
    }
    assert [e.name for e in model.record(2).equations] == ["R.h.z", "R.h", "R.out.z", "R", "a"]


def test_attributes_of_a_block_have_defaults_and_go_by_keyword():
    model = net("R1 = dense(x)\na = dense(R1, width=2 * 3, slope=0)", blocks={"dense": DENSE})
    assert model.parameters["R1.W"].shape == (4, 3)
    assert model.parameters["a.W"].shape == (3, 6)
    assert model.predict(X).min() == 0


def test_a_block_may_have_two_inputs():
    mix = {"inputs": ["p", "q"], "equations": "r = p - 2 * q", "output": "r"}
    assert_allclose(net("a = mix(x, x + 1)", blocks={"mix": mix}).predict(X), X - 2 * (X + 1))


def test_an_equation_that_only_calls_a_block_names_its_result():
    model = net("h = x + 1\na = plain(h)", blocks={"plain": PLAIN})
    assert model.record(2).output.name == "a"
    assert str(model.graph(2)).splitlines()[-1].split()[:4] == ["a", "=", "h", "*"]
    assert [e.text for e in model.record(2).equations] == ["h = x + 1", "a = h * 2"]


def test_a_block_that_hands_its_input_on_renames_nothing():
    same = {"inputs": ["p"], "equations": "q = p", "output": "q"}
    model = net("h = x + 1\ng = same(h)\na = g * h", blocks={"same": same})
    assert model.record(2).tensors["h"].name == "h"
    assert_allclose(model.predict(X), (X + 1) ** 2)


def test_a_block_on_an_expression_names_the_expression_in_its_equations():
    model = net("a = plain(x + 1)", blocks={"plain": PLAIN})
    lines = [line.split()[:5] for line in str(model).splitlines()]
    assert lines[1][1:] == ["=", "x", "+", "1"]
    assert lines[2] == ["a", "=", lines[1][0], "*", "2"]
    assert_allclose(model.predict(X), (X + 1) * 2)


def test_attributes_of_a_block_are_written_as_their_numbers():
    scaled = {"inputs": ["p"], "attributes": {"by": 2}, "equations": "q = p * by", "output": "q"}
    model = net("h = scaled(x)\na = scaled(h, by=3)", blocks={"scaled": scaled})
    assert [e.text for e in model.record(2).equations] == ["h = x * 2", "a = h * 3"]


def test_names_inside_a_block_are_its_own():
    inner = {
        "inputs": ["h"],
        "parameters": {"W": {"shape": [4], "init": "ones"}},
        "equations": "x = h * W\na = x + 1",
        "output": "a",
    }
    model = net("h = x * W\na = inner(h) * 3", {"W": {"shape": [4], "init": "ones"}}, blocks={"inner": inner})
    assert names(model) == ["W", "a.W"]
    assert_allclose(model.predict(X), (X + 1) * 3)


def test_a_block_sees_nothing_around_it():
    leaky = {"inputs": ["p"], "equations": "q = p * W", "output": "q"}
    with pytest.raises(tg.ModelError, match="'W' is not defined"):
        net("a = leaky(x) * W", {"W": {"shape": [4], "init": "ones"}}, blocks={"leaky": leaky})


def test_equations_of_a_block_know_their_block():
    record = tg.load_model("residual").record(1)
    blocks = [(e.name, e.block) for e in record.equations]
    assert blocks[:5] == [("C0", ""), ("R1.Z1", "R1"), ("R1.C1", "R1"), ("R1.Z2", "R1"), ("R1", "R1")]
    assert dict(blocks)["cost"] == ""


def test_further_blocks_change_no_initial_value():
    one = net("a = dense(x)", blocks={"dense": DENSE})
    two = net("h = dense(x, width=4)\na = dense(h)", blocks={"dense": DENSE})
    assert one.parameters["a.W"].shape != (4, 4)
    assert_array_equal(two.parameters["a.W"].value.ravel()[:12], one.parameters["a.W"].value.ravel())
