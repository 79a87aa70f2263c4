"""Make clips of music together with what can be asked about them; the facts tell nothing of one another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from data.recipes.constructed.example import Generator, Heard, draw_several, pick, with_silence
from data.recipes.constructed.music import (
    GENRES,
    INSTRUMENTS,
    MUSIC_EMOTIONS,
    SINGERS,
    SONGS,
    chord,
    emotion_music,
    melody,
    note,
    piece,
    sing,
)
from data.recipes.constructed.questions_sound import COUNTS, Hear
from data.recipes.constructed.singing import singer_called
from data.recipes.constructed.timeline import join
from data.recipes.constructed.waves import Wave, peaked
from data.recipes.constructed.wordings import Fact, option_order
from data.recipes.conversations import note_name

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

MIDDLE = tuple(label for label, instrument in INSTRUMENTS.items() if instrument.low <= 60 and instrument.high >= 77)  # share a range
HELD = tuple(label for label in MIDDLE if INSTRUMENTS[label].held)
_SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
_FIGURES = ((0, 4, 7, 4), (0, 2, 4, 0), (7, 4, 2, 0), (0, 7, 4, 7), (4, 2, 0, 2))


def an(noun: str) -> str:
    """Put a or an before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def some_notes(rng: Generator, pool: Pool | None) -> Heard:
    """Play one to six notes with pauses between: how many."""
    count, label = int(rng.integers(1, 7)), pick(MIDDLE, rng)
    waves = [note(label, int(rng.integers(60, 78)), float(rng.uniform(0.3, 0.5)), 96, rng) for _ in range(count)]
    joined = join(waves, [float(gap) for gap in rng.uniform(0.2, 0.4, count + 1)])
    return Heard((joined.samples,), (Fact("notes", COUNTS[count - 1]),), {"instrument": label})


def two_notes(rng: Generator, pool: Pool | None) -> Heard:
    """Play two notes in one clip: whether the second is higher, which is louder, which is longer."""
    label = pick(HELD, rng)
    midis = draw_several(range(60, 78), 2, rng)
    while abs(midis[0] - midis[1]) < 2:
        midis = draw_several(range(60, 78), 2, rng)
    loud, long = int(rng.integers(2)), int(rng.integers(2))
    waves = []
    for number, midi in enumerate(midis):
        velocity = int(rng.integers(105, 125) if number == loud else rng.integers(35, 50))
        waves.append(note(label, midi, float(rng.uniform(1.2, 1.6) if number == long else rng.uniform(0.4, 0.65)), velocity, rng))
    joined = join(waves, [0.1, float(rng.uniform(0.2, 0.4)), 0.1])
    facts = (
        Fact("notes.direction", "higher" if midis[1] > midis[0] else "lower"),
        Fact("note.louder", ("first", "second")[loud]),
        Fact("note.longer", ("first", "second")[long]),
    )
    return Heard((joined.samples,), facts, {"instrument": label, "midi": f"{midis[0]} {midis[1]}"})


def a_scale(rng: Generator, pool: Pool | None) -> Heard:
    """Play a part of a scale upwards or downwards: in which direction; on which of four instruments."""
    up, labels = bool(rng.random() < 0.5), draw_several(MIDDLE, 4, rng)
    length = int(rng.integers(4, 8))
    steps = [60 + int(rng.integers(0, 6)) + step for step in _SCALE[:length]]
    tempo = float(rng.uniform(110, 170))
    wave = melody(labels[0], [(midi, 1.0) for midi in (steps if up else steps[::-1])], tempo, rng)
    options, letter = option_order(labels[0], labels[1:], rng)
    return Heard((wave,), (Fact("melody.direction", "up" if up else "down"), Fact("instrument.choice", letter, options=options)))


def a_chord(rng: Generator, pool: Pool | None) -> Heard:
    """Play a triad: major or minor."""
    major = bool(rng.random() < 0.5)
    label, root = pick(("piano", "organ", "guitar", "accordion", "harpsichord"), rng), int(rng.integers(57, 70))
    wave = chord(label, [root, root + (4 if major else 3), root + 7], float(rng.uniform(1.2, 2.2)), 100, rng)
    clip = with_silence(wave, float(rng.uniform(0, 0.3)), 0.1)
    return Heard((clip,), (Fact("chord", "major" if major else "minor"),), {"instrument": label})


def a_note(rng: Generator, pool: Pool | None) -> Heard:
    """Play one note: which one."""
    label = pick(MIDDLE, rng)
    midi = int(rng.integers(60, 78))
    clip = with_silence(note(label, midi, float(rng.uniform(0.6, 1.5)), int(rng.integers(70, 120)), rng), float(rng.uniform(0, 0.3)), 0.05)
    return Heard((clip,), (Fact("pitch", note_name(midi)),), {"instrument": label, "midi": str(midi)})


def an_instrument(rng: Generator, pool: Pool | None) -> Heard:
    """Play a short figure: on which instrument, openly or out of four."""
    labels = draw_several(tuple(INSTRUMENTS), 4, rng)
    options, letter = option_order(labels[0], labels[1:], rng)
    facts = (Fact("instrument", labels[0], said=an(labels[0])), Fact("instrument.choice", letter, options=options))
    return Heard((figure(labels[0], float(rng.uniform(90, 150)), rng, pool),), (pick(facts, rng),))


def two_instruments(rng: Generator, pool: Pool | None) -> Heard:
    """Let two instruments play one after another: whether a third is there, or one of them."""
    labels, there = draw_several(tuple(INSTRUMENTS), 3, rng), bool(rng.random() < 0.5)
    waves = [figure(label, float(rng.uniform(100, 150)), rng, pool) for label in labels[:2]]
    asked = pick(labels[:2], rng) if there else labels[2]
    clip = join(waves, [float(rng.uniform(0.1, 0.4))]).samples
    return Heard((clip,), (Fact("presence", "yes" if there else "no", {"a": an(asked)}),), {"instrument": "\n".join(labels[:2])})


def a_genre(rng: Generator, pool: Pool | None) -> Heard:
    """Play a piece: of which of four genres."""
    labels = draw_several(tuple(GENRES), 4, rng)
    options, letter = option_order(labels[0], labels[1:], rng)
    return Heard((piece(labels[0], rng, float(rng.uniform(7, 11))).samples,), (Fact("genre.choice", letter, options=options),))


def a_mood(rng: Generator, pool: Pool | None) -> Heard:
    """Play music of a mood: which of four."""
    labels = draw_several(MUSIC_EMOTIONS, 4, rng)
    options, letter = option_order(labels[0], labels[1:], rng)
    return Heard((emotion_music(labels[0], rng, float(rng.uniform(6, 10))).samples,), (Fact("emotion.choice", letter, options=options),))


def a_singer(rng: Generator, pool: Pool | None) -> Heard:
    """Let somebody sing, or an instrument play the tune: whether it is sung."""
    tune, sung = pick(tuple(SONGS.values()), rng), bool(rng.random() < 0.5)
    seconds = float(rng.uniform(5, 9))
    if sung:
        wave = sing(int(rng.integers(len(SINGERS))), tune, rng, seconds)
    else:
        wave = play(tune.notes, pick(MIDDLE, rng), tune.tempo_bpm, seconds, rng)
    return Heard((wave,), (Fact("singing", "yes" if sung else "no"),))


def man_or_woman(rng: Generator, pool: Pool | None) -> Heard:
    """Let a man or a woman sing: which."""
    wanted = pick(("male", "female"), rng)
    number = pick([number for number in range(len(SINGERS)) if singer_called(number).gender == wanted], rng)
    wave = sing(number, pick(tuple(SONGS.values()), rng), rng, float(rng.uniform(4, 8)))
    return Heard((wave,), (Fact("singer.gender", wanted),), {"singer": SINGERS[number]})


def two_clips_of_notes(rng: Generator, pool: Pool | None) -> Heard:
    """Hear two clips of one note each: the higher one, or whether they are the same."""
    label, same = pick(MIDDLE, rng), bool(rng.random() < 0.5)
    midis = draw_several(range(60, 78), 2, rng)
    fact = Fact("pair.higher", "first" if midis[0] > midis[1] else "second")
    if rng.random() < 0.5:
        midis[1] = midis[0] if same else midis[1]
        fact = Fact("pair.same_note", "yes" if same else "no")
    waves = [note(label, midi, float(rng.uniform(0.6, 1.2)), int(rng.integers(75, 115)), rng) for midi in midis]
    clips = tuple(with_silence(wave, float(rng.uniform(0, 0.2)), 0.05) for wave in waves)
    return Heard(clips, (fact,), {"instrument": label, "midi": f"{midis[0]} {midis[1]}"})


def two_tempi(rng: Generator, pool: Pool | None) -> Heard:
    """Hear two clips of one figure at two tempi: the faster one; the instruments have no part in it."""
    fast = int(rng.integers(2))
    tempi = [float(rng.uniform(120, 150) if number == fast else rng.uniform(65, 85)) for number in range(2)]
    clips = tuple(figure(pick(MIDDLE, rng), tempo, rng, None, times=2) for tempo in tempi)
    return Heard(clips, (Fact("pair.faster", ("first", "second")[fast]),), {"tempo_bpm": f"{tempi[0]:.1f} {tempi[1]:.1f}"})


def figure(label: str, tempo_bpm: float, rng: Generator, pool: Pool | None, times: int = 1) -> Wave:
    """Play a figure of four notes once or several times, in the middle of an instrument's range."""
    instrument = INSTRUMENTS[label]
    low = int(np.clip(60 + int(rng.integers(-5, 6)), instrument.low, instrument.high - 12))
    notes = [(low + step, 1.0) for step in pick(_FIGURES, rng)] * times
    return peaked(melody(label, notes, tempo_bpm, rng), float(rng.uniform(0.4, 0.9)))


def play(notes: tuple[tuple[int | None, float], ...], label: str, tempo_bpm: float, seconds: float, rng: Generator) -> Wave:
    """Play the beginning of a tune on an instrument, moved by octaves into its range, for so many seconds or a little longer."""
    instrument = INSTRUMENTS[label]
    kept, beats = [], 0.0
    for midi, length in notes:
        if beats * 60 / tempo_bpm >= seconds:
            break
        kept.append((None if midi is None else _into(midi, instrument.low, instrument.high), length))
        beats += length
    return peaked(melody(label, kept, tempo_bpm, rng), float(rng.uniform(0.5, 0.9)))


def _into(midi: int, low: int, high: int) -> int:
    while midi < low:
        midi += 12
    while midi > high:
        midi -= 12
    return midi


HEARD_MUSIC: Mapping[str, Hear] = MappingProxyType(
    {
        "some notes": some_notes, "two notes": two_notes, "scale": a_scale, "chord": a_chord, "note": a_note, "instrument": an_instrument,
        "two instruments": two_instruments, "genre": a_genre, "mood": a_mood, "singer": a_singer, "man or woman": man_or_woman,
        "two clips of notes": two_clips_of_notes, "two tempi": two_tempi,
    }
)  # fmt: skip
