"""What the certificate cannot know of single families: values by other means, extremes, choices, messages."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.sweeps import part

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
SMOOTH = ["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "reciprocal"]
BOUNDED = ["elu", "selu", "celu", "silu", "mish", "softsign", "log_sigmoid", "hard_sigmoid", "hard_swish", "relu6"]


def gradient(function, *arrays):
    leaves = [tg.tensor(x) for x in arrays]
    return [dx.value for dx in tg.grad(function(*leaves).sum(), leaves, unreached="zeros")]


# ---- smooth functions and activations


@pytest.mark.parametrize("name", [*SMOOTH, *BOUNDED, "floor", "l1_norm", "l2_norm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_dtype_is_kept_forwards_and_backwards(name, dtype):
    x = tg.tensor(np.array([1.5, 1.25]) if name == "acosh" else np.array([0.5, 0.25]), dtype=dtype)
    y = getattr(tg, name)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("name", [*SMOOTH, *BOUNDED[:-1], "l1_norm", "l2_norm"])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_whole_numbers_become_real(name, dtype):
    numbers = np.array([0, 0] if name in ("asin", "acos", "atanh") else [1, 5], dtype)
    function = getattr(tg, name)
    found = function(numbers)
    assert found.dtype == np.float64
    assert_allclose(found, function(numbers.astype(float)))


@pytest.mark.parametrize("name", [*BOUNDED, "atan", "asinh", "sin", "l2_norm", "l1_norm", "hypot"])
def test_huge_numbers_overflow_nowhere(name):
    x = np.array([-1e300, -800.0, 800.0, 1e300])
    arrays = [x, x] if name == "hypot" else [x]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = getattr(tg, name)(*arrays)
        assert all(np.isfinite(dx).all() for dx in gradient(getattr(tg, name), *arrays))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("loss", [tg.l1, tg.huber, tg.smooth_l1])
def test_losses_on_differences_overflow_nowhere(loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(loss(np.array([1e300, -1e300]), np.zeros(2)))
        assert np.isfinite(gradient(loss, np.array([1e300, -1e300]), np.zeros(2))).all()


def test_rounding_goes_to_even_and_has_no_gradient():
    assert_array_equal(tg.round(np.array([-2.5, -1.5, 0.5, 1.5])), [-2.0, -2.0, 0.0, 2.0])
    for function in (tg.floor, tg.ceil, tg.trunc, tg.round):
        assert_array_equal(gradient(function, np.array([-2.5, 0.0, 1.0]))[0], np.zeros(3))


def test_powers_at_zero_and_below():
    assert_array_equal(gradient(lambda x: x**2, np.array([0.0, -3.0]))[0], [0.0, -6.0])
    assert_array_equal(gradient(lambda x: x**3, np.array([-2.0]))[0], [12.0])
    assert_array_equal(gradient(lambda x: x**0, np.array([0.0, -2.0]))[0], [0.0, 0.0])


def test_questions_are_nodes():
    x = tg.input("x", (3,), dtype="float64")
    y = tg.logical_and(tg.logical_not(tg.isnan(x)), tg.logical_not(tg.isinf(x, positive=False)))
    assert y.dtype == bool
    assert_array_equal(tg.run(y, {"x": [np.nan, -np.inf, np.inf]})[0], [False, False, True])


# ---- products and running sums


def test_a_product_has_all_its_derivatives_where_factors_are_zero():
    """The third derivative of a b c d for three of them is the fourth factor, whatever those three are."""
    x = tg.tensor([0.0, 0.0, 0.0, 5.0])
    y = tg.prod(x)
    for place in range(3):
        (dx,) = tg.grad(y, [x])
        y = dx[place]
    assert y.item() == 5.0


@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 3.0]), min_size=0, max_size=9))
def test_the_gradient_of_a_product_is_the_product_of_the_others(numbers):
    expected = [math.prod(numbers[:i] + numbers[i + 1 :]) for i in range(len(numbers))]
    assert_array_equal(gradient(tg.prod, np.array(numbers))[0], expected)


def test_a_product_of_many_records_few_nodes():
    x = tg.tensor(np.ones(1000), name="x")
    (dx,) = tg.grad(tg.prod(x), [x])
    assert len(tg.Graph(dx).nodes) < 120


# ---- positions


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [np.array(1), np.array([2, 0, 0]), np.array([[0, -1], [1, 1]])])
def test_adding_at_positions_is_the_transpose_of_gathering(axis, indices):
    y = RNG.standard_normal(tg.gather(X, indices, axis).shape)
    assert_allclose(
        (tg.gather(X, indices, axis) * y).sum(), (X * tg.scatter_add(y, indices, X.shape[axis], axis)).sum()
    )


@given(st.data())
@settings(deadline=None, max_examples=part(50))
def test_adding_at_elements_and_coordinates_is_the_transpose_too(data):
    shape = data.draw(st.tuples(*[st.integers(1, 3)] * 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, axis = rng.standard_normal(shape), data.draw(st.integers(-3, 2))
    sizes = [data.draw(st.integers(1, 4 if i == axis % 3 else n)) for i, n in enumerate(shape)]
    places = rng.integers(-shape[axis], shape[axis], sizes)
    y = rng.standard_normal(sizes)
    assert_allclose(
        (tg.gather_elements(x, places, axis) * y).sum(), (x * tg.scatter_add_elements(y, places, shape, axis)).sum()
    )
    batch = data.draw(st.integers(0, 1))
    rows = rng.integers(0, shape[batch], (*shape[:batch], 4, 1))
    picked = tg.gather_nd(x, rows, batch_dims=batch)
    z = rng.standard_normal(picked.shape)
    assert_allclose((picked * z).sum(), (x * tg.scatter_add_nd(z, rows, shape, batch_dims=batch)).sum())


@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.gather(X, np.array([3])),
        lambda: tg.embedding(X, np.array([-4])),
        lambda: tg.gather_elements(X, np.array([[0, 0, 0, 3]])),
        lambda: tg.gather_nd(X, np.array([[0, 4]])),
        lambda: tg.scatter_add(X, np.array([0, 1, 2]), 2),
        lambda: tg.scatter_add_elements(X[:1], np.array([[0, 0, 0, 3]]), (3, 4)),
        lambda: tg.scatter_add_nd(X[:1, 0], np.array([[5]]), (5,)),
    ],
)
def test_positions_out_of_range_are_data_errors(call):
    with pytest.raises(tg.DataError, match=r"indices must lie in -\d to \d; found -?\d( to -?\d)?$"):
        call()


def test_equal_elements_rank_in_their_order_and_nan_comes_first():
    x = np.array([1.0, 3.0, np.nan, 3.0, 1.0])
    assert_array_equal(tg.top_k_indices(x, 5), [2, 1, 3, 0, 4])
    assert_array_equal(tg.top_k_indices(x, 5, largest=False), [2, 0, 4, 1, 3])
    assert_array_equal(tg.top_k_indices(np.array([0, 200, 100], "uint8"), 2, largest=False), [0, 2])
    assert_array_equal(gradient(lambda t: tg.top_k(t, 1), np.array([2.0, 2.0]))[0], [1.0, 0.0])


def test_the_last_of_equal_places_may_be_asked_for():
    x = np.array([[1.0, 5.0, 5.0], [5.0, 2.0, 1.0]])
    for axis, first, last in [(0, [1, 0, 0], [1, 0, 0]), (1, [1, 0], [2, 0]), (None, 1, 3)]:
        assert_array_equal(tg.argmax(x, axis=axis), first)
        assert_array_equal(tg.argmax(x, axis=axis, last=True), last)


def test_places_have_no_gradient():
    x = tg.tensor(X)
    assert tg.argmax(x).dtype == tg.top_k_indices(x, 1).dtype == np.int64
    with pytest.raises(tg.TinygraphError):
        tg.grad(tg.argmax(x), [x])


# ---- arrangement


def test_parts_of_a_split_join_to_the_whole():
    x = tg.tensor(X)
    for parts in (2, 4, [1, 3], (2, 0, 2)):
        found = tg.split(x, parts, axis=-1)
        assert isinstance(found, tuple)
        assert_array_equal(tg.concatenate(list(found), axis=1).value, X)
    assert_array_equal(tg.split(X, [1, 2])[1], X[1:])


@pytest.mark.parametrize(("parts", "axis"), [(3, 1), (0, 0), (-1, 0), ([1, 1], 0), ([4, -1], 0), (1, 2)])
def test_parts_that_do_not_fill_an_axis_are_refused(parts, axis):
    with pytest.raises(tg.ShapeError, match=r"^split: x 'Z1' \(3, 4\): "):
        tg.split(tg.tensor(X, name="Z1"), parts, axis)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_go_to_channels_and_back(mode):
    x = RNG.standard_normal((2, 3, 4, 6))
    assert_array_equal(tg.depth_to_space(tg.space_to_depth(x, 2, mode=mode), 2, mode=mode), x)


def test_nearest_elements_by_hand():
    x = np.array([[[0.0, 1.0, 2.0, 3.0]]])
    for attributes, expected in [
        ({"scale": 0.5, "coordinates": "asymmetric", "rounding": "floor"}, [0, 2]),
        ({"scale": 0.5}, [0, 2]),  # at 0.5 and 2.5, of which the lower is preferred
        ({"scale": 0.5, "rounding": "round_prefer_ceil"}, [1, 3]),
        ({"scale": 1.5, "coordinates": "asymmetric", "rounding": "ceil"}, [0, 1, 2, 2, 3, 3]),
        ({"size": 7, "rounding": "floor"}, [0, 0, 0, 1, 2, 2, 3]),
    ]:
        assert_array_equal(tg.resize(x, **attributes)[0, 0], expected)


def test_whole_numbers_between_two_are_real():
    assert_array_equal(tg.resize(np.array([[[0, 255]]], "uint8"), size=3, mode="linear"), [[[0.0, 127.5, 255.0]]])
    assert tg.resize(np.zeros((1, 1, 2), "float32"), size=3, mode="linear").dtype == np.float32
    assert tg.resize(np.zeros((1, 1, 2), "uint8"), size=3).dtype == np.uint8


# ---- einsum

EQUATIONS = [
    "i",
    "ij",
    "ij->ji",
    "ii->i",
    "ij,j",
    "ij,kj->ki",
    "i,i,i",
    "ij,jk,kl",
    "...i->...",
    "i...,...j->ij...",
    "ij, k",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_is_that_of_numpy(equation):
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    arrays = [RNG.standard_normal((2,) * len(term.replace("...", "xy"))) for term in terms]
    assert_allclose(tg.einsum(arrays, equation), np.einsum(equation, *arrays), rtol=1e-13)
    recorded = np.einsum(equation, *map(tg.tensor, arrays))
    assert recorded.op.name == "einsum"
    assert_allclose(recorded.value, np.einsum(equation, *arrays), rtol=1e-13)


@given(st.data())
@settings(max_examples=part(60), deadline=None)
def test_the_gradient_of_any_einsum_is_its_derivative(data):
    """Sums of products are linear in each tensor: the gradient for one, times that tensor, is the result once more."""
    letters, sizes = "abc", {"a": 2, "b": 3, "c": 2}
    terms = [data.draw(st.text(letters, max_size=3)) for _ in range(data.draw(st.integers(1, 3)))]
    result = "".join(letter for letter in letters if letter in "".join(terms) and data.draw(st.booleans()))
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal([sizes[letter] for letter in term]) for term in terms]
    leaves = [tg.tensor(x) for x in arrays]
    y = tg.einsum(leaves, f"{','.join(terms)}->{result}")
    dy = rng.standard_normal(y.shape)
    for leaf, dx in zip(leaves, tg.grad(y, leaves, cotangent=dy), strict=True):
        moved = [rng.standard_normal(x.shape) if x is leaf else x.value for x in leaves]
        expected = (np.einsum(f"{','.join(terms)}->{result}", *moved) * dy).sum()
        (direction,) = [m for m, x in zip(moved, leaves, strict=True) if x is leaf]
        assert_allclose((dx.value * direction).sum(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("equation", "why"),
    [("i->ij", "in a term"), ("i.j", "letters"), ("...,...->", "needs the"), ("ij,j", "1 terms|2 terms")],
)
def test_an_equation_that_cannot_be_read_is_refused(equation, why):
    with pytest.raises(tg.AttributeValueError, match=why):
        tg.einsum([X], equation)


def test_einsum_is_written_with_its_indices_forwards_and_backwards():
    a, b = tg.tensor(np.ones((2, 3)), name="A"), tg.tensor(np.ones((3, 4)), name="B")
    y = tg.einsum([a, b], "ij,jk->ik")
    y.name = "C"
    text = tg.notes(tg.sum(tg.tanh(y))).markdown()
    for equation in (r"C_{ik} = \sum_{ j} A_{ ij}\,B_{ jk}", r"dA_{ij} = \sum_{ k} dC_{ ik}\,B_{ jk}"):
        assert equation in text


# ---- losses


def test_losses_from_logarithms_are_those_from_logits():
    labels = np.array([0, 3, 1])
    for chosen in (labels, tg.one_hot(labels, 4)):
        assert_allclose(tg.nll(tg.log_softmax(X), chosen), tg.cross_entropy(X, chosen), rtol=1e-14)
    assert_allclose(tg.kl_divergence(tg.log_softmax(X), tg.one_hot(labels, 4)), tg.cross_entropy(X, labels), rtol=1e-14)
    assert tg.kl_divergence(tg.log_softmax(X), tg.softmax(X)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("loss", [tg.nll, tg.kl_divergence])
def test_probabilities_in_the_place_of_logarithms_are_refused(loss):
    a = tg.softmax(tg.tensor(X))
    a.name = "a"
    with pytest.raises(tg.ShapeError, match=r"softmax 'a'.*log_softmax"):
        loss(a, np.full((3, 4), 0.25))


def test_a_label_of_zero_counts_nothing_even_at_minus_infinity():
    logs = np.array([[0.0, -np.inf]])
    assert tg.kl_divergence(logs, np.array([[1.0, 0.0]])) == 0.0


def test_labels_out_of_range_are_data_errors():
    for call in (
        lambda: tg.hinge(np.ones(2), np.array([0, 1])),
        lambda: tg.hinge(np.ones(2), np.array([1.0, np.nan])),
        lambda: tg.nll(X, np.array([0, 1, 4])),
        lambda: tg.kl_divergence(X, X),
    ):
        with pytest.raises(tg.DataError):
            call()


@pytest.mark.parametrize("name", ["l1", "huber", "smooth_l1", "hinge", "nll", "kl_divergence"])
def test_the_number_of_samples_is_called_m(name):
    shape = (5, 3) if name in ("nll", "kl_divergence") else (5,)
    prediction, labels = tg.input("z", shape), tg.input("y", (5,), "int64" if name == "nll" else "float32")
    cost = getattr(tg, name)(prediction, tg.input("y", shape) if name == "kl_divergence" else labels)
    constants = [node.name for node in tg.Graph(tg.grad(cost, [prediction])).nodes if node.kind == "constant"]
    assert "m" in constants


def test_huber_over_its_width_is_smooth_l1():
    for width in (0.3, 2.0):
        assert_allclose(tg.huber(X, 0 * X, delta=width) / width, tg.smooth_l1(X, 0 * X, beta=width), rtol=1e-14)
    assert_allclose(tg.huber(X, 0 * X, delta=1e9), tg.mse(X, 0 * X) / 2, rtol=1e-14)


@pytest.mark.parametrize("loss", ["hinge", "nll", "kl_divergence"])
def test_the_check_finds_labels_and_positions_for_itself(loss):
    ids, table = tg.input("ids", (6,), "int64"), tg.parameter(RNG.standard_normal((9, 4)), name="table")
    rows = tg.embedding(table, ids)
    labels = tg.input("y", (6,), "int64") if loss == "nll" else tg.input("y", (6, 4))
    cost = getattr(tg, loss)(rows if loss == "hinge" else tg.log_softmax(rows), labels)
    assert tg.check(tg.Graph(cost)).ok


# ---- several


def test_several_are_their_pairs_folded():
    arrays = [RNG.standard_normal(shape) for shape in [(3, 4), (4,), (3, 1)]]
    assert_array_equal(tg.maximum_all(arrays), np.maximum(np.maximum(*arrays[:2]), arrays[2]))
    for function, pair in ((tg.maximum_all, tg.maximum), (tg.minimum_all, tg.minimum)):
        folded = gradient(lambda *x, pair=pair: pair(pair(x[0], x[1]), x[2]), *arrays)
        for dx, expected in zip(gradient(lambda *x, function=function: function(x), *arrays), folded, strict=True):
            assert_array_equal(dx, expected)


def test_a_tie_of_several_gives_one_gradient_in_all():
    for values in itertools.product([0.0, 1.0], repeat=3):
        found = gradient(lambda *x: tg.maximum_all(x), *[np.array([v]) for v in values])
        assert sum(float(dx[0]) for dx in found) == 1.0
