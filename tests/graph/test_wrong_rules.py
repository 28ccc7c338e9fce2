"""Wrong rules and forwards of the user are refused with their names."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tests.tools.gradients import attempts, product, scalar_grad, squared

# What a test registers is forgotten after it.
pytestmark = pytest.mark.usefixtures("registry")


# ---- wrong rules


@pytest.mark.parametrize(
    "returned",
    [lambda dy: dy, lambda dy: (dy,), lambda dy: (dy, dy, dy), lambda dy: (), lambda dy: None],
    ids=["alone", "one", "three", "empty", "nothing"],
)
def test_the_wrong_number_of_gradients(returned):
    mine = product(lambda dy, y, u, v: returned(dy))
    u, v = tg.tensor(2.0), tg.tensor(3.0)
    for attempt in attempts(mine(u, v), u, v):
        with pytest.raises(tg.RuleError, match=r"mine.*2 inputs"):
            attempt()


@pytest.mark.parametrize("gradient", [np.ones(2), np.ones((1, 3)), np.ones((3, 1)), np.float64(1.0), np.ones((2, 3))])
def test_a_gradient_of_the_wrong_shape(gradient):
    mine = squared(lambda dy, y, x: gradient)
    x = tg.tensor([1.0, 2.0, 3.0])
    for attempt in attempts(mine(x).sum(), x):
        with pytest.raises(tg.RuleError, match=r"mine.* x .*\(3,\)"):
            attempt()


def test_gradients_in_the_wrong_order_name_the_input():
    @tg.op
    def mine(u, v):
        return u @ v

    @mine.vjp
    def mine_vjp(dy, y, u, v):
        return u.T @ dy, dy @ v.T

    u, v = tg.tensor(np.ones((2, 3))), tg.tensor(np.ones((3, 4)))
    for attempt in attempts(mine(u, v).sum(), u, v):
        with pytest.raises(tg.RuleError, match=r"mine.* u .*\(2, 3\)"):
            attempt()


def test_a_complex_gradient_of_a_real_input():
    mine = product(lambda dy, y, u, v: (dy * v, dy * u * 1j))
    u, v = tg.tensor(2.0), tg.tensor(3.0)
    for attempt in attempts(mine(u, v), v):
        with pytest.raises(tg.RuleError, match=r"mine.* v .*complex|mine.*complex.* v "):
            attempt()


@pytest.mark.parametrize("gradient", ["text", {"x": 1.0}, object()], ids=["text", "dict", "object"])
def test_a_gradient_that_is_not_numbers(gradient):
    mine = squared(lambda dy, y, x: gradient)
    x = tg.tensor(3.0)
    for attempt in attempts(mine(x), x):
        with pytest.raises(tg.RuleError, match="mine"):
            attempt()


def test_a_missing_rule():
    mine = squared()
    x = tg.tensor(3.0)
    for attempt in attempts(mine(x), x):
        with pytest.raises(tg.RuleError, match="mine"):
            attempt()


def test_a_missing_rule_is_no_matter_where_no_gradient_passes():
    mine = squared()
    x, w = tg.tensor(3.0), tg.tensor(2.0)
    assert float(scalar_grad(mine(x) * w, w)) == 9.0


def test_a_rule_that_fails_names_the_operation():
    mine = squared(lambda dy, y, x: dy / len(5))
    x = tg.tensor(3.0)
    for attempt in attempts(mine(x), x):
        with pytest.raises(tg.RuleError, match=r"mine.*len"):
            attempt()


def test_a_rule_with_the_wrong_arguments_names_the_operation():
    x = tg.tensor(3.0)
    with pytest.raises(tg.RuleError, match="mine"):
        tg.grad(squared(lambda dy, x: dy)(x), [x])


def test_a_rule_that_names_an_unknown_attribute_is_refused():
    def rule(dy, y, x, *, banana):
        return dy

    x = tg.tensor(3.0)
    with pytest.raises((tg.TinygraphError, TypeError), match="banana"):
        tg.grad(squared(rule)(x), [x])


def test_a_rule_that_uses_an_unknown_numpy_function_says_so_when_recorded():
    mine = squared(lambda dy, y, x: dy * np.unwrap(x))
    x = tg.tensor(3.0)
    with pytest.raises(tg.UnknownNameError, match="unwrap"):
        tg.grad(mine(x), [x])


def test_a_rule_that_changes_its_gradient_in_place_does_not_harm_others():
    def rule(dy, y, x):
        dy *= 100
        return dy

    mine = squared(rule)
    x, w = tg.parameter([1.0]), tg.parameter([1.0])
    try:
        (3 * (w + mine(x))).sum().backward()
    except (ValueError, tg.RuleError):
        assert w.grad is None
    else:
        assert_array_equal(w.grad.value, [3.0])


def test_a_rule_that_keeps_its_gradient_does_not_see_it_change():
    kept = []

    def rule(dy, y, x):
        kept.append(dy)
        return dy

    mine = squared(rule)
    x = tg.parameter([1.0])
    y = mine(x)
    (3 * (y + x) + 5 * x).sum().backward()
    assert_array_equal(kept[0], [3.0])


def test_a_rule_that_changes_an_input_in_place_is_caught():
    def rule(dy, y, x):
        x *= 2
        return dy * x

    x = tg.parameter([3.0])
    loss = squared(rule)(x).sum()
    with pytest.raises((ValueError, tg.RuleError)):
        loss.backward()
    assert_array_equal(x.value, [3.0])
    assert x.grad is None


# ---- wrong forwards


@pytest.mark.parametrize(
    "result",
    [None, "text", {"a": 1}, [1.0, [2.0, 3.0]], np.array(["a"]), np.array([None])],
    ids=["None", "text", "dict", "ragged", "text array", "object array"],
)
@pytest.mark.parametrize("x", [tg.tensor([1.0]), np.ones(1), tg.input("x", (1,))], ids=["value", "array", "shape"])
def test_a_forward_that_returns_no_array_of_numbers(result, x):
    @tg.op
    def mine(x):
        return result

    with pytest.raises(tg.OperationError, match="mine"):
        mine(x)


def test_a_forward_that_returns_a_tensor():
    @tg.op
    def mine(x):
        return tg.tensor(x)

    with pytest.raises(tg.OperationError, match=r"mine.*Tensor"):
        mine(tg.tensor([1.0]))


@pytest.mark.parametrize("result", [[1.0, 2.0], 3.0, np.float32(2.0), True])
def test_a_forward_that_returns_numbers_is_understood(result):
    @tg.op
    def mine(x):
        return result

    y = mine(tg.tensor([1.0]))
    assert isinstance(y, tg.Tensor)
    assert_array_equal(y.value, result)
    assert y.shape == np.shape(result)


def test_a_forward_that_fails_names_the_operation_and_the_reason():
    @tg.op
    def mine(x):
        return x / {}["missing"]

    for x in (tg.tensor([1.0]), np.ones(1)):
        with pytest.raises(tg.OperationError, match=r"mine.*KeyError.*missing") as caught:
            mine(x)
        assert isinstance(caught.value.__cause__, KeyError)


def test_an_elementwise_forward_that_fails_names_the_operation():
    @tg.op(elementwise=True)
    def mine(x, y):
        raise ZeroDivisionError("oh")

    with pytest.raises(tg.OperationError, match="mine"):
        mine(tg.tensor([1.0]), 2)


def test_a_forward_that_fails_on_ones_is_an_operation_error_without_values_too():
    @tg.op
    def mine(x):
        raise ArithmeticError("not today")

    with pytest.raises(tg.TinygraphError, match="mine"):
        mine(tg.input("x", (2,)))


def contradicting():
    @dataclass(frozen=True)
    class Contradicting(tg.Op):
        def shape(self, x):
            return (7,)

        def forward(self, x):
            return x

    return Contradicting()


def test_a_forward_that_contradicts_its_shape_rule():
    with pytest.raises(tg.OperationError, match=r"contradicting.*\(2,\).*\(7,\)"):
        contradicting()(tg.tensor([1.0, 2.0]))
    x = tg.input("x", (2,))
    y = contradicting()(x)
    assert y.shape == (7,)
    with pytest.raises(tg.OperationError, match="contradicting"):
        tg.run(y, {"x": [1, 2]})


def test_an_elementwise_operation_that_does_not_broadcast_is_caught():
    @tg.op(elementwise=True)
    def mine(x):
        return x.sum()

    x = tg.input("x", (2,), "float64")
    y = mine(x)
    with pytest.raises(tg.OperationError, match="mine"):
        tg.run(y + 0, {"x": [1, 2]})


def test_a_run_whose_dtype_contradicts_the_recording_is_caught_or_cast():
    @tg.op(elementwise=True)
    def mine(x):
        return x.astype("float64")

    x = tg.input("x", (2,), "float32")
    y = mine(x)
    (result,) = tg.run(y, {"x": [1, 2]})
    assert result.dtype == y.dtype


def test_an_array_that_an_operation_keeps_stays_the_users_own():
    table = np.array([1.0, 2.0])

    @tg.op
    def mine(x):
        return table

    y = mine(tg.tensor(0.0))
    tg.run(y)
    try:
        table[:] = 7
    except ValueError:
        return
    assert_array_equal(y.value, [1.0, 2.0])


def test_an_operation_may_return_its_input():
    @tg.op
    def same(x):
        return x

    @same.vjp
    def same_vjp(dy, y, x):
        return dy

    array, x = np.ones(2), tg.tensor([1.0, 2.0], name="x")
    y = same(x)
    assert y is not x
    assert_array_equal(scalar_grad(y.sum(), x).value, [1.0, 1.0])
    same(array)
    assert array.flags.writeable


@pytest.mark.parametrize("wrong", ["not frozen", "no Op"])
def test_what_is_no_operation_is_not_registered(wrong):
    if wrong == "not frozen":

        @dataclass
        class Mine(tg.Op):
            def forward(self, x):
                return x
    else:

        class Mine:
            pass

    with pytest.raises((tg.TinygraphError, TypeError), match="Mine"):
        tg.register(Mine)
    assert "mine" not in tg.operations()


def test_register_makes_a_frozen_dataclass():
    @tg.register
    class Wide(tg.Op):
        width: int = 2

        def forward(self, x):
            return x * self.width

    assert tg.operation("wide")(np.ones(1), width=3) == 3
    assert Wide(3) == Wide(3)
    with pytest.raises(AttributeError):
        Wide(3).width = 4
