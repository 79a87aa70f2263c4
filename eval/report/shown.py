"""Samples as a page shows them: the worst first, with sound and coloured alignment; and those that failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from data.manifest import Record
from eval.batches import draw_order
from eval.metrics.sample import HEARD, Measured, Metric, Sample
from eval.report.alignment import Aligned, aligned
from eval.report.sound import Player, Sounds
from eval.report.values import ENDS, written
from eval.score import Scoring, endings

MOST_LETTERS = 2000
MOST_FAILURES = 100
META = ("speaker", "gender", "age", "accent", "language", "source", "kind")


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample of a page.

    Attributes:
        value: its own value of the metric that the list is sorted by, "" where it has none.
        question: what was asked, where the record is there and asks in words.
        about: (name, value) of what is known of it.
        end: in words how it failed, "" where it did not.
    """

    id: str
    value: str
    answer: str
    references: tuple[str, ...]
    choices: tuple[str, ...]
    question: str
    about: tuple[tuple[str, str], ...]
    players: tuple[Player, ...]
    alignment: Aligned | None
    end: str
    error: str


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst samples by one metric, and how many of how many are not right; a draw of them where none is worse than another."""

    metric: str
    draw: bool
    samples: tuple[Shown, ...]
    n_wrong: int
    n_heard: int


@dataclass(frozen=True, slots=True)
class Failures:
    """Samples without an answer that can be read: how often for which reason, and the first of them."""

    reasons: tuple[tuple[str, str, int], ...]
    samples: tuple[Shown, ...]
    n: int


def worst(scoring: Scoring, benchmark: str, count: int, sounds: Sounds) -> Worst | None:
    """Pick the samples that one of a scoring's metrics finds worst; None where no metric looks at single samples.

    Of equally bad ones those with the longer reference come first; where answers are right or wrong, the order is that of a draw. Samples
    that were not answered stand in the failures.

    Args:
        benchmark: where the records are; the scoring may be of a part of it.
    """
    for metric, measured in zip(scoring.metrics, scoring.measured, strict=True):
        if isinstance(measured, str) or len(measured.each) != len(scoring.samples) or np.isnan(measured.each).all():
            continue
        sign = 1.0 if metric.better == "lower" else -1.0
        best = 0.0 if metric.better == "lower" else min(measured.limits[1], float(np.nanmax(measured.each)))
        heard = [
            number
            for number, sample in enumerate(scoring.samples)
            if sample.status in HEARD and measured.parsed[number] and not np.isnan(measured.each[number])
        ]
        wrong = [number for number in heard if sign * (measured.each[number] - best) > 1e-9]
        draw = len(wrong) > 1 and len({float(measured.each[number]) for number in wrong}) == 1 and metric.better == "higher"
        wrong.sort(key=lambda number: _badness(scoring.samples[number], sign * float(measured.each[number]), draw))
        shown = tuple(_shown(scoring, number, benchmark, sounds, metric, measured) for number in wrong[:count])
        return Worst(metric.name, draw, shown, len(wrong), len(heard))
    return None


def _badness(sample: Sample, value: float, draw: bool) -> tuple[float, int, str]:
    return -value, 0 if draw else -len(sample.target), draw_order(sample.id)


def failures(scoring: Scoring, benchmark: str, sounds: Sounds) -> Failures | None:
    """List the samples that no metric could count as answered; None where there are none."""
    read = [measured.parsed for measured in scoring.measured if not isinstance(measured, str)]
    parsed = np.logical_or.reduce(read) if read else np.ones(len(scoring.samples), dtype=bool)
    ends = endings(scoring.samples, parsed)
    failed = [number for number, end in enumerate(ends) if end != "ok"]
    if not failed:
        return None
    counts = Counter((ENDS[ends[number]], cut(scoring.samples[number].error, 300)) for number in failed)
    reasons = tuple((end, why, count) for (end, why), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    shown = tuple(_shown(scoring, number, benchmark, sounds, end=ENDS[ends[number]]) for number in failed[:MOST_FAILURES])
    return Failures(reasons, shown, len(failed))


def _shown(
    scoring: Scoring,
    number: int,
    benchmark: str,
    sounds: Sounds,
    metric: Metric | None = None,
    measured: Measured | None = None,
    end: str = "",
) -> Shown:
    """Lay out one sample; those that failed have no alignment and no sound."""
    sample = scoring.samples[number]
    record = sounds.record(benchmark, sample.id)
    value = _own_value(metric, float(measured.each[number])) if metric is not None and measured is not None else ""
    about = [(key, str(sample.meta[key]).replace("\t", " ").replace("\n", " + ")) for key in META if sample.meta.get(key)]
    if sample.audio_s:
        about.append(("audio", f"{sample.audio_s:.1f} s"))
    return Shown(
        id=sample.id, value=value, answer=cut(sample.answer), references=tuple(cut(one) for one in sample.references[:10]),
        choices=sample.choices[:26], question=cut(question_of(record)), about=tuple((key, cut(text, 120)) for key, text in about),
        players=() if end else tuple(sounds.players(benchmark, sample.id)),
        alignment=None if end else aligned(sample, scoring.metrics), end=end, error=cut(sample.error, 300),
    )  # fmt: skip


def _own_value(metric: Metric, value: float) -> str:
    """Write what a sample alone gets; of an answer that is right or wrong it says just that."""
    if metric.unit == "%" and metric.better == "higher" and value in (0.0, 1.0):
        return "right" if value else "wrong"
    return f"{metric.name} {written(value, metric.unit)}"


def question_of(record: Record | None) -> str:
    """Return what a record asks in words: the question of its tag sentence, or the last text of its conversation."""
    if record is None:
        return ""
    if record.prefix is not None:
        return record.prefix.question or ""
    texts = [part for turn in record.messages if turn.role == "user" for part in turn.parts if isinstance(part, str)]
    return texts[-1] if texts else ""


def cut(text: str, most: int = MOST_LETTERS) -> str:
    """Shorten a long text, and say by how much."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more letters)"
