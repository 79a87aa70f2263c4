"""Music: notes are heard at their pitch and level, tunes are the tunes, pieces keep their tempo, singers keep their voice."""

from __future__ import annotations

import numpy as np
import pytest

from data.recipes.constructed.measure import onsets_of, pitch_of, tempo_of
from data.recipes.constructed.music import (
    GENRES,
    INSTRUMENTS,
    MUSIC_EMOTIONS,
    QUALITIES,
    SINGERS,
    SONGS,
    TRADITIONAL,
    Tune,
    chord,
    emotion_music,
    melody,
    note,
    piece,
    sing,
)
from data.recipes.constructed.singing import singer_called
from data.recipes.constructed.tunes import read_notes
from qwen_audio.errors import DataError

RATE = 16_000
NSYNTH_FAMILIES = {"bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"}


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def level(wave: np.ndarray) -> float:
    return float(np.abs(wave).max())


def brightness(wave: np.ndarray) -> float:
    power = np.square(np.abs(np.fft.rfft(wave)))
    return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_instrument_plays_the_pitch_that_is_asked_for(instrument: str) -> None:
    played = INSTRUMENTS[instrument]
    for midi in np.linspace(played.low, played.high, 7).astype(int):
        wave = note(instrument, int(midi), 0.7, 90, rng(int(midi)))
        assert abs(pitch_of(wave) - midi) < 0.3
        # and by the spectrum itself: a partial stands at the frequency of the number, and none half a semitone below it
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 17))
        bins = 440 * 2 ** ((midi - 69 + np.array([-0.8, -0.4, 0.4])) / 12) * (1 << 17) / RATE
        below, at = spectrum[int(bins[0]) : int(bins[1])].max(), spectrum[int(bins[1]) : int(bins[2])].max()
        assert at > 1.5 * below or midi < 45  # low partials are wider than a semitone


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_velocity_is_heard_as_level_and_the_same_seed_as_the_same_note(instrument: str) -> None:
    midi = (INSTRUMENTS[instrument].low + INSTRUMENTS[instrument].high) // 2
    levels = [level(note(instrument, midi, 0.4, velocity, rng(1))) for velocity in (20, 60, 100, 127)]
    assert levels == pytest.approx([0.9 * (velocity / 127) ** 1.5 for velocity in (20, 60, 100, 127)], rel=1e-3)
    assert note(instrument, midi, 0.4, 90, rng(1)).tobytes() == note(instrument, midi, 0.4, 90, rng(1)).tobytes()
    assert len(note(instrument, midi, 0.4, 90, rng(1))) == round(0.4 * RATE)


def test_instruments_are_many_and_their_families_are_those_of_nsynth() -> None:
    assert len(INSTRUMENTS) >= 10
    assert {played.family for played in INSTRUMENTS.values()} <= NSYNTH_FAMILIES
    assert all(played.high - played.low >= 24 for played in INSTRUMENTS.values())


def test_held_notes_last_and_plucked_ones_die_away() -> None:
    for label, played in INSTRUMENTS.items():
        wave = note(label, (played.low + played.high) // 2, 2.0, 90, rng(2))
        late, early = (np.sqrt(np.mean(wave[first : first + 4000] ** 2)) for first in (24000, 4000))
        assert (late > 0.6 * early) == played.held, label


def test_qualities_change_the_sound_and_not_the_pitch() -> None:
    plain = note("guitar", 57, 1.0, 90, rng(0))
    made = {quality: note("guitar", 57, 1.0, 90, rng(0), qualities=[quality]) for quality in QUALITIES}
    assert brightness(made["bright"]) > 1.3 * brightness(plain) > 1.5 * brightness(made["dark"])
    assert all(abs(pitch_of(wave) - 57) < 0.3 for wave in made.values())
    assert np.abs(made["distortion"]).mean() > 1.5 * np.abs(plain).mean()
    with pytest.raises(DataError, match="bright, dark"):
        note("guitar", 57, 1.0, 90, rng(0), qualities=["funny"])


@pytest.mark.parametrize(("instrument", "midi", "velocity"), [("flute", 40, 90), ("bass", 80, 90), ("guitar", 60, 0), ("kazoo", 60, 90)])
def test_what_cannot_be_played_is_refused(instrument: str, midi: int, velocity: int) -> None:
    with pytest.raises(DataError, match=r"expected one of|choose another note"):
        note(instrument, midi, 0.5, velocity, rng(0))


def test_a_chord_holds_all_of_its_notes() -> None:
    spectrum = np.abs(np.fft.rfft(chord("organ", (60, 64, 67), 1.0, 90, rng(0))))
    for midi in (60, 64, 67):
        at = round(440 * 2 ** ((midi - 69) / 12))
        assert spectrum[at - 2 : at + 3].max() > 0.2 * spectrum.max()


def test_a_melody_plays_its_notes_in_time() -> None:
    line = melody("piano", read_notes("c4 e4/0.5 g4/0.5 r c5"), 120, rng(0))
    assert np.abs(np.array(onsets_of(line)) - [0.0, 0.5, 0.75, 1.5]).max() < 0.03
    for at, midi in ((0.0, 60), (0.5, 64), (0.75, 67), (1.5, 72)):
        assert abs(pitch_of(line[round(at * RATE) : round((at + 0.22) * RATE)]) - midi) < 0.3


def test_notes_are_read_by_their_names() -> None:
    assert read_notes("c4 a4/2 | f#5/0.5 bb3 r/1.5") == ((60, 1.0), (69, 2.0), (78, 0.5), (58, 1.0), (None, 1.5))
    with pytest.raises(DataError, match="'h4' is no note"):
        read_notes("c4 h4")


def test_the_tunes_are_those_that_everybody_knows() -> None:
    begin = {
        "Ode to Joy": [0, 1, 3, 3, 1, 0, -2, -4, -4, -2, 0], "Frère Jacques": [2, 4, 0, 0, 2, 4, 0],
        "Für Elise": [-1, 0, -1, 0, -5, -2, -4, -7],
        "Twinkle, Twinkle, Little Star": [0, 7, 7, 9, 9, 7, 5, 5, 4, 4, 2, 2, 0], "Jingle Bells": [0, 0, 0, 0, 0, 0, 3, -4, -2, 0],
    }  # fmt: skip
    for title, steps in begin.items():
        midis = [midi for midi, _ in SONGS[title].notes if midi is not None]
        assert [midi - midis[0] for midi in midis[1 : len(steps) + 1]] == steps, title
    assert len(SONGS) >= 12
    assert all(tune.composer and 5 < tune.beats * 60 / tune.tempo_bpm < 30 for tune in SONGS.values())


@pytest.mark.parametrize("genre", [*GENRES, *MUSIC_EMOTIONS])
def test_a_piece_keeps_the_tempo_that_its_facts_tell(genre: str) -> None:
    for seed in (1, 2):
        made = piece(genre, rng(seed), 8.0) if genre in GENRES else emotion_music(genre, rng(seed), 8.0)
        assert len(made.samples) == 8 * RATE and made.samples.dtype == np.float32 and 0.5 < level(made.samples) <= 1
        ratio = tempo_of(made.samples) / made.facts.tempo_bpm
        assert min(abs(ratio / simple - 1) for simple in (1, 2, 1 / 2, 1 / 3, 2 / 3, 4 / 3)) < 0.03
        assert (made.facts.genre, made.facts.mood) == ((genre, None) if genre in GENRES else (None, genre))
        assert set(made.facts.instruments) <= {*INSTRUMENTS, "drums", "electric guitar"}


def test_the_same_seed_plays_the_same_piece() -> None:
    assert piece("blues", rng(5), 4.0).samples.tobytes() == piece("blues", rng(5), 4.0).samples.tobytes()
    assert piece("blues", rng(5), 4.0).samples.tobytes() != piece("blues", rng(6), 4.0).samples.tobytes()


def test_moods_differ_in_tempo_and_mode() -> None:
    made = {mood: [emotion_music(mood, rng(seed), 3.0) for seed in range(3)] for mood in MUSIC_EMOTIONS}
    slowest = {mood: min(item.facts.tempo_bpm for item in items) for mood, items in made.items()}
    fastest = {mood: max(item.facts.tempo_bpm for item in items) for mood, items in made.items()}
    assert max(fastest["sad"], fastest["calm"]) < min(slowest["happy"], slowest["tense"])
    assert {item.facts.mode for mood in ("happy", "calm") for item in made[mood]} == {"major"}
    assert {item.facts.mode for mood in ("sad", "tense") for item in made[mood]} == {"minor"}


@pytest.mark.parametrize("number", range(len(SINGERS)))
def test_a_singer_sings_the_intervals_of_the_tune(number: int) -> None:
    tune = Tune("rising", TRADITIONAL, read_notes("c4/2 g4/2 a4/2"), 90, "4/4")
    wave = sing(number, tune, rng(number))
    beat = len(wave) / tune.beats
    sung = [pitch_of(wave[round((place + 0.5) * beat) : round((place + 1.7) * beat)]) for place in (0, 2, 4)]
    swaying = singer_called(number).vibrato_cents / 100
    for interval, expected in zip(np.diff(sung), (7, 2), strict=True):
        assert abs((interval - expected + 6) % 12 - 6) < 0.5 + swaying


def test_singers_are_many_and_a_song_may_be_cut() -> None:
    assert sing(3, SONGS["Lullaby"], rng(1), 2.0).tobytes() == sing(3, SONGS["Lullaby"], rng(1), 2.0).tobytes()
    assert len(set(SINGERS)) == len(SINGERS) >= 12
    assert len(sing(0, SONGS["Lullaby"], rng(0), 3.0)) == 3 * RATE
    with pytest.raises(DataError, match="from 0 to 15"):
        sing(99, SONGS["Lullaby"], rng(0))


@pytest.mark.parametrize("make", [lambda: piece("polka-dot", rng(0)), lambda: emotion_music("bored", rng(0))])
def test_what_is_not_known_is_named_with_what_there_is(make) -> None:
    with pytest.raises(DataError, match="expected one of"):
        make()
