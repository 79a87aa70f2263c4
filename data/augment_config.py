"""AugmentConfig: the settings of data/augment.py, apart from it so that they become flags without any audio library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, NamedTuple

from qwen_audio.config import check_choice, option
from qwen_audio.errors import ConfigError

FRAMES_MOST = 3000  # of 10 ms: a clip's longest


class Masks(NamedTuple):
    """How often and how far SpecAugment masks: bands and mel bins, stretches, their frames of 10 ms and their share of the clip at most."""

    bands: int
    bins: int
    stretches: int
    frames: int
    share: float


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
    spec_augment: Literal["own", "librispeech_basic"] = option(
        "own",
        "SpecAugment: own masks as the next settings say; librispeech_basic masks one band of up to 27 bins and one stretch of up to 1 s",
    )
    freq_masks: int = option(2, "SpecAugment: masked bands a clip")
    freq_width: int = option(12, "SpecAugment: widest masked band, in mel bins")
    time_masks: int = option(2, "SpecAugment: masked stretches a clip")
    time_share: float = option(0.08, "SpecAugment: longest masked stretch, as a share of the clip")

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, (int, float)) and value < 0:
                raise ConfigError(f"{spec.name} is {value}: expected 0 or more")
        check_choice("spec_augment", self.spec_augment, ("own", "librispeech_basic"))

    @property
    def masks(self) -> Masks:
        """What SpecAugment masks.

        Source of librispeech_basic: arXiv:1904.08779, table 1, policy LB, without time warping.
        """
        if self.spec_augment == "librispeech_basic":
            return Masks(1, 27, 1, 100, 1.0)
        return Masks(self.freq_masks, self.freq_width, self.time_masks, FRAMES_MOST, self.time_share)
