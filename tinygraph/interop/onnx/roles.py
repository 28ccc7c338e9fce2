"""The roles of a file's arrays, and the names of its values in equations.

A file does not say which arrays are learned, which only mask or scale, and which are several parameters: the nodes that read
an array show it. Arrays that an exporter merged, because they were equal when an untrained network was written, are
separated again: a scale of ones is not a variance of ones. Values are named by the module of a network that computes
them, where the file names it.
"""

from __future__ import annotations

import itertools
import keyword
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import listing
from tinygraph.graph import OPERATIONS, Array
from tinygraph.interop.onnx.node import with_branches
from tinygraph.interop.onnx.operators import OPERATORS
from tinygraph.interop.onnx.tensors import PRODUCER

# Operators whose results are booleans, or only sizes: an array that only they read is not learned.
COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"})
_SIZES = {"Shape", "Size"}
# Operators that move elements of their first input.
_MOVES = {"Cast", "CastLike", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
_MOVES |= {"Tile", "Transpose", "Unsqueeze"}
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
        self._constants = {tensor.name for tensor in proto.initializer}
        self._uses: dict[str, list[Use]] = defaultdict(list)
        self._makers: dict[str, Any] = {}
        for node in with_branches(proto.node):
            for place, name in enumerate(node.input):
                self._uses[name].append(Use(node.op_type, place, node))
            self._makers.update(dict.fromkeys(node.output, node))
            self._constants.update(node.output if node.op_type == "Constant" else ())
        self._results = {value.name for value in proto.output}
        # Whether nodes name the modules that contain them, as PyTorch's newer exporter writes them.
        self._scoped = any(entry.key == _SCOPES for node in proto.node for entry in node.metadata_props)
        major = model.producer_version.split(".")[0]
        # What tinygraph writes is not merged; PyTorch's older exporter writes an Identity for each array that it merged.
        torch = model.producer_name == "pytorch" and major.isdigit() and int(major) >= 2 and not self._scoped
        self._identities = torch or model.producer_name == PRODUCER
        self._only_constants = not any(_is_real(tensor.data_type) and tensor.dims for tensor in proto.initializer)
        # The modules in which an operator reads a matrix: perhaps several layers that were equal, perhaps one.
        self._readers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        self._learned: dict[str, bool] = {}

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
                if not moved or (use.op_type == "Gather" and use.node.input[-1] not in self._constants):
                    yield use
                    continue
                fresh = [output for output in use.node.output if output not in seen]
                seen.update(fresh)
                waiting += fresh

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
        invented = [(name, array) for name, array in matrices if is_invented(name)]
        return {
            name: other
            for (name, array), (other, turned) in itertools.product(invented, own)
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
            arrays = {name: self.arrays[name] for name in names & self.arrays.keys()}
            found = {name for name, x in arrays.items() if x.dtype.kind == "f" and x.size > 1 and not is_uniform(x)}
            if found:
                return frozenset(found)
            seen |= names
            makers = [self._makers[name] for name in names if name in self._makers]
            level = [maker for maker in makers if not seen.issuperset(maker.input)]
        return frozenset()


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
    ends = array.flat[[0, -1]]
    return array.ndim > 1 and set(ends) <= {0, 1} and not is_uniform(array) and bool(np.isin(array, (0, 1)).all())


def is_mask(array: Array) -> bool:
    """Whether an array masks places of an attention: it holds infinity, or zeros and one very small number.

    >>> is_mask(np.array([0.0, -np.inf])), is_mask(np.array([0.0, -1e9])), is_mask(np.array([0.0, -1.0]))
    (True, True, False)
    """
    some = array if any(array.strides) else array.flat[:1]
    least = some.min()
    return bool(np.isinf(some).any() or (least <= _MASKING and np.isin(some, (0, least)).all()))


# Where PyTorch's newer exporter writes the modules that contain a node, and the names that its exporters invent.
_SCOPES = "pkg.torch.onnx.name_scopes"
_INVENTED = re.compile(r"(onnx::\w+|val|_v)_\d+|\d+")


class Place(NamedTuple):
    """The place of a value in a network: the path of its module, and the name that it has there.

    >>> Place.of("/layer1/layer1.0/conv1/Conv")
    Place(module='layer1.0.conv1', what='Conv')
    """

    module: str
    what: str

    @classmethod
    def of(cls, path: str) -> Place:
        """Return the place for a path of modules; a module whose name is the beginning of the next one is left out."""
        *parents, what = path.strip("/").split("/")
        kept = [a for a, b in itertools.pairwise([*parents, ""]) if not b.startswith(f"{a}.")]
        return cls(".".join(kept), what)


class Names:
    """Unique names for equations: those of the file, without the characters that Python's names cannot have."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, name: str) -> str:
        """Return a name like ``name`` that has not been given before.

        >>> names = Names()
        >>> names.new("/layer1/Conv_output_0"), names.new("layer1/Conv"), names.new("12"), names.new("relu")
        ('layer1_Conv', 'layer1_Conv_2', 't12', 'relu_1')
        """
        plain = re.sub(r"_output_0$", "", re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_"))
        plain = plain if plain and not plain[0].isdigit() else f"t{plain}"
        first = plain if plain not in OPERATIONS and not keyword.iskeyword(plain) else f"{plain}_1"
        return unused(plain, self.taken, OPERATIONS, first=first)


def unused(name: str, taken: set[str], also: Container[str] = (), first: str = "") -> str:
    """Return ``first``, which is ``name`` by default, or ``name`` with a number, and add it to the names that are taken."""
    numbered = itertools.chain([first or name], (f"{name}_{i}" for i in itertools.count(2)))
    found = next(each for each in numbered if each not in taken and each not in also)
    taken.add(found)
    return found


class Labels:
    """The labels of values, given the graph of the file and the names of its values that are recorded.

    A module with one value labels it with its path, such as ``layer1.conv``; a module with several adds their operators.
    """

    def __init__(self, graph: Any, recorded: Iterable[str]) -> None:
        self._outputs = {value.name for value in graph.output}
        self._places = {name: place for node in graph.node for name, place in _places(node)}
        modules = {place.module for place in self._places.values()}
        self._around = {path for module in modules for path in _around(module)}
        self._counts = Counter(self._places[name].module for name in recorded if name in self._places)

    def of(self, name: str, inner: str = "") -> str:
        """Return the label of a value, or of the value ``inner`` in the node that computes it."""
        place = self._places.get(name)
        if place is None or (name in self._outputs and not inner):
            return f"{name}.{inner}" if inner else name
        if inner:
            return f"{place.module or place.what}.{inner}"
        return place.module if place.module and self._counts[place.module] == 1 else f"{place.module}.{place.what}"

    def module(self, name: str) -> str:
        """Return the module that contains a value; of one that is this value and nothing else, the one around it."""
        module = self._places[name].module if name in self._places else ""
        return module if self._counts[module] != 1 or module in self._around else module.rpartition(".")[0]

    def of_weight(self, name: str, reader: Reader, copied: bool = False) -> str:
        """Return the label of a weight: its name, or one from the node that reads it where the name is not its own.

        The name is that of another weight if it is ``copied``, or invented by an exporter.
        """
        place = self._places.get(reader.value)
        if not copied and (place is None or not is_invented(name)):
            return name
        module = reader.value if place is None else place.module
        # What a node adds is a bias.
        own = OPERATORS[reader.operator].weights.get(reader.place, "bias" if reader.operator == "Add" else "weight")
        return f"{module}.{own}"


def _around(module: str) -> Iterator[str]:
    """Yield the modules around a module, the nearest first."""
    while module := module.rpartition(".")[0]:
        yield module


class Reader(NamedTuple):
    """The node that reads a weight first: its result, its operator, and the place of the weight among its inputs."""

    value: str
    operator: str
    place: int


def is_invented(name: str) -> bool:
    """Whether a name is one that PyTorch's exporters invent where there is none.

    >>> is_invented("onnx::MatMul_12"), is_invented("val_7"), is_invented("fc.weight")
    (True, True, False)
    """
    return _INVENTED.fullmatch(name) is not None


def module_of(node: Any) -> str:
    """Return the path of the module that contains a node, or nothing where the file does not name it."""
    return next((place.module for _, place in _places(node)), "")


def _places(node: Any) -> Iterable[tuple[str, Place]]:
    """Yield the results of a node with their places, where the file contains them."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    if scopes is not None:
        modules = re.findall(r"'([^']*)'", scopes)
        for name in node.output:
            what = node.op_type if is_invented(name) else re.sub(r"_\d+$", "", name)
            yield name, Place(modules[-2] if len(modules) > 1 else "", what)
    elif "/" in node.name:
        place = Place.of(node.name)
        for number, name in enumerate(node.output, start=1):
            yield name, place if number == 1 else Place(place.module, f"{place.what}_{number}")
