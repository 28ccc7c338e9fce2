"""Random graphs, and what the tests of the plan share: feeds, a weight that makes plans cut tiles, the comparison of results.

Random graphs keep away from what rounding decides: ties and kinks are moved to places that no short computation meets.
"""

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import tinygraph as tg

MODELS = sorted(path.stem for path in (Path(__file__).parents[1] / "models").glob("*.toml"))
# Relative to the largest number of an array, or to the least, where all that is left may be rounding.
LEAST = 0.01
ROUNDING = {"float64": 1e-12, "complex128": 1e-12, "float32": 1e-4, "float16": 5e-3}


def agree(found, expected, float64=ROUNDING["float64"]):
    """Assert that results are those of plain evaluation: arrays of its shapes, its dtypes, and its values but for rounding."""
    assert type(found) is tuple
    assert len(found) == len(expected)
    for number, (x, wanted) in enumerate(zip(found, expected, strict=True)):
        what = f"output {number}"
        assert type(x) is np.ndarray, what
        assert (x.shape, x.dtype) == (wanted.shape, wanted.dtype), what
        if wanted.dtype.kind not in "fc":
            np.testing.assert_array_equal(x, wanted, err_msg=what)
        else:
            scale = np.max(np.abs(wanted), initial=LEAST, where=np.isfinite(wanted))
            allowed = (ROUNDING | {"float64": float64})[wanted.dtype.name] * scale
            np.testing.assert_allclose(x, wanted, rtol=0, atol=allowed, err_msg=what)


def agrees_with_plain(outputs, feeds, batch_size=None, threads=2, float64=ROUNDING["float64"]):
    """Assert that a plan gives the results of ``tg.run``, also when it runs again; return the plan."""
    expected = tg.run(outputs, feeds)
    plan = tg.compile(outputs, batch_size, threads)
    for _ in range(2):
        agree(plan(feeds), expected, float64)
    return plan


def in_float64(name):
    """Return a bundled model in float64."""
    path = Path(__file__).parents[1] / "models" / f"{name}.toml"
    return tg.Model.from_toml('dtype = "float64"\n' + path.read_text(encoding="utf-8"))


def feeds_for(model, count, seed=0):
    """Return random samples and labels for a model."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name, declared in model.inputs.items():
        shape = (count, *declared.shape)
        if declared.dtype.kind == "i":
            feeds[name] = rng.integers(0, model.record(2).output.shape[-1], shape)
        elif name in model.labels:
            feeds[name] = rng.integers(0, 2, shape).astype(declared.dtype)
        else:
            feeds[name] = rng.standard_normal(shape).astype(declared.dtype)
    return feeds


def ballast(batch):
    """Return an output and the feeds of an input that make so much work of ``batch`` samples that a plan cuts it into tiles."""
    samples = _long_samples(batch)
    x = tg.input("ballast", samples.shape)
    return (tg.relu(x * 2) + x).sum(axis=1), {"ballast": samples}


@lru_cache
def _long_samples(batch):
    return np.random.default_rng(batch).standard_normal((batch, 2**20 // batch), np.float32)


@dataclass
class RandomGraph:
    """Outputs, feeds for their inputs, and the batch size to compile them for."""

    outputs: list[tg.Tensor]
    feeds: dict[str, np.ndarray]
    batch_size: int | None

    def __repr__(self):
        return f"batch_size={self.batch_size}\n{tg.Graph(self.outputs)}"


MOST_ELEMENTS = 4000
ELEMENTWISE = [
    tg.tanh,
    tg.sigmoid,
    tg.softplus,
    tg.gelu,
    tg.erf,
    tg.identity,
    lambda x: -x,
    lambda x: 1.5 * x - 0.25,
    lambda x: 1 / (1 + x * x),
    lambda x: tg.exp(tg.tanh(x)),
    lambda x: tg.sqrt(x * x + 0.5),
    lambda x: tg.log1p(x * x),
    lambda x: tg.abs(x + 0.239127),
    lambda x: tg.relu(x + 0.371713),
    lambda x: tg.leaky_relu(x - 0.123457, slope=0.2),
    lambda x: tg.clip(x, -0.913759, 1.173131),
    lambda x: tg.where(x > 0.432173, x, 0.5 * x),
    lambda x: tg.maximum(x, 0.217317),
    lambda x: (x < 0.317371) * x,
    lambda x: tg.cast(tg.cast(x, "float32"), "float64") * 0 + x,
]
BINARY = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: tg.tanh(x) * y,
    lambda x, y: x / (1 + y * y),
    lambda x, y: tg.add_all([x, y, x]),
    lambda x, y: tg.where(y > 0.654321, x, y),
]


class Grower:
    """Adds one random node after another to a pool of tensors."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.batch = self.one_of([1, 2, 3, 4, 5, 6, 7, 66])
        self.feeds = {}
        self.leaves = []
        self.pool = [self.input((self.batch, *self.sizes(3)))]

    def whole(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def one_of(self, choices):
        return choices[self.whole(0, len(choices) - 1)]

    def sizes(self, most):
        return tuple(self.one_of([1, 2, 3, 4, 6]) for _ in range(self.whole(0, most)))

    def normal(self, shape):
        return self.rng.standard_normal(shape)

    def input(self, shape):
        name = f"x{len(self.feeds)}"
        self.feeds[name] = self.normal(shape)
        self.leaves.append(tg.input(name, shape, "float64"))
        return self.leaves[-1]

    def parameter(self, shape):
        self.leaves.append(tg.parameter(self.normal(shape)))
        return self.leaves[-1]

    def leaf(self, shape):
        """A leaf of one of all kinds."""
        kinds = [self.parameter, self.input, lambda shape: tg.constant(self.normal(shape))]
        return self.one_of(kinds)(shape)

    def without_ties(self, x):
        return x + tg.constant(self.normal(x.shape))

    def axis(self, x):
        return self.whole(-x.ndim, x.ndim - 1)

    def axes(self, x):
        return tuple(axis for axis in range(x.ndim) if self.whole(0, 1)) or None

    # One node or a few, on a tensor of the pool; None where it does not fit.

    def elementwise(self, x):
        return self.one_of(ELEMENTWISE)(x)

    def binary(self, x):
        partner = self.one_of(self.pool)
        shape = tuple(1 if self.whole(0, 2) == 0 else size for size in x.shape[self.whole(0, x.ndim) :])
        y = partner if _broadcast(x.shape, partner.shape) and self.whole(0, 1) else self.leaf(shape)
        pair = (x, y) if self.whole(0, 1) else (y, x)
        return self.one_of(BINARY)(*pair)

    def reduction(self, x):
        operation = self.one_of([tg.sum, tg.mean, tg.logsumexp, tg.max, tg.min])
        x = self.without_ties(x) if operation in (tg.max, tg.min) else x
        return operation(x, axis=self.axes(x), keepdims=bool(self.whole(0, 1)))

    def along_axis(self, x):
        return self.one_of([tg.softmax, tg.log_softmax])(x, axis=self.axis(x)) if x.ndim else None

    def reshaped(self, x):
        sizes = list(x.shape)
        if x.ndim >= 2 and self.whole(0, 1):
            at = self.whole(0, x.ndim - 2)
            sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
        elif x.ndim:
            at = self.whole(0, x.ndim - 1)
            factor = self.one_of([d for d in (1, 2, 3, 5, 7, sizes[at]) if sizes[at] % d == 0])
            sizes[at : at + 1] = self.one_of([[factor, sizes[at] // factor], [sizes[at] // factor, factor]])
        return tg.reshape(x, tuple(sizes))

    def moved(self, x):
        ways = [
            lambda: tg.transpose(x, tuple(self.rng.permutation(x.ndim).tolist())),
            lambda: tg.flip(x, axis=self.axes(x)),
            lambda: tg.expand_dims(x, self.whole(0, x.ndim)),
            lambda: tg.flatten(x) if x.ndim else None,
            lambda: tg.squeeze(x),
            lambda: tg.pad(x, tuple((self.whole(0, 2), self.whole(0, 1)) for _ in x.shape)) if x.ndim else None,
            lambda: tg.broadcast_to(x, (self.whole(1, 3), *x.shape)),
            lambda: self.part(x) if x.ndim else None,
        ]
        return self.one_of(ways)()

    def part(self, x):
        index = []
        for size in x.shape[: self.whole(1, x.ndim)]:
            start = self.whole(0, size - 1)
            index.append(
                self.one_of([slice(None), slice(start, None), slice(None, None, -1), start, slice(0, None, 2)])
            )
        if self.whole(0, 3) == 0:
            index[0] = [self.whole(0, x.shape[0] - 1) for _ in range(3)]
        return x[tuple(index)]

    def joined(self, x):
        if not x.ndim:
            return None
        partners = [y for y in self.pool if y.shape == x.shape]
        return tg.concatenate([x, *partners[: self.whole(1, 2)]], axis=self.axis(x))

    def product(self, x):
        if not x.ndim:
            return None
        ways = [lambda: x @ self.leaf((x.shape[-1], self.whole(1, 4))), lambda: x @ self.leaf((x.shape[-1],))]
        if x.ndim >= 2:
            ways += [lambda: self.leaf((self.whole(1, 4), x.shape[-2])) @ x]
            ways += [lambda: x @ tg.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)) / x.shape[-1]]
        return self.one_of(ways)()

    def images(self, x):
        """The tensor as images."""
        if x.ndim < 2:
            return None
        if x.ndim == 2:
            return tg.reshape(x, (x.shape[0], 1, 1, x.shape[1]))
        return x if x.ndim == 4 else tg.reshape(x, (x.shape[0], 1, x.shape[1], -1))

    def convolution(self, x):
        x = self.images(x)
        if x is None:
            return None
        kernel = self.leaf((self.whole(1, 4), x.shape[1], self.whole(1, 3), self.whole(1, 3)))
        padding = self.one_of([0, 1, "same", (2, 1), "same_lower", ((1, 0), (0, 2))])
        stride, dilation = self.one_of([1, 1, 2, (1, 2)]), self.one_of([1, 1, 2])
        y = _fitting(lambda: tg.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation))
        return y if y is None or self.whole(0, 1) else y + self.parameter((y.shape[1], 1, 1))

    def pooling(self, x):
        x = self.images(x)
        if x is None:
            return None
        window = (self.whole(1, 3), self.whole(1, 3))
        stride, padding = self.one_of([None, 1, 2]), self.one_of([0, 0, 1, ((1, 0), (0, 1))])
        settings = (window, stride, padding, self.one_of([1, 1, 2]), self.one_of([False, False, True]))
        if self.whole(0, 1):
            counted = self.one_of([True, False])
            return _fitting(lambda: tg.avg_pool2d(x, *settings, count_include_pad=counted))
        return _fitting(lambda: tg.max_pool2d(self.without_ties(x), *settings))

    def loss(self, x):
        labels = self.rng.uniform(0.1, 0.9, x.shape)
        ways = [lambda: tg.mse(x, labels), lambda: tg.bce_with_logits(x, labels), lambda: tg.bce(tg.sigmoid(x), labels)]
        if x.ndim == 2:
            ways.append(lambda: tg.cross_entropy(1.5 * x, self.rng.integers(0, x.shape[1], x.shape[0])))
        return self.one_of(ways)()

    def grow(self):
        steps = [
            self.elementwise,
            self.binary,
            self.reduction,
            self.along_axis,
            self.reshaped,
            self.moved,
            self.joined,
            self.product,
            self.convolution,
            self.pooling,
            self.loss,
        ]
        x = self.pool[-1 - min(self.whole(0, 5), len(self.pool) - 1)]
        y = self.one_of(steps)(x)
        if y is not None and 0 < np.prod(y.shape) <= MOST_ELEMENTS and y.ndim <= 5:
            self.pool.append(y)


def _broadcast(first, second):
    with contextlib.suppress(ValueError):
        return bool(np.broadcast_shapes(first, second) or True)
    return False


def _fitting(make):
    with contextlib.suppress(tg.ShapeError, tg.AttributeValueError):
        return make()
    return None


def random_graph(seed, steps):
    """Return some tensors of a graph on samples and leaves of all kinds, and gradients of a sum of others."""
    grower = Grower(seed)
    for _ in range(steps):
        grower.grow()
    pool = grower.pool
    outputs = [x for x in pool if grower.whole(0, 2) == 0] or [pool[-1]]
    summed = [x for x in pool[1:] if grower.whole(0, 1)] or [pool[-1]]
    total = sum((x * tg.constant(grower.normal(x.shape))).sum() for x in summed)
    gradients = tg.grad(total, grower.leaves, unreached="zeros")
    outputs += [gradient for gradient in gradients if grower.whole(0, 3)]
    feeds = grower.feeds
    if grower.batch > 7:
        weight, fed = ballast(grower.batch)
        outputs, feeds = [*outputs, weight], feeds | fed
    used = tg.Graph(outputs).inputs
    return RandomGraph(
        outputs,
        {name: array for name, array in feeds.items() if name in used},
        grower.one_of([grower.batch, grower.batch, None]),
    )


random_graphs = st.builds(random_graph, st.integers(0, 2**32 - 1), st.integers(2, 24))
