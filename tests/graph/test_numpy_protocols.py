"""Tensors among NumPy's functions and Python's operators: what records, what answers, what is refused."""

import operator
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg

X = np.array([[0.5, -1.25, 2.0], [3.0, 0.25, -0.75]])


@pytest.fixture
def x():
    return tg.tensor(X, name="x")


# ---- NumPy's functions record operations

UFUNCS = {
    np.exp: "exp",
    np.expm1: "expm1",
    np.tanh: "tanh",
    np.negative: "negative",
    np.abs: "abs",
    np.sign: "sign",
    np.sin: "sin",
    np.cos: "cos",
    np.tan: "tan",
    np.arctan: "atan",
    np.sinh: "sinh",
    np.cosh: "cosh",
    np.arcsinh: "asinh",
    np.reciprocal: "reciprocal",
    np.floor: "floor",
    np.ceil: "ceil",
    np.trunc: "trunc",
    np.rint: "round",
    np.logical_not: "logical_not",
}
POSITIVE_UFUNCS = {np.log: "log", np.log1p: "log1p", np.sqrt: "sqrt"}
BINARY_UFUNCS = {
    np.add: "add",
    np.subtract: "subtract",
    np.multiply: "multiply",
    np.divide: "divide",
    np.true_divide: "divide",
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.greater: "greater",
    np.greater_equal: "greater_equal",
    np.less: "less",
    np.less_equal: "less_equal",
    np.equal: "equal",
    np.not_equal: "not_equal",
    np.hypot: "hypot",
    np.remainder: "mod",
    np.fmod: "mod",
    np.logical_and: "logical_and",
    np.logical_or: "logical_or",
    np.logical_xor: "logical_xor",
}


def name_of(function):
    return function.__name__


@pytest.mark.parametrize("ufunc", [*UFUNCS, *POSITIVE_UFUNCS], ids=name_of)
def test_a_ufunc_of_one_tensor_records_its_operation(ufunc):
    array = np.abs(X) + 0.1 if ufunc in POSITIVE_UFUNCS else X
    y = ufunc(tg.tensor(array))
    assert type(y) is tg.Tensor
    assert y.op.name == (UFUNCS | POSITIVE_UFUNCS)[ufunc]
    assert_array_equal(y.value, ufunc(array))


@pytest.mark.parametrize("ufunc", BINARY_UFUNCS, ids=name_of)
def test_a_ufunc_of_two_records_its_operation_wherever_the_tensor_stands(ufunc, x):
    other = np.array([1.0, 0.25, -2.0])
    for result, expected in [
        (ufunc(x, other), ufunc(X, other)),
        (ufunc(other, x), ufunc(other, X)),
        (ufunc(x, 0.25), ufunc(X, 0.25)),
        (ufunc(0.25, x), ufunc(0.25, X)),
        (ufunc(x, x), ufunc(X, X)),
    ]:
        assert result.op.name == BINARY_UFUNCS[ufunc]
        assert_array_equal(result.value, expected)


def test_powers(x):
    assert_array_equal(np.power(x, 2).value, X**2)
    assert_array_equal(np.power(2.0, x).value, 2.0**X)


FUNCTIONS = {
    "sum": lambda x: np.sum(x),
    "sum of columns": lambda x: np.sum(x, axis=0),
    "sum by place": lambda x: np.sum(x, 1),
    "sum keepdims": lambda x: np.sum(x, axis=(0, 1), keepdims=True),
    "mean": lambda x: np.mean(x, axis=1),
    "max": lambda x: np.max(x, axis=0),
    "min": lambda x: np.min(x, axis=-1, keepdims=True),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "reshape to line": lambda x: np.reshape(x, -1),
    "transpose": lambda x: np.transpose(x),
    "transpose axes": lambda x: np.transpose(x, (1, 0)),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "concatenate with arrays": lambda x: np.concatenate((np.ones((1, 3)), x)),
    "where": lambda x: np.where(x > 0, x, 0.0),
    "where with an array condition": lambda x: np.where(X > 0, x, -x),
    "clip": lambda x: np.clip(x, -1.0, 1.0),
    "matmul": lambda x: np.matmul(x, X.T),
    "matmul with the array first": lambda x: np.matmul(X.T, x),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 0), axis=0),
    "flip": lambda x: np.flip(x, axis=1),
    "pad": lambda x: np.pad(x, ((1, 0), (0, 2))),
    "broadcast_to": lambda x: np.broadcast_to(x, (4, 2, 3)),
    "pad edge": lambda x: np.pad(x, 1, "edge"),
    "pad reflect": lambda x: np.pad(x, ((1, 0), (0, 2)), mode="reflect"),
    "pad constant": lambda x: np.pad(x, 1, constant_values=3.0),
    "prod": lambda x: np.prod(x, axis=1),
    "cumsum": lambda x: np.cumsum(x),
    "cumsum of rows": lambda x: np.cumsum(x, axis=1),
    "take": lambda x: np.take(x, [0, 4, 4]),
    "take columns": lambda x: np.take(x, np.array([[2, 0]]), axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[0, 2], [1, 1]]), 1),
    "take_along_axis repeated": lambda x: np.take_along_axis(x, np.array([[0, 2]]), 1),
    "tile": lambda x: np.tile(x, (2, 1, 2)),
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "split at": lambda x: np.split(x, [1, 2], axis=1)[2],
    "triu": lambda x: np.triu(x, 1),
    "tril": lambda x: np.tril(x),
    "einsum": lambda x: np.einsum("ij,ik->jk", x, X),
    "einsum of a trace": lambda x: np.einsum("ii", np.tile(x, (3, 2))[:6]),
    "einsum dots": lambda x: np.einsum("...i,i->...", x, X[0], optimize=True),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_numpy_function_records_and_computes_what_numpy_does(function, x):
    y = FUNCTIONS[function](x)
    assert type(y) is tg.Tensor
    assert y.op is not None
    assert_array_equal(y.value, FUNCTIONS[function](X))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_numpy_function_is_differentiated_as_an_array_function(function, x):
    y = FUNCTIONS[function](x)
    rng = np.random.default_rng(0)
    cotangent, direction = rng.standard_normal(y.shape), rng.standard_normal(X.shape)
    (dx,) = tg.grad(y, [x], cotangent=cotangent)

    step = 1e-6
    change = FUNCTIONS[function](X + step * direction) - FUNCTIONS[function](X - step * direction)
    assert_allclose((dx.value * direction).sum(), (cotangent * change / (2 * step)).sum(), rtol=1e-7)


NORMS = {
    "all": {},
    "rows": {"axis": 1, "keepdims": True},
    "sizes of columns": {"ord": 1, "axis": 0},
    "lengths of columns": {"ord": 2, "axis": 0},
    "matrix": {"ord": "fro"},
    "matrices": {"axis": (0, 1)},
}


@pytest.mark.parametrize("given", NORMS.values(), ids=NORMS)
def test_norms_are_those_of_numpy(given, x):
    y = np.linalg.norm(x, **given)
    assert y.op.name in ("l1_norm", "l2_norm")
    assert_allclose(y.value, np.linalg.norm(X, **given), rtol=1e-15)


def test_numpy_functions_record_without_values_too():
    x = tg.input("x", (2, 3), dtype="float64")
    y = np.sum(np.exp(x) * np.float64(2.0), axis=0)
    assert not y.has_value
    assert_allclose(tg.run(y, {"x": X})[0], np.sum(2 * np.exp(X), axis=0), rtol=1e-15)


# ---- operators with arrays and NumPy scalars on either side


@pytest.mark.parametrize(
    "combine", [operator.add, operator.sub, operator.mul, operator.truediv, operator.gt, operator.le]
)
@pytest.mark.parametrize("other", [X + 3, np.array([2.0, 3.0, 4.0]), np.float64(2.5), np.array(2.5), 3, 2.5, True])
def test_operators_with_arrays_and_numbers_on_either_side(combine, other, x):
    for result, expected in [(combine(x, other), combine(X, other)), (combine(other, x), combine(other, X))]:
        assert type(result) is tg.Tensor
        assert result.shape == X.shape
        assert_array_equal(result.value, expected)


def test_an_array_times_a_tensor_is_one_node_not_an_array_of_nodes(x):
    y = X * x
    assert type(y) is tg.Tensor
    assert y.inputs[1] is x
    assert_array_equal(tg.grad(y.sum(), [x])[0].value, X)


def test_a_numpy_scalar_on_the_left_keeps_the_tensor(x):
    y = np.float64(3.0) * x
    assert type(y) is tg.Tensor
    assert_array_equal(y.value, 3 * X)


def test_a_numpy_scalar_is_not_weak_but_a_python_number_is():
    x = tg.tensor(np.ones(2, "float32"))
    assert (x * np.float64(2)).dtype == (x.value * np.float64(2)).dtype == np.float64
    assert (np.float32(2) * x).dtype == np.float32
    assert (2.0 * x).dtype == np.float32


def test_matmul_with_an_array_on_the_left(x):
    y = X.T @ x
    assert type(y) is tg.Tensor
    assert y.op.name == "matmul"
    assert_array_equal(y.value, X.T @ X)
    (dx,) = tg.grad(y, [x], cotangent=np.eye(3))
    assert_allclose(dx.value, X)


def test_in_place_operators_of_arrays_do_not_swallow_a_tensor(x):
    array = X.copy()
    with pytest.raises((TypeError, tg.TinygraphError)):
        array += x
    assert_array_equal(array, X)


@pytest.mark.parametrize("combine", [operator.and_, operator.or_, operator.xor])
@pytest.mark.parametrize("other", [X > 1, np.array([True, False, True]), np.True_, False])
def test_truth_values_are_joined_with_truth_values_on_either_side(combine, other, x):
    for result, expected in [
        (combine(x > 0, other), combine(X > 0, other)),
        (combine(other, x > 0), combine(X > 0, other)),
    ]:
        assert type(result) is tg.Tensor
        assert_array_equal(result.value, expected)


def test_not_is_written_with_a_sign(x):
    assert_array_equal((~(x > 0)).value, ~(X > 0))
    assert np.bitwise_and(x > 0, ~(x > 0)).op.name == "logical_and"


def test_bits_of_numbers_are_refused(x):
    for call in (
        lambda: x & x,
        lambda: (x > 0) & 1,
        lambda: 1 | (x > 0),
        lambda: ~x,
        lambda: np.invert(x),
        lambda: x ^ X,
    ):
        with pytest.raises(tg.DTypeError, match=r"booleans, such as .*; found (float|int)64"):
            call()


def test_floor_division_and_remainder_are_refused(x):
    for combine in (operator.floordiv, operator.mod):
        with pytest.raises((TypeError, tg.UnknownNameError)):
            combine(x, 2)


def test_operators_with_strangers_raise_type_errors(x):
    for stranger in ("text", None, object(), {"a": 1}):
        with pytest.raises(TypeError):
            _ = x + stranger
        with pytest.raises(TypeError):
            _ = stranger * x


def test_axes_are_swapped_by_method_and_by_function():
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4))
    for y in (x.swapaxes(0, -1), np.swapaxes(x, 0, -1), np.swapaxes(x, axis1=-1, axis2=0)):
        assert_array_equal(y.value, x.value.swapaxes(0, -1))
    with pytest.raises(tg.ShapeError, match="swapaxes: axis 3 is out of range for 3 axes"):
        x.swapaxes(0, 3)


# ---- what NumPy is refused


@pytest.mark.parametrize(
    "call",
    [np.linalg.inv, np.sort, np.cumprod, np.fft.fft, np.median, lambda x: np.diff(x), np.sinc, np.cbrt],
    ids=["inv", "sort", "cumprod", "fft", "median", "diff", "sinc", "cbrt"],
)
def test_a_function_without_operation_is_an_error(call, x):
    with pytest.raises(tg.UnknownNameError):
        call(x)


@pytest.mark.parametrize("function", [np.cbrt, np.sort, np.linalg.inv, np.arctan2], ids=name_of)
def test_the_error_names_the_function(function, x):
    arguments = (x, x) if function is np.arctan2 else (x,)
    with pytest.raises(tg.UnknownNameError, match=name_of(function)):
        function(*arguments)


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("reduce", lambda x: np.add.reduce(x)),
        ("accumulate", lambda x: np.multiply.accumulate(x)),
        ("outer", lambda x: np.multiply.outer(x, x)),
        ("reduceat", lambda x: np.add.reduceat(x, [0, 1])),
        ("at", lambda x: np.add.at(x, 0, 1.0)),
    ],
)
def test_methods_of_ufuncs_are_refused_by_name(method, call, x):
    with pytest.raises(tg.TinygraphError, match=method):
        call(x)


@pytest.mark.parametrize(
    ("option", "call"),
    [
        ("out", lambda x: np.exp(x, out=np.empty((2, 3)))),
        ("out", lambda x: np.add(x, 1, out=np.empty((2, 3)))),
        ("out", lambda x: np.add(X, X, out=x)),
        ("where", lambda x: np.exp(x, where=X > 0)),
        ("dtype", lambda x: np.add(x, 1, dtype="float32")),
        ("out", lambda x: np.sum(x, out=np.empty(()))),
        ("where", lambda x: np.sum(x, where=X > 0)),
        ("initial", lambda x: np.max(x, initial=0.0)),
        ("dtype", lambda x: np.sum(x, dtype="float32")),
        ("order", lambda x: np.reshape(x, (3, 2), order="F")),
        ("mode", lambda x: np.pad(x, 1, mode="median")),
        ("end_values", lambda x: np.pad(x, 1, end_values=1.0)),
        ("mode", lambda x: np.take(x, [0], mode="clip")),
        ("dtype", lambda x: np.cumsum(x, 0, dtype="float32")),
        ("order", lambda x: np.linalg.norm(x, 3)),
        ("decimals", lambda x: np.round(x, decimals=1)),
    ],
)
def test_options_that_no_operation_has_are_refused_by_name(option, call, x):
    with pytest.raises((tg.TinygraphError, TypeError), match=option):
        call(x)


def test_a_ufunc_with_an_output_leaves_the_output_alone(x):
    out = np.zeros((2, 3))
    with pytest.raises((tg.TinygraphError, TypeError)):
        np.exp(x, out)
    assert not out.any()


def test_a_wrong_shape_in_a_numpy_function_is_a_shape_error(x):
    with pytest.raises(tg.ShapeError, match="add"):
        np.add(x, np.ones(5))
    with pytest.raises(tg.ShapeError, match="matmul"):
        _ = X @ x


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
