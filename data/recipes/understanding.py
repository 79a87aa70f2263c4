"""Walk sets of commands and entities: keywords, intents, slots."""

from __future__ import annotations

from data.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
