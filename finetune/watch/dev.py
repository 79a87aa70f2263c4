"""Dev rows: a fixed pack that a run is measured by as it learns, by the loss and by answers that are scored as `eval` scores them."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from data.batching import collate
from data.examples import ReadClip, build_prompt, clip_reader, most_tokens, remembering
from data.groups import task_of
from data.index.corpus import Corpus, check_lost
from data.manifest import Record
from data.mixture.sources import open_source
from data.tables import table
from eval.metrics.captions import Meteor, Spice, Spider
from eval.metrics.registry import metrics_for
from eval.metrics.sample import Metric, NotComputed, Sample, sample_of
from finetune.config import TrainConfig
from finetune.devices import Single
from finetune.learner import moved
from finetune.steps import sums_by_task
from qwen_audio.config import GenerationOptions
from qwen_audio.engine import Engine
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.model.joint import QwenAudio
from qwen_audio.prompt import Prompt
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
BEFORE: Final = "eval/"  # before every figure of dev rows
NEEDS_JAVA: Final = (Meteor, Spice, Spider)  # half a minute each time: for `python -m eval`
HALF_MS: Final = 100.0  # an error of so many milliseconds is half as good as none
CACHE_MB: Final = 512


@dataclass(frozen=True, slots=True)
class DevRow:
    """One row, and what reads its clips."""

    record: Record
    read: ReadClip
    tokens: int


class DevPack:
    """The rows, always the same for the same settings and files, whatever the number of ranks.

    Args:
        rows: with different ids.
    """

    def __init__(self, rows: Sequence[DevRow], config: TrainConfig, tokenizer: Tokenizer) -> None:
        self.rows = sorted(rows, key=lambda row: (-row.tokens, row.record.id))  # neighbours are of like length
        self.config, self.tokenizer = config, tokenizer
        self.tasks = tuple(sorted({task_of(row.record) for row in rows}))

    def names(self) -> dict[str, bool]:
        """Name the figures that a run can be judged by -> whether lower is better."""
        parts = _parts([sample_of(row.record, "") for row in self.rows]) if self.config.predict_with_generate else {}
        named = {f"{part}/{metric.name}": metric.better == "lower" for part, of in parts.items() for metric in _metrics(of[0])}
        return {"loss": True, **({"score": False} if parts else {}), **named}

    def measure(self, model: QwenAudio, backend: Single, asked: Callable[[], bool]) -> tuple[dict[str, Any], list[Sample]] | None:
        """Measure a model; every rank takes its part of the rows and all get the same figures.

        Args:
            model: whole at every rank.
            asked: whether this rank is asked to stop: then nothing comes of it.
        Returns:
            eval/loss, eval/loss/TASK: means over learned positions; eval/TASK/METRIC; eval/score; eval/rows_failed, where there are any;
            and the answers. None where a rank was asked to stop.
        """
        mine = self.rows[backend.rank :: backend.ranks]
        sums = backend.sum(self._losses(model, mine, backend.autocast).flatten().tolist())
        answers = self._answers(model, mine, asked) if self.config.predict_with_generate else []
        samples = [sample for part in backend.gather(answers) for sample in part]
        if any(backend.gather(asked())):
            return None
        figures = {f"{BEFORE}{name}": value for name, value in _mean_losses(sums, self.tasks).items()}
        if samples:
            figures |= {f"{BEFORE}{name}": value for name, value in backend.gather(scored(samples) if not backend.rank else {})[0].items()}
        return figures, samples

    def _losses(self, model: QwenAudio, rows: Sequence[DevRow], autocast: torch.dtype | None) -> torch.Tensor:
        """Sum the loss of every learned position up by task, (2, n_tasks), computed as in training but for what is drawn by chance."""
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        found, device = torch.zeros(2, len(self.tasks), dtype=torch.float64), model.device
        for first in range(0, len(rows), self.config.per_device_eval_batch_size):
            some = [(row, prompt) for row in rows[first:][: self.config.per_device_eval_batch_size] if (prompt := self._prompt(row, True))]
            if not some:
                continue
            batch = collate([prompt for _, prompt in some], model.config, self.tokenizer.end_of_text)
            on = moved(batch, device)
            with torch.no_grad(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                hidden, segment, labels = model.read(
                    on.token_ids, mels=on.mels, frames=on.frames, places=on.places, segment=on.segment, positions=on.positions,
                    labels=on.labels,
                )  # fmt: skip
                assert labels is not None
                each = model.token_losses(hidden, labels, segment)
            found += sums_by_task(batch, [row.record for row, _ in some], each.cpu(), self.tasks)
        return found

    def _answers(self, model: QwenAudio, rows: Sequence[DevRow], asked: Callable[[], bool]) -> list[Sample]:
        """Let the model answer, greedily."""
        engine = Engine(model=model, tokenizer=self.tokenizer, name="this run")
        samples, jobs = [], defaultdict[tuple[bool, int], list[tuple[DevRow, Prompt]]](list)
        for row in rows:
            if (prompt := self._prompt(row, False)) is None:
                samples.append(sample_of(row.record, "", status="bad_audio", error="cannot be read any more"))
            else:
                jobs[row.record.prefix is not None, most_tokens(row.record)].append((row, prompt))
        for (tagged, most), some in sorted(jobs.items(), key=lambda job: job[0]):
            options = GenerationOptions(greedy=True, max_new_tokens=most)
            size = self.config.per_device_eval_batch_size
            if tagged:
                prefixes = [row.record.prefix for row, _ in some if row.record.prefix is not None]
                replies = engine.task_batch([prompt.clips for _, prompt in some], prefixes, options, batch_size=size, cancelled=asked)
            else:
                replies = engine.reply_batch([prompt for _, prompt in some], options, batch_size=size, cancelled=asked)
            samples += [sample_of(row.record, reply.text) for (row, _), reply in zip(some, replies, strict=True)]
        return samples

    def _prompt(self, row: DevRow, with_target: bool) -> Prompt | None:
        try:
            return build_prompt(row.record, self.tokenizer, row.read, with_target=with_target)
        except DataError as error:
            log.warning("a dev row is left out of the loss and has no answer: %s", error)
            return None


def open_dev(config: TrainConfig, tokenizer: Tokenizer, window: int) -> DevPack | None:
    """Open the validation rows of a run and choose those that it is measured by; None where there are none.

    Raises:
        ConfigError: the run is to be judged by a figure that these rows do not have.
        DataError: a file cannot be read, more of it is lost than allowed, or an id stands twice.
    """
    if not config.validated_by:
        return None
    settings = replace(config.mixture, sources=(), hold_out=(), max_tokens=config.mixture.max_tokens or window)
    corpora = [open_source(source, settings, tokenizer, config.seed, evaluation=True) for source in config.validated_by]
    for corpus in corpora:
        check_lost(corpus.account, config.mixture.max_lost, corpus.name)
    chosen = _chosen(corpora, config.max_eval_samples)
    rows = [row for corpus, numbers in zip(corpora, chosen, strict=True) for row in _rows(corpus, numbers)]
    if not rows:
        raise DataError(f"{', '.join(corpus.name for corpus in corpora)}: no validation row was admitted; `python -m data check` says why")
    twice = [name for name, times in Counter(row.record.id for row in rows).items() if times > 1]
    if twice:
        raise DataError(f"validation rows: {len(twice)} ids stand more than once, {twice[0]!r} first; each row needs its own")
    pack = DevPack(rows, config, tokenizer)
    if config.best_by not in (names := pack.names()):
        raise ConfigError(f"metric_for_best_model is {config.best_by!r}: these validation rows have {', '.join(names)}")
    return pack


def _chosen(corpora: Sequence[Corpus], most: int) -> list[np.ndarray]:
    """Choose row numbers of each corpus: as many of every group as go round, spread evenly over each."""
    sizes = {(number, group): size for number, corpus in enumerate(corpora) for group, size in corpus.sizes.items()}
    shares, left = dict.fromkeys(sizes, 0), most
    for place, key in enumerate(sorted(sizes, key=lambda key: (sizes[key], key))):  # what small groups leave goes to the larger ones
        shares[key] = min(sizes[key], left // (len(sizes) - place))
        left -= shares[key]
    found = []
    for number, corpus in enumerate(corpora):
        parts = [np.zeros(0, np.int64)]
        for index, group in enumerate(corpus.sizes):
            share, size = shares[number, group], sizes[number, group]
            places = np.arange(share) * size // max(1, share)
            parts.append(corpus.rows(np.full(share, index), places))
        found.append(np.sort(np.concatenate(parts)))
    return found


def _rows(corpus: Corpus, numbers: np.ndarray) -> list[DevRow]:
    read, rows = remembering(clip_reader(corpus.root), CACHE_MB << 20), []
    tokens, _ = corpus.measure(numbers)
    for number, length in zip(numbers.tolist(), tokens.tolist(), strict=True):
        record = corpus.record(number)
        if isinstance(record, Record):
            rows.append(DevRow(record, read, length))
        else:
            log.warning("a dev row is left out: %s", record)
    return rows


def _parts(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Take samples apart by what they are measured by: TASK, or TASK-LANGUAGE where languages of a task are measured differently."""
    alike: defaultdict[str, defaultdict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in sorted(samples, key=lambda sample: sample.id):
        alike[sample.family][_metrics(sample)[0].signature].append(sample)
    parts: dict[str, list[Sample]] = {}
    for family, kinds in alike.items():
        for members in kinds.values():
            languages = "+".join(sorted({sample.language for sample in members} - {""}))
            parts[family if len(kinds) == 1 else f"{family}-{languages or 'other'}"] = members
    return dict(sorted(parts.items()))


def _metrics(sample: Sample) -> list[Metric]:
    """Choose the metrics of a sample's task and language, those that need Java apart."""
    return [metric for metric in metrics_for(sample.family, sample.language) if not isinstance(metric, NEEDS_JAVA)]


def scored(samples: Sequence[Sample]) -> dict[str, float]:
    """Score answers: TASK/METRIC in the metric's own scale, "score" the mean of the tasks' first metrics as `goodness` has them."""
    figures: dict[str, float] = {}
    good = []
    for part, members in _parts(samples).items():
        for place, metric in enumerate(_metrics(members[0])):
            try:
                measured = metric.measure(members)
            except (NotComputed, DataError) as error:
                log.debug("%s %s: %s", part, metric.name, error)
                continue
            if not math.isfinite(value := measured.value):
                continue
            figures[f"{part}/{metric.name}"] = round(value, 5)
            if place == 0:
                good.append(goodness(value, metric, measured.limits))
    failed = sum(sample.status != "ok" for sample in samples)
    return figures | ({"score": round(sum(good) / len(good), 5)} if good else {}) | ({"rows_failed": failed} if failed else {})


def goodness(value: float, metric: Metric, limits: tuple[float, float]) -> float:
    """Lay a metric's value on a scale from 0 to 1, so that a mean over tasks can be taken.

    Between finite limits it is the share of the way to the best; an error rate e without a bound becomes 1 / (1 + e), a time of t ms
    1 / (1 + t / 100), a score s without a bound s / (1 + s).
    """
    low, high = limits
    if metric.better == "higher":
        return (value - low) / (high - low) if math.isfinite(high) else value / (1 + value)
    if math.isfinite(high):
        return (high - value) / (high - low)
    return 1 / (1 + value / (HALF_MS if metric.unit == "ms" else 1.0))


def _mean_losses(sums: Sequence[float], tasks: Sequence[str]) -> dict[str, float]:
    totals, counts = sums[: len(tasks)], sums[len(tasks) :]
    found = {f"loss/{task}": round(total / n, 5) for task, total, n in zip(tasks, totals, counts, strict=True) if n}
    return {"loss": round(sum(totals) / max(1.0, sum(counts)), 5), **found}


def write_answers(path: Path, samples: Sequence[Sample]) -> None:
    """Write answers for people to read, a JSON line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"id": one.id, "task": one.family, "target": one.target, "answer": one.answer, **({"status": one.status} if one.error else {})}
        for one in sorted(samples, key=lambda one: (one.family, one.id))
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def eval_table(figures: Mapping[str, Any]) -> str:
    """Lay the figures of dev rows out: a line a task, its loss and its metrics."""
    named = {name.removeprefix(BEFORE): value for name, value in figures.items() if name.startswith(BEFORE)}
    losses = {name.removeprefix("loss/"): f"{value:.3g}" for name, value in named.items() if name.startswith("loss/")}
    metrics: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in named.items():
        part, _, metric = name.partition("/")
        if metric and part != "loss":
            metrics[part].append(f"{metric} {value:.3g}")
    rows = [(part, losses.get(part, "-"), "  ".join(metrics[part])) for part in sorted({*losses, *metrics})]
    return table(("dev rows", "loss", "metrics"), rows)
