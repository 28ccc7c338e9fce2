"""Short ways to gradients, and small operations with a given rule."""

import tinygraph as tg


def scalar_grad(output, x, **options):
    (gradient,) = tg.grad(output, [x], **options)
    return gradient


def chain(length, x):
    y = x
    for _ in range(length):
        y = y * 1.0
    return y


def attempts(output, *leaves):
    """The two ways to ask for gradients, which must fail alike."""
    return [lambda: tg.grad(output, leaves), output.backward]


def squared(rule=None, **options):
    """An operation ``mine(x) = x * x`` with the given gradient rule."""

    @tg.op(**options)
    def mine(x):
        return x * x

    if rule is not None:
        mine.vjp(rule)
    return mine


def product(rule, **options):
    """An operation ``mine(u, v) = u * v`` with the given gradient rule."""

    @tg.op(elementwise=True)
    def mine(u, v):
        return u * v

    mine.vjp(rule, **options)
    return mine
