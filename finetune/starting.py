"""What a run starts from: a new model of the settings' sizes, or the weights, tokenizer and tags of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from finetune.config import TrainConfig
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.find import BUNDLED_DIRECTORY
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer


def starting_tokenizer(config: TrainConfig, source: Path | None) -> Tokenizer:
    """Return the checkpoint's tokenizer, or a new model's, with the settings' new tags behind the tags that it has.

    Raises:
        CheckpointError: the settings name other ranks than the checkpoint's; TagError: a tag is malformed or finds no slot.
    """
    named = Tokenizer.from_tiktoken(config.ranks or BUNDLED_DIRECTORY / "ranks.tiktoken") if config.ranks or source is None else None
    found = Tokenizer.from_directory(source) if source is not None else named
    assert found is not None
    if named is not None and named.ranks_sha256 != found.ranks_sha256:
        raise CheckpointError(
            f"ranks: {config.ranks} has sha256 {named.ranks_sha256}, the weights of {source} were trained with {found.ranks_sha256}; "
            "leave `ranks` out"
        )
    return found.with_new_tags(config.custom_tags)


def starting_model(config: TrainConfig, source: Path | None, tokenizer: Tokenizer, dtype: torch.dtype) -> QwenAudio:
    """Load the checkpoint's model, or draw a new one.

    Raises:
        ConfigError: the settings describe another model than the checkpoint's.
    """
    if source is None:
        return QwenAudio(model_config(config, tokenizer)).to(dtype)
    model = load_checkpoint(source, dtype=dtype).model
    decoder = config.decoder and replace(config.decoder, vocab_size=model.config.decoder.vocab_size)
    for name, wanted, found in (("encoder", config.encoder, model.config.encoder), ("decoder", decoder, model.config.decoder)):
        if wanted not in (None, found):
            raise ConfigError(f"{name}: the model in {source} is not the one that this section describes; leave the section out")
    return model


def model_config(config: TrainConfig, tokenizer: Tokenizer) -> ModelConfig:
    """Describe a new model: the settings' widths, the tokenizer's vocabulary."""
    return ModelConfig(
        encoder=config.encoder or EncoderConfig(),
        decoder=replace(config.decoder or DecoderConfig(), vocab_size=tokenizer.vocab_size),
        audio_start_id=tokenizer.audio_start,
        audio_pad_id=tokenizer.audio_pad,
        audio_end_id=tokenizer.audio_end,
    )
