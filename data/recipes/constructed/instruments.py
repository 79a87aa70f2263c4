"""Instruments that play notes at a true pitch: sums of partials, each family with its own attack, colour and decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from data.recipes.constructed.waves import (
    HIGHEST_HZ,
    RATE,
    Wave,
    band,
    decay,
    drift,
    envelope,
    faded,
    moments,
    n_samples,
    noise,
    peaked,
    put,
    resonated,
    shaped,
    strike,
)
from qwen_audio.errors import DataError

Generator = np.random.Generator
Timbre = Callable[[float, float, float, Generator], Wave]
QUALITIES = ("bright", "dark", "distortion", "reverb")  # what may be asked of any instrument
LOUDEST = 0.9


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that plays notes.

    Attributes:
        label: its name.
        family: that of the NSynth data set (arXiv:1704.01279, table 1).
        low, high: the MIDI numbers it plays.
        qualities: what is always true of its notes, in NSynth's words.
        held: whether a note lasts as long as it is played, rather than dying away.
        timbre: (hertz, seconds, force 0 to 1, generator) -> the note, at any level.
    """

    label: str
    family: str
    low: int
    high: int
    qualities: tuple[str, ...]
    held: bool
    timbre: Timbre


def hertz_of(midi: float) -> float:
    """Give the frequency of a MIDI number, tuned to A = 440 Hz."""
    return float(440.0 * 2 ** ((midi - 69) / 12))


def note(instrument: str, midi: int, seconds: float, velocity: int, rng: Generator, *, qualities: Sequence[str] = ()) -> Wave:
    """Play a note.

    Args:
        instrument: one of INSTRUMENTS.
        midi: within its range.
        seconds: how long the whole sound is; what dies away by itself may be silent at its end.
        velocity: 1 to 127; the largest sample is at 0.9 * (velocity / 127) ** 1.5, and a strong note is the brighter one.
        qualities: of QUALITIES, beyond the instrument's own.
    Raises:
        DataError: no such instrument or quality, or the note lies outside its range.
    """
    played = _instrument(instrument)
    if not played.low <= midi <= played.high or not 1 <= velocity <= 127:
        plays = f"plays MIDI {played.low} to {played.high} at a velocity of 1 to 127"
        raise DataError(f"{instrument}: {plays}, found {midi} and {velocity}; choose another note")
    wave = played.timbre(hertz_of(midi), seconds, velocity / 127, rng)
    for quality in qualities:
        wave = _with_quality(wave, quality, hertz_of(midi), rng)
    return peaked(faded(wave, 0.002, min(0.06, seconds / 4)), LOUDEST * (velocity / 127) ** 1.5)


def chord(instrument: str, midis: Sequence[int], seconds: float, velocity: int, rng: Generator) -> Wave:
    """Play several notes at once, each as `note` does; the sum is scaled down by the root of their number."""
    wave = np.sum([note(instrument, midi, seconds, velocity, rng) for midi in midis], axis=0)
    return (wave / np.sqrt(len(midis))).astype(np.float32)


def melody(instrument: str, notes: Sequence[tuple[int | None, float]], tempo_bpm: float, rng: Generator, velocity: int = 90) -> Wave:
    """Play notes one after another.

    Args:
        notes: (MIDI number, or None for a rest; beats) of each.
    """
    beat_s = 60 / tempo_bpm
    line = np.zeros(n_samples(sum(beats for _, beats in notes) * beat_s + 0.3), dtype=np.float32)
    at = 0.0
    for midi, beats in notes:
        if midi is not None:
            put(
                line,
                note(instrument, midi, beats * beat_s * 0.95 + (0 if _instrument(instrument).held else 0.25), velocity, rng),
                round(at * RATE),
            )
        at += beats * beat_s
    return line


def _instrument(label: str) -> Instrument:
    if label not in INSTRUMENTS:
        raise DataError(f"instrument {label!r}: expected one of {', '.join(INSTRUMENTS)}")
    return INSTRUMENTS[label]


def _with_quality(wave: Wave, quality: str, hertz: float, rng: Generator) -> Wave:
    if quality == "bright":
        return shaped(wave, [(hertz, -12), (hertz * 4, 0), (7000, 6)])
    if quality == "dark":
        return shaped(wave, [(hertz * 1.5, 0), (hertz * 4, -18), (7000, -40)])
    if quality == "distortion":
        return np.tanh(6 * peaked(wave)).astype(np.float32)
    if quality == "reverb":
        n = n_samples(1.2)
        room = shaped(noise(n, rng), [(200, -6), (800, 0), (4000, -12)]) * decay(n, 1.6)
        size = 1 << (len(wave) + n).bit_length()
        wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(room, size), size)[: len(wave)]
        return wave + (0.5 * wet * np.abs(wave).max() / max(float(np.abs(wet).max()), 1e-9)).astype(np.float32)
    raise DataError(f"quality {quality!r}: expected one of {', '.join(QUALITIES)}")


def _partials(phase: np.ndarray, amplitudes: Sequence[float] | np.ndarray, hertz: float, damping: float = 0.0) -> Wave:
    """Sum the multiples of a phase (n,), the k-th of which falls by exp(-k * damping * t), by powers of one complex wave."""
    fundamental = np.exp(1j * phase - damping * moments(len(phase))).astype(np.complex64)
    turning = fundamental.copy()
    wave = np.zeros(len(phase), dtype=np.float32)
    for number, amplitude in enumerate(amplitudes, 1):
        if number * hertz * 1.02 > HIGHEST_HZ:
            break
        wave += np.float32(amplitude) * turning.imag
        turning *= fundamental
    return wave


def _steady(hertz: float, n: int) -> np.ndarray:
    return 2 * np.pi * hertz * moments(n)


def _vibrato(hertz: float, n: int, rng: Generator, cents: float, delay_s: float = 0.2) -> np.ndarray:
    """Give the phase of a tone that sways about its pitch, by so many cents, after a while."""
    times = moments(n)
    depth = cents / 1200 * np.log(2) * np.clip((times - delay_s) / 0.25, 0, 1)
    rate = rng.uniform(4.8, 6.2)
    return 2 * np.pi * hertz * np.cumsum(1 + depth * np.sin(2 * np.pi * rate * times)) / RATE


def _slope(count: int, power: float, force: float) -> np.ndarray:
    """Give amplitudes that fall with a power of their number, less steeply when played with force."""
    return np.arange(1, count + 1) ** -(power + 0.9 * (0.6 - force))


def _held_envelope(n: int, attack_s: float, release_s: float = 0.08, sag: float = 0.85) -> Wave:
    seconds = n / RATE
    attack, release = min(0.4, attack_s / seconds), min(0.3, release_s / seconds)
    return envelope(n, [(0, 0), (attack, 1), (min(0.95, attack + 0.2), sag), (1 - release, sag), (1, 0)])


def _guitar(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n, picked = n_samples(seconds), rng.uniform(0.12, 0.25)  # where along the string it is plucked
    numbers = np.arange(1, 41)
    amplitudes = np.abs(np.sin(np.pi * picked * numbers)) * _slope(40, 1.1, force)
    wave = _partials(_steady(hertz, n), amplitudes, hertz, damping=0.35 + hertz / 900) * decay(n, 5.0)
    return wave + 0.02 * band(n, rng, 800, 4000) * decay(n, 0.03)


def _harpsichord(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    numbers = np.arange(1, 61)
    amplitudes = np.abs(np.sin(np.pi * 0.09 * numbers)) * numbers**-0.35
    wave = _partials(_steady(hertz, n), amplitudes, hertz, damping=0.08 + hertz / 5000) * decay(n, 3.0)
    return wave + 0.15 * band(n, rng, 2500, 6500) * decay(n, 0.012)


def _piano(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    amplitudes = _slope(30, 1.25, force) * np.abs(np.sin(np.pi * np.arange(1, 31) / 8.2))
    strings = [
        _partials(_steady(hertz * (1 + cents / 120000), n), amplitudes, hertz, damping=0.25 + hertz / 1500) for cents in (-40, 0, 45)
    ]
    body = np.sum(strings, axis=0) * (0.75 * decay(n, 2.2) + 0.25 * decay(n, 8.0))
    hammer = 0.25 * force * resonated(noise(n, rng) * decay(n, 0.03), [(180, 120, 1.0), (900, 700, 0.4)])
    return (body + hammer).astype(np.float32)


def _flute(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    wave = _partials(_vibrato(hertz, n, rng, 18), (1.0, 0.35 * force + 0.1, 0.08, 0.03, 0.01), hertz)
    breath = resonated(noise(n, rng), [(hertz, hertz * 0.4, 0.12), (min(hertz * 3, 5500), 1800, 0.05)])
    shaking = 1 + 0.12 * np.sin(2 * np.pi * 5.3 * moments(n)).astype(np.float32)
    return (wave * shaking + 0.5 * breath) * _held_envelope(n, 0.07, 0.1)


def _organ(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    drawbars = np.zeros(16)
    drawbars[[0, 1, 2, 3, 5, 7, 9, 11, 15]] = (1.0, 0.9, 0.45, 0.7, 0.3, 0.5, 0.15, 0.2, 0.3)
    return _partials(_steady(hertz, n), drawbars, hertz) * _held_envelope(n, 0.015, 0.04, 1.0)


def _violin(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    wave = _partials(_vibrato(hertz, n, rng, 28), _slope(40, 0.75, force), hertz)
    body = wave + resonated(wave, [(290, 60, 1.2), (480, 80, 1.0), (1100, 250, 0.8), (2600, 700, 1.3)])
    rosin = 0.03 * resonated(noise(n, rng), [(2600, 2000, 1.0)])
    return (body + rosin) * _held_envelope(n, 0.11, 0.09) * (1 + 0.06 * drift(n, rng, 12))


def _trumpet(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    soft = _partials(_vibrato(hertz, n, rng, 10, 0.4), np.exp(-0.75 * np.arange(12)), hertz)
    full = _partials(_vibrato(hertz, n, rng, 10, 0.4), np.exp(-(0.32 - 0.12 * force) * np.abs(np.arange(24) - 2)), hertz)
    brass = envelope(n, [(0, 0), (min(0.3, 0.09 / seconds), 1.15), (min(0.5, 0.2 / seconds), 0.9), (1, 0.8)])
    return (0.35 * soft + full * brass) * _held_envelope(n, 0.045, 0.06)


def _clarinet(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    numbers = np.arange(1, 25)
    amplitudes = np.where(numbers % 2 == 1, 1.0, 0.06) * numbers ** -(1.1 - 0.4 * force)
    breath = 0.015 * resonated(noise(n, rng), [(1500, 1500, 1.0)])
    return (_partials(_steady(hertz, n), amplitudes, hertz) + breath) * _held_envelope(n, 0.05, 0.07, 0.95)


def _accordion(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    amplitudes = np.arange(1, 31) ** -0.55 * np.where(np.arange(1, 31) % 2 == 1, 1.0, 0.7)
    reeds = [_partials(_steady(hertz * 2 ** (cents / 1200), n), amplitudes, hertz) for cents in (-9, 9)]
    return shaped(np.sum(reeds, axis=0).astype(np.float32), [(200, -3), (1200, 0), (5000, -8)]) * _held_envelope(n, 0.05, 0.06, 1.0)


def _bass(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    wave = _partials(_steady(hertz, n), _slope(20, 1.5, force), hertz, damping=1.2) * decay(n, 4.0)
    return wave + 0.15 * force * band(n, rng, 500, 2500) * decay(n, 0.02)


def _marimba(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    bars = [(hertz, 1.0, 0.75 * (300 / hertz) ** 0.4), (hertz * 3.93, 0.35 * force, 0.16), (hertz * 9.6, 0.12 * force, 0.06)]
    wave = strike(seconds, bars)
    return wave + 0.1 * resonated(noise(len(wave), rng) * decay(len(wave), 0.02), [(700, 500, 1.0)])


def _glockenspiel(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    bars = [(hertz, 1.0, 2.6), (hertz * 2.76, 0.45, 1.0), (hertz * 5.4, 0.3 * force, 0.5), (hertz * 8.93, 0.2 * force, 0.3)]
    return strike(seconds, bars)


def _synth_lead(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    saws = [_partials(_steady(hertz * 2 ** (cents / 1200), n), 1 / np.arange(1, 61), hertz) for cents in (-7, 0, 7)]
    wave = np.sum(saws, axis=0).astype(np.float32)
    opened = resonated(wave, [(min(4 * hertz, 4500), 250, 1.4)])
    return (wave + opened) * _held_envelope(n, 0.008, 0.03, 0.9)


def _choir(hertz: float, seconds: float, force: float, rng: Generator) -> Wave:
    n = n_samples(seconds)
    voices = [_partials(_vibrato(hertz * 2 ** (cents / 1200), n, rng, 22, 0.05), _slope(30, 0.9, force), hertz) for cents in (-6, 7)]
    throat = [(650, 110, 1.0), (1080, 140, 0.7), (2650, 260, 0.25), (3300, 350, 0.2)]
    wave = np.sum(voices, axis=0).astype(np.float32)
    return (resonated(wave, throat) + 0.08 * wave) * _held_envelope(n, 0.18, 0.18)


_ALL = (
    Instrument("guitar", "guitar", 40, 84, ("percussive",), False, _guitar),
    Instrument("harpsichord", "keyboard", 36, 86, ("bright", "percussive"), False, _harpsichord),
    Instrument("piano", "keyboard", 36, 96, ("percussive", "long release"), False, _piano),
    Instrument("flute", "flute", 60, 96, ("nonlinear envelope",), True, _flute),
    Instrument("organ", "organ", 36, 96, (), True, _organ),
    Instrument("violin", "string", 55, 96, ("nonlinear envelope",), True, _violin),
    Instrument("trumpet", "brass", 54, 82, ("bright",), True, _trumpet),
    Instrument("clarinet", "reed", 50, 90, (), True, _clarinet),
    Instrument("accordion", "reed", 53, 88, ("multiphonic",), True, _accordion),
    Instrument("bass", "bass", 28, 55, ("dark", "percussive"), False, _bass),
    Instrument("marimba", "mallet", 45, 96, ("fast decay", "percussive"), False, _marimba),
    Instrument("glockenspiel", "mallet", 72, 96, ("bright", "long release", "percussive"), False, _glockenspiel),
    Instrument("synth lead", "synth_lead", 40, 90, ("bright",), True, _synth_lead),
    Instrument("choir", "vocal", 48, 81, ("dark", "nonlinear envelope"), True, _choir),
)  # fmt: skip
INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType({item.label: item for item in _ALL})
