"""Weights of a part of a model, or of a model with other names: another number of classes, a backbone."""

import copy

import numpy as np
import pytest

import tinygraph as tg

NORM = {
    "inputs": ["p"],
    "parameters": {"g": {"shape": ["p.shape[1]"], "init": "normal"}},
    "state": {"mean": {"shape": ["p.shape[1]"], "init": "zeros", "next": "running_mean(mean, p)"}},
    "equations": "q = p * g + mean",
    "output": "q",
}


def net(classes, seed=0, block="R1", head="W"):
    return tg.Model(
        inputs={"x": [4]},
        parameters={"K": {"shape": [4, 3], "init": "normal"}, head: {"shape": [3, classes], "init": "normal"}},
        blocks={"norm": NORM},
        equations=f"h = x @ K\n{block} = norm(h)\na = {block} @ {head}",
        output="a",
        seed=seed,
        name="net",
    )


@pytest.fixture
def saved(tmp_path):
    """A file of weights for five classes, and its values."""
    model, path = net(5), tmp_path / "five.safetensors"
    model._variables.tensors["R1.mean"].value = np.ones(3)
    model.classes = tuple("abcde")
    model.save(path)
    return path, {name: x.value for name, x in model._variables.tensors.items()}


def loaded_and_kept(model, **part):
    """The names that ``load`` returns, the names of what changed, and the model."""
    before = {name: x.value for name, x in model._variables.tensors.items()}
    loaded = model.load(**part)
    after = {name: x.value for name, x in model._variables.tensors.items()}
    return loaded, [name for name in after if not np.array_equal(before[name], after[name])]


@pytest.mark.parametrize(
    "part", [{"skip": "W"}, {"skip": ["W*"]}, {"only": ["K", "R1.*"]}, {"only": "*", "skip": ("W",)}]
)
def test_another_number_of_classes(saved, part):
    path, values = saved
    model = net(2, seed=1)
    loaded, changed = loaded_and_kept(model, path=path, **part)
    assert loaded == changed == ["K", "R1.g", "R1.mean"]
    np.testing.assert_array_equal(model.state["R1.mean"].value, values["R1.mean"])
    assert model.classes == ()
    assert not model.weighted


def test_all_is_loaded_with_the_classes(saved):
    model = net(5, seed=1)
    assert model.load(saved[0]) == ["K", "W", "R1.g", "R1.mean"]
    assert model.classes == tuple("abcde")
    assert model.weighted


@pytest.mark.parametrize(
    "rename",
    [
        {"W": "V", "R1.g": "N2.g", "R1.mean": "N2.mean"},
        {"R1.*": "N2.*", "W": "V"},
        {"R1.g": "N2.g", "R1.*": "N2.*", "W": "V"},
    ],
)
def test_renamed_parameters(saved, rename):
    path, values = saved
    model = net(5, seed=1, block="N2", head="V")
    assert model.load(path, rename=rename) == ["K", "V", "N2.g", "N2.mean"]
    np.testing.assert_array_equal(model.parameters["N2.g"].value, values["R1.g"])
    np.testing.assert_array_equal(model.state["N2.mean"].value, values["R1.mean"])


def test_two_parameters_that_change_places(tmp_path):
    model = tg.Model({"x": [2]}, {n: {"shape": [2], "init": "normal"} for n in "ab"}, "z = x * a + b", "z", name="two")
    model.save(tmp_path / "w")
    other = copy.deepcopy(model)
    other.load(tmp_path / "w", rename={"a": "b", "b": "a"})
    np.testing.assert_array_equal(other.parameters["a"].value, model.parameters["b"].value)
    np.testing.assert_array_equal(other.parameters["b"].value, model.parameters["a"].value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, r"'W' has shape \(3, 5\), the model's \(3, 2\); skip 'W' to load the others"),
        (
            {"rename": {"W": "R1.g", "R1.g": "W"}},
            "'W' has shape .*; 'R1.g' has shape .*; skip 'W' and 'R1.g' to load the",
        ),
        ({"only": "V"}, r"model 'net' has no parameter or state 'V' \(names: 'K', 'W', 'R1.g' and 'R1.mean'\)"),
        ({"only": "R1"}, r"no parameter or state 'R1'; did you mean 'R1.\*'\?"),
        ({"only": 3}, "no parameter or state 3"),
        ({"skip": ["K", None]}, "no parameter or state None"),
        ({"skip": "*"}, "nothing is left to load"),
        ({"rename": {"V": "W"}}, "has no array 'V'"),
        ({"rename": {"W": "K"}}, "two of its arrays would be called 'K'"),
        ({"rename": {"R1.*": "R2"}}, r"needs a \* in both names or in none; found 'R1.\*' and 'R2'"),
        (
            {"rename": {"R*.*": "R2*.*"}, "skip": "W"},
            "the file lacks 'R1.g' and 'R1.mean', and the model lacks 'R21.g' and 'R21.mean'$",
        ),
        ({"rename": {"W": 1}}, "rename is a mapping of names"),
        ({"rename": "W"}, "rename is a mapping of names"),
        (
            {"rename": {"W": "V"}},
            "the file lacks 'W', and the model lacks 'V'; only, skip and rename load what they share",
        ),
        ({"rename": {"R1.*": "R2.*"}, "skip": "W"}, "lacks 'R2.g' and 'R2.mean'$"),
    ],
)
def test_after_an_error_nothing_has_changed(saved, part, message):
    model = net(2, seed=1)
    before = {name: x.value for name, x in model._variables.tensors.items()}
    with pytest.raises((tg.WeightsError, tg.UnknownNameError), match=message):
        model.load(saved[0], **part)
    assert all(model._variables.tensors[name].value is value for name, value in before.items())
    assert model.classes == ()
