"""Every special token of the released tokenizer, in id order, in families; the wrong names that circulate and the right ones.

A token's id is the number of text ranks plus its offset here: 151,643 ranks in the released vocabulary, fewer in a small
one. No absolute id stands anywhere in the project.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType


class TagError(ValueError):
    """A tag, a tag sentence or a tagged answer is not what it should be; the message says where and what is right."""


END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
AUDIO_PAD = "[[[AUDIO:modality]]]"  # holds the places that a clip's vectors take
AUDIO_START = "<audio>"
AUDIO_END = "</audio>"
TRANSCRIPT = "<|startoftranscript|>"
ANALYSIS = "<|startofanalysis|>"
UNKNOWN = "<|unknown|>"
NO_TIMESTAMPS = "<|notimestamps|>"
TIMESTAMPS = "<|timestamps|>"
SILENCE = "<|sil|>"
DELIMITER = "<|delim|>"
QUESTION = "<|question|>"
ANSWER = "<|answer|>"

EXTRA_SLOTS = 205
TIMES = 3001  # <|0.00|> .. <|30.00|>
MIDI_NUMBERS = 128

AUDIO_LANGUAGES: tuple[str, ...] = ("en", "zh", "de", "es", "ko", "fr", "ja", "it")
TEXT_ONLY_LANGUAGES: tuple[str, ...] = ("zh_tr",)  # a script, written but not spoken
LANGUAGES: tuple[str, ...] = AUDIO_LANGUAGES + TEXT_ONLY_LANGUAGES


def _tags(*names: str) -> tuple[str, ...]:
    """Put names between the bars of a tag."""
    return tuple(f"<|{name}|>" for name in names)


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    """Make tags stem0 .. stem(count - 1)."""
    return tuple(f"<|{stem}{number}|>" for number in range(count))


# Families in the order of the ids. Source: the released tokenizer; compared token by token with its list in the tests.
_FAMILY_TOKENS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("control", (END_OF_TEXT, IM_START, IM_END)),
    ("extra", _numbered("extra_", EXTRA_SLOTS)),
    ("audio_pad", (AUDIO_PAD,)),
    ("transcription", (TRANSCRIPT, ANALYSIS)),
    ("task", _tags("translate", "transcribe", "caption", "keyword")),
    ("unknown", (UNKNOWN,)),
    ("language", _tags(*AUDIO_LANGUAGES)),
    ("text_language", _tags(*TEXT_ONLY_LANGUAGES)),
    ("timing", (NO_TIMESTAMPS, SILENCE, TIMESTAMPS)),
    ("timestamp", tuple(f"<|{step // 100}.{step % 100:02d}|>" for step in range(TIMES))),
    ("caption_style", _tags("caption_audiocaps", "caption_clotho", "audioset_ontology", "caption_plain")),
    ("text_form", _tags("itn", "wo_itn")),
    ("entity", _tags("startofentityvalue", "endofentityvalue", "startofentitytype", "endofentitytype")),
    ("speech_analysis", _tags("named_entity_recognition", "audio_grounding")),
    ("word", (*_tags("startofword", "endofword"), DELIMITER)),
    ("voice_and_music", _tags("emotion_recognition", "music_description", "note_analysis")),
    ("pitch", _tags("pitch")),
    ("midi_pitch", _numbered("midi_pitch_", MIDI_NUMBERS)),
    ("velocity", _tags("velocity")),
    ("midi_velocity", _numbered("midi_velocity_", MIDI_NUMBERS)),
    ("description", _tags("sonic", "instrument", "speaker_meta", "song_meta")),
    ("question", (QUESTION, ANSWER, "<|choice|>")),
    ("sound", _tags("scene", "event", "vocal_classification")),
    ("understanding", _tags("speech_understanding", "scenario", "action", "entities", "speech_edit")),
    ("audio_bounds", (AUDIO_START, AUDIO_END)),
)

SPECIAL_TOKENS: tuple[str, ...] = tuple(token for _, tokens in _FAMILY_TOKENS for token in tokens)
OFFSETS: Mapping[str, int] = MappingProxyType({token: offset for offset, token in enumerate(SPECIAL_TOKENS)})
FAMILIES: Mapping[str, range] = MappingProxyType(
    {name: range(OFFSETS[tokens[0]], OFFSETS[tokens[0]] + len(tokens)) for name, tokens in _FAMILY_TOKENS}
)

TIMESTAMP_ZERO = FAMILIES["timestamp"].start  # offset of <|0.00|>
TIMESTAMP_LAST = FAMILIES["timestamp"].stop - 1  # offset of <|30.00|>

# Tokens that steer the model or frame a conversation: nothing that a person types or a file is named may become one.
CONTROL_TOKENS: frozenset[str] = frozenset(
    SPECIAL_TOKENS[offset] for name in ("control", "extra", "audio_pad", "audio_bounds") for offset in FAMILIES[name]
)
# Tokens that may stand in a tag sentence or in an answer.
CONTENT_TOKENS: frozenset[str] = frozenset(SPECIAL_TOKENS) - CONTROL_TOKENS

# Names that the paper, its figure or the released README use and that no tokenizer knows.
MISSPELT: Mapping[str, str] = MappingProxyType(
    {
        "<|startoftranscription|>": TRANSCRIPT,
        "<|startoftranscripts|>": TRANSCRIPT,
        "<|analysis|>": ANALYSIS,
        "<|question-answer|>": QUESTION,
    }
)

TAG_PATTERN = re.compile(r"<\|([^<>|\s]+)\|>")


def check_spelling(text: str) -> None:
    """Raise TagError where text holds a tag under a name that circulates but does not exist; the message names the right one."""
    for match in TAG_PATTERN.finditer(text):
        if match.group() in MISSPELT:
            raise TagError(f"{match.group()} at character {match.start()} is not a token: the right name is {MISSPELT[match.group()]}")


def unknown_tag(tag: str) -> str:
    """Say of a tag that nobody knows which existing one is meant, for an error message."""
    if tag in MISSPELT:
        return f"{tag} is not a token: the right name is {MISSPELT[tag]}"
    name = tag[2:-2]
    known = sorted(token[2:-2] for token in CONTENT_TOKENS)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75) if len(name) > 3 else []
    mend = f"did you mean <|{near[0]}|>?" if near else "a new tag must be named as a custom tag first"
    return f"{tag} is not a token; {mend}"
