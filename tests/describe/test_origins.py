"""Where numbers come from, in words: names as in the equations, and reasons that are true of NaN and of nothing too."""

import numpy as np

import tinygraph as tg


def explained(y: tg.Tensor, name: str, *index: int) -> list[str]:
    return [line.strip() for line in tg.notes(y).explain(name, *index).splitlines()]


def test_contributions_are_called_as_in_the_equations() -> None:
    x = tg.tensor([1.0, 2.0], name="x")
    y = (tg.sin(x) * tg.cos(x)).sum()
    assert "dx = dx(1) + dx(2)" in [line.formula.text for line in tg.notes(y).document.lines()]
    assert [line.split(" = ")[0] for line in explained(y, "dx", 1)[1:]] == ["dx(1)[1]", "dx(2)[1]"]
    assert explained(y, "dx(1)", 1)[0].startswith("dx(1)[1] = ")


def test_what_a_gradient_computes_again_is_told_by_the_name_it_has() -> None:
    notes = tg.notes(tg.load_model("lenet5"))
    lines = [line.strip() for line in notes.explain("dZ7", 0, 0).splitlines()]
    assert lines[1].startswith("a[0,0] = ")
    assert lines[2:] == ["-1", "class 0 is that of the label y[0] = 0"]
    assert notes.explain("dZ7", 0, 3).splitlines()[-1].strip() == "class 3 is not that of the label y[0] = 0"


def test_no_number_is_passed_on_by_relu_and_blocks_its_gradient() -> None:
    y = tg.relu(tg.tensor([np.nan, 1.0], name="x")).sum()
    assert explained(y, "t1", 0) == ["t1[0] = nan", "x[0] = nan", "passed on: x[0] = nan"]
    assert explained(y, "dx", 0) == ["dx[0] = 0", "blocked: x[0] = nan > 0 does not hold"]


def test_conditions_are_true_or_false_and_numbers_are_said_once() -> None:
    c, p, q = tg.tensor([True, False], name="c"), tg.tensor([1.0, 2.0], name="p"), tg.tensor([3.0, 4.0], name="q")
    assert explained(tg.where(c, p, q).sum(), "t1", 1)[1:] == [
        "q[1] = 4",
        "c[1] is false, so the second of two is chosen",
    ]
    y = tg.prelu(tg.tensor([-2.0], name="x"), tg.tensor([0.5], name="s")).sum()
    assert explained(y, "t1", 0)[1] == "= x[0] = -2 if x[0] > 0 else s[0] = 0.5 · x[0]"


def test_what_is_made_of_nothing_says_what_it_is() -> None:
    y = tg.tensor(np.ones((0, 2)), name="x").sum(axis=0).sum()
    assert explained(y, "t1", 1) == ["t1[1] = 0", "nothing comes through"]
    assert explained(y, "dt2") == ["dt2 = 1", "where the backward pass starts"]
    v = tg.tensor([3.0, 1.0, 2.0], name="v")
    assert explained(v.sum(), "v", 1) == ["v[1] = 1", "given, a value"]
    assert explained(tg.top_k(v, 2).sum(), "dv", 1)[1] == "nothing comes to it, by the local Jacobian of the operation"


def test_an_operation_that_explains_nothing_is_told_by_its_inputs_and_slopes(registry) -> None:
    @tg.op
    def wobble(x):
        return np.sin(x * x)

    @wobble.vjp
    def wobble_vjp(dy, y, x):
        return dy * 2.0 * x * tg.cos(x * x)

    y = wobble(tg.tensor([1.0, 2.0], name="x")).sum()
    assert explained(y, "t1", 1) == [
        "t1[1] = -0.7568",
        "= wobble of the elements of x",
        "moves by -2.615 for each unit of x[1]",
    ]
