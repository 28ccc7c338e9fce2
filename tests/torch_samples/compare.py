"""One sample through both frameworks: values, gradients for random cotangents, and the gradients of those."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import signature
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

import tinygraph as tg
from tinygraph.graph.graph import Graph

Call = Callable[..., Any]
# Raises NotOursError for a sample that is not to be compared.
Refusal = Callable[[Any], None]
SEED = 0


class NotOursError(Exception):
    """A sample asks for what tinygraph does not have; the message says what."""


def need(condition: bool, reason: str) -> None:
    """Skip the sample for ``reason`` where the condition does not hold."""
    if not condition:
        raise NotOursError(reason)


@dataclass(frozen=True)
class Row:
    """How PyTorch's samples of one operation are asked of tinygraph.

    ``call`` takes what PyTorch's function takes, by the same names. ``ran`` is how many samples it must compare; the others
    give one of the arguments in ``lacks`` another value than the default, or ``call`` raises ``NotOursError``.
    """

    ran: int
    call: Call
    lacks: dict[str, str] = field(default_factory=dict)
    rtol: float = 1e-9


@dataclass
class Outcome:
    """What came of a row's samples: how many were compared, to which order of gradients, and why others were not.

    ``operations`` are ours that took part, in values and in gradients.
    """

    orders: Counter[int] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)

    @property
    def ran(self) -> int:
        return self.orders.total()


def infos() -> dict[str, Any]:
    """Return PyTorch's records of its operations, by name and variant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {f"{info.name} {info.variant_test_name}".strip(): info for info in op_db}


def compare(info: Any, row: Row, refuse: Refusal | None = None) -> Outcome:
    """Compare all samples of an operation; raise ``AssertionError`` that shows the sample where the two differ.

    With ``refuse`` the samples are PyTorch's reference inputs, at edges too, but for those that it refuses; of these,
    gradients are compared as far as all numbers are finite.
    """
    outcome = Outcome()
    for sample in samples(info, refuse is not None):
        try:
            if refuse is not None:
                refuse(sample)
            compare_sample(info.op, row, sample, outcome, finite=refuse is not None)
        except NotOursError as reason:
            outcome.skipped[str(reason)] += 1
        except Exception as fault:
            raise AssertionError(f"{info.name} of {shown(sample)}: {fault}") from fault
    return outcome


def samples(info: Any, references: bool) -> Iterator[Any]:
    """Return the samples, or the reference inputs, that PyTorch publishes for an operation, the same each time."""
    import torch

    torch.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = torch.float64 if torch.float64 in info.dtypes else torch.int64
        source = info.reference_inputs if references else info.sample_inputs
        yield from source("cpu", dtype, requires_grad=info.supports_autograd and dtype.is_floating_point)


def compare_sample(function: Call, row: Row, sample: Any, outcome: Outcome, finite: bool) -> None:
    """Compare one sample, of gradients perhaps only those that are finite, and write down how far."""
    leaves: list[Any] = []
    (args, kwargs), (their_args, their_kwargs) = pairs(((sample.input, *sample.args), sample.kwargs), leaves)
    refuse_lacking(row, args, kwargs)
    mine = flat(row.call(*args, **kwargs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = of_torch(flat(function(*their_args, **their_kwargs)), [theirs for _, theirs in leaves])
    if finite:
        expected = expected[: max(1, sum(1 for _ in takewhile(all_finite, expected)))]
    found = of_tinygraph(mine, [leaf for leaf, _ in leaves])
    assert len(found) >= len(expected), "the result has no gradients; PyTorch's has"
    for what, results, right in zip(("value", "gradient", "second gradient"), found, expected, strict=False):
        for result, array in zip(results, right, strict=True):
            agree(np.asarray(getattr(result, "value", result)), array, row.rtol, what)
    outcome.orders[len(expected) - 1] += 1
    outcome.operations |= operations_in([result for results in found for result in results])


def operations_in(results: list[Any]) -> set[str]:
    """Return the operations that some results come from, by name."""
    tensors = [result for result in results if isinstance(result, tg.Tensor)]
    return {node.op.name for node in Graph(tensors).nodes if node.op is not None} if tensors else set()


def refuse_lacking(row: Row, args: Any, kwargs: Any) -> None:
    if not row.lacks:
        return
    form = signature(row.call)
    for name, value in form.bind(*args, **kwargs).arguments.items():
        if name in row.lacks and not same(value, form.parameters[name].default):
            raise NotOursError(row.lacks[name])


def same(value: Any, default: Any) -> bool:
    return value is default or (type(value) in (int, float, str, bool) and bool(value == default))


def all_finite(arrays: list[Any]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def agree(found: Any, expected: Any, rtol: float, what: str) -> None:
    assert found.shape == expected.shape, f"the {what} has shape {found.shape}; PyTorch's has {expected.shape}"
    assert found.dtype.kind == expected.dtype.kind, (
        f"the {what} has dtype {found.dtype}; PyTorch's has {expected.dtype}"
    )
    # A result that cancels may differ by the rounding of what it is the difference of.
    size = float(np.max(abs(expected), initial=0.0, where=np.isfinite(expected)))
    assert_allclose(found, expected, rtol=rtol, atol=1e-11 * size + 1e-13, err_msg=what)


def pairs(value: Any, leaves: list[Any]) -> tuple[Any, Any]:
    """Return the value as both frameworks take it, inside sequences and tables too; leaves to differentiate for are kept."""
    import torch

    if isinstance(value, torch.Tensor):
        array = value.detach().numpy().copy()
        pair = (
            (tg.tensor(array) if array.dtype.kind == "f" else array),
            value.detach().requires_grad_(value.requires_grad),
        )
        leaves.extend([pair] if value.requires_grad else [])
        return pair
    if isinstance(value, dict):
        both = {name: pairs(part, leaves) for name, part in value.items()}
        return {name: mine for name, (mine, _) in both.items()}, {name: theirs for name, (_, theirs) in both.items()}
    if isinstance(value, list | tuple):
        parts = [pairs(part, leaves) for part in value]
        return type(value)(mine for mine, _ in parts), type(value)(theirs for _, theirs in parts)
    return value, value


def flat(value: Any) -> list[Any]:
    """Return the results in ``value``, which may be one or a sequence of them."""
    return [part for parts in value for part in flat(parts)] if isinstance(value, list | tuple) else [value]


def random_like(shape: Any, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(tuple(shape))


def of_tinygraph(results: list[Any], leaves: list[Any]) -> list[list[Any]]:
    """Return the values, their gradients for random cotangents, and the gradients of a random sum of these."""
    chosen = [(i, y) for i, y in enumerate(results) if isinstance(y, tg.Tensor) and y.dtype.kind == "f"]
    if not chosen or not leaves:
        return [results]
    cotangents = [tg.tensor(random_like(y.shape, 100 + i)) for i, y in chosen]
    total = tg.add_all([tg.sum(y * dy) for (_, y), dy in zip(chosen, cotangents, strict=True)])
    first = tg.grad(total, leaves, unreached="zeros")
    total = tg.add_all([tg.sum(dx * random_like(dx.shape, 200 + i)) for i, dx in enumerate(first)])
    return [results, list(first), list(tg.grad(total, [*leaves, *cotangents], unreached="zeros"))]


def of_torch(results: list[Any], leaves: list[Any]) -> list[list[Any]]:
    """Return the same of PyTorch's as arrays, as many orders as it has."""
    import torch

    def arrays(tensors: Any) -> list[Any]:
        return [tensor.detach().numpy(force=True) for tensor in tensors]

    chosen = [(i, y) for i, y in enumerate(results) if y.requires_grad]
    if not chosen:
        return [arrays(results)]
    cotangents = [torch.tensor(random_like(y.shape, 100 + i), requires_grad=True) for i, y in chosen]
    orders = [arrays(results)]
    total = sum((y * dy).sum() for (_, y), dy in zip(chosen, cotangents, strict=True))
    try:
        first = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
        orders.append(arrays(first))
        total = sum((dx * torch.tensor(random_like(dx.shape, 200 + i))).sum() for i, dx in enumerate(first))
        if total.requires_grad:
            orders.append(arrays(torch.autograd.grad(total, [*leaves, *cotangents], materialize_grads=True)))
    except RuntimeError as fault:
        if "not implemented" not in str(fault):
            raise
    return orders


def shown(sample: Any) -> str:
    """Return a sample with tensors as dtypes and shapes."""
    import torch

    def brief(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(brief, value))}]"
        return repr(value)

    named = [f"{name}={brief(value)}" for name, value in sample.kwargs.items()]
    return ", ".join([*map(brief, (sample.input, *sample.args)), *named])
