"""The tags: the ground that everything stands on. Standard library only."""

from tag_schema.answers import Entity, Intent, Note, Song, TimedLabel
from tag_schema.custom import CustomTags
from tag_schema.prefix import TagPrefix, TaskTag, parse_sentence
from tag_schema.tasks import TASKS, TaskFamily, family, family_of, natural_prompt, prefix_for, read_task
from tag_schema.timestamps import Span, Word, find_spans, srwt_to_words, timestamp_token, words_to_srwt
from tag_schema.vocabulary import OFFSETS, SPECIAL_TOKENS, TagError, check_spelling

__all__ = [
    "OFFSETS",
    "SPECIAL_TOKENS",
    "TASKS",
    "CustomTags",
    "Entity",
    "Intent",
    "Note",
    "Song",
    "Span",
    "TagError",
    "TagPrefix",
    "TaskFamily",
    "TaskTag",
    "TimedLabel",
    "Word",
    "check_spelling",
    "family",
    "family_of",
    "find_spans",
    "natural_prompt",
    "parse_sentence",
    "prefix_for",
    "read_task",
    "srwt_to_words",
    "timestamp_token",
    "words_to_srwt",
]
