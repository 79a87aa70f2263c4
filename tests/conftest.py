"""A tiny seeded model and what belongs to it; torch is imported inside the fixtures, so that light tests stay light."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_audio.config import DecoderConfig, EncoderConfig, GenerationOptions, ModelConfig
from tag_schema.vocabulary import AUDIO_END, AUDIO_PAD, AUDIO_START, OFFSETS, SPECIAL_TOKENS

if TYPE_CHECKING:
    from qwen_audio.audio import AudioClip
    from qwen_audio.engine import Engine
    from qwen_audio.model.joint import QwenAudio
    from qwen_audio.tokenizer import Tokenizer

N_RANKS = 256  # one rank a byte: the smallest vocabulary that can spell everything


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """Describe a model of the released shape that runs in milliseconds; its window reaches past seq_length."""
    return ModelConfig(
        encoder=EncoderConfig(n_mels=80, n_ctx=1500, width=32, heads=2, layers=2, mlp_width=64),
        decoder=DecoderConfig(
            vocab_size=N_RANKS + len(SPECIAL_TOKENS),
            width=48,
            layers=2,
            heads=3,
            kv_heads=3,
            head_size=16,
            mlp_width=96,
            seq_length=256,
            window=1024,
        ),
        audio_start_id=N_RANKS + OFFSETS[AUDIO_START],
        audio_pad_id=N_RANKS + OFFSETS[AUDIO_PAD],
        audio_end_id=N_RANKS + OFFSETS[AUDIO_END],
    )


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """Make the byte-level tokenizer that fits tiny_config."""
    from qwen_audio.tokenizer import Tokenizer

    return Tokenizer({bytes([value]): value for value in range(N_RANKS)})


@pytest.fixture
def tiny_model(tiny_config: ModelConfig) -> QwenAudio:
    """Build tiny_config with every parameter drawn from one seed, so that no bias is zero and no norm is the identity."""
    import torch

    from qwen_audio.model.joint import QwenAudio

    model = QwenAudio(tiny_config)
    draw = torch.Generator().manual_seed(20_231_114)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=draw)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(noise * 0.1 + float(name.endswith("norm.weight")))
    return model.eval()


@pytest.fixture
def tiny_engine(tiny_model: QwenAudio, tiny_tokenizer: Tokenizer) -> Engine:
    """Put the tiny model and its tokenizer together on the CPU; greedy and short unless a test says otherwise."""
    from qwen_audio.engine import Engine

    options = GenerationOptions(max_new_tokens=16, greedy=True)
    return Engine(model=tiny_model, tokenizer=tiny_tokenizer, generation=options, name="tiny")


@pytest.fixture(scope="session")
def clip() -> Callable[..., AudioClip]:
    """Return a maker of clips: three sines and some noise, all settled by the seed."""
    from qwen_audio.audio import SAMPLE_RATE, AudioClip

    def make(duration_s: float = 1.0, *, seed: int = 0, n_samples: int | None = None, source: str | None = None) -> AudioClip:
        """Make a clip of duration_s seconds, or of exactly n_samples at 16 kHz."""
        count = round(duration_s * SAMPLE_RATE) if n_samples is None else n_samples
        draw = np.random.default_rng(seed)
        time_s = np.arange(count) / SAMPLE_RATE
        wave = sum(0.15 * np.sin(2 * np.pi * hertz * time_s) for hertz in draw.uniform(100, 4000, size=3))
        samples = (wave + 0.02 * draw.standard_normal(count)).astype(np.float32)
        return AudioClip(samples, source=source or f"clip{seed}.wav")

    return make
