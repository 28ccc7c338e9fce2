"""What shares a card: steps of a chain, equal equations, blocks, runs, and which leaves keep a card of their own."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.describe.fold import FEW_CARDS, MOST_CARDS, parts_of
from tinygraph.describe.subject import subject_of

WEIGHTS = {"W": {"shape": [3, 4], "init": "ones"}, "U": {"shape": [4, 4], "init": "ones"}}


def recurrent(steps, each="h{i} = tanh(x[:, {i}] @ W + h{j} @ U)"):
    lines = [each.format(i=i, j=i - 1) for i in range(1, steps + 1)]
    equations = "\n".join(["h0 = x[:, 0] @ W", *lines, f"cost = mean(h{steps} * y)"])
    return tg.Model({"x": [steps + 1, 3], "y": [4]}, WEIGHTS, equations, f"h{steps}", "cost")


def residual(count):
    names = [f"{kind}{i}" for i in range(1, count + 1) for kind in "WV"]
    lines = [f"t{i} = relu(h{i - 1} @ W{i})\nh{i} = h{i - 1} + t{i} @ V{i}" for i in range(1, count + 1)]
    shapes = {name: {"shape": [4, 4], "init": "ones"} for name in names}
    return tg.Model({"h0": [4], "y": [4]}, shapes, "\n".join([*lines, f"cost = mse(h{count}, y)"]), f"h{count}", "cost")


def folded(thing, fold="auto"):
    items = subject_of(thing, backward=False).items
    return {items[part.last].symbol: part for part in parts_of(items, fold)}


@pytest.mark.parametrize("steps", [28, 29, 200])
def test_the_steps_of_a_recurrent_network_are_one_card_and_its_weights_and_inputs_others(steps):
    parts = folded(recurrent(steps))
    assert list(parts) == ["x", "W", "h0", "U", f"h{steps}", "y", "cost"]
    assert parts[f"h{steps}"].times == steps
    assert {len(part.items) for symbol, part in parts.items() if symbol != f"h{steps}"} == {1}


def test_a_step_of_several_equations_folds_with_its_own_weights():
    parts = folded(residual(100))
    assert list(parts) == ["h0", "h100", "y", "cost"]
    assert (parts["h100"].times, len(parts["h100"].items)) == (100, 400)


def test_equal_blocks_are_one_card_with_the_names_of_the_first_and_the_last():
    block = {"inputs": ["x"], "parameters": {"W": {"shape": [4, 4], "init": "ones"}}}
    block |= {"equations": "t = tanh(x @ W)\no = x + t", "output": "o"}
    lines = "\n".join(f"h{i} = step(h{i - 1})" for i in range(1, 81))
    model = tg.Model({"h0": [4]}, {}, lines, "h80", blocks={"step": block})
    (card,) = [card for card in tg.draw(model).drawing.cards if card.kind == "folded"]
    assert (card.title, card.attributes, card.times, card.parameters) == ("h1 … h80", "x 80", 80, 80 * 16)
    assert card.expression == "h79 + h80.t, where h80.t = tanh(h79 @ h80.W)"


def test_a_repetition_within_a_repetition_is_folded_too():
    lines = []
    for i in range(1, 31):
        lines += [f"a{i} = relu(c{i - 1})", f"b{i} = tanh(a{i})", f"d{i} = tanh(b{i})", f"e{i} = tanh(d{i})"]
        lines += [f"c{i} = e{i} * x"]
    model = tg.Model({"x": [2]}, {}, "\n".join(["c0 = x + 1", *lines]), "c30")
    parts = folded(model)
    assert len(parts) <= MOST_CARDS
    assert parts["c30"].times == 30


def test_equations_with_other_numbers_attributes_or_shapes_are_not_equal():
    for k in ("+ {i}", "+ x ** {i}"):
        model = recurrent(40, "h{i} = tanh(x[:, {i}] @ W + h{j} @ U) " + k.replace("x **", "h{j} **"))
        assert not any(part.times > 1 for part in folded(model).values())


def test_few_cards_and_equations_that_are_no_chain_stay_alone():
    x = tg.tensor(1.0, name="x")
    for _ in range(FEW_CARDS - 1):
        x = tg.tanh(x)
    assert len(folded(x)) == FEW_CARDS
    leaves = [tg.tensor(float(i), name=f"x{i}") for i in range(MOST_CARDS // 2)]
    assert len(folded([tg.tanh(leaf) for leaf in leaves])) == MOST_CARDS


def test_runs_have_inputs_and_shared_weights_of_their_own_too():
    rng = np.random.default_rng(0)
    names = ["tanh", "exp", "relu", "sigmoid", "abs", "sin"]
    lines = [f"h{i} = {names[rng.integers(6)]}(h{i - 1} @ U + {i})" for i in range(1, 200)]
    model = tg.Model({"h0": [4]}, {"U": WEIGHTS["U"]}, "\n".join(lines), "h199")
    parts = folded(model)
    assert 20 < len(parts) <= MOST_CARDS
    assert len(parts["U"].items) == len(parts["h0"].items) == 1


def test_very_many_leaves_do_not_all_keep_a_card():
    leaves = [tg.tensor(i / 300, name=f"x{i}") for i in range(300)]
    total = leaves[0]
    for i, x in enumerate(leaves):
        total = total * x + leaves[i // 2]
    parts = folded(total)
    assert len(parts) <= MOST_CARDS
    assert sum(len(part.items) for part in parts.values()) == 900


def test_weights_alone_may_be_what_is_too_much():
    names = [f"W{i}" for i in range(40)]
    ops = ["tanh", "relu", "exp", "abs", "sin"]
    lines = [f"h{i} = {ops[i % 5]}({f'h{i - 1}' if i else 'x'} @ W{i}) ** {i + 1}" for i in range(40)]
    shapes = {name: {"shape": [2, 2], "init": "ones"} for name in names}
    cards = tg.draw(tg.Model({"x": [2]}, shapes, "\n".join(lines), "h39")).drawing.cards
    assert len(cards) == 41
    assert (cards[1].title, cards[1].parameters, cards[1].holds) == ("h0", 4, 2)


def test_parts_are_in_topological_order_and_hold_every_item_once():
    for model in (recurrent(70), residual(40), tg.load_model("residual")):
        items = subject_of(model, backward=False).items
        parts = parts_of(items)
        assert sorted(i for part in parts for i in part.items) == list(range(len(items)))
        place = {items[i].node: k for k, part in reversed(list(enumerate(parts))) for i in part.items}
        place |= {node: k for k, part in enumerate(parts) for i in part.items for node in items[i].nodes}
        for k, part in enumerate(parts):
            read = [x for i in part.items for node in items[i].nodes for x in node.inputs if x in place]
            assert all(place[x] <= k for x in read)


# ---- What the cards say


def test_a_step_shows_its_equation_and_its_rules():
    (card,) = [card for card in tg.draw(recurrent(29)).drawing.cards if card.times > 1]
    assert (card.title, card.attributes, card.holds) == ("h1 … h29", "x 29", 29)
    assert card.expression == "tanh(x[:, 29] @ W + h28 @ U)"
    assert "dh28 = dt29 @ U.T" in card.rules


def test_cards_count_parameters_and_multiply_adds_for_the_batch():
    cards = {card.symbol: card for card in tg.draw(tg.load_model("notes_cnn"), batch_size=2).drawing.cards}
    assert cards["K2"].counts == "1,152 parameters"
    assert cards["B3"].counts == "1 parameter"
    assert cards["Z2"].counts == "1,168 parameters, 36,864 multiply-adds"
    assert cards["C2"].counts == cards["Inp"].counts == ""
    assert tg.draw(recurrent(29)).drawing.cards[4].counts == f"28 parameters, {29 * (12 + 16):,} multiply-adds"
    assert "80 parameters, 4,608 multiply-adds" in tg.draw(tg.load_model("notes_cnn")).dot


def test_parameters_that_no_gradient_reaches_are_marked():
    shapes = {name: {"shape": [2, 2], "init": "ones"} for name in "VW"}
    model = tg.Model({"x": [2]}, shapes, "h = where(x @ V > 0, x, 0)\ncost = mean(h @ W)", "h", "cost")
    cards = {card.symbol: card for card in tg.draw(model).drawing.cards}
    assert (cards["V"].counts, cards["W"].counts) == ("4 parameters, frozen", "4 parameters")
    assert "parameter, frozen" in str(tg.draw(model))
