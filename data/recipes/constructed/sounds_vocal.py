"""The six sounds of a person that are not words: laughter, cough, sigh, sneeze, throat clearing, sniff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.recipes.constructed.waves import (
    Wave,
    band,
    decay,
    drift,
    envelope,
    faded,
    morphed,
    n_samples,
    noise,
    peaked,
    pulses,
    resonated,
    shaped,
)

Generator = np.random.Generator
_VOWEL_A = [(750, 90, 1.0), (1250, 110, 0.7), (2600, 170, 0.35), (3500, 250, 0.2)]
_VOWEL_U = [(350, 80, 1.0), (850, 100, 0.45), (2400, 170, 0.1)]


def _person(rng: Generator) -> tuple[float, float]:
    """Draw somebody's pitch in hertz and length of the throat, a man's or a woman's."""
    woman = rng.random() < 0.5
    (low, high), (longest, shortest) = ((185, 250), (1.05, 1.2)) if woman else ((95, 140), (0.9, 1.02))
    return float(rng.uniform(low, high)), float(rng.uniform(longest, shortest))


def _throat(shape: Sequence[tuple[float, float, float]], length: float) -> list[tuple[float, float, float]]:
    return [(hertz * length, width, gain) for hertz, width, gain in shape]


def laughter(rng: Generator) -> Wave:
    """Laugh: four to eight syllables of breath and vowel, five a second, falling in pitch and loudness."""
    pitch, length = _person(rng)
    count, beat = int(rng.integers(4, 9)), rng.uniform(0.17, 0.22)
    vowel = _throat(_VOWEL_A if rng.random() < 0.6 else [(500, 90, 1.0), (1900, 130, 0.6), (2600, 180, 0.4)], length)
    pieces: list[Wave] = []
    for number in range(count):
        n = n_samples(beat * rng.uniform(0.93, 1.07))
        height = pitch * rng.uniform(1.5, 1.7) * (1 - 0.45 * number / count)
        voice = shaped(
            pulses(height * envelope(n, [(0, 1.1), (0.5, 1.05), (1, 0.85)]) * (1 + 0.02 * drift(n, rng, 40))), [(300, 0), (4000, -15)]
        )
        said = voice * envelope(n, [(0, 0), (0.35, 0), (0.48, 1), (0.75, 0.8), (1, 0)])
        breath = 0.5 * noise(n, rng) * envelope(n, [(0, 0.1), (0.2, 0.5), (0.4, 0.3), (0.6, 0.1), (1, 0.08)])
        pieces.append(resonated(said + breath, vowel) * np.float32(1 - 0.6 * number / count))
    return faded(peaked(np.concatenate(pieces)), 0.01, 0.08)


def cough(rng: Generator) -> Wave:
    """Cough once or twice: a burst, its noise, a short voiced end."""
    pitch, length = _person(rng)
    pieces: list[Wave] = []
    for number in range(int(rng.integers(1, 3))):
        n = n_samples(rng.uniform(0.28, 0.4))
        burst = noise(n, rng) * (decay(n, 0.12) * 1.6 + 0.22 * envelope(n, [(0, 0), (0.2, 1), (1, 0)]))
        voice = (
            0.5
            * pulses(pitch * envelope(n, [(0, 1.3), (1, 0.9)]) * (1 + 0.06 * drift(n, rng, 60)))
            * envelope(n, [(0, 0), (0.4, 0), (0.55, 1), (1, 0)])
        )
        open_throat = _throat([(600, 250, 1.0), (1350, 300, 0.9), (2600, 500, 0.7), (3900, 700, 0.5)], length)
        pieces += [
            resonated(burst + voice, open_throat) * np.float32(1 - 0.25 * number),
            np.zeros(n_samples(rng.uniform(0.08, 0.18)), np.float32),
        ]
    return faded(peaked(np.concatenate(pieces[:-1])), 0.001, 0.05)


def sigh(rng: Generator) -> Wave:
    """Sigh: a long breath out, at first with some voice."""
    pitch, length = _person(rng)
    n = n_samples(rng.uniform(1.1, 1.9))
    breath = noise(n, rng) * envelope(n, [(0, 0), (0.12, 0.9), (0.3, 1), (0.7, 0.4), (1, 0)])
    voice = shaped(pulses(pitch * envelope(n, [(0, 1.35), (0.5, 0.95), (1, 0.8)])), [(200, 0), (2500, -22)])
    voice = voice * envelope(n, [(0, 0), (0.1, 0.55), (0.35, 0.35), (0.55, 0), (1, 0)])
    wave = morphed(0.35 * breath + voice, [_throat(_VOWEL_A, length), _throat(_VOWEL_U, length)], envelope(n, [(0, 0), (0.3, 0.2), (1, 1)]))
    return faded(peaked(wave, 0.7), 0.08, 0.2)


def sneeze(rng: Generator) -> Wave:
    """Sneeze: a breath in, a voiced rise, a hiss that breaks out and ends in a vowel."""
    pitch, length = _person(rng)
    n = n_samples(rng.uniform(0.3, 0.45))
    inhale = band(n, rng, 700, 3000, 12) * envelope(n, [(0, 0), (0.7, 0.18), (1, 0)])
    n = n_samples(rng.uniform(0.16, 0.25))
    rise = resonated(
        pulses(pitch * envelope(n, [(0, 1.2), (1, 2.0)])) * envelope(n, [(0, 0), (0.5, 1), (1, 0.7)]), _throat(_VOWEL_A, length)
    )
    n = n_samples(rng.uniform(0.18, 0.26))
    hiss = band(n, rng, 2400 * length, 6500, 18) * envelope(n, [(0, 0), (0.06, 1), (0.5, 0.7), (1, 0.15)])
    n = n_samples(rng.uniform(0.2, 0.32))
    end = pulses(pitch * envelope(n, [(0, 1.9), (1, 0.95)])) + 0.6 * noise(n, rng)
    end = resonated(end * envelope(n, [(0, 0.3), (0.15, 1), (1, 0)]), _throat(_VOWEL_U, length))
    parts = [inhale, 0.5 * peaked(rise), np.zeros(n_samples(0.03), np.float32), peaked(hiss), 0.6 * peaked(end)]
    return faded(peaked(np.concatenate(parts)), 0.02, 0.05)


def throat_clearing(rng: Generator) -> Wave:
    """Clear the throat: a rough growl in two pushes."""
    pitch, length = _person(rng)
    pieces: list[Wave] = []
    for seconds, level in ((rng.uniform(0.18, 0.28), 0.75), (rng.uniform(0.35, 0.55), 1.0)):
        n = n_samples(seconds)
        rattle = pulses(np.full(n, rng.uniform(26, 38)) * (1 + 0.2 * drift(n, rng, 25)))
        voice = pulses(0.75 * pitch * envelope(n, [(0, 1.0), (0.4, 1.1), (1, 0.85)]) * (1 + 0.1 * drift(n, rng, 80)))
        source = shaped(voice + 0.5 * rattle + 0.45 * noise(n, rng), [(300, 0), (3500, -12)])
        grown = resonated(source, _throat([(480, 120, 1.0), (1150, 160, 0.6), (2300, 300, 0.3)], length))
        pieces += [peaked(grown * envelope(n, [(0, 0), (0.12, 1), (0.7, 0.8), (1, 0)]), level), np.zeros(n_samples(0.07), np.float32)]
    return faded(peaked(np.concatenate(pieces[:-1])), 0.01, 0.05)


def sniff(rng: Generator) -> Wave:
    """Sniff once to three times: short breaths in through the nose, their hiss rising."""
    nose = rng.uniform(0.85, 1.2)
    pieces: list[Wave] = []
    for _ in range(int(rng.integers(1, 4))):
        n = n_samples(rng.uniform(0.16, 0.32))
        hiss = morphed(
            noise(n, rng),
            [[(1300 * nose, 500, 1.0), (3600 * nose, 1200, 0.6)], [(2100 * nose, 700, 1.0), (5200 * nose, 1500, 0.9)]],
            envelope(n, [(0, 0), (1, 1)]),
        )
        pieces += [
            peaked(hiss * envelope(n, [(0, 0), (0.6, 0.8), (0.85, 1), (1, 0)])),
            np.zeros(n_samples(rng.uniform(0.12, 0.3)), np.float32),
        ]
    return faded(peaked(np.concatenate(pieces[:-1]), 0.6), 0.02, 0.02)
