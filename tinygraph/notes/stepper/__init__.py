"""The step-through page: one rule at a time, forward and backward, and where every number comes from."""

from tinygraph.notes.stepper.origin import Origin, Origins, Part

__all__ = ["Origin", "Origins", "Part"]
