"""What backpropagation computes and keeps: no more nodes than needed."""

import gc
import inspect
import sys
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.gradients import chain, scalar_grad


@dataclass(frozen=True)
class NoRule(tg.Op):
    def forward(self, x):
        return x + 0.0


@pytest.fixture
def rule_calls(monkeypatch):
    """How often the gradient rule of each registered operation was called."""
    calls = Counter()

    def counting(name, op):
        rule = inspect.getattr_static(op, "vjp")

        def counted(self, dy, y, *inputs):
            calls[name] += 1
            return rule.__get__(self, op)(dy, y, *inputs)

        return counted

    for name, function in tg.operations().items():
        monkeypatch.setattr(function.op, "vjp", counting(name, function.op))
    return calls


def test_each_rule_is_called_once_per_node_in_a_diamond_1000_deep(rule_calls):
    x = tg.tensor(1.0)
    y = x
    for _ in range(1000):
        y = y + y
    assert float(scalar_grad(y, x)) == 2.0**1000
    assert rule_calls == {"add": 1000}


def test_the_same_diamond_backward(rule_calls):
    x = tg.tensor(1.0)
    y = x
    for _ in range(1000):
        y = y + y
    y.backward()
    assert float(x.grad) == 2.0**1000
    assert rule_calls == {"add": 1000}


def test_products_1000_deep(rule_calls):
    x = tg.tensor(1.0)
    y = x
    for _ in range(1000):
        y = y * y
    assert float(scalar_grad(y, x)) == 2.0**1000
    assert rule_calls == {"multiply": 1000}


def test_two_different_paths_at_each_of_1000_levels(rule_calls):
    x = tg.tensor(1.0)
    y = x
    for _ in range(1000):
        y = y * 0.5 + y * 1.5
    assert float(scalar_grad(y, x)) == 2.0**1000
    assert rule_calls == {"multiply": 2000, "add": 1000}


def test_the_second_derivative_through_a_deep_diamond_is_exact():
    x = tg.tensor(1.0)
    y = x
    for _ in range(20):
        y = y * y
    power = 2.0**20
    assert float(scalar_grad(scalar_grad(y, x), x)) == power * (power - 1)


def test_nodes_off_the_path_are_not_visited(rule_calls):
    x, w = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])
    loss = (tg.exp(w) * tg.tanh(x)).sum()
    tg.grad(loss, [w])
    assert rule_calls == {"sum": 1, "multiply": 1, "exp": 1}


def test_nodes_before_an_intermediate_that_is_asked_for_are_not_visited(rule_calls):
    x = tg.tensor(0.5)
    h = tg.exp(tg.tanh(x))
    tg.grad(h * h, [h])
    assert rule_calls == {"multiply": 1}


def test_a_missing_rule_before_an_intermediate_that_is_asked_for_is_no_matter():
    x = tg.tensor(0.5)
    h = tg.apply(NoRule(), [x])
    assert float(scalar_grad(h * h, h)) == 1.0


def test_nodes_after_the_output_are_not_visited(rule_calls):
    x = tg.tensor(0.5)
    h = tg.exp(x)
    _later = tg.tanh(h)
    tg.grad(h, [x])
    assert rule_calls == {"exp": 1}


def test_backward_does_not_visit_what_only_constants_and_integers_reach(rule_calls):
    x, labels, c = tg.tensor(0.5), tg.tensor(2), tg.constant(1.0)
    (x * (labels * 1.0) * tg.exp(c)).backward()
    assert set(rule_calls) == {"multiply"}


def test_a_gradient_that_is_not_wanted_is_not_computed():
    x, W = tg.tensor(np.ones((2, 3)), name="x"), tg.parameter(np.ones((3, 4)), name="W")
    dW = scalar_grad((x @ W).sum(), W)
    made_of = {node.shape for node in tg.Graph(dW).nodes if node.op is not None and node.op.name == "matmul"}
    assert made_of == {(3, 4)}


def calls_made(function):
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(previous)
    return count


@pytest.mark.parametrize(
    "work",
    [
        lambda y, x: tg.grad(y, [x]),
        lambda y, x: y.backward(),
        lambda y, x: str(tg.Graph(y)),
        lambda y, x: tg.run(y),
    ],
    ids=["grad", "backward", "print", "run"],
)
def test_work_grows_linearly_with_the_number_of_nodes(work):
    x = tg.tensor(1.0, name="x")
    counts = [calls_made(partial(work, chain(length, x), x)) for length in (500, 1000, 2000)]
    assert counts[2] - counts[1] == pytest.approx(2 * (counts[1] - counts[0]), rel=0.02)


def peak_of_backward(length):
    x = tg.parameter(np.ones(10_000))
    y = chain(length, x)
    tracemalloc.start()
    try:
        y.backward(np.ones(10_000))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_backward_drops_each_gradient_when_it_is_spent():
    one_array = 80_000
    assert peak_of_backward(200) < 10 * one_array


def test_a_gradient_graph_dies_with_its_gradients():
    x = tg.tensor(np.ones(100))
    y = chain(50, x)
    gc.collect()
    before = sum(type(thing) is tg.Tensor for thing in gc.get_objects())
    gradient = scalar_grad(y.sum(), x)
    assert gradient.shape == (100,)
    del gradient
    gc.collect()
    assert sum(type(thing) is tg.Tensor for thing in gc.get_objects()) == before
