"""Right rules at inputs where slopes are not unique, or hidden by rounding: equal singular values, ties of many kinds."""

import numpy as np
import pytest

import tinygraph as tg


@pytest.fixture(autouse=True)
def _registry(registry):
    """Each test has a registry of its own."""


def matrices(rng):
    return [tg.Sample(rng.standard_normal((3, 4))), tg.Sample(rng.standard_normal((2, 3, 3)))]


def squares(rng):
    root = rng.standard_normal((3, 3))
    return [tg.Sample(root @ root.T + np.eye(3))]


def symmetric(x):
    return (x + x.swapaxes(-1, -2)) / 2


def test_singular_values():
    @tg.op(samples=matrices)
    def singular_values(x):
        return np.linalg.svd(x, compute_uv=False)

    @singular_values.vjp(opaque=True)
    def singular_values_vjp(dy, y, x):
        u, _, vt = np.linalg.svd(x, full_matrices=False)
        return (u * dy[..., None, :]) @ vt

    tg.check_op(singular_values)


def test_nuclear_norm():
    @tg.op(samples=matrices)
    def nuclear_norm(x):
        return np.linalg.svd(x, compute_uv=False).sum(axis=-1)

    @nuclear_norm.vjp(opaque=True)
    def nuclear_norm_vjp(dy, y, x):
        u, _, vt = np.linalg.svd(x, full_matrices=False)
        return dy[..., None, None] * (u @ vt)

    tg.check_op(nuclear_norm)


def test_largest_singular_value():
    @tg.op(samples=matrices)
    def spectral_norm(x):
        return np.linalg.svd(x, compute_uv=False)[..., 0]

    @spectral_norm.vjp(opaque=True)
    def spectral_norm_vjp(dy, y, x):
        u, _, vt = np.linalg.svd(x, full_matrices=False)
        return dy[..., None, None] * u[..., :, :1] * vt[..., :1, :]

    tg.check_op(spectral_norm)


def test_a_part_of_the_singular_values():
    @tg.op(samples=matrices)
    def ky_fan(x):
        return np.linalg.svd(x, compute_uv=False)[..., :2].sum(axis=-1)

    @ky_fan.vjp(opaque=True)
    def ky_fan_vjp(dy, y, x):
        u, _, vt = np.linalg.svd(x, full_matrices=False)
        return dy[..., None, None] * (u[..., :2] @ vt[..., :2, :])

    tg.check_op(ky_fan)


def test_condition_number():
    @tg.op(samples=matrices)
    def condition_number(x):
        values = np.linalg.svd(x, compute_uv=False)
        return values[..., 0] / values[..., -1]

    @condition_number.vjp(opaque=True)
    def condition_number_vjp(dy, y, x):
        u, values, vt = np.linalg.svd(x, full_matrices=False)
        first = u[..., :, :1] * vt[..., :1, :] / values[..., -1, None, None]
        last = u[..., :, -1:] * vt[..., -1:, :] * (values[..., 0] / values[..., -1] ** 2)[..., None, None]
        return dy[..., None, None] * (first - last)

    tg.check_op(condition_number)


def test_eigenvalues():
    @tg.op(samples=squares)
    def eigenvalues(x):
        return np.linalg.eigvalsh(symmetric(x))

    @eigenvalues.vjp(opaque=True)
    def eigenvalues_vjp(dy, y, x):
        _, vectors = np.linalg.eigh(symmetric(x))
        return (vectors * dy[..., None, :]) @ vectors.swapaxes(-1, -2)

    tg.check_op(eigenvalues)


def test_root_of_a_matrix():
    def root(x):
        values, vectors = np.linalg.eigh(symmetric(x))
        return (vectors * np.sqrt(values)) @ vectors.T, np.sqrt(values), vectors

    @tg.op(samples=squares)
    def matrix_root(x):
        return root(x)[0]

    @matrix_root.shape
    def matrix_root_shape(x):
        if len(x.shape) != 2 or x.shape[0] != x.shape[1]:
            raise tg.ShapeError("matrix_root: a square matrix is needed")
        return x.shape

    @matrix_root.vjp(opaque=True)
    def matrix_root_vjp(dy, y, x):
        _, values, vectors = root(x)
        sums = values[:, None] + values
        inner = vectors.T @ dy @ vectors / np.where(sums > 0, sums, 1)
        return symmetric(vectors @ inner @ vectors.T)

    tg.check_op(matrix_root)


def test_pseudo_inverse():
    @tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal((4, 3)))])
    def pseudo_inverse(x):
        return np.linalg.pinv(x)

    @pseudo_inverse.shape
    def pseudo_inverse_shape(x):
        if len(x.shape) != 2 or 0 in x.shape:
            raise tg.ShapeError("pseudo_inverse: a matrix is needed")
        return x.shape[::-1]

    @pseudo_inverse.vjp(opaque=True)
    def pseudo_inverse_vjp(dy, y, x):
        m, n = x.shape
        return (
            -y.T @ dy @ y.T
            + (np.eye(m) - x @ y) @ dy.T @ (y @ y.T)
            + (y.T @ y) @ dy.T @ (np.eye(n) - y @ x)
        )  # fmt: skip

    tg.check_op(pseudo_inverse)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_norms_at_zero(order):
    @tg.op
    def norm(x):
        return (np.abs(x) ** order).sum(axis=-1) ** (1 / order)

    @norm.vjp(opaque=True)
    def norm_vjp(dy, y, x):
        safe = np.where(y > 0, y, 1)
        return (dy * safe ** (1 - order))[..., None] * np.sign(x) * np.abs(x) ** (order - 1)

    tg.check_op(norm)


def linear_of_sorted(weights_of):
    """Return an operation that adds up sorted elements times weights, as medians, quantiles and trimmed means do."""

    @tg.op
    def of_sorted(x):
        return np.sort(x, axis=-1) @ weights_of(x.shape[-1]).astype(x.dtype)

    @of_sorted.shape
    def of_sorted_shape(x):
        if not x.shape or not x.shape[-1]:
            raise tg.ShapeError("of_sorted: an axis of elements is needed")
        return x.shape[:-1]

    @of_sorted.vjp(opaque=True)
    def of_sorted_vjp(dy, y, x):
        dx = np.zeros_like(x)
        weights = weights_of(x.shape[-1]).astype(x.dtype)
        np.put_along_axis(dx, np.argsort(x, axis=-1, kind="stable"), dy[..., None] * weights, -1)
        return dx

    return of_sorted


def median(n):
    weights = np.zeros(n)
    weights[[(n - 1) // 2, n // 2]] += 0.5
    return weights


def quantile(n):
    weights, place = np.zeros(n), 0.3 * (n - 1)
    low = int(place)
    weights[low] = 1 - (place - low)
    weights[min(low + 1, n - 1)] += place - low
    return weights


@pytest.mark.parametrize(
    "weights", [median, quantile, lambda n: np.arange(n) + 0.5, lambda n: 1.0 / (1 + np.arange(n)[::-1])]
)
def test_sums_over_sorted_elements(weights):
    tg.check_op(linear_of_sorted(weights))


def test_a_wrong_weight_of_sorted_elements_is_found():
    operation = linear_of_sorted(median)

    @operation.vjp(opaque=True)
    def of_sorted_vjp(dy, y, x):
        dx = np.zeros_like(x)
        np.put_along_axis(dx, np.argsort(x, axis=-1), dy[..., None] * quantile(x.shape[-1]), -1)
        return dx

    assert not tg.certify(operation).ok


def test_a_tie_that_is_counted_twice_is_found():
    @tg.op
    def largest(x):
        return x.max(axis=-1)

    @largest.vjp(opaque=True)
    def largest_vjp(dy, y, x):
        return dy[..., None] * (x == y[..., None])

    assert [line.check for line in tg.certify(largest).failures] == ["kinks and ties"]


@pytest.mark.parametrize("reduced", [False, True])
def test_a_wrong_slope_at_one_number_is_found_in_a_mean_too(reduced):
    """Where forward has a slope, elements that are equal by chance are not tied for anything."""

    @tg.op
    def smooth(x):
        y = np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5)
        return y.mean() if reduced else y

    @smooth.vjp(opaque=True)
    def smooth_vjp(dy, y, x):
        slope = np.where(np.abs(x) < 1, x, np.where(np.abs(x) > 1, np.sign(x), 0.5 * np.sign(x)))
        return dy * slope / (x.size if reduced else 1)

    (wrong,) = tg.certify(smooth).failures
    assert (wrong.check, wrong.figure) == ("kinks and ties", "the rule is wrong where forward has a slope")


# ---- two inputs that are equal


def test_equal_intervals():
    @tg.op(samples=lambda rng: [tg.Sample(np.sort(rng.random((3, 2))), np.sort(rng.random((3, 2))))])
    def overlap(a, b):
        """Return how far two intervals overlap."""
        return np.maximum(np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0]), 0)

    @overlap.shape
    def overlap_shape(a, b):
        if len(a.shape) != 2 or a.shape[1] != 2 or a.shape != b.shape:
            raise tg.ShapeError("overlap: two arrays (N, 2) are needed")
        return a.shape[:1]

    @overlap.vjp(opaque=True)
    def overlap_vjp(dy, y, a, b):
        share = (dy * (y > 0))[:, None]
        gradients = []
        for own, other in ((a, b), (b, a)):
            d = np.zeros_like(own)
            d[:, 1:] = share * (own[:, 1:] < other[:, 1:])
            d[:, :1] = -share * (own[:, :1] > other[:, :1])
            gradients.append(d)
        return gradients

    tg.check_op(overlap)


def test_a_tie_of_two_elements_that_gets_no_gradient_is_found():
    @tg.op(elementwise=True)
    def larger(a, b):
        return np.maximum(a, b)

    @larger.vjp
    def larger_vjp(dy, y, a, b):
        return tg.gate(dy, a > b), tg.gate(dy, b > a)

    assert [line.check for line in tg.certify(larger).failures] == ["used twice"]


def test_a_loss_near_zero_is_known_to_the_digits_of_the_numbers_that_cancel_in_it():
    @tg.op
    def matched(a, b):
        return -np.diagonal(tg.log_softmax(a @ b.T * 4, axis=1)).mean()

    @matched.shape
    def matched_shape(a, b):
        if len(a.shape) != 2 or a.shape != b.shape or 0 in a.shape:
            raise tg.ShapeError("matched: two arrays (N, D) are needed")
        return ()

    @matched.vjp
    def matched_vjp(dy, y, a, b):
        count = a.shape[0]
        ds = 4 * dy * (tg.softmax(a @ b.T * 4, axis=1) - np.eye(count, dtype=a.dtype)) / count
        return ds @ b, ds.T @ a

    tg.check_op(matched)


# ---- inputs that are found


def test_truth_values_are_found():
    @tg.op
    def chosen_mean(x, chosen):
        return np.where(chosen, x * x, x).mean()

    @chosen_mean.shape
    def chosen_mean_shape(x, chosen):
        if chosen.dtype.kind != "b" or x.shape != chosen.shape or 0 in x.shape:
            raise tg.ShapeError("chosen_mean: numbers and as many truth values are needed")
        return ()

    @chosen_mean.vjp
    def chosen_mean_vjp(dy, y, x, chosen):
        return dy * tg.where(chosen, 2 * x, 1.0) / np.prod(x.shape), None

    tg.check_op(chosen_mean)


def test_labels_of_pixels_are_found():
    @tg.op
    def picked(scores, labels):
        """Return the mean score of the class of each pixel."""
        return np.take_along_axis(scores, labels[:, None], axis=1).mean()

    @picked.shape
    def picked_shape(scores, labels):
        if (
            len(scores.shape) != 4
            or labels.dtype.kind not in "iu"
            or labels.shape != (scores.shape[0], *scores.shape[2:])
        ):
            raise tg.ShapeError("picked: scores (N, K, H, W) and labels (N, H, W) are needed")
        return ()

    @picked.result_dtype
    def picked_dtype(scores, labels):
        return scores.dtype

    @picked.vjp(opaque=True)
    def picked_vjp(dy, y, scores, labels):
        dx = np.zeros_like(scores)
        np.put_along_axis(dx, labels[:, None], dy / labels.size, axis=1)
        return dx, None

    certificate = tg.certify(picked)
    assert certificate.samples
    assert not [line for line in certificate.failures if line.check.startswith("gradient")]


@pytest.mark.parametrize("knows", [True, False])
def test_an_attribute_larger_than_the_sizes_tried_is_seen_in_larger_ones(knows):
    @tg.op
    def first_part(x, *, parts: int = 7):
        y = x.copy()
        y[..., : x.shape[-1] // parts] *= 2
        return y

    @first_part.vjp(opaque=True)
    def first_part_vjp(dy, y, x, *, parts):
        dx = dy.copy()
        dx[..., : x.shape[-1] // (parts if knows else 7)] *= 2
        return dx

    assert tg.certify(first_part).ok == knows


def test_a_distance_of_sorted_elements_that_are_tied(registry):
    def distance(a, b):
        return np.abs(np.sort(a) - np.sort(b)).mean()

    def rule(dy, y, a, b):
        i, j = np.argsort(a), np.argsort(b)
        share = dy * np.sign(a[i] - b[j]) / len(a)
        da, db = np.zeros_like(a), np.zeros_like(b)
        da[i], db[j] = share, -share
        return da, db

    def shape(a, b):
        if a.ndim != 1 or a.shape != b.shape or not a.size:
            raise tg.ShapeError("distance: two vectors of one length are needed")
        return ()

    operation = tg.op(distance)
    operation.shape(shape)
    operation.vjp(rule, opaque=True)
    assert tg.certify(operation).ok


def test_beside_a_wrong_gradient_no_kink_has_a_cause_of_its_own(registry):
    @tg.op
    def spread(x):
        return (x - x.min()) / (x.max() - x.min())

    @spread.vjp(opaque=True)
    def spread_vjp(dy, y, x):
        return dy / (x.max() - x.min())

    checks = [line.check for line in tg.certify(spread).failures]
    assert "gradient of x" in checks
    assert "kinks and ties" not in checks


@pytest.mark.parametrize(("at_kink", "is_right"), [(0.0, True), (0.9, True), (-0.5, False), (1.5, False)])
def test_every_slope_between_those_of_the_sides_is_right(at_kink, is_right):
    def pinball(x):
        return np.where(x > 0, 0.9 * x, -0.1 * x)

    operation = tg.op(elementwise=True)(pinball)
    operation.vjp(lambda dy, y, x: dy * np.where(x > 0, 0.9, np.where(x < 0, -0.1, at_kink)), opaque=True)
    certificate = tg.certify(operation)
    assert certificate.ok == is_right
    if not is_right:
        assert [line.figure for line in certificate.failures] == ["the rule takes neither slope, nor one between"]
