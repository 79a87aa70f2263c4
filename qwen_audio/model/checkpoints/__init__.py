"""Checkpoints in every layout that the project reads or writes, a file a layout."""
