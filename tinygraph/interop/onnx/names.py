"""What the values of a file are called in equations: by the module of a network that computes them, where a file says so."""

from __future__ import annotations

import itertools
import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tinygraph.graph.registry import OPERATIONS

# Where PyTorch's newer exporter writes the modules that a node lies in, and the names that its exporters invent.
_SCOPES = "pkg.torch.onnx.name_scopes"
_INVENTED = re.compile(r"(onnx::\w+|val|_v)_\d+|\d+")
_ROLES = {
    "BatchNormalization": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    **{f"{name}Normalization": {1: "weight", 2: "bias"} for name in ("Group", "Instance", "Layer")},
    "Add": {0: "bias", 1: "bias"},
    "Conv": {1: "weight", 2: "bias"},
    "ConvTranspose": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    **{name: {1: "W", 2: "R", 3: "B"} for name in ("GRU", "LSTM", "RNN")},
}


class Place(NamedTuple):
    """Where in a network a value is computed: the path of its module, and what it is there.

    >>> Place.of("/layer1/layer1.0/conv1/Conv")
    Place(module='layer1.0.conv1', what='Conv')
    """

    module: str
    what: str

    @classmethod
    def of(cls, path: str) -> Place:
        """Return the place that a path of modules names; one that begins with those before it stands for them too."""
        *parents, what = path.strip("/").split("/")
        kept = [a for a, b in itertools.pairwise([*parents, ""]) if not b.startswith(f"{a}.")]
        return cls(".".join(kept), what)


class Names:
    """Names for equations, each for one thing: those of the file with what Python's names cannot hold left out."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, name: str) -> str:
        """Return a name that is like ``name``, and none that has been given before.

        >>> names = Names()
        >>> names.new("/layer1/Conv_output_0"), names.new("layer1/Conv"), names.new("12"), names.new("relu")
        ('layer1_Conv', 'layer1_Conv_2', 't12', 'relu_1')
        """
        plain = re.sub(r"_output_0$", "", re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_"))
        plain = plain if plain and not plain[0].isdigit() else f"t{plain}"
        first = [plain] if plain not in OPERATIONS and not keyword.iskeyword(plain) else [f"{plain}_1"]
        numbered = itertools.chain(first, (f"{plain}_{i}" for i in itertools.count(2)))
        found = next(n for n in numbered if n not in self.taken and n not in OPERATIONS)
        self.taken.add(found)
        return found


class Labels:
    """What values are called, given the graph that they are from and the names of those that are recorded.

    A module with one value is called by its path, such as ``layer1.conv``; of several each has its operator behind that.
    """

    def __init__(self, graph: Any, recorded: Iterable[str]) -> None:
        self._outputs = {value.name for value in graph.output}
        self._places = {name: place for node in graph.node for name, place in _places(node)}
        self._counts = Counter(self._places[name].module for name in recorded if name in self._places)

    def of(self, name: str, inner: str = "") -> str:
        """Return what a value is called, or what is called ``inner`` in the node that computes it."""
        place = self._places.get(name)
        if place is None or (name in self._outputs and not inner):
            return f"{name}.{inner}" if inner else name
        if inner:
            return f"{place.module or place.what}.{inner}"
        return place.module if place.module and self._counts[place.module] == 1 else f"{place.module}.{place.what}"

    def of_weight(self, name: str, reader: Reader, copied: bool = False) -> str:
        """Return the name of a weight: its own, or after the node that reads it where an exporter invented it.

        That of a weight that is ``copied`` is another weight's.
        """
        place = self._places.get(reader.value)
        if not copied and (place is None or not _INVENTED.fullmatch(name)):
            return name
        module = reader.value if place is None else place.module
        return f"{module}.{_ROLES.get(reader.operator, {}).get(reader.place, 'weight')}"


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


def is_scoped(node: Any) -> bool:
    """Whether a node says in which modules it lies, as PyTorch's newer exporter does."""
    return any(entry.key == _SCOPES for entry in node.metadata_props)


def module_of(node: Any) -> str:
    """Return the path of the module that a node lies in, or nothing where the file does not say it."""
    return next((place.module for _, place in _places(node)), "")


def _places(node: Any) -> Iterable[tuple[str, Place]]:
    """Yield the results of a node with their places, where the file tells them."""
    metadata: Mapping[str, str] = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES in metadata:
        modules = re.findall(r"'([^']*)'", metadata[_SCOPES])
        for name in node.output:
            what = node.op_type if _INVENTED.fullmatch(name) else re.sub(r"_\d+$", "", name)
            yield name, Place(modules[-2] if len(modules) > 1 else "", what)
    elif "/" in node.name:
        place = Place.of(node.name)
        for number, name in enumerate(node.output, start=1):
            yield name, place if number == 1 else Place(place.module, f"{place.what}_{number}")
