"""Blocks with several outputs, and blocks that are called several times: layers in a row, steps of a sequence."""

import copy
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.models import X, net
from tinygraph.train.step import training_step

LAYER = {
    "inputs": ["x"],
    "parameters": {"W": {"shape": ["x.shape[1]", 4], "init": "normal", "std": 1}},
    "equations": "z = x @ W\nout = tanh(z)",
    "output": "out",
}
TWO = {"inputs": ["p"], "equations": "q = p + 1\nr = p * 2", "output": ["q", "r"]}
# The elementary recurrent network: its state is both carried on and given out at every step.
CELL = {
    "inputs": ["x", "h"],
    "parameters": {
        "W": {"shape": ["x.shape[1]", "h.shape[1]"], "init": "normal", "std": 1},
        "U": {"shape": ["h.shape[1]", "h.shape[1]"], "init": "normal", "std": 1},
    },
    "equations": "n = tanh(x @ W + h @ U)",
    "output": ["n", "n"],
}
START = {"h0": {"shape": [1, 3], "init": "normal"}}
SEQUENCE = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
GATES = "ifog"
LSTM = {
    "inputs": ["x", "h", "c"],
    "parameters": {
        f"{kind}{gate}": {"shape": [size, "h.shape[1]"], "init": "normal", "std": 0.5}
        for gate in GATES
        for kind, size in (("W", "x.shape[1]"), ("U", "h.shape[1]"))
    },
    "equations": """
        i = sigmoid(x @ Wi + h @ Ui)
        f = sigmoid(x @ Wf + h @ Uf)
        o = sigmoid(x @ Wo + h @ Uo)
        g = tanh(x @ Wg + h @ Ug)
        c_new = f * c + i * g
        h_new = o * tanh(c_new)
    """,
    "output": ["h_new", "c_new"],
}


def sequence_net(equations, output="h", **options):
    blocks = {"cell": CELL, "layer": LAYER, "lstm": LSTM}
    used = {name: block for name, block in blocks.items() if f"{name}(" in equations}
    return net(equations, START, {"x": [5, 4]}, output=output, blocks=used, **options)


def names(model):
    return [equation.name for equation in model.record(2).equations]


# Several outputs


def test_the_outputs_of_a_block_are_unpacked():
    model = net("a, b = two(x)\nc = a * b", blocks={"two": TWO}, output="c")
    assert_allclose(model.predict(X), (X + 1) * X * 2)
    assert [e.text for e in model.record(2).equations] == ["a = x + 1", "b = x * 2", "c = a * b"]


def test_an_output_that_nothing_needs_is_not_computed_for_the_other():
    model = net("a, b = two(x)\nh, k = two(b)", blocks={"two": TWO}, output="k")
    assert_allclose(model.predict(X), X * 4)
    assert_allclose(model(X).value, X * 4)


def test_parameters_are_named_after_the_first_output():
    both = {**LAYER, "output": ["z", "out"]}
    model = net("s, a = layer(x)", blocks={"layer": both})
    assert list(model.parameters) == ["s.W"]
    assert names(model) == ["s", "a"]


def test_an_output_may_be_named_twice():
    model = net(
        "a, b = two(x)\nc = a + b", blocks={"two": {**TWO, "output": ["q", "q"], "equations": "q = p + 1"}}, output="c"
    )
    assert_allclose(model.predict(X), 2 * (X + 1))


@pytest.mark.parametrize(
    ("equations", "message", "column"),
    [
        ("a, b, c = two(x)", "the right-hand side computes 2 tensors, for 3 names: a, b, c", 11),
        ("a = two(x)", "computes 2 tensors, for 1 name: a", 5),
        ("a = two(x) + 1", r"block 'two' returns q, r: call it in an equation of its own, q, r = two\(...\)", 5),
        ("a = relu(two(x))", "call it in an equation of its own", 10),
        ("a, b = relu(x)", "computes one tensor, for 2 names: a, b", 8),
        ("a, b = x", "computes one tensor, for 2 names: a, b", 8),
        ("a, a = two(x)", "'a' is defined twice", 1),
        ("a, x = two(x)", "'x' is defined twice: as an input and by an equation", 8),
        ("a, b = two(b)", "a cycle|'b' is used before it is defined", 12),
        ("a, (b, c) = two(x)", "an equation has the form: name = expression", 1),
        ("a, *b = two(x)", "an equation has the form", 1),
        ("a, x.T = two(x)", "an equation has the form", 1),
        ("() = two(x)", "an equation has the form", 1),
        ("a, b = c = two(x)", "an equation has the form", 1),
        ("a, b = (x, x + 1)[0]", r"\[...\] is for tensors", 8),
    ],
)
def test_mistakes_in_unpacking(equations, message, column):
    with pytest.raises(tg.ModelError, match=message) as caught:
        net(equations, blocks={"two": TWO})
    assert caught.value.column == column


def test_the_parts_of_a_tensor_are_unpacked():
    model = net("i, f, g = split(tanh(x), [1, 1, 2], axis=1)\na = i * f + g")
    assert_allclose(model.predict(X), np.tanh(X[:, :1]) * np.tanh(X[:, 1:2]) + np.tanh(X[:, 2:]), rtol=1e-5)
    assert [e.text for e in model.record(2).equations][1] == "f = split(tanh(x), [1, 1, 2], axis=1)[1]"
    assert "f = t1[:, 1:2]" in tg.notes(model).text()


@pytest.mark.parametrize(
    "call",
    [
        "split(x)",
        "split(2, 2)",
        "split([x], 2)",
        "split(x, 2, axis='k')",
        "split(x, 2, z=1)",
        "relu(split(x, 2, axis=1))",
    ],
)
def test_mistakes_in_splitting(call):
    with pytest.raises(
        tg.ModelError, match=r"split takes a tensor and how many parts, .*: a, b = split\(x, 2, axis=1\)"
    ):
        net(f"a, b = {call}")
    with pytest.raises(tg.ModelError, match="the parts 1000000000 do not fill axis 1 of size 4"):
        net("a, b = split(x, 10 ** 9, axis=1)")


@pytest.mark.parametrize("output", [[], [1], ["q", None]])
def test_the_outputs_of_a_block_are_names(output):
    with pytest.raises(tg.ModelError, match="output must be a name or a list of names; found"):
        net("a, b = two(x)", blocks={"two": {**TWO, "output": output}})


def test_the_output_of_a_model_is_one_name():
    with pytest.raises(tg.ModelError, match="output must be text; found a list"):
        net("a = x + 1", output=["a", "a"])


# Layers in a row


def test_repetitions_have_parameters_of_their_own():
    model = net("a = layer(x, times=3)", blocks={"layer": LAYER})
    assert list(model.parameters) == ["a.1.W", "a.2.W", "a.3.W"]
    assert names(model) == ["a.1.z", "a.1.out", "a.2.z", "a.2.out", "a.3.z", "a"]
    value = X
    for parameter in model.parameters.values():
        value = np.tanh(value @ parameter.value)
    assert_allclose(model.predict(X), value, rtol=1e-5)


def test_repetitions_compute_what_calls_one_after_another_do():
    repeated = net("a = layer(x, times=2)", blocks={"layer": LAYER})
    written = net("h = layer(x)\na = layer(h)", blocks={"layer": LAYER})
    for parameter, other in zip(written.parameters.values(), repeated.parameters.values(), strict=True):
        parameter.value = other.value
    assert_array_equal(repeated.predict(X), written.predict(X))


def test_shared_repetitions_have_the_same_parameters():
    model = net("a = layer(x, times=3, shared=True)", blocks={"layer": LAYER})
    assert list(model.parameters) == ["a.W"]
    value = X
    for _ in range(3):
        value = np.tanh(value @ model.parameters["a.W"].value)
    assert_allclose(model.predict(X), value, rtol=1e-5)


def test_inputs_beyond_the_outputs_stay_and_outputs_beyond_the_inputs_are_stacked():
    pull = {"inputs": ["p", "to"], "equations": "q = (p + to) / 2", "output": "q"}
    assert_allclose(net("a = pull(x, x + 8, times=3)", blocks={"pull": pull}).predict(X), X + 7, rtol=1e-5)
    model = net("a, b = two(x, times=3)\nc = sum(b, axis=1)", blocks={"two": TWO}, output="b")
    assert_allclose(model.predict(X), np.stack([2 * X, 2 * (X + 1), 2 * (X + 2)], axis=1))
    assert names(model)[-2:] == ["b", "c"]


def test_blocks_with_repeated_blocks():
    stage = {"inputs": ["x"], "equations": "h = layer(x, times=2)\nout = h + x", "output": "out"}
    model = net("a = stage(x, times=2)", blocks={"stage": stage, "layer": LAYER})
    assert list(model.parameters) == ["a.1.h.1.W", "a.1.h.2.W", "a.2.h.1.W", "a.2.h.2.W"]
    shared = net("a = stage(x, times=2, shared=True)", blocks={"stage": stage, "layer": LAYER})
    assert list(shared.parameters) == ["a.h.1.W", "a.h.2.W"]


def test_each_repetition_has_a_state_of_its_own():
    centre = {
        "inputs": ["p"],
        "state": {"M": {"shape": ["p.shape[1]"], "init": "zeros", "next": "running_mean(M, p)"}},
        "equations": "q = p - M",
        "output": "q",
    }
    model = net("a = centre(x, times=2)", blocks={"centre": centre})
    assert list(model.record(2, training=True).new_state) == ["a.1.M", "a.2.M"]
    with pytest.raises(tg.ModelError, match="state 'M' would change several times in a step: repetitions of its block"):
        net("a = centre(x, times=2, shared=True)", blocks={"centre": centre})


def test_dropout_in_repeated_blocks_selects_other_elements():
    drop = {
        "inputs": ["p"],
        "state": {"key": {"shape": [], "init": "seed", "dtype": "int64", "next": "key + 1"}},
        "equations": "q = dropout(p, key)",
        "output": "q",
    }
    model = net("a = drop(x, times=2)", blocks={"drop": drop})
    assert list(model.state) == ["a.1.key", "a.2.key"]
    assert "dropout" in tg.draw(model).dot


# Steps of a sequence


def test_a_recurrent_network():
    model = sequence_net("h, s = cell(each(x), h0)")
    parameters = {name: p.value for name, p in model.parameters.items()}
    assert list(parameters) == ["h0", "h.W", "h.U"]
    h, steps = parameters["h0"], []
    for t in range(5):
        h = np.tanh(SEQUENCE[:, t] @ parameters["h.W"] + h @ parameters["h.U"])
        steps.append(h)
    assert_allclose(model.predict(SEQUENCE), h, rtol=1e-4)
    every = sequence_net("h, s = cell(each(x), h0)", output="s")
    assert_allclose(every.predict(SEQUENCE), np.stack(steps, axis=1), rtol=1e-4)
    assert names(every)[:3] == ["h.1.x", "h.1.n", "h.2.x"]
    assert every.record(2).equations[-1].text == "s = stack([h.1.n, ..., h.5.n], axis=1)"


def test_a_block_for_each_step_alone():
    model = sequence_net("a = layer(each(x)) * sum(h0)", output="a")
    assert_allclose(
        model.predict(SEQUENCE),
        np.tanh(SEQUENCE @ model.parameters["a.W"].value) * model.parameters["h0"].value.sum(),
        rtol=1e-4,
    )


def test_steps_may_have_parameters_of_their_own():
    model = sequence_net("h, s = cell(each(x), h0, shared=False)")
    assert [name for name in model.parameters if name.endswith("W")] == [f"h.{t}.W" for t in range(1, 6)]


def test_a_sequence_that_is_an_expression_gets_a_name():
    model = sequence_net("h, s = cell(each(x * 2), h0)")
    assert [e.text for e in model.record(2).equations][:2] == ["h.x = x * 2", "h.1.x = h.x[:, 0]"]


def test_the_text_of_a_step_names_the_sequence_inside_a_block_too():
    inner = {"inputs": ["h"], "equations": "x = h * 2\nk, s = cell(each(h), x[:, 0, :3])\nq = k + 1", "output": "q"}
    model = net("a = inner(x)", inputs={"x": [5, 4]}, blocks={"inner": inner, "cell": CELL})
    texts = [e.text for e in model.record(2).equations]
    assert texts[:3] == ["a.x = x * 2", "a.k.h = a.x[:, 0, :3]", "a.k.1.x = x[:, 0]"]


def test_several_sequences_and_layers_of_recurrence():
    both = {"inputs": ["p", "q", "h"], "equations": "r = h + p * q", "output": "r"}
    model = net(
        "a = both(each(x), each(x + 1), start)",
        {"start": {"shape": [1, 4], "init": "zeros"}},
        {"x": [5, 4]},
        blocks={"both": both},
    )
    assert_allclose(model.predict(SEQUENCE), (SEQUENCE * (SEQUENCE + 1)).sum(axis=1), rtol=1e-4)
    deep = sequence_net("g, s = cell(each(x), h0)\nh, r = cell(each(s), h0)")
    assert [p.shape for name, p in deep.parameters.items() if name.endswith("W")] == [(4, 3), (3, 3)]


def test_an_lstm_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    model = sequence_net("h, c = lstm(each(x), h0, h0)\na = concatenate([h, c], axis=1)", output="a")
    values = {name: p.value for name, p in model.parameters.items()}
    theirs = torch.nn.LSTM(4, 3, bias=False, batch_first=True)
    with torch.no_grad():
        # PyTorch's order of the gates.
        for weight, kind in ((theirs.weight_ih_l0, "W"), (theirs.weight_hh_l0, "U")):
            weight.copy_(torch.tensor(np.concatenate([values[f"h.{kind}{gate}"].T for gate in "ifgo"])))
        start = torch.tensor(np.tile(values["h0"], (1, 2, 1)))
        _, (h, c) = theirs(torch.tensor(SEQUENCE), (start, start))
    assert_allclose(model.predict(SEQUENCE), np.concatenate([h[0], c[0]], axis=1), rtol=1e-4, atol=1e-6)


def test_a_recurrent_network_trains_as_by_plain_evaluation():
    text = "h, s = cell(each(x), h0)\ncost = mean(s ** 2)"
    model = sequence_net(text, loss="cost")
    other, optimizer = copy.deepcopy(model), tg.SGD(0.1)
    step, plain, state = model.compile_step(optimizer, 2), training_step(other, optimizer, 2), {}
    for _ in range(3):
        state = dict.fromkeys(other.trainable, ())
        assert_allclose(step({"x": SEQUENCE})[1], plain({"x": SEQUENCE}, state)[1], rtol=1e-5)
    assert tg.check(model).ok
    assert "h.5.x" in str(tg.notes(model))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("layer(x, times=0)", "block 'layer': times must be a whole number of at least 1; found 0"),
        ("layer(x, times=-1)", "whole number of at least 1"),
        ("layer(x, times=True)", "whole number of at least 1"),
        ("layer(x, times=1.5)", "whole number of at least 1"),
        ("layer(x, times=x)", "whole number of at least 1"),
        ("layer(x, times=None, shared=None)", None),
        ("layer(x, times=10 ** 9)", "the blocks make more than 10,000 equations"),
        ("layer(x, times=9000)", "the blocks make more than 10,000 equations"),
        ("layer(x, times=x.shape[0])", "how often block 'layer' is repeated depends on the batch size"),
        ("layer(x, shared=True)", "shared is True or False, for a block that is repeated"),
        ("layer(x, times=2, shared=1)", "shared is True or False"),
        ("layer(x, time=2)", "block 'layer' has no attribute 'time'"),
        ("layer(each(x), times=2)", "leave times out"),
        ("layer(each(x, x))", r"each\(x\) takes one tensor with an axis of steps after the batch"),
        ("layer(each(3))", r"each\(x\) takes one tensor"),
        ("layer(each(sum(x)))", r"each\(x\) takes one tensor"),
        ("layer(each(each(x)))", r"each\(x\) takes one tensor"),
        ("relu(each(x))", r"relu takes tensors and numbers; found each\(x\)"),
        ("each(x) * 2", r"each\(x\) is neither a tensor nor a number"),
        ("each(x)", "an equation must compute a tensor"),
        ("each", "'each' is not defined"),
        (
            "layer(layer, times=2)",
            r"'layer' is a block; call it: layer\(...\), or several times: layer\(..., times=3\)",
        ),
        ("[layer(x) for i in x]", r"there are no loops; .* a block is repeated by block\(x, times=3\)"),
        (
            "wide(x, times=2, shared=True)",
            "the shape of parameter 'V' depends on the repetition, although all share it",
        ),
    ],
)
def test_mistakes_in_repetition(call, message):
    wide = {
        "inputs": ["x"],
        "parameters": {"V": {"shape": ["x.shape[1]", 3], "init": "ones"}},
        "equations": "out = x @ V",
        "output": "out",
    }
    blocks = {name: block for name, block in {"layer": LAYER, "wide": wide}.items() if f"{name}(" in call}
    if message is None:
        net(f"a = {call}", blocks=blocks)
        return
    with pytest.raises(tg.ModelError, match=message):
        net(f"a = {call}", blocks=blocks)


def test_sequences_of_different_lengths():
    both = {"inputs": ["p", "q"], "equations": "r = p + q", "output": "r"}
    with pytest.raises(tg.ModelError, match="different numbers of steps, 4 and 5"):
        net("a = both(each(x), each(x[:, 1:]))", inputs={"x": [5, 4]}, blocks={"both": both})


def test_a_loop_is_refused_with_what_to_write():
    with pytest.raises(tg.ModelError, match=r"there are no loops; .* by block\(each\(x\), h\)"):
        net("a = x\nfor i in x: a = a + 1")


@pytest.mark.parametrize("name", ["each", "times", "shared"])
def test_the_words_of_repetition_are_no_names_of_blocks_and_attributes(name):
    block, attributes = ("each", {}) if name == "each" else ("layer", {name: 1})
    with pytest.raises(tg.ModelError, match=re.escape(repr(name))):
        net(f"a = {block}(x)", blocks={block: {**LAYER, "attributes": attributes}})


# How they are shown


def test_many_layers_are_one_card_and_so_are_steps_that_share_weights():
    deep = net("a = layer(x, times=50)", blocks={"layer": LAYER})
    lstm = net("h, c = lstm(each(x), h0, h0)", START, {"x": [8, 4]}, output="h", blocks={"lstm": LSTM})
    for model, title, times in ((deep, "a.1 … a.50", "x 50"), (lstm, "h.2 … h.8", "x 7")):
        dot = tg.draw(model).dot
        assert title in dot
        assert times in dot


def test_symbols_of_repetitions_are_set_with_their_block_below():
    deep = net("a = layer(x, times=2)", blocks={"layer": LAYER})
    assert r"W_{\mathrm{a.1}}" in tg.notes(deep).tex()
