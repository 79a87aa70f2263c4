"""One loop on one device: batches in, checkpoints and a log out; stopped anywhere, it goes on at the same next batch."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from data.batches import BatchPlan, DataState, deal, global_batches, start_state
from data.batching import BatchMaker, TrainingBatch, prefetch
from data.examples import clip_reader, remembering
from data.mixture import Mixture
from data.run_ledger import RunLedger
from data.sources import open_mixture, some_records
from finetune.auxiliary import Auxiliary, class_table
from finetune.checkpoint import inherit, latest, read, write
from finetune.config import TrainConfig
from qwen_audio.config import GenerationOptions, ModelConfig, to_mapping
from qwen_audio.errors import ConfigError
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import CustomTags, as_tag, names_by_kind

log = logging.getLogger(__name__)
LOG_FILE, LEDGER_FILE = "log.jsonl", "ledger.jsonl"


@dataclass
class Run:
    """What one run holds: its settings, model, heads, optimiser and place."""

    config: TrainConfig
    tokenizer: Tokenizer
    model: QwenAudio
    heads: Auxiliary
    optimisers: list[Optimizer]
    mixture: Mixture
    data_state: DataState
    ledger: RunLedger
    step: int = 0


def train(config: TrainConfig, *, fresh: bool = False) -> str:
    """Train until max_steps and return a line that says where the weights are.

    A run whose output_dir holds a checkpoint goes on from it, unless fresh is asked.
    """
    run = prepare(config)
    folder = latest(config.output_dir)
    if folder is not None and not fresh:
        state = read(folder, run.model, run.heads, run.optimisers)
        run.step, run.data_state = state["step"], DataState.from_json(state["data"])
        log.info("going on from %s", folder)
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)
    (Path(config.output_dir) / "config.json").write_text(json.dumps(to_mapping(config), indent=1), encoding="utf-8")
    _describe(run)
    meter = Meter(Path(config.output_dir) / LOG_FILE, config.max_steps)
    with closing(prefetch(lambda: batches(run))) as made_ahead:
        while run.step < config.max_steps:
            made = next(made_ahead)
            meter.add(made, step(run, made))
            if run.step % config.logging_steps == 0 or run.step == config.max_steps:
                meter.write(run.step, run.optimisers[0].param_groups[0]["lr"])
            if run.step % config.save_steps == 0 or run.step == config.max_steps:
                checkpoint(run)
    return f"{latest(config.output_dir)}: {run.step} steps"


def prepare(config: TrainConfig) -> Run:
    """Open the data, build or load the model, and set the optimiser up."""
    tokenizer = Tokenizer.from_tiktoken(config.ranks, custom=custom_tags(config))
    window = config.mixture.max_tokens or config.decoder.window
    mixture = open_mixture(replace(config.mixture, max_tokens=window), tokenizer, seed=config.seed)
    torch.manual_seed(config.seed)
    if config.init_from:
        model = load_checkpoint(config.init_from, dtype=torch.float32).model
        if model.config != model_config(config, tokenizer):
            raise ConfigError(f"init_from: the model in {config.init_from} is not the one that this config describes")
    else:
        model = QwenAudio(model_config(config, tokenizer))
    heads = Auxiliary(config.encoder.width, class_table(some_records(mixture)))
    if config.init_from:
        inherit(Path(config.init_from), heads)
    ledger = RunLedger(config.mixture.max_lost, Path(config.output_dir) / LEDGER_FILE)
    return Run(config, tokenizer, model.train(), heads, make_optimisers(config, model, heads), mixture, start_state(mixture), ledger)


def custom_tags(config: TrainConfig) -> CustomTags:
    """Return the tags of the starting checkpoint, each on its slot, and behind them the new ones that the settings name."""
    kept = Tokenizer.from_directory(config.init_from).custom if config.init_from else CustomTags()
    return kept.extend(name for name in names_by_kind(config.custom_tags) if as_tag(name) not in kept)


def model_config(config: TrainConfig, tokenizer: Tokenizer) -> ModelConfig:
    """Describe the model: the settings' widths, the tokenizer's vocabulary."""
    return ModelConfig(
        encoder=config.encoder,
        decoder=replace(config.decoder, vocab_size=tokenizer.vocab_size),
        audio_start_id=tokenizer.audio_start,
        audio_pad_id=tokenizer.audio_pad,
        audio_end_id=tokenizer.audio_end,
    )


def make_optimisers(config: TrainConfig, model: nn.Module, heads: nn.Module) -> list[Optimizer]:
    """Build the optimisers: Muon for the matrices of the blocks where the settings ask for it, AdamW for the rest.

    Weight decay lies on matrices alone, never on embeddings, norms and biases. Source of Muon with AdamW's step size:
    arXiv:2502.16982.
    """
    named = [*model.named_parameters(), *heads.named_parameters()]
    turned = {name for name, p in named if config.optim == "muon" and p.ndim == 2 and ".blocks." in name}
    decayed = {name for name, p in named if p.ndim >= 2 and "embedding" not in name and "audio_bounds" not in name} - turned
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": config.weight_decay},
        {"params": [p for name, p in named if name not in decayed | turned], "weight_decay": 0.0},
    ]
    optimisers: list[Optimizer] = [AdamW(groups, lr=config.learning_rate, betas=(0.9, config.adam_beta2), eps=1e-6, fused=True)]
    if turned:
        matrices = [p for name, p in named if name in turned]
        optimisers.append(Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return optimisers


def batches(run: Run) -> Iterator[TrainingBatch]:
    """Yield batches from the run's place on, without end; one whose rows are all lost is passed over."""
    config, mixture = run.config, run.mixture
    room = (config.cache_mb << 20) // len(mixture.corpora)
    readers = [remembering(clip_reader(corpus.root), room) for corpus in mixture.corpora]
    maker = BatchMaker(run.tokenizer, run.model.config, mixture, readers, config.augment, config.seed, run.ledger)
    plan = BatchPlan(config.budget_tokens, config.max_rows, config.patience)
    for state, draws in global_batches(mixture, plan, run.data_state):
        made = maker.make(deal(draws, 0, 1), state)
        if made is not None:
            yield made


def learning_rate(config: TrainConfig, done: int) -> float:
    """Return the rate of the step after `done` steps: linear warm-up, then a cosine to the minimum."""
    if done < config.warmup_steps:
        return config.learning_rate * (done + 1) / config.warmup_steps
    share = min(1.0, (done - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps))
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * (1 + math.cos(math.pi * share)) / 2


def step(run: Run, made: TrainingBatch) -> dict[str, float]:
    """Take one optimiser step and return the losses."""
    config = run.config
    groups = [settings for optimiser in run.optimisers for settings in optimiser.param_groups]
    for settings in groups:
        settings["lr"] = learning_rate(config, run.step)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bf16):
        language, ctc, classified = forward(run, made)
    loss = language + config.ctc_weight * ctc + config.class_weight * classified
    loss.backward()
    parameters = [p for settings in groups for p in settings["params"] if p.grad is not None]
    norm = float(nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
    if not math.isfinite(norm):
        log.warning("step %d: the gradient is not finite; the step is left out", run.step)
    else:
        for optimiser in run.optimisers:
            optimiser.step()
    for parameter in parameters:
        parameter.grad = None
    run.step, run.data_state = run.step + 1, made.state
    return {"loss": language.item(), "ctc": ctc.item(), "class": classified.item(), "grad_norm": norm}


def forward(run: Run, made: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the language loss, the CTC loss and the classification loss of a batch."""
    batch, model = made.batch, run.model
    audio: Sequence[Tensor] = ()
    ctc = classified = torch.zeros(())
    if len(batch.frames):
        states, lengths = model.encoder.states(batch.mels, batch.frames)
        owners = [made.records[row] if made.records[row].prefix is not None else None for row in batch.places[:, 0].tolist()]
        ctc, classified = run.heads(states, lengths, owners)
        if run.config.stage == "joint":
            audio = model.bound(*model.encoder.project(states, lengths))
    if run.config.stage == "encoder":
        return torch.zeros(()), ctc, classified
    output = model(batch.token_ids, audio=audio, places=batch.places, segment=batch.segment, positions=batch.positions, labels=batch.labels)
    assert output.loss is not None
    return output.loss, ctc, classified


def checkpoint(run: Run) -> None:
    """Write the run as it stands."""
    state = {"step": run.step, "data": run.data_state.to_json(), "classes": run.heads.classes, "config": to_mapping(run.config)}
    folder = write(
        run.config.output_dir,
        run.model,
        run.heads,
        run.optimisers,
        state,
        tokenizer=run.tokenizer,
        keep=run.config.save_total_limit,
    )
    log.info("saved %s", folder)


def release(output_dir: Path | str, output: Path | str) -> str:
    """Write a run's newest weights in bfloat16 with what a reader of them needs; returns a line that says so.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    folder = latest(output_dir)
    if folder is None:
        raise ConfigError(f"{output_dir}: no checkpoint of a run here (--output-dir)")
    loaded = load_checkpoint(folder, dtype=torch.float32)
    tokenizer = Tokenizer.from_directory(folder)
    Path(output).mkdir(parents=True, exist_ok=True)
    save(
        loaded.model,
        output,
        generation=GenerationOptions(greedy=True, max_new_tokens=256),
        custom_tags=tokenizer.custom.to_mapping(),
        ranks_sha256=tokenizer.ranks_sha256,
        dtype=torch.bfloat16,
    )
    tokenizer.write_tiktoken(Path(output) / "ranks.tiktoken")
    numbers = sum(p.numel() for p in loaded.model.parameters())
    return f"{output}: {numbers / 1e6:.2f} M parameters in bfloat16 from {folder}"


class Meter:
    """Gathers what a step says and writes a line of JSON with the means; the console gets the same line."""

    def __init__(self, path: Path, max_steps: int) -> None:
        self.path, self.max_steps = path, max_steps
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.steps, self.started = 0, time.monotonic()

    def add(self, made: TrainingBatch, losses: Mapping[str, float]) -> None:
        """Count one step."""
        self.steps += 1
        for name, value in losses.items():
            self.sums[name] += value
        self.sums["audio_s"] += float(made.batch.frames.sum()) / 100
        self.sums["rows"] += len(made.records)
        self.sums["padding"] += 1 - float((made.batch.segment > 0).float().mean())

    def write(self, step_number: int, rate: float) -> None:
        """Write the means since the last line and begin again."""
        seconds = time.monotonic() - self.started
        means = {name: round(value / self.steps, 4) for name, value in self.sums.items() if name not in ("audio_s", "rows")}
        line: dict[str, Any] = {"step": step_number, **means, "lr": round(rate, 7)}
        line |= {"audio_s_per_s": round(self.sums["audio_s"] / seconds, 1), "rows_per_s": round(self.sums["rows"] / seconds, 1)}
        left = (self.max_steps - step_number) * seconds / self.steps
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + os.linesep)
        log.info("%s left %d min", " ".join(f"{name} {value}" for name, value in line.items()), left / 60)
        self.sums.clear()
        self.steps, self.started = 0, time.monotonic()


def _describe(run: Run) -> None:
    """Say what is trained on what."""
    parameters = sum(p.numel() for p in run.model.parameters())
    log.info("%.2f M parameters, %d classes for the encoder", parameters / 1e6, len(run.heads.classes))
    mixture = run.mixture
    for unit, share in zip(mixture.units, mixture.shares.tolist(), strict=True):
        if share:
            log.info("%7.3f %% %6d records  %s", 100 * share, unit.rows, unit.group)
