"""The roles of a file's arrays: which are learned, which only mask or scale, and which are several parameters.

A file does not contain this: the nodes that read an array show its role. Arrays that an exporter merged, because they were
equal when an untrained network was written, are separated again: a scale of ones is not a variance of ones.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import listing
from tinygraph.graph import Array
from tinygraph.interop.onnx.names import is_invented, is_scoped, module_of
from tinygraph.interop.onnx.node import with_branches
from tinygraph.interop.onnx.operators import OPERATORS
from tinygraph.interop.onnx.tensors import PRODUCER

# Operators whose results are booleans, or only sizes: an array that only they read is not learned.
COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"})
_SIZES = frozenset({"Shape", "Size"})
# Operators that move elements of their first input.
_MOVES = frozenset(
    {"Cast", "CastLike", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile"}
    | {"Transpose", "Unsqueeze"}
)
_NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
# The most values between a node and the nearest weights before it.
_FAR = 200
# Smaller constants in places without weights are means of colours and the like.
_LARGE = 16
# Numbers that mask places of an attention are at most this.
_MASKING = -1e4


class Use(NamedTuple):
    """A reader of a value: its operator, the place of the value among its inputs, and the node.

    The outputs of the graph are a reader without operator, and a cast to booleans counts as a comparison.
    """

    op_type: str
    place: int
    node: Any = None


class Roles:
    """The uses of the values of a file's graph. ``arrays`` are the arrays that have been read, by name."""

    def __init__(self, model: Any) -> None:
        proto = model.graph
        self.arrays: dict[str, Array] = {}
        self._initializers = {tensor.name for tensor in proto.initializer}
        self._uses: dict[str, list[Use]] = defaultdict(list)
        self._makers: dict[str, Any] = {}
        for node in with_branches(proto.node):
            for place, name in enumerate(node.input):
                self._uses[name].append(Use(node.op_type, place, node))
            self._makers.update(dict.fromkeys(node.output, node))
        self._results = {value.name for value in proto.output}
        self._scoped = any(is_scoped(node) for node in proto.node)
        major = model.producer_version.split(".")[0]
        # What tinygraph writes is not merged; PyTorch's older exporter writes an Identity for each array that it merged.
        torch = model.producer_name == "pytorch" and major.isdigit() and int(major) >= 2 and not self._scoped
        self._identities = torch or model.producer_name == PRODUCER
        self._only_constants = not any(_is_real(tensor.data_type) and tensor.dims for tensor in proto.initializer)
        # The modules in which an operator reads a matrix: perhaps several layers that were equal, perhaps one.
        self._readers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        self._learned: dict[str, bool] = {}
        self._distinct: dict[str, bool] = {}

    def is_learned(self, name: str, array: Array, constant: bool = False) -> bool:
        """Whether an array is a weight; a ``constant`` is the value of a ``Constant`` node."""
        if self.arrays.get(name) is not array:
            self.arrays[name], self._learned[name] = array, self._learns(name, array, constant)
        return self._learned[name]

    def _learns(self, name: str, array: Array, constant: bool) -> bool:
        if array.dtype.kind != "f" or not array.ndim or not array.size or is_mask(array):
            return False
        constant_like = constant or re.fullmatch(r"val_\d+", name) is not None
        if array.size == 1 and constant_like:
            return False
        uses = list(self._final_uses(name))
        if uses and all(use.op_type in COMPARISONS | _SIZES for use in uses):
            return False
        plain = constant_like and is_uniform(array) and array.flat[0] in (0, 1)
        if plain and any(use.op_type in _NORMS for use in uses):
            # A norm without weights of its own is written with ones and zeros.
            return False
        by_place = any(_holds_weights(use) or self._is_bias(use) for use in uses)
        if not by_place and _is_pattern(array):
            return False
        if plain and constant:
            return by_place and self._only_constants
        return not constant or by_place or (bool(uses) and array.size >= _LARGE)

    def _final_uses(self, name: str) -> Iterator[Use]:
        """Yield the uses of a value, and those of its elements where they are only moved."""
        waiting, seen = [name], {name}
        while waiting:
            current = waiting.pop()
            if current in self._results:
                yield Use("", 0)
            for use in self._uses[current]:
                if use.op_type == "Cast" and not any(_is_real(attribute.i) for attribute in use.node.attribute):
                    yield Use("Equal", 0)
                    continue
                moved = use.op_type in _MOVES and use.place == 0
                if not moved or (use.op_type == "Gather" and not self._is_known(use.node.input[-1])):
                    yield use
                    continue
                fresh = [output for output in use.node.output if output not in seen]
                seen.update(fresh)
                waiting += fresh

    def _is_known(self, name: str) -> bool:
        return name in self._initializers or (name in self._makers and self._makers[name].op_type == "Constant")

    def _is_bias(self, use: Use) -> bool:
        """Whether a value is added to a product of matrices."""
        if use.op_type != "Add" or len(use.node.input) != 2:
            return False
        other = self._makers.get(use.node.input[1 - use.place])
        return other is not None and other.op_type in ("Conv", "Gemm", "MatMul")

    def splits(self, node: Any) -> bool:
        """Whether an ``Identity`` of a weight is another weight, which was equal when the file was written."""
        return self._identities and re.fullmatch(r"Identity_\d+", node.name) is not None

    def owner(self, name: str, array: Array, node: Any, place: int, state: bool) -> Any:
        """Return a key of the parameter that a node reads at a place: different keys are different parameters.

        The key of the first one is ``None``. Weights that are really shared, as by an embedding and a decoder, stay one:
        only vectors, and arrays of one repeated number, are equal by chance.
        """
        role = (node.op_type, place) if state else None
        uniform = is_uniform(array)
        if self._identities or not (uniform or max(array.shape) == array.size):
            self._readers[name, node.op_type, place].update([module_of(node)] if self._scoped else [])
            return role
        if self._scoped:
            module, path = module_of(node), name.rpartition(".")[0]
            own = not path or module == path or module.startswith(f"{path}.")
            return role if own else (module, node.op_type, place)
        return (node.op_type, place, self._nearest(node) or node.output[0]) if uniform else role

    @cached_property
    def transposed(self) -> dict[str, str]:
        """Matrices that an exporter computed as the transpose of another, as for a decoder that shares an embedding.

        They are known once all initializers are read.
        """
        matrices = [(name, array) for name, array in self.arrays.items() if self._learned[name] and array.ndim == 2]
        own = [(name, array.T) for name, array in matrices if not is_invented(name) and not is_uniform(array)]
        return {
            name: other
            for name, array in matrices
            if is_invented(name)
            for other, turned in own
            if array.shape == turned.shape and array[0, 0] == turned[0, 0] and np.array_equal(array, turned)
        }

    def doubt(self) -> str:
        """Return a warning about matrices that several layers share, which an exporter may have merged, or nothing."""
        shared = [(name, modules) for (name, *_), modules in self._readers.items() if len(modules) > 1]
        if not shared:
            return ""
        (name, modules), others = shared[0], len(shared) - 1
        more = f", and {others} more" if others else ""
        return (
            f"the matrix {name!r} is shared by {listing(sorted(modules))}{more}: training moves it for all of them; if they "
            "were only equal, as in a network of copied layers that was never trained, export it with optimize=False"
        )

    def _nearest(self, node: Any) -> frozenset[str]:
        """Return the names of the nearest weights before a node, or of its own, that hold more than one number."""
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
        if name not in self._distinct:
            array = self.arrays.get(name)
            real = array is not None and array.dtype.kind == "f" and array.size > 1
            self._distinct[name] = real and not is_uniform(self.arrays[name])
        return self._distinct[name]


def _holds_weights(use: Use) -> bool:
    return use.op_type in OPERATORS and use.place in OPERATORS[use.op_type].weights


def _is_real(kind: int) -> bool:
    """Whether ONNX's number of an element type is that of real numbers."""
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
    """Whether an array masks places of an attention: it holds infinity, or zeros and one very small number.

    >>> is_mask(np.array([0.0, -np.inf])), is_mask(np.array([0.0, -1e9])), is_mask(np.array([0.0, -1.0]))
    (True, True, False)
    """
    some = array if any(array.strides) else array.flat[:1]
    if np.isinf(some).any():
        return True
    least = some.min()
    return bool(least <= _MASKING) and bool(((some == 0) | (some == least)).all())
