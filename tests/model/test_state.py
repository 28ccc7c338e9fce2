"""State of a model, and training told apart from prediction: recordings, steps, files, readers."""

import copy
import pickle
import re

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.engines.plan import tiles
from tinygraph.train import SGD, Adam, initial_state, training_step

RNG = np.random.default_rng(0)

TEXT = """
name = "net"

[inputs]
x = [3]
y = { shape = [], dtype = "int64" }

[parameters]
W = { shape = [3, 4], init = "he_normal" }
G = { shape = [4], init = "ones" }
B = { shape = [4], init = "zeros" }
V = { shape = [4, 2], init = "he_normal" }

[state]
mean = { shape = [4], init = "zeros", next = "running_mean(mean, Z)" }
variance = { shape = [4], init = "ones", next = "running_variance(variance, Z)" }
key = { shape = [], init = "seed", next = "key + 1" }

[model]
equations = '''
Z = x @ W
N = batch_norm(Z, G, B, mean, variance)
D = dropout(relu(N), key, rate=0.25)
S = D @ V
cost = cross_entropy(S, y)
'''
output = "S"
loss = "cost"
"""
TABLES = {
    "inputs": {"x": [3], "y": {"shape": [], "dtype": "int64"}},
    "parameters": {
        "W": {"shape": [3, 4], "init": "he_normal"},
        "G": {"shape": [4], "init": "ones"},
        "B": {"shape": [4], "init": "zeros"},
        "V": {"shape": [4, 2], "init": "he_normal"},
    },
    "state": {
        "mean": {"shape": [4], "init": "zeros", "next": "running_mean(mean, Z)"},
        "variance": {"shape": [4], "init": "ones", "next": "running_variance(variance, Z)"},
        "key": {"shape": [], "init": "seed", "next": "key + 1"},
    },
    "equations": """
        Z = x @ W
        N = batch_norm(Z, G, B, mean, variance)
        D = dropout(relu(N), key, rate=0.25)
        S = D @ V
        cost = cross_entropy(S, y)
    """,
    "output": "S",
    "loss": "cost",
}
FEEDS = {"x": RNG.standard_normal((8, 3)).astype(np.float32), "y": RNG.integers(0, 2, 8)}


def net(**changes):
    return tg.Model(**(TABLES | {"name": "net"} | changes))


def kept(model):
    return {name: tensor.value.copy() for name, tensor in {**model.parameters, **model.state}.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_array_equal(found[name], value, err_msg=name)


# ---- declaration


def test_a_state_is_a_leaf_of_its_own_kind():
    model = tg.Model.from_toml(TEXT)
    assert list(model.state) == ["mean", "variance", "key"]
    assert list(model.parameters) == ["W", "G", "B", "V"]
    assert {s.kind for s in model.state.values()} == {"state"}
    assert [str(s.dtype) for s in model.state.values()] == ["float32", "float32", "int64"]
    assert list(model.record(4, training=True).full_graph.state) == ["mean", "variance", "key"]


def test_the_same_model_from_python():
    assert str(net()) == str(tg.Model.from_toml(TEXT))
    assert_same(kept(net()), kept(tg.Model.from_toml(TEXT)))


def test_a_key_is_drawn_from_the_seed_and_a_state_from_its_initializer():
    keys = {int(net(seed=seed).state["key"].value) for seed in range(5)}
    assert len(keys) == 5
    assert all(0 <= key < 2**62 for key in keys)
    model = net(seed=3)
    fresh = kept(model)
    model.initialize(seed=4)
    assert model.state["key"].value != fresh["key"]
    model.state["mean"].value = np.ones(4)
    model.initialize(seed=3)
    assert_same(kept(model), fresh)


def changed(old, new):
    assert old in TEXT
    return TEXT.replace(old, new)


MISTAKES = {
    "net.toml:15:60: 'meen' is not defined; did you mean 'mean'?": ("running_mean(mean, Z)", "running_mean(meen, Z)"),
    "the next value of state 'mean' must be float32 (4,); found float32 ()": ("running_mean(mean, Z)", "mean[0]"),
    "the next value of state 'mean' must be float32 (4,); found 1.5": ("running_mean(mean, Z)", "1.5"),
    "the next value of state 'key' must be int64 (); found float32 ()": ("key + 1", "key + 0.5"),
    "net.toml:15: not an expression: 'running_mean('": ("running_mean(mean, Z)", "running_mean("),
    "state 'key': next must be the expression of its value": ('"key + 1"', "1"),
    "[state.key] has no key 'nxt'; did you mean 'next'?": ('next = "key + 1"', 'nxt = "key + 1"'),
    "state 'mean' needs init, one of": ('mean = { shape = [4], init = "zeros"', 'mean = { shape = [4], init = "zero"'),
    "parameter 'G' needs init": ('G = { shape = [4], init = "ones"', 'G = { shape = [4], init = "seed"'),
    "so the dtype must be int64": ('init = "seed"', 'init = "seed", dtype = "float32"'),
    "'W' is defined twice: as a parameter and as a state": ("[state]", '[state]\nW = { shape = [], init = "zeros" }'),
    "'x' is defined twice: as an input and as a state": ("[state]", '[state]\nx = { shape = [], init = "zeros" }'),
    "'mean' is defined twice: as a state and by an equation": ("S = D @ V", "mean = D @ V"),
    "state 'spare' is never used": ("[state]", '[state]\nspare = { shape = [], init = "zeros" }'),
    "state 'mean' needs a shape": ("mean = { shape = [4], ", "mean = { "),
    "batch_norm: x 'Z' (2, 4)": ("batch_norm(Z, G, B, mean, variance)", "batch_norm(Z, G, B, mean[:2], variance)"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_in_a_state_is_told_with_its_place(message):
    with pytest.raises(tg.ModelError) as caught:
        tg.Model.from_toml(changed(*MISTAKES[message]), "net.toml")
    assert message in str(caught.value)


def test_a_state_without_next_value_stays_as_it_is():
    model = tg.Model(
        inputs={"x": [2]},
        parameters={"W": {"shape": [2, 1], "init": "ones"}},
        state={"offset": {"shape": [2], "init": "constant", "value": 3}},
        equations="p = (x - offset) @ W\ncost = mean(p * p)",
        output="p",
        loss="cost",
    )
    assert not model.has_modes
    assert model.record(2, training=True) is model.record(2)
    assert_array_equal(model.predict([[4.0, 5.0]]), [[3.0]])
    model.compile_step(SGD(0.1), 2)({"x": np.ones((2, 2))})
    assert_array_equal(model.state["offset"].value, [3.0, 3.0])


def test_an_unused_state_is_refused_where_nothing_moves_too():
    with pytest.raises(tg.ModelError, match="state 's' is never used"):
        tg.Model(
            inputs={"x": [2]},
            parameters={},
            state={"s": {"shape": [], "init": "zeros"}},
            equations="p = x * 2",
            output="p",
        )


# ---- recordings


def test_a_recording_knows_which_it_is():
    model = net()
    training, prediction = model.record(4, training=True), model.record(4)
    assert (training.training, prediction.training) == (True, False)
    assert model.record(4, training=True) is training
    assert not prediction.new_state
    assert {name: new.name for name, new in training.new_state.items()} == {
        "mean": "mean_new",
        "variance": "variance_new",
        "key": "key_new",
    }
    assert training.graph.outputs == (training.output, training.loss)
    assert training.full_graph.outputs[-2:] == training.graph.outputs
    names = [node.op.name for node in prediction.graph.nodes if node.op]
    assert "dropout_mask" not in names
    assert "standardize" not in names


def test_a_trace_computes_the_new_values_and_moves_nothing():
    model = net()
    before = kept(model)
    recording = model.trace(FEEDS, training=True)
    Z = FEEDS["x"] @ before["W"]
    assert_allclose(recording.new_state["mean"].value, 0.1 * Z.mean(axis=0), rtol=1e-5)
    assert_allclose(recording.new_state["variance"].value, 0.9 + 0.1 * Z.var(axis=0, ddof=1), rtol=1e-5)
    assert recording.new_state["key"].value == before["key"] + 1
    assert_same(kept(model), before)


def test_an_equation_may_say_itself_whether_it_is_training():
    model = net(equations=TABLES["equations"].replace("variance)", "variance, training=True)"))
    x = RNG.standard_normal((6, 3))
    y = RNG.integers(0, 2, 6)
    Z = x @ model.parameters["W"].value
    N = (Z - Z.mean(axis=0)) / np.sqrt(Z.var(axis=0) + 1e-5)
    assert_allclose(model.trace({"x": x, "y": y}).tensors["N"].value, N, rtol=1e-4, atol=1e-5)


def test_several_dropouts_of_one_key_leave_out_different_elements():
    equations = "A = dropout(x, key)\nC = dropout(x, key)\np = A * C + 0 * dropout(x, key, stream=7)\ncost = mean(p)"
    model = tg.Model({"x": [400]}, {}, equations, "p", "cost", state={"key": TABLES["state"]["key"]})
    recording = model.trace({"x": np.ones((1, 400))}, training=True)
    assert 0.2 < (recording.tensors["p"].value == 4).mean() < 0.3


def test_labels_are_not_needed_to_trace_the_output_in_training():
    recording = net().trace({"x": FEEDS["x"]}, training=True)
    assert recording.loss is None
    assert not recording.new_state


BLOCKS = {
    "inputs": {"x": [3], "y": [1]},
    "parameters": {"V": {"shape": [3, 1], "init": "ones"}},
    "blocks": {
        "normed": {
            "inputs": ["h"],
            "parameters": {
                "g": {"shape": ["h.shape[1]"], "init": "ones"},
                "b": {"shape": ["h.shape[1]"], "init": "zeros"},
            },
            "state": {
                "mean": {"shape": ["h.shape[1]"], "init": "zeros", "next": "running_mean(mean, h, momentum=0.5)"},
                "variance": {"shape": ["h.shape[1]"], "init": "ones", "next": "running_variance(variance, h)"},
            },
            "equations": "out = batch_norm(h, g, b, mean, variance)",
            "output": "out",
        }
    },
    "equations": "A = normed(x)\nC = normed(2 * A + 1)\np = C @ V\ncost = mse(p, y)",
    "output": "p",
    "loss": "cost",
}


def test_every_call_of_a_block_has_a_state_of_its_own():
    model = tg.Model(**BLOCKS, dtype="float64")
    assert list(model.state) == ["A.mean", "A.variance", "C.mean", "C.variance"]
    x = 3 + RNG.standard_normal((5, 3))
    model.compile_step(SGD(0.1), 5)({"x": x, "y": np.ones((5, 1))})
    assert_allclose(model.state["A.mean"].value, x.mean(axis=0) / 2, rtol=1e-10)
    assert_allclose(model.state["C.mean"].value, np.full(3, 0.5), rtol=1e-10)
    moved = model.record(2, training=True).new_state
    assert moved["C.mean"].name == "C.mean_new"


# ---- steps


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01)], ids=["SGD", "momentum", "Adam"])
def test_compiled_and_plain_steps_move_the_same(optimizer):
    plain, compiled = net(dtype="float64"), net(dtype="float64")
    step, state = training_step(plain, optimizer, 8), initial_state(plain, optimizer)
    other = compiled.compile_step(optimizer, 8)
    for number in range(1, 6):
        output, loss = step(FEEDS, state)
        found, again = other(FEEDS)
        assert_allclose(found, output, rtol=1e-10)
        assert_allclose(again, loss, rtol=1e-10)
        assert compiled.state["key"].value == plain.state["key"].value == net().state["key"].value + number
        for name, value in kept(plain).items():
            assert_allclose(kept(compiled)[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("compiled", [True, False])
def test_all_move_or_none(compiled):
    model = net()
    before = kept(model)
    step = model.compile_step(SGD(0.1), 8) if compiled else training_step(model, SGD(0.1), 8)
    feeds = FEEDS | {"x": np.full((8, 3), 1e38, np.float32)}
    with pytest.raises(tg.TrainingError, match="first value that is not finite"):
        step(feeds, initial_state(model, SGD(0.1)))
    assert_same(kept(model), before)


def test_a_state_alone_that_is_not_finite_stops_the_step():
    state = TABLES["state"] | {"mean": {"shape": [4], "init": "ones", "next": "mean * 1e30"}}
    model = net(state=state)
    step = model.compile_step(SGD(0.1), 8)
    step(FEEDS)
    before = kept(model)
    with pytest.raises(tg.TrainingError, match=r"mean_new|mean \* 1e\+?30"):
        step(FEEDS)
    assert_same(kept(model), before)


@pytest.mark.parametrize("compiled", [True, False])
def test_evaluation_and_prediction_are_sample_by_sample_and_move_nothing(compiled):
    model = net()
    tg.fit(model, (FEEDS["x"], FEEDS["y"]), SGD(0.1), epochs=2, batch_size=4)
    before = kept(model)
    whole = model.predict(FEEDS["x"], compiled=compiled)
    alone = model.predict(FEEDS["x"], batch_size=1, compiled=compiled)
    assert_allclose(whole, alone, rtol=1e-5, atol=1e-6)
    first = tg.evaluate(model, (FEEDS["x"], FEEDS["y"]), compiled=compiled)
    assert first == tg.evaluate(model, (FEEDS["x"], FEEDS["y"]), compiled=compiled)
    assert_same(kept(model), before)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(compiled):
    def trained(seed):
        model = net(seed=seed)
        tg.fit(model, (FEEDS["x"], FEEDS["y"]), SGD(0.1), epochs=3, batch_size=3, seed=0, compiled=compiled)
        return kept(model)

    assert_same(trained(1), trained(1))
    assert not np.array_equal(trained(1)["W"], trained(2)["W"])


def test_a_training_that_goes_on_from_a_file_is_the_same_as_one_that_was_never_left(tmp_path):
    straight, parted = net(), net()
    for model in (straight, parted):
        step = model.compile_step(SGD(0.1), 8)
        for _ in range(3):
            step(FEEDS)
    parted.save(tmp_path / "w.safetensors")
    resumed = net(seed=9)
    resumed.load(tmp_path / "w.safetensors")
    assert_same(kept(resumed), kept(straight))
    for model in (straight, resumed):
        step = model.compile_step(SGD(0.1), 8)
        step(FEEDS)
    assert_same(kept(resumed), kept(straight))


def test_weights_without_the_state_are_refused(tmp_path):
    from tinygraph.model.weights import save_weights

    model = net()
    save_weights(tmp_path / "w.safetensors", model.parameters, "net")
    with pytest.raises(tg.WeightsError, match="lacks 'mean', 'variance' and 'key'"):
        model.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_state(again):
    model = net()
    model.compile_step(SGD(0.1), 8)(FEEDS)
    twin = again(model)
    assert_same(kept(twin), kept(model))
    model.compile_step(SGD(0.1), 8)(FEEDS)
    assert twin.state["key"].value == model.state["key"].value - 1


# ---- the bundled model, and every reader of it


def test_the_bundled_model_learns_the_digits():
    model = tg.load_model("notes_cnn_norm")
    history = tg.fit(model, epochs=8)
    assert history[-1].test_accuracy > 0.95
    assert model.state["chance"].value == tg.load_model("notes_cnn_norm").state["chance"].value + 8 * 45


def test_check_goes_through_training_with_its_state():
    report = tg.check(tg.load_model("notes_cnn_norm"))
    assert report.ok
    assert {record.op for record in report.nodes} >= {"standardize", "variance"}
    assert not any("state" in record.input for record in report.whole)


def test_equations_show_the_new_values_with_the_update():
    lines = CliRunner().invoke(main, ["equations", "notes_cnn_norm", "--backward", "--batch-size", "2"]).output
    forward, update = lines.partition("Update")[::2]
    assert "M1_new      = running_mean(M1, Z1)" in update
    assert "_new" not in forward
    assert "dG1         = reshape(sum_to(dN1 * Z1_hat, (8, 1, 1)), (8,))" in forward
    assert "df          = dD * f_mask" in forward
    alone = CliRunner().invoke(main, ["equations", "notes_cnn_norm"]).output
    assert "chance_new  = chance + 1" in alone


def test_pictures_and_notes_show_the_state():
    model = tg.load_model("notes_cnn_norm")
    cards = {card.symbol: card for card in tg.draw(model).drawing.cards}
    assert (cards["M1"].kind, cards["V2_new"].title) == ("state", "running_variance")
    text = tg.notes(model).markdown()
    forward, update = text.partition("## Update")[::2]
    assert "The equations are those of training" in forward
    assert r"\mathrm{chance}_{\mathrm{new}} = \mathrm{chance} + 1" in update
    assert "_{\\mathrm{new}}" not in forward


def test_a_model_without_a_loss_is_drawn_as_it_predicts():
    model = net(equations="Z = x @ W\nS = batch_norm(Z, G, B, mean, variance) @ V + 0 * y[0] + key * 0", loss=None)
    assert not any(card.symbol.endswith("_new") for card in tg.draw(model).drawing.cards)


def test_plans_cut_batch_statistics_into_stages_and_predictions_at_once(monkeypatch):
    monkeypatch.setattr(tiles, "LARGEST_WHOLE", 0)
    shown = CliRunner().invoke(main, ["plan", "notes_cnn_norm", "--batch-size", "4000", "--threads", "2"]).output
    assert re.search(r"^ *\d+ +tile 2 x\d", shown, re.MULTILINE)
    assert "tiles: " in shown
    shown = CliRunner().invoke(main, ["plan", "notes_cnn_norm", "--batch-size", "4000", "--inference"]).output
    assert "tiles: " in shown
    assert "tile 2" not in shown


def test_a_state_is_no_parameter_to_the_engine():
    s = tg.state(np.array([2.0]), name="s")
    w = tg.parameter(np.array([3.0]), name="w")
    y = (s * w).sum()
    y.backward()
    assert s.grad is None
    assert_array_equal(w.grad.value, [2.0])
    s.value = [5.0]
    assert_array_equal(s.value, [5.0])
    with pytest.raises(tg.StaleValueError):
        tg.grad(y, [w])
    assert list(tg.Graph(y).state) == ["s"]
    assert "state" in str(tg.Graph(y))
