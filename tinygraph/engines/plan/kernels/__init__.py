"""Kernels: how the plan computes each operation, as calls bound to arrays. Importing this package registers them all."""

from tinygraph.engines.plan.kernels import basic, pooling, products, rows
from tinygraph.engines.plan.kernels.base import Call, Scratch, Work, entry

__all__ = ["Call", "Scratch", "Work", "basic", "entry", "pooling", "products", "rows"]
