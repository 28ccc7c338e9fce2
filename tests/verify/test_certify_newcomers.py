"""Operations as newcomers write them, without samples: right ones are certified, and wrong ones are not, each with its reason.

The worst that a certificate can do is to call a wrong operation right, and next to it a right one wrong.
"""

import re
from typing import Any, Literal

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.verify.certificate.propose import proposed_samples


def certificate_of(forward, rule=None, opaque=False, **traits):
    if forward.__name__ == "<lambda>":
        forward.__name__ = "mine"
    operation = tg.op(**traits)(forward)
    if rule is not None:
        operation.vjp(rule, opaque=opaque)
    return tg.certify(operation)


def standardized(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)


def standardized_rule(dy, y, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    size = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return (dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True)) / size


def scattered(dy, y, table, ids):
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    return dtable, None


def first_of_sorted(dy, y, x):
    dx = np.empty_like(x)
    np.put_along_axis(dx, np.argsort(x, axis=-1, kind="stable"), dy, axis=-1)
    return dx


def shared(dy, y, x):
    tied = x == y[..., None]
    return dy[..., None] * tied / tied.sum(axis=-1, keepdims=True)


def moving_average(x, decay):
    y, state = np.zeros_like(x), np.zeros_like(x[..., 0])
    for t in range(x.shape[-1]):
        state = decay * state + (1 - decay) * x[..., t]
        y[..., t] = state
    return y


def moving_average_rule(dy, y, x, decay):
    if decay.ndim:
        raise ValueError("one decay for all")
    dx, ddecay, carry = np.zeros_like(x), np.zeros_like(decay), np.zeros_like(x[..., 0])
    for t in reversed(range(x.shape[-1])):
        carry = dy[..., t] + carry
        ddecay = ddecay + (carry * ((y[..., t - 1] if t else 0) - x[..., t])).sum()
        dx[..., t], carry = carry * (1 - decay), carry * decay
    return dx, ddecay


def quantile(p, t, *, q: float = 0.9):
    return np.mean(np.maximum(q * (t - p), (q - 1) * (t - p)))


def quantile_rule(dy, y, p, t, *, q):
    slope = dy * np.where(t - p > 0, q, q - 1) / p.size
    return -slope, slope


def cell_rule(dy, y, x, h, u, w):
    dz = dy * (1 - y * y)
    return dz @ u.T, dz @ w.T, x.T @ dz, h.T @ dz


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def cosine_rule(dy, y, a, b):
    of_a, of_b = (a * a).sum(), (b * b).sum()
    size = np.sqrt(of_a * of_b)
    return dy * (b / size - y * a / of_a), dy * (a / size - y * b / of_b)


def correlated(x, k):
    return np.array([x[i : i + len(k)] @ k for i in range(len(x) - len(k) + 1)])


def correlated_rule(dy, y, x, k):
    dx, dk = np.zeros_like(x), np.zeros_like(k)
    for i, d in enumerate(dy):
        dx[i : i + len(k)] += d * k
        dk += d * x[i : i + len(k)]
    return dx, dk


RIGHT: dict[str, tuple[Any, ...]] = {
    # The gradients of a and b are rounding alone where both have one element.
    "what cancels": (cosine, cosine_rule),
    "a window of truth values": (
        lambda x: np.where((x <= -1) | (x >= 1), 0, x),
        lambda dy, y, x: dy * ((x > -1) & (x < 1)),
    ),
    "vectors alone, stacks that run by chance": (correlated, correlated_rule, True),
    "matrices alone": (lambda x: np.trace(x), lambda dy, y, x: dy * np.eye(*x.shape), True),
    "axes swapped by method": (lambda x: x.swapaxes(0, 1) * 1.0, lambda dy, y, x: dy.swapaxes(0, 1)),
    "a mask": (lambda x, mask: np.where(mask, 0.0, x), lambda dy, y, x, mask: (np.where(mask, 0.0, dy), None)),
    "dense layer": (lambda x, w, b: x @ w + b, lambda dy, y, x, w, b: (dy @ w.T, x.T @ dy, dy.sum(axis=0))),
    "matrix product": (lambda x, w: x @ w, lambda dy, y, x, w: (dy @ w.T, x.T @ dy)),
    "bias": (lambda x, b: x + b, lambda dy, y, x, b: (dy, dy.sum(axis=0))),
    "recurrent cell": (
        lambda x, h, u, w: np.tanh(x @ u + h @ w),
        cell_rule,
    ),
    "scan": (moving_average, moving_average_rule, True),
    "table look-up": (lambda table, ids: table[ids], scattered, True),
    "size of a number": (lambda x: np.abs(x), lambda dy, y, x: dy * x / np.where(x == 0, 1, np.abs(x))),
    "standardized, of two elements nearly constant": (standardized, standardized_rule),
    "sort": (lambda x: np.sort(x, axis=-1), first_of_sorted, True),
    "a maximum shared by ties": (lambda x: np.max(x, axis=-1), shared, True),
    "a loss with a kink": (quantile, quantile_rule),
    "a mask of minus infinity": (
        lambda s: np.where(np.tri(s.shape[-2], s.shape[-1], dtype=bool), s, -np.inf),
        lambda dy, y, s: np.where(np.tri(s.shape[-2], s.shape[-1], dtype=bool), dy, 0),
    ),
    "infinitely steep at 0": (lambda x: np.cbrt(x), lambda dy, y, x: dy / (3 * y * y)),
    "logarithm": (lambda x: np.log(x), lambda dy, y, x: dy / x),
    "whole numbers": (lambda x: (x > 0).sum(axis=-1), None),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_operation_is_certified(registry, name):
    certificate = certificate_of(*RIGHT[name])
    assert certificate.ok, str(certificate)


_kept: dict[str, Any] = {}


def keeping(x):
    _kept["mask"] = x > 0
    return np.maximum(x, 0)


def pooled(x, *, mode: Literal["mean", "sum", "max"]):
    return {"mean": np.mean, "sum": np.sum, "max": np.max}[mode](x, axis=-1)


def pooled_rule(dy, y, x, *, mode):
    return np.broadcast_to(dy[..., None] / (x.shape[-1] if mode == "mean" else 1), x.shape)


def sloped(x, *, slope: float):
    return np.where(x > 0, x, slope * x)


def flagged(x, *, squared: bool):
    return (x * x).sum() if squared else x.sum()


def windows(x, *, stride: int = 2):
    return np.stack([x[..., i : i + 2].sum(axis=-1) for i in range(0, x.shape[-1] - 1, stride)], axis=-1)


def windows_rule(dy, y, x, *, stride):
    dx = np.zeros_like(x)
    for i in range(y.shape[-1]):
        dx[..., i : i + 2] += dy[..., i : i + 1]
    return dx


def running_sum_rule(dy, y, x):
    return np.cumsum(dy, axis=-1)


def bounded_loss(p, t):
    d = abs(p - t)
    return np.where(d < 5, d * d / 2, 5 * (d - 2.5)).mean()


WRONG: dict[str, tuple[Any, ...]] = {
    "one of two limits": (
        (lambda x: np.clip(x, -3, 3), lambda dy, y, x: dy * (x < 3)),
        {"elementwise": True},
        ("far from zero", "the rule does not know"),
    ),
    "a limit of forward alone": (
        (lambda x: np.exp(np.minimum(x, 10.0)), lambda dy, y, x: dy * y),
        {},
        ("far from zero", "the rule does not know"),
    ),
    "the outer branch of a loss": (
        (bounded_loss, lambda dy, y, p, t: (dy * (p - t) / p.size, dy * (t - p) / p.size)),
        {},
        ("far from zero", "the rule does not know"),
    ),
    "all of several maxima": (
        (lambda x: x.max(), lambda dy, y, x: dy * (x == y)),
        {},
        ("kinks and ties", "goes to one of the tied elements"),
    ),
    "none of several maxima": (
        (lambda x: x.max(axis=-1), lambda dy, y, x: dy[..., None] * (x > np.sort(x, axis=-1)[..., -2:-1]), True),
        {},
        ("kinks and ties", "goes to one of the tied elements"),
    ),
    "0/0 where forward is smooth": (
        (lambda x: np.sinc(x), lambda dy, y, x: dy * (np.cos(np.pi * x) - y) / x),
        {"elementwise": True},
        ("kinks and ties", "0/0, or 0 times infinity"),
    ),
    "another option": (
        (pooled, pooled_rule, True),
        {},
        ("gradient of x", "right with mode='mean', wrong with mode='max'"),
    ),
    "another flag": (
        (flagged, lambda dy, y, x, *, squared: dy * np.ones_like(x)),
        {},
        ("gradient of x", "right with squared=False, wrong with squared=True"),
    ),
    "another number": (
        (sloped, lambda dy, y, x: np.where(x > 0, dy, 0.5 * dy)),
        {},
        ("gradient of x", "right with slope=0.5, wrong with slope=0.75"),
    ),
    "stride": ((windows, windows_rule, True), {}, ("gradient of x", "right with stride=1, wrong with stride=2")),
    "what forward kept": (
        (keeping, lambda dy, y, x: dy * _kept["mask"]),
        {"elementwise": True},
        ("determinism", "what forward keeps elsewhere is that of its last call"),
    ),
    "noise": (
        (lambda x: x + np.random.standard_normal(x.shape), lambda dy, y, x: dy),
        {},
        ("determinism", "draw random numbers from a seed"),
    ),
    "bias without its sum": (
        (lambda x, w, b: x @ w + b, lambda dy, y, x, w, b: (dy @ w.T, x.T @ dy, dy)),
        {},
        ("gradient of b", "b is broadcast in forward"),
    ),
    "bias with a mean": (
        (lambda x, w, b: x @ w + b, lambda dy, y, x, w, b: (dy @ w.T, x.T @ dy, dy.mean(axis=0))),
        {},
        ("gradient of b", "off by a factor of 0.333333"),
    ),
    "a sum on the way, forwards": (
        (lambda x: np.cumsum(x, axis=-1), running_sum_rule, True),
        {},
        ("gradient of x", "runs along the axis the wrong way round"),
    ),
    "digits": (
        (lambda x: np.sin(np.pi * x), lambda dy, y, x: dy * 3.14159 * np.cos(np.pi * x)),
        {},
        ("gradient of x", "too few digits"),
    ),
    "whole division": ((lambda x: x // 2, lambda dy, y, x: dy / 2), {}, ("gradient of x", "forward is flat wherever")),
    "a function that does not record": (
        (lambda x: x - np.median(x), lambda dy, y, x: dy - np.median(dy)),
        {},
        ("gradient of x", "opaque=True"),
    ),
    "NaN made a number": (
        (lambda x: np.nan_to_num(x) * 2, lambda dy, y, x: 2 * dy),
        {},
        ("not a number", "np.nan_to_num"),
    ),
    "two results": ((lambda x: (x.min(), x.max()), lambda dy, y, x: dy), {}, ("inputs", "an operation has one result")),
    "product without its transpose": (
        (lambda x, w: x @ w, lambda dy, y, x, w: (dy @ w, x.T @ dy)),
        {},
        ("gradient of x", "transposed: w stands where w.T belongs"),
    ),
    "product without its other transpose": (
        (lambda x, w: x @ w, lambda dy, y, x, w: (dy @ w.T, x @ dy)),
        {},
        ("gradient of w", "transposed: x stands where x.T belongs"),
    ),
    "dense layer without its transpose": (
        (lambda x, w, b: x @ w + b, lambda dy, y, x, w, b: (dy @ w, x.T @ dy, tg.sum(dy, axis=0))),
        {},
        ("gradient of x", "transposed: w stands where w.T belongs"),
    ),
    "dense layer of rows, gradient of columns": (
        (lambda x, w, b: x @ w.T + b, lambda dy, y, x, w, b: (dy @ w, x.T @ dy, tg.sum(dy, axis=0))),
        {},
        ("gradient of w", "transposed"),
    ),
    "a mask that is never False among floats": (
        (lambda x, mask: np.where(mask, 0.0, x), lambda dy, y, x, mask: (0 * dy, None)),
        {},
        ("gradient of x", "returns zero"),
    ),
    "labels without their mean": (
        (
            lambda logs, labels: -logs[np.arange(len(labels)), labels].mean(),
            lambda dy, y, logs, labels: (-dy * (np.arange(logs.shape[-1]) == labels[:, None]), None),
            True,
        ),
        {},
        ("gradient of logs", "missing 1/m, m ="),
    ),
    "products without the root of their count": (
        (lambda x, w: x @ w / np.sqrt(x.shape[-1]).item(), lambda dy, y, x, w: (dy @ w.T, x.T @ dy)),
        {},
        ("gradient of x", "missing 1/√n, n = 4"),
    ),
    "one beside": (
        (lambda x: np.roll(x, 1, axis=-1), lambda dy, y, x: dy, True),
        {},
        ("gradient of x", "off by one place along axis -1"),
    ),
    "None for what matters": (
        (lambda p, t: ((p - t) ** 2).sum(), lambda dy, y, p, t: (2 * dy * (p - t), None)),
        {},
        ("gradient of t", "returns None, which says that no gradient flows, and forward depends on it"),
    ),
    "an assumption about rows": (
        (
            lambda p, t: -(t * (p - np.log(np.exp(p).sum(axis=-1, keepdims=True)))).sum(),
            lambda dy, y, p, t: (dy * (tg.softmax(p) - t), dy * -tg.log_softmax(p)),
        ),
        {},
        ("gradient of p", "a term is missing"),
    ),
    "a method that tensors lack": (
        (lambda x: x.repeat(2), lambda dy, y, x: dy.byteswap().byteswap().reshape(-1, 2).sum(axis=1).reshape(x.shape)),
        {},
        ("gradient of x", "a tensor has fewer methods than an array"),
    ),
    "right for matrices, silently wrong for stacks": (
        (lambda p: p.sum() / p.shape[0] / p.shape[1], lambda dy, y, p: dy * np.ones_like(p) / p.size),
        {},
        ("gradient of p", "the rule is meant to have other inputs than forward takes"),
    ),
    "vectors alone": (
        (lambda a, b: np.multiply.outer(a, b), lambda dy, y, a, b: (dy @ b, a @ dy)),
        {},
        ("gradient of a", "refuse the rest in a shape rule"),
    ),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_operation_is_found_and_told_why(registry, name):
    functions, traits, (check, words) = WRONG[name]
    certificate = certificate_of(*functions, **traits)
    told = {failure.check: failure.hint for failure in certificate.failures}
    assert words in told.get(check, "nothing"), str(certificate)


def test_what_follows_from_two_runs_that_differ_is_not_told_again(registry):
    certificate = certificate_of(*WRONG["noise"][0])
    assert [failure.check for failure in certificate.failures] == ["determinism"]


def test_a_wrong_shape_rule_is_found_without_samples(registry):
    class Outer(tg.Op):
        def shape(self, a, b):
            return (*b.shape, *a.shape)

        def forward(self, a, b):
            return np.multiply.outer(a, b)

        def vjp(self, dy, y, a, b):
            return dy @ b, a @ dy

    assert tg.certify(Outer).failures[0].check == "shape rule"


def test_examples_are_small(registry):
    ties = certificate_of(*WRONG["all of several maxima"][0])
    assert ties.failures[0].example.startswith("mine([[0, 0]]), all elements of x together: rule 2, numeric 1")
    square = certificate_of(lambda x: x * x, lambda dy, y, x: dy * x)
    told = re.fullmatch(r"mine\(\[\[(.+)\]\]\), dy = 1, at \[0, 0\]: rule (.+), numeric .+", square.failures[0].example)
    assert told is not None
    assert told[1] == told[2]
    lost = certificate_of(lambda x: np.where(abs(x) > 0.5, x, 0), lambda dy, y, x: dy * (abs(x) > 0.5))
    assert lost.failures[0].example == "mine([[nan]]) = [[0]]"
    limit = certificate_of(*WRONG["one of two limits"][0], elementwise=True)
    assert limit.failures[0].example.startswith("mine(-")


def test_several_inputs_are_tried_in_shapes_that_the_rule_is_made_for(registry):
    dense = tg.op(lambda x, w, b: x @ w + b)
    dense.vjp(RIGHT["dense layer"][1])
    samples = proposed_samples(dense.op, np.random.default_rng(0))
    assert [[x.shape for x in sample.inputs] for sample in samples] == [[(3, 4), (4, 2), (2,)]]


def test_a_condition_is_tried_with_truth_values_too(registry):
    chosen = tg.op(lambda c, a, b: np.where(c, a, b))
    samples = proposed_samples(chosen.op, np.random.default_rng(0))
    assert [sample.inputs[0].dtype.kind for sample in samples].count("b") == 1
    plain = tg.op(lambda a, b: a * b)
    assert all(x.dtype.kind == "f" for s in proposed_samples(plain.op, np.random.default_rng(0)) for x in s.inputs)


def test_a_random_gradient_of_the_result_is_told_where_ones_show_nothing(registry):
    joined = certificate_of(
        lambda a, b: np.concatenate([a, b]), lambda dy, y, a, b: (dy[len(a) :], dy[: len(a)]), opaque=True
    )
    told = re.search(r"dy = \[\[(.+)\], \[(.+)\]\], at \[0, 0\]: rule (.+), numeric (.+)", joined.failures[0].example)
    assert told is not None
    assert told.groups() == (told[1], told[2], told[2], told[1])


def test_a_rule_that_is_made_for_no_shapes_is_tried_on_matrices(registry):
    product = tg.op(lambda x, w: x @ w)
    product.vjp(WRONG["product without its transpose"][0][1])
    samples = proposed_samples(product.op, np.random.default_rng(0))
    assert [[x.shape for x in sample.inputs] for sample in samples] == [[(3, 4), (4, 2)]]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (lambda rng: [rng.standard_normal(3)], r"its samples are tg.Sample\(x, ..., attribute=value\)"),
        (
            lambda rng: [tg.Sample([1.0], factor=2)],
            "a sample sets 'factor', which is not an attribute of the operation",
        ),
        (lambda rng: rng.nothing, "its samples failed: AttributeError"),
    ],
)
def test_samples_that_are_none_are_a_clear_error(registry, samples, message):
    with pytest.raises(tg.TinygraphError, match=message):
        certificate_of(lambda x: 2 * x, lambda dy, y, x: 2 * dy, samples=samples)


# ---- what newcomers met


@pytest.mark.parametrize("forward", [lambda x: [int(x.argmax()), 2], lambda x: np.floor(x).astype(int)])
def test_a_rule_that_never_runs_is_not_certified(registry, forward):
    def rule(dy, y, x):
        raise AssertionError("never called")

    (wrong,) = certificate_of(forward, rule).failures
    assert (wrong.check, wrong.figure) == ("gradients", "the result is int64: the rule never runs")


def test_a_result_whose_size_depends_on_values_is_named(registry):
    def positive(x, w):
        return (x * w)[x > 0]

    def rule(dy, y, x, w):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        dx[x > 0], dw[x > 0] = dy * w[x > 0], dy * x[x > 0]
        return dx, dw

    (wrong,) = certificate_of(positive, rule, opaque=True).failures
    assert wrong.check == "shape rule"
    assert "the size of the result depends on the values" in wrong.hint


def test_beside_a_rule_that_fails_no_other_line_speaks_of_it(registry):
    certificate = certificate_of(lambda x: x * x, lambda dy, y, x: dy * missing_name)  # noqa: F821
    assert [line.check for line in certificate.failures] == ["gradient of x"]
    figures = {line.check: line.figure for line in certificate.lines}
    for check in ("precision", "float32", "not a number", "large numbers", "error against step", "kinks and ties"):
        assert figures[check] == "the rule failed, see above"


def test_exchanged_halves_are_named_as_such(registry):
    def glu(x):
        a, b = np.split(x, 2, axis=-1)
        return a * tg.sigmoid(b)

    def rule(dy, y, x):
        a, b = np.split(x, 2, axis=-1)
        s = tg.sigmoid(b)
        return np.concatenate([dy * a * s * (1 - s), dy * s], axis=-1)

    wrong = certificate_of(glu, rule, opaque=True).failures[0]
    assert wrong.hint.startswith("parts in another order: ")


def test_exchanged_halves_that_are_written_one_after_another_are_named_too(registry):
    def glu(x):
        a, b = np.split(x, 2, axis=-1)
        return a * tg.sigmoid(b)

    def rule(dy, y, x):
        a, b = np.split(x, 2, axis=-1)
        s, dx = tg.sigmoid(b), np.zeros_like(x)
        dx[..., : a.shape[-1]] = dy * a * s * (1 - s)
        dx[..., a.shape[-1] :] = dy * s
        return dx

    wrong = certificate_of(glu, rule, opaque=True).failures[0]
    assert wrong.hint.startswith("the halves along axis -1 exchange their places")


@pytest.mark.parametrize("at_limit", [0.0, 0.5])
def test_a_rule_that_is_wrong_at_one_number_alone_is_named(registry, at_limit):
    def corners(x):
        return np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5)

    def rule(dy, y, x):
        return dy * np.where(np.abs(x) < 1, x, np.sign(x) * np.where(np.abs(x) > 1, 1, at_limit))

    (wrong,) = certificate_of(corners, rule, opaque=True).failures
    assert wrong.check == "kinks and ties"
    assert wrong.hint.startswith("right next to 1 and wrong there: a condition")


def test_samples_that_are_alike_are_not_repeated(registry):
    """A product of stacks whose rule lacks a transpose accepts cubes alone."""

    @tg.op
    def product(a, b):
        return np.einsum("bij,bjk->bik", a, b)

    @product.vjp
    def product_vjp(dy, y, a, b):
        return tg.einsum([dy, b], "bik,bkj->bij"), tg.einsum([a, dy], "bij,bik->bjk")

    certificate = tg.certify(product)
    assert len(set(certificate.samples)) == len(certificate.samples)
    assert certificate.failures[0].hint.startswith("transposed")
