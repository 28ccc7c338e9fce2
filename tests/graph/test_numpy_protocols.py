"""NumPy functions and operators on tensors record operations, or refuse."""

import operator

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg

X = np.array([[0.5, -1.25, 2.0], [3.0, 0.25, -0.75]])

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
    with pytest.raises(tg.AttributeValueError, match=r"numpy.swapaxes on tensors: .*axis 3 is out of bounds"):
        x.swapaxes(0, 3)


# ---- what NumPy is refused


@pytest.mark.parametrize(
    "call",
    [np.linalg.inv, np.fft.fft, np.median, lambda x: np.gradient(x), np.frexp],
    ids=["inv", "fft", "median", "gradient", "frexp"],
)
def test_a_function_without_operation_is_an_error(call, x):
    with pytest.raises(tg.UnknownNameError):
        call(x)


@pytest.mark.parametrize("function", [np.frexp, np.median, np.linalg.inv, np.nextafter], ids=name_of)
def test_the_error_names_the_function(function, x):
    arguments = (x, x) if function is np.nextafter else (x,)
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
        ("ord 3", lambda x: np.linalg.norm(x, 3)),
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
