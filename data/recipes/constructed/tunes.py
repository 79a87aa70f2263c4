"""Tunes that belong to everybody, written out: all of them traditional or by composers dead for more than 70 years."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qwen_audio.errors import DataError

TRADITIONAL = "traditional"
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_TOKEN = re.compile(r"(?:([a-g])([#b]?)(\d)|r)(?:/([\d.]+))?")


@dataclass(frozen=True, slots=True)
class Tune:
    """A melody: its title and composer, (MIDI number or None for a rest, beats) of each note, its usual tempo and meter."""

    title: str
    composer: str
    notes: tuple[tuple[int | None, float], ...]
    tempo_bpm: int
    meter: str

    @property
    def beats(self) -> float:
        """Give the length in beats."""
        return sum(beats for _, beats in self.notes)


def read_notes(line: str) -> tuple[tuple[int | None, float], ...]:
    """Read `e4 f#4/2 r/0.5 | ..`: a letter, an accidental, an octave (c4 is MIDI 60), and beats where it is not one.

    Raises:
        DataError: a word is no note.
    """
    notes: list[tuple[int | None, float]] = []
    for word in line.replace("|", " ").split():
        match = _TOKEN.fullmatch(word)
        if match is None:
            raise DataError(f"tune: {word!r} is no note; expected such as c4, f#5/0.5 or r/2")
        letter, accidental, octave, beats = match.groups()
        midi = None
        if letter:
            midi = 12 * (int(octave) + 1) + _STEPS[letter] + {"#": 1, "b": -1, "": 0}[accidental]
        notes.append((midi, float(beats or 1)))
    return tuple(notes)


def _tune(title: str, composer: str, tempo_bpm: int, meter: str, line: str) -> Tune:
    return Tune(title, composer, read_notes(line), tempo_bpm, meter)


_ALL = (
    _tune(
        "Ode to Joy", "Ludwig van Beethoven", 120, "4/4",
        "e4 e4 f4 g4 | g4 f4 e4 d4 | c4 c4 d4 e4 | e4/1.5 d4/0.5 d4/2 | e4 e4 f4 g4 | g4 f4 e4 d4 | c4 c4 d4 e4 | d4/1.5 c4/0.5 c4/2",
    ),
    _tune(
        "Frère Jacques", TRADITIONAL, 120, "4/4",
        "c4 d4 e4 c4 | c4 d4 e4 c4 | e4 f4 g4/2 | e4 f4 g4/2 | g4/0.5 a4/0.5 g4/0.5 f4/0.5 e4 c4 | "
        "g4/0.5 a4/0.5 g4/0.5 f4/0.5 e4 c4 | c4 g3 c4/2 | c4 g3 c4/2",
    ),
    _tune(
        "Twinkle, Twinkle, Little Star", TRADITIONAL, 110, "4/4",
        "c4 c4 g4 g4 | a4 a4 g4/2 | f4 f4 e4 e4 | d4 d4 c4/2 | g4 g4 f4 f4 | e4 e4 d4/2 | g4 g4 f4 f4 | e4 e4 d4/2",
    ),
    _tune(
        "Greensleeves", TRADITIONAL, 150, "6/8",
        "a4 | c5/2 d5 e5/1.5 f5/0.5 e5 | d5/2 b4 g4/1.5 a4/0.5 b4 | c5/2 a4 a4/1.5 g#4/0.5 a4 | b4/2 g#4 e4/2 a4 | "
        "c5/2 d5 e5/1.5 f5/0.5 e5 | d5/2 b4 g4/1.5 a4/0.5 b4 | c5/1.5 b4/0.5 a4 g#4/1.5 f#4/0.5 g#4 | a4/3 a4/2",
    ),
    _tune(
        "Für Elise", "Ludwig van Beethoven", 130, "3/8",
        "e5/0.5 d#5/0.5 | e5/0.5 d#5/0.5 e5/0.5 b4/0.5 d5/0.5 c5/0.5 | a4/1.5 c4/0.5 e4/0.5 a4/0.5 | b4/1.5 e4/0.5 g#4/0.5 b4/0.5 | "
        "c5/1.5 e4/0.5 e5/0.5 d#5/0.5 | e5/0.5 d#5/0.5 e5/0.5 b4/0.5 d5/0.5 c5/0.5 | a4/1.5 c4/0.5 e4/0.5 a4/0.5 | "
        "b4/1.5 e4/0.5 c5/0.5 b4/0.5 | a4/2",
    ),
    _tune(
        "Lullaby", "Johannes Brahms", 90, "3/4",
        "e4/0.5 e4/0.5 | g4/2 e4/0.5 e4/0.5 | g4/2 e4/0.5 g4/0.5 | c5 b4 a4 | a4 g4 d4/0.5 e4/0.5 | f4 d4 d4/0.5 e4/0.5 | "
        "f4/2 d4/0.5 f4/0.5 | b4/0.5 a4/0.5 g4 b4 | c5/2",
    ),
    _tune(
        "Amazing Grace", TRADITIONAL, 90, "3/4",
        "g3 | c4/2 e4/0.5 c4/0.5 | e4/2 d4 | c4/2 a3 | g3/2 g3 | c4/2 e4/0.5 c4/0.5 | e4/2 d4 | g4/3",
    ),
    _tune(
        "Jingle Bells", "James Lord Pierpont", 170, "4/4",
        "e4 e4 e4/2 | e4 e4 e4/2 | e4 g4 c4/1.5 d4/0.5 | e4/4 | f4 f4 f4/1.5 f4/0.5 | f4 e4 e4 e4/0.5 e4/0.5 | e4 d4 d4 e4 | d4/2 g4/2",
    ),
    _tune(
        "When the Saints Go Marching In", TRADITIONAL, 150, "4/4",
        "r c4 e4 f4 | g4/4 | r c4 e4 f4 | g4/4 | r c4 e4 f4 | g4/2 e4/2 | c4/2 e4/2 | d4/4",
    ),
    _tune(
        "Auld Lang Syne", TRADITIONAL, 100, "4/4",
        "c4 | f4/1.5 f4/0.5 f4 a4 | g4/1.5 f4/0.5 g4 a4 | f4/1.5 f4/0.5 a4 c5 | d5/3 d5 | "
        "c5/1.5 a4/0.5 a4 f4 | g4/1.5 f4/0.5 g4 a4 | f4/1.5 d4/0.5 d4 c4 | f4/3",
    ),
    _tune(
        "Yankee Doodle", TRADITIONAL, 130, "4/4",
        "c5 c5 d5 e5 | c5 e5 d5 g4 | c5 c5 d5 e5 | c5/2 b4 g4 | c5 c5 d5 e5 | f5 e5 d5 c5 | b4 g4 a4 b4 | c5/2 c5/2",
    ),
    _tune(
        "Mary Had a Little Lamb", TRADITIONAL, 120, "4/4",
        "e4 d4 c4 d4 | e4 e4 e4/2 | d4 d4 d4/2 | e4 g4 g4/2 | e4 d4 c4 d4 | e4 e4 e4 e4 | d4 d4 e4 d4 | c4/4",
    ),
    _tune(
        "London Bridge Is Falling Down", TRADITIONAL, 120, "4/4",
        "g4/1.5 a4/0.5 g4 f4 | e4 f4 g4/2 | d4 e4 f4/2 | e4 f4 g4/2 | g4/1.5 a4/0.5 g4 f4 | e4 f4 g4/2 | d4/2 g4/2 | e4 c4/3",
    ),
    _tune(
        "Silent Night", "Franz Xaver Gruber", 100, "6/8",
        "g4/1.5 a4/0.5 g4 e4/3 | g4/1.5 a4/0.5 g4 e4/3 | d5/2 d5 b4/3 | c5/2 c5 g4/3 | "
        "a4/2 a4 c5/1.5 b4/0.5 a4 | g4/1.5 a4/0.5 g4 e4/3",
    ),
    _tune(
        "O Christmas Tree", TRADITIONAL, 100, "3/4",
        "c4 | f4/0.75 f4/0.25 f4/1.5 g4/0.5 | a4/0.75 a4/0.25 a4/1.5 a4/0.5 | g4/0.5 a4/0.5 bb4 e4 | g4 f4 r/0.5 c5/0.5 | "
        "c5/0.5 a4/0.5 d5/1.5 c5/0.5 | c5/0.5 bb4/0.5 bb4/1.5 bb4/0.5 | bb4/0.5 g4/0.5 c5/1.5 bb4/0.5 | bb4/0.5 a4/0.5 a4",
    ),
    _tune(
        "Eine kleine Nachtmusik", "Wolfgang Amadeus Mozart", 140, "4/4",
        "g4 r/0.5 d4/0.5 g4 r/0.5 d4/0.5 | g4/0.5 d4/0.5 g4/0.5 b4/0.5 d5 r | c5 r/0.5 a4/0.5 c5 r/0.5 a4/0.5 | "
        "c5/0.5 a4/0.5 f#4/0.5 a4/0.5 d4 r",
    ),
    _tune(
        "Canon in D", "Johann Pachelbel", 70, "4/4",
        "f#5/2 e5/2 | d5/2 c#5/2 | b4/2 a4/2 | b4/2 c#5/2 | d5 f#5 a5 g5 | f#5 d5 f#5 e5 | d5 b4 d5 a4 | g4 b4 a4 g4",
    ),
    _tune(
        "In the Hall of the Mountain King", "Edvard Grieg", 140, "4/4",
        "a3/0.5 b3/0.5 c4/0.5 d4/0.5 e4/0.5 c4/0.5 e4 | d#4/0.5 b3/0.5 d#4 d4/0.5 bb3/0.5 d4 | "
        "a3/0.5 b3/0.5 c4/0.5 d4/0.5 e4/0.5 c4/0.5 e4/0.5 a4/0.5 | g4/0.5 e4/0.5 c4/0.5 e4/0.5 g4/2",
    ),
    _tune(
        "The Blue Danube", "Johann Strauss II", 160, "3/4",
        "d4 | d4 f#4 a4 | a4/2 a5 | a5/2 f#5 | f#5/2 d4 | d4 f#4 a4 | a4/2 a5 | a5/2 g5 | g5/2 c#4 | c#4 e4 b4 | b4/2 b5 | b5/2 g5 | g5/2",
    ),
    _tune(
        "Jasmine Flower", TRADITIONAL, 100, "4/4",
        "e4 e4/0.5 g4/0.5 a4/0.5 c5/0.5 c5/0.5 a4/0.5 | g4 g4/0.5 a4/0.5 g4/2 | e4 e4/0.5 g4/0.5 a4/0.5 c5/0.5 c5/0.5 a4/0.5 | "
        "g4 g4/0.5 a4/0.5 g4/2 | g4 g4 g4 e4/0.5 g4/0.5 | a4 a4 g4/2",
    ),
    _tune(
        "Sakura Sakura", TRADITIONAL, 90, "4/4",
        "a4 a4 b4/2 | a4 a4 b4/2 | a4 b4 c5 b4 | a4 b4/0.5 a4/0.5 f4/2 | e4 c4 e4 f4 | e4 e4/0.5 c4/0.5 b3/2",
    ),
)  # fmt: skip
SONGS: Mapping[str, Tune] = MappingProxyType({tune.title: tune for tune in _ALL})
