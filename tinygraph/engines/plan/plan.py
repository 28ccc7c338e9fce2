"""Plan: a graph compiled for repeated evaluation. It gives the results of ``tg.run``, to rounding, several times faster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from tinygraph.engines import chosen_engine
from tinygraph.engines.plan.compiled import Compiled
from tinygraph.engines.plan.kernels.generated import kernel_choice
from tinygraph.engines.plan.memory import copy_samples
from tinygraph.engines.plan.schedule import Schedule, described, schedule_of
from tinygraph.engines.plan.threads import thread_count
from tinygraph.errors import AttributeValueError, TinygraphError, counted
from tinygraph.graph import Array, Graph, Tensor, all_finite, bind, fitting, integer, run
from tinygraph.locks import Recent
from tinygraph.model.values import samples_in

if TYPE_CHECKING:
    from tinygraph.model import Model

# Programs are kept for this many sizes of batch.
_MOST_SIZES = 4
Recorded = TypeVar("Recorded")


def compile(
    what: Model | Graph | Tensor | Iterable[Tensor],
    batch_size: int | None = None,
    threads: int | None = None,
    kernels: str | None = None,
    *,
    engine: str = "plan",
    devices: int | None = None,
    precision: str = "full",
) -> Plan:
    """Return a plan: a function of feeds that computes what ``tg.run`` computes, several times faster.

    ``what`` is a model, a graph, or tensors. Of a model, the output and loss in prediction are compiled, for ``batch_size``
    samples. Of a graph or tensors, the inputs whose first axis has the size ``batch_size`` hold samples; by default it is the
    size that all inputs share. At most ``threads`` threads compute, by default as many as the environment variable
    ``TINYGRAPH_THREADS`` says, or the number of CPUs. ``kernels="numba"`` computes chains of operations by loops that Numba
    compiles, which needs the extra ``fast``; by default ``TINYGRAPH_KERNELS`` decides, or it is ``"numpy"``. Raises
    ``AttributeValueError`` if a size or the number of threads is not a positive integer, or for other kernels, and
    ``TinygraphError`` without Numba.

    ``engine="xla"`` compiles for ``devices`` of XLA instead (by default all that JAX finds), which share the
    samples. It computes in the dtypes of the graph. Products of float32 are taken at full ``precision``; ``"fast"`` leaves it
    to the device, and ``"bfloat16"`` rounds their factors to this type. Raises ``UnknownNameError`` for another engine, and
    ``TinygraphError`` if its package is not installed or there are fewer devices.

    Results agree with ``tg.run`` to rounding, and are the same bits for the same feeds and number of threads.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2, 3))
    >>> plan = tg.compile(tg.relu(x) * 2.0)
    >>> plan({"x": [[-1.0, 2.0, 3.0], [4.0, -5.0, 6.0]]})
    (array([[ 0.,  4.,  6.],
           [ 8.,  0., 12.]], dtype=float32),)
    """
    from tinygraph.model import Model

    if batch_size is not None:
        batch_size = integer("batch_size", batch_size)
    count, chosen = thread_count(threads), chosen_engine(engine, precision, devices, kernels)
    make: Callable[..., Any] = functools.partial(Plan, kernels=kernel_choice(kernels))
    if chosen.packages:
        from tinygraph.engines.xla import XlaPlan

        make = functools.partial(XlaPlan, devices=devices, precision=precision)
    if isinstance(what, Model):
        if batch_size is None:
            raise AttributeValueError("a model is compiled for a batch_size; give the number of samples")
        return cast(Plan, make(what.graph(batch_size), batch_size, count, model=what))
    graph = what if isinstance(what, Graph) else Graph(what)
    sizes = {x.shape[0] if x.shape else None for x in graph.inputs.values()}
    size = sizes.pop() if batch_size is None and len(sizes) == 1 else batch_size
    return cast(Plan, make(graph, size, count))


class BySize(Generic[Recorded]):
    """A graph that is compiled for each number of samples when it first meets it: the base of plans and training steps."""

    __slots__ = ("_batch_size", "_kernels", "_latest", "_programs", "_seconds", "_threads")

    def __init__(self, batch_size: int | None, threads: int, kernels: str = "numpy") -> None:
        self._batch_size, self._threads, self._kernels = batch_size, threads, kernels
        self._programs = Recent[int | None, tuple[Recorded, Compiled]](_MOST_SIZES, batch_size)
        self._seconds: list[list[float]] | None = None
        self._for(batch_size)

    def _compiled(self, count: int | None) -> tuple[Recorded, Compiled]:
        """Return what is recorded for a number of samples, and its program."""
        raise NotImplementedError

    def _for(self, count: int | None) -> tuple[Recorded, Compiled]:
        # The next batch usually has the same size.
        found = self._latest = self._programs.of(count, functools.partial(self._compiled, count))
        return found

    @property
    def _own(self) -> tuple[Recorded, Compiled]:
        return self._for(self.batch_size)

    @property
    def graph(self) -> Graph:
        """The graph as recorded."""
        return self._own[1].graph

    @property
    def batch_size(self) -> int | None:
        """The number of samples that it was compiled for first; ``None`` where no input has samples."""
        return self._batch_size

    @property
    def threads(self) -> int:
        """The largest number of threads that compute."""
        return self._threads

    @property
    def kernels(self) -> str:
        """What computes operations: "numpy", or "numba" for chains of them."""
        return self._kernels

    @property
    def schedule(self) -> Schedule:
        """The record of the steps, memory and saved work; with times after ``profile``."""
        return schedule_of(self._own[1], self._seconds)

    def describe(self) -> str:
        """Return the schedule as text: each step with what it computes, its buffer, bytes and time, then totals.

        >>> import tinygraph as tg
        >>> print(tg.compile(tg.relu(tg.input("x", (2, 3)))).describe())
           phase  operation  computes  shape           buffer  bytes
        1  whole  relu       t1        float32 (2, 3)  @0      24     in place
        <BLANKLINE>
        batch: 2 samples, not cut into tiles; threads: 1
        memory: 88 bytes held; the results of plain evaluation take 24
        saved: nothing here would be computed twice
        matrix products: 0 floating-point operations
        """
        return described(self.schedule)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the schedule as a table."""
        return self.schedule._repr_html_()

    def __repr__(self) -> str:
        what, threads = type(self).__name__, self._own[1].threads
        return f"<{what}: {counted(len(self.schedule.steps), 'step')}, batch {self.batch_size}, threads {threads}>"


class Plan(BySize[Graph]):
    """A compiled graph; made by ``tg.compile``. Call it with feeds, as ``tg.run``.

    A plan of a model takes any number of samples, and compiles for another number when it first meets it. It may be called
    from several threads; calls wait for one another. The values of parameters are read at each call.

    >>> import tinygraph as tg
    >>> plan = tg.compile(tg.load_model("xor"), batch_size=4)
    >>> output, loss = plan({"x": [[0.0, 1.0]] * 4, "y": [[1.0]] * 4})
    >>> output.shape, loss.shape
    ((4, 1), ())
    """

    def __init__(
        self, graph: Graph, batch_size: int | None, threads: int, kernels: str = "numpy", model: Model | None = None
    ) -> None:
        self._graph, self._model = graph, model
        super().__init__(batch_size, threads, kernels)

    def _compiled(self, count: int | None) -> tuple[Graph, Compiled]:
        graph = self._graph if self._model is None or count == self.batch_size else self._model.graph(count or 1)
        samples = [x for x in graph.inputs.values() if count is not None and x.shape[:1] == (count,)]
        return graph, Compiled(graph, samples, count or 1, self.threads, self.kernels)

    def __call__(self, feeds: Mapping[Any, Any] | None = None) -> tuple[Array, ...]:
        """Return the values of the outputs, as arrays of the caller's own. Raises ``FeedError`` as ``tg.run`` does."""
        feeds = {} if feeds is None else feeds
        graph, compiled = self._latest
        known = feeds.__class__ is dict and feeds.keys() == compiled.inputs.keys()
        values = fitting(compiled.inputs.values(), map(feeds.__getitem__, compiled.inputs)) if known else None
        if values is None:
            count = None if self._model is None else samples_in(self._model, feeds)
            graph, compiled = self._for(count or self.batch_size)
            values = bind(graph, feeds)
            # A constant is part of the compiled program. If another value is fed for it, plain evaluation is used.
            if any(leaf.kind == "constant" for leaf in values):
                return run(graph, feeds)
        results: list[Array] = []

        def use(arrays: list[Array]) -> None:
            # Where numbers are not finite, the operations' own rules say which of them are not.
            if all(map(all_finite, arrays)):
                for array in arrays:
                    results.append(np.empty(array.shape, array.dtype))
                    copy_samples(results[-1], array)

        try:
            compiled.run(values, use)
        except TinygraphError:
            # Plain evaluation decides: errors name the shapes of the batch, not of a tile, and the batch may be accepted where
            # a tile is refused.
            results.clear()
        return tuple(results) if results else run(graph, feeds)

    def profile(self, feeds: Mapping[Any, Any] | None = None, repeats: int = 20) -> Plan:
        """Run ``repeats`` times on feeds of the plan's own size and note the median time of each step.

        Raises ``FeedError`` as a call does, ``AttributeValueError`` for ``repeats`` below 1, and ``TinygraphError`` for numbers
        so large or small that a call leaves them to plain evaluation.

        >>> import tinygraph as tg
        >>> plan = tg.compile(tg.relu(tg.input("x", (2, 3))))
        >>> plan.profile({"x": np.ones((2, 3))}).schedule.steps[0].seconds > 0
        True
        """
        values = bind(self.graph, {} if feeds is None else feeds)
        self._seconds = self._own[1].profile(values, integer("repeats", repeats))
        return self

    def __reduce__(self) -> Any:
        raise TinygraphError("a plan holds memory and threads of this process; copy the model and compile again")
