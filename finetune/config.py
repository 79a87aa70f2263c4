"""TrainConfig: what one training run does; a YAML file, flags over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from data.augment_config import AugmentConfig
from qwen_audio.config import DecoderConfig, EncoderConfig, from_mapping, option
from qwen_audio.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run. Names that HF TrainingArguments has are its names."""

    data_root: str = option("", "folder of the prepared sets, or of what manifests name")
    splits: str = option("data/splits", "folder with train.tsv and dev.tsv: the recordings each split may use")
    train_file: tuple[str, ...] = option((), "manifests of records (JSONL), beside or instead of the prepared sets")
    prepared: bool = option(True, "use the prepared sets below data_root")
    hold_out: tuple[str, ...] = option((), "leave out of training what has KEY=VALUE, as in speaker=fsdd-george or dataset=en_fsdd")
    weights: dict[str, float] = field(
        default_factory=lambda: {"*": 1.0}, metadata={"help": "share of DATASET/FAMILY groups; patterns, the first that fits counts"}
    )
    pairs: int = option(6000, "conversations over two clips to make")
    output_dir: str = option("runs/mini", "where checkpoints and the log go")
    init_from: str = option("", "start from the weights of this checkpoint (not its optimiser)")
    ranks: str = option("qwen_audio/mini/ranks.tiktoken", "byte-pair ranks of the text")
    custom_tags: dict[str, list[str]] = field(
        default_factory=dict, metadata={"help": "new tags for reserved slots, in this order: {languages: [..], instructions: [..]}"}
    )
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    optim: Literal["adamw", "muon"] = option("adamw", "adamw, or muon for the matrices of the blocks with adamw for the rest")
    stage: Literal["joint", "encoder"] = option("joint", "joint trains all; encoder trains the encoder alone, by its own losses")
    max_steps: int = option(5000, "optimiser steps of the whole run")
    learning_rate: float = option(1e-3, "peak learning rate")
    min_learning_rate: float = option(2e-5, "learning rate at the end of the cosine")
    warmup_steps: int = option(300, "steps of linear warm-up")
    weight_decay: float = option(0.05, "on matrices; not on embeddings, biases and norms")
    adam_beta2: float = option(0.98, "AdamW's second beta")
    max_grad_norm: float = option(1.0, "clip the gradient's norm to this")
    bf16: bool = option(True, "multiply in bfloat16; weights and optimiser stay float32")
    seed: int = option(0, "order, augmentation and initial weights")
    budget_s: float = option(40.0, "seconds of audio a batch holds, padding and text weighed in")
    max_rows: int = option(48, "rows a batch holds at most")
    ctc_weight: float = option(0.3, "share of the encoder's CTC loss on transcripts (bytes)")
    class_weight: float = option(0.3, "share of the encoder's classification loss on closed answers")
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    save_steps: int = option(500, "write a checkpoint every so many steps")
    save_total_limit: int = option(2, "keep so many checkpoints")
    logging_steps: int = option(50, "write a log line every so many steps")

    def __post_init__(self) -> None:
        if not self.data_root and self.prepared:
            raise ConfigError("data_root is not set: name the folder of the recordings with --data-root")
        for name in ("max_steps", "save_steps", "save_total_limit", "logging_steps", "max_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected at least 1")
        for entry in self.hold_out:
            if "=" not in entry:
                raise ConfigError(f"hold_out has {entry!r}: expected KEY=VALUE")


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the settings of a YAML file.

    Raises:
        ConfigError: the file is missing or not a mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings, NAME: VALUE a line")
    return values


def train_config(path: Path | str | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Build the settings of a run: the file's values with the flags that were given (not None) laid over them."""
    values = read_yaml(path) if path else {}
    known = {spec.name for spec in fields(TrainConfig)}
    given = {name: value for name, value in flags.items() if name in known and value is not None}
    return from_mapping(TrainConfig, {**values, **given}, str(path or "flags"))
