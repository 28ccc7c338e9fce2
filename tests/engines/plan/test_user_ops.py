"""Plans of the user's own operations."""

import dataclasses
import warnings
from itertools import combinations

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agree, agrees_with_plain, ballast
from tests.tools.plans import normal, refusal, with_gradients

# What a test registers is forgotten after it.
pytestmark = [
    pytest.mark.usefixtures("registry"),
    pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning"),
]


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
