"""What a notebook shows of every result: a compact table, complete, that needs neither a script nor a network."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.describe.html import MOST_ROWS, SHORT
from tinygraph.train.history import Row

XOR = tg.load_model("xor")
X = tg.tensor([1.0, 2.0], name="x")


@pytest.fixture
def doubled_rule(registry):
    """An operation with a wrong gradient."""

    @tg.op(samples=lambda rng: [tg.Sample(rng.standard_normal(3))])
    def wrong_square(x):
        return x * x

    wrong_square.vjp(lambda dy, y, x: dy * x)
    return wrong_square


def history(epochs, accuracy=0.5):
    return tg.History([Row(i, 1 / i, accuracy, 2 / i, accuracy, 0.25) for i in range(1, epochs + 1)])


def profiled():
    step = XOR.compile_step("sgd", batch_size=4)
    x, y = tg.load_data("xor").train
    return step.profile({"x": x, "y": y}, repeats=1)


def deep():
    x = X
    for _ in range(60):
        x = tg.tanh(x)
    return x.sum()


VIEWS = {
    "history": (lambda: history(15), ["epoch", "0.0667", "<polyline"]),
    "long history": (lambda: history(1000), ["of 1,000 rows", '<td class="n">1000</td>']),
    "one epoch": (lambda: history(1), ["1.0000"]),
    "no epoch": (lambda: history(0), ["epoch"]),
    "regression": (lambda: history(3, None), ["loss"]),
    "report": (lambda: tg.check(XOR), ["worst relative error", "sigmoid"]),
    "long report": (lambda: tg.check(deep()), ["of 62 rows; print(report) shows all"]),
    "certificate": (lambda: tg.certify("tanh"), ["is certified", "gradient of x"]),
    "plan": (lambda: tg.compile(XOR, batch_size=4), ["batch: 4 samples", "matmul"]),
    "long plan": (lambda: tg.compile(deep()), ["print(plan.describe()) shows all"]),
    "step": (profiled, ["ms for all steps", "dW2"]),
    "metrics": (lambda: tg.evaluate(XOR, "xor"), ["accuracy", "samples"]),
    "images": (lambda: tg.load_data("digits"), ["data:image/png", "(1438, 1, 8, 8)", "one in five"]),
    "vectors": (lambda: tg.load_data("xor"), ["float32 (4, 2)"]),
    "several inputs": (lambda: tg.Data("d", ({"a": np.ones((3, 2)), "b": np.zeros(3)}, [0, 1, 1])), ["float64 (3, 2)"]),
    "strange data": (lambda: tg.Data("<b>", ([[1], [1, 2]], 3), ({}, object())), ["&lt;b&gt;", "object"]),
    "parameters": (lambda: XOR.parameters, ["W1", "float32 (2, 4)", "17 elements"]),
    "inputs": (lambda: XOR.graph(4).inputs, ["x", "float32 (4, 2)"]),
    "no state": (lambda: XOR.state, ["0 tensors"]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_notebook_shows_a_compact_table(name):
    make, phrases = VIEWS[name]
    thing = make()
    view = thing._repr_html_()
    assert [phrase for phrase in phrases if phrase not in view] == []
    most = SHORT if "history" in name else 30 if name == "certificate" else MOST_ROWS
    assert len(list(ElementTree.fromstring(view).iter("tr"))) <= most + 3
    assert len(view) < 15_000
    assert not re.search(r"<script|<link|@import|url\(|src=\"(?!data:)|https?://", view)
    assert len(repr(thing)) < 600


def test_the_rows_that_failed_are_marked_and_explained(doubled_rule):
    for found in (tg.check(doubled_rule(X).sum()), tg.certify(doubled_rule)):
        view = found._repr_html_()
        assert "class='bad'" in view
        assert "off by a factor of 0.5" in view


def test_a_plan_that_was_profiled_shows_its_slowest_steps():
    plan = tg.compile(deep()).profile({}, repeats=3)
    shown = re.findall(r'<tr><td class="n">(\d+)</td>', plan._repr_html_())
    slowest = max(plan.schedule.steps, key=lambda step: step.seconds)
    assert str(slowest.number) in shown
    assert plan.schedule._repr_html_() == plan._repr_html_()


def test_tensors_by_name_can_be_read_and_not_changed():
    parameters = XOR.parameters
    assert [*parameters] == ["W1", "B1", "W2", "B2"]
    assert [*(parameters | {"c": X})] == [*parameters, "c"]
    with pytest.raises(TypeError):
        parameters["W1"] = X
