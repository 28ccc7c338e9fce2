"""Which operations the plan may reason about: those of this package, which are functions of their inputs alone."""

from __future__ import annotations

from tinygraph.graph.op import Op


def known(op: Op | None) -> bool:
    """Whether an operation is one of this package. One of a user's is run as often as it was recorded, as it is written."""
    return op is not None and type(op).__module__.startswith("tinygraph.")
