"""The one table of makers: the 31 tasks, conversations and text, and in which shares they are made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from data.recipes.constructed.dialogues import dialogue
from data.recipes.constructed.example import Maker
from data.recipes.constructed.makers_music import MUSIC_MAKERS
from data.recipes.constructed.makers_sound import SOUND_MAKERS
from data.recipes.constructed.makers_speech import SPEECH_MAKERS
from data.recipes.constructed.text_only import text_only
from qwen_audio.errors import ConfigError

DIALOGUE, TEXT = "dialogue", "text"
MAKERS: Mapping[str, Maker] = MappingProxyType({**SPEECH_MAKERS, **SOUND_MAKERS, **MUSIC_MAKERS, DIALOGUE: dialogue, TEXT: text_only})
# What each of the 31 tasks' constructed examples are, in a sentence.
TASK_KINDS: Mapping[str, str] = MappingProxyType(
    {name: str(maker.__doc__).split("\n")[0] for name, maker in MAKERS.items() if name not in (DIALOGUE, TEXT)}
)
# One of each, and more of those that hold many kinds of question.
_MORE = {"audio_qa": 4, "music_qa": 3, DIALOGUE: 5, TEXT: 2}


def schedule(tasks: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Give the makers in the order in which rows take turns.

    Args:
        tasks: names of tasks, "dialogue" or "text"; all where it is None.
    Raises:
        ConfigError: there is no such task, or none is named.
    """
    unknown = [name for name in tasks or () if name not in MAKERS]
    if unknown or tasks == ():
        raise ConfigError(f"constructed: no task {', '.join(unknown) or 'is named'}; there are {', '.join(MAKERS)}")
    chosen = [name for name in MAKERS if tasks is None or name in tasks]
    return tuple(name for turn in range(max(_MORE.values())) for name in chosen if turn < _MORE.get(name, 1))
