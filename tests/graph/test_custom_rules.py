"""Gradient rules of the user: what they may return, and opaque ones."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.tools.gradients import attempts, product, scalar_grad, squared

# What a test registers is forgotten after it.
pytestmark = pytest.mark.usefixtures("registry")


# ---- what rules may return


def test_rules_written_in_numpy_functions_record():
    mine = squared(lambda dy, y, x: np.multiply(dy, 2 * x))
    x = tg.tensor([3.0])
    first = scalar_grad(mine(x).sum(), x)
    assert_array_equal(first.value, [6.0])
    assert_array_equal(scalar_grad(first.sum(), x).value, [2.0])


@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: (g,), lambda g: [g], lambda g: (lambda: g,)])
def test_one_gradient_may_come_alone_or_in_a_row_or_as_a_function(wrap):
    mine = squared(lambda dy, y, x: wrap(2 * x * dy))
    x = tg.tensor([3.0])
    mine(x).sum().backward()
    assert_array_equal(x.grad.value, [6.0])
    assert_array_equal(scalar_grad(mine(x).sum(), x).value, [6.0])


def test_functions_among_the_entries_are_called_only_when_wanted():
    called = []

    def rule(dy, y, u, v):
        def du():
            called.append("u")
            return dy * v

        def dv():
            called.append("v")
            return dy * u

        return du, dv

    mine = product(rule)
    u, v, c = tg.tensor(2.0), tg.tensor(3.0), tg.constant(5.0)
    tg.grad(mine(u, v), [v])
    assert called == ["v"]
    called.clear()
    mine(u, c).backward()
    assert called == ["u"]
    called.clear()
    assert [float(gradient) for gradient in tg.grad(mine(u, v), [u, v])] == [3.0, 2.0]
    assert sorted(called) == ["u", "v"]


def test_none_means_that_no_gradient_flows():
    mine = product(lambda dy, y, u, v: (dy * v, None))
    u, v = tg.tensor(2.0, name="u"), tg.tensor(3.0, name="v")
    assert float(scalar_grad(mine(u, v), u)) == 3.0
    with pytest.raises(tg.GradientError, match="v"):
        tg.grad(mine(u, v), [v])
    assert float(scalar_grad(mine(u, v) + v, v)) == 1.0
    mine(u, v).backward()
    assert float(u.grad) == 3.0
    assert v.grad is None


def test_a_function_may_return_none_too():
    mine = product(lambda dy, y, u, v: (dy * v, lambda: None))
    u, v = tg.tensor(2.0), tg.tensor(3.0)
    assert float(scalar_grad(mine(u, v), v, unreached="zeros")) == 0.0


def test_the_engine_sums_over_broadcast_axes():
    mine = product(lambda dy, y, u, v: (dy * v, dy * u))
    u, v = tg.tensor(np.ones((2, 3))), tg.tensor([1.0, 2.0, 3.0])
    du, dv = tg.grad(mine(u, v).sum(), [u, v])
    assert_array_equal(du.value, [[1.0, 2.0, 3.0]] * 2)
    assert_array_equal(dv.value, [2.0, 2.0, 2.0])


def test_the_engine_adds_up_several_uses_of_one_tensor():
    mine = product(lambda dy, y, u, v: (dy * v, dy * u))
    x = tg.tensor(3.0)
    assert float(scalar_grad(mine(x, x), x)) == 6.0


def test_a_rule_may_hand_back_a_tensor_of_the_graph_which_keeps_its_name():
    mine = product(lambda dy, y, u, v: (v, u))
    u, v = tg.tensor(2.0, name="u"), tg.tensor(3.0)
    du, dv = tg.grad(mine(u, v), [u, v])
    assert [float(du), float(dv)] == [3.0, 2.0]
    assert (u.name, v.name, du.name) == ("u", None, "du")


def test_a_float64_constant_in_a_rule_is_cast_to_the_dtype_of_the_input():
    mine = squared(lambda dy, y, x: dy * np.full(2, 2.0) * x)
    x = tg.tensor(np.array([3.0, 4.0], "float32"))
    dx = scalar_grad(mine(x).sum(), x)
    assert dx.dtype == dx.value.dtype == np.float32
    assert_array_equal(dx.value, [6.0, 8.0])
    mine(x).sum().backward()
    assert x.grad.dtype == np.float32


def test_an_integer_or_boolean_gradient_is_cast():
    mine = squared(lambda dy, y, x: np.ones(x.shape, int))
    x = tg.tensor([3.0])
    assert scalar_grad(mine(x).sum(), x).dtype == np.float64


def test_a_python_number_is_a_gradient_of_a_scalar():
    mine = squared(lambda dy, y, x: 1.0)
    x = tg.tensor(3.0)
    assert float(scalar_grad(mine(x), x)) == 1.0
    mine(x).backward()
    assert float(x.grad) == 1.0


# ---- opaque rules


def cube(rule, elementwise=False):
    @tg.op(elementwise=elementwise)
    def cube(x):
        return x**3

    cube.vjp(opaque=True)(rule)
    return cube


def cube_rule(dy, y, x):
    """Needs plain arrays: it writes into one."""
    assert type(x) is type(y) is np.ndarray
    gradient = np.empty_like(x)
    gradient[...] = 3 * x**2
    return dy * gradient


def test_an_opaque_rule_is_one_node_with_the_right_gradient():
    x = tg.tensor([2.0, 3.0], name="x")
    y = cube(cube_rule)(x)
    dx = scalar_grad(y.sum(), x)
    assert_array_equal(dx.value, [12.0, 27.0])
    assert dx.name == "dx"
    made_of_x = [node for node in tg.Graph(dx).nodes if any(operand is x for operand in node.inputs)]
    assert len(made_of_x) == 2
    assert made_of_x[0] is y
    assert made_of_x[1] is dx


def test_backward_passes_an_opaque_rule():
    x = tg.tensor([2.0, 3.0])
    cube(cube_rule)(x).sum().backward()
    assert_array_equal(x.grad.value, [12.0, 27.0])


def test_an_opaque_gradient_is_recorded_without_values_and_runs():
    x = tg.input("x", (2,), dtype="float64")
    dx = scalar_grad(cube(cube_rule)(x).sum(), x)
    assert (dx.shape, dx.dtype) == ((2,), np.float64)
    assert_array_equal(tg.run(dx, {"x": [2.0, 3.0]})[0], [12.0, 27.0])


def test_an_opaque_gradient_prints():
    x = tg.tensor([2.0], name="x")
    assert "cube" in str(tg.Graph(scalar_grad(cube(cube_rule)(x).sum(), x)))


def test_a_second_derivative_through_an_opaque_rule_is_a_clear_error():
    x = tg.tensor([2.0, 3.0])
    dx = scalar_grad(cube(cube_rule)(x).sum(), x)
    for attempt in attempts(dx.sum(), x):
        with pytest.raises(tg.RuleError, match="cube"):
            attempt()


def test_second_derivatives_beside_an_opaque_rule_work():
    x, w = tg.tensor(2.0), tg.tensor(3.0)
    loss = cube(cube_rule)(x) * w**2
    dw = scalar_grad(loss, w)
    assert float(dw) == 8 * 6.0
    assert float(scalar_grad(dw, w)) == 16.0


def test_an_opaque_gradient_is_cast_to_the_dtype_of_the_input():
    x = tg.tensor(np.array([2.0], "float32"))
    dx = scalar_grad(cube(lambda dy, y, x: dy * np.float64(3.0) * x**2)(x).sum(), x)
    assert dx.dtype == dx.value.dtype == np.float32


def test_an_opaque_gradient_is_summed_over_broadcast_axes():
    mine = product(lambda dy, y, u, v: (dy * v, dy * u), opaque=True)
    u, v = tg.tensor(np.ones((2, 3))), tg.tensor([1.0, 2.0, 3.0])
    du, dv = tg.grad(mine(u, v).sum(), [u, v])
    assert_array_equal(du.value, [[1.0, 2.0, 3.0]] * 2)
    assert_array_equal(dv.value, [2.0, 2.0, 2.0])


@pytest.mark.parametrize("returned", [np.ones((3, 3)), (np.ones(1), np.ones(1)), "text", np.array([1j])])
def test_a_wrong_opaque_rule_is_a_rule_error_too(returned):
    x = tg.tensor([2.0])
    for attempt in attempts(cube(lambda dy, y, x: returned)(x).sum(), x):
        with pytest.raises(tg.RuleError, match="cube"):
            attempt()


def test_a_stale_value_is_noticed_before_an_opaque_rule():
    x = tg.parameter([2.0], name="K1")
    loss = cube(cube_rule)(x).sum()
    x.value = [5.0]
    for attempt in attempts(loss, x):
        with pytest.raises(tg.StaleValueError, match="K1"):
            attempt()


def test_none_in_an_opaque_rule_means_that_no_gradient_flows():
    mine = product(lambda dy, y, u, v: (dy * v, None), opaque=True)
    u, v = tg.tensor(2.0), tg.tensor(3.0)
    assert float(scalar_grad(mine(u, v), u)) == 3.0
    mine(u, v).backward()
    assert v.grad is None
