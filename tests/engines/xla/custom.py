"""Operations of a user, of each kind: traced, traced with a question about values, and on the host; and a model of them."""

import math

import numpy as np

import tinygraph as tg


@tg.op(formula="{x} · σ({x})", elementwise=True)
def own_swish(x):
    return x / (1 + np.exp(-x))


@own_swish.vjp
def own_swish_vjp(dy, y, x):
    return dy * (y + tg.sigmoid(x) * (1 - y))


@tg.op(elementwise=True)
def own_steps(x):
    """Written with NumPy's habits: a refusal, a buffer, a part of it, and a choice by values."""
    if (np.abs(x) > 1e6).any():
        raise ValueError("too large")
    buffer = np.empty_like(x)
    buffer[...] = np.tanh(x)
    buffer[x < -1] = -np.tanh(1.0)
    part = buffer[...]
    part += 0.5
    return buffer if buffer.sum() > -1e9 else -buffer


@own_steps.vjp(opaque=True)
def own_steps_vjp(dy, y, x):
    return dy * np.where(x < -1, 0, 1 - np.square(y - 0.5))


@tg.op(elementwise=True)
def own_loop(x):
    return np.array([math.erf(v) if v > 0 else v / 2 for v in np.ravel(x).tolist()], x.dtype).reshape(x.shape)


@own_loop.vjp(opaque=True)
def own_loop_vjp(dy, y, x):
    slopes = [2 / math.sqrt(math.pi) * math.exp(-v * v) if v > 0 else 0.5 for v in np.ravel(x).tolist()]
    return dy * np.array(slopes, x.dtype).reshape(x.shape)


@tg.op
def own_rows(x):
    """Each row by itself, which its batch rule says."""
    return np.stack([np.sort(np.array(row.tolist())) for row in x]).astype(x.dtype) if len(x) else x


@own_rows.shape
def own_rows_shape(x):
    return tuple(x.shape)


@own_rows.batch
def own_rows_batch(use):
    return use.each()


@own_rows.vjp(opaque=True)
def own_rows_vjp(dy, y, x):
    back = np.empty_like(dy)
    np.put_along_axis(back, np.argsort(np.asarray(x), axis=1), dy, axis=1)
    return back


TOML = """
name = "custom"
dtype = "float64"
[inputs]
Inp = [1, 8, 8]
y = { shape = [], dtype = "int64" }
[parameters]
W1 = { shape = [64, 16], init = "he_normal" }
W2 = { shape = [16, 10], init = "glorot_uniform" }
[model]
equations = '''
h = own_rows(own_loop(own_steps(own_swish(flatten(Inp) @ W1))))
Z = h @ W2
a = softmax(Z)
cost = cross_entropy(Z, y)
'''
output = "a"
loss = "cost"
[training]
data = "digits"
"""


def model() -> tg.Model:
    """Return the model of these operations."""
    return tg.Model.from_toml(TOML)
