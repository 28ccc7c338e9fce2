"""Every gradient has one rule, in symbols that the document defines, and the rules give the gradients of the engine."""

import html
import re
from collections import Counter

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.pictures import renderer
from tests.tools.rules import Maker, evaluated, formula_value
from tinygraph.cli.equations import backward_rows
from tinygraph.describe.subject import subject_of
from tinygraph.draw import draw
from tinygraph.draw.build import drawing_of
from tinygraph.notes.compose import document_of


def facts(subject):
    """The values of items, and the gradients that they have, by their symbols."""
    forward = {item.symbol: subject.values[item.node] for item in subject.items}
    gradients = {item.symbol: subject.values[g] for item in subject.items if (g := subject.gradient(item)) is not None}
    return forward, gradients


def check(lines, forward, gradients, **options):
    """One line for each symbol, every symbol defined, and the numbers of the engine."""
    symbols = Counter(symbol for symbol, _ in lines)
    assert set(symbols.values()) <= {1}
    found = evaluated(lines, forward, **options)
    for name, expected in gradients.items():
        # The gradient of a tensor that is called dW may be called ddW_2 or so.
        actual = np.broadcast_to(found[name], expected.shape)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(initial=0))


def lines_of(drawing):
    lines = [line for card in drawing.cards for line in (*card.inside, *card.rules)]
    return [tuple(line.split(" = ", 1)) for line in lines if not line.startswith("to ")]


def named(drawing, gradients):
    """The gradients of items by the symbols that their cards show."""
    return {card.gradient: gradients[card.symbol] for card in drawing.cards if card.gradient}


@pytest.mark.parametrize("seed", range(24))
def test_the_rules_of_a_random_model_are_complete_and_right(seed):
    maker = Maker(seed)
    model, count = maker.model(), 1 + 3 * (seed % 2)
    feeds = maker.feeds(count)
    subject = subject_of(model, feeds)
    forward, gradients = facts(subject)
    drawing = drawing_of(subject)
    assert {card.symbol for card in drawing.cards if card.gradient} == set(gradients)
    check(lines_of(drawing), forward | {"m": count}, named(drawing, gradients))
    rows = list(backward_rows(subject.general))
    equations = [(symbol, text.removeprefix("= ")) for symbol, text, *_ in rows]
    assert equations.pop(0) == ("m", "the number of samples")
    assert sorted(equations) == sorted(lines_of(drawing))
    fixed = drawing_of(subject_of(model, feeds, batch=count))
    assert ("number of samples" in drawing.caption) == bool(
        re.search(r"\bm\b", " ".join(text for _, text in equations))
    )
    assert "number of samples" not in fixed.caption
    check(lines_of(fixed), forward, named(fixed, gradients))


@pytest.mark.parametrize("seed", range(12))
def test_the_rules_of_a_random_graph_are_complete_and_right_twice(seed):
    cost, leaves = Maker(seed).graph()
    reached = [x for x in leaves if x.kind == "parameter"]
    squares = [tg.sum(g * g) for g in tg.grad(cost, reached, unreached="zeros") if g.op is not None]
    for output in (cost, sum(squares[1:], start=squares[0])):
        subject = subject_of(output)
        drawing = drawing_of(subject, fold="none")
        forward, gradients = facts(subject)
        check(lines_of(drawing), forward, named(drawing, gradients))


@pytest.mark.parametrize("seed", range(3))
def test_every_rule_stands_in_the_text_and_in_the_svg(seed):
    renderer("dot")
    picture = draw(Maker(seed).model())
    words = "".join(re.findall(r"<text[^>]*>([^<]*)", picture.svg()))
    svg = re.sub(r"\s|\xa0", "", html.unescape(words))
    text = re.sub(r"\s", "", str(picture))
    for card in picture.drawing.cards:
        for line in (*card.rules, *card.inside):
            assert "".join(line.split()) in svg
            assert "".join(line.split()) in text


@pytest.mark.parametrize("seed", range(12))
def test_the_rules_of_notes_are_complete_and_right(seed):
    maker = Maker(seed, plain=True)
    model, feeds = maker.model(), maker.feeds(4)
    subject = subject_of(model, feeds)
    forward, gradients = facts(subject)
    sections = {
        s.slug: [line for b in s.blocks for line in getattr(b, "lines", ())]
        for s in document_of(model, feeds).sections
        if s.slug in ("forward", "loss", "backward")
    }
    lines = [tuple(line.formula.text.split(" = ", 1)) for lines in sections.values() for line in lines]
    lines = [(symbol, text) for symbol, text in lines if symbol not in (*forward, "loss")]
    shapes = {f"d{name}": gradient.shape for name, gradient in gradients.items()}
    expected = {f"d{name}": gradient for name, gradient in gradients.items()}
    check(
        lines,
        forward | {"m": 4},
        expected,
        read=lambda text, known, symbol: formula_value(text, known, shapes.get(symbol.partition("(")[0])),
    )


def cards_of(equations, **parameters):
    shapes = {name: {"shape": list(shape), "init": "ones"} for name, shape in parameters.items()}
    model = tg.Model({"x": [2], "y": [2]}, shapes, equations, "a", "cost")
    return model, {card.symbol: card for card in draw(model).drawing.cards}


def test_a_loss_and_its_activation_in_two_lines_have_every_rule():
    _, cards = cards_of("a = sigmoid(x @ W + b)\ncost = bce(a, y)", W=(2, 2), b=(2,))
    assert cards["a"].inside == ("t1 = x @ W + b",)
    assert cards["a"].rules == ("db = sum_to(dt1, (2,))", "dW = x.T @ dt1")
    assert cards["cost"].rules == ("dcost = 1", "dt1 = (a - y) / (2 * m)")
    assert "cost gives dt1 = (a - y) / (2 * m) at once" in cards["a"].note


def test_what_rules_name_of_the_inside_of_an_equation_is_defined_on_its_card():
    _, cards = cards_of("a = tanh(x @ W) + x\ncost = mse(a, y)", W=(2, 2))
    assert cards["a"].inside == ("t1 = tanh(x @ W)",)
    assert cards["a"].rules == ("dW = x.T @ (da * (1 - t1 * t1))",)


def test_a_gradient_that_is_passed_on_is_a_summand_by_its_name():
    lines = "h1 = tanh(x @ V)\nh2 = h1 + tanh(h1 @ W)\na = h2 + tanh(h2 @ W)\ncost = mse(a, y)"
    model, cards = cards_of(lines, V=(2, 2), W=(2, 2))
    assert cards["h1"].rules[0] == "dh1 = dh2 + dt1 @ W.T"
    assert cards["h2"].rules[:3] == ("dh2 = da + dt3 @ W.T", "to dh1: dh2", "dt1 = dh2 * (1 - t2 * t2)")
    assert cards["W"].rules == ("dW = h2.T @ dt3 + h1.T @ dt1",)
    notes = {line.formula.text for line in document_of(model).lines()}
    assert {"t1 = h1 W", "dt1 = dh2 * (1 - t2^2)", "dh1 = dh2 + dh1(2)"} <= notes


def test_a_model_with_a_tensor_called_m_has_rules_for_its_number_of_samples():
    _, cards = cards_of("m = x @ W\na = sigmoid(m)\ncost = mse(a, y)", W=(2, 2))
    assert cards["cost"].rules == ("dcost = 1", "da = 2 * (a - y) / 2")


def test_the_rule_of_a_gradient_comes_before_what_is_made_of_it():
    lines = "h = tanh(x @ V)\ng = h + tanh(h @ W)\na = g @ W + g + h\ncost = mse(a, y)"
    _, cards = cards_of(lines, V=(2, 2), W=(2, 2))
    assert cards["g"].rules[:2] == ("dg = da + da @ W.T", "to dh: dg")


def test_a_tensor_whose_gradient_is_that_of_another_has_a_rule_that_says_so():
    _, cards = cards_of("h = x @ W\na = h + x\ncost = mse(a, y)", W=(2, 2))
    assert (cards["h"].gradient, cards["a"].rules) == ("dh", ("dh = da",))


def test_sums_of_many_contributions_name_them_where_they_are_sent():
    lines = [f"h{i} = tanh({f'h{i - 1}' if i else 'x'} @ W)" for i in range(8)]
    _, cards = cards_of("\n".join([*lines, "a = h7 + 0", "cost = mse(a, y)"]), W=(2, 2))
    assert cards["W"].rules == ("dW = dW(1) + ... + dW(8)",)
    assert "dW(8) = x.T @ (dh0 * (1 - h0 * h0))" in cards["h0"].rules


def test_a_number_stands_for_an_array_only_where_it_takes_its_shape():
    W = tg.parameter([[1.0], [2.0]], name="W")
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="x")
    cards = {card.symbol: card for card in draw((x @ W * tg.constant([2.0])).sum()).drawing.cards}
    assert cards["t1"].rules == ("dx = dt1 @ W.T", "dW = x.T @ dt1")
    assert cards["t2"].rules == ("dt1 = 2 everywhere",)
    assert cards["t3"].rules == ("dt3 = 1", "dt2 = 1 everywhere")


def test_factors_of_one_and_second_names_have_no_cards():
    x = tg.tensor([3.0, 2.0], name="x")
    y = tg.sum(tg.sin(x) * x**3)
    for order in (1, 2, 3):
        (g,) = tg.grad(y, [x])
        y = tg.sum(g * g) if order < 3 else tg.sum(g)
        cards = draw(y, fold="none").drawing.cards
        made = {card.expression for card in cards if not card.is_leaf}
        assert not made & {"1", *(card.symbol for card in cards)}
