"""A run from its settings to its last checkpoint; stopped anywhere, it goes on at the same next batch."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.batches import DataState, start_state
from data.batching import prefetch
from data.mixture import Mixture
from data.run_ledger import RunLedger
from data.sources import open_mixture, some_records
from finetune.adapters import Base, begin
from finetune.auxiliary import Auxiliary, class_table
from finetune.backend import first_rank_first, open_backend
from finetune.checkpoint import inherit, latest, read, read_state, write
from finetune.config import CONFIG_FILE, TrainConfig
from finetune.devices import Single
from finetune.learner import Learner
from finetune.meter import Meter
from finetune.stages import choose, describe, parameter_groups
from finetune.starting import starting_model, starting_tokenizer
from finetune.steps import Loader, count_steps, learning_rate, take_step
from qwen_audio.config import GenerationOptions, to_mapping
from qwen_audio.errors import ConfigError
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
LOG_FILE, LEDGER_FILE = "log.jsonl", "ledger.jsonl"
TERMINATED = 128 + signal.SIGTERM  # exit code, as a shell tells it


@dataclass
class Run:
    """What one run holds: its settings (max_steps counted), what learns, where, its data and its place in them.

    With LoRA, base is the model that the adapters stand beside.
    """

    config: TrainConfig
    backend: Single
    tokenizer: Tokenizer
    learner: Learner
    mixture: Mixture
    data_state: DataState
    ledger: RunLedger
    base: Base | None = None
    step: int = 0


def train(config: TrainConfig) -> str:
    """Train until max_steps and return a line that says where the weights are.

    A run whose output_dir holds a checkpoint goes on from it, unless resume_from_checkpoint is none.

    Raises:
        SystemExit: SIGTERM came; the run is saved and the code is 143.
    """
    with open_backend(config) as backend, until_terminated() as asked:
        return train_on(backend, config, asked)


def train_on(backend: Single, config: TrainConfig, asked: Callable[[], bool] = lambda: False) -> str:
    """Do what train does among ranks that have met already; asked says whether this one is to stop."""
    run = prepare(config, backend)
    config = run.config
    if backend.rank == 0:
        Path(config.output_dir).mkdir(parents=True, exist_ok=True)
        (Path(config.output_dir) / CONFIG_FILE).write_text(json.dumps(to_mapping(config), indent=1), encoding="utf-8")
    backend.barrier()
    _describe(run)
    if _loop(run, asked):
        log.warning("stopped by SIGTERM after step %d, which is saved: go on with resume --output-dir %s", run.step, config.output_dir)
        raise SystemExit(TERMINATED)
    return f"{latest(config.output_dir)}: {run.step} steps"


def _loop(run: Run, asked: Callable[[], bool]) -> bool:
    """Take the steps that are left and return whether the run was asked to stop before the last."""
    config, backend = run.config, run.backend
    meter = Meter(Path(config.output_dir) / LOG_FILE if backend.rank == 0 else None, config.max_steps)
    saved = run.step
    with closing(prefetch(lambda: loader(run).shares(run.data_state))) as made_ahead:
        while run.step < config.max_steps:
            share = next(made_ahead)
            losses, amounts = take_step(backend, config, share, run.step, stop=asked())
            run.data_state = share.state
            if losses:
                meter.add(losses, amounts)
                run.step += 1
            if losses and (run.step % config.logging_steps == 0 or run.step == config.max_steps):
                meter.write(run.step, learning_rate(config, run.step - 1))
            due = run.step % config.save_steps == 0 or run.step == config.max_steps or bool(amounts["stop"])
            if due and run.step > saved:
                checkpoint(run)
                saved = run.step
            if amounts["stop"] and run.step < config.max_steps:
                return True
    return False


def prepare(config: TrainConfig, backend: Single | None = None) -> Run:
    """Open the data, build or load the model, set the optimiser up, and go to the place where the run stopped, if it did.

    Args:
        backend: one process on the CPU by default.
    """
    backend = backend or Single(config, torch.device("cpu"))
    folder = resumed_folder(config)
    named = find_checkpoint(config.model) if config.model and (config.lora_r or folder is None) else None
    source = folder or named
    tokenizer = starting_tokenizer(config, source)
    torch.manual_seed(config.seed)
    model = starting_model(config, named if config.lora_r else source, tokenizer, backend.weights_dtype)
    base = begin(model, config, tokenizer, folder) if config.lora_r else None
    model.pack(config.packing)
    model.encoder.checkpointing = model.decoder.checkpointing = config.gradient_checkpointing
    window = config.mixture.max_tokens or model.config.decoder.window
    with first_rank_first(backend):
        mixture = open_mixture(replace(config.blend, max_tokens=window), tokenizer, seed=config.seed)
    config = replace(config, max_steps=count_steps(config, mixture))
    learner = Learner(model.train(), _heads(config, model.config.encoder.width, mixture, source), config, backend.autocast)
    choose(learner, config)
    backend.take(learner, parameter_groups(learner, config))
    account = f"{backend.rank}-{LEDGER_FILE}" if backend.rank else LEDGER_FILE
    ledger = RunLedger(config.mixture.max_lost, Path(config.output_dir) / account)
    run = Run(config, backend, tokenizer, learner, mixture, start_state(mixture), ledger, base)
    if folder is not None:
        state = read(folder, backend)
        run.step, run.data_state = state["step"], DataState.from_json(state["data"])
        log.info("going on from %s", folder)
    return run


def resumed_folder(config: TrainConfig) -> Path | None:
    """Return the checkpoint that the run goes on from, None where it begins.

    Raises:
        CheckpointError: the folder that is named is no checkpoint of a run.
    """
    if config.resume_from_checkpoint in ("auto", "none"):
        return latest(config.output_dir) if config.resume_from_checkpoint == "auto" else None
    folder = Path(config.resume_from_checkpoint)
    read_state(folder)
    return folder


def _heads(config: TrainConfig, width: int, mixture: Mixture, source: Path | None) -> Auxiliary | None:
    """Build the auxiliary heads, as an earlier stage left them where there is one."""
    if not config.auxiliary:
        return None
    heads = Auxiliary(width, class_table(some_records(mixture)))
    if source is not None:
        inherit(source, heads)
    return heads


def loader(run: Run) -> Loader:
    """Return what makes the run's batches."""
    place = (run.backend.rank, run.backend.ranks)
    return Loader(run.config, run.tokenizer, run.learner.model.config, run.mixture, run.ledger, place)


def checkpoint(run: Run) -> None:
    """Write the run as it stands."""
    heads = run.learner.heads
    state = {
        "step": run.step,
        "data": run.data_state.to_json(),
        "classes": heads.classes if heads is not None else {},
        "config": to_mapping(run.config),
    }
    folder = write(run.config.output_dir, run.backend, state, tokenizer=run.tokenizer, keep=run.config.save_total_limit, base=run.base)
    log.info("saved %s", folder)


@contextmanager
def until_terminated() -> Iterator[Callable[[], bool]]:
    """Note a SIGTERM instead of dying of it; gives a function that says whether one came."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield came.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


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


def _describe(run: Run) -> None:
    """Say what is trained on what."""
    learner = run.learner
    log.info("stage %s, %d steps\n%s", run.config.stage, run.config.max_steps, describe(learner, run.config))
    if learner.heads is not None:
        log.info("%d classes for the encoder", len(learner.heads.classes))
    for unit, share in zip(run.mixture.units, run.mixture.shares.tolist(), strict=True):
        if share:
            log.info("%7.3f %% %6d records  %s", 100 * share, unit.rows, unit.group)
