"""Singers who each keep their own voice: pulses at the pitch of a tune, led through the vowels of a throat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.recipes.constructed.instruments import hertz_of
from data.recipes.constructed.tunes import Tune
from data.recipes.constructed.waves import RATE, Wave, drift, faded, morphed, n_samples, noise, peaked, pulses, shaped
from qwen_audio.errors import DataError

_VOWELS = (  # first to fourth formant in hertz of a man's throat: a, e, i, o, u
    (700, 1150, 2500, 3200),
    (480, 1750, 2450, 3300),
    (300, 2150, 2900, 3500),
    (450, 850, 2450, 3150),
    (330, 750, 2300, 3100),
)


@dataclass(frozen=True, slots=True)
class Singer:
    """A singer's voice.

    Attributes:
        middle: the MIDI number about which the voice is at ease.
        throat: formants as a multiple of a man's.
        vibrato_hz, vibrato_cents: how fast and how far the pitch sways.
        tilt_db: how much 4 kHz lies below 400 Hz at the source: a soft voice falls steeply.
        breath: 0 to 1; ring: level of the singer's formant near 3 kHz.
        vowels: which vowels are sung, of a e i o u, in turn.
        glide_s: how long the voice takes from note to note.
    """

    name: str
    gender: Literal["male", "female"]
    middle: int
    throat: float
    vibrato_hz: float
    vibrato_cents: float
    tilt_db: float
    breath: float
    ring: float
    vowels: str
    glide_s: float


_ALL = (
    Singer("Ada Brook", "female", 67, 1.17, 5.2, 25, -18, 0.05, 0.3, "aeo", 0.05),
    Singer("Bruno Falk", "male", 50, 0.92, 5.0, 45, -12, 0.02, 1.6, "ao", 0.07),
    Singer("Clara Wren", "female", 72, 1.26, 6.4, 60, -10, 0.02, 0.9, "ai", 0.04),
    Singer("Dario Mint", "male", 57, 1.04, 0.0, 0, -14, 0.10, 0.3, "oe", 0.02),
    Singer("Edda Stone", "female", 60, 1.06, 4.6, 35, -24, 0.30, 0.2, "ou", 0.10),
    Singer("Felix Hart", "male", 62, 1.10, 6.0, 20, -8, 0.02, 0.8, "ie", 0.03),
    Singer("Greta Lund", "female", 69, 1.12, 0.0, 0, -20, 0.22, 0.1, "uo", 0.03),
    Singer("Hugo Dale", "male", 45, 0.86, 4.4, 30, -20, 0.06, 0.6, "uo", 0.09),
    Singer("Iris Vale", "female", 65, 1.22, 7.0, 90, -12, 0.03, 0.5, "ea", 0.06),
    Singer("Jonas Reed", "male", 54, 0.97, 5.6, 70, -9, 0.02, 1.1, "ae", 0.05),
    Singer("Kaya Moss", "female", 74, 1.32, 0.0, 0, -16, 0.15, 0.2, "iu", 0.02),
    Singer("Linus Gray", "male", 56, 0.90, 0.0, 0, -28, 0.28, 0.1, "ea", 0.05),
    Singer("Mona Frost", "female", 63, 1.14, 5.8, 50, -7, 0.02, 1.4, "ao", 0.08),
    Singer("Nils Becker", "male", 48, 0.94, 6.6, 85, -16, 0.10, 0.4, "ie", 0.06),
    Singer("Olga Rain", "female", 70, 1.20, 4.8, 15, -26, 0.20, 0.4, "ua", 0.12),
    Singer("Piet Olsen", "male", 52, 1.02, 4.2, 110, -11, 0.03, 0.9, "oa", 0.10),
)
SINGERS: tuple[str, ...] = tuple(singer.name for singer in _ALL)


def singer_called(number: int) -> Singer:
    """Give a singer by number.

    Raises:
        DataError: there is none of that number.
    """
    if not 0 <= number < len(_ALL):
        raise DataError(f"singer {number}: there are {len(_ALL)}, from 0 to {len(_ALL) - 1}")
    return _ALL[number]


def sing(number: int, tune: Tune, rng: np.random.Generator, seconds: float | None = None) -> Wave:
    """Let a singer sing a tune, in the octave and key that suit the voice.

    Args:
        number: which of SINGERS.
        seconds: stop after so much; the whole tune where it is None.
    """
    singer = singer_called(number)
    notes = [(midi, beats) for midi, beats in tune.notes]
    pitches = [midi for midi, _ in notes if midi is not None]
    shift = round(singer.middle - (min(pitches) + max(pitches)) / 2 + float(rng.integers(-1, 2)))
    beat_s = 60 / tune.tempo_bpm * float(rng.uniform(0.92, 1.08))
    lengths = [n_samples(beats * beat_s) for _, beats in notes]
    pitch, sounding, vowel = _score([midi for midi, _ in notes], lengths, shift, singer, int(rng.integers(len(singer.vowels))))
    if seconds is not None:
        kept = n_samples(seconds)
        pitch, sounding, vowel = pitch[:kept], sounding[:kept], vowel[:kept]
    n = len(pitch)
    times = np.arange(n) / RATE
    sway = singer.vibrato_cents * np.sin(2 * np.pi * singer.vibrato_hz * times + float(rng.uniform(0, 6))) + 6 * drift(n, rng, 8)
    source = shaped(pulses(pitch * 2 ** (sway / 1200)), [(400, 0), (4000, singer.tilt_db)])
    air = singer.breath * shaped(noise(n, rng), [(500, -12), (2500, 0), (6000, -3)])
    sung = (source + 0.5 * air) * sounding
    return faded(peaked(morphed(sung.astype(np.float32), [_throat(vowel_, singer) for vowel_ in singer.vowels], vowel), 0.8), 0.02, 0.08)


def _score(midis: Sequence[int | None], lengths: Sequence[int], shift: int, singer: Singer, first: int) -> tuple[Wave, Wave, Wave]:
    """Write a tune as curves: pitch in hertz, how loud, which of the singer's vowels."""
    known = [midi for midi in midis if midi is not None]
    pitch, sounding, vowel = [], [], []
    last, count = known[0], first
    for midi, n in zip(midis, lengths, strict=True):
        last = midi if midi is not None else last
        count += midi is not None
        pitch.append(np.full(n, last + shift, dtype=np.float64))
        sounding.append(np.full(n, 0.0 if midi is None else 1.0))
        sounding[-1][-min(n // 4, n_samples(0.05)) :] = 0.0  # a consonant between the notes
        vowel.append(np.full(n, float(count % len(singer.vowels))))
    smooth = n_samples(singer.glide_s)
    curve = _smoothed(np.concatenate(pitch), smooth)
    hertz = 440 * 2 ** ((curve - 69) / 12)
    loud, path = _smoothed(np.concatenate(sounding), n_samples(0.03)), _smoothed(np.concatenate(vowel), n_samples(0.06))
    return hertz.astype(np.float32), loud.astype(np.float32), path.astype(np.float32)


def _smoothed(curve: np.ndarray, n: int) -> np.ndarray:
    """Round a curve's steps off over n samples."""
    n = 2 * (n // 2) + 1
    sums = np.cumsum(np.pad(curve, (n // 2 + 1, n // 2), "edge"))
    return np.asarray((sums[n:] - sums[:-n]) / n)


def _throat(vowel: str, singer: Singer) -> list[tuple[float, float, float]]:
    """Give the resonators of a vowel in a singer's throat."""
    formants = [hertz * singer.throat for hertz in _VOWELS["aeiou".index(vowel)]]
    lowest = hertz_of(singer.middle)
    formants[0] = max(formants[0], lowest)  # high voices open the mouth
    gains = (1.0, 0.55, 0.25 + 0.5 * singer.ring, 0.15 + 0.5 * singer.ring)
    return [(hertz, 70 + 0.04 * hertz, gain) for hertz, gain in zip(formants, gains, strict=True)]
