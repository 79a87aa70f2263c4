"""Check labels against the waveform: pitches, onsets, times, counts, silence, loudness, length and tempo are measured again.

A check sees the clips as they were written and what the record says, and nothing of how the clips were made. It says whether
they agree, or None where the record says nothing that can be measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from data.manifest import AudioRef, Record
from data.recipes.constructed.measure import (
    RATE,
    Samples,
    active_spans,
    count_events,
    hertz_of,
    levels_db,
    loudness_db,
    pitch_of,
    silent,
    speech_active,
    tempo_of,
)
from data.recipes.constructed.questions_sound import COUNTS
from data.recipes.constructed.texts import entries
from data.recipes.conversations import NOTE_NAMES
from tag_schema.answers import read_note, read_timed_labels
from tag_schema.timestamps import srwt_to_words

Check = Callable[[Record, Sequence[Samples], str], "bool | None"]
_EDGE_S = 0.06  # what a measured edge may lie beside a label's
_LOUDEST, _FORCE = 0.9, 1.5  # a note's largest sample is 0.9 (velocity / 127) ** 1.5
_OCTAVES = (1.0, 2.0, 0.5)
_TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}


def checks_of(record: Record, clips: Sequence[Samples]) -> Iterator[tuple[str, bool]]:
    """Yield (kind, whether the waveform agrees) for each answer of a record that can be measured."""
    for kind, label, heard in _answers(record, clips):
        check = CHECKS.get(kind)
        agrees = check(record, heard, label) if check else None
        if agrees is not None:
            yield kind, agrees


def _answers(record: Record, clips: Sequence[Samples]) -> Iterator[tuple[str, str, Sequence[Samples]]]:
    """Yield kind, label and clips of each answer whose clips are known: those sent with the question, both where two are compared."""
    kinds, labels = record.meta.get("kind", "").split("\n"), record.meta.get("label", record.target).split("\n")
    if record.prefix is not None:
        yield kinds[0], labels[0], clips
        return
    sent, number = 0, 0
    for turn in record.messages:
        if turn.role != "user":
            continue
        new = sum(isinstance(part, AudioRef) for part in turn.parts)
        sent += new
        kind = kinds[number] if number < len(kinds) else ""
        if new and not kind.startswith("text"):
            compared = kind.startswith("pair.") or kind == "speaker.same"
            yield kind, labels[number], clips[:sent] if compared and sent == 2 else clips[sent - new : sent]
        number += 1


def _word_times(record: Record, clips: Sequence[Samples], label: str) -> bool:
    """Expect speech in nine words of ten, and silence in the pauses."""
    words = srwt_to_words(record.target)
    spoken = [speech_active(clips[0], word.start_s, word.end_s) for word in words]
    edges = [0.0, *(edge for word in words for edge in (word.start_s, word.end_s)), len(clips[0]) / RATE]
    pauses = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > 0.2]
    return float(np.mean(spoken)) >= 0.9 and all(_quiet(clips[0], start + _EDGE_S, end - _EDGE_S) for start, end in pauses)


def _turns(record: Record, clips: Sequence[Samples], label: str) -> bool:
    """Expect speech in every turn, and silence where nobody has one."""
    spans = [(item.start_s, item.end_s) for item in read_timed_labels(record.target)]
    return all(speech_active(clips[0], *span) for span in spans) and _silent_outside(clips[0], spans)


def _events(record: Record, clips: Sequence[Samples], label: str) -> bool | None:
    """Expect every event to begin and end where it is said to, and nothing outside of them."""
    if "events" not in record.meta or record.meta.get("background") == "noise":
        return None
    spans = [(start, end) for _, start, end in json.loads(record.meta["events"])]
    if not spans:
        return loudness_db(clips[0]) < -20
    loud = levels_db(clips[0])
    begins = [loud[max(0, round((start - 0.01) * 200)) : round((start + _EDGE_S) * 200)].max() > loud.max() - 50 for start, _ in spans]
    return all(begins) and _silent_outside(clips[0], spans)


def _detected(record: Record, clips: Sequence[Samples], label: str) -> bool | None:
    """Expect the times of the answer to be those of the events, and the events in the waveform."""
    written = [time for item in read_timed_labels(record.target) for time in (item.start_s, item.end_s)]
    placed = [time for _, start, end in json.loads(record.meta["events"]) for time in (start, end)]
    if len(written) != len(placed) or any(abs(said - known) > 0.011 for said, known in zip(written, placed, strict=True)):
        return False
    return _events(record, clips, label)


def _count(record: Record, clips: Sequence[Samples], label: str) -> bool:
    return count_events(clips[0], min_gap_s=0.25) == COUNTS.index(label) + 1


def _more(record: Record, clips: Sequence[Samples], label: str) -> bool:
    first, second = (count_events(clip, min_gap_s=0.25) for clip in clips)
    return first != second and (label == "first") == (first > second)


def _captioned(record: Record, clips: Sequence[Samples], label: str) -> bool | None:
    if "count" in record.meta:
        return count_events(clips[0], min_gap_s=0.25) == int(record.meta["count"])
    return _events(record, clips, label)


def _silence(record: Record, clips: Sequence[Samples], label: str) -> bool:
    seconds = [entry["en"].written for entry in entries("seconds")].index(label) + 1
    spans = active_spans(clips[0])
    return bool(spans) and silent(clips[0], 0.0, seconds - _EDGE_S) and abs(spans[0][0] - seconds) < 0.35


def _named_pair(measure: Callable[[Samples], float]) -> Check:
    """Compare two events of one clip: the one asked for has the larger measure."""

    def check(record: Record, clips: Sequence[Samples], label: str) -> bool | None:
        if "asked" not in record.meta:
            return None
        found = {name: measure(clips[0][round(start * RATE) : round(end * RATE)]) for name, start, end in json.loads(record.meta["events"])}
        return max(found, key=found.__getitem__) == record.meta["asked"]

    return check


def _clip_pair(measure: Callable[[Samples], float]) -> Check:
    """Compare two clips: the one named has the larger measure."""

    def check(record: Record, clips: Sequence[Samples], label: str) -> bool:
        first, second = (measure(clip) for clip in clips)
        return (first > second) == (label == "first")

    return check


def _note_pair(measure: Callable[[Samples], float]) -> Check:
    """Compare two notes of one clip: the one named has the larger measure."""

    def check(record: Record, clips: Sequence[Samples], label: str) -> bool:
        notes = _notes(clips[0])
        return len(notes) == 2 and (measure(notes[0]) > measure(notes[1])) == (label == "first")

    return check


def _direction(record: Record, clips: Sequence[Samples], label: str) -> bool:
    notes = _notes(clips[0])
    return len(notes) == 2 and (pitch_of(notes[1]) > pitch_of(notes[0])) == (label == "higher")


def _scale(record: Record, clips: Sequence[Samples], label: str) -> bool:
    """Compare the pitch of the first eighth of what sounds with that of the last: less than a note each."""
    spans = active_spans(clips[0], min_gap_s=0.5)
    start, end = spans[0][0], spans[-1][1]
    eighth = (end - start) / 8
    first, last = (pitch_of(clips[0][round(at * RATE) : round((at + eighth) * RATE)]) for at in (start, end - eighth))
    return (last > first) == (label == "up")


def _pauses(record: Record, clips: Sequence[Samples], label: str) -> bool:
    return count_events(clips[0], min_gap_s=0.5) - 1 == COUNTS.index(label) + 1


def _many_notes(record: Record, clips: Sequence[Samples], label: str) -> bool:
    return count_events(clips[0], min_gap_s=0.1) == COUNTS.index(label) + 1


def _pitch(record: Record, clips: Sequence[Samples], label: str) -> bool:
    midi = 12 * (int(label[-1]) + 1) + NOTE_NAMES.index(label[:-1])  # of one of the middle octaves, as C#4
    return abs(pitch_of(clips[0]) - midi) < 0.5


def _same_note(record: Record, clips: Sequence[Samples], label: str) -> bool:
    return (abs(pitch_of(clips[0]) - pitch_of(clips[1])) < 0.5) == (label == "yes")


def _note(record: Record, clips: Sequence[Samples], label: str) -> bool:
    """Expect the pitch, and the velocity where it is told."""
    note = read_note(record.target)
    velocity = 127 * (float(np.abs(clips[0]).max()) / _LOUDEST) ** (1 / _FORCE)
    forced = note.velocity is None or abs(velocity - note.velocity) < 1.5
    return note.pitch is not None and abs(pitch_of(clips[0]) - note.pitch) < 0.6 and forced


def _tempo(record: Record, clips: Sequence[Samples], label: str) -> bool | None:
    """Expect the tempo, or the double or half of it, within 4 %."""
    if "tempo_bpm" not in record.meta:
        return None
    said, found = float(record.meta["tempo_bpm"]), tempo_of(clips[0])
    return any(abs(found / said / octave - 1) < 0.04 for octave in _OCTAVES)


def _chord(record: Record, clips: Sequence[Samples], label: str) -> bool:
    """Expect the mode of the triad whose tones hold the most of the spectrum, folded into one octave."""
    spectrum = np.abs(np.fft.rfft(clips[0] * np.hanning(len(clips[0]))))
    hertz = np.fft.rfftfreq(len(clips[0]), 1 / RATE)
    kept = (hertz > hertz_of(54)) & (hertz < hertz_of(90))
    midi = 69 + 12 * np.log2(hertz[kept] / 440)
    near = np.abs(midi - np.round(midi)) < 0.2
    chroma = np.bincount(np.round(midi[near]).astype(int) % 12, spectrum[kept][near], 12)
    heard = {(mode, root): chroma[[(root + step) % 12 for step in steps]].sum() for mode, steps in _TRIADS.items() for root in range(12)}
    return max(heard, key=heard.__getitem__)[0] == label


def _active_s(clip: Samples) -> float:
    spans = active_spans(clip, min_gap_s=1.0)
    return spans[-1][1] - spans[0][0] if spans else 0.0


def _notes(clip: Samples) -> list[Samples]:
    return [clip[round(start * RATE) : round(end * RATE)] for start, end in active_spans(clip)]


def _heard_db(clip: Samples) -> float:
    """Give the level of what is active."""
    spans = active_spans(clip, min_gap_s=1.0)
    return loudness_db(clip[round(spans[0][0] * RATE) : round(spans[-1][1] * RATE)]) if spans else -math.inf


def _quiet(clip: Samples, start_s: float, end_s: float) -> bool:
    return end_s <= start_s or silent(clip, start_s, end_s)


def _silent_outside(clip: Samples, spans: Sequence[tuple[float, float]]) -> bool:
    """Say whether nothing is heard between, before and behind the spans."""
    now = 0.0
    for start, end in sorted(spans):
        if not _quiet(clip, now, start - _EDGE_S):
            return False
        now = max(now, end + _EDGE_S)
    return _quiet(clip, now, len(clip) / RATE)


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "srwt_en": _word_times, "srwt_zh": _word_times, "diarization": _turns, "sound_event": _events, "audio_caption": _captioned,
        "sound_event_detection": _detected, "note_analysis": _note, "genre": _tempo, "music_emotion": _tempo, "music_caption": _tempo,
        "count.events": _count, "pair.more": _more, "count.sounds": _events, "order.first": _events, "order.later": _events,
        "order.after": _events, "order.before": _events, "half": _events, "presence": _events, "silence": _silence,
        "louder": _named_pair(loudness_db), "longer": _named_pair(_active_s), "pair.louder": _clip_pair(_heard_db),
        "pair.longer": _clip_pair(_active_s), "pauses": _pauses, "notes": _many_notes, "notes.direction": _direction,
        "note.louder": _note_pair(loudness_db), "note.longer": _note_pair(lambda note: float(len(note))), "melody.direction": _scale,
        "chord": _chord, "pitch": _pitch, "pair.higher": _clip_pair(pitch_of), "pair.same_note": _same_note,
        "pair.faster": _clip_pair(tempo_of),
    }
)  # fmt: skip
