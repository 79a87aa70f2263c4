"""Augmentation leaves the answer right."""

import numpy as np
import pytest

from data.augment import augment_clip, is_croppable, mask_mel, tilt_mel
from data.augment_config import AugmentConfig
from data.manifest import AudioRef, Record, Turn
from qwen_audio.audio import AudioClip
from qwen_audio.errors import ConfigError
from tag_schema.tasks import prefix_for

RATE = 16_000


def record(family: str, **meta: str) -> Record:
    return Record("r", (AudioRef("a.wav"),), "x", family, prefix_for(family), meta=meta)


def tone(hertz: float, seconds: float = 1.0) -> AudioClip:
    return AudioClip((0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32))


def loudest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    return float(spectrum.argmax() * RATE / (1 << 18))


def test_a_transposed_note_sounds_where_its_label_moves() -> None:
    config = AugmentConfig(noise_share=0, shift_s=0)
    moved = set()
    for seed in range(30):
        clip, semitones = augment_clip(tone(440.0), record("note_analysis", midi="69"), config, np.random.default_rng(seed))
        moved.add(semitones)
        assert loudest_hertz(clip.samples) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)
    assert moved == set(range(-4, 5))


def test_word_times_are_never_moved() -> None:
    for seed in range(20):
        clip, _ = augment_clip(tone(300.0), record("srwt_en"), AugmentConfig(), np.random.default_rng(seed))
        assert len(clip.samples) == RATE


def test_speed_moves_no_instrument_that_has_a_pitch() -> None:
    for seed in range(20):
        clip, _ = augment_clip(
            tone(440.0), record("instrument", midi="69"), AugmentConfig(shift_s=0, noise_share=0), np.random.default_rng(seed)
        )
        assert len(clip.samples) == RATE


def test_crops_keep_something_to_hear() -> None:
    samples = np.zeros(5 * RATE, np.float32)
    samples[:4000] = 0.5
    for seed in range(30):
        config = AugmentConfig(noise_share=0, crop_share=1.0)
        clip, _ = augment_clip(AudioClip(samples), record("sound_event"), config, np.random.default_rng(seed))
        assert np.abs(clip.samples).max() > 0.05


def test_the_same_state_gives_the_same_clip_in_the_same_range() -> None:
    one, two = (augment_clip(tone(300.0), record("asr"), AugmentConfig(), np.random.default_rng(3))[0] for _ in range(2))
    assert np.array_equal(one.samples, two.samples)
    assert one.samples.dtype == np.float32 and np.abs(one.samples).max() <= 1.0


def test_masks_cover_no_more_than_they_may() -> None:
    config = AugmentConfig(freq_masks=2, freq_width=12, time_masks=2, time_share=0.1)
    for seed in range(30):
        mel = np.random.default_rng(99).standard_normal((100, 80)).astype(np.float32)
        before = mel.copy()
        mask_mel(mel, config, np.random.default_rng(seed))
        changed = mel != before
        assert changed.all(0).sum() <= 24 and changed.all(1).sum() <= 20


def test_the_basic_policy_for_librispeech_masks_one_band_and_one_stretch_as_its_paper_has_it() -> None:
    config = AugmentConfig(spec_augment="librispeech_basic", freq_masks=9, time_masks=9)  # the other settings count for nothing
    widths, lengths = set(), set()
    for seed in range(400):
        mel = np.random.default_rng(1000 + seed).standard_normal((300, 80)).astype(np.float32)
        masked = mel.copy()
        mask_mel(masked, config, np.random.default_rng(seed))
        bins, frames = (masked != mel).all(0), (masked != mel).all(1)
        widths.add(int(bins.sum()))
        lengths.add(int(frames.sum()))
        assert (np.diff(bins.astype(int)) == 1).sum() <= 1 and (np.diff(frames.astype(int)) == 1).sum() <= 1  # in one piece each
    assert max(widths) == 27 and max(lengths) == 100 and min(widths) == min(lengths) == 0
    with pytest.raises(ConfigError, match="spec_augment is 'switchboard'"):
        AugmentConfig(spec_augment="switchboard")  # type: ignore[arg-type]


def test_a_tilt_moves_the_ends_by_its_decibels_and_the_middle_not_at_all() -> None:
    moved = []
    for seed in range(20):
        mel = np.zeros((3, 81), np.float32)
        tilt_mel(mel, AugmentConfig(tilt_db=8.0), np.random.default_rng(seed))
        assert mel[0, 40] == 0 and np.allclose(mel[:, 0], -mel[:, 80])
        moved.append(abs(float(mel[0, 80])) * 40)  # features are a quarter of log10 of the power
    assert 6 < max(moved) <= 8


def test_negative_strengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="gain_db"):
        AugmentConfig(gain_db=-1.0)


def test_chat_about_a_sound_may_be_cropped_and_chat_about_words_or_notes_may_not() -> None:
    ref = AudioRef("a.wav", 0.0, 5.0)
    turns = (Turn("user", (ref, "What do you hear?")),)

    def chat(**meta: str) -> Record:
        return Record("c", (ref,), "x", "chat", messages=turns, meta=meta)

    assert is_croppable(chat(label="dog bark"))
    assert not is_croppable(chat(text="seven"))
    assert not is_croppable(chat(label="cello", midi="60"))
