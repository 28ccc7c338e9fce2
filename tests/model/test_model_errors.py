"""Mistakes in model files: what each message says and where it points, and that nothing in a file is ever executed."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.model import bundled_models

BASE = '''\
# A small net with one of everything.
name = "base"
title = "A small net"

[inputs]
x = [1, 4, 4]
y = [1]

[parameters]
K = { shape = [2, 1, 3, 3], init = "he_normal" }
W = { shape = ["flat.shape[1]", 1], init = "glorot_uniform" }
bias = { shape = [1], init = "zeros" }

[blocks.scale]
inputs = ["p"]
attributes = { factor = 2 }
equations = """
q = p * gain
r = q * factor
"""
output = "r"

[blocks.scale.parameters]
gain = { shape = [1], init = "ones" }

[model]
equations = """
Z = conv2d(x, K, padding=1)
hidden = relu(Z)
flat = flatten(hidden)
S = scale(flat)
logit = S @ W + bias
a = sigmoid(logit)
cost = bce(a, y)
"""
output = "a"
loss = "cost"

[training]
data = "digits_odd"
epochs = 3
learning_rate = 0.5
'''


def attempt(build):
    """What ``build`` returns, or the ``ModelError`` that it raises; any other exception is a failure."""
    try:
        return build()
    except tg.ModelError as error:
        return error


def changed(old, new, text=BASE):
    assert text.count(old) == 1, old
    return text.replace(old, new)


def place(text, snippet):
    """Line and column, from 1, of the first place where a snippet stands."""
    before = text[: text.index(snippet)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


@pytest.fixture
def mistake(tmp_path):
    """Load a text as a file and return the error, whose place stands at the head of its message."""

    def load(text):
        path = tmp_path / "net.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(tg.ModelError) as caught:
            tg.load_model(path)
        error = caught.value
        assert error.file == str(path)
        parts = [str(part) for part in (path, error.line, error.column) if part is not None]
        assert str(error).startswith(":".join(parts) + ": ")
        return error

    return load


def test_the_base_of_all_these_mistakes_is_sound(tmp_path):
    (tmp_path / "net.toml").write_text(BASE)
    assert tg.load_model(tmp_path / "net.toml").predict(np.ones((2, 1, 4, 4))).shape == (2, 1)


# ---- mistakes in equations: (what is changed, into what, where the error points, what it says)

EQUATION_MISTAKES = {
    "wrong channels": ("x = [1, 4, 4]", "x = [3, 4, 4]", "conv2d(x", "conv2d", "'K'", "(2, 1, 3, 3)"),
    "wrong matrix": ('"flat.shape[1]"', "5", "S @ W", "matmul", "'S'", "'W'", "(5, 1)"),
    "no broadcasting": ("padding=1)", "padding=1) + three", "conv2d(x", "add", "'three'", "(3,)", "do not broadcast"),
    "wrong shape in a block": ("gain = { shape = [1]", "gain = { shape = [7]", "p * gain", "multiply", "(7,)"),
    "wrong shape of labels": ("y = [1]", "y = [2]", "bce(a", "bce", "(2, 2)"),
    "unknown operation": ("relu(Z)", "rellu(Z)", "rellu(Z)", "'rellu'", "did you mean 'relu'?"),
    "unknown block": ("scale(flat)", "scael(flat)", "scael(flat)", "'scael'", "did you mean 'scale'?"),
    "unknown name": ("flatten(hidden)", "flatten(hiden)", "hiden)", "'hiden'", "did you mean 'hidden'?"),
    "unknown name, by case": ("relu(Z)", "relu(z)", "z)", "'z' is not defined", "did you mean 'Z'?"),
    "unknown parameter": ("@ W + bias", "@ W + bais", "bais", "'bais'", "did you mean 'bias'?"),
    "unknown name in a block": ("q * factor", "q * facto", "facto\n", "'facto'", "did you mean 'factor'?"),
    "used before": ("= relu(Z)", "= relu(Z) + early\nearly = x * 2", "early\n", "'early' is used before", "line 30"),
    "defined twice": ("a = sigmoid", "Z = sigmoid", "Z = sigmoid", "'Z' is defined twice", "line 28"),
    "input again": ("hidden = relu", "x = relu", "relu(Z)", "'x' is defined twice", "input"),
    "parameter again": ("hidden = relu", "K = relu", "relu(Z)", "'K' is defined twice", "parameter"),
    "cycle of three": ("relu(Z)", "relu(Z) * S", "S\n", "a cycle", "hidden -> S -> flat -> hidden"),
    "cycle of one": ("relu(Z)", "relu(hidden)", "hidden)\nflat", "a cycle: hidden -> hidden"),
    "block of itself": ("q * factor", "scale(q)", "scale(q)", "block 'scale' calls itself"),
    "block arity": ("scale(flat)", "scale(flat, flat)", "scale(flat", "block 'scale' takes 1 tensor", "'p'"),
    "block of numbers": ("scale(flat)", "scale(3)", "scale(3", "block 'scale' takes 1 tensor"),
    "block attribute": ("scale(flat)", "scale(flat, facto=3)", "scale(flat", "'facto'", "did you mean 'factor'?"),
    "block attribute type": ("scale(flat)", 'scale(flat, factor="3")', "scale(flat", "factor must be a number", "'3'"),
    "attribute type": ("padding=1", 'padding="sme"', "conv2d(x", "conv2d: padding must be", "'sme'"),
    "attribute value": ("padding=1", "stride=0", "conv2d(x", "conv2d", "stride", "0"),
    "unknown attribute": ("padding=1", "paddin=1", "conv2d(x", "'paddin'", "did you mean 'padding'?", "'dilation'"),
    "attribute a tensor": ("padding=1", "padding=x", "conv2d(x", "conv2d: padding must be"),
    "attribute twice": ("padding=1", "1, stride=1", "conv2d(x", "conv2d", "stride", "is given twice"),
    "too few tensors": ("relu(Z)", "relu()", "relu()", "relu takes 1 tensor", "'x'"),
    "too many": ("relu(Z)", "relu(Z, Z)", "relu(Z, Z", "relu takes at most 1 argument"),
    "operation as a name": ("relu(Z)", "relu", "relu\n", "'relu' is an operation"),
    "number": ("relu(Z)", "3 + 4", "3 + 4", "must compute a tensor"),
    "shape": ("relu(Z)", "Z.shape", "Z.shape", "must compute a tensor"),
    "no such axis": ("relu(Z)", "Z * Z.shape[4]", "Z.shape[4]", "has no axis 4"),
    "index": ("relu(Z)", "Z[:, 5]", "Z[:, 5]", "getitem", "index"),
    "division by 0": ("relu(Z)", "Z * (1 / 0)", "1 / 0", "division by zero"),
    "root of -8": ("relu(Z)", "Z * (-8) ** 0.5", "(-8) **", "real"),
    "0 ** -1": ("relu(Z)", "Z * 0 ** -1", "0 ** -1", "0"),
    "slice step": ("relu(Z)", "Z[::0]", "Z[::0]", "step"),
    "syntax": ("relu(Z)", "relu(Z", "(Z\n", "not an equation", "'(' was never closed"),
    "no value": ("relu(Z)", "", "\nflat", "not an equation"),
    "no equation": ("hidden = relu(Z)", "relu(Z)", "relu(Z)", "name = expression"),
    "and": ("relu(Z)", "Z * (Z > 0 and Z < 1)", "Z > 0 and", "joined with & and |, each in parentheses"),
    "not": ("relu(Z)", "Z * (not Z)", "not Z", "~ for a tensor"),
    "bits of numbers": ("relu(Z)", "Z & Z", "Z & Z", "& is for booleans, such as (x > 0) & (x < 1)"),
    "choice": ("relu(Z)", "Z if Z > 0 else 0", "Z if", "where(condition, a, b)"),
    "function": ("relu(Z)", "lambda q: q", "lambda q", "functions of your own are blocks"),
    "NumPy's function": ("relu(Z)", "np.exp(Z)", "np.exp(Z", "by their names: exp(...)"),
    "nobody's function": ("relu(Z)", "np.expo(Z)", "np.expo(Z", "operations and blocks can be called, by their names"),
    "float labels": ("bce(a, y)", "nll(a, y[:, 0])", "nll(a", 'is declared with dtype = "int64"'),
    "reserved word": ("relu(Z)", "lambda", "\nflat", "not an equation"),
}
THREE = ("[blocks.scale]", "three = { shape = [3], init = 'ones' }\n\n[blocks.scale]")


@pytest.mark.parametrize("case", EQUATION_MISTAKES)
def test_a_mistake_in_an_equation(case, mistake):
    old, new, at, *says = EQUATION_MISTAKES[case]
    text = changed(old, new, changed(*THREE) if "three" in new else BASE)
    error = mistake(text)
    line, column = place(text, at)
    if at.startswith("\n"):
        column = error.column
    assert (error.line, error.column) == (line, column)
    assert error.equation == text.splitlines()[line - 1].strip()
    assert str(error).endswith(f"\n    {error.equation}")
    for phrase in says:
        assert phrase in error.message


def test_a_cycle_of_two_equations_is_spelled_out(mistake):
    error = mistake(changed("a = sigmoid(logit)", "a = sigmoid(b)\nb = sigmoid(a)"))
    assert error.message == "a cycle: a -> b -> a"


def test_two_blocks_that_call_each_other_are_a_cycle(mistake):
    text = (
        changed("q * factor", "other(q)")
        + "\n[blocks.other]\ninputs = ['p']\nequations = 'o = scale(p)'\noutput = 'o'\n"
    )
    error = mistake(text)
    assert error.line == place(text, "scale(p)")[0]
    assert "cycle" in error.message


def test_an_error_in_the_second_line_of_an_equation(mistake):
    text = changed("relu(Z)", "(relu(Z)\n          + hiden)")
    error = mistake(text)
    assert (error.line, error.column) == place(text, "hiden)")
    assert error.equation == "+ hiden)"


def test_columns_count_characters_not_bytes(mistake):
    text = changed("hidden = relu(Z)", "β = relu(Z)\nhidden = β + β + gamma")
    error = mistake(text)
    assert (error.line, error.column) == place(text, "gamma")


def test_truth_values_are_joined_in_equations(tmp_path):
    (tmp_path / "net.toml").write_text(changed("relu(Z)", "Z * (((Z > -1) & (Z < 1)) | ~(Z > 0) ^ (Z > 2))"))
    model = tg.load_model(tmp_path / "net.toml")
    recording = model.trace({"x": np.linspace(-4, 4, 16).reshape(1, 1, 4, 4), "y": np.zeros((1, 1))})
    Z, hidden = recording.tensors["Z"].value, recording.tensors["hidden"].value
    np.testing.assert_array_equal(hidden, Z * (((Z > -1) & (Z < 1)) | ~(Z > 0) ^ (Z > 2)))


# ---- mistakes in keys

KEY_MISTAKES = {
    "unknown table": ("[training]", "[trainings]", "[trainings]", "'trainings'", "did you mean 'training'?"),
    "unknown top key": ("title =", "titel =", "titel =", "'titel'", "did you mean 'title'?"),
    "unknown key of model": ("loss =", "los =", "los =", "'los'", "did you mean 'loss'?", "[model]"),
    "unknown key of training": ("epochs", "epoch", "epoch =", "'epoch'", "did you mean 'epochs'?", "[training]"),
    "unknown key of a parameter": ('"zeros"', '"zeros", scale = 2', "bias =", "'scale'", "[parameters.bias]"),
    "unknown key of an input": ("y = [1]", "y = { shape = [1], type = 3 }", "y =", "'type'", "[inputs.y]"),
    "unknown key of a block": (
        "attributes =",
        "attribute =",
        "attribute =",
        "'attribute'",
        "did you mean 'attributes'?",
    ),
    "unused parameter": ("S @ W + bias", "S @ W", "bias =", "parameter 'bias' is never used"),
    "unused parameter of a block": ("p * gain", "p * 1", "gain =", "parameter 'gain' is never used"),
    "unused input": ("bce(a, y)", "bce(a, a)", "y =", "input 'y' is never used"),
    "unused block": ("scale(flat)", "flat", "[blocks.scale]", "block 'scale' is never called"),
    "input twice": ('["p"]', '["p", "p"]', "inputs = [", "'p'", "twice"),
    "input and parameter": ("y = [1]", "y = [1]\nW = [1]", "W = {", "'W' is defined twice", "input", "parameter"),
    "input and attribute": ("{ factor", "{ p = 1, factor", "attributes", "'p' is defined twice"),
    "attribute and parameter": ("{ factor", "{ gain = 1, factor", "gain = {", "'gain' is defined twice"),
    "missing output": ('output = "a"', "", "[model]", "output is missing"),
    "missing output of a block": ('output = "r"', "", "[blocks.scale]", "output is missing"),
    "missing loss": ('loss = "cost"', "", "[model]", "the loss is missing", "loss = false"),
    "missing equations": ('equations = """\nZ', 'title = """\nZ', 'title = """', "'title'", "[model]"),
    "output of nothing": (
        'output = "a"',
        'output = "hiden"',
        'output = "hiden"',
        "output 'hiden'",
        "did you mean 'hidden'?",
    ),
    "output a parameter": ('output = "a"', 'output = "W"', 'output = "W"', "the output 'W' is not defined by"),
    "output of a block": ('output = "r"', 'output = "rr"', 'output = "rr"', "the output 'rr'"),
    "output not text": ('output = "a"', "output = 3", "output = 3", "output must be text"),
    "loss of nothing": ('loss = "cost"', 'loss = "coste"', "loss = ", "the loss 'coste'", "did you mean 'cost'?"),
    "loss not one number": ('loss = "cost"', 'loss = "a"', "loss = ", "one number", "'a'", "(2, 1)"),
    "loss not text": ('loss = "cost"', "loss = true", "loss = ", "loss must be text"),
    "not a shape": ("y = [1]", "y = 1", "y = 1", "input 'y' needs a shape", "found 1"),
    "input of size 0": ("y = [1]", "y = [0]", "y = [0]", "input 'y' needs a shape", "[0]"),
    "input without a shape": ("y = [1]", "y = {}", "y = {}", "input 'y' needs a shape"),
    "dtype of an input": ("y = [1]", "y = {shape = [1], dtype = 'int'}", "y =", "dtype", "'int32'", "'int'"),
    "dtype of the model": ('title = "A', 'dtype = "float"\ntitle = "A', "dtype =", "'float32'", "'float'"),
    "whole-number model": ('title = "A', 'dtype = "int32"\ntitle = "A', "dtype =", "'float32'", "'int32'"),
    "not a name": ("y = [1]", '"2y" = [1]', '"2y"', "'2y' is not a name"),
    "reserved name": ("y = [1]", '"lambda" = [1]', '"lambda"', "'lambda' is not a name"),
    "parameter not a table": ('{ shape = [1], init = "zeros" }', "[1]", "bias =", '{ shape = [1], init = "zeros" }'),
    "matrix not a table": (
        '{ shape = ["flat.shape[1]", 1], init = "glorot_uniform" }',
        "[9, 1]",
        "W =",
        '[9, 1], init = "gl',
    ),
    "unknown initializer": ('"zeros"', '"zeroes"', "bias =", "'zeroes'", "did you mean 'zeros'?", "'he_normal'"),
    "missing initializer": (', init = "zeros"', "", "bias =", "'bias' needs init", "'glorot_uniform'"),
    "unknown option": ('"zeros"', '"normal", st = 2', "bias =", "'st'", "did you mean 'std'?"),
    "option of another": ('"zeros"', '"uniform", std = 2', "bias =", "'std'", "'low' and 'high'"),
    "option not a number": ('"zeros"', '"normal", std = "2"', "bias =", "std must be a finite number", "'2'"),
    "option NaN": ('"zeros"', '"normal", std = nan', "bias =", "std must be a finite number", "nan"),
    "option negative": ('"zeros"', '"normal", std = -1', "bias =", "'bias'"),
    "range upside down": ('"zeros"', '"uniform", low = 2, high = 1', "bias =", "'bias'"),
    "option beyond float32": ('"zeros"', '"constant", value = 1e300', "bias =", "'bias'"),
    "option beyond floats": (
        '"zeros"',
        f'"constant", value = 1{"0" * 400}',
        "bias =",
        "parameters.bias.value holds",
        "64 bits",
    ),
    "missing shape": ('shape = [1], init = "zeros"', 'init = "zeros"', "bias =", "'bias' needs a shape"),
    "size 0": ('[1], init = "zeros"', '[0], init = "zeros"', "bias =", "'bias' needs a shape", "[0]"),
    "size -1": ('[1], init = "zeros"', '[-1], init = "zeros"', "bias =", "'bias' needs a shape", "[-1]"),
    "size 1.0": ('[1], init = "zeros"', '[1.0], init = "zeros"', "bias =", "'bias' needs a shape", "[1.0]"),
    "size true": ('[1], init = "zeros"', '[true], init = "zeros"', "bias =", "'bias' needs a shape", "[True]"),
    "size of nothing": ("flat.shape", "flt.shape", "W =", "'flt' is not defined", "did you mean 'flat'?"),
    "size of the batch": ("flat.shape[1]", "flat.shape[0]", "W =", "flat.shape[0]", "batch"),
    "size of the batch, from behind": ("flat.shape[1]", "flat.shape[-2]", "W =", "batch"),
    "size of itself": ("flat.shape[1]", "W.shape[1]", "W =", "size of 'W' is read off 'W' itself"),
    "size of a later tensor": ("flat.shape[1]", "logit.shape[1]", "W =", "'logit'", "before it is defined"),
    "size without an axis": ("flat.shape[1]", "flat.shape", "W =", "whole number"),
    "size a tensor": ("flat.shape[1]", "flat", "W =", "whole number"),
    "size a fraction": ("flat.shape[1]", "flat.shape[1] / 2", "W =", "whole number", "16.0"),
    "size computed to 0": ("flat.shape[1]", "flat.shape[1] - 32", "W =", "at least 1", "0"),
    "size of no axis": ("flat.shape[1]", "flat.shape[2]", "W =", "has no axis 2"),
    "size not an expression": ("flat.shape[1]", "flat.shape[1", "W =", "not a size", "flat.shape[1"),
    "size empty": ("flat.shape[1]", "", "W =", "not a size"),
    "huge": ('[1], init = "zeros"', '[1000000, 1000000, 100], init = "zeros"', "bias =", "'bias'", "1000000"),
    "beyond an address": (
        '[1], init = "zeros"',
        f'[1{"0" * 30}], init = "zeros"',
        "bias =",
        "parameters.bias.shape holds",
        "64 bits",
    ),
    "too many axes": ('[1], init = "zeros"', f'[{"1, " * 80}], init = "zeros"', "bias =", "'bias'"),
    "block input not text": ('inputs = ["p"]', "inputs = [3]", "inputs = [3]", "block 'scale' needs inputs", "[3]"),
    "block without inputs": ('inputs = ["p"]', "inputs = []", "inputs = []", "block 'scale' needs inputs"),
    "block attribute text": ("factor = 2", 'factor = "2"', "attributes", "block 'scale'", "numbers"),
}


@pytest.mark.parametrize("case", KEY_MISTAKES)
def test_a_mistake_in_a_key(case, mistake):
    old, new, at, *says = KEY_MISTAKES[case]
    text = changed(old, new)
    error = mistake(text)
    assert error.line == place(text, at)[0]
    for phrase in says:
        assert phrase in error.message


def test_an_unused_input_of_a_block(mistake):
    text = changed('inputs = ["p"]', 'inputs = ["p", "other"]', changed("scale(flat)", "scale(flat, flat)"))
    error = mistake(text)
    assert error.line in (place(text, "inputs = [")[0], place(text, "[blocks.scale]")[0])
    assert "'other' is never used" in error.message


def test_an_unused_block_is_found_behind_another(mistake):
    text = BASE + "\n[blocks.spare]\ninputs = ['p']\nequations = 'q = p'\noutput = 'q'\n"
    error = mistake(text)
    assert (error.line, error.message) == (place(text, "[blocks.spare]")[0], "block 'spare' is never called")


def test_a_block_cannot_have_the_name_of_an_operation(mistake):
    text = BASE.replace("scale", "tanh")
    error = mistake(text)
    assert error.line == place(text, "[blocks.tanh]")[0]
    assert "'tanh' has the name of an operation" in error.message


def test_parameters_whose_sizes_depend_on_each_other_are_a_cycle(mistake):
    text = changed('["flat.shape[1]", 1]', '["bias.shape[0]", 1]').replace(
        "bias = { shape = [1]", 'bias = { shape = ["W.shape[0]"]'
    )
    error = mistake(text)
    assert error.line in (place(text, "W =")[0], place(text, "bias =")[0])
    assert "itself" in error.message or "cycle" in error.message


def test_a_model_without_inputs(mistake):
    text = re.sub(r"\[inputs\]\n(?:[^\n]+\n)+", "[inputs]\n", BASE)
    error = mistake(text)
    assert (error.line, error.message) == (place(text, "[inputs]")[0], "a model needs at least one input")


def test_a_model_that_only_fits_batches_of_two_is_refused(mistake):
    text = changed("flatten(hidden)", "reshape(hidden, (2, 32))")
    error = mistake(text)
    assert error.line == place(text, "reshape(")[0]
    assert "(3, 2, 4, 4)" in error.message


@pytest.mark.parametrize("table", ["inputs", "model"])
def test_a_missing_table(table, mistake):
    text = re.sub(rf"\[{table}\]\n(?:[^\n]+\n)+", "", BASE)
    assert f"[{table}]" in mistake(text).message


@pytest.mark.parametrize("table", ["inputs", "parameters", "blocks", "model", "training"])
@pytest.mark.parametrize("value", ["3", "'text'", "[]", "[[1]]", "true", "1979-05-27"])
def test_something_else_in_place_of_a_table(table, value, mistake):
    text = f"{table} = {value}\n" + re.sub(rf"\[{table}[\].](?:.|\n)*?(?=\n\[(?!{table})|\Z)", "", BASE)
    error = mistake(text)
    assert error.line == 1
    assert f"[{table}]" in error.message


@pytest.mark.parametrize("written", ["[[model]]", "[[training]]", "[[blocks]]"])
def test_a_list_of_tables_in_place_of_a_table(written, mistake):
    name = written.strip("[]")
    text = re.sub(rf"\[{name}[\].](?:.|\n)*?(?=\n\[(?!{name})|\Z)", "", BASE) + f"\n{written}\nepochs = 3\n"
    error = mistake(text)
    assert f"[{name}] must be a table" in error.message
    assert error.line == place(text, written)[0]


TRAINING = {
    "epochs = 0": "epochs must be positive",
    "epochs = -3": "epochs must be positive",
    "epochs = 1.5": "epochs must be int",
    "epochs = true": "epochs must be int",
    'epochs = "3"': "epochs must be int",
    "batch_size = 0": "batch_size must be positive",
    "learning_rate = -0.1": "learning_rate must be positive",
    "learning_rate = 0": "learning_rate must be positive",
    "learning_rate = nan": "learning_rate must be positive",
    "learning_rate = inf": "learning_rate must be positive",
    'learning_rate = "fast"': "learning_rate must be",
    f"learning_rate = 1{'0' * 400}": "learning_rate",
    "momentum = 1": "momentum must lie in",
    "momentum = -0.1": "momentum must lie in",
    "momentum = nan": "momentum must lie in",
    'optimizer = "adm"': "'adam'",
    "optimizer = 3": "optimizer must be",
    'momentum = 0.9\noptimizer = "adam"': "momentum is a setting of 'sgd'; optimizer 'adam' takes none",
    "learning_rate = 1e-60": "learning_rate 1e-60 is 0 in float32, the dtype of the model",
    "learning_rate = 1e60": "learning_rate 1e+60 is inf in float32, the dtype of the model",
    "seed = -1": "seed must not be negative",
    "seed = 0.5": "seed must be int",
    "data = 3": "data must be",
    "data = [1]": "data must be",
    "rate = 0.1": "[training] has no key 'rate'",
}


@pytest.mark.parametrize("written", TRAINING)
def test_a_wrong_training_value(written, mistake):
    head = BASE[: BASE.index("data =")]
    error = mistake(f"{head}# by night\n\n{written}\n")
    assert TRAINING[written] in error.message
    assert error.line == head.count("\n") + 3


def test_an_unknown_optimizer_has_a_nearest_name(mistake):
    assert "did you mean 'adam'?" in mistake(BASE + 'optimizer = "adm"\n').message


# ---- where things stand

ONE = '[inputs]\nx = [4]\n\n[model]\nloss = false\noutput = "a"\n'
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
    monkeypatch.setattr("tinygraph.model.files.open_plain", refuse)
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


# ---- parsed, never executed

ATTACKS = [
    "__import__('pathlib').Path('SENTINEL').touch()",
    "eval(\"open('SENTINEL', 'w')\")",
    "exec(\"open('SENTINEL', 'w')\")",
    "open('SENTINEL', 'w')",
    "print(x)",
    "x.__class__",
    "x.__class__.__mro__[1].__subclasses__()",
    "x.value",
    "x.op",
    "x.T.__init__",
    "x.shape.__class__",
    "().__class__",
    "''.__class__",
    "(lambda: open('SENTINEL', 'w'))()",
    "lambda: x",
    "[v for v in x]",
    "{v for v in x}",
    "{v: v for v in x}",
    "(v for v in x)",
    "f'{x}'",
    "f\"{open('SENTINEL', 'w')}\"",
    "(v := x)",
    "x if x else x",
    "x and x",
    "0 < x < 1",
    "x is x",
    "not x",
    "~x",
    "x % 2",
    "x << 2",
    "x | x",
    "await x",
    "yield x",
    "yield from x",
    "relu(*[x])",
    "relu(**{'x': x})",
    "relu(x)(x)",
    "relu.forward(x)",
    "relu(x).backward()",
    "x.sum()",
    "{}",
    "{x}",
    "{'x': x}",
    "x[{}]",
    "x[*[0]]",
    "x[x]",
    "x['shape']",
    "x[1.5]",
    "x[None:'a']",
    "x[:x]",
    "x[::0]",
    "x[True]",
    "x[[[0], 'a']]",
    "x[10 ** 30]",
    "x.shape['a']",
    "x.shape[1:]",
    "x.shape + x.shape",
    "x.shape * 10 ** 9",
    "x * ('a' * 10 ** 9)",
    "x * ([0] * 10 ** 9)",
    "x * (9 ** 9 ** 9)",
    "x * 9 ** 9 ** 9 ** 9",
    "x * (2 ** 100000 - 1)",
    "x * 10 ** 400",
    f"x * {'9' * 400}",
    f"x * {'9' * 5000}",
    "x * (10 ** 12 * 10 ** 12)",
    "x * (1 // 0)",
    "x * (1.0 // 0)",
    "x * (-8) ** 0.5",
    "x * 'a'",
    "x * b'a'",
    "x * None",
    "x * ...",
    "x * [1, 2]",
    "x * 1j",
    "x * {1}",
    "2 @ 3",
    "x @ 3",
    "x // 2",
    "relu('x')",
    "relu(None)",
    "relu([x])",
    "relu([1, 'a'])",
    "concatenate(x)",
    "concatenate([])",
    "concatenate([x, 'a'])",
    "reshape(x, 'a')",
    "reshape(x, 10 ** 12)",
    "softmax(x, axis=10 ** 30)",
    "softmax(x, axis=x)",
    "softmax(x, axis=[0])",
    "softmax(x, **x)",
    "broadcast_to(x, (10 ** 30, 4))",
    "pad(x, 'a')",
    "x; import os",
    "x = x",
    "x\nimport os",
    "x\ndef f(): pass",
    "x\nfor v in x: pass",
    "x\nwith open('SENTINEL', 'w'): pass",
    "x\ndel x",
    "x\na += x",
    "x\nb: int = x",
    "x\nb, c = x, x",
    "x\nx[0] = 1",
    "x\nx.value = 1",
    "x\nglobal x",
    "x\nassert x",
    "x\nreturn x",
    "x\n@x\ndef f(): pass",
    "(" * 10000 + "x" + ")" * 10000,
    "(" * 10000,
    "[" * 10000,
    "x" + "[0]" * 10000,
    "x" + ".T" * 10000,
    "-" * 10000 + "x",
    "relu(" * 10000 + "x" + ")" * 10000,
    "x" + " ** 1" * 10000,
    "x" + " + x" * 20000,
    "x * (1" + " + 1" * 20000 + ")",
    "x" + "(x)" * 10000,
    "x" + " if x else x" * 10000,
    "'" + "a" * 10**6 + "'",
    "x\\",
    "x \\ y",
    "\t\tx\n  y",
    "x $ x",
    "x ? x",
    "0x",
    "1_",
    "é€",
    "x\x0cy",
]


def attack_files(expression):
    """The expression as an equation, in a block, and as a size."""
    written = "'''\na = " + expression.replace("'''", "") + "\n'''"
    yield f"{ONE}equations = {written}\n"
    yield f"{ONE}equations = 'a = b(x)'\n[blocks.b]\ninputs = ['x']\noutput = 'a'\nequations = {written}\n"
    size = (
        expression.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", " ").replace("\x0c", "")
    )
    yield f"{ONE}equations = 'a = x * W'\n[parameters]\nW = {{ shape = [\"{size}\"], init = 'ones' }}\n"


@pytest.mark.parametrize("expression", ATTACKS, ids=lambda text: text[:40].encode("unicode_escape").decode())
@pytest.mark.usefixtures("ends")
def test_what_is_not_an_equation_is_refused_and_does_nothing(expression, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in attack_files(expression):
        with pytest.raises(tg.ModelError) as caught:
            tg.Model.from_toml(text, "net.toml")
        assert caught.value.line >= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("terms", [100, 200, 250, 280, 290, 295, 300, 305, 310, 315, 320, 330, 350, 400, 1000])
@pytest.mark.parametrize("form", ["sum", "powers", "calls"])
def test_a_long_expression_works_or_is_a_model_error(form, terms):
    text = {
        "sum": "x" + " + x" * terms,
        "powers": "x" + " ** 1" * terms,
        "calls": "relu(" * terms + "x" + ")" * terms,
    }[form]
    result = attempt(lambda: tg.Model({"x": [4]}, {}, f"a = {text}", "a").predict(np.ones((1, 4))))
    assert result.line == 1 if isinstance(result, tg.ModelError) else result.shape == (1, 4)


def test_names_and_keys_are_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = "__import__('pathlib').Path('SENTINEL').touch()"
    for text in [
        f'"{evil}" = 1\n{BASE}',
        changed('name = "base"', f'name = "base"\n"{evil}" = 1'),
        changed("y = [1]", f'"{evil}" = [1]'),
        changed("bias = {", f'"{evil}" = {{'),
        changed('init = "zeros"', f'init = "{evil}"'),
        changed('output = "a"', f'output = "{evil}"'),
        changed('loss = "cost"', f'loss = "{evil}"'),
        changed('["p"]', f'["{evil}"]'),
        changed("factor = 2", f'factor = 2, "{evil}" = 3'),
        changed("[blocks.scale]", f'[blocks."{evil}"]'),
    ]:
        with pytest.raises(tg.ModelError):
            tg.Model.from_toml(text)
    assert not list(tmp_path.iterdir())


BIG = {
    "comment": "# " + "a" * 10**7 + "\n" + BASE,
    "comments": ("# " + "a" * 98 + "\n") * 10**5 + BASE,
    "blank lines": "\n" * 10**6 + BASE,
    "blanks": " " * 10**7 + "\n" + BASE,
    "blanks in an equation": BASE.replace("relu(Z)", "relu(Z)" + " " * 10**7),
    "indented equations": BASE.replace("Z = conv2d", " " * 10**6 + "Z = conv2d"),
    "title": BASE.replace("A small net", "a" * 10**7),
    "key": "a" * 10**7 + "\n" + BASE,
    "brackets": "[" * 10**6,
    "nested lists": "x = " + "[" * 10**5,
    "quotes": '"' * 10**6,
    "number": f"seed = {'9' * 10**5}\n" + BASE,
    "word in an equation": BASE.replace("relu(Z)", "a" * 10**6 + "(Z)"),
}


@pytest.mark.parametrize("case", BIG)
@pytest.mark.usefixtures("ends")
def test_a_big_file_is_a_model_or_a_model_error(case, tmp_path):
    path = tmp_path / "big.toml"
    path.write_text(BIG[case])
    result = attempt(lambda: tg.load_model(path))
    assert isinstance(result, tg.Model) or result.file == str(path)


def test_blocks_that_multiply_without_end_are_refused():
    chain = "".join(
        f"[blocks.b{i}]\ninputs = ['x']\nequations = 'o = b{i + 1}(x) + b{i + 1}(x)'\noutput = 'o'\n" for i in range(15)
    )
    last = "[blocks.b15]\ninputs = ['x']\nequations = 'o = x * 2'\noutput = 'o'\n"
    with pytest.raises(tg.ModelError, match=r"10,000|more than|too many"):
        tg.Model.from_toml(f"{ONE}equations = 'a = b0(x)'\n{chain}{last}")


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_deep_blocks_are_a_model_or_a_model_error(depth):
    chain = "".join(
        f"[blocks.b{i}]\ninputs = ['x']\nequations = 'o = b{i + 1}(x)'\noutput = 'o'\n" for i in range(depth)
    )
    last = f"[blocks.b{depth}]\ninputs = ['x']\nequations = 'o = x * 2'\noutput = 'o'\n"
    result = attempt(lambda: tg.Model.from_toml(f"{ONE}equations = 'a = b0(x)'\n{chain}{last}"))
    if isinstance(result, tg.Model):
        assert result.predict(np.ones((1, 4)))[0, 0] == 2
    else:
        assert "nested too deeply" in result.message


def test_a_long_cycle_is_found_without_recursion(mistake):
    lines = "".join(f"h{i} = h{i + 1} * 2\n" for i in range(2000))
    error = mistake(changed("hidden = relu(Z)", f"{lines}h2000 = h0 * Z\nhidden = relu(h2000)"))
    assert error.message.startswith("a cycle: h0 -> h1 -> h2")
