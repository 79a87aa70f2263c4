"""The tags: the ground that everything stands on. Standard library only."""
