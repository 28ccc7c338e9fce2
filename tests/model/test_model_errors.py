"""Mistakes in model files: what each message says and where it points."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.model_mistakes import BASE, changed, place


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
    'schedule = "cosin"': "did you mean 'cosine'?",
    "warmup = -1": "warmup must not be negative",
    "warmup = 0.5": "warmup must be int",
    "weight_decay = -0.1": "weight_decay must not be negative",
    "clip_norm = 0": "clip_norm must be positive",
    "optimizer = 3": "optimizer must be",
    'momentum = 0.9\noptimizer = "adam"': "momentum is a setting of 'sgd' and 'rmsprop'; optimizer 'adam' takes none",
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
