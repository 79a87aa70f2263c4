"""One optimiser step: a global batch cut into micro-batches, its loss a mean over the learned tokens of all of them on all ranks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.batches import BatchPlan, DataState, deal, global_batches, micro_batches
from data.batching import Batch, BatchMaker, TrainingBatch
from data.examples import clip_reader, remembering
from data.mixture import Draw, Mixture
from data.run_ledger import RunLedger
from finetune.auxiliary import Auxiliary
from finetune.config import TrainConfig
from finetune.devices import Single
from finetune.learner import Micro, micro_of
from qwen_audio.config import ModelConfig
from qwen_audio.errors import QwenAudioError
from qwen_audio.model.joint import NOT_LEARNED
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
AMOUNTS = ("learned", "ctc", "class", "rows", "audio_s", "positions", "places", "stop")
COUNTED = 1_000_000  # draws that are laid into batches to count the steps of an epoch; more are judged by these


class TrainingError(QwenAudioError):
    """A run cannot go on; the message says from where it can."""


@dataclass(frozen=True)
class Share:
    """What a rank computes in one step: as many micro-batches as every other rank, None where it has no more rows."""

    made: list[TrainingBatch | None]
    state: DataState


@dataclass(frozen=True)
class Loader:
    """Makes the shares of one rank.

    Attributes:
        config: of the model.
        place: rank, ranks.
    """

    settings: TrainConfig
    tokenizer: Tokenizer
    config: ModelConfig
    mixture: Mixture
    ledger: RunLedger
    place: tuple[int, int] = (0, 1)

    def shares(self, state: DataState) -> Iterator[Share]:
        """Yield this rank's shares from a place in the data on, without end."""
        room = (self.settings.cache_mb << 20) // len(self.mixture.corpora)
        readers = [remembering(clip_reader(corpus.root), room) for corpus in self.mixture.corpora]
        maker = BatchMaker(self.tokenizer, self.config, self.mixture, readers, self.settings.augment, self.settings.seed, self.ledger)
        rank, ranks = self.place
        for behind, draws in global_batches(self.mixture, plan_of(self.settings), state):
            cuts = [cut(draws, self.settings, number, ranks) for number in range(ranks)]
            made = [maker.make(part, behind) for part in cuts[rank]]
            yield Share(made + [None] * (max(map(len, cuts)) - len(made)), behind)


def plan_of(config: TrainConfig) -> BatchPlan:
    """Say how draws become global batches."""
    return BatchPlan(config.batch_tokens, config.batch_rows, config.patience)


def cut(draws: Sequence[Draw], config: TrainConfig, rank: int, ranks: int) -> list[list[Draw]]:
    """Cut a rank's share of a global batch into micro-batches."""
    pieces = config.gradient_accumulation_steps
    whole = sum(draw.tokens for draw in draws) + config.batch_tokens * len(draws)  # more than any share weighs
    budget = -(-config.batch_tokens // (ranks * pieces)) if pieces else whole
    return micro_batches(deal(draws, rank, ranks), budget, config.per_device_train_batch_size or len(draws))


def count_steps(config: TrainConfig, mixture: Mixture) -> int:
    """Count the steps of a run: max_steps, or the global batches of num_train_epochs times as many draws as there are rows."""
    if config.max_steps:
        return config.max_steps
    wanted = max(1.0, config.num_train_epochs * sum(unit.rows for unit, part in zip(mixture.units, mixture.parts, strict=True) if part))
    steps = given = 0
    for state, _ in global_batches(mixture, plan_of(config)):
        steps, given = steps + 1, state.position - len(state.held)
        if given >= min(wanted, COUNTED):
            break
    return steps if given >= wanted else math.ceil(steps * wanted / given)


def learning_rate(config: TrainConfig, done: int) -> float:
    """Return the rate of the step after `done` steps: linear warm-up, then a cosine to the minimum."""
    if done < config.warmup_steps:
        return config.learning_rate * (done + 1) / config.warmup_steps
    share = min(1.0, (done - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps))
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * (1 + math.cos(math.pi * share)) / 2


def take_step(
    backend: Single, config: TrainConfig, share: Share, done: int, *, stop: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """Learn from a global batch and return its losses, means over all ranks, and its amounts (AMOUNTS); no losses where it has no row.

    Args:
        config: with max_steps counted.
        done: steps before this one.
        stop: whether this rank is asked to stop; the amount "stop" counts the ranks that are.
    Raises:
        TrainingError: a loss is not a number, and the weights are as before; or, under DeepSpeed, a gradient is not.
    """
    learner = backend.learner
    micros = [micro_of(made, learner.model.config) for made in share.made]
    amounts = dict(zip(AMOUNTS, backend.sum([*_amounts(micros, share, learner.heads), float(stop)]), strict=True))
    weights = (1.0 if learner.speaks else 0.0, config.ctc_weight, config.class_weight)
    if not any(amounts[name] for weight, name in zip(weights, AMOUNTS, strict=False) if weight):
        return {}, amounts
    per = [weight / max(1.0, amounts[name]) for weight, name in zip(weights, AMOUNTS, strict=False)]
    sums = [0.0, 0.0, 0.0]
    for number, micro in enumerate(micros, 1):
        found = backend.backward(micro, [backend.scale * factor for factor in per], last=number == len(micros))
        sums = [one + other for one, other in zip(sums, found.tolist(), strict=True)]
    totals = backend.sum(sums)
    if not all(map(math.isfinite, totals)):
        backend.forget()
        rows = [record.id for made in share.made if made is not None for record in made.records]
        raise TrainingError(_not_a_number(done, [name for part in backend.gather(rows) for name in part], config))
    norm = backend.update(learning_rate(config, done))
    if not math.isfinite(norm):
        if backend.kind != "whole":  # DeepSpeed has stepped already
            raise TrainingError(f"step {done + 1}: the gradient is not finite; go on from the last checkpoint with a lower --learning-rate")
        log.warning("step %d: the gradient is not finite; the step is left out", done + 1)
    means = {name: total / max(1.0, amounts[of]) for name, total, of in zip(("loss", "ctc", "class"), totals, AMOUNTS, strict=False)}
    return means | {"grad_norm": norm}, amounts


def learned(batch: Batch) -> int:
    """Count the positions whose label is learned, as QwenAudio.loss does."""
    inside = batch.segment[:, 1:] == batch.segment[:, :-1]
    return int(((batch.labels[:, 1:] != NOT_LEARNED) & inside).sum())


def _amounts(micros: Sequence[Micro], share: Share, heads: Auxiliary | None) -> list[float]:
    """Count what this rank's share holds, in the order of AMOUNTS."""
    real = [micro for micro in micros if not micro.idle]
    batches = [made.batch for made in share.made if made is not None]
    clips = [heads.counts(micro.owners) for micro in real] if heads is not None else []
    return [
        float(sum(learned(batch) for batch in batches)),
        float(sum(spoken for spoken, _ in clips)),
        float(sum(named for _, named in clips)),
        float(sum(len(made.records) for made in share.made if made is not None)),
        sum(float(batch.frames.sum()) for batch in batches) / 100,
        float(sum(int((batch.segment > 0).sum()) for batch in batches)),
        float(sum(batch.segment.numel() for batch in batches)),
    ]


def _not_a_number(done: int, rows: Sequence[str], config: TrainConfig) -> str:
    shown = ", ".join(rows[:20]) + (f" and {len(rows) - 20} more" if len(rows) > 20 else "")
    return (
        f"step {done + 1}: the loss is not a number (rows {shown}); nothing of this step is kept and the last checkpoint stays: "
        f"lower --learning-rate ({config.learning_rate:g})"
        + (", try --no-bf16," if config.bf16 else "")
        + " or look at these rows with `python -m data show`"
    )
