"""The answers of the tagged tasks: read into values, and values written as the targets that training learns.

Every reader raises TagError where an answer has not its task's form, and says where. What a writer writes, the reader of
the same form reads back. The formats that the released model has (timed transcript, note analysis, labels) are its own;
the others are built of its tags and are this project's choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tag_schema.timestamps import SRWT_START, timestamp_seconds, timestamp_token
from tag_schema.vocabulary import DELIMITER, MIDI_NUMBERS, SILENCE, TAG_PATTERN, TagError

LABEL_SEPARATOR = ";"  # labels of AudioSet hold commas
QUALITY_SEPARATOR = ","


@dataclass(frozen=True, slots=True)
class TimedLabel:
    """What is heard from when to when (a sound event, a speaker's turn), in seconds of the clip."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity or a filled slot: its type and the words that name it."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Intent:
    """What a speaker wants: an action, and the field of life it belongs to where the corpus says so."""

    action: str
    scenario: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A musical note; None or empty where it was not said."""

    pitch: int | None = None
    velocity: int | None = None
    instrument: str | None = None
    qualities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Song:
    """A piece of music by its title, and by its artist where that was said."""

    title: str
    artist: str | None = None


def read_text(answer: str) -> str:
    """Read plain text: tags become spaces, runs of white space one space."""
    return " ".join(TAG_PATTERN.sub(" ", answer).split())


def read_label(answer: str) -> str:
    """Read one label, without white space and a full stop at its end; its case is kept."""
    label = answer.strip().removesuffix(".").rstrip()
    if not label:
        raise TagError("label: the answer is empty")
    return _plain(label, "label")


def read_labels(answer: str) -> tuple[str, ...]:
    """Read labels that semicolons separate; an empty answer has none."""
    parts = (part.strip() for part in answer.strip().removesuffix(".").split(LABEL_SEPARATOR))
    return tuple(_plain(part, "labels") for part in parts if part)


def write_labels(labels: Iterable[str]) -> str:
    """Write labels in their order, separated by semicolons."""
    return f"{LABEL_SEPARATOR} ".join(_plain(label, "labels", without=LABEL_SEPARATOR) for label in labels)


def read_yes_no(answer: str) -> bool:
    """Read yes or no, in any case, with or without a full stop."""
    word = answer.strip().rstrip(".!").lower()
    if word not in ("yes", "no"):
        raise TagError(f"yes or no: found {answer.strip()!r}")
    return word == "yes"


def write_yes_no(value: bool) -> str:
    """Write yes or no."""
    return "yes" if value else "no"


def read_speakers(answer: str) -> tuple[str, ...]:
    """Read what several speakers say at once: a text each, in the order in which they begin, `<|delim|>` between."""
    return tuple(text for text in map(read_text, answer.split(DELIMITER)) if text)


def write_speakers(texts: Iterable[str]) -> str:
    """Write what several speakers say, in the order in which they begin."""
    return DELIMITER.join(_plain(text, "overlapped speech") for text in texts)


def read_timed_labels(answer: str) -> tuple[TimedLabel, ...]:
    """Read `label<|start|><|end|>` one after another; they may overlap, and <|sil|> alone says that nothing is heard.

    The <|0.00|> that the tag sentence gives may stand in front.
    """
    text = answer.strip().removeprefix(SRWT_START).strip()
    if text in ("", SILENCE):
        return ()
    found: list[TimedLabel] = []
    cursor, start = 0, None
    label = ""
    for match in TAG_PATTERN.finditer(text):
        seconds = timestamp_seconds(match.group())
        before = text[cursor : match.start()].strip()
        where = f"at character {match.start()} of {text!r}"
        if seconds is None:
            raise TagError(f"timed labels: {match.group()} {where} is no time")
        if start is None:
            if not before:
                raise TagError(f"timed labels: {match.group()} {where} has no label in front")
            label, start = before, seconds
        else:
            if before or seconds < start:
                raise TagError(f"timed labels: {match.group()} {where}: expected the end of {label!r}, at or after {start:.2f} s")
            found.append(TimedLabel(label, start, seconds))
            start = None
        cursor = match.end()
    if start is not None or text[cursor:].strip():
        raise TagError(f"timed labels: the last one of {text!r} has no end")
    return tuple(found)


def write_timed_labels(labels: Iterable[TimedLabel]) -> str:
    """Write timed labels by their starts, without the <|0.00|> that the tag sentence gives; nothing heard is <|sil|>."""
    ordered = sorted(labels, key=lambda item: (item.start_s, item.end_s))
    for item in ordered:
        if item.end_s < item.start_s:
            raise TagError(f"timed labels: {item.label!r} ends at {item.end_s} s, before its start at {item.start_s} s")
    pieces = [_plain(item.label, "timed labels") + timestamp_token(item.start_s) + timestamp_token(item.end_s) for item in ordered]
    return "".join(pieces) or SILENCE


_ENTITY = re.compile(
    r"<\|startofentityvalue\|>([^<>]*)<\|endofentityvalue\|><\|startofentitytype\|>([^<>]*)<\|endofentitytype\|>\s*",
)


def read_entities(answer: str) -> tuple[Entity, ...]:
    """Read entities or slots, each its value and then its type between their tags; an empty answer has none."""
    text = answer.strip()
    found: list[Entity] = []
    cursor = 0
    while cursor < len(text):
        match = _ENTITY.match(text, cursor)
        if match is None:
            raise TagError(f"entities: expected a value and a type between their tags at character {cursor} of {text!r}")
        found.append(Entity(type=match.group(2).strip(), value=match.group(1).strip()))
        cursor = match.end()
    return tuple(found)


def write_entities(entities: Iterable[Entity]) -> str:
    """Write entities or slots in their order."""
    return "".join(
        f"<|startofentityvalue|>{_plain(entity.value, 'entity', without='<>')}<|endofentityvalue|>"
        f"<|startofentitytype|>{_plain(entity.type, 'entity', without='<>')}<|endofentitytype|>"
        for entity in entities
    )


def read_intent(answer: str) -> Intent:
    """Read `<|scenario|>alarm<|action|>set`; the scenario may be missing."""
    fields = _fields(answer, ("<|scenario|>", "<|action|>"), "intent")
    action = fields.get("<|action|>", "")
    if not action:
        raise TagError(f"intent: {answer.strip()!r} has no <|action|>")
    return Intent(action, fields.get("<|scenario|>") or None)


def write_intent(intent: Intent) -> str:
    """Write an intent, its scenario first."""
    scenario = "" if intent.scenario is None else "<|scenario|>" + _plain(intent.scenario, "intent")
    return f"{scenario}<|action|>{_plain(intent.action, 'intent')}"


def read_note(answer: str) -> Note:
    """Read `<|pitch|><|midi_pitch_60|><|velocity|><|midi_velocity_80|><|instrument|>guitar<|sonic|>dark, percussive`.

    Each part may be missing: the scorer decides what that costs.
    """
    fields = _fields(answer, ("<|pitch|>", "<|velocity|>", "<|instrument|>", "<|sonic|>"), "note")
    qualities = (part.strip() for part in fields.get("<|sonic|>", "").split(QUALITY_SEPARATOR))
    return Note(
        pitch=_midi_number(fields.get("<|pitch|>"), "midi_pitch"),
        velocity=_midi_number(fields.get("<|velocity|>"), "midi_velocity"),
        instrument=_without_tags(fields.get("<|instrument|>")) or None,
        qualities=tuple(_plain(quality, "note") for quality in qualities if quality),
    )


def write_note(note: Note) -> str:
    """Write what is known of a note, in the released order: pitch, velocity, instrument, qualities."""
    pieces: list[str] = []
    for name, number in (("pitch", note.pitch), ("velocity", note.velocity)):
        if number is not None:
            if not 0 <= number < MIDI_NUMBERS:
                raise TagError(f"note: {name} is {number}, expected a MIDI number from 0 to {MIDI_NUMBERS - 1}")
            pieces.append(f"<|{name}|><|midi_{name}_{number}|>")
    if note.instrument is not None:
        pieces.append("<|instrument|>" + _plain(note.instrument, "note"))
    if note.qualities:
        qualities = [_plain(quality, "note", without=QUALITY_SEPARATOR) for quality in note.qualities]
        pieces.append("<|sonic|>" + f"{QUALITY_SEPARATOR} ".join(qualities))
    return "".join(pieces)


def read_song(answer: str) -> Song:
    """Read `title<|delim|>artist`; the artist may be missing."""
    title, _, artist = answer.partition(DELIMITER)
    if not title.strip():
        raise TagError(f"song: {answer.strip()!r} has no title")
    return Song(_plain(title.strip(), "song"), _without_tags(artist.strip()) or None)


def write_song(song: Song) -> str:
    """Write a title, and the artist behind it."""
    artist = "" if song.artist is None else DELIMITER + _plain(song.artist, "song")
    return _plain(song.title, "song") + artist


def _fields(answer: str, names: tuple[str, ...], what: str) -> dict[str, str]:
    """Split an answer at the tags that open its fields, each at most once."""
    text = answer.strip()
    marks = [match for match in TAG_PATTERN.finditer(text) if match.group() in names]
    before = text[: marks[0].start()].strip() if marks else text
    if before:
        raise TagError(f"{what}: {before!r} stands in no field; expected {', '.join(names)}")
    fields: dict[str, str] = {}
    for number, match in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        if match.group() in fields:
            raise TagError(f"{what}: {match.group()} is said twice, again at character {match.start()}")
        fields[match.group()] = text[match.end() : end].strip()
    return fields


def _midi_number(field: str | None, stem: str) -> int | None:
    """Read the number of a pitch or velocity tag; None where the field is missing."""
    if field is None:
        return None
    match = re.fullmatch(rf"<\|{stem}_(\d{{1,3}})\|>", field)
    if match is None or int(match.group(1)) >= MIDI_NUMBERS:
        raise TagError(f"note: found {field!r}, expected <|{stem}_0|> .. <|{stem}_{MIDI_NUMBERS - 1}|>")
    return int(match.group(1))


def _without_tags(text: str | None) -> str | None:
    """Check that a field that may be missing holds no tags."""
    return _plain(text, "answer") if text else text


def _plain(text: str, what: str, without: str = "") -> str:
    """Check that a piece of an answer has text and no tags, nor the characters that its form keeps for itself."""
    stripped = text.strip()
    tag = TAG_PATTERN.search(stripped)
    if tag is not None:
        raise TagError(f"{what}: {tag.group()} stands in {stripped!r}, where plain text is expected")
    taken = [character for character in without if character in stripped]
    if taken or not stripped:
        raise TagError(f"{what}: {stripped!r} {'holds ' + taken[0] + ', which separates' if taken else 'is empty'}; write it otherwise")
    return stripped
