"""A sound model, and mistakes planted into it."""

import tinygraph as tg

BASE = '''\
# A small net with one of everything.
name = "base"
title = "A small net"

[inputs]
x = [1, 4, 4]
y = [1]

[parameters]
K = { shape = [2, 1, 3, 3], init = "he_normal" }
W = { shape = ["flat.shape[1]", 1], init = "glorot_uniform" }
bias = { shape = [1], init = "zeros" }

[blocks.scale]
inputs = ["p"]
attributes = { factor = 2 }
equations = """
q = p * gain
r = q * factor
"""
output = "r"

[blocks.scale.parameters]
gain = { shape = [1], init = "ones" }

[model]
equations = """
Z = conv2d(x, K, padding=1)
hidden = relu(Z)
flat = flatten(hidden)
S = scale(flat)
logit = S @ W + bias
a = sigmoid(logit)
cost = bce(a, y)
"""
output = "a"
loss = "cost"

[training]
data = "digits_odd"
epochs = 3
learning_rate = 0.5
'''


def attempt(build):
    """What ``build`` returns, or the ``ModelError`` that it raises; any other exception is a failure."""
    try:
        return build()
    except tg.ModelError as error:
        return error


def changed(old, new, text=BASE):
    assert text.count(old) == 1, old
    return text.replace(old, new)


def place(text, snippet):
    """Line and column, from 1, of the first place where a snippet stands."""
    before = text[: text.index(snippet)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


ONE = '[inputs]\nx = [4]\n\n[model]\nloss = false\noutput = "a"\n'
