"""Composites: operations made of others, which record their parts and are an operation in every other way."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.graph.registry import OPERATIONS

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


@pytest.fixture
def swish(registry):
    @tg.composite(formula="{x} · σ({slope} {x})", holomorphic=True)
    def swish(x, *, slope: float = 1.0):
        """A smooth ReLU."""
        return x * tg.sigmoid(slope * x)

    return swish


@pytest.fixture
def blend(registry):
    @tg.composite
    def blend(x, y, *, share: float = 0.25):
        return share * x + (1 - share) * y * y

    return blend


def test_a_call_on_tensors_records_the_parts(swish):
    assert str(tg.Graph(swish(tg.input("x", (2,)), slope=2.0))).splitlines()[-1].startswith("t1  = x * sigmoid(2 * x)")


def test_a_call_on_arrays_computes(swish):
    y = swish(X, slope=2.0)
    assert isinstance(y, np.ndarray)
    assert_array_equal(y, swish(tg.tensor(X), slope=2.0).value)


def test_its_gradients_are_those_of_the_parts(swish):
    x = tg.tensor(X)
    (dx,) = tg.grad(swish(x).sum(), [x])
    s = 1 / (1 + np.exp(-X))
    assert_allclose(dx.value, s + X * s * (1 - s), rtol=1e-12)


def test_it_is_certified_without_a_rule(swish, blend):
    assert tg.certify(swish).ok
    assert tg.certify("blend").ok


def test_as_one_node_its_rule_is_that_of_the_parts(blend):
    x, y = tg.tensor(X), tg.tensor(X + 1)
    node = tg.apply(blend.op(share=0.5), [x, y])
    assert node.op.name == "blend"
    one, parts = (tg.grad(z.sum(), [x, y]) for z in (node, blend(x, y, share=0.5)))
    for found, expected in zip(one, parts, strict=True):
        assert_allclose(found.value, expected.value, rtol=1e-12)
    node.sum().backward()
    assert_allclose(y.grad.value, one[1].value)


def test_one_tensor_in_two_places_has_a_gradient_from_each(blend):
    x = tg.tensor(X)
    for y in (blend(x, x), tg.apply(blend.op(), [x, x])):
        (dx,) = tg.grad(y.sum(), [x])
        assert_allclose(dx.value, 0.25 + 1.5 * X, rtol=1e-12)


def test_an_input_made_from_another_keeps_its_own_gradient(blend):
    x = tg.tensor(X)
    y = x * 3
    (dx,) = tg.grad(tg.apply(blend.op(), [x, y]).sum(), [x])
    assert_allclose(dx.value, 0.25 + 0.75 * 2 * 9 * X, rtol=1e-12)


def test_an_input_that_comes_back_is_a_node_of_its_own(registry):
    @tg.composite
    def unchanged(x):
        return x

    x = tg.tensor(X, name="x")
    y = unchanged(x)
    assert y is not x
    assert y.op.name == "identity"
    assert_array_equal(tg.grad(y.sum(), [x])[0].value, np.ones_like(X))


def test_a_part_that_does_not_fit_names_the_composite_first(blend):
    with pytest.raises(tg.ShapeError, match=r"^blend: add: x \(2, 3\), y \(4,\)"):
        blend(tg.tensor(X), tg.tensor(np.ones(4)))


def test_a_shape_rule_of_its_own_speaks_first(registry):
    @tg.register
    @dataclass(frozen=True)
    class Centered(tg.Composite):
        formula: ClassVar[str] = "{x} - mean({x})"

        def shape(self, x):
            if not x.shape:
                self.refuse([x], "needs an axis")
            return tuple(x.shape)

        def forward(self, x):
            return x - tg.mean(x, axis=-1, keepdims=True)

    assert tg.certify("centered").ok
    with pytest.raises(tg.ShapeError, match=r"^centered: x 'a' \(\): needs an axis$"):
        OPERATIONS["centered"](tg.tensor(1.0, name="a"))


def test_what_returns_no_tensor_is_refused(registry):
    @tg.composite
    def broken(x):
        return np.asarray(x.value)

    with pytest.raises(tg.OperationError, match="broken: forward returned ndarray for tensors"):
        broken(tg.tensor(X))


def test_a_rule_or_an_unknown_option_is_refused(swish):
    with pytest.raises(tg.TinygraphError, match="swish is made of operations and "):
        swish.vjp(lambda dy, y, x: dy)
    with pytest.raises(tg.TinygraphError, match=r"tg\.composite has no option 'formul'; did you mean 'formula'"):
        tg.composite(formul="x")(lambda x: x)


def test_a_wrong_claim_about_its_shape_is_found(registry):
    @tg.register
    @dataclass(frozen=True)
    class Halved(tg.Composite):
        samples = staticmethod(lambda rng: [tg.Sample(rng.standard_normal((4, 2)))])

        def shape(self, x):
            return tuple(x.shape)

        def forward(self, x):
            return x[::2]

    assert not tg.certify("halved").ok


def test_models_call_it_by_name(swish):
    model = tg.Model(
        inputs={"x": [3]},
        parameters={"W": {"shape": [3, 2], "init": "normal"}},
        equations="h = swish(x @ W, slope=2)\ncost = mean(h * h)",
        output="h",
        loss="cost",
    )
    x = np.ones((4, 3))
    assert_allclose(model.predict(x), swish(x @ model.parameters["W"].value, slope=2), rtol=1e-5)
    assert tg.check(model).ok


def test_a_card_of_a_picture_has_its_name():
    model = tg.load_model("notes_cnn_norm")
    cards = {card.symbol: card for card in tg.draw(model).drawing.cards}
    assert (cards["N1"].title, cards["N1"].family) == ("batch_norm", "normalization")
    assert (cards["D"].title, cards["D"].attributes) == ("dropout", "rate=0.2")


def test_parts_that_equations_speak_of_are_called_after_the_input():
    x, one = tg.input("Z1", (4, 3)), np.ones(3, np.float32)
    names = [node.name for node in tg.Graph(tg.batch_norm(x, one, one, one, one, training=True)).nodes if node.name]
    assert names == ["Z1", "Z1_hat"]
    nameless = tg.tensor(X)
    assert all(node.name is None for node in tg.Graph(tg.dropout(nameless, 1, training=True)).nodes if node.op)


def test_its_page_says_what_it_is_made_of():
    page = CliRunner().invoke(main, ["ops", "layer_norm"]).output
    assert "made of     x_hat = standardize(x, axis=(1,))" in page
    assert "dscale = sum_to(dy * x_hat, (4,))" in page
    assert "made of" not in CliRunner().invoke(main, ["ops", "relu"]).output
