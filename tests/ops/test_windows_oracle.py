"""Convolutions and pools of lines, pictures and volumes against PyTorch, live: values, gradients, second gradients."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg

pytestmark = pytest.mark.oracle
Array = np.ndarray[Any, np.dtype[np.float64]]
Function = Callable[..., Any]
RANKS = (1, 2, 3)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def numbers(seed: int, *shape: int) -> Array:
    """Numbers of either sign, all different, none near zero."""
    rng, count = np.random.default_rng(seed), int(np.prod(shape))
    return ((rng.permutation(count) + 5) / 10 * rng.choice([-1.0, 1.0], count)).reshape(shape)


def ours(function: Function, arrays: list[Array]) -> Iterator[Array]:
    """The value, the gradients, and the gradients of these for the inputs and the gradient that came in."""
    leaves = [tg.tensor(x) for x in arrays]
    y = function(*leaves)
    dy = tg.tensor(numbers(7, *y.shape))
    first = tg.grad(y, leaves, cotangent=dy)
    total = tg.add_all([tg.sum(dx * numbers(8 + i, *dx.shape)) for i, dx in enumerate(first)])
    for result in (y, *first, *tg.grad(total, [*leaves, dy], unreached="zeros")):
        yield result.value


def theirs(torch: Any, function: Function, arrays: list[Array]) -> Iterator[Array]:
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = function(*leaves)
    dy = torch.tensor(numbers(7, *y.shape), requires_grad=True)
    first = torch.autograd.grad(y, leaves, dy, create_graph=True)
    total = sum((dx * torch.tensor(numbers(8 + i, *dx.shape))).sum() for i, dx in enumerate(first))
    second = torch.autograd.grad(total, [*leaves, dy], allow_unused=True)
    for result, leaf in zip((y, *first, *second), (y, *leaves, *leaves, dy), strict=True):
        yield np.zeros(leaf.shape) if result is None else result.detach().numpy()


def agree(torch: Any, mine: Function, other: Function, arrays: list[Array]) -> None:
    for found, expected in zip(ours(mine, arrays), theirs(torch, other, arrays), strict=True):
        assert found.shape == expected.shape
        assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, float(abs(expected).max(initial=0.0))))


def grid(**choices: Any) -> list[dict[str, Any]]:
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def over(settings: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("settings", settings, ids=lambda s: ", ".join(f"{k}={v}" for k, v in s.items()))


def per_axis(value: Any, rank: int) -> Any:
    """A list as one setting for each axis; anything else as it is."""
    return tuple(value[:rank]) if isinstance(value, list) else value


def padded(torch: Any, x: Any, padding: Any) -> Any:
    """x with pairs of paddings, which PyTorch wants from the last axis to the first."""
    return torch.nn.functional.pad(x, [n for pads in reversed(padding) for n in pads])


# A list holds settings for up to three axes.
ONE_SIDED = [(1, 0), (0, 2), (1, 2)]
CONVOLUTIONS = grid(stride=[1, 2, [2, 1, 3]], padding=[0, 1, ONE_SIDED], dilation=[1, [1, 2, 1]], groups=[1, 2])


@pytest.mark.parametrize("rank", RANKS)
@over(CONVOLUTIONS)
def test_convolution(torch: Any, rank: int, settings: dict[str, Any]) -> None:
    settings = {name: per_axis(value, rank) for name, value in settings.items()}
    x, k = numbers(0, 2, 4, *(6, 5, 4)[:rank]), numbers(1, 2, 4 // settings["groups"], *(3, 2, 3)[:rank])
    others = {name: value for name, value in settings.items() if name != "padding"}
    theirs = getattr(torch.nn.functional, f"conv{rank}d")

    def other(x: Any, k: Any) -> Any:
        if isinstance(settings["padding"], int):
            return theirs(x, k, **settings)
        return theirs(padded(torch, x, settings["padding"]), k, **others)

    agree(torch, lambda x, k: tg.operation(f"conv{rank}d")(x, k, **settings), other, [x, k])


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution_of_same(torch: Any, rank: int, kernel: int, dilation: int) -> None:
    x, k = numbers(0, 1, 2, *(5, 4, 3)[:rank]), numbers(1, 2, 2, *(kernel, 2, 3)[:rank])
    theirs = getattr(torch.nn.functional, f"conv{rank}d")
    mine = tg.operation(f"conv{rank}d")
    agree(
        torch,
        lambda x, k: mine(x, k, padding="same", dilation=dilation),
        lambda x, k: theirs(x, k, padding="same", dilation=dilation),
        [x, k],
    )


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("multiple", [1, 2])
def test_depthwise_convolution(torch: Any, rank: int, multiple: int) -> None:
    x, k = numbers(0, 2, 5, *(6, 5, 4)[:rank]), numbers(1, 5 * multiple, 1, *(3, 3, 2)[:rank])
    theirs, mine = getattr(torch.nn.functional, f"conv{rank}d"), tg.operation(f"conv{rank}d")
    agree(
        torch,
        lambda x, k: mine(x, k, padding=1, groups=5),
        lambda x, k: theirs(x, k, padding=1, groups=5),
        [x, k],
    )


@pytest.mark.parametrize("rank", RANKS)
@over(grid(stride=[1, 2, [3, 2, 2]], padding=[0, 1, [(1, 0), (0, 1), (1, 1)]], dilation=[1, [2, 1, 2]], groups=[1, 2]))
@pytest.mark.parametrize("larger", [0, 1])
def test_transposed_convolution(torch: Any, rank: int, settings: dict[str, Any], larger: int) -> None:
    settings = {name: per_axis(value, rank) for name, value in settings.items()}
    extra = 0 if settings["stride"] == 1 else larger
    x, k = numbers(0, 2, 4, *(3, 4, 2)[:rank]), numbers(1, 4, 1, *(3, 2, 2)[:rank])
    others = {name: value for name, value in settings.items() if name != "padding"} | {"output_padding": extra}
    theirs = getattr(torch.nn.functional, f"conv_transpose{rank}d")

    def other(x: Any, k: Any) -> Any:
        if isinstance(settings["padding"], int):
            return theirs(x, k, padding=settings["padding"], **others)
        full = theirs(x, k, **others)
        return padded(torch, full, [(-before, -after) for before, after in settings["padding"]])

    mine = tg.operation(f"conv_transpose{rank}d")
    agree(torch, lambda x, k: mine(x, k, **settings, output_padding=extra), other, [x, k])


POOLS = grid(window=[2, 3, [3, 2, 2]], stride=[None, 1, [2, 3, 1]], padding=[0, 1, [1, 0, 1]], ceil_mode=[False, True])


@pytest.mark.parametrize("rank", RANKS)
@over(POOLS)
@pytest.mark.parametrize("dilation", [1, 2])
def test_max_pool(torch: Any, rank: int, settings: dict[str, Any], dilation: int) -> None:
    window, stride, padding, ceil_mode = (per_axis(value, rank) for value in settings.values())
    theirs, mine = getattr(torch.nn.functional, f"max_pool{rank}d"), tg.operation(f"max_pool{rank}d")
    agree(
        torch,
        lambda x: mine(x, window, stride, padding, dilation, ceil_mode),
        lambda x: theirs(x, window, stride, padding, dilation, ceil_mode),
        [numbers(0, 1, 2, *(7, 6, 5)[:rank])],
    )


@pytest.mark.parametrize("rank", RANKS)
@over(POOLS)
@pytest.mark.parametrize("counted", [False, True])
def test_avg_pool(torch: Any, rank: int, settings: dict[str, Any], counted: bool) -> None:
    window, stride, padding, ceil_mode = (per_axis(value, rank) for value in settings.values())
    theirs, mine = getattr(torch.nn.functional, f"avg_pool{rank}d"), tg.operation(f"avg_pool{rank}d")
    agree(
        torch,
        lambda x: mine(x, window, stride, padding, ceil_mode=ceil_mode, count_include_pad=counted),
        lambda x: theirs(x, window, stride, padding, ceil_mode, counted),
        [numbers(0, 1, 2, *(7, 6, 5)[:rank])],
    )


@pytest.mark.parametrize("rank", RANKS)
@over(grid(window=[2, [3, 2, 2]], stride=[None, 1, [2, 3, 1]], p=[1, 2, 4]))
def test_lp_pool(torch: Any, rank: int, settings: dict[str, Any]) -> None:
    """Of positive numbers: PyTorch takes no absolute values."""
    window, stride, p = (per_axis(value, rank) for value in settings.values())
    theirs, mine = getattr(torch.nn.functional, f"lp_pool{rank}d"), tg.operation(f"lp_pool{rank}d")
    agree(
        torch,
        lambda x: mine(x, window, stride, p=p),
        # PyTorch's pool of lines takes numbers alone.
        lambda x: theirs(
            x, p, *(size[0] if isinstance(size, tuple) and rank == 1 else size for size in (window, stride))
        ),
        [abs(numbers(0, 1, 2, *(6, 5, 4)[:rank])) / 10],
    )


@pytest.mark.parametrize("rank", RANKS)
def test_global_pools(torch: Any, rank: int) -> None:
    x, functions = numbers(0, 2, 3, *(4, 3, 2)[:rank]), torch.nn.functional
    avg, largest = (getattr(functions, f"adaptive_{kind}_pool{rank}d") for kind in ("avg", "max"))
    agree(torch, lambda x: tg.global_avg_pool(x, keepdims=True), lambda x: avg(x, 1), [x])
    agree(torch, lambda x: tg.global_max_pool(x, keepdims=True), lambda x: largest(x, 1), [x])
    axes = tuple(range(2, 2 + rank))
    agree(torch, lambda x: tg.global_lp_pool(x, p=3), lambda x: torch.linalg.vector_norm(x, 3, axes), [x])
