"""How operations say that an element is made: every sum equals the engine's number, on every sample of every operation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg
from tinygraph.describe.origins import Jacobian

# A composite is recorded in its parts, and each of those says how its elements are made.
OPERATIONS = {
    name: f for name, f in tg.operations().items() if f.op.__module__.startswith("tinygraph.") and not f.op.composite
}


def samples_of(name: str) -> list[tg.Sample]:
    op = OPERATIONS[name].op
    found = list(op.samples(np.random.default_rng(3)))
    if op.shortcut_samples is not None:
        found += list(op.shortcut_samples(np.random.default_rng(4)))
    return found


CASES = [pytest.param(name, i, id=f"{name}-{i}") for name in OPERATIONS for i in range(len(samples_of(name)))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_every_element_is_the_sum_of_its_terms(name: str, number: int) -> None:
    sample = samples_of(name)[number]
    op = OPERATIONS[name].op(**sample.attributes)
    y = np.asarray(op.forward(*sample.inputs))
    for index in np.ndindex(y.shape):
        # What says nothing itself is told by its local Jacobian.
        explanation = op.explain(index, y, *sample.inputs) or Jacobian(op, y, sample.inputs).explanation(index)
        for place, cells in (*explanation.reads, *(f for terms in explanation.terms for f in terms.factors)):
            assert cells.size == 0 or (cells.min() >= 0 and cells.max() < sample.inputs[place].size)
        if explanation.formula:
            assert explanation.reads or not any(x.size for x in sample.inputs)
        else:
            assert_allclose(explanation.value(sample.inputs), y[index], rtol=1e-12, atol=1e-13)


def test_a_standardized_element_reads_all_that_its_mean_is_of() -> None:
    x = np.array([[1.0, 2.0, 6.0]])
    op = tg.operation("standardize").op()
    found = op.explain((0, 1), op.forward(x), x)
    assert [cells.tolist() for _, cells in found.reads] == [[1], [0, 1, 2]]
    assert found.formula == "({0} − mean 3) / deviation 2.16, both of 3 elements"
