"""The derived notes: formulas from the gradient nodes of graphs, matched with the lecture notes, in four formats."""

import base64
import hashlib
import html
import importlib.util
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tests.golden import make_notes
from tinygraph.cli import main
from tinygraph.describe.crosswalk import STATEMENTS, statements_of
from tinygraph.draw import render
from tinygraph.model import bundled_models
from tinygraph.notes.compose import document_of
from tinygraph.notes.document import Equations, Figure, Numbers, Table, Tasks
from tinygraph.notes.notes import samples_of

ROOT = Path(__file__).resolve().parents[2]
CNN_IDS = [f"F{i}" for i in range(1, 12)] + [f"B{i}" for i in range(1, 15)] + [f"U{i}" for i in range(1, 7)]
HOSTILE = "</script><img src=x onerror=alert(1)>$\\end{document}{}_^&`|\"'"


def lines_of(thing, **options):
    """Return the derived formulas by what the graph calls the nodes they make, as text."""
    return {line.slug: line.formula.text for line in document_of(thing, **options).lines()}


@pytest.fixture(scope="module")
def cnn():
    return tg.notes(tg.load_model("notes_cnn"))


@pytest.fixture(scope="module")
def page(cnn):
    return cnn.html()


# ---- Formulas


@pytest.mark.parametrize("name", make_notes.MODELS)
def test_derived_text_is_the_golden_one(name):
    assert make_notes.golden(name) == (make_notes.FOLDER / f"{name}.md").read_text(encoding="utf-8")


def test_every_statement_of_the_notes_stands_in_the_document_of_their_network(cnn):
    found = [id for line in cnn.document.lines() for id in line.ids]
    assert sorted(set(found)) == sorted(CNN_IDS)
    # B7 and B12 are two formulas in the notes too: the slope, and the product with it.
    assert sorted(id for id in set(found) if found.count(id) > 1) == ["B12", "B7"]


def test_statements_of_the_dense_slide_stand_in_the_document_of_the_dense_network():
    found = {line.slug: line.ids for line in document_of(tg.load_model("notes_ann")).lines() if line.ids}
    assert {slug: ids for slug, ids in found.items() if not slug.startswith("update")} == {
        "dZ3": ("A1",),
        "dW3": ("A2",),
        "dB3": ("A3",),
        "dA2": ("A4",),
        "dZ2": ("A4",),
    }


def test_ids_come_from_formulas_and_not_from_the_name_of_a_model():
    text = (ROOT / "models" / "notes_cnn.toml").read_text(encoding="utf-8")
    renamed = text.replace('name = "notes_cnn"', 'name = "mine"')
    other = renamed.replace("C2 = relu(Z2)", "C2 = tanh(Z2)").replace("max_pool2d", "avg_pool2d")
    assert set(CNN_IDS) == {id for line in document_of(tg.Model.from_toml(renamed)).lines() for id in line.ids}
    left = {id for line in document_of(tg.Model.from_toml(other)).lines() for id in line.ids}
    assert set(CNN_IDS) - left == {"F5", "F6", "B6", "B7"}


def test_bias_gradients_of_two_slides_are_told_apart_by_their_layers():
    assert statements_of("dB3 = sum(dZ3)", ["dB3 = sum(dZ3)"]) == ()
    forward = ["Z3 = f W3 + B3", "Z3 = A2 W3 + B3"]
    assert [statements_of("dB3 = sum(dZ3)", ["dB3 = sum(dZ3)", text]) for text in forward] == [("B3",), ("A3",)]
    assert [statements_of(text, forward) for text in forward] == [("F8",), ()]


def test_crosswalk_page_names_every_statement_that_is_matched():
    page = (ROOT / "docs" / "notes.md").read_text(encoding="utf-8")
    assert [id for id in STATEMENTS if f"| {id} |" not in page] == []


def test_gradients_of_a_dense_layer_have_samples_in_rows():
    lines = lines_of(tg.load_model("xor"))
    assert lines["dW2"] == "dW2 = h^T dZ"
    assert lines["dh"] == "dh = dZ W2^T"
    assert lines["dt1"] == "dt1 = dh * (1 - h^2)"


def test_number_of_samples_is_written_as_m_and_not_as_the_two_it_was_recorded_with():
    text = tg.notes(tg.load_model("notes_cnn")).text()
    assert "dZ3 = (a - y)/m" in text
    assert "(m, 16, 4, 4)" in text


def test_mean_over_several_outputs_divides_by_a_multiple_of_m():
    model = tg.Model(
        inputs={"x": [3], "y": [4]},
        parameters={"W": {"shape": [3, 4], "init": "ones"}},
        equations="z = x @ W\ncost = mse(z, y)",
        output="z",
        loss="cost",
    )
    lines = lines_of(model)
    assert lines["cost"] == "cost = 1/(4 m) sum_i (z_i - y_i)^2"
    assert lines["dz"] == "dz = 2 (z - y)/(4 m)"


def test_softmax_computed_again_for_the_gradient_is_written_as_the_output_it_is():
    assert lines_of(tg.load_model("lenet5"))["dZ7"] == "dZ7 = (a - onehot(y))/m"


def test_gradient_over_two_ways_is_written_as_a_sum_of_both():
    lines = lines_of(tg.load_model("residual"))
    assert lines["dP1"] == "dP1 = dR2.Z2 + dP1(2)"
    assert "dP1(2) = conv(padded(dR2.Z1), rot180(R2.K1))" in lines.values()


def test_batch_normalization_is_written_as_in_its_paper():
    lines = lines_of(tg.load_model("notes_cnn_norm"))
    assert lines["Z1_hat"] == "Z1_hat = (Z1 - mean(Z1))/sqrt(Var(Z1) + 10^(-5))"
    assert lines["N1"] == "N1 = Z1_hat * G1 + B1"
    assert lines["dZ1_hat"] == "dZ1_hat = dN1 * G1"
    assert lines["dG1"] == "dG1 = sum(dN1 * Z1_hat)"
    assert lines["dB1"] == "dB1 = sum(dN1)"
    remarks = {line.label: line.remark for line in document_of(tg.load_model("notes_cnn_norm")).lines()}
    assert remarks["Z1_hat"] == remarks["dG1"] == "over samples, rows and columns"


def test_axes_of_a_graph_without_inputs_are_numbers():
    x = tg.tensor(np.arange(6.0).reshape(2, 3), name="x")
    remarks = {line.label: line.remark for line in document_of(tg.softmax(x, axis=0).sum(axis=0).mean()).lines()}
    assert (remarks["t1"], remarks["t2"]) == ("over axis 0", "over axis 0")


def test_number_of_samples_of_a_graph_is_a_number_there_too():
    a = tg.sigmoid(tg.tensor([[0.5], [-1.0], [2.0]], name="z"))
    assert lines_of(tg.bce(a, tg.constant([[1.0], [0.0], [1.0]], name="y")))["dz"] == "dz = (t1 - y)/3"


def test_numbers_come_first_in_what_follows_and_stay_where_they_are_in_what_was_written():
    x, w = (tg.tensor([1.0, 2.0], name=name) for name in "xw")
    lines = lines_of((tg.cos(x * 3.0) * w).sum())
    assert lines["t1"] == "t1 = x * 3"
    assert lines["dx"] == "dx = 3 dt1"


def test_many_contributions_are_written_with_a_sign_for_the_sum():
    w, h = tg.tensor([[0.5, 0.1], [0.2, 0.3]], name="W"), tg.tensor([[1.0, 2.0]], name="h")
    for _ in range(9):
        h = tg.tanh(h @ w)
    lines = lines_of(h.sum())
    assert lines["dW"] == "dW = sum_i dW(i)"
    ways = [line.split()[0] for line in lines.values() if line.startswith("dW(")]
    assert ways == [f"dW({i})" for i in range(1, 10)]


def test_extremes_and_cases_within_cases_have_text():
    x, y = (tg.tensor([1.0, 3.0], name=name) for name in "xy")
    assert "1[x is the first minimum]" in lines_of(tg.min(x))["dx"]
    # What operations of several tensors come from has cases within cases.
    for name in ("maximum_all", "minimum_all"):
        assert " if " in lines_of(tg.operation(name)([x, y, x * 2.0]).sum())["dy"]


def test_both_uses_of_one_tensor_in_one_product_are_written():
    x = tg.tensor(3.0, name="x")
    assert list(lines_of(x * x).values()) == ["t1 = x^2", "dt1 = 1", "dx(1) = x", "dx(2) = x", "dx = dx(1) + dx(2)"]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (lambda x: tg.max_pool2d(x, 3, stride=1), "dx[m,n] = sum over xy whose max is x[m,n] of dt1[x,y]"),
        (lambda x: tg.avg_pool2d(x, 3, stride=1), "dx[m,n] = 1/9 sum over xy whose window holds mn of dt1[x,y]"),
        (lambda x: tg.avg_pool2d(x, (1, 2)), "dx[m,n] = 1/2 dt1[x,y], x = m, y = floor(n/2)"),
    ],
)
def test_windows_that_overlap_are_written_as_a_sum(pool, expected):
    x = tg.tensor(np.arange(16.0).reshape(1, 1, 4, 4), name="x")
    assert lines_of((pool(x) ** 2).sum())["dx"] == expected


def test_momentum_and_adam_are_written_with_their_letters():
    toml = (ROOT / "models" / "xor.toml").read_text(encoding="utf-8")
    lines = lines_of(tg.load_model("residual"))
    assert lines["update-v_W_new"] == "v_W = mu v_W + dW"
    assert lines["update-W_new"] == "W = W - alpha v_W"
    adam = toml.replace("learning_rate = 1.0", 'learning_rate = 0.01\noptimizer = "adam"')
    lines = [line for slug, line in lines_of(tg.Model.from_toml(adam)).items() if slug.startswith("update")]
    assert "m_W2 = beta_1 m_W2 + (1 - beta_1) dW2" in lines
    assert any("sqrt(" in line and "alpha" in line and "+ epsilon" in line for line in lines)


def test_a_schedule_and_clipped_gradients_are_part_of_the_written_update():
    toml = (ROOT / "models" / "xor.toml").read_text(encoding="utf-8")
    more = 'optimizer = "adamw"\nschedule = "cosine"\nwarmup = 3\nclip_norm = 1.0'
    model = tg.Model.from_toml(toml.replace("learning_rate = 1.0", more))
    lines = [line for slug, line in lines_of(model).items() if slug.startswith("update")]
    assert lines[0].startswith("alpha = min((t + 1)/3, 1) * (0.001 (1 + cos(")
    assert lines[1:4] == [
        "t = t + 1",
        "norm = sqrt(sum(dW2^2) + sum(dB2^2) + sum(dW1^2) + sum(dB1^2))",
        "scale = 1/max(norm, 1)",
    ]
    assert "m_W2 = beta_1 m_W2 + (1 - beta_1) (scale dW2)" in lines
    assert any(line.startswith("W2 = W2 - alpha (") and "lambda W2" in line for line in lines)


# ---- Documents


@pytest.mark.sweep
@pytest.mark.parametrize("name", bundled_models())
def test_notes_of_every_bundled_model_are_written_in_every_format_and_small(name, tmp_path):
    notes = tg.notes(tg.load_model(name))
    for suffix in ("html", "md", "tex", "txt"):
        text = notes.write(tmp_path / f"{name}.{suffix}").read_text(encoding="utf-8")
        assert notes.document.title in text
        assert len(text.encode()) < 2_000_000
    assert {"forward", "backward", "update", "symbols", "picture"} <= {s.slug for s in notes.document.sections}


def test_writing_twice_gives_the_same_bytes(cnn, page):
    again = tg.notes(tg.load_model("notes_cnn"))
    assert again.html() == page
    assert (again.markdown(), again.tex(), again.text()) == (cnn.markdown(), cnn.tex(), cnn.text())


def test_model_without_loss_has_a_forward_pass_and_says_why_there_is_no_other():
    model = tg.Model(
        inputs={"x": [3]},
        parameters={"W": {"shape": [3, 1], "init": "ones"}},
        equations="a = sigmoid(x @ W)",
        output="a",
    )
    notes = tg.notes(model)
    assert "a = sigmoid(x W)" in notes.text()
    assert "declares no loss" in notes.text()
    assert {"update", "step", "worksheet"}.isdisjoint(s.slug for s in notes.document.sections)


def test_worked_numbers_are_those_of_the_engine():
    model = tg.load_model("notes_cnn")
    feeds = samples_of(model, first=3)["sample 3"]
    document = document_of(model, feeds)
    recording = model.record(1)
    (gradient,) = tg.grad(recording.loss, [recording.tensors["Z3"]])
    expected = tg.run(gradient, feeds)[0].item()
    numbers = {
        n.symbol.text: n for s in document.sections for b in s.blocks if isinstance(b, Numbers) for n in b.numbers
    }
    assert numbers["dZ3"].rows == ((f"{expected:.4g}",),)
    assert numbers["y"].rows == ((f"{feeds['y'].item():.4g}",),)
    assert "min" in numbers["dK2"].note


def test_loss_after_one_update_is_that_of_one_training_step():
    model = tg.load_model("xor")
    feeds = samples_of(model, first=1)["sample 1"]
    table = next(
        b for s in document_of(model, feeds).sections if s.slug == "step" for b in s.blocks if isinstance(b, Table)
    )
    step = model.compile_step(tg.SGD(model.training.learning_rate), 1)
    losses = [step(feeds)[1] for _ in range(2)]
    assert [table.rows[-1][1], table.rows[-1][3]] == [f"{loss:.4g}" for loss in losses]


def test_notes_leave_the_parameters_of_the_model_as_they_are():
    model = tg.load_model("xor")
    before = {name: p.value.copy() for name, p in model.parameters.items()}
    tg.notes(model)
    assert all(np.array_equal(before[name], p.value) for name, p in model.parameters.items())


def test_worksheet_hides_what_its_solution_shows(cnn):
    sections = {section.slug: section for section in cnn.document.sections}
    asked = [block for block in sections["worksheet"].blocks if isinstance(block, Tasks)]
    solved = [block for block in sections["solution"].blocks if isinstance(block, Tasks)]
    pairs = [
        (asked, solved)
        for both in zip(asked, solved, strict=True)
        for asked, solved in zip(*(b.tasks for b in both), strict=True)
    ]
    assert all((task.left, task.answer) == (answer.left, answer.answer) for task, answer in pairs)
    # The rule by which a number is computed is itself a question, so only the solution shows it.
    assert all(
        task.rule == answer.given[: len(task.rule)] and not set(task.rule) & set(task.given) for task, answer in pairs
    )
    assert not any(block.solved for block in asked)
    assert all(block.solved for block in solved)
    text = cnn.markdown()
    sheet = text[text.index("## Worksheet") : text.index("## Solution of the worksheet")]
    answer = r"\operatorname{conv}(\operatorname{padded}(dZ^{[2]})"
    assert answer not in sheet
    assert answer in text[text.index("## Solution of the worksheet") :]


class Outline(HTMLParser):
    """What a page is made of: its tags with attributes, and those that were not closed."""

    EMPTY = frozenset({"meta", "link", "br", "img", "hr", "input", "col"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_closed_linked_and_small(page):
    outline = Outline(page)
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in outline.tags if tag == "a" and a.get("href", "").startswith("#")]
    assert {target[1:] for target in targets} <= set(ids)


def test_page_has_a_place_for_every_section_and_equation(page):
    outline = Outline(page)
    ids = {attributes.get("id"): tag for tag, attributes in outline.tags}
    assert ids["notes"] == "main"
    assert {"forward", "backward", "update", "symbols", "picture", "numbers", "worksheet", "solution"} <= set(ids)
    equations = [a for _, a in outline.tags if a.get("class") == "equation"]
    assert {"id": "eq-dK2", "data-node": "dK2", "class": "equation"} in equations


def test_page_fetches_nothing(page):
    names = re.findall(r"https?://[^\s\"'<>)\\]+", page)
    assert set(names) <= {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/1999/xhtml",
    }
    outline = Outline(page)
    assert not {tag for tag, _ in outline.tags} & {"link", "iframe", "object", "embed"}
    assert not [a for _, a in outline.tags if a.get("src", "data:").partition(":")[0] != "data"]
    assert "default-src 'none'" in page


def test_page_runs_its_own_script_and_no_other(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    allowed = re.findall(r"script-src ([^;]*)", policy)
    (own,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert allowed == [f"'sha256-{digest}'"]
    kinds = [attributes.get("type") for tag, attributes in Outline(page).tags if tag == "script"]
    # What has the type of text is data, which the script reads.
    assert kinds == ["text/plain", None]


def test_formulas_are_well_formed_mathml(page):
    formulas = re.findall(r"<math.*?</math>", page, flags=re.S)
    assert len(formulas) > 80
    for formula in formulas:
        assert ET.fromstring(formula).tag.endswith("math")


def test_tables_have_heads_with_scopes(page):
    tags = Outline(page).tags
    heads = [attributes.get("scope") for tag, attributes in tags if tag == "th"]
    assert set(heads) == {"col", "row"}
    assert heads.count("col") >= 5


def test_hostile_names_are_shown_and_cannot_be_markup():
    x = tg.tensor([[1.0, 2.0]], name=HOSTILE)
    W = tg.parameter([[1.0], [2.0]], name="W")
    notes = tg.notes((x @ W).sum(), title=HOSTILE)
    page = notes.html()
    assert "<img" not in page
    assert page.lower().count("<script") == page.lower().count("</script>") == 2
    outline = Outline(page)
    assert not [a for _, a in outline.tags if any(key.startswith("on") for key in a)]
    for formula in re.findall(r"<math.*?</math>", page, flags=re.S):
        ET.fromstring(formula)
    texts = ["".join(ET.fromstring(formula).itertext()) for formula in re.findall(r"<math.*?</math>", page, flags=re.S)]
    assert any(HOSTILE in text for text in texts)
    assert notes.tex().count(r"\end{document}") == 1
    markdown = re.sub(r"```.*?```", "", notes.markdown(), flags=re.S)
    assert "<" not in markdown


def test_line_breaks_and_invisible_letters_in_names_are_written_out():
    x = tg.tensor([1.0], name="a\nb\x00\u202e")
    notes = tg.notes((x * x).sum())
    assert "\x00" not in notes.html() + notes.markdown() + notes.tex() + notes.text()
    assert "\u202e" not in notes.html() + notes.markdown() + notes.tex() + notes.text()


def test_page_without_latex2mathml_says_what_to_install(monkeypatch, cnn):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tg.RenderError, match="pip install latex2mathml"):
        cnn.html()
    assert cnn.markdown().startswith("# The CNN of the notes")
    assert r"\documentclass" in cnn.tex()


def test_notes_do_without_a_renderer_of_pictures(monkeypatch):
    monkeypatch.setattr(render, "renderers", lambda: ())
    notes = tg.notes(tg.load_model("xor"))
    (figure,) = [b for s in notes.document.sections for b in s.blocks if isinstance(b, Figure)]
    assert figure.svg == ""
    assert "no renderer is installed" in figure.why
    assert "<pre>" in notes.html()


def test_large_graphs_have_equations_and_no_worked_numbers():
    x = tg.tensor(0.5, name="x")
    y = x
    for _ in range(100):
        y = tg.tanh(y)
    document = document_of(y)
    assert len(list(document.lines())) > 200
    assert {"numbers", "worksheet"}.isdisjoint(s.slug for s in document.sections)


def test_command_writes_the_format_of_the_suffix(tmp_path):
    path = tmp_path / "notes.md"
    result = CliRunner().invoke(main, ["notes", "xor", "-o", str(path), "--sample", "2"])
    assert result.exit_code == 0
    assert result.output == f"wrote {path}\n"
    assert path.read_text(encoding="utf-8").startswith("# Exclusive or")


def test_command_takes_weights_and_data(tmp_path):
    model = tg.load_model("xor")
    model.parameters["B2"].value = [0.25]
    model.save(tmp_path / "w.safetensors")
    np.savez(tmp_path / "d.npz", x=np.ones((3, 2)), y=np.ones((3, 1)))
    arguments = ["--weights", str(tmp_path / "w.safetensors"), "--data", str(tmp_path / "d.npz")]
    result = CliRunner().invoke(main, ["notes", "xor", "-o", str(tmp_path / "n.txt"), *arguments])
    assert result.exit_code == 0
    text = (tmp_path / "n.txt").read_text(encoding="utf-8")
    assert "0.25" in text
    assert "x  (1, 2)\n1  1" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "n.pdf"], "does not name a format of notes"),
        (["--sample", "99"], "has the samples 0 to 3; found 99"),
        (["--format", "docx"], "docx"),
    ],
)
def test_command_refuses_what_it_cannot_write(arguments, message):
    result = CliRunner().invoke(main, ["notes", "xor", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_command_writes_a_page_named_after_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["notes", "xor"]).output == "wrote xor_notes.html\n"
    assert (tmp_path / "xor_notes.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_other_things_than_graphs_are_refused():
    with pytest.raises(tg.TinygraphError, match="a tensor, a list"):
        tg.notes("notes_cnn")


def test_notebook_shows_the_notes_as_a_page_in_a_frame_or_as_markdown(cnn, monkeypatch):
    page = html.unescape(re.search('<iframe sandbox [^>]* srcdoc="([^"]*)"></iframe>', cnn._repr_html_())[1])
    assert page.count("<math") > 50
    assert "<script" not in page
    # A link in a frame without an address of its own leads away from the page.
    assert 'href="about:srcdoc#backward"' in page
    assert 'href="#' not in page
    assert not re.search(r'(src|href)="(?!about:srcdoc#|data:)', page)
    assert len(cnn._repr_html_()) < 600_000
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cnn._repr_html_() is None
    assert cnn._repr_markdown_() == cnn.markdown()
    assert repr(cnn) == f"<Notes of {cnn.document.title}: {len(list(cnn.document.lines()))} equations>"


def test_equations_of_blocks_stand_under_headings():
    document = document_of(tg.load_model("residual"))
    headings = [
        b.heading for s in document.sections if s.slug == "backward" for b in s.blocks if isinstance(b, Equations)
    ]
    assert headings == ["", "Block R2", "Outside the blocks", "Block R1", "Outside the blocks"]


# ---- End


def test_a_constant_of_the_backward_pass_has_a_line_and_its_numbers():
    z = tg.tensor([[1.0, 2.0], [3.0, 4.0]], name="z")
    loss = tg.cross_entropy(z, np.array([0, 1]))
    loss.name = "loss"
    text = tg.notes(loss).text()
    assert "     t2 = constant\n     dz = (softmax(z) - t2)/2\n" in text
    assert "t2  (2, 2)\n1  0\n0  1\n" in text


def test_arrays_without_elements_have_notes_too():
    empty = tg.tensor(np.zeros((2, 0, 3)), name="x")
    assert "it has no elements" in tg.notes((tg.relu(empty) * 2.0).sum()).text()


def test_samples_are_called_by_their_class():
    model = tg.load_model("notes_cnn")
    model.classes = ("even", "odd")
    labels = tg.load_data("digits_odd").part("all")[1][:3, 0]
    assert list(samples_of(model, count=3)) == [f"sample {i}, {model.classes[int(y)]}" for i, y in enumerate(labels)]
