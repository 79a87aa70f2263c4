"""Recorded sounds and notes for constructed clips: training rows of any manifest, found by label, in place of synthesised ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from data.recipes.constructed.instruments import INSTRUMENTS
from data.recipes.constructed.measure import active_spans, pitch_of
from data.recipes.constructed.sounds import SOUNDS, VOCAL_SOUNDS
from data.recipes.constructed.timeline import trimmed
from data.recipes.constructed.waves import RATE, Wave, faded, n_samples, peaked
from qwen_audio.audio import read_audio
from qwen_audio.errors import DataError
from tag_schema.answers import read_labels, read_note
from tag_schema.vocabulary import TagError

LONGEST_S = 4.0  # of a recorded sound that is handed out
_EVENT_S = (0.06, 1.5)  # shortest and longest of one event where events are counted
_TRIES = 4
_SAME: Mapping[str, str] = MappingProxyType(  # what other sets call our kinds of sound
    {
        "barking dog": "dog bark", "birds chirping": "bird song", "cat": "cat meow", "chirping birds": "bird song",
        "church bells": "church bell", "clapping": "applause", "clock alarm": "alarm clock", "coughing": "cough", "cow": "cow moo",
        "crackling fire": "fire", "crying baby": "baby cry", "dog": "dog bark", "door wood knock": "door knock", "fire crackling": "fire",
        "fireworks": "firework", "frog": "frog croak", "hand saw": "sawing", "insects": "crickets", "keyboard typing": "typing",
        "laughing": "laughter", "rooster": "rooster crow", "sheep": "sheep bleat", "sneezing": "sneeze", "thunderstorm": "thunder",
        "throatclearing": "throat clearing", "water drops": "water drop",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording: its file, its label (a sound's or an instrument's), its MIDI number where it is a note, its licence."""

    path: Path
    label: str
    midi: int | None
    licence: str


class Pool:
    """Recordings by label.

    Attributes:
        sounds: kind of sound (as in SOUNDS and VOCAL_SOUNDS) -> its recordings.
        notes: instrument (as in INSTRUMENTS) -> its recordings with a MIDI number.
        unused: labels of training rows that name none of our sounds and instruments -> how many rows.
        licences: under which the recordings stand.
    """

    def __init__(self, manifests: Sequence[Path | str], data_root: Path | str | None = None) -> None:
        """Read manifests: prepared sets (one label a row) or Records of sound_event and note_analysis.

        Args:
            manifests: JSONL files.
            data_root: where audio paths begin; each manifest's own folder where it is None.
        Raises:
            DataError: a manifest is missing or a line is no JSON object.
        """
        sounds: dict[str, list[Clip]] = {}
        notes: dict[str, list[Clip]] = {}
        unused: Counter[str] = Counter()
        for manifest in manifests:
            for clip in _clips(Path(manifest), Path(data_root) if data_root is not None else Path(manifest).parent):
                kind = _SAME.get(clip.label, clip.label)
                if clip.midi is not None and clip.label in INSTRUMENTS:
                    notes.setdefault(clip.label, []).append(clip)
                elif clip.midi is None and (kind in SOUNDS or kind in VOCAL_SOUNDS):
                    sounds.setdefault(kind, []).append(clip)
                else:
                    unused[clip.label] += 1
        self.sounds: Mapping[str, tuple[Clip, ...]] = MappingProxyType({label: tuple(clips) for label, clips in sorted(sounds.items())})
        self.notes: Mapping[str, tuple[Clip, ...]] = MappingProxyType({label: tuple(clips) for label, clips in sorted(notes.items())})
        self.unused: Mapping[str, int] = MappingProxyType(dict(unused))
        used = (clip for clips in (*sounds.values(), *notes.values()) for clip in clips)
        self.licences: tuple[str, ...] = tuple(sorted({clip.licence for clip in used}))

    def sound(self, label: str, rng: np.random.Generator) -> Wave:
        """Draw a recording of a kind of sound, trimmed, at most 4 s; of countable kinds one single event.

        Where a few recordings hold no single event, a synthesised one takes its place.

        Raises:
            DataError: there is no recording of it.
        """
        if label not in self.sounds:
            raise DataError(f"recorded sound {label!r}: there are {', '.join(self.sounds) or 'none'}")
        kind = SOUNDS.get(label) or VOCAL_SOUNDS[label]
        for _ in range(_TRIES):
            wave = self._read(self.sounds[label][int(rng.integers(len(self.sounds[label])))])
            if not kind.onset_like:
                return faded(trimmed(wave)[: n_samples(LONGEST_S)], 0.005, 0.05)
            single = _single_event(wave, rng)
            if single is not None:
                return single
        return kind.make(rng)

    def note(self, instrument: str, rng: np.random.Generator) -> tuple[Wave, int]:
        """Draw a recorded note and its MIDI number, which has been measured as well: those that differ are passed over.

        Raises:
            DataError: there is no recording of the instrument, or none of some has the pitch that its label says.
        """
        clips = self.notes.get(instrument, ())
        for place in rng.permutation(len(clips))[: 3 * _TRIES]:
            clip = clips[int(place)]
            wave = trimmed(self._read(clip))
            if clip.midi is not None and abs(pitch_of(wave) - clip.midi) < 0.6:
                return faded(wave[: n_samples(LONGEST_S)], 0.002, 0.05), clip.midi
        raise DataError(
            f"recorded note of {instrument!r}: none is heard at the pitch of its label; there are {', '.join(self.notes) or 'none'}"
        )

    def _read(self, clip: Clip) -> Wave:
        return peaked(read_audio(clip.path).samples)


def _single_event(wave: Wave, rng: np.random.Generator) -> Wave | None:
    """Cut one event out of a recording of several."""
    shortest, longest = _EVENT_S
    spans = [(start, end) for start, end in active_spans(wave) if shortest <= end - start <= longest]
    if not spans:
        return None
    start, end = spans[int(rng.integers(len(spans)))]
    return faded(peaked(wave[round(start * RATE) : round(end * RATE)]), 0.002, 0.02)


def _clips(manifest: Path, root: Path) -> Iterator[Clip]:
    """Yield the recordings of a manifest's training rows that carry one label."""
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such manifest of recordings")
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                clip = _clip(row, root) if _is_training(row) else None
            except (json.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError, TagError) as error:
                raise DataError(
                    f"{manifest}:{number}: expected a row with audio and a label, found {type(error).__name__}: {error}"
                ) from error
            if clip is not None:
                yield clip


def _is_training(row: Mapping[str, Any]) -> bool:
    meta = row.get("meta") or {}
    return str(row.get("split") or meta.get("role") or meta.get("split") or "train").startswith("train")


def _clip(row: Mapping[str, Any], root: Path) -> Clip | None:
    """Read a row of a prepared set or a Record; None where it tells nothing of one sound or note alone."""
    meta = row.get("meta") or {}
    licence = str(row.get("clip_licence") or row.get("licence") or meta.get("licence") or "unknown")
    if isinstance(row["audio"], str):
        label = row.get("instrument") or row.get("label")
        midi = row.get("midi") if "MNA" in row.get("tasks", ()) else None
        return Clip(root / row["audio"], str(label), midi, licence) if label else None
    references: Iterable[Mapping[str, Any]] = row["audio"]
    paths = [root / reference["path"] for reference in references if not reference.get("start_s")]
    if len(paths) != 1 or row.get("family") not in ("sound_event", "note_analysis", "vocal_sound"):
        return None
    if row["family"] == "note_analysis":
        note = read_note(row["target"])
        return Clip(paths[0], note.instrument, note.pitch, licence) if note.instrument and note.pitch is not None else None
    labels = read_labels(row["target"])
    return Clip(paths[0], labels[0], None, licence) if len(labels) == 1 else None
