"""Inputs that the certificate finds by itself, next to samples and in shapes that fit; and the verdicts."""

from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.verify.certificate.propose import proposed_samples, sample_line
from tinygraph.verify.certificate.search import RAN, fitting_shapes, linked_axes

NEXT_TO = "right on your samples, wrong next to them"


def normal(*shapes):
    return lambda rng: [tg.Sample(*(rng.standard_normal(shape) for shape in shapes))]


def certificate_of(forward, rule, opaque=True, surrogate=None, **traits):
    forward.__name__ = "mine"
    operation = tg.op(**traits)(forward)
    operation.vjp(rule, opaque=opaque, surrogate=surrogate)
    return tg.certify(operation)


# ---- mistakes that show only next to the samples


def windows(x):
    return np.stack([x[:, i : i + 4] for i in range(x.shape[1] - 3)], axis=1)


def windows_rule(dy, y, x):
    dx = np.zeros_like(x)
    for i in range(x.shape[1] - 3):
        dx[:, i : i + 4] = dy[:, i]
    return dx


def smoothed(x):
    y, state = np.zeros_like(x), np.zeros_like(x[..., 0])
    for t in range(x.shape[-1]):
        state = 0.8 * state + x[..., t]
        y[..., t] = state
    return y


def smoothed_rule(steps):
    def rule(dy, y, x):
        dx = np.zeros_like(x)
        for t in range(x.shape[-1]):
            for back in range(min(steps, x.shape[-1] - t)):
                dx[..., t] += 0.8**back * dy[..., t + back]
        return dx

    return rule


def spectrum_rule(dy, y, x):
    half = 2 * dy * np.fft.rfft(x, axis=-1)
    half[..., 1 : (x.shape[-1] + 1) // 2] /= 2
    return np.fft.irfft(half, axis=-1) * x.shape[-1]


def segments(x, ids, *, count: int):
    y = np.zeros((count, *x.shape[1:]), x.dtype)
    np.add.at(y, ids, x)
    return y


def segments_rule(dy, y, x, ids, *, count):
    return np.repeat(dy, np.bincount(ids, minlength=count), axis=0), None


def table(x, heights):
    return np.interp(x, np.linspace(0, 1, len(heights)), heights).astype(x.dtype)


def table_rule(dy, y, x, heights):
    steps = len(heights) - 1
    left = np.clip((x * steps).astype(int), 0, steps - 1)
    share, dheights = np.clip(x * steps - left, 0, 1), np.zeros_like(heights)
    np.add.at(dheights, left, dy * (1 - share))
    np.add.at(dheights, left + 1, dy * share)
    return dy * np.diff(heights)[left] * steps, dheights


def pairs_rule(dy, y, a, b):
    sign = dy * np.sign(a[:, None] - b)
    return sign.sum(axis=1), -sign.sum(axis=0)[:: 1 if len(a) == len(b) else -1]


def mixed(x, *, share: float):
    return share * x + (1 - share) * np.tanh(x)


def symmetric(rng):
    x = rng.standard_normal((3, 3))
    return [tg.Sample(x + x.T)]


NEAR = {
    "windows that overlap": ("other sizes", windows, windows_rule, normal((2, 4))),
    "eight steps back": ("other sizes", smoothed, smoothed_rule(8), normal((3, 5))),
    "twenty steps back": ("other sizes", smoothed, smoothed_rule(20), normal((3, 5))),
    "odd sizes": ("other sizes", lambda x: np.abs(np.fft.rfft(x, axis=-1)) ** 2, spectrum_rule, normal((3, 4))),
    "unequal lengths": ("other sizes", lambda a, b: np.abs(a[:, None] - b).sum(), pairs_rule, normal((4,), (4,))),
    "symmetric matrices": ("far from zero", lambda a: a @ a, lambda dy, y, a: dy @ a + a @ dy, symmetric),
    "sorted ids": (
        "other values",
        segments,
        segments_rule,
        lambda rng: [tg.Sample(rng.standard_normal((5, 2)), np.array([0, 0, 1, 1, 2]), count=3)],
    ),
    "inside the table": (
        "far from zero",
        table,
        table_rule,
        lambda rng: [tg.Sample(rng.uniform(0, 1, 6), rng.standard_normal(5))],
    ),
    "a share of one half": (
        "other attributes",
        mixed,
        lambda dy, y, x, *, share: dy * (1 - share + share * (1 - np.tanh(x) ** 2)),
        lambda rng: [tg.Sample(rng.standard_normal((3, 4)), share=0.5)],
    ),
    "stacks of matrices": (
        "other sizes",
        lambda x: x - x.mean(axis=-2, keepdims=True),
        lambda dy, y, x: dy - dy.mean(axis=0, keepdims=True),
        normal((3, 4)),
    ),
    "a clamp at 50": ("far from zero", lambda x: np.clip(x, -50, 50), lambda dy, y, x: dy, normal((3, 4))),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_mistake_next_to_the_samples_has_a_verdict_of_its_own(registry, name):
    check, forward, rule, samples = NEAR[name]
    certificate = certificate_of(forward, rule, samples=samples)
    assert [failure.check for failure in certificate.failures] == [check]
    assert certificate.verdict == NEXT_TO
    assert certificate.summary().startswith(f"mine is {NEXT_TO}: 1 of ")
    assert certificate.failures[0].example


def test_sizes_at_which_a_rule_is_right_are_told(registry):
    example = certificate_of(smoothed, smoothed_rule(8), samples=normal((3, 5))).failures[0].example
    assert example.startswith("x (3, 11): ")
    assert example.endswith("; right with x (3, 6)")


def test_a_rule_that_limits_dy_is_found(registry):
    certificate = certificate_of(lambda x: np.tanh(x), lambda dy, y, x: np.clip(dy, -1000, 1000) * (1 - y * y))
    assert [(failure.check, failure.hint) for failure in certificate.failures] == [
        ("linear in dy", "it limits dy, or adds to it")
    ]


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (lambda dy, y, x: dy * 2 * np.cos(x).astype(np.float32).astype(x.dtype), "computes in float32"),
        (lambda dy, y, x: dy * 2.00000002 * np.cos(x), "too few digits"),
    ],
)
def test_an_error_floor_is_told(registry, rule, cause):
    certificate = certificate_of(lambda x: 2 * np.sin(x), rule, samples=lambda rng: [tg.Sample(rng.uniform(0, 1, 9))])
    assert cause in " ".join(failure.hint for failure in certificate.failures)


def test_gradients_are_compared_on_every_broadcast(registry):
    certificate = certificate_of(
        lambda a, b: a * b,
        lambda dy, y, a, b: ((dy * b).reshape(a.shape), (dy * a).reshape(b.shape)),
        elementwise=True,
    )
    assert [failure.figure for failure in certificate.failures] == ["a gradient is wrong where inputs broadcast"]


# ---- shapes that are searched for


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(x, h, c, w, u, b):
    i, f, g, o = np.split(x @ w + h @ u + b, 4, axis=1)
    return sigmoid(o) * np.tanh(sigmoid(f) * c + sigmoid(i) * np.tanh(g))


def cell_rule(dy, y, x, h, c, w, u, b):
    i, f, g, o = np.split(x @ w + h @ u + b, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    state = np.tanh(f * c + i * g)
    dn = dy * o * (1 - state**2)
    dz = [dn * g * i * (1 - i), dn * c * f * (1 - f), dn * i * (1 - g * g), dy * state * o * (1 - o)]
    dz = np.concatenate(dz, axis=1)
    return dz @ w.T, dz @ u.T, dn * f, x.T @ dz, h.T @ dz, dz.sum(axis=0)


def form(x, a, y, b, z, c):
    return np.einsum("bi,ij,bj->b", x, a, y) + np.einsum("bk,kl,bl->b", y, b, z) + z @ c


def form_rule(dy, out, x, a, y, b, z, c):
    d = dy[:, None]
    return d * (y @ a.T), (x * d).T @ y, d * (x @ a + z @ b.T), (y * d).T @ z, d * (y @ b + c), z.T @ dy


def shuffled(x, *, r: int = 2):
    n, c, h, w = x.shape
    return x.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (r * r), h * r, w * r)


def shuffled_rule(dy, y, x, *, r):
    n, c, h, w = x.shape
    return dy.reshape(n, c // (r * r), h, r, w, r).transpose(0, 1, 3, 5, 2, 4).reshape(x.shape)


def clip_mean(x):
    _n, _c, _t, _h, _w = x.shape
    return x.mean(axis=(2, 3, 4))


def clip_mean_rule(dy, y, x):
    return np.broadcast_to(dy[..., None, None, None] / np.prod(x.shape[2:]), x.shape)


SEARCHED = {
    "LSTM cell": (cell, cell_rule),
    "six arrays": (form, form_rule),
    "pixel shuffle": (shuffled, shuffled_rule),
    "video": (clip_mean, clip_mean_rule),
    "square matrices": (
        lambda x: np.eye(len(x), dtype=x.dtype) + x + x @ x / 2,
        lambda dy, y, x: dy + (dy @ x.T + x.T @ dy) / 2,
    ),
    "determinant": (lambda x: np.linalg.slogdet(x)[1], lambda dy, y, x: dy * np.linalg.inv(x).T),
    "three numbers": (
        lambda a, b: np.cross(a, b),
        lambda dy, y, a, b: (np.cross(b, dy), np.cross(dy, a)),
    ),
}


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")
@pytest.mark.parametrize("name", SEARCHED)
def test_inputs_are_found_for(registry, name):
    certificate = certificate_of(*SEARCHED[name])
    assert certificate.proposed
    assert certificate.ok, str(certificate)


def test_axes_of_several_sizes_change_together():
    shapes = ((2, 3), (2, 4), (3, 16), (4, 16), (16,))

    def runs(tried):
        x, h, w, u, b = tried
        return x[0] == h[0] and x[1] == w[0] and h[1] == u[0] and w[1] == u[1] == b[0] == 4 * h[1]

    found = linked_axes(shapes, runs)
    assert frozenset({(1, 1), (2, 1), (3, 0), (3, 1), (4, 0)}) in found
    assert frozenset({(0, 0), (1, 0)}) in found


def test_a_search_that_finds_nothing_ends():
    assert list(fitting_shapes(3, lambda shapes: (0,), lambda shapes: True)) == []
    assert list(fitting_shapes(1, lambda shapes: RAN, lambda shapes: False)) == []


def test_the_same_inputs_are_proposed_again(registry):
    operation = tg.op(form)
    operation.vjp(form_rule)
    first, second = (proposed_samples(operation.op, np.random.default_rng(0)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first[0].inputs, second[0].inputs, strict=True))


# ---- no inputs


@pytest.fixture
def picky(registry):
    @tg.op
    def picky(a, b, *, hidden: int):
        raise ValueError("never")

    return picky


def test_no_inputs_is_not_wrong(picky):
    certificate = tg.certify(picky)
    assert (certificate.ok, certificate.verdict) == (False, "no inputs")
    assert certificate.summary() == "picky is not checked: I could not find inputs"
    assert certificate.to_json()["verdict"] == "no inputs"


def test_a_sample_to_fill_in_is_printed_for_functions_and_classes(picky):
    (line,) = tg.certify(picky).lines
    call = sample_line(picky.op)
    assert line.hint.count(call) == 2
    (sample,) = eval(f"(lambda rng: [{call}])(np.random.default_rng(0))", {"tg": tg, "np": np})
    assert (len(sample.inputs), sample.attributes) == (2, {"hidden": 2})


def test_the_command_ends_with_2_where_there_are_no_inputs(picky):
    result = CliRunner().invoke(main, ["certify", "picky"])
    assert result.exit_code == 2
    assert "I could not find inputs" in result.output


# ---- verdicts


def test_a_mistake_in_the_shape_rule_is_one_line(registry):
    class TooManyAxes(tg.Op):
        samples: ClassVar = staticmethod(normal((3, 4)))

        def shape(self, x):
            return (*x.shape, 1)

        def forward(self, x):
            return np.tanh(x)

        def vjp(self, dy, y, x):
            return dy * (1 - y * y)

    tg.register(TooManyAxes)
    assert [failure.check for failure in tg.certify(TooManyAxes).failures] == ["shape rule"]


def test_what_is_refused_is_not_called_ok(registry):
    def pairwise(x):
        if x.shape[-1] < 2:
            raise tg.ShapeError("pairwise: two elements are needed")
        return np.diff(x, axis=-1)

    certificate = certificate_of(
        pairwise, lambda dy, y, x: np.concatenate([-dy[..., :1], dy[..., :-1] - dy[..., 1:], dy[..., -1:]], axis=-1)
    )
    assert certificate.ok, str(certificate)
    assert [line.verdict for line in certificate.lines if line.check == "size one"] == ["-"]


def test_no_curve_is_ok_next_to_a_wrong_gradient(registry):
    certificate = certificate_of(
        lambda x: x * x, lambda dy, y, x: 2 * dy * x + 1e-6 * dy * np.exp(-5 * x * x), opaque=False
    )
    lines = {line.check: line.verdict for line in certificate.lines}
    assert lines["gradient of x"] == "wrong"
    assert lines["error against step"] != "ok"


NUCLEAR = (
    lambda a: np.linalg.svd(a, compute_uv=False).sum(axis=-1),
    lambda dy, y, a: dy[..., None, None] * (lambda u, s, v: u @ v)(*np.linalg.svd(a, full_matrices=False)),
)


def test_a_subgradient_at_equal_singular_values_is_right(registry):
    assert certificate_of(*NUCLEAR).ok
    sign = certificate_of(NUCLEAR[0], lambda dy, y, a: -NUCLEAR[1](dy, y, a))
    assert sign.failures[0].hint == "sign"


@pytest.mark.parametrize(
    ("forward", "rule"),
    [
        (
            lambda x: np.nanmean(x, axis=-1),
            lambda dy, y, x: dy[..., None] * ~np.isnan(x) / (~np.isnan(x)).sum(axis=-1, keepdims=True),
        ),
        (lambda a: np.linalg.slogdet(np.tril(a) + 9 * np.eye(*a.shape))[1], None),
    ],
)
def test_nan_that_is_lost_on_purpose_or_in_lapack_is_a_remark(registry, forward, rule):
    if rule is None:
        rule = lambda dy, y, a: dy * np.diag(1 / np.diag(a + 9 * np.eye(*a.shape)))  # noqa: E731
    certificate = certificate_of(forward, rule, samples=normal((3, 3)))
    assert not [failure for failure in certificate.failures if failure.check == "not a number"]


def test_a_saturated_softmax_is_right(registry):
    def hot(x, *, temperature: float = 0.5):
        e = np.exp((x - x.max(axis=-1, keepdims=True)) / temperature)
        return e / e.sum(axis=-1, keepdims=True)

    certificate = certificate_of(
        hot, lambda dy, y, x, *, temperature: y * (dy - (dy * y).sum(axis=-1, keepdims=True)) / temperature
    )
    assert certificate.ok, str(certificate)


# ---- surrogates


def cosine_distance(a, b):
    return np.mean(1 - (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1)))


def cosine_distance_rule(dy, y, a, b):
    aa, bb, ab = ((u * v).sum(-1, keepdims=True) for u, v in ((a, a), (b, b), (a, b)))
    scale = -dy / np.sqrt(aa * bb) * a.shape[-1] / a.size
    return scale * (b - ab * a / aa), scale * (a - ab * b / bb)


def test_terms_that_cancel_where_both_inputs_are_one_are_right(registry):
    assert certificate_of(cosine_distance, cosine_distance_rule).ok


def test_a_straight_through_estimator_is_checked_against_what_it_stands_for(registry):
    def straight(x):
        return np.sign(x)

    certificate = certificate_of(straight, lambda dy, y, x: dy * (abs(x) < 1), surrogate=lambda x: np.clip(x, -1, 1))
    assert certificate.ok, str(certificate)
    assert certificate.surrogate == "clip(x, low=-1.0, high=1.0)"
    assert "certified as a surrogate, with the gradient of clip(x" in certificate.summary()
    wrong = certificate_of(straight, lambda dy, y, x: dy, surrogate=lambda x: np.clip(x, -1, 1))
    assert wrong.failures[0].check == "gradient of x"
    assert not certificate_of(straight, lambda dy, y, x: dy * (abs(x) < 1)).ok


@pytest.fixture
def reversal(registry):
    @tg.register
    class Reversal(tg.Op):
        scale: float = 1.0

        def forward(self, x):
            return x + 0.0

        def surrogate(self, x):
            return -self.scale * x

        def vjp(self, dy, y, x):
            return -self.scale * dy

    return Reversal


def test_attributes_of_a_surrogate_are_tried_though_the_result_does_not_depend_on_them(registry):
    def reversed_gradient(x, *, strength: float = 1.0):
        return x + 0

    rule = lambda dy, y, x, *, strength: -dy  # noqa: E731
    stands_for = lambda x, *, strength: -strength * x  # noqa: E731
    certificate = certificate_of(reversed_gradient, rule, surrogate=stands_for)
    assert "strength" in certificate.failures[0].example


def test_a_class_declares_a_surrogate_by_a_method(reversal):
    certificate = tg.certify(reversal)
    assert (certificate.ok, certificate.surrogate) == (True, "-1 * x")


def test_check_does_not_call_the_graph_of_a_surrogate_wrong(reversal):
    x, w = tg.tensor([1.0, 2.0], name="x"), tg.tensor([3.0, 4.0], name="w")
    report = tg.check((reversal.function(x) * w).sum())
    assert report.ok, str(report)
    assert [record.input for record in report.whole] == ["tensor w"]


def test_a_numpy_function_may_be_a_surrogate(registry):
    assert certificate_of(lambda x: np.sign(x), lambda dy, y, x: dy * (1 - np.tanh(x) ** 2), surrogate=np.tanh).ok


def test_a_rule_that_tells_axes_apart_by_their_sizes_is_found(registry):
    def rule(dy, y, x, w, b):
        return dy @ w.T, x.T @ dy, dy.sum(axis=0 if dy.shape[0] != dy.shape[1] else 1)

    certificate = certificate_of(lambda x, w, b: x @ w + b, rule)
    assert [(failure.check, failure.figure) for failure in certificate.failures] == [
        ("other sizes", "wrong with equal sizes")
    ]


def test_sizes_that_inputs_must_have_are_found(registry):
    def turned(q, v):
        if q.shape[-1] != 4 or v.shape[-1] != 3:
            raise tg.ShapeError("turned: 4 numbers and 3 are needed")
        return q[..., :1] * v + np.cross(q[..., 1:], v)

    tried = proposed_samples(tg.op(turned).op, np.random.default_rng(0))
    assert {tuple(x.shape[-1] for x in sample.inputs) for sample in tried} == {(4, 3)}


def test_weights_of_several_gates_are_found_where_one_condition_speaks_of_all(registry):
    @tg.op
    def gated(x, h, w, u, b):
        return np.tanh(sum(np.split(x @ w + h @ u + b, 3, axis=1)))

    @gated.shape
    def gated_shape(x, h, w, u, b):
        size = h.shape[1]
        if (
            len(x) != len(h)
            or w.shape != (x.shape[1], 3 * size)
            or u.shape != (size, 3 * size)
            or b.shape != (3 * size,)
        ):
            raise tg.ShapeError("gated: the sizes do not fit")
        return h.shape

    tried = proposed_samples(gated.op, np.random.default_rng(0))
    assert {sample.inputs[4].shape[0] / sample.inputs[1].shape[1] for sample in tried} == {3}


def test_a_result_that_is_float64_because_of_integers_says_so(registry):
    @tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal((4, 3)), rng.integers(0, 3, 4))])
    def chosen(x, labels):
        return x[np.arange(len(x)), labels]

    chosen.shape(lambda x, labels: labels.shape)
    chosen.vjp(lambda dy, y, x, labels: (tg.one_hot(labels, x.shape[1], x.dtype.name) * tg.reshape(dy, (-1, 1)), None))
    (failure,) = tg.certify(chosen).failures
    assert (failure.check, failure.figure) == ("float32", "the result is float64")
    assert failure.hint.endswith("result_dtype can say another")


def test_five_axes_are_tried_where_any_number_of_axes_fits(registry):
    def rule(dy, y, x):
        return dy - dy.mean(axis=-1 if x.ndim < 5 else 2, keepdims=True)

    certificate = certificate_of(lambda x: x - x.mean(axis=-1, keepdims=True), rule)
    assert [failure.figure for failure in certificate.failures] == ["wrong with x (2, 1, 3, 2, 4)"]
