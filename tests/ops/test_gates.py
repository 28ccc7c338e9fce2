"""A closed gate gives 0, for an infinite or NaN gradient too, in every engine and in PyTorch alike."""

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

import tinygraph as tg

INFINITE = [np.inf, -np.inf, np.nan]
X = np.array([-np.inf, -7.0, -3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0, 6.0, 7.0, np.inf])

# Operations whose rule multiplies by a condition, and PyTorch's function where there is one with the same choice at kinks.
GATED = {
    "relu": (tg.relu, functional.relu),
    "leaky_relu": (lambda x: tg.leaky_relu(x, slope=0.1), lambda x: functional.leaky_relu(x, 0.1)),
    "relu6": (tg.relu6, functional.relu6),
    "thresholded_relu": (tg.thresholded_relu, lambda x: functional.threshold(x, 1.0, 0.0)),
    "clip": (lambda x: tg.clip(x, -1.5, 3.0), lambda x: torch.clamp(x, -1.5, 3.0)),
    "clip below": (lambda x: tg.clip(x, low=0.0), lambda x: torch.clamp(x, min=0.0)),
    "hard_tanh": (lambda x: tg.hard_tanh(x, -1.0, 1.0), lambda x: functional.hardtanh(x, -1.0, 1.0)),
    "hard_sigmoid": (lambda x: tg.hard_sigmoid(x, alpha=1 / 6), functional.hardsigmoid),
    "hard_swish": (tg.hard_swish, functional.hardswish),
    "maximum": (lambda x: tg.maximum(x, np.ones(())), lambda x: torch.maximum(x, torch.ones(()).double())),
    "minimum": (lambda x: tg.minimum(x, np.ones(())), lambda x: torch.minimum(x, torch.ones(()).double())),
    "floor": (tg.floor, torch.floor),
    "ceil": (tg.ceil, torch.ceil),
    "round": (tg.round, torch.round),
    "trunc": (tg.trunc, torch.trunc),
    "sign": (tg.sign, torch.sign),
    "max": (lambda x: tg.max(x.reshape(4, 3), axis=1), lambda x: x.reshape(4, 3).max(1).values),
    "min": (lambda x: tg.min(x.reshape(4, 3), axis=0), lambda x: x.reshape(4, 3).min(0).values),
    "global_max_pool": (
        lambda x: tg.global_max_pool(x.reshape(2, 2, 3)),
        lambda x: functional.adaptive_max_pool1d(x.reshape(2, 2, 3), 1).reshape(2, 2),
    ),
    "max_pool1d": (
        lambda x: tg.max_pool1d(x.reshape(1, 1, 12), 2),
        lambda x: functional.max_pool1d(x.reshape(1, 1, 12), 2),
    ),
    "max_pool2d": (
        lambda x: tg.max_pool2d(x.reshape(1, 1, 4, 3), 2),
        lambda x: functional.max_pool2d(x.reshape(1, 1, 4, 3), 2),
    ),
    "relu, max_pool2d": (
        lambda x: tg.max_pool2d(tg.relu(x.reshape(1, 1, 4, 3)), 2),
        lambda x: functional.max_pool2d(functional.relu(x.reshape(1, 1, 4, 3)), 2),
    ),
    "relu, avg_pool2d": (
        lambda x: tg.avg_pool2d(tg.relu(x.reshape(1, 1, 6, 2)), 2),
        lambda x: functional.avg_pool2d(functional.relu(x.reshape(1, 1, 6, 2)), 2),
    ),
    "top_k": (lambda x: tg.top_k(x, 2), lambda x: torch.topk(x, 2).values),
    "where": (lambda x: tg.where(x > 0, x, 1.0), lambda x: torch.where(x > 0, x, 1.0)),
}


def engines(f, x, dy):
    """The gradient by rules on arrays, as recorded, by ``tg.run`` and by the plan."""
    leaf = tg.tensor(x, name="x")
    y = f(leaf)
    cotangent = np.full(y.shape, dy, x.dtype)
    y.backward(cotangent)
    yield leaf.grad.value
    (recorded,) = tg.grad(f(leaf), [leaf], cotangent=cotangent)
    yield recorded.value
    declared, given = tg.input("x", x.shape, x.dtype), tg.input("dy", y.shape, x.dtype)
    graph = tg.Graph(tg.grad(f(declared), [declared], cotangent=given)[0])
    given_leaves = ((declared, x), (given, cotangent))
    feeds = {leaf.name: value for leaf, value in given_leaves if leaf.name in graph.inputs}
    (ran,) = tg.run(graph, feeds)
    yield ran
    (planned,) = tg.compile(graph)(feeds)
    yield planned


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("dy", [1.0, *INFINITE])
@pytest.mark.parametrize("name", GATED)
def test_gates_agree_with_pytorch_in_every_engine(name, dy, dtype):
    ours, theirs = GATED[name]
    x = torch.tensor(X, requires_grad=True)
    y = theirs(x)
    (expected,) = torch.autograd.grad(y, [x], torch.full_like(y, dy))
    for found in engines(ours, X.astype(dtype), dy):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6 if dtype != np.float16 else 2e-3)
        assert not np.signbit(found[found == 0]).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_root_of_a_closed_relu_has_gradient_zero():
    for found in engines(lambda x: tg.sqrt(tg.relu(x)).sum(), np.array([-1.0, 4.0]), 1.0):
        np.testing.assert_array_equal(found, [0.0, 0.25])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("f", [lambda x: tg.leaky_relu(x, slope=0.0), lambda x: tg.elu(x, alpha=0.0)])
def test_a_slope_of_zero_is_a_closed_gate(f):
    for found in engines(f, np.array([-1.0, 0.0, 2.0]), np.inf):
        np.testing.assert_array_equal(found, [0.0, 0.0, np.inf])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_length_zero_is_a_closed_gate():
    for found in engines(
        lambda x: tg.sqrt(tg.l2_norm(x.reshape(2, 2), axis=1)).sum(), np.array([0.0, 0.0, 3.0, 4.0]), 1.0
    ):
        np.testing.assert_allclose(found, [0.0, 0.0, 0.3 / 5**0.5, 0.4 / 5**0.5])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_hinge_beyond_its_margin_is_a_closed_gate():
    for found in engines(lambda x: tg.hinge(x, np.array([1, 1, -1])), np.array([2.0, 0.0, 0.0]), np.inf):
        np.testing.assert_array_equal(found, [0.0, -np.inf, np.inf])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_closed_gate_stays_closed_in_second_derivatives():
    x = tg.tensor([-1.0, 4.0], name="x")
    (dx,) = tg.grad((tg.relu(x) ** 1.5).sum(), [x])
    (ddx,) = tg.grad(dx.sum(), [x])
    np.testing.assert_allclose(ddx.value, [0.0, 0.375])


def test_a_gate_is_written_as_a_product():
    z, dc = tg.input("Z1", (2,)), tg.input("dC1", (2,))
    (dz,) = tg.grad(tg.relu(z), [z], cotangent=dc)
    assert "dZ1 = dC1 * (Z1 > 0)" in " ".join(str(tg.Graph(dz)).split())


def test_a_gate_that_never_opens_is_written_as_zero():
    x, dy = tg.input("x", (2,)), tg.input("dy", (2,))
    assert "dx = dy * 0" in " ".join(str(tg.Graph(tg.grad(tg.floor(x), [x], cotangent=dy)[0])).split())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.complex64])
def test_a_gate_keeps_the_dtype_and_gives_plus_zero(dtype):
    y = tg.gate(np.array([-2, 3], dtype), np.array([False, True]))
    assert (y.dtype, y.tolist()) == (dtype, [0, 3])
    assert not np.signbit(y.real).any()


@pytest.mark.parametrize("x", [tg.input("x", (2,)), tg.tensor([1.0, 2.0]), np.ones(2)])
def test_a_gate_takes_a_condition_only(x):
    with pytest.raises(tg.DTypeError, match=r"gate: the condition must be boolean, such as x > 0; found float"):
        tg.gate(x, x)


@pytest.mark.parametrize("condition", [np.array([1, 0]), np.array([True, False]), np.array([1.0, 0.0])])
def test_a_condition_takes_no_part_in_promotion(condition):
    for x in (tg.tensor([1.0, 2.0], dtype="float32"), tg.input("x", (2,), "float32")):
        y = tg.where(condition, x, 0.0)
        assert y.dtype == np.float32
        assert tg.grad(y.sum(), [x])[0].dtype == np.float32
        assert tg.where(tg.constant(condition), 1, x).dtype == np.float32
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert tg.compile(tg.Graph(tg.where(condition, x, 0.0)))
