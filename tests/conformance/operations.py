"""Problems of single operations: what each is recorded with in its own record, in every dtype, kind of number and layout."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.graph.attributes import Sample
from tinygraph.graph.backprop import call_rule

from . import values
from .problem import Arrays, Problem, overflows, veiled

Generator = np.random.Generator


def generator(*words: object) -> Generator:
    """Return random numbers that depend on these words alone."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, words)).encode()))


@dataclass(frozen=True)
class Call:
    """An operation with attributes, on arrays, ``exact`` where these lie at kinks; ``between`` others before and after it."""

    name: str
    inputs: tuple[np.ndarray, ...]
    attributes: dict[str, Any]
    exact: bool = False
    batch: int | None = None
    between: bool = False

    @property
    def op(self) -> tg.Op:
        """The operation with its attributes."""
        return tg.operation(self.name.split()[0]).op(**self.attributes)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        function = tg.operation(self.name.split()[0])
        if self.between:
            inputs = [tg.identity(x) * 1 if x.dtype.kind == "f" else x for x in inputs]
        y = function(*((list(inputs),) if function.op.variadic else inputs), **self.attributes)
        return _followed(y) if self.between else y

    def on(self, inputs: Sequence[np.ndarray]) -> Call:
        return replace(self, inputs=tuple(inputs))

    def result(self) -> np.ndarray | None:
        """Return the result on the arrays; nothing where the operation refuses them."""
        try:
            with np.errstate(all="ignore"):
                return np.asarray(self(self.inputs))
        except Exception:
            return None

    def enlarged(self, batch: int) -> Call:
        """Return the call on another number of samples, where its attributes allow that."""
        first = next((x.shape[0] for x in self.inputs if x.ndim and x.shape[0]), None)
        if first is None:
            return self
        inputs = []
        for place, x in enumerate(self.inputs):
            more = np.resize(x, (batch, *x.shape[1:])) if x.ndim and x.shape[0] == first else x
            # Without ties, which the copies would make.
            keep = self.exact or x.dtype.kind != "f"
            inputs.append(more if keep else more * (1 - 0.3 * generator(place).random(more.shape)))
        large = replace(self.on(inputs), batch=batch)
        return self if large.result() is None else large

    def widened(self, size: int) -> Call:
        """Return the call with more classes or columns than an integer of 8 bits can count."""
        wide = [
            np.resize(x, (*x.shape[:-1], size)) * np.linspace(0.5, 1, size) if x.dtype.kind == "f" and x.ndim else x
            for x in self.inputs
        ]
        return self.on(wide)


def calls(names: Sequence[str] = ()) -> Iterator[Call]:
    """Yield a call for every sample and edge of every operation of the package, on a few samples where that is possible."""
    for name, function in tg.operations().items():
        op = function.op
        if (names and name not in names) or not op.__module__.startswith("tinygraph."):
            continue
        samples = [(sample, False) for sample in op.samples(np.random.default_rng(5))]
        samples += [(edge.sample, True) for edge in op.edges]
        if "axis" in op.attribute_annotations():
            # Along the axis of the samples, whose results a plan must not take from tiles.
            samples += [(Sample(*x.inputs, **x.attributes | {"axis": 0}), exact) for x, exact in samples[:2]]
        for number, (sample, exact) in enumerate(samples, start=1):
            call = Call(f"{name} {number}", sample.inputs, sample.attributes, exact)
            yield call.enlarged(4 + number % 4)


def _followed(y: Any) -> Any:
    """Return a result after operations that may be fused with the one that made it, or write over it."""
    if y.dtype.kind == "f":
        return tg.relu(y + 0.25) * y - tg.tanh(y)
    return tg.where(y, 2.0, 3.0) if y.dtype.kind == "b" else y + y


def problems(names: Sequence[str], seed: int, chosen: Callable[[str], bool]) -> Iterator[Problem]:
    """Yield the problems of the operations called ``names``, or of all, whose own names are ``chosen``."""
    for call in calls(names):
        floating = [place for place, x in enumerate(call.inputs) if x.dtype.kind == "f"]
        integers = [place for place, x in enumerate(call.inputs) if x.dtype.kind in "iu"]
        ways = [_layouts(call), _sizes(call)]
        if floating:
            ways += [_numbers(call, floating), _whole_numbers(call, floating), _neighbours(call, floating)]
        if integers:
            ways.append(_indices(call, integers))
        for what, make in itertools.chain(*ways):
            variants = VARIANTS[: 1 if "kind" not in make.keywords else 2 if " in input" in what else 4]
            for suffix, gradient, veil in variants:
                name = f"{call.name} {what}{suffix}"
                if chosen(name):
                    yield make(name, generator(name, seed), gradient=gradient, veil=veil)


# Problems with gradients and without, which a plan cuts more often, and in both forms.
VARIANTS = [
    ("", True, False),
    (", veiled", True, True),
    (", forward", False, False),
    (", forward, veiled", False, True),
]
# Each of these yields what a problem is about, and a function from its name and random numbers to the problem.
Ways = Iterator[tuple[str, partial[Problem]]]


def _numbers(call: Call, floating: Sequence[int]) -> Ways:
    which = {"": floating} | ({f" in input {i}": [i] for i in floating} if len(floating) > 1 else {})
    for dtype, kind, where in itertools.product(values.FLOATS, values.VALUES, which):
        if kind != "ordinary" or not where:
            yield f"{dtype} {kind}{where}", partial(_of_numbers, call, floating, which[where], dtype, kind=kind)


def _neighbours(call: Call, floating: Sequence[int]) -> Ways:
    for dtype in values.FLOATS:
        with np.errstate(all="ignore"):
            inputs = [x.astype(dtype) if i in floating else x for i, x in enumerate(call.inputs)]
        yield f"{dtype} between neighbours", partial(_problem, replace(call, between=True).on(inputs))


def _of_numbers(
    call: Call,
    floating: Sequence[int],
    places: Sequence[int],
    dtype: str,
    name: str,
    rng: Generator,
    kind: str,
    **asked: bool,
) -> Problem:
    with np.errstate(all="ignore"):
        inputs = [x.astype(dtype) if i in floating else x for i, x in enumerate(call.inputs)]
        inputs = [values.VALUES[kind](x, rng).astype(dtype) if i in places else x for i, x in enumerate(inputs)]
    problem = _problem(call.on(inputs), name, rng, kind, **asked)
    exact = kind in values.EXACT and len(places) == len(floating)
    return replace(problem, exact=exact or problem.exact)


def _whole_numbers(call: Call, floating: Sequence[int]) -> Ways:
    for dtype, make in itertools.product(values.INTEGERS, (values.whole, values.limits)):
        yield f"{dtype} {make.__name__}", partial(_of_whole_numbers, call, floating, dtype, make)


def _of_whole_numbers(
    call: Call,
    floating: Sequence[int],
    dtype: str,
    make: Callable[..., np.ndarray],
    name: str,
    rng: Generator,
    **asked: bool,
) -> Problem:
    inputs = [make(x, dtype, rng) if i in floating else x for i, x in enumerate(call.inputs)]
    return _problem(call.on(inputs), name, rng, **asked)


def _indices(call: Call, integers: Sequence[int]) -> Ways:
    for dtype in values.INTEGERS:
        inputs = [x.astype(dtype) if i in integers else x for i, x in enumerate(call.inputs)]
        if all((inputs[i] == call.inputs[i]).all() for i in integers):
            yield f"{dtype} indices", partial(_problem, call.on(inputs))
            yield f"{dtype} indices of 300", partial(_problem, call.on(inputs).widened(300))


def _layouts(call: Call) -> Ways:
    for layout, arrange in values.LAYOUTS.items():
        yield layout, partial(_problem, call, arrange=arrange)


def _sizes(call: Call) -> Ways:
    """Samples, or the last axes, cut to none or one."""
    sizes = {x.shape[0] for x in call.inputs if x.ndim} | {x.shape[-1] for x in call.inputs if x.ndim}
    for size, left in itertools.product(sorted(sizes), (0, 1)):
        cut = call.on([x[tuple(slice(left if n == size else n) for n in x.shape)] for x in call.inputs])
        batch = left if call.batch == size else call.batch
        yield f"axes of {size} cut to {left}", partial(_problem, replace(cut, batch=batch))


def _problem(
    call: Call,
    name: str,
    rng: Generator,
    kind: str = "ordinary",
    arrange: Callable[..., np.ndarray] = np.asarray,
    gradient: bool = True,
    veil: bool = False,
) -> Problem:
    """Return the problem of a call, with its gradients or without; a veiled one asks how results compare with zero."""
    inputs, y, exact = list(call.inputs), call.result(), call.exact and kind == "ordinary"
    floating = [place for place, x in enumerate(inputs) if x.dtype.kind == "f"]
    if y is None or y.dtype.kind != "f" or not gradient:
        floating = []
    else:
        dy = rng.standard_normal(y.shape).astype(y.dtype)
        change = values.VALUES["ties" if exact else kind if kind in values.OF_COTANGENTS else "ordinary"]
        inputs.append(change(dy, rng).astype(y.dtype))

    def build(leaves: Sequence[tg.Tensor]) -> list[tg.Tensor]:
        outputs = [y := call(leaves[: len(call.inputs)])]
        if floating:
            outputs += tg.grad(y, [leaves[i] for i in floating], cotangent=leaves[-1], unreached="zeros")
        return veiled(outputs, overflows(inputs)) if veil else outputs

    def on_arrays(arrays: Sequence[np.ndarray]) -> Arrays:
        y = call(arrays[: len(call.inputs)])
        # Rules are given what operations are: arrays in the byte order of this machine.
        *xs, dy = (x.astype(x.dtype.newbyteorder("="), copy=False) for x in arrays)
        gradients = dict(call_rule(call.op, floating, dy, y, *xs) if floating else [])
        return y, *(np.asarray(gradients.get(i, np.zeros_like(xs[i]))) for i in floating)

    recorded = call.op.composite or call.between or veil
    return Problem(name, build, [arrange(x) for x in inputs], call.batch, exact, None if recorded else on_arrays)
