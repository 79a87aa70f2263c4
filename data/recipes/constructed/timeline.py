"""Put sounds and speech on a line of time: every label knows when its sound really begins and ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.recipes.constructed.voices import Speech
from data.recipes.constructed.waves import RATE, Wave, faded, n_samples, peaked, put, seconds_of
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word

_FLOOR_DB = -40.0  # what lies this far below the loudest 5 ms of an event at its ends is cut away
_HIGHEST = 0.97


@dataclass(frozen=True, slots=True)
class Placed:
    """Something that is heard from when to when, in seconds."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """Sounds on a line: (n,) float32, and what is heard when, by the order of the starts."""

    samples: Wave
    events: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """People who speak: the samples, and for each turn its words and its span, labelled by who speaks."""

    samples: Wave
    words: tuple[tuple[Word, ...], ...]
    spans: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Parts one after another: the samples, when each part begins and ends, and the words of all that are speech."""

    samples: Wave
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    words: tuple[Word, ...]


def trimmed(samples: Wave, floor_db: float = _FLOOR_DB) -> Wave:
    """Cut away what is all but silent at both ends, in steps of 5 ms; the ends fade for 2 ms.

    Raises:
        DataError: there is no sound in it.
    """
    step = n_samples(0.005)
    levels = np.maximum.reduceat(np.abs(samples), np.arange(0, len(samples), step)) if len(samples) else np.zeros(1)
    heard = np.flatnonzero(levels > levels.max() * 10 ** (floor_db / 20))
    if not len(heard):
        raise DataError(f"timeline: a part of {seconds_of(samples):.2f} s holds no sound")
    return faded(samples[heard[0] * step : (heard[-1] + 1) * step], 0.002, 0.002)


def place(
    events: Sequence[tuple[str, Wave]],
    seconds: float,
    rng: np.random.Generator,
    *,
    overlap: bool = False,
    min_gap_s: float = 0.2,
    snr_db: float = 20.0,
    bed: Wave | None = None,
) -> Mixed:
    """Put labelled sounds at random times.

    Args:
        events: what is heard; without overlap in the order of time, with at least min_gap_s before, between and behind.
        seconds: length of the whole.
        overlap: let each begin anywhere.
        bed: what is heard all the time, repeated where it is short, snr_db below the quietest event.
    Raises:
        DataError: they do not fit in.
    """
    sounds = [trimmed(wave) for _, wave in events]
    total = n_samples(seconds)
    starts = (_anywhere if overlap else _in_turn)([len(sound) for sound in sounds], total, n_samples(min_gap_s), rng)
    line = np.zeros(total, dtype=np.float32)
    for sound, start in zip(sounds, starts, strict=True):
        put(line, sound, start)
    if bed is not None:
        quietest = min((_rms(sound) for sound in sounds), default=0.1)
        behind = np.resize(bed, total)
        line += behind * np.float32(quietest * 10 ** (-snr_db / 20) / max(_rms(behind), 1e-9))
    placed = (
        Placed(label, start / RATE, (start + len(sound)) / RATE) for (label, _), sound, start in zip(events, sounds, starts, strict=True)
    )
    return Mixed(_within(line), tuple(sorted(placed, key=lambda item: (item.start_s, item.end_s))))


def take_turns(parts: Sequence[tuple[str, Speech]], gaps_s: Sequence[float]) -> Conversation:
    """Let people speak one after another.

    Args:
        parts: who speaks, and what.
        gaps_s: from the end of each turn to the start of the next; below zero they speak at the same time.
    Raises:
        DataError: the gaps are not one less than the turns, or a turn would begin before the one in front of it.
    """
    if len(gaps_s) != len(parts) - 1:
        raise DataError(f"timeline: {len(gaps_s)} gaps between {len(parts)} turns, expected {len(parts) - 1}")
    starts, end = [0], 0
    for (_, speech), gap in zip(parts, [*gaps_s, 0.0], strict=True):
        end = max(end, starts[-1] + len(speech.samples))
        starts.append(starts[-1] + len(speech.samples) + round(gap * RATE))
    starts.pop()
    if any(late < early for early, late in itertools.pairwise(starts)):
        raise DataError(f"timeline: gaps of {list(gaps_s)} s put a turn before the one in front of it; make the overlaps shorter")
    line = np.zeros(end, dtype=np.float32)
    for (_, speech), start in zip(parts, starts, strict=True):
        put(line, speech.samples, start)
    words = tuple(_shifted(speech.words, start / RATE) for (_, speech), start in zip(parts, starts, strict=True))
    spans = tuple(Placed(who, said[0].start_s, said[-1].end_s) for (who, _), said in zip(parts, words, strict=True))
    return Conversation(_within(line), words, spans)


def mix_speakers(first: Speech, second: Speech, rng: np.random.Generator, overlap_share: float) -> Conversation:
    """Let a second speaker begin before the first has ended.

    Args:
        overlap_share: of the shorter text, how much is spoken at the same time, 0 to 0.95; at 0 there is a short pause.
    """
    together = overlap_share * min(first.duration_s, second.duration_s)
    gap = -together if overlap_share > 0 else float(rng.uniform(0.2, 0.6))
    level = np.float32(10 ** (rng.uniform(-3, 3) / 20))
    return take_turns([("speaker 1", first), ("speaker 2", Speech(second.samples * level, second.words))], [gap])


def join(parts: Sequence[Speech | Wave], gaps_s: Sequence[float]) -> Joined:
    """Put parts one after another.

    Args:
        gaps_s: silence between them (one less than the parts), or also in front and behind (one more).
    Raises:
        DataError: another number of gaps.
    """
    if len(gaps_s) not in (len(parts) - 1, len(parts) + 1):
        raise DataError(f"timeline: {len(gaps_s)} gaps for {len(parts)} parts, expected {len(parts) - 1} or {len(parts) + 1}")
    around = list(gaps_s) if len(gaps_s) > len(parts) else [0.0, *gaps_s, 0.0]
    pieces: list[Wave] = []
    starts: list[float] = []
    ends: list[float] = []
    words: list[Word] = []
    now = 0
    for part, gap in zip(parts, around, strict=False):
        samples = part.samples if isinstance(part, Speech) else part
        pieces += [np.zeros(round(gap * RATE), dtype=np.float32), samples.astype(np.float32)]
        now += len(pieces[-2])
        starts.append(now / RATE)
        if isinstance(part, Speech):
            words += _shifted(part.words, now / RATE)
        now += len(samples)
        ends.append(now / RATE)
    pieces.append(np.zeros(round(around[-1] * RATE), dtype=np.float32))
    return Joined(_within(np.concatenate(pieces)), tuple(starts), tuple(ends), tuple(words))


def _shifted(words: Sequence[Word], by_s: float) -> tuple[Word, ...]:
    return tuple(Word(word.text, word.start_s + by_s, word.end_s + by_s) for word in words)


def _anywhere(lengths: Sequence[int], total: int, gap: int, rng: np.random.Generator) -> list[int]:
    if max(lengths, default=0) > total:
        raise DataError(f"timeline: an event of {max(lengths) / RATE:.2f} s does not fit in {total / RATE:.2f} s; make the whole longer")
    return [int(rng.integers(total - length + 1)) for length in lengths]


def _in_turn(lengths: Sequence[int], total: int, gap: int, rng: np.random.Generator) -> list[int]:
    """Share what is left of the whole out as gaps, by cuts at random."""
    slack = total - sum(lengths) - gap * (len(lengths) + 1)
    if slack < 0:
        least = f"{(total - slack) / RATE:.2f} s with their gaps"
        raise DataError(f"timeline: {len(lengths)} events need {least}, found {total / RATE:.2f} s; make the whole longer")
    cuts = np.sort(rng.integers(0, slack + 1, len(lengths)))
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if lengths else np.zeros(0)
    return [int(cut + shift + gap * (number + 1)) for number, (cut, shift) in enumerate(zip(cuts, before, strict=True))]


def _rms(samples: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _within(samples: Wave) -> Wave:
    """Scale down what passes full scale."""
    return peaked(samples, _HIGHEST) if np.abs(samples).max(initial=0.0) > _HIGHEST else samples
