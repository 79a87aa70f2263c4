"""Walk meetings and mixtures: overlapped speech, who speaks when."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
