"""The error tree: every mistake of a user's has a class, and every message names the thing, the found and the mend.

    QwenAudioError
    ├── AudioError                what was to be heard cannot be read
    │   ├── AudioNotFoundError    no such file
    │   ├── AudioFormatError      not audio, or cut off, or a container nobody here knows
    │   ├── AudioEmptyError       no samples, below 30 ms, or not numbers
    │   ├── AudioTooLongError     longer than the encoder hears, and nobody chose what to do
    │   └── AudioLimitError       larger than the limits allow, refused before anything is allocated
    ├── ConfigError               a setting that does not exist or does not fit
    ├── CheckpointError           weights that are missing, surplus, misshapen or of another tokenizer
    ├── PromptError               a conversation or tag sentence that cannot be rendered, or does not fit the window
    └── DataError                 a row of a manifest, with FILE:LINE

`tag_schema` stands below this package and has an error of its own, TagError; USER_ERRORS names both for commands.
"""

from __future__ import annotations

import sys

from tag_schema.vocabulary import TagError


class QwenAudioError(Exception):
    """Any mistake that a user can mend."""


class AudioError(QwenAudioError):
    """What was to be heard cannot be read."""


class AudioNotFoundError(AudioError):
    """There is no such file."""


class AudioFormatError(AudioError):
    """The bytes are not audio that anything here can decode."""


class AudioEmptyError(AudioError):
    """The clip has no samples, lasts less than 30 ms or holds values that are not numbers."""


class AudioTooLongError(AudioError):
    """The clip is longer than the encoder hears and the caller did not say what to do with it."""


class AudioLimitError(AudioError):
    """Decoding would take more memory or time than the limits allow."""


class ConfigError(QwenAudioError):
    """A setting does not exist or has a value it cannot have."""


class CheckpointError(QwenAudioError):
    """Weights are missing, surplus, misshapen, or belong to another tokenizer."""


class PromptError(QwenAudioError):
    """A conversation or a tag sentence cannot be rendered or does not fit the window."""


class DataError(QwenAudioError):
    """A manifest row is at fault; the message begins with FILE:LINE."""


USER_ERRORS = (QwenAudioError, TagError)


def fail(error: Exception) -> int:
    """Print one line on stderr for a user's mistake and return the exit code 1."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1
