"""Sounds of weather, water, machines, alarms and things that are struck; each maker is a pure function of its generator."""

from __future__ import annotations

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


def rain(rng: Generator) -> Wave:
    """Let it rain: hiss, and drops on it."""
    n = n_samples(rng.uniform(2.0, 4.0))
    wave = 0.5 * shaped(noise(n, rng), [(200, -14), (1000, -4), (5000, 0)])
    for start in rng.integers(0, n - 200, int(n / RATE * rng.uniform(60, 200))):
        put(wave, glide(float(rng.uniform(1500, 6000)), 200) * decay(200, 0.014), int(start), float(rng.gamma(1.3, 1.5)))
    return faded(peaked(wave, 0.6), 0.3, 0.3)


def thunder(rng: Generator) -> Wave:
    """Let it thunder: a crack, then rumbling that rolls away."""
    n = n_samples(rng.uniform(2.5, 4.0))
    roll = np.clip(0.6 + 0.7 * drift(n, rng, 5), 0.05, None) * decay(n, float(rng.uniform(3.0, 5.0)))
    rumble = band(n, rng, 30, 130, 9) * roll
    crack = band(n, rng, 200, 3000, 6) * decay(n, float(rng.uniform(0.3, 0.7))) * rng.uniform(0.2, 0.6)
    return faded(peaked(rumble + crack), 0.01, 0.5)


def wind(rng: Generator) -> Wave:
    """Let the wind howl: noise whose narrow middle wanders up and down."""
    n = n_samples(rng.uniform(2.5, 4.0))
    source, place = noise(n, rng), 1.5 + 1.5 * drift(n, rng, 1.2)
    wave = morphed(source, [[(hertz, 70.0, 1.0), (hertz * 0.5, 200.0, 0.5)] for hertz in (320, 470, 690, 1000)], place)
    return faded(peaked(wave * (0.7 + 0.3 * drift(n, rng, 2)), 0.7), 0.4, 0.4)


def sea_waves(rng: Generator) -> Wave:
    """Let a wave break on a beach: it swells, breaks and runs out."""
    n = n_samples(rng.uniform(3.0, 4.0))
    surge = band(n, rng, 80, 900, 6) * envelope(n, [(0, 0.05), (0.4, 0.7), (0.5, 1), (0.7, 0.4), (1, 0.05)])
    spray = band(n, rng, 1500, 7000, 12) * envelope(n, [(0, 0.02), (0.42, 0.1), (0.52, 0.8), (0.8, 0.35), (1, 0.02)])
    return faded(peaked(surge + 0.6 * spray, 0.7), 0.2, 0.3)


def stream(rng: Generator) -> Wave:
    """Let water run over stones: bubbles, each a short rising tone."""
    n = n_samples(rng.uniform(2.0, 3.5))
    wave = 0.12 * band(n, rng, 400, 3000, 9)
    for start in rng.integers(0, n - 900, int(n / RATE * 70)):
        length, tone = int(rng.integers(250, 900)), float(rng.uniform(350, 1900))
        bubble = glide(envelope(length, [(0, tone), (1, tone * 1.35)])) * decay(length, length / RATE)
        put(wave, faded(bubble, 0.002, 0.002), int(start), float(rng.gamma(1.5, 0.3)))
    return faded(peaked(wave, 0.7), 0.2, 0.2)


def water_drop(rng: Generator) -> Wave:
    """Let a drop fall into water: a tone that leaps up and dies."""
    n, tone = n_samples(rng.uniform(0.2, 0.3)), rng.uniform(500, 900)
    wave = glide(tone * envelope(n, [(0, 1), (0.15, 1.4), (0.5, 2.3), (1, 2.6)])) * decay(n, 0.24)
    return faded(peaked(wave), 0.001, 0.03)


def fire(rng: Generator) -> Wave:
    """Let a fire crackle: snaps at random over a low breath."""
    n = n_samples(rng.uniform(2.0, 3.5))
    wave = 0.05 * band(n, rng, 60, 400, 6) * (0.7 + 0.3 * drift(n, rng, 3))
    for start in rng.integers(0, n - 400, int(n / RATE * rng.uniform(14, 26))):
        snap = resonated(noise(400, rng) * decay(400, 0.012), [(float(rng.uniform(1200, 5000)), 900, 1.0)])
        put(wave, peaked(snap), int(start), float(min(1.0, rng.gamma(0.8, 0.35))))
    return faded(peaked(wave), 0.1, 0.1)


def clock_ticking(rng: Generator) -> Wave:
    """Let a clock tick, once to three times a second."""
    wave = np.zeros(n_samples(rng.uniform(2.0, 3.5)), dtype=np.float32)
    tones, step = rng.uniform(1800, 4500, 2), RATE / rng.uniform(1.5, 3.5)
    for number, start in enumerate(np.arange(300, len(wave) - 500, step).astype(int)):
        put(wave, strike(0.03, [(tones[number % 2], 1.0, 0.02), (tones[number % 2] * 1.6, 0.5, 0.012)]), int(start))
    return peaked(wave)


def alarm_clock(rng: Generator) -> Wave:
    """Ring an alarm clock: groups of four short beeps."""
    n, tone = n_samples(rng.uniform(0.06, 0.09)), rng.uniform(1900, 2900)
    beep = faded(glide(tone, n) + 0.3 * glide(tone * 3, n) * (tone * 3 < 7000), 0.004, 0.004)
    gap, pause = np.zeros(n_samples(0.06), np.float32), np.zeros(n_samples(rng.uniform(0.3, 0.5)), np.float32)
    group = [beep, gap] * 4 + [pause]
    return peaked(np.concatenate((group * int(rng.integers(2, 4)))[:-2]), 0.7)


def siren(rng: Generator) -> Wave:
    """Let an ambulance wail, up and down."""
    n = n_samples(rng.uniform(2.5, 4.0))
    wail = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.35, 0.8) * moments(n))
    curve = rng.uniform(550, 700) * (1 + wail * rng.uniform(0.9, 1.2))
    return faded(peaked(glide(curve) + 0.35 * glide(2 * curve) + 0.2 * glide(3 * curve), 0.8), 0.1, 0.1)


def car_horn(rng: Generator) -> Wave:
    """Sound a car's horn once: two reeds at a third."""
    n, tone = n_samples(rng.uniform(0.35, 0.8)), rng.uniform(360, 460)
    reeds = shaped(pulses(np.full(n, tone)) + pulses(np.full(n, tone * 1.25)), [(300, -6), (900, 0), (2500, -3), (6000, -18)])
    return faded(peaked(reeds), 0.02, 0.04)


def engine(rng: Generator) -> Wave:
    """Let a motor idle, then rev up."""
    n, low = n_samples(rng.uniform(2.0, 3.5)), rng.uniform(24, 34)
    revs = low * envelope(n, [(0, 1), (0.35, 1), (0.6, rng.uniform(2.0, 3.0)), (0.8, 1.6), (1, 1)]) * (1 + 0.03 * drift(n, rng, 12))
    source = pulses(revs) + 0.4 * noise(n, rng) * (0.5 + 0.5 * np.sin(2 * np.pi * np.cumsum(revs) / RATE)).astype(np.float32)
    return faded(peaked(shaped(source, [(40, 0), (200, 0), (1000, -16), (5000, -34)]), 0.8), 0.1, 0.2)


def train(rng: Generator) -> Wave:
    """Let a train roll by: pairs of blows from the rails over a rumble."""
    n, beat = n_samples(rng.uniform(2.5, 4.0)), rng.uniform(0.5, 0.7)
    wave = 0.25 * band(n, rng, 50, 500, 9)
    for start in np.arange(0.05, n / RATE - 0.2, beat):
        for shift, level in ((0.0, 1.0), (0.13, 0.8)):
            m = n_samples(0.12)
            blow = band(m, rng, 150, 1400, 9) * decay(m, 0.09) + strike(0.12, [(820, 0.4, 0.09), (1930, 0.3, 0.07)])
            put(wave, blow, round((start + shift) * RATE), level)
    return faded(peaked(wave), 0.2, 0.3)


def train_whistle(rng: Generator) -> Wave:
    """Let a steam train whistle: four breathy tones together."""
    n, tone = n_samples(rng.uniform(1.0, 1.8)), rng.uniform(430, 560)
    curve = tone * envelope(n, [(0, 0.93), (0.12, 1), (0.85, 1), (1, 0.9)])
    wave = np.sum([glide(curve * ratio) + 0.3 * glide(2 * curve * ratio) for ratio in (1, 1.19, 1.41, 1.68)], axis=0)
    return faded(peaked(wave + 0.7 * band(n, rng, 400, 3000, 9)), 0.08, 0.15)


def helicopter(rng: Generator) -> Wave:
    """Let a helicopter hover: blows of air, a dozen a second."""
    n, rate = n_samples(rng.uniform(2.0, 3.5)), rng.uniform(10, 15)
    phase = (rate * moments(n)) % 1
    chop = np.exp(-7 * phase).astype(np.float32)
    wave = band(n, rng, 60, 500, 9) * chop + 0.25 * band(n, rng, 500, 2500, 9) * chop + 0.1 * band(n, rng, 100, 1000, 9)
    return faded(peaked(wave), 0.3, 0.3)


def airplane(rng: Generator) -> Wave:
    """Let a jet fly over: a roar that swells and sinks in pitch."""
    n = n_samples(rng.uniform(3.0, 4.0))
    near = envelope(n, [(0, 0.1), (0.45, 1), (1, 0.1)])
    wave = band(n, rng, 60, 700, 6) * near + 0.5 * band(n, rng, 700, 4000, 9) * near**3
    whine = glide(rng.uniform(1500, 2200) * envelope(n, [(0, 1.1), (0.4, 1.05), (0.55, 0.88), (1, 0.8)])) * near**2
    return faded(peaked(wave + 0.6 * whine), 0.2, 0.4)


def drill(rng: Generator) -> Wave:
    """Let an electric drill run: a whine that labours in the wall."""
    n, rate = n_samples(rng.uniform(1.2, 2.2)), rng.uniform(150, 220)
    speed = rate * envelope(n, [(0, 0.4), (0.1, 1.15), (0.25, 0.95), (0.9, 0.9), (1, 0.5)]) * (1 + 0.03 * drift(n, rng, 15))
    wave = shaped(pulses(speed), [(200, -12), (1200, 0), (4000, 0)]) + 0.8 * glide(speed * 9) + 0.35 * band(n, rng, 1500, 6000, 12)
    return faded(peaked(wave, 0.8), 0.05, 0.08)


def vacuum_cleaner(rng: Generator) -> Wave:
    """Let a vacuum cleaner run: steady air, and the hum of its motor."""
    n, hum = n_samples(rng.uniform(2.0, 3.5)), rng.uniform(260, 420)
    start = envelope(n, [(0, 0.5), (0.12, 1), (1, 1)])
    wave = 0.8 * band(n, rng, 300, 4500, 6)
    for multiple, level in ((1, 1.2), (2, 0.6), (3, 0.5)):
        wave = wave + level * glide(hum * start * multiple)
    return faded(peaked(wave * start, 0.7), 0.2, 0.2)


def hammer(rng: Generator) -> Wave:
    """Strike a nail with a hammer once."""
    tone = rng.uniform(1700, 2900)
    ring = [(tone * ratio, level, 0.16) for ratio, level in ((1, 1.0), (1.51, 0.7), (2.3, 0.5))]
    wave = strike(0.28, [*ring, (rng.uniform(140, 220), 1.2, 0.09)])
    n = len(wave)
    return faded(peaked(wave + 0.8 * band(n, rng, 1000, 6000) * decay(n, 0.02)), 0.0005, 0.04)


def sawing(rng: Generator) -> Wave:
    """Saw wood: strokes forth and back."""
    n, rate = n_samples(rng.uniform(2.0, 3.2)), rng.uniform(1.2, 1.8)
    stroke = np.abs(np.sin(np.pi * rate * moments(n))).astype(np.float32) ** 0.8
    teeth = 0.6 + 0.4 * np.sin(2 * np.pi * np.cumsum(90 + 160 * stroke) / RATE).astype(np.float32)
    return faded(peaked(band(n, rng, 900, 5000, 9) * stroke * teeth, 0.7), 0.05, 0.05)


def knock(rng: Generator) -> Wave:
    """Knock on a door once."""
    tone = rng.uniform(170, 280)
    wave = strike(0.2, [(tone, 1.0, 0.11), (tone * 1.72, 0.7, 0.08), (tone * 2.9, 0.4, 0.05)])
    return faded(peaked(wave + 0.25 * band(len(wave), rng, 400, 2500) * decay(len(wave), 0.025)), 0.0005, 0.03)


def door_slam(rng: Generator) -> Wave:
    """Slam a door: a heavy blow, the frame rattling after it."""
    n = n_samples(rng.uniform(0.5, 0.7))
    blow = band(n, rng, 45, 350, 9) * decay(n, 0.35) + 0.35 * band(n, rng, 400, 2500, 9) * decay(n, 0.12)
    put(blow, band(n_samples(0.1), rng, 900, 3500) * decay(n_samples(0.1), 0.05), n_samples(rng.uniform(0.05, 0.09)), 0.25)
    return faded(peaked(blow), 0.0005, 0.08)


def glass_breaking(rng: Generator) -> Wave:
    """Break a glass: a crash, and splinters that ring."""
    n = n_samples(rng.uniform(0.8, 1.1))
    wave = 0.8 * band(n, rng, 2500, 7000, 12) * decay(n, 0.18)
    for _ in range(int(rng.integers(25, 40))):
        at = rng.beta(1.1, 3.5) * 0.6
        tone = float(rng.uniform(2200, 7000))
        put(wave, strike(0.18, [(tone, 1.0, float(rng.uniform(0.06, 0.18)))]), n_samples(at), float(rng.uniform(0.1, 0.5)) * (1 - at))
    return faded(peaked(wave), 0.0005, 0.1)


def church_bell(rng: Generator) -> Wave:
    """Strike a church bell once: hum, prime, minor third, fifth, octave."""
    tone = rng.uniform(330, 520)
    ratios = ((0.5, 0.5, 1.0), (1, 1.0, 0.8), (1.19, 0.8, 0.7), (1.5, 0.4, 0.5), (2, 0.9, 0.45), (2.74, 0.4, 0.3), (4.1, 0.3, 0.15))
    wave = strike(2.2, [(tone * ratio, level, 3.2 * rings) for ratio, level, rings in ratios])
    return faded(peaked(wave), 0.001, 0.3)


def doorbell(rng: Generator) -> Wave:
    """Ring a doorbell: ding, dong."""
    tone = rng.uniform(600, 760)
    wave = np.zeros(n_samples(1.5), dtype=np.float32)
    for at, hertz in ((0.0, tone), (0.55, tone * 0.794)):
        put(wave, strike(0.95, [(hertz, 1.0, 1.3), (hertz * 2.01, 0.4, 0.8), (hertz * 3.02, 0.2, 0.4)]), n_samples(at))
    return faded(peaked(wave, 0.8), 0.001, 0.1)


def telephone(rng: Generator) -> Wave:
    """Let an old telephone ring: a bell that is struck twenty times a second."""
    tone, rings = rng.uniform(1300, 1800), int(rng.integers(1, 3))
    wave = np.zeros(n_samples(1.1 * rings + 0.4 * (rings - 1) + 0.3), dtype=np.float32)
    stroke = strike(0.3, [(tone, 1.0, 0.3), (tone * 1.25, 0.8, 0.3), (tone * 2.7, 0.4, 0.12)])
    for ring in range(rings):
        for number in range(22):
            put(wave, stroke, n_samples(1.5 * ring + number / 20 + 0.001), 0.8 + 0.2 * (number % 2))
    return faded(peaked(wave, 0.7), 0.002, 0.1)


def bicycle_bell(rng: Generator) -> Wave:
    """Ring a bicycle's bell: two quick pairs of high strokes."""
    tone = rng.uniform(2600, 3400)
    wave = np.zeros(n_samples(1.1), dtype=np.float32)
    stroke = strike(0.6, [(tone, 1.0, 0.8), (tone * 1.02, 0.6, 0.7), (tone * 2.05, 0.3, 0.3)])
    for at in (0.002, 0.09, 0.34, 0.43):
        put(wave, stroke, n_samples(at))
    return faded(peaked(wave, 0.7), 0.001, 0.1)


def typing(rng: Generator) -> Wave:
    """Type on a keyboard: clicks in uneven haste."""
    wave = np.zeros(n_samples(rng.uniform(1.8, 3.2)), dtype=np.float32)
    at = 0.02
    while at < len(wave) / RATE - 0.12:
        n = n_samples(0.05)
        click = band(n, rng, 1200, 5500, 12) * decay(n, 0.018) + 0.5 * strike(0.05, [(float(rng.uniform(260, 420)), 1.0, 0.03)])
        put(wave, click, n_samples(at), float(rng.uniform(0.5, 1.0)))
        put(wave, band(n, rng, 2000, 6000, 12) * decay(n, 0.01), n_samples(at + 0.07), 0.2)
        at += float(rng.gamma(4, 0.035)) + 0.05
    return peaked(wave, 0.7)


def camera_shutter(rng: Generator) -> Wave:
    """Take a photograph: a click, and the mirror's fall."""
    n = n_samples(0.2)
    wave = band(n, rng, 2000, 6500, 12) * decay(n, 0.015)
    put(wave, band(n, rng, 900, 4500, 12) * decay(n, 0.03), n_samples(rng.uniform(0.03, 0.05)), 0.8)
    return faded(peaked(wave), 0.0005, 0.03)


def firework(rng: Generator) -> Wave:
    """Let a firework go off: a bang with its echo."""
    n = n_samples(rng.uniform(0.8, 1.2))
    wave = band(n, rng, 60, 4500, 4) * decay(n, 0.22) + 0.25 * band(n, rng, 50, 500, 6) * decay(n, 1.2)
    return faded(peaked(np.tanh(2 * peaked(wave))), 0.0005, 0.15)


def zipper(rng: Generator) -> Wave:
    """Close a zip: teeth after teeth, faster and higher."""
    n = n_samples(rng.uniform(0.4, 0.7))
    teeth = pulses(envelope(n, [(0, 55), (1, rng.uniform(110, 150))]))
    wave = shaped((teeth * (0.6 + 0.4 * np.abs(noise(n, rng)))).astype(np.float32), [(800, -18), (2500, -3), (5000, 0)])
    return faded(peaked(wave * envelope(n, [(0, 0.3), (0.8, 1), (1, 0.5)]), 0.7), 0.02, 0.03)


def coin(rng: Generator) -> Wave:
    """Drop a coin: it bounces, sooner and sooner."""
    wave = np.zeros(n_samples(1.3), dtype=np.float32)
    tone, at, gap = rng.uniform(4200, 5600), 0.003, rng.uniform(0.26, 0.34)
    for number in range(9):
        put(wave, strike(0.25, [(tone, 1.0, 0.3), (tone * 1.23, 0.6, 0.2), (tone * 0.62, 0.3, 0.15)]), n_samples(at), 0.8**number)
        at, gap = at + gap, gap * 0.68
    return faded(peaked(wave, 0.8), 0.0005, 0.1)


def kettle(rng: Generator) -> Wave:
    """Let a kettle come to the boil: hiss, and a whistle that climbs."""
    n = n_samples(rng.uniform(2.0, 3.2))
    curve = rng.uniform(1700, 2300) * envelope(n, [(0, 0.7), (0.4, 1), (1, 1.04)]) * (1 + 0.006 * drift(n, rng, 25))
    wave = glide(curve) * envelope(n, [(0, 0), (0.25, 0.2), (0.5, 1), (1, 1)]) + 0.12 * band(n, rng, 2500, 7000, 12)
    return faded(peaked(wave, 0.7), 0.2, 0.15)


def foghorn(rng: Generator) -> Wave:
    """Sound a ship's horn: one low tone."""
    n, tone = n_samples(rng.uniform(1.5, 2.4)), rng.uniform(85, 140)
    source = pulses(tone * envelope(n, [(0, 0.96), (0.1, 1), (0.95, 1), (1, 0.97)]))
    return faded(peaked(shaped(source, [(80, 0), (500, -2), (1500, -18), (5000, -40)])), 0.15, 0.25)


def beep(rng: Generator) -> Wave:
    """Let a microwave oven beep once."""
    n = n_samples(rng.uniform(0.18, 0.35))
    tone = float(rng.uniform(900, 1300))
    return faded(peaked(glide(tone, n) + 0.12 * glide(3 * tone, n), 0.7), 0.005, 0.01)


def car_passing(rng: Generator) -> Wave:
    """Let a car drive by: tyres and motor, nearer and farther."""
    n = n_samples(rng.uniform(2.2, 3.5))
    near = envelope(n, [(0, 0.05), (0.3, 0.3), (0.5, 1), (0.7, 0.3), (1, 0.05)])
    motor = pulses(rng.uniform(60, 90) * envelope(n, [(0, 1.06), (0.4, 1.05), (0.6, 0.92), (1, 0.9)]))
    tyres = band(n, rng, 250, 2200, 6)
    return faded(peaked((tyres + 0.5 * shaped(motor, [(80, 0), (800, -20), (3000, -40)])) * near), 0.2, 0.3)
