"""Seconds <-> <|12.34|>; timed words and spans read out of an answer, and words written as a timed transcript (SRWT).

A timed transcript is a chain with one time between neighbours: `<|0.00|><|sil|><|0.54|>word<|0.86|>word<|1.17|>`. A word's
end is the next item's start and a pause is the item <|sil|>. Times lie on a grid of 0.01 s from the start of the clip that
the model heard; what lies later in a recording is reached by the clip's offset.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tag_schema.vocabulary import OFFSETS, SILENCE, SPECIAL_TOKENS, TAG_PATTERN, TIMESTAMP_LAST, TIMESTAMP_ZERO, TagError

STEPS_PER_S = 100
LAST_STEP = TIMESTAMP_LAST - TIMESTAMP_ZERO  # 3000: the clip's 30th second
SRWT_START = SPECIAL_TOKENS[TIMESTAMP_ZERO]  # given by the tag sentence, so that an answer goes on behind it


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it is said, in seconds of the recording."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a clip that an answer points at, in seconds."""

    start_s: float
    end_s: float


def timestamp_token(seconds: float) -> str:
    """Give the token of a moment of the clip, to the nearest 0.01 s.

    Raises:
        TagError: the moment is not a number or lies outside 0 .. 30 s.
    """
    if not math.isfinite(seconds):
        raise TagError(f"a time is {seconds}: expected seconds from 0 to {LAST_STEP / STEPS_PER_S:.0f}")
    return _step_token(round(seconds * STEPS_PER_S), f"{seconds:.3f} s")


def timestamp_seconds(token: str) -> float | None:
    """Give the seconds of a timestamp token; None for any other text."""
    step = _step(token)
    return None if step is None else step / STEPS_PER_S


def words_to_srwt(words: Iterable[Word], *, offset_s: float = 0.0, duration_s: float | None = None) -> str:
    """Write timed words as a timed transcript, pauses as <|sil|>.

    Args:
        words: in the order of their times, in seconds of the recording.
        offset_s: where the clip starts in the recording.
        duration_s: length of the clip; with it the pause behind the last word is written too, and no time passes the clip's end.
    Returns:
        the chain from <|0.00|> on; the empty string where there is neither a word nor a duration.
    Raises:
        TagError: a word has no text or holds a tag, ends before it starts, begins before its neighbour's end, or lies outside the clip.
    """
    end = LAST_STEP if duration_s is None else min(LAST_STEP, math.floor(duration_s * STEPS_PER_S + 1e-6))
    pieces: list[str] = []
    now = 0
    for number, word in enumerate(words, 1):
        where = f"word {number} ({word.text!r}, {word.start_s:.3f}-{word.end_s:.3f} s)"
        start, stop = _word_steps(word, offset_s, now, end, where)
        if start > now:
            pieces += [SILENCE, _step_token(start, where)]
        pieces += [_word_text(word.text, where), _step_token(stop, where)]
        now = stop
    if duration_s is not None and end > now:
        pieces += [SILENCE, _step_token(end, "the end of the clip")]
    return SRWT_START + "".join(pieces) if pieces else ""


def srwt_to_words(text: str, *, offset_s: float = 0.0) -> list[Word]:
    """Read a timed transcript: the words with their times, pauses left out.

    The first time may be missing, as it is in an answer whose tag sentence gave <|0.00|>. Two times side by side are a pause
    without its mark.

    Args:
        text: the answer; white space around words is dropped.
        offset_s: where the clip starts in the recording; it is added to every time.
    Raises:
        TagError: times fall or leave the grid, a word is not closed by a time, or another tag stands between; the message
            says at which character.
    """
    words: list[Word] = []
    now, item, item_at, cursor = 0, "", 0, 0
    for match in TAG_PATTERN.finditer(text):
        before = text[cursor : match.start()].strip()
        item, item_at = _joined(item, before, item_at, cursor)
        cursor = match.end()
        if match.group() == SILENCE:
            item, item_at = _joined(item, SILENCE, item_at, match.start())
            continue
        step = _step(match.group())
        if step is None:
            raise TagError(f"timed transcript: {_not_a_time(match.group())} at character {match.start()}")
        if step < now:
            raise TagError(
                f"timed transcript: {match.group()} at character {match.start()} lies before {_step_token(now, '')}; times never fall"
            )
        if item and item != SILENCE:
            words.append(Word(item, _absolute(now, offset_s), _absolute(step, offset_s)))
        now, item, item_at = step, "", match.end()
    rest = (item + " " + text[cursor:]).strip()
    if rest:
        raise TagError(f"timed transcript: {rest!r} at character {item_at} is not closed by a time")
    return words


def find_spans(text: str) -> list[Span]:
    """Find every stretch that an answer points at by two times, `from <|2.33|> to <|3.26|>`, in order.

    A timed transcript, which begins and ends with a time and has text between all of them, gives the stretch of each word.
    Elsewhere times are taken in pairs; one that is not followed by a later one stands for no stretch.
    """
    chain = _chain_spans(text)
    if chain is not None:
        return chain
    spans: list[Span] = []
    start: int | None = None
    for match in TAG_PATTERN.finditer(text):
        step = _step(match.group())
        if step is None:
            continue
        if start is not None and step > start:
            spans.append(Span(start / STEPS_PER_S, step / STEPS_PER_S))
            start = None
        else:
            start = step
    return spans


def _chain_spans(text: str) -> list[Span] | None:
    """Give the words' stretches where the whole text is a timed transcript of two words or more, else None."""
    stripped = text.strip()
    tags = list(TAG_PATTERN.finditer(stripped))
    times = [match for match in tags if _step(match.group()) is not None]
    if len(times) < 3 or times[0].start() != 0 or times[-1].end() != len(stripped):
        return None
    if any(first.end() == second.start() for first, second in itertools.pairwise(times)):
        return None
    try:
        return [Span(word.start_s, word.end_s) for word in srwt_to_words(stripped)]
    except TagError:
        return None


def _step(token: str) -> int | None:
    """Give a timestamp token's place on the grid; None for any other text."""
    offset = OFFSETS.get(token, -1)
    return offset - TIMESTAMP_ZERO if TIMESTAMP_ZERO <= offset <= TIMESTAMP_LAST else None


def _step_token(step: int, where: str) -> str:
    """Give the token of a place on the grid."""
    if not 0 <= step <= LAST_STEP:
        raise TagError(
            f"{where}: {step / STEPS_PER_S:.2f} s of the clip has no token, they go from 0.00 to {LAST_STEP / STEPS_PER_S:.2f}; "
            "cut the audio and say where the clip starts (offset_s)"
        )
    return SPECIAL_TOKENS[TIMESTAMP_ZERO + step]


def _word_steps(word: Word, offset_s: float, now: int, end: int, where: str) -> tuple[int, int]:
    """Put a word on the grid between its neighbour's end and the clip's; one step is forgiven on either side, for rounding."""
    if not (math.isfinite(word.start_s) and math.isfinite(word.end_s)) or word.end_s < word.start_s:
        raise TagError(f"{where}: expected a start and a later end in seconds")
    start = round((word.start_s - offset_s) * STEPS_PER_S)
    stop = round((word.end_s - offset_s) * STEPS_PER_S)
    if start < now - 1:
        raise TagError(f"{where}: starts before {now / STEPS_PER_S + offset_s:.2f} s, where the clip or the word before it leaves room")
    if stop > end + 1:
        raise TagError(f"{where}: ends after {end / STEPS_PER_S + offset_s:.2f} s, where the clip ends; cut the audio and give offset_s")
    start = min(max(start, now), end)
    return start, min(max(stop, start), end)


def _word_text(text: str, where: str) -> str:
    """Check the text of a word to be written."""
    stripped = text.strip()
    if not stripped:
        raise TagError(f"{where}: has no text; pauses need no word")
    if TAG_PATTERN.search(stripped):
        raise TagError(f"{where}: a word cannot hold a tag")
    return stripped


def _joined(item: str, more: str, item_at: int, more_at: int) -> tuple[str, int]:
    """Add text to the item that is being read; a pause and a word in one item are an error."""
    if not more:
        return item, item_at
    if item:
        raise TagError(f"timed transcript: {more!r} at character {more_at} follows {item!r} without a time between")
    return more, more_at


def _not_a_time(tag: str) -> str:
    """Say why a tag cannot stand in a timed transcript."""
    if tag[2:-2].replace(".", "", 1).isdigit():
        return f"{tag} is not a time of the grid (<|0.00|> .. <|30.00|>, two decimals)"
    return f"{tag} is neither a time nor {SILENCE}"


def _absolute(step: int, offset_s: float) -> float:
    """Turn a place on the grid into seconds of the recording."""
    return round(offset_s + step / STEPS_PER_S, 6)
