"""Benchmarks: tinygraph beside other frameworks, on the same work, in turns, on the same cores.

One command, from the root of the repository: ``python -m tests.benchmarks``. Other frameworks are optional; those that are
not installed are listed and left out.
"""
