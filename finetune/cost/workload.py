"""What the steps of a run hold: taken from its rows where they are on this machine, else from what is assumed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from data.admission import count_tokens
from data.manifest import Record
from data.mixture.batches import global_batches
from data.mixture.mixture import Draw, Mixture
from data.mixture.sources import open_mixture
from finetune.config import TrainConfig
from finetune.cost.plan_config import PlanOptions
from finetune.flops import StepShape
from finetune.loading import cut, plan_of
from finetune.steps import count_steps
from qwen_audio.audio import WINDOW_S
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer

CLIP_S, TEXT_TOKENS, LEARNED_TOKENS = 10.0, 50, 25  # of a sample, where nothing is known
SAMPLED_STEPS, SAMPLED_ROWS = 200, 200
FRAMES_PER_S, POSITIONS_PER_S, BOUNDS = 100, 25, 2


@dataclass(frozen=True, slots=True)
class Workload:
    """Steps as they will be.

    Attributes:
        shapes: the micro-batches of n_steps steps, of all ranks.
        largest: the one that takes the most memory.
        rows, audio_s: of a step, on the average; turns: micro-batches that a rank computes in a step, at most.
        steps: of the whole run; 0 where that is not known.
        source: what all this is known from.
    """

    shapes: tuple[StepShape, ...]
    n_steps: int
    largest: StepShape
    rows: float
    audio_s: float
    turns: int
    steps: int
    source: str


def find_workload(config: TrainConfig, options: PlanOptions, tokenizer: Tokenizer | None, window: int) -> Workload:
    """Look at the first steps of a run's rows, or assume like samples where rows are not here or lengths were given.

    Args:
        tokenizer: counts positions; without it they are estimated.
        window: of the model, in positions.
    """
    if (options.clip_s, options.text_tokens, options.learned_tokens) != (None, None, None):
        return assumed(config, options, "as the flags say")
    blend = config.blend
    try:
        mixture = open_mixture(replace(blend, max_tokens=blend.max_tokens or window), tokenizer, seed=config.seed)
    except (ConfigError, DataError) as error:
        return assumed(config, options, f"assumed, for the rows cannot be looked at: {error}")
    return of_rows(config, options, mixture, tokenizer)


def of_rows(config: TrainConfig, options: PlanOptions, mixture: Mixture, tokenizer: Tokenizer | None) -> Workload:
    """Lay the first steps of a run out as training would."""
    steps = [draws for _, draws in islice(global_batches(mixture, plan_of(config)), min(SAMPLED_STEPS, config.max_steps or SAMPLED_STEPS))]
    learned, estimated = _learned_a_row(mixture, tokenizer), "" if tokenizer is not None else ", their texts' tokens estimated"
    cuts = [[cut(draws, config, rank, options.ranks) for rank in range(options.ranks)] for draws in steps]
    shapes = tuple(_shape(part, learned, config) for ranks in cuts for parts in ranks for part in parts)
    return Workload(
        shapes=shapes,
        n_steps=len(steps),
        largest=max(shapes, key=lambda shape: shape.positions),
        rows=fmean(len(draws) for draws in steps),
        audio_s=fmean(sum(draw.seconds for draw in draws) for draws in steps),
        turns=max(len(parts) for ranks in cuts for parts in ranks),
        steps=count_steps(config, mixture),
        source=f"the first {len(steps)} steps of the rows themselves{estimated}",
    )


def _learned_a_row(mixture: Mixture, tokenizer: Tokenizer | None) -> float:
    """Count the learned positions of a row, on the average of some."""
    if tokenizer is None:
        return LEARNED_TOKENS
    records = [mixture.record(draw) for draw in islice(mixture.draws(), SAMPLED_ROWS)]
    return fmean(count_tokens(record, tokenizer).learned for record in records if isinstance(record, Record))


def _shape(part: Sequence[Draw], learned: float, config: TrainConfig) -> StepShape:
    """Tell what a micro-batch makes a device compute; where it is padded, each row is as long as the longest."""
    seconds = [piece for draw in part for piece in _clips_s(draw.seconds)]
    tokens = [draw.tokens for draw in part]
    if not config.packing:
        seconds, tokens = [max(seconds, default=0.0)] * len(seconds), [max(tokens)] * len(tokens)
    clips = [round(piece * FRAMES_PER_S) for piece in seconds]
    return StepShape((), clips, 0) if config.stage == "encoder" else StepShape(tokens, clips, round(learned * len(part)))


def _clips_s(seconds: float) -> list[float]:
    """Take a row's seconds of audio for one clip, or as many as they need."""
    whole, rest = divmod(seconds, WINDOW_S)
    return [WINDOW_S] * int(whole) + ([rest] if rest else [])


def assumed(config: TrainConfig, options: PlanOptions, source: str = "assumed") -> Workload:
    """Lay a global batch of like samples out: its rows, a rank's micro-batch, and how many of them make a step."""
    clip_s = options.clip_s if options.clip_s is not None else CLIP_S
    text = options.text_tokens if options.text_tokens is not None else TEXT_TOKENS
    learned = options.learned_tokens if options.learned_tokens is not None else LEARNED_TOKENS
    length = int(clip_s * POSITIONS_PER_S) + BOUNDS + text
    rows = max(1, min(config.batch_rows, config.batch_tokens // length))
    mine = -(-rows // options.ranks)
    at_once = config.per_device_train_batch_size or mine
    if config.gradient_accumulation_steps:
        at_once = min(at_once, config.batch_tokens // (options.ranks * config.gradient_accumulation_steps * length))
    at_once = max(1, min(at_once, mine))

    def shape(count: int) -> StepShape:
        samples, labels = ((), 0) if config.stage == "encoder" else ([length] * count, count * learned)
        return StepShape(samples, [int(clip_s * FRAMES_PER_S)] * count, labels)

    said = f"samples of {clip_s:g} s and {text} tokens, {learned} of them learned ({source})"
    return Workload((shape(rows),), 1, shape(at_once), rows, rows * clip_s, -(-mine // at_once), config.max_steps, said)
