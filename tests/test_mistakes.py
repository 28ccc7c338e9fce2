"""Likely mistakes of a newcomer, each with the words of the message that says what to do."""

import os
import re
import traceback

import numpy as np
import pytest
from click.testing import CliRunner

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.errors import nearest
from tinygraph.graph.registry import operation_hint
from tinygraph.synonyms import _ELSEWHERE, FORMULAS, SYNONYMS


def model(equations="a = x * W", init="ones", **more):
    """A small model with one parameter."""
    parameters = {"W": {"shape": [3], "init": init}}
    return tg.Model(**{"inputs": {"x": [3]}, "parameters": parameters, "equations": equations, "output": "a", **more})


def block(equations):
    """A model with a block of one input, whose equations are given."""
    return model("a = b(x) * W", blocks={"b": {"inputs": ["p"], "equations": equations, "output": "q"}})


WHOLE = tg.tensor([1, 2], name="n")
XOR = tg.load_model("xor")
X, K = tg.input("x", (2, 3, 8, 8)), tg.input("k", (3, 4, 3, 3))
VECTOR = tg.tensor([1.0, -2.0])

SAYS = {
    "output_padding must be less than the stride": lambda: tg.conv_transpose2d(X, K, dilation=2, output_padding=1),
    "found output_padding (0, 2) and stride 2": lambda: tg.conv_transpose2d(X, K, stride=2, output_padding=(0, 2)),
    "begin with tensors of these, such as tg.tensor([1.0, 2.0])": lambda: WHOLE.sum().backward(),
    "tensor 'n' (2,) holds int64; make it of floating point numbers": lambda: (WHOLE * 2.0).sum().backward(),
    'feeds are values by name, such as {"x": ...}; found ndarray': lambda: tg.draw(XOR, feeds=np.zeros((1, 2))),
    'such as {"x": ...}; found list': lambda: tg.check(XOR, [1]),
    "feed for input 'x': rows of unequal length": lambda: tg.draw(XOR, feeds={"x": [[1, 2], [3]]}),
    "feed for input 'x': expected numbers; found object": lambda: tg.check(XOR, {"x": object()}),
    "samples are feeds by the name of a sample": lambda: tg.notes(XOR, samples={"x": np.zeros((1, 2))}),
    "must lie between 0 and 1; found 0 to 1.0000001": lambda: tg.fit(
        XOR, (np.zeros((4, 2)), np.array([[0], [1], [1.0000001], [0]]))
    ),
    "bce: labels must lie between 0 and 1; found -1e-09 to 1": lambda: tg.bce([0.5, 0.5], np.array([-1e-9, 1.0])),
    "bce: labels must lie between 0 and 1; found NaN": lambda: tg.bce([0.5, 0.5], np.array([np.nan, 1.0])),
    "predictions must lie between 0 and 1; found 0 to 1.0000001": lambda: tg.bce(np.array([0, 1.0000001]), [0, 1]),
    "hinge: labels must be -1 or 1; found 0": lambda: tg.hinge(np.ones(3), np.array([-1, 0, 1])),
    "by @tg.op in Python or --ops FILE.py on the command line": lambda: model("a = my_own_op(x) * W"),
    "did you mean 'softplus'? Or an operation of your own has to be registered": lambda: tg.operation("sofplus"),
    "here it is called 'silu'": lambda: model("a = swish(x) * W"),
    "here it is called 'bce'": lambda: model("a = binary_cross_entropy(x, W)"),
    "here it is called 'matmul'": lambda: model("a = dot(x, W)"),
    "here it is called 'concatenate'": lambda: tg.operation("cat"),
    "write x @ W + b": lambda: model("a = linear(x, W)"),
    "here it is called 'glorot_uniform'": lambda: model(init="xavier_uniform"),
    "here it is called 'he_normal'": lambda: model(init="kaiming_normal"),
    "here it is called 'axis'": lambda: tg.softmax(VECTOR, dim=0),
    "here it is called 'keepdims'": lambda: tg.sum(VECTOR, keepdim=True),
    "here it is called 'window'": lambda: tg.max_pool2d(X, kernel_size=2),
    "here it is called 'learning_rate'": lambda: model(training={"lr": 0.1}),
    "'W' is not defined in block 'b', but outside: pass it as an input of the block": lambda: block("q = p * W"),
    "'x' is not defined in block 'b', but outside": lambda: block("q = p * x"),
    "not an equation: an expression is missing after =": lambda: model("Ω ="),
    'beyond a to z is written with quotes here: "Ω" = ...': lambda: tg.Model.from_toml(
        "[parameters]\nΩ = { shape = [1] }"
    ),
    "'axis' is given twice": lambda: model("a = softmax(x * W, axis=0, axis=1)"),
    "the key 'name' is defined twice": lambda: tg.Model.from_toml('name = "a"\nname = "b"'),
    "the key 'shape' is defined twice in 'W'": lambda: tg.Model.from_toml("[parameters]\nW = {shape=[1], shape=[2]}"),
    "[inputs] is defined twice": lambda: tg.Model.from_toml("[inputs]\nx = [1]\n[inputs]\n"),
    "a table { ... } has no comma after its last entry": lambda: tg.Model.from_toml("W = { shape = [1], }"),
    "a table { ... } is written in one line": lambda: tg.Model.from_toml("W = { shape = [1],\n init = 3 }"),
    "separated by commas": lambda: tg.Model.from_toml("W = { shape = [1] init = 3 }"),
    "'None' is not a value; write nothing at all": lambda: tg.Model.from_toml("W = None"),
    "'False' is not a value; write false": lambda: tg.Model.from_toml("loss = False"),
    "'digits' is not a value; write \"digits\", with quotes": lambda: tg.Model.from_toml("data = digits"),
    "a value is missing": lambda: tg.Model.from_toml("data =\nx = 3"),
    "a model file is text; found bytes": lambda: tg.Model.from_toml(b"x = 1"),
    "numpy.dot on tensors takes no option 'out'": lambda: np.dot(VECTOR, VECTOR, out=np.zeros(())),
    "numpy.median cannot be recorded on tensors; write it with operations": lambda: np.median(VECTOR),
    "one number or boolean is needed here; found a tensor of shape (2,)": lambda: float(VECTOR),
    "where chooses element by element": lambda: VECTOR > 0 or VECTOR < 1,
    "model 'xor' has no input 'q' (inputs: 'x' and 'y')": lambda: XOR.predict({"q": [[0.0, 1.0]]}),
    "model 'xor' needs values for 'x'": lambda: XOR.predict({"y": [[0.0]]}),
    'values are given by the names of inputs, as in {"x": ..., "y": ...}; found list': lambda: XOR.trace([1]),
    # values
    "found object (generator); make a list of it": lambda: tg.tensor(i for i in range(3)),
    "found object (set); make a list of it": lambda: XOR.predict({"x": {1, 2}}),
    "an integer is too large for 64 bits": lambda: tg.tensor(10**400),
    "write .astype(float) if the texts are numbers": lambda: tg.fit(XOR, (np.full((4, 2), "1"), np.zeros((4, 1)))),
    "found object (ndarray); write .astype(float)": lambda: tg.tensor(np.array([1, 2.5], object)),
    "takes (m, 2); found shape (2,); for a single sample write x[None]": lambda: XOR.predict(np.zeros(2)),
    # operations
    "its axis 1, and k takes 3; they seem to be its last axis: write np.moveaxis(x, -1, 1)": lambda: tg.conv2d(
        np.ones((1, 8, 8, 3)), np.ones((4, 3, 3, 3))
    ),
    "found 'SAME' (str); did you mean 'same'?": lambda: tg.conv2d(X, np.ones((4, 3, 3, 3)), padding="SAME"),
    "several numbers are given as one tuple": lambda: tg.reshape(np.ones(6), 2, 3),
    "as in einsum([x, y], equation); found 'ij->i' (str)": lambda: tg.einsum("ij->i", np.ones((2, 3))),
    "as in concatenate([x, y]); found an array of shape (3,)": lambda: tg.concatenate(np.ones(3), np.ones(3)),
    "as in dropout(x, key, rate=0.5); found float64": lambda: tg.dropout(np.ones(5), 0.5),
    "indices must lie in -3 to 2; found 5": lambda: tg.embedding(np.ones((3, 2)), np.array([5])),
    "the graph of a model is model.graph(batch=32)": lambda: tg.run(XOR),
    "tg.op makes an operation of a function; found 'relu' (str)": lambda: tg.op("relu"),
    "register is written above a class that is derived from tg.Op": lambda: tg.register(3),
    "update_equations takes a model and an optimizer, such as SGD(0.1); found Model and str": lambda: (
        tg.update_equations(XOR, "sgd")
    ),
    "seed must be a whole number of at least 0; found 'a'": lambda: tg.certify("relu", "a"),
    "fold must be 'auto', 'none', 'all' or a list of blocks; found 3": lambda: tg.draw(XOR, fold=3),
    "there is no block": lambda: tg.draw(XOR, fold=np.array(["a", "b"])),
    "no tensor is called ['h']": lambda: tg.draw(XOR, only=["h"]),
    "direction must be one of 'down' and 'right'; found ''": lambda: tg.draw(XOR, direction=""),
    "progress is True, False, or None for automatic; found array": lambda: tg.fit(XOR, progress=np.array([1, 2])),
    "a title is text; found 3 (int)": lambda: tg.notes(XOR, title=3),
}


@pytest.mark.parametrize("phrase", SAYS)
def test_a_mistake_is_explained(phrase):
    with pytest.raises(tg.TinygraphError, match=re.escape(phrase)) as caught:
        SAYS[phrase]()
    assert len(str(caught.value)) < 500
    assert chained(caught.value) is None


def chained(error):
    """Return the error that Python would print above another one."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


LABELS = {"x": np.zeros((4, 2)), "y": np.full((4, 1), 7)}
ONE_MISTAKE = {
    "shapes in an equation": lambda: model("a = x @ (W * 1)[:2]"),
    "axis in an equation": lambda: model("a = softmax(x * W, axis=7)"),
    "attribute in an equation": lambda: model("a = softmax(x * W, axs=1)"),
    "division in an equation": lambda: model("a = x * W * (1 / 0)"),
    "values that do not broadcast": lambda: VECTOR + np.ones(3),
    "an index": lambda: VECTOR[5],
    "labels for a plan": lambda: tg.compile(XOR, batch_size=4)(LABELS),
    "labels for a step": lambda: XOR.compile_step("sgd", batch_size=4)(LABELS),
    "labels for fit": lambda: tg.fit(XOR, (LABELS["x"], LABELS["y"])),
    "labels for evaluate": lambda: tg.evaluate(XOR, (LABELS["x"], LABELS["y"])),
    "an initial value": lambda: model(init="constant(1e99)"),
}


@pytest.mark.parametrize("name", ONE_MISTAKE)
def test_one_mistake_is_one_message(name):
    with pytest.raises(tg.TinygraphError) as caught:
        ONE_MISTAKE[name]()
    assert chained(caught.value) is None


def test_an_error_in_the_code_of_the_user_is_kept_once(registry):
    @tg.op
    def slip(x):
        return x[:, 99]

    slip.vjp(lambda dy, y, x: {}["oops"])

    @tg.op
    def square(x):
        return x * x

    square.vjp(lambda dy, y, x: {}["oops"])
    tries = {
        IndexError: [lambda: slip(X), lambda: slip(np.ones((2, 2))), lambda: model("a = slip(x * W)")],
        KeyError: [lambda: square(VECTOR).sum().backward()],
    }
    for kind, calls in tries.items():
        for call in calls:
            with pytest.raises(tg.TinygraphError) as caught:
                call()
            assert type(caught.value.__cause__) is kind
            assert chained(caught.value.__cause__) is None
            lines = traceback.extract_tb(caught.value.__cause__.__traceback__)
            assert lines[-1].filename == __file__


FILE = """
[inputs]
x = [3]
[parameters]
W = { shape = [3], init = "normal" }
[blocks.double]
inputs = ["p"]
attributes = { by = 2 }
equations = "q = p * by"
output = "q"
[model]
equations = '''
h = x * W
a = double(h)
'''
output = "a"
loss = false
"""
# What is changed in the file, into what, and what the message says.
IN_FILE = [
    ("x * W", "2x * W", "a product is written with *, as in 2 * x"),
    ("double(h)", "double(h W)", "an operator or a comma is missing here"),
    ("x * W", "x × W", "'×' is written *"),
    ("x * W", "x * W²", "'²' is written ** 2"),
    ("x * W", "√x * W", "'√' is written sqrt(...)"),
    ("x * W", "x * W ^ 2", "a power is written x ** 2"),
    ("x * W", "x * W'", "names have no ' in them"),
    ("x * W", "x * W % 2", "a remainder is written mod(x, y)"),
    ("x * W", "x * W * pi", "'pi' is not defined; write 3.14159"),
    ("x * W", "sum(v for v in x) * W", "operations take entire tensors"),
    ("x * W", "Relu(x * W)", "did you mean 'relu'"),
    ("x * W", "x * W * power(999999999999, 999999999999)", "power: 999999999999 ** 999999999999 is too large"),
    ("x * W", "pad(x * W, ())", "pad_width must hold a pair of sizes"),
    ("h = x", "for = x", "'for' is a word of Python, which cannot be a name"),
    ("h = x", "// why\nh = x", "a comment begins with #"),
    ("h = x", "  h = x", "the line begins further to the right than the others"),
    ("double(h)", "double(h, 3)", "block 'double' takes 1 tensor: 'p'; found multiply 'h' (2, 3), 3 (int)"),
    ("double(h)", "double(h, by=W)", "by must be a number; found parameter 'W' (3,)"),
    ("double(h)", "double * h", "'double' is a block; call it: double(...)"),
    ('"normal"', '"normal", std = -1', "std must not be negative; found -1"),
    ('"normal"', '"uniform", low = 2, high = 1', "low must not be above high; found 2 and 1"),
    ('"normal"', '"he_normal", std = 3', "has no key 'std' (keys: 'shape', 'init' and 'trainable')"),
    ("x = [3]", 'x = { shape = [3], dtype = "double" }', "here it is called 'float64'"),
    ("x = [3]", 'x = { shape = [3], dtype = "int" }', "here it is called 'int64'"),
]


@pytest.mark.parametrize(("old", "new", "says"), IN_FILE)
def test_a_mistake_in_a_model_file_is_explained(old, new, says):
    assert tg.Model.from_toml(FILE).predict(np.ones((1, 3))).shape == (1, 3)
    with pytest.raises(tg.ModelError, match=re.escape(says)) as caught:
        tg.Model.from_toml(FILE.replace(old, new, 1))
    assert caught.value.line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_mistake_on_the_command_line_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.toml").symlink_to("nowhere.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff'")
    for arguments, says in [
        ("train xor --lr 0.1", "Here it is called --learning-rate."),
        ("train xor --banana", "No such option '--banana'."),
        ("train link.toml", "it is a link to a file that does not exist"),
        ("train pipe.toml", "it is not a regular file"),
        ("train .", "it is a folder"),
        ("train bytes.toml", "not a text file in UTF-8: the byte at position 8 cannot be text"),
        ("draw xor --fold R1", "there is no block 'R1' to fold (blocks: none)"),
        ("ops swish", "here it is called 'silu'"),
        ("ops my_op", "--ops FILE.py"),
    ]:
        result = CliRunner().invoke(main, arguments.split())
        assert result.exit_code == 2
        assert says in result.output


PATHS = {
    "Model.save": XOR.save,
    "Model.load": XOR.load,
    "Model.to_onnx": XOR.to_onnx,
    "from_onnx": tg.from_onnx,
    "load_model": tg.load_model,
    "load_data": tg.load_data,
    "draw": lambda path: tg.draw(XOR).render(path),
    "notes": lambda path: tg.notes(XOR).write(path),
    "save_csv": lambda path: tg.History().save_csv(path),
    "curve": lambda path: tg.fit(XOR, "xor", epochs=1).curve(path),
}


@pytest.mark.parametrize("function", PATHS)
@pytest.mark.parametrize("path", [None, 3, [], b"a", "a\0b", "", ".", "nowhere/a.svg", "x" * 300])
def test_what_is_no_path_of_a_file_is_refused(function, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "onnx" in function:
        pytest.importorskip("onnx")
    with pytest.raises(tg.TinygraphError) as caught:
        PATHS[function](path)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("w.safetensors", "holds weights, which model.load(path) reads"),
        ("d.npz", "holds data, which tg.load_data(path) reads"),
        ("d.CSV", "holds data, which tg.load_data(path) reads"),
        ("m.pth", "holds a model of another framework; export it as ONNX"),
    ],
)
def test_a_file_of_another_kind_is_no_model(name, says, tmp_path):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(tg.ModelError, match=re.escape(says)):
        tg.load_model(tmp_path / name)


def test_a_model_takes_its_features_by_name():
    two = tg.Model({"x": [3], "k": [3], "y": [3]}, {}, "a = x - k\nc = mse(a, y)", "a", "c")
    x, k = np.ones((2, 3)), np.full((2, 3), 3.0)
    for feeds in ({"x": x, "k": k}, {"k": k, "x": x, "y": x}):
        np.testing.assert_array_equal(two.predict(feeds), two.predict(x, k))
        np.testing.assert_array_equal(two(feeds).value, np.full((2, 3), -2.0))


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (lambda x: np.clip(x, a_min=0, a_max=1), [0.0, 0.5, 1.0]),
        (lambda x: np.clip(x, a_min=0, a_max=None), [0.0, 0.5, 2.0]),
        (lambda x: np.clip(x, max=1), [-1.0, 0.5, 1.0]),
        (lambda x: np.clip(x, None, 1), [-1.0, 0.5, 1.0]),
        (lambda x: np.clip(a=x, a_min=0, a_max=1), [0.0, 0.5, 1.0]),
        (lambda x: np.flip(m=x), [2.0, 0.5, -1.0]),
        (lambda x: np.sum(a=x, axis=0), 1.5),
    ],
)
def test_numpy_functions_take_arguments_by_numpys_names(call, right):
    x = tg.tensor([-1.0, 0.5, 2.0])
    y = call(x)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_array_equal(y.value, right)


def test_a_mark_of_byte_order_is_no_mistake():
    text = '\ufeff[inputs]\nx = [3]\n[model]\nequations = "a = x * 2"\noutput = "a"\nloss = false\n'
    assert tg.Model.from_toml(text).predict(np.ones((1, 3)))[0, 0] == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("logsumexp", "write tg.logsumexp"),
        ("mm", "write tg.matmul"),
        ("numpy", "in .value"),
        ("banana", "no attribute 'banana'"),
    ],
)
def test_an_attribute_of_other_frameworks_is_explained(name, says):
    with pytest.raises(AttributeError, match=re.escape(says)):
        getattr(VECTOR, name)
    assert not hasattr(VECTOR, name)


def test_a_name_of_other_frameworks_is_explained_by_the_package():
    with pytest.raises(AttributeError, match=re.escape("tinygraph has no 'swish'; write tg.silu(...)")):
        _ = tg.swish
    with pytest.raises(AttributeError, match=r"tinygraph has no 'banana'$"):
        _ = tg.banana


def test_every_synonym_leads_somewhere():
    known = {*tg.operations(), *(a for op in tg.operations().values() for a in op.attribute_names)}
    known |= {
        "learning_rate",
        "sgd",
        "adam",
        "zeros",
        "ones",
        "constant",
        "normal",
        "uniform",
        "he_normal",
        "glorot_uniform",
    }
    known |= {"bool", "float16", "float32", "float64", "int64"}
    assert set(_ELSEWHERE) <= known
    for name, here in SYNONYMS.items():
        assert name == name.lower()
        assert nearest(name, here[:1]) == f"; here it is called {here[0]!r}"
        assert name not in tg.operations() or here[0] not in tg.operations(), name
    for name in FORMULAS:
        assert name not in tg.operations()
        assert operation_hint(name) == f"; write {FORMULAS[name]}"


@pytest.mark.parametrize("name", FORMULAS)
def test_every_formula_is_an_equation(name):
    shapes = {"x": [4], "a": [4], "q": [2, 4], "k": [2, 4], "v": [2, 4], "scale": [4]}
    shapes |= {"W": {"shape": [4, 4], "batched": False}, "b": [4]}
    used = {key: size for key, size in shapes.items() if re.search(rf"\b{key}\b", FORMULAS[name])}
    tg.Model(used, {}, f"o = {FORMULAS[name]}", "o")


# What no argument of an operation should be.
NO_TENSORS = [
    None,
    "a",
    b"x",
    object(),
    {},
    [],
    set(),
    iter([]),
    [[1], [1, 2]],
    np.array("x"),
    10**30,
    tg.relu,
    slice(1),
    ...,
]
NO_ATTRIBUTES = [None, "a", -1, 1.5, float("nan"), 10**30, -(10**30), [], (1, 2, 3, 4, 5), object(), {}, b"x", 1j]


@pytest.mark.usefixtures("ends")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", tg.operations())
def test_an_operation_works_or_refuses_in_one_short_line(name):
    function = tg.operation(name)
    samples = list(function.op.samples(np.random.default_rng(0)))[:1] if function.op.samples else []
    calls = [([value] * len(function.op.parameters), {}) for value in NO_TENSORS]
    for sample in samples:
        inputs = [list(sample.inputs)] if function.op.variadic else list(sample.inputs)
        calls += [([*inputs[:-1], value], sample.attributes) for value in NO_TENSORS]
        calls += [(inputs, {**sample.attributes, key: v}) for key in function.attribute_names for v in NO_ATTRIBUTES]
    messages = []
    for inputs, attributes in calls:
        try:
            function(*inputs, **attributes)
        except tg.TinygraphError as error:
            messages.append(str(error))
    assert len(messages) >= len(NO_TENSORS) // 2
    assert all(len(message) < 500 and "\n" not in message for message in messages)
