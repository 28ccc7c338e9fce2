"""Every operation, tested from its own record: its samples, shape rule, forward, gradient rule, formula and docstring.

An operation added to the package is tested by all of this without an edit here, but for the tables of wrong shapes.
"""

import doctest
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph.verify import check_op
from tinygraph.verify.compare import compare
from tinygraph.verify.numeric import derivative

Array = np.ndarray[Any, Any]
Attributes = dict[str, Any]

OPERATIONS = {name: f for name, f in tg.operations().items() if f.op.__module__.startswith("tinygraph.")}


def call(name: str, inputs: Sequence[Any], attributes: Attributes) -> Any:
    function = tg.operation(name)
    return function(list(inputs), **attributes) if function.op.variadic else function(*inputs, **attributes)


def floating(inputs: Sequence[Any]) -> list[Any]:
    return [x for x in inputs if x.dtype.kind == "f"]


def cotangent_for(y: Any, seed: int = 11) -> Array:
    return np.random.default_rng(seed).standard_normal(y.shape)


def as_tensors(arrays: Sequence[Array]) -> list[tg.Tensor]:
    return [tg.tensor(x) for x in arrays]


def gradients(name: str, inputs: Sequence[Array], attributes: Attributes, dy: Array) -> list[Array]:
    """Gradients of all floating inputs, as arrays, by rules that record."""
    leaves = [tg.tensor(x) for x in inputs]
    found = tg.grad(call(name, leaves, attributes), floating(leaves), cotangent=dy, unreached="zeros")
    return [dx.value for dx in found]


class Case:
    """One operation on one of its samples."""

    def __init__(self, name: str, number: int, sample: tg.Sample) -> None:
        self.name, self.id = name, f"{name}-{number}"
        self.inputs, self.attributes = sample.inputs, sample.attributes
        self.op = OPERATIONS[name].op(**sample.attributes)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        return call(self.name, inputs, self.attributes)

    def gradients(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return gradients(self.name, inputs, self.attributes, dy)

    def rule(self, inputs: Sequence[Array], dy: Array, y: Array) -> list[Any]:
        """What the rule itself returns for arrays."""
        returned = self.op.vjp(dy, y, *inputs)
        returned = returned if isinstance(returned, tuple) else (returned,)
        return [dx() if callable(dx) else dx for dx in returned]

    @property
    def has_gradient(self) -> bool:
        return bool(floating(self.inputs)) and self(self.inputs).dtype.kind == "f"


def cases_of(name: str, seed: int = 5) -> list[Case]:
    samples = OPERATIONS[name].op.samples(np.random.default_rng(seed))
    return [Case(name, number, sample) for number, sample in enumerate(samples, start=1)]


def over(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case.id)


CASES = {name: cases_of(name) for name in OPERATIONS}
ALL = [case for cases in CASES.values() for case in cases]
DIFFERENTIABLE = [case for case in ALL if case.has_gradient]

every_operation = pytest.mark.parametrize("name", list(OPERATIONS))
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
    report = check_op(op, seed, tolerance=1e-12 if op.holomorphic else 1e-9)
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
    return len(case.inputs) == 2 == len(floating(case.inputs)) and case.inputs[0].shape == case.inputs[1].shape


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


# ---- wrong shapes

BINARY = [name for name, f in OPERATIONS.items() if f.op.elementwise and len(f.op.parameters) == 2]
REDUCTIONS = ["sum", "mean", "max", "min", "logsumexp", "first_extreme", "flip", "softmax", "log_softmax"]
UNARY = [name for name, f in OPERATIONS.items() if f.op.elementwise and len(f.op.parameters) == 1 and not f.op.variadic]
# Operations on one tensor of any shape whatever.
ANY_SHAPE = {*UNARY, "one_hot", "tile"}

# Of images of other numbers of axes: one axis too few, a window too large, a gradient that does not fit.
WRONG_WINDOWS: list[tuple[str, list[Any], Attributes]] = [
    wrong
    for rank in (1, 3)
    for image, three in [((1, 2, *(4,) * rank), (3,) * rank)]
    for wrong in [
        (f"conv{rank}d", [image[1:], (3, *image[1:])], {}),
        (f"conv{rank}d", [image, (3, 2, *(5,) * rank)], {}),
        (f"conv_transpose{rank}d", [image, (3, 2, *three)], {}),
        (f"conv_transpose{rank}d", [image, (2, 3, *three)], {"output_size": (4,) * rank}),
        (f"conv{rank}d_kernel_gradient", [image, image], {"kernel_size": three}),
        *((f"{kind}_pool{rank}d", [image[1:]], {"window": 2}) for kind in ("avg", "max", "lp")),
        *((f"{kind}_pool{rank}d", [image], {"window": 5}) for kind in ("avg", "max", "lp")),
        (f"avg_unpool{rank}d", [image], {"window": 2, "output_size": three}),
        (f"max_unpool{rank}d", [image, image], {"window": 2}),
        (f"max_take{rank}d", [image, (1, *image[1:])], {"window": 5}),
    ]
]
WRONG_WINDOWS += [(name, [(2, 3)], {}) for name in ("global_avg_pool", "global_max_pool", "global_lp_pool")]
WRONG_WINDOWS += [("lp_pool2d", [(1, 1, 4, 4)], {"window": 5})]

WRONG_SHAPES: list[tuple[str, list[Any], Attributes]] = [
    *((name, [(2, 3), (4,)], {}) for name in BINARY if name != "gate"),
    ("gate", [(2, 3), np.ones(4, bool)], {}),
    *((name, [(2, 3)], {"axis": 2}) for name in REDUCTIONS),
    *((name, [(2, 3)], {"axis": (0, -2)}) for name in ["sum", "mean", "max", "min", "logsumexp", "squeeze"]),
    *((name, [(2, 0)], {"axis": 1}) for name in ["max", "min"]),
    ("where", [(2,), (3,), (3,)], {}),
    ("add_all", [(2, 3), (2, 3), (4,)], {}),
    ("reshape", [(2, 3)], {"to": (4,)}),
    ("reshape", [(2, 3)], {"to": (-1, -1)}),
    ("reshape", [(2, 3)], {"to": (4, -1)}),
    ("flatten", [(2, 3)], {"start_axis": 3}),
    ("transpose", [(2, 3)], {"axes": (0, 0)}),
    ("transpose", [(2, 3)], {"axes": (0, 2)}),
    ("broadcast_to", [(2, 3)], {"to": (2, 4)}),
    ("broadcast_to", [(2, 3)], {"to": (3,)}),
    ("sum_to", [(2, 3)], {"to": (2,)}),
    ("concatenate", [(2, 3), (2, 4)], {}),
    ("concatenate", [(2, 3), (2,)], {}),
    ("concatenate", [(2, 3), (2, 3)], {"axis": 2}),
    ("getitem", [(2, 3)], {"index": (slice(None), 5)}),
    ("getitem", [(2, 3)], {"index": (0, 0, 0)}),
    ("put", [(3,)], {"index": slice(0, 2), "to": (4,)}),
    ("pad", [(2, 3)], {"pad_width": ((1, 1),)}),
    ("pad", [(2, 3)], {"pad_width": -1}),
    ("squeeze", [(2, 3)], {"axis": 0}),
    ("expand_dims", [(2, 3)], {"axis": 4}),
    ("expand_dims", [(2, 3)], {"axis": (0, 0)}),
    ("matmul", [(2, 3), (4, 5)], {}),
    ("matmul", [(2, 3), ()], {}),
    ("matmul", [(2, 2, 3), (5, 3, 4)], {}),
    ("conv2d", [(1, 2, 5, 5), (4, 3, 2, 2)], {}),
    ("conv2d", [(2, 5, 5), (4, 2, 2, 2)], {}),
    ("conv2d", [(1, 2, 5, 5), (4, 2, 6, 2)], {}),
    ("conv2d", [(1, 4, 5, 5), (3, 2, 2, 2)], {"groups": 2}),
    ("conv_transpose2d", [(1, 2, 5, 5), (3, 2, 2, 2)], {}),
    ("conv_transpose2d", [(1, 3, 5, 5), (3, 2, 2, 2)], {"groups": 2}),
    ("conv_transpose2d", [(1, 3, 5, 5), (3, 2, 2, 2)], {"output_size": (9, 9)}),
    ("conv2d_kernel_gradient", [(1, 2, 5, 5), (2, 3, 4, 4)], {"kernel_size": (2, 2)}),
    ("conv2d_kernel_gradient", [(1, 2, 5, 5), (1, 3, 4, 4)], {"kernel_size": (3, 3)}),
    ("conv2d_kernel_gradient", [(1, 3, 5, 5), (1, 4, 4, 4)], {"kernel_size": (2, 2), "groups": 2}),
    ("avg_pool2d", [(2, 4, 4)], {"window": 2}),
    ("avg_pool2d", [(1, 1, 4, 4)], {"window": 5}),
    ("avg_pool2d", [(1, 1, 4, 4)], {"window": 2, "padding": 2}),
    ("avg_unpool2d", [(1, 1, 3, 3)], {"window": 2, "output_size": (4, 4)}),
    ("max_pool2d", [(2, 4, 4)], {"window": 2}),
    ("max_pool2d", [(1, 1, 4, 4)], {"window": (2, 5)}),
    ("max_unpool2d", [(1, 1, 3, 3), (1, 1, 4, 4)], {"window": 2}),
    ("max_take2d", [(1, 1, 4, 4), (1, 1, 4, 5)], {"window": 2}),
    ("global_avg_pool2d", [(2, 3)], {}),
    ("global_avg_pool2d", [(2, 3, 0, 4)], {}),
    *WRONG_WINDOWS,
    *((name, [(4, 1), (4,)], {}) for name in ["bce", "bce_with_logits", "mse"]),
    *((name, [(0, 1), (0, 1)], {}) for name in ["bce", "bce_with_logits", "mse"]),
    ("cross_entropy", [(4, 3), (4, 2)], {}),
    ("cross_entropy", [(4, 3), np.zeros((3,), int)], {}),
    ("cross_entropy", [(4, 3), (4,)], {}),
    ("cross_entropy", [(), ()], {}),
    ("variance", [(2, 3)], {"axis": 2}),
    ("variance", [(2, 1)], {"axis": 1, "correction": 1}),
    ("standardize", [(2, 3)], {"axis": 2}),
    ("moving_sum", [(2, 3)], {"before": 1, "after": 0, "axis": 2}),
    ("dropout_mask", [np.zeros((2,), int)], {"to": (2,)}),
    ("dropout", [(2, 3), np.zeros((2,), int)], {}),
    ("batch_norm", [(2, 3), (2,), (3,), (3,), (3,)], {}),
    ("batch_norm", [(3,), (3,), (3,), (3,), (3,)], {"training": True}),
    ("running_mean", [(2,), (4, 3)], {}),
    ("running_variance", [(2,), (4, 3)], {}),
    ("layer_norm", [(2, 3), (2,), (3,)], {}),
    ("group_norm", [(2, 4), (4,), (4,)], {"groups": 3}),
    ("instance_norm", [(2, 3), (3,), (3,)], {}),
    ("local_response_norm", [(3,)], {"size": 3}),
]
PLACES = np.array([0, 1])

WRONG_SHAPES += [
    *((name, [(2, 3)], {"axis": 2}) for name in ["prod", "l1_norm", "l2_norm", "argmax", "argmin", "cumsum"]),
    *((name, [(2, 3)], {"axis": (0, -2)}) for name in ["prod", "l1_norm", "l2_norm"]),
    *((name, [(2, 0)], {"axis": 1}) for name in ["argmax", "argmin"]),
    *((name, [(2, 3), (2, 3), (4,)], {}) for name in ["maximum_all", "minimum_all", "mean_all"]),
    *((name, [(2, 3)], {"k": 4}) for name in ["top_k", "top_k_indices"]),
    *((name, [(2, 3)], {"k": -1, "axis": 0}) for name in ["top_k", "top_k_indices"]),
    *((name, [(3, 2), (2,)], {}) for name in ["gather", "gather_elements", "gather_nd", "embedding"]),
    ("gather", [(3, 2), PLACES], {"axis": 2}),
    ("gather_elements", [(3, 2), PLACES], {}),
    ("gather_elements", [(3, 2), np.zeros((1, 3), int)], {"axis": 0}),
    ("gather_nd", [(3, 2), np.zeros((4, 3), int)], {}),
    ("gather_nd", [(3, 2), np.array(0)], {}),
    ("gather_nd", [(3, 2), np.zeros((2, 1), int)], {"batch_dims": 1}),
    ("gather_nd", [(3, 2), PLACES], {"batch_dims": 1}),
    ("embedding", [(), PLACES], {}),
    ("scatter_add", [(2, 3), (2,)], {"size": 4}),
    ("scatter_add", [(3, 2), PLACES], {"size": 4}),
    ("scatter_add", [(), PLACES], {"size": 4}),
    ("scatter_add", [(2, 2), PLACES], {"size": -1}),
    ("scatter_add", [(2, 2), PLACES], {"size": 4, "axis": 2}),
    ("scatter_add_elements", [(3,), PLACES], {"to": (4,)}),
    ("scatter_add_elements", [(2,), PLACES], {"to": (4, 2)}),
    ("scatter_add_nd", [(2,), np.zeros((3, 1), int)], {"to": (4,)}),
    ("trilu", [(3,)], {}),
    ("depth_to_space", [(1, 6, 2, 2)], {"blocksize": 2}),
    ("depth_to_space", [(4, 2, 2)], {"blocksize": 2}),
    ("space_to_depth", [(1, 1, 3, 2)], {"blocksize": 2}),
    ("resize", [(2, 3)], {"scale": 2.0}),
    ("resize", [(1, 1, 2, 2)], {"scale": (2.0,)}),
    ("resize", [(1, 1, 2)], {"scale": 0.4}),
    ("resize", [(1, 1, 0)], {"size": 2}),
    ("pad", [(0, 3)], {"pad_width": 1, "mode": "edge"}),
    ("einsum", [(2, 3), (4, 2)], {"equation": "ij,jk"}),
    ("einsum", [(2, 3)], {"equation": "ii"}),
    ("einsum", [(2, 3)], {"equation": "ijk->i"}),
    ("einsum", [(2, 3)], {"equation": "i->i"}),
    *((name, [(4, 1), (4,)], {}) for name in ["l1", "huber", "smooth_l1", "hinge", "kl_divergence"]),
    *((name, [(0, 1), (0, 1)], {}) for name in ["l1", "huber", "smooth_l1", "hinge", "kl_divergence"]),
    ("kl_divergence", [(), ()], {}),
    ("nll", [(4, 3), (4, 2)], {}),
    ("nll", [(4, 3), np.zeros((3,), int)], {}),
    ("nll", [(), ()], {}),
]
WRONG_IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(WRONG_SHAPES)]


def test_wrong_shapes_are_tried_for_every_operation() -> None:
    assert {name for name, _, _ in WRONG_SHAPES} | ANY_SHAPE == set(OPERATIONS)
    assert not {name for name, _, _ in WRONG_SHAPES} & ANY_SHAPE


def as_shapes(arrays: Sequence[Array]) -> list[tg.Tensor]:
    return [tg.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(arrays)]


@pytest.mark.parametrize("given", [list, as_tensors, as_shapes], ids=["arrays", "tensors", "shapes"])
@pytest.mark.parametrize(("name", "inputs", "attributes"), WRONG_SHAPES, ids=WRONG_IDS)
def test_wrong_shapes_are_refused_by_name(
    name: str, inputs: list[Any], attributes: Attributes, given: Callable[[Sequence[Array]], list[Any]]
) -> None:
    arrays = [x if isinstance(x, np.ndarray) else np.ones(x) for x in inputs]
    with pytest.raises(tg.ShapeError) as caught:
        call(name, given(arrays), attributes)
    assert str(caught.value).startswith(f"{name}: ")


def test_a_shape_error_names_the_tensors() -> None:
    images, kernels = tg.input("P1", (1, 2, 5, 5)), tg.parameter(np.ones((4, 3, 2, 2)), name="K2")
    with pytest.raises(tg.ShapeError, match=r"conv2d: x 'P1' \(1, 2, 5, 5\), k 'K2' \(4, 3, 2, 2\): .*2 channels"):
        tg.conv2d(images, kernels)


# ---- wrong attributes and wrong calls

ATTRIBUTES = [(name, attribute) for name, f in OPERATIONS.items() for attribute in f.attribute_names]


@pytest.mark.parametrize("value", ["nonsense", 1j, [["nested"]]], ids=["text", "complex", "lists"])
@pytest.mark.parametrize(
    ("name", "attribute"), ATTRIBUTES, ids=[f"{name}-{attribute}" for name, attribute in ATTRIBUTES]
)
def test_attributes_of_a_wrong_type_are_refused_by_name(name: str, attribute: str, value: Any) -> None:
    case = CASES[name][0]
    with pytest.raises(tg.AttributeValueError) as caught:
        call(name, case.inputs, case.attributes | {attribute: value})
    assert name in str(caught.value)
    assert attribute in str(caught.value)
    assert "nonsense" in str(caught.value) or value != "nonsense"


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("conv2d", {"stride": 0}),
        ("conv2d", {"stride": True}),
        ("conv2d", {"stride": (1, 2, 3)}),
        ("conv2d", {"padding": -1}),
        ("conv2d", {"padding": "some"}),
        ("conv2d", {"dilation": 0}),
        ("conv2d", {"groups": 0}),
        ("conv_transpose2d", {"output_padding": -1}),
        ("avg_pool2d", {"window": 0}),
        ("max_pool2d", {"window": 2, "stride": 0}),
        ("clip", {"low": 1.0, "high": 0.0}),
        ("one_hot", {"classes": 0}),
        ("gelu", {"approximate": "sinh"}),
        ("celu", {"alpha": 0.0}),
        ("huber", {"delta": 0.0}),
        ("smooth_l1", {"beta": -1.0}),
        ("hard_tanh", {"low": 2.0}),
        ("tile", {"reps": (2, -1)}),
        ("depth_to_space", {"blocksize": 0}),
        ("space_to_depth", {"mode": "RGB"}),
        ("pad", {"mode": "symmetric"}),
        ("resize", {"scale": None}),
        ("resize", {"size": (4, 4)}),
        ("resize", {"scale": 0.0}),
        ("resize", {"coordinates": "pixel"}),
        ("einsum", {"equation": "ij,j1->i"}),
        ("einsum", {"equation": "ij,jk->iz"}),
        ("einsum", {"equation": "ij,jk->ii"}),
        ("einsum", {"equation": "...ij,jk->ik"}),
        ("einsum", {"equation": "ij,jk->...ik"}),
        ("einsum", {"equation": "ij->i"}),
    ],
)
def test_attributes_out_of_range_are_refused_by_name(name: str, attributes: Attributes) -> None:
    case = CASES[name][0]
    with pytest.raises(tg.AttributeValueError, match=rf"^{name}: "):
        call(name, case.inputs, case.attributes | attributes)


@every_operation
def test_an_unknown_attribute_is_refused_by_name(name: str) -> None:
    case = CASES[name][0]
    with pytest.raises(tg.AttributeValueError, match=f"^{name} has no attribute 'banana'"):
        call(name, case.inputs, case.attributes | {"banana": 1})


def test_an_unknown_attribute_comes_with_the_nearest() -> None:
    with pytest.raises(tg.AttributeValueError, match="here it is called 'stride'"):
        tg.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), strides=2)


def test_an_unknown_operation_comes_with_the_nearest() -> None:
    with pytest.raises(tg.UnknownNameError, match="no operation is called 'conv2'; did you mean 'conv2d'"):
        tg.operation("conv2")
    with pytest.raises(tg.UnknownNameError, match="no operation is called 5"):
        tg.operation(5)


def test_tensors_that_are_no_list_are_shown_where_a_list_is_needed() -> None:
    x = tg.tensor([1.0, 2.0], name="x")
    with pytest.raises(tg.TinygraphError, match=r"as in concatenate\(\[x, y\]\); found tensor 'x' \(2,\)$"):
        tg.concatenate(x, x)


@every_operation
def test_a_missing_tensor_is_reported_by_name(name: str) -> None:
    function, case = OPERATIONS[name], CASES[name][0]
    with pytest.raises(tg.TinygraphError) as caught:
        function(*([[]] if function.op.variadic else case.inputs[:-1]))
    assert str(caught.value).startswith(f"{name} takes ")
    if not function.op.variadic:
        assert repr(function.op.parameters[-1]) in str(caught.value)


@every_operation
def test_too_many_arguments_are_reported_by_name(name: str) -> None:
    function, case = OPERATIONS[name], CASES[name][0]
    tensors = [list(case.inputs)] if function.op.variadic else list(case.inputs)
    surplus = [None] * (len(function.attribute_names) + 1)
    with pytest.raises(tg.TinygraphError, match=f"^{name} takes at most .*; found"):
        function(*tensors, *surplus)


@pytest.mark.parametrize("name", [name for name, f in OPERATIONS.items() if f.op.elementwise])
def test_text_is_no_tensor(name: str) -> None:
    case = CASES[name][0]
    with pytest.raises(tg.DTypeError, match=f"^{name}: expected numbers"):
        call(name, [["some", "text"], *case.inputs[1:]], case.attributes)


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
