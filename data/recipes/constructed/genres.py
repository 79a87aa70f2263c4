"""Pieces of music whose every fact is known: genre, tempo, meter, key, mode, instruments, and moods by the same means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from data.recipes.constructed.instruments import INSTRUMENTS, note
from data.recipes.constructed.waves import RATE, Wave, band, decay, envelope, faded, glide, n_samples, peaked, put
from qwen_audio.errors import DataError

Generator = np.random.Generator
KEYS = ("C", "D flat", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
SCALES: Mapping[str, tuple[int, ...]] = MappingProxyType({"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a piece; genre is None where it was made for a mood, and mood where it was made for a genre."""

    genre: str | None
    mood: str | None
    tempo_bpm: int
    meter: str
    mode: str
    key: str
    instruments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Music: (n,) float32, and the facts."""

    samples: Wave
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Genre:
    """How a kind of music goes. Patterns are one bar long, a character a step: x is a note, X a strong one.

    Attributes:
        label, clause: its name; the music as a sentence without capital and stop.
        tempo: slowest and fastest, in beats a minute; steps: how many a beat has.
        modes, progressions: which are used; degrees of the scale, one a bar, the tonic being 0.
        chords: instrument and pattern; chord_steps: how long each is held; chord_midi: about where.
        bass: instrument and pattern, in which 1 is the root, 5 the fifth above, 8 the octave.
        leads: one of them plays the melody, in one of the rhythms; lead_midi: about where.
        drums: pattern of each of kick, snare, hat.
        restless: the melody leaves the scale.
    """

    label: str
    clause: str
    tempo: tuple[int, int]
    meter: str
    steps: int
    modes: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]
    chords: tuple[str, str]
    chord_steps: int
    leads: tuple[str, ...]
    rhythms: tuple[str, ...]
    bass: tuple[str, str] | None = None
    drums: Mapping[str, str] = field(default_factory=dict)
    chord_midi: int = 60
    lead_midi: int = 74
    restless: bool = False

    @property
    def beats(self) -> int:
        """Give the beats of a bar."""
        return int(self.meter.split("/")[0])


_POP = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0))
_GENRES = (
    Genre(
        label="waltz", clause="a waltz turns in three-four time", tempo=(150, 185), meter="3/4", steps=2, modes=("major", "minor"),
        progressions=((0, 0, 4, 4, 4, 4, 0, 0), (0, 3, 4, 0)), chords=("piano", "..x.x."), chord_steps=2, bass=("bass", "1....."),
        leads=("violin", "accordion", "flute"), rhythms=("x...x.", "x.x.x.", "x.....", "x..xx."),
    ),
    Genre(
        label="march", clause="a march strides along with drums and brass", tempo=(108, 124), meter="2/4", steps=4, modes=("major",),
        progressions=((0, 0, 3, 0, 4, 4, 0, 0), (0, 4, 4, 0)), chords=("accordion", "....x..."), chord_steps=2, bass=("bass", "1...5..."),
        leads=("trumpet",), rhythms=("x...x...", "x..xx...", "x...x.x."), lead_midi=70,
        drums={"kick": "X...x...", "snare": "..xxX.xx"},
    ),
    Genre(
        label="techno", clause="a techno track pounds with an electronic beat", tempo=(124, 138), meter="4/4", steps=4, modes=("minor",),
        progressions=((0, 0, 5, 6), (0, 0, 0, 3)), chords=("synth lead", "..x...x...x...x."), chord_steps=2,
        bass=("bass", "..1...1...1...8."), leads=("synth lead",), rhythms=("x.xx.xx.x.xx.x.x", "x..x..x.x..x..x."), lead_midi=72,
        drums={"kick": "X...X...X...X...", "hat": "..x...x...x...x.", "snare": "....x.......x..."},
    ),
    Genre(
        label="reggae", clause="a reggae band plays off the beat", tempo=(70, 86), meter="4/4", steps=4, modes=("major", "minor"),
        progressions=((0, 0, 3, 3), (0, 4, 3, 4)), chords=("guitar", "..x...x...x...x."), chord_steps=1, bass=("bass", "1..5..8.1.....5."),
        leads=("organ", "flute"), rhythms=("x.....x.x.......", "....x.x.x...x..."),
        drums={"kick": "........X.......", "snare": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
    ),
    Genre(
        label="blues", clause="a blues band shuffles through its chords", tempo=(80, 112), meter="4/4", steps=3, modes=("minor",),
        progressions=((0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),), chords=("piano", "x..x..x..x.."), chord_steps=2,
        bass=("bass", "1.15.58.85.5"), leads=("guitar",), rhythms=("x..x.xx.....", "x.xx..x.x...", "...x.xx.x..."), lead_midi=70,
        drums={"kick": "X.....X.....", "snare": "...X.....X..", "hat": "x.xx.xx.xx.x"},
    ),
    Genre(
        label="ballad", clause="a slow ballad is played", tempo=(58, 72), meter="4/4", steps=4, modes=("major", "minor"),
        progressions=_POP, chords=("piano", "x...x...x...x..."), chord_steps=5, bass=("bass", "1.......5......."),
        leads=("violin", "clarinet", "choir"), rhythms=("x.......x...x...", "x...x...x.......", "x...........x..."), lead_midi=72,
    ),
    Genre(
        label="rock", clause="a rock band drives a loud beat", tempo=(118, 144), meter="4/4", steps=4, modes=("major", "minor"),
        progressions=_POP, chords=("electric guitar", "X.x.x.x.X.x.x.x."), chord_steps=2, bass=("bass", "1.1.1.1.1.1.1.1."),
        leads=("electric guitar",), rhythms=("x...x.x.x...x...", "x.x.x...x.x.x..."), chord_midi=50, lead_midi=70,
        drums={"kick": "X.....X.X.X.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
    ),
    Genre(
        label="baroque", clause="a baroque piece runs along", tempo=(84, 104), meter="4/4", steps=4, modes=("major", "minor"),
        progressions=((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 0, 4)), chords=("harpsichord", "x.......x......."), chord_steps=8,
        bass=("harpsichord", "1...5...8...5..."), leads=("harpsichord", "flute", "violin"),
        rhythms=("xxxxxxxxxxxxxxxx", "x.xxxxxxx.xxxxxx", "xxxxx.x.xxxxx.x."),
    ),
    Genre(
        label="polka", clause="a polka bounces along on the accordion", tempo=(112, 128), meter="2/4", steps=4, modes=("major",),
        progressions=((0, 0, 4, 4, 4, 4, 0, 0), (0, 3, 4, 0)), chords=("accordion", "..x...x."), chord_steps=1, bass=("bass", "1...5..."),
        leads=("accordion", "clarinet"), rhythms=("x.xxx.x.", "xxx.x.x.", "x.x.xxx."), lead_midi=77,
        drums={"kick": "x...x...", "snare": "..x...x."},
    ),
    Genre(
        label="bossa nova", clause="a bossa nova sways on a quiet guitar", tempo=(120, 140), meter="4/4", steps=2, modes=("major", "minor"),
        progressions=((0, 5, 1, 4), (0, 0, 1, 4)), chords=("guitar", "x..x..x."), chord_steps=2, bass=("bass", "1..55..1"),
        leads=("flute", "piano"), rhythms=("x..x..x.", ".x.x..x.", "x....x.."), drums={"hat": "xxxxxxxx", "snare": "x..x..x."},
    ),
)  # fmt: skip
GENRES: Mapping[str, Genre] = MappingProxyType({genre.label: genre for genre in _GENRES})

_MOODS = (
    Genre(
        label="happy", clause="cheerful music skips along", tempo=(128, 152), meter="4/4", steps=4, modes=("major",), progressions=_POP,
        chords=("guitar", "..x...x...x...x."), chord_steps=1, bass=("bass", "1...5...1...5..."),
        leads=("flute", "glockenspiel", "marimba", "piano"), rhythms=("x.x.x.x.x.x.x...", "x.xxx.x.x.xxx.x.", "x...x.x.x.x.x..."),
        lead_midi=82, drums={"snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    ),
    Genre(
        label="sad", clause="sorrowful music moves slowly", tempo=(50, 62), meter="4/4", steps=2, modes=("minor",),
        progressions=((0, 5, 3, 4), (0, 3, 0, 4)), chords=("piano", "x...x..."), chord_steps=4, bass=("bass", "1......."),
        leads=("violin", "clarinet", "choir"), rhythms=("x...x...", "x.....x.", "x......."), chord_midi=52, lead_midi=62,
    ),
    Genre(
        label="tense", clause="uneasy music pulses and grates", tempo=(122, 144), meter="4/4", steps=4, modes=("minor",),
        progressions=((0, 0, 1, 0),), chords=("violin", "x.x.x.x.x.x.x.x."), chord_steps=1, bass=("bass", "1...1...1...1..."),
        leads=("trumpet", "synth lead", "violin"), rhythms=("x.....x.........", "..........x.x...", "x..............."),
        chord_midi=58, lead_midi=66, restless=True, drums={"kick": "X.x.....X.x....."},
    ),
    Genre(
        label="calm", clause="peaceful music floats by", tempo=(54, 66), meter="4/4", steps=2, modes=("major",),
        progressions=((0, 3, 0, 3), (0, 5, 3, 0)), chords=("choir", "x......."), chord_steps=8, leads=("flute", "piano", "guitar"),
        rhythms=("x...x...", "x.x.x...", "..x.x..."), chord_midi=58, lead_midi=74,
    ),
)  # fmt: skip
MOODS: Mapping[str, Genre] = MappingProxyType({mood.label: mood for mood in _MOODS})
MUSIC_EMOTIONS: tuple[str, ...] = tuple(MOODS)


def piece(genre: str, rng: Generator, seconds: float = 10.0) -> Piece:
    """Play a piece of a genre, made up as it goes.

    Raises:
        DataError: there is no such genre.
    """
    if genre not in GENRES:
        raise DataError(f"genre {genre!r}: expected one of {', '.join(GENRES)}")
    return _Band(GENRES[genre], rng, seconds).play(genre, None)


def emotion_music(label: str, rng: Generator, seconds: float = 8.0) -> Piece:
    """Play music of a mood, made by mode, tempo, register and harmony.

    Raises:
        DataError: there is no such mood.
    """
    if label not in MOODS:
        raise DataError(f"mood {label!r}: expected one of {', '.join(MUSIC_EMOTIONS)}")
    return _Band(MOODS[label], rng, seconds).play(None, label)


class _Band:
    """Those who play one piece: they agree on key, tempo and who has the melody, and keep the notes that they have played."""

    def __init__(self, plan: Genre, rng: Generator, seconds: float) -> None:
        self.plan, self.rng = plan, rng
        self.tempo = int(rng.integers(plan.tempo[0], plan.tempo[1] + 1))
        self.key = int(rng.integers(12))
        self.mode = plan.modes[int(rng.integers(len(plan.modes)))]
        self.lead = plan.leads[int(rng.integers(len(plan.leads)))]
        self.step_s = 60 / self.tempo / plan.steps
        self.bars = math.ceil(seconds / (plan.beats * plan.steps * self.step_s))
        self.line = np.zeros(n_samples(seconds), dtype=np.float32)
        self.played: dict[tuple[str, int, float, int], Wave] = {}
        self.drums = {name: _DRUMS[name](rng) for name in plan.drums}
        self.place = 0  # of the melody, in steps of the scale from about where it is at home

    def play(self, genre: str | None, mood: str | None) -> Piece:
        """Play it all, fade, and tell the facts."""
        plan, rng = self.plan, self.rng
        progression = plan.progressions[int(rng.integers(len(plan.progressions)))]
        for bar in range(self.bars):
            degree = progression[bar % len(progression)]
            self._chords(bar, degree)
            self._bass(bar, degree)
            self._melody(bar, degree, plan.rhythms[int(rng.integers(len(plan.rhythms)))])
            for name, pattern in plan.drums.items():
                for step, strong in _hits(pattern):
                    self._put(self.drums[name], bar, step, 1.0 if strong else 0.6)
        names = [self.lead, plan.chords[0], *([plan.bass[0]] if plan.bass else []), *(["drums"] if plan.drums else [])]
        facts = Facts(genre, mood, self.tempo, plan.meter, self.mode, KEYS[self.key], tuple(dict.fromkeys(names)))
        return Piece(faded(peaked(self.line, 0.8), 0.005, 0.4), facts)

    def _put(self, wave: Wave, bar: int, step: int, gain: float) -> None:
        put(self.line, wave, round((bar * self.plan.beats * self.plan.steps + step) * self.step_s * RATE), gain)

    def _note(self, instrument: str, midi: int, steps: float, velocity: int) -> Wave:
        """Play a note that was not played before; an electric guitar is a guitar with distortion."""
        which = (instrument, midi, steps, velocity)
        if which not in self.played:
            name, qualities = ("guitar", ("distortion",)) if instrument == "electric guitar" else (instrument, ())
            range_ = INSTRUMENTS[name]
            midi += 12 * math.ceil(max(0, range_.low - midi) / 12) - 12 * math.ceil(max(0, midi - range_.high) / 12)
            seconds = steps * self.step_s * 0.95 + (0.0 if range_.held else min(0.3, 2 * self.step_s))
            self.played[which] = note(name, midi, seconds, velocity, self.rng, qualities=qualities)
        return self.played[which]

    def _pitch(self, place: int, around: int) -> int:
        """Give the MIDI number of a place of the scale, the tonic near a number being place 0."""
        scale = SCALES[self.mode]
        home = around + (self.key - around) % 12
        home -= 12 * (home - around > 6)
        return home + 12 * (place // 7) + scale[place % 7]

    def _chords(self, bar: int, degree: int) -> None:
        instrument, pattern = self.plan.chords
        midis = [self._pitch(degree + third, self.plan.chord_midi) for third in (0, 2, 4)]
        if self.mode == "minor" and degree == 4:
            midis[1] += 1  # the leading note
        if self.plan.restless:
            midis = [midis[0], midis[0] + 1, midis[0] + 6]
        for step, strong in _hits(pattern):
            for midi in midis:
                self._put(self._note(instrument, midi, self.plan.chord_steps, 70), bar, step, 0.5 if strong else 0.42)

    def _bass(self, bar: int, degree: int) -> None:
        if self.plan.bass is None:
            return
        instrument, pattern = self.plan.bass
        for step, sign in enumerate(pattern):
            if sign != ".":
                place = degree + {"1": 0, "5": 4, "8": 7}[sign]
                self._put(self._note(instrument, self._pitch(place, 38), 2, 90), bar, step, 0.75)

    def _melody(self, bar: int, degree: int, rhythm: str) -> None:
        steps = [step for step, _ in _hits(rhythm)]
        for step, until in zip(steps, [*steps[1:], len(rhythm)], strict=True):
            self.place = int(np.clip(self.place + self.rng.choice((-2, -1, -1, 1, 1, 2)), -5, 6))
            if step % (2 * self.plan.steps) == 0:  # a strong beat: the nearest note of the chord
                self.place = min(
                    range(-6, 8), key=lambda place: (abs(place - self.place), place) if (place - degree) % 7 in (0, 2, 4) else (99, place)
                )
            midi = self._pitch(self.place, self.plan.lead_midi)
            if self.plan.restless:
                midi += int(self.rng.integers(0, 2))
            self._put(self._note(self.lead, midi, min(until - step, 2 * self.plan.steps), 100), bar, step, 0.8)


def _hits(pattern: str) -> list[tuple[int, bool]]:
    """Give each note's step, and whether it is a strong one."""
    return [(step, sign == "X") for step, sign in enumerate(pattern) if sign in "xX"]


def _kick(rng: Generator) -> Wave:
    n = n_samples(0.28)
    return peaked(glide(envelope(n, [(0, 150), (0.15, 65), (1, 45)])) * decay(n, 0.3), 0.9)


def _snare(rng: Generator) -> Wave:
    n = n_samples(0.18)
    return peaked(band(n, rng, 900, 6000, 6) * decay(n, 0.16) + 0.8 * glide(190.0, n) * decay(n, 0.1), 0.6)


def _hat(rng: Generator) -> Wave:
    n = n_samples(0.06)
    return peaked(band(n, rng, 5000, 7300, 18) * decay(n, 0.05), 0.25)


_DRUMS = {"kick": _kick, "snare": _snare, "hat": _hat}
