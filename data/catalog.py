"""The one table: name -> Recipe, and which recipes serve each of the 31 tasks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from data.recipe import Recipe
from data.recipes import (
    answering,
    captioning,
    dialects,
    emotion,
    keywords,
    meetings,
    mini_sounds,
    mini_sources,
    mini_words,
    mixed_speech,
    music,
    music_tags,
    music_text,
    scenes,
    singing,
    sound,
    speakers,
    speech,
    speech_chinese,
    speech_crowd,
    timed_sound,
    translation,
    understanding,
    vocal,
    word_times,
)
from qwen_audio.errors import ConfigError
from tag_schema.tasks import TASKS

_ROOMS = (
    answering,
    captioning,
    dialects,
    emotion,
    keywords,
    meetings,
    mini_sounds,
    mini_sources,
    mini_words,
    mixed_speech,
    music,
    music_tags,
    music_text,
    scenes,
    singing,
    sound,
    speakers,
    speech,
    speech_chinese,
    speech_crowd,
    timed_sound,
    translation,
    understanding,
    vocal,
    word_times,
)
CATALOG: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for room in _ROOMS for recipe in room.RECIPES})


def recipe(name: str) -> Recipe:
    """Find a recipe by its name.

    Raises:
        ConfigError: there is none; the message lists those that there are.
    """
    if name not in CATALOG:
        raise ConfigError(f"no recipe is called {name!r}; there are: {', '.join(sorted(CATALOG))}")
    return CATALOG[name]


def by_task() -> dict[str, list[Recipe]]:
    """Return the recipes that serve each task, in the order of the 31."""
    return {name: [recipe for recipe in CATALOG.values() if name in recipe.tasks] for name in TASKS}
