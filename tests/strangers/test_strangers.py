"""The benchmark of strangers' operations holds together, and a few of them get the certificate that they deserve."""

import warnings

import numpy as np
import pytest

from tests.strangers import truth
from tests.strangers.cases import FOLDER, cases, load
from tests.strangers.causes import LINES, OBSERVED, STATED
from tests.strangers.runs import examine

EVERY = list(cases())
CASES = {case.name: case for case in EVERY}
BY_NAME = pytest.mark.parametrize("name", CASES)


def test_there_are_as_many_as_promised_and_a_third_is_set_aside():
    assert len(CASES) == len(EVERY) >= 450
    assert sum(len(case.mistakes) for case in CASES.values()) >= 1800
    assert 0.3 < sum(case.aside for case in CASES.values()) / len(CASES) < 0.4


def test_files_stay_short():
    assert not [path.name for path in FOLDER.glob("*.toml") if path.read_text(encoding="utf-8").count("\n") > 600]


def test_causes_are_known():
    known = {*STATED, *OBSERVED, *LINES}
    assert not [(c.name, m.what) for c in CASES.values() for m in c.mistakes if not m.causes or set(m.causes) - known]


@BY_NAME
def test_the_right_one_is_right_and_every_mistake_changes_it(name, registry):
    case = CASES[name]
    operation = load(name, case.source)
    calls = truth.calls(case.calls)
    stands_for = truth.evaluate(case.stands_for) if case.stands_for else operation
    for inputs, attributes in calls:
        _, dy, gradients = truth.by_rule(operation, inputs, attributes)
        for ours, numeric in zip(gradients, truth.by_differences(stands_for, inputs, attributes, dy), strict=True):
            np.testing.assert_allclose(ours, numeric, rtol=1e-5, atol=1e-6 * max(1, np.abs(numeric).max()))
    calls += truth.calls(case.ties)
    assert not any(isinstance(truth.outcome(operation, *call), str) for call in calls)
    for mistake in case.mistakes:
        wrong = load(name, case.mistaken(mistake))
        seen = truth.twice if "second" in mistake.causes else truth.outcome
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = [truth.differs(seen(operation, *call), seen(wrong, *call)) for call in calls]
        # Changed inputs, remembered masks and surrogates that are not declared give the right numbers here.
        assert any(changed) or {"mutates", "global", "surrogate"} & set(mistake.causes), mistake.what


def test_some_get_the_certificate_that_they_deserve():
    for outcome in examine([CASES["log_cosh"], CASES["itakura_saito"]]):
        assert outcome.right.verdict == "ok"
        assert all(found.found for found in outcome.mistakes)
