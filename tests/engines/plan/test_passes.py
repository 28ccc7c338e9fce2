"""The passes of the plan, each alone: what it changes, and that the numbers stay."""

import gc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.plans import compute, normal
from tinygraph.engines.plan import channels, compiled, tiles
from tinygraph.engines.plan.compiled import Compiled, tile_sizes
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.memory import Arena, copy_samples, reshaped
from tinygraph.engines.plan.node import nodes_of
from tinygraph.engines.plan.passes import (
    fold_constants,
    gate_by_result,
    pool_before_relu,
    prepared,
    share_common,
    simplify,
)
from tinygraph.engines.plan.program import Layout
from tinygraph.engines.plan.tiles import analyse, split
from tinygraph.graph import topological
from tinygraph.graph.batch import AFTER, MEAN, SHARED, TOTAL, Each

PASSES = [
    fold_constants,
    simplify,
    channels.into_kernels,
    pool_before_relu,
    gate_by_result,
    lower,
    lambda outputs: share_common(outputs)[0],
]


def network(count=4):
    """The notes' CNN in float64, its loss and gradients, and feeds for it."""
    rng = np.random.default_rng(0)
    x, y = tg.input("x", (count, 1, 8, 8), dtype="float64"), tg.input("y", (count, 1), dtype="float64")
    k1, b1 = tg.parameter(rng.normal(size=(3, 1, 3, 3)), "k1"), tg.parameter(rng.normal(size=(3, 1, 1)), "b1")
    k2, b2 = tg.parameter(rng.normal(size=(2, 3, 3, 3)), "k2"), tg.parameter(rng.normal(size=(2, 1, 1)), "b2")
    w = tg.parameter(rng.normal(size=(8, 1)), "w")
    p1 = tg.avg_pool2d(tg.relu(tg.conv2d(x, k1, padding=1) + b1), 2)
    p2 = tg.max_pool2d(tg.relu(tg.conv2d(p1, k2, padding=1) + b2), 2)
    a = tg.sigmoid(tg.flatten(p2) @ w)
    cost = tg.bce(a, y)
    graph = tg.Graph([a, cost, *tg.grad(cost, [k1, b1, k2, b2, w])])
    feeds = {x: rng.normal(size=x.shape), y: rng.integers(0, 2, y.shape).astype(float)}
    return graph, feeds


def operations(outputs):
    return [node.op.name for node in topological(outputs) if node.op is not None]


@pytest.mark.parametrize(
    "one", PASSES, ids=["fold", "simplify", "into_kernels", "pool_before_relu", "gate", "lower", "common"]
)
def test_a_pass_keeps_the_numbers(one):
    graph, feeds = network()
    before = nodes_of(graph)
    for old, new in zip(compute(before, feeds), compute(one(before), feeds), strict=True):
        assert_allclose(new, old, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "one", PASSES, ids=["fold", "simplify", "into_kernels", "pool_before_relu", "gate", "lower", "common"]
)
def test_a_pass_leaves_its_input_alone(one):
    graph, _ = network()
    before = nodes_of(graph)
    nodes = [(node, node.op, node.inputs, node.tensors) for node in topological(before)]
    one(before)
    assert [(node, node.op, node.inputs, node.tensors) for node in topological(before)] == nodes


def test_patches_are_shared_by_a_convolution_and_its_kernel_gradient():
    graph, _ = network()
    outputs, spared = prepared(graph)
    assert operations(outputs).count("row_patches") == 2
    assert [node.op.name for node in spared].count("row_patches") == 2


def test_nodes_that_no_output_needs_are_left_out():
    x = tg.input("x", (2,))
    tg.exp(x)
    assert operations(prepared(tg.Graph(tg.relu(x)))[0]) == ["relu"]


def test_relu_and_its_pool_change_places_only_where_nothing_else_reads_relu():
    z = tg.input("z", (1, 1, 4, 4))
    c = tg.relu(z)
    assert operations(pool_before_relu(nodes_of(tg.Graph(tg.max_pool2d(c, 2))))) == ["max_pool2d", "relu"]
    kept = pool_before_relu(nodes_of(tg.Graph([tg.max_pool2d(c, 2), c * 2.0])))
    assert operations(kept) == ["relu", "max_pool2d", "multiply"]


def test_a_bias_is_part_of_the_product_where_nothing_else_needs_the_patches():
    x, k = tg.input("x", (2, 3, 6, 6)), tg.parameter(np.ones((4, 3, 3, 3), np.float32), "k")
    b, row = tg.parameter(np.ones((4, 1, 1), np.float32), "b"), tg.parameter(np.ones(4, np.float32), "row")

    def lowered(*tensors):
        return sorted(operations(lower(nodes_of(tg.Graph(tensors)))))

    for total in (tg.conv2d(x, k) + b, b + tg.conv2d(x, k)):
        assert lowered(total) == ["row_convolution", "row_matrix", "row_patches"]
    assert "add" in lowered(tg.conv2d(x, k) + row)
    convolved = tg.conv2d(x, k)
    assert "add" in lowered(convolved + b, convolved)
    total = (tg.conv2d(x, k) + b).sum()
    assert "add" in lowered(total, *tg.grad(total, [k]))


def test_every_convolution_is_computed_by_rows():
    def lowered(conv, rank, **attributes):
        x, k = tg.input("x", (2, 3, *[6] * rank)), tg.parameter(np.ones((3, 1, *[3] * rank), np.float32), "k")
        y = conv(x, k, groups=3, **attributes)
        return set(operations(lower(nodes_of(tg.Graph([y, *tg.grad(y.sum(), [x, k])])))))

    fast = {"row_patches", "row_convolution", "row_kernel_gradient", "row_spread", "column_overlay"}
    for padding in (1, ((2, 0), (0, 1)), "same_lower", ((0, 3), (0, 0))):
        assert fast <= lowered(tg.conv2d, 2, padding=padding)
    for conv, rank in ((tg.conv1d, 1), (tg.conv3d, 3)):
        assert fast <= lowered(conv, rank)
        assert fast <= lowered(conv, rank, dilation=2)


AFFINE = {
    "batch norm": lambda z, s, t: tg.batch_norm(z, s, t, t, s),
    "bias": lambda z, s, t: z + tg.reshape(s, (3, 1, 1)),
    "all four": lambda z, s, t: (
        (tg.reshape(t, (3, 1, 1)) * (z - tg.reshape(s, (1, 3, 1, 1))) + 1.5) / tg.reshape(s, (3, 1, 1))
    ),
    "numbers from the left": lambda z, s, t: tg.reshape(s, (3, 1, 1)) + tg.reshape(t, (3, 1, 1)) * z,
    "what is subtracted from": lambda z, s, t: tg.reshape(s, (3, 1, 1)) - z,
    "divided by": lambda z, s, t: tg.reshape(s, (3, 1, 1)) / (z * z + 1),
    "read twice": lambda z, s, t: z * tg.reshape(s, (3, 1, 1)) + z,
    "a row": lambda z, s, t: z * tg.constant(np.arange(10.0)),
    "another number for each sample": lambda z, s, t: z * tg.mean(z, axis=(1, 2, 3), keepdims=True),
}


@pytest.mark.parametrize("count", [3, 130])
@pytest.mark.parametrize("case", AFFINE)
def test_numbers_for_channels_go_into_kernels(case, count, monkeypatch):
    monkeypatch.setattr(channels, "_LEAST_SIZE", 0)
    rng = np.random.default_rng(0)
    x = tg.input("x", (count, 2, 9, 12), dtype="float64")
    k, s, t = (
        tg.parameter(rng.random(shape) + 0.5, name=n) for n, shape in (("k", (3, 2, 3, 3)), ("s", (3,)), ("t", (3,)))
    )
    y = tg.relu(AFFINE[case](tg.conv2d(x, k, padding=(1, 0)), s, t))
    plan, feeds = tg.compile(y, count), {"x": rng.normal(size=x.shape)}
    assert_allclose(plan(feeds)[0], tg.run(y, feeds)[0], rtol=1e-10, atol=1e-12)
    names = [step.operation for step in plan.schedule.steps if len(step.shape) == 4 and step.shape[:2] == (count, 3)]
    if case in ("batch norm", "bias", "all four", "numbers from the left"):
        assert set(names) <= {"row_convolution", "relu"}


EXTREME = [
    (1e-30, 1e-20, 1e30),
    (1e20, 1e19, 1e-39),
    (1e38, 1e-10, 10.0),
    (10.0, 1e-10, 1e38),
    (1.0, 0.0, np.inf),
    (1e-20, 1e20, 1e-30),
    (1.0, np.inf, 1.0),
]


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize(("kernel", "factor", "pixel"), EXTREME)
def test_kernels_are_scaled_only_where_nothing_overflows_or_underflows(kernel, factor, pixel, divides, monkeypatch):
    monkeypatch.setattr(channels, "_LEAST_SIZE", 0)
    x = tg.input("x", (130, 1, 4, 4))
    k = tg.parameter(np.array([kernel, -2 * kernel] * 2, np.float32).reshape(1, 1, 2, 2), name="k")
    s = tg.parameter(np.full((1, 1, 1), 1 / np.float32(factor) if divides else factor, np.float32), name="s")
    z = tg.conv2d(x, k)
    y = z / s if divides else z * s
    # Finite answers to what is not finite, and what keeps small numbers.
    outputs = [tg.isnan(y), tg.isinf(y), tg.tanh(y), tg.clip(y, -1e-9, 1e-9)]
    feeds = {"x": np.full(x.shape, pixel, np.float32)}
    for found, expected in zip(tg.compile(outputs, 130)(feeds), tg.run(outputs, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-36)


def test_a_scaled_convolution_shares_its_patches_with_the_gradient_of_its_kernel(monkeypatch):
    monkeypatch.setattr(channels, "_LEAST_SIZE", 0)
    x, k = tg.input("x", (3, 2, 6, 6), "float64"), tg.parameter(normal(4, 2, 3, 3), name="k")
    y = tg.conv2d(x, k) * tg.constant(np.full((4, 1, 1), 0.5))
    graph, feeds = [y, *tg.grad(tg.sum(y), [k])], {"x": normal(3, 2, 6, 6, seed=1)}
    plan = tg.compile(graph, 3)
    steps = {step.operation: step for step in plan.schedule.steps}
    assert [step.operation for step in plan.schedule.steps].count("row_patches") == 1
    # The images are looked at where they lie.
    assert steps["in_range"].in_place
    for found, expected in zip(plan(feeds), tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [3, 130])
def test_the_gradient_of_a_matrix_that_stacks_are_multiplied_by_is_one_product(count):
    x, rng = tg.input("x", (count, 5, 6), dtype="float64"), np.random.default_rng(0)
    W = tg.parameter(rng.normal(size=(6, 4)), name="W")
    y = tg.tanh(x @ W)
    graph = [y, *tg.grad(tg.sum(y * y), [x, W])]
    plan = tg.compile(graph, count)
    names = [step.operation for step in plan.schedule.steps]
    assert "summed_product" in names
    assert "sum_to" not in names
    feeds = {"x": rng.normal(size=x.shape)}
    for found, expected in zip(plan(feeds), tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    # What reads the products themselves keeps them.
    products = x.transpose(0, 2, 1) @ y
    both = [products, tg.sum(products, axis=0), tg.operation("sum_to")(products, (6, 4))]
    for found, expected in zip(tg.compile(both, count)(feeds), tg.run(both, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_nothing_is_copied_for_a_kernel_of_one_pixel():
    x, k = tg.input("x", (2, 3, 6, 6)), tg.parameter(np.ones((4, 3, 1, 1), np.float32), "k")
    assert "row_patches" not in operations(lower(nodes_of(tg.Graph(tg.conv2d(x, k)))))
    assert "row_patches" in operations(lower(nodes_of(tg.Graph(tg.conv2d(x, k, padding=1)))))


@pytest.mark.parametrize(
    "attributes", [{}, {"padding": 1}, {"stride": 2, "padding": 2}, {"padding": (0, 1), "stride": (1, 2)}]
)
@pytest.mark.parametrize("filters", [3, 8, 20])
def test_a_convolution_with_its_bias_in_the_product(filters, attributes):
    rng = np.random.default_rng(0)
    x, k = tg.input("x", (5, 2, 9, 8), dtype="float64"), tg.parameter(rng.normal(size=(filters, 2, 3, 3)), "k")
    y = tg.conv2d(x, k, **attributes) + tg.parameter(rng.normal(size=(filters, 1, 1)), "b")
    plan = tg.compile(y, 5)
    for _ in range(2):
        value = rng.normal(size=x.shape)
        assert_allclose(plan({"x": value})[0], tg.run(y, {"x": value})[0], rtol=1e-12, atol=1e-12)


def test_the_gradient_of_a_pool_is_the_same_with_ties_and_without():
    x = tg.input("x", (2, 1, 4, 6), dtype="float64")
    dy = tg.input("dy", (2, 1, 2, 3), dtype="float64")
    y = tg.max_pool2d(x, 2)
    (dx,) = tg.grad(y, [x], cotangent=dy)
    plan, rng = tg.compile([y, dx], 2), np.random.default_rng(0)
    for values in (rng.normal(size=x.shape), rng.integers(0, 3, x.shape).astype(float), np.zeros(x.shape)):
        feeds = {"x": values, "dy": rng.normal(size=dy.shape)}
        for got, want in zip(plan(feeds), tg.run([y, dx], feeds), strict=True):
            assert_array_equal(got, want)


def test_compiling_leaves_the_garbage_collector_as_it_was():
    x = tg.input("x", (2,))
    for turn in (gc.disable, gc.enable):
        turn()
        tg.compile(tg.relu(x))
        assert gc.isenabled() == (turn is gc.enable)


def test_a_users_operation_is_neither_merged_nor_folded(registry):
    calls = []

    @tg.op(elementwise=True)
    def counted(x):
        calls.append(1)
        return x * 1.0

    x = tg.input("x", (2,))
    plan = tg.compile([counted(x), counted(x)])
    calls.clear()
    plan({"x": [1.0, 2.0]})
    assert len(calls) == 2


def test_states_of_samples():
    x, w = tg.input("x", (4, 3)), tg.parameter(np.ones((3, 2), np.float32), "w")
    y = x @ w
    (dw,) = tg.grad(tg.mean(y), [w])
    outputs = nodes_of(tg.Graph([y, dw, w.T, dw * 2.0]))
    found = analyse(outputs, {x: 0}, 4)
    assert [found[node].state for node in outputs] == [Each(0), TOTAL, SHARED, AFTER]


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x - tg.mean(x, axis=0),
        lambda x: tg.softmax(x, axis=0),
        lambda x: x @ x.T,
        lambda x: tg.flip(x, 0),
        lambda x: tg.concatenate([x, x]),
        lambda x: x[1:],
        lambda x: tg.max(x, axis=0),
        lambda x: tg.reshape(x, (2, 6)),
    ],
)
def test_what_mixes_samples_is_not_cut(mixing):
    x = tg.input("x", (4, 3))
    assert analyse(nodes_of(tg.Graph(mixing(x))), {x: 0}, 4) is None


def test_tiles_add_up_to_the_whole():
    graph, feeds = network(count=5)
    outputs, _ = prepared(graph)
    found = analyse(outputs, dict.fromkeys(feeds, 0), 5)
    cut = split(outputs, found, 5)
    whole = dict(zip(cut.totals, compute(cut.totals, feeds), strict=True))
    sums = dict.fromkeys(cut.totals, 0.0)
    for start, stop in ((0, 3), (3, 5)):
        tile = cut.tile(stop - start)
        part = {leaf: array[start:stop] for leaf, array in feeds.items()}
        for total in cut.totals:
            sums[total] = sums[total] + compute([tile.outputs[total]], part)[0]
    assert MEAN in {found[total].state for total in cut.totals}
    for total in cut.totals:
        result = sums[total] / 5 if found[total].state is MEAN else sums[total]
        assert_allclose(result, whole[total], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("count", "threads"), [(1, 2), (2, 2), (33, 2), (256, 1), (256, 3), (4096, 2)])
def test_tiles_cover_the_batch_evenly(count, threads):
    graph, feeds = network(count)
    outputs, _ = prepared(graph)
    sizes = tile_sizes(analyse(outputs, dict.fromkeys(feeds, 0), count), count, threads)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1


def test_places_that_are_alive_together_do_not_overlap():
    graph, _ = network()
    outputs, _ = prepared(graph)
    layout = Layout(outputs, {}, lambda node: None)
    last = {node: index for index, node in enumerate(layout.nodes)}
    for index, node in enumerate(layout.nodes):
        for x in node.inputs:
            root = layout.places[x].root if x in layout.places else x
            last[root] = max(last.get(root, 0), index)
    last.update({layout.places[node].root: len(last) for node in outputs})
    own = [
        (place.offset, place.offset + node.nbytes, index, last[node], place.shares)
        for index, node in enumerate(layout.nodes)
        if (place := layout.places[node]).root is node and place.offset is not None
    ]
    for i, (start, stop, born, dies, _) in enumerate(own):
        for other, end, later, _, shares in own[i + 1 :]:
            together = later < dies or (later == dies and not shares)
            assert not (together and born <= later and start < end and other < stop)


def test_an_arena_reuses_what_is_given_back():
    arena = Arena()
    places = [arena.take(100) for _ in range(3)]
    arena.give(places[0], 100)
    arena.give(places[1], 100)
    assert arena.take(250) == places[0]
    assert arena.size == 3 * 128


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("shape", "to"), [((2, 3, 4), (6, 4)), ((2, 3, 4), (2, 12)), ((4, 1, 3), (4, 3)), ((6,), (2, 3))]
)
def test_reshaped_agrees_with_numpy(shape, to, order):
    x = np.arange(np.prod(shape)).reshape(shape).copy(order=order)
    strides = reshaped(x.shape, x.strides, to)
    if strides is None:
        assert not np.shares_memory(x, x.reshape(to))
    else:
        assert_array_equal(np.lib.stride_tricks.as_strided(x, to, strides), x.reshape(to))


@pytest.mark.parametrize(
    "shape", [(32, 4, 32, 32), (16, 3, 64, 65), (9, 512), (8, 1024, 2), (1030, 1, 4), (3, 0, 4), (2048,)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
@pytest.mark.parametrize("some", [..., np.s_[1:-1], np.s_[::-2]])
def test_samples_that_share_places_of_the_cache_are_copied_too(shape, dtype, some):
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)[some]
    target = np.ones((*x.shape[1:], len(x)), dtype)
    copy_samples(np.moveaxis(target, -1, 0), x)
    assert_array_equal(target, np.moveaxis(x, 0, -1))
    back = np.ones_like(x)
    copy_samples(back, np.moveaxis(target, -1, 0))
    assert_array_equal(back, x)


@pytest.mark.parametrize("sizes", [[2, 2, 1], [1] * 5, [3, 2], [5]])
@pytest.mark.parametrize("threads", [1, 2])
def test_any_tiles_give_the_plain_numbers(sizes, threads, monkeypatch):
    monkeypatch.setattr(compiled, "tile_sizes", lambda *_: sizes)
    monkeypatch.setattr(tiles, "LARGEST_WHOLE", 0)
    graph, feeds = network(count=5)
    results = []
    program = Compiled(graph, list(feeds), 5, threads)
    program.run(feeds, lambda arrays: results.extend(np.array(array) for array in arrays))
    for found, expected in zip(results, tg.run(graph, feeds), strict=True):
        assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 1), (3, 2, 7), (2, 40), (1, 2, 1), (3, 1, 40), (2, 3, 2, 40)])
@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_statistics_of_groups_meet_arrays_of_any_shape(shape, kernels):
    if kernels == "numba":
        pytest.importorskip("numba")
    x, z = tg.input("x", (3, 4, 5, 4)), tg.input("z", shape)
    groups = tg.reshape(tg.tanh(x), (3, 2, 40))
    mean = tg.mean(groups, axis=2, keepdims=True)
    outputs = [mean * z, tg.broadcast_to(mean, (3, 2, 9)), tg.reshape(groups - mean, (3, 4, 5, 4))]
    if 7 not in shape:
        outputs += [groups * z, tg.where(groups > mean, groups, z)]
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=x.shape), "z": rng.normal(size=shape)}
    for found, wanted in zip(tg.compile(outputs, 3, kernels=kernels)(feeds), tg.run(outputs, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups_of_channels_keep_their_axes_apart(groups):
    model = tg.Model(
        {"x": [6, 5, 4], "y": [6, 5, 4]},
        {"g": {"shape": [6], "init": "ones"}, "s": {"shape": [6], "init": "zeros"}},
        f"Z = relu(x) * 3.0\nout = group_norm(Z, g, s, groups={groups})\ncost = mse(out, y)",
        output="out",
        loss="cost",
    )
    step = model.compile_step(tg.SGD(0.1), 3, threads=1)
    shapes = {tuple(made.shape) for made in step.schedule.steps}
    assert not any(len(shape) == 3 and shape[0] == 3 for shape in shapes)
    assert any(len(shape) == 5 for shape in shapes)
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((3, 6, 5, 4), np.float32) for name in ("x", "y")}
    wanted = tg.run(step.graph, {**feeds, **{x: np.float32(0.1) for x in step.graph.inputs if x not in feeds}})
    output, _ = step(feeds)
    np.testing.assert_allclose(output, wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.parameters["g"].value, wanted[2], rtol=1e-5)
