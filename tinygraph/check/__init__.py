"""Proof that gradients are right: every rule alone, at the values that reach it, and then all of them together."""

from tinygraph.check.checker import check, check_op
from tinygraph.check.report import Record, Report

__all__ = ["Record", "Report", "check", "check_op"]
