"""A run from its settings to its last checkpoint; stopped anywhere, it goes on at the same next batch."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.batching import prefetch
from data.groups import family_of_group
from data.mixture.batches import DataState, start_state
from data.mixture.mixture import Mixture
from data.mixture.run_ledger import RunLedger
from data.mixture.sources import open_mixture, some_records
from finetune.adapters import Base, begin
from finetune.auxiliary import Auxiliary, class_table
from finetune.backend import first_rank_first, open_backend
from finetune.checkpoint import BEST, LAST, inherit, latest, read, read_state, set_aside, write
from finetune.config import CONFIG_FILE, TrainConfig
from finetune.devices import Single, settled
from finetune.flops import peak_here
from finetune.learner import Learner
from finetune.loading import Loader, Share
from finetune.stages import choose, describe, hold_in_float32, parameter_groups
from finetune.starting import starting_model, starting_tokenizer
from finetune.steps import StepTaken, TrainingError, count_steps, learning_rate, take_step
from finetune.watch.best import Best
from finetune.watch.curves import FILE, can_draw, draw
from finetune.watch.dev import BEFORE, DevPack, eval_table, open_dev, write_answers
from finetune.watch.journal import Journal, read_journal
from finetune.watch.meter import Meter, console_line, duration
from qwen_audio.config import GenerationOptions, to_mapping
from qwen_audio.errors import ConfigError
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
LEDGER_FILE, ANSWERS = "ledger.jsonl", "answers"
TERMINATED = 128 + signal.SIGTERM  # exit code, as a shell tells it


@dataclass
class Run:
    """What one run holds: its settings (max_steps counted), what learns, where, its data and its place in them.

    With LoRA, base is the model that the adapters stand beside. tasks are those of the mixture, whose losses are told apart; dev is
    what the run is measured by, and best its best measurement.
    """

    config: TrainConfig
    backend: Single
    tokenizer: Tokenizer
    learner: Learner
    mixture: Mixture
    data_state: DataState
    ledger: RunLedger
    tasks: tuple[str, ...]
    base: Base | None = None
    dev: DevPack | None = None
    best: Best = Best()
    step: int = 0

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.config.output_dir)

    @property
    def given_up(self) -> bool:
        """Whether too many measurements were no better than the best."""
        return 0 < self.config.early_stopping_patience <= self.best.misses


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
    if backend.rank == 0:
        run.folder.mkdir(parents=True, exist_ok=True)
        if (aside := set_aside(run.folder, run.step)) is not None:
            log.warning("%s: checkpoints past step %d are another run's; they are in %s now", run.folder, run.step, aside)
        (run.folder / CONFIG_FILE).write_text(json.dumps(to_mapping(run.config), indent=1), encoding="utf-8")
    backend.barrier()
    _describe(run)
    with closing(Journal(run.folder if backend.rank == 0 else None, run.step, run.config.report_to)) as journal:
        stopped = _loop(run, journal, asked)
    if stopped:
        log.warning("stopped by SIGTERM after step %d, which is saved: go on with resume --output-dir %s", run.step, run.folder)
        raise SystemExit(TERMINATED)
    return _ending(run)


def _loop(run: Run, journal: Journal, asked: Callable[[], bool]) -> bool:
    """Take the steps that are left and return whether the run was asked to stop before the last."""
    config, backend = run.config, run.backend
    peak = peak_here(backend.device, bf16=bool(config.bf16))
    meter = Meter(config.max_steps, None if peak is None else peak * backend.ranks)
    saved = run.step
    if config.eval_on_start and run.step == 0 and run.dev is not None:
        with meter.paused():
            measure(run, journal, asked)
    with closing(prefetch(lambda: loader(run).shares(run.data_state))) as made_ahead:
        while run.step < config.max_steps and not run.given_up:
            share = next(made_ahead)
            taken = _step(run, share, asked)
            run.data_state, stop = share.state, bool(taken.amounts["stop"])
            if taken.losses:
                meter.add(taken)
                run.step += 1
            last = run.step == config.max_steps
            if taken.losses and (run.step % config.logging_steps == 0 or last):
                figures = meter.take(run.step, learning_rate(config, run.step - 1))
                journal.write(figures, console_line(figures, config.max_steps))
            with meter.paused():
                gained = bool(taken.losses) and not stop and _measures(run, last) and measure(run, journal, asked)
                due = run.step % config.save_steps == 0 or last or stop or gained or run.given_up
                if due and run.step > saved:
                    checkpoint(run)
                    saved = run.step
            if stop and not last:
                return True
    return False


def _step(run: Run, share: Share, asked: Callable[[], bool]) -> StepTaken:
    """Take one step.

    Raises:
        TrainingError: it cannot be taken, or the device has no room for it.
    """
    try:
        return take_step(run.backend, run.config, share, run.step, tasks=run.tasks, stop=asked())
    except torch.OutOfMemoryError as error:
        rows = max(len(made.records) for made in share.made if made is not None)
        raise TrainingError(
            f"step {run.step + 1}: the device has no room for {rows} rows at once; lower --per-device-train-batch-size, take "
            f"--gradient-checkpointing or --deepspeed; `python -m finetune plan` tells what fits ({str(error).splitlines()[0]})"
        ) from error


def _measures(run: Run, last: bool) -> bool:
    """Tell whether the run is to be measured after its step."""
    return run.dev is not None and (last or run.step % (run.config.eval_steps or run.config.save_steps) == 0)


def measure(run: Run, journal: Journal, asked: Callable[[], bool]) -> bool:
    """Measure the run by its dev rows, write down what comes of it, and return whether it is the best so far.

    Where a rank is asked to stop meanwhile, nothing comes of it.
    """
    assert run.dev is not None
    began = time.monotonic()
    with run.backend.speaker() as model:
        found = run.dev.measure(model, run.backend, asked)
    if found is None:
        return False
    figures, samples = found
    by = run.config.best_by
    run.best = run.best.after(run.step, figures.get(f"{BEFORE}{by}"), lower=run.dev.names()[by])
    if run.backend.rank == 0 and samples:
        write_answers(run.folder / ANSWERS / f"step-{run.step:07d}.jsonl", samples)
    kept = "the best so far" if run.best.step == run.step else f"the best: {run.best.value} at step {run.best.step}"
    said = f"{by} {figures.get(f'{BEFORE}{by}')} of {len(run.dev.rows)} dev rows, {kept}; {duration(time.monotonic() - began)}"
    journal.write({"step": run.step, **figures}, f"step {run.step}: {said}\n{eval_table(figures)}")
    return run.best.step == run.step


def _ending(run: Run) -> str:
    """Draw the curves of a run that has ended, and say where its weights are; the first rank speaks for all."""
    if run.backend.rank:
        return ""
    lines = [f"{run.folder / LAST}: {run.step} steps"]
    if run.given_up and run.step < run.config.max_steps:
        lines.append(f"ended early: {run.best.misses} measurements were no better than the best (early_stopping_patience)")
    if run.best.step > 0:
        lines.append(f"{run.folder / BEST}: the best by {run.config.best_by}, {run.best.value} at step {run.best.step}")
    elif run.best.step == 0:
        lines.append(f"the best by {run.config.best_by} was before the first step: {run.best.value}; nothing was gained")
    if can_draw() and read_journal(run.folder):
        lines.append(draw([run.folder], run.folder / FILE))
    return "\n".join(lines)


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
    config = replace(config, max_steps=count_steps(config, mixture))
    learner = Learner(model.train(), _heads(config, model.config.encoder.width, mixture, source), config, backend.autocast)
    choose(learner, config)
    if not config.deepspeed:
        hold_in_float32(learner)
    backend.take(learner, parameter_groups(learner, config))
    account = f"{backend.rank}-{LEDGER_FILE}" if backend.rank else LEDGER_FILE
    ledger = RunLedger(config.mixture.max_lost, Path(config.output_dir) / account)
    run = Run(config, backend, tokenizer, learner, mixture, start_state(mixture), ledger, tasks_of(mixture), base, dev)
    if folder is not None:
        state = read(folder, backend)
        run.step, run.data_state = state["step"], DataState.from_json(state["data"])
        run.best = Best.from_json(state.get("best"))
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
    return Loader(run.config, run.tokenizer, run.learner.model.config, run.mixture, run.ledger, place)


def checkpoint(run: Run) -> None:
    """Write the run as it stands."""
    heads = run.learner.heads
    state = {
        "step": run.step,
        "data": run.data_state.to_json(),
        "classes": heads.classes if heads is not None else {},
        "config": to_mapping(run.config),
        "best": run.best.to_json(),
    }
    keep = run.config.save_total_limit
    folder = write(run.folder, run.backend, state, tokenizer=run.tokenizer, keep=keep, best_step=run.best.step, base=run.base)
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


def release(output_dir: Path | str, output: Path | str, *, best: bool = False) -> str:
    """Write a run's newest weights, or its best ones, in bfloat16 with what a reader of them needs; returns a line that says so.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    folder = Path(output_dir) / BEST if best else latest(output_dir)
    if folder is None or not folder.is_dir():
        raise ConfigError(f"{output_dir}: no checkpoint of a run here{' that was measured (--best)' if best else ''} (--output-dir)")
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
