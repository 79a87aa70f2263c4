"""Measure what a waveform holds: pitch, onsets, number of events, silence, tempo; nothing is known of how it was made.

Labels of constructed clips are checked by these, so they must not share a thought with what makes the clips: no frequency, time
or count is handed over.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from qwen_audio.audio import SAMPLE_RATE

RATE = SAMPLE_RATE
Samples = npt.NDArray[np.floating]
Levels = npt.NDArray[np.float64]

_STEP_S = 0.005
_LOWEST_MIDI, _HIGHEST_MIDI = 26.0, 105.0
_SILENT_DBFS = -60.0  # root mean square of 10 ms
_BELOW_PEAK_DB = 35.0  # what is this far below the loudest moment does not count as an event
_OVER_FLOOR_DB = 9.0  # nor what is not this far over the background


def loudness_db(samples: Samples) -> float:
    """Give the mean level in decibels below full scale; -inf for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * math.log10(power) if power > 0 else -math.inf


def levels_db(samples: Samples) -> Levels:
    """Give the level of each 5 ms in decibels below full scale, over 10 ms."""
    if not len(samples):
        return np.zeros(0)
    step = round(_STEP_S * RATE)
    padded = np.pad(np.square(samples, dtype=np.float64), (0, -len(samples) % step))
    power = padded.reshape(-1, step).mean(1)
    return 10 * np.log10(np.convolve(power, [0.5, 0.5])[: len(power)] + 1e-12)


def active_spans(samples: Samples, *, min_gap_s: float = 0.08) -> list[tuple[float, float]]:
    """Find the stretches in which something stands out of the background, in seconds; shorter gaps are bridged."""
    levels = levels_db(samples)
    if not len(levels):
        return []
    floor = max(_SILENT_DBFS, levels.max() - _BELOW_PEAK_DB, float(np.percentile(levels, 10)) + _OVER_FLOOR_DB)
    if np.percentile(levels, 10) > levels.max() - 2 * _OVER_FLOOR_DB:  # no background to stand out of
        floor = max(_SILENT_DBFS, levels.max() - _BELOW_PEAK_DB)
    active = np.concatenate([[False], levels > floor, [False]])
    edges = np.flatnonzero(active[1:] != active[:-1]).reshape(-1, 2)
    spans: list[tuple[float, float]] = []
    for start, stop in edges * _STEP_S:
        if spans and start - spans[-1][1] < min_gap_s:
            spans[-1] = (spans[-1][0], float(stop))
        else:
            spans.append((float(start), float(stop)))
    return [span for span in spans if span[1] - span[0] >= 2 * _STEP_S]


def count_events(samples: Samples, *, min_gap_s: float = 0.08) -> int:
    """Count what stands out of the background, by the gaps between."""
    return len(active_spans(samples, min_gap_s=min_gap_s))


def silent(samples: Samples, start_s: float, end_s: float) -> bool:
    """Say whether nothing is heard in a stretch: all of it is under -60 dB of full scale, or 45 dB under the loudest moment."""
    levels = levels_db(samples)
    floor = max(_SILENT_DBFS, levels.max(initial=-120.0) - 45.0)
    return bool((_within(levels, start_s, end_s) < floor).all())


def speech_active(samples: Samples, start_s: float, end_s: float) -> bool:
    """Say whether at least half of a stretch is within 35 dB of the loudest moment."""
    levels = levels_db(samples)
    stretch = _within(levels, start_s, end_s)
    floor = max(_SILENT_DBFS, levels.max(initial=-120.0) - _BELOW_PEAK_DB)
    return bool(len(stretch) and np.mean(stretch > floor) >= 0.5)


def _within(levels: Levels, start_s: float, end_s: float) -> Levels:
    return levels[math.ceil(start_s / _STEP_S) + 1 : math.floor(end_s / _STEP_S)]


def pitch_of(samples: Samples) -> float:
    """Find the pitch of a single note as a MIDI number with its fraction; nan where nothing is heard.

    Source: the kernel of SWIPE' (Camacho and Harris, J. Acoust. Soc. Am. 124(3), 2008): the fundamental and its prime multiples count for a
    pitch, what lies between them against it.
    """
    part = _sounding_part(samples)
    if len(part) < 0.03 * RATE:
        return math.nan
    size = 1 << max(15, math.ceil(math.log2(2 * len(part))))
    power = np.square(np.abs(np.fft.rfft(part * np.hanning(len(part)), size)))
    spectrum = np.maximum(0.0, (power / power.max()) ** 0.25 - _HISS)
    strengths = np.correlate(np.pad(_by_steps(spectrum, size), (_BELOW, _ABOVE)), _KERNEL, "valid")[:_CANDIDATES] / _NORMS
    peaks = [at for at in range(1, _CANDIDATES - 1) if strengths[at - 1] < strengths[at] >= strengths[at + 1] > 0]
    best = sorted(peaks, key=lambda at: -strengths[at])[:8]
    scores = [strengths[at] * math.sqrt(_explained(power, size, _LOWEST_MIDI + at / _PER_SEMITONE)) for at in best]
    if not best:
        return math.nan
    return _refined(power, size, _raised(power, size, _LOWEST_MIDI + best[int(np.argmax(scores))] / _PER_SEMITONE))


def hertz_of(midi: float) -> float:
    """Give the frequency of a MIDI number."""
    return float(440.0 * 2 ** ((midi - 69) / 12))


def _sounding_part(samples: Samples) -> Samples:
    """Cut out the part of a note that tells its pitch: from behind the attack on, at most 0.6 s, while it is loud."""
    levels = levels_db(samples)
    if not len(levels) or levels.max() < _SILENT_DBFS:
        return samples[:0]
    loud = np.flatnonzero(levels > levels.max() - 25)
    start = int(np.flatnonzero(levels > levels.max() - 6)[0]) + 6
    stop = min(loud[-1] + 1, start + round(0.6 / _STEP_S))
    if stop - start < 0.08 / _STEP_S:  # a short note: all of it
        start, stop = max(0, loud[0]), loud[-1] + 1
    return samples[round(start * _STEP_S * RATE) : round(stop * _STEP_S * RATE)]


_HISS = 0.1  # of the spectrum's fourth root: 40 dB below the strongest partial
_SHARP = 3  # power of the kernel's hills, which are narrower than the source's, as our spectra are finer
_ALONE = 0.0005  # of the power: what lies between the multiples that are heard is no part of the note
_PER_SEMITONE = 20  # steps of the scale on which a pitch is a place and the kernel moves
_TOP_MIDI = 117.0  # 7 kHz: nothing above tells a pitch
_BELOW, _ABOVE = 24 * _PER_SEMITONE, 46 * _PER_SEMITONE  # the kernel goes from a quarter of the pitch to beyond its 13th multiple
_CANDIDATES = round((_HIGHEST_MIDI - _LOWEST_MIDI) * _PER_SEMITONE)
_STEPS = round((_TOP_MIDI - _LOWEST_MIDI) * _PER_SEMITONE)


def _kernel() -> Levels:
    """Give the kernel by steps: hills at 1 and the primes, valleys half as deep between each of them and its neighbours."""
    ratio = 2 ** (np.arange(-_BELOW, _ABOVE + 1) / _PER_SEMITONE / 12)
    kernel = np.zeros(len(ratio))
    for multiple in (1, 2, 3, 5, 7, 11, 13):
        away = np.abs(ratio - multiple)
        wave = np.cos(2 * np.pi * ratio)
        kernel += np.where(away < 0.25, wave**_SHARP, np.where(away < 0.75, 0.5 * wave, 0.0))
    return kernel * ratio**-0.2


_KERNEL = _kernel()
_NORMS = np.sqrt(  # of what lies below the top
    [np.square(np.maximum(_KERNEL[: _BELOW + max(1, _STEPS - place)], 0.0)).sum() for place in range(_CANDIDATES)]
)


def _by_steps(spectrum: Levels, size: int) -> Levels:
    """Bring a spectrum to the scale of steps: the largest value within each."""
    edges = 440 * 2 ** ((_LOWEST_MIDI - 69 + (np.arange(_STEPS + 1) - 0.5) / _PER_SEMITONE) / 12) * size / RATE
    between = np.interp(edges[:-1] + np.diff(edges) / 2, np.arange(len(spectrum)), spectrum)
    largest = np.maximum.reduceat(spectrum, edges.astype(int))[:-1]
    return np.where(np.diff(edges) > 2, largest, between)


def _explained(power: Levels, size: int, midi: float) -> float:
    """Give the share of the power that lies near a pitch and its first ten multiples."""
    return float(_near(power, size, midi).sum() / power.sum())


def _near(power: Levels, size: int, midi: float) -> Levels:
    """Sum the power within a third of a semitone of a pitch and of each of its first ten multiples."""
    sums = np.concatenate([[0.0], np.cumsum(power)])
    hertz = hertz_of(midi) * np.arange(1, 11)
    width = np.maximum(hertz * (2 ** (0.33 / 12) - 1), 6.0)
    edges = np.clip(np.stack([hertz - width, hertz + width]) * size / RATE, 0, len(power)).astype(int)
    return np.asarray(sums[edges[1]] - sums[edges[0]])


def _raised(power: Levels, size: int, midi: float) -> float:
    """Raise a pitch by an octave or a twelfth while only every second or third of its multiples is heard."""
    numbers = np.arange(1, 11)
    for factor in (2, 3, 2):
        near = _near(power, size, midi)
        between = near[numbers % factor != 0].sum()
        raised = midi + 12 * math.log2(factor)
        if between < _ALONE * near.sum() and raised < _HIGHEST_MIDI:
            midi = raised
    return midi


def _refined(power: Levels, size: int, midi: float) -> float:
    """Move a pitch to the mean of the strongest peaks within half a semitone of it and of its first multiples."""
    total, weight = 0.0, 1e-12
    for multiple in (1, 2, 3, 4):
        low, high = (multiple * hertz_of(midi + shift) * size / RATE for shift in (-0.5, 0.5))
        first, last = max(1, math.floor(low)), min(len(power) - 2, math.ceil(high))
        if last <= first:
            continue
        peak = first + int(power[first : last + 1].argmax())
        left, middle, right = (math.log(float(power[at]) + 1e-20) for at in (peak - 1, peak, peak + 1))
        bend = left - 2 * middle + right
        offset = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
        strength = math.sqrt(float(power[peak]))
        total += strength * (69 + 12 * math.log2((peak + offset) * RATE / size / multiple / 440))
        weight += strength
    return total / weight


def onsets_of(samples: Samples) -> list[float]:
    """Find when sounds begin, in seconds: rises of the spectrum that stand out, each drawn to where its level starts to climb."""
    flux = _flux(samples)
    if not len(flux):
        return []
    reach = round(0.05 / _STEP_S)
    local = np.lib.stride_tricks.sliding_window_view(np.pad(flux, reach), 2 * reach + 1).max(1)
    floor = max(0.12 * float(flux.max()), 2.5 * float(np.median(flux)), 0.6)
    kept: list[int] = []
    for peak in np.flatnonzero((flux == local) & (flux > floor)):
        if not kept or peak - kept[-1] >= round(0.06 / _STEP_S):
            kept.append(int(peak))
    return [_climb(samples, peak * _STEP_S) for peak in kept]


def _flux(samples: Samples) -> Levels:
    """Give how much louder the spectrum is at each 5 ms than 15 ms before: the mean gain of 24 bands, in tenfold power."""
    size, step, back = 512, round(_STEP_S * RATE), 3
    padded = np.pad(samples, (size // 2 + back * step, size))  # silence is in front of every clip
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(samples) + back * step : step] * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    edges = np.unique(np.geomspace(2, size // 2 + 1, 25).astype(int))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    logs = np.log10(bands / max(float(bands.max(initial=0.0)), 1e-9) + 1e-5)
    return np.maximum(0.0, logs[back:] - logs[:-back]).mean(1)


def _climb(samples: Samples, around_s: float) -> float:
    """Find the start of a rise near a moment: from the quietest millisecond before it, the first that is much louder."""
    step = RATE // 1000
    first = max(0, round((around_s - 0.03) * RATE))
    stretch = np.abs(samples[first : round((around_s + 0.03) * RATE)])
    if not len(stretch):
        return around_s
    peaks = np.maximum.reduceat(stretch, np.arange(0, len(stretch), step))
    before = min(len(peaks), round((around_s * RATE - first) / step) + 1)
    quietest = int(peaks[:before].argmin())
    over = np.flatnonzero(peaks[quietest:] > peaks[quietest] + 0.15 * (peaks.max() - peaks[quietest]))
    return (first + (quietest + int(over[0])) * step) / RATE if len(over) else around_s


def tempo_of(samples: Samples, *, slowest: float = 50.0, fastest: float = 200.0) -> float:
    """Find the tempo in beats a minute, by which period the onsets repeat; nan where there are none."""
    flux = _flux(samples)
    if not len(flux) or flux.max() < 1e-3:
        return math.nan
    strength = flux - flux.mean()
    size = 1 << math.ceil(math.log2(2 * len(strength)))
    again = np.fft.irfft(np.square(np.abs(np.fft.rfft(strength, size))))[: len(strength)]
    again /= np.arange(len(again), 0, -1)  # long lags have fewer pairs
    tempi = np.arange(slowest, fastest, 0.25)
    scores = np.array([_repeats(again, 60 / tempo / _STEP_S) for tempo in tempi])
    prior = np.exp(-0.5 * np.square(np.log2(tempi / 120) / 1.0))
    return float(tempi[int((scores * prior).argmax())])


def _repeats(again: Levels, lag: float) -> float:
    """Sum the autocorrelation at the first multiples of a lag."""
    lags = lag * np.arange(1, 5)
    lags = lags[lags < 0.75 * len(again)]
    return float(np.interp(lags, np.arange(len(again)), again).mean()) if len(lags) else 0.0
