"""Reference evaluation: compute a graph node by node by the forwards of its operations."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinygraph.errors import DTypeError, FeedError, ShapeError, listing, nearest
from tinygraph.graph.apply import evaluate
from tinygraph.graph.arrays import Array, cast_array, numeric_array
from tinygraph.graph.graph import Graph
from tinygraph.graph.tensor import Tensor

Feeds = Mapping[Any, Any]
Watcher = Callable[[Tensor, Array], None]
Typed = tuple[Tensor, np.dtype[Any], tuple[int, ...]]


def run(
    graph: Graph | Tensor | Iterable[Tensor], feeds: Feeds | None = None, watch: Watcher | None = None
) -> tuple[Array, ...]:
    """Return the values of a graph's outputs, in their order, as new arrays.

    ``feeds`` gives values to leaves by name (or by tensor). Inputs must be fed; parameters and other leaves with a value
    may be. Arrays are cast to the leaf's dtype if their kind allows it (float64 to float32, integers to float).
    ``watch(node, value)`` is called with every value when it is computed. A value is dropped after its last use.
    Raises ``FeedError`` for a missing or unknown name, or a wrong shape or dtype.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2,))
    >>> run(tg.relu(x), {"x": [-1.0, 3.0]})
    (array([0., 3.], dtype=float32),)
    """
    graph = graph if isinstance(graph, Graph) else Graph(graph)
    given = bind(graph, {} if feeds is None else feeds)
    uses = Counter(x for node in graph.nodes for x in set(node.inputs))
    uses.update(graph.outputs)
    values: dict[Tensor, Any] = {}
    for node in graph.nodes:
        if node.op is None:
            values[node] = given.get(node, node._value)
        else:
            value = evaluate(node.op, [values[x] for x in node.inputs], node.shape, node.dtype)
            if value.__class__ is np.ndarray:
                value.flags.writeable = False
            values[node] = value
            for x in set(node.inputs):
                uses[x] -= 1
                if not uses[x]:
                    del values[x]
        if watch is not None:
            watch(node, values[node])
    return tuple(np.array(values[output]) for output in graph.outputs)


def bind(graph: Graph, feeds: Feeds) -> dict[Tensor, Array]:
    """Return the values of leaves that ``feeds`` gives, checked: there is one for every input."""
    require_feeds(feeds)
    if not feeds and all(node.op is not None or node.has_value for node in graph.nodes):
        # Finding the names of leaves takes long in a large graph, so do not.
        return {}
    leaves = graph.leaves
    known = set(leaves.values())
    bound: dict[Tensor, Array] = {}
    for key, value in feeds.items():
        leaf = _leaf_called(key, leaves)
        if leaf not in known:
            raise FeedError(f"{leaf.describe()} is not a leaf of the graph")
        if leaf in bound:
            raise FeedError(f"{leaf.describe()} was fed twice: by its name and as a tensor")
        bound[leaf] = _fitted(leaf, value)
    missing = [name for name, leaf in graph.inputs.items() if leaf not in bound and not leaf.has_value]
    if missing:
        raise FeedError(f"no value was fed for {listing(missing)}")
    return bound


def fitting(leaves: Iterable[Typed], arrays: Iterable[Any]) -> dict[Tensor, Array] | None:
    """Return the values of leaves if each is an array of the leaf's dtype and shape; else ``None``: ``bind`` casts or refuses.

    >>> import tinygraph as tg
    >>> x = tg.input("x", (2,))
    >>> len(fitting([typed(x)], [np.zeros(2, np.float32)])), fitting([typed(x)], [np.zeros(2)])
    (1, None)
    """
    values = {}
    for (leaf, dtype, shape), array in zip(leaves, arrays, strict=True):
        if array.__class__ is not np.ndarray or array.dtype != dtype or array.shape != shape:
            return None
        values[leaf] = array
    return values


def typed(leaf: Tensor) -> Typed:
    """Return a leaf with its dtype and shape, which are then found without asking for them."""
    return leaf, leaf.dtype, leaf.shape


def require_feeds(feeds: Any, names: Iterable[str] = ("x",)) -> None:
    """Raise ``FeedError`` for feeds that are not a mapping from ``names``."""
    if not isinstance(feeds, Mapping):
        example = ", ".join(f'"{name}": ...' for name in names)
        raise FeedError(f"feeds are values by name, such as {{{example}}}; found {type(feeds).__name__}")


def _leaf_called(key: Any, leaves: Mapping[str, Tensor]) -> Tensor:
    if isinstance(key, Tensor):
        return key
    if isinstance(key, str) and key in leaves:
        return leaves[key]
    if not isinstance(key, str):
        raise FeedError(f"leaves are fed by name or by tensor; found {key!r}")
    names = [name for name, tensor in leaves.items() if tensor.kind != "constant"]
    raise FeedError(f"the graph has no leaf called {key!r}{nearest(key, names)} (it has {listing(names)})")


def _fitted(leaf: Tensor, value: Any) -> Array:
    try:
        array = cast_array(numeric_array(value, f"feed for {leaf.describe()}"), leaf.dtype, leaf.describe())
    except (DTypeError, ShapeError) as error:
        raise FeedError(str(error)) from None
    if array.shape != leaf.shape:
        raise FeedError(f"{leaf.describe()} was fed shape {array.shape}")
    array = array.view()
    array.flags.writeable = False
    return array
