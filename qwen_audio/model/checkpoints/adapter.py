"""Lay a LoRA adapter over the model that it was trained on: W + scale * B @ A, without peft.

A directory of an adapter holds peft's adapter_config.json and adapter_model.safetensors; learned.safetensors with what was learned
whole beside it, if anything; ranks.tiktoken; and config.json: {"format": "qwen_audio_adapter", "version": 1, "base": "mini",
"base_sha256": "..", "generation": {..}, "custom_tags": {..}, "ranks_sha256": ".."}. "base" is a name that `find_checkpoint` finds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from qwen_audio.config import GenerationOptions, from_mapping
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.reading import check_fields, field, read_json, weight_files
from qwen_audio.model.joint import QwenAudio

FORMAT, VERSION = "qwen_audio_adapter", 1
SETTINGS_FILE, WEIGHTS_FILE, LEARNED_FILE = "adapter_config.json", "adapter_model.safetensors", "learned.safetensors"
PREFIX = "base_model.model."  # peft's names begin with it
ROWS, ROW_IDS = "decoder.embedding.rows", "decoder.embedding.row_ids"
PLAIN = {
    "peft_type": "LORA", "bias": "none", "use_dora": False, "fan_in_fan_out": False, "rank_pattern": {}, "alpha_pattern": {},
    "modules_to_save": None, "layer_replication": None, "trainable_token_indices": None, "target_parameters": None,
}  # fmt: skip
"""What adapter_config.json must say where it says it: other kinds would need other sums."""


@dataclass(frozen=True, slots=True)
class Note:
    """What an adapter says of itself: the model it belongs to, its weights' sha256, and how replies are sampled."""

    base: str
    base_sha256: str
    generation: GenerationOptions


def read_note(values: Mapping[str, Any], where: str) -> Note:
    """Read the config.json of an adapter.

    Raises:
        CheckpointError: another version, or it does not name its base.
    """
    if values.get("version") != VERSION:
        raise CheckpointError(f"{where}: version is {values.get('version')!r}, this program reads {VERSION}; update one or train again")
    try:
        generation = from_mapping(GenerationOptions, values.get("generation", {}), f"{where}: generation")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    return Note(field(where, values, "base", str), field(where, values, "base_sha256", str), generation)


def check_base(note: Note, base: Path, where: str) -> None:
    """Raise CheckpointError unless a directory holds the very weights that the adapter was trained on."""
    found = weights_sha256(base)
    if found != note.base_sha256:
        raise CheckpointError(
            f"{where}: the adapter was trained on weights with sha256 {note.base_sha256[:16]}.., those of {base} have {found[:16]}..; "
            'name the right directory under "base" in its config.json'
        )


def weights_sha256(directory: Path) -> str:
    """Name a checkpoint's weights: the sha256 of its safetensors files, one after another."""
    digest = hashlib.sha256()
    for path in weight_files(directory):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


@torch.no_grad()
def lay_over(model: QwenAudio, directory: Path) -> None:
    """Add an adapter to a model's weights in place, in the weights' own numbers; sums are made in float32.

    What was learned whole is laid in first: an adapter of it stands on that.

    Raises:
        CheckpointError: files that are missing or of another kind of adapter, or tensors that do not fit the model.
    """
    scale = read_scale(directory)
    if (directory / LEARNED_FILE).is_file():
        _lay_learned(model, read_tensors(directory / LEARNED_FILE), directory)
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in read_tensors(directory / WEIGHTS_FILE).items()}
    for name in sorted(name for name in tensors if name.endswith(".lora_A.weight")):
        module = name.removesuffix(".lora_A.weight")
        down, up = tensors.pop(name), tensors.pop(f"{module}.lora_B.weight", None)
        weight = _weight(model, f"{module}.weight", directory)
        if up is None or (up.shape[0], down.shape[1]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
            shapes = f"{tuple(down.shape)} and {None if up is None else tuple(up.shape)}"
            raise CheckpointError(f"{directory}: the adapter of {module} has {shapes}, which do not fit weights of {tuple(weight.shape)}")
        weight.copy_(weight.float() + scale * (up.to(weight.device).float() @ down.to(weight.device).float()))
    if tensors:
        raise CheckpointError(f"{directory / WEIGHTS_FILE}: {next(iter(tensors))} is no part of a LoRA adapter of linear layers")


def read_scale(directory: Path) -> float:
    """Read what B @ A is multiplied by; an adapter that is more than that is refused."""
    where = str(directory / SETTINGS_FILE)
    values = read_json(directory / SETTINGS_FILE)
    said = {key: value for key, value in values.items() if value or key in ("peft_type", "bias")}  # empty and absent say the same
    check_fields(where, said, PLAIN, "only plain LoRA is read: merge the adapter with peft")
    rank, alpha = field(where, values, "r", int), field(where, values, "lora_alpha", float)
    return float(alpha / (math.sqrt(rank) if values.get("use_rslora") else rank))


def _lay_learned(model: QwenAudio, tensors: dict[str, Tensor], directory: Path) -> None:
    """Lay what was learned whole over a model's parameters; of the embedding, single rows."""
    rows, ids = tensors.pop(ROWS, None), tensors.pop(ROW_IDS, None)
    if rows is not None and ids is not None:
        weight = model.decoder.embedding.weight
        if rows.shape != (len(ids), weight.shape[1]) or int(ids.max()) >= len(weight):
            raise CheckpointError(f"{directory}: rows {tuple(rows.shape)} of tags do not fit an embedding of {tuple(weight.shape)}")
        weight[ids.to(weight.device)] = rows.to(weight)
    for name, tensor in tensors.items():
        weight = _weight(model, name, directory)
        if weight.shape != tensor.shape:
            raise CheckpointError(f"{directory}: {name} is {tuple(tensor.shape)}, expected {tuple(weight.shape)}")
        weight.copy_(tensor)


def _weight(model: QwenAudio, name: str, directory: Path) -> Tensor:
    try:
        return model.get_parameter(name)
    except AttributeError:
        raise CheckpointError(f"{directory}: the adapter has {name}, which its base does not; it is of another model") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file; one that is missing or cut off is a CheckpointError."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; an adapter needs it") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
