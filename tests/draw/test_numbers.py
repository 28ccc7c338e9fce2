"""Numbers on cards: what is written out, in how many digits and rows, and from which size on a heat map is drawn."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.draw.figures import MOST_NUMBERS, figures_of

DRAWN = np.random.default_rng(0).standard_normal


@pytest.mark.parametrize(
    "shape", [(1, 1, 4, 4), (1, 2, 4, 4), (16,), (1, 16), (16, 1), (16, 1, 1), (2, 4), (4, 2, 2, 2)]
)
def test_small_arrays_are_written_with_every_number(shape):
    array = DRAWN(shape)
    figures = figures_of(array)
    cells = [float(cell) for row in figures.numbers for cell in row if cell]
    assert figures.heat is None
    assert len(cells) == array.size
    np.testing.assert_allclose(sorted(cells), np.sort(array, axis=None), rtol=1e-2)
    assert max(map(len, figures.numbers)) <= 11


@pytest.mark.parametrize("size", [0, 1, 9, 100])
def test_the_reader_chooses_from_which_size_on_a_heat_map_is_drawn(size):
    model = tg.load_model("xor")
    cards = tg.draw(model, feeds={"x": [[0.0, 1.0]], "y": [[1.0]]}, numbers=size).drawing.cards
    for figures in (each for card in cards for each in (card.value, card.gradient_value) if each is not None):
        assert bool(figures.heat) == (figures.size > max(1, size))
        assert bool(figures.numbers) != bool(figures.heat)


def test_rows_are_those_of_the_matrix_and_channels_are_apart():
    kernels = np.arange(18.0).reshape(2, 1, 3, 3)
    assert figures_of(kernels).numbers[0] == ("0", "1", "2", "", "9", "10", "11")
    images = np.arange(32.0).reshape(1, 2, 2, 8)
    assert [row[:1] for row in figures_of(images).numbers] == [("0",), ("8",), (), ("16",), ("24",)]


def test_a_long_vector_is_written_in_lines_and_says_so():
    figures = figures_of(np.arange(16.0).reshape(16, 1))
    assert [row[0] for row in figures.numbers] == ["0", "8"]
    x = tg.tensor(np.arange(16.0), name="x")
    assert "written in lines of 8" in tg.draw(x * 2).dot


def test_more_numbers_have_fewer_digits():
    assert figures_of(np.full(9, 1.23456)).numbers[0][0] == "1.235"
    assert figures_of(np.full(10, 1.23456)).numbers[0][0] == "1.23"


def test_the_numbers_of_the_model_of_the_readme_are_all_written():
    cards = tg.draw(tg.load_model("xor"), feeds={"x": [[0.0, 1.0]], "y": [[1.0]]}).drawing.cards
    assert all(card.value is None or card.value.heat is None for card in cards)
    assert max(card.value.size for card in cards if card.value is not None) <= MOST_NUMBERS


@pytest.mark.parametrize("size", [-1, 2.5, True, "many"])
def test_a_number_of_elements_that_makes_no_sense_is_refused(size):
    with pytest.raises(tg.TinygraphError, match="numbers says how many elements are written, 0 or more; found"):
        tg.draw(tg.tensor(1.0, name="x") * 2, numbers=size)


def test_a_model_is_drawn_for_a_batch():
    drawing = tg.draw(tg.load_model("xor"), batch_size=5).drawing
    assert {card.shape[0] for card in drawing.cards if card.kind == "input"} == {5}
    assert any("m = 5" in rule for card in drawing.cards for rule in card.rules)


def test_a_batch_that_does_not_fit_is_refused():
    model, x = tg.load_model("xor"), tg.tensor(1.0, name="x")
    with pytest.raises(tg.FeedError, match="the batch size is 3, but the feeds hold 1 samples"):
        tg.draw(model, feeds={"x": [[0.0, 1.0]], "y": [[1.0]]}, batch_size=3)
    with pytest.raises(tg.TinygraphError, match="a batch size is for models"):
        tg.draw(x * 2, batch_size=3)
    with pytest.raises(tg.TinygraphError, match="batch must be"):
        tg.draw(model, batch_size=0)
