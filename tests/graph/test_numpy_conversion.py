"""Tensors as NumPy sees them: properties, conversion, containers and lists."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg

X = np.array([[0.5, -1.25, 2.0], [3.0, 0.25, -0.75]])

# ---- questions NumPy may ask


def test_questions_about_values_are_answered(x):
    assert np.allclose(x, X)
    assert not np.allclose(x, X + 1)
    assert np.array_equal(x, X)
    assert_array_equal(np.isfinite(x), np.isfinite(X))
    assert not np.isnan(x).any()
    assert not np.any(np.isinf(x))


def test_questions_about_shapes_are_answered(x):
    assert np.shape(x) == (2, 3)
    assert np.ndim(x) == 2
    assert np.size(x) == 6


def test_shapes_are_known_without_values():
    x = tg.input("x", (2, 3))
    assert np.shape(x) == (2, 3)
    assert np.ndim(x) == 2
    assert np.size(x) == 6
    assert len(x) == 2


def test_testing_functions_take_tensors(x):
    assert_array_equal(x, X)
    assert_allclose(x, X)
    with pytest.raises(AssertionError):
        assert_allclose(x, X + 1)


def test_argmax_of_a_prediction(x):
    assert_array_equal(np.argmax(x.value, axis=1), np.argmax(X, axis=1))


# ---- conversion


def test_asarray_gives_the_value(x):
    assert_array_equal(np.asarray(x), X)
    assert np.asarray(x).dtype == x.dtype
    assert type(np.asarray(x)) is np.ndarray


def test_asarray_with_a_dtype_converts(x):
    assert np.asarray(x, dtype="float32").dtype == np.float32


def test_array_makes_a_copy_of_the_callers_own(x):
    copy = np.array(x)
    copy[:] = 0
    assert_array_equal(x.value, X)


def test_asarray_without_a_copy_that_would_need_one_is_refused(x):
    with pytest.raises(ValueError):
        np.asarray(x, dtype="float32", copy=False)


def test_asarray_of_a_shape_only_tensor_is_an_error():
    with pytest.raises(tg.ValueUnavailable, match="Inp"):
        np.asarray(tg.input("Inp", (2,)))


def test_a_list_of_tensors_is_refused_because_it_would_lose_its_history():
    values = [tg.tensor(1.0), tg.tensor(2.0) * 2]
    assert_array_equal(np.array([float(value) for value in values]), [1.0, 4.0])
    for use in (tg.tensor, lambda v: tg.tensor([1.0, 2.0]) + v, lambda v: tg.concatenate([tg.tensor([1.0]), v])):
        with pytest.raises(tg.DTypeError, match="a list of tensors would lose what they were made from"):
            use(values)


def test_numbers_of_one_element():
    assert float(tg.tensor(2.5)) == 2.5
    assert int(tg.tensor(2)) == 2
    assert tg.tensor([[2.5]]).item() == 2.5
    assert type(tg.tensor(2.5).item()) is float
    assert bool(tg.tensor(1.0))
    assert not tg.tensor(0.0)


@pytest.mark.parametrize("convert", [bool, float, int, lambda x: x.item()], ids=["bool", "float", "int", "item"])
def test_several_elements_are_no_number(convert, x):
    with pytest.raises((ValueError, TypeError)):
        convert(x)


# ---- containers, identity and comparison


def test_a_tensor_is_a_sequence_of_its_rows(x):
    assert len(x) == 2
    rows = list(x)
    assert [type(row) for row in rows] == [tg.Tensor] * 2
    assert_array_equal(rows[1].value, X[1])
    first, second = x
    assert_array_equal(tg.grad((first * second).sum(), [x])[0].value, X[::-1])


def test_rows_of_a_shape_only_tensor():
    rows = list(tg.input("x", (2, 3)))
    assert [row.shape for row in rows] == [(3,), (3,)]


def test_a_scalar_has_no_length_and_no_rows():
    with pytest.raises(TypeError):
        len(tg.tensor(1.0))
    with pytest.raises(TypeError):
        iter(tg.tensor(1.0))


def test_an_index_out_of_range_is_an_error(x):
    with pytest.raises((IndexError, tg.TinygraphError)):
        x[5]


def test_tensors_are_told_apart_by_identity_in_sets_and_dictionaries():
    x, twin = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0])
    assert len({x, twin, x}) == 2
    table = {x: "x", twin: "twin"}
    assert table[x] == "x"
    assert table[twin] == "twin"
    assert hash(x) == hash(x)


def test_a_changed_value_does_not_change_the_hash():
    x = tg.parameter([1.0])
    table = {x: "found"}
    x.value = [2.0]
    assert table[x] == "found"


def test_comparison_is_elementwise():
    x = tg.tensor([1.0, 2.0, 3.0])
    for result, expected in [
        (x == np.array([1.0, 0.0, 3.0]), [True, False, True]),
        (np.array([1.0, 0.0, 3.0]) == x, [True, False, True]),
        (x != 2.0, [True, False, True]),
        (x > 2, [False, False, True]),
        (x <= 2, [True, True, False]),
        (x == tg.tensor([1.0, 2.0, 0.0]), [True, True, False]),
    ]:
        assert type(result) is tg.Tensor
        assert result.dtype == bool
        assert_array_equal(result.value, expected)


def test_a_tensor_is_not_none():
    x = tg.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711


def test_methods_are_the_operations(x):
    for result, expected in [
        (x.sum(axis=0), X.sum(axis=0)),
        (x.mean(), X.mean()),
        (x.max(axis=1, keepdims=True), X.max(axis=1, keepdims=True)),
        (x.min(), X.min()),
        (x.reshape(3, 2), X.reshape(3, 2)),
        (x.reshape((3, 2)), X.reshape(3, 2)),
        (x.transpose(), X.T),
        (x.transpose(1, 0), X.T),
        (x.transpose((1, 0)), X.T),
        (x.flatten(), X.flatten()),
        (x[None].squeeze(0), X),
        (x.T, X.T),
        (abs(x), abs(X)),
        (-x, -X),
    ]:
        assert type(result) is tg.Tensor
        assert_array_equal(result.value, expected)


# ---- lists that hold tensors


A_NUMBER, A_VECTOR = tg.tensor(3.0, name="x"), tg.tensor([1.0, 2.0], name="v")


# Functions of NumPy that would compute with the numbers of tensors in a list, or of one that they do not hand over.
LOSING = {
    "mean": lambda: A_NUMBER * 2 + np.mean([A_NUMBER, A_NUMBER + 2.0]),
    "mean of vectors": lambda: np.mean([A_VECTOR, A_VECTOR]),
    "sum": lambda: np.sum([A_NUMBER, 1.0]),
    "std": lambda: np.std((A_NUMBER, A_NUMBER)),
    "max": lambda: np.max([[A_NUMBER, 1.0], [2.0, A_NUMBER]]),
    "norm": lambda: np.linalg.norm([A_NUMBER, 1.0]),
    "full": lambda: np.full(3, A_NUMBER),
    "vectorize": lambda: np.vectorize(lambda number: number + 1)(A_VECTOR),
}


@pytest.mark.parametrize("name", LOSING)
def test_a_function_of_numpy_that_would_lose_a_gradient_is_refused(name):
    with pytest.raises(
        tg.TinygraphError, match=r"would compute with the numbers of tensor '[xv]' .* lose the gradient"
    ):
        LOSING[name]()


@pytest.mark.parametrize(
    "function",
    [
        lambda: (A_NUMBER * np.array([A_NUMBER, 1.0])).sum(),
        lambda: np.array([[A_NUMBER, 1.0], [1.0, A_NUMBER]]),
        lambda: np.asarray((A_NUMBER, A_NUMBER), np.float32),
        lambda: np.array([A_NUMBER], bool),
        lambda: np.add([A_NUMBER, 1.0], 2.0),
        lambda: np.dot([A_NUMBER, 1.0], [2.0, 3.0]),
        lambda: np.where([True, False], [A_NUMBER, 1.0], 0.0),
        lambda: np.ones(2) * [A_NUMBER, 1.0],
    ],
)
def test_an_array_of_a_list_that_holds_a_number_is_refused(function):
    # NumPy puts an error of its own in front.
    with pytest.raises(ValueError, match="sequence") as caught:
        function()
    assert isinstance(caught.value.__cause__, tg.TinygraphError)
    assert "a list that holds tensor 'x' () would lose the gradient" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "function",
    [
        lambda: np.array([A_VECTOR, A_VECTOR]),
        lambda: np.array([A_VECTOR, [1.0, 2.0]]),
        lambda: np.add([A_VECTOR], 1.0),
        lambda: np.ones(2) * (A_VECTOR,),
    ],
)
def test_an_array_of_a_list_that_holds_a_vector_warns(function):
    with pytest.warns(UserWarning, match=r"the numbers of tensor 'v' \(2,\) were copied into an array"):
        function()


@pytest.mark.filterwarnings("error")
def test_plots_take_tensors():
    matplotlib = pytest.importorskip("matplotlib")
    figure = pytest.importorskip("matplotlib.figure").Figure()
    x = tg.tensor([1.0, 2.0, 3.0]) * 2
    axes = figure.subplots()
    axes.scatter(x, x)
    bars = axes.bar([0, 1, 2], x)
    assert [bar.get_height() for bar in bars] == [2.0, 4.0, 6.0], matplotlib.__version__


def test_a_whole_tensor_becomes_an_array_where_it_is_asked_to():
    history, kept = np.zeros((3, 2)), []
    for i in range(3):
        kept.append(np.asarray(A_VECTOR))
        history[i] = A_VECTOR
        history[i, 0] = A_NUMBER
        assert np.array(A_NUMBER) == float(A_NUMBER) == np.asarray(A_NUMBER, np.float32) == np.float32(A_NUMBER)
        assert np.asarray(A_VECTOR).sum() == np.array(A_VECTOR, np.float32).sum() == 3
    assert_array_equal(history, [[3, 2]] * 3)
    assert_array_equal([np.asarray(x) for x in (A_VECTOR, A_VECTOR)], kept[:2])
    assert_array_equal([float(x) for x in (A_NUMBER, A_NUMBER)], [3, 3])


def test_arrays_of_tensors_are_dropped_silently_as_python_ends():
    code = "import numpy as np, tinygraph as tg; v = tg.tensor([1.0, 2.0]); a = np.asarray(v); b = [np.asarray(v)]"
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == ended.stderr == ""


@pytest.mark.filterwarnings("error")
def test_questions_and_tests_take_lists_of_tensors():
    assert np.allclose([A_NUMBER, A_NUMBER], 3.0)
    assert_allclose([A_NUMBER, A_NUMBER], 3.0)
    assert_array_equal([A_VECTOR, A_VECTOR], [[1, 2], [1, 2]])
