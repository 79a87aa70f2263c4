"""Waves that sounds, voices and notes are made of: noise, glides, envelopes, filters; 16 kHz mono, all in numpy.

Every function is a pure one of its arguments; filters work over the whole sound at once, in the frequency domain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qwen_audio.audio import SAMPLE_RATE

RATE = SAMPLE_RATE
HIGHEST_HZ = 0.46 * RATE  # nothing is synthesised above: files are resampled and coded later
DECAY_60_DB = math.log(1000.0)
Wave = npt.NDArray[np.float32]
Curve = npt.NDArray[np.floating]
Response = npt.NDArray[np.inexact]


def n_samples(seconds: float) -> int:
    """Give the length in samples of so many seconds, at least one."""
    return max(1, round(seconds * RATE))


def seconds_of(wave: Wave) -> float:
    """Give the length of a wave in seconds."""
    return len(wave) / RATE


def moments(n: int) -> npt.NDArray[np.float64]:
    """Give the time of each of n samples in seconds."""
    return np.arange(n) / RATE


def noise(n: int, rng: np.random.Generator) -> Wave:
    """Make white noise of unit variance."""
    return rng.standard_normal(n, dtype=np.float32)


def fast_length(n: int) -> int:
    """Find a length of at least n that the Fourier transform is quick at: 2, 3, 5 or 9 times a power of two."""
    return min(factor << max(0, math.ceil(math.log2(n / factor))) for factor in (2, 3, 5, 9))


def filtered(wave: Wave, response: Response, padded: int) -> Wave:
    """Multiply a wave's spectrum with a response over the frequencies of `padded` samples, and cut it to its length."""
    return np.fft.irfft(np.fft.rfft(wave, padded) * response, padded)[: len(wave)].astype(np.float32)


def shaped(wave: Wave, points: Sequence[tuple[float, float]]) -> Wave:
    """Filter by a curve of (hertz, decibels), straight between its points on a scale of octaves."""
    padded = fast_length(len(wave) + 512)
    hertz = np.log(np.maximum(np.fft.rfftfreq(padded, 1 / RATE), 10.0))
    gains = np.interp(hertz, [math.log(max(at, 10.0)) for at, _ in points], [gain for _, gain in points])
    return filtered(wave, 10 ** (gains / 20), padded)


def band(n: int, rng: np.random.Generator, low_hz: float, high_hz: float, octave_db: float = 24.0) -> Wave:
    """Make noise between two frequencies, of unit variance, falling by octave_db an octave outside."""
    far = 8.0  # octaves
    slope = octave_db * far
    points = [(low_hz / 2**far, -slope), (low_hz, 0.0), (high_hz, 0.0), (high_hz * 2**far, -slope)]
    wave = shaped(noise(n, rng), points)
    return wave / max(float(wave.std()), 1e-9)


def resonated(wave: Wave, peaks: Sequence[tuple[float, float, float]]) -> Wave:
    """Filter through resonators side by side.

    Args:
        wave: (n,) what drives them.
        peaks: (hertz, bandwidth in hertz, gain at the peak) of each.
    """
    narrowest = min(bandwidth for _, bandwidth, _ in peaks)
    padded = fast_length(len(wave) + min(2 * RATE, int(3 * RATE / narrowest)))
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(padded, 1 / RATE) / RATE)
    response = np.zeros(len(turn), dtype=np.complex128)
    for hertz, bandwidth, gain in peaks:
        radius = math.exp(-math.pi * bandwidth / RATE)
        angle = 2 * math.pi * min(hertz, HIGHEST_HZ) / RATE
        at_peak = abs((1 - radius) * (1 - radius * np.exp(-2j * angle)))
        response += gain * at_peak / (1 - 2 * radius * math.cos(angle) * turn + radius**2 * turn**2)
    return filtered(wave, response, padded)


def glide(hertz: Curve | float, n: int | None = None) -> Wave:
    """Make a sine of changing frequency; hertz is a curve, or a number with its n samples."""
    curve = np.full(n or 1, float(hertz)) if isinstance(hertz, (int, float)) else hertz
    return np.sin(2 * np.pi * np.cumsum(curve) / RATE).astype(np.float32)


def pulses(hertz: Curve) -> Wave:
    """Make a train of pulses of changing frequency, all its multiples equally strong up to the highest that is kept."""
    half = np.pi * np.cumsum(hertz) / RATE
    room = np.maximum(1.0, HIGHEST_HZ / np.maximum(hertz, 1.0))
    count = np.floor(room)
    below = np.sin(half)
    flat = np.abs(below) < 1e-6
    safe = np.where(flat, 1.0, below)
    train = np.where(flat, 2 * count + 1, np.sin((2 * count + 1) * half) / safe)
    next_one = 2 * np.cos(2 * (count + 1) * half)  # the multiple at the edge comes and goes softly
    return ((train - 1 + (room - count) * next_one) / np.sqrt(2 * room)).astype(np.float32)


def harmonics(hertz: Curve, amplitudes: Sequence[float]) -> Wave:
    """Make the sum of whole multiples of a changing frequency; those above the highest that is kept are silent."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = np.zeros(len(hertz))
    highest = float(np.max(hertz))
    for number, amplitude in enumerate(amplitudes, 1):
        if number * highest < HIGHEST_HZ:
            wave += amplitude * np.sin(number * phase)
    return wave.astype(np.float32)


def decay(n: int, seconds: float) -> Wave:
    """Make an envelope that falls by 60 dB in so many seconds."""
    return np.exp(-DECAY_60_DB / max(seconds, 1e-3) * moments(n)).astype(np.float32)


def envelope(n: int, points: Sequence[tuple[float, float]]) -> Wave:
    """Make an envelope of straight lines through (share of the length, level)."""
    return np.interp(np.linspace(0, 1, n), [at for at, _ in points], [level for _, level in points]).astype(np.float32)


def drift(n: int, rng: np.random.Generator, per_second: float) -> Wave:
    """Make a smooth random curve around zero, about as many turns a second as asked, within -1 and 1."""
    knots = max(2, math.ceil(n / RATE * per_second) + 2)
    curve = np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.uniform(-1, 1, knots))
    return curve.astype(np.float32)


def faded(wave: Wave, in_s: float = 0.005, out_s: float = 0.02) -> Wave:
    """Let a sound begin and end at zero."""
    result = wave.astype(np.float32, copy=True)
    for seconds, direction in ((in_s, 1), (out_s, -1)):
        n = min(len(result), n_samples(seconds))
        result[::direction][:n] *= np.linspace(0, 1, n, dtype=np.float32)
    return result


def morphed(wave: Wave, shapes: Sequence[Sequence[tuple[float, float, float]]], path: Curve) -> Wave:
    """Lead a sound through several sets of resonators, as a mouth does.

    Args:
        shapes: resonators as in `resonated`, one set after another.
        path: (n,) which set is heard when, from 0 to one less than their number, fractions between.
    """
    parts = [resonated(wave, shape) * np.maximum(0.0, 1 - np.abs(path - number)) for number, shape in enumerate(shapes)]
    return np.sum(parts, axis=0, dtype=np.float32)


def strike(seconds: float, partials: Sequence[tuple[float, float, float]]) -> Wave:
    """Let something ring that was struck: (hertz, level, seconds until it is 60 dB weaker) of each of its tones."""
    n = n_samples(seconds)
    wave = np.zeros(n, dtype=np.float32)
    for hertz, level, rings in partials:
        if hertz < HIGHEST_HZ:
            wave += level * glide(hertz, n) * decay(n, rings)
    return wave


def put(onto: Wave, wave: Wave, start: int, gain: float = 1.0) -> None:
    """Add a sound to another one from a sample on; what passes the end is cut."""
    stop = min(len(onto), start + len(wave))
    if 0 <= start < stop:
        onto[start:stop] += gain * wave[: stop - start]


def peaked(wave: Wave, level: float = 0.9) -> Wave:
    """Scale a sound so that its largest sample is at a level."""
    largest = float(np.abs(wave).max(initial=0.0))
    return (wave * (level / largest)).astype(np.float32) if largest > 0 else wave.astype(np.float32)


def levelled(wave: Wave, rms_db: float, highest: float = 0.95) -> Wave:
    """Scale a sound to a mean level in decibels below full scale, or as near to it as its largest sample allows."""
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    gain = 10 ** (rms_db / 20) / max(rms, 1e-9)
    return (wave * min(gain, highest / max(float(np.abs(wave).max(initial=0.0)), 1e-9))).astype(np.float32)
