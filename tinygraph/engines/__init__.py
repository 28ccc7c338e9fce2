"""Engines: each compiles a graph for a size of batch, and runs it. ``plan/`` is one; another would be a package next to it.

The plain evaluation ``tg.run`` is the meaning of a graph. An engine gives the same results for every dtype, shape, layout
and value, to rounding. What it cannot do, it says by raising a ``TinygraphError`` when it compiles or runs, or by a result
that is not finite; its caller then takes what ``tg.run`` gives, or the error that ``tg.run`` raises.

``plan/compiled.py:Compiled`` shows what callers use: it is made from ``(graph, samples, count, threads)``, where ``samples``
are the inputs whose first axis is the batch, of ``count`` samples. ``run(values, use)`` computes the outputs for the values of
leaves and calls ``use`` with them once. The arrays belong to the engine, which may write over them when ``use`` has returned.
"""
