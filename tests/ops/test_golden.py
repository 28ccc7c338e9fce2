"""The operations and the training of the notes' CNN against values made once with PyTorch (golden/make_golden.py)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.golden.cases import CASES, FAMILIES, FOLDER, Case, cases_of
from tests.golden.notes_cnn_batches import LEARNING_RATE, weights_and_batches
from tests.tools import naive

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """Every array of every file, under "case name/key"; those of the training run under their bare names."""
    arrays: dict[str, Any] = {}
    for family in (*FAMILIES, "notes_cnn"):
        with np.load(FOLDER / f"{family}.npz") as file:
            arrays.update(file)
    return arrays


def assert_close(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def tensors_of(case: Case, golden: dict[str, Any]) -> dict[str, tg.Tensor]:
    return {name: tg.tensor(golden[f"{case.name}/{name}"], name=name) for name in case.inputs}


def call(case: Case, tensors: dict[str, tg.Tensor]) -> tg.Tensor:
    return getattr(tg, case.operation)(*tensors.values(), **case.attributes)


@every_case
def test_value_is_pytorchs(case: Case, golden: dict[str, Any]) -> None:
    y = call(case, tensors_of(case, golden))
    assert_close(y.value, golden[f"{case.name}/value"])


@every_case
def test_gradient_is_pytorchs(case: Case, golden: dict[str, Any]) -> None:
    tensors = tensors_of(case, golden)
    wanted = [tensors[name] for name in case.wrt]
    gradients = tg.grad(call(case, tensors), wanted, cotangent=golden[f"{case.name}/cotangent"])
    for name, gradient in zip(case.wrt, gradients, strict=True):
        assert_close(gradient.value, golden[f"{case.name}/d{name}"])


@every_case
def test_arrays_give_the_same_value_as_tensors(case: Case, golden: dict[str, Any]) -> None:
    arrays = [golden[f"{case.name}/{name}"] for name in case.inputs]
    y = getattr(tg, case.operation)(*arrays, **case.attributes)
    assert not isinstance(y, tg.Tensor)
    assert_array_equal(y, call(case, tensors_of(case, golden)).value)


# ---- the naive loops of the other tests are themselves checked here

CONVOLUTION_LOOPS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "conv2d": (naive.conv2d, naive.conv2d_input_gradient, naive.conv2d_kernel_gradient),
    "conv_transpose2d": (
        naive.conv_transpose2d,
        naive.conv_transpose2d_input_gradient,
        naive.conv_transpose2d_kernel_gradient,
    ),
}
POOLING_LOOPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "avg_pool2d": (naive.avg_pool2d, naive.avg_pool2d_gradient),
    "max_pool2d": (naive.max_pool2d, naive.max_pool2d_gradient),
}
convolution_loop_cases = [case for case in cases_of("conv2d", "conv_transpose2d") if case.label != "output size"]


@pytest.mark.parametrize("case", convolution_loop_cases, ids=lambda case: case.name)
def test_naive_convolution_is_pytorchs(case: Case, golden: dict[str, Any]) -> None:
    x, k, cotangent, value, dx, dk = (
        golden[f"{case.name}/{key}"] for key in ("x", "k", "cotangent", "value", "dx", "dk")
    )
    forward, input_gradient, kernel_gradient = CONVOLUTION_LOOPS[case.operation]
    assert_close(forward(x, k, **case.attributes), value)
    assert_close(input_gradient(cotangent, x.shape, k, **case.attributes), dx)
    assert_close(kernel_gradient(cotangent, x, k.shape, **case.attributes), dk)


@pytest.mark.parametrize("case", cases_of("avg_pool2d", "max_pool2d"), ids=lambda case: case.name)
def test_naive_pooling_is_pytorchs(case: Case, golden: dict[str, Any]) -> None:
    x, cotangent, value, dx = (golden[f"{case.name}/{key}"] for key in ("x", "cotangent", "value", "dx"))
    forward, gradient = POOLING_LOOPS[case.operation]
    assert_close(forward(x, **case.attributes), value)
    assert_close(gradient(cotangent, x, **case.attributes), dx)


# ---- training the notes' CNN


def notes_cnn_cost(weights: dict[str, tg.Tensor], images: Any, labels: Any) -> tg.Tensor:
    """The forward equations F1 to F10 of the notes."""
    Z1 = tg.conv2d(images, weights["K1"], padding=1) + weights["B1"]
    P1 = tg.avg_pool2d(tg.relu(Z1), 2)
    Z2 = tg.conv2d(P1, weights["K2"], padding=1) + weights["B2"]
    P2 = tg.max_pool2d(tg.relu(Z2), 2)
    Z3 = tg.flatten(P2) @ weights["W3"] + weights["B3"]
    return tg.bce(tg.sigmoid(Z3), labels)


def notes_cnn_losses() -> list[float]:
    """The cost at each step of plain gradient descent (U1 to U6), the update made by NumPy."""
    arrays, batches = weights_and_batches()
    losses = []
    for images, labels in batches:
        weights = {name: tg.parameter(array, name=name) for name, array in arrays.items()}
        cost = notes_cnn_cost(weights, images, labels)
        gradients = tg.grad(cost, list(weights.values()))
        arrays = {
            name: array - LEARNING_RATE * gradient.value
            for (name, array), gradient in zip(arrays.items(), gradients, strict=True)
        }
        losses.append(float(cost.value))
    return losses


def test_seed_gives_the_batches_of_the_golden_run(golden: dict[str, Any]) -> None:
    weights, batches = weights_and_batches()
    for name, weight in weights.items():
        assert_array_equal(weight, golden[name])
    assert_array_equal(batches[-1][1], golden["last_labels"])


def test_hundred_steps_of_the_notes_cnn_follow_pytorch(golden: dict[str, Any]) -> None:
    assert_allclose(notes_cnn_losses(), golden["losses"], rtol=1e-9)


@pytest.mark.oracle
def test_hundred_steps_of_the_notes_cnn_follow_pytorch_live() -> None:
    pytest.importorskip("torch")
    from tests.golden.make_golden import notes_cnn_losses as losses_of_pytorch

    assert_allclose(notes_cnn_losses(), losses_of_pytorch(), rtol=1e-9)
