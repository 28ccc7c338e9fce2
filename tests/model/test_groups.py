"""Tables that describe equations: what their tensors are called in another file, and the modules that they are in."""

import pytest

import tinygraph as tg

TEXT = """
[inputs]
x = [2]
[parameters]
W = { shape = [2, 2], init = "ones" }
[model]
equations = '''
h = x @ W
g = tanh(h)
o = g * x
'''
output = "o"
loss = false
"""


def test_groups_frame_and_fold_equations_and_parameters():
    model = tg.Model.from_toml(TEXT + '[groups]\nW = "part"\nh = "part"\ng = "part"\n[names]\ng = "g:0"\n')
    assert [card.group for card in tg.draw(model).drawing.cards] == ["", "part", "part", "part", ""]
    assert [card.title for card in tg.draw(model, fold="all").drawing.cards] == ["", "part", "multiply"]
    assert [card.original for card in tg.draw(model).drawing.cards] == ["", "", "", "g:0", ""]


@pytest.mark.parametrize("table", ["names", "groups"])
def test_names_of_nothing_and_values_that_are_no_text_are_refused(table):
    with pytest.raises(tg.ModelError, match="'gg'"):
        tg.Model.from_toml(f'{TEXT}[{table}]\ngg = "a"\n')
    with pytest.raises(tg.ModelError, match="must be text"):
        tg.Model.from_toml(f"{TEXT}[{table}]\ng = 1\n")
