"""Walk sets that tell speakers apart: verification, gender, age."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
