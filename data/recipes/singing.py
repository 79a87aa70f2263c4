"""Walk sets of singers and of emotion in music."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
