"""ONNX's layers: normalizations, and recurrent networks.

The latter are written out: a step for each element of the sequence, with the same weights in all of them.
"""

from typing import Any

import numpy as np

from tinygraph.interop.onnx.node import MOST_STEPS, Node, Rule, is_constant, operator, ops

_ACTIVATIONS = {name: getattr(ops, name.lower()) for name in ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")}
# The activations of each network by default, and how many gates it has.
_NETWORKS = {"GRU": (("Sigmoid", "Tanh"), 3), "LSTM": (("Sigmoid", "Tanh", "Tanh"), 4), "RNN": (("Tanh",), 1)}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


class Layer:
    """A recurrent layer in one direction, number ``place``; ``prefix`` begins the names of its results.

    ``x`` is the contribution of the inputs to the gates, for all steps, and ``bias`` that which is added to the
    contribution of the state, if not ``None``. Rows of the state are multiplied by ``r``, whose last part, ``r_new``, is
    for the new value of a GRU.
    """

    def __init__(self, node: Node, prefix: str, place: int, x, w, r, b, p, activations: tuple[Rule, ...]) -> None:
        self.node, self.prefix, self.activations, self.bias = node, prefix, activations, None
        share, rows = ops.matmul(x, ops.transpose(ops.getitem(w, place))), ops.transpose(ops.getitem(r, place))
        if b is not None:
            parts = slice(None, w.shape[1]), slice(w.shape[1], None)
            of_input, self.bias = (ops.getitem(b, (place, part)) for part in parts)
            if node.op_type != "GRU":
                # In a GRU they may be used apart.
                of_input, self.bias = ops.add(of_input, self.bias), None
            share = ops.add(share, of_input)
        self.x, self.r = node.label(share, f"{prefix}x"), node.label(rows, f"{prefix}RT")
        if node.op_type == "GRU":
            self.r_new = ops.getitem(rows, (slice(None), slice(2 * rows.shape[0], None)))
        self.peepholes = _parts(None if p is None else ops.getitem(p, place), 3)

    def of_state(self, h):
        """Return the contribution of the state to all gates; before the first step there is none."""
        return _plus(None if h is None else ops.matmul(h, self.r), self.bias)

    def label(self, x, letter: str, t: int):
        """Give a result of a step a name, with the number of the step counted from 1."""
        return self.node.label(x, f"{self.prefix}{letter}{t + 1}")

    def activation(self, which: int, x):
        """Return an activation of ``x``, clipped before where the file has a limit."""
        clip = self.node.read("clip", 0.0)
        return self.activations[which](ops.clip(x, -clip, clip) if clip else x)

    def rnn(self, t: int, h, c):
        """Return the state and the cell after one step of the plain recurrent network, which has no cell."""
        return self.activation(0, _plus(ops.getitem(self.x, t), self.of_state(h))), None

    def gru(self, t: int, h, c):
        """Return the state after one step of the GRU: a share ``z`` of it stays, and the new value uses a share ``r``."""
        (xz, xr, new), (uz, ur, seen) = _parts(ops.getitem(self.x, t), 3), _parts(self.of_state(h), 3)
        z = self.label(self.activation(0, _plus(xz, uz)), "z", t)
        r = self.label(self.activation(0, _plus(xr, ur)), "r", t)
        if self.node.get("linear_before_reset", 0):
            seen = _times(r, seen)
        elif h is not None:
            seen = _plus(ops.matmul(ops.multiply(r, h), self.r_new), _parts(self.bias, 3)[2])
        new = self.label(self.activation(1, _plus(new, seen)), "n", t)
        return _plus(ops.multiply(ops.subtract(np.ones((), z.dtype), z), new), _times(z, h)), None

    def lstm(self, t: int, h, c):
        """Return state and cell after one step of the LSTM, with the gates ``i`` (input), ``f`` (forget) and ``o`` (output)."""
        i, o, f, new = _parts(self.label(_plus(ops.getitem(self.x, t), self.of_state(h)), "g", t), 4)
        pi, po, pf = self.peepholes
        i, f = self.activation(0, _plus(i, _times(pi, c))), self.activation(0, _plus(f, _times(pf, c)))
        c = _plus(_times(f, c), ops.multiply(i, self.activation(1, new)))
        return ops.multiply(self.activation(0, _plus(o, _times(po, c))), self.activation(2, c)), c

    def run(self, h, c, lengths, backward: bool) -> tuple[list[Any], Any, Any]:
        """Return the outputs of all steps, and the last state and cell; past the end of a sequence they stay."""
        step, outputs, steps = getattr(self, self.node.op_type.lower()), {}, range(self.x.shape[0])
        for t in reversed(steps) if backward else steps:
            before = h, c
            h, c = outputs[t], _ = step(t, h, c)
            if lengths is not None:
                on, zero = ops.expand_dims(ops.less(np.asarray(t, lengths.dtype), lengths), (1,)), np.zeros((), h.dtype)
                outputs[t] = ops.where(on, h, zero)
                h, c = (
                    None if now is None else ops.where(on, now, zero if past is None else past)
                    for now, past in zip((h, c), before, strict=True)
                )
            self.label(h, "h", t)
            self.label(c, "c", t)
        return [outputs[t] for t in steps], h, c


def _parts(x, count: int) -> list[Any]:
    """Return the shares of the gates, each of the size of the state."""
    if x is None:
        return [None] * count
    size = x.shape[-1] // count
    return [ops.getitem(x, (..., slice(i * size or None, (i + 1) * size))) for i in range(count)]


@operator("GRU", "LSTM", "RNN", weights={1: "W", 2: "R", 3: "B"})
def recurrent(node: Node, x, w, r, b=None, lengths=None, h=None, c=None, p=None):
    """Write out the steps in each direction; return the outputs of all steps, and the state and the cell in the end."""
    if node.opset < 7:
        node.fail("it is supported from operator set 7 on")
    names, gates = _NETWORKS[node.op_type]
    directions = _DIRECTIONS.get(node.get("direction", "forward"), ())
    _check(node, x, w, r, gates, len(directions))
    if node.get("layout", 0):
        x, h, c = (None if value is None else ops.transpose(value, (1, 0, 2)) for value in (x, h, c))
    node.steps = steps = x.shape[0] * len(directions)
    if steps > MOST_STEPS:
        node.fail(f"{steps:,} steps would be at least as many equations; at most {MOST_STEPS:,} are written out")
    activations = _activations(node, names * len(directions))
    if lengths is not None and is_constant(lengths) and (lengths == x.shape[0]).all():
        lengths = None
    found = []
    for place, backward in enumerate(directions):
        own = activations[place * len(names) : (place + 1) * len(names)]
        layer = Layer(node, "back_" if backward else "", place, x, w, r, b, p, own)
        found.append(layer.run(_start(h, place), _start(c, place), lengths, backward))
    y = _joined([_joined([ops.expand_dims(h, (0, 1)) for h in outputs], 0) for outputs, _, _ in found], 1)
    states = [values for values in list(zip(*found, strict=True))[1:] if values[0] is not None]
    ends = [_joined([ops.expand_dims(value, (0,)) for value in values], 0) for values in states]
    if node.get("layout", 0):
        y, ends = ops.transpose(y, (2, 0, 1, 3)), [ops.transpose(end, (1, 0, 2)) for end in ends]
    return y, *ends


def _start(x, place: int):
    """Return the first state or cell of one direction, or ``None`` where it is zero."""
    return None if x is None or (is_constant(x) and not x.any()) else ops.getitem(x, place)


def _check(node: Node, x, w, r, gates: int, directions: int) -> None:
    size = node.get("hidden_size", r.shape[-1])
    if not directions:
        node.fail(f"its direction must be 'forward', 'reverse' or 'bidirectional'; found {node.get('direction')!r}")
    if x.ndim != 3 or 0 in x.shape:
        node.fail(f"it takes a sequence of rows for each sample; found shape {tuple(x.shape)}")
    wanted = (directions, gates * size, x.shape[2]), (directions, gates * size, size)
    found = tuple(w.shape), tuple(r.shape)
    if found != wanted:
        node.fail(f"its weights must have the shapes {wanted[0]} and {wanted[1]}; found {found[0]} and {found[1]}")
    if node.get("input_forget", 0):
        node.fail("coupled gates for input and forgetting (input_forget=1) are not supported")


def _activations(node: Node, names: tuple[str, ...]) -> tuple[Rule, ...]:
    given = node.get("activations", list(names))
    unknown = [name for name in given if name not in _ACTIVATIONS]
    if unknown or len(given) != len(names) or node.get("activation_alpha") or node.get("activation_beta"):
        known = ", ".join(_ACTIVATIONS)
        node.fail(f"its activations must be {len(names)} of {known}, without numbers of their own; found {given}")
    return tuple(_ACTIVATIONS[name] for name in given)


def _joined(values: list[Any], axis: int):
    return values[0] if len(values) == 1 else ops.concatenate(values, axis=axis)


def _plus(x, y):
    """Return a sum; ``None`` adds nothing."""
    return y if x is None else x if y is None else ops.add(x, y)


def _times(x, y):
    """Return a product; ``None`` where either is ``None``."""
    return None if x is None or y is None else ops.multiply(x, y)


@operator(
    "BatchNormalization",
    weights={1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    state={3: "running_mean", 4: "running_variance"},
)
def batch_normalization(node: Node, x, scale, shift, mean, variance):
    """Normalize by the statistics given, or in training by those of the batch; then return running statistics too."""
    if node.get("spatial", 1) != 1:
        node.fail("statistics for each place of the image (spatial=0) are not supported")
    if node.opset < 7 and node.get("is_test", 0) == 0 and "is_test" in node.attributes:
        node.fail("it is written for training (is_test=0); export the model for prediction")
    inputs, epsilon = (x, scale, shift, mean, variance), node.read("epsilon", 1e-5)
    if not node.get("training_mode", 0):
        if any(map(node.wants, range(1, 5))):
            node.fail("in prediction it has no running statistics as results")
        return ops.batch_norm(*inputs, epsilon=epsilon)
    momentum = 1 - node.read("momentum", 0.9)
    y = ops.batch_norm(*inputs, epsilon=epsilon, training=True)
    mean = ops.running_mean(mean, x, momentum=momentum)
    return y, mean, ops.running_variance(variance, x, momentum=momentum, correction=0)


@operator("LayerNormalization", weights={1: "weight", 2: "bias"})
def layer_normalization(node: Node, x, scale, shift=None):
    """Normalize over all axes from ``axis`` on; return the mean and the inverse deviation too where they are used."""
    axis = node.axis(node.get("axis", -1), x)
    shift, epsilon = np.zeros((), x.dtype) if shift is None else shift, node.read("epsilon", 1e-5)
    y = ops.layer_norm(x, scale, shift, axis=axis if axis < x.ndim - 1 else -1, epsilon=epsilon)
    if not node.wants(1) and not node.wants(2):
        return y
    over = {"axis": tuple(range(axis, x.ndim)), "keepdims": True}
    deviation = ops.sqrt(ops.add(ops.variance(x, **over), np.asarray(epsilon, x.dtype)))
    return y, ops.mean(x, **over), ops.divide(np.ones((), x.dtype), deviation)


@operator("GroupNormalization", weights={1: "weight", 2: "bias"})
def group_normalization(node: Node, x, scale, shift):
    """Normalize groups of channels; before opset 21, with one scale for each group."""
    groups = node.read("num_groups")
    if node.opset < 21 and scale.ndim == 1 and scale.shape[0] == groups:
        # A copy for each channel of a group.
        to = (groups, x.shape[1] // groups)
        scale, shift = (ops.reshape(ops.broadcast_to(ops.expand_dims(p, 1), to), (-1,)) for p in (scale, shift))
    return ops.group_norm(x, scale, shift, groups=groups, epsilon=node.read("epsilon", 1e-5))


@operator("RMSNormalization", weights={1: "weight"})
def rms_normalization(node: Node, x, scale):
    """Divide by the root of the mean square over all axes from ``axis`` on."""
    axes = tuple(range(node.axis(node.get("axis", -1), x), x.ndim))
    mean, epsilon = ops.mean(ops.multiply(x, x), axis=axes, keepdims=True), node.read("epsilon", 1e-5)
    return ops.multiply(ops.divide(x, ops.sqrt(ops.add(mean, np.asarray(epsilon, x.dtype)))), scale)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, x):
    """Subtract the mean and divide by the deviation."""
    return ops.standardize(x, axis=tuple(node.axis(a, x) for a in node.get("axes", [0, 2, 3])), epsilon=1e-18)


@operator("LpNormalization")
def lp_normalization(node: Node, x):
    """Divide by the L1 or L2 norm along one axis; 0 stays 0."""
    axis, p = node.axis(node.get("axis", -1), x), node.get("p", 2)
    if p not in (1, 2):
        node.fail(f"its p must be 1 or 2; found {p}")
    size = (ops.l1_norm if p == 1 else ops.l2_norm)(x, axis=axis, keepdims=True)
    return ops.divide(x, ops.where(ops.equal(size, np.zeros((), x.dtype)), np.ones((), x.dtype), size))
