"""Which operations the plan may reason about: those of this package, which are functions of their inputs alone."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

from tinygraph.graph.op import Op

AnyOp = TypeVar("AnyOp", bound=Op)


def known(op: Op | None) -> bool:
    """Whether an operation is one of this package. One of a user's is run as often as it was recorded, as it is written."""
    # Code that is executed from a text may have no module.
    return op is not None and (type(op).__module__ or "").startswith("tinygraph.")


def is_a(op: Op | None, *classes: type[AnyOp]) -> TypeGuard[AnyOp]:
    """Whether an operation is one of ``classes`` as this package has them, and not made from one by a user.

    >>> from tinygraph.ops.shape.shape import Flatten, SameElements
    >>> is_a(Flatten(), SameElements)
    True
    """
    return isinstance(op, classes) and known(op)
