"""Walk sets of speech with its translation."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
