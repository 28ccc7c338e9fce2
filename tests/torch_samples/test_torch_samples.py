"""Operations beside PyTorch's over PyTorch's own sample inputs: what ``python -m tests.torch_samples`` compares."""

from collections import Counter
from functools import partial

import pytest

import tinygraph as tg
from tests.torch_samples.__main__ import report, write
from tests.torch_samples.compare import NotOursError, Outcome, Row, compare, infos, refuse_lacking
from tests.torch_samples.edges import EDGES, NAMES, refuse_edges
from tests.torch_samples.table import COUNTED_WITH, TABLE, WITHOUT_SAMPLES

REACHED = set()
# What a rule may get wrong, each with what the comparison must say of it.
LIARS = {
    "value": ("exp", lambda x: tg.exp(x) * (1 + 1e-8)),
    "the value has shape": ("sum", lambda x, **_: tg.sum(x)),
    "the value has dtype": ("eq", lambda x, y: tg.cast(tg.equal(x, y), "float64")),
    "gradient": ("sin", lambda x: tg.sin(x.value) + 0 * x),
    "has no gradients": ("sinh", lambda x: tg.sinh(x.value)),
    "second gradient": ("tan", lambda x: tg.tan(x.value) + (1 + tg.tan(x.value) ** 2) * (x - x.value)),
}


@pytest.fixture(scope="module")
def records():
    pytest.importorskip("torch")
    pytest.importorskip("expecttest", reason="PyTorch's sample inputs need the package expecttest")
    return infos()


@pytest.mark.oracle
@pytest.mark.parametrize("name", TABLE)
def test_values_and_gradients_of_both_orders_are_those_of_pytorch(records, name):
    if name not in records:
        pytest.skip(f"this PyTorch has no samples of {name}")
    outcome = compare(records[name], TABLE[name])
    counted = pytest.importorskip("torch").__version__.startswith(COUNTED_WITH)
    assert outcome.ran == TABLE[name].ran if counted else outcome.ran > 0
    REACHED.update(outcome.operations)


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_zeros_ties_infinities_and_huge_numbers_give_what_pytorch_gives(records, name):
    outcome = compare(records[name], TABLE[name], partial(refuse_edges, name))
    assert outcome.ran > outcome.skipped.total()


@pytest.mark.oracle
@pytest.mark.parametrize("name", EDGES)
def test_what_is_settled_differently_at_an_edge_differs(records, name, monkeypatch):
    monkeypatch.delitem(EDGES, name)
    with pytest.raises(AssertionError):
        compare(records[name], TABLE[name], partial(refuse_edges, name))


@pytest.mark.oracle
def test_every_operation_takes_part_or_says_why_not(records):
    if not REACHED:
        pytest.skip("asked without the comparisons")
    # Composites are met as their parts.
    wanted = {name for name, function in tg.operations().items() if not function.op.composite}
    assert wanted - REACHED == set(WITHOUT_SAMPLES)


@pytest.mark.oracle
@pytest.mark.parametrize("what", LIARS)
def test_what_differs_is_found(records, what):
    name, wrong = LIARS[what]
    with pytest.raises(AssertionError, match=f"(?s){name} of .*{what}"):
        compare(records[name], Row(1, wrong))


def test_arguments_that_are_lacking_are_reasons_to_skip():
    row = Row(1, lambda x, p=2: x, {"p": "other powers"})
    refuse_lacking(row, (1.0, 2), {})
    with pytest.raises(NotOursError, match="other powers"):
        refuse_lacking(row, (1.0,), {"p": 3})


def test_figures_of_all_operations_are_added_up_and_written_between_their_marks(tmp_path):
    outcomes = {"a": Outcome(Counter({2: 3}), Counter({"chance": 2}), {"exp"}), "b": Outcome(Counter({0: 1, 2: 1}))}
    lines = report(outcomes)
    assert [int(line.split()[0]) for line in lines] == [1, 0, 4, 2, 2]
    assert lines[-1] == "2 operations of PyTorch, 5 samples, 1 operations of tinygraph"
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- samples -->\nold\n<!-- end of samples -->\nafter\n")
    write(page, lines)
    assert page.read_text().splitlines() == [
        *("before", "<!-- samples -->", "```text", *lines, "```", "<!-- end of samples -->", "after")
    ]
