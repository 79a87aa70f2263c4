"""Sounds of animals and people, made of pulses and noise that pass through throats; each maker is a pure function of its generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.recipes.constructed.waves import (
    RATE,
    Wave,
    band,
    decay,
    drift,
    envelope,
    faded,
    glide,
    moments,
    morphed,
    n_samples,
    noise,
    peaked,
    pulses,
    put,
    resonated,
    shaped,
    strike,
)

Generator = np.random.Generator


def _pitched(rng: Generator, seconds: float, points: Sequence[tuple[float, float]], jitter: float = 0.015) -> Wave:
    """Let a throat swing: pulses along (share of the length, hertz), not quite steady."""
    n = n_samples(seconds)
    return pulses(envelope(n, points) * (1 + jitter * drift(n, rng, 30)))


def _in_a_row(pieces: Sequence[Wave], gaps_s: Sequence[float]) -> Wave:
    """Put pieces one after another with gaps between."""
    parts: list[Wave] = []
    for piece, gap in zip(pieces, [*gaps_s, 0.0], strict=False):
        parts += [piece, np.zeros(n_samples(gap) if gap > 0 else 0, dtype=np.float32)]
    return np.concatenate(parts)


def dog_bark(rng: Generator) -> Wave:
    """Let a dog bark once: a hoarse rise and fall, louder at its front."""
    size, seconds = rng.uniform(0.75, 1.35), rng.uniform(0.16, 0.3)
    source = _pitched(rng, seconds, [(0, 330 / size), (0.3, 560 / size), (1, 260 / size)], 0.12)
    source = source + 0.5 * noise(len(source), rng)
    open_mouth = [(750 / size, 160, 1.0), (1450 / size, 220, 0.8), (2700 / size, 400, 0.35)]
    wave = morphed(
        source, [[(420 / size, 150, 1.0), (1100 / size, 250, 0.4)], open_mouth], envelope(len(source), [(0, 0), (0.35, 1), (1, 0.3)])
    )
    return faded(peaked(np.tanh(3 * peaked(wave)) * envelope(len(wave), [(0, 0), (0.08, 1), (0.45, 0.7), (1, 0)])))


def cat_meow(rng: Generator) -> Wave:
    """Let a cat meow: closed, open, rounded."""
    seconds, height = rng.uniform(0.55, 1.0), rng.uniform(0.85, 1.25)
    source = shaped(
        _pitched(rng, seconds, [(0, 480 * height), (0.35, 720 * height), (0.7, 640 * height), (1, 420 * height)]), [(500, 0), (4000, -14)]
    )
    mouths = [
        [(380, 120, 1.0), (2300, 300, 0.12)],
        [(900, 160, 1.0), (2100, 260, 0.7), (3600, 400, 0.3)],
        [(650, 150, 1.0), (1100, 200, 0.7), (3000, 400, 0.12)],
    ]
    wave = morphed(source, mouths, envelope(len(source), [(0, 0), (0.25, 1), (0.6, 1.2), (1, 2)]))
    return faded(peaked(wave * envelope(len(wave), [(0, 0), (0.15, 0.8), (0.5, 1), (1, 0)])), 0.02, 0.05)


def bird_song(rng: Generator) -> Wave:
    """Let a bird sing: a phrase of short glides, said twice or three times."""
    pieces, gaps = [], []
    for _ in range(int(rng.integers(3, 6))):
        n = n_samples(rng.uniform(0.04, 0.12))
        start, stop = rng.uniform(2600, 5800, 2)
        tone = glide(envelope(n, [(0, start), (0.5, (start + stop) / 2 * rng.uniform(0.9, 1.15)), (1, stop)]))
        pieces.append(faded(tone * rng.uniform(0.6, 1.0), 0.008, 0.015))
        gaps.append(float(rng.uniform(0.03, 0.09)))
    phrase = _in_a_row(pieces, gaps)
    times = int(rng.integers(2, 4))
    return peaked(_in_a_row([phrase] * times, [float(rng.uniform(0.2, 0.4))] * (times - 1)))


def rooster_crow(rng: Generator) -> Wave:
    """Let a rooster crow: three short calls and a long one that falls."""
    high = rng.uniform(0.85, 1.15)
    calls = []
    for seconds, points in ((0.16, (500, 620)), (0.12, (700, 760)), (0.22, (720, 880)), (rng.uniform(0.6, 0.9), (900, 560))):
        source = _pitched(rng, seconds, [(0, points[0] * high), (0.3, points[1] * high * 1.05), (1, points[1] * high)], 0.03)
        source = source + 0.15 * noise(len(source), rng)
        calls.append(faded(resonated(source, [(1250, 200, 1.0), (2500, 350, 0.7), (4200, 600, 0.25)]), 0.015, 0.05))
    return peaked(_in_a_row([peaked(call) for call in calls], [0.03, 0.02, 0.02]))


def cow_moo(rng: Generator) -> Wave:
    """Let a cow moo: low, long, the mouth opening late."""
    seconds, low = rng.uniform(1.2, 2.0), rng.uniform(0.85, 1.2)
    source = shaped(
        _pitched(rng, seconds, [(0, 95 * low), (0.3, 125 * low), (0.75, 135 * low), (1, 90 * low)], 0.03), [(150, 0), (3000, -22)]
    )
    mouths = [[(230, 70, 1.0), (900, 200, 0.06)], [(480, 90, 1.0), (950, 150, 0.6), (2400, 300, 0.15)]]
    wave = morphed(source, mouths, envelope(len(source), [(0, 0), (0.3, 0.15), (0.6, 1), (0.85, 0.8), (1, 0.2)]))
    return faded(peaked(wave * envelope(len(wave), [(0, 0), (0.12, 0.7), (0.6, 1), (1, 0)])), 0.05, 0.15)


def sheep_bleat(rng: Generator) -> Wave:
    """Let a sheep bleat: a voice that shakes ten times a second."""
    seconds, height, shake = rng.uniform(0.7, 1.2), rng.uniform(0.85, 1.25), rng.uniform(8, 12)
    source = shaped(_pitched(rng, seconds, [(0, 300 * height), (0.2, 340 * height), (1, 270 * height)], 0.02), [(400, 0), (4000, -14)])
    wave = resonated(source, [(750, 120, 1.0), (1650, 200, 0.8), (2900, 350, 0.4)])
    shaken = 0.55 + 0.45 * np.sin(2 * np.pi * shake * moments(len(wave)))
    return faded(peaked(wave * shaken.astype(np.float32) * envelope(len(wave), [(0, 0), (0.08, 1), (0.8, 0.8), (1, 0)])), 0.02, 0.05)


def frog_croak(rng: Generator) -> Wave:
    """Let a frog croak once: a row of thirty ticks that ring in its throat."""
    seconds, tone = rng.uniform(0.3, 0.5), rng.uniform(550, 1000)
    n = n_samples(seconds)
    ticks = pulses(envelope(n, [(0, 45), (0.6, 62), (1, 50)]))
    wave = resonated(ticks, [(tone, 60, 1.0), (tone * 2.3, 130, 0.5)])
    return faded(peaked(wave * envelope(n, [(0, 0), (0.15, 0.7), (0.7, 1), (1, 0)])))


def crickets(rng: Generator) -> Wave:
    """Let a cricket chirp, two to three times a second."""
    n, tone, rate = n_samples(rng.uniform(2.0, 3.5)), rng.uniform(4200, 5200), rng.uniform(2.0, 3.2)
    times = moments(n)
    strokes = np.maximum(0, np.sin(2 * np.pi * 32 * times)) ** 2
    chirps = np.clip(8 * (np.sin(2 * np.pi * rate * times) - 0.1), 0, 1)
    return faded(peaked(glide(tone, n) * (strokes * chirps).astype(np.float32), 0.5), 0.05, 0.05)


def bee_buzz(rng: Generator) -> Wave:
    """Let a bee fly about."""
    n = n_samples(rng.uniform(1.5, 3.0))
    near = 0.6 + 0.4 * drift(n, rng, 1.5)
    source = pulses(rng.uniform(170, 240) * (1 + 0.08 * drift(n, rng, 2) + 0.01 * drift(n, rng, 40)))
    return faded(peaked(shaped(source, [(150, 0), (600, -4), (2500, -22)]) * near), 0.15, 0.2)


def owl_hoot(rng: Generator) -> Wave:
    """Let an owl hoot: one long call, then three of which the last is held."""
    tone = rng.uniform(330, 470)
    calls = []
    for seconds in (0.5, 0.14, 0.14, rng.uniform(0.5, 0.8)):
        n = n_samples(seconds)
        curve = tone * envelope(n, [(0, 0.94), (0.3, 1.02), (1, 0.95)])
        calls.append(
            faded((glide(curve) + 0.15 * glide(2 * curve) + 0.02 * noise(n, rng)) * envelope(n, [(0, 0), (0.3, 1), (1, 0)]), 0.03, 0.06)
        )
    return peaked(_in_a_row(calls, [0.35, 0.08, 0.08]))


def hooves(rng: Generator) -> Wave:
    """Let a horse trot by: clip, clop."""
    wave = np.zeros(n_samples(rng.uniform(1.8, 3.0)), dtype=np.float32)
    step, at, high = rng.uniform(0.2, 0.28), 0.02, rng.uniform(0.85, 1.2)
    number = 0
    while (at + 0.1) * RATE < len(wave):
        tone = (900, 1250)[number % 2] * high
        hoof = strike(0.09, [(tone, 1.0, 0.05), (tone * 1.9, 0.5, 0.03), (tone * 0.45, 0.5, 0.06)])
        put(wave, hoof + 0.3 * band(len(hoof), rng, 800, 4000) * decay(len(hoof), 0.02), round(at * RATE), rng.uniform(0.7, 1.0))
        at, number = at + step * rng.uniform(0.94, 1.06), number + 1
    return peaked(wave)


def hand_clap(rng: Generator) -> Wave:
    """Let somebody clap their hands once."""
    n = n_samples(0.22)
    hollow = rng.uniform(900, 1700)
    wave = resonated(noise(n, rng) * decay(n, 0.07), [(hollow, 500, 1.0), (hollow * 2.4, 1200, 0.6)])
    return faded(peaked(wave + 0.05 * band(n, rng, 500, 4000) * decay(n, 0.3)), 0.001, 0.05)


def applause(rng: Generator) -> Wave:
    """Let a hall applaud: hundreds of claps that grow and fade."""
    n = n_samples(rng.uniform(2.5, 4.0))
    wave = np.zeros(n, dtype=np.float32)
    hands = [hand_clap(rng)[: n_samples(0.08)] for _ in range(8)]
    for start in rng.integers(0, n - n_samples(0.08), int(n / RATE * rng.uniform(70, 130))):
        put(wave, hands[int(rng.integers(8))], int(start), float(rng.gamma(2.0, 0.5)))
    return peaked(wave * envelope(n, [(0, 0.1), (0.2, 1), (0.7, 1), (1, 0)]))


def footsteps(rng: Generator) -> Wave:
    """Let somebody walk: a heel and a sole, not quite two steps a second."""
    wave = np.zeros(n_samples(rng.uniform(2.2, 3.6)), dtype=np.float32)
    step, at = rng.uniform(0.48, 0.62), 0.03
    while (at + 0.2) * RATE < len(wave):
        n = n_samples(0.16)
        heel = band(n, rng, 90, 900, 12) * decay(n, 0.07) + 0.35 * band(n, rng, 1500, 4500) * decay(n, 0.02)
        put(wave, heel, round(at * RATE), rng.uniform(0.8, 1.0))
        put(wave, band(n, rng, 600, 3500, 12) * decay(n, 0.06), round((at + 0.07) * RATE), 0.3)
        at += step * rng.uniform(0.96, 1.04)
    return peaked(wave)


def whistling(rng: Generator) -> Wave:
    """Let somebody whistle once, up and down."""
    n, tone = n_samples(rng.uniform(0.5, 0.9)), rng.uniform(1100, 1700)
    rise = rng.uniform(1.25, 1.6)
    curve = tone * envelope(n, [(0, 1), (0.25, 1), (0.5, rise), (0.75, rise), (1, 0.9)])
    curve = np.convolve(np.pad(curve, 400, "edge"), np.full(801, 1 / 801), "valid").astype(np.float32)
    wave = glide(curve) + 0.03 * resonated(noise(n, rng), [(tone * 1.2, 600, 4.0)])
    return faded(peaked(wave * envelope(n, [(0, 0), (0.08, 1), (0.9, 0.9), (1, 0)])), 0.03, 0.05)


def baby_cry(rng: Generator) -> Wave:
    """Let a baby cry: two or three wails with a breath between."""
    height = rng.uniform(0.85, 1.2)
    wails = []
    for _ in range(int(rng.integers(2, 4))):
        seconds = rng.uniform(0.6, 1.0)
        source = _pitched(rng, seconds, [(0, 380 * height), (0.25, 520 * height), (0.7, 480 * height), (1, 350 * height)], 0.04)
        source = shaped(source + 0.1 * noise(len(source), rng), [(500, 0), (5000, -12)])
        wail = resonated(source, [(1150, 180, 1.0), (1900, 300, 0.5), (3600, 400, 0.6)])
        wails.append(faded(peaked(wail * envelope(len(wail), [(0, 0), (0.15, 1), (0.8, 0.8), (1, 0)])), 0.02, 0.05))
    return peaked(_in_a_row(wails, [float(rng.uniform(0.15, 0.3)) for _ in wails]))
