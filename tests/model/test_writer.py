"""Models written as the text of a model file, and read back."""

import tomllib

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.fuzz.seeds import MANY, REPEATED
from tests.model.test_repeated_blocks import CELL, LSTM
from tests.tools.model_mistakes import BASE
from tests.tools.models import exercise_text, net
from tinygraph.model import bundled_models, load_model
from tinygraph.model.writer import toml_text

WORDS = [
    'say "no"',
    "back\\slash",
    "two\nlines",
    "tab\t",
    "größer ÷ 2",
    "🙂",
    "\x00\x7f\u202e\u2028",
    "'''",
    '"""',
    "",
    " ",
]


def everything():
    """A model that uses all that a declaration may have."""
    return tg.Model(
        inputs={"x": [5, 4], "mask": {"shape": [4], "batched": False}, "y": {"shape": [], "dtype": "int64"}},
        parameters={
            "W": {"shape": ["h.shape[1]", 3], "init": "uniform", "low": -0.1, "high": 1e-7},
            "b": {"value": [0.5, 1e300, -2], "trainable": False},
            "h0": {"shape": [1, 6], "init": "constant", "value": 0.25},
        },
        state={
            "c0": {"value": [[0, 0, 0, 0, 0, 1]]},
            "key": {"shape": [], "init": "seed", "dtype": "int64", "next": "key + 1"},
            "hidden": {"value": [0, -np.inf, np.inf]},
        },
        blocks={
            "lstm": LSTM,
            "scale": {
                "inputs": ["p"],
                "attributes": {"by": 2, "to": 0.5},
                "state": {"M": {"shape": ["p.shape[1]"], "init": "ones", "next": "running_mean(M, p)"}},
                "equations": "    # A comment.\n    q = p * by + to * M\n",
                "output": "q",
            },
        },
        equations="""
            h, c = lstm(each(x * mask), h0, c0)   # the last step
            d = dropout(scale(h, by=3), key, rate=0.25)
            z = (
                d @ W + b + where(hidden > 0, 0, hidden * 0)
            )
            cost = cross_entropy(z, y)
        """,
        output="z",
        loss="cost",
        name='a "model"',
        title="It's \\ größer\n",
        training={"data": "digits", "epochs": 3, "optimizer": "adam", "learning_rate": 1e-05, "seed": 7},
        sample={"x": np.ones((2, 5, 4)), "mask": [1, 0, 0.1, 1], "y": [0, 2]},
        dtype="float64",
    )


def same(model, other, values=True):
    """Whether two models declare, show and compute the same."""
    assert str(other) == str(model)
    assert other.to_toml() == model.to_toml()
    assert (other.name, other.title, other.training, other.batch) == (
        model.name,
        model.title,
        model.training,
        model.batch,
    )
    assert (other.output, other.loss, other.metric) == (model.output, model.loss, model.metric)
    assert list(other.trainable) == list(model.trainable)
    for tensors, others in ((model.parameters, other.parameters), (model.state, other.state)):
        for name, tensor in tensors.items() if values else ():
            assert_array_equal(others[name].value, tensor.value)
            assert others[name].dtype == tensor.dtype
    assert list(other.sample) == list(model.sample)
    for name, array in model.sample.items():
        assert_array_equal(other.sample[name], array)


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_come_back(name):
    model = load_model(name)
    same(model, tg.Model.from_toml(model.to_toml()))


@pytest.mark.parametrize("text", [MANY, REPEATED, BASE, exercise_text(), None])
def test_models_come_back(text):
    model = everything() if text is None else tg.Model.from_toml(text)
    again = tg.Model.from_toml(model.to_toml())
    same(model, again)
    for name, declared in model.declaration.main.variables.items():
        assert again.declaration.main.variables[name].options == declared.options


def test_what_is_written_reads_like_a_model_file():
    assert net("a = x @ W", {"W": {"shape": [4, 1], "init": "zeros"}}).to_toml() == (
        'name = "model"\n\n[inputs]\nx = [4]\n\n[parameters]\nW = { shape = [4, 1], init = "zeros" }\n\n'
        "[model]\nequations = '''\na = x @ W\n'''\noutput = \"a\"\nloss = false\n"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_come_back_bit_for_bit(dtype):
    model = net(
        "a = (x @ W + b) * k",
        {"W": {"shape": [4, 3], "init": "normal"}, "b": {"shape": [3], "init": "normal"}},
        state={"k": {"value": [np.inf, 1, -np.inf]}},
        dtype=dtype,
    )
    model.parameters["b"].value = np.array([1e-45, -0.0, 3e18], dtype)
    again = tg.Model.from_toml(model.to_toml(values=True))
    for name, tensor in (model.parameters | model.state).items():
        written = {**again.parameters, **again.state}[name].value
        assert written.tobytes() == tensor.value.tobytes()
    assert again.weighted


def test_the_seed_of_random_numbers_is_a_whole_number_in_the_file():
    model = tg.Model.from_toml(load_model("notes_cnn_norm").to_toml(values=True))
    assert_array_equal(model.state["chance"].value, load_model("notes_cnn_norm").state["chance"].value)


def test_values_of_any_kind_are_written_as_numbers():
    given = {
        "a": tg.tensor([1.0, 0.5]),
        "b": np.float32(3),
        "c": (1, 2),
        "d": {"shape": (2,), "init": "constant", "value": 2},
    }
    parameters = {name: value if isinstance(value, dict) else {"value": value} for name, value in given.items()}
    model = net("e = x * a + b * c * d", parameters, {"x": [2]}, "e", sample={"x": tg.tensor([1.0, 2.0])})
    same(model, tg.Model.from_toml(model.to_toml()))
    assert "a = { value = [1.0, 0.5] }\nb = { value = 3.0 }\nc = { value = [1, 2] }\n" in model.to_toml()


def test_values_of_a_block_that_is_called_once():
    model = net(
        "a, s = cell(each(x), h)", {"h": {"shape": [1, 3], "init": "ones"}}, {"x": [5, 4]}, blocks={"cell": CELL}
    )
    model.initialize(seed=3)
    again = tg.Model.from_toml(model.to_toml(values=True))
    assert_array_equal(again.parameters["a.U"].value, model.parameters["a.U"].value)


def test_seed_and_frozen_parameters_come_back():
    model = load_model("residual", seed=5)
    model.freeze("R1.*", "R2.K1", "W")
    again = tg.Model.from_toml(model.to_toml())
    assert set(model.parameters) - set(again.trainable) == {"R1.K1", "R2.K1", "W"}
    assert_array_equal(again.parameters["W"].value, model.parameters["W"].value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: None, "parameter 'R2.K1' has a value of its own: a file holds one for all calls of its block"),
        (
            lambda model: setattr(model.parameters["K0"], "value", np.full((12, 1, 3, 3), np.nan)),
            "'K0' holds NaN or infinity",
        ),
    ],
)
def test_values_that_a_file_cannot_have(change, message):
    model = load_model("residual")
    change(model)
    with pytest.raises(tg.ModelError, match=message):
        model.to_toml(values=True)
    assert model.to_toml()


def test_too_many_values_for_a_file():
    with pytest.raises(
        tg.ModelError, match=r"the text has .* characters, and a model file may have 524,288; model.save"
    ):
        load_model("lenet5").to_toml(values=True)


def test_a_model_of_onnx_comes_back(tmp_path):
    pytest.importorskip("onnx")
    load_model("notes_cnn_norm").to_onnx(tmp_path / "net.onnx", loss=True)
    model = tg.from_onnx(tmp_path / "net.onnx", loss="bce")
    again = tg.Model.from_toml(model.to_toml())
    same(model, again, values=False)
    model.save(tmp_path / "w.safetensors")
    again.load(tmp_path / "w.safetensors")
    x = np.random.default_rng(0).random((3, 1, 8, 8))
    assert_array_equal(again.predict(x), model.predict(x))


def test_the_name_of_the_weights_is_kept_and_values_replace_it(tmp_path):
    model = net("a = x * W", {"W": {"shape": [4], "init": "ones"}})
    model.save(tmp_path / "w.safetensors")
    model = tg.Model.from_toml('weights = "w.safetensors"\n' + model.to_toml(), tmp_path / "net.toml")
    assert 'weights = "w.safetensors"' in model.to_toml()
    assert "weights" not in model.to_toml(values=True)


@pytest.mark.parametrize("word", WORDS)
def test_texts_and_keys_are_escaped(word):
    text = toml_text({"title": word, "names": {word: word}, "list": [word, {"a b": word}]})
    assert tomllib.loads(text) == {"title": word, "names": {word: word}, "list": [word, {"a b": word}]}
    assert all(c.isprintable() or c == "\n" for c in text)


def test_half_a_surrogate_is_replaced():
    assert tomllib.loads(toml_text({"title": "\ud800"})) == {"title": "\ufffd"}


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        2**63 - 1,
        0.0,
        -0.0,
        0.1,
        1e-300,
        1e300,
        5e-324,
        1e22,
        float("inf"),
        float("-inf"),
        True,
        False,
        [],
        [[1], [2.5]],
        [True],
    ],
)
@pytest.mark.parametrize("kind", [lambda value: value, np.asarray, lambda value: np.asarray(value)[()]])
def test_values_are_written_as_toml(value, kind):
    read = tomllib.loads(toml_text({"value": kind(value)}))["value"]
    assert repr(read) == repr(kind(value).tolist() if hasattr(kind(value), "tolist") else value)


@pytest.mark.parametrize(
    "text", ["a = relu(x)  # it's", "a = x\nb = a  # '''", "a = x  # \x07", 'a = pad(x, 1, mode="edge")']
)
def test_equations_are_kept_as_written(text):
    assert tomllib.loads(toml_text({"model": {"equations": text}}))["model"]["equations"].strip("\n") == text
