"""A graph as one function of JAX: each operation by its entry in the table, or by its own ``forward``, traced.

An operation that cannot be traced is called back: its NumPy ``forward`` runs on the host.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from tinygraph.engines.plan.node import Node, is_own
from tinygraph.engines.plan.tiles import tiling_of
from tinygraph.engines.xla.array import Traced, Untraceable, explored, lowering, positions_checked, traced
from tinygraph.engines.xla.table import TABLE, TRANSPOSED
from tinygraph.graph import Each, Op, Tiling, topological
from tinygraph.graph.apply import evaluate

# The operations of which it was said that they run on the host.
_said: set[str] = set()


class Lowering:
    """One trace of a graph for ``count`` samples, whose leaves ``samples`` hold them along their first axis.

    ``mesh`` are the devices that share the samples, if any do. ``on_host`` lists the operations that run on the host.
    """

    def __init__(self, outputs: Sequence[Node], samples: Sequence[Any], count: int, mesh: Any = None) -> None:
        self.outputs, self.mesh, self.on_host = outputs, mesh, dict[str, str]()
        self._axes, self._count, self._checks = dict.fromkeys(samples, 0), count, list[Any]()

    def __call__(self, values: Mapping[Any, Any]) -> tuple[list[Any], Any]:
        """Return the outputs for the values of leaves, and whether every check of values holds."""
        self._checks, found, states = [], dict[Node, Any](), dict[Node, Tiling]()
        with lowering(self._called):
            for node in topological(self.outputs):
                if node.op is None:
                    found[node] = node.value if node.leaf is None else values[node.leaf]
                else:
                    found[node] = self._node(node, [found[x] for x in node.inputs], states)
                if all(x in states for x in node.inputs):
                    tiling = tiling_of(node, states, self._axes, self._count)
                    if tiling is not None:
                        states[node] = tiling
        return [jnp.asarray(found[node]) for node in self.outputs], jnp.all(
            jnp.stack([jnp.asarray(True), *self._checks])
        )

    def _node(self, node: Node, inputs: Sequence[Any], states: Mapping[Node, Tiling]) -> Any:
        op, before = node.op, len(self._checks)
        assert op is not None
        try:
            y = self._lowered(op, inputs)
            if y.shape == node.shape:
                return y.astype(node.dtype)
            why = f"returned shape {y.shape}"
        except Untraceable as error:
            why = str(error)
        del self._checks[before:]
        name = getattr(op, "of", op).name
        self.on_host[name] = why
        if name not in _said:
            _said.add(name)
            warnings.warn(f"{name!r} runs on the host: {why}", stacklevel=2)
        y, accepted = self._called_back(node, inputs, states)
        self._checks.append(jnp.all(accepted))
        return y

    def _lowered(self, op: Op, inputs: Sequence[Any]) -> Any:
        """Return an operation's result on arrays of JAX, or raise ``Untraceable``."""
        if op.has_check:
            self._explored(lambda: op.check(*map(traced, inputs)))
        classes = type(op).__mro__
        entry = next((TABLE[cls] for cls in classes if cls in TABLE), None)
        place = next((TRANSPOSED[cls] for cls in classes if cls in TRANSPOSED), None)
        if entry is not None:
            return entry(op, *map(jnp.asarray, inputs))
        if place is not None and inputs[place].dtype.kind == "f":
            return self._transposed(op, place, inputs)
        with positions_checked(is_own(getattr(op, "of", op))):
            try:
                return self._explored(lambda: op.forward(*map(traced, inputs)))
            except Untraceable:
                # Some functions of NumPy's look at one argument alone, as np.take does, and that may be a constant.
                given = [jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
                return self._explored(lambda: op.forward(*map(traced, given)))

    def _explored(self, f: Callable[[], Any]) -> Any:
        y, accepted = explored(f)
        self._checks += accepted
        return y

    def _transposed(self, op: Op, place: int, inputs: Sequence[Any]) -> Any:
        """Return the result of an operation that is linear in one input: the transpose of its own gradient rule."""
        shape, dtype = op.shape(*inputs), jnp.result_type(op.result_dtype(*inputs), inputs[place].dtype)
        dtype = np.dtype(np.float32) if dtype == jnp.float16 else dtype

        def rule(dy: Any) -> Any:
            given = [*map(traced, (dy, *inputs))]
            gradient = op.vjp(given[0], given[0], *given[1:])
            gradient = gradient[place] if isinstance(gradient, tuple) else gradient
            return (gradient() if callable(gradient) else gradient).value.astype(dtype)

        transpose = jax.linear_transpose(rule, jax.ShapeDtypeStruct(shape, dtype))
        return transpose(jnp.asarray(inputs[place], dtype))[0]

    def _called(self, op: Op, inputs: Sequence[Any]) -> Traced:
        """Return the result of an operation that is called in the forward or the rule of another."""
        scalars = (bool, int, float, complex)
        given = [
            x if isinstance(x, Traced) or (op.elementwise and isinstance(x, scalars)) else np.asarray(x) for x in inputs
        ]
        y = self._lowered(op, [x.value if isinstance(x, Traced) else x for x in given])
        return Traced(y.astype(op.result_dtype(*given)) if op.has_shape_rule else y)

    def _called_back(self, node: Node, inputs: Sequence[Any], states: Mapping[Node, Tiling]) -> Any:
        """Return what the plain ``forward`` computes on the host, and whether it accepts its inputs.

        Where each sample is computed alone, every device's samples are computed by themselves.
        """
        tiling = tiling_of(node, states, self._axes, self._count) if all(x in states for x in node.inputs) else None
        whole = PartitionSpec()
        if self.mesh is None or tiling is None or not isinstance(tiling.state, Each):
            return partial(_host, node.op, node.shape, node.dtype)(*inputs)
        share = self._count // self.mesh.shape["batch"]
        op = node.op if tiling.for_tile is None else tiling.for_tile(share)
        axis = tiling.state.axis
        shape = (*node.shape[:axis], share, *node.shape[axis + 1 :])
        specs = []
        for place, x in enumerate(node.inputs):
            state = states[x].state
            along = state.axis if isinstance(state, Each) else 0 if place in tiling.sliced else None
            specs.append(whole if along is None else PartitionSpec(*[None] * along, "batch"))
        outs = PartitionSpec(*[None] * axis, "batch"), PartitionSpec("batch")
        call = partial(_host, op, shape, node.dtype)
        return jax.shard_map(call, mesh=self.mesh, in_specs=tuple(specs), out_specs=outs, check_vma=False)(*inputs)


def _host(op: Any, shape: Any, dtype: Any, *inputs: Any) -> Any:
    """Return what the plain ``forward`` computes, and whether it accepts its inputs.

    Numbers travel as bytes: a thread of JAX's own has no numbers of 64 bits, and would round them.
    """
    kinds = [(x.dtype, x.shape) for x in inputs]

    def call(*parts: Any) -> tuple[Any, Any]:
        arrays = [
            np.frombuffer(np.asarray(x).tobytes(), kind[0]).reshape(kind[1])
            for x, kind in zip(parts, kinds, strict=True)
        ]
        y = np.zeros(shape, dtype)
        try:
            with np.errstate(all="ignore"):
                y[...] = evaluate(op, arrays, shape, dtype)
        except Exception:
            # Plain evaluation of the batch raises it again.
            return _bytes_of(y), np.zeros(1, np.uint8)
        return _bytes_of(y), np.ones(1, np.uint8)

    made = [jax.ShapeDtypeStruct(size, np.uint8) for size in (_bytes_of(np.zeros(shape, dtype)).shape, (1,))]
    y, accepted = jax.pure_callback(call, tuple(made), *map(_as_bytes, inputs))
    y = y.astype(bool) if dtype.kind == "b" else jax.lax.bitcast_convert_type(y, dtype)
    return y.reshape(shape), accepted == 1


def _bytes_of(y: Any) -> Any:
    return y.view(np.uint8) if y.itemsize == 1 else y.reshape(*y.shape, 1).view(np.uint8)


def _as_bytes(x: Any) -> Any:
    return x.astype(np.uint8) if x.dtype.kind == "b" else jax.lax.bitcast_convert_type(jnp.asarray(x), np.uint8)
