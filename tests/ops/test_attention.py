"""Causal self-attention, whose mask of minus infinity goes through everything: a declared model and its parts."""

import numpy as np
import pytest

import tinygraph as tg

EQUATIONS = """
Q = x @ Wq
K = x @ Wk
V = x @ Wv
S = Q @ transpose(K, (0, 2, 1)) / 2
A = softmax(where(trilu(ones, upper=False) > 0, S, -inf))
out = A @ V
cost = mse(out, y)
"""


@pytest.fixture
def model():
    square = {"shape": [4, 4], "init": "glorot_uniform"}
    return tg.Model(
        inputs={"x": [5, 4], "y": [5, 4]},
        parameters={"Wq": square, "Wk": square, "Wv": square},
        state={"ones": {"shape": [5, 5], "init": "ones"}},
        equations=EQUATIONS,
        output="out",
        loss="cost",
    )


@pytest.fixture
def data():
    x = np.random.default_rng(0).standard_normal((32, 5, 4)).astype(np.float32)
    return x, np.cumsum(x, axis=1) / np.arange(1, 6, dtype=np.float32)[:, None]


def test_no_place_sees_what_comes_after_it(model, data):
    x, _ = data
    changed = x.copy()
    changed[:, 3:] += 1
    for compiled in (True, False):
        before, after = (model.predict(value, compiled=compiled) for value in (x, changed))
        assert np.array_equal(before[:, :3], after[:, :3])
        assert not np.array_equal(before[:, 3:], after[:, 3:])


def test_it_is_checked_without_a_kink(model):
    report = tg.check(model)
    assert report.ok, str(report)
    assert report.kinks == 0


def test_it_prints_as_it_was_written_and_is_drawn_and_explained(model):
    assert "A = softmax(where(trilu(ones, upper=False) > 0, S, -inf))" in " ".join(str(model).split())
    assert "softmax" in tg.draw(model).dot
    assert r"-\infty" in tg.notes(model).markdown()


def test_it_learns(model, data):
    history = tg.fit(model, data, tg.SGD(0.5), epochs=20, batch_size=8, seed=0)
    assert history[-1].loss < history[0].loss / 2


def test_infinity_is_a_number_in_equations_and_no_size():
    with pytest.raises(tg.ModelError, match="a size must be a whole number"):
        tg.Model(
            inputs={"x": [3]}, parameters={"W": {"shape": ["inf"], "init": "zeros"}}, equations="a = x * W", output="a"
        )
    named = tg.Model(inputs={"inf": [3]}, parameters={}, equations="a = 2 * inf", output="a")
    assert "2 * inf" in str(named)
