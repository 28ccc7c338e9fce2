"""Errors of models point to their line in any layout, and name files that cannot be read."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.model_mistakes import BASE, ONE, attempt, changed, place
from tinygraph.model import bundled_models

# ---- where things stand


LAYOUTS = {
    "plain": ONE + 'equations = """\nh = x\na = rellu(h)\n"""\n',
    "on the opening line": ONE + 'equations = """h = x\na = rellu(h)\n"""\n',
    "first equation on the opening line": ONE + 'equations = """a = rellu(x)\n"""\n',
    "single quotes": ONE + "equations = '''\nh = x\n\na = rellu(h)\n'''\n",
    "one line": ONE + 'equations = "a = rellu(x)"\n',
    "one line, spaced": ONE + "equations   =    '   a = rellu(x)  '  # note\n",
    "one line, three quotes": ONE + 'equations = """a = rellu(x)"""\n',
    "space after the quotes": ONE + 'equations = """   \nh = x\na = rellu(h)\n"""\n',
    "escaped line ends": ONE + 'equations = "h = x\\na = rellu(h)"\n',
    "indented": ONE + 'equations = """\n\n    h = x\n  # note\n\n    a = 2 * rellu(h)  # note\n    """\n',
    "tabs": ONE + '\tequations\t=\t"""\n\th = x\n\ta = rellu(h)\n\t"""\n',
    "quoted keys": ONE.replace("[model]", "['model']") + '"equations" = """\nh = x\na = rellu(h)\n"""\n',
    "spaced header": ONE.replace("[model]", "  [ model ]   # note") + 'equations = """\nh = x\na = rellu(h)\n"""\n',
    "dotted keys": 'model.loss = false\nmodel.output = "a"\nmodel.equations = "a = rellu(x)"\ninputs.x = [4]\n',
    "inline table": 'inputs = { x = [4] }\n\nmodel = { loss = false, output = "a", equations = "a = rellu(x)" }\n',
    "model first": '[model]\nequations = """\na = rellu(x)\n"""\noutput = "a"\nloss = false\n[inputs]\nx = [4]\n',
    "list over lines": ONE.replace("[4]", "[\n  # four\n  4,\n]") + 'equations = """\na = rellu(x)\n"""\n',
    "three quotes in a comment": 'title = "x" # """\n' + ONE + 'equations = """\na = rellu(x)\n"""\n',
    "three quotes in a text": 'title = \'say """\'\n' + ONE + 'equations = """\na = rellu(x)\n"""\n',
    "keys in a text": 'title = """\n[model]\nequations = 3\n"""\n' + ONE + 'equations = """\na = rellu(x)\n"""\n',
    "hash in a text": 'title = "# no comment"\n' + ONE + 'equations = """\na = rellu(x)\n"""\n',
    "line separator in a comment": "# one\u2028line\u0085still\n" + ONE + 'equations = """\na = rellu(x)\n"""\n',
    "line separator in a comment of an equation": ONE + 'equations = """\nh = x  # \u2028\na = rellu(x)\n"""\n',
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_line_of_an_equation_is_right_in_any_layout(layout, newline, mistake):
    text = LAYOUTS[layout]
    error = mistake(text.replace("\n", newline))
    line, column = place(text, "rellu")
    assert error.line == line
    if layout not in ("escaped line ends", "inline table"):
        assert error.column == column
    assert error.equation.endswith(("rellu(x)", "rellu(h)", "# note"))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "written",
    [
        "[parameters]\nW = { shape = [0], init = 'ones' }",
        "[parameters.W]\ninit = 'ones'\nshape = [0]",
        "[ parameters . 'W' ]  # note\ninit = 'ones'\nshape = [0]",
        "[parameters]\nW.init = 'ones'\nW.shape = [0]",
        "[parameters]\n\t\"W\"\t=\t{ shape = [0], init = 'ones' }",
        "[parameters]\nW = { shape = [\n  0,\n], init = 'ones' }",
    ],
)
def test_the_line_of_a_parameter_is_right_however_it_is_written(written, newline, mistake):
    text = f"# note\n{ONE}equations = '''\na = x * W\n'''\n{written}\n"
    error = mistake(text.replace("\n", newline))
    assert "parameter 'W' needs a shape" in error.message
    first = place(text, written)[0]
    assert first <= error.line <= first + written.count("\n")


def test_an_error_of_a_model_from_python_has_a_line_in_its_text_and_no_file():
    with pytest.raises(tg.ModelError) as caught:
        tg.Model({"x": [4]}, {}, "\n  h = x\n  a = rellu(h)\n", "a")
    error = caught.value
    assert (error.file, error.line, error.column) == (None, 3, 7)
    assert error.equation == "a = rellu(h)"
    assert str(error).startswith("model:3:7: ")


def test_an_error_of_a_table_from_python_has_no_line():
    with pytest.raises(tg.ModelError) as caught:
        tg.Model({"x": [4]}, {"W": {"shape": [4]}}, "a = x * W", "a")
    assert (caught.value.file, caught.value.line) == (None, None)
    assert str(caught.value).startswith("model: parameter 'W' needs init")


PYTHON_MISTAKES = {
    "inputs": [{1: [4]}, None, "x", [("x", [4])], {"x": None}, {"x": "4"}],
    "parameters": [None, [], {1: {}}, {"W": None}, {"W": {"shape": [4], "init": "ones", 3: 4}}],
    "equations": [None, 3, "", "# none", ["a = x"], b"a = x"],
    "output": [None, 3, "b", ["a"]],
    "loss": [3, "b", True, ["a"]],
    "blocks": [{1: {}}, {"b": None}, "b", 3],
    "training": [{1: 2}, {"epochs": None}, "epochs", 3],
    "dtype": [None, "float16", 3, ["float32"]],
    "name": [3],
    "title": [3],
    "seed": [-1, 1.5, "one", [1]],
}


@pytest.mark.parametrize(
    ("argument", "value"), [(key, value) for key, values in PYTHON_MISTAKES.items() for value in values]
)
def test_a_wrong_argument_from_python_is_a_model_error(argument, value):
    arguments = {
        "inputs": {"x": [4]},
        "parameters": {"W": {"shape": [4], "init": "normal"}},
        "equations": "a = x * W",
        "output": "a",
    }
    with pytest.raises(tg.TinygraphError):
        tg.Model(**{**arguments, argument: value})


# ---- files


CUT = bundled_models()["notes_cnn"].read_bytes()


@pytest.mark.parametrize("end", range(0, len(CUT), 20))
def test_a_file_that_is_cut_is_an_error_with_a_line_or_a_model(end, tmp_path):
    path = tmp_path / "cut.toml"
    path.write_bytes(CUT[:end])
    result = attempt(lambda: tg.load_model(path))
    if isinstance(result, tg.Model):
        assert result.predict(np.zeros((1, 1, 8, 8))).shape == (1, 1)
    else:
        assert result.file == str(path)
        assert 1 <= result.line <= CUT[:end].count(b"\n") + 1


@pytest.mark.parametrize("start", range(20, len(CUT), 60))
def test_a_file_without_its_beginning_is_an_error_with_a_line(start, mistake):
    assert mistake(CUT[start:]).line >= 1


@pytest.mark.parametrize(
    "twice", ['name = "a"\nname = "b"\n', "[inputs]\nx = [1]\nx = [2]\n", "[inputs]\nx = [1]\n\n[inputs]\n"]
)
def test_a_key_twice_is_an_error_in_the_line_of_the_second(twice, mistake):
    error = mistake(twice)
    assert "not valid TOML" in error.message
    assert error.line == twice.count("\n")


def test_an_empty_file(mistake):
    for text in ("", "\n\n", "# nothing\n"):
        error = mistake(text)
        assert "[model] is missing" in error.message
        assert error.line == 1


def test_a_file_that_is_not_text(mistake):
    assert "not a text file" in mistake(b'name = "\xff\xfe"\n').message
    assert "not a text file" in mistake(BASE.encode("utf-16")).message
    assert "not a text file" in mistake(b"\x89PNG\r\n\x1a\n").message


def test_a_null_byte(mistake):
    error = mistake(changed("relu(Z)", "relu(\0)"))
    assert error.line == place(BASE, "relu(Z)")[0]
    assert "not valid TOML" in error.message
    assert "not an equation" in mistake(changed("relu(Z)", r"relu(\u0000)")).message


@pytest.mark.parametrize("path", ["notes_cn", "notes_cnn.tom", "nowhere/notes_ccn.toml"])
def test_a_file_that_is_not_there_has_a_nearest_bundled_name(path):
    with pytest.raises(tg.UnknownNameError, match="did you mean 'notes_cnn'") as caught:
        tg.load_model(path)
    assert repr(path) in str(caught.value)


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(tg.UnknownNameError, match="'lenet5', 'notes_ann'") as caught:
        tg.load_model("banana")
    assert "did you mean" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "net.toml"
    path.write_text(BASE)
    monkeypatch.setattr("tinygraph.model.load.open_plain", refuse)
    with pytest.raises(tg.ModelError, match=r"cannot be read: Permission denied") as caught:
        tg.load_model(path)
    assert caught.value.file == str(path)


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(tg.UnknownNameError, match=re.escape(str(tmp_path))):
        tg.load_model(tmp_path)


@pytest.mark.parametrize("path", ["", ".", "a\0b", "a" * 5000, "x/" * 3000, BASE])
def test_a_path_that_cannot_be_one_is_an_unknown_name(path):
    with pytest.raises(tg.UnknownNameError):
        tg.load_model(path)
