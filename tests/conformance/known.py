"""Differences that are known and not yet corrected, by a pattern of the names of their problems.

An entry that no longer differs fails the suite.
"""

KNOWN: dict[str, str] = {}
