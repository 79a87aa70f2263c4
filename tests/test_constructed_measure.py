"""Measures: pitch, onsets, events, silence and tempo, on waves made here and by scipy, whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal

from data.recipes.constructed.measure import (
    active_spans,
    count_events,
    loudness_db,
    onsets_of,
    pitch_of,
    silent,
    speech_active,
    tempo_of,
)

RATE = 16_000


def hertz(midi: float) -> float:
    return 440 * 2 ** ((midi - 69) / 12)


def seconds(length: float) -> np.ndarray:
    return np.arange(round(length * RATE)) / RATE


def recorded(shape: Callable[[np.ndarray], np.ndarray], midi: float) -> np.ndarray:
    """Record a wave of a shape at 16 kHz, drawn eight times as fine."""
    times = np.arange(round(0.8 * 8 * RATE)) / (8 * RATE)
    return np.asarray(signal.resample_poly(shape(2 * np.pi * hertz(midi) * times), 1, 8))


def bursts(starts: list[float], length: float, total: float, rng: np.random.Generator) -> np.ndarray:
    wave = np.zeros(round(total * RATE))
    for start in starts:
        n = round(length * RATE)
        at = round(start * RATE)
        wave[at : at + n] += 0.5 * rng.standard_normal(n) * np.exp(-np.arange(n) / n * 3)
    return wave


@pytest.mark.parametrize("midi", [36, 41, 48, 55, 60, 67, 72, 79, 84, 91, 96])
@pytest.mark.parametrize("shape", ["sine", "sawtooth", "square", "odd", "no fundamental", "plucked"])
def test_the_pitch_of_a_note_is_found(midi: int, shape: str) -> None:
    phase = 2 * np.pi * hertz(midi + 0.17) * seconds(0.8)
    parts = [number for number in range(1, 30) if number * hertz(midi + 1) < 7300]
    wave = {
        "sine": lambda: np.sin(phase),
        "sawtooth": lambda: recorded(signal.sawtooth, midi + 0.17),
        "square": lambda: recorded(signal.square, midi + 0.17),
        "odd": lambda: sum(np.sin(k * phase) / k for k in parts[::2]),
        "no fundamental": lambda: sum(np.sin(k * phase) for k in parts[1:6]) if len(parts) > 3 else np.sin(phase),
        "plucked": lambda: sum(np.sin(k * phase) * np.exp(-(0.5 + k) * seconds(0.8) * 2) / k for k in parts),
    }[shape]()
    assert abs(pitch_of(0.3 * np.asarray(wave)) - (midi + 0.17)) < 0.1


@pytest.mark.parametrize("midi", [40, 60, 80])
def test_the_pitch_is_found_in_noise_and_with_vibrato(midi: int) -> None:
    rng = np.random.default_rng(midi)
    times = seconds(1.0)
    sway = 2 ** (0.25 / 12 * np.sin(2 * np.pi * 5.5 * times))
    phase = 2 * np.pi * np.cumsum(hertz(midi) * sway) / RATE
    wave = 0.1 * rng.standard_normal(len(times))
    for number in range(1, 8):
        wave += np.sin(number * phase) / number * (number * hertz(midi) < 7000)
    assert abs(pitch_of(wave * 0.3) - midi) < 0.3


def test_silence_has_no_pitch() -> None:
    assert math.isnan(pitch_of(np.zeros(RATE)))
    assert math.isnan(pitch_of(np.zeros(0)))
    assert math.isnan(pitch_of(1e-4 * np.sin(seconds(1.0) * 3000)))


@pytest.mark.parametrize("seed", range(4))
def test_onsets_are_found_where_bursts_begin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = list(np.cumsum(rng.uniform(0.2, 0.6, 8)))
    found = onsets_of(bursts(starts, 0.12, starts[-1] + 0.5, rng) + 0.002 * rng.standard_normal(round((starts[-1] + 0.5) * RATE)))
    assert len(found) == len(starts)
    assert np.abs(np.array(found) - starts).max() < 0.02


@pytest.mark.parametrize("count", [1, 2, 5])
def test_events_are_counted_and_their_spans_found(count: int) -> None:
    rng = np.random.default_rng(count)
    starts = [0.3 + 0.7 * number for number in range(count)]
    wave = np.zeros(round((0.7 * count + 0.6) * RATE))
    for start in starts:
        wave[round(start * RATE) :][:4800] = 0.4 * np.sin(2 * np.pi * 500 * seconds(0.3))
    for noise in (0.0, 0.01):
        spans = active_spans(wave + noise * rng.standard_normal(len(wave)))
        assert np.abs(np.array(spans) - [(start, start + 0.3) for start in starts]).max() < 0.02
    assert count_events(wave) == count
    assert count_events(np.zeros(RATE)) == 0


def test_a_sound_that_fills_the_clip_is_one_span() -> None:
    assert active_spans(0.3 * np.sin(2 * np.pi * 300 * seconds(2.0))) == [(0.0, pytest.approx(2.0, abs=0.02))]


def test_silence_and_speech_are_told_of_stretches() -> None:
    wave = np.concatenate([np.zeros(RATE), 0.2 * np.random.default_rng(0).standard_normal(RATE), np.zeros(RATE)])
    assert silent(wave, 0.0, 0.98) and silent(wave, 2.02, 3.0) and not silent(wave, 0.5, 1.5)
    assert speech_active(wave, 1.0, 2.0) and not speech_active(wave, 0.0, 0.9) and not speech_active(wave, 0.0, 1.3)


def test_loudness_is_the_mean_power() -> None:
    assert loudness_db(np.full(100, 0.1)) == pytest.approx(-20)
    assert loudness_db(np.sin(2 * np.pi * 100 * seconds(1.0))) == pytest.approx(-3.01, abs=0.01)
    assert loudness_db(np.zeros(10)) == -math.inf


@pytest.mark.parametrize("tempo", [66, 84, 100, 120, 138])
def test_the_tempo_of_beats_is_found(tempo: int) -> None:
    rng = np.random.default_rng(tempo)
    wave = bursts([0.1 + 60 / tempo * beat for beat in range(int(tempo / 6))], 0.08, 10.5, rng)
    assert tempo_of(wave) == pytest.approx(tempo, rel=0.02)
    assert math.isnan(tempo_of(np.zeros(RATE)))
