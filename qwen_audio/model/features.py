"""Clips to log-mel frames, computed over the clip alone and equal to the frames of the clip padded to 30 s."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from qwen_audio.audio import HOP, MIN_SAMPLES, SAMPLE_RATE, AudioClip, frame_count
from qwen_audio.config import ModelConfig
from qwen_audio.errors import AudioEmptyError, AudioTooLongError

N_FFT = 400
HALF = N_FFT // 2
FLOOR = 1e-10
RANGE = 8.0
"""Powers below 1e-10 are silence; nothing is heard that lies more than 8 bels under a clip's loudest bin."""


def log_mel(clips: Sequence[AudioClip], config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Turn clips into what the encoder hears.

    Args:
        clips: A clips of 16 kHz mono, from 30 ms up to the encoder's window.
        config: its encoder gives the mel bands and the window, its family the rule for the frames.
    Returns:
        mels (sum of F, n_mels) float32, clip after clip, on the CPU; frames (A,) int64, 10 ms each. F is even for
        "qwen-audio"; for "qwen2-audio" the true next frame follows, except where the window is full.
    Raises:
        AudioTooLongError, AudioEmptyError: a clip is outside those limits.
    Source: arXiv:2212.04356, section 2.2 (25 ms windows, 10 ms apart, the loudest bin taken over the padded 30 s).
    """
    n_mels = config.encoder.n_mels
    if not clips:
        return torch.zeros(0, n_mels), torch.zeros(0, dtype=torch.int64)
    mels = [_clip_mel(clip, config) for clip in clips]
    return torch.cat(mels), torch.tensor([len(mel) for mel in mels])


def _clip_mel(clip: AudioClip, config: ModelConfig) -> Tensor:
    """Compute one clip's frames (F, n_mels)."""
    n_samples = len(clip.samples)
    window = 2 * config.encoder.n_ctx  # frames
    if n_samples > window * HOP:
        raise AudioTooLongError(
            f"{clip.source}: {n_samples / SAMPLE_RATE:.4g} s ({n_samples} samples), the encoder hears "
            f"{window * HOP / SAMPLE_RATE:g} s ({window * HOP}); cut the clip or choose how long audio is handled"
        )
    if n_samples < MIN_SAMPLES:
        raise AudioEmptyError(
            f"{clip.source}: {n_samples} samples at 16 kHz, the encoder needs at least {MIN_SAMPLES} (30 ms); give a longer piece"
        )
    kept = frame_count(n_samples, config.family)
    if config.family == "qwen2-audio":
        kept = min(kept + 1, window)
    # Frames past the kept ones may still hold signal, and the loudest bin is sought in them too.
    sounding = min(window, (n_samples + HALF - 1) // HOP + 1)
    frames = _frames(clip.samples, max(kept, sounding), window * HOP)
    spectrum = torch.fft.rfft(frames * _hann())
    power = torch.view_as_real(spectrum).square().sum(-1)
    mel = (power @ _filters(config.encoder.n_mels)).clamp_(min=FLOOR).log10_()
    loudest = mel.max()
    return mel[:kept].clamp_(min=loudest - RANGE).add_(4.0).div_(4.0)


def _frames(samples: np.ndarray, n_frames: int, window: int) -> Tensor:
    """Cut a signal into (n_frames, 400) centred frames, 160 apart, as if it went on with zeros up to `window` samples.

    The left edge is reflected always; the right edge is reflected only at the window's own end, where the last frame
    of a full window reaches past it.
    """
    needed = HOP * (n_frames - 1) + HALF
    padded = np.zeros(HALF + needed, dtype=np.float32)
    body = min(len(samples), needed)
    padded[HALF : HALF + body] = samples[:body]
    padded[:HALF] = padded[2 * HALF : HALF : -1]
    if needed > window:
        overhang = needed - window
        end = HALF + window
        padded[end : end + overhang] = padded[end - 2 : end - 2 - overhang : -1]
    return torch.from_numpy(padded).unfold(0, N_FFT, HOP)


@lru_cache(maxsize=1)
def _hann() -> Tensor:
    """Return the periodic Hann window (400,)."""
    return torch.hann_window(N_FFT)


@lru_cache(maxsize=4)
def _filters(n_mels: int) -> Tensor:
    """Return the filters as a (201, n_mels) float32 matrix to multiply power spectra with."""
    return torch.from_numpy(mel_filters(n_mels)).t().contiguous()


def mel_filters(n_mels: int) -> np.ndarray:
    """Build Slaney's triangular mel filters over 0 to 8 kHz, each of unit area.

    Returns:
        (n_mels, 201) float32.
    Source: M. Slaney, Auditory Toolbox (1998): linear below 1 kHz, 27 steps per factor of 6.4 above.
    """
    edges = _slaney_to_hz(np.linspace(0.0, _hz_to_slaney(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    widths = np.diff(edges)
    rising = (bins[None, :] - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins[None, :]) / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


LINEAR_STEP_HZ = 200.0 / 3
KNEE_HZ = 1000.0
KNEE = KNEE_HZ / LINEAR_STEP_HZ
LOG_STEP = np.log(6.4) / 27


def _hz_to_slaney(hz: float) -> float:
    """Turn a frequency into Slaney's mel number."""
    return float(KNEE + np.log(hz / KNEE_HZ) / LOG_STEP) if hz >= KNEE_HZ else hz / LINEAR_STEP_HZ


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    """Turn Slaney's mel numbers into frequencies."""
    return np.where(mel < KNEE, LINEAR_STEP_HZ * mel, KNEE_HZ * np.exp(LOG_STEP * (mel - KNEE)))
