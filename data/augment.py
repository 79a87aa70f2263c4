"""Change what is heard without changing what is right to answer: gain, noise, speed, crops, masked bands."""

from __future__ import annotations

import dataclasses

import numpy as np
import soxr

from data.augment_config import AugmentConfig
from data.manifest import Record
from qwen_audio.audio import SAMPLE_RATE, AudioClip

# What a sound, a language or a voice is can be told from a part of the clip; words and times cannot.
CROPPABLE = frozenset({"sound_event", "audio_caption", "scene", "gender", "language_id", "vocal_sound"})
TRANSPOSABLE = frozenset({"note_analysis"})


def is_croppable(record: Record) -> bool:
    """Tell whether a part of the clip is enough for the answer: by the task, or in chat where the clip is a sound without words."""
    return record.family in CROPPABLE or (record.family == "chat" and "label" in record.meta and "midi" not in record.meta)


def augment_clip(clip: AudioClip, record: Record, config: AugmentConfig, rng: np.random.Generator) -> tuple[AudioClip, int]:
    """Return a changed copy of a clip and by how many semitones it was moved (0 but for notes).

    Args:
        clip: (n,) float32 at 16 kHz.
        record: says by its family which changes leave the answer right.
        rng: decides; the same state gives the same clip.
    """
    samples, semitones = clip.samples, 0
    family = record.family or ""
    if is_croppable(record) and rng.random() < config.crop_share and len(samples) > SAMPLE_RATE:
        samples = _crop(samples, config.crop_s, rng)
    if family in TRANSPOSABLE and config.transpose:
        semitones = int(rng.integers(-config.transpose, config.transpose + 1))
        samples = _resample(samples, 2.0 ** (-semitones / 12.0))
    elif config.speed and record.meta.get("midi") is None and not family.startswith("srwt") and family != "gender":
        samples = _resample(samples, 1.0 + config.speed * rng.uniform(-1.0, 1.0))
    if config.shift_s and not family.startswith("srwt") and len(samples) < 4 * SAMPLE_RATE:
        before, after = (int(config.shift_s * SAMPLE_RATE * rng.random() ** 2) for _ in range(2))
        samples = np.pad(samples, (before, after))
    if rng.random() < config.noise_share:
        level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-rng.uniform(10.0, 40.0) / 20)
        samples = samples + level * _noise(len(samples), rng)
    samples = samples * np.float32(10 ** (config.gain_db * rng.uniform(-1.0, 1.0) / 20))
    return dataclasses.replace(clip, samples=np.clip(samples, -1.0, 1.0).astype(np.float32)), semitones


def mask_mel(mel: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Lay SpecAugment masks over one clip's log-mel (frames, bands), in place, with the clip's mean.

    Source: arXiv:1904.08779, without time warping.
    """
    frames, bands = mel.shape
    fill, masks = mel.mean(), config.masks
    for _ in range(masks.bands):
        width = int(rng.integers(0, min(masks.bins, bands) + 1))
        first = int(rng.integers(0, bands - width + 1))
        mel[:, first : first + width] = fill
    for _ in range(masks.stretches):
        width = int(rng.integers(0, min(masks.frames, int(frames * masks.share)) + 1))
        first = int(rng.integers(0, frames - width + 1))
        mel[first : first + width] = fill


def tilt_mel(mel: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Tilt one clip's log-mel (frames, bands), in place: as another microphone or room would have heard it.

    Features are (log10(power) + 4) / 4, so that 10 dB are a quarter.
    """
    if config.tilt_db:
        mel += np.linspace(-1, 1, mel.shape[1], dtype=mel.dtype) * mel.dtype.type(rng.uniform(-1, 1) * config.tilt_db / 40)


def _crop(samples: np.ndarray, longest_s: float, rng: np.random.Generator) -> np.ndarray:
    """Cut 1 s to longest_s out, where there is something to hear: silence carries no label."""
    length = min(len(samples), int(rng.uniform(1.0, longest_s) * SAMPLE_RATE))
    loud = 0.1 * float(np.abs(samples).max())
    for _ in range(8):
        first = int(rng.integers(0, len(samples) - length + 1))
        if float(np.abs(samples[first : first + length]).max()) >= loud:
            return samples[first : first + length]
    return samples


def _resample(samples: np.ndarray, factor: float) -> np.ndarray:
    """Stretch samples to factor times their length; the pitch falls by the same factor."""
    if abs(factor - 1.0) < 1e-3:
        return samples
    return soxr.resample(samples, SAMPLE_RATE, SAMPLE_RATE * factor, quality="LQ").astype(np.float32)


def _noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return white or brownish noise of unit power."""
    noise = rng.standard_normal(length).astype(np.float32)
    if rng.random() < 0.5:
        noise = noise + np.concatenate(([0.0], 0.9 * noise[:-1])).astype(np.float32)
        noise /= np.float32(np.sqrt(1.81))
    return noise
