"""One optimiser step: a global batch cut into micro-batches, its loss a mean over the learned tokens of all of them on all ranks."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data.batching import Batch
from data.groups import task_of
from data.manifest import Record
from data.mixture.batches import DataState, global_batches
from data.mixture.mixture import Mixture
from finetune.config import TrainConfig
from finetune.devices import Single
from finetune.flops import shape_of
from finetune.learner import Micro, micro_of
from finetune.loading import Share, plan_of
from qwen_audio.errors import QwenAudioError
from qwen_audio.model.joint import learned_places

log = logging.getLogger(__name__)
AMOUNTS = ("learned", "ctc", "class", "rows", "audio_s", "positions", "real", "computed", "flops", "stop", "failed")
"""What a step holds: learned positions; clips with a CTC loss, and with a class; rows, seconds of audio, positions of the decoder;
positions of encoder and decoder together (40 ms each), real ones and those computed; useful operations; ranks asked to stop; ranks whose
rows cannot be made."""
COUNTED = 1_000_000  # draws that are laid into batches to count the steps of an epoch; more are judged by these


class TrainingError(QwenAudioError):
    """A run cannot go on; the message says from where it can."""


class StepTaken(NamedTuple):
    """What a step gave.

    Attributes:
        losses: means over the global batch, and the gradient's norm; empty where nothing in the batch is learned.
        amounts: of the global batch, AMOUNTS.
        tasks: task -> sum of its losses, its learned positions.
    """

    losses: dict[str, float]
    amounts: dict[str, float]
    tasks: dict[str, tuple[float, float]]


def quotas_of(config: TrainConfig, mixture: Mixture) -> list[int] | None:
    """Count the draws of each unit in a run that is told in epochs; None where max_steps tells, or where they are too many to count."""
    draws = _draws(config, mixture)
    return None if config.max_steps or draws > COUNTED else mixture.quotas(draws)


def _draws(config: TrainConfig, mixture: Mixture) -> int:
    rows = sum(unit.rows for unit, part in zip(mixture.units, mixture.parts, strict=True) if part)
    return max(1, round(config.num_train_epochs * rows))


def count_steps(config: TrainConfig, mixture: Mixture) -> int:
    """Count the steps of a run: max_steps, or the global batches of num_train_epochs times as many draws as there are rows.

    Each unit has its share of the draws, and all of them are given out: in an epoch of a mixture by sizes every row once.
    """
    if config.max_steps:
        return config.max_steps
    draws = _draws(config, mixture)
    if (quotas := quotas_of(config, mixture)) is not None:
        return sum(1 for _ in global_batches(mixture, plan_of(config), quotas=quotas))
    steps, given = next(
        (steps, given)
        for steps, (state, _) in enumerate(global_batches(mixture, plan_of(config)), 1)
        if (given := state.position - len(state.held)) >= COUNTED
    )
    return math.ceil(steps * draws / given)


def learning_rate(config: TrainConfig, done: int) -> float:
    """Return the rate of the step after `done` steps: linear warm-up, then down to the minimum as the schedule says."""
    if done < config.warmup_steps:
        return config.learning_rate * (done + 1) / config.warmup_steps
    share = min(1.0, (done - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps))
    left = {"cosine": (1 + math.cos(math.pi * share)) / 2, "linear": 1 - share, "constant": 1.0}[config.lr_scheduler_type]
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * left


class Length(NamedTuple):
    """How long a run is.

    Attributes:
        steps: of the whole run.
        quotas: of each unit of the mixture, its draws, where the run is told in epochs and they can be counted.
        by: what the steps were counted by; a run that goes on by the same is as long as it was.
    """

    steps: int
    quotas: list[int] | None = None
    by: list[Any] | None = None


def run_length(config: TrainConfig, mixture: Mixture, before: Mapping[str, Any] | None = None) -> Length:
    """Tell how long a run is.

    Args:
        before: the state in the checkpoint that it goes on from. Where it was told other epochs or batches than now, what is left is
            counted from its place on: each unit still gives what is missing from its new quota.
    """
    quotas = quotas_of(config, mixture)
    if quotas is None:
        return Length(count_steps(config, mixture))
    by = [quotas, config.batch_tokens, config.batch_rows, config.patience]
    old = Length(*before["length"]) if before and "length" in before else None
    if old is not None and old.by == by:
        return old
    if before is None:
        return Length(count_steps(config, mixture), quotas, by)
    place = DataState.from_json(before["data"])
    if old is not None and old.quotas is not None and len(old.quotas) == len(quotas):
        left_out = [max(0, seen - given) for seen, given in zip(mixture.seen(place.position), old.quotas, strict=True)]
        quotas = [quota + more for quota, more in zip(quotas, left_out, strict=True)]
    left = sum(1 for _ in global_batches(mixture, plan_of(config), place, quotas=quotas))
    return Length(before["step"] + left, quotas, by)


def take_step(backend: Single, config: TrainConfig, share: Share, done: int, *, tasks: Sequence[str] = (), stop: bool = False) -> StepTaken:
    """Learn from a global batch.

    Args:
        config: with max_steps counted.
        done: steps before this one.
        tasks: whose losses are told apart, the same at every rank.
        stop: whether this rank is asked to stop; the amount "stop" counts the ranks that are.
    Raises:
        TrainingError: a loss is not a number, and the weights are as before; or, under DeepSpeed, a gradient is not.
    """
    learner = backend.learner
    micros = [micro_of(made, learner.model.config) for made in share.made]
    amounts = dict(zip(AMOUNTS, backend.sum([*_amounts(micros, share, backend), float(stop), float(share.failed)]), strict=True))
    if amounts["failed"]:
        return StepTaken({}, amounts, {})
    weights = (1.0 if learner.speaks else 0.0, config.ctc_weight, config.class_weight)
    if not any(amounts[name] for weight, name in zip(weights, AMOUNTS, strict=False) if weight):
        return StepTaken({}, amounts, {})
    per = [weight / max(1.0, amounts[name]) for weight, name in zip(weights, AMOUNTS, strict=False)]
    sums = torch.zeros(3 + 2 * len(tasks), dtype=torch.float64)
    for number, (micro, made) in enumerate(zip(micros, share.made, strict=True), 1):
        found, each = backend.backward(micro, [backend.scale * factor for factor in per], last=number == len(micros))
        sums[:3] += found.cpu()
        if made is not None and tasks and len(each):
            sums[3:] += sums_by_task(made.batch, made.records, each.cpu(), tasks).flatten()
    told = backend.sum(sums.tolist())
    totals, by_task = told[:3], told[3:]
    if not all(map(math.isfinite, totals)):
        backend.forget()
        rows = [record.id for made in share.made if made is not None for record in made.records]
        raise TrainingError(_not_a_number(done, [name for part in backend.gather(rows) for name in part], config))
    norm = backend.update(learning_rate(config, done))
    if not math.isfinite(norm):
        if not backend.left_out:
            raise TrainingError(f"step {done + 1}: the gradient is not finite; go on from the last checkpoint with a lower --learning-rate")
        log.warning("step %d: the gradient is not finite; the step is left out", done + 1)
    named = zip(("loss", "ctc", "class"), weights, totals, AMOUNTS, strict=False)
    means = {name: total / max(1.0, amounts[of]) for name, weight, total, of in named if weight}
    of_task = {task: (by_task[place], by_task[len(tasks) + place]) for place, task in enumerate(tasks)}
    return StepTaken(means | {"grad_norm": norm}, amounts, of_task)


def sums_by_task(batch: Batch, records: Sequence[Record], each: Tensor, tasks: Sequence[str]) -> Tensor:
    """Sum the losses of learned positions up by their row's task, and count them: (2, n_tasks) float64, sums and counts.

    Args:
        records: of the batch's rows.
        each: (n,) the losses, row by row, as QwenAudio.token_losses gives them.
    """
    number = {task: place for place, task in enumerate(tasks)}
    of_row = torch.tensor([number[task_of(record)] for record in records])
    places = of_row[learned_places(batch.labels, batch.segment).nonzero()[:, 0]]
    found = torch.zeros(2, len(tasks), dtype=torch.float64)
    found[0].index_add_(0, places, each.double())
    found[1].index_add_(0, places, torch.ones_like(each, dtype=torch.float64))
    return found


def _amounts(micros: Sequence[Micro], share: Share, backend: Single) -> list[float]:
    """Count what this rank's share holds and takes, in the order of AMOUNTS."""
    learner, heads = backend.learner, backend.learner.heads
    real = [micro for micro in micros if not micro.idle]
    batches = [made.batch for made in share.made if made is not None]
    clips = [heads.counts(micro.owners) for micro in real] if heads is not None else []
    shapes = [shape_of(batch, packed=learner.model.packed, speaks=learner.speaks) for batch in batches]
    return [
        float(sum(batch.learned for batch in batches)),
        float(sum(spoken for spoken, _ in clips)),
        float(sum(named for _, named in clips)),
        float(sum(len(made.records) for made in share.made if made is not None)),
        sum(float(batch.frames.sum()) for batch in batches) / 100,
        float(sum(int((batch.segment > 0).sum()) for batch in batches)),
        sum(shape_of(batch, packed=True, speaks=learner.speaks).positions for batch in batches),
        sum(shape.positions for shape in shapes),
        sum(backend.cost.step(shape).useful for shape in shapes),
    ]


def _not_a_number(done: int, rows: Sequence[str], config: TrainConfig) -> str:
    shown = ", ".join(rows[:20]) + (f" and {len(rows) - 20} more" if len(rows) > 20 else "")
    return (
        f"step {done + 1}: the loss is not a number (rows {shown}); nothing of this step is kept and the last checkpoint stays: "
        f"lower --learning-rate ({config.learning_rate:g})"
        + (", try --no-bf16," if config.bf16 else "")
        + " or look at these rows with `python -m data show`"
    )
