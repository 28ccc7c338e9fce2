"""The names of a file's values in equations: by the module of a network that computes them, where the file names it."""

from __future__ import annotations

import itertools
import keyword
import re
from collections import Counter
from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from tinygraph.graph import OPERATIONS
from tinygraph.interop.onnx.operators import OPERATORS

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
        self._counts = Counter(self._places[name].module for name in recorded if name in self._places)

    def of(self, name: str, inner: str = "") -> str:
        """Return the label of a value, or of the value ``inner`` in the node that computes it."""
        place = self._places.get(name)
        if place is None or (name in self._outputs and not inner):
            return f"{name}.{inner}" if inner else name
        if inner:
            return f"{place.module or place.what}.{inner}"
        return place.module if place.module and self._counts[place.module] == 1 else f"{place.module}.{place.what}"

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
    """Whether a node names the modules that contain it, as PyTorch's newer exporter does."""
    return any(entry.key == _SCOPES for entry in node.metadata_props)


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
