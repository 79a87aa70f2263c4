"""Musical notes (NSynth): pitch, chroma, velocity, instrument family and qualities, by our definitions and by the released script's.

The released script takes chroma from the places of pitches in a list instead of from pitches, which is not repeated here; and its mean
average precision of qualities from hard answers over whichever qualities occur, which is: as `map_hard`, beside `map_hard_fixed` over
all ten and `map_scored` from a model's scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.metrics.ranking import floor_of, hard_sums, marked
from eval.metrics.reading import Reading, answer_of, closed, right_answers, shares
from eval.metrics.sample import HEARD, Measured, Sample
from qwen_audio.errors import DataError
from tag_schema.vocabulary import MIDI_NUMBERS, TAG_PATTERN, TagError

FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")
QUALITIES = (
    "bright", "dark", "distortion", "fast_decay", "long_release", "multiphonic", "nonlinear_env", "percussive", "reverb", "tempo-synced",
)  # fmt: skip
NOTES_IN_OCTAVE = 12
_PARTS = ("<|pitch|>", "<|velocity|>", "<|instrument|>", "<|sonic|>")


def midi_number(text: str, part: Literal["pitch", "velocity"]) -> int:
    """Read the MIDI number of a note's pitch or velocity; what else the answer says does not matter.

    Raises:
        TagError: it is not said, or said twice, or is no MIDI number.
    """
    found = re.findall(rf"<\|midi_{part}_(\d+)\|>", text)
    if len(found) != 1 or int(found[0]) >= MIDI_NUMBERS:
        raise TagError(f"note: found {len(found)} numbers of {part} in {text[:60]!r}; expected one from 0 to {MIDI_NUMBERS - 1}")
    return int(found[0])


def note_field(text: str, tag: str) -> str:
    """Read what stands behind a tag, up to the next one; "" where the tag is missing.

    Raises:
        TagError: the answer has none of a note's tags at all.
    """
    if not any(part in text for part in _PARTS):
        raise TagError(f"note: {text[:60]!r} has none of {', '.join(_PARTS)}")
    _, _, rest = text.partition(tag)
    mark = TAG_PATTERN.search(rest)
    return (rest[: mark.start()] if mark else rest).strip()


_family = closed(FAMILIES, {"synth": "synth_lead", "lead synth": "synth_lead", "strings": "string"}, name="nsynth-families")
_quality = closed(QUALITIES, {"nonlinear envelope": "nonlinear_env"}, name="nsynth-qualities")


def _instrument(text: str) -> str:
    said = note_field(text, "<|instrument|>")
    if not said:
        raise TagError(f"note: {text[:60]!r} names no instrument")
    return _family.key(said)


def qualities(text: str) -> tuple[str, ...]:
    """Read a note's qualities, commas between; a note may have none."""
    return tuple(_quality.key(part) for part in note_field(text, "<|sonic|>").split(",") if part.strip())


PITCH = Reading("midi_pitch", lambda text: str(midi_number(text, "pitch")))
CHROMA = Reading("midi_pitch mod 12", lambda text: str(midi_number(text, "pitch") % NOTES_IN_OCTAVE))
VELOCITY = Reading("midi_velocity", lambda text: str(midi_number(text, "velocity")))
INSTRUMENT = Reading("11 families", _instrument)


@dataclass(frozen=True)
class PitchWithin:
    """The share of notes whose pitch is at most so many semitones off."""

    semitones: int = 1

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"pitch_within_{self.semitones}"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """More."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|midi_pitch|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Compare pitches; a missing one is far off. Chance is that of the best single pitch."""
        truths = np.array([_true_pitch(sample) for sample in samples], dtype=np.int64)
        found = [PITCH.found(sample) for sample in samples]
        near = [pitch is not None and abs(int(pitch) - truth) <= self.semitones for pitch, truth in zip(found, truths, strict=True)]
        constant = max(float((np.abs(truths - pitch) <= self.semitones).sum()) for pitch in range(MIDI_NUMBERS)) / max(len(truths), 1)
        return shares(near, (pitch is not None for pitch in found), chance=constant if len(truths) else None)


def _true_pitch(sample: Sample) -> int:
    try:
        return midi_number(right_answers(sample)[0], "pitch")
    except TagError as error:
        raise DataError(f"{sample.id}: the reference has no pitch: {error}") from error


def _after(pattern: str, text: str) -> str:
    found = re.findall(pattern, text)
    return found[0].split("<")[0] if found else ""


def released_qualities(text: str) -> tuple[str, ...]:
    """Read qualities as the released script does: split at a comma and one space, others than the ten dropped, never an error."""
    return tuple(part for part in _after(r"<\|sonic\|>(.*)", text).split(", ") if part in QUALITIES)


def _released_number(part: str) -> Reading:
    def key(text: str) -> str:
        found = re.findall(rf"<\|{part}\|><\|midi_{part}_(.*?)\|>", text)
        try:
            return str(int(found[0]))
        except (IndexError, ValueError):
            return str(MIDI_NUMBERS)  # the script's class for what it cannot read

    return Reading(f"released:{part}", key)


RELEASED_PITCH, RELEASED_VELOCITY = _released_number("pitch"), _released_number("velocity")
RELEASED_INSTRUMENT = Reading("released:instrument", lambda text: _after(r"<\|instrument\|>(.*)", text))


def released_map(totals: np.ndarray) -> np.ndarray:
    """Average precision of hard answers over the qualities that are right or answered anywhere; one that is never right counts 0.

    Args:
        totals: (R, 31), as hard_sums gives them for the ten qualities.
    Returns:
        (R,), nan where none occurs.
    """
    hits, answers, truths = np.split(totals[:, :-1].astype(np.float64), 3, axis=1)
    recall = np.divide(hits, truths, out=np.zeros_like(hits), where=truths > 0)
    precision = np.divide(hits, answers, out=np.zeros_like(hits), where=answers > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(truths > 0, precision * recall + (1 - recall) * truths / totals[:, -1:], 0.0)
        return np.asarray(parts.sum(1) / (truths + answers > 0).sum(1))


@dataclass(frozen=True)
class MapHard:
    """Mean average precision of qualities as the released script computes it, from hard answers over the qualities that occur.

    An empty answer to everything scores the share of notes with a quality, which is chance. On a part of the notes a quality that is
    answered and never right adds a class that counts 0.

    Source: QwenLM/Qwen-Audio, eval_audio/evaluate_note_analysis.py, run on scikit-learn (golden/notes.json).
    """

    name: str = "map_hard"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return "map_hard|classes:those that occur|released|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count each quality's hits, answers and truths; a missing answer is empty."""
        table = marked(samples, released_qualities, QUALITIES)
        sums = hard_sums(table)
        equal = (table.truths == table.answers).all(1)
        parsed = np.array([sample.status in HEARD and any(part in answer_of(sample) for part in _PARTS) for sample in samples], dtype=bool)
        return Measured(sums=sums, statistic=released_map, parsed=parsed, each=equal.astype(np.float64), limits=(0.0, 1.0),
                        chance=floor_of(table))  # fmt: skip
