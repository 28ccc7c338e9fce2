"""Mistakes that would go unnoticed if nothing said so."""

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg


def test_a_tensor_is_no_position():
    A = tg.input("A", (4,))
    with pytest.raises(tg.TinygraphError):
        A[A > 3]
    with pytest.raises(tg.AttributeValueError, match=r"positions are fixed when a graph is recorded.*\.value"):
        tg.tensor([1.0, 2.0])[tg.tensor([0, 1])]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(tg.ShapeError, match="getitem"):
        tg.tensor(np.ones((3, 4)))[np.array([True, False])]


def test_a_mask_takes_its_elements():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    mask = np.array([[True, False], [False, True]])
    assert_array_equal(x[mask].value, [1.0, 4.0])
    x[mask].sum().backward()
    assert_array_equal(x.grad, mask)


@pytest.mark.parametrize("index", [slice(1.7, None), True, slice(None, None, 0), "a", 1.0])
def test_an_odd_index_is_refused(index):
    with pytest.raises(tg.AttributeValueError, match="getitem"):
        tg.tensor([1.0, 2.0])[index]


def test_attributes_that_compare_equal_are_told_apart(registry):
    @tg.op
    def filled(x, *, value: Any):
        return np.full(x.shape, value)

    x = tg.input("x", (2,))
    assert (filled(x, value=1).dtype.kind, filled(x, value=1.0).dtype.kind) == ("i", "f")
    assert filled(x, value=np.array([1.0, 2.0])).shape == (2,)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_small_integers_do_not_wrap(dtype):
    numbers = np.array([[0, 1, 5]], dtype)
    reals = numbers.astype(float)
    for function in (tg.sigmoid, tg.softplus, tg.gelu, tg.softmax, tg.log_softmax, tg.logsumexp):
        assert_allclose(function(numbers), function(reals), err_msg=function.name)
    assert_allclose(tg.mse(numbers, numbers[:, ::-1]), tg.mse(reals, reals[:, ::-1]))
    assert_allclose(tg.cross_entropy(numbers, np.array([0])), tg.cross_entropy(reals, np.array([0])))


def test_labels_are_not_cut_to_the_type_of_logits():
    assert_allclose(
        tg.bce(tg.sigmoid(tg.tensor([1, 2])), [0.3, 0.7]).value, tg.bce(tg.sigmoid(np.array([1.0, 2.0])), [0.3, 0.7])
    )


def test_a_result_has_the_dtype_that_was_recorded():
    p = tg.input("p", (2,))
    loss = tg.mse(p, np.zeros(2))
    assert tg.run(loss, {"p": [1.0, 2.0]})[0].dtype == loss.dtype


def test_a_forward_whose_type_contradicts_its_rule_is_an_error(registry):
    class Halved(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            return x / 2

    with pytest.raises(tg.OperationError, match="forward returned float64; its result_dtype says int64"):
        Halved()(tg.tensor([1, 2]))


def test_a_rule_that_uses_an_array_again_is_noticed(registry):
    kept = np.zeros(1)

    @tg.op(elementwise=True)
    def doubled(x):
        return 2 * x

    @doubled.vjp
    def doubled_vjp(dy, y, x):
        kept[...] = 2 * dy
        return kept

    p, q = tg.tensor([1.0]), tg.tensor([2.0])
    with pytest.raises(tg.RuleError, match=r"doubled: its gradient rule failed: .*read-only"):
        (doubled(p) * 3 + doubled(q) * 2).sum().backward()


def test_gradients_from_threads_add_up():
    x = tg.tensor(1.0)
    threads = [threading.Thread(target=lambda: [(x * 1.0).backward() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert x.grad.value == 200


def test_a_model_can_be_recorded_from_threads():
    model, errors = tg.load_model("residual"), []

    def trace():
        try:
            model.trace({"Inp": np.zeros((3, 1, 8, 8)), "y": np.zeros(3, int)})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=trace) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tg.op(forumla="x")(lambda x: x), "no option 'forumla'; did you mean 'formula'"),
        (lambda: tg.op(_with_default), r"write \* before the attribute 'slope'"),
        (lambda: tg.op(_without_tensors), "forward takes no tensor"),
        (lambda: tg.op(_with_taken_name), "cannot be called 'shape'"),
    ],
)
def test_an_operation_that_is_written_wrongly_is_refused(make, says, registry):
    with pytest.raises(tg.TinygraphError, match=says):
        make()


def _with_default(x, slope=0.1):
    return x


def _without_tensors(*, slope: float = 0.1):
    return slope


def _with_taken_name(x, *, shape: int = 1):
    return x


def test_two_results_are_refused(registry):
    @tg.op
    def twice(x):
        return x, x

    with pytest.raises(tg.OperationError, match="twice: forward returned a tuple"):
        twice(tg.tensor([1.0]))


def test_an_elementwise_operation_keeps_its_word(registry):
    @tg.op(elementwise=True)
    def total(x):
        return x.sum()

    with pytest.raises(tg.OperationError, match="it is elementwise, so the shape must be"):
        total(tg.tensor([1.0, 2.0]))


def test_one_hot_refuses_a_class_out_of_range():
    with pytest.raises(tg.DataError, match=r"class numbers must lie in 0 to 2"):
        tg.one_hot(np.array([7]), 3)


def test_the_size_of_a_huge_tensor_does_not_overflow():
    assert tg.input("z", (10**9, 10**9)).size == 10**18
    with pytest.raises(tg.ShapeError, match="larger than any array can be"):
        tg.input("z", (10**12, 10**12))


@pytest.mark.parametrize("loss", [tg.mse, tg.bce, tg.bce_with_logits])
def test_losses_of_one_number_are_differentiated(loss):
    x = tg.tensor(0.5)
    (dx,) = tg.grad(loss(x, 1.0), [x])
    x.grad = None
    loss(x, 1.0).backward()
    assert dx.value == x.grad.value


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_powers_at_zero_have_their_derivatives(exponent):
    x = tg.tensor(0.0)
    (d,) = tg.grad(x**exponent, [x])
    assert d.value == (1.0 if exponent == 1 else 0.0)
    (dd,) = tg.grad(d, [x], unreached="zeros")
    assert dd.value == (2.0 if exponent == 2 else 0.0)


def test_bce_looks_behind_a_reshaped_sigmoid():
    z = tg.tensor(np.float32([[40.0], [-1e4]]))
    cost = tg.bce(tg.flatten(tg.sigmoid(z), 0), np.float32([0.0, 1.0]))
    (dz,) = tg.grad(cost, [z])
    assert cost.value == pytest.approx((40 + 1e4) / 2)
    assert_array_equal(dz.value, [[0.5], [-0.5]])


def test_complex_outputs_are_not_differentiated():
    with pytest.raises(tg.GradientError, match="only real floating point numbers"):
        tg.grad(tg.tensor(1j) * 1.0, [])


def test_a_number_out_of_range_is_a_clear_error():
    with pytest.raises(tg.DTypeError, match="the number 300 is out of range for uint8"):
        tg.tensor(np.uint8([1])) + 300


def test_the_gelu_of_huge_numbers_has_a_gradient():
    x = tg.tensor(np.float32([-1e20, 1e20]))
    tg.gelu(x, "tanh").sum().backward()
    assert_array_equal(x.grad, [0.0, 1.0])


def test_means_of_half_precision_do_not_overflow():
    assert tg.mean(np.ones(100_000, np.float16)) == 1.0


def test_recordings_of_many_batch_sizes_are_not_kept():
    model = tg.load_model("xor")
    for batch in range(1, 40):
        model.record(batch)
    assert len(model._recordings) <= 8


def test_a_model_can_be_copied():
    model = tg.load_model("xor")
    model.parameters["B2"].value = [3.0]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(twin.predict([[0.0, 1.0]]), model.predict([[0.0, 1.0]]))
        assert twin.parameters["B2"] is not model.parameters["B2"]


def test_a_tensor_handed_to_a_model_is_cast():
    model = tg.load_model("xor")
    assert model(tg.tensor([[1, 0]])).dtype == model([[1, 0]]).dtype == np.float32


def test_max_of_two_in_a_model_is_a_hint_rather_than_an_axis():
    with pytest.raises(tg.ModelError, match=r"for two write maximum\(...\)"):
        tg.Model({"x": [3]}, {}, "h = max(x, 0)", "h")


def test_a_model_without_a_name_is_called_after_its_file(tmp_path):
    text = tg.model.bundled_models()["xor"].read_text().replace('name = "xor"\n', "")
    (tmp_path / "mine.toml").write_text(text)
    assert tg.load_model(tmp_path / "mine.toml").name == "mine"


def test_a_tensor_is_formatted_like_a_number():
    assert f"{tg.tensor(0.12345):.3f}" == "0.123"


def test_arrays_like_a_tensor_take_its_shape_and_dtype():
    x = tg.input("x", (2, 3))
    assert np.zeros_like(x).shape == (2, 3)
    assert np.ones_like(x).dtype == np.float32


def test_attributes_take_numpy_integers():
    assert tg.reshape(tg.tensor(np.ones(4)), tuple(np.array([2, 2]))).shape == (2, 2)
    assert tg.reshape(tg.tensor(np.ones(4)), np.array([2, 2])).shape == (2, 2)


def test_a_name_with_a_line_break_stays_in_its_line():
    y = tg.tensor([1.0]) * 2
    y.name = "a\nb = 3"
    assert len(str(tg.Graph(y)).splitlines()) == 2


def test_a_masked_array_keeps_its_mask_to_itself():
    with pytest.raises(tg.DTypeError, match="a masked array would lose its mask"):
        tg.tensor(np.ma.masked_array([1.0, 2.0], [True, False]))


def test_an_annotation_that_means_nothing_is_refused(registry):
    with pytest.raises(tg.TinygraphError, match="an annotation means nothing here: name 'Nonsense' is not defined"):

        @tg.op
        def mine(x, *, size: "Nonsense" = 1):  # noqa: F821
            return x


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("{x} + {z}", r"its formula names \{z\}; known are 'x'"),
        ("{x:d}", r"its formula names \{x\}; known are 'x', without a format"),
        ("{x", "its formula cannot be read"),
    ],
)
def test_a_formula_speaks_of_what_there_is(formula, says, registry):
    with pytest.raises(tg.TinygraphError, match=says):

        @tg.op(formula=formula)
        def mine(x):
            return x


def test_labels_may_be_a_tensor_where_predictions_are_an_array():
    y = tg.tensor([[0.25]], name="y")
    (dy,) = tg.grad(tg.bce(np.array([[0.5]]), y), [y])
    assert dy.value == 0.0


def test_a_list_is_multiplied_from_the_left():
    x = tg.tensor([[1.0], [2.0]])
    assert_array_equal(([[3.0, 4.0]] @ x).value, [[11.0]])
    assert_array_equal((+x).value, x.value)


@pytest.mark.parametrize("text", ["where(x > 0, 1.0, 0.0)", "where(x > 0, 1.0, 0)", "where(x[:, :1] > 0, 0.5, -0.5)"])
def test_a_choice_between_numbers_has_the_dtype_of_the_model(text):
    for dtype in ("float32", "float64"):
        model = tg.Model({"x": [2]}, {"W": {"shape": [2], "init": "ones"}}, f"h = {text}\no = h * W", "o", dtype=dtype)
        recording = model.record(3)
        assert {str(node.dtype) for node in recording.graph.nodes if node.dtype.kind == "f"} == {dtype}
        np.testing.assert_array_equal(
            model.predict([[1.0, -1.0]]), tg.run(recording.output, {"x": [[1.0, -1.0]] * 3})[0][:1]
        )
