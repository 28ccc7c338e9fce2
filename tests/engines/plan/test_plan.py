"""Compiled graphs return what ``tg.run`` returns: models, feeds, results, errors, the schedule."""

import dataclasses
import json
import re
from itertools import combinations

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import MODELS, agree, agrees_with_plain, ballast, feeds_for, in_float64
from tests.tools.plans import BATCH, normal, output_loss_and_gradients, refusal
from tinygraph.model import load_model

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


# ---- The models


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 32, 33, 100])
@pytest.mark.parametrize("name", MODELS)
def test_models_in_float64(name, batch):
    model = in_float64(name)
    agrees_with_plain(output_loss_and_gradients(model, batch), feeds_for(model, batch), batch, 2 - batch % 2)


@pytest.mark.parametrize("batch", [1, 33, 100])
@pytest.mark.parametrize("name", MODELS)
def test_models_in_float32(name, batch):
    model = load_model(name)
    agrees_with_plain(output_loss_and_gradients(model, batch), feeds_for(model, batch), batch)


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 65])
@pytest.mark.parametrize("name", MODELS)
def test_plan_of_a_model_takes_any_number_of_samples(name, count):
    model = in_float64(name)
    feeds = feeds_for(model, count)
    agree(tg.compile(model, 32, 2)(feeds), tg.run(model.graph(count), feeds))


def test_plan_of_a_model_goes_back_and_forth_between_sizes():
    model = in_float64("notes_cnn")
    plan = tg.compile(model, 8, 2)
    for count in (8, 3, 40, 8, 1, 3, 40):
        feeds = feeds_for(model, count, seed=count)
        agree(plan(feeds), tg.run(model.graph(count), feeds))


def test_model_without_a_loss_gives_its_output_alone():
    model = tg.Model({"x": [3]}, {"W": {"shape": [3, 2], "init": "normal"}}, "p = tanh(x @ W)", "p")
    feeds = {"x": normal(5, 3)}
    (output,) = tg.compile(model, 5)(feeds)
    agree((output,), tg.run(model.graph(5), feeds))


PENALIZED = "p = x @ W\npenalty = mean(W * W)\ncost = mse(p, y) + 0.5 * penalty"


@pytest.mark.parametrize("of", [lambda model: (model, 4), lambda model: (model.graph(4), None)], ids=["model", "graph"])
def test_present_values_of_parameters_are_read_at_each_call(of):
    model = tg.Model({"x": [3], "y": [1]}, {"W": {"shape": [3, 1], "init": "ones"}}, PENALIZED, "p", "cost")
    feeds = {"x": normal(4, 3), "y": normal(4, 1)}
    plan = tg.compile(*of(model))
    first = plan(feeds)
    model.parameters["W"].value = normal(3, 1, seed=5)
    second = plan(feeds)
    agree(second, tg.run(model.graph(4), feeds))
    assert abs(second[1] - first[1]) > 0.1


# ---- What is compiled, and for how many


def test_graph_tensor_and_several_tensors_are_compiled():
    x = tg.input("x", (3, 2), "float64")
    y = tg.tanh(x)
    feeds = {"x": normal(3, 2)}
    for what in (tg.Graph([y, x]), [y, x], (y, x)):
        agree(tg.compile(what)(feeds), tg.run([y, x], feeds))
    agree(tg.compile(y)(feeds), tg.run(y, feeds))


@pytest.mark.parametrize("what", [3, None, "xor", [3], np.ones(2), tg.relu])
def test_what_is_no_graph_is_refused(what):
    with pytest.raises(tg.TinygraphError):
        tg.compile(what, 4)


@pytest.mark.parametrize("batch_size", [None, 0, -1, 2.5, True, "4"])
def test_a_model_is_compiled_for_a_whole_number_of_samples(batch_size):
    with pytest.raises(tg.TinygraphError, match="batch"):
        tg.compile(load_model("xor"), batch_size)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "4"])
def test_batch_size_of_a_graph_is_a_positive_whole_number(batch_size):
    with pytest.raises(tg.TinygraphError, match="batch"):
        tg.compile(tg.relu(tg.input("x", (4, 2))), batch_size)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_are_a_positive_whole_number(threads):
    with pytest.raises(tg.AttributeValueError, match="threads"):
        tg.compile(load_model("xor"), 4, threads)


def test_batch_size_that_no_input_has_changes_nothing():
    x = tg.input("x", (4, 3), "float64")
    agrees_with_plain([tg.softmax(x, axis=0), x.sum(axis=0)], {"x": normal(4, 3)}, batch_size=5)


def test_inputs_that_share_no_first_axis():
    x, y = tg.input("x", (4, 3), "float64"), tg.input("y", (3, 2), "float64")
    agrees_with_plain([x @ y, x.sum(axis=0)], {"x": normal(4, 3), "y": normal(3, 2)})


def test_graph_of_values_needs_no_feeds():
    x = tg.tensor([1.0, 2.0], name="x")
    y = tg.exp(x * 2)
    plan = tg.compile([y, y + 1])
    agree(plan({}), tg.run([y, y + 1]))


def test_chain_of_thousands_of_nodes_is_no_recursion():
    x = y = tg.input("x", (2, 2), "float64")
    for i in range(3000):
        y = y * 1.0001 if i % 2 else tg.tanh(y + x)
    agrees_with_plain(y, {"x": normal(2, 2)}, threads=1)


def test_plan_says_what_it_was_made_for():
    graph = load_model("xor").graph(6)
    plan = tg.compile(graph, 6, threads=1)
    assert plan.graph is graph
    assert (plan.batch_size, plan.threads) == (6, 1)


# ---- Feeds


MISTAKEN_FEEDS = {
    "an unknown name": {"Imp": np.ones((4, 2)), "w": 1.0},
    "a name too many": {"Inp": np.ones((4, 2)), "w": 1.0, "banana": 1},
    "a missing name": {"w": 1.0},
    "nothing": {},
    "a wrong shape": {"Inp": np.ones((4, 3)), "w": 1.0},
    "a wrong number of samples": {"Inp": np.ones((3, 2)), "w": 1.0},
    "a shape that would broadcast": {"Inp": np.ones((1, 2)), "w": 1.0},
    "complex numbers": {"Inp": np.ones((4, 2)) * 1j, "w": 1.0},
    "texts": {"Inp": np.full((4, 2), "a"), "w": 1.0},
    "rows of unequal length": {"Inp": [[1.0], [1.0, 2.0]], "w": 1.0},
    "floats for whole numbers": {"Inp": np.ones((4, 2)), "w": 1.0, "k": np.full((4, 2), 0.5)},
    "a masked array": {"Inp": np.ma.masked_array(np.ones((4, 2)), np.eye(4, 2)), "w": 1.0},
    "a number as name": {3: np.ones((4, 2)), "w": 1.0},
    "no mapping": [1, 2],
}


def fed_graph():
    x, w, k = tg.input("Inp", (4, 2)), tg.input("w", ()), tg.input("k", (4, 2), "int64")
    return tg.Graph(tg.relu(x) * w + k)


@pytest.mark.parametrize("case", MISTAKEN_FEEDS)
def test_mistaken_feeds_are_refused_in_the_words_of_run(case):
    graph, feeds = fed_graph(), MISTAKEN_FEEDS[case]
    if isinstance(feeds, dict):
        feeds = {"k": np.ones((4, 2), int), **feeds}
    expected = refusal(lambda: tg.run(graph, feeds))
    assert expected[0] is tg.FeedError
    assert refusal(lambda: tg.compile(graph)(feeds)) == expected


def test_a_leaf_fed_twice_and_a_node_fed_are_refused_in_the_words_of_run():
    x = tg.input("x", (2,), "float64")
    h = tg.tanh(x)
    graph = tg.Graph(h + 1)
    for feeds in ({"x": [1, 2], x: [1, 2]}, {"x": [1, 2], h: [1, 2]}, {"x": [1, 2], tg.input("z", ()): 1}):
        assert refusal(lambda feeds=feeds: tg.compile(graph)(feeds)) == refusal(
            lambda feeds=feeds: tg.run(graph, feeds)
        )


def test_a_refused_feed_leaves_the_plan_usable():
    graph = fed_graph()
    plan = tg.compile(graph)
    good = {"Inp": normal(4, 2), "w": 2.0, "k": np.ones((4, 2), int)}
    plan(good)
    with pytest.raises(tg.FeedError):
        plan({**good, "w": [1.0, 2.0]})
    agree(plan(good), tg.run(graph, good))


@pytest.mark.parametrize(
    "change", [{"x": np.ones((4, 3))}, {"x": None}, {"y": np.ones((3, 1))}, {"z": np.ones((4, 1))}]
)
def test_mistaken_feeds_of_a_model_are_refused(change):
    feeds = {name: x for name, x in (feeds_for(load_model("xor"), 4) | change).items() if x is not None}
    with pytest.raises(tg.FeedError):
        tg.compile(load_model("xor"), 4)(feeds)


WAYS_TO_FEED = {
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "column by column": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "a single row stretched": lambda x: np.broadcast_to(x[:1], x.shape),
    "lists": lambda x: x.tolist(),
    "float32": lambda x: x.astype("float32"),
    "whole numbers": lambda x: x.astype("int8"),
    "other byte order": lambda x: x.astype(">f8"),
    "a tensor": tg.tensor,
}


@pytest.mark.parametrize("way", WAYS_TO_FEED)
def test_feeds_may_be_laid_out_in_any_way(way):
    x = tg.input("x", (5, 4), "float64")
    outputs = [x, tg.relu(x) @ tg.constant(normal(4, 3)), (x * x).sum(axis=0)]
    agrees_with_plain(outputs, {"x": WAYS_TO_FEED[way](normal(5, 4) * 3)})


def test_leaves_with_values_may_be_fed():
    x, w = tg.input("x", (3,), "float64"), tg.parameter([1.0, 2.0, 3.0], name="w")
    t, c = tg.tensor([4.0, 5.0, 6.0], name="t"), tg.constant([7.0, 8.0, 9.0], name="c")
    outputs = [x * w, tg.exp(t) + c, c * 2]
    plan = tg.compile(outputs)
    for fed in ({}, {"w": [0, 1, 0]}, {t: [1, 2, 3]}, {"c": [1.0, 1.0, 1.0]}, {}):
        feeds = {"x": [1.0, 2.0, 3.0], **fed}
        agree(plan(feeds), tg.run(outputs, feeds))


# ---- Results


def test_results_are_the_callers_own():
    x, w = tg.input("x", (3, 2), "float64"), tg.parameter(normal(3, 2), name="w")
    y = tg.tanh(x)
    outputs = [x, w, tg.constant(np.ones(2)), y, y, x.reshape(2, 3), w.T, y.T, y[:2], x * w, y.sum(), tg.identity(y)]
    fed = normal(3, 2, seed=1)
    plan = tg.compile(outputs)
    for _ in range(2):
        results = plan({"x": fed})
        agree(results, tg.run(outputs, {"x": fed}))
        assert all(result.flags.writeable for result in results)
        for a, b in combinations([*results, fed, w.value], 2):
            assert not np.shares_memory(a, b)
        for result in results:
            result[...] = np.nan


def test_results_outlive_later_calls():
    model = in_float64("notes_cnn")
    plan = tg.compile(model, 40, 2)
    calls = [feeds_for(model, 40, seed) for seed in range(4)]
    results = [plan(feeds) for feeds in calls]
    for feeds, result in zip(calls, results, strict=True):
        agree(result, tg.run(model.graph(40), feeds))


def test_feeds_are_left_as_they_were():
    model = in_float64("residual")
    feeds = feeds_for(model, 33)
    before = {name: x.copy() for name, x in feeds.items()}
    tg.compile(output_loss_and_gradients(model, 33), 33, 2)(feeds)
    for name, x in feeds.items():
        assert x.flags.writeable
        np.testing.assert_array_equal(x, before[name])


def test_a_plan_stores_nothing_on_tensors():
    x, w = tg.input("x", (2, 2)), tg.parameter(np.ones((2, 2)))
    y = x @ w
    tg.compile(y)({"x": np.ones((2, 2))})
    assert not y.has_value
    assert not x.has_value
    assert w.grad is None


OUTPUTS = {
    "a leaf": lambda x, w: [x],
    "a leaf, twice": lambda x, w: [x, tg.tanh(x), x],
    "a parameter": lambda x, w: [w, x * w],
    "a constant": lambda x, w: [tg.constant([1.0, 2.0]), tg.tanh(x)],
    "only constants": lambda x, w: [tg.constant(2.0) * 3, tg.constant([1.0])],
    "one node twice": lambda x, w: [tg.tanh(x)] * 2,
    "a node and what it is used for": lambda x, w: (lambda y: [y, tg.relu(y) * y, tg.exp(y)])(x * w),
    "what was used, last": lambda x, w: (lambda y: [tg.exp(-y), y + 1, y])(x * w),
    "the same computed twice": lambda x, w: [tg.tanh(x * w), tg.tanh(x * w) + 1],
    "views of one node": lambda x, w: (lambda y: [y.T, y.reshape(4, 3), y[1:], y])(x * w),
    "a view of a leaf": lambda x, w: [x.T, x[0], x.reshape(2, 6), tg.squeeze(x), tg.identity(x)],
    "a view, and its source changed after": lambda x, w: (lambda y: [y.T, tg.exp(y), tg.exp(y.T)])(tg.tanh(x)),
    "a sum of copies": lambda x, w: [tg.add_all([x, x, w, x]), x + x, x - x, x * x],
    "broadcast from a row": lambda x, w: [tg.broadcast_to(w[0], (6, 2)), tg.broadcast_to(x[:1], (6, 2)) + 1],
    "a bias and relu": lambda x, w: [tg.relu(x @ w.T + w[:, 0])],
    "a chain where every link is used again": lambda x, w: [
        (lambda a: (lambda b: (lambda c: a * b * c + a)(tg.sigmoid(b)))(tg.relu(a)))(x + w)
    ],
    "nothing that varies": lambda x, w: [tg.exp(w) @ w.T],
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_of_every_kind(case, threads):
    x, w = tg.input("x", (6, 2), "float64"), tg.parameter(normal(6, 2, seed=3), name="w")
    outputs = OUTPUTS[case](x, w)
    feeds = {"x": normal(6, 2)} if "x" in tg.Graph(outputs).inputs else {}
    agrees_with_plain(outputs, feeds, threads=threads)


def test_ballast_makes_a_plan_cut_tiles():
    """What tests of large batches rest on."""
    for batch in (66, 67, 70):
        weight, feeds = ballast(batch)
        x = tg.input("x", (batch, 3), "float64")
        plan = agrees_with_plain([tg.tanh(x), weight], feeds | {"x": normal(batch, 3)}, batch, threads=2)
        assert re.search(r"tiles: \d", plan.describe()), batch


# ---- Errors that operations raise


REFUSED_NUMBERS = {
    "labels of bce": lambda x: tg.bce(tg.sigmoid(x), x * 3),
    "labels of bce_with_logits": lambda x: tg.bce_with_logits(x, x),
    "predictions of bce": lambda x: tg.bce(x, tg.sigmoid(x)),
    "class numbers": lambda x: tg.cross_entropy(tg.tanh(x), tg.cast(x[:, 0] * 9, "int64")),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", REFUSED_NUMBERS)
def test_numbers_that_operations_refuse_are_reported_as_in_plain_evaluation(case, threads):
    x = tg.input("x", (66, 3), "float64")
    weight, fed = ballast(66)
    graph = tg.Graph([REFUSED_NUMBERS[case](x), weight])
    feeds = fed | {"x": normal(66, 3)}
    expected = refusal(lambda: tg.run(graph, feeds))
    plan = tg.compile(graph, 66, threads)
    assert refusal(lambda: plan(feeds)) == expected
    assert refusal(lambda: plan(feeds)) == expected


# ---- The schedule


SIZE = r"\d[\d,.]* ?(bytes|[kKMG]i?B)"
TIME = r"\btime\b|\d ?(ns|us|µs|ms|s)\b"


def gradient_plan(name="notes_cnn", batch=8):
    model = load_model(name)
    return tg.compile(output_loss_and_gradients(model, batch), batch, 1), feeds_for(model, batch)


def test_description_names_what_is_computed():
    plan, _ = gradient_plan()
    words = set(re.findall(r"[\w.]+", plan.describe()))
    assert {"Z1", "P1", "Z2", "Z3", "a", "cost", "dK1", "dB1", "dK2", "dB2", "dW3", "dB3"} <= words


def test_description_tells_memory():
    plan, _ = gradient_plan()
    assert "bytes" in plan.describe()
    assert re.search(rf"memory.*{SIZE}", plan.describe())


def test_description_tells_times_after_a_profiled_run_only():
    plan, feeds = gradient_plan()
    before = plan.describe()
    assert plan.profile(feeds, repeats=3) is plan
    assert not re.search(TIME, before)
    assert re.search(TIME, plan.describe())


def test_profile_does_not_change_results():
    plan, feeds = gradient_plan()
    before = plan(feeds)
    for x, y in zip(before, plan.profile(feeds, repeats=2)(feeds), strict=True):
        np.testing.assert_array_equal(x, y)


def test_profile_refuses_mistaken_feeds():
    plan, _ = gradient_plan()
    with pytest.raises(tg.FeedError):
        plan.profile({})


def saved(plan):
    """The line that tells what plain evaluation would have computed twice."""
    (line,) = (line for line in plan.describe().splitlines() if re.match(r"\W*saved", line))
    return line


def test_patches_shared_by_a_convolution_and_its_kernel_gradient_are_saved_work():
    assert re.search(rf"{SIZE}.*patches", saved(gradient_plan()[0]))


def test_what_is_written_twice_is_saved_work():
    x = tg.input("x", (4, 3), "float64")
    once, twice = tg.compile([tg.tanh(x), tg.exp(x)]), tg.compile([tg.tanh(x) * 2, tg.exp(tg.tanh(x))])
    assert "tanh" in saved(twice)
    assert "tanh" not in saved(once)


def test_schedule_is_a_record():
    plan, feeds = gradient_plan()
    for _ in range(2):
        record = dataclasses.asdict(plan.schedule)
        assert json.loads(json.dumps(record))["batch_size"] == 8
        plan.profile(feeds, repeats=1)


def test_description_is_the_same_for_the_same_graph():
    assert gradient_plan()[0].describe() == gradient_plan()[0].describe()


def test_description_says_why_samples_are_not_cut_into_tiles():
    x = tg.input("x", (BATCH, 4), "float64")
    assert "mixes samples" in tg.compile(tg.softmax(x, axis=0), BATCH).describe()
    assert "mixes samples" not in tg.compile(tg.softmax(x, axis=1), BATCH).describe()
