"""Save a model in the project's own layout, and read that layout's config.json.

A directory of ours holds config.json, model.safetensors (or shards with an index) and ranks.tiktoken, which the
tokenizer writes. config.json: {"format": "qwen_audio", "version": 1, "model": {..}, "generation": {..}, "custom_tags": {..},
"ranks_sha256": ".."}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qwen_audio.config import GenerationOptions, ModelConfig, from_mapping, to_mapping
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.reading import shapes_of
from qwen_audio.model.checkpoints.writing import Staged, remove_stale_weights, write_weights
from qwen_audio.model.joint import QwenAudio

FORMAT = "qwen_audio"
VERSION = 1
KEYS = ("format", "version", "model", "generation", "custom_tags", "ranks_sha256")


def save(
    model: QwenAudio,
    directory: str | Path,
    *,
    generation: GenerationOptions | None = None,
    custom_tags: Mapping[str, int] | None = None,
    ranks_sha256: str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Save weights and settings; the files appear together or not at all.

    Args:
        directory: made where it does not exist; files of an earlier save are replaced, others left alone.
        generation: how replies are sampled by default; None stores the class's defaults.
        custom_tags: a user's own tags and their slots, as tag_schema's CustomTags.to_mapping gives them.
        ranks_sha256: names the text ranks that the weights belong to, so that no other tokenizer is loaded with them.
        dtype: the numbers to store, such as torch.bfloat16; None stores the model's own.
    """
    directory = Path(directory)
    state = model.state_dict()
    with Staged(directory) as staged:
        names = write_weights(staged, shapes_of(model), state.__getitem__, dtype or model.dtype)
        values = config_values(model.config, generation or GenerationOptions(), custom_tags or {})
        staged.json("config.json", values | ({"ranks_sha256": ranks_sha256} if ranks_sha256 else {}))
    remove_stale_weights(directory, names)


def config_values(config: ModelConfig, generation: GenerationOptions, custom_tags: Mapping[str, int]) -> dict[str, Any]:
    """Return what config.json of our layout holds."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": to_mapping(config),
        "generation": to_mapping(generation),
        "custom_tags": dict(custom_tags),
    }


def read_config(values: Mapping[str, Any], where: str) -> tuple[ModelConfig, GenerationOptions]:
    """Turn a config.json of ours into settings.

    Raises:
        CheckpointError: another version, an unknown setting, or one that does not fit.
    """
    if values.get("version") != VERSION:
        raise CheckpointError(f"{where}: version is {values.get('version')!r}, this program reads {VERSION}; update one or save again")
    surplus = sorted(set(values) - set(KEYS))
    if surplus:
        raise CheckpointError(f"{where}: unknown key {', '.join(surplus)}; known: {', '.join(KEYS)}")
    try:
        model = from_mapping(ModelConfig, values.get("model", {}), f"{where}: model")
        return model, from_mapping(GenerationOptions, values.get("generation", {}), f"{where}: generation")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
