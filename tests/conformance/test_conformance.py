"""Every engine gives what plain evaluation gives: a part of the conformance suite, another one each day.

``TINYGRAPH_CONFORMANCE_SEED`` repeats a part; by default the seed is the number of today's date. The whole suite is
``python -m tests.conformance``.
"""

import datetime
import os

import numpy as np
import pytest

import tinygraph as tg
from tests.conformance import engines, graphs, known, listed
from tests.conformance.__main__ import report, write
from tests.conformance.agreement import differences
from tests.conformance.problem import Problem, answer
from tests.conformance.suite import Choice, Outcome, compare
from tests.tools.sweeps import part
from tinygraph.engines.plan import passes
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.indexing.index import Index
from tinygraph.ops.indexing.select import Flip

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
SEED = int(os.environ.get("TINYGRAPH_CONFORMANCE_SEED") or datetime.date.today().toordinal())


def differing(**choice):
    """Return the new differences of a part of the suite, and how to repeat them."""
    found = compare(Choice(seed=SEED, **choice))
    assert found.comparisons.total()
    return "\n".join([f"seed {SEED}", *found.new]) if found.new else ""


@pytest.mark.parametrize("pattern", ["float64 ordinary$", "float64 between neighbours"])
def test_every_operation_on_ordinary_numbers(pattern):
    assert not differing(pattern=pattern, listed=False)


def test_a_part_of_the_problems_of_single_operations():
    assert not differing(part=part(200) / 8000, listed=False)


def test_random_graphs():
    assert not differing(part=0, listed=False, graphs=range(150))


@pytest.mark.parametrize("name", listed.LISTED)
def test_listed_problems(name):
    assert not differing(part=0, pattern=f"^listed: {name}$")


@pytest.mark.filterwarnings("ignore:.*runs on the host")
def test_a_part_of_the_problems_on_xla():
    """One program for each problem takes long, so this is a small part; ``--engine xla`` compares all."""
    pytest.importorskip("jax")
    assert not differing(engines=("xla",), part=part(32) / 8000, listed=False, graphs=range(part(8)))


def test_what_is_stated_of_xla_differs_and_nothing_else_is_forgiven():
    pytest.importorskip("jax")
    tiny = Problem("tiny", lambda leaves: [leaves[0] * 0.5 > 0], [np.array([1e-310])])
    nan = Problem("nan", lambda leaves: [tg.abs(leaves[0]) >= 0], [np.array([np.nan])])
    hinge = Problem("hinge", lambda leaves: [tg.relu(leaves[0]) >= 0], [np.array([np.nan])])
    negative = Problem("negative", lambda leaves: [leaves[0] * 2 >= 0], [np.array([np.nan, -1.0])])
    plain = Problem("plain", lambda leaves: [tg.abs(leaves[0]) * 0.5 > 0], [np.array([1e-30])])
    for problem, reason in ((tiny, "subnormal"), (nan, "abs"), (hinge, "abs"), (negative, None), (plain, None)):
        wanted = answer(engines.run, problem)
        assert bool(differences(problem, answer(engines.xla, problem), wanted)) == (reason is not None)
        assert [text.split("(")[0].split()[0] for text in known.stated("xla", problem)] == ([reason] if reason else [])
        assert not known.stated("plan", problem)


@pytest.mark.parametrize("pattern", known.KNOWN)
def test_known_differences_differ(pattern):
    assert compare(Choice(pattern=pattern)).known, "this differs no longer: remove it from the table"


# The suite itself


LIARS = {
    "output 0[0]: np.float64(0.2500000000000": lambda y, positive: (y * (1 + 1e-13), positive),
    "output 0[2]: np.float64(1e-300)": lambda y, positive: (y + np.array([0, 0, 1e-300]), positive),
    "output 1[1]: np.True_": lambda y, positive: (y, y > -1),
    "output 0[0]: np.float64(inf)": lambda y, positive: (y / [0, 1, 1], positive),
    "output 0[0]: np.float64(nan)": lambda y, positive: (y * [np.nan, 1, 1], positive),
    "output 0 is float32 (3,)": lambda y, positive: (y.astype("float32"), positive),
    "output 0 is float64 (1, 3)": lambda y, positive: (y[None], positive),
    "1 outputs": lambda y, positive: (y,),
    "found KeyError": lambda y, positive: {}["y"],
}


def squares():
    return Problem("squares", lambda leaves: [leaves[0] ** 2, leaves[0] > 0], [np.array([0.5, -3.0, 0.0])], 3)


@pytest.mark.parametrize("says", LIARS)
def test_what_differs_is_found(says):
    wanted = answer(engines.run, squares())
    found = answer(lambda problem: LIARS[says](*engines.run(problem)), squares())
    assert differences(squares(), found, wanted).startswith(says)


def in_tiles(self, use):
    """A wrong rule: the operation is taken for one on each sample alone."""
    return use.states[0]


# Mistakes of a plan, each with an operation on which the suite must find it.
PLANTED = {
    "any index keeps the samples": ("getitem", lambda patch: patch.setattr(Index, "keeps_first", lambda *_: True)),
    "samples are reversed in tiles": ("flip", lambda patch: patch.setattr(Flip, "batch", in_tiles)),
    "softmax over a tile": ("softmax", lambda patch: patch.setattr(Softmax, "batch", in_tiles)),
    "every number is one": (
        "hard_swish",
        lambda patch: patch.setattr(passes, "_is_one", lambda x: x.value is not None),
    ),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_of_a_plan_are_found(mistake, monkeypatch):
    name, plant = PLANTED[mistake]
    choice = Choice((name,), ("plan", "tiles"), pattern="float64 ordinary", listed=False)
    assert not compare(choice).new
    plant(monkeypatch)
    assert compare(choice).new


def test_shares_that_cancel_leave_a_rest_of_their_rounding_and_no_more():
    """The sum of a window's shares depends on its order."""
    x = np.array([[[1.0, -3.0, 2.0]]])
    build = lambda leaves: [tg.operation("avg_unpool1d")(leaves[0], 3, stride=1, output_size=(5,))]  # noqa: E731
    problem = Problem("shares", build, [x], exact=True)
    wanted = answer(engines.run, problem)
    for rest, same in ((2e-16, True), (1e-14, False)):
        moved = wanted[0] + np.where(np.arange(5) == 2, rest, 0)
        assert bool(differences(problem, (moved,), wanted)) != same


def test_rounding_is_no_difference():
    """A sum may be off by units of its largest term, and a number by units in its own last place."""
    large = np.array([1e8, 1.0, -1e8, 3.0], "float32")
    problem = Problem("sum", lambda leaves: [leaves[0].sum(), leaves[0] * 3], [large])
    wanted = answer(engines.run, problem)
    for change in (8, 3e-7):
        assert not differences(
            problem, (wanted[0] + np.float32(change), np.nextafter(wanted[1], np.inf, dtype="f")), wanted
        )
    assert differences(problem, (wanted[0] + np.float32(1000), wanted[1]), wanted)
    exact = Problem("sum", problem.build, [large], exact=True)
    assert differences(exact, (wanted[0] + np.float32(8), wanted[1]), wanted)


def test_a_refusal_with_another_error_is_a_difference():
    problem = Problem("labels", lambda leaves: [tg.one_hot(leaves[0], 3)], [np.array([7])])
    wanted = answer(engines.run, problem)
    assert wanted is tg.DataError
    assert not differences(problem, answer(engines.ENGINES["tiles"], problem), wanted)
    assert "found ValueError" in differences(problem, ValueError, wanted)


def test_figures_are_added_up_and_written_between_their_marks(tmp_path):
    outcome = compare(Choice(("relu",), ("plan",), part=0.1, listed=False))
    outcome.add(Outcome(outcome.problems.copy(), outcome.comparisons.copy()))
    lines = report(outcome, 0)
    assert lines[-1] == f"{outcome.comparisons.total()} combinations compared (seed 0), 0 differ"
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- conformance -->\nold\n<!-- end of conformance -->\nafter\n")
    write(page, lines)
    marks = ("<!-- conformance -->", "```text", *lines, "```", "<!-- end of conformance -->")
    assert page.read_text().splitlines() == ["before", *marks, "after"]


def test_random_graphs_give_the_same_bits_whatever_ran_in_between():
    for problem in graphs.problems(range(40), SEED):
        with engines.tiles_of(engines.LARGEST_TILE), np.errstate(all="ignore"):
            plan = tg.compile(problem.graph, problem.batch, threads=2)
            first = plan(problem.feeds)
            kept = [x.copy() for x in first]
            answer(lambda p, plan=plan: plan({name: x[::-1] for name, x in p.feeds.items()}), problem)
            for x, y, z in zip(first, kept, plan(problem.feeds), strict=True):
                np.testing.assert_array_equal(x, y)
                np.testing.assert_array_equal(x, z)


def test_random_graphs_hold_all_kinds_of_operations_and_are_cut_into_tiles():
    seen, tiled = set(), 0
    with engines.tiles_of(engines.LARGEST_TILE):
        for problem in graphs.problems(range(150), SEED):
            seen.update(node.op.name for node in problem.graph.nodes if node.op is not None)
            tiled += "tiles: " in tg.compile(problem.graph, problem.batch, threads=1).describe()
    wanted = {
        "matmul",
        "conv2d",
        "conv1d",
        "max_pool2d",
        "avg_pool2d",
        "softmax",
        "concatenate",
        "getitem",
        "transpose",
    }
    assert not (wanted | {"sum_to", "max_unpool2d", "conv2d_kernel_gradient", "standardize", "one_hot"}) - seen
    assert tiled > 20
