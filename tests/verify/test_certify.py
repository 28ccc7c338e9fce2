"""The certificate: right operations get it, each kind of mistake is found with a hint, and newcomers can read it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tests.tools import liars
from tinygraph.cli import main
from tinygraph.verify.certificate.candidate import candidate_for
from tinygraph.verify.certificate.gradients import STEPS, step_errors
from tinygraph.verify.certificate.propose import proposed_samples

BUILT_IN = [name for name, function in tg.operations().items() if function.op.__module__.startswith("tinygraph.")]


def line(certificate, check):
    return next(line for line in certificate.lines if line.check == check)


def normal(*shapes):
    return lambda rng: [tg.Sample(*(rng.standard_normal(shape) for shape in shapes))]


def certificate_of(forward, rule=None, opaque=False, **traits):
    """Return the certificate of an operation made of two functions."""
    operation = tg.op(**traits)(forward)
    if rule is not None:
        operation.vjp(rule, opaque=opaque)
    return tg.certify(operation)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_operation_of_the_package_is_certified(name):
    tg.testing.check_op(name)


def test_an_operation_is_given_as_function_name_or_class():
    assert tg.certify(tg.relu).lines == tg.certify("relu").lines == tg.certify(tg.relu.op).lines


@pytest.mark.parametrize("thing", [3, np.tanh, tg.tensor(1.0), tg.Op()])
def test_what_is_no_operation_is_refused(thing):
    with pytest.raises(tg.TinygraphError, match="an operation is needed"):
        tg.certify(thing)


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(tg.UnknownNameError, match="did you mean 'relu'"):
        tg.certify("rellu")


def test_two_certificates_of_one_operation_are_the_same():
    assert str(tg.certify("softmax")) == str(tg.certify("softmax"))


# ---- mistakes in rules

RULES = [
    (liars.Sign, "sign"),
    (liars.FactorTwo, "off by a factor of 2"),
    (liars.MeanMissing, "missing 1/m"),
    (liars.Zero, "returns zero"),
    (liars.CotangentIgnored, "does not use dy"),
    (liars.TransposeMissing, "transposed: y stands where y.T belongs"),
    (liars.TransposedResult, "transposed"),
    (liars.Swapped, "the gradients of its inputs are swapped"),
    (liars.SwappedShapes, "the gradients of its inputs are swapped"),
    (liars.PoolAssigned, "gradients add up: "),
    (liars.TakeAssigned, "of several contributions one is kept"),
]


@pytest.mark.parametrize(("liar", "hint"), RULES, ids=[liar.__name__ for liar, _ in RULES])
def test_the_slip_of_a_rule_is_named(liar, hint):
    certificate = tg.certify(liar)
    assert not certificate.ok
    assert certificate.failures[0].check.startswith("gradient of ")
    assert hint in certificate.failures[0].hint


@pytest.mark.parametrize(
    "liar",
    [liars.Raises, liars.WrongNumber, liars.WrongShape, liars.Unwritten, liars.NotANumber],
    ids=lambda c: c.__name__,
)
def test_a_rule_that_fails_is_a_line_and_no_exception(liar):
    assert not line(tg.certify(liar), "gradient of x").ok


LIARS = [
    kind
    for kind in vars(liars).values()
    if isinstance(kind, type) and issubclass(kind, tg.Op) and kind not in (tg.Op, liars.Square, liars.Honest)
]


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_no_liar_is_certified(liar):
    assert [failure.check for failure in tg.certify(liar).failures if failure.check != "model file"]


def test_the_honest_one_is():
    assert [failure.check for failure in tg.certify(liars.Honest).failures] == ["model file"]


def test_what_only_repeats_a_failing_rule_is_not_told_again():
    assert [failure.check for failure in tg.certify(liars.Raises).failures] == ["gradient of x", "model file"]


def test_a_sum_over_the_wrong_axis_is_named(registry):
    def spread(x):
        return x / x.sum(axis=1, keepdims=True)

    def rule(dy, y, x):
        return (dy - (dy * y).sum(axis=0, keepdims=True)) / x.sum(axis=0, keepdims=True)

    samples = staticmethod(lambda rng: [tg.Sample(rng.uniform(1, 2, (3, 4)))]).__func__
    certificate = certificate_of(spread, rule, samples=samples)
    assert line(certificate, "gradient of x").hint == "summed over the wrong axis"


def test_the_example_is_the_smallest_part_that_shows_the_mistake():
    assert "sign" in line(tg.certify(liars.Sign), "gradient of x").hint
    assert re.match(
        r"sign\(\[\[[-.\d]+\]\]\), dy = 1, at \[0, 0\]: rule ", line(tg.certify(liars.Sign), "gradient of x").example
    )


# Slips of newcomers: what they wrote for the rule of x * threshold where x > threshold, and the words that help them.
def _gated(x, *, threshold: float = 0.5):
    return np.where(x > threshold, x * x, 0)


SLIPS = {
    "no return": (lambda dy, y, x, *, threshold: None, "is its return missing?"),
    "dy twice": (lambda dy, y, x, *, threshold: 2 * dy * dy * x * (x > threshold), "uses dy twice in a product"),
    "other order": (
        lambda x, y, dy, *, threshold: 2 * dy * x * (x > threshold),
        "in another order than the gradient of the result, the result, x",
    ),
    "wrong way": (lambda dy, y, x, *, threshold: 2 * dy * x * (x <= threshold), "a condition is the wrong way round"),
    "a number": (lambda dy, y, x, *, threshold: 2 * dy * x * (x > 0.5), "right with threshold=0.5, wrong with"),
    "signs": (
        lambda dy, y, x, *, threshold: 2 * dy * x * (x > threshold) * np.sign(dy),
        "a factor too many, np.sign(dy)",
    ),
    "two arguments": (lambda dy, x, *, threshold: 2 * dy * x, "a rule takes dy, y and each input"),
    "no attribute": (lambda dy, y, x: 2 * dy * x * (x > 0.5), "the rule does not use threshold"),
    "if": (lambda dy, y, x, *, threshold: dy if x.value > threshold else 0, "np.where(condition, a, b)"),
    "keepdims": (lambda dy, y, x, *, threshold: dy * np.ones((3, 7)), "keepdims=True keeps an axis"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_the_slip_of_a_newcomer_is_named(registry, slip):
    rule, words = SLIPS[slip]
    certificate = certificate_of(_gated, rule, elementwise=True)
    assert not certificate.ok
    assert words in " ".join(failure.hint for failure in certificate.failures)


def test_swapped_gradients_that_differ_in_sign_alone_are_called_both(registry):
    certificate = certificate_of(
        lambda p, t: ((p - t) ** 2).sum(), lambda dy, y, p, t: (2 * dy * (t - p), 2 * dy * (p - t))
    )
    assert certificate.failures[0].hint == "sign, or the gradients of its inputs are swapped"


def test_a_gradient_too_few_is_not_called_transposed(registry):
    certificate = certificate_of(lambda p, t: (p * t).sum(), lambda dy, y, p, t: dy * t)
    assert "1 gradient for 2 inputs" in certificate.failures[0].example
    assert certificate.failures[0].hint == ""


def test_a_transpose_that_is_missing_is_named_where_the_shapes_do_not_fit(registry):
    samples = normal((3, 4), (4, 2))
    certificate = certificate_of(lambda x, w: x @ w, lambda dy, y, x, w: (dy @ w, x.T @ dy), samples=samples)
    assert line(certificate, "gradient of x").hint.startswith("transposed: w stands where w.T belongs: in line ")


def test_a_rule_that_writes_is_to_be_marked_as_opaque(registry):
    def rule(dy, y, x):
        dx = np.zeros(x.shape)
        dx[...] += 2 * dy * x
        return dx

    assert "opaque_vjp = True" in certificate_of(lambda x: x * x, rule).failures[0].hint


def test_a_forward_that_writes_into_its_input_is_told_once(registry):
    def forward(x):
        x *= x
        return x

    certificate = certificate_of(forward, lambda dy, y, x: 2 * dy * x, elementwise=True)
    assert [failure.hint for failure in certificate.failures] == [
        "it writes into an array that it was given: np.array(x) makes a copy"
    ]


def test_inputs_that_the_author_did_not_think_of_are_told(registry):
    def rule(dy, y, x):
        return y * (dy - (dy * y).sum(axis=1, keepdims=True))

    certificate = certificate_of(lambda x: tg.softmax(x), rule)
    assert "`1` should be `-1`; then the gradient is right on all" in certificate.failures[0].hint
    honest = certificate_of(lambda x: tg.softmax(x), rule, samples=normal((3, 4)))
    assert not [failure for failure in honest.failures if failure.check.startswith("gradient")]


def test_a_division_by_zero_at_a_kink_is_named(registry):
    certificate = certificate_of(lambda x: np.abs(x), lambda dy, y, x: dy * x / y)
    assert "0/0, or 0 times infinity" in line(certificate, "kinks and ties").hint


@dataclass(frozen=True)
class Scaled(tg.Op):
    """An operation with a default for every attribute, one of which makes no difference."""

    factor: float = 2.0
    times: int = 1
    kind: Literal["plus", "minus"] = "plus"
    unused: bool = False

    def forward(self, x):
        return (self.factor if self.kind == "plus" else -self.factor) * x**self.times


def test_attributes_with_defaults_are_tried_with_other_values():
    samples = proposed_samples(Scaled, np.random.default_rng(0))
    changed = [sample.attributes for sample in samples[3:]]
    assert changed == [{"factor": 2.25}, {"factor": 1.0}, {"times": 2}, {"times": 0}, {"kind": "minus"}]


def test_a_rule_that_uses_dy_twice_is_not_linear(registry):
    certificate = certificate_of(lambda_named("doubled", lambda x: 2 * x), lambda dy, y, x: 2 * dy * dy)
    assert not line(certificate, "linear in dy").ok


def test_a_rule_that_adds_to_dy_is_found_by_a_zero_gradient(registry):
    certificate = certificate_of(lambda_named("doubled", lambda x: 2 * x), lambda dy, y, x: 2 * dy + 1e-3)
    assert line(certificate, "zero gradient in").hint == "does not use dy, or adds to it"


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_a_constant_in_a_rule_is_found_by_the_second_derivative(registry):
    def rule(dy, y, x):
        return dy * 3 * np.square(x.value if isinstance(x, tg.Tensor) else x)

    certificate = certificate_of(lambda_named("cubed", lambda x: x * x * x), rule)
    assert line(certificate, "gradient of x").ok
    assert "constant stands where a tensor belongs" in line(certificate, "second derivatives").hint


def test_an_opaque_rule_is_not_asked_for_a_second_derivative(registry):
    def rule(dy, y, x):
        return dy * np.asarray(2.0)

    certificate = certificate_of(lambda_named("doubled", lambda x: 2 * x), rule, opaque=True)
    assert certificate.ok
    assert line(certificate, "second derivatives").figure == "the rule is opaque"


def test_a_tie_that_gets_both_gradients_is_found_by_one_tensor_used_twice(registry):
    def larger(x, y):
        return np.maximum(x, y)

    def rule(dz, z, x, y):
        return dz * (x >= y), dz * (y >= x)

    certificate = certificate_of(larger, rule, elementwise=True, samples=normal((3,), (3,)))
    assert not line(certificate, "used twice").ok
    assert line(certificate, "gradient of x").ok


# ---- kinks


def test_kinks_are_found_and_said_to_take_a_side():
    assert re.fullmatch(r"\d+ found, the slope is that of: left", line(tg.certify("relu"), "kinks and ties").figure)
    assert line(tg.certify("abs"), "kinks and ties").figure.endswith("mean")
    assert line(tg.certify("tanh"), "kinks and ties").figure == "none found"


def test_a_slope_of_neither_side_at_a_kink_is_wrong(registry):
    def positive(x):
        return np.maximum(x, 0)

    certificate = certificate_of(
        positive, lambda dy, y, x: dy * np.where(x > 0, 1.0, np.where(x < 0, 0.0, 7.0)), elementwise=True
    )
    assert line(certificate, "gradient of x").ok
    assert "rule 7, slopes 0 before and 1 after" in line(certificate, "kinks and ties").example


def test_a_stated_edge_pins_the_side_down(registry):
    def positive(x):
        return np.maximum(x, 0)

    traits = {"elementwise": True, "edges": [tg.Edge(tg.Sample([0.0]), [0.0])]}
    assert certificate_of(positive, lambda dy, y, x: dy * (x > 0), **traits).ok
    wrong = certificate_of(positive, lambda dy, y, x: dy * (x >= 0), **traits)
    assert [failure.check for failure in wrong.failures] == ["stated edges"]


# ---- mistakes in forwards


class Bad(tg.Op):
    """The identity, until a subclass gets it wrong."""

    samples: ClassVar = staticmethod(normal((3, 4)))

    def forward(self, x):
        return x + 0.0

    def vjp(self, dy, y, x):
        return dy


@dataclass(frozen=True)
class PromisesAnotherShape(Bad):
    def shape(self, x):
        return (*x.shape, 1)


@dataclass(frozen=True)
class MakesDoubles(Bad):
    def forward(self, x):
        return x * np.ones(1)


@dataclass(frozen=True)
class NotElementwise(Bad):
    elementwise: ClassVar[bool] = True

    def forward(self, x):
        return x - x.mean()

    def vjp(self, dy, y, x):
        return dy - dy.mean()


@dataclass(frozen=True)
class ReadsMemory(Bad):
    def forward(self, x):
        return np.ravel(x, order="K").reshape(x.shape) + 0.0

    def vjp(self, dy, y, x):
        return dy


@dataclass(frozen=True)
class WritesIntoItsInput(Bad):
    opaque_vjp: ClassVar[bool] = True

    def vjp(self, dy, y, x):
        x[...] = x + 1
        return dy


@dataclass(frozen=True)
class Random(Bad):
    generator: ClassVar = np.random.default_rng(0)

    def forward(self, x):
        return x + self.generator.standard_normal()


@dataclass(frozen=True)
class SwallowsNan(Bad):
    samples: ClassVar = staticmethod(lambda rng: [tg.Sample(rng.uniform(1, 2, (3,)))])

    def forward(self, x):
        return np.where(x > 0, x, 0)

    def vjp(self, dy, y, x):
        return dy * (x > 0)


@dataclass(frozen=True)
class Overflows(Bad):
    elementwise: ClassVar[bool] = True

    def forward(self, x):
        return np.exp(x) / (1 + np.exp(x))

    def vjp(self, dy, y, x):
        return dy * y * (1 - y)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize(
    ("operation", "check"),
    [
        (PromisesAnotherShape, "shape rule"),
        (MakesDoubles, "float32"),
        (NotElementwise, "broadcasting"),
        (ReadsMemory, "memory layout"),
        (WritesIntoItsInput, "inputs unmodified"),
        (Random, "determinism"),
        (SwallowsNan, "not a number"),
        (Overflows, "large numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mistake_of_forward_is_found_by_its_check(operation, check):
    assert not next(found for found in tg.certify(operation).lines if found.check == check).ok


def test_an_operation_that_is_not_registered_cannot_be_called_from_a_model():
    assert line(tg.certify(Bad.__subclasses__()[0]), "model file").hint.startswith("register it")


# ---- inputs for operations that have none


@pytest.mark.parametrize(
    "name", ["matmul", "conv2d", "softmax", "concatenate", "max_pool2d", "bce", "sqrt", "log", "where"]
)
def test_inputs_are_found_on_which_forward_runs(name):
    op = tg.operation(name).op
    samples = proposed_samples(op, np.random.default_rng(0))
    assert samples
    for sample in samples:
        y = op(**sample.attributes).forward(*sample.inputs)
        assert np.isfinite(y).all()


def test_a_certificate_says_which_inputs_were_tried(registry):
    certificate = certificate_of(lambda_named("doubled", lambda x: 2 * x), lambda dy, y, x: 2 * dy)
    assert certificate.ok
    assert certificate.proposed
    assert "sample 1: x (3, 4)" in str(certificate)


def test_an_operation_that_runs_on_nothing_asks_for_samples(registry):
    @tg.op
    def picky(x):
        raise ValueError("never")

    (failure,) = tg.certify(picky).failures
    assert failure.figure == "forward ran on none that were tried"
    assert failure.example == "x (3, 4): OperationError: picky: forward failed: ValueError: never"
    assert (failure.verdict, tg.certify(picky).verdict) == ("none", "no inputs")
    assert failure.hint.startswith("@tg.op(samples=lambda rng: [tg.Sample(rng.")


# ---- the error against the step


def test_the_error_of_a_right_rule_falls_and_rises_again():
    errors = step_errors(candidate_for("exp").cases[0], 0)
    assert len(errors) == len(STEPS)
    assert min(errors) < 1e-8 < min(errors[0], errors[-1])


def test_the_error_of_a_wrong_rule_stays():
    assert line(tg.certify(liars.Sign), "error against step").figure == "stays at 2 for x: a wrong rule, not rounding"


# ---- for packages and programs


def test_check_op_is_one_function_in_both_places():
    assert tg.check_op is tg.testing.check_op
    assert tg.check_op(tg.relu).ok


def test_the_helper_for_tests_raises_with_the_whole_certificate():
    with pytest.raises(AssertionError, match="sign is not right") as caught:
        tg.testing.check_op(liars.Sign)
    assert "perhaps: sign" in str(caught.value)


def test_json_holds_every_line():
    certificate = tg.certify("matmul")
    plain = json.loads(json.dumps(certificate.to_json()))
    assert plain["ok"] is True
    assert [entry["check"] for entry in plain["checks"]] == [found.check for found in certificate.lines]


MINE = """
import tinygraph as tg

@tg.op(formula="2 · {{x}}", elementwise=True)
def my_double(x):
    return 2 * x

@my_double.vjp
def my_double_vjp(dy, y, x):
    return {factor} * dy

@tg.op(elementwise=True)
def my_triple(x):
    return 3 * x

@my_triple.vjp
def my_triple_vjp(dy, y, x):
    return 3 * dy
"""


@pytest.fixture
def run(tmp_path, monkeypatch, registry):
    """Return a function that runs ``tinygraph certify`` beside a file of operations."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments, factor=2):
        Path("my_ops.py").write_text(MINE.format(factor=factor))
        return CliRunner().invoke(main, ["certify", *arguments])

    return command


def test_command_certifies_all_operations_of_a_file(run):
    result = run("my_ops.py")
    assert result.exit_code == 0
    assert "2 of 2 operations are certified" in result.output


def test_command_certifies_the_rest_where_one_operation_runs_on_nothing(run):
    run("my_ops.py")
    Path("more.py").write_text("import tinygraph as tg\n\n@tg.op\ndef picky(x):\n    raise ValueError('never')\n")
    result = run("my_ops.py", "more.py")
    assert result.exit_code == 2
    assert "2 of 3 operations are certified" in result.output


def test_command_ends_with_1_for_a_wrong_rule_and_says_why(run):
    result = run("my_ops.py", "my_double", factor=-2)
    assert result.exit_code == 1
    assert "wrong  gradient of x" in result.output
    assert "perhaps: sign" in result.output
    assert "my_triple" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "there is no file 'nowhere.py'"),
        (["rellu"], "did you mean 'relu'"),
        ([], "Missing argument"),
    ],
)
def test_command_ends_with_2_for_a_mistake_of_the_caller(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_command_prints_json(run):
    certificates = json.loads(run("relu", "tanh", "--json").output)
    assert [certificate["operation"] for certificate in certificates] == ["relu", "tanh"]


def test_a_file_that_ends_the_program_is_a_clear_error(run):
    Path("leaving.py").write_text("import sys\nsys.exit(3)\n")
    result = run("leaving.py")
    assert result.exit_code == 2
    assert "error: leaving.py:2: SystemExit: 3" in result.output


def test_files_that_are_not_python_are_a_clear_error(run):
    Path("net.toml").write_text("")
    for given in ("net.toml", "."):
        result = run(given)
        assert result.exit_code == 2
        assert f"certify takes Python files of operations, and names of operations; found {given!r}" in result.output


def test_an_empty_file_is_a_clear_error(run):
    Path("empty.py").write_text("")
    result = run("empty.py")
    assert result.exit_code == 2
    assert "no operation is registered there" in result.output
