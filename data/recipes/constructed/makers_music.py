"""Make examples of the eight tasks of music."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from data.recipes.constructed.example import Example, Generator, Maker, draw_several, pick, question, tagged
from data.recipes.constructed.genres import MOODS
from data.recipes.constructed.music import (
    GENRES,
    INSTRUMENTS,
    MUSIC_EMOTIONS,
    QUALITIES,
    SINGERS,
    SONGS,
    TRADITIONAL,
    Piece,
    emotion_music,
    note,
    piece,
    sing,
)
from data.recipes.constructed.questions_music import HEARD_MUSIC, an, figure, play
from data.recipes.constructed.waves import Wave, peaked
from tag_schema.answers import Note, Song, write_labels, write_note, write_song

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

_TEMPO = ((80, "slow"), (116, "moderate"), (1000, "fast"))  # up to so many beats a minute
_MELODIES = tuple(label for label in INSTRUMENTS if label not in ("bass", "glockenspiel"))
_GENRE_FORMS = (
    "{Clause}, at {bpm} beats per minute, with {instruments}.",
    "{A_tempo} piece of {genre} in {key} {mode}, played on {instruments}.",
    "This is {genre} in {meter} time. One hears {instruments}; the tempo is {tempo}.",
    "{Clause}. The key is {key} {mode} and the tempo is {tempo}.",
    "{A_tempo} {genre} piece in {meter} time; {instruments} are playing.",
    "Instrumental {genre} in {key} {mode} with {instruments}, about {bpm} beats per minute.",
)
_MOOD_FORMS = (
    "{Clause}, at {bpm} beats per minute, with {instruments}.",
    "{A_mood} piece in {key} {mode}, played on {instruments}.",
    "This music feels {mood}. One hears {instruments}; the tempo is {tempo}.",
    "{Clause}. The key is {key} {mode} and the tempo is {tempo}.",
    "{A_tempo} and {mood} piece in {meter} time; {instruments} are playing.",
    "Instrumental music of {a_mood} mood with {instruments}, about {bpm} beats per minute.",
)


def singer_id(rng: Generator, pool: Pool | None) -> Example:
    """Name the singer; the tune has nothing to do with it."""
    number, tune = int(rng.integers(len(SINGERS))), pick(tuple(SONGS.values()), rng)
    clip = _levelled(sing(number, tune, rng, float(rng.uniform(5, 10))), rng)
    return tagged("singer_id", clip, SINGERS[number], meta={"singer": SINGERS[number], "title": tune.title})


def music_emotion(rng: Generator, pool: Pool | None) -> Example:
    """Name the mood of a piece."""
    made = emotion_music(pick(MUSIC_EMOTIONS, rng), rng, float(rng.uniform(6, 12)))
    return tagged("music_emotion", _levelled(made.samples, rng), str(made.facts.mood), meta=_facts(made))


def music_caption(rng: Generator, pool: Pool | None) -> Example:
    """Describe a piece; other wordings are references."""
    seconds = float(rng.uniform(7, 12))
    made = piece(pick(tuple(GENRES), rng), rng, seconds) if rng.random() < 0.6 else emotion_music(pick(MUSIC_EMOTIONS, rng), rng, seconds)
    captions = draw_several(_captions(made), 6, rng)
    return tagged("music_caption", _levelled(made.samples, rng), captions[0], references=captions[:5], meta=_facts(made))


def instrument(rng: Generator, pool: Pool | None) -> Example:
    """Name one instrument, or two that play at once."""
    labels = draw_several(tuple(INSTRUMENTS), int(rng.choice((1, 1, 1, 2))), rng)
    tempo = float(rng.uniform(80, 150))
    waves = [_one_instrument(label, tempo, rng, pool) for label in labels]
    clip = np.sum([np.pad(wave, (0, max(map(len, waves)) - len(wave))) for wave in waves], axis=0).astype(np.float32)
    return tagged("instrument", _levelled(clip, rng), write_labels(labels), label="; ".join(labels))


def note_analysis(rng: Generator, pool: Pool | None) -> Example:
    """Tell pitch, velocity, instrument and qualities of a note."""
    label = pick(tuple(INSTRUMENTS), rng)
    if pool is not None and label in pool.notes and rng.random() < 0.5:  # how hard a recorded one was played nobody knows
        recorded, pitch = pool.note(label, rng)
        return tagged("note_analysis", recorded, write_note(Note(pitch, None, label)), meta={"instrument": label, "midi": str(pitch)})
    played = INSTRUMENTS[label]
    midi, velocity = int(rng.integers(played.low, played.high + 1)), int(rng.integers(25, 128))
    more = (pick([quality for quality in QUALITIES if quality not in played.qualities and not _contrary(quality, played.qualities)], rng),)
    qualities = more if rng.random() < 0.4 else ()
    clip = note(label, midi, float(rng.uniform(0.8, 3.0)), velocity, rng, qualities=qualities)
    target = write_note(Note(midi, velocity, label, tuple(sorted((*played.qualities, *qualities)))))
    return tagged("note_analysis", clip, target, meta={"instrument": label, "midi": str(midi), "velocity": str(velocity)})


def genre(rng: Generator, pool: Pool | None) -> Example:
    """Name the genre of a piece."""
    made = piece(pick(tuple(GENRES), rng), rng, float(rng.uniform(7, 13)))
    return tagged("genre", _levelled(made.samples, rng), str(made.facts.genre), meta=_facts(made))


def music_recognition(rng: Generator, pool: Pool | None) -> Example:
    """Name a tune and its composer, played or sung."""
    tune = pick(tuple(SONGS.values()), rng)
    seconds = float(rng.uniform(7, 13))
    if rng.random() < 0.4:
        clip = sing(int(rng.integers(len(SINGERS))), tune, rng, seconds)
    else:
        clip = play(tune.notes, pick(_MELODIES, rng), tune.tempo_bpm * float(rng.uniform(0.9, 1.1)), seconds, rng)
    target = write_song(Song(tune.title, tune.composer))
    meta = {"title": tune.title} | ({} if tune.composer == TRADITIONAL else {"artist": tune.composer})
    return tagged("music_recognition", _levelled(clip, rng), target, meta=meta)


def music_qa(rng: Generator, pool: Pool | None) -> Example:
    """Ask something about music."""
    return question("music_qa", pick(tuple(HEARD_MUSIC.values()), rng)(rng, pool), rng)


def _one_instrument(label: str, tempo_bpm: float, rng: Generator, pool: Pool | None) -> Wave:
    """Play a figure, or take a recorded note where there are some."""
    if pool is not None and label in pool.notes and rng.random() < 0.5:
        return peaked(pool.note(label, rng)[0], float(rng.uniform(0.4, 0.9)))
    return figure(label, tempo_bpm, rng, pool, times=int(rng.integers(1, 3)))


def _captions(made: Piece) -> list[str]:
    facts = made.facts
    plan_clause = GENRES[facts.genre].clause if facts.genre else MOODS[str(facts.mood)].clause
    tempo = next(word for limit, word in _TEMPO if facts.tempo_bpm <= limit)
    names = [f"the {name}" if name != "drums" else name for name in facts.instruments]
    fills = {
        "clause": plan_clause, "bpm": facts.tempo_bpm, "genre": facts.genre, "mood": facts.mood, "a_mood": an(str(facts.mood)),
        "key": facts.key, "mode": facts.mode, "meter": facts.meter, "tempo": tempo, "a_tempo": an(tempo),
        "instruments": names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1],
    }  # fmt: skip
    fills |= {name[0].upper() + name[1:]: str(text)[0].upper() + str(text)[1:] for name, text in fills.items()}
    return [form.format(**fills) for form in (_GENRE_FORMS if facts.genre else _MOOD_FORMS)]


def _facts(made: Piece) -> dict[str, str]:
    facts = made.facts
    known = {
        "tempo_bpm": str(facts.tempo_bpm),
        "meter": facts.meter,
        "key": f"{facts.key} {facts.mode}",
        "instrument": "\n".join(facts.instruments),
    }
    return known | ({"genre": facts.genre} if facts.genre else {}) | ({"mood": facts.mood} if facts.mood else {})


def _contrary(quality: str, others: tuple[str, ...]) -> bool:
    """Say whether a quality takes back one that is always there."""
    return (quality == "dark" and "bright" in others) or (quality == "bright" and "dark" in others)


def _levelled(clip: Wave, rng: Generator) -> Wave:
    return peaked(clip, float(rng.uniform(0.3, 0.95)))


MUSIC_MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "singer_id": singer_id, "music_emotion": music_emotion, "music_caption": music_caption, "instrument": instrument,
        "note_analysis": note_analysis, "genre": genre, "music_recognition": music_recognition, "music_qa": music_qa,
    }
)  # fmt: skip
