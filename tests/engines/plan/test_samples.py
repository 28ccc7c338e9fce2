"""What the plan believes of operations and samples is true: for every operation, the parts of a batch give the batch.

Every sample of every operation is tried with each axis of each input as the batch, and with every combination of inputs
that hold samples. Where the plan has a rule that says how the parts come together, they are computed and put together.
"""

import itertools

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import ballast
from tests.tools.plans import compute
from tinygraph.engines.plan.lower import lower
from tinygraph.engines.plan.node import Node, constant, nodes_of
from tinygraph.engines.plan.tiles import analyse, split
from tinygraph.graph.apply import evaluate
from tinygraph.graph.batch import MEAN, SHARED, TOTAL, Each, Use

PRIMITIVES = {name: f.op for name, f in tg.operations().items() if not f.op.composite}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def cases(name):
    """Every sample of an operation, and those of ``FURTHER``, as the operation and its inputs."""
    op = PRIMITIVES[name]
    samples = list(op.samples(np.random.default_rng(0))) + FURTHER.get(name, [])
    if op.shortcut_samples is not None:
        samples += op.shortcut_samples(np.random.default_rng(0))
    for sample in samples:
        made, inputs = op(**sample.attributes), list(sample.inputs)
        yield made, inputs
        if name.endswith("3d"):
            # Their samples are batches of one.
            yield (
                made,
                [x if of == "k" else np.concatenate([x, -x]) for of, x in zip(op.parameters, inputs, strict=True)],
            )


ROWS = normal(4, 3)
IMAGES = normal(4, 4, 4, 4)
MATRICES = [((4, 4), (4, 4)), ((4, 4, 4), (4, 4)), ((4, 4), (4, 4, 4)), ((4, 4, 4), (4, 4, 4)), ((4, 4, 4), (1, 4, 4))]
MATRICES += [((4,), (4, 4)), ((4, 4), (4,)), ((4,), (4,)), ((4, 1), (1, 4))]
MASK = np.array([True, False, True, True])
# What the operations' own samples do not have: equal sizes, indices of all kinds, sizes that are not the batch's.
FURTHER = {
    "getitem": [
        tg.Sample(IMAGES, index=index)
        for index in [
            (slice(None), MASK),
            (slice(None), MASK, slice(None), 0),
            (slice(None), 0, slice(None), MASK),
            (slice(None), [0, 2, 2]),
            (slice(None), [0, 2], slice(None), [1, 1]),
            (slice(None), None, [0, 1], slice(None), 2),
            (MASK, slice(None)),
            (slice(0, 4), 1),
            (slice(0, 3), slice(None)),
            (slice(-4, None), 1),
            (slice(None, None, -1), 1),
            (slice(0, 9, 1), Ellipsis, 0),
            (Ellipsis, 0),
            (None, slice(None)),
        ]
    ],
    "put": [
        tg.Sample(normal(4, 3), index=(slice(0, 4),), to=(4, 3)),
        tg.Sample(normal(4, 3), index=(slice(0, 4),), to=(6, 3)),
        tg.Sample(normal(4, 3), index=(slice(None), slice(1, 4)), to=(4, 5)),
        tg.Sample(normal(4, 3), index=(slice(None), MASK), to=(4, 4)),
        tg.Sample(normal(3, 4, 4), index=(slice(None), MASK, slice(None), 0), to=(4, 4, 4, 4)),
        tg.Sample(normal(4, 3), index=(slice(None), [0, 2, 2]), to=(4, 4)),
    ],
    "reshape": [
        tg.Sample(normal(4, 4, 4), to=shape)
        for shape in [(16, 4), (4, 16), (4, 2, 8), (2, 2, 4, 4), (4, 4, 2, 2), (8, 8), (64,), (1, 4, 16), (4, 1, 4, 4)]
    ],
    "transpose": [tg.Sample(IMAGES, axes=axes) for axes in [(1, 0, 2, 3), (3, 2, 1, 0), (0, 1, 2, 3), (-1, 0, 1, 2)]],
    "broadcast_to": [tg.Sample(normal(4, 1), to=(4, 4)), tg.Sample(normal(4), to=(4, 4))],
    "sum_to": [tg.Sample(normal(4, 4, 4), to=to) for to in [(4,), (4, 4), (1, 4), (4, 1), (4, 1, 4), (1, 1)]],
    "matmul": [tg.Sample(normal(*x), normal(*y, seed=1)) for x, y in MATRICES],
    "pad": [
        tg.Sample(ROWS, pad_width=((0, 0), (1, 2)), mode="wrap"),
        tg.Sample(ROWS, pad_width=((1, 0), (0, 0)), value=2.0),
        tg.Sample(ROWS, pad_width=0),
    ],
    "concatenate": [tg.Sample(ROWS, ROWS, axis=1), tg.Sample(ROWS, ROWS), tg.Sample(ROWS, normal(4, 1), axis=-1)],
    "where": [tg.Sample(ROWS > 0, ROWS, 2 * ROWS), tg.Sample(MASK[:, None], ROWS, normal(4, 4, 3))],
    "add": [tg.Sample(normal(4, 4), normal(4)), tg.Sample(normal(4, 1), normal(1, 4)), tg.Sample(normal(4), normal(4))],
    "gather": [tg.Sample(normal(4, 4), np.array([[0, 1, 1, 2]] * 4), axis=axis) for axis in (0, 1)],
    "einsum": [
        tg.Sample(normal(4, 4), normal(4, 4, seed=1), equation=equation)
        for equation in ["ij,jk->ik", "ij,ij->ij", "ij,ij->i", "ij,ij->", "ii,ij->ij", "ij,ji->i", "ij,kl->ik"]
    ],
    "cross_entropy": [
        tg.Sample(normal(4, 4, 4), np.array([[0, 1, 2, 3]] * 4)),
        tg.Sample(ROWS, np.array([0, 1, 2, 0])),
    ],
    "softmax": [tg.Sample(normal(4, 4), axis=axis) for axis in (0, 1)],
    "tile": [tg.Sample(normal(4, 2), reps=reps) for reps in [(1, 2), (2, 1), (2, 1, 1), (1, 1, 2)]],
    "conv2d": [tg.Sample(IMAGES, normal(4, 4, 3, 3)), tg.Sample(IMAGES, normal(4, 1, 3, 3), groups=4)],
}


def uses(op, inputs):
    """Yield the ways in which some inputs may hold samples: the size of the batch, and the axis of each input or None."""
    for count in {size for x in inputs for size in x.shape if size > 1}:
        axes = [[None, *(i for i, size in enumerate(x.shape) if size == count)] for x in inputs]
        for chosen in itertools.product(*axes):
            if any(axis is not None for axis in chosen):
                yield count, chosen


def claims(op, inputs):
    """Yield the size of a batch, where the samples are, and what the plan's rule says, if it says something."""
    y = evaluate(op, inputs, None)
    for count, chosen in uses(op, inputs):
        states = tuple(SHARED if axis is None else Each(axis) for axis in chosen)
        for known in (False, True):
            nodes = [
                constant(x) if known and axis is None else Node(x.shape, x.dtype)
                for x, axis in zip(inputs, chosen, strict=True)
            ]
            tiling = Use(Node(y.shape, y.dtype, op, tuple(nodes)), states, count).tiling()
            if tiling is not None:
                yield count, chosen, tiling


def part(op, inputs, chosen, tiling, start, stop):
    """What a tile computes: the samples from ``start`` to ``stop``."""
    taken = []
    for place, (x, axis) in enumerate(zip(inputs, chosen, strict=True)):
        axis = 0 if place in tiling.sliced else axis
        taken.append(x if axis is None else x[(slice(None),) * axis + (slice(start, stop),)])
    return evaluate(op if tiling.for_tile is None else tiling.for_tile(stop - start), taken, None)


def put_together(op, inputs, count, chosen, tiling):
    """What tiles of several sizes give."""
    ends = sorted({0, 1, count // 2, count})
    parts = [(stop - start, part(op, inputs, chosen, tiling, start, stop)) for start, stop in itertools.pairwise(ends)]
    if isinstance(tiling.state, Each):
        axis = tiling.state.axis
        assert [y.shape[axis] for _, y in parts] == [size for size, _ in parts]
        return np.concatenate([y for _, y in parts], axis=axis)
    if tiling.state in (TOTAL, MEAN):
        return sum(y * (size / count if tiling.state is MEAN else 1) for size, y in parts)
    assert tiling.state is SHARED
    return parts[0][1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", PRIMITIVES)
def test_what_is_claimed_of_samples_is_true(name):
    for op, inputs in cases(name):
        y = evaluate(op, inputs, None)
        for count, chosen, tiling in claims(op, inputs):
            found = put_together(op, inputs, count, chosen, tiling)
            what = f"{op} of {[x.shape for x in inputs]}, samples along {chosen}: {tiling.state}"
            assert found.shape == y.shape, what
            np.testing.assert_allclose(found, y, rtol=1e-9, atol=1e-12, err_msg=what)


@pytest.mark.parametrize(
    "name", [name for name, op in PRIMITIVES.items() if op.elementwise or op.batch is not tg.Op.batch]
)
def test_something_is_claimed_of_every_operation_that_has_a_rule(name):
    """What the test above rests on."""
    if not any(True for op, inputs in cases(name) for _ in claims(op, inputs)):
        pytest.fail(f"{name}: no sample shows what the rule claims")


def test_a_claim_that_is_wrong_is_found():
    op, inputs = PRIMITIVES["softmax"](axis=0), [normal(4, 3)]
    tiling = Use(Node((4, 3), np.dtype(float), op, (Node((4, 3), np.dtype(float)),)), (Each(0),), 4).elementwise()
    assert not np.allclose(put_together(op, inputs, 4, (0,), tiling), evaluate(op, inputs, None))


# What the plan makes of convolutions and pools is no operation of the record.
LOWERED = {
    "convolution": lambda x, k: tg.conv2d(x, k, padding=1),
    "convolution with a bias": lambda x, k: tg.conv2d(x, k) + tg.constant(normal(4, 1, 1)),
    "strides": lambda x, k: tg.conv2d(x, k, stride=2, padding=(1, 2)),
    "transposed": lambda x, k: tg.conv_transpose2d(x, k, stride=2),
    "max pool": lambda x, k: tg.max_pool2d(tg.conv2d(x, k, padding=1), 2),
    "average pool": lambda x, k: tg.avg_pool2d(tg.relu(tg.conv2d(x, k, padding=1)), 2),
    "standardized": lambda x, k: (
        tg.standardize(x, axis=(1, 2, 3)) * tg.variance(x, axis=1, keepdims=True, correction=1)
    ),
}


@pytest.mark.parametrize("case", LOWERED)
@pytest.mark.parametrize("size", [1, 3])
def test_tiles_of_lowered_operations_give_the_batch(case, size):
    x, k = tg.input("x", (4, 4, 6, 6), "float64"), tg.parameter(normal(4, 4, 3, 3), name="k")
    y = LOWERED[case](x, k)
    graph = tg.Graph([y, *tg.grad((y * y).mean(), [x, k], unreached="zeros")])
    outputs = lower(nodes_of(graph))
    feeds = {x: normal(4, 4, 6, 6)}
    found = analyse(outputs, {x: 0}, 4)
    assert found is not None
    cut = split(outputs, found, 4)
    wanted = [*cut.each, *cut.totals]
    whole = dict(zip(wanted, compute(wanted, feeds), strict=True))
    sizes = [size, 4 - size]
    parts = {node: [] for node in wanted}
    for start, stop in itertools.pairwise(np.cumsum([0, *sizes]).tolist()):
        tile = cut.tile(stop - start)
        for rows, of in tile.rows.items():
            rows.value = of.value[start:stop]
        given = list(tile.outputs.values())
        for node, array in zip(tile.outputs, compute(given, {x: feeds[x][start:stop]}), strict=True):
            parts[node].append(array)
    for node, arrays in parts.items():
        state = found[node].state
        joined = np.concatenate(arrays, state.axis) if isinstance(state, Each) else sum(arrays)
        np.testing.assert_allclose(joined, whole[node], rtol=1e-9, atol=1e-12, err_msg=repr(node))


def test_a_mask_among_the_axes_in_tiles():
    x = tg.input("x", (66, 3, 4, 4))
    weight, fed = ballast(66)
    h = x[:, np.array([True, False, True]), :, 0]
    feeds = {"x": normal(66, 3, 4, 4).astype("float32"), **fed}
    for found, wanted in zip(tg.compile([h, weight], 66, 2)(feeds), tg.run([h, weight], feeds), strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_rows_put_into_more_rows_than_the_batch_has_are_not_cut():
    x, w = tg.input("x", (66, 2)), tg.parameter(normal(100, 2).astype("float32"), name="w")
    weight, fed = ballast(66)
    (dw,) = tg.grad((x * w[0:66]).sum(), [w])
    feeds = {"x": normal(66, 2).astype("float32"), **fed}
    found = tg.compile([dw, weight], 66, 2)(feeds)[0]
    np.testing.assert_array_equal(found, tg.run(dw, {"x": feeds["x"]})[0])
