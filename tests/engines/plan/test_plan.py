"""The plan never changes meaning: what compiled graphs return is what ``tg.run`` returns, for every way to build a graph."""

import dataclasses
import json
import re
import warnings
from itertools import combinations

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import MODELS, agree, agrees_with_plain, ballast, feeds_for, in_float64
from tinygraph.model import load_model

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weighted_sum(y, seed=7):
    """A scalar in which every element of ``y`` has a weight of its own."""
    return (y * tg.constant(normal(*y.shape, seed=seed).astype(y.dtype))).sum()


def with_gradients(y, wrt):
    return [y, *tg.grad(weighted_sum(y), wrt, unreached="zeros")]


def refusal(call):
    """Return the type and message of the error that a call raises."""
    with pytest.raises(tg.TinygraphError) as error:
        call()
    return type(error.value), str(error.value)


# The models


def output_loss_and_gradients(model, batch):
    recording = model.record(batch)
    return tg.Graph([recording.output, recording.loss, *tg.grad(recording.loss, list(model.parameters.values()))])


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


# What is compiled, and for how many


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


# Feeds

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


# Results


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


# Graphs that mix samples, and leaves that are no samples

BATCH = 70


def standardized(x, w):
    centred = x - x.mean(axis=0)
    return centred / tg.sqrt((centred * centred).mean(axis=0) + 1e-5)


MIXING = {
    "batch statistics": standardized,
    "batch statistics, kept axes": lambda x, w: x - tg.mean(x, axis=0, keepdims=True),
    "softmax over samples": lambda x, w: tg.softmax(x, axis=0),
    "log softmax over samples": lambda x, w: tg.log_softmax(x, axis=-2),
    "logsumexp over samples": lambda x, w: x - tg.logsumexp(x, axis=0),
    "share of the largest": lambda x, w: x / tg.max(tg.abs(x)),
    "largest of all samples": lambda x, w: tg.max(x, axis=0) * w + tg.min(x, axis=0),
    "all with all": lambda x, w: x @ x.T,
    "covariance": lambda x, w: x @ (x.T @ x) / BATCH,
    "pairwise differences": lambda x, w: tg.tanh(x[:, None, :2] - x[None, :, :2]),
    "flip": lambda x, w: tg.tanh(tg.flip(x, axis=0)) * x,
    "flip of everything": lambda x, w: tg.flip(x) + x,
    "joined along samples": lambda x, w: tg.concatenate([x, tg.tanh(x)], axis=0) * w,
    "joined and halved": lambda x, w: tg.concatenate([x[35:], x[:35]], axis=0) * x,
    "cumulative": lambda x, w: tg.constant(np.tril(np.ones((BATCH, BATCH)))) @ x,
    "differences of neighbours": lambda x, w: tg.tanh(x[1:] - x[:-1]),
    "every other row": lambda x, w: x[::2] * w,
    "some rows": lambda x, w: x[[0, 5, 5, 69]] * w,
    "one row": lambda x, w: x - x[3],
    "one row from all": lambda x, w: x * w - x[-1:],
    "rows backwards": lambda x, w: x[::-1] * x,
    "rows by a mask": lambda x, w: x[np.arange(BATCH) % 3 == 0] + w,
    "positions in both axes": lambda x, w: x[[0, 1, 69], [3, 0, 2]],
    "put into rows": lambda x, w: tg.put(x, (np.arange(BATCH)[::-1].copy(),), (BATCH + 1, 4)),
    "padded samples": lambda x, w: tg.pad(x, ((1, 0), (0, 0)))[:-1] * x,
    "transposed": lambda x, w: tg.transpose(x) * 2 + 1,
    "transposed and reshaped": lambda x, w: tg.reshape(x.T, (BATCH, 4)) * x,
    "two samples in a row": lambda x, w: tg.reshape(x, (BATCH // 2, 8)) @ tg.constant(normal(8, 2)),
    "samples cut apart": lambda x, w: tg.softmax(tg.reshape(x, (2 * BATCH, 2)), axis=1),
    "as many rows, mixed": lambda x, w: tg.reshape(tg.reshape(x, (4, BATCH)) * 2, (BATCH, 4)) + x,
    "one flat axis": lambda x, w: tg.flatten(x, start_axis=0) * 2,
    "samples as channels": lambda x, w: tg.conv2d(
        tg.reshape(x, (1, BATCH, 2, 2)), tg.constant(normal(3, BATCH, 2, 2)), padding=1
    ),
    "samples as rows of an image": lambda x, w: tg.max_pool2d(tg.reshape(x, (1, 1, BATCH, 4)), 2),
    "mean of all into each": lambda x, w: x * tg.mean(x) + tg.sum(x),
    "sum of squares of all into each": lambda x, w: x / tg.sqrt((x * x).sum() + 1),
    "summed to a row and back": lambda x, w: tg.broadcast_to(tg.sum_to(x, (1, 4)), (BATCH, 4)) * x,
    "first of the largest": lambda x, w: tg.cast(x == tg.max(x, axis=0), "float64") * x,
    "a sample axis put behind": lambda x, w: tg.expand_dims(x, 0) - tg.expand_dims(x, 1)[:2],
    "a loss in each sample": lambda x, w: x * tg.mse(x, tg.tanh(x)),
    "the batch's own matrix": lambda x, w: tg.softmax(x @ x.T, axis=1) @ x,
    "not mixed after all": lambda x, w: tg.softmax(x * w, axis=1) + tg.mean(x, axis=1, keepdims=True),
}


@pytest.mark.parametrize("case", MIXING)
def test_graphs_that_mix_samples(case):
    x, w = tg.input("x", (BATCH, 4), "float64"), tg.parameter(normal(4, seed=9), name="w")
    y = MIXING[case](x, w)
    weight, fed = ballast(BATCH)
    agrees_with_plain([*with_gradients(y, [x, w]), weight], fed | {"x": normal(BATCH, 4)}, BATCH)


OF_BATCH_SIZE = {
    "a weight for each row": lambda x, p, q: x * p,
    "a matrix from samples to samples": lambda x, p, q: q @ x,
    "a matrix between features": lambda x, p, q: (x @ p.T) @ q,
    "against the samples": lambda x, p, q: x.T @ p,
    "a bias": lambda x, p, q: x @ p.T + q[0],
    "a penalty": lambda x, p, q: x.sum(axis=1) + (p * p).mean(),
    "its softmax": lambda x, p, q: x * tg.softmax(p, axis=0),
}


@pytest.mark.parametrize("kind", ["parameter", "constant", "tensor", "input"])
@pytest.mark.parametrize("case", OF_BATCH_SIZE)
def test_leaves_whose_first_axis_happens_to_be_the_batch_size(case, kind):
    values = {"p": normal(BATCH, 4, seed=1), "q": normal(BATCH, BATCH, seed=2)}
    x = tg.input("x", (BATCH, 4), "float64")
    feeds = {"x": normal(BATCH, 4)}
    if kind == "input":
        p, q = (tg.input(name, value.shape, "float64") for name, value in values.items())
        feeds |= values
    else:
        p, q = (getattr(tg, kind)(value, name=name) for name, value in values.items())
    y = OF_BATCH_SIZE[case](x, p, q)
    weight, fed = ballast(BATCH)
    wrt = [x] if kind == "constant" else [x, p, q]
    graph = tg.Graph([*with_gradients(y, wrt), weight])
    agrees_with_plain(graph, {name: value for name, value in (feeds | fed).items() if name in graph.inputs}, BATCH)


def test_inputs_that_are_no_samples():
    x, scale, table = (tg.input(n, s, "float64") for n, s in (("x", (BATCH, 4)), ("scale", (4,)), ("table", (3, 4))))
    y = tg.tanh(x * scale) @ table.T
    weight, fed = ballast(BATCH)
    feeds = fed | {"x": normal(BATCH, 4), "scale": normal(4), "table": normal(3, 4)}
    agrees_with_plain([*with_gradients(y, [x, scale, table]), weight, scale * 2], feeds, BATCH)


# Convolution and pooling

CONVOLUTIONS = {
    "plain": ((5, 2, 6, 7), (3, 2, 3, 3), {}),
    "one by one": ((5, 3, 4, 5), (2, 3, 1, 1), {}),
    "one by one, stride 2": ((3, 3, 5, 5), (2, 3, 1, 1), {"stride": 2}),
    "padded": ((4, 1, 8, 8), (8, 1, 3, 3), {"padding": 1}),
    "same": ((4, 3, 5, 6), (4, 3, 3, 3), {"padding": "same"}),
    "same, even kernel": ((4, 2, 6, 5), (3, 2, 2, 4), {"padding": "same"}),
    "stride 2": ((3, 2, 8, 8), (4, 2, 3, 3), {"stride": 2, "padding": 1}),
    "stride 3 with a remainder": ((3, 2, 9, 8), (2, 2, 2, 2), {"stride": 3}),
    "stride above the kernel": ((2, 1, 9, 9), (2, 1, 2, 2), {"stride": (4, 3)}),
    "dilated": ((3, 2, 8, 9), (2, 2, 3, 2), {"dilation": 2}),
    "dilated, same": ((3, 2, 7, 7), (2, 2, 3, 3), {"dilation": (2, 3), "padding": "same"}),
    "dilated, stride 2": ((3, 1, 9, 9), (2, 1, 3, 3), {"dilation": 2, "stride": 2, "padding": 2}),
    "groups": ((3, 4, 6, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((3, 4, 6, 6), (4, 1, 3, 3), {"groups": 4}),
    "kernel as large as the image": ((5, 3, 4, 6), (7, 3, 4, 6), {}),
    "kernel larger than the image": ((2, 1, 2, 3), (2, 1, 4, 4), {"padding": 2}),
    "more padding than kernel": ((2, 2, 3, 4), (2, 2, 2, 3), {"padding": 4}),
    "padding of rows": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": (2, 0)}),
    "padding of one side": ((3, 2, 5, 6), (3, 2, 3, 3), {"padding": ((2, 0), (0, 1))}),
    "padding of one side, stride 2": ((3, 2, 6, 7), (3, 2, 3, 3), {"padding": ((0, 2), (1, 0)), "stride": 2}),
    "more padding than kernel on one side": ((2, 2, 4, 4), (2, 2, 2, 2), {"padding": ((0, 3), (4, 0))}),
    "same, odd pixel before": ((4, 2, 6, 5), (3, 2, 2, 4), {"padding": "same_lower"}),
    "an image of one pixel": ((6, 3, 1, 1), (2, 3, 3, 3), {"padding": 1}),
    "rows only": ((3, 1, 7, 1), (2, 1, 3, 1), {}),
    "columns only": ((3, 2, 1, 7), (2, 2, 1, 5), {"padding": (0, 2)}),
    "five by five": ((3, 6, 10, 10), (4, 6, 5, 5), {}),
    "a long kernel": ((2, 2, 3, 12), (3, 2, 2, 9), {"padding": (1, 4)}),
    "many channels": ((2, 33, 4, 4), (17, 33, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("batch", [1, None, 34])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case, batch):
    shape, kernel, attributes = CONVOLUTIONS[case]
    shape = (batch or shape[0], *shape[1:])
    x, k = tg.input("x", shape, "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    b = tg.parameter(normal(kernel[0], 1, 1, seed=3), name="b")
    y = tg.relu(tg.conv2d(x, k, **attributes) + b)
    feeds = {"x": normal(*shape)}
    agrees_with_plain(with_gradients(y, [x, k, b]), feeds, shape[0])
    agrees_with_plain(tg.grad(weighted_sum(y), [k]), feeds, shape[0], threads=1)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_cut_into_tiles(case):
    shape, kernel, attributes = CONVOLUTIONS[case]
    x, k = tg.input("x", (67, *shape[1:]), "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    y = tg.conv2d(tg.tanh(x), k, **attributes)
    weight, fed = ballast(67)
    agrees_with_plain([*with_gradients(y, [x, k]), weight], fed | {"x": normal(67, *shape[1:])}, 67)


def test_kernel_that_is_computed_from_samples():
    x, k = tg.input("x", (3, 2, 5, 5), "float64"), tg.input("k", (3, 2, 3, 3), "float64")
    y = tg.conv2d(x, tg.tanh(k) * x.mean(axis=0)[None, :, 1:4, 1:4])
    agrees_with_plain(with_gradients(y, [x, k]), {"x": normal(3, 2, 5, 5), "k": normal(3, 2, 3, 3)}, 3)


def test_two_convolutions_of_one_image():
    """Patches that may be shared, where the attributes are the same, and may not where they differ."""
    x = tg.input("x", (4, 2, 6, 6), "float64")
    kernels = [tg.parameter(normal(3, 2, 3, 3, seed=i)) for i in range(4)]
    ways = [{"padding": 1}, {"padding": 1}, {"padding": "same", "dilation": 2}, {"stride": 2, "padding": 1}]
    ys = [tg.conv2d(x, k, **way) for k, way in zip(kernels, ways, strict=True)]
    total = sum(weighted_sum(tg.tanh(y)) for y in ys)
    agrees_with_plain([total, *tg.grad(total, [x, *kernels])], {"x": normal(4, 2, 6, 6)}, 4)


def test_one_kernel_for_two_images():
    x, y, k = tg.input("x", (4, 2, 6, 6), "float64"), tg.input("y", (4, 2, 4, 5), "float64"), normal(3, 2, 3, 3)
    k = tg.parameter(k)
    total = weighted_sum(tg.conv2d(x, k)) + weighted_sum(tg.conv2d(y, k, padding=1))
    agrees_with_plain([total, *tg.grad(total, [x, y, k])], {"x": normal(4, 2, 6, 6), "y": normal(4, 2, 4, 5)}, 4)


POOLS = {
    "2": ((4, 3, 6, 6), {"window": 2}),
    "remainder": ((4, 3, 7, 9), {"window": 2}),
    "3 by 2": ((4, 2, 9, 8), {"window": (3, 2)}),
    "overlapping": ((3, 2, 7, 8), {"window": 3, "stride": 2}),
    "stride 1": ((3, 2, 5, 6), {"window": 2, "stride": 1}),
    "stride above the window": ((3, 2, 8, 9), {"window": 2, "stride": 3}),
    "padded": ((3, 2, 6, 5), {"window": 3, "stride": 2, "padding": 1}),
    "rows padded": ((3, 2, 5, 5), {"window": 2, "padding": (1, 0)}),
    "whole image": ((3, 2, 4, 5), {"window": (4, 5)}),
    "one pixel": ((3, 2, 4, 5), {"window": 1}),
    "rows": ((3, 1, 8, 1), {"window": (2, 1)}),
    "dilated": ((3, 2, 7, 8), {"window": 2, "stride": 1, "dilation": 2}),
    "gaps as wide as the stride": ((3, 2, 7, 8), {"window": 2, "dilation": 2}),
    "dilated columns": ((3, 2, 6, 9), {"window": (2, 3), "dilation": (1, 3)}),
    "ceil mode": ((3, 2, 7, 9), {"window": 2, "ceil_mode": True}),
    "ceil mode that changes nothing": ((3, 2, 6, 8), {"window": 2, "ceil_mode": True}),
    "ceil mode, overlapping": ((3, 2, 6, 8), {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    "padding above": ((3, 2, 5, 6), {"window": 2, "padding": ((1, 0), (0, 0))}),
    "padding behind": ((3, 2, 5, 7), {"window": 2, "padding": ((0, 1), (0, 1))}),
    "same, odd pixel before": ((3, 2, 5, 7), {"window": 2, "padding": "same_lower"}),
}
IMAGES = {
    "numbers": lambda shape: normal(*shape),
    "zeros": np.zeros,
    "few levels": lambda shape: np.random.default_rng(0).integers(-1, 2, shape).astype(float),
    "constant regions": lambda shape: np.sign(normal(*shape)),
    "all negative": lambda shape: -np.abs(normal(*shape)) - 1,
    "not finite": lambda shape: np.random.default_rng(0).choice([np.nan, np.inf, -np.inf, 0.0, 1.0], shape),
    "minus infinity": lambda shape: np.full(shape, -np.inf),
}


@pytest.mark.parametrize("values", IMAGES)
@pytest.mark.parametrize("pool", POOLS)
def test_max_pools_have_the_winners_of_plain_evaluation(pool, values):
    shape, attributes = POOLS[pool]
    x = tg.input("x", shape, "float64")
    y = tg.max_pool2d(x, **attributes)
    agrees_with_plain(with_gradients(y, [x]), {"x": IMAGES[values](shape)}, shape[0])


@pytest.mark.parametrize("values", IMAGES)
@pytest.mark.parametrize("pool", POOLS)
def test_max_pools_of_relu_have_the_winners_of_plain_evaluation(pool, values):
    """Where relu gives zeros all are the largest; the gradient of relu's own result shows which one was taken."""
    shape, attributes = POOLS[pool]
    x = tg.input("x", shape, "float64")
    c = tg.relu(x)
    y = tg.max_pool2d(c, **attributes)
    total = weighted_sum(y)
    feeds = {"x": IMAGES[values](shape)}
    agrees_with_plain([y, *tg.grad(total, [x])], feeds, shape[0])
    agrees_with_plain([y, c, *tg.grad(total, [c, x])], feeds, shape[0])
    penalized = total + weighted_sum(c * c)
    agrees_with_plain(tg.grad(penalized, [x]), feeds, shape[0])


@pytest.mark.parametrize("activation", [tg.relu, tg.tanh, tg.leaky_relu, tg.sigmoid, lambda x: -x, lambda x: x * x])
@pytest.mark.parametrize("operation", [tg.max_pool2d, tg.avg_pool2d], ids=["max", "avg"])
@pytest.mark.parametrize("pool", POOLS)
def test_pools_of_activations(pool, operation, activation):
    shape, attributes = POOLS[pool]
    x = tg.input("x", (66, *shape[1:]), "float64")
    y = operation(activation(x), **attributes)
    agrees_with_plain(with_gradients(activation(y), [x]), {"x": normal(66, *shape[1:])}, 66)


@pytest.mark.parametrize("pool", POOLS)
def test_means_of_real_pixels(pool):
    shape, attributes = POOLS[pool]
    x = tg.input("x", (66, *shape[1:]), "float64")
    y = tg.avg_pool2d(tg.tanh(x), **attributes, count_include_pad=False)
    agrees_with_plain(with_gradients(y, [x]), {"x": normal(66, *shape[1:])}, 66)


LINES_AND_VOLUMES = {
    "line": ((3, 9), (4, 3, 3), tg.conv1d, tg.avg_pool1d, tg.max_pool1d),
    "volume": ((2, 4, 6, 5), (3, 2, 2, 3, 2), tg.conv3d, tg.avg_pool3d, tg.max_pool3d),
}


@pytest.mark.parametrize("batch", [5, 66])
@pytest.mark.parametrize("images", LINES_AND_VOLUMES)
def test_networks_of_lines_and_volumes(images, batch):
    shape, kernel, conv, avg_pool, max_pool = LINES_AND_VOLUMES[images]
    x, k = tg.input("x", (batch, *shape), "float64"), tg.parameter(normal(*kernel, seed=2), name="k")
    b = tg.parameter(normal(kernel[0], *(1 for _ in shape[1:]), seed=3), name="b")
    c = tg.relu(conv(x, k, padding=1) + b)
    y = max_pool(avg_pool(c, 2, stride=1), 2, ceil_mode=True)
    agrees_with_plain(with_gradients(tg.relu(y), [x, k, b]), {"x": normal(batch, *shape)}, batch)


def test_pool_of_pool_of_convolution():
    x, k = tg.input("x", (5, 1, 12, 10), "float64"), tg.parameter(normal(2, 1, 3, 3))
    c = tg.relu(tg.conv2d(x, k, padding=1))
    y = tg.avg_pool2d(tg.max_pool2d(c, 3, stride=2), 2, stride=1)
    agrees_with_plain(with_gradients(y, [x, k]), {"x": normal(5, 1, 12, 10)}, 5)


# Numbers that are not finite, zeros of both signs, constants that look alike


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_that_is_not_finite_spoils_what_it_spoils_in_plain_evaluation(name, bad):
    model = in_float64(name)
    feeds = feeds_for(model, 5)
    feeds[model.features[0]][3].flat[0] = bad
    agrees_with_plain(output_loss_and_gradients(model, 5), feeds, 5)


@pytest.mark.parametrize("name", ["notes_cnn", "lenet5"])
def test_a_parameter_that_is_not_finite_spoils_what_it_spoils_in_plain_evaluation(name):
    model = in_float64(name)
    value = model.parameters["K1"].value.copy()
    value.flat[:2] = np.inf, np.nan
    model.parameters["K1"].value = value
    agrees_with_plain(output_loss_and_gradients(model, 3), feeds_for(model, 3), 3)


def test_zeros_of_both_signs_are_kept_apart():
    x = tg.input("x", (3,), "float64")
    zero, minus_zero = tg.constant(0.0), tg.constant(-0.0)
    padded = [1 / tg.pad(x, 1, value=value) for value in (0.0, -0.0)]
    outputs = [x / zero, x / minus_zero, *padded, 1 / (x * 0.0), 1 / (x * -0.0), 1 / -(x - x), 1 / (0.0 - (x - x))]
    agrees_with_plain(outputs, {"x": [1.0, -2.0, 3.0]})


def test_constants_of_the_same_bytes_are_kept_apart():
    x = tg.input("x", (2, 2), "float64")
    constants = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, "int64"), np.zeros((2, 2), "int64"), np.zeros(8, "float32")]
    agrees_with_plain(
        [tg.reshape(x, (4,)) + tg.reshape(tg.exp(tg.constant(c)), (-1,))[:4] for c in constants], {"x": np.ones((2, 2))}
    )
    agrees_with_plain([tg.exp(tg.tensor(c)) for c in constants] + [x], {"x": np.ones((2, 2))})


def test_expressions_that_look_alike_are_kept_apart():
    x, y = tg.input("x", (4, 4), "float64"), tg.input("y", (4, 4), "float64")
    outputs = [
        *(x - y, y - x, x / y, y / x, x @ y, y @ x, x**2, x**3, tg.where(x > y, x, y), tg.where(y > x, x, y)),
        *(tg.sum(x, axis=0), tg.sum(x, axis=1), tg.sum(x), tg.mean(x, axis=0), tg.sum(x, axis=0, keepdims=True)),
        *(tg.softmax(x, axis=0), tg.softmax(x, axis=1), tg.clip(x, 0.0), tg.clip(x, None, 0.0), x[0], x[:, 0], x[[0]]),
        *(tg.cast(x, "float32"), tg.leaky_relu(x), tg.leaky_relu(x, slope=0.5), tg.flip(x, axis=0), tg.flip(x, axis=1)),
        *(tg.concatenate([x, y]), tg.concatenate([y, x]), tg.concatenate([x, y], axis=1), tg.gelu(x), tg.relu(-x)),
    ]
    agrees_with_plain(outputs, {"x": normal(4, 4), "y": normal(4, 4, seed=1)})


# Shapes and dtypes


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0), (1, 1), (1, 5), (5, 1), (2, 0, 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_scalars_and_empty_arrays(shape, threads):
    x = tg.input("x", shape, "float64")
    y = tg.tanh(x * 2) + 1
    outputs = [
        x,
        y,
        y.sum(),
        *tg.grad((y * y).sum(), [x]),
        tg.flip(y),
        tg.expand_dims(y, 0),
        tg.reshape(y, (-1,)) if 0 not in shape else y,
    ]
    outputs += [y.sum(axis=0), tg.concatenate([y, x]), y[:1], x @ tg.constant(np.ones((shape[-1], 2)))] if shape else []
    agrees_with_plain(outputs, {"x": normal(*shape)}, threads=threads)


@pytest.mark.parametrize("index", [0, (1, 2), (slice(None), 1), (Ellipsis, 2), (0, None), ([0, 1], [1, 1])])
def test_elements_taken_out(index):
    x = tg.input("x", (2, 3), "float64")
    y = tg.tanh(x)
    outputs = [x[index], y[index], y[index] * 2, *tg.grad((y[index] * y[index]).sum(), [x])]
    plan = tg.compile(outputs)
    for seed in range(3):
        feeds = {"x": normal(2, 3, seed=seed)}
        agree(plan(feeds), tg.run(outputs, feeds))


@pytest.mark.parametrize(
    "view", [tg.flip, tg.transpose, tg.squeeze, tg.identity, lambda t: tg.reshape(t, ()), lambda t: t.T]
)
def test_scalars_seen_in_another_way(view):
    x = tg.input("x", (3, 2), "float64")
    y = view(tg.mse(x, tg.tanh(x)))
    outputs = [y, y * y, tg.exp(x) / (1 + y * y)]
    plan = tg.compile(outputs)
    for seed in range(3):
        feeds = {"x": normal(3, 2, seed=seed)}
        agree(plan(feeds), tg.run(outputs, feeds))


def test_empty_batch_of_images():
    x, k = tg.input("x", (0, 2, 5, 5), "float64"), tg.parameter(normal(3, 2, 2, 2))
    y = tg.max_pool2d(tg.relu(tg.conv2d(x, k)), 2)
    agrees_with_plain([y, *tg.grad(y.sum(), [x, k])], {"x": np.zeros((0, 2, 5, 5))})


def test_whole_numbers_and_truth_values():
    i, j, b = tg.input("i", (6, 3), "int64"), tg.input("j", (3,), "int8"), tg.input("b", (6, 3), "bool")
    outputs = [
        *(i + j, i * i, i - 2, -i, i @ tg.constant(np.ones((3, 2), int)), tg.abs(i), tg.max(i, axis=0), tg.sum(b)),
        *(
            i > j,
            i == 2,
            tg.where(b, i, j),
            b * i,
            b * 1.5,
            tg.sum(b, axis=0),
            tg.mean(i, axis=0),
            tg.cast(i, "float32"),
        ),
        *(tg.one_hot(tg.abs(i), 5), tg.where(i > 1, 1.0, 0.0), i / 2, tg.relu(i), j + j, tg.clip(i, -1, 1), i[1:], b.T),
    ]
    rng = np.random.default_rng(0)
    feeds = {"i": rng.integers(-4, 5, (6, 3)), "j": np.array([100, 1, -3], "int8"), "b": rng.random((6, 3)) > 0.5}
    agrees_with_plain(outputs, feeds)
    agrees_with_plain(outputs, feeds, 6, threads=1)


def test_mixed_dtypes():
    leaves = {"a": "float32", "b": "float64", "c": "int32", "d": "float16", "e": "bool"}
    a, b, c, d, e = (tg.input(name, (5, 2), dtype) for name, dtype in leaves.items())
    y = tg.tanh(a) * b + c
    outputs = [a + b, a + c, a + d, d * 2, d + d, e + d, a * e, c / c, tg.exp(a) + b, a @ b.T, tg.relu(d), y]
    outputs += [*tg.grad(weighted_sum(y), [a, b]), tg.cast(a, "float64") + tg.cast(b, "float32")]
    rng = np.random.default_rng(0)
    agrees_with_plain(outputs, {name: rng.integers(1, 2, (5, 2)).astype(dtype) for name, dtype in leaves.items()}, 5)


@pytest.mark.parametrize("threads", [1, 2])
def test_half_precision(threads):
    x, k = tg.input("x", (4, 1, 6, 6), "float16"), tg.parameter(normal(2, 1, 3, 3).astype("float16"))
    y = tg.avg_pool2d(tg.relu(tg.conv2d(x, k, padding=1)), 2)
    outputs = [y, tg.max_pool2d(y, 3), tg.flatten(y) @ tg.constant(np.ones((18, 2), "float16")), *tg.grad(y.sum(), [k])]
    agrees_with_plain(outputs, {"x": normal(4, 1, 6, 6).astype("float16")}, 4, threads)


def test_complex_numbers():
    x = tg.input("x", (3, 2), "complex128")
    agrees_with_plain(
        [tg.exp(x) * x, x @ x.T, x.sum(axis=0), x.reshape(2, 3)], {"x": normal(3, 2) + 1j * normal(3, 2, seed=1)}
    )


# Derivatives of derivatives


def test_second_derivatives_of_a_network():
    x = tg.input("x", (3, 1, 6, 6), "float64")
    k, w = tg.parameter(normal(2, 1, 3, 3)), tg.parameter(normal(18, 2))
    c = tg.tanh(tg.conv2d(x, k, padding=1))
    logits = tg.flatten(tg.max_pool2d(c, 2) + tg.avg_pool2d(c, 2)) @ w
    loss = tg.cross_entropy(logits, np.array([0, 1, 1]))
    first = tg.grad(loss, [x, k, w])
    second = tg.grad(sum(weighted_sum(dx) for dx in first), [x, k, w])
    agrees_with_plain([loss, *first, *second], {"x": normal(3, 1, 6, 6)}, 3)


def test_gradient_of_the_gradients_length():
    x, w = tg.input("x", (BATCH, 4), "float64"), tg.parameter(normal(4, 4))
    (dx,) = tg.grad(tg.sigmoid(x @ w).sum(), [x])
    penalty = ((dx * dx).sum(axis=1) - 1) ** 2
    weight, fed = ballast(BATCH)
    agrees_with_plain([penalty.mean(), *tg.grad(penalty.mean(), [w]), weight], fed | {"x": normal(BATCH, 4)}, BATCH)


# Operations of the user's own


@pytest.fixture(autouse=True)
def _forgotten(registry):
    """Forget what a test registers."""


def on_samples(function, batch=66, **options):
    """Record a user's operation between others, on a batch that is cut into tiles; return the outputs and the feeds."""
    x = tg.input("x", (batch, 4), "float64")
    h = tg.tanh(x) * 2
    y = function(h)
    weight, fed = ballast(batch)
    return [y, tg.exp(-y), h + x, x * 2, weight], fed | {"x": normal(batch, 4)}


def test_own_elementwise_operation():
    @tg.op(elementwise=True)
    def wave(x, *, speed: float = 2.0):
        return np.sin(speed * x)

    wave.vjp(lambda dy, y, x, *, speed: dy * speed * (1 - y * y))
    outputs, feeds = on_samples(wave)
    agrees_with_plain(outputs, feeds, 66)
    x = tg.input("x", (5, 2), "float64")
    agrees_with_plain(with_gradients(wave(x * 2, speed=0.5), [x]), {"x": normal(5, 2)})


def test_own_operation_that_mixes_samples():
    @tg.op
    def ranked(x):
        return np.argsort(np.argsort(x, axis=0), axis=0) / len(x)

    agrees_with_plain(*on_samples(ranked), 66)


def test_own_operation_that_looks_at_the_number_of_samples():
    """Its shape is that of its input, as if it were elementwise."""

    @tg.op
    def averaged(x):
        return x / x.shape[0]

    agrees_with_plain(*on_samples(averaged), 66)


def test_own_operation_with_a_shape_rule():
    @dataclasses.dataclass(frozen=True)
    class Outer(tg.Op):
        power: int = 1

        def shape(self, x):
            return (x.shape[0], x.shape[1], x.shape[1])

        def forward(self, x):
            return x[:, :, None] * x[:, None, :] ** self.power

        def vjp(self, dy, y, x):
            return (dy * x[:, None, :]).sum(axis=2) + (dy * x[:, :, None]).sum(axis=1)

    agrees_with_plain(*on_samples(Outer(2)), 66)
    x = tg.input("x", (5, 2), "float64")
    agrees_with_plain(with_gradients(Outer()(tg.tanh(x)), [x]), {"x": normal(5, 2)})


def test_own_operation_with_a_rule_for_arrays_only():
    @tg.op(elementwise=True)
    def cube(x):
        return x**3

    @cube.vjp(opaque=True)
    def cube_vjp(dy, y, x):
        return np.asarray(dy) * 3 * np.square(x)

    x = tg.input("x", (66, 2), "float64")
    weight, fed = ballast(66)
    agrees_with_plain([*with_gradients(cube(tg.tanh(x)), [x]), weight], fed | {"x": normal(66, 2)}, 66)


RETURNING_THE_INPUT = {
    "itself": lambda x: x,
    "a view": lambda x: x[...],
    "a view backwards": lambda x: x[::-1, ::-1],
    "transposed twice": lambda x: x.T.T,
    "a part in its shape": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("case", RETURNING_THE_INPUT)
def test_own_operation_that_returns_its_input(case, elementwise, threads):
    if elementwise and case not in ("itself", "a view", "transposed twice"):
        pytest.skip("that is not elementwise")

    def alias(x):
        return RETURNING_THE_INPUT[case](x)

    alias = tg.op(elementwise=elementwise)(alias)
    x = tg.input("x", (6, 4), "float64")
    h = tg.exp(x)
    y = alias(h)
    a = tg.tanh(x * 3)
    b = tg.relu(a) + 1
    outputs = [alias(x), y, tg.sqrt(y), a * b + y, tg.sqrt(alias(tg.sigmoid(x)) + 1) * y, alias(alias(a))]
    agrees_with_plain(outputs, {"x": normal(6, 4)}, 6, threads)


def test_own_operation_that_keeps_its_result():
    kept = normal(6, 4)

    @tg.op
    def table(x):
        return kept

    x = tg.input("x", (6, 4), "float64")
    agrees_with_plain([tg.relu(table(x)) * 2 + x, tg.exp(table(tg.tanh(x)))], {"x": normal(6, 4)}, 6)
    np.testing.assert_array_equal(kept, normal(6, 4))


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize(
    "of", [lambda x: x, lambda x: tg.exp(x), lambda x: tg.relu(x) + x.sum()], ids=["leaf", "node", "sum"]
)
def test_own_operation_that_writes_into_its_input_is_refused(of, elementwise):
    def vandal(x):
        x *= 2
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vandal = tg.op(elementwise=elementwise)(vandal)
    x, fed = tg.input("x", (4, 2), "float64"), normal(4, 2)
    try:
        graph = tg.Graph([vandal(of(x)), of(x)])
    except tg.OperationError:
        pytest.skip("it is refused when it is recorded")
    with pytest.raises(tg.OperationError, match="vandal"):
        tg.run(graph, {"x": fed})
    with pytest.raises(tg.OperationError, match="vandal"):
        tg.compile(graph, 4)({"x": fed})
    np.testing.assert_array_equal(fed, normal(4, 2))


def test_own_operation_with_a_shape_rule_that_writes_into_its_input_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Vandal(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            x *= 2
            return x

    x, fed = tg.input("x", (4, 2), "float64"), normal(4, 2)
    for of in (x, tg.exp(x), tg.constant(np.ones((4, 2))) * x, tg.parameter(np.ones(2)) * 1 + x, x.T, x[1:]):
        graph = tg.Graph([Vandal()(of), x])
        with pytest.raises(tg.OperationError, match="vandal"):
            tg.compile(graph)({"x": fed})
    np.testing.assert_array_equal(fed, normal(4, 2))


@pytest.mark.parametrize("elementwise", [False, True])
def test_own_random_operation_draws_anew_each_time(elementwise):
    rng = np.random.default_rng(0)

    def noisy(x):
        return x + rng.standard_normal(x.shape)

    noisy = tg.op(elementwise=elementwise)(noisy)
    x = tg.input("x", (3, 2), "float64")
    plan = tg.compile([noisy(x), noisy(x), noisy(x) * 0 + 1, noisy(tg.tensor([1.0])), noisy(tg.parameter([1.0]))])
    feeds = {"x": np.zeros((3, 2))}
    first, second = plan(feeds), plan(feeds)
    drawn = [*first[:2], *second[:2]]
    assert all((a != b).all() for a, b in combinations(drawn, 2))
    assert first[3] != second[3]
    assert first[4] != second[4]


class Odd(Exception):
    """An error that the package knows nothing of."""


@pytest.mark.parametrize("threads", [1, 2])
def test_own_operation_that_fails_is_reported_as_in_plain_evaluation(threads):
    @dataclasses.dataclass(frozen=True)
    class Picky(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            if (x < 0).any():
                raise Odd("nothing below zero")
            return x + 1

    x = tg.input("x", (66, 4), "float64")
    weight, fed = ballast(66)
    graph = tg.Graph([Picky()(x * 2), tg.tanh(x), weight])
    plan = tg.compile(graph, 66, threads)
    good, bad = fed | {"x": np.ones((66, 4))}, fed | {"x": normal(66, 4)}
    for _ in range(2):
        assert refusal(lambda: plan(bad)) == refusal(lambda: tg.run(graph, bad))
        agree(plan(good), tg.run(graph, good))


@pytest.mark.parametrize("returned", [lambda x: x[:1], lambda x: x > 0, lambda x: "text", lambda x: (x, x)])
def test_own_operation_that_does_not_keep_its_word_is_reported_as_in_plain_evaluation(returned):
    @dataclasses.dataclass(frozen=True)
    class Liar(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            return returned(x)

    graph, feeds = tg.Graph(tg.exp(Liar()(tg.input("x", (3, 2), "float64")))), {"x": normal(3, 2)}
    assert refusal(lambda: tg.compile(graph)(feeds)) == refusal(lambda: tg.run(graph, feeds))


def test_own_operation_with_the_name_of_another():
    with pytest.warns(UserWarning, match="relu"):

        @tg.op(elementwise=True)
        def relu(x):
            return x * 3

    relu.vjp(lambda dy, y, x: dy * 3)
    x = tg.input("x", (3, 2), "float64")
    agrees_with_plain(with_gradients(relu(x - 1) + relu(x), [x]), {"x": normal(3, 2)})


def test_own_operations_made_from_others():
    class Doubled(tg.conv2d.op):
        def forward(self, x, k):
            return 2 * super().forward(x, k)

    class Lowest(tg.max_pool2d.op):
        def forward(self, x):
            return -super().forward(-x)

    class Shifted(tg.relu.op):
        def forward(self, x):
            return super().forward(x) + 1

    x, k = tg.input("x", (2, 1, 4, 4), "float64"), tg.constant(normal(2, 1, 3, 3))
    outputs = [
        Doubled(padding=1)(x, k),
        tg.conv2d(x, k, padding=1),
        Lowest(2)(x),
        tg.max_pool2d(x, 2),
        Shifted()(x),
        tg.relu(x),
    ]
    agrees_with_plain(outputs, {"x": normal(2, 1, 4, 4)}, 2)


def test_own_operations_of_equal_attributes_are_kept_apart():
    @dataclasses.dataclass(frozen=True)
    class Less(tg.Op):
        by: float = 1.0

        def forward(self, x):
            return x - self.by

    @dataclasses.dataclass(frozen=True)
    class More(tg.Op):
        by: float = 1.0

        def forward(self, x):
            return x + self.by

    x = tg.input("x", (3,), "float64")
    agrees_with_plain([Less()(x), More()(x), Less(2.0)(x), Less(1.0)(x)], {"x": normal(3)})


# Errors that operations raise

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


# The schedule

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
