"""``tg.grad`` and ``backward``: names, exact values, errors."""

import gc
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.gradients import chain, scalar_grad
from tests.tools.sweeps import part

# ---- tg.grad is pure


def test_grad_returns_a_tuple_of_tensors_in_the_order_asked_for():
    x, y = tg.tensor(2.0), tg.tensor(5.0)
    gradients = tg.grad(x * y, [y, x])
    assert type(gradients) is tuple
    assert [float(gradient) for gradient in gradients] == [2.0, 5.0]


def test_grad_stores_nothing():
    x, w = tg.tensor([2.0], name="x"), tg.parameter([3.0], name="w")
    h = x * w
    loss = h.sum()
    tg.grad(loss, [x, w, h])
    assert [tensor.grad for tensor in (x, w, h, loss)] == [None] * 4
    assert (h.name, loss.name) == (None, None)


def test_grad_twice_gives_equal_values():
    x = tg.tensor([0.3, -0.7])
    loss = (tg.tanh(x) * x).sum()
    assert_array_equal(scalar_grad(loss, x).value, scalar_grad(loss, x).value)


def test_grad_leaves_gradients_of_backward_alone():
    x = tg.tensor([2.0])
    loss = (x * x).sum()
    loss.backward()
    tg.grad(loss, [x])
    assert_array_equal(x.grad.value, [4.0])


def test_grad_does_not_name_the_cotangent_of_the_caller():
    x, cotangent = tg.tensor([1.0, 2.0], name="x"), tg.tensor([3.0, 4.0])
    y = x + 1
    y.name = "y"
    tg.grad(y, [x], cotangent=cotangent)
    assert cotangent.name is None


def test_one_tensor_may_be_asked_for_alone():
    x = tg.tensor(3.0)
    assert [float(gradient) for gradient in tg.grad(x * x, x)] == [6.0]


def test_a_tensor_asked_for_twice_is_answered_twice():
    x = tg.tensor(3.0)
    assert [float(gradient) for gradient in tg.grad(x * x, [x, x])] == [6.0, 6.0]


def test_the_gradient_of_a_tensor_with_respect_to_itself_is_one():
    x = tg.tensor(3.0)
    assert float(scalar_grad(x, x)) == 1.0
    y = x * x
    assert float(scalar_grad(y, y)) == 1.0


def test_nothing_asked_for_nothing_given():
    assert tg.grad(tg.tensor(3.0) * 2, []) == ()


def test_gradients_of_intermediate_tensors():
    x = tg.tensor(3.0, name="x")
    h = x * x
    h.name = "h"
    loss = h * h * x
    dh, dx = tg.grad(loss, [h, x])
    assert (dh.name, float(dh)) == ("dh", 2 * 9 * 3.0)
    assert (dx.name, float(dx)) == ("dx", 5 * 3.0**4)


def test_a_gradient_is_graph():
    x = tg.input("x", (3,), dtype="float64")
    gradient = scalar_grad((x * x).sum(), x)
    assert not gradient.has_value
    assert_array_equal(tg.run(gradient, {"x": [1, 2, 3]})[0], [2.0, 4.0, 6.0])


# ---- names, shapes and dtypes of gradients


def test_gradients_are_named_after_their_tensors():
    image = tg.tensor(np.ones((1, 1, 4, 4)), name="P1")
    kernel = tg.parameter(np.ones((2, 1, 3, 3)), name="K1")
    Z2 = tg.conv2d(image, kernel)
    Z2.name = "Z2"
    gradients = tg.grad(tg.relu(Z2).sum(), [kernel, Z2, image])
    assert [gradient.name for gradient in gradients] == ["dK1", "dZ2", "dP1"]


@pytest.mark.parametrize(
    "combine", [lambda x, y: x + y, lambda x, y: (x + y).sum(), lambda x, y: (x + y) + x, lambda x, y: x - y]
)
def test_gradients_that_are_the_same_number_keep_their_own_names(combine):
    x, y = tg.tensor(1.0, name="x"), tg.tensor(2.0, name="y")
    assert [gradient.name for gradient in tg.grad(combine(x, y), [x, y])] == ["dx", "dy"]


def test_the_gradient_of_a_named_output_does_not_lend_its_name():
    x = tg.tensor(1.0, name="x")
    cost = x + 1
    cost.name = "cost"
    assert [gradient.name for gradient in tg.grad(cost, [cost, x])] == ["dcost", "dx"]


def test_the_gradient_of_a_tensor_without_name_has_none():
    x = tg.tensor(1.0)
    assert scalar_grad(x * x, x).name is None


def test_zeros_for_an_unreached_tensor_are_named_too():
    x, y = tg.tensor(1.0, name="x"), tg.tensor([1.0, 2.0], name="y")
    dy = scalar_grad(x * x, y, unreached="zeros")
    assert dy.name == "dy"
    assert_array_equal(dy.value, [0.0, 0.0])


def test_the_second_derivative_is_named_after_the_first():
    x = tg.tensor(2.0, name="x")
    dx = scalar_grad(x * x * x, x)
    loss = dx * dx
    assert scalar_grad(loss, dx).name == "ddx"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_gradient_has_the_shape_and_dtype_of_its_tensor(dtype):
    x, b = tg.tensor(np.ones((2, 3), dtype)), tg.tensor(np.ones(3, "float64"))
    dx, db = tg.grad((x * b).sum(), [x, b])
    assert (dx.shape, dx.dtype, dx.value.dtype) == ((2, 3), dtype, dtype)
    assert (db.shape, db.dtype) == ((3,), "float64")


# ---- exact values


def test_x_times_x_has_two_edges_and_gradient_two_x():
    x = tg.tensor(3.0)
    y = x * x
    assert len(y.inputs) == 2
    assert y.inputs[0] is x
    assert y.inputs[1] is x
    assert float(scalar_grad(y, x)) == 6.0


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_a_leaf_used_many_times_gets_every_contribution(count):
    x = tg.tensor(2.0)
    total = x * 1
    for factor in range(2, count + 1):
        total = total + x * factor
    assert float(scalar_grad(total, x)) == count * (count + 1) / 2


def test_one_operation_may_take_a_tensor_many_times():
    x = tg.tensor([1.0, 2.0])
    y = tg.concatenate([x, x, x])
    assert_array_equal(scalar_grad(y, x, cotangent=[1.0, 2, 3, 4, 5, 6]).value, [9.0, 12.0])


def test_broadcast_axes_are_summed():
    shapes = [(), (1,), (3,), (2, 1), (1, 3), (4, 1, 1), (4, 2, 3)]
    cotangent = np.arange(24.0).reshape(4, 2, 3)
    tensors = [tg.tensor(np.ones(shape)) for shape in shapes]
    y = sum(tensors[1:], tensors[0])
    gradients = tg.grad(y, tensors, cotangent=cotangent)
    for shape, gradient in zip(shapes, gradients, strict=True):
        padded = (1,) * (3 - len(shape)) + shape
        axes = tuple(axis for axis in range(3) if padded[axis] == 1)
        assert_array_equal(gradient.value, cotangent.sum(axis=axes, keepdims=True).reshape(shape))


def test_gradients_of_empty_tensors_are_empty():
    x = tg.tensor(np.ones((0, 3)))
    b = tg.tensor(np.ones(3))
    dx, db = tg.grad((x * b).sum(), [x, b])
    assert dx.shape == (0, 3)
    assert_array_equal(db.value, np.zeros(3))


def test_a_cotangent_weights_the_elements():
    x = tg.tensor([1.0, 2.0, 3.0])
    assert_array_equal(scalar_grad(x * x, x, cotangent=[1, 0, 10]).value, [2.0, 0.0, 60.0])


def test_a_cotangent_may_be_a_tensor_and_be_differentiated():
    x, v = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 5.0])
    dx = scalar_grad(x * x, x, cotangent=v)
    assert_array_equal(scalar_grad(dx.sum(), v).value, [2.0, 4.0])


def test_a_cotangent_of_another_dtype_is_cast_to_that_of_the_output():
    x = tg.tensor(np.ones(2, "float32"))
    for cotangent in ([1.0, 2.0], np.array([1, 2]), tg.tensor([1.0, 2.0])):
        dx, dy = tg.grad(y := x * 2, [x, y], cotangent=cotangent)
        assert dx.dtype == dy.dtype == np.float32
        assert_array_equal(dx.value, [2.0, 4.0])


def test_a_detached_part_counts_as_a_constant():
    x = tg.tensor(3.0)
    assert float(scalar_grad(x * (x * x).detach(), x)) == 9.0


def test_no_gradient_flows_through_comparisons_and_choices():
    x = tg.tensor([1.0, -2.0])
    assert_array_equal(scalar_grad((x * (x > 0)).sum(), x).value, [1.0, 0.0])


# ---- backward


def test_backward_fills_the_leaves_and_no_other_tensor():
    x, w = tg.tensor([2.0], name="x"), tg.parameter([3.0], name="w")
    h = x * w
    loss = h.sum()
    assert loss.backward() is None
    assert (x.grad.name, w.grad.name) == ("dx", "dw")
    assert_array_equal(x.grad.value, [3.0])
    assert_array_equal(w.grad.value, [2.0])
    assert h.grad is None
    assert loss.grad is None


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_each_backward_adds_exactly_one_more_gradient(calls):
    x = tg.tensor([1.5, -2.0])
    h = x * x
    loss = (h * h).sum()
    for _ in range(calls):
        loss.backward()
    assert_array_equal(x.grad.value, calls * 4 * x.value**3)
    assert h.grad is None


def test_backward_of_two_losses_adds_up():
    x = tg.parameter(3.0)
    h = x * x
    (2 * h).backward()
    (5 * h).backward()
    assert float(x.grad) == 7 * 6.0


def test_gradients_are_forgotten_by_setting_none():
    x = tg.parameter(3.0)
    (x * x).backward()
    x.grad = None
    (x * x).backward()
    assert float(x.grad) == 6.0


def test_a_stored_gradient_is_a_tensor_with_value_and_no_history():
    x = tg.parameter(np.ones(2, "float32"), name="x")
    tg.exp(x).sum().backward()
    assert x.grad.op is None
    assert x.grad.inputs == ()
    assert (x.grad.shape, x.grad.dtype) == (x.shape, x.dtype)
    assert not x.grad.value.flags.writeable


def test_adding_up_keeps_the_dtype():
    x = tg.parameter(np.ones(2, "float16"))
    for _ in range(2):
        (x * np.ones(2)).sum().backward()
    assert x.grad.dtype == np.float16


def test_a_gradient_handed_out_earlier_is_not_changed_by_the_next_backward():
    x = tg.parameter([3.0])
    loss = (x * x).sum()
    loss.backward()
    first = x.grad.value
    loss.backward()
    assert_array_equal(first, [6.0])


def test_leaves_that_share_one_gradient_do_not_share_memory():
    x, y = tg.parameter([1.0, 2.0]), tg.parameter([3.0, 4.0])
    (x + y).sum().backward()
    x.grad = None
    (x + 2 * y).sum().backward()
    assert_array_equal(x.grad.value, [1.0, 1.0])
    assert_array_equal(y.grad.value, [3.0, 3.0])


def test_backward_takes_a_cotangent_of_the_callers_own():
    x, cotangent = tg.parameter([1.0, 2.0]), np.array([1.0, 10.0])
    (x + 0).backward(cotangent)
    cotangent[:] = 7
    assert_array_equal(x.grad.value, [1.0, 10.0])


def test_backward_of_a_leaf():
    x = tg.parameter(3.0)
    x.backward()
    assert float(x.grad) == 1.0


def test_constants_get_no_gradient():
    x, c = tg.parameter(3.0), tg.constant(2.0)
    (x * c).backward()
    assert c.grad is None


def test_a_leaf_that_no_gradient_reaches_reads_not_computed():
    x, y = tg.parameter([3.0]), tg.parameter([4.0])
    (x * (y > 0)).sum().backward()
    assert y.grad is None


@pytest.mark.parametrize("seed", range(3))
def test_backward_and_grad_agree(seed):
    rng = np.random.default_rng(seed)
    x, W, b = (tg.parameter(rng.standard_normal(shape)) for shape in [(4, 3), (3, 2), (2,)])
    loss = (tg.softmax(tg.tanh(x @ W + b)) ** 2).mean()
    loss.backward()
    for leaf, gradient in zip((x, W, b), tg.grad(loss, [x, W, b]), strict=True):
        assert_allclose(leaf.grad.value, gradient.value, rtol=1e-14)


# ---- errors


def test_a_tensor_that_the_output_does_not_depend_on_is_an_error_that_names_it():
    x, other = tg.tensor(1.0, name="x"), tg.tensor(1.0, name="W3")
    with pytest.raises(tg.GradientError, match="W3"):
        tg.grad(x * x, [x, other])


def test_a_path_through_a_comparison_alone_is_no_path():
    x = tg.tensor([1.0, 2.0], name="x")
    with pytest.raises(tg.GradientError, match="x"):
        tg.grad(tg.where(x > 0, 1.0, 2.0).sum(), [x])


def test_unreached_zeros_have_the_shape_and_dtype_of_the_tensor():
    x, other = tg.tensor(2.0), tg.tensor(np.ones((2, 3), "float32"))
    dx, zeros = tg.grad(x * x, [x, other], unreached="zeros")
    assert float(dx) == 4.0
    assert (zeros.shape, zeros.dtype) == ((2, 3), np.float32)
    assert not zeros.value.any()


def test_a_misspelt_choice_for_unreached_is_an_error():
    x, other = tg.tensor(2.0), tg.tensor(3.0)
    with pytest.raises((tg.TinygraphError, ValueError), match="zeros"):
        tg.grad(x * x, [other], unreached="zero")


def test_an_output_that_is_not_a_scalar_needs_a_cotangent():
    x = tg.tensor([1.0, 2.0])
    for attempt in (lambda: tg.grad(x * x, [x]), lambda: (x * x).backward()):
        with pytest.raises(tg.GradientError, match="cotangent"):
            attempt()


def test_one_element_is_scalar_enough():
    x = tg.tensor([[3.0]])
    assert_array_equal(scalar_grad(x * x, x).value, [[6.0]])


@pytest.mark.parametrize("cotangent", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_cotangent_of_the_wrong_shape_is_refused(cotangent):
    x = tg.tensor([1.0, 2.0])
    attempts = [
        lambda: tg.grad(x * x, [x], cotangent=cotangent),
        lambda: tg.grad(x * x, [x], cotangent=tg.tensor(cotangent)),
        lambda: (x * x).backward(cotangent),
        lambda: (x * x).backward(tg.tensor(cotangent)),
    ]
    for attempt in attempts:
        with pytest.raises(tg.ShapeError, match="cotangent"):
            attempt()
    assert x.grad is None


@pytest.mark.parametrize("cotangent", ["ones", [1j, 2.0], [None, 1.0], np.array([1j, 1j])])
def test_a_cotangent_that_is_not_real_numbers_is_refused(cotangent):
    x = tg.tensor([1.0, 2.0])
    for attempt in (lambda: tg.grad(x * x, [x], cotangent=cotangent), lambda: (x * x).backward(cotangent)):
        with pytest.raises(tg.TinygraphError):
            attempt()


def test_a_complex_tensor_is_no_cotangent_of_a_real_output():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(tg.TinygraphError):
        tg.grad(x * x, [x], cotangent=tg.tensor([1j, 1j]))


@pytest.mark.parametrize("dtype", [int, bool])
def test_integers_have_no_gradients(dtype):
    x = tg.tensor(np.ones((), dtype), name="labels")
    with pytest.raises(tg.GradientError):
        tg.grad(x + x, [x])
    with pytest.raises(tg.GradientError):
        (x + x).backward()


def test_an_integer_leaf_of_a_floating_output_has_no_gradient():
    x, labels = tg.tensor(2.0), tg.tensor(3, name="labels")
    with pytest.raises(tg.GradientError, match="labels"):
        tg.grad(x * labels, [x, labels])
    (x * labels).backward()
    assert float(x.grad) == 3.0
    assert labels.grad is None


@pytest.mark.parametrize("wrt", [["x"], [None], [np.ones(2)], "x", None, 3])
def test_gradients_are_taken_with_respect_to_tensors(wrt):
    x = tg.tensor(1.0, name="x")
    with pytest.raises(tg.TinygraphError, match="tensor"):
        tg.grad(x * x, wrt)


@pytest.mark.parametrize("output", [3.0, np.ones(()), None, "x", [tg.tensor(1.0)]])
def test_the_output_must_be_a_tensor(output):
    with pytest.raises(tg.TinygraphError, match="tensor"):
        tg.grad(output, [tg.tensor(1.0)])


def test_backward_without_a_value_is_an_error_that_says_what_to_do():
    x = tg.input("x", ())
    with pytest.raises(tg.GradientError, match=r"tg\.run"):
        (x * x).backward()


def test_backward_of_constants_is_an_error():
    with pytest.raises(tg.GradientError):
        (tg.constant(2.0) * 3).backward()


# ---- no recursion


LONG = part(100_000)


def test_a_long_chain_of_nodes_records_differentiates_and_dies():
    assert sys.getrecursionlimit() <= 3000
    x = tg.tensor(1.0, name="x")
    y = chain(LONG, x)
    assert float(y) == 1.0
    dx = scalar_grad(y, x)
    assert float(dx) == 1.0
    y.backward()
    assert float(x.grad) == 1.0
    del y, dx
    gc.collect()
    assert (x * 2).inputs[0] is x


def test_a_long_chain_of_nodes_prints_and_runs():
    x = tg.input("x", (), dtype="float64")
    y = x
    for _ in range(LONG):
        y = y + x
    graph = tg.Graph(y)
    assert len(graph.nodes) == LONG + 1
    assert str(graph).count("x") > LONG
    dx = scalar_grad(y, x)
    assert tg.run([y, dx], {"x": 2.0}) == (2.0 * (LONG + 1), LONG + 1)
    del y, graph, dx
    gc.collect()
