"""Proof that gradients are right.

``check`` compares the rules of a graph, a model or an operation with numeric derivatives; ``certify`` checks everything
about one operation, and ``check_op`` does so in a test. In reading order: ``numeric`` measures a slope and
compares a gradient with it, ``hints`` names the likely slip, ``report`` prints what was found, ``checker`` puts these
together for one node, and then for a graph. The folder ``certificate`` is built on them, and imported only by
whoever asks for one.
"""

from tinygraph.verify.checker import check
from tinygraph.verify.report import Record, Report

__all__ = ["Record", "Report", "check"]
