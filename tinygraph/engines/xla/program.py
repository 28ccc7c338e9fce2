"""Program: a graph compiled by XLA for one number of samples; XlaPlan: what ``tg.compile(..., engine="xla")`` returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from tinygraph.engines.plan.node import nodes_of
from tinygraph.engines.xla.array import bfloat16_products
from tinygraph.engines.xla.devices import Devices
from tinygraph.engines.xla.lower import Lowering
from tinygraph.errors import EngineError, counted
from tinygraph.graph import Array, Graph, Tensor, all_finite, bind, run
from tinygraph.locks import Recent
from tinygraph.model.values import samples_in

if TYPE_CHECKING:
    from tinygraph.model import Model


# Programs are kept for this many sizes of batch.
MOST_SIZES = 4


@contextlib.contextmanager
def computing(precision: str) -> Iterator[None]:
    """Within this context JAX has numbers of 64 bits, and products of float32 the precision asked for; nothing else changes."""
    level = "highest" if precision == "full" else "default"
    try:
        with jax.enable_x64(True), jax.default_matmul_precision(level), bfloat16_products(precision == "bfloat16"):
            yield
    except jax.errors.JaxRuntimeError as error:
        raise EngineError(f"XLA failed: {str(error).partition(chr(10))[0]}") from None


class Program:
    """A graph for ``count`` samples, which the leaves ``samples`` hold along their first axis, compiled by XLA.

    ``held`` are leaves whose values stay on the devices from call to call, each with the node of its new value. ``results``
    are what a call returns; where a node of ``finite`` is not finite, or a check of values fails, nothing held changes.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Sequence[Tensor],
        count: int,
        devices: Devices,
        precision: str = "full",
        held: Mapping[Tensor, Tensor] | None = None,
        results: Sequence[Tensor] | None = None,
        finite: Sequence[Tensor] = (),
    ) -> None:
        self.graph, self.count, self.devices, self.precision = graph, count, devices, precision
        self.held = {} if held is None else held
        self._results, self._finite = graph.outputs if results is None else results, finite
        self.fed = [x for x in graph.leaves.values() if x not in self.held and x.kind != "constant"]
        self._samples, self._kept = set(samples), dict[Tensor, tuple[Any, Any]]()
        split, copied = devices.split(count), devices.copied(count)
        self.places = [split if x in self._samples else copied for x in self.fed]
        self.lowering = Lowering(nodes_of(graph), samples, count, devices.mesh(count) if len(devices.all) > 1 else None)
        with computing(precision):
            self._run = jax.jit(
                self.traced,
                donate_argnums=(0,),
                in_shardings=([copied] * len(self.held), self.places),
                out_shardings=([copied] * len(self.held), copied if devices.processes > 1 else None, copied),
            )

    def traced(self, held: list[Any], fed: list[Any]) -> tuple[list[Any], list[Any], Any]:
        given = {**dict(zip(self.held, held, strict=True)), **dict(zip(self.fed, fed, strict=True))}
        outputs, good = self.lowering(given)
        found = {**given, **dict(zip(self.graph.outputs, outputs, strict=True))}
        for node in self._finite:
            if node.dtype.kind in "fc":
                good &= jnp.isfinite(found[node]).all()
        moved = [jnp.where(good, found[new], old) for new, old in zip(self.held.values(), held, strict=True)]
        return moved, [found[node] for node in self._results], good

    def put(self, values: Mapping[Tensor, Array]) -> list[Any]:
        """Return the values of the leaves that are fed, on the devices; in one of several processes, its own rows.

        A leaf that is not among ``values`` has its own value, which is put there once.
        """
        with computing(self.precision):
            for x, place in zip(self.fed, self.places, strict=True):
                if x not in values and self._kept.get(x, (None,))[0] is not x._value:
                    self._kept[x] = x._value, self.devices.put(np.array(x._value), place)
            return [
                self.devices.put(np.asarray(values[x]), place, x.shape) if x in values else self._kept[x][1]
                for x, place in zip(self.fed, self.places, strict=True)
            ]

    def hold(self, value: Array) -> Any:
        """Return the value of a held leaf, on every device."""
        with computing(self.precision):
            return self.devices.put(np.array(value), self.devices.copied(self.count))

    def __call__(self, held: Sequence[Any], fed: Sequence[Any]) -> tuple[list[Any], list[Array], bool]:
        """Return the new values of what is held, on the devices, the results, and whether all was finite and accepted."""
        with computing(self.precision):
            moved, results, good = self._run(list(held), list(fed))
            # NumPy would read a buffer for which there was no memory, and the program would abort.
            return moved, [np.array(x) for x in jax.block_until_ready(results)], bool(good)

    def lowered(self, held: Sequence[Any], fed: Sequence[Any]) -> Any:
        """Return the program as JAX lowers it, which can be compiled and printed."""
        with computing(self.precision):
            return self._run.lower(list(held), list(fed))


class XlaPlan:
    """A graph compiled by XLA; made by ``tg.compile(..., engine="xla")``. Call it with feeds, as ``tg.run``.

    One of several processes computes on its own devices, whatever the others do.
    """

    def __init__(
        self,
        graph: Graph,
        batch_size: int | None,
        threads: int,
        model: Model | None = None,
        devices: int | None = None,
        precision: str = "full",
    ) -> None:
        self.graph, self.batch_size, self._model = graph, batch_size, model
        self.devices, self.precision = Devices(devices, local=True), precision
        self._programs = Recent[int | None, Program](MOST_SIZES)

    def _for(self, count: int | None) -> Program:
        def make() -> Program:
            graph = self.graph if self._model is None or count == self.batch_size else self._model.graph(count or 1)
            samples = [x for x in graph.inputs.values() if count is not None and x.shape[:1] == (count,)]
            return Program(graph, samples, count or 1, self.devices, self.precision)

        return self._programs.of(count, make)

    def __call__(self, feeds: Mapping[Any, Any] | None = None) -> tuple[Array, ...]:
        """Return the values of the outputs, as arrays of the caller's own. Raises ``FeedError`` as ``tg.run`` does."""
        feeds = {} if feeds is None else feeds
        count = None if self._model is None else samples_in(self._model, feeds)
        program = self._for(count or self.batch_size)
        values = bind(program.graph, feeds)
        if any(leaf.kind == "constant" for leaf in values):
            return run(program.graph, feeds)
        _, results, good = program([], program.put(values))
        if not good or not all(map(all_finite, results)):
            # The operations' own rules say which numbers are not finite, and which error it is.
            return run(program.graph, feeds)
        return tuple(results)

    def __repr__(self) -> str:
        return f"<XlaPlan: batch {self.batch_size}, {counted(len(self.devices.all), 'device')}>"
