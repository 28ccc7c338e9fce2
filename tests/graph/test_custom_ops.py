"""Operations of the user: ``@tg.op`` and ``tg.Op``, attributes, and what they are refused."""

import inspect
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.gradients import product, scalar_grad, squared

# What a test registers is forgotten after it.
pytestmark = pytest.mark.usefixtures("registry")


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


# ---- shape rules that would not be used


def test_a_shape_rule_of_an_elementwise_class_is_refused():
    with pytest.raises(tg.OperationError, match=r"^scaled: it is elementwise.* remove the rule, or elementwise=True$"):

        class Scaled(tg.Op):
            elementwise = True

            def shape(self, x):
                return x.shape

            def forward(self, x):
                return 2 * x


def test_a_shape_rule_of_an_elementwise_function_is_refused(capped):
    with pytest.raises(tg.OperationError, match=r"^capped: it is elementwise.* remove the rule"):
        capped.shape(lambda x: x.shape)
    assert capped(tg.input("x", (2, 3))).shape == (2, 3)


def test_a_dtype_rule_of_a_function_without_a_shape_rule_is_refused(capped):
    with pytest.raises(tg.OperationError, match=r"^capped: result_dtype .* let forward return that dtype$"):
        capped.result_dtype(lambda x: np.dtype("float16"))

    @tg.op
    def halves(x):
        return x / 2

    with pytest.raises(tg.OperationError, match=r"^halves: result_dtype .* write a shape rule first$"):
        halves.result_dtype(lambda x: np.dtype("float16"))
    halves.shape(lambda x: x.shape)
    halves.result_dtype(lambda x: np.dtype("float16"))
    assert halves(tg.tensor([1.0, 3.0])).dtype == "float16"


@pytest.mark.parametrize("is_elementwise", [True, False])
def test_a_dtype_rule_of_a_class_without_a_shape_rule_is_refused(is_elementwise):
    class Halves(tg.Op):
        elementwise = is_elementwise

        def result_dtype(self, x):
            return np.dtype("float16")

        def forward(self, x):
            return x / 2

    with pytest.raises(tg.OperationError, match=r"^halves: result_dtype is used together with a shape rule"):
        tg.register(Halves)


def test_a_function_refuses_values_of_attributes(registry):
    @tg.op(elementwise=True)
    def scaled(x, *, factor: float = 1.0, shift: float = 0.0):
        return x * factor + shift

    @scaled.check_attributes
    def scaled_check_attributes(*, factor):
        if factor <= 0:
            raise tg.AttributeValueError(f"scaled: factor must be positive; found {factor}")

    assert scaled(2.0, factor=3.0, shift=1.0) == 7.0
    for x in (2.0, tg.input("x", (2,))):
        with pytest.raises(tg.AttributeValueError, match="factor must be positive"):
            scaled(x, factor=-1.0)
    with pytest.raises(tg.AttributeValueError, match="'wrong', which is not an attribute"):
        scaled.check_attributes(lambda *, wrong: None)
    with pytest.raises(tg.TinygraphError, match=r"by keyword: def name\(\*, factor, shift\)"):
        scaled.check_attributes(lambda factor: None)
