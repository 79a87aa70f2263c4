"""Sounds: each is what its name says by what can be measured, all are told apart, and countable ones are one event."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from data.recipes.constructed.measure import active_spans, count_events
from data.recipes.constructed.sounds import SCENES, SOUNDS, VOCAL_SOUNDS, SoundKind, make_scene
from qwen_audio.errors import DataError

RATE = 16_000
KINDS = {**SOUNDS, **VOCAL_SOUNDS}


def heard(label: str, seed: int) -> np.ndarray:
    return KINDS[label].make(np.random.default_rng(seed))


def power(samples: np.ndarray, low: float, high: float) -> float:
    """Give the share of a sound's power between two frequencies."""
    spectrum = np.square(np.abs(np.fft.rfft(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].sum() / spectrum.sum())


def ridge(samples: np.ndarray) -> np.ndarray:
    """Give the strongest frequency of each 32 ms that is heard."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
    loud = np.abs(frames).max(1) > 0.1 * np.abs(samples).max()
    return np.abs(np.fft.rfft(frames[loud], 2048, axis=1)).argmax(1) * RATE / 2048


def look(samples: np.ndarray) -> np.ndarray:
    """Describe a sound by the mean and spread of 24 bands, and by how its level moves."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, 512)), 512)[::256] * np.hanning(512)
    edges = np.unique(np.geomspace(2, 257, 25).astype(int))
    bands = np.add.reduceat(np.square(np.abs(np.fft.rfft(frames, axis=1))), edges[:-1], axis=1)
    logs = np.log10(bands / bands.max() + 1e-5)
    moves = np.abs(np.fft.rfft(logs.mean(1) - logs.mean(), 128))[:24] / len(logs)
    return np.concatenate([logs.mean(0), logs.std(0), np.sqrt(moves), [np.log(len(samples) / RATE)]])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_sound_is_a_pure_function_of_its_seed_and_fits(kind: SoundKind) -> None:
    first, again, other = (kind.make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert first.dtype == np.float32 and np.isfinite(first).all()
    assert 0.3 < np.abs(first).max() <= 1
    assert 0.1 < len(first) / RATE < 5


def test_there_is_enough_to_hear_and_every_area_of_life_is_heard() -> None:
    assert len(SOUNDS) >= 24 and len(SCENES) >= 8
    assert {kind.category for kind in SOUNDS.values()} >= {"animal", "human", "machine", "water", "alarm", "impact", "vehicle", "nature"}
    # the classes of VocalSound (Gong et al., 2022)
    assert set(VOCAL_SOUNDS) == {"laughter", "sigh", "cough", "throat clearing", "sneeze", "sniff"}
    assert len({kind.noun_phrase for kind in KINDS.values()}) == len({kind.clause for kind in KINDS.values()}) == len(KINDS)


def test_the_words_for_a_sound_fit_into_sentences() -> None:
    for kind in KINDS.values():
        assert kind.clause[0].islower() and kind.clause[-1].isalpha()
        assert kind.indefinite.split()[0] == ("an" if kind.noun_phrase[0] in "aeiou" else "a")
        assert kind.definite == f"the {kind.noun_phrase}"
        assert kind.onset_like == bool(kind.plural)
    assert all(scene.place.startswith(("a ", "an ")) and scene.clause[0].islower() for scene in SCENES.values())


@pytest.mark.parametrize("label", [kind.label for kind in KINDS.values() if kind.onset_like])
def test_what_can_be_counted_is_one_event(label: str) -> None:
    for seed in range(3):
        once = heard(label, seed)
        assert count_events(np.pad(once, 3200)) == 1
        apart = np.concatenate([np.pad(heard(label, seed + number), (0, 4800)) for number in range(3)])
        assert count_events(apart) == 3


def test_sounds_are_told_apart() -> None:
    known = {label: np.mean([look(heard(label, seed)) for seed in range(3)], axis=0) for label in KINDS}
    labels, centres = list(known), np.stack(list(known.values()))
    spread = centres.std(0) + 1e-6
    right = [
        labels[int(np.abs((centres - look(heard(label, seed))) / spread).sum(1).argmin())] == label for label in labels for seed in (50,)
    ]
    assert np.mean(right) > 0.95


HELD: dict[str, Callable[[np.ndarray], bool]] = {
    "beep": lambda wave: ridge(wave).std() < 30,
    "bird song": lambda wave: power(wave, 2000, 8000) > 0.95,
    "clock tick": lambda wave: np.diff([start for start, _ in active_spans(wave)]).std() < 0.02,
    "crickets": lambda wave: power(wave, 3900, 5500) > 0.95,
    "foghorn": lambda wave: power(wave, 0, 1500) > 0.95,
    "kettle": lambda wave: ridge(wave)[-10] > 1.1 * ridge(wave)[0] or power(wave, 1500, 2600) > 0.8,
    "siren": lambda wave: ridge(wave).max() > 1.6 * ridge(wave).min() and power(wave, 0, 5000) > 0.99,
    "thunder": lambda wave: power(wave, 0, 400) > 0.7,
    "water drop": lambda wave: ridge(wave)[-1] > 1.25 * ridge(wave)[0],
    "whistling": lambda wave: ridge(wave).max() > 1.2 * ridge(wave).min() and power(wave, 800, 3500) > 0.95,
    "hand clap": lambda wave: np.abs(wave).argmax() < 0.02 * RATE,
    "footsteps": lambda wave: 3 <= count_events(wave, min_gap_s=0.2) <= 8,
    "sniff": lambda wave: power(wave, 800, 8000) > 0.8,
    "sneeze": lambda wave: power(wave, 2000, 8000) > 0.3,
    "laughter": lambda wave: power(wave, 100, 4500) > 0.95,
}  # fmt: skip


@pytest.mark.parametrize("label", HELD)
def test_a_sound_has_what_its_name_promises(label: str) -> None:
    assert all(HELD[label](heard(label, seed)) for seed in range(5))


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_lasts_as_long_as_asked_and_is_never_silent(name: str) -> None:
    wave = make_scene(name, 4.0, np.random.default_rng(1))
    assert wave.tobytes() == make_scene(name, 4.0, np.random.default_rng(1)).tobytes()
    assert len(wave) == 4 * RATE and wave.dtype == np.float32 and np.abs(wave).max() <= 1
    assert np.sqrt(np.mean(np.square(wave.reshape(16, -1)), axis=1)).min() > 1e-4


def test_an_unknown_scene_is_named_with_those_there_are() -> None:
    with pytest.raises(DataError, match="'moon': expected one of rainy street"):
        make_scene("moon", 1.0, np.random.default_rng(0))
