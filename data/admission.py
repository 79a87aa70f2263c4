"""Let a record into training, or say why not: its clips are there and can be heard, its answer has the form, it fits the window.

`check` and the index go through this room, so that what `check` says of a file is what training does with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from data.examples import build_prompt, clip_reader
from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.rows.archives import AudioInfo, probe
from data.rows.errors import RowError
from qwen_audio.audio import HOP, MIN_SAMPLES, SAMPLE_RATE, WINDOW_S, AudioClip
from qwen_audio.config import check_choice, option
from qwen_audio.decoding import CUT_OFF_S
from qwen_audio.errors import (
    AudioEmptyError,
    AudioError,
    AudioNotFoundError,
    AudioTooLongError,
    ConfigError,
    DataError,
    PromptError,
)
from qwen_audio.prompt import FULL_WINDOW_S, Prompt
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import TASKS, family_of
from tag_schema.timestamps import timestamp_seconds
from tag_schema.vocabulary import CONTENT_TOKENS, MISSPELT, TAG_PATTERN, TagError, unknown_tag

LongRows = Literal["ledger", "windows"]
EVALUATION = ("dev", "test", "valid", "validation", "eval", "evaluation")  # what a split that nothing is trained on is called
FRAME_S = HOP / SAMPLE_RATE
LEAST_S = MIN_SAMPLES / SAMPLE_RATE
PIECE_S = 600.0  # a long recording is decoded in pieces of this length
LATE_S = 0.05  # an answer's time may lie so far behind its clip's end: labels are rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionOptions:
    """What is let in, and how closely it is looked at."""

    long_audio: LongRows = option("ledger", "what becomes of clips over 30 s: left out with a line of account, or cut into windows")
    max_tokens: int | None = option(None, "most tokens of a row, audio positions included; the model's window where it is known")
    evaluation: bool = option(False, "let rows of dev and test splits in, for measuring")
    decode: bool = option(False, "decode every clip from end to end, instead of reading its header")
    trust_durations: bool = option(False, "take lengths that rows state without opening their files")

    def __post_init__(self) -> None:
        check_choice("long_audio", self.long_audio, ("ledger", "windows"))
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How many positions of a row's prompt are audio and text, and how many of the text are learned."""

    audio: int
    text: int
    learned: int

    @property
    def all(self) -> int:
        """All positions of the row."""
        return self.audio + self.text


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a row: its record as it is trained on (None where it is lost), lines of account, and its tokens where counted."""

    record: Record | None
    entries: tuple[Entry, ...]
    tokens: TokenCounts | None = None


def admit(
    record: Record, where: str, options: AdmissionOptions, root: Path, tokenizer: Tokenizer | None = None
) -> tuple[Record | None, list[Entry]]:
    """Do as `examine`, and return the record and the lines of account alone."""
    found = examine(record, where, options, root, tokenizer)
    return found.record, list(found.entries)


def examine(record: Record, where: str, options: AdmissionOptions, root: Path, tokenizer: Tokenizer | None = None) -> Admission:
    """Look at one record as training would.

    Args:
        record: as a row gave it.
        where: FILE:LINE, for the account.
        options: what is let in.
        root: where relative paths of clips begin.
        tokenizer: with it the row is rendered, with silence for its clips, and its tokens are counted.
    Returns:
        the record with the length of every clip, long ones cut where that is asked.
    """
    changes: list[Entry] = []
    try:
        _check_role(record, options)
        record = _with_lengths(record, where, options, root, changes)
        _check_answer(record, tokenizer)
        counts = None if tokenizer is None else count_tokens(record, tokenizer)
        if counts is not None and options.max_tokens is not None and counts.all > options.max_tokens:
            parts = f"{counts.audio} of audio, {counts.text} of text"
            raise RowError("past_window", f"{counts.all} tokens ({parts}), the window holds {options.max_tokens}")
    except RowError as error:
        return Admission(None, (Entry(record.id, error.reason, where, error.detail),))
    return Admission(record, tuple(changes), counts)


def count_tokens(record: Record, tokenizer: Tokenizer) -> TokenCounts:
    """Render a record whose clips' lengths are known with silence in their place, and count its positions.

    Raises:
        RowError: it cannot be rendered: a tag that the tokenizer does not have.
    """
    prompt = render_silent(record, tokenizer)
    audio = sum(map(len, prompt.spans))
    return TokenCounts(audio, len(prompt.token_ids) - audio, sum(prompt.learned))


def render_silent(record: Record, tokenizer: Tokenizer) -> Prompt:
    """Render a record with silence of the right length for each clip."""
    try:
        return build_prompt(record, tokenizer, _silence)
    except TagError as error:
        raise RowError("unknown_tag", str(error)) from error
    except (DataError, PromptError) as error:
        cause = error.__cause__
        reason = reason_of(cause) if isinstance(cause, AudioError) else "bad_row"
        raise RowError(reason, str(error).removeprefix(f"record {record.id}: ")) from error


def reason_of(error: AudioError) -> str:
    """Name the ledger's reason for audio that cannot be read."""
    reasons = {AudioNotFoundError: "no_file", AudioEmptyError: "empty_audio", AudioTooLongError: "too_long"}
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "corrupt")


def _silence(ref: AudioRef) -> AudioClip:
    assert ref.duration_s is not None, ref.path
    n_samples = round(ref.duration_s * SAMPLE_RATE)
    one_of_several = ref.start_s > 0 or ref.duration_s >= FULL_WINDOW_S  # windows of one source share their number
    return _silent_clip(n_samples, ref.path if one_of_several else "<silence>", ref.start_s)


@lru_cache(maxsize=4096)  # lengths repeat; the samples are one zero, seen n_samples times
def _silent_clip(n_samples: int, source: str, start_s: float) -> AudioClip:
    return AudioClip(np.broadcast_to(np.float32(0.0), n_samples), source, start_s)


def _check_role(record: Record, options: AdmissionOptions) -> None:
    role = record.meta.get("role") or record.meta.get("split", "")
    if role.lower() in EVALUATION and not options.evaluation:
        raise RowError("evaluation_split", f"split {record.meta.get('split', role)} is for {role}; nothing may be trained on it")


# Clips ----------------------------------------------------------------------------------------------------------------------


def _with_lengths(record: Record, where: str, options: AdmissionOptions, root: Path, changes: list[Entry]) -> Record:
    """Give every clip its length, or the windows it is cut into."""
    heard: dict[AudioRef, tuple[AudioRef, ...]] = {}
    for ref in record.audio:
        if ref in heard:
            continue
        exact, info = measured(ref, options, root)
        if info is not None:
            changes += _changes(record.id, ref, info, where)
        heard[ref] = _windows(record, exact, options)
        if len(heard[ref]) > 1:
            changes.append(Entry(record.id, "windows", where, f"{ref.path}: {exact.duration_s:.1f} s in {len(heard[ref])} windows"))
    return _rebuilt(record, heard)


def measured(ref: AudioRef, options: AdmissionOptions, root: Path) -> tuple[AudioRef, AudioInfo | None]:
    """Find a clip's length by its file, and what the file is; (the stated length, None) where that is trusted.

    Raises:
        RowError: the file cannot be read, the stretch lies outside it, or there is too little of it.
    """
    if options.trust_durations and ref.duration_s is not None and not options.decode:
        return ref, None
    path = root / ref.path
    try:
        info = _probed(str(path), _changed_at(path))
        length_s = _length_within(ref, info.duration_s)
        if options.decode:
            length_s = _decoded_s(ref, length_s, root, _changed_at(path))
    except AudioError as error:
        raise RowError(reason_of(error), str(error)) from error
    if length_s < LEAST_S - 1e-6:
        raise RowError("empty_audio", f"{ref.path}: {1000 * length_s:.1f} ms of sound, expected at least 30 ms")
    return replace(ref, duration_s=round(length_s, 6)), info


def _length_within(ref: AudioRef, total_s: float) -> float:
    """Return how much of a stretch its file holds; labels are rounded, so a quarter of a second may be missing."""
    left_s = total_s - ref.start_s
    if left_s <= 0 or (ref.duration_s is not None and ref.duration_s > left_s + CUT_OFF_S):
        end = "its end" if ref.duration_s is None else f"{ref.start_s + ref.duration_s:.2f} s"
        raise RowError("past_end", f"{ref.path}: from {ref.start_s:.2f} s to {end} is wanted, the file lasts {total_s:.2f} s")
    return left_s if ref.duration_s is None else min(ref.duration_s, left_s)


@lru_cache(maxsize=64)  # records of several tasks over one clip follow each other
def _probed(path: str, changed_at: int) -> AudioInfo:
    return probe(Path(path))


def _changed_at(path: Path) -> int:
    """Return when a file was written last; 0 where it lies in a shard or is missing."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _decoded_s(ref: AudioRef, header_s: float, root: Path, changed_at: int) -> float:
    """Decode a stretch from end to end and return its true length in seconds; of a long one a piece at a time."""
    read = clip_reader(root)
    if header_s <= PIECE_S:
        return read(ref).duration_s
    starts = [PIECE_S * piece for piece in range(math.ceil(header_s / PIECE_S))]
    return sum(read(AudioRef(ref.path, ref.start_s + at_s, min(PIECE_S, header_s - at_s))).duration_s for at_s in starts)


def _changes(name: str, ref: AudioRef, info: AudioInfo, where: str) -> list[Entry]:
    """Say how a clip that is heard differs from its file."""
    found = []
    if info.channels > 1:
        found.append(Entry(name, "mono", where, f"{ref.path}: {info.channels} channels averaged into one"))
    if info.rate != SAMPLE_RATE:
        found.append(Entry(name, "resampled", where, f"{ref.path}: {info.rate} Hz to {SAMPLE_RATE} Hz"))
    return found


def _windows(record: Record, ref: AudioRef, options: AdmissionOptions) -> tuple[AudioRef, ...]:
    """Bring a clip to what the encoder hears at once; less than one frame over 30 s counts as 30 s."""
    length_s = ref.duration_s or 0.0
    if length_s < WINDOW_S + FRAME_S:
        return (replace(ref, duration_s=min(length_s, WINDOW_S)),)
    found = f"{ref.path}: {length_s:.1f} s, the encoder hears {WINDOW_S:.0f} s per clip"
    if options.long_audio == "ledger":
        raise RowError("too_long", f"{found}; --long-audio windows cuts it")
    if _tells_times(record):
        raise RowError("too_long", f"{found}; its answer tells times, which count from the start of one clip: cut it and shift them")
    if record.prefix is not None and len(record.audio) > 1:
        raise RowError("too_long", f"{found}; of a task over {len(record.audio)} clips none is cut into windows")
    edges = [WINDOW_S * number for number in range(math.ceil(length_s / WINDOW_S))] + [length_s]
    if edges[-1] - edges[-2] < LEAST_S:
        edges[-2] = length_s - LEAST_S
    return tuple(AudioRef(ref.path, ref.start_s + first, round(last - first, 6)) for first, last in pairwise(edges))


def _rebuilt(record: Record, heard: Mapping[AudioRef, tuple[AudioRef, ...]]) -> Record:
    """Put what is heard in the place of each clip."""
    turns = tuple(
        replace(turn, parts=tuple(piece for part in turn.parts for piece in ((part,) if isinstance(part, str) else heard[part])))
        for turn in record.messages
    )
    return replace(record, audio=tuple(piece for ref in record.audio for piece in heard[ref]), messages=turns)


# Answers --------------------------------------------------------------------------------------------------------------------


def _tells_times(record: Record) -> bool:
    return bool(_times(record.target)) or (record.prefix is not None and record.prefix.timestamps)


def _times(text: str) -> list[float]:
    """List the seconds of the times that an answer tells."""
    found = (timestamp_seconds(match.group()) for match in TAG_PATTERN.finditer(text))
    return [seconds for seconds in found if seconds is not None]


def _check_answer(record: Record, tokenizer: Tokenizer | None) -> None:
    """Check that the answer of a tagged task has its task's form, and only tags that there are."""
    if record.prefix is None:
        return  # what is said in a chat may look like anything
    for match in TAG_PATTERN.finditer(record.target):
        tag = match.group()
        unsaid = tag not in MISSPELT if tokenizer is None else tag in tokenizer.custom  # without a tokenizer it may be a custom one
        if tag not in CONTENT_TOKENS and not unsaid:
            raise RowError("unknown_tag", f"in the answer: {unknown_tag(tag)}")
    task = TASKS.get(record.family or "") or family_of(record.prefix)
    try:
        if task is not None and record.target:
            task.parse(record.target)
    except TagError as error:
        raise RowError("bad_answer", f"{task.name if task else ''}: {error}") from error
    last_s = max(_times(record.target), default=0.0)
    if record.duration_s is not None and last_s > record.duration_s + LATE_S:
        raise RowError("bad_answer", f"the answer tells a time of {last_s:.2f} s, its clip lasts {record.duration_s:.2f} s")
