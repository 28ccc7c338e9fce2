"""TeX and text of every operation, of names, and of expressions with their parentheses."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.describe.plain import plain
from tinygraph.describe.subject import Subject
from tinygraph.describe.symbols import escaped, symbol_of
from tinygraph.describe.tex import Formulas
from tinygraph.notes.compose import document_of

# ---- TeX of operations


BUILT_IN = [name for name, function in tg.operations().items() if function.__module__.startswith("tinygraph.ops.")]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_operation_is_written_in_tex_for_every_sample(name):
    op = tg.operation(name).op
    for sample in op.samples(np.random.default_rng(0)):
        inputs = [tg.input(f"x{i}", x.shape, str(x.dtype)) for i, x in enumerate(sample.inputs)]
        node = tg.apply(op(**sample.attributes), inputs)
        written = Formulas(Subject("", (), outputs=(node,)), shown={node})
        formula = written.equation(node)
        bare = re.sub(r"\\[{}]", "", formula.tex)
        assert bare.count("{") == bare.count("}")
        unfilled = "|".join([*op.parameters, "shape", "size", "rows"])
        assert not re.search(rf"\{{\(?({unfilled})\)?\}}", formula.source)
        assert all(f"x{i}" in formula.text for i in range(len(inputs)))
        ET.fromstring(formula.mathml())
        assert rf"\text{{{escaped(name)}}}" not in formula.tex


def test_operation_without_tex_is_written_as_a_call(registry):
    @tg.op
    def swish_of(x, *, beta: float = 1.0):
        return x / (1 + np.exp(-beta * x))

    @swish_of.vjp(opaque=True)
    def swish_of_vjp(dy, y, x, *, beta):
        return dy

    x = tg.tensor([1.0, 2.0], name="x")
    notes = tg.notes(swish_of(x, beta=2.0).sum())
    lines = [line.formula for line in notes.document.lines()]
    assert lines[0].text == "t1 = swish_of(x, beta=2.0)"
    assert lines[0].tex == r"t_{1} = \text{swish\_of}(x, \text{beta=2.0})"
    assert "swish_of_vjp(1, t1, x)[0]" in lines[-1].text
    assert "swish_of" in notes.html()


def test_operation_with_a_template_of_its_own_is_written_by_it(registry):
    @tg.op(tex=r"\left({x}\right)_{+}^{{power}}", elementwise=True)
    def ramp(x, *, power: int = 2):
        return np.maximum(x, 0) ** power

    @tg.register
    @dataclass(frozen=True)
    class Half(tg.Op):
        def forward(self, x):
            return x / 2

        def written_tex(self, *inputs):
            return r"\frac{{x}}{2}"

    x = tg.tensor([1.0, 2.0], name="x")
    lines = [line.formula.tex for line in document_of(Half.function(ramp(x + x, power=3))).lines()]
    assert lines == [r"t_{1} = \frac{\left(x + x\right)_{+}^{3}}{2}"] or lines[-1].startswith(r"t_{3} = \frac{")


def test_template_that_is_no_tex_falls_back_to_text_in_the_page(registry):
    @tg.op(tex=r"{x}^{a}^{b}", elementwise=True)
    def broken(x):
        return x

    page = tg.notes(broken(tg.tensor([1.0], name="x"))).html()
    assert "<mtext>" in page
    assert "broken has no gradient rule" in page


# ---- Symbols


@pytest.mark.parametrize(
    ("name", "tex"),
    [
        ("K12", "K^{[12]}"),
        ("Ω", r"\Omega"),
        ("theta2", r"\theta_{2}"),
        ("W_hh", r"W_{\mathrm{hh}}"),
        ("a.b.Z1", r"Z^{[1]}_{\mathrm{a.b}}"),
        ("Zähler", r"\text{Zähler}"),
        ("", r"\text{}"),
    ],
)
def test_names_are_written_as_symbols(name, tex):
    assert symbol_of(name).tex() == tex


def test_escaped_text_has_no_character_that_tex_would_read():
    assert escaped("a\\b{c}$&#%_^~") == (r"a\textbackslash{}b\{c\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda a, b: a * -b, "a * (-b)"),
        (lambda a, b: 2.0 * -b, "2 (-b)"),
        (lambda a, b: a - -b, "a - (-b)"),
        (lambda a, b: -(a + b), "-(a + b)"),
        (lambda a, b: -a * b, "-a * b"),
        (lambda a, b: (a + b) ** 2, "(a + b)^2"),
        (lambda a, b: (-a) ** 2, "(-a)^2"),
        (lambda a, b: a - (b - a), "a - (b - a)"),
        (lambda a, b: a / (b * b), "a/b^2"),
        (lambda a, b: a * (b / 3), "a * b/3"),
        (lambda a, b: (a > b) * a, "1[a > b] * a"),
        (lambda a, b: ((a > 0) & (a < b)) * a, "1[(a > 0) and (a < b)] * a"),
        (lambda a, b: ((a > 0) & (a < b) | tg.isnan(b)) * a, "1[((a > 0) and (a < b)) or isnan(b)] * a"),
        (lambda a, b: tg.where(~(a > b), a, b), "a if not (a > b), b otherwise"),
        (lambda a, b: a @ (a + b).T, "a (a + b)^T"),
        (lambda a, b: (a @ b).T, "b^T a^T"),
        (lambda a, b: (a.T @ (a + b)).T, "(a + b)^T a"),
        (lambda a, b: a @ (b @ a.T).T, "a (a b^T)"),
        (lambda a, b: a.T.T + b, "a + b"),
        (lambda a, b: tg.sqrt(a + 1e-8), "sqrt(a + 10^(-8))"),
        (lambda a, b: tg.where(a > b, a, 0.0), "a if a > b, 0 otherwise"),
    ],
)
def test_parentheses_stand_where_they_are_needed(make, expected):
    a, b = (tg.input(name, (2, 2)) for name in "ab")
    node = make(a, b)
    written = Formulas(Subject("", (), outputs=(node,)), shown={node})
    assert written.formula(written.right[node]).text == expected


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\frac{1}{2 m}", "1/(2 m)"),
        (r"\sum_{i=1}^{m} x_{i}", "sum_i x_i"),
        (r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", "[1, 2; 3, 4]"),
        (r"\sqrt{x} \leq \infty", "sqrt(x) <= infty"),
        (r"\lVert x\rVert_{2} + \left\lceil y \right\rceil", "|x|_2 + ceil(y)"),
        (r"\lnot x \land (y \lor z)", "not x and (y or z)"),
        (r"x_{ ij}", "x_ij"),
        (r"\begin{cases} \begin{cases} a & b \\ c & d \end{cases} & e \\ f & g \end{cases}", "(a b, c d) e, f g"),
    ],
)
def test_tex_is_read_as_text(tex, text):
    assert plain(tex, {}) == text
