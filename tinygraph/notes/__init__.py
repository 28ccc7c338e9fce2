"""The lecture notes of any model, derived from its graph: equations forward and backward, the update, worked numbers."""

from tinygraph.notes.notes import Notes, notes

__all__ = ["Notes", "notes"]
