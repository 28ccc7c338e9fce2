"""Derivatives as people ask for them: Jacobians, Hessians, their products with vectors, and values together with gradients.

All are made by ``grad``, so their results are tensors of the graph: they print, draw and compile, and may be differentiated.
"""

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tinygraph.errors import GradientError, ShapeError, TinygraphError
from tinygraph.graph.attributes import shown
from tinygraph.graph.backprop import grad
from tinygraph.graph.graph import tensors_of
from tinygraph.graph.registry import OPERATIONS
from tinygraph.graph.tensor import Tensor, constant, now, tensor

# Each element of the output takes a backward pass of its own.
MOST_ROWS = 4096


def jacobian(output: Tensor, x: Tensor | Sequence[Tensor], unreached: Literal["error", "zeros"] = "error") -> Any:
    """Return all derivatives of the elements of ``output`` with respect to those of ``x``, as a tensor of the graph.

    It has the shape ``output.shape + x.shape`` and the dtype of ``x``, and is called ``dy_dx`` for tensors called y and x. For
    a list of tensors there is a list of Jacobians. Each element of ``output`` takes a backward pass; there are at most 4,096.

    Raises ``GradientError`` as ``tg.grad`` does. Source: the definition, row by row from reverse sweeps; Griewank and Walther,
    *Evaluating Derivatives*, 2008, chapter 3.

    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0], name="x")
    >>> y = x[:2] * x[2]
    >>> y.name = "y"
    >>> dy_dx = jacobian(y, x)
    >>> dy_dx.name, dy_dx.value
    ('dy_dx', array([[3., 0., 1.],
           [0., 3., 2.]]))
    """
    wanted = tensors_of(x, "a Jacobian is taken with respect to tensors")
    if not isinstance(output, Tensor) or output.size > MOST_ROWS:
        raise GradientError(
            f"a Jacobian takes a backward pass for each element of a tensor, at most {MOST_ROWS}; found {shown(output)} "
            "(tg.grad with a cotangent gives its product with a vector in one pass)"
        )
    cotangents = np.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape)
    rows = [grad(output, wanted, cotangent, unreached) for cotangent in cotangents]
    jacobians = []
    for place, leaf in enumerate(wanted):
        parts = [OPERATIONS["expand_dims"](row[place], 0) for row in rows]
        whole = OPERATIONS["concatenate"](parts) if parts else constant(np.zeros((0, *leaf.shape), leaf.dtype))
        if output.ndim != 1:
            whole = OPERATIONS["reshape"](whole, (*output.shape, *leaf.shape))
        if output.name and leaf.name:
            whole.name = f"d{output.name}_d{leaf.name}"
        jacobians.append(whole)
    return jacobians[0] if isinstance(x, Tensor) else jacobians


def hessian(output: Tensor, x: Tensor | Sequence[Tensor]) -> Any:
    """Return the second derivatives of ``output``, one number, with respect to ``x``, as a tensor of the graph.

    It has the shape ``x.shape + x.shape`` and the dtype of ``x``, and is called ``ddy_dx_dx`` for tensors called y and x. For a
    list of tensors there is a list of lists of blocks: block ``[i][j]`` has the shape ``x[i].shape + x[j].shape``.

    Raises ``GradientError`` as ``tg.grad`` does, and for more than 4,096 elements. Source: the Jacobian of the gradient.

    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 2.0], name="x")
    >>> hessian(x[0] * x[1] ** 2, x).value
    array([[0., 4.],
           [4., 2.]])
    """
    wanted = tensors_of(x, "a Hessian is taken with respect to tensors")
    blocks = [jacobian(gradient, list(wanted), "zeros") for gradient in grad(output, wanted)]
    for (i, first), (j, second) in itertools.product(enumerate(wanted), repeat=2):
        if output.name and first.name and second.name:
            blocks[i][j].name = f"dd{output.name}_d{first.name}_d{second.name}"
    return blocks[0][0] if isinstance(x, Tensor) else blocks


def hvp(output: Tensor, x: Tensor | Sequence[Tensor], v: Any) -> Any:
    """Return the product of the Hessian of ``output``, one number, with a vector ``v`` of the shape of ``x``, in two passes.

    ``v`` is an array or a tensor, and for a list of tensors ``x`` a list; so is the result, with shapes and dtypes of ``x``.
    It is called ``Hv_x`` for a tensor called x. Where ``output`` is linear it is 0.

    Raises ``GradientError`` as ``tg.grad`` does, and ``ShapeError`` for another shape. Source: Pearlmutter, *Fast Exact
    Multiplication by the Hessian*, 1994.

    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 2.0], name="x")
    >>> hvp(x[0] * x[1] ** 2, x, [1.0, 0.0]).value
    array([0., 4.])
    """
    wanted = tensors_of(x, "a product with the Hessian is taken with respect to tensors")
    vectors = [v] if isinstance(x, Tensor) else list(v)
    if len(vectors) != len(wanted):
        raise ShapeError(f"hvp takes one vector for each of {len(wanted)} tensors; found {len(vectors)}")
    products = []
    for leaf, gradient, given in zip(wanted, grad(output, wanted), vectors, strict=True):
        vector = given if isinstance(given, Tensor) else constant(given, "v", leaf.dtype)
        if vector.shape != leaf.shape:
            raise ShapeError(f"the vector for {leaf.describe()} must have its shape; found {vector.shape}")
        products.append((gradient * vector).sum())
    start, found = now(), grad(OPERATIONS["add_all"](products), wanted, unreached="zeros")
    # A gradient that is a node of the first pass has its name already.
    found = tuple(each if each.order > start else OPERATIONS["identity"](each) for each in found)
    for leaf, product in zip(wanted, found, strict=True):
        product.name = f"Hv_{leaf.name}" if leaf.name else None
    return found[0] if isinstance(x, Tensor) else list(found)


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """Return a function that gives the value of ``f``, one number, and its gradient with respect to the argument ``argnums``.

    ``f`` computes on tensors. The new function takes the arguments of ``f``: arrays and numbers at the places ``argnums`` are
    made tensors with the names that ``f`` gives them. Value and gradients are tensors; several places give a tuple of these.

    Raises ``GradientError`` as ``tg.grad`` does, and for a place without an argument. Source: ``jax.value_and_grad``.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> cost, dW = value_and_grad(lambda W, x: np.sum((x @ W) ** 2))(np.array([1.0, 2.0]), np.array([[3.0, 4.0]]))
    >>> float(cost), dW.name, dW.value
    (121.0, 'dW', array([66., 88.]))
    """
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not callable(f):
        raise TinygraphError(f"value_and_grad takes a function; found {shown(f)}")

    @functools.wraps(f)
    def with_gradients(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        given, names = list(args), _names(f, len(args))
        for place in places:
            if not -len(args) <= place < len(args):
                raise GradientError(f"argnums names the argument {place}; there are {len(args)} by place")
            x = args[place]
            if not isinstance(x, Tensor):
                given[place] = tensor(x, names[place])
            elif sum(each is x for each in args) > 1:
                # Each use of it has a gradient of its own.
                given[place] = OPERATIONS["identity"](x)
        value = f(*given, **kwargs)
        if not isinstance(value, Tensor):
            raise GradientError(
                f"value_and_grad takes a function that returns a tensor with one element; found {shown(value)}"
            )
        gradients = grad(value, [given[place] for place in places])
        return value, gradients[0] if isinstance(argnums, int) else gradients

    return with_gradients


def _names(f: Callable[..., Any], count: int) -> list[str | None]:
    """Return the names that a function gives to its first arguments, where it has them."""
    names: list[str | None] = []
    with contextlib.suppress(TypeError, ValueError):
        names += [p.name for p in inspect.signature(f).parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    return [*names, *[None] * count][:count]
