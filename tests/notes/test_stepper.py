"""Where numbers come from: every sum that the page shows equals the engine's number, and its tables lose nothing."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tinygraph.describe.origin_words import origin_text
from tinygraph.describe.origins import Origin, Origins
from tinygraph.describe.subject import Subject, subject_of
from tinygraph.errors import TinygraphError
from tinygraph.graph.tensor import Tensor
from tinygraph.notes.compose import document_of
from tinygraph.notes.document import Stepper
from tinygraph.notes.notes import MOST_RANDOM, samples_of
from tinygraph.notes.stepper.walk import Numbering, Table, Walk, table_of

# What a test registers is forgotten after it.
pytestmark = pytest.mark.usefixtures("registry")

MODELS = ("notes_cnn", "notes_ann", "xor", "residual", "lenet5", "notes_cnn_28")
# Of large arrays some elements all over, so that every channel and border is met.
MOST = 120


def model_subject(name: str) -> Subject:
    model = tg.load_model(name)
    return subject_of(model, next(iter(samples_of(model).values())))


def walk_of(thing: Any, **options: Any) -> Walk:
    document = document_of(thing, **options)
    block = next(b for section in document.sections for b in section.blocks if isinstance(b, Stepper))
    return block.walk


def told_elements(origins: Origins) -> Iterator[tuple[Tensor, int]]:
    for node in origins.subject.nodes:
        if node.op is not None and (origins.has_name(node) or node in origins.further):
            yield from ((node, at) for at in range(0, node.size, max(1, node.size // MOST)))


def assert_sums_to_the_engine_s_number(origins: Origins, origin: Origin) -> None:
    values = origins.values
    number = float(values[origin.node].reshape(-1)[origin.at])
    size = max([abs(number)] + [float(np.abs(part.numbers(values)).sum()) for part in origin.parts])
    tolerance = 64 * np.finfo(values[origin.node].dtype).eps if values[origin.node].dtype.kind == "f" else 0
    assert abs(origin.value(values) - number) <= tolerance * size, origin_text(origins, origin)


@pytest.mark.parametrize("name", MODELS)
def test_every_sum_equals_the_engines_number(name: str) -> None:
    origins = Origins(model_subject(name))
    count = 0
    for node, at in told_elements(origins):
        origin = origins.at(node, at)
        assert_sums_to_the_engine_s_number(origins, origin)
        count += 1
    assert count > 30


def test_every_operation_used_by_the_notes_network_tells_sums_and_not_only_formulas() -> None:
    origins = Origins(model_subject("notes_cnn"))
    by_formula = {node.name for node, at in told_elements(origins) if origins.at(node, at).formula}
    assert by_formula == {"a"}


def explained(name: str, *index: int) -> str:
    return tg.notes(tg.load_model("notes_cnn")).explain(name, *index)


def test_products_of_a_kernel_gradient_are_counted_and_shown() -> None:
    lines = explained("dK1", 0, 0, 1, 2).splitlines()
    # A 3x3 kernel on 8x8 pixels: at its right column, one column of the 64 windows looks at the padding.
    assert lines[0].endswith("the sum of 56 products")
    assert lines[1].startswith("  Inp[0,0,0,1] · dZ1[0,0,0,0] = ")
    assert lines[-1] == "  and 40 more"


def test_factors_are_written_in_numbers_and_terms_up_to_a_limit() -> None:
    x, W = tg.tensor([[1.0, -2.0, 3.0]], name="x"), tg.tensor([[0.5], [4.0], [-1.0]], name="W")
    notes = tg.notes((x @ W).sum())
    assert notes.explain("t1", 0, 0).splitlines()[1:] == [
        "  x[0,0] · W[0,0] = 1 · 0.5 = 0.5",
        "  x[0,1] · W[1,0] = (-2) · 4 = -8",
        "  x[0,2] · W[2,0] = 3 · (-1) = -3",
    ]
    assert notes.explain("t1", 0, 0, terms=2).splitlines()[-1] == "  and 1 more"
    assert tg.notes((3.0 - x).sum()).explain("t1", 0, 1).splitlines()[-1] == "  -x[0,1] = -(-2) = 2"
    with pytest.raises(tg.AttributeValueError, match="terms must be a whole number of at least 1; found 0"):
        notes.explain("t1", 0, 0, terms=0)


def test_a_gate_says_why_it_is_open_or_blocked() -> None:
    subject = model_subject("notes_cnn")
    z, c = (np.asarray(subject.values[next(n for n in subject.nodes if n.name == name)]) for name in ("Z1", "dC1"))
    shut = tuple(map(int, np.argwhere((z <= 0) & (c != 0))[0]))
    open_ = tuple(map(int, np.argwhere((z > 0) & (c != 0))[0]))
    at = ",".join(map(str, shut))
    assert re.search(rf"blocked: Z1\[{at}\] = -?[\d.e-]+ ≤ 0$", explained("dZ1", *shut))
    assert "open: Z1[" in explained("dZ1", *open_)


def test_a_pool_says_which_element_of_its_window_was_the_largest() -> None:
    x = tg.tensor(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), name="C2")
    notes = tg.notes(tg.max_pool2d(x, 2).sum())
    assert notes.explain("t1", 0, 0, 0, 0).splitlines()[1:] == ["  C2[0,0,1,0] = 4", "  the largest of 4"]
    assert notes.explain("dC2", 0, 0, 0, 1).splitlines() == [
        "dC2[0,0,0,1] = 0",
        "  not the maximum of its window, which is C2[0,0,1,0] = 4",
    ]


def test_a_mean_is_a_share_of_its_window() -> None:
    assert explained("dC1", 0, 0, 0, 0).splitlines()[1].startswith("  0.25 · dP1[0,0,0,0] = ")


def test_what_is_written_inside_an_equation_is_told_in_what_is_shown() -> None:
    # dW3 = f.T @ dZ3: nobody sees f.T.
    assert "  f[0,5] · dZ3[0,0] = " in explained("dW3", 5, 0)


def test_names_and_places_that_there_are_not() -> None:
    with pytest.raises(TinygraphError, match=r"no array 'dK3'; did you mean"):
        explained("dK3", 0)
    with pytest.raises(TinygraphError, match=r"dK1 has the shape \(8, 1, 3, 3\) and no element \(0, 0, 3, 0\)"):
        explained("dK1", 0, 0, 3, 0)
    with pytest.raises(TinygraphError, match="no element"):
        explained("dK1", 0)
    inp = tg.input("x", (MOST_RANDOM // 2 + 1,))
    with pytest.raises(TinygraphError, match="contain no numbers"):
        tg.notes(tg.relu(inp)).explain("t1", 0)


# Operations of users


def test_an_operation_without_explanation_is_told_by_its_jacobian() -> None:
    @tg.op
    def reversed_sum(x):
        return np.cumsum(x[::-1])

    @reversed_sum.vjp
    def reversed_sum_vjp(dy, y, x):
        return dy @ np.tril(np.ones((3, 3)))[:, ::-1]

    x = tg.tensor([1.0, 2.0, 4.0], name="x")
    notes = tg.notes(reversed_sum(x).sum())
    assert notes.explain("t1", 1).splitlines() == [
        "t1[1] = 6, the sum of 2 terms",
        "  x[1] = 2",
        "  x[2] = 4",
        "  by the local Jacobian of the operation",
    ]


def test_a_rule_for_plain_arrays_is_told_by_giving_it_ones() -> None:
    @tg.op(elementwise=True)
    def thirds(x):
        return x / 3

    @thirds.vjp(opaque=True)
    def thirds_vjp(dy, y, x):
        return np.asarray(dy) / 3

    x = tg.tensor([3.0, 6.0], name="x")
    notes = tg.notes((thirds(x) * tg.tensor([1.0, 5.0], name="w")).sum())
    first, *rest = notes.explain("dx", 1).splitlines()
    assert first.startswith("dx[1] = 1.667")
    assert rest[0] == "  0.3333 · dt1[1] = 0.3333 · 5 = 1.667"


def test_an_element_that_an_opaque_rule_gives_nothing_is_told_by_no_others() -> None:
    @tg.op
    def first(x):
        return x[:1]

    @first.vjp(opaque=True)
    def first_vjp(dy, y, x):
        return np.array([dy[0], 0.0])

    notes = tg.notes(first(tg.tensor([3.0, 6.0], name="x")).sum())
    assert notes.explain("dx", 1).splitlines() == [
        "dx[1] = 0",
        "  nothing comes to it, by the local Jacobian of the operation",
    ]


def test_a_formula_that_is_no_sum_has_slopes() -> None:
    @tg.op
    def squares(x):
        return (x * x).cumsum()

    @squares.vjp
    def squares_vjp(dy, y, x):
        return 2 * x * (dy @ np.tril(np.ones((2, 2))))

    x = tg.tensor([1.0, 3.0], name="x")
    subject = subject_of(squares(x).sum())
    origins = Origins(subject)
    origin = origins.of(origins.node("t1"), (1,))
    assert origin.formula
    assert origin.value(subject.values) == 10
    (slopes,) = origin.slopes
    assert_array_equal(slopes.weight, [2, 6])


def test_an_operation_may_say_itself_how_an_element_is_made() -> None:
    @tg.op(elementwise=True, formula="max({x}, 0) twice")
    def doubled_relu(x):
        return 2 * np.maximum(x, 0)

    @doubled_relu.vjp
    def doubled_relu_vjp(dy, y, x):
        return 2 * dy * (x > 0)

    @doubled_relu.explain
    def doubled_relu_explain(index, y, x):
        at = int(np.ravel_multi_index(index, x.shape))
        if x[index] > 0:
            return tg.Explanation((tg.Terms(((0, at),), 2.0),), ((0, np.array([at])),), "{0} is above 0")
        return tg.Explanation(reads=((0, np.array([at])),), reason="{0} is not above 0")

    x = tg.tensor([-1.0, 3.0], name="x")
    notes = tg.notes(doubled_relu(x).sum())
    assert notes.explain("t1", 0).splitlines() == ["t1[0] = 0", "  x[0] = -1 is not above 0"]
    assert notes.explain("t1", 1).splitlines() == ["t1[1] = 6", "  2 · x[1] = 2 · 3 = 6", "  x[1] = 3 is above 0"]


def test_an_explanation_may_ask_for_attributes_and_for_nothing_else() -> None:
    @tg.op
    def scaled(x, *, factor: float = 2.0):
        return factor * x

    with pytest.raises(tg.AttributeValueError, match="its explain takes 'scale', which is not an attribute"):

        @scaled.explain
        def scaled_explain(index, y, x, *, scale):
            return None


# Tables


def decoded(table: dict[str, Any], at: int) -> dict[str, Any]:
    """Return what the page's script makes of a table's row."""
    which = np.frombuffer(base64.b64decode(table["which"]), "<u4" if table["wide"] else "<u2")
    first = np.frombuffer(base64.b64decode(table["first"]), "<i4").reshape(-1, table["columns"])[at].tolist()
    pattern = table["patterns"][which[at]]

    def cells_of(distances: Any) -> list[int]:
        start = first.pop(0)
        if isinstance(distances, dict):
            distances = [i * distances["step"] for i in range(distances["count"])]
        return [start + d for d in distances]

    def part(found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "cells": [cells_of(distances) for distances in found["cells"]]}

    parts = [part(found) for found in pattern["parts"]]
    slopes = [part(found) for found in pattern.get("slopes", [])]
    reads = [(found["node"], cells_of(found["cells"])) for found in pattern.get("reads", [])]
    return {"parts": parts, "slopes": slopes, "reads": reads, "reason": pattern.get("reason", "")}


@pytest.mark.parametrize("name", ["notes_cnn", "residual"])
def test_tables_hold_every_origin_whole(name: str) -> None:
    origins = Origins(model_subject(name))
    numbers = Numbering()
    for node in [n for n in origins.subject.nodes if origins.has_name(n) and n.op is not None and n.size <= 600]:
        table = json.loads(json.dumps(table_of(origins, node, node.size, numbers).as_dict()))
        for at in range(0, node.size, 7):
            origin, found = origins.at(node, at), decoded(table, at)
            assert found["reason"] == origin.reason
            assert found["reads"] == [(numbers[x], cells.tolist()) for x, cells in origin.reads]
            for part, told in zip(origin.parts, found["parts"], strict=True):
                assert told["nodes"] == [numbers[x] for x in part.nodes]
                assert told["cells"] == [cells.tolist() for cells in part.cells]
                assert_array_equal(np.broadcast_to(told["weight"], len(part)), part.weight)


def test_windows_that_lie_alike_share_a_pattern() -> None:
    x = tg.tensor(np.random.default_rng(0).normal(size=(1, 1, 12, 12)), name="x")
    k = tg.tensor(np.ones((4, 1, 3, 3)), name="k")
    origins = Origins(subject_of(tg.conv2d(x, k, padding=1).sum()))
    table: Table = table_of(origins, origins.node("t1"), 10_000, Numbering())
    # Whole windows, those that lack a row or a column, and those in corners: at which side does not matter.
    assert len(table.patterns) == 4
    assert len(table.which) == 4 * 144
    assert not table.depends


# The walk


def test_steps_are_the_lines_of_the_notes_in_their_order() -> None:
    document = document_of(tg.load_model("notes_cnn"), next(iter(samples_of(tg.load_model("notes_cnn")).values())))
    walk = next(b for section in document.sections for b in section.blocks if isinstance(b, Stepper)).walk
    sections = {section.slug: section for section in document.sections}
    expected = [
        line.formula.text
        for slug in ("forward", "loss", "backward")
        for block in sections[slug].blocks
        for line in block.lines
        if line.slug != "loss"
    ]
    assert [line.formula.text for step in walk.steps for line in step.lines] == expected
    ids = [id for step in walk.steps for line in step.lines for id in line.ids]
    assert set(ids) == {f"F{i}" for i in range(1, 11)} | {f"B{i}" for i in range(1, 15)}
    assert [step.phase for step in walk.steps] == sorted((step.phase for step in walk.steps), reverse=True)


@pytest.fixture(scope="module")
def walk() -> Walk:
    samples = samples_of(tg.load_model("notes_cnn"))
    return walk_of(tg.load_model("notes_cnn"), feeds=next(iter(samples.values())), others=samples)


def test_scenes_are_samples_before_and_after_one_update(walk: Walk) -> None:
    model = tg.load_model("notes_cnn")
    samples = samples_of(model)
    assert [(scene.sample, scene.updated) for scene in walk.scenes] == [
        (f"sample {i}", updated) for i in range(4) for updated in (False, True)
    ]
    grids = {grid.name: grid for grid in walk.grids}
    before, after = grids["K1"].values[:2]
    assert_array_equal(after, before - np.float32(model.training.learning_rate) * grids["dK1"].values[0])
    assert grids["cost"].values[1] < grids["cost"].values[0]
    assert_array_equal(grids["Inp"].values[2], samples["sample 1"]["Inp"])


def test_each_scene_has_origins_of_its_own_where_numbers_decide(walk: Walk) -> None:
    grids = {grid.name: grid for grid in walk.grids}
    assert len(grids["K1"].tables) == 0
    assert len(grids["dK1"].tables) == 1
    assert len(grids["dZ1"].tables) == len(walk.scenes)


def test_large_arrays_are_told_in_part_and_that_is_said() -> None:
    walk = walk_of(tg.load_model("notes_cnn_28"), feeds=next(iter(samples_of(tg.load_model("notes_cnn_28")).values())))
    grids = {grid.name: grid for grid in walk.grids}
    assert grids["dK1"].explained == grids["dK1"].values[0].size
    assert 784 <= grids["Z1"].explained < grids["Z1"].values[0].size == grids["Z1"].held
    assert len(walk.scenes) == 1


def test_graphs_without_numbers_have_no_stepper() -> None:
    document = document_of(tg.relu(tg.input("x", (2,))).sum())
    assert "steps" not in [section.slug for section in document.sections]


def test_without_a_sample_or_data_the_numbers_are_random_and_the_notes_say_so() -> None:
    parameters = {"W": {"shape": [3, 1], "init": "he_normal"}}
    equations = "a = sigmoid(x @ W)\ncost = bce(a, y)"
    model = tg.Model({"x": [3], "y": [1]}, parameters, equations, "a", "cost")
    sentence = "The inputs are random numbers, from seed 3: no sample and no data are given."
    notes = tg.notes(model, seed=3)
    assert sentence in notes.text()
    steps = next(section for section in notes.document.sections if section.slug == "steps")
    assert steps.blocks[0].remark == sentence
    assert steps.blocks[0].walk.scenes[0].sample == "random numbers from seed 3"
    first, again, other = (tg.notes(model, seed=seed).text() for seed in (3, 3, 4))
    assert first == again != other.replace("seed 4", "seed 3")
    # A graph with inputs is one more thing without numbers of its own.
    assert "from seed 0" in tg.notes(tg.relu(tg.input("x", (2,))).sum()).text()
    assert "random" not in tg.notes(tg.tensor(2.0, name="x") * 3.0).text()


def test_the_numbers_are_those_of_the_sample_before_those_of_the_data() -> None:
    tables = {"inputs": {"x": [2], "y": [1]}, "equations": "a = x @ W\ncost = mse(a, y)", "output": "a", "loss": "cost"}
    sample = {"x": [[1, 2], [3, 4]], "y": [[1], [0]]}
    model = tg.Model(parameters={"W": {"value": [[1], [10]]}}, training={"data": "xor"}, sample=sample, **tables)
    notes = tg.notes(model)
    assert notes.explain("a", 1, 0).splitlines()[0] == "a[1,0] = 43, the sum of 2 products"
    assert "random" not in notes.text()
    steps = next(section for section in notes.document.sections if section.slug == "steps")
    assert {scene.sample for scene in steps.blocks[0].walk.scenes} == {"the model's sample"}


def test_paper_has_no_stepper() -> None:
    notes = tg.notes(tg.tensor(2.0, name="x") * 3.0)
    assert "steps" in [section.slug for section in notes.document.sections]
    for text in (notes.markdown(), notes.tex(), notes.text()):
        assert "Step through" not in text


def test_numbers_that_are_not_finite_come_as_json_has_them() -> None:
    p, t = tg.tensor([1.0, np.nan, 2.0], name="p"), tg.tensor([1.0, 2.0, np.inf], name="t")
    origins = Origins(subject_of(tg.mse(p, t)))
    table = table_of(origins, origins.node("t1"), 1, Numbering()).as_dict()
    values = json.loads(json.dumps(table, allow_nan=False))["patterns"][0]["parts"][0]["values"]
    assert values == [0.0, "NaN", "Infinity"]


def test_a_condition_that_does_not_hold_is_told_as_a_question() -> None:
    n = tg.tensor(np.array([123456, 98765]), name="n")
    notes = tg.notes(tg.where(n > 100000, tg.tensor([1.0, 2.0], name="x"), 0.0).sum())
    assert notes.explain("t1", 1).splitlines() == ["t1[1] = 0", "  = whether n[1] = 98765 > 100000"]


def test_complex_graphs_have_no_stepper_and_keep_both_parts_of_their_numbers() -> None:
    c = tg.tensor(np.array([1 + 2j, 3j]), name="c")
    notes = tg.notes((c * c).sum())
    assert "steps" not in [section.slug for section in notes.document.sections]
    assert "-3+4j" in notes.text()


def test_terms_that_are_no_products_are_not_called_so() -> None:
    p, t = tg.tensor([1.0, 3.0], name="p"), tg.tensor([1.0, 2.0], name="t")
    assert tg.notes(tg.mse(p, t)).explain("t1").splitlines()[0] == "t1 = 0.5, the sum of 2 terms"


def test_a_number_among_the_elements_of_a_term_is_written_in_its_place() -> None:
    p = tg.tensor([1.0, 3.0], name="p")
    assert tg.notes(tg.mse(p, np.full(2, -1.0))).explain("t1").splitlines()[1] == "  (p[0] − (-1))² / 2 = 2"
    assert tg.notes(tg.mse(np.zeros(2), p)).explain("t1").splitlines()[2] == "  (0 − p[1])² / 2 = 4.5"


def test_a_loss_names_the_label_of_each_term() -> None:
    a, y = tg.tensor([0.5, 0.25], name="a"), tg.tensor([1.0, 0.0], name="y")
    line = tg.notes(tg.bce(a, y)).explain("t1").splitlines()[2]
    assert line == "  −[y[1] log a[1] + (1 − y[1]) log(1 − a[1])] / 2 = 0.1438"
