"""The face of the rooms of music: instruments and notes, tunes, singers, pieces by genre and mood."""

from __future__ import annotations

from data.recipes.constructed.genres import GENRES, MUSIC_EMOTIONS, Facts, Genre, Piece, emotion_music, piece
from data.recipes.constructed.instruments import INSTRUMENTS, QUALITIES, Instrument, chord, melody, note
from data.recipes.constructed.singing import SINGERS, sing
from data.recipes.constructed.tunes import SONGS, TRADITIONAL, Tune

__all__ = [
    "GENRES", "INSTRUMENTS", "MUSIC_EMOTIONS", "QUALITIES", "SINGERS", "SONGS", "TRADITIONAL", "Facts", "Genre", "Instrument", "Piece",
    "Tune", "chord", "emotion_music", "melody", "note", "piece", "sing",
]  # fmt: skip
