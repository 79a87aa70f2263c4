"""Walk the public repositories that the bundled model is trained on, in their original layouts."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
