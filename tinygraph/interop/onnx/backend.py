"""ONNX's own interface of a backend, so that its official tests, and programs that know it, can run tinygraph."""

from typing import Any

import numpy as np
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep

from tinygraph.errors import OnnxError, listing
from tinygraph.graph import Array, Graph, Tensor, run
from tinygraph.interop.onnx.importer import Importer, UnknownInputError, check_known, nodes_of
from tinygraph.interop.onnx.inner import definition
from tinygraph.interop.onnx.operators import OPERATORS
from tinygraph.interop.onnx.read import File, checked


class Prepared(BackendRep):
    """A model ready to run. Recorded once for each set of shapes, or for each run where it needs values of inputs."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.output_names = [output.name for output in file.proto.graph.output]
        self.nodes = nodes_of(file, self.output_names)
        # The inputs whose values are needed to record the graph, such as a shape, as far as is known.
        self.needed: set[str] = set()
        self._recorded: dict[Any, tuple[Importer, dict[str, Tensor]]] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return the outputs for inputs, given as a list in their order, a mapping, or one array."""
        arrays = self._arrays(inputs)
        imported, leaves = self._imported(arrays)
        feeds: dict[Any, Array] = {leaf: arrays[name] for name, leaf in leaves.items()}
        feeds |= {weight.tensor: weight.array for weight in imported.weights.values()}
        outputs = list(imported.outputs.values())
        tensors = list(dict.fromkeys(x for x in outputs if isinstance(x, Tensor)))
        graph = Graph(tensors)
        known = set(graph.nodes)
        with np.errstate(all="ignore"):
            values = run(graph, {leaf: array for leaf, array in feeds.items() if leaf in known}) if tensors else ()
        found = dict(zip(tensors, values, strict=True))
        return tuple(found[x] if isinstance(x, Tensor) else np.array(x) for x in outputs)

    def _arrays(self, inputs: Any) -> dict[str, Array]:
        names = self.file.inputs
        if not isinstance(inputs, dict):
            listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            if len(listed) > len(names):
                self.file.fail(f"it takes {listing(names)}; found {len(listed)} inputs")
            inputs = dict(zip(names, listed, strict=False))
        missing = [name for name in names if name not in inputs]
        if missing:
            self.file.fail(f"no value is given for {listing(missing)}")
        for name, value in inputs.items():
            if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "biufc":
                self.file.fail(f"input {name!r} is not an array of numbers of NumPy")
        return {name: np.asarray(inputs[name]) for name in names}

    def _imported(self, arrays: dict[str, Array]) -> tuple[Importer, dict[str, Tensor]]:
        key = tuple((array.shape, array.dtype) for array in arrays.values())
        if not self.needed and key in self._recorded:
            return self._recorded[key]
        data = {name: array for name, array in arrays.items() if name not in self.needed}
        leaves = {name: Tensor("input", None, (), None, x.shape, x.dtype, name) for name, x in data.items()}
        try:
            imported = Importer(self.file, {**arrays, **leaves}).record(self.output_names, self.nodes)
        except UnknownInputError as error:
            if error.inputs <= self.needed:
                raise
            self.needed |= error.inputs
            return self._imported(arrays)
        self._recorded = {key: (imported, leaves)}
        return imported, leaves


class Backend(OnnxBackend):
    """tinygraph as a backend of ONNX: ``Backend.run_model(model, inputs)``, ``Backend.prepare(model).run(inputs)``.

    A model with an operator that is not in the table is an ``OnnxError`` when it is prepared.
    """

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of a model is in the table."""
        try:
            cls.prepare(model, device)
        except OnnxError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """Return a model ready to run. Raises ``OnnxError``."""
        file = checked(model, model.graph.name or "model")
        for value in file.proto.graph.output:
            file.dtype_of(value)
        types: dict[str, Tensor | None] = {"": None}
        for name, value in file.inputs.items():
            shape = tuple(max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim)
            types[name] = Tensor("input", None, (), None, shape, file.dtype_of(value), name)
        prepared = Prepared(file)
        for node in prepared.nodes:
            if node.op_type not in OPERATORS and types.keys() >= set(node.inputs):
                check_known(definition(node, [types[name] for name in node.inputs], ""))
        return prepared

    @classmethod
    def run_node(cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any) -> Any:
        """Return the outputs of one node, in the newest operator set or in ``opset_version``."""
        from onnx import defs, helper

        arrays = [np.asarray(value) for value in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
        named = [name for name in node.input if name]
        types = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
        declared = [helper.make_tensor_value_info(*x) for x in zip(named, types, map(np.shape, arrays), strict=True)]
        results = [helper.make_tensor_value_info(name, 1, None) for name in node.output if name]
        graph = helper.make_graph([node], node.op_type, declared, results)
        version = kwargs.get("opset_version", defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is such a device: the CPU."""
        return device.partition(":")[0] == "CPU"
