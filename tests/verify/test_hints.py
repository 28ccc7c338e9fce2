"""Hints: mistakes of each kind are named with their place, right rules have none, and what is not known is not named."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.verify.certificate.candidate import candidate_for
from tinygraph.verify.hints import PROVEN, UNKNOWN, VALUE_READ, hint, paths
from tinygraph.verify.hints.spots import Rule
from tinygraph.verify.hints.trial import Trial


def hints_of(forward, rule, samples=None, opaque=False):
    """Return the hint for each input whose gradient is wrong."""
    if forward.__name__ == "<lambda>":
        forward.__name__ = "mine"
    operation = tg.op(samples=samples)(forward)
    operation.vjp(rule, opaque=opaque)
    compared = {}
    for case in candidate_for(operation).differentiable():
        findings = [case.find(place) for place in case.places]
        for finding in findings:
            compared.setdefault(case.input_name(finding.place), []).append((case.rule, finding, findings))
    wrong = {name: trials for name, trials in compared.items() if any(finding.wrong for _, finding, _ in trials)}
    return {name: hint(trials) for name, trials in wrong.items()}


def draw(*shapes, ids=None, **attributes):
    """Samples of two calls, the second with one more along every axis of size 3."""

    def samples(rng):
        for more in (0, 1):
            sizes = [[size + more * (size == 3) for size in shape] for shape in shapes]
            extra = [] if ids is None else [np.array(ids[more])]
            chosen = {name: values[more] for name, values in attributes.items()}
            yield tg.Sample(*(rng.standard_normal(size) for size in sizes), *extra, **chosen)

    return lambda rng: list(samples(rng))


def softened(x, *, t: float = 1.0):
    return tg.softmax(x / t)


def softened_over_columns(dy, y, x, *, t):
    s = np.sum(dy * y, axis=0, keepdims=True)
    return y * (dy - s) / t


def normed(x):
    c = x - np.mean(x, axis=-1, keepdims=True)
    return c / np.sqrt(np.mean(c * c, axis=-1, keepdims=True) + 1e-5)


def normed_without_term(dy, y, x):
    c = x - np.mean(x, axis=-1, keepdims=True)
    r = 1 / np.sqrt(np.mean(c * c, axis=-1, keepdims=True) + 1e-5)
    return r * (dy - np.mean(dy, axis=-1, keepdims=True))


def normed_with_wrong_sign(dy, y, x):
    c = x - np.mean(x, axis=-1, keepdims=True)
    r = 1 / np.sqrt(np.mean(c * c, axis=-1, keepdims=True) + 1e-5)
    return r * (dy - np.mean(dy, axis=-1, keepdims=True) + y * np.mean(dy * y, axis=-1, keepdims=True))


def gathered_once(dy, y, x, ids):
    dx = np.zeros_like(x)
    dx[ids] += dy
    return dx, None


def decayed(x, *, a: float = 0.5):
    y, h = np.zeros_like(x), 0
    for t in range(x.shape[-1]):
        h = a * h + x[:, t]
        y[:, t] = h
    return y


def decayed_from_the_start(dy, y, x, *, a):
    dx, c = np.zeros_like(x), 0
    for t in range(x.shape[-1]):
        c = a * c + dy[:, t]
        dx[:, t] = c
    return dx


def pooled(x, *, w: int = 2):
    return np.stack([x[:, i : i + w].mean(axis=1) for i in range(x.shape[1] - w + 1)], axis=1)


def pooled_assigned(dy, y, x, *, w):
    dx = np.zeros_like(x)
    for i in range(y.shape[1]):
        dx[:, i : i + w] = dy[:, i : i + 1] / w
    return dx


def pooled_one_too_few(dy, y, x, *, w):
    dx = np.zeros_like(x)
    for i in range(y.shape[1] - 1):
        dx[:, i : i + w] += dy[:, i : i + 1] / w
    return dx


def sparse(x):
    s = -np.sort(-x, axis=-1)
    c = np.cumsum(s, axis=-1) - 1
    n = (s * np.arange(1, x.shape[-1] + 1) > c).sum(axis=-1, keepdims=True)
    return np.maximum(x - np.take_along_axis(c, n - 1, axis=-1) / n, 0)


def derivative_of_tanh(y):
    return 1 + y * y


def bent(dy, y, x):
    return dy * derivative_of_tanh(y)


def weighed_sum(x, w):
    return np.tanh(x * w)


def weighed_sum_rule(dy, y, x, w):
    d = dy * (1 - y * y)
    return d * w, np.sum(d * x, axis=0, keepdims=True)


def kurtosis(x):
    c = x - x.mean(axis=-1, keepdims=True)
    variance = (c * c).mean(axis=-1, keepdims=True)
    return (c**4).mean(axis=-1, keepdims=True) / variance**2


def kurtosis_of_a_number(dy, y, x):
    c = x - x.mean(axis=-1, keepdims=True)
    v = (c * c).mean(axis=-1, keepdims=True)
    return dy * 4 * (c**3 - (c**3).mean(axis=-1, keepdims=True)) / v**2 / x.shape[-1]


def fitted(a, b):
    return np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ b)


def fitted_once(dy, y, a, b):
    z = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), dy)
    return np.outer(b, z), a @ z


def swept(x):
    h = np.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        gate = 1 / (1 + np.exp(-x[:, t]))
        h = gate * h + np.sin(x[:, t])
    return h


def swept_without_gates(dy, y, x):
    dx = np.zeros_like(x)
    for t in reversed(range(x.shape[1])):
        dx[:, t] = dy * np.cos(x[:, t])
        dy = dy / (1 + np.exp(-x[:, t]))
    return dx


X, SHIFTED = draw((3, 5)), draw((3, 5), k=(2, 1))
SCALED = draw((3, 5), a=(0.5, 3.0))
# Forward, rule, samples, opaque; the input, and words of the hint.
MISTAKES = {
    "sign of a term": (normed, normed_with_wrong_sign, X, False, "x", "sign: in line"),
    "a term": (normed, normed_without_term, X, False, "x", "a term is missing: `- "),
    "axis": (softened, softened_over_columns, draw((3, 5), t=(2.0, 0.5)), False, "x", "wrong axis: "),
    "an attribute": (
        softened,
        lambda dy, y, x: y * (dy - np.sum(dy * y, axis=-1, keepdims=True)),
        draw((3, 5), t=(2.0, 0.5)),
        False,
        "x",
        "missing 1/t",
    ),
    "factor of a term": (
        lambda x, *, a: x**3 + a * np.sin(x),
        lambda dy, y, x, *, a: dy * (x**2 + a * np.cos(x)),
        SCALED,
        False,
        "x",
        "missing factor 3: in line",
    ),
    "repeated indices": (
        lambda x, ids: x[ids],
        gathered_once,
        draw((3, 2), ids=([0, 2, 2], [3, 3, 1])),
        True,
        "x",
        "gradients add up where indices repeat: ",
    ),
    "inverse permutation": (
        lambda x, p: x[p],
        lambda dy, y, x, p: (dy[p], None),
        draw((3, 2), ids=([1, 2, 0], [2, 0, 3, 1])),
        True,
        "x",
        "inverse permutation",
    ),
    "shift": (
        lambda x, *, k: np.roll(x, k, axis=-1),
        lambda dy, y, x, *, k: np.roll(dy, k, axis=-1),
        SHIFTED,
        True,
        "x",
        "sign: in line",
    ),
    "not moved": (
        lambda x, *, k: np.roll(x, k, axis=-1),
        lambda dy, y, x: dy,
        SHIFTED,
        True,
        "x",
        "the right numbers in the wrong places: shifted along axis 1",
    ),
    "flip": (lambda x: x[::-1], lambda dy, y, x: dy, X, True, "x", "np.flip(dy, 0)"),
    "recurrence": (decayed, decayed_from_the_start, draw((3, 5), a=(0.5, 0.8)), True, "x", "the wrong way round"),
    "windows": (pooled, pooled_assigned, draw((2, 7), w=(3, 2)), True, "x", "gradients add up: "),
    "one too few": (pooled, pooled_one_too_few, draw((2, 7), w=(3, 2)), True, "x", "`1` should be `0`"),
    "transpose in a product": (
        lambda a, b: np.linalg.solve(a + 4 * np.eye(len(a)), b),
        lambda dy, y, a, b: (
            -np.linalg.solve((a + 4 * np.eye(len(a))).T, dy) @ y.T,
            np.linalg.solve(a + 4 * np.eye(len(a)), dy),
        ),
        draw((3, 3), (3, 2)),
        True,
        "b",
        "transposed: ",
    ),
    "y for x": (
        lambda x: np.sin(x) * 2,
        lambda dy, y, x: dy * 2 * np.cos(y),
        X,
        False,
        "x",
        "y stands where x belongs: ",
    ),
    "sum over a broadcast input": (weighed_sum, weighed_sum_rule, draw((3, 5), (3, 1)), False, "w", "wrong axis: "),
    "rule of another function": (
        sparse,
        lambda dy, y, x: y * (dy - (dy * y).sum(axis=-1, keepdims=True)),
        X,
        True,
        "x",
        "it is the rule of softmax",
    ),
    "order of arguments": (
        lambda x, w: np.maximum(x @ w, 0),
        lambda x, w, y, dy: ((dy * (y > 0)) @ w.T, x.T @ (dy * (y > 0))),
        draw((3, 5), (5, 2)),
        False,
        "x",
        "takes its arguments in another order",
    ),
    "a helper": (lambda x: np.tanh(x), bent, X, False, "x", "`y * y` should be `-(y * y)`"),
    "a condition": (
        lambda x: np.where(x > 0.3, x * x, 0),
        lambda dy, y, x: 2 * dy * x,
        X,
        False,
        "x",
        "missing factor (y > 0)",
    ),
    "a divisor as constant": (
        kurtosis,
        kurtosis_of_a_number,
        lambda rng: [tg.Sample(rng.standard_normal((2, size))) for size in (5, 7)],
        True,
        "x",
        "a term is missing: `- 1 / x.shape[-1] * ",
    ),
    "a matrix as constant": (
        fitted,
        fitted_once,
        draw((5, 3), (5,)),
        True,
        "a",
        "a term is missing: the rule takes `a.T @ a",
    ),
    "gates as constant": (
        swept,
        swept_without_gates,
        X,
        True,
        "x",
        "a term is missing: the rule takes `1 / (1 + np.exp",
    ),
    "a wide limit of a branch": (
        lambda x: np.sinc(x),
        lambda dy, y, x: (
            dy * np.where(np.abs(x) < 2, -(np.pi**2) * x / 3, np.cos(np.pi * x) / (x + (x == 0)) - y / (x + (x == 0)))
        ),
        lambda rng: [tg.Sample(np.array([[1e-5, 0.3, -0.8], [2.5, -3.2, 1.4]])), tg.Sample(rng.uniform(0.2, 3, (4,)))],
        False,
        "x",
        "a condition is wrong, or what it chooses: ",
    ),
    "exchanged beside a broadcast input": (
        lambda a, b, w: a * np.sin(b) * w,
        lambda dy, y, a, b, w: (dy * a * np.cos(b) * w, dy * np.sin(b) * w, dy * a * np.sin(b)),
        draw((3, 5), (3, 5), (5,)),
        False,
        "a",
        "the gradients of its inputs are swapped",
    ),
    "a number of forward": (
        lambda x: np.tanh(0.35 * x),
        lambda dy, y, x: dy * 0.53 * (1 - y * y),
        X,
        False,
        "x",
        "off by a factor of",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named(registry, kind):
    forward, rule, samples, opaque, place, words = MISTAKES[kind]
    found = hints_of(forward, rule, samples, opaque)
    assert words in found[place], found


def test_an_edit_is_named_only_if_all_inputs_are_right_then(registry):
    # For square matrices alone a transpose would do.
    def samples(rng):
        return [tg.Sample(rng.standard_normal((3, 3))), tg.Sample(rng.standard_normal((2, 3)))]

    found = hints_of(lambda x: x[..., ::-1] * 2, lambda dy, y, x: 2 * dy, samples, True)
    assert "np.flip" in found["x"]
    assert found["x"].endswith(f"right on all 2{PROVEN}")


def test_a_factor_that_fits_by_chance_is_none(registry):
    # Close to 0 the next term of the series is small: a factor of 0.9995 would do, and is not the mistake.
    def samples(rng):
        return [tg.Sample(rng.uniform(0.04, 0.05, (1, 1))), tg.Sample(np.array([0.045]))]

    found = hints_of(lambda x: np.sin(x), lambda dy, y, x: dy * (1 - x * x / 2), samples, True)
    assert "0.99" not in found["x"]
    assert "1.0" not in found["x"]


def test_a_sign_of_the_bound_of_a_slice_is_not_tried(registry):
    def windows(x, *, w: int = 3, s: int = 2):
        return np.stack([x[:, i : i + w].sum(axis=1) for i in range(0, x.shape[1] - w + 1, s)], axis=1)

    def side_by_side(dy, y, x, *, w):
        dx = np.zeros_like(x)
        for i in range(y.shape[1]):
            dx[:, i * w : i * w + w] += dy[:, i : i + 1]
        return dx

    def samples(rng):
        return [tg.Sample(rng.standard_normal((2, 5)))]

    assert not hints_of(windows, side_by_side, samples, True)["x"].startswith("sign")


def test_an_array_that_forward_writes_into_is_no_part_of_it(registry):
    def shifted(x):
        y = np.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        y[:, 0] = np.sin(x[:, -1])
        return y

    def rule(dy, y, x):
        dx = np.zeros_like(x)
        dx[:, 1:] = dy[:, :-1]
        dx[:, -1] += dy[:, 0] * np.cos(x[:, -1])
        return dx

    assert "as constant" not in hints_of(shifted, rule, X, True)["x"]


@pytest.mark.parametrize(
    ("weight", "words"),
    [(0, "as constant"), (-1, "sign of a term"), (2, "counted twice"), (0.5, "half of a term"), (3, ""), (1, "")],
)
def test_the_weight_of_a_part_of_forward_is_told(registry, weight, words):
    @tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal((2, 3)))])
    def weighed(x):
        return x * np.sin(x).sum()

    @weighed.vjp(opaque=True)
    def weighed_vjp(dy, y, x):
        return dy * np.sin(x).sum() + weight * (dy * x).sum() * np.cos(x)

    (case,) = candidate_for(weighed).differentiable()
    finding = case.find(0)
    found = paths.find([Trial(case.rule, finding, [finding])])
    assert words in found
    assert ("`np.sin(x).sum()`, in line" in found) == bool(words)


def test_a_composite_that_stops_a_gradient_is_told_where(registry):
    @tg.composite
    def centred(x):
        return x - tg.stop_gradient(tg.mean(x, axis=-1, keepdims=True))

    (line, *_) = tg.certify(centred).failures
    assert "the rule takes `tg.stop_gradient(tg.mean(x, axis=-1, keepdims=True))`" in line.hint


def test_what_is_not_known_is_said_without_a_cause(registry):
    def rule(dy, y, x):
        dx = dy * np.cos(x)
        dx[:, 8:] = dx[:, 8:] * np.cos(7 * x[:, :-8]) + 0.1
        return dx

    def samples(rng):
        return [tg.Sample(rng.standard_normal((2, size))) for size in (5, 8, 12, 20)]

    told = hints_of(lambda x: np.sin(x), rule, samples, True)["x"]
    assert told.startswith(f"{UNKNOWN}: ")
    assert "from 8 on along axis 1" in told
    assert "right with x.shape[-1] up to 8, wrong from 12 on" in told


def test_a_rule_without_source_has_its_gradient_as_its_only_spot(registry):
    rule = eval("lambda dy, y, x: dy * np.sin(x)", {"np": np})
    operation = tg.op(lambda x: np.sin(x) * np.exp(x))
    operation.vjp(rule)
    assert [spot.text for spot in Rule(operation.op).spots] == ["the gradient"]
    found = hints_of(lambda x: -np.cos(x) * x, rule, X)
    assert found["x"].startswith(UNKNOWN) or "a term is missing" in found["x"]


def test_an_edited_rule_writes_into_no_input(registry):
    kept = np.arange(6.0).reshape(2, 3)

    def rule(dy, y, x):
        dx = np.zeros_like(x)
        dx[:, 1:] += dy[:, :-1]
        return dx

    hints_of(lambda x: x * 1, rule, lambda rng: [tg.Sample(kept)], True)
    assert np.array_equal(kept, np.arange(6.0).reshape(2, 3))


def test_no_edit_makes_a_size_larger_than_the_memory(registry):
    sizes = []

    def upper(x):
        n = round((8 * x.size + 1) ** 0.5 - 1) // 2
        y = np.zeros((n, n))
        y[np.triu_indices(n)] = x
        return y

    def rule(dy, y, x):
        n = int((8 * x.size + 1) ** 0.5 - 1) // 2
        sizes.append(n)
        dx = np.zeros((n, n))
        return (dx + dy.T)[np.triu_indices(n)]

    hints_of(upper, rule, lambda rng: [tg.Sample(rng.standard_normal(10)), tg.Sample(rng.standard_normal(6))], True)
    assert sizes
    operation = tg.op(upper)
    operation.vjp(rule, opaque=True)
    change = lambda value: 10**9 if isinstance(value, int) else value  # noqa: E731
    made, x = Rule(operation.op), np.ones(10)
    spot = next(i for i, spot in enumerate(made.spots) if spot.text == "x.size")
    with pytest.raises(Exception, match="would not fit into the memory"):
        made.gradient(operation.op(), 0, [np.ones((4, 4)), upper(x), x], spot, change)


def test_a_method_of_a_class_is_edited_as_well(registry):
    class Doubled(tg.Op):
        samples = staticmethod(lambda rng: [tg.Sample(rng.standard_normal((2, n))) for n in (3, 4)])

        def slope(self, x):
            return 2 + np.sin(x)

        def forward(self, x):
            return 2 * x + np.sin(x)

        def vjp(self, dy, y, x):
            return dy * self.slope(x)

    assert "np.sin` should be `np.cos`" in tg.certify(Doubled).failures[0].hint


# ---- composites


def test_a_value_that_is_read_in_a_composite_is_reported_by_check(registry):
    @tg.composite
    def frozen_gate(x):
        return x * tg.sigmoid(x.value if isinstance(x, tg.Tensor) else x)

    x = tg.tensor([1.0, 2.0], name="x")
    report = tg.check(frozen_gate(x).sum())
    (record,) = (record for record in report.nodes if not record.ok)
    assert (record.op, record.input, record.hint) == ("frozen_gate", "x", VALUE_READ)
    assert report.summary().endswith("1 of 4 checks failed; the rule of 'frozen_gate' is wrong")
    assert tg.certify(frozen_gate).failures[0].hint == VALUE_READ


def test_a_gradient_that_is_stopped_on_purpose_in_a_composite_is_none(registry):
    @tg.composite
    def shifted_softplus(x):
        return tg.log(tg.exp(x - x.detach().max()).sum()) + x.detach().max()

    assert tg.check(shifted_softplus(tg.tensor([1.0, 2.0], name="x"))).ok
