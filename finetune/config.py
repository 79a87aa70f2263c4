"""TrainConfig: what one training run does; a YAML file, flags over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from data.augment_config import AugmentConfig
from data.mixture_config import SECTION, MixtureConfig, plain_sources
from qwen_audio.config import DecoderConfig, EncoderConfig, from_mapping, option
from qwen_audio.errors import ConfigError

# Settings of the mixture that have a flag of their own; its seed is the run's.
MIXTURE_FLAGS = frozenset({"data_root", "temperature", "hold_out", "long_audio", "max_tokens", "max_lost", "index_dir", "index_workers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run. Names that HF TrainingArguments has are its names."""

    mixture: MixtureConfig = field(default_factory=MixtureConfig)
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
    budget_tokens: int = option(1000, "positions a batch holds, rows x longest row: 25 a second of audio, and the text's")
    max_rows: int = option(48, "rows a batch holds at most")
    patience: int = option(4096, "draws after which a row is given out at the latest, however rare its length")
    cache_mb: int = option(2048, "memory for decoded audio, 115 MB an hour; what came first leaves first")
    ctc_weight: float = option(0.3, "share of the encoder's CTC loss on transcripts (bytes)")
    class_weight: float = option(0.3, "share of the encoder's classification loss on closed answers")
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    save_steps: int = option(500, "write a checkpoint every so many steps")
    save_total_limit: int = option(2, "keep so many checkpoints")
    logging_steps: int = option(50, "write a log line every so many steps")

    def __post_init__(self) -> None:
        if not self.mixture.sources:
            raise ConfigError("nothing to train on: name files of rows with --train-file, or sources in the section `mixture`")
        for name in ("max_steps", "save_steps", "save_total_limit", "logging_steps", "max_rows", "budget_tokens", "patience", "cache_mb"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected at least 1")


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
    """Build the settings of a run: the file's values with the flags that were given (not None) laid over them.

    Flags named like settings of the mixture go into its section; "train_file" adds files of rows to its sources.
    """
    values = read_yaml(path) if path else {}
    given = {name: value for name, value in flags.items() if value is not None}
    section = plain_sources(values.get(SECTION, {}))
    if isinstance(section, Mapping):
        section = {**section, **{spec.name: given[spec.name] for spec in fields(MixtureConfig) if spec.name in MIXTURE_FLAGS & set(given)}}
        section["sources"] = [*section.get("sources", ()), *({"path": file} for file in given.get("train_file", ()))]
    settings = {spec.name: given[spec.name] for spec in fields(TrainConfig) if spec.name in given}
    return from_mapping(TrainConfig, {**values, **settings, SECTION: section}, str(path or "flags"))
