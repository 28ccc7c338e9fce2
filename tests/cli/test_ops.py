"""``tinygraph ops``."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli.ops import gradient_lines
from tinygraph.ops import FAMILIES


def test_ops_lists_every_operation_by_family(run):
    output = run("ops").stdout
    listed = re.findall(r"^(\w+)\(", output, re.MULTILINE)
    assert set(listed) == set(tg.operations())
    headings = re.findall(r"^([a-z]+)$", output, re.MULTILINE)
    assert tuple(headings[: len(FAMILIES)]) == FAMILIES
    assert listed.index("conv1d") + 1 == listed.index("conv2d")


def test_ops_explains_one(run):
    output = run("ops", "relu").stdout
    assert "relu(x)   (activation)" in output
    assert re.search(r"^formula +max\(0, x\)$", output, re.MULTILINE)
    assert re.search(r"^gradient +dx = dy \* \(x > 0\)$", output, re.MULTILINE)
    assert re.search(r"^attributes +none$", output, re.MULTILINE)
    assert "Rectified linear unit" in output
    assert ">>> tg.relu(" in output


def test_ops_shows_attributes_with_types_and_defaults(run):
    output = run("ops", "conv2d").stdout
    assert "dk = conv2d_kernel_gradient(x, dy, kernel_size=(3, 2))" in output
    assert "stride: int or a pair of int, default 1" in output
    assert re.search(r"window: int or a pair of int$", run("ops", "max_pool2d").stdout, re.MULTILINE)


@pytest.mark.parametrize("name", [n for n, f in tg.operations().items() if f.op.__module__.startswith("tinygraph.ops")])
def test_every_gradient_can_be_written_out(name):
    text = "\n".join(gradient_lines(tg.operation(name).op))
    assert "not written out" not in text
    assert "None" not in text or "axis=None" in text


def test_gradients_of_whole_numbers_are_none():
    assert gradient_lines(tg.greater.op) == ["none: no gradient flows through a result that is not floating"]
    assert "dcondition: none" in gradient_lines(tg.where.op)


def test_an_operation_without_a_rule_says_that_it_has_none(run, registry):
    @tg.op
    def ruleless(x):
        return np.exp(x)

    (told,) = gradient_lines(ruleless.op)
    assert told == "none: ruleless has no gradient rule; add vjp(self, dy, y, ...), or @ruleless.vjp"
    with pytest.raises(tg.RuleError) as caught:
        ruleless(tg.tensor(1.0)).backward()
    assert told.removeprefix("none: ") in str(caught.value)


def test_notes_are_written_of_a_model_with_the_user_s_own_operations(run, own):
    pytest.importorskip("latex2mathml")
    model, ops = own
    result = run("notes", model, "--ops", ops, "--data", "xor", "-o", "own.html")
    assert result.exit_code == 0
    page = Path("own.html").read_text(encoding="utf-8")
    # The user's operations by name, their gradients derived, and the numbers of a sample to step through.
    assert "soft_plus" in page
    assert 'data-node="dh"' in page
    assert 'id="stepper-data"' in page
    text = run("notes", model, "--ops", ops, "--data", "xor", "-o", "own.txt")
    assert text.exit_code == 0
    lines = Path("own.txt").read_text(encoding="utf-8").splitlines()
    assert any("dW = x^T" in line for line in lines)


def test_the_automatic_docstring_of_a_dataclass_is_not_shown(run, own):
    _, ops = own
    assert "about" not in run("ops", "scaled", "--ops", ops).stdout
    assert "A smooth ReLU" in run("ops", "soft_plus", "--ops", ops).stdout


def test_an_example_imports_what_it_uses(run, own):
    _, ops = own
    shown = run("ops", "soft_plus", "--ops", ops).stdout
    assert re.search(r"^example +>>> import numpy as np\n +>>> tg.operation", shown, re.MULTILINE)
    assert run("ops", "relu").stdout.count("import numpy as np") == 1


def test_long_names_keep_the_table_of_operations_in_line(run, registry):
    @tg.op(formula="{x}")
    def an_operation_with_a_name_that_is_long(x):
        return x

    lines = run("ops").stdout.splitlines()
    start = lines[0].index("formula")
    # Operations that other tests have left may have no formula.
    rows = [line for line in lines[1:-1] if "(" in line[:start] and line[start:].strip()]
    assert all(re.search(r"  \S", line[start - 2 : start + 1]) for line in rows)
    assert any("that_is_long" in line for line in rows)


def test_an_opaque_rule_says_so(registry):
    @tg.op
    def opaque_cube(x):
        return x**3

    @opaque_cube.vjp(opaque=True)
    def opaque_cube_vjp(dy, y, x):
        return dy * 3 * np.asarray(x) ** 2

    assert gradient_lines(opaque_cube.op) == ["dx: an opaque rule, which computes on arrays and has no formula"]
    assert opaque_cube.op.readable_formula() == ""


def test_operations_without_samples_are_tried_on_small_matrices(registry):
    @tg.op
    def doubled(x):
        return 2 * x

    @doubled.vjp
    def doubled_vjp(dy, y, x):
        return 2 * dy

    @tg.op
    def needy(x, *, how: int):
        return x * how

    @needy.vjp
    def needy_vjp(dy, y, x, *, how):
        return how * dy

    @tg.op
    def crooked(x):
        return x + 0.0

    @crooked.vjp
    def crooked_vjp(dy, y, x):
        return dy, dy

    assert gradient_lines(doubled.op)[0] == "dx = 2 * dy"
    assert gradient_lines(needy.op) == ["not written out: no samples; give the operation samples to see it"]
    assert gradient_lines(crooked.op)[0].startswith("not written out: crooked:")


def test_an_unknown_operation_offers_the_nearest(fails):
    assert "did you mean 'conv2d'?" in fails("ops", "conv2")
