"""The step-through page: one rule at a time, forward and backward, and where every number comes from."""
