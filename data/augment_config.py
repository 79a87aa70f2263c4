"""AugmentConfig: the settings of data/augment.py, apart from it so that they become flags without any audio library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from qwen_audio.config import option
from qwen_audio.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How strongly training clips are changed; 0 turns a change off."""

    gain_db: float = option(9.0, "loudness moves by up to so many dB either way")
    noise_share: float = option(0.4, "share of clips that get noise at 10 to 40 dB below them")
    speed: float = option(0.12, "speed moves by up to this share either way, pitch with it (words without times only)")
    crop_share: float = option(0.7, "share of croppable clips that are cut")
    crop_s: float = option(2.5, "a cut clip keeps 1 s to this many seconds")
    transpose: int = option(4, "notes move by up to so many semitones, and their label with them")
    shift_s: float = option(0.3, "silence of up to this length is put before and behind short clips without word times")
    tilt_db: float = option(0.0, "the spectrum is tilted by up to so many dB from its middle to either end, as by another microphone")
    freq_masks: int = option(2, "SpecAugment: masked bands a clip")
    freq_width: int = option(12, "SpecAugment: widest masked band, in mel bins")
    time_masks: int = option(2, "SpecAugment: masked stretches a clip")
    time_share: float = option(0.08, "SpecAugment: longest masked stretch, as a share of the clip")

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            if getattr(self, spec.name) < 0:
                raise ConfigError(f"{spec.name} is {getattr(self, spec.name)}: expected 0 or more")
