"""Jacobians, Hessians, products with them, and values with gradients: closed forms, JAX, shapes, names, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg

A = np.random.default_rng(0).standard_normal((4, 3))
X = np.array([0.3, -0.7, 1.1])


def quadratic(x):
    cost = x @ (A.T @ A) @ x / 2
    cost.name = "cost"
    return cost


# ---- closed forms


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    x = tg.tensor(X, name="x")
    y = A @ x
    y.name = "y"
    dy_dx = tg.jacobian(y, x)
    assert dy_dx.name == "dy_dx"
    assert_array_equal(dy_dx.value, A)


def test_the_jacobian_has_the_axes_of_the_output_and_then_those_of_the_input():
    x, W = tg.tensor(np.ones((2, 3)), name="x"), tg.tensor(A.T, name="W")
    dx, dW = tg.jacobian(x @ W, [x, W])
    assert_allclose(dx.value, np.einsum("ik,jl->ijkl", np.eye(2), A))
    assert_allclose(dW.value, np.einsum("ik,jl->ijkl", np.ones((2, 3)), np.eye(4)))


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (0,), (2, 0)])
def test_the_jacobian_of_an_output_of_any_shape(shape):
    x = tg.tensor(np.arange(3.0))
    y = tg.broadcast_to(x.sum() if shape == () else x[: shape[-1]], shape) * 2
    assert tg.jacobian(y, x).shape == (*shape, 3)


def test_the_hessian_of_a_quadratic_form_is_its_matrix():
    x = tg.tensor(X, name="x")
    H = tg.hessian(quadratic(x), x)
    assert H.name == "ddcost_dx_dx"
    assert_allclose(H.value, A.T @ A, rtol=1e-13)


def test_the_hessian_of_several_is_made_of_blocks():
    x, b = tg.tensor(X, name="x"), tg.tensor(np.ones(4), name="b")
    cost = ((A @ x) * b).sum()
    (xx, xb), (bx, bb) = tg.hessian(cost, [x, b])
    assert_array_equal(xx.value, np.zeros((3, 3)))
    assert_array_equal(xb.value, A.T)
    assert_array_equal(bx.value, A)
    assert_array_equal(bb.value, np.zeros((4, 4)))


def test_the_product_with_the_hessian_is_that_of_the_matrix():
    x = tg.tensor(X, name="x")
    v = np.array([1.0, -2.0, 0.5])
    for given in (v, list(v), tg.tensor(v, name="v")):
        product = tg.hvp(quadratic(x), x, given)
        assert product.name == "Hv_x"
        assert_allclose(product.value, A.T @ A @ v, rtol=1e-13)


def test_the_product_with_the_hessian_of_several_adds_their_blocks():
    x, b = tg.tensor(X, name="x"), tg.tensor(np.ones(4))
    products = tg.hvp(((A @ x) * b).sum(), [x, b], [np.ones(3), np.arange(4.0)])
    assert_allclose(products[0].value, A.T @ np.arange(4.0))
    assert_allclose(products[1].value, A @ np.ones(3))


def test_what_is_linear_has_second_derivatives_of_zero():
    x = tg.tensor(X)
    for cost in (x.sum(), (2 * x).sum(), x[0]):
        assert_array_equal(tg.hessian(cost, x).value, np.zeros((3, 3)))
        assert_array_equal(tg.hvp(cost, x, np.ones(3)).value, np.zeros(3))


def test_a_product_that_is_the_vector_itself_leaves_its_name_alone():
    x, v = tg.tensor(X, name="x"), tg.tensor(X, name="v")
    assert tg.hvp((x * x).sum() / 2, x, v).name == "Hv_x"
    assert v.name == "v"


# ---- graph


def test_derivatives_are_recorded_without_values_and_compile():
    x = tg.input("x", (3,), "float64")
    cost = tg.exp(x * A[0]).sum()
    outputs = [tg.jacobian(tg.tanh(A @ x), x), tg.hessian(cost, x), tg.hvp(cost, x, np.ones(3))]
    J, H, Hv = tg.run(tg.Graph(outputs), {"x": X})
    assert_allclose(J, (1 - np.tanh(A @ X) ** 2)[:, None] * A, rtol=1e-12)
    assert_allclose(H, np.diag(A[0] ** 2 * np.exp(X * A[0])), rtol=1e-12)
    assert_allclose(Hv, H.sum(axis=1), rtol=1e-12)
    for found, expected in zip(tg.compile(tg.Graph(outputs))({"x": X}), (J, H, Hv), strict=True):
        assert_allclose(found, expected, rtol=1e-12)
    assert "ddcost" not in str(tg.Graph(outputs))


def test_a_jacobian_is_differentiated_again():
    x = tg.tensor(X)
    third = tg.jacobian(tg.hessian((x**3).sum(), x), x)
    assert third.shape == (3, 3, 3)
    assert_allclose(third.value.sum(), 18, rtol=1e-12)


def test_the_dtype_is_that_of_the_input():
    x = tg.tensor(X, dtype="float32")
    for found in (tg.jacobian(x * x, x), tg.hessian((x * x).sum(), x), tg.hvp((x * x).sum(), x, [1, 1, 1])):
        assert found.dtype == np.float32


# ---- value and gradient of a function


def test_value_and_gradient_of_a_function_of_arrays():
    def cost(W, x):
        return np.sum((x @ W) ** 2)

    value, dW = tg.value_and_grad(cost)(X, A)
    assert float(value) == pytest.approx(np.sum((A @ X) ** 2))
    assert dW.name == "dW"
    assert_allclose(dW.value, 2 * A.T @ A @ X)
    _, (dx, dW) = tg.value_and_grad(cost, (1, 0))(X, A)
    assert [dx.name, dW.name] == ["dx", "dW"]
    assert_allclose(dx.value, 2 * np.outer(A @ X, X))
    _, dx = tg.value_and_grad(cost, -1)(X, A)
    assert dx.shape == A.shape


def test_each_place_has_its_own_gradient_also_of_one_tensor():
    x = tg.tensor(X)
    _, (first, second) = tg.value_and_grad(lambda a, b: (a * a * b).sum(), (0, 1))(x, x)
    assert_allclose(first.value, 2 * X**2)
    assert_allclose(second.value, X**2)
    assert_allclose(tg.value_and_grad(lambda a, b: (a * a * b).sum())(x, x)[1].value, 2 * X**2)


def test_a_function_without_a_signature_and_arguments_by_name():
    assert float(tg.value_and_grad(np.exp)(0.0)[1]) == 1
    value, da = tg.value_and_grad(lambda a, *, factor: a * factor)(3.0, factor=2.0)
    assert (float(value), float(da)) == (6, 2)


# ---- refusals

x = tg.tensor(X, name="x")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.jacobian(tg.input("y", (70, 70)), x), tg.GradientError, "at most 4096; found input 'y'.*tg.grad"),
        (lambda: tg.jacobian(3.0, x), tg.GradientError, r"found 3.0 \(float\)"),
        (lambda: tg.jacobian(x, 3.0), tg.TinygraphError, "with respect to tensors; found float"),
        (lambda: tg.jacobian(x * 2, tg.tensor(1.0, name="other")), tg.GradientError, "no gradient .*'other'"),
        (lambda: tg.jacobian(x > 0, x), tg.GradientError, "only real floating point"),
        (lambda: tg.hessian(x * x, x), tg.GradientError, "has 3 elements"),
        (lambda: tg.hvp((x * x).sum(), x, np.ones(2)), tg.ShapeError, r"vector for tensor 'x' \(3,\).*found \(2,\)"),
        (lambda: tg.hvp((x * x).sum(), [x], []), tg.ShapeError, "one vector for each of 1 tensors; found 0"),
        (lambda: tg.value_and_grad(3), tg.TinygraphError, r"takes a function; found 3 \(int\)"),
        (lambda: tg.value_and_grad(lambda a: a)(X), tg.GradientError, "has 3 elements"),
        (lambda: tg.value_and_grad(lambda a: 2.0)(1.0), tg.GradientError, "returns a tensor .*found 2.0"),
        (lambda: tg.value_and_grad(lambda a: a, 1)(1.0), tg.GradientError, "names the argument 1; there are 1"),
        (lambda: tg.value_and_grad(lambda a: a)(3), tg.GradientError, "holds int64"),
    ],
)
def test_a_wrong_call_says_so(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- JAX


@pytest.mark.oracle
def test_derivatives_are_those_of_jax():
    jax = pytest.importorskip("jax")

    def network(module, W, x):
        return module.tanh(x @ W) ** 2 + module.exp(-x[..., :1])

    W, x = A.T[:, :2], np.random.default_rng(1).standard_normal((2, 3))
    tensors = [tg.tensor(W, name="W"), tg.tensor(x, name="x")]
    with jax.enable_x64(True):
        expected = jax.jacobian(lambda *given: network(jax.numpy, *given), (0, 1))(W, x)
        cost = lambda *given: network(jax.numpy, *given).sum()  # noqa: E731
        blocks = jax.hessian(cost, (0, 1))(W, x)
        value, gradients = jax.value_and_grad(cost, (0, 1))(W, x)
        _, products = jax.jvp(jax.grad(cost, (0, 1)), (W, x), (W + 1, x - 1))
    for found, wanted in zip(tg.jacobian(network(np, *tensors), tensors), expected, strict=True):
        assert_allclose(found.value, wanted, rtol=1e-10, atol=1e-12)
    output = network(np, *tensors).sum()
    for row, wanted_row in zip(tg.hessian(output, tensors), blocks, strict=True):
        for found, wanted in zip(row, wanted_row, strict=True):
            assert_allclose(found.value, wanted, rtol=1e-10, atol=1e-12)
    for found, wanted in zip(tg.hvp(output, tensors, [W + 1, x - 1]), products, strict=True):
        assert_allclose(found.value, wanted, rtol=1e-10, atol=1e-12)
    found_value, found_gradients = tg.value_and_grad(lambda *given: network(np, *given).sum(), (0, 1))(W, x)
    assert float(found_value) == pytest.approx(float(value))
    for found, wanted in zip(found_gradients, gradients, strict=True):
        assert_allclose(found.value, wanted, rtol=1e-10, atol=1e-12)
