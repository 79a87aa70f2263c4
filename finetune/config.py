"""TrainConfig: what one training run does; a YAML file, flags over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from data.augment_config import AugmentConfig
from data.mixture.config import SECTION, MixtureConfig, Source, files_of, plain_sources, read_yaml, source_list
from qwen_audio.config import DecoderConfig, EncoderConfig, from_mapping, option
from qwen_audio.errors import ConfigError

# Settings of the mixture that have a flag of their own; its seed is the run's.
MIXTURE_FLAGS = frozenset({"data_root", "temperature", "hold_out", "long_audio", "max_tokens", "max_lost", "index_dir", "index_workers"})

CONFIG_FILE = "config.json"  # in output_dir: the settings of its run; JSON is YAML too
NEED_DEV_ROWS = ("eval_steps", "eval_on_start", "early_stopping_patience", "metric_for_best_model")
NOT_FLAGS = ("custom_tags", "encoder", "decoder", "augment", "validation")  # sections of the file
Report = Literal["auto", "tensorboard", "none"]
RANGES: Mapping[str, tuple[Callable[[float], bool], tuple[str, ...]]] = {
    "at least 1": (
        lambda value: value >= 1,
        (
            "save_steps", "save_total_limit", "logging_steps", "batch_tokens", "batch_rows", "patience", "cache_mb", "max_eval_samples",
            "per_device_eval_batch_size", "ddp_timeout",
        ),
    ),
    "0 or more": (
        lambda value: 0 <= value < math.inf,
        (
            "max_steps", "lora_r", "per_device_train_batch_size", "gradient_accumulation_steps", "ctc_weight", "class_weight", "eval_steps",
            "early_stopping_patience", "dataloader_num_workers", "min_learning_rate", "warmup_steps", "weight_decay", "max_grad_norm",
            "seed",
        ),
    ),
    "a number above 0": (lambda value: 0 < value < math.inf, ("learning_rate", "adam_epsilon", "lora_alpha")),
    "0 or more, below 1": (lambda value: 0 <= value < 1, ("adam_beta1", "adam_beta2", "lora_dropout")),
    "a share above 0, at most 1": (lambda value: 0 < value <= 1, ("encoder_lr_decay",)),
}  # fmt: skip
"""What is expected -> whether a value is that, and the settings that it is expected of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run. Names that HF TrainingArguments has are its names."""

    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    train_file: tuple[str, ...] = option((), "files of rows to train on, beside the sources of the mixture")
    validation_file: tuple[str, ...] = option((), "files of rows to measure the run by as it learns; nothing is trained on them")
    validation: tuple[Source, ...] = field(
        default=(), metadata={"help": "more of them, written as the mixture's sources are; of prepared sets the dev rows"}
    )
    output_dir: str = option("runs/mini", "where checkpoints and the log go")
    resume_from_checkpoint: str = option("auto", "auto goes on from output_dir's newest checkpoint, none begins anew, else a step's folder")
    model: str = option("", "start from this checkpoint: mini, a folder or a hub id; empty builds a new model of the sections below")
    ranks: str = option("", "byte-pair ranks of a new model's text; the bundled model's by default")
    custom_tags: dict[str, list[str]] = field(
        default_factory=dict, metadata={"help": "new tags for reserved slots, in this order: {languages: [..], instructions: [..]}"}
    )
    encoder: EncoderConfig | None = field(default=None, metadata={"help": "sizes of a new model's encoder"})
    decoder: DecoderConfig | None = field(default=None, metadata={"help": "sizes of a new model's decoder"})
    stage: Literal["pretrain", "sft", "joint", "encoder"] = option(
        "joint",
        "what learns: pretrain the encoder and its projection, sft the language model, joint both; encoder the encoder by its own losses",
    )
    encoder_lr_decay: float = option(0.95, "pretrain: each block of the encoder learns at this share of the rate of the block above")
    lora_r: int = option(0, "rank of LoRA adapters; 0 trains the weights themselves")
    lora_alpha: float = option(16.0, "LoRA's scale, times 1 / lora_r")
    lora_dropout: float = option(0.0, "share of LoRA's inputs that are dropped")
    lora_target: tuple[str, ...] = option((), "patterns of the modules that get an adapter; by the stage where none is named")
    optim: Literal["adamw", "muon"] = option("adamw", "adamw, or muon for the matrices of the blocks with adamw for the rest")
    max_steps: int = option(0, "optimiser steps of the whole run; 0: as many as num_train_epochs takes")
    num_train_epochs: float = option(3.0, "without max_steps: draws of the run, as a multiple of the mixture's rows")
    learning_rate: float = option(1e-4, "peak learning rate")
    min_learning_rate: float = option(1e-5, "learning rate at the end of the schedule")
    warmup_steps: int = option(20, "steps of linear warm-up")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = option("cosine", "how the rate falls from its peak to its end, if it does")
    weight_decay: float = option(0.05, "on matrices; not on embeddings, biases and norms")
    adam_beta1: float = option(0.9, "AdamW's first beta")
    adam_beta2: float = option(0.98, "AdamW's second beta")
    adam_epsilon: float = option(1e-6, "AdamW's epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient's norm to this; 0: not at all")
    batch_tokens: int = option(1000, "positions of a global batch, rows x longest row: 25 a second of audio, and the text's")
    batch_rows: int = option(48, "rows of a global batch at most")
    per_device_train_batch_size: int = option(0, "rows that a device computes at once at most; 0: no limit")
    gradient_accumulation_steps: int = option(
        0, "a device computes batch_tokens / (ranks x this) at once; 0: all, but for the limit of rows"
    )
    patience: int = option(4096, "draws after which a row is given out at the latest, however rare its length")
    packing: bool = option(True, "compute nothing for padding; the same loss as without")
    gradient_checkpointing: bool = option(False, "compute blocks again in the backward pass, to save memory")
    bf16: bool | None = option(
        None, "multiply in bfloat16; weights and optimiser stay float32; where nobody says, on devices that have units for it"
    )
    use_cpu: bool = option(False, "leave accelerators alone")
    deepspeed: Literal["", "zero1", "zero2", "zero3"] = option("", "share optimiser (1), gradients (2), weights (3) among ranks")
    offload: bool = option(False, "DeepSpeed: keep the optimiser, and under zero3 the weights, in the host's memory")
    ddp_timeout: int = option(7200, "seconds after which a process gives up waiting for the others: the first one makes indexes, and saves")
    seed: int = option(0, "order, augmentation and initial weights")
    cache_mb: int = option(2048, "memory for decoded audio, 115 MB an hour; what came first leaves first")
    ctc_weight: float = option(0.0, "share of the encoder's CTC loss on transcripts (bytes)")
    class_weight: float = option(0.0, "share of the encoder's classification loss on closed answers")
    dataloader_num_workers: int = option(0, "processes that read audio and make batches ahead; 0: a thread of this one")
    augment: AugmentConfig | None = field(default=None, metadata={"help": "changes of what is heard: gain, noise, speed, SpecAugment"})
    eval_steps: int = option(0, "measure by the validation rows every so many steps; 0: as often as save_steps")
    eval_on_start: bool = option(False, "measure before the first step too")
    max_eval_samples: int = option(200, "validation rows at most, as many of each group as there are; always the same ones")
    per_device_eval_batch_size: int = option(8, "validation rows that a device computes at once")
    predict_with_generate: bool = option(True, "answer the validation rows and score the answers by the metrics of their tasks")
    metric_for_best_model: str = option(
        "",
        "which checkpoint is kept as the best: by score (a mean over the tasks), loss, or TASK/METRIC, as in asr/wer; "
        "score where nobody says, without answers loss",
    )
    early_stopping_patience: int = option(0, "end the run after so many measurements that were no better than the best; 0: never")
    save_steps: int = option(500, "write a checkpoint every so many steps")
    save_total_limit: int = option(2, "keep so many checkpoints, and the best one beside them")
    logging_steps: int = option(50, "write a log line every so many steps")
    report_to: Report = option("auto", "tensorboard: its files beside the log; auto: where it is installed")

    def __post_init__(self) -> None:
        if not (self.mixture.sources or self.train_file):
            raise ConfigError("nothing to train on: name files of rows with --train-file, or sources in the section `mixture`")
        for expected, (fits, names) in RANGES.items():
            for name in names:
                if not fits(getattr(self, name)):
                    raise ConfigError(f"{name} is {getattr(self, name)}: expected {expected}")
        if self.min_learning_rate > self.learning_rate and self.lr_scheduler_type != "constant":
            rates = f"min_learning_rate is {self.min_learning_rate:g}, above learning_rate, {self.learning_rate:g}"
            raise ConfigError(f"{rates}: the rate would rise; lower it")
        if not (self.max_steps or 0 < self.num_train_epochs < math.inf):
            raise ConfigError("max_steps is 0, and num_train_epochs no number above it: say with one of them how long to train")
        if self.lora_r and not self.model:
            raise ConfigError(f"lora_r is {self.lora_r}, but no model is named: adapters stand beside a checkpoint, name it with --model")
        if self.lora_target and not self.lora_r:
            raise ConfigError("lora_target names what gets an adapter, and lora_r is 0: give the adapters a rank, --lora-r 8")
        if self.stage == "encoder" and not self.auxiliary:
            raise ConfigError("stage encoder learns by ctc_weight and class_weight: expected one of them above 0")
        if self.stage == "sft" and self.auxiliary:
            raise ConfigError("ctc_weight and class_weight teach the encoder, which stage sft freezes: leave them at 0")
        self._check_validation()
        if self.deepspeed and self.optim != "adamw":
            raise ConfigError(f"optim is {self.optim}: its matrices cannot be cut into shares; take adamw with deepspeed")
        if self.offload and not self.deepspeed:
            raise ConfigError("offload needs deepspeed: zero1, zero2 or zero3")

    def _check_validation(self) -> None:
        measured = bool(self.validated_by)
        if measured and self.stage == "encoder":
            raise ConfigError("stage encoder teaches no answers: validation rows are for the other stages")
        if not measured and (asked := [name for name in NEED_DEV_ROWS if getattr(self, name)]):
            raise ConfigError(f"{asked[0]} needs rows to measure by: name them with --validation-file")
        taught, judged = (
            {file.resolve() for source in sources if source.path for file in (files_of(source) or [Path(source.path)])}
            for sources in (self.blend.sources, self.validated_by)
        )
        if both := sorted(taught & judged):
            raise ConfigError(f"{both[0]}: rows cannot both teach and measure; name other rows with --validation-file")
        if not self.predict_with_generate and self.best_by != "loss":
            raise ConfigError(f"metric_for_best_model is {self.best_by}, and without predict_with_generate there is but the loss")

    @property
    def best_by(self) -> str:
        """What the best checkpoint is chosen by."""
        return self.metric_for_best_model or ("score" if self.predict_with_generate else "loss")

    @property
    def validated_by(self) -> tuple[Source, ...]:
        """The sources of validation rows, files among them."""
        return (*self.validation, *(Source(path=path) for path in self.validation_file))

    @property
    def auxiliary(self) -> bool:
        """Whether the encoder has losses of its own."""
        return self.ctc_weight > 0 or self.class_weight > 0

    @property
    def blend(self) -> MixtureConfig:
        """The mixture with the files of train_file among its sources."""
        return replace(self.mixture, sources=(*self.mixture.sources, *(Source(path=path) for path in self.train_file)))


def train_config(path: Path | str | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Build the settings of a run: the file's values with the flags that were given (not None) laid over them.

    Flags named like settings of the mixture go into its section.
    """
    values = read_yaml(path) if path else {}
    given = {name: value for name, value in flags.items() if value is not None}
    section = plain_sources(values.get(SECTION, {}))
    if isinstance(section, Mapping):
        section = {**section, **{spec.name: given[spec.name] for spec in fields(MixtureConfig) if spec.name in MIXTURE_FLAGS & set(given)}}
    settings = {spec.name: given[spec.name] for spec in fields(TrainConfig) if spec.name in given}
    if "num_train_epochs" in settings:
        settings.setdefault("max_steps", 0)  # which would count, did the file name it
    if "validation" in values:
        settings["validation"] = source_list(values["validation"], "validation")
    return from_mapping(TrainConfig, {**values, **settings, SECTION: section}, str(path or "flags"))


def resumed_config(flags: Mapping[str, Any]) -> TrainConfig:
    """Return the settings that a run was started with, with the flags that were given laid over them.

    Raises:
        ConfigError: no run is there.
    """
    path = Path(flags.get("output_dir") or "runs/mini") / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; name the folder of a run with --output-dir, or begin one with `train`")
    return train_config(path, {**flags, "resume_from_checkpoint": flags.get("resume_from_checkpoint") or "auto"})
