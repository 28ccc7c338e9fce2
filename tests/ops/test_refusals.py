"""Every registered operation refuses wrong shapes, attributes and calls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.op_samples import (
    CASES,
    OPERATIONS,
    Array,
    Attributes,
    as_tensors,
    call,
    every_operation,
)

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
    ("stack", [(3,), (4,)], {}),
    ("stack", [(3,), (3,)], {"axis": 2}),
    *((name, [()], {"axis": 0}) for name in ["cumprod", "diff", "sort"]),
    *((name, [(2, 3)], {"axis": 2}) for name in ["cumprod", "diff", "sort", "std"]),
    ("std", [(3,)], {"correction": 3}),
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
        ("pad", {"mode": "median"}),
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
