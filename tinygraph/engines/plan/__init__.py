"""The plan: a graph compiled to NumPy calls that are bound to memory. It computes what the operations' rules say.

Read in this order: ``plan.py`` is what a user calls, ``compiled.py`` a graph for one size of batch. ``passes.py`` rewrites the
graph (its nodes are in ``node.py``), ``tiles.py`` cuts the batch, ``program.py`` and ``memory.py`` decide where arrays lie, and
``kernels/`` holds the calls of each operation. ``schedule.py`` describes the result.
"""

from tinygraph.engines.plan.plan import Plan, compile

__all__ = ["Plan", "compile"]
