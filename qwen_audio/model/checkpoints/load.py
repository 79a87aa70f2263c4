"""Load a whole model from a directory, whichever layout it has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from qwen_audio.config import GenerationOptions, ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints import adapter, ours, qwen2_audio, qwen_audio
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.reading import Plan, WeightFiles, check_plan, lay_in, read_generation, read_json, shapes_of
from qwen_audio.model.joint import QwenAudio

log = logging.getLogger(__name__)

Layout = Literal["ours", "qwen-audio", "qwen2-audio"]
TEXT_MODELS = ("qwen", "qwen2")


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A model ready to answer (eval mode), its settings, and the layout it was stored in."""

    model: QwenAudio
    config: ModelConfig
    generation: GenerationOptions
    layout: Layout


@dataclass(frozen=True, slots=True)
class _Description:
    """What the files say before any weight is read; plan is None where every tensor is stored under its own name."""

    config: ModelConfig
    generation: GenerationOptions
    layout: Layout
    plan: Plan | None
    tolerated: tuple[str, ...]


def load_checkpoint(directory: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> LoadedCheckpoint:
    """Load a model.

    The model is built without memory (meta device) and takes its tensors one by one, each converted and moved on its
    own, so that neither the device nor the host holds the model twice.

    Args:
        directory: holds config.json and safetensors, in our layout or in Qwen-Audio's or Qwen2-Audio's; or an adapter, which is laid
            over the model that it names.
        device: where the weights go.
        dtype: the numbers they are turned into; None keeps those the embedding is stored in.
    Raises:
        CheckpointError: no such layout, settings that cannot be honoured, or weights that do not fit them.
    """
    directory = Path(directory)
    values = read_json(directory / "config.json")
    if values.get("format") == adapter.FORMAT:
        return _adapted(directory, values, device, dtype)
    weights = WeightFiles(directory)
    about = _describe(values, directory, weights.shapes)
    model = empty_model(about.config)
    expected = shapes_of(model)
    plan = about.plan if about.plan is not None else {name: (name,) for name in expected}
    check_plan(plan, expected, weights, tolerated=about.tolerated)
    lay_in(model, plan, weights, device=device, dtype=dtype or weights.dtypes[plan["decoder.embedding.weight"][0]])
    log.info("%s: %s layout, %d tensors, %s", directory, about.layout, len(plan), model.dtype)
    return LoadedCheckpoint(model.eval(), about.config, about.generation, about.layout)


def read_settings(directory: str | Path) -> ModelConfig:
    """Read a checkpoint's settings alone: config.json and the headers of its weights.

    Raises:
        CheckpointError: no such layout, or settings that cannot be honoured.
    """
    directory = Path(directory)
    values = read_json(directory / "config.json")
    if values.get("format") == adapter.FORMAT:
        return read_settings(_base_of(directory, adapter.read_note(values, str(directory / "config.json"))))
    return _describe(values, directory, WeightFiles(directory).shapes).config


def empty_model(config: ModelConfig) -> QwenAudio:
    """Build a model on the meta device: names and shapes, no memory."""
    with torch.device("meta"):
        return QwenAudio(config)


def _adapted(directory: Path, values: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype | None) -> LoadedCheckpoint:
    """Load the model that an adapter was trained on and lay the adapter over it."""
    where = str(directory / "config.json")
    note = adapter.read_note(values, where)
    base = _base_of(directory, note)
    adapter.check_base(note, base, where)
    loaded = load_checkpoint(base, device=device, dtype=dtype)
    adapter.lay_over(loaded.model, directory)
    log.info("%s: laid over %s", directory, base)
    return replace(loaded, generation=note.generation)


def _base_of(directory: Path, note: adapter.Note) -> Path:
    """Find the directory of the model that an adapter belongs to."""
    try:
        base = find_checkpoint(note.base)
    except CheckpointError as error:
        raise CheckpointError(
            f"{directory}: an adapter of {note.base}, which is not to be found ({error}); put it there, or name its place under "
            '"base" in the adapter\'s config.json'
        ) from error
    if (base / adapter.SETTINGS_FILE).is_file():
        raise CheckpointError(f"{directory}: an adapter of {base}, which is an adapter itself; merge that one first")
    return base


def _describe(values: Mapping[str, Any], directory: Path, shapes: Mapping[str, tuple[int, ...]]) -> _Description:
    """Read the settings with the reader of the layout that config.json names."""
    where = str(directory / "config.json")
    kind = values.get("model_type")
    if values.get("format") == ours.FORMAT:
        return _Description(*ours.read_config(values, where), "ours", None, ())
    if kind == "qwen2_audio":
        prefixes = qwen2_audio.stored_prefixes(shapes)
        config = qwen2_audio.read_config(values, where)
        if f"{prefixes.head}weight" in shapes:  # transformers 5 stores and uses a head whatever tie_word_embeddings says
            config = replace(config, decoder=replace(config.decoder, tied_embeddings=False))
        plan = qwen2_audio.model_plan(config, prefixes)
        return _Description(config, read_generation(directory), "qwen2-audio", plan, qwen2_audio.TOLERATED)
    if kind == "qwen" and "audio" in values:
        config = qwen_audio.read_config(values, where)
        return _Description(config, read_generation(directory), "qwen-audio", qwen_audio.model_plan(config), qwen_audio.TOLERATED)
    if kind in TEXT_MODELS:
        raise CheckpointError(f"{where}: model_type {kind} without audio: a text model can only be the beginning of a training's decoder")
    if kind == "whisper":
        raise CheckpointError(f"{where}: model_type whisper: its encoder can only be the beginning of a training's encoder")
    raise CheckpointError(
        f"{where}: model_type is {kind!r} and format {values.get('format')!r}; expected format {ours.FORMAT!r} (ours), "
        "model_type 'qwen' with an audio part (Qwen-Audio) or 'qwen2_audio'"
    )
