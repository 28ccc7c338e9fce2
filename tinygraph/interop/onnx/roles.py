"""What the arrays of a file are for: which are learned, which only hide or scale, and which stand for several parameters.

A file does not say it: which nodes read an array shows its role. Arrays that an exporter merged, because they were equal
when an untrained network was written, are separated again: a scale of ones is not a variance of ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import listing
from tinygraph.graph.arrays import Array
from tinygraph.interop.onnx.names import is_invented, is_scoped, module_of
from tinygraph.interop.onnx.writer import PRODUCER

# Operators whose results are true or false, or only sizes: what reads an array so learns nothing from data.
TRUTHS = frozenset({"Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"})
_SIZES = frozenset({"Shape", "Size"})
# Operators that move elements of their first input.
_MOVES = frozenset(
    {"Cast", "CastLike", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile"}
    | {"Transpose", "Unsqueeze"}
)
_NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
# The places of inputs that hold weights in networks.
_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (1, 2, 3)),
    **dict.fromkeys(_NORMS, (1, 2)),
}
# No weights are nearest before a node that is further away than so many values.
_FAR = 200
# Smaller constants in places without weights are means of colours and the like.
_LARGE = 16
# Numbers that are added to hide places from an attention are as small as this.
_HIDING = -1e4


class Use(NamedTuple):
    """A node that reads a value, and the place of the value among its inputs."""

    node: Any
    place: int


class Roles:
    """The uses of the values of a file's graph. ``arrays`` are those of its arrays that have been read, by name."""

    def __init__(self, model: Any) -> None:
        proto = model.graph
        self.arrays: dict[str, Array] = {}
        self._initializers = {tensor.name for tensor in proto.initializer}
        self._uses: dict[str, list[Use]] = defaultdict(list)
        self._makers: dict[str, Any] = {}
        for node in _every(proto.node):
            for place, name in enumerate(node.input):
                self._uses[name].append(Use(node, place))
            self._makers.update(dict.fromkeys(node.output, node))
        self._results = {value.name for value in proto.output}
        self._scoped = any(is_scoped(node) for node in proto.node)
        major = model.producer_version.split(".")[0]
        # What tinygraph writes is not merged; PyTorch's older exporter gives an Identity to each array that it merged.
        torch = model.producer_name == "pytorch" and major.isdigit() and int(major) >= 2 and not self._scoped
        self._identities = torch or model.producer_name == PRODUCER
        self._only_constants = not any(is_real(tensor.data_type) and tensor.dims for tensor in proto.initializer)
        # The modules that a matrix is read in by one operator: perhaps several layers that were equal, perhaps one.
        self._readers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        self._learned: dict[str, bool] = {}
        self._uniform: dict[str, bool] = {}

    def is_learned(self, name: str, array: Array, constant: bool = False) -> bool:
        """Whether an array is a weight; ``constant`` is one that a ``Constant`` node holds."""
        if self.arrays.get(name) is not array:
            self.arrays[name], self._learned[name] = array, self._learns(name, array, constant)
        return self._learned[name]

    def _learns(self, name: str, array: Array, constant: bool) -> bool:
        if array.dtype.kind != "f" or not array.ndim or not array.size or is_mask(array):
            return False
        invented = re.fullmatch(r"val_\d+", name) is not None
        if array.size == 1 and (constant or invented):
            return False
        uses = list(self._ends(name))
        if uses and all(use.node.op_type in TRUTHS | _SIZES for use in uses):
            return False
        plain = (constant or invented) and is_uniform(array) and array.flat[0] in (0, 1)
        if plain and any(use.node.op_type in _NORMS for use in uses):
            # A norm without weights of its own is written with ones and zeros.
            return False
        by_place = any(use.place in _WEIGHTS.get(use.node.op_type, ()) or self._is_bias(use) for use in uses)
        if not by_place and _is_pattern(array):
            return False
        if not constant:
            return True
        if plain:
            return by_place and self._only_constants
        return by_place or (bool(uses) and array.size >= _LARGE)

    def _ends(self, name: str) -> Iterator[Use]:
        """Yield the uses of a value, with those of its elements where they are only moved."""
        waiting, seen = [name], {name}
        while waiting:
            current = waiting.pop()
            if current in self._results:
                yield Use(_Reader(), 0)
            for use in self._uses[current]:
                if use.node.op_type == "Cast" and not any(is_real(attribute.i) for attribute in use.node.attribute):
                    yield Use(_Reader("Equal"), 0)
                    continue
                moved = use.node.op_type in _MOVES and use.place == 0
                if not moved or (use.node.op_type == "Gather" and not self._is_known(use.node.input[-1])):
                    yield use
                    continue
                fresh = [output for output in use.node.output if output not in seen]
                seen.update(fresh)
                waiting += fresh

    def _is_known(self, name: str) -> bool:
        return name in self._initializers or (name in self._makers and self._makers[name].op_type == "Constant")

    def _is_bias(self, use: Use) -> bool:
        """Whether a value is added to a product of matrices."""
        if use.node.op_type != "Add" or len(use.node.input) != 2:
            return False
        other = self._makers.get(use.node.input[1 - use.place])
        return other is not None and other.op_type in ("Conv", "Gemm", "MatMul")

    def splits(self, node: Any) -> bool:
        """Whether an ``Identity`` of a weight is another weight, which was equal when the file was written."""
        return self._identities and re.fullmatch(r"Identity_\d+", node.name) is not None

    def owner(self, name: str, array: Array, node: Any, place: int, state: bool) -> Any:
        """Return what the parameter is known by that a node reads at a place: two that differ are two parameters.

        ``None`` is the first one. Weights that are really shared, as that of an embedding and a decoder, stay one:
        only vectors, and arrays of one repeated number, are equal without being the same.
        """
        role = (node.op_type, place) if state else None
        uniform = is_uniform(array)
        vector = uniform or max(array.shape) == array.size
        if self._identities or not vector:
            self._readers[name, node.op_type, place].update([module_of(node)] if self._scoped else [])
            return role
        if self._scoped:
            module, path = module_of(node), name.rpartition(".")[0]
            own = not path or module == path or module.startswith(f"{path}.")
            return role if own else (module, node.op_type, place)
        if not uniform:
            return role
        return node.op_type, place, self._nearest(node) or node.output[0]

    @cached_property
    def transposed(self) -> dict[str, str]:
        """Matrices that an exporter computed as the transpose of another, as of the embedding that a decoder shares.

        They are known once all initializers are read.
        """
        matrices = [(name, array) for name, array in self.arrays.items() if self._learned[name] and array.ndim == 2]
        own: dict[Any, list[tuple[str, Array]]] = defaultdict(list)
        for name, array in matrices:
            if not is_invented(name) and not is_uniform(array):
                own[array.shape[::-1]].append((name, array.T))
        return {
            name: other
            for name, array in matrices
            if is_invented(name)
            for other, turned in own[array.shape]
            if array[0, 0] == turned[0, 0] and np.array_equal(array, turned)
        }

    def doubt(self) -> str:
        """Return a warning about matrices that several layers share, which an exporter may have merged, or nothing."""
        shared = [(name, modules) for (name, *_), modules in self._readers.items() if len(modules) > 1]
        if not shared:
            return ""
        (name, modules), others = shared[0], len(shared) - 1
        more = f", and {others} more" if others else ""
        return (
            f"the matrix {name!r} is one for {listing(sorted(modules))}{more}: training moves it for all of them; if they "
            "were only equal, as in a network of copied layers that was never trained, export it with optimize=False"
        )

    def _nearest(self, node: Any) -> frozenset[str]:
        """Return the names of the nearest weights before a node, or of its own, that do not hold one number only."""
        level: list[Any] = [node]
        seen: set[str] = set()
        while level and len(seen) < _FAR:
            names = {name for one in level for name in one.input if name}
            found = frozenset(name for name in names if self._is_distinct(name))
            if found:
                return found
            seen |= names
            makers = [self._makers[name] for name in names if name in self._makers]
            level = [maker for maker in makers if not seen.issuperset(maker.input)]
        return frozenset()

    def _is_distinct(self, name: str) -> bool:
        if name not in self._uniform:
            array = self.arrays.get(name)
            self._uniform[name] = array is None or array.dtype.kind != "f" or array.size < 2 or is_uniform(array)
        return not self._uniform[name]


class _Reader(NamedTuple):
    """A reader of a value that is not a node: the outputs of the graph, or a cast to booleans, which counts as a comparison."""

    op_type: str = ""


def _every(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes with those of their branches."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting.extend(attribute.g.node)


def is_real(kind: int) -> bool:
    """Whether ONNX's number of an element type is that of real numbers.

    >>> is_real(1), is_real(7)
    (True, False)
    """
    return kind in (1, 10, 11)


def is_uniform(array: Array) -> bool:
    """Whether all elements of an array are equal.

    >>> is_uniform(np.ones(3)), is_uniform(np.arange(3))
    (True, False)
    """
    if not array.size:
        return False
    first = array.flat[0]
    return not any(array.strides) or bool(array.flat[-1] == first and (array == first).all())


def _is_pattern(array: Array) -> bool:
    """Whether an array of several axes holds zeros and ones, as a mask of places does."""
    if array.ndim < 2 or is_uniform(array) or array.flat[0] not in (0, 1) or array.flat[-1] not in (0, 1):
        return False
    return bool(((array == 0) | (array == 1)).all())


def is_mask(array: Array) -> bool:
    """Whether an array hides places from an attention: it holds infinity, or zeros and one very small number.

    >>> is_mask(np.array([0.0, -np.inf])), is_mask(np.array([0.0, -1e9])), is_mask(np.array([0.0, -1.0]))
    (True, True, False)
    """
    if array.dtype.kind != "f" or not array.size:
        return False
    some = array if any(array.strides) else array.flat[:1]
    if np.isinf(some).any():
        return True
    least = some.min()
    return bool(least <= _HIDING) and bool(((some == 0) | (some == least)).all())
