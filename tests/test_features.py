"""Log-mel frames: the released code's numbers, and transformers' front end on clips of every length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_model import clips, difference, golden, golden_config  # type: ignore[import-not-found]
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from qwen_audio.audio import AudioClip
from qwen_audio.config import EncoderConfig, Family, ModelConfig
from qwen_audio.errors import AudioEmptyError, AudioTooLongError
from qwen_audio.model.features import log_mel, mel_filters

TOLERANCE = 1e-5
EDGE_LENGTHS = (480, 481, 639, 640, 641, 799, 800, 1120, 16_000, 16_001, 16_159, 16_160, 479_519, 479_679, 479_840, 479_999, 480_000)


def config(n_mels: int = 80, family: Family = "qwen-audio") -> ModelConfig:
    return ModelConfig(family=family, encoder=EncoderConfig(n_mels=n_mels, width=8, heads=1, layers=1, mlp_width=8))


def padded_mel(samples: np.ndarray, n_mels: int) -> torch.Tensor:
    """Compute the (frames, n_mels) of a clip padded to 30 s, as transformers does it."""
    oracle = WhisperFeatureExtractor(feature_size=n_mels)(samples, sampling_rate=16_000, return_tensors="pt")
    return oracle.input_features[0].T


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """Make noise whose loudness wanders, so that frames differ."""
    draw = np.random.default_rng(seed)
    swell = 0.05 + np.abs(np.sin(np.linspace(0, 7, n_samples)))
    return (0.2 * swell * draw.standard_normal(n_samples)).astype(np.float32)


def test_frames_equal_the_released_codes() -> None:
    mels, frames = log_mel(clips(), golden_config(2048))
    assert frames.tolist() == [370, 1230]
    first, second = mels.split(frames.tolist())
    assert difference(first[::5].T, golden("in/mel0")) < TOLERANCE
    assert difference(second[::15].T, golden("in/mel1")) < TOLERANCE


@pytest.mark.parametrize("n_mels", [80, 128])
def test_filters_equal_transformers_slaney_filters(n_mels: int) -> None:
    oracle = mel_filter_bank(201, n_mels, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney").T
    assert np.abs(mel_filters(n_mels) - oracle).max() < 1e-8


@pytest.mark.parametrize("n_samples", EDGE_LENGTHS)
def test_a_clip_of_any_length_has_the_frames_of_the_clip_padded_to_30_s(n_samples: int) -> None:
    samples = noise(n_samples)
    shapes: list[tuple[Family, int]] = [("qwen-audio", 80), ("qwen2-audio", 128)]
    for family, n_mels in shapes:
        mels, frames = log_mel([AudioClip(samples)], config(n_mels, family))
        assert len(mels) == int(frames) <= 3000
        assert difference(mels, padded_mel(samples, n_mels)[: len(mels)]) < TOLERANCE


@pytest.mark.parametrize("seed", range(6))
def test_random_clips_have_the_frames_of_the_clip_padded_to_30_s(seed: int) -> None:
    draw = np.random.default_rng(seed)
    samples = noise(int(480 * 1000 ** draw.random()), seed)
    mels, _ = log_mel([AudioClip(samples)], config())
    assert difference(mels, padded_mel(samples, 80)[: len(mels)]) < TOLERANCE


@pytest.mark.parametrize(
    ("n_samples", "family", "n_frames"),
    [
        (16_000, "qwen-audio", 100),
        (16_000, "qwen2-audio", 101),
        (16_001, "qwen-audio", 100),
        (16_001, "qwen2-audio", 103),
        (16_160, "qwen-audio", 102),  # 101 frames are odd: the next one is real too
        (479_840, "qwen-audio", 3000),
        (479_840, "qwen2-audio", 3000),
        (480_000, "qwen2-audio", 3000),
    ],
)
def test_frames_follow_the_familys_count(n_samples: int, family: Family, n_frames: int) -> None:
    _, frames = log_mel([AudioClip(noise(n_samples))], config(family=family))
    assert frames.tolist() == [n_frames]


@pytest.mark.parametrize("n_samples", [4000, 4099, 4150, 4159, 479_990])
def test_the_loudest_bin_is_sought_past_the_frames_that_are_kept(n_samples: int) -> None:
    samples = 1e-4 * noise(n_samples)
    samples[-90:] = noise(90, seed=1)  # loud where only frames that are cut off hear it in full
    mels, _ = log_mel([AudioClip(samples)], config())
    oracle = padded_mel(samples, 80)
    assert difference(mels, oracle[: len(mels)]) < TOLERANCE


def test_digital_silence_is_minus_one_and_a_half() -> None:
    mels, _ = log_mel([AudioClip(np.zeros(5000, np.float32))], config())
    assert torch.equal(mels, torch.full((32, 80), -1.5))


def test_clips_do_not_touch_each_other() -> None:
    pair = [AudioClip(noise(5000)), AudioClip(10 * noise(7777, seed=1))]
    mels, frames = log_mel(pair, config())
    alone = [log_mel([clip], config())[0] for clip in pair]
    assert torch.equal(mels, torch.cat(alone))
    assert frames.tolist() == [len(mel) for mel in alone]


def test_no_clips_make_no_frames() -> None:
    mels, frames = log_mel([], config())
    assert mels.shape == (0, 80)
    assert frames.shape == (0,)


def test_a_clip_outside_the_window_is_refused_by_name() -> None:
    with pytest.raises(AudioTooLongError, match=r"long\.wav: 30 s \(480001 samples\).*hears 30 s \(480000\)"):
        log_mel([AudioClip(np.zeros(480_001, np.float32), "long.wav")], config())
    with pytest.raises(AudioEmptyError, match=r"short\.wav: 479 samples"):
        log_mel([AudioClip(np.zeros(479, np.float32), "short.wav")], config())
