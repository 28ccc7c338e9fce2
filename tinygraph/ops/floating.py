"""Whole numbers among the operands of functions that are about real ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.graph.op import Value


def floating(x: Value) -> Any:
    """Return ``x`` as floating point numbers, float64 for whole ones: small integers would wrap or lose precision.

    >>> floating(np.uint8([200])) - 201
    array([-1.])
    """
    x = np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.result_type(x.dtype, 0.0))
