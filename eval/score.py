"""Samples -> scores: strict and lenient value, interval, counts of how samples ended, subgroups; the same in the same order always."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from eval.metrics.sample import HEARD, Measured, Metric, NotComputed, Sample, Status
from eval.statistics import interval

STATUSES: tuple[Status, ...] = ("ok", "parse_fail", "infer_fail", "too_long", "bad_audio")
CLUSTER_KEYS = ("speaker", "source")
SUBGROUP_KEYS = ("gender", "age", "accent", "language", "dataset", "kind", "duration")
SMALL_SUBGROUP = 30
DURATION_EDGES_S = (2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of a table.

    Attributes:
        value: strict: every sample counts, what was not answered or cannot be read as wrong or empty; in the metric's own scale.
        lenient: over the samples that were answered and read.
        n, statuses: samples, and how many of them ended how; the counts add up to n.
        low, high, n_clusters, clusters: 95 % interval of value, and what was resampled ("speaker", "source", "sample").
        chance, ceiling: what an answer without hearing gets, what the references allow.
        not_computed: why there is no value; value is nan then.
    """

    benchmark: str
    metric: str
    value: float
    lenient: float
    unit: str
    better: str
    n: int
    statuses: Mapping[str, int]
    low: float
    high: float
    n_clusters: int
    clusters: str
    signature: str
    chance: float | None = None
    ceiling: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    not_computed: str = ""
    subgroup: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not a number becomes null."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def score(benchmark: str, samples: Sequence[Sample], metrics: Sequence[Metric], *, subgroup: str = "") -> list[Score]:
    """Score samples by each metric, in the order of their ids.

    A metric that cannot be computed here gives a Score that says why.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    clusters, kind = clusters_of(ordered)
    return [_score(benchmark, ordered, metric, clusters, kind, subgroup) for metric in metrics]


def _score(benchmark: str, samples: Sequence[Sample], metric: Metric, clusters: Sequence[str], kind: str, subgroup: str) -> Score:
    blank = Score(
        benchmark, metric.name, float("nan"), float("nan"), metric.unit, metric.better, len(samples), statuses(samples, None),
        float("nan"), float("nan"), len(set(clusters)), kind, metric.signature, subgroup=subgroup,
    )  # fmt: skip
    try:
        measured = metric.measure(samples)
    except NotComputed as error:
        return _with(blank, not_computed=str(error))
    found = interval(measured.sums, measured.statistic, clusters, limits=measured.limits)
    return _with(
        blank, value=measured.value, lenient=lenient(samples, measured), statuses=statuses(samples, measured), low=found.low,
        high=found.high, chance=measured.chance, ceiling=measured.ceiling, details=dict(measured.details),
    )  # fmt: skip


def _with(base: Score, **changed: Any) -> Score:
    return Score(**{name: getattr(base, name) for name in base.__slots__} | changed)


def lenient(samples: Sequence[Sample], measured: Measured) -> float:
    """Give the value over the samples that were answered and read; nan where there are none."""
    kept = np.array([sample.status in HEARD for sample in samples], dtype=bool) & measured.parsed
    return float(measured.statistic(measured.sums[kept].sum(0, keepdims=True))[0]) if kept.any() else float("nan")


def statuses(samples: Sequence[Sample], measured: Measured | None) -> dict[str, int]:
    """Count how samples ended; an answer that the metric cannot read is a parse_fail."""
    parsed = measured.parsed if measured is not None else [True] * len(samples)
    ends = ["parse_fail" if sample.status in HEARD and not read else sample.status for sample, read in zip(samples, parsed, strict=True)]
    counts = Counter(ends)
    return {status: counts[status] for status in STATUSES if counts[status]}


def clusters_of(samples: Sequence[Sample], keys: Sequence[str] = CLUSTER_KEYS) -> tuple[list[str], str]:
    """Name each sample's cluster: its speaker where all have one, else its source, else itself; and say which it was."""
    for key in keys:
        if all(sample.meta.get(key) for sample in samples):
            return [sample.meta[key] for sample in samples], key
    return [sample.id for sample in samples], "sample"


def subgroups(benchmark: str, samples: Sequence[Sample], metrics: Sequence[Metric], keys: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
    """Score each subgroup (gender=female, duration=2-5 s, ..) of keys by which samples differ."""
    found = []
    for key in keys:
        groups: dict[str, list[Sample]] = {}
        for sample in samples:
            name = _duration(sample.audio_s) if key == "duration" else sample.meta.get(key, "")
            if name:
                groups.setdefault(name, []).append(sample)
        if len(groups) > 1:
            for name, members in sorted(groups.items()):
                found += score(benchmark, members, metrics, subgroup=f"{key}={name}")
    return found


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    below = [0.0, *(edge for edge in DURATION_EDGES_S if edge <= seconds)][-1]
    above = next((edge for edge in DURATION_EDGES_S if edge > seconds), None)
    return f"{below:g}-{above:g} s" if above else f"from {below:g} s"


def results_json(scores: Sequence[Score], about: Mapping[str, Any]) -> str:
    """Return the text of results.json: scores and what they are of; no time of day, no duration, no place on a disk."""
    return json.dumps({**about, "scores": [one.to_json() for one in scores]}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
