"""Begin a training from Whisper's encoder: openai-whisper's .pt files and transformers' safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qwen_audio.config import EncoderConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints import qwen2_audio, qwen_audio
from qwen_audio.model.checkpoints.reading import WeightDict, WeightFiles, Weights, check_fields, check_plan, copy_in, read_json, shapes_of
from qwen_audio.model.encoder import Encoder

PROJECTION = ("projection.weight", "projection.bias")
OPENAI = "encoder."
TRANSFORMERS = ("model.encoder.", "encoder.")  # the whole model, the model without its head
MEND = "set the encoder of the model's config to these numbers"


def fill_encoder(encoder: Encoder, source: str | Path) -> tuple[str, ...]:
    """Copy Whisper's encoder into ours, in ours' numbers and on its device.

    The fixed positions are the same at any length, so a window shorter than Whisper's takes their first rows.

    Args:
        encoder: of Whisper's size; `projection`, which Whisper does not have, is left as it is.
        source: a .pt file of openai-whisper, or a directory of transformers' with config.json and safetensors.
    Returns:
        The names of the parameters that were left as they were.
    Raises:
        CheckpointError: another size, missing or surplus tensors, or a file that is not Whisper's.
    """
    source = Path(source)
    plan, weights = _openai(encoder.config, source) if source.is_file() else _transformers(encoder.config, source)
    expected = {name: shape for name, shape in shapes_of(encoder).items() if name not in PROJECTION}
    check_plan(plan, expected, weights, tolerated=(r"(?:(?:model\.)?decoder\.|proj_out\.).*",), at_most=("positions",))
    copy_in(encoder, plan, weights)
    return PROJECTION


def _openai(config: EncoderConfig, path: Path) -> tuple[dict[str, tuple[str, ...]], Weights]:
    """Read a .pt file of openai-whisper: {"dims": {..}, "model_state_dict": {..}}.

    The only pickle that the project reads, with weights_only: tensors and plain values, nothing that runs.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole .pt file of plain tensors ({str(error).splitlines()[0]}); fetch it again") from error
    if not isinstance(stored, Mapping) or not {"dims", "model_state_dict"} <= set(stored):
        raise CheckpointError(f"{path}: no dims and model_state_dict in it; expected a .pt file of openai-whisper")
    expected = {
        "n_mels": config.n_mels,
        "n_audio_state": config.width,
        "n_audio_head": config.heads,
        "n_audio_layer": config.layers,
    }
    check_fields(f"{path}: dims", stored["dims"], expected, MEND)
    return qwen_audio.encoder_plan(config, OPENAI), WeightDict(stored["model_state_dict"], str(path))


def _transformers(config: EncoderConfig, directory: Path) -> tuple[dict[str, tuple[str, ...]], Weights]:
    """Open a directory of transformers' Whisper."""
    values: Mapping[str, Any] = read_json(directory / "config.json")
    where = str(directory / "config.json")
    expected = {
        "model_type": "whisper",
        "num_mel_bins": config.n_mels,
        "d_model": config.width,
        "encoder_attention_heads": config.heads,
        "encoder_layers": config.layers,
        "encoder_ffn_dim": config.mlp_width,
        "activation_function": "gelu",
        "scale_embedding": False,
    }
    check_fields(where, values, expected, MEND)
    weights = WeightFiles(directory)
    prefix = next((prefix for prefix in TRANSFORMERS if f"{prefix}conv1.weight" in weights.shapes), TRANSFORMERS[0])
    return qwen2_audio.encoder_plan(config, prefix), weights
