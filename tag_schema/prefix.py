"""TagPrefix <-> tag sentence: what a tagged task tells the model in front of the answer.

The order is transcription tag, audio language, task, text language, timestamps, output instruction:
`<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>`. A question has a form of its own, without task,
text language and timestamps: `<|startofanalysis|><|en|><|question|>Is it raining?<|answer|>`.
Source: the framework figure and the released evaluation prompts (Qwen-Audio, arXiv:2311.07919).
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tag_schema.custom import INSTRUCTION_NAME, LANGUAGE_NAME, CustomTags
from tag_schema.timestamps import SRWT_START
from tag_schema.vocabulary import (
    ANALYSIS,
    ANSWER,
    AUDIO_LANGUAGES,
    LANGUAGES,
    MISSPELT,
    NO_TIMESTAMPS,
    OFFSETS,
    QUESTION,
    TAG_PATTERN,
    TIMESTAMPS,
    TRANSCRIPT,
    UNKNOWN,
    TagError,
    check_spelling,
    unknown_tag,
)

TaskTag = Literal["transcribe", "translate", "caption", "keyword", "question"]
TASK_TAGS: tuple[TaskTag, ...] = typing.get_args(TaskTag)

# Which transcription tag a task stands under: words that are said, or anything else that is heard.
TRANSCRIPTION_TAG: Mapping[TaskTag, str] = MappingProxyType(
    {"transcribe": TRANSCRIPT, "translate": TRANSCRIPT, "caption": ANALYSIS, "keyword": ANALYSIS, "question": ANALYSIS}
)

# Which output instructions go with which task. The released prompts use itn and wo_itn, caption_*, scene,
# emotion_recognition, vocal_classification and note_analysis; the others stand where their name puts them, our choice.
INSTRUCTIONS: Mapping[TaskTag, tuple[str, ...]] = MappingProxyType(
    {
        "transcribe": ("wo_itn", "itn", "speaker_meta", "speech_edit"),
        "translate": ("itn", "wo_itn"),
        "caption": ("caption_clotho", "caption_audiocaps", "caption_plain", "audioset_ontology", "music_description"),
        "keyword": (
            *("scene", "event", "vocal_classification", "audioset_ontology", "emotion_recognition", "speaker_meta"),
            *("named_entity_recognition", "speech_understanding", "scenario", "action", "entities", "audio_grounding"),
            *("note_analysis", "instrument", "sonic", "music_description", "song_meta"),
        ),
        "question": (),
    }
)

# Where times may be asked for: word times of what is said (no instruction, or the form of the text), and what happens when.
TIMED_INSTRUCTIONS: Mapping[TaskTag, tuple[str | None, ...]] = MappingProxyType(
    {
        "transcribe": (None, "wo_itn", "itn"),
        "translate": (),
        "caption": (),
        "keyword": ("event", "speaker_meta", "audio_grounding"),
        "question": (),
    }
)


@dataclass(frozen=True, slots=True)
class TagPrefix:
    """A tagged task. Legal combinations are checked here; names of custom tags only where a sentence is made, with the tags known.

    Attributes:
        task: the task tag; the 31 families of tasks are made of these five.
        audio_language: what is spoken; None renders <|unknown|>, also where nobody speaks.
        text_language: of the answer; a question's sentence does not say it.
        timestamps: renders <|timestamps|><|0.00|>: the first time is given, not learned.
        instruction: output instruction, a name without bars: "itn", "caption_clotho", "scene".
        question: for the task question alone: a person's text, in which nothing ever becomes a tag.
    Raises:
        TagError: a combination that no sentence can say, or a name that can be no tag.
    """

    task: TaskTag
    audio_language: str | None
    text_language: str
    timestamps: bool = False
    instruction: str | None = None
    question: str | None = None

    def __post_init__(self) -> None:
        if self.task not in TASK_TAGS:
            raise TagError(f"task is {self.task!r}: expected one of {', '.join(TASK_TAGS)}")
        if self.audio_language is not None:
            _check_language("audio_language", self.audio_language, AUDIO_LANGUAGES)
        _check_language("text_language", self.text_language, LANGUAGES)
        self._check_languages_meet()
        self._check_instruction()
        self._check_question()

    def sentence(self, custom: CustomTags | None = None) -> str:
        """Render the tag sentence; custom tags stand under their own names.

        Raises:
            TagError: a language or instruction is neither a released nor one of the custom tags.
        """
        return "".join(text for text, _ in self.pieces(custom))

    def pieces(self, custom: CustomTags | None = None) -> list[tuple[str, bool]]:
        """Render the sentence in pieces (text, whether it is tags): a question is plain text between two pieces of tags."""
        head = TRANSCRIPTION_TAG[self.task] + (UNKNOWN if self.audio_language is None else _known(self.audio_language, custom, "languages"))
        if self.question is not None:
            return [(head + QUESTION, True), (self.question, False), (ANSWER, True)]
        tags = head + f"<|{self.task}|>" + _known(self.text_language, custom, "languages")
        tags += TIMESTAMPS + SRWT_START if self.timestamps else NO_TIMESTAMPS
        if self.instruction is not None:
            tags += _known(self.instruction, custom, "instructions")
        return [(tags, True)]

    def _check_languages_meet(self) -> None:
        """Check that a transcript is in the language spoken and a translation in another one; scripts and dialects are one language."""
        if self.audio_language is None or self.task not in ("transcribe", "translate"):
            return
        same = self.audio_language.split("_")[0] == self.text_language.split("_")[0]
        if self.task == "transcribe" and not same:
            raise TagError(f"transcribe: {self.audio_language} speech cannot be written in {self.text_language}; that is task translate")
        if self.task == "translate" and same:
            raise TagError(f"translate: speech and text are both {self.text_language}; that is task transcribe")

    def _check_instruction(self) -> None:
        """Check that the instruction goes with the task, and the times with both; a custom instruction goes with all but questions."""
        name, allowed = self.instruction, INSTRUCTIONS[self.task]
        if name is not None and name not in allowed:
            if self.task == "question":
                raise TagError(f"question: takes no output instruction, found {name!r}; say it in the question")
            owners = [task for task, names in INSTRUCTIONS.items() if name in names]
            if owners:
                owner = " and ".join(owners)
                raise TagError(f"{self.task}: the instruction {name} belongs to {owner}; expected {', '.join(allowed)} or none")
            _check_free_name("instruction", name, INSTRUCTION_NAME, f"expected {', '.join(allowed)}, a custom instruction or none")
        timed = TIMED_INSTRUCTIONS[self.task]
        released = name is None or name in allowed
        if self.timestamps and ((released and name not in timed) or not timed):
            raise TagError(
                f"{self.task}{'' if name is None else ' with ' + name}: takes no timestamps; they go with transcribe (plain, itn, wo_itn) "
                "and keyword (event, speaker_meta, audio_grounding)"
            )

    def _check_question(self) -> None:
        """Check that the question is there exactly where the task is question."""
        if self.task == "question" and not (self.question or "").strip():
            raise TagError("question: the text of the question is missing")
        if self.task != "question" and self.question is not None:
            raise TagError(f"{self.task}: takes no question, found {self.question!r}; expected task question")


def parse_sentence(sentence: str, custom: CustomTags | None = None) -> TagPrefix:
    """Read a tag sentence back; white space at its ends is dropped.

    A question's sentence does not say the language of its answer: it is taken to be that of the audio, else English.

    Args:
        sentence: the tags alone, without the audio in front and without an answer behind.
        custom: the model's own tags.
    Raises:
        TagError: a wrong, missing or misplaced tag; the message says which and where.
    """
    text = sentence.strip()
    head = text.split(QUESTION, 1)[0]
    check_spelling(head)
    reader = _Reader(text)
    transcription = reader.take("a transcription tag", (TRANSCRIPT, ANALYSIS))
    audio_tag = reader.take_language("audio language", (UNKNOWN, *_bars(AUDIO_LANGUAGES)), custom)
    audio_language = None if audio_tag == UNKNOWN else audio_tag[2:-2]
    if reader.peek() == QUESTION:
        prefix = TagPrefix("question", audio_language, audio_language or "en", question=reader.take_question())
    else:
        task = reader.take("a task tag", _bars(task for task in TASK_TAGS if task != "question"))[2:-2]
        text_language = reader.take_language("text language", _bars(LANGUAGES), custom)[2:-2]
        timestamps = reader.take("a timestamps tag", (NO_TIMESTAMPS, TIMESTAMPS)) == TIMESTAMPS
        if timestamps:
            reader.take("the first time", (SRWT_START,))
        instruction = reader.take_instruction(custom)
        prefix = TagPrefix(typing.cast(TaskTag, task), audio_language, text_language, timestamps, instruction)
    if TRANSCRIPTION_TAG[prefix.task] != transcription:
        raise TagError(f"tag sentence: {prefix.task} stands under {TRANSCRIPTION_TAG[prefix.task]}, found {transcription}")
    return prefix


class _Reader:
    """Take tags from a sentence one by one; an error says what was expected at which character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str | None:
        """Look at the tag that comes next; None where none does."""
        match = TAG_PATTERN.match(self.text, self.at)
        return match.group() if match else None

    def take(self, what: str, allowed: tuple[str, ...]) -> str:
        """Take the next tag, which must be one of those allowed."""
        tag = self.peek()
        if tag in allowed and tag is not None:
            self.at += len(tag)
            return tag
        raise TagError(f"tag sentence: {self._found(tag)} at character {self.at}; expected {what} ({', '.join(allowed)})")

    def take_language(self, what: str, released: tuple[str, ...], custom: CustomTags | None) -> str:
        """Take a released or custom language tag."""
        return self.take(f"the {what}", released + _bars(custom.languages if custom else ()))

    def take_question(self) -> str:
        """Take a question and its <|answer|>, which ends the sentence; tags that the question's text holds stay text."""
        start = self.at + len(QUESTION)
        if len(self.text) < start + len(ANSWER) or not self.text.endswith(ANSWER):
            raise TagError(f"tag sentence: the question at character {start} is not closed; expected {ANSWER} at the end")
        self.at = len(self.text)
        return self.text[start : -len(ANSWER)]

    def take_instruction(self, custom: CustomTags | None) -> str | None:
        """Take the instruction if there is one; nothing may stand behind it."""
        names = {name for task_names in INSTRUCTIONS.values() for name in task_names} | set(custom.instructions if custom else ())
        tag, instruction = self.peek(), None
        if tag is not None and tag[2:-2] in names:
            instruction = tag[2:-2]
            self.at += len(tag)
            tag = self.peek()
        if self.at < len(self.text):
            expected = "an output instruction or the end" if instruction is None else "nothing behind the output instruction"
            raise TagError(f"tag sentence: {self._found(tag)} at character {self.at}; expected {expected}")
        return instruction

    def _found(self, tag: str | None) -> str:
        """Say what stands where something else was expected."""
        if tag is None:
            rest = self.text[self.at : self.at + 20]
            return f"found {rest!r}" if rest else "the sentence ends"
        return f"found {tag}" if tag in OFFSETS else unknown_tag(tag)


def _bars(names: typing.Iterable[str]) -> tuple[str, ...]:
    """Put bars around names."""
    return tuple(f"<|{name}|>" for name in names)


def _check_language(what: str, name: str, released: tuple[str, ...]) -> None:
    """Check that a name is a released language or could be a custom one."""
    if name not in released:
        _check_free_name(what, name, LANGUAGE_NAME, f"expected one of {', '.join(released)} or a custom language (ar, pt_br)")


def _check_free_name(what: str, name: object, form: re.Pattern[str], expected: str) -> None:
    """Check that a name which is no released tag of this kind could be a custom one."""
    tag = f"<|{name}|>"
    if tag in MISSPELT:
        raise TagError(f"{what} is {name!r}: {unknown_tag(tag)}")
    if not isinstance(name, str) or tag in OFFSETS or not form.fullmatch(name):
        raise TagError(f"{what} is {name!r}: {expected}")


def _known(name: str, custom: CustomTags | None, kind: Literal["languages", "instructions"]) -> str:
    """Give the tag of a name that is released or among the custom tags of its kind."""
    tag = f"<|{name}|>"
    if tag in OFFSETS:
        return tag
    names = () if custom is None else custom.languages if kind == "languages" else custom.instructions
    if name in names:
        return tag
    listed = ", ".join(names) or "none"
    raise TagError(f"{unknown_tag(tag)}; this model's custom {kind}: {listed}")
