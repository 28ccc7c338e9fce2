"""Equations of models: expressions, sizes, and the operations that they may name."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.models import X, net
from tinygraph.graph import registry
from tinygraph.model import bundled_models
from tinygraph.train.feeds import feeds_of


def value_of(expression, x=X, **parameters):
    """The value of one expression on ``x``, and on parameters that hold the given values."""
    declared = {name: {"shape": list(np.shape(v)), "init": "ones"} for name, v in parameters.items()}
    model = net(f"a = {expression}", declared, {"x": list(x.shape[1:])}, dtype="float64")
    for name, v in parameters.items():
        model.parameters[name].value = v
    return model(tg.tensor(x, dtype="float64")).value


@pytest.fixture
def operations():
    """The table of operations, put back afterwards."""
    before = dict(registry.OPERATIONS)
    yield registry.OPERATIONS
    registry.OPERATIONS.clear()
    registry.OPERATIONS.update(before)


# ---- equations


D = X.astype("float64")
EXPRESSIONS = {
    "x + 1": D + 1,
    "1 - x": 1 - D,
    "x - 1 - 1": D - 2,
    "2 * x + 1": 2 * D + 1,
    "2 * (x + 1)": 2 * (D + 1),
    "x / 2 / 2": D / 4,
    "-x": -D,
    "+x": D,
    "--x": D,
    "-x ** 2": -(D**2),
    "(-x) ** 2": D**2,
    "2 ** -x": 2.0**-D,
    "x ** 2 ** 0": D,
    "x * -1": -D,
    "x @ x.T": D @ D.T,
    "-x @ x.T * 2": -D @ D.T * 2,
    "x.T": D.T,
    "x[:, 0]": D[:, 0],
    "x[:, -1]": D[:, -1],
    "x[:, 1:3]": D[:, 1:3],
    "x[:, ::2]": D[:, ::2],
    "x[..., None]": D[..., None],
    "x[0]": D[0],
    "x[:, [2, 0]]": D[:, [2, 0]],
    "x * x.shape[1]": D * 4,
    "x * x.shape[-1]": D * 4,
    "x * (7 // 2 + 0.5)": D * 3.5,
    "x * (2 ** 10 / 1e3)": D * 1.024,
    "x * 1_000": D * 1000,
    "sum(x, axis=1)": D.sum(axis=1),
    "sum(x, axis=(0, 1), keepdims=True)": D.sum(keepdims=True),
    "sum(x, 1)": D.sum(axis=1),
    "softmax(x)[:, 0] * 0 + 1": np.ones(2),
    "reshape(x, (x.shape[0] * 2, x.shape[1] // 2))": D.reshape(4, 2),
    "reshape(x, [-1])": D.reshape(-1),
    "concatenate([x, -x], axis=1)": np.concatenate([D, -D], axis=1),
    "where(greater(x, 0), x, 0.1 * x)": np.where(D > 0, D, 0.1 * D),
    "clip(x, low=-0.5, high=0.5)": np.clip(D, -0.5, 0.5),
    "(x\n   + 1)": D + 1,
    "maximum(\n  x,  # the input\n\n  0,\n)": np.maximum(D, 0),
    "x \\\n  + 1": D + 1,
    "x + 1  # one more": D + 1,
    "x / sqrt(4)": D / 2,
    "exp(-abs(x))": np.exp(-np.abs(D)),
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_means_what_it_means_in_python(expression):
    assert_allclose(value_of(expression), EXPRESSIONS[expression], rtol=1e-12)


def test_whole_numbers_stay_whole_in_attributes():
    assert value_of("reshape(x, (-1, 2 * 2, 6 // 6))").shape == (2, 4, 1)
    assert value_of("reshape(x, (-1, 2 ** 2 // 2))").shape == (4, 2)


@pytest.mark.parametrize("expression", ["x * 0.5", "x / sqrt(2)", "x + relu(3)", "2 ** x", "x * x.shape[1]"])
def test_numbers_do_not_widen_a_float32_model(expression):
    assert net(f"a = {expression}").record(2).output.dtype == np.float32


@pytest.mark.parametrize("expression", ["multiply(x, [1, 2, 3, 4])", "x + reshape([1, 2, 3, 4], (1, 4))"])
def test_lists_of_numbers_are_refused_or_do_not_widen_a_float32_model(expression):
    try:
        model = net(f"a = {expression}")
    except tg.ModelError:
        return
    assert model.record(2).output.dtype == np.float32


def test_comments_blank_lines_and_indentation_are_free():
    model = net("""
        # first

        h = x + 1   # add one
      # second
        a = h * 2

    """)
    assert_array_equal(model.predict(X), (X + 1) * 2)


@pytest.mark.parametrize(
    "written",
    [
        'equations = "a = x + 1"',
        "equations = 'a = x + 1'",
        'equations = "  a = x + 1  "',
        'equations = """a = x + 1"""',
        "equations = '''\na = x + 1\n'''",
        'equations = """\n\ta = x + 1\n\t"""',
        'equations = "h = x\\na = h + 1"',
        "'equations' = 'a = x + 1'",
    ],
)
def test_equations_can_be_written_as_any_toml_string(written):
    model = tg.Model.from_toml(f'[inputs]\nx = [4]\n[model]\n{written}\noutput = "a"\nloss = false\n')
    assert_array_equal(model.predict(X), X + 1)


def test_names_may_be_any_identifier():
    model = net(
        "β = x * μ_1\nsum = β + sum(β)\na = sum",
        {"μ_1": {"shape": [4], "init": "constant", "value": 2}},
    )
    assert_allclose(model.predict(X), 2 * X + (2 * X).sum())


def test_the_micro_sign_is_the_greek_letter_that_python_reads():
    model = net("a = x * \u00b5", {"\u00b5": {"shape": [4], "init": "ones"}})
    assert_array_equal(model.predict(X), X)


def test_an_equation_may_give_a_tensor_a_second_name():
    model = net("h = x + 1\ng = h\na = g * h")
    record = model.record(2)
    assert record.tensors["g"] is record.tensors["h"]
    assert record.tensors["h"].name == "h"
    assert_array_equal(model.predict(X), (X + 1) ** 2)


def test_an_equation_may_have_the_name_of_an_operation():
    assert_array_equal(net("relu = relu(x)\na = relu * 2").predict(X), np.maximum(X, 0) * 2)


def test_a_parameter_used_twice_is_one_leaf():
    model = net("a = x * W + W", {"W": {"shape": [4], "init": "ones"}})
    assert list(model.graph(2).parameters) == ["W"]
    assert len(model.graph(2)) == 4


def test_many_equations_are_no_recursion():
    model = net("h0 = x\n" + "".join(f"h{i + 1} = h{i} + 1\n" for i in range(2000)), output="h2000")
    assert_allclose(model.predict(X), X + 2000)


# ---- sizes


SIZES = {
    "f.shape[1]": 12,
    "f.shape[-1]": 12,
    "2 * f.shape[1] + 1": 25,
    "f.shape[1] // 5": 2,
    "x.shape[1] * x.shape[2]": 12,
    "x.shape[2] ** 2": 16,
    "K.shape[0]": 5,
    "7": 7,
    " f.shape[1] - 1 ": 11,
    "-(-f.shape[1] // 5)": 3,
}


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_read_off_tensors(size):
    model = net(
        "f = flatten(x)\na = f + sum(W) + sum(K)",
        {"W": {"shape": [size, 2], "init": "ones"}, "K": {"shape": [5], "init": "ones"}},
        {"x": [3, 4]},
    )
    assert model.parameters["W"].shape == (SIZES[size], 2)


@pytest.mark.parametrize(
    "size", ["x.shape[0]", "x.shape[-2]", "x.T.shape[1]", "flatten(x, 0).shape[0]", "2 * x.shape[0]"]
)
def test_a_size_cannot_be_the_batch(size):
    with pytest.raises(tg.ModelError, match=r"batch|call"):
        net("a = x[0] + 0 * sum(W)", {"W": {"shape": [size], "init": "ones"}})


def test_a_size_off_what_depends_on_parameters_alone_may_be_its_first():
    model = net(
        "G = V @ V.T\na = x @ W @ G",
        {"V": {"shape": [3, 2], "init": "ones"}, "W": {"shape": [4, "G.shape[1]"], "init": "ones"}},
    )
    assert model.parameters["W"].shape == (4, 3)


def test_sizes_follow_from_parameter_to_parameter():
    model = net(
        "a = x @ U @ V",
        {"V": {"shape": ["U.shape[1]", 2], "init": "ones"}, "U": {"shape": ["x.shape[1]", 3], "init": "ones"}},
    )
    assert {name: p.shape for name, p in model.parameters.items()} == {"V": (3, 2), "U": (4, 3)}


# ---- operations


def test_every_operation_is_found_by_its_name():
    for name in tg.operations():
        with pytest.raises(tg.ModelError, match=rf"^model:1:5: {name} "):
            net(f"a = {name}()")


def float_calls():
    """Samples of operations whose inputs are all floating and whose attributes can be written down."""
    for function in tg.operations().values():
        for sample in itertools.islice(function.op.samples(np.random.default_rng(0)) if function.op.samples else (), 1):
            if all(x.size and x.dtype.kind == "f" for x in sample.inputs) and _literal(sample.attributes.values()):
                yield function, sample


def _literal(values):
    try:
        return all(ast.literal_eval(repr(value)) == value for value in values)
    except (ValueError, SyntaxError):
        return False


def test_operations_with_samples_compute_in_a_model_what_they_compute_alone():
    seen = set()
    for function, sample in float_calls():
        arrays = {f"p{i}": x for i, x in enumerate(sample.inputs)}
        written = [f"{key}={value!r}" for key, value in sample.attributes.items()]
        tensors = f"[{', '.join(arrays)}]" if function.op.variadic else ", ".join(arrays)
        # Parameters begin as ones, where atanh is infinite.
        with np.errstate(divide="ignore"):
            value = value_of(f"{function.name}({', '.join([tensors, *written])}) + 0 * sum(x)", **arrays)
        inputs = [list(sample.inputs)] if function.op.variadic else sample.inputs
        assert_allclose(value, function(*inputs, **sample.attributes), err_msg=function.name)
        seen.add(function.name)
    assert {"conv2d", "matmul", "max_pool2d", "concatenate", "gelu", "logsumexp"} <= seen
    assert len(seen) > 35


def test_an_operation_of_ones_own(operations):
    @tg.op(formula="{x}^3", elementwise=True)
    def cube(x):
        return x**3

    @cube.vjp
    def cube_vjp(dy, y, x):
        return 3 * x * x * dy

    model = net("a = cube(x * W)", {"W": {"shape": [4], "init": "ones"}})
    assert_allclose(model.predict(X), X**3, rtol=1e-6)
    model(X).sum().backward()
    assert_allclose(model.parameters["W"].grad.value, (3 * X**3).sum(axis=0), rtol=1e-6)
    assert "a  = cube(x * W)" in str(model.graph(2))


def test_an_operation_of_ones_own_with_attributes(operations):
    @tg.op(formula="{x} + {by}")
    def shifted(x, *, by: float, times: int = 1):
        return x + by * times

    assert_allclose(net("a = shifted(x, by=0.5, times=2)").predict(X), X + 1)
    assert_allclose(net("a = shifted(x, 0.5)").predict(X), X + 0.5)
    with pytest.raises(tg.ModelError, match="shifted: times must be int"):
        net("a = shifted(x, by=0.5, times=0.5)")
    with pytest.raises(tg.ModelError, match="shifted needs its attribute 'by'"):
        net("a = shifted(x)")


def test_an_operation_that_went_away_is_not_found(operations):
    @tg.op
    def fleeting(x):
        return x

    net("a = fleeting(x)")
    del operations["fleeting"]
    with pytest.raises(tg.ModelError, match="no operation or block is called 'fleeting'"):
        net("a = fleeting(x)")


def test_a_failing_operation_is_reported_with_its_equation(operations):
    @tg.op
    def broken(x):
        raise RuntimeError("out of order")

    with pytest.raises(tg.ModelError, match="out of order") as caught:
        net("h = x\na = 1 + broken(h)")
    assert (caught.value.line, caught.value.column) == (2, 9)


def test_the_files_of_bundled_models_lie_where_the_package_says():
    for name, path in bundled_models().items():
        assert Path(path).stem == name
        assert Path(path).is_file()


@pytest.mark.parametrize("comparison", [">", ">=", "<", "<=", "==", "!="])
def test_equations_may_compare(comparison):
    model = tg.Model({"x": [3]}, {}, f"y = where(x {comparison} 2, x, 0 * x)", "y")
    x = np.array([[1.0, 2.0, 3.0]])
    chosen = {">": x > 2, ">=": x >= 2, "<": x < 2, "<=": x <= 2, "==": x == 2, "!=": x != 2}[comparison]
    assert_allclose(model.predict(x), np.where(chosen, x, 0))
    assert model.record(2).equations[0].text == f"y = where(x {comparison} 2, x, 0 * x)"


def test_a_model_for_one_size_of_batch():
    text = "batch = 2\n[inputs]\nx = [3]\n[model]\nequations = 'y = x * 2'\noutput = 'y'\nloss = false"
    model = tg.Model.from_toml(text)
    assert model.batch == 2
    assert model.predict(np.ones((4, 3))).shape == (4, 3)
    with pytest.raises(tg.DataError, match="for batches of 2 samples only; found 3"):
        model.predict(np.ones((3, 3)))
    with pytest.raises(tg.ModelError, match="batch must be a whole number of at least 1; found 0"):
        tg.Model.from_toml(text.replace("batch = 2", "batch = 0"))


def test_an_input_that_is_whole_as_it_is():
    model = tg.Model({"x": [3], "w": {"shape": [3], "batched": False}}, {}, "y = x * w", "y")
    assert_allclose(model.predict(np.ones((4, 3)), np.array([1, 2, 3])), np.tile([1.0, 2.0, 3.0], (4, 1)))
    assert "w  input    float32 (3,)" in str(model).replace("    input", "  input")
    feeds = feeds_of(model, {"w": np.ones(3), "x": np.ones((2, 3))}, None)
    assert [(name, len(samples), samples[:1].shape) for name, samples in feeds.items()] == [
        ("x", 2, (1, 3)),
        ("w", 2, (3,)),
    ]
    with pytest.raises(tg.DataError, match=r"the model's input 'w' takes \(3,\); found shape \(2, 3\)"):
        feeds_of(model, {"x": np.ones((2, 3)), "w": np.ones((2, 3))}, None)


def test_weights_beside_the_file(tmp_path):
    model = tg.load_model("xor", seed=3)
    model.save(tmp_path / "own.safetensors")
    text = (Path(__file__).parents[2] / "models" / "xor.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text('weights = "own.safetensors"\n' + text, encoding="utf-8")
    own = tg.load_model(tmp_path / "own.toml")
    assert own.weighted
    assert not model.weighted
    for name, parameter in model.parameters.items():
        assert_array_equal(own.parameters[name].value, parameter.value)
