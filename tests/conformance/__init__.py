"""The conformance suite: every engine gives what plain evaluation gives, on every input.

``python -m tests.conformance`` compares all of it; ``tests/conformance/test_conformance.py`` compares a sampled part each time.
"""
