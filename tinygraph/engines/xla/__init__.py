"""XLA, by way of JAX: a graph runs on CPUs, GPUs and TPUs, on one device or on many that share the samples of a batch.

Read in this order: ``program.py`` is a compiled graph, ``lower.py`` makes one function of JAX of it, ``table.py`` holds the
entries of the operations for which XLA has its own word, and on ``array.py`` all others are traced. Importing this package
imports JAX, so nothing imports it before someone asks for the engine.
"""

from tinygraph.engines.xla.devices import Devices
from tinygraph.engines.xla.program import Program, XlaPlan

__all__ = ["Devices", "Program", "XlaPlan"]
