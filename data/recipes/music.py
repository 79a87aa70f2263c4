"""Walk sets of notes, instruments, genres and pieces."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
