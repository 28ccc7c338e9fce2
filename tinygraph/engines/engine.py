"""What an engine is: it compiles a graph for a size of batch, and runs it. Each engine has a package next to this file.

The plain evaluation ``tg.run`` is the meaning of a graph. An engine gives the same results for every dtype, shape, layout
and value, to rounding. What it cannot do, it says by raising a ``TinygraphError`` when it compiles or runs, or by a result
that is not finite; its caller then takes what ``tg.run`` gives, or the error that ``tg.run`` raises.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from tinygraph.graph import Array, Graph, Tensor

# The values of inputs, and of parameters and states where others than their own are to be used.
Values: TypeAlias = Mapping[Tensor, Array]


class CompiledGraph(Protocol):
    """A graph compiled for one size of batch."""

    def run(self, values: Values, use: Callable[[list[Array]], object]) -> None:
        """Compute the outputs for the values of leaves, and call ``use`` with them once.

        The arrays belong to the engine, which may write over them when ``use`` has returned.
        """


class Engine(Protocol):
    """Compiles a graph. ``samples`` are the inputs whose first axis is the batch, of ``count`` samples."""

    def __call__(self, graph: Graph, samples: Sequence[Tensor], count: int, threads: int) -> CompiledGraph: ...
