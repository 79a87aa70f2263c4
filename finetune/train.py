"""A run from its settings to its last checkpoint; stopped anywhere, it goes on at the same next batch."""

from __future__ import annotations

import json
import logging
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
from finetune.checkpoint import BEST, LAST, set_aside
from finetune.config import CONFIG_FILE, TrainConfig
from finetune.devices import Single
from finetune.flops import peak_here
from finetune.loading import Share
from finetune.run import Run, checkpoint, loader, prepare
from finetune.stages import describe
from finetune.steps import StepTaken, TrainingError, learning_rate, take_step
from finetune.watch.curves import FILE, can_draw, draw
from finetune.watch.dev import BEFORE, eval_table, write_answers
from finetune.watch.journal import Journal, read_journal
from finetune.watch.meter import Meter, console_line, duration
from qwen_audio.config import to_mapping
from qwen_audio.errors import ConfigError

log = logging.getLogger(__name__)
ANSWERS = "answers"


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
    _make_folder(Path(config.output_dir))
    run = prepare(config, backend)
    if backend.rank == 0:
        if (aside := set_aside(run.folder, run.step)) is not None:
            log.warning("%s: checkpoints past step %d are another run's; they are in %s now", run.folder, run.step, aside)
        (run.folder / CONFIG_FILE).write_text(json.dumps(to_mapping(run.config), indent=1), encoding="utf-8")
    backend.barrier()
    _describe(run)
    with closing(Journal(run.folder if backend.rank == 0 else None, run.step, run.config.report_to)) as journal:
        stopped = _loop(run, journal, asked)
    if stopped:
        log.warning("stopped after step %d, which is saved: go on with resume --output-dir %s", run.step, run.folder)
        raise SystemExit(128 + (asked() or signal.SIGTERM))  # as a shell tells it
    return _ending(run)


def _loop(run: Run, journal: Journal, asked: Callable[[], int]) -> bool:
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


def _step(run: Run, share: Share, asked: Callable[[], int]) -> StepTaken:
    """Take one step.

    Raises:
        TrainingError: it cannot be taken, or the device has no room for it.
    """
    try:
        return take_step(run.backend, run.config, share, run.step, tasks=run.tasks, stop=bool(asked()))
    except torch.OutOfMemoryError as error:
        rows = max(len(made.records) for made in share.made if made is not None)
        raise TrainingError(
            f"step {run.step + 1}: the device has no room for {rows} rows at once; lower --per-device-train-batch-size, take "
            f"--gradient-checkpointing or --deepspeed; `python -m finetune plan` tells what fits ({str(error).splitlines()[0]})"
        ) from error


def _measures(run: Run, last: bool) -> bool:
    """Tell whether the run is to be measured after its step."""
    return run.dev is not None and (last or run.step % (run.config.eval_steps or run.config.save_steps) == 0)


def measure(run: Run, journal: Journal, asked: Callable[[], int]) -> bool:
    """Measure the run by its dev rows, write down what comes of it, and return whether it is the best so far.

    Where a rank is asked to stop meanwhile, nothing comes of it.
    """
    assert run.dev is not None
    began = time.monotonic()
    with run.backend.speaker() as model:
        found = run.dev.measure(model, run.backend, lambda: bool(asked()))
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


def _make_folder(folder: Path) -> None:
    """Make the folder of a run, before minutes are spent on what will be written there.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"output_dir {folder} cannot be written ({error.strerror}); name another folder") from error


def _describe(run: Run) -> None:
    """Say what is trained on what."""
    learner = run.learner
    log.info("stage %s, %d steps\n%s", run.config.stage, run.config.max_steps, describe(learner, run.config))
    if run.config.warmup_steps >= run.config.max_steps:
        log.warning("warmup_steps is %d: in %d steps the rate never reaches its peak", run.config.warmup_steps, run.config.max_steps)
    if learner.heads is not None:
        log.info("%d classes for the encoder", len(learner.heads.classes))
    for unit, share in zip(run.mixture.units, run.mixture.shares.tolist(), strict=True):
        if share:
            log.info("%7.3f %% %6d records  %s", 100 * share, unit.rows, unit.group)
