"""Proof that gradients are right: every rule alone, at the values that reach it, and then all of them together."""

from tinygraph.verify.checker import check, check_op
from tinygraph.verify.report import Record, Report

__all__ = ["Record", "Report", "check", "check_op"]
