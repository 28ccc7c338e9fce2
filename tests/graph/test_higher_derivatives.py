"""Gradients of gradients, and random programs against differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.gradients import scalar_grad
from tests.tools.sweeps import part

# ---- higher derivatives


def test_derivatives_of_a_cube():
    x = tg.tensor([2.0, -1.5])
    y = x**3
    first = scalar_grad(y.sum(), x)
    second = scalar_grad(first.sum(), x)
    third = scalar_grad(second.sum(), x)
    assert_allclose(first.value, 3 * x.value**2, rtol=1e-15)
    assert_allclose(second.value, 6 * x.value, rtol=1e-15)
    assert_allclose(third.value, [6.0, 6.0], rtol=1e-15)


def test_every_derivative_of_exp_is_exp():
    x = tg.tensor([0.0, 1.0, -3.0])
    y = tg.exp(x)
    for _ in range(6):
        y = scalar_grad(y.sum(), x)
        assert_allclose(y.value, np.exp(x.value), rtol=1e-14)


@pytest.mark.parametrize("through", [np.tanh, lambda x: tg.tanh(x)], ids=["numpy", "tinygraph"])
def test_derivatives_of_tanh(through):
    x = tg.tensor([0.3, -1.2])
    t = np.tanh(x.value)
    first = scalar_grad(through(x).sum(), x)
    second = scalar_grad(first.sum(), x)
    third = scalar_grad(second.sum(), x)
    assert_allclose(first.value, 1 - t**2, rtol=1e-13)
    assert_allclose(second.value, -2 * t * (1 - t**2), rtol=1e-13)
    assert_allclose(third.value, (1 - t**2) * (6 * t**2 - 2), rtol=1e-12)


def test_derivatives_of_sigmoid():
    x = tg.tensor([0.3, -1.2])
    s = 1 / (1 + np.exp(-x.value))
    first = scalar_grad(tg.sigmoid(x).sum(), x)
    second = scalar_grad(first.sum(), x)
    third = scalar_grad(second.sum(), x)
    assert_allclose(first.value, s * (1 - s), rtol=1e-13)
    assert_allclose(second.value, s * (1 - s) * (1 - 2 * s), rtol=1e-13)
    assert_allclose(third.value, s * (1 - s) * (1 - 6 * s + 6 * s**2), rtol=1e-12)


def test_mixed_second_derivatives_agree():
    x, y = tg.tensor(0.4), tg.tensor(1.3)
    f = tg.exp(x * y) * tg.tanh(x) + y**3
    dx, dy = tg.grad(f, [x, y])
    assert_allclose(float(scalar_grad(dx, y)), float(scalar_grad(dy, x)), rtol=1e-14)


def test_the_hessian_of_a_quadratic_form_is_its_matrix():
    A = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 4.0]])
    x = tg.tensor([1.0, -2.0, 0.5])
    dx = scalar_grad(0.5 * (x @ A @ x), x)
    rows = [scalar_grad(dx[i], x).value for i in range(3)]
    assert_allclose(rows, A, rtol=1e-15)


def test_a_loss_may_contain_a_gradient():
    x, w = tg.tensor(2.0), tg.parameter(3.0)
    penalty = scalar_grad(w * x**3, x) ** 2
    assert float(scalar_grad(penalty, w)) == 2 * (3 * 3.0 * 4.0) * (3 * 4.0)


def test_the_second_derivative_of_bce_after_sigmoid():
    z, y = tg.tensor([[0.5], [-2.0]], name="z"), np.array([[1.0], [0.0]])
    dz = scalar_grad(tg.bce(tg.sigmoid(z), y), z)
    a = 1 / (1 + np.exp(-z.value))
    assert_allclose(dz.value, (a - y) / 2, rtol=1e-14)
    assert_allclose(scalar_grad(dz.sum(), z).value, a * (1 - a) / 2, rtol=1e-13)


def test_the_second_derivative_of_a_line_does_not_exist_or_is_zero():
    x = tg.tensor(2.0)
    dx = scalar_grad(3 * x, x)
    with pytest.raises(tg.GradientError):
        tg.grad(dx, [x])
    assert float(scalar_grad(dx, x, unreached="zeros")) == 0.0


# ---- random programs against differences


UNARY = {
    "tanh": tg.tanh,
    "sigmoid": tg.sigmoid,
    "negative": lambda x: -x,
    "exp": lambda x: tg.exp(0.3 * tg.tanh(x)),
    "square": lambda x: x * x,
    "transpose": lambda x: x.T,
    "column sums": lambda x: x.sum(axis=0, keepdims=True),
    "row means": lambda x: x.mean(axis=-1, keepdims=True),
    "flatten": lambda x: x.reshape(1, -1),
    "column": lambda x: x.reshape(-1, 1),
    "first row": lambda x: x[:1],
    "twice": lambda x: tg.concatenate([x, x], axis=0),
    "broadcast": lambda x: tg.broadcast_to(x.sum(axis=0, keepdims=True), (2, x.shape[1])),
}


BINARY = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (2 + tg.tanh(y)),
    "matmul": lambda x, y: x @ y,
}


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(list(UNARY)), st.integers(0, 9)),
        st.tuples(st.sampled_from(list(BINARY)), st.integers(0, 9), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=7,
)


programs = settings(derandomize=True, deadline=None, max_examples=part(60))


def run_program(program, *leaves):
    """Apply the steps to a growing list of matrices; a step whose shapes do not fit is left out."""
    tensors = list(leaves)
    for name, *places in program:
        operands = [tensors[place % len(tensors)] for place in places]
        try:
            result = (UNARY | BINARY)[name](*operands)
        except tg.ShapeError:
            continue
        if result.size <= 64:
            tensors.append(result)
    return tg.tanh(tensors[-1]).sum() + sum(0.1 * leaf.sum() for leaf in leaves)


def values_for(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, 3)), rng.standard_normal((3, 2)), rng.standard_normal((1, 3))


def named_inputs(arrays):
    return [tg.input(name, array.shape, dtype="float64") for name, array in zip("xyz", arrays, strict=True)]


@programs
@given(steps, st.integers(0, 1000))
def test_a_random_program_runs_as_it_was_recorded(program, seed):
    arrays = values_for(seed)
    eager = run_program(program, *map(tg.tensor, arrays))
    recorded = run_program(program, *named_inputs(arrays))
    (value,) = tg.run(recorded, dict(zip("xyz", arrays, strict=True)))
    assert_array_equal(value, eager.value)


@programs
@given(steps, st.integers(0, 1000))
def test_gradients_of_a_random_program_agree_however_they_are_computed(program, seed):
    arrays = values_for(seed)
    leaves = [tg.parameter(array) for array in arrays]
    loss = run_program(program, *leaves)
    gradients = tg.grad(loss, leaves)
    loss.backward()
    inputs = named_inputs(arrays)
    recorded = run_program(program, *inputs)
    _, *ran = tg.run([recorded, *tg.grad(recorded, inputs)], dict(zip("xyz", arrays, strict=True)))
    for leaf, gradient, value in zip(leaves, gradients, ran, strict=True):
        assert_allclose(gradient.value, leaf.grad.value, rtol=1e-12, atol=1e-14)
        assert_allclose(gradient.value, value, rtol=1e-12, atol=1e-14)


def directional_difference(function, arrays, directions, step=1e-5):
    ahead = function(*[array + step * v for array, v in zip(arrays, directions, strict=True)])
    behind = function(*[array - step * v for array, v in zip(arrays, directions, strict=True)])
    return (float(ahead) - float(behind)) / (2 * step)


@programs
@given(steps, st.integers(0, 1000))
def test_a_random_program_is_differentiated_right(program, seed):
    arrays, directions = values_for(seed), values_for(seed + 1)
    leaves = [tg.tensor(array) for array in arrays]
    gradients = tg.grad(run_program(program, *leaves), leaves)
    slope = sum(float((gradient.value * v).sum()) for gradient, v in zip(gradients, directions, strict=True))
    numeric = directional_difference(lambda *a: run_program(program, *map(tg.tensor, a)), arrays, directions)
    scale = sum(float(np.abs(gradient.value * v).sum()) for gradient, v in zip(gradients, directions, strict=True))
    assert abs(slope - numeric) <= 1e-6 * max(scale, 1e-3)


@programs
@given(steps, st.integers(0, 1000))
def test_a_random_program_is_differentiated_right_twice(program, seed):
    arrays, directions = values_for(seed), values_for(seed + 1)

    def slope(*values):
        leaves = [tg.tensor(value) for value in values]
        gradients = tg.grad(run_program(program, *leaves), leaves)
        return leaves, sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))

    leaves, first = slope(*arrays)
    second = tg.grad(first, leaves, unreached="zeros")
    curvature = sum(float((g.value * v).sum()) for g, v in zip(second, directions, strict=True))
    numeric = directional_difference(lambda *values: slope(*values)[1], arrays, directions)
    assert curvature == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_the_gradient_through_a_transposed_matrix_is_not_transposed_twice():
    x, W = tg.tensor(np.ones((2, 3)), name="x"), tg.parameter(np.ones((4, 3)), name="W")
    (dx,) = tg.grad((x @ W.T).sum(), [x])
    assert dx.inputs[1] is W
