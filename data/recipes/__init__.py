"""Recipes: how each corpus is walked from its layout on disk to Records."""
