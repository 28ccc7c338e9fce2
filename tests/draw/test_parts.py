"""One tensor or one gradient, drawn with what leads to it; pictures of nothing; parameters without a sample."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.model import bundled_models


def symbols(picture):
    return [card.symbol for card in picture.drawing.cards]


def test_a_tensor_is_drawn_with_its_ancestors_and_without_gradients():
    picture = tg.draw(tg.load_model("notes_cnn"), only="P1")
    assert symbols(picture) == ["Inp", "K1", "B1", "Z1", "C1", "P1"]
    assert {edge.lane for edge in picture.drawing.edges} == {"value"}
    assert picture.drawing.caption == "only what leads to P1"


def test_a_gradient_is_drawn_with_the_rules_that_lead_to_it_and_no_others():
    model = tg.load_model("notes_cnn")
    whole, part = tg.draw(model).drawing, tg.draw(model, only="dZ2").drawing
    rules = {rule for card in part.cards for rule in card.rules}
    assert rules < {rule for card in whole.cards for rule in card.rules}
    assert {rule.partition(" = ")[0] for rule in rules} >= {"dZ3", "df", "dP2", "dC2", "dZ2"}
    assert {"dK2", "dW3", "dZ1"}.isdisjoint(rule.partition(" = ")[0] for rule in rules)
    assert {card.symbol for card in part.cards if card.gradient} >= {"Z2", "C2", "P2", "f", "Z3"}


@pytest.mark.parametrize("name", list(bundled_models()))
def test_every_name_of_a_picture_can_be_drawn_alone(name):
    """Edges join cards that are there, and every symbol keeps its name, shape and rules."""
    model = tg.load_model(name)
    whole = tg.draw(model, fold="none").drawing
    cards = {card.symbol: card for card in whole.cards}
    names = {card.symbol for card in whole.cards} | {card.gradient for card in whole.cards if card.gradient}
    for only in sorted(names)[:: max(1, len(names) // 8)]:
        drawing = tg.draw(model, only=only, fold="none").drawing
        assert only in {name for card in drawing.cards for name in (card.symbol, card.gradient)}
        ids = {card.id for card in drawing.cards} | {bead.id for bead in drawing.beads}
        assert all(edge.tail in ids and edge.head in ids for edge in drawing.edges)
        for card in drawing.cards:
            assert (card.expression, card.shape) == (cards[card.symbol].expression, cards[card.symbol].shape)
            assert set(card.rules) <= set(cards[card.symbol].rules)


def test_names_of_a_graph_and_the_numbers_stay():
    x = tg.tensor([1.0, 2.0], name="x")
    y = (tg.exp(x) * tg.sin(x)).sum()
    assert symbols(tg.draw(y, only="t2")) == ["x", "t2"]
    (card,) = (card for card in tg.draw(y, only="t2").drawing.cards if card.symbol == "t2")
    assert card.value.numbers == tg.draw(y).drawing.cards[2].value.numbers


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        tg.TinygraphError, match=r"no tensor is called 'dK3'; did you mean 'd\w\d'\? \(there are 'Inp', "
    ):
        tg.draw(tg.load_model("notes_cnn"), only="dK3")


def test_verdicts_stay_with_their_cards():
    model = tg.load_model("xor")
    cards = {card.symbol: card for card in tg.draw(model, report=tg.check(model)).drawing.cards}
    for card in tg.draw(model, report=tg.check(model), only="h").drawing.cards:
        assert (card.verdict, card.checks) == (cards[card.symbol].verdict, cards[card.symbol].checks)


@pytest.mark.parametrize("show", [tg.draw, tg.notes])
@pytest.mark.parametrize("nothing", [[], ()])
def test_nothing_is_refused(show, nothing):
    with pytest.raises(tg.TinygraphError, match="at least one tensor"):
        show(nothing)


def test_loaded_parameters_have_their_numbers_and_drawn_ones_have_none(tmp_path):
    model = tg.load_model("xor")
    assert all(card.value is None for card in tg.draw(model).drawing.cards)
    model.save(tmp_path / "w.safetensors")
    model.load(tmp_path / "w.safetensors")
    drawing = tg.draw(model).drawing
    assert {card.symbol for card in drawing.cards if card.value is not None} == {"W1", "B1", "W2", "B2"}
    assert "not computed" not in str(drawing)
    assert all(card.value is None for card in tg.draw(model, detail="shape").drawing.cards)
    # Rules alone are what was asked for, such as by the page, which has the numbers next to the picture.
    feeds = {"x": [[0, 1]], "y": [[1]]}
    assert all(card.value is None for card in tg.draw(model, detail="rule", feeds=feeds).drawing.cards)


def test_a_model_is_drawn_with_its_sample_unless_feeds_or_a_size_are_given():
    tables = {"inputs": {"x": [2]}, "equations": "a = x * W", "output": "a", "parameters": {"W": {"value": [2, 3]}}}
    model = tg.Model(**tables, sample={"x": [10, 100]})
    assert tg.draw(model).drawing.cards[-1].value.numbers == (("20", "300"),)
    assert tg.draw(model, feeds={"x": [[1, 1]]}).drawing.cards[-1].value.numbers == (("2", "3"),)
    assert tg.draw(model, batch_size=3).drawing.cards[-1].value is None
    model.parameters["W"].value = np.array([0.0, 1.0])
    assert re.search(r"100", str(tg.draw(model)))
