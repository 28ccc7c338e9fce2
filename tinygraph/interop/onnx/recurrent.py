"""ONNX's recurrent networks, written out: a step for each element of the sequence, with the same weights in all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from tinygraph.interop.onnx.node import Node, Rule, Value, is_constant
from tinygraph.ops.activation import activation as act
from tinygraph.ops.comparison import comparison as cmp
from tinygraph.ops.elementwise import arithmetic as el
from tinygraph.ops.indexing import select as ix
from tinygraph.ops.linear.linear import matmul
from tinygraph.ops.shape import shape as sh

_ACTIVATIONS: dict[str, Rule] = {
    "Relu": act.relu,
    "Sigmoid": act.sigmoid,
    "Softplus": act.softplus,
    "Softsign": act.softsign,
    "Tanh": act.tanh,
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Layer:
    """A recurrent layer in one direction. ``x`` is what its gates get from the inputs of all steps, bias and all.

    Rows of the state are multiplied by ``r``. ``bias`` is what the gates get with the state, where that is kept apart.
    ``prefix`` begins the names of what it computes.
    """

    node: Node
    prefix: str
    x: Value
    r: Value
    bias: Value
    peepholes: Value
    activations: tuple[Rule, ...]

    def parts(self, x: Value, count: int) -> list[Value]:
        """Return the shares of the gates, each of the size of the state."""
        size = self.r.shape[0]
        ends = [(i * size or None, (i + 1) * size) for i in range(count)]
        return [None if x is None else ix.getitem(x, (..., slice(start, end))) for start, end in ends]

    def of_input(self, t: int) -> Value:
        """Return what all gates get from the input of a step."""
        return ix.getitem(self.x, t)

    def of_state(self, h: Value) -> Value:
        """Return what all gates get from the state; there is none before the first step."""
        return _plus(None if h is None else matmul(h, self.r), self.bias)

    def named(self, x: Value, letter: str, t: int) -> Value:
        """Give what a step computes a name, with the number of the step counted from 1."""
        return self.node.call(x, f"{self.prefix}{letter}{t + 1}")

    def bend(self, which: int, x: Value) -> Value:
        """Return an activation of ``x``, clipped before where the file says so."""
        clip = self.node.number("clip", 0.0)
        return self.activations[which](cmp.clip(x, -clip, clip) if clip else x)

    @cached_property
    def sights(self) -> list[Value]:
        """The weights by which the gates of an LSTM see its cell: of ``i``, ``o`` and ``f``."""
        return self.parts(self.peepholes, 3)

    @cached_property
    def last(self) -> Value:
        """The part of ``r`` for what is new in a GRU."""
        return ix.getitem(self.r, (slice(None), slice(2 * self.r.shape[0], None)))


# From a layer, the number of a step, and the state and the cell before it: state and cell after it.
Cell: TypeAlias = Callable[[Layer, int, Value, Value], tuple[Value, Value]]


def rnn(layer: Layer, t: int, h: Value, c: Value) -> tuple[Value, Value]:
    """One step of the plain recurrent network."""
    return layer.bend(0, _plus(layer.of_input(t), layer.of_state(h))), None


def gru(layer: Layer, t: int, h: Value, c: Value) -> tuple[Value, Value]:
    """One step of the GRU: ``z`` says how much of the state stays, ``r`` how much of it is seen in what is new."""
    (xz, xr, new), (uz, ur, seen) = layer.parts(layer.of_input(t), 3), layer.parts(layer.of_state(h), 3)
    z, r = (layer.named(layer.bend(0, x), letter, t) for letter, x in (("z", _plus(xz, uz)), ("r", _plus(xr, ur))))
    if layer.node.get("linear_before_reset", 0):
        seen = _times(r, seen)
    elif h is not None:
        seen = _plus(matmul(el.multiply(r, h), layer.last), layer.parts(layer.bias, 3)[2])
    new = layer.named(layer.bend(1, _plus(new, seen)), "n", t)
    return _plus(el.multiply(el.subtract(np.ones((), z.dtype), z), new), _times(z, h)), None


def lstm(layer: Layer, t: int, h: Value, c: Value) -> tuple[Value, Value]:
    """One step of the LSTM: ``i`` says how much that is new comes into the cell, ``f`` how much stays, ``o`` what is given."""
    i, o, f, new = layer.parts(layer.named(_plus(layer.of_input(t), layer.of_state(h)), "g", t), 4)
    pi, po, pf = layer.sights
    i, f = layer.bend(0, _plus(i, _times(pi, c))), layer.bend(0, _plus(f, _times(pf, c)))
    c = _plus(_times(f, c), el.multiply(i, layer.bend(1, new)))
    return el.multiply(layer.bend(0, _plus(o, _times(po, c))), layer.bend(2, c)), c


def unrolled(cell: Cell, gates: int, activations: tuple[str, ...], *, bias_apart: bool = False) -> Rule:
    """Return the rule of a recurrent network: its step, how many gates it has, and what bends them by default.

    ``bias_apart`` keeps the bias of the state from that of the inputs, which otherwise are one sum.
    """

    def rule(
        n: Node,
        x: Value,
        w: Value,
        r: Value,
        b: Value = None,
        lengths: Value = None,
        h: Value = None,
        c: Value = None,
        p: Value = None,
    ) -> tuple[Value, ...]:
        directions = _DIRECTIONS.get(n.get("direction", "forward"), ())
        _check(n, x, w, r, gates, len(directions))
        if n.get("layout", 0):
            x, h, c = (None if value is None else sh.transpose(value, (1, 0, 2)) for value in (x, h, c))
        n.write_out(x.shape[0] * len(directions))
        bends = _activations(n, activations * len(directions))
        found = []
        for place, backward in enumerate(directions):
            each = len(activations)
            prefix = "back_" if backward else ""
            layer = _layer(n, prefix, x, w, r, b, p, place, gates, bends[place * each : (place + 1) * each], bias_apart)
            start = [None if value is None or _is_zero(value) else ix.getitem(value, place) for value in (h, c)]
            found.append(_run(layer, cell, start, _lengths(lengths, x), backward))
        return _results(n, found)

    return rule


def _check(n: Node, x: Value, w: Value, r: Value, gates: int, directions: int) -> None:
    size = n.get("hidden_size", r.shape[-1])
    if not directions:
        n.fail(f"its direction must be 'forward', 'reverse' or 'bidirectional'; found {n.get('direction')!r}")
    if x.ndim != 3 or 0 in x.shape:
        n.fail(f"it takes a sequence of rows for each sample; found shape {tuple(x.shape)}")
    wanted = (directions, gates * size, x.shape[2]), (directions, gates * size, size)
    if (tuple(w.shape), tuple(r.shape)) != wanted:
        n.fail(
            f"its weights must be of shapes {wanted[0]} and {wanted[1]}; found {tuple(w.shape)} and {tuple(r.shape)}"
        )
    if n.get("input_forget", 0):
        n.fail("gates for input and forgetting that are one (input_forget=1) are not known")


def _activations(n: Node, names: tuple[str, ...]) -> tuple[Rule, ...]:
    given = n.get("activations", list(names))
    unknown = [name for name in given if name not in _ACTIVATIONS]
    if unknown or len(given) != len(names) or n.get("activation_alpha") or n.get("activation_beta"):
        known = ", ".join(_ACTIVATIONS)
        n.fail(f"its activations must be {len(names)} of {known}, without numbers of their own; found {given}")
    return tuple(_ACTIVATIONS[name] for name in given)


def _layer(
    n: Node,
    prefix: str,
    x: Value,
    w: Value,
    r: Value,
    b: Value,
    p: Value,
    place: int,
    gates: int,
    bends: tuple[Rule, ...],
    bias_apart: bool,
) -> Layer:
    """Return the layer of one direction, with what its gates get from the inputs computed for all steps at once."""
    share, rows = matmul(x, sh.transpose(ix.getitem(w, place))), sh.transpose(ix.getitem(r, place))
    of_state = None
    if b is not None:
        cut = gates * rows.shape[0]
        of_input, of_state = (ix.getitem(b, (place, part)) for part in (slice(None, cut), slice(cut, None)))
        share = el.add(share, of_input if bias_apart else el.add(of_input, of_state))
    share, rows = n.call(share, f"{prefix}x"), n.call(rows, f"{prefix}RT")
    peepholes = None if p is None else ix.getitem(p, place)
    return Layer(n, prefix, share, rows, of_state if bias_apart else None, peepholes, bends)


def _run(
    layer: Layer, cell: Cell, start: list[Value], lengths: Value, backward: bool
) -> tuple[list[Value], Value, Value]:
    """Return the outputs in the order of the sequence, and state and cell in the end; past the end of a sequence they stay."""
    h, c = start
    outputs = {}
    steps = range(layer.x.shape[0])
    for t in reversed(steps) if backward else steps:
        before = h, c
        h, c = outputs[t], _ = cell(layer, t, h, c)
        if lengths is not None:
            on, zero = sh.expand_dims(cmp.less(np.asarray(t, lengths.dtype), lengths), (1,)), np.zeros((), h.dtype)
            outputs[t] = cmp.where(on, h, zero)
            h, c = (
                None if now is None else cmp.where(on, now, zero if past is None else past)
                for now, past in zip((h, c), before, strict=True)
            )
        layer.named(h, "h", t)
        layer.named(c, "c", t)
    return [outputs[t] for t in steps], h, c


def _results(n: Node, found: list[tuple[list[Value], Value, Value]]) -> tuple[Value, ...]:
    """Return the outputs of all steps, and state and cell in the end, with an axis for the directions."""
    y = _joined([_joined([sh.expand_dims(h, (0, 1)) for h in outputs], 0) for outputs, _, _ in found], 1)
    states = [values for values in list(zip(*found, strict=True))[1:] if values[0] is not None]
    ends = [_joined([sh.expand_dims(value, (0,)) for value in values], 0) for values in states]
    if n.get("layout", 0):
        y, ends = sh.transpose(y, (2, 0, 1, 3)), [sh.transpose(end, (1, 0, 2)) for end in ends]
    return y, *ends


def _joined(values: list[Value], axis: int) -> Value:
    return values[0] if len(values) == 1 else ix.concatenate(values, axis=axis)


def _lengths(lengths: Value, x: Value) -> Value:
    """Return how long each sequence is, or ``None`` where all are as long as can be."""
    full = lengths is None or (is_constant(lengths) and bool((lengths == x.shape[0]).all()))
    return None if full else lengths


def _is_zero(value: Value) -> bool:
    return is_constant(value) and not value.any()


def _plus(x: Value, y: Value) -> Value:
    """Return a sum; ``None`` adds nothing."""
    return y if x is None else x if y is None else el.add(x, y)


def _times(x: Value, y: Value) -> Value:
    """Return a product; nothing where either is ``None``."""
    return None if x is None or y is None else el.multiply(x, y)
