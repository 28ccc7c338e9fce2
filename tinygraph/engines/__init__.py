"""Engines: each compiles a graph for a size of batch, and runs it. ``plan/`` is one; another would be a package next to it.

The plain evaluation ``tg.run`` is the meaning of a graph. An engine gives the same results for every dtype, shape, layout
and value, to rounding. What it cannot do, it says by raising a ``TinygraphError`` when it compiles or runs, or by a result
that is not finite; its caller then takes what ``tg.run`` gives, or the error that ``tg.run`` raises.

``plan/compiled.py:Compiled`` shows what callers use: it is made from ``(graph, samples, count, threads)``, where ``samples``
are the inputs whose first axis is the batch, of ``count`` samples. ``run(values, use)`` computes the outputs for the values of
leaves and calls ``use`` with them once. The arrays belong to the engine, which may write over them when ``use`` has returned.
"""

import importlib.util
from dataclasses import dataclass
from typing import TypedDict

from tinygraph.errors import AttributeValueError, TinygraphError, UnknownNameError, unknown


@dataclass(frozen=True)
class Engine:
    """An engine: its ``name``, what it ``runs_on``, its choices of ``precision``, and the packages and ``extra`` it needs.

    >>> plan, xla = engines()
    >>> plan.name, plan.available, xla.extra
    ('plan', True, 'xla')
    """

    name: str
    runs_on: str
    precision: tuple[str, ...] = ("full",)
    packages: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def available(self) -> bool:
        """Whether the packages that it needs are installed."""
        return None not in map(importlib.util.find_spec, self.packages)

    def __str__(self) -> str:
        found = "" if self.available else f"; not installed: pip install 'tinygraph-engine[{self.extra}]'"
        return f"{self.name}: {self.runs_on}; precision {', '.join(self.precision)}{found}"


class Choice(TypedDict, total=False):
    """The choice of an engine, by keyword: kernels of the plan, or the name of another engine, its devices and precision."""

    kernels: str | None
    engine: str
    devices: int | None
    precision: str


_ENGINES = (
    Engine("plan", "NumPy, on the threads of this machine"),
    Engine("xla", "JAX, on CPUs, GPUs, TPUs, of many machines", ("full", "fast", "bfloat16"), ("jax", "jaxlib"), "xla"),
)


def engines() -> tuple[Engine, ...]:
    """Return the engines that run a graph, as records; their names are what ``engine=`` takes.

    >>> [engine.name for engine in engines()]
    ['plan', 'xla']
    """
    return _ENGINES


def chosen_engine(
    engine: str = "plan", precision: str = "full", devices: int | None = None, kernels: str | None = None
) -> Engine:
    """Return the engine of a choice.

    Raises ``UnknownNameError`` for another name, ``AttributeValueError`` for choices that this engine does not have, and
    ``TinygraphError`` if a package that it needs is not installed.

    >>> chosen_engine("xls")
    Traceback (most recent call last):
    tinygraph.errors.UnknownNameError: tinygraph has no engine 'xls'; did you mean 'xla'? (engines: 'plan' and 'xla')
    """
    found = next((known for known in _ENGINES if known.name == engine), None)
    if found is None:
        raise UnknownNameError(unknown("tinygraph", "engine", engine, [known.name for known in _ENGINES]))
    if precision not in found.precision:
        raise AttributeValueError(unknown(f"the engine {engine!r}", "precision", precision, found.precision))
    if devices is not None and not found.packages:
        raise AttributeValueError(f"devices={devices!r} are chosen with engine='xla'; the plan runs on threads")
    if kernels is not None and found.packages:
        raise AttributeValueError(f"kernels={kernels!r} are those of the plan; the engine {engine!r} has none")
    if not found.available:
        needs = f"the engine {engine!r} needs the package {found.packages[0]}"
        raise TinygraphError(f"{needs}: pip install 'tinygraph-engine[{found.extra}]'")
    return found
