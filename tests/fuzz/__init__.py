"""Damaged and hostile files: each opens, or is refused in words, in little time and memory."""
