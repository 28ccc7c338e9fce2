"""What a check found, on the cards of a picture."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tests.tools.liars import FactorOneHalf
from tinygraph.cli import main
from tinygraph.draw import Card, draw
from tinygraph.draw.colours import RIGHT
from tinygraph.draw.verdicts import judged
from tinygraph.model import load_model


def cards(thing, **options):
    return {card.symbol: card for card in draw(thing, **options).drawing.cards}


@pytest.fixture
def slipped():
    x = tg.tensor([0.5, -1.0], name="x")
    return FactorOneHalf()(tg.tanh(x)).sum()


def test_only_the_wrong_rule_and_what_it_reaches_are_wrong(slipped):
    found = cards(slipped, report=tg.check(slipped))
    assert {symbol: card.verdict for symbol, card in found.items()} == {
        "x": "wrong",
        "t1": "ok",
        "t2": "wrong",
        "t3": "ok",
    }
    finding, hint = found["t2"].checks
    assert finding.startswith("check: WRONG, factor_one_half for x")
    assert "relative error 0.5 at [" in finding
    assert hint.startswith("hint: off by a factor of 0.5")


def test_the_error_the_index_and_the_tensor_of_a_sound_rule_are_told():
    x = tg.tensor([0.5, -1.0], name="x")
    y = tg.tanh(x).sum()
    (line,) = cards(y, report=tg.check(y))["t1"].checks
    record = tg.check(y).nodes[0]
    assert line == f"check: ok, relative error {record.error:.1e} at {list(record.worst.index)} of x"


def test_a_model_has_the_verdicts_of_a_check_on_any_batch():
    model = load_model("notes_cnn")
    found = cards(model, report=tg.check(model.graph(3)))
    assert {card.verdict for card in found.values() if card.kind != "input"} == {"ok"}
    assert found["Inp"].verdict == found["y"].verdict == ""
    assert found["Inp"].checks == ()


def test_an_equation_has_the_worst_verdict_of_its_operations(registry):
    @tg.op(elementwise=True)
    def halved(x):
        return x / 2

    @halved.vjp
    def halved_vjp(dy, y, x):
        return dy

    model = tg.Model(inputs={"x": [3]}, parameters={}, equations="h = tanh(halved(tanh(x)))\no = sum(h)", output="o")
    found = cards(model, report=tg.check(model))
    assert (found["h"].verdict, found["o"].verdict) == ("wrong", "ok")
    assert [line for line in found["h"].checks if line.startswith("check: WRONG, halved for x")]
    # The gradient for the input is wrong, too, so that it is no longer plain.
    assert found["x"].verdict == "wrong"


def test_folded_cards_have_the_worst_verdict_of_what_they_hold():
    model = load_model("residual")
    report = tg.check(model)
    assert cards(model, report=report, fold="all")["R1"].verdict == "ok"
    wrong = next(record for record in report.nodes if record.node == "R1.C1")
    spoilt = replace(report, nodes=tuple(replace(r, message="it failed") if r is wrong else r for r in report.nodes))
    card = cards(model, report=spoilt, fold="all")["R1"]
    assert (card.verdict, card.checks) == ("failed", ("check: FAILED, relu for x = R1.Z1: it failed",))


def test_where_nothing_is_finite_nothing_is_said_of_rules():
    x = tg.tensor([-1.0, 4.0], name="x")
    with np.errstate(invalid="ignore"):
        y = tg.sqrt(x).sum()
    card = cards(y, report=tg.check(y))["t1"]
    assert card.verdict == "not finite"
    assert card.checks[0].startswith("check: NOT FINITE, sqrt for x: sqrt in t1 gave nan")


def test_kinks_alone_are_no_fault():
    x = tg.tensor([0.0, 0.0], name="x")
    y = tg.relu(x).sum()
    card = cards(y, report=tg.check(y))["t1"]
    assert (card.verdict, card.checks) == (
        "at kinks",
        ("check: nothing to compare, every element is at a kink",),
    )


def test_many_findings_are_counted():
    x = tg.tensor([1.0], name="x")
    record = replace(tg.check(tg.tanh(x)).nodes[0], message="no")
    card = judged(Card("n1", "node", "y", "tanh(x)", (1,), "float64"), [record] * 9)
    assert len(card.checks) == 5
    assert card.checks[-1] == "check: 5 findings more"


def test_a_report_of_another_graph_is_refused():
    x = tg.tensor([1.0, 2.0], name="x")
    for other in (tg.tanh(x), tg.exp(tg.tanh(x)).sum(), tg.check(tg.relu)):
        report = other if hasattr(other, "nodes") else tg.check(other)
        with pytest.raises(tg.TinygraphError, match="the report is of another graph"):
            draw(tg.exp(x).sum(), report=report)


def test_something_that_is_no_report_is_refused():
    with pytest.raises(tg.TinygraphError, match=r"report must be what tg\.check returns; found str"):
        draw(tg.tanh(tg.tensor([1.0])), report="ok")


def test_the_summary_stands_under_the_title(slipped):
    assert "2 of 4 checks failed" in draw(slipped, report=tg.check(slipped)).drawing.caption


def test_verdicts_are_words_colours_and_classes(slipped):
    dot = draw(slipped, report=tg.check(slipped)).dot
    assert 'class="card node wrong"' in dot
    assert 'class="card node ok"' in dot
    assert "checked: green ok, red wrong" in dot
    assert "check: WRONG" in dot


def test_the_record_with_verdicts_is_ready_for_json(slipped):
    record = json.loads(json.dumps(draw(slipped, report=tg.check(slipped)).drawing.as_dict()))
    assert [card["verdict"] for card in record["cards"]] == ["wrong", "ok", "wrong", "ok"]


def test_text_says_what_was_found(slipped):
    assert "(hint: off by a factor of 0.5" in str(draw(slipped, report=tg.check(slipped)))


def test_full_detail_checks_by_itself(slipped):
    found = cards(slipped, detail="full")
    assert [card.verdict for card in found.values()] == ["wrong", "ok", "wrong", "ok"]
    assert cards(slipped, detail="value")["t2"].verdict == ""
    assert cards(slipped, detail="full", view="forward")["t2"].verdict == ""


def test_full_detail_says_why_it_has_not_checked(monkeypatch):
    y = tg.tensor(0.5, name="x")
    for _ in range(300):
        y = tg.tanh(y)
    assert "more than 200 cards are not checked" in draw(y, detail="full").drawing.caption

    def fails(*args):
        raise tg.TinygraphError("it cannot be done")

    # As an attribute of the package, the room has the name of its function.
    monkeypatch.setattr(sys.modules["tinygraph.verify"], "check", fails)
    assert draw(tg.tanh(tg.tensor(0.5)), detail="full").drawing.caption == "not checked: it cannot be done"


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_check_draws_what_it_found(tmp_path):
    result = run("check", "xor", "--draw", tmp_path / "checked.gv")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"wrote {tmp_path / 'checked.gv'}\n")
    assert (tmp_path / "checked.gv").read_text(encoding="utf-8").count(f'bgcolor="{RIGHT}"') == 8


def test_check_draws_the_values_that_it_was_given(tmp_path):
    assert run("check", "xor", "--data", "xor", "--draw", tmp_path / "checked.gv").exit_code == 0
    assert "0.6022" in (tmp_path / "checked.gv").read_text(encoding="utf-8")


def test_check_draws_what_is_wrong_and_ends_with_1(tmp_path, registry):
    ops = tmp_path / "ops.py"
    ops.write_text(
        "import tinygraph as tg\n"
        "@tg.op(elementwise=True)\ndef doubled(x):\n    return x + x\n"
        "@doubled.vjp\ndef doubled_vjp(dy, y, x):\n    return dy\n"
    )
    model = tmp_path / "own.toml"
    model.write_text(
        "[inputs]\nx = [2]\n[parameters]\nW = { shape = [2, 1], init = 'ones' }\n"
        "[model]\nequations = '''\nh = doubled(x @ W)\ncost = sum(h)\n'''\noutput = 'h'\nloss = 'cost'\n"
    )
    result = run("check", model, "--ops", ops, "--draw", tmp_path / "checked.gv")
    assert result.exit_code == 1
    assert "off by a factor of 0.5" in (tmp_path / "checked.gv").read_text(encoding="utf-8")


def test_check_refuses_a_suffix_before_it_begins(tmp_path):
    result = run("check", "xor", "--draw", tmp_path / "checked.jpg")
    assert result.exit_code == 2
    assert "node" not in result.stdout
