"""Planted mistakes: a part of what ``python -m tests.mutants`` asks, and the command itself."""

import functools

import pytest

from tests.mutants.__main__ import equivalents, fates, report
from tests.mutants.kill import killer
from tests.mutants.mistakes import mutants
from tests.mutants.rules import rules

RULES = {rule.name: rule for rule in rules()}
# One mutant in so many of each rule; the command asks about all.
EVERY = 12


@functools.cache
def mutants_in_words():
    return {name: [str(mutant) for mutant in mutants(rule)] for name, rule in RULES.items()}


@pytest.mark.parametrize("name", RULES)
def test_planted_mistakes_are_found(name):
    faults, _ = report(fates(name, EVERY), equivalents(), True, 1)
    assert not faults


def test_every_rule_has_mutants_with_texts_of_their_own():
    for texts in mutants_in_words().values():
        assert len(set(texts)) == len(texts) > 0


def test_every_operation_with_a_rule_is_asked():
    owners = {owner for rule in RULES.values() for owner in rule.owners}
    assert {"relu", "conv2d", "bce", "max", "getitem", "max_pool2d", "concatenate"} <= owners


def test_the_forward_of_a_transpose_is_a_rule_of_the_operation_that_it_carries_back():
    carried = {
        "AvgUnpool.forward": "avg_pool2d",
        "AvgPool.forward": "avg_unpool2d",
        "MaxUnpool.forward": "max_pool2d",
        "MaxTake.forward": "max_unpool2d",
        "ConvolveTransposed.forward": "conv2d",
        "ScatterAdd.forward": "gather",
        "Put.forward": "getitem",
    }
    assert all(owner in RULES[name].owners for name, owner in carried.items())


def test_a_rule_that_operations_have_in_common_is_asked_of_each():
    assert set(RULES["flat"].owners) == {"sign", "floor", "ceil", "trunc", "round"}


def test_a_rule_is_itself_again_afterwards():
    rule = RULES["relu_vjp"]
    code = rule.function.__code__
    assert killer(mutants(rule)[0]) == "gradients"
    assert rule.function.__code__ is code


def test_reasons_are_given_for_equivalents_and_belong_to_mutants():
    made = {text for texts in mutants_in_words().values() for text in texts}
    assert all(len(reason) > 10 for reason in equivalents().values())
    assert set(equivalents()) <= made


def test_faults_are_a_survivor_a_killed_equivalent_and_one_that_is_gone():
    results = {"a: lives": "", "b: dies": "gradients"}
    faults, lines = report(results, {"b: dies": "why", "c: gone": "why"}, False, 2)
    assert faults == [
        "survived: a: lives",
        "listed as equivalent, and killed: b: dies",
        "listed as equivalent, and no mutant: c: gone",
    ]
    assert lines[-1].endswith("score 50.0 %")
