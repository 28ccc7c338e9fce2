"""Operations of the user's own: how they are made, what the engine does for them, and how their mistakes are reported."""

import inspect
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS


@pytest.fixture(autouse=True)
def registry():
    """Forget what a test registers."""
    operations, functions = dict(OPERATIONS), dict(NUMPY_FUNCTIONS)
    yield
    OPERATIONS.clear()
    OPERATIONS.update(operations)
    NUMPY_FUNCTIONS.clear()
    NUMPY_FUNCTIONS.update(functions)


def scalar_grad(output, x, **options):
    (gradient,) = tg.grad(output, [x], **options)
    return gradient


def attempts(output, *leaves):
    """The two ways to ask for gradients, which must fail alike."""
    return [lambda: tg.grad(output, leaves), output.backward]


def squared(rule=None, **options):
    """An operation ``mine(x) = x * x`` with the given gradient rule."""

    @tg.op(**options)
    def mine(x):
        return x * x

    if rule is not None:
        mine.vjp(rule)
    return mine


def product(rule, **options):
    """An operation ``mine(u, v) = u * v`` with the given gradient rule."""

    @tg.op(elementwise=True)
    def mine(u, v):
        return u * v

    mine.vjp(rule, **options)
    return mine


# ---- the softplus of the plan


@pytest.fixture
def softplus():
    with pytest.warns(UserWarning, match="softplus"):

        @tg.op(formula="log(1 + exp({x}))")
        def softplus(x):
            return np.logaddexp(0, x)

    @softplus.vjp
    def softplus_vjp(dy, y, x):
        return dy * tg.sigmoid(x)

    return softplus


def test_softplus_computes_and_records(softplus):
    x = tg.tensor([-1.0, 0.0, 2.0], name="x")
    y = softplus(x)
    assert y.op.name == "softplus"
    assert y.inputs[0] is x
    assert_allclose(y.value, np.log(1 + np.exp(x.value)), rtol=1e-15)
    assert_array_equal(softplus(x.value), y.value)


def test_softplus_is_differentiated_three_times(softplus):
    x = tg.tensor([-1.0, 0.5])
    s = 1 / (1 + np.exp(-x.value))
    first = scalar_grad(softplus(x).sum(), x)
    second = scalar_grad(first.sum(), x)
    third = scalar_grad(second.sum(), x)
    assert_allclose(first.value, s, rtol=1e-14)
    assert_allclose(second.value, s * (1 - s), rtol=1e-14)
    assert_allclose(third.value, s * (1 - s) * (1 - 2 * s), rtol=1e-13)


def test_softplus_is_found_by_its_name_and_replaces_the_built_in_one(softplus):
    assert tg.operation("softplus") is softplus
    assert tg.operations()["softplus"] is softplus


def test_softplus_records_without_values_and_runs(softplus):
    x = tg.input("x", (2, 3))
    y = softplus(x)
    assert (y.shape, y.dtype) == ((2, 3), np.float32)
    (dx,) = tg.grad(y.sum(), [x])
    assert_allclose(tg.run(dx, {"x": np.zeros((2, 3))})[0], np.full((2, 3), 0.5))


def test_softplus_is_printed_as_an_equation(softplus):
    x = tg.tensor(1.0, name="x")
    assert "= softplus(x)" in str(tg.Graph(softplus(x)))


def test_softplus_keeps_its_formula(softplus):
    assert softplus(tg.tensor(1.0)).op.formula == "log(1 + exp({x}))"


def test_a_new_name_is_registered_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine = squared()
    assert tg.operation("mine") is mine
    assert list(tg.operations())[-1] == "mine"


# ---- attributes


@pytest.fixture
def capped():
    @tg.op(formula="min({x}, {limit})", elementwise=True)
    def capped(x, *, limit: float = 6.0, soft: bool = False):
        """The smaller of x and a limit."""
        return np.minimum(x, limit)

    @capped.vjp
    def capped_vjp(dy, y, x, *, limit):
        return dy * (x < limit)

    return capped


def test_keyword_only_arguments_are_attributes(capped):
    x = tg.tensor([1.0, 7.0])
    assert_array_equal(capped(x).value, [1.0, 6.0])
    assert_array_equal(capped(x, limit=0.5).value, [0.5, 0.5])
    assert capped(x, limit=2).op.attributes() == {"limit": 2.0, "soft": False}


def test_a_rule_names_the_attributes_it_needs(capped):
    x = tg.tensor([1.0, 7.0])
    assert_array_equal(scalar_grad(capped(x, limit=3.0).sum(), x).value, [1.0, 0.0])


def test_attributes_are_printed_where_they_differ_from_the_default(capped):
    x = tg.tensor([1.0, 7.0], name="x")
    assert "= capped(x) " in str(tg.Graph(capped(x, limit=6.0)))
    assert "= capped(x, limit=3.0)" in str(tg.Graph(capped(x, limit=3.0)))


def test_an_attribute_of_the_wrong_type_is_refused(capped):
    with pytest.raises(tg.AttributeValueError, match=r"capped.*limit"):
        capped(tg.tensor(1.0), limit="much")


def test_an_unknown_attribute_is_refused_with_the_nearest_name(capped):
    with pytest.raises((tg.TinygraphError, TypeError), match=r"limt.*limit"):
        capped(tg.tensor(1.0), limt=3.0)


@pytest.mark.parametrize("count", [0, 3])
def test_a_wrong_number_of_inputs_is_refused_by_name(count):
    mine = product(lambda dy, y, u, v: (dy * v, dy * u))
    with pytest.raises((tg.TinygraphError, TypeError), match="mine"):
        mine(*[tg.tensor(1.0)] * count)


def test_the_docstring_is_kept(capped):
    assert "smaller of x and a limit" in capped.__doc__
    assert capped.__name__ == "capped"


@pytest.fixture
def window_sum():
    @tg.register
    @dataclass(frozen=True)
    class WindowSum(tg.Op):
        """Sum of each run of ``width`` elements of a vector."""

        width: int
        scale: float = 1.0
        formula = "S_{width}({x})"

        def shape(self, x):
            if x.ndim != 1 or x.shape[0] < self.width:
                self.refuse([x], f"a vector of at least {self.width} elements is needed")
            return (x.shape[0] - self.width + 1,)

        def forward(self, x):
            return self.scale * np.convolve(x, np.ones(self.width, x.dtype), "valid")

        def vjp(self, dy, y, x):
            spread = tg.pad(dy, self.width - 1)
            return self.scale * sum(spread[i : i + x.shape[0]] for i in range(self.width))

    return tg.operation("window_sum")


def test_a_registered_class_is_called_by_its_name(window_sum):
    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    assert_array_equal(window_sum(x, width=2).value, [3.0, 5.0, 7.0])
    assert_array_equal(window_sum(x, 3, scale=10.0).value, [60.0, 90.0])
    assert window_sum(x, width=2).op.name == "window_sum"


def test_a_registered_class_is_differentiated(window_sum):
    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    y = window_sum(x, width=2)
    assert_array_equal(scalar_grad(y, x, cotangent=[1.0, 10.0, 100.0]).value, [1.0, 11.0, 110.0, 100.0])
    dx = scalar_grad((y * y).sum(), x)
    assert_array_equal(scalar_grad(dx[0], x).value, [2.0, 2.0, 0.0, 0.0])


def test_its_shape_rule_serves_recordings_without_values(window_sum):
    x = tg.input("x", (5,))
    assert window_sum(x, width=4).shape == (2,)


def test_its_shape_rule_refuses_alike_with_and_without_values(window_sum):
    for x in (tg.tensor(np.ones((2, 2)), name="Z2"), tg.input("Z2", (2, 2))):
        with pytest.raises(tg.ShapeError, match=r"window_sum.*\(2, 2\)"):
            window_sum(x, width=2)


def test_its_attributes_are_validated_once(window_sum):
    with pytest.raises(tg.AttributeValueError, match=r"window_sum.*width"):
        window_sum(tg.tensor([1.0, 2.0]), width=1.5)
    with pytest.raises((tg.TinygraphError, TypeError), match="width"):
        window_sum(tg.tensor([1.0, 2.0]))


def test_its_attributes_are_printed(window_sum):
    x = tg.tensor([1.0, 2.0, 3.0], name="x")
    text = str(tg.Graph(window_sum(x, 2, scale=0.5)))
    assert "window_sum(x, 2, scale=0.5)" in text or "window_sum(x, width=2, scale=0.5)" in text


def test_operations_with_equal_attributes_are_equal(window_sum):
    x = tg.tensor([1.0, 2.0, 3.0])
    assert window_sum(x, 2).op == window_sum(x, width=2).op
    assert window_sum(x, 2).op != window_sum(x, 3).op


def test_numpy_functions_can_be_given_to_an_operation():
    @tg.op(numpy=[np.sin])
    def sine(x):
        return np.sin(x)

    @sine.vjp
    def sine_vjp(dy, y, x):
        return dy * tg.operation("cosine")(x)

    @tg.op(numpy=[np.cos])
    def cosine(x):
        return np.cos(x)

    @cosine.vjp
    def cosine_vjp(dy, y, x):
        return -dy * np.sin(x)

    x = tg.tensor([0.3, 1.2])
    y = np.sin(x)
    assert y.op.name == "sine"
    for expected in (np.cos(x.value), -np.sin(x.value), -np.cos(x.value)):
        y = scalar_grad(y.sum(), x)
        assert_allclose(y.value, expected, rtol=1e-15)


def test_a_shape_learnt_by_running_forward_agrees_with_the_value():
    @tg.op
    def outer(u, v):
        return np.multiply.outer(u, v)

    recorded = outer(tg.input("u", (2,)), tg.input("v", (3,)))
    eager = outer(tg.tensor(np.ones(2, "float32")), tg.tensor(np.ones(3, "float32")))
    assert (recorded.shape, recorded.dtype) == (eager.shape, eager.dtype) == ((2, 3), np.float32)


@pytest.fixture
def stretch():
    @tg.op
    def stretch(
        x,
        *,
        times: int = 1,
        window: int | tuple[int, int] = 2,
        mode: Literal["same", "valid"] = "same",
        sizes: tuple[int, ...] = (),
        label: str | None = None,
        gain: float = 1.0,
    ):
        return x * times * gain

    return stretch


@pytest.mark.parametrize(
    "attributes",
    [
        {"times": 3},
        {"window": (1, 2)},
        {"window": [1, 2]},
        {"mode": "valid"},
        {"sizes": (1, 2, 3)},
        {"label": "a"},
        {"label": None},
        {"gain": 2},
        {"times": np.int64(3)},
        {"gain": np.float32(0.5)},
    ],
    ids=str,
)
def test_attributes_that_fit_their_annotation(stretch, attributes):
    kept = stretch(tg.tensor(1.0), **attributes).op.attributes()
    for name, value in attributes.items():
        assert kept[name] == (tuple(value) if isinstance(value, list) else value)
    hash(stretch(tg.tensor(1.0), **attributes).op)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"times": 1.5}, "int"),
        ({"times": True}, "int"),
        ({"times": None}, "int"),
        ({"window": (1, 2, 3)}, "int or a pair of int"),
        ({"window": ("a", 2)}, "int or a pair of int"),
        ({"mode": "sane"}, "'same' or 'valid'"),
        ({"sizes": 3}, "a tuple of int"),
        ({"sizes": (1, 2.5)}, "a tuple of int"),
        ({"label": 3}, "str or None"),
        ({"gain": "loud"}, "float"),
        ({"gain": 1j}, "float"),
    ],
    ids=str,
)
def test_attributes_that_do_not_fit_are_refused_and_the_expectation_is_told(stretch, attributes, expected):
    (name,) = attributes
    with pytest.raises(tg.AttributeValueError, match=rf"stretch.*{name}.*{expected}"):
        stretch(tg.tensor(1.0), **attributes)


def test_a_call_may_give_tensors_and_attributes_by_keyword_or_place(capped):
    x = tg.tensor([1.0, 7.0])
    for y in (capped(x=x, limit=2.0), capped(x, 2.0), capped(limit=2.0, x=x)):
        assert_array_equal(y.value, [1.0, 2.0])


def test_an_argument_given_twice_is_refused(capped):
    x = tg.tensor(1.0)
    with pytest.raises((tg.TinygraphError, TypeError), match=r"capped.*limit.*twice"):
        capped(x, 2.0, limit=3.0)
    with pytest.raises((tg.TinygraphError, TypeError), match=r"capped.*'x'"):
        capped(x, x=x)


def test_too_many_arguments_are_refused(capped):
    with pytest.raises((tg.TinygraphError, TypeError), match=r"capped.*4"):
        capped(tg.tensor(1.0), 1.0, True, 5)


@pytest.mark.parametrize("inputs", [[], "x", 3.0, tg.tensor(1.0)], ids=["empty", "text", "number", "tensor"])
def test_an_operation_on_a_list_needs_a_list(inputs):
    with pytest.raises((tg.TinygraphError, TypeError), match="concatenate"):
        tg.concatenate(inputs)


def test_the_signature_is_shown(capped):
    assert list(inspect.signature(capped).parameters) == ["x", "limit", "soft"]
    assert inspect.signature(capped).parameters["limit"].default == 6.0
    assert "capped" in repr(capped)


def test_an_unknown_operation_is_refused_with_the_nearest_name(capped):
    with pytest.raises(tg.UnknownNameError, match="did you mean 'capped'"):
        tg.operation("caped")


def test_the_table_of_operations_cannot_be_changed_by_mistake():
    with pytest.raises(TypeError):
        tg.operations()["mine"] = None


def test_an_operation_without_forward_says_so():
    @dataclass(frozen=True)
    class Unwritten(tg.Op):
        def shape(self, x):
            return x.shape

    with pytest.raises(tg.OperationError, match=r"unwritten.*forward"):
        tg.apply(Unwritten(), [tg.tensor(1.0)])


def test_a_later_rule_replaces_the_earlier_one():
    mine = squared(lambda dy, y, x: dy)
    x = tg.tensor(3.0)
    assert float(scalar_grad(mine(x), x)) == 1.0
    mine.vjp(lambda dy, y, x: dy * 2 * x)
    assert float(scalar_grad(mine(x), x)) == 6.0


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
    mine = squared(lambda dy, y, x: dy * np.cbrt(x))
    x = tg.tensor(3.0)
    with pytest.raises(tg.UnknownNameError, match="cbrt"):
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


@pytest.mark.parametrize("wrong", ["not frozen", "no dataclass", "no Op"])
def test_what_is_no_operation_is_not_registered(wrong):
    if wrong == "not frozen":

        @dataclass
        class Mine(tg.Op):
            def forward(self, x):
                return x
    elif wrong == "no dataclass":

        class Mine(tg.Op):
            width: int

            def forward(self, x):
                return x
    else:

        class Mine:
            pass

    with pytest.raises((tg.TinygraphError, TypeError), match="Mine"):
        tg.register(Mine)
    assert "mine" not in tg.operations()
