"""``tg.check``: planted mistakes, kinks, numbers that are not finite, what is checked and reported."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.tools import liars
from tinygraph.verify import Record, Report, check
from tinygraph.verify.nodes import completed
from tinygraph.verify.numeric import Point


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def record_of(report: Report, op: str, place: str) -> Record:
    (record,) = (record for record in report.nodes if record.op == op and record.input.split(" = ")[0] == place)
    return record


# ---- liars


HINTS: dict[type[tg.Op], str] = {
    liars.Sign: "sign",
    liars.FactorTwo: "off by a factor of 2",
    liars.FactorOneHalf: "off by a factor of 0.5",
    liars.FactorSlightlyOff: "off by a factor of 1.001",
    liars.TinyFactorThree: "off by a factor of 3",
    liars.OpaqueFactorTwo: "off by a factor of 2",
    liars.Zero: "returns zero",
    liars.Nothing: "returns None, which says that no gradient flows: is its return missing?",
    liars.SoftmaxZero: "returns zero",
    liars.SoftmaxWithoutSum: "terms are missing: of several contributions one is kept; gradients add up",
    liars.CotangentIgnored: "does not use dy",
    liars.TransposeMissing: "transposed: y stands where y.T belongs: ",
    liars.TransposeMissingInBatch: "transposed: x stands where x.T belongs: ",
    liars.TransposedResult: "transposed: ",
    liars.TransposedShape: "transposed",
    liars.Swapped: "the gradients of its inputs are swapped",
    liars.SwappedShapes: "the gradients of its inputs are swapped",
    liars.MeanMissing: "missing 1/m, m = 5",
    liars.MeanTwice: "1/m taken twice, m = 5",
    liars.MeanMissingOfTwo: "off by a factor of 2, or missing 1/m, m = 2",
    liars.PoolAssigned: "gradients add up: ",
    liars.TakeAssigned: "terms are missing: of several contributions one is kept; gradients add up",
    liars.NotANumber: "gives NaN or infinity where forward has a slope",
    liars.OneElementWrong: "a constant: ",
    liars.WrongNumber: "",
    liars.WrongShape: "2 stands where x.shape[-1] belongs: ",
    liars.Raises: "",
    liars.Unwritten: "",
}


@pytest.mark.parametrize("liar", HINTS, ids=lambda liar: liar.__name__)
def test_liar_is_found_and_its_slip_named(liar: type[tg.Op]) -> None:
    for seed in range(3):
        report = check(liar, seed=seed)
        assert not report.ok
        # An edit is followed by its line, and by what it became right on.
        edit = HINTS[liar].endswith(": ")
        named = {record.hint.partition("in line")[0] if edit else record.hint for record in report.failures}
        (text,) = named
        assert text.startswith(HINTS[liar]) if edit else text == HINTS[liar]


def test_every_liar_is_tried() -> None:
    planted = {op for op in vars(liars).values() if isinstance(op, type) and issubclass(op, tg.Op)}
    assert planted - set(HINTS) == {liars.Square, liars.Honest, liars.WrongForOnes}
    assert not {op.name for op in planted if tg.operations().get(op.name, SimpleNamespace(op=None)).op is op}


def test_honest_rule_passes() -> None:
    report = check(liars.Honest)
    assert report.ok
    assert report.worst < 1e-14


def test_right_input_beside_a_wrong_one_passes() -> None:
    wrong, right = check(liars.TransposeMissing).nodes
    assert (wrong.input, wrong.verdict) == ("x = (3, 3)", "wrong")
    assert (right.input, right.verdict) == ("y = (3, 3)", "ok")


@pytest.mark.parametrize(
    ("liar", "parts"),
    [
        (liars.WrongNumber, ["RuleError: wrong_number", "2 gradients"]),
        (liars.WrongShape, ["RuleError: wrong_shape", "(3, 2)", "(3, 4)"]),
        (liars.Raises, ["ZeroDivisionError: a slip of the rule's author"]),
        (liars.Unwritten, ["RuleError: unwritten has no gradient rule"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rule_that_gives_no_gradient_fails_with_its_message(liar: type[tg.Op], parts: list[str]) -> None:
    (record,) = check(liar).nodes
    assert all(part in record.message for part in parts)
    assert (record.verdict, record.error, record.worst) == ("failed", math.inf, None)


def test_one_wrong_element_of_a_large_input_is_named() -> None:
    (record,) = check(liars.OneElementWrong).nodes
    assert record.worst is not None
    assert record.worst.index == (17, 23)


@pytest.mark.parametrize("liar", [liars.Sign, liars.FactorSlightlyOff, liars.Zero, liars.OpaqueFactorTwo])
def test_liar_in_a_network_is_named_with_its_place(liar: type[tg.Op]) -> None:
    x = tg.tensor(rng().standard_normal((4, 3)), name="x")
    W = tg.parameter(rng().standard_normal((3, 2)), name="W")
    Z = tg.tanh(x @ W)
    Z.name = "Z"
    report = check(tg.mse(liar()(Z), np.ones((4, 2))))
    (record,) = (record for record in report.nodes if not record.ok)
    assert (record.op, record.input) == (liar.name, "x = Z")
    assert record.worst is not None
    assert record.worst.index is not None
    assert {record.input for record in report.whole if not record.ok} == {"tensor x", "parameter W"}


def test_what_only_the_whole_can_show_is_found_there() -> None:
    report = check(liars.WrongForOnes()(tg.parameter([[1.0, 2.0, 3.0, 4.0]], name="x")).sum())
    assert all(record.ok for record in report.nodes)
    (record,) = report.whole
    assert record.verdict == "wrong"
    assert record.worst is not None
    assert record.worst.rule == pytest.approx(1.5 * record.worst.numeric)


def test_a_sweep_that_fails_is_one_record_of_the_whole() -> None:
    report = check(liars.Raises()(tg.tensor([1.0, 2.0])).sum())
    (record,) = report.whole
    assert (record.verdict, record.input) == ("failed", "every leaf")
    assert report.summary() == "all gradients: none to compare; 2 of 3 checks failed; the rule of 'raises' is wrong"


# ---- kinks


def test_kinks_are_counted_and_are_no_failure() -> None:
    report = check(tg.relu(tg.tensor([-1.0, 0.0, 2.0, 0.0, 3.0], name="x")).sum())
    relu = record_of(report, "relu", "x")
    assert report.ok
    assert (relu.kinks, len(relu.points), relu.verdict) == (2, 5, "ok")
    assert [point.index for point in relu.points if point.kink] == [(1,), (3,)]
    assert f"{report.kinks} comparisons at kinks left out" in str(report)


def test_a_single_kink_is_counted_in_the_singular() -> None:
    points = (Point((0,), 0.0, 0.5, 0.0, kink=True), Point((1,), 1.0, 1.0, 0.0, kink=False))
    report = Report((Record("y", "relu", "x", 2, 1e-7, points),), (), 1e-7)
    assert str(report).endswith("; 1 comparison at a kink left out")


def test_where_everything_is_a_kink_nothing_is_called_right() -> None:
    report = check(tg.relu(tg.tensor(np.zeros(3), name="x")).sum())
    assert record_of(report, "relu", "x").verdict == "at kinks"


def test_ties_in_a_pool_are_kinks() -> None:
    x = np.array([[[[1.0, 5.0, 5.0], [0.0, 2.0, 3.0]]]])
    pool = record_of(check(tg.max_pool2d(tg.tensor(x), 2, stride=1).sum()), "max_pool2d", "x")
    assert pool.ok
    assert [point.index for point in pool.points if point.kink] == [(0, 0, 0, 1), (0, 0, 0, 2)]


def test_a_liar_is_found_beside_its_kinks() -> None:
    x = tg.tensor([0.0, 0.0, 1.0, 2.0])
    (record,) = (record for record in check(liars.FactorTwo()(tg.relu(x)).sum()).nodes if record.op == "factor_two")
    assert record.hint == "off by a factor of 2"


def test_labels_at_the_ends_of_their_range_are_compared_from_inside() -> None:
    a, y = tg.tensor([[0.3], [0.9]], name="a"), tg.tensor([[0.0], [1.0]], name="y")
    report = check(tg.bce(a, y))
    assert report.ok
    assert record_of(report, "bce", "y").kinks == 0


# ---- what is not finite


def roots(u: list[float]) -> tg.Tensor:
    """a = sqrt(u - 1), and its sum."""
    with np.errstate(all="ignore"):
        a = tg.sqrt(tg.tensor(u, name="u") - 1)
        a.name = "a"
        return a.sum()


def verdicts(report: Report) -> list[tuple[str, str]]:
    return [(record.op, record.verdict) for record in report.records]


def test_a_value_that_is_not_finite_makes_no_rule_wrong() -> None:
    report = check(roots([0.0, 2.0]))
    assert verdicts(report) == [
        ("subtract", "ok"),
        ("sqrt", "not finite"),
        ("sum", "not finite"),
        ("whole graph", "not finite"),
    ]
    assert not report.ok
    assert report.summary() == (
        "all gradients: not finite, as sqrt in a gave nan in 1 of 2 elements; 3 of 4 checks failed"
    )
    assert "wrong" not in str(report)


def test_an_infinite_gradient_of_a_right_rule_is_not_finite() -> None:
    report = check(roots([1.0, 2.0]))
    assert verdicts(report) == [
        ("subtract", "ok"),
        ("sqrt", "not finite"),
        ("sum", "ok"),
        ("whole graph", "not finite"),
    ]
    assert re.search(r"not finite, as the gradient of sqrt in a for x is -?inf at \[0\]; 2 of 4", report.summary())


def test_values_that_overflow_and_leaves_that_hold_none_are_named() -> None:
    with np.errstate(over="ignore"):
        large = check(tg.exp(tg.tensor([1e4, 1.0], name="x")).sum())
    assert "exp in t1 gave inf in 1 of 2 elements" in large.summary()
    given = check(tg.tanh(tg.input("x", (2,))).sum(), {"x": [np.nan, 1.0]})
    assert "not finite, as x holds nan in 1 of 2 elements" in given.summary()
    assert {verdict for _, verdict in verdicts(given)} == {"not finite"}


def test_a_liar_before_what_is_not_finite_is_still_wrong() -> None:
    with np.errstate(invalid="ignore"):
        report = check(tg.sqrt(liars.FactorTwo()(tg.tensor([[1.0, 2.0, 3.0]], name="x")) - 2).sum())
    assert verdicts(report)[:3] == [("factor_two", "wrong"), ("subtract", "ok"), ("sqrt", "not finite")]
    assert report.nodes[0].hint.startswith("off by a factor of 2")


def test_what_is_computed_beside_it_is_checked_as_ever() -> None:
    x = tg.tensor([-1.0, 4.0], name="x")
    with np.errstate(invalid="ignore"):
        chosen = tg.where(x > 0, tg.sqrt(x), 0.0)
    report = check(tg.Graph([tg.tanh(x).sum() + tg.exp(chosen).sum()]))
    found = dict(verdicts(report))
    assert (found["sqrt"], found["where"]) == ("not finite", "not finite")
    assert (found["exp"], found["tanh"], found["add"]) == ("ok", "ok", "ok")


def test_a_mask_of_minus_infinity_is_no_fault() -> None:
    x, mask = tg.tensor([0.5, -1.0, 2.0], name="x"), tg.constant([0.0, -np.inf, 0.0])
    report = check(tg.softmax(x + mask))
    assert report.ok
    assert {verdict for _, verdict in verdicts(report)} == {"ok"}


@pytest.mark.parametrize("given", [tg.tensor, tg.constant], ids=["tensor", "constant"])
def test_infinity_that_is_given_is_no_fault_unless_nan_is_made_of_it(given: Callable[..., tg.Tensor]) -> None:
    scores = tg.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]], name="scores")
    causal = given([[0.0, -np.inf, -np.inf], [0.0, 0.0, -np.inf]], name="mask")
    report = check(tg.softmax(scores + causal))
    assert report.ok
    assert report.kinks == 0
    with np.errstate(invalid="ignore"):
        nothing_left = check(tg.softmax(scores + given([[-np.inf] * 3, [0.0] * 3], name="mask")))
    assert "softmax in t1 gave nan in 3 of 6 elements" in nothing_left.summary()


def test_an_infinite_parameter_is_a_fault() -> None:
    report = check(tg.tanh(tg.parameter([np.inf, 1.0], name="W")).sum())
    assert "W holds inf in 1 of 2 elements" in report.summary()


# ---- what is checked


def test_a_gradient_that_another_input_carries_is_not_asked_for() -> None:
    z = tg.tensor([[1e4], [-1e4], [0.5]], name="Z3")
    report = check(tg.bce(tg.sigmoid(z), [[0.0], [0.0], [1.0]]))
    assert report.ok
    assert [record.input for record in report.nodes if record.op == "bce"] == ["z = Z3"]


def test_each_use_of_a_tensor_has_its_own_record() -> None:
    x = tg.tensor([1.0, 2.0], name="x")
    report = check((x * x).sum())
    assert [record.input for record in report.nodes if record.op == "multiply"] == ["x", "y = x"]


def test_constants_and_whole_numbers_have_no_gradient() -> None:
    x = tg.tensor([-1.0, 2.0], name="x")
    report = check(tg.where(x > 0, x**2, 3.0))
    assert [(record.op, record.input) for record in report.nodes] == [("power", "x"), ("where", "x")]


def test_broadcast_inputs_are_checked_as_the_engine_sums_them() -> None:
    B = tg.parameter(np.zeros((3, 1, 1)), name="B1")
    report = check(tg.tensor(rng().standard_normal((2, 3, 4, 4))) + B)
    assert report.ok
    assert record_of(report, "add", "y").size == 3


def test_large_inputs_are_sampled_and_crossed_at_random() -> None:
    report = check(tg.tanh(tg.tensor(rng().standard_normal((40, 50)))).sum())
    tanh = record_of(report, "tanh", "x")
    assert tanh.ok
    assert len({point.index for point in tanh.points if point.index}) == 100
    assert sum(point.index is None for point in tanh.points) == 3


def test_everything_is_computed_in_float64() -> None:
    x = tg.input("x", (3, 4), dtype="float32")
    W = tg.parameter(rng().standard_normal((4, 2)).astype(np.float32), name="W")
    labels = tg.constant([0, 1, 1])
    logits = tg.cast(tg.cast(tg.tanh(x @ W), "float16"), "float32")
    loss = tg.mse(tg.softmax(logits), tg.one_hot(labels, 2, dtype="float32"))
    assert loss.dtype == np.float32
    report = check(loss)
    assert report.ok
    assert report.worst < 1e-9


def test_an_attribute_called_dtype_may_be_anything() -> None:
    @dataclass(frozen=True)
    class Painted(liars.Square):
        dtype: str = "in oil"

    assert check(Painted).ok


def test_outputs_that_are_no_numbers_alone_get_random_cotangents() -> None:
    x = tg.tensor(rng().standard_normal((3, 2)), name="x")
    report = check(tg.Graph([tg.exp(x), tg.tanh(x), x > 0]))
    assert report.ok
    assert [record.input for record in report.whole] == ["tensor x"]


def test_gradients_are_graph_and_can_be_checked() -> None:
    x, k = tg.tensor(rng().standard_normal((2, 1, 5, 5))), tg.tensor(rng().standard_normal((2, 1, 3, 3)), name="k")
    (dk,) = tg.grad((tg.conv2d(x, k) ** 2).sum(), [k])
    report = check(dk)
    assert report.ok
    assert "conv2d_kernel_gradient" in {record.op for record in report.nodes}


def test_nothing_to_check() -> None:
    report = check(tg.tensor([1, 2]) + 1)
    assert (report.ok, report.worst, str(report).splitlines()[-1]) == (True, 0.0, "no gradients to check")


def test_empty_tensors_pass() -> None:
    report = check(tg.relu(tg.tensor(np.zeros((0, 3)), name="x")))
    assert report.ok
    assert record_of(report, "relu", "x").verdict == "ok"


# ---- what a check is given


def logits() -> tg.Tensor:
    return tg.tensor(rng().standard_normal((50, 3)), name="z")


DRAWN: list[tuple[str, Callable[[], tg.Tensor], set[float]]] = [
    ("bce", lambda: tg.bce(tg.sigmoid(logits()), tg.input("y", (50, 3))), {0, 1}),
    ("moved", lambda: tg.bce_with_logits(logits(), tg.reshape(tg.input("y", (150,)), (50, 3))), {0, 1}),
    ("classes", lambda: tg.cross_entropy(logits(), tg.input("y", (50,), "int64")), {0, 1, 2}),
    ("rows", lambda: tg.cross_entropy(logits(), tg.input("y", (50, 3))), {0, 1}),
    ("one_hot", lambda: tg.mse(logits(), tg.one_hot(tg.input("y", (50,), "int32"), 3)), {0, 1, 2}),
    ("booleans", lambda: tg.where(tg.input("y", (50, 3), "bool"), logits(), 0.0), {0, 1}),
]


@pytest.mark.parametrize(("name", "make", "values"), DRAWN, ids=[name for name, _, _ in DRAWN])
def test_inputs_get_values_of_the_kind_that_their_use_expects(
    name: str, make: Callable[[], tg.Tensor], values: set[float]
) -> None:
    output = make()
    drawn = completed(tg.Graph(output), {}, rng())["y"]
    assert set(np.unique(drawn)) == values
    if name == "rows":
        assert (drawn.sum(axis=-1) == 1).all()
    assert check(output).ok


def test_predictions_are_drawn_inside_their_range_and_the_rest_normal() -> None:
    a, x = tg.input("a", (200, 1)), tg.input("x", (200, 1))
    drawn = completed(tg.Graph(tg.bce(a, tg.constant(np.ones((200, 1)))) + tg.sum(x)), {}, rng())
    assert 0.1 <= drawn["a"].min() < drawn["a"].max() <= 0.9
    assert drawn["x"].min() < -1 < 1 < drawn["x"].max()


def test_the_same_seed_gives_the_same_report() -> None:
    graph = tg.Graph(tg.tanh(tg.input("x", (3, 4))))
    assert check(graph, seed=1) == check(graph, seed=1)
    assert check(graph, seed=1) != check(graph, seed=2)


def test_values_that_are_fed_are_used() -> None:
    x = tg.input("x", (3,))
    report = check(tg.relu(x), {"x": [0.0, 1.0, -1.0]})
    assert record_of(report, "relu", "x").kinks == 1
    assert check(tg.relu(x), {x: [0.0, 0.0, -1.0]}).nodes[0].kinks == 2


@pytest.mark.parametrize(
    ("feeds", "message"),
    [({"X": [1.0, 2.0, 3.0]}, "no leaf called 'X'; did you mean 'x'"), ({"x": [1.0, 2.0]}, r"was fed shape \(2,\)")],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(tg.FeedError, match=message):
        check(tg.exp(tg.input("x", (3,))), feeds)


class DoublingModel:
    """As much of a model as a check needs: its inputs, and a recording for a number of samples, any of them."""

    inputs = dict.fromkeys(("x", "y"), SimpleNamespace(batched=True))
    batch = None

    def record(self, batch: int, training: bool) -> SimpleNamespace:
        assert training
        x, y = tg.input("x", (batch, 3)), tg.input("y", (batch, 1))
        a = tg.sigmoid(x @ tg.parameter(np.ones((3, 1)), name="W"))
        return SimpleNamespace(full_graph=tg.Graph([a, tg.bce(a, y)]))


@pytest.mark.parametrize(
    ("feeds", "batch"),
    [
        (None, 2),
        ({"x": np.ones((5, 3))}, 5),
        ({"W": np.ones((3, 1))}, 2),
        ({"W": np.ones((3, 1)), "y": np.ones((4, 1))}, 4),
    ],
)
def test_a_model_is_recorded_for_the_samples_that_are_fed(feeds: dict[str | tg.Tensor, Any] | None, batch: int) -> None:
    report = check(DoublingModel(), feeds)
    assert report.ok
    assert record_of(report, "sigmoid", "x").size == batch
    assert {record.input for record in report.whole} == {"input x", "input y", "parameter W"}


X = tg.tensor([1.0, 2.0], name="x")


WRONG_ARGUMENTS: dict[str, Callable[[], Report]] = {
    "check takes a tensor, a graph, a model or an operation; found list": lambda: check([1.0]),
    "check takes a tensor, a graph, a model or an operation; found 'xor'; load_model('xor') would": lambda: check(
        "xor"
    ),
    "check takes a tensor, a graph, a model or an operation; found type": lambda: check(tg.Model),
    'feeds are values by name, such as {"x": ...}; found list': lambda: check(X * 2, [1.0]),
    "check: seed must be a whole number of at least 0; found -1": lambda: check(X * 2, seed=-1),
    "check: seed must be a whole number of at least 0; found 'one'": lambda: check(X * 2, seed="one"),
    "check: tolerance must be positive and finite; found 0": lambda: check(X * 2, tolerance=0),
    "check: tolerance must be float; found '1e-7'": lambda: check(X * 2, tolerance="1e-7"),
    "check: seed must be a whole number of at least 0; found -2": lambda: check(tg.relu, seed=-2),
    "check: an operation is checked on its own samples": lambda: check(tg.relu, {"x": [1.0]}),
    "a model or an operation; found int": lambda: check(3),
    "a model or an operation; found function": lambda: check(tg.load_model),
}


@pytest.mark.parametrize("message", WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused(message: str) -> None:
    with pytest.raises(tg.TinygraphError, match=re.escape(message)):
        WRONG_ARGUMENTS[message]()


def test_an_operation_is_given_as_function_or_class() -> None:
    assert check(tg.matmul) == check(tg.matmul.op)


def test_an_operation_without_samples_is_refused() -> None:
    class Bare(tg.Op):
        pass

    with pytest.raises(tg.TinygraphError, match="bare has no samples"):
        check(Bare)


def test_a_forward_that_fails_is_no_finding() -> None:
    with pytest.raises(tg.DataError, match="labels"):
        check(tg.bce_with_logits(logits(), tg.input("y", (50, 3))), {"y": np.full((50, 3), 2.0)})


# ---- the report


def wrong_product() -> Report:
    x = tg.tensor([[1.0, 2.0], [3.0, 5.0]], name="x")
    W = tg.parameter([[1.0, -1.0], [0.5, 2.0]], name="W")
    return check(liars.TransposeMissing()(tg.relu(x), W).sum())


def test_the_table_is_aligned_and_explains_failures() -> None:
    report = wrong_product()
    lines = str(report).splitlines()
    header, first, explanation = lines[0], lines[2], lines[3]
    assert header.split() == ["node", "operation", "input", "checked", "error", "kinks", "verdict"]
    for line in (line for line in lines[1:-1] if not line.startswith(" ")):
        assert line[header.index("verdict") :] in ("ok", "wrong")
        assert line[header.index("checked") - 1] == " " != line[header.index("checked")]
    assert first.split()[:4] == ["t1", "transpose_missing", "x", "4"]
    assert explanation.startswith("    at [")
    assert "(transposed: y stands where y.T belongs: in line " in explanation
    assert lines[-1] == report.summary()


def test_the_numbers_of_a_report() -> None:
    report = wrong_product()
    assert not report.ok
    assert {record.input for record in report.failures} == {"x", "tensor x"}
    assert report.worst == max(record.error for record in report.failures)
    assert report.records == report.nodes + report.whole
    assert repr(report) == f"<Report: {report.summary()}>"
    assert report.summary().endswith("2 of 6 checks failed; the rule of 'transpose_missing' is wrong")


def test_nodes_are_named_by_the_equation_that_prints_them() -> None:
    x = tg.input("x", (2, 3), dtype="float64")
    Z = x @ tg.parameter(np.ones((3, 1)), name="W") + tg.parameter([1.0], name="B")
    Z.name = "Z"
    graph = tg.Graph(tg.tanh(Z))
    assert [(r.node, r.op) for r in check(graph).nodes] == [
        ("Z", "matmul"),
        ("Z", "matmul"),
        ("Z", "add"),
        ("Z", "add"),
        ("t1", "tanh"),
    ]
    assert [line.split()[0] for line in str(graph).splitlines()] == ["x", "W", "B", "Z", "t1"]


def test_a_gradient_that_is_zero_but_for_rounding_is_not_wrong():
    """A bias before a normalization changes nothing: its gradient is a sum that cancels."""
    rng = np.random.default_rng(0)
    x, b = tg.tensor(rng.normal(size=(4, 3, 2, 2)), name="x"), tg.tensor(rng.normal(size=(3, 1, 1)), name="b")
    y = tg.standardize(x + b, axis=(0, 2, 3))
    loss = (y * rng.normal(size=y.shape)).sum()
    (gradient,) = tg.grad(loss, [b])
    assert 0 < abs(gradient.value).max() < 1e-12
    assert tg.check(loss).ok


def test_a_mask_that_is_kept_as_state_is_no_fault():
    """As the causal mask of an imported attention."""
    model = tg.Model.from_toml(
        "[inputs]\nx = [3, 3]\n[state]\nfar = { shape = [3, 3], init = 'zeros' }\n"
        "[model]\nequations = 'a = softmax(x + far)'\noutput = 'a'\nloss = false"
    )
    model.state["far"].value = np.triu(np.full((3, 3), -np.inf, np.float32), 1)
    report = tg.check(model)
    assert report.ok
    assert not any("far" in record.input for record in report.whole)
    model.state["far"].value = np.full((3, 3), np.nan, np.float32)
    assert not tg.check(model).ok
