"""NumPy's functions on tensors: values, dtypes and gradients in many forms of call, and refusals of what is not there."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests import numpy_reach

X = np.array([[0.53, -1.27, 2.1], [3.2, 0.26, -0.77]])
Y = np.array([[1.52, 0.73, -2.53], [0.41, -1.1, 2.2]])
V, W = X[0], Y[1]
CUBE = np.random.default_rng(0).standard_normal((2, 3, 4))
METHODS = ("abs", "ceil", "cos", "exp", "floor", "sign", "sin", "square", "tan", "tanh", "round")
GAP = np.array([0, np.nan, 0])
# These names of arguments came with NumPy 2.1.
NEW = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
PAIR, ONE, MANY = (X, Y), (X,), (CUBE,)

# For each function: the arrays that it is called on, and calls.
CALLS = {
    "append": (PAIR, lambda x, y: np.append(x, y), lambda x, y: np.append(x, y, axis=-1)),
    "arctan2": (PAIR, np.arctan2, lambda x, y: np.arctan2(x[0], y), lambda x, y: np.arctan2(x, 2.0)),
    "array_split": (MANY, lambda x: np.array_split(x, 3, axis=2)[1], lambda x: np.array_split(x, [1, 3], axis=-1)[2]),
    "around": (ONE, lambda x: np.around(x, 1), lambda x: np.round(x * 100, decimals=-2), np.round),
    "atleast_1d": (ONE, np.atleast_1d, lambda x: np.atleast_1d(x[0, 0]), lambda x: np.atleast_1d(x, x[0, 0])[1]),
    "atleast_2d": (
        ONE,
        lambda x: np.atleast_2d(x[0]),
        lambda x: np.atleast_2d(x[0, 0]),
        lambda x: np.atleast_2d(x, V)[0],
    ),
    "atleast_3d": (MANY, np.atleast_3d, lambda x: np.atleast_3d(x[0]), lambda x: np.atleast_3d(x[0, 0])),
    "cbrt": (ONE, np.cbrt),
    "clip": (
        PAIR,
        *(
            lambda x, y: np.clip(x, -1, 1),
            lambda x, y: np.clip(x, a_min=0, a_max=None),
            *([lambda x, y: np.clip(x, max=1.0)] if NEW else []),
        ),
        *(
            lambda x, y: np.clip(x, y, y + 0.3),
            *([lambda x, y: np.clip(x, min=V - 0.1, max=None)] if NEW else []),
            lambda x, y: x.clip(-1, 1),
        ),
        lambda x, y: np.clip(a=x, a_min=-1.5, a_max=0.0),
    ),
    "column_stack": (
        PAIR,
        lambda x, y: np.column_stack([x[0], y[0], V]),
        lambda x, y: np.column_stack((x, y, x[:, 0])),
    ),
    "copy": (ONE, np.copy, lambda x: x.copy()),
    "cross": (
        PAIR,
        *(
            np.cross,
            lambda x, y: np.cross(x[0], y),
            lambda x, y: np.cross(x, V),
            lambda x, y: np.cross(x.T, y, axisa=0),
        ),
        *(lambda x, y: np.cross(x.T, y.T, axis=0), lambda x, y: np.cross(x, y, axisc=0), np.linalg.cross),
    ),
    "cumprod": (MANY, np.cumprod, lambda x: np.cumprod(x, axis=1), lambda x: np.cumprod(x, -1), lambda x: x.cumprod(0)),
    "cumprod with zeros": ((np.array([2.0, 0.0, 3.0, 0.0, 5.0]),), np.cumprod),
    "cumsum": (MANY, np.cumsum, lambda x: np.cumsum(a=x, axis=1), lambda x: x.cumsum(axis=-1)),
    "degrees": (ONE, np.degrees, np.rad2deg),
    "delete": (
        MANY,
        lambda x: np.delete(x, 1),
        lambda x: np.delete(x, [0, 2], axis=2),
        lambda x: np.delete(x, slice(1), 1),
    ),
    "diag": (
        (X, V),
        *(lambda x, v, k=k: np.diag(x, k) for k in (-2, -1, 0, 1, 5)),
        *(lambda x, v, k=k: np.diag(v, k) for k in (-1, 0, 2)),
    ),
    "diagflat": (ONE, np.diagflat, lambda x: np.diagflat(x, k=-1)),
    "diagonal": (
        MANY,
        *(np.diagonal, lambda x: np.diagonal(x, 1), lambda x: np.diagonal(x, axis1=1, axis2=2), np.linalg.diagonal),
        *(
            lambda x: np.diagonal(x, offset=-1, axis1=-1, axis2=0),
            lambda x: x.diagonal(9),
            lambda x: x.diagonal(-1, 2, 1),
        ),
    ),
    "diff": (MANY, np.diff, lambda x: np.diff(x, n=2, axis=1), lambda x: np.diff(x, 0), lambda x: np.diff(x, axis=0)),
    "divmod": (
        PAIR,
        lambda x, y: np.divmod(x, y)[1],
        lambda x, y: np.divmod(x, y)[0],
        lambda x, y: divmod(5.3, y)[1],
        lambda x, y: x % y,
        lambda x, y: 2 % y,
    ),
    "dot": (
        (X, Y.T, CUBE, V),
        *(lambda x, y, c, v: np.dot(x, y), lambda x, y, c, v: np.dot(v, c), lambda x, y, c, v: np.dot(v, v)),
        *(lambda x, y, c, v: np.dot(x, c), lambda x, y, c, v: np.dot(x, v)),
        *(
            lambda x, y, c, v: np.dot(c, np.ones((1, 4, 2))),
            lambda x, y, c, v: x.dot(y),
            lambda x, y, c, v: np.dot(X, y),
        ),
    ),
    "dsplit": (MANY, lambda x: np.dsplit(x, 2)[1], lambda x: np.dsplit(x, [1])[1]),
    "dstack": (PAIR, lambda x, y: np.dstack([x, y]), lambda x, y: np.dstack([x[0], y[0]]), lambda x, y: np.dstack(x)),
    "einsum": (
        PAIR,
        *(lambda x, y: np.einsum("ij,kj->ik", x, y), lambda x, y: np.einsum(x, [0, 1], y, [2, 1], [0, 2])),
        *(lambda x, y: np.einsum(x, [1, 0]), lambda x, y: np.einsum(x, [..., 0], y, [..., 0], [...])),
        *(lambda x, y: np.einsum(x, [30, 2], y, [30, 4]), lambda x, y: np.einsum("ij , ij", x, Y)),
    ),
    "exp2": (ONE, np.exp2),
    "fabs": (ONE, np.fabs),
    "fix": (ONE, np.trunc),
    "fliplr": (MANY, np.fliplr, np.flipud, lambda x: np.flip(x, (0, -1)), np.flip),
    "floor_divide": (PAIR, np.floor_divide, lambda x, y: x // 0.65, lambda x, y: 2 // y, lambda x, y: x // y[0]),
    "fmax": (PAIR, np.fmax, np.fmin, lambda x, y: np.fmax(x, 0.3), lambda x, y: np.fmax(x, [np.nan, 0, 9])),
    "hsplit": (MANY, lambda x: np.hsplit(x, 3)[0], lambda x: np.hsplit(x[0, 0], [1, 2])[1]),
    "hstack": (PAIR, lambda x, y: np.hstack([x, y]), lambda x, y: np.hstack((x[0], V))),
    "inner": (
        (X, Y, CUBE),
        lambda x, y, c: np.inner(x, y),
        lambda x, y, c: np.inner(c, c[0]),
        lambda x, y, c: np.inner(x[0], y[0]),
    ),
    "kron": (PAIR, np.kron, lambda x, y: np.kron(x[0], y), lambda x, y: np.kron(CUBE, y)),
    "log2": ((np.abs(X),), np.log2, np.log10),
    "logaddexp": (
        PAIR,
        np.logaddexp,
        np.logaddexp2,
        lambda x, y: np.logaddexp(x, 0.0),
        lambda x, y: np.logaddexp2(1.0, y),
    ),
    "matmul": (PAIR, lambda x, y: np.linalg.matmul(x, y.T)),
    "matrix_transpose": (MANY, np.matrix_transpose, np.linalg.matrix_transpose),
    "mod": (PAIR, np.mod, np.remainder, np.fmod, lambda x, y: np.mod(x, -0.65)),
    "moveaxis": (
        MANY,
        lambda x: np.moveaxis(x, 0, -1),
        lambda x: np.moveaxis(x, [0, 1], [2, 0]),
        lambda x: np.moveaxis(x, source=2, destination=0),
    ),
    "multi_dot": (PAIR, lambda x, y: np.linalg.multi_dot([x, y.T, x])),
    "nan_to_num": (ONE, np.nan_to_num),
    "nansum": (ONE, np.nansum, lambda x: np.nansum(x + GAP, axis=0), lambda x: np.nanprod(x + GAP, 1, keepdims=True)),
    "outer": (PAIR, np.outer, lambda x, y: np.outer(x[0], V), lambda x, y: np.linalg.outer(x[0], y[0])),
    "pad": (
        ONE,
        *(lambda x, m=m: np.pad(x, ((1, 2), (0, 3)), m) for m in ("constant", "edge", "wrap", "symmetric", "reflect")),
        *(
            lambda x, w=w: np.pad(x, w)
            for w in (2, (1, 2), ((1, 2),), ((1, 0), (0, 2)), [1], np.array([[1, 2], [0, 1]]))
        ),
        lambda x: np.pad(array=x, pad_width=1, mode="constant", constant_values=2.5),
        lambda x: np.pad(x[0], (1, 2), constant_values=3),
    ),
    "partition": ((np.arange(4.0) ** 2,), lambda x: np.partition(x, 2)),
    "prod": (MANY, lambda x: x.prod(axis=(0, 1)), lambda x: np.prod(a=x, axis=-1, keepdims=True)),
    "ptp": (MANY, np.ptp, lambda x: np.ptp(x, axis=1), lambda x: np.ptp(x, (0, 2), keepdims=True)),
    "radians": (ONE, np.radians, np.deg2rad),
    "ravel": (MANY, np.ravel, lambda x: x.ravel(), lambda x: np.ravel(x[0, 0, 0]), lambda x: x.flatten()),
    "real": (ONE, np.real, np.conj, lambda x: x.conj()),
    "repeat": (
        MANY,
        lambda x: np.repeat(x, 2),
        lambda x: np.repeat(x, [1, 0, 2], axis=1),
        lambda x: x.repeat(3, axis=-1),
        lambda x: np.repeat(x, 0, 0),
    ),
    "reshape": (
        ONE,
        lambda x: np.reshape(x, (3, -1)),
        *([lambda x: np.reshape(x, shape=6)] if NEW else []),
        lambda x: np.reshape(x, 6, order="C"),
    ),
    "resize": (ONE, lambda x: np.resize(x, (4, 2)), lambda x: np.resize(x, 2)),
    "roll": (
        MANY,
        lambda x: np.roll(x, 5),
        lambda x: np.roll(x, (1, -2), axis=(0, 2)),
        lambda x: np.roll(x, -1, axis=-1),
        lambda x: np.roll(x, 2, (1, 2)),
    ),
    "rollaxis": (MANY, lambda x: np.rollaxis(x, 2), lambda x: np.rollaxis(x, axis=0, start=3)),
    "rot90": (MANY, *(lambda x, k=k: np.rot90(x, k) for k in (0, 1, 2, 3, -1)), lambda x: np.rot90(x, axes=(1, 2))),
    "select": (PAIR, lambda x, y: np.select([X > 1, X > 0], [x, y], default=3.0)),
    "sinc": ((np.append(X, 0.0),), np.sinc),
    "sort": (MANY, np.sort, lambda x: np.sort(x, axis=None), lambda x: np.sort(x, 1)),
    "split": (
        MANY,
        lambda x: np.split(x, 2)[1],
        lambda x: np.split(x, [1, 3], axis=-1)[1],
        lambda x: np.split(x, (2,), 1)[0],
    ),
    "square": (ONE, np.square),
    "squeeze": (
        MANY,
        lambda x: np.squeeze(x[:1]),
        lambda x: x[:, :1].squeeze(1),
        lambda x: x[:1, :, :1].squeeze(axis=(0, 2)),
    ),
    "stack": (
        PAIR,
        *(lambda x, y, a=a: np.stack([x, y, X], axis=a) for a in (0, 1, 2, -1, -3)),
        lambda x, y: np.stack(arrays=[x, y]),
    ),
    "std": (
        MANY,
        np.std,
        lambda x: np.std(x, axis=1),
        lambda x: np.std(x, (0, -1), ddof=1, keepdims=True),
        lambda x: x.std(ddof=2),
    ),
    "swapaxes": (
        MANY,
        lambda x: np.swapaxes(x, 0, 2),
        lambda x: x.swapaxes(-1, 1),
        lambda x: np.swapaxes(a=x, axis1=0, axis2=1),
    ),
    "take": (
        MANY,
        lambda x: np.take(x, [0, -1]),
        lambda x: x.take([[1], [2]], axis=1),
        lambda x: np.take(x, 1, axis=-1),
    ),
    "take_along_axis": (ONE, lambda x: np.take_along_axis(x, np.array([[0, 2], [1, 1]]), axis=1)),
    "tensordot": (
        (CUBE, X, Y),
        *(
            lambda c, x, y: np.tensordot(x, c),
            lambda c, x, y: np.tensordot(x, c, axes=([0], [0])),
            lambda c, x, y: np.tensordot(x, y, axes=0),
        ),
        *(lambda c, x, y: np.tensordot(x, c, ((0, 1), (0, 1))), lambda c, x, y: np.tensordot(c, x, (0, 0))),
        *(lambda c, x, y: np.tensordot(c, c, 3), lambda c, x, y: np.linalg.tensordot(x, y, axes=((1, 0), (1, 0)))),
    ),
    "trace": (
        MANY,
        np.trace,
        lambda x: np.trace(x, offset=1),
        lambda x: x.trace(axis1=1, axis2=-1),
        lambda x: np.linalg.trace(x, offset=-1),
    ),
    "tril": (MANY, np.tril, lambda x: np.tril(x, k=1), lambda x: np.triu(x, -1)),
    "var": (MANY, np.var, lambda x: np.var(x, axis=(0, 1)), lambda x: x.var(1, ddof=1, keepdims=True)),
    "vdot": (PAIR, np.vdot, lambda x, y: np.vdot(X, y)),
    "vecdot": (PAIR, np.vecdot, lambda x, y: np.vecdot(x, V)),
    "vsplit": (MANY, lambda x: np.vsplit(x, 2)[0], lambda x: np.vsplit(x, [1])[1]),
    "vstack": (PAIR, lambda x, y: np.vstack([x, y]), lambda x, y: np.vstack((x[0], y, V))),
    "numbers": (
        PAIR,
        *(
            lambda x, y: np.append(x, 3.0),
            lambda x, y: np.dot(2.0, x),
            lambda x, y: np.inner(x, 2),
            lambda x, y: np.kron(x, 2.0),
        ),
        *(
            lambda x, y: np.stack((x[0, 0], 2.0)),
            lambda x, y: np.hstack([x[0, 0], 2.0]),
            lambda x, y: np.vstack([x[0, 0], 1.0]),
        ),
        *(
            lambda x, y: np.select([x > 1, y > 0], [x * 2, 0.5]),
            lambda x, y: np.outer(2.0, y),
            lambda x, y: np.fmin(np.nan, x),
        ),
    ),
    "methods": (
        ONE,
        *(lambda x, n=n: getattr(x, n)() if isinstance(x, tg.Tensor) else getattr(np, n)(x) for n in METHODS),
    ),
}
EVERY = [
    pytest.param(arrays, call, id=f"{name}-{i}")
    for name, (arrays, *calls) in CALLS.items()
    for i, call in enumerate(calls)
]


def tensors(arrays):
    return [tg.tensor(x, name=name) for x, name in zip(arrays, "xyzw", strict=False)]


@pytest.mark.parametrize(("arrays", "call"), EVERY)
def test_values_and_gradients(arrays, call):
    """Values are NumPy's own, and the gradients of all tensors agree with differences."""
    leaves, expected = tensors(arrays), call(*arrays)
    y = call(*leaves)
    assert type(y) is tg.Tensor
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert_allclose(y.value, expected, rtol=1e-13, atol=1e-14)
    rng = np.random.default_rng(1)
    cotangent, directions = rng.standard_normal(y.shape), [rng.standard_normal(x.shape) for x in arrays]
    gradients = tg.grad(y, leaves, cotangent, unreached="zeros")
    ends = [call(*(x + step * d for x, d in zip(arrays, directions, strict=True))) for step in (1e-6, -1e-6)]
    slope = sum((dx.value * d).sum() for dx, d in zip(gradients, directions, strict=True))
    with np.errstate(invalid="ignore"):
        change = np.nan_to_num(ends[0] - ends[1]) / 2e-6
    assert_allclose(slope, (cotangent * change).sum(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("arrays", "call"), EVERY)
def test_recorded_with_shapes_alone_they_give_the_same(arrays, call):
    leaves = [tg.input(name, x.shape, x.dtype) for x, name in zip(arrays, "xyzw", strict=False)]
    y = call(*leaves)
    used = {leaf.name: x for leaf, x in zip(leaves, arrays, strict=True) if leaf in set(tg.Graph(y).nodes)}
    assert_array_equal(tg.run(y, used)[0], call(*tensors(arrays)).value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize(("arrays", "call"), [case for case in EVERY if not case.id.startswith("numbers")])
def test_dtypes_are_those_of_numpy(arrays, call, dtype):
    arrays = [np.abs(x * 2).astype(dtype) for x in arrays]
    try:
        expected = call(*arrays)
    except (TypeError, ValueError, OverflowError) as refused:
        pytest.skip(f"NumPy refuses it: {refused}")
    try:
        y = call(*tensors(arrays))
    except tg.DTypeError as refused:
        pytest.skip(str(refused))
    assert y.shape == expected.shape
    # Of small integers NumPy makes float16, and of products of booleans int8.
    assert y.dtype == expected.dtype or (expected.dtype, y.dtype) in [("float16", "float64"), ("int8", "bool")]
    rounding = {"float16": 4e-3, "float32": 1e-5}.get(expected.dtype.name, 1e-12)
    assert_allclose(np.asarray(y, float), expected.astype(float), rtol=rounding, atol=rounding)


def test_nothing_and_numbers_without_axes():
    empty, number = tg.tensor(np.zeros((0, 3))), tg.tensor(2.0)
    for call in (
        *(
            np.cumprod,
            np.sort,
            lambda x: np.stack([x, x]),
            lambda x: np.repeat(x, 2, 0),
            lambda x: np.roll(x, 1, 0),
            np.trace,
        ),
        *(
            np.diff,
            np.ravel,
            np.kron,
            np.diagflat,
            np.rot90,
            lambda x: np.array_split(x, 2)[1],
            lambda x: np.tensordot(x, X, (1, 1)),
        ),
        lambda x: np.pad(x, 1),
    ):
        found = call(empty, empty) if call is np.kron else call(empty)
        expected = call(empty.value, empty.value) if call is np.kron else call(empty.value)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    for call in (
        np.sinc,
        np.atleast_3d,
        np.ravel,
        np.std,
        np.nan_to_num,
        lambda x: np.outer(x, x),
        lambda x: x // 3,
        np.cumprod,
    ):
        assert_array_equal(call(number).value, call(2.0))


# ---- choices at kinks


@pytest.mark.parametrize(
    ("call", "x", "expected"),
    [
        (np.sinc, [0.0, 1.0], [0.0, -1.0]),
        (np.std, [3.0, 3.0], [0.0, 0.0]),
        (lambda x: np.mod(x, 2.0), [4.0, 1.0], [1.0, 1.0]),
        (lambda x: np.mod(5.0, x), [2.0, -2.0], [-2.0, 3.0]),
        (lambda x: x // 2, [4.0, 1.0], [0.0, 0.0]),
        (lambda x: np.fmax(x, np.array([1.0, np.nan])), [1.0, 1.0], [1.0, 1.0]),
        (np.sort, [2.0, 1.0, 2.0], [1.0, 1.0, 1.0]),
        (lambda x: np.arctan2(x, 0 * x), [0.0, 2.0], [0.0, 0.0]),
        (lambda x: np.nan_to_num(x), [2.0, np.inf, np.nan], [1.0, 0.0, 0.0]),
    ],
)
def test_gradients_at_kinks_and_ties(call, x, expected):
    x = tg.tensor(x)
    (dx,) = tg.grad(call(x).sum(), [x])
    assert_allclose(dx.value, expected, atol=1e-12)


def test_numbers_in_place_of_nan_and_infinity():
    x = np.array([1.5, np.nan, np.inf, -np.inf])
    for options in ({}, {"nan": 5.0}, {"posinf": 1.0, "neginf": -2.0}):
        assert_array_equal(np.nan_to_num(tg.tensor(x), **options).value, np.nan_to_num(x, **options))
    half = tg.tensor(x, dtype="float16")
    assert_array_equal(np.nan_to_num(half).value, np.nan_to_num(half.value))


# ---- questions and methods


def test_questions_about_values_give_plain_arrays():
    x = tg.tensor(X)
    for question in (np.all, np.any, np.argsort, np.count_nonzero, np.flatnonzero, np.nonzero, np.signbit, np.argwhere):
        answer = question(x)
        assert not isinstance(answer, tg.Tensor)
        assert_array_equal(answer, question(X))
    assert (x > -9).all()
    assert not (x > 9).any()
    assert np.result_type(1.0, tg.tensor([1.0], dtype="float32")) == np.result_type(1.0, np.ones(1, "float32"))
    assert not np.iscomplexobj(x)
    assert_array_equal(np.full_like(x, 7), np.full_like(X, 7))


def test_numbers_in_another_dtype():
    x = tg.tensor(X)
    y = x.astype(np.float32)
    assert y.dtype == np.float32
    assert_array_equal(tg.grad((y * 2).sum(), [x])[0].value, np.full(X.shape, 2.0))
    assert x.astype("int32").dtype == np.int32
    with pytest.raises(tg.DTypeError, match="astype: a dtype of numbers is needed; found <class 'str'>"):
        x.astype(str)


# ---- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.std(x, out=np.zeros(())), "numpy.std on tensors takes no option 'out'"),
        (lambda x: np.var(x, where=X > 0), "'where'"),
        (lambda x: np.var(x, mean=1.0), "'mean'"),
        (lambda x: np.sort(x, order="a"), "'order'"),
        (lambda x: np.ravel(x, order="F"), "'order'"),
        (lambda x: np.reshape(x, 6, order="F"), "'order'"),
        (lambda x: np.stack([x, x], dtype="float32"), "'dtype'"),
        (lambda x: np.concatenate([x, x], dtype="float32"), "'dtype'"),
        (lambda x: np.trace(x, dtype="float32"), "'dtype'"),
        (lambda x: np.dot(x, x.T, out=np.zeros((2, 2))), "'out'"),
        (lambda x: np.einsum("ij", x, out=X), "'out'"),
        (lambda x: np.diff(x, prepend=0.0), "'prepend'"),
        (lambda x: np.pad(x, 1, "reflect", reflect_type="odd"), "'reflect_type'"),
        (
            lambda x: np.pad(x, 1, "edge", constant_values=1.0),
            "constant_values with mode 'constant' only; found mode 'edge'",
        ),
        (lambda x: np.pad(x, 1, constant_values=(1, 2)), "value must be float"),
        (lambda x: np.pad(x, 1, "mean"), "mode must be 'constant' or .* found 'mean'"),
        (lambda x: np.clip(x, 0.0, 1.0, dtype="float32"), "'dtype'"),
        (lambda x: np.clip(x, a_min=0.0, a_max=1.0, max=2.0), "or min and max, not both"),
        (lambda x: np.take(x, [0], mode="wrap"), "'mode'"),
        (lambda x: np.take(x, [9]), "indices must lie in -6 to 5; found 9"),
        (lambda x: np.moveaxis(x, 5, 0), "axis 5 is out of bounds for array of dimension 2"),
        (lambda x: np.stack([x, x[0]]), "stack: concatenate"),
        (lambda x: np.stack([x, x], axis=4), "stack: expand_dims: .* axis 4 is out of range for 3 axes"),
        (lambda x: np.repeat(x, -1), "repeat.*negative"),
        (lambda x: np.roll(x, 1, 7), "numpy.roll on tensors: .*axis 7 is out of bounds"),
        (lambda x: np.split(x, 4), "split"),
        (lambda x: np.cross(x[:, :2], x[:, :2]), "vectors of 3 numbers; found shapes"),
        (lambda x: np.einsum(x, [0, -1]), "numbers of axes from 0 to 51"),
        (lambda x: np.tensordot(x, x, 1), "einsum"),
        (lambda x: np.diag(np.stack([x, x])), "numpy.diag on tensors: Input must be 1- or 2-d"),
        (lambda x: np.diagonal(x, axis1=1, axis2=1), "numpy.diagonal on tensors: axis1 and axis2 cannot be the same"),
        (lambda x: np.std(x, ddof=6), "no variance of 6 numbers with correction 6"),
        (lambda x: np.linalg.inv(x), "numpy.inv cannot be recorded"),
        (lambda x: np.diff(x, n=-1), "n must not be negative"),
        (lambda x: np.full_like(x, x[0, 0]), "numpy.copyto cannot be recorded"),
        (lambda x: np.cumprod(x, axis=2), "cumprod: axis 2 is out of range"),
        (lambda x: np.sort(x, kind="stable"), "'kind'"),
    ],
)
def test_what_is_not_there_is_refused_in_words(call, message):
    with pytest.raises(tg.TinygraphError, match=message):
        call(tg.tensor(X, name="x"))


def test_a_list_of_tensors_names_stack():
    x = tg.tensor([1.0, 2.0])
    with pytest.warns(UserWarning, match="join tensors with tg.stack"):
        np.array([x, x])
    with pytest.raises(tg.DTypeError, match=re.escape("join them with tg.stack")):
        tg.tensor([x, x])


# ---- the count


def test_functions_that_take_tensors_are_called_here_or_elsewhere():
    counted, known = numpy_reach.functions(), numpy_reach.taken()
    assert {np.stack, np.kron, np.sinc, np.linalg.norm} <= known & set(counted)
    assert np.linalg.svd not in known
