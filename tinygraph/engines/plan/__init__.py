"""Fast execution: a recorded graph compiled to calls bound to memory. What is computed stays what the rules say."""

from tinygraph.engines.plan.plan import Plan, compile

__all__ = ["Plan", "compile"]
