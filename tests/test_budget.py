"""Opening a file costs no more than its size allows: charged before it is computed, recorded or allocated."""

import itertools
import os
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import BudgetError
from tinygraph.graph.budget import Budget, current, opening
from tinygraph.model.initializers import initial_value
from tinygraph.ops.index import Index
from tinygraph.ops.windows import Windows


def model_text(equations, parameters='W = { shape = [4, 4], init = "ones" }', inputs="x = [4]", rest=""):
    return (
        f'[inputs]\n{inputs}\n[parameters]\n{parameters}\n{rest}\n[model]\noutput = "a"\nloss = false\n'
        f'equations = """\n{equations}\n"""\n'
    )


@pytest.fixture
def cheap():
    """Fail where a test has taken more than ten seconds of this process, twice what a busy machine may take."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 10


SCALAR, ROW = 'W = { shape = [], init = "ones" }', 'W = { shape = [1], init = "ones" }'
FREE = {
    "product": ("a = x * sum(broadcast_to(W, (16384, 16384)) @ broadcast_to(W, (16384, 16384)))", SCALAR),
    "tile": ("a = x * sum(tile(W, (10**9,)))", ROW),
    "einsum": (
        "a = x * sum(einsum([W, W, W, W, W, W], 'ab,bc,cd,de,ef,fa->abcdef'))",
        'W = { shape = [400, 400], init = "ones" }',
    ),
    "index": ("a = x * sum(broadcast_to(W, (2, 1, 10**11))[:, [0]])", SCALAR),
    "grid": ("a = x * sum(broadcast_to(W, (3, 3))[[[0]] , [1, 2]])", SCALAR),
    "classes": ("a = x * sum(one_hot(argmax(x, -1), 10**12))", None),
}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("case", FREE)
def test_a_model_is_opened_without_computing_what_it_says(case):
    equations, parameters = FREE[case]
    text = model_text(equations, parameters) if parameters else model_text(equations + " @ W")
    model = tg.Model.from_toml(text)
    assert not any(node.has_value for node in model.record(2).graph.nodes if node.op is not None)


def nested_blocks():
    blocks, body = "", "x + 1"
    for name in "BCD":
        equations = "\n".join(f"t{i} = {body if i == 0 else body.replace('x', f't{i - 1}')}" for i in range(125))
        blocks += f'[blocks.{name}]\ninputs = ["x"]\noutput = "t124"\nequations = """\n{equations}\n"""\n'
        body = f"{name}(x)"
    return model_text("a = D(x) @ W", rest=blocks)


chain = "\n".join(f"a{i} = {'x' if i == 0 else f'a{i - 1}'} + 1" for i in range(100_000))
many = "\n".join(f'W{i} = {{ shape = [100000000], init = "ones" }}' for i in range(20))
REFUSED = {
    "nested blocks": (nested_blocks(), "more than 10,000 equations"),
    "a long text": (model_text(chain), "more than 524,288 characters; .* TINYGRAPH_BUDGET=10"),
    "many operations": (
        model_text("\n".join(f"a{i} = {' + '.join(['x'] * 40)}" for i in range(2800)) + "\na = a0 @ W"),
        r"more than 10\d,\d+ operations",
    ),
    "many parameters": (model_text("a = x" + "".join(f" + sum(W{i})" for i in range(20)), many), "bytes of values"),
    "pad by 2**63": (model_text("a = pad(x, 9223372036854775808) @ W"), "pad: .* larger than any array can be"),
    "a huge stride": (
        model_text("a = conv_transpose2d(x, W, stride=10**12)", 'W = { shape = [1, 1, 2, 2], init = "ones" }', "x = [1, 4, 4]"),
        "larger than any array can be",
    ),
    "a huge input": (model_text("a = x @ W", inputs="x = [9223372036854775807, 4]"), "larger than any array can be"),
    "a number of many digits": (model_text(f"a = x @ W * 0x{'f' * 100_000}"), "the number is too large"),
    "a size of many digits": (f"batch = 0x{'f' * 100_000}\n" + model_text("a = x @ W"), "more than 64 bits"),
    "a dotted key": (".".join("a" * 20_000) + " = 1", "a key of more than 20 parts"),
    "a quoted dotted key": (".".join(['"a"', "'a'", r'"\""'] * 9_000) + " = 1", "a key of more than 20 parts"),
    "deep arrays": (f"a = {'[' * 5000}{']' * 5000}", "nested too deeply"),
    "deep parentheses": (model_text(f"a = x @ W + {'(' * 5000}1{')' * 5000}"), "too many nested parentheses|deeply"),
    "a deep sum": (model_text(f"a = x @ W{' + 1' * 5000}"), "nested too deeply"),
    "many axes": (model_text("a = x @ W", f'W = {{ shape = [{"1, " * 100_000}1], init = "ones" }}'), "at most 64 axes"),
}  # fmt: skip


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("case", REFUSED)
def test_what_costs_too_much_is_refused(case):
    text, message = REFUSED[case]
    with pytest.raises(tg.ModelError, match=message) as caught:
        tg.Model.from_toml(text)
    assert caught.value.line is not None


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("lines", ["\n", "\\n"], ids=["one to a line", "all in one line"])
def test_nine_thousand_equations_open_with_their_lines(lines):
    count = 9000
    equations = lines.join([f"a{i} = {'x' if i == 0 else f'a{i - 1}'} + 1" for i in range(count)] + ["a = a8999 @ W"])
    text = model_text(equations) if lines == "\n" else model_text("").replace('"""\n\n"""', f'"{equations}"')
    found = tg.Model.from_toml(text).record(2).equations
    start = text.splitlines().index('equations = """') + 2 if lines == "\n" else len(text.splitlines())
    assert [equation.line for equation in found[:3]] == [start, start + 1, start + 2] if lines == "\n" else [start] * 3


def test_the_environment_raises_the_limits(monkeypatch):
    text = model_text("a = x + sum(W)", 'W = { shape = [70000000], init = "ones" }')
    with pytest.raises(tg.ModelError, match="cannot be made: opening this file would take more than 268,"):
        tg.Model.from_toml(text)
    monkeypatch.setenv("TINYGRAPH_BUDGET", "2")
    assert tg.Model.from_toml(text).parameters["W"].size == 70_000_000


def test_the_environment_must_be_a_number(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_BUDGET", "much")
    with pytest.raises(BudgetError, match="TINYGRAPH_BUDGET must be a positive number; found 'much'"):
        tg.Model.from_toml(model_text("a = x @ W"))


def test_a_model_written_in_python_has_no_limit():
    model = tg.Model({"x": [4]}, {"W": {"shape": [70_000_000], "init": "zeros"}}, "a = x + sum(W)", "a")
    assert model.parameters["W"].size == 70_000_000


def test_what_a_larger_file_may_cost():
    small, large, free = Budget(0), Budget(500_000_000), Budget(np.inf)
    large.spend("bytes of values", 4 * 500_000_000)
    free.spend("bytes of values", 10**30)
    with pytest.raises(BudgetError):
        small.spend("bytes of values", 500_000_000)


def test_constants_are_charged_before_they_are_computed():
    with opening(size=0), pytest.raises(BudgetError, match=r"bytes of values|steps"):
        tg.tile(np.ones(1000), 10**9)
    with opening(size=0), pytest.raises(BudgetError, match="steps of computation"):
        tg.matmul(np.ones((10**4, 1)), np.ones((1, 10**4)))
    assert current() is None


WORK = {
    "matmul": (lambda: (tg.matmul, (2, 3), (3, 4)), 24),
    "conv2d": (lambda: (tg.conv2d, (1, 2, 4, 4), (3, 2, 2, 2)), 9 * 3 * 8),
    "einsum": (lambda: (lambda x, y: tg.einsum([x, y], "ij,jk->"), (2, 3), (3, 4)), 24 + 8),
    "max_pool2d": (lambda: (lambda x: tg.max_pool2d(x, 2), (1, 1, 4, 4)), 20 + 4 * 1004),
    "relu": (lambda: (tg.relu, (5,)), 10),
}


@pytest.mark.parametrize("name", WORK)
def test_the_work_of_an_operation_is_known_from_shapes(name):
    (function, *shapes), work = WORK[name][0](), WORK[name][1]
    with opening(size=0) as budget:
        before = budget.left["steps of computation"]
        function(*[np.ones(shape) for shape in shapes])
        assert before - budget.left["steps of computation"] == work


def test_values_drawn_in_pieces_are_those_drawn_at_once():
    shape = (1500, 1000)
    found = initial_value("W", shape, "normal", {"std": 1.0}, 3, np.dtype("float64"))
    rng = np.random.default_rng([3, __import__("zlib").crc32(b"W")])
    np.testing.assert_array_equal(found, rng.normal(0.0, 1.0, shape))


INDICES = [
    (slice(None), [0, 2]), ([0, 1], slice(None), [1, 1]), (None, [[0], [1]], [0, 2]), (..., [1, 0]), ([0, 1], None, 1),
    (0, slice(None), [0, 3]), (slice(1, None, 2), [-1]), (np.array([[True, False, True], [False, True, True]]),),
    (np.array([True, False]), slice(None), [0]), (-1, ..., [0, 1]), ([],),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(INDICES)))
def test_the_shape_of_an_index_is_that_of_numpy(place):
    index, shape = INDICES[place], (2, 3, 4)
    found = Index.of(tuple(np.array(p, np.intp) if isinstance(p, list) else p for p in index), "getitem").picked(shape)
    assert found == np.zeros(shape)[tuple(np.array(p, np.intp) if isinstance(p, list) else p for p in index)].shape


@pytest.mark.parametrize(
    "index", [([0, 3],), ([0], [0], [0], [0]), ([0, 1], [0, 1, 2]), (np.array([True]),), (..., [0], ...)]
)
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises((IndexError, ValueError)):
        Index.of(index, "getitem").picked((2, 3, 4))


def test_the_sizes_of_windows_are_counted_without_walking_them():
    sizes = range(1, 7)
    for image, kernel, stride, dilation, pad in itertools.product(sizes, range(1, 4), (1, 2), (1, 2, 5), (0, 2)):
        windows = Windows((image,), (kernel,), (stride,), (dilation,), ((pad, 1),))
        if windows.count[0] < 1:
            continue
        places = (np.arange(windows.count[0]) * stride - pad)[:, None] + np.arange(kernel) * dilation
        for before, after in ((0, 0), (pad, 1)):
            inside = ((places >= -before) & (places < image + after)).sum(axis=1)
            np.testing.assert_array_equal(windows.sizes(((before, after),)), inside)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_weights_that_are_no_file_are_refused(tmp_path, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / "w")
    else:
        (tmp_path / "w").symlink_to("/dev/zero")
    (tmp_path / "net.toml").write_text('weights = "w"\n' + model_text("a = x @ W"))
    with pytest.raises(tg.WeightsError, match=r"w: cannot be read: it is no plain file"):
        tg.load_model(tmp_path / "net.toml")
