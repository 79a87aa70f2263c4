"""A run from its settings to its last checkpoint; stopped anywhere, it goes on at the same next batch."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType

import torch

from data.batching import prefetch
from finetune.backend import open_backend
from finetune.checkpoint import BEST, LAST, set_aside, write_json
from finetune.config import CONFIG_FILE, TrainConfig
from finetune.devices import Single
from finetune.flops import peak_here
from finetune.loading import Share
from finetune.optimisers import has_bf16_units
from finetune.run import Run, checkpoint, loader, prepare, restate
from finetune.stages import describe
from finetune.steps import StepTaken, TrainingError, learning_rate, take_step
from finetune.watch.curves import FILE, can_draw, draw
from finetune.watch.dev import BEFORE, eval_table, write_answers
from finetune.watch.journal import Journal, read_journal
from finetune.watch.meter import Meter, console_line, duration
from qwen_audio.config import to_mapping
from qwen_audio.errors import ConfigError, QwenAudioError

log = logging.getLogger(__name__)
ANSWERS = "answers"
EMPTY = 100  # batches in a row of which nothing is learned


def train(config: TrainConfig) -> str:
    """Train until max_steps and return a line that says where the weights are.

    A run whose output_dir holds a checkpoint goes on from it, unless resume_from_checkpoint is none.

    Raises:
        SystemExit: SIGTERM, Ctrl-C or SIGHUP came; the run is saved, and the code is 143, 130 or 129.
    """
    with open_backend(config) as backend, stop_signals() as asked:
        return train_on(backend, config, asked)


def train_on(backend: Single, config: TrainConfig, asked: Callable[[], int] = lambda: 0) -> str:
    """Do what train does among ranks that have met already; asked gives the signal that asks this one to stop, or 0."""
    with _held_folder(Path(config.output_dir), backend.rank):
        return _train_there(backend, config, asked)


def _train_there(backend: Single, config: TrainConfig, asked: Callable[[], int]) -> str:
    run = prepare(config, backend)
    if backend.rank == 0:
        if (aside := set_aside(run.folder, run.step)) is not None:
            log.warning("%s: checkpoints past step %d are another run's; they are in %s now", run.folder, run.step, aside)
        write_json(run.folder / CONFIG_FILE, to_mapping(run.given))
    backend.barrier()
    _describe(run)
    with closing(Journal(run.folder if backend.rank == 0 else None, run.step, run.config.report_to)) as journal:
        stopped = _loop(run, journal, asked)
    if stopped:
        where = f"after step {run.step}, which is saved" if run.step else "before a step was taken"
        log.warning("stopped %s: go on with resume --output-dir %s", where, run.folder)
        raise SystemExit(128 + (asked() or signal.SIGTERM))  # as a shell tells it
    return _ending(run)


def _loop(run: Run, journal: Journal, asked: Callable[[], int]) -> bool:
    """Take the steps that are left and return whether the run was asked to stop before the last."""
    config, backend = run.config, run.backend
    peak = peak_here(backend.device, bf16=bool(config.bf16))
    meter = Meter(config.max_steps, None if peak is None else peak * backend.ranks)
    saved, empty = run.step, 0
    if (config.eval_on_start and not run.step and run.dev is not None) or (run.measured < run.step and _measures(run)):
        with meter.paused():
            measure(run, journal, asked)
            restate(run)
    with closing(prefetch(lambda: loader(run).shares(run.data_state))) as made_ahead:
        while run.step < config.max_steps and not run.given_up:
            share, error = _next(made_ahead, run)
            if share is None:
                log.warning("the rows end at step %d of %d, for some of them were lost", run.step, config.max_steps)
                break
            taken = _step(run, share, asked)
            if taken.amounts["failed"]:
                if run.step > saved:
                    checkpoint(run)
                raise error or TrainingError(f"step {run.step + 1}: rows of another process cannot be made; its own message says why")
            run.data_state, stop = share.state, bool(taken.amounts["stop"])
            empty = 0 if taken.losses else empty + 1
            if empty == EMPTY:
                raise TrainingError(
                    f"step {run.step + 1}: {EMPTY} batches in a row hold nothing that stage {config.stage} learns; do the rows have "
                    "answers, and transcripts or classes for ctc_weight and class_weight?"
                )
            if taken.losses:
                meter.add(taken)
                run.step += 1
            last = run.step == config.max_steps
            if taken.losses and (run.step % config.logging_steps == 0 or last):
                figures = meter.take(run.step, learning_rate(config, run.step - 1))
                journal.write(figures, console_line(figures, config.max_steps))
            with meter.paused():
                gained = bool(taken.losses) and not stop and _measures(run) and measure(run, journal, asked)
                due = run.step % config.save_steps == 0 or last or stop or gained or run.given_up
                if due and run.step > saved:
                    checkpoint(run)
                    saved = run.step
            if stop and (not last or (run.dev is not None and run.measured < run.step)):
                return True
    if run.step > saved:  # the rows came to an end
        with meter.paused():
            if run.dev is not None:
                measure(run, journal, asked)
            checkpoint(run)
    return False


def _next(made_ahead: Iterator[Share], run: Run) -> tuple[Share | None, QwenAudioError | None]:
    """Return the next share, None where the rows end; or one that failed, and why: the other ranks must hear of it before it is raised."""
    try:
        return next(made_ahead, None), None
    except QwenAudioError as error:
        return Share([], run.data_state, failed=True), error


def _step(run: Run, share: Share, asked: Callable[[], int]) -> StepTaken:
    """Take one step.

    Raises:
        TrainingError: it cannot be taken, or the device has no room for it.
    """
    try:
        return take_step(run.backend, run.config, share, run.step, tasks=run.tasks, stop=bool(asked()))
    except torch.OutOfMemoryError as error:
        rows = max((len(made.records) for made in share.made if made is not None), default=0)
        raise TrainingError(
            f"step {run.step + 1}: the device has no room for {rows} rows at once; lower --per-device-train-batch-size, take "
            f"--gradient-checkpointing or --deepspeed; `python -m finetune plan` tells what fits ({str(error).splitlines()[0]})"
        ) from error


def _measures(run: Run) -> bool:
    """Tell whether the run is to be measured after its step."""
    every = run.config.eval_steps or run.config.save_steps
    return run.dev is not None and (run.step == run.config.max_steps or run.step % every == 0)


def measure(run: Run, journal: Journal, asked: Callable[[], int]) -> bool:
    """Measure the run by its dev rows, write down what comes of it, and return whether it is the best so far.

    Where a rank is asked to stop meanwhile, nothing comes of it; the run that goes on measures first.

    Raises:
        TrainingError: the device has no room for it.
    """
    assert run.dev is not None
    began = time.monotonic()
    try:
        with run.backend.speaker() as model:
            found = run.dev.measure(model, run.backend, lambda: bool(asked()))
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"step {run.step}: the device has no room to answer {run.config.per_device_eval_batch_size} dev rows at once; lower "
            f"--per-device-eval-batch-size, or measure by the loss alone, --no-predict-with-generate ({str(error).splitlines()[0]})"
        ) from error
    if found is None:
        return False
    (figures, samples), run.measured = found, run.step
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


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Note a SIGTERM, a Ctrl-C or a terminal that closes instead of dying of it; gives a function that returns the signal's number, 0
    while none came.

    A second Ctrl-C is not waited for. What the one who started the program lets it ignore (nohup, a shell's background) stays ignored.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda: 0
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and came:
            raise KeyboardInterrupt
        came.append(number)
        if number == signal.SIGINT:
            log.warning("the step is ended and saved; Ctrl-C once more leaves at once")

    wanted = [number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _held_folder(folder: Path, rank: int) -> Iterator[None]:
    """Make the folder of a run, before minutes are spent on what will be written there, and hold it: one run at a time writes there.

    Raises:
        ConfigError: it cannot be written, or another run holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"output_dir {folder} cannot be written ({error.strerror}); name another folder") from error
    if rank:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        mend = "name another folder, or wait; processes of one run are started by torchrun or deepspeed"
        raise ConfigError(f"output_dir {folder}: another run is writing there; {mend}") from error
    except OSError as error:  # a disk without locks
        log.debug("%s cannot be locked: %s", folder, error)
    try:
        yield
    finally:
        os.close(handle)


def _describe(run: Run) -> None:
    """Say what is trained on what."""
    learner, config = run.learner, run.config
    multiplied = "bfloat16" if config.bf16 else "float32"
    log.info("%s, %d %s, %s", run.backend.device, run.backend.ranks, "process" if run.backend.ranks == 1 else "processes", multiplied)
    if config.bf16 and run.backend.device.type == "cpu" and not has_bf16_units(run.backend.device):
        log.warning("bf16 is on, and this CPU has no units for it: steps take tens of times longer; leave it out, or --no-bf16")
    log.info("stage %s, %d steps\n%s", config.stage, config.max_steps, describe(learner, config))
    if config.warmup_steps >= config.max_steps:
        log.warning("warmup_steps is %d: in %d steps the rate never reaches its peak", config.warmup_steps, config.max_steps)
    if learner.heads is not None:
        log.info("%d classes for the encoder", len(learner.heads.classes))
    for unit, share in zip(run.mixture.units, run.mixture.shares.tolist(), strict=True):
        if share:
            log.info("%7.3f %% %6d records  %s", 100 * share, unit.rows, unit.group)
