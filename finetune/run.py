"""A run before and between its steps: data, model and optimiser are made, or taken up from a checkpoint; a checkpoint is written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.groups import family_of_group
from data.mixture.batches import DataState, start_state
from data.mixture.mixture import Mixture
from data.mixture.run_ledger import RunLedger
from data.mixture.sources import open_mixture, some_records
from finetune.adapters import Base, begin
from finetune.auxiliary import Auxiliary, class_table
from finetune.backend import first_rank_first
from finetune.checkpoint import STATE_FILE, inherit, latest, read, read_state, rewrite_state, step_folder, write
from finetune.config import TrainConfig
from finetune.devices import Single, settled
from finetune.learner import Learner
from finetune.loading import Loader
from finetune.stages import choose, hold_in_float32, parameter_groups
from finetune.starting import starting_model, starting_tokenizer
from finetune.steps import Length, run_length
from finetune.watch.best import Best
from finetune.watch.dev import DevPack, open_dev
from qwen_audio.config import to_mapping
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
LEDGER_FILE = "ledger.jsonl"


@dataclass
class Run:
    """What one run holds: its settings (max_steps counted), what learns, where, its data and its place in them.

    given holds the settings with max_steps as it was given, length what came of it. With
    LoRA, base is the model that the adapters stand beside. tasks are those of the mixture, whose losses are told apart; dev is what the
    run is measured by, best its best measurement, and measured the step of the last one.
    """

    config: TrainConfig
    backend: Single
    tokenizer: Tokenizer
    learner: Learner
    mixture: Mixture
    data_state: DataState
    ledger: RunLedger
    tasks: tuple[str, ...]
    given: TrainConfig
    length: Length
    base: Base | None = None
    dev: DevPack | None = None
    best: Best = Best()
    measured: int = 0
    step: int = 0

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.config.output_dir)

    @property
    def given_up(self) -> bool:
        """Whether too many measurements were no better than the best."""
        return 0 < self.config.early_stopping_patience <= self.best.misses


def prepare(config: TrainConfig, backend: Single | None = None) -> Run:
    """Open the data, build or load the model, set the optimiser up, and go to the place where the run stopped, if it did.

    Args:
        backend: one process on the CPU by default.
    """
    backend = backend or Single(settled(config, torch.device("cpu")), torch.device("cpu"))
    config = settled(config, backend.device)
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
        dev = open_dev(config, tokenizer, window)
    given, length = config, run_length(config, mixture, None if folder is None else read_state(folder))
    config = replace(config, max_steps=length.steps)
    learner = Learner(model.train(), _heads(config, model.config.encoder.width, mixture, source), config, backend.autocast)
    choose(learner, config)
    if not config.deepspeed:
        hold_in_float32(learner)
    backend.take(learner, parameter_groups(learner, config))
    account = f"{backend.rank}-{LEDGER_FILE}" if backend.rank else LEDGER_FILE
    ledger = RunLedger(config.mixture.max_lost, Path(config.output_dir) / account)
    run = Run(
        config, backend, tokenizer, learner, mixture, start_state(mixture), ledger, tasks_of(mixture), given, length, base=base, dev=dev
    )
    if folder is not None:
        state = read(folder, backend)
        run.step, run.data_state = state["step"], DataState.from_json(state["data"])
        run.best, run.measured = Best.from_json(state.get("best")), state.get("measured", run.step)
        if run.best.step > 0 and not step_folder(run.folder, run.best.step).is_dir():
            log.warning("the best checkpoint so far, of step %d, is not in %s; the best is sought anew", run.best.step, run.folder)
            run.best = Best()
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


def tasks_of(mixture: Mixture) -> tuple[str, ...]:
    """Name the tasks of a mixture's rows; of conversations it is not known beforehand which have no clip."""
    named = {family_of_group(unit.group) for unit in mixture.units}
    return tuple(sorted(named | ({"text"} if "chat" in named else set())))


def loader(run: Run) -> Loader:
    """Return what makes the run's batches."""
    place = (run.backend.rank, run.backend.ranks)
    return Loader(run.config, run.tokenizer, run.learner.model.config, run.mixture, run.ledger, place, run.length.quotas)


def checkpoint(run: Run) -> None:
    """Write the run as it stands."""
    heads = run.learner.heads
    state = {
        "step": run.step,
        "data": run.data_state.to_json(),
        "classes": heads.classes if heads is not None else {},
        "config": to_mapping(run.given),
        "best": run.best.to_json(),
        "measured": run.measured,
        "length": list(run.length),
    }
    keep = run.config.save_total_limit
    folder = write(run.folder, run.backend, state, tokenizer=run.tokenizer, keep=keep, best_step=run.best.step, base=run.base)
    log.info("saved %s", folder)


def restate(run: Run) -> None:
    """Let the checkpoint of a step say what has been measured since it was written."""
    if run.backend.rank == 0 and (step_folder(run.folder, run.step) / STATE_FILE).is_file():
        rewrite_state(run.folder, run.step, {"best": run.best.to_json(), "measured": run.measured}, run.best.step)
    run.backend.barrier()
