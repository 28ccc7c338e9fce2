"""Inputs next to samples: what an operation draws itself, ends of domains, small numbers, more axes."""

import numpy as np
import pytest

import tinygraph as tg
from tests.verify.test_certify_inputs import NEXT_TO, certificate_of
from tinygraph.verify.certificate.redraw import redrawn


def lasts(x, lengths):
    return x[np.arange(len(x)), lengths - 1]


def lasts_shape(x, lengths):
    if x.ndim != 3 or lengths.shape != x.shape[:1] or lengths.dtype.kind not in "iu" or not x.shape[1]:
        raise tg.ShapeError("lasts: x (N, T, D) and lengths (N) are needed")
    return x.shape[0], x.shape[2]


def lasts_check(x, lengths):
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= x.shape[1]:
        raise tg.DataError("lasts: a length is out of range")


def lasts_rule(dy, y, x, lengths):
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), lengths - 1] = dy
    return dx, None


def lasts_of_equal_lengths(dy, y, x, lengths):
    dx = np.zeros_like(x)
    dx[:, lengths - 1] = dy[:, None]
    return dx, None


def operation_lasts(rule, samples=None):
    operation = tg.op(samples=samples)(lasts)
    operation.shape(lasts_shape)
    operation.result_dtype(lambda x, lengths: x.dtype)
    operation.check(lasts_check)
    operation.sample_inputs(lambda rng, x, lengths: (None, rng.integers(1, x.shape[1] + 1, lengths.shape)))
    operation.vjp(rule, opaque=True)
    return operation


def equal_lengths(rng):
    return [tg.Sample(rng.standard_normal((3, 4, 2)), np.array([4, 4, 4]))]


def test_the_inputs_that_an_operation_draws_itself_are_tried(registry):
    assert tg.certify(operation_lasts(lasts_rule, equal_lengths)).ok
    certificate = tg.certify(operation_lasts(lasts_of_equal_lengths, equal_lengths))
    assert certificate.verdict == NEXT_TO


def test_inputs_are_found_with_those_that_an_operation_draws_itself(registry):
    certificate = tg.certify(operation_lasts(lasts_rule))
    assert certificate.ok
    assert certificate.samples
    assert not tg.certify(operation_lasts(lasts_of_equal_lengths)).ok


def lambert(x):
    w = np.log1p(np.where(x < 0, np.nan, x))
    for _ in range(40):
        w = w - (w - x * np.exp(-w)) / (1 + w)
    return w


@pytest.mark.parametrize(
    ("rule", "is_right"),
    [
        (lambda dy, y, x: dy * np.exp(-y) / (1 + y), True),
        # 0/0 at 0, where forward has a slope to the right and no values to the left.
        (lambda dy, y, x: dy * y / (x * (1 + y)), False),
        # A number at the end of a domain is a choice.
        (lambda dy, y, x: np.where(x > 0, dy * np.exp(-y) / (1 + y), 0), True),
    ],
)
def test_nan_at_the_end_of_a_domain_is_found(registry, rule, is_right):
    samples = lambda rng: [tg.Sample(rng.uniform(0.1, 3, (2, 4)))]  # noqa: E731
    assert certificate_of(lambda x: lambert(x), rule, elementwise=True, samples=samples).ok == is_right


def test_an_infinite_slope_at_the_end_of_a_domain_is_right(registry):
    assert certificate_of(lambda x: np.sqrt(x), lambda dy, y, x: dy / (2 * y), elementwise=True).ok


def sums_of_reciprocals(x):
    """The sum of ``1 / (x + n)`` from ``n = 0`` to 5, but for a term that a logarithm approximates."""
    return sum(1 / (x + n) for n in range(6)) - np.log(abs(x + 6))


def sums_of_reciprocals_rule(dy, y, x):
    # Written for positive numbers.
    return dy * (-sum(1 / (x + n) ** 2 for n in range(6)) - np.sqrt(x + 6) ** 2 / (x + 6) ** 2)


def test_a_rule_for_positive_numbers_is_right_where_samples_are_positive(registry):
    positive = lambda rng: [tg.Sample(rng.uniform(0.5, 2, (2, 3)))]  # noqa: E731
    of_both_signs = lambda rng: [tg.Sample(np.array([1.5, -0.4, 2.5, -8.3]))]  # noqa: E731
    forward, rule = lambda x: sums_of_reciprocals(x), sums_of_reciprocals_rule
    assert certificate_of(forward, rule, elementwise=True, samples=positive).ok
    assert not certificate_of(forward, rule, elementwise=True, samples=of_both_signs).ok


def test_a_series_near_zero_is_tried(registry):
    def forward(x):
        return np.sinc(x / np.pi)

    def rule(divisor):
        def sinc_rule(dy, y, x):
            near = np.abs(x) < 0.01
            safe = np.where(near, 1.0, x)
            return dy * np.where(near, -x / divisor + x**3 / 30, (np.cos(safe) - np.sin(safe) / safe) / safe)

        return sinc_rule

    samples = lambda rng: [tg.Sample(rng.uniform(0.5, 2, (2, 3)))]  # noqa: E731
    assert certificate_of(forward, rule(3), elementwise=True, samples=samples).ok
    assert certificate_of(forward, rule(6), elementwise=True, samples=samples).verdict == NEXT_TO


def shared_heads(q, k):
    heads = np.repeat(k, len(q) // len(k), axis=0)
    return (q * heads).sum(axis=2)


def shared_heads_shape(q, k):
    if not q.ndim == k.ndim == 3 or q.shape[1:] != k.shape[1:] or not len(k) or len(q) % len(k):
        raise tg.ShapeError("shared_heads: q (H, T, D) and k (G, T, D), H a multiple of G, are needed")
    return q.shape[:2]


def shared_heads_rule(reduced):
    def rule(dy, y, q, k):
        dheads = dy[..., None] * q
        return dy[..., None] * np.repeat(k, len(q) // len(k), axis=0), reduced(
            dheads.reshape(len(k), -1, *q.shape[1:]), 1
        )

    return rule


@pytest.mark.parametrize(("reduced", "is_right"), [(np.sum, True), (np.mean, False)])
def test_one_size_that_is_a_multiple_of_another_is_tried(registry, reduced, is_right):
    operation = tg.op(shared_heads)
    operation.shape(shared_heads_shape)
    operation.vjp(shared_heads_rule(reduced), opaque=True)
    assert tg.certify(operation).ok == is_right


def modulated(x, gain):
    return x * gain.reshape(*gain.shape, *(1,) * (x.ndim - 2))


def modulated_shape(x, gain):
    if x.ndim < 2 or gain.shape != x.shape[:2]:
        raise tg.ShapeError("modulated: x (N, C, ...) and gains (N, C) are needed")
    return x.shape


@pytest.mark.parametrize(("reduced", "is_right"), [(np.sum, True), (np.mean, False)])
def test_more_axes_are_tried_where_the_shape_rule_takes_them(registry, reduced, is_right):
    operation = tg.op(modulated)
    operation.shape(modulated_shape)
    operation.vjp(
        lambda dy, y, x, gain: (modulated(dy, gain), reduced((dy * x).reshape(*gain.shape, -1), axis=-1)), opaque=True
    )
    assert tg.certify(operation).ok == is_right


def test_a_single_number_next_to_axes_of_three_is_found(registry):
    def turned(points, angle):
        c, s, one = np.cos(angle), np.sin(angle), np.ones_like(angle)
        return points @ np.array([[c, -s, 0 * one], [s, c, 0 * one], [0 * one, 0 * one, one]])

    def shape(points, angle):
        if points.ndim != 2 or points.shape[1] != 3 or angle.shape:
            raise tg.ShapeError("turned: points (N, 3) and an angle are needed")
        return points.shape

    def rule(dy, y, points, angle):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        return dy @ turn.T, (dy * (points @ np.array([[-s, -c, 0], [c, -s, 0], [0, 0, 0]]))).sum()

    operation = tg.op(turned)
    operation.shape(shape)
    operation.vjp(rule, opaque=True)
    certificate = tg.certify(operation)
    assert certificate.samples
    assert certificate.ok


def test_truth_values_are_tried_the_other_way_round(registry):
    def kept(x, mask):
        return np.where(mask, x * x, x)

    def shape(x, mask):
        if x.shape != mask.shape or mask.dtype.kind != "b":
            raise tg.ShapeError("kept: x and truth values of its shape are needed")
        return x.shape

    def certificate_with(rule):
        operation = tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal((2, 3)), np.zeros((2, 3), bool))])(kept)
        operation.shape(shape)
        operation.result_dtype(lambda x, mask: x.dtype)
        operation.vjp(rule, opaque=True)
        return tg.certify(operation)

    assert certificate_with(lambda dy, y, x, mask: (dy * np.where(mask, 2 * x, 1), None)).ok
    assert certificate_with(lambda dy, y, x, mask: (dy * np.where(mask, x, 1), None)).verdict == NEXT_TO


def test_what_samples_have_in_common_is_kept():
    rng = np.random.default_rng(0)
    pairs = np.array([[0, 1], [2, 0], [1, 3]])
    again = redrawn(rng, pairs, (50, 2))
    assert (again[:, 0] != again[:, 1]).all()
    assert set(again.ravel().tolist()) == {0, 1, 2, 3}
    dominant = rng.uniform(-1, 1, (4, 4)) + 9 * np.eye(4)
    again = redrawn(rng, dominant, (23, 23))
    assert (np.diagonal(again) > 5).all()
    assert abs(again - np.diag(np.diagonal(again))).max() <= 1


def test_rounding_next_to_small_numbers_is_right(registry):
    def bateman(t, a, b):
        return a / (a - b) * (np.exp(-b * t) - np.exp(-a * t))

    def rule(dy, y, t, a, b):
        scale, up, left = a / (a - b), np.exp(-a * t), np.exp(-b * t)
        da = scale * t * up - y * b / (a * (a - b))
        return dy * scale * (a * up - b * left), dy * da, dy * (y / (a - b) - scale * t * left)

    def samples(rng):
        return [tg.Sample(rng.uniform(0.2, 4, (2, 3)), rng.uniform(1, 2, (2, 3)), rng.uniform(0.1, 0.5, (2, 3)))]

    assert certificate_of(bateman, rule, elementwise=True, samples=samples).ok
