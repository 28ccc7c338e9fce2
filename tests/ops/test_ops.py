"""Every registered operation, on its own samples: record, results, gradients and kinks."""

import doctest
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.op_samples import (
    CASES,
    OPERATIONS,
    Array,
    Attributes,
    Case,
    as_tensors,
    call,
    every_operation,
    floating,
    gradients,
)
from tinygraph.verify import check
from tinygraph.verify.numeric import compare, derivative


def cotangent_for(y: Any, seed: int = 11) -> Array:
    return np.random.default_rng(seed).standard_normal(y.shape)


def over(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case.id)


ALL = [case for cases in CASES.values() for case in cases]
DIFFERENTIABLE = [case for case in ALL if case.has_gradient]
every_case = over(ALL)
every_gradient = over(DIFFERENTIABLE)


# ---- the record


@every_operation
def test_has_samples(name: str) -> None:
    samples = list(OPERATIONS[name].op.samples(np.random.default_rng(0)))
    assert samples
    assert all(isinstance(sample, tg.Sample) for sample in samples)


@every_operation
def test_formula_names_inputs_and_attributes(name: str) -> None:
    op = OPERATIONS[name].op
    names = {field for _, field, _, _ in string.Formatter().parse(op.formula) if field}
    assert names & set(op.parameters)
    written = op.formula.format(
        **{parameter: f"<{parameter}>" for parameter in op.parameters}, **CASES[name][0].op.attributes()
    )
    assert "{" not in written
    assert all(f"<{parameter}>" in written for parameter in names & set(op.parameters))


@every_operation
def test_docstring_example_is_true(name: str) -> None:
    example = doctest.DocTestParser().get_doctest(OPERATIONS[name].__doc__ or "", {"np": np}, name, None, None)
    assert example.examples
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.failed == 0


# ---- shape and dtype


@every_case
def test_shape_and_dtype_are_known_without_computing(case: Case) -> None:
    y = case(case.inputs)
    assert case.op.infer(*case.inputs) == (y.shape, y.dtype)


@every_case
def test_recorded_with_shapes_alone_it_evaluates_to_the_same(case: Case) -> None:
    leaves = [tg.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(case.inputs)]
    recorded = case(leaves)
    y = case(case.inputs)
    assert not recorded.has_value
    assert (recorded.shape, recorded.dtype) == (y.shape, y.dtype)
    # The parts of a composite may leave an input out.
    used = set(tg.Graph(recorded).nodes)
    (evaluated,) = tg.run(recorded, {x: value for x, value in zip(leaves, case.inputs, strict=True) if x in used})
    assert_array_equal(evaluated, y)
    assert_array_equal(case([tg.tensor(x) for x in case.inputs]).value, y)


@over(case for case in ALL if "dtype" not in case.op.attributes() and floating(case.inputs))
def test_float32_stays_float32(case: Case) -> None:
    inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in case.inputs]
    y, exact = case(inputs), case(case.inputs)
    assert case.op.infer(*inputs) == (y.shape, y.dtype)
    if exact.dtype.kind != "f":
        assert_array_equal(y, exact)
        return
    assert y.dtype == np.float32
    assert_allclose(y, exact, rtol=1e-4, atol=1e-5)
    dy = cotangent_for(y)
    for dx, exact_dx in zip(
        case.gradients(inputs, dy),
        case.gradients(case.inputs, dy),
        strict=True,
    ):
        assert dx.dtype == np.float32
        assert_allclose(dx, exact_dx, rtol=1e-3, atol=1e-5)


# ---- gradients


@pytest.mark.parametrize("seed", [0, 1])
@every_operation
def test_rule_agrees_with_numeric_derivatives(name: str, seed: int) -> None:
    op = OPERATIONS[name].op
    report = check(op, seed=seed, tolerance=1e-12 if op.holomorphic else 1e-9)
    assert report.ok, report
    assert report.kinks == 0
    assert bool(report.nodes) == any(case.has_gradient for case in CASES[name])


def probed(case: Case, inputs: Sequence[Any], dy: Any) -> tg.Tensor:
    """The first gradients for all floating inputs, times random numbers and added up."""
    first = tg.grad(case(inputs), floating(inputs), cotangent=dy, unreached="zeros")
    return sum((dx * cotangent_for(dx, seed)).sum() for seed, dx in enumerate(first))


@every_gradient
def test_second_derivatives_agree_with_numeric_ones(case: Case) -> None:
    """Differentiated again for the inputs and for dy, against first gradients that are recorded anew for each step."""
    leaves = as_tensors([*case.inputs, cotangent_for(case(case.inputs))])
    wanted = floating(leaves)
    second = tg.grad(probed(case, leaves[:-1], leaves[-1]), wanted, unreached="zeros")
    for leaf, gradient in zip(wanted, second, strict=True):

        def first(value: Array, leaf: tg.Tensor = leaf) -> Array:
            *inputs, dy = (tg.tensor(value) if x is leaf else x for x in leaves)
            return probed(case, inputs, dy).value

        slope = partial(derivative, first, leaf.value, cotangent=np.ones(()))
        points = compare(gradient.value, slope, np.random.default_rng(2), 1e-8, elements=5, directions=1)
        assert not [point for point in points if point.kink or point.error > 1e-8]


@every_gradient
def test_backward_agrees_with_grad(case: Case) -> None:
    """The same rules on arrays and on tensors."""
    leaves = [tg.tensor(x) for x in case.inputs]
    y = case(leaves)
    dy = cotangent_for(y)
    y.backward(dy)
    for leaf, dx in zip(floating(leaves), case.gradients(case.inputs, dy), strict=True):
        assert_allclose(np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.value, dx, rtol=1e-13, atol=1e-14)


def takes_a_pair(case: Case) -> bool:
    # The inputs of a composite are read by its parts.
    pair = len(case.inputs) == 2 == len(floating(case.inputs)) and case.inputs[0].shape == case.inputs[1].shape
    return pair and not case.op.composite


@over(case for case in DIFFERENTIABLE if takes_a_pair(case))
def test_one_tensor_used_twice_gets_both_gradients(case: Case) -> None:
    # Between 0 and 1, where labels may lie and powers are real.
    value = np.random.default_rng(3).uniform(0.1, 0.9, case.inputs[0].shape)
    x = tg.tensor(value, name="x")
    y = case([x, x])
    dy = cotangent_for(y)
    assert y.inputs == (x, x)
    (dx,) = tg.grad(y, [x], cotangent=dy)
    assert_allclose(dx.value, sum(case.gradients([value, value], dy)), rtol=1e-13, atol=1e-14)


# ---- what an operation must not do or depend on


@every_case
def test_inputs_are_left_alone(case: Case) -> None:
    inputs = [x.copy() for x in case.inputs]
    y = case(inputs)
    dy = cotangent_for(y)
    given = [*inputs, np.array(y), dy.copy()]
    before = [x.copy() for x in given]
    if case.has_gradient:
        case.rule(given[:-2], given[-1], given[-2])
    for x, was in zip(given, [*case.inputs, *before[-2:]], strict=True):
        assert_array_equal(x, was)


@every_case
def test_read_only_inputs_will_do(case: Case) -> None:
    inputs = [x.copy() for x in case.inputs]
    for x in inputs:
        x.flags.writeable = False
    y = case(inputs)
    dy = cotangent_for(y)
    dy.flags.writeable = False
    assert_array_equal(y, case(case.inputs))
    if case.has_gradient:
        found = case.rule(inputs, dy, y)
        assert len(found) == len(inputs)


@every_case
def test_same_result_twice(case: Case) -> None:
    y = case(case.inputs)
    assert_array_equal(y, case(case.inputs))
    if case.has_gradient:
        first, second = (case.gradients(case.inputs, cotangent_for(y)) for _ in range(2))
        for dx, again in zip(first, second, strict=True):
            assert_array_equal(dx, again)


def columns_first(x: Array) -> Array:
    return np.array(x, order="F")


def strided(x: Array) -> Array:
    return np.repeat(x[..., None], 2, axis=-1)[..., 0]


def backwards(x: Array) -> Array:
    every_axis = (slice(None, None, -1),) * x.ndim
    return x[every_axis].copy()[every_axis]


@pytest.mark.parametrize("layout", [columns_first, strided, backwards], ids=lambda layout: layout.__name__)
@every_case
def test_layout_in_memory_does_not_matter(case: Case, layout: Callable[[Array], Array]) -> None:
    inputs = [layout(x) for x in case.inputs]
    for x, laid_out in zip(case.inputs, inputs, strict=True):
        assert_array_equal(x, laid_out)
    y = case(case.inputs)
    assert_allclose(case(inputs), y, rtol=1e-13, atol=1e-14)
    if case.has_gradient:
        dy = cotangent_for(y)
        expected = case.rule(case.inputs, dy, y)
        found = case.rule(inputs, layout(dy), layout(np.asarray(y)))
        for dx, expected_dx in zip(found, expected, strict=True):
            assert (dx is None) == (expected_dx is None)
            if dx is not None:
                assert_allclose(dx, expected_dx, rtol=1e-13, atol=1e-14)


# ---- nothing at all as input


def emptied(inputs: Sequence[Array]) -> Iterator[list[Array]]:
    """The inputs with the first axis of size 0: of all of them, and of each in turn."""
    cut = [x[:0] if x.ndim else x for x in inputs]
    yield cut
    for i in range(len(inputs)):
        yield [*inputs[:i], cut[i], *inputs[i + 1 :]]


@every_case
def test_empty_inputs_give_the_right_shape_or_a_clear_error(case: Case) -> None:
    for inputs in emptied(case.inputs):
        try:
            y = case(inputs)
        except tg.TinygraphError:
            continue
        assert case.op.infer(*inputs) == (y.shape, y.dtype)
        if case.has_gradient:
            found = case.gradients(inputs, cotangent_for(y))
            assert [dx.shape for dx in found] == [x.shape for x in floating(inputs)]


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "expected"),
    [
        ("relu", [(0, 3)], {}, (0, 3)),
        ("add", [(0, 3), (3,)], {}, (0, 3)),
        ("softmax", [(0, 3)], {}, (0, 3)),
        ("log_softmax", [(0, 3)], {}, (0, 3)),
        ("sum", [(0, 3)], {"axis": 0}, (3,)),
        ("max", [(0, 3)], {"axis": 1}, (0,)),
        ("logsumexp", [(0, 3)], {"axis": 1}, (0,)),
        ("flatten", [(0, 2, 3)], {}, (0, 6)),
        ("concatenate", [(0, 3), (0, 2)], {"axis": 1}, (0, 5)),
        ("matmul", [(0, 3), (3, 2)], {}, (0, 2)),
        ("matmul", [(2, 0), (0, 3)], {}, (2, 3)),
        ("conv2d", [(0, 2, 5, 5), (3, 2, 2, 2)], {}, (0, 3, 4, 4)),
        ("conv_transpose2d", [(0, 3, 4, 4), (3, 2, 2, 2)], {}, (0, 2, 5, 5)),
        ("conv2d_kernel_gradient", [(0, 2, 5, 5), (0, 3, 4, 4)], {"kernel_size": (2, 2)}, (3, 2, 2, 2)),
        ("avg_pool2d", [(0, 2, 4, 4)], {"window": 2}, (0, 2, 2, 2)),
        ("max_pool2d", [(0, 2, 4, 4)], {"window": 2}, (0, 2, 2, 2)),
        ("global_avg_pool2d", [(0, 2, 4, 4)], {}, (0, 2)),
    ],
)
def test_empty_batch(
    name: str, shapes: list[tuple[int, ...]], attributes: Attributes, expected: tuple[int, ...]
) -> None:
    inputs = [np.ones(shape) for shape in shapes]
    y = call(name, inputs, attributes)
    assert_array_equal(y, np.zeros(expected))
    found = gradients(name, inputs, attributes, np.ones(y.shape))
    assert [dx.shape for dx in found] == shapes


# ---- the chosen side of every kink


@pytest.mark.parametrize(
    ("name", "x", "attributes", "expected"),
    [
        ("relu", [-1.0, 0.0, 1.0], {}, [0.0, 0.0, 1.0]),
        ("leaky_relu", [-1.0, 0.0, 1.0], {"slope": 0.25}, [0.25, 0.25, 1.0]),
        ("abs", [-1.0, 0.0, 1.0], {}, [-1.0, 0.0, 1.0]),
        ("sign", [-1.0, 0.0, 1.0], {}, [0.0, 0.0, 0.0]),
        ("clip", [-2.0, -1.0, 0.0, 1.0, 2.0], {"low": -1.0, "high": 1.0}, [0.0, 1.0, 1.0, 1.0, 0.0]),
        ("max", [1.0, 3.0, 3.0], {}, [0.0, 1.0, 0.0]),
        ("min", [3.0, 1.0, 1.0], {}, [0.0, 1.0, 0.0]),
    ],
)
def test_gradient_at_the_kink(name: str, x: list[float], attributes: Attributes, expected: list[float]) -> None:
    y = call(name, [np.array(x)], attributes)
    (dx,) = gradients(name, [np.array(x)], attributes, np.ones(y.shape))
    assert_array_equal(dx, expected)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_of_two_sends_its_gradient_to_the_first(name: str) -> None:
    x = np.array([1.0, 2.0])
    first, second = gradients(name, [x, x], {}, np.array([3.0, 4.0]))
    assert_array_equal(first, [3.0, 4.0])
    assert_array_equal(second, [0.0, 0.0])


def test_a_tie_over_several_axes_sends_its_gradient_to_the_first_in_row_major_order() -> None:
    x = np.array([[[1.0, 5.0], [5.0, 2.0]], [[5.0, 0.0], [0.0, 5.0]]])
    (dx,) = gradients("max", [x], {"axis": (0, 2)}, np.array([1.0, 10.0]))
    assert_array_equal(dx, [[[0.0, 1.0], [10.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_a_tie_in_a_window_sends_its_gradient_to_the_first() -> None:
    (dx,) = gradients(
        "max_pool2d", [np.full((1, 1, 2, 3), 7.0)], {"window": 2, "stride": 1}, np.array([[[[1.0, 10.0]]]])
    )
    assert_array_equal(dx, [[[[1.0, 10.0, 0.0], [0.0, 0.0, 0.0]]]])
