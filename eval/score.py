"""Samples -> scores: strict and lenient value, interval, counts of how samples ended, subgroups; the same in the same order always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from eval.metrics.sample import HEARD, Measured, Metric, NotComputed, Sample, Status
from eval.samples import json_text
from eval.statistics import FEW_CLUSTERS, interval
from qwen_audio.errors import DataError

STATUSES: tuple[Status, ...] = ("ok", "parse_fail", "infer_fail", "too_long", "bad_audio")
CLUSTER_KEYS = ("speaker", "source")
SUBGROUP_KEYS = ("gender", "age", "accent", "language", "dataset", "kind", "duration")
SMALL_SUBGROUP = 30
DURATION_EDGES_S = (2.0, 5.0, 10.0, 20.0)
NAN = float("nan")
NO_VALUE = "no value: nothing was there to measure"


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
        subgroup: "gender=female" where the score is of a part of the samples, "" for all of them.
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

    @property
    def n_failed(self) -> int:
        """How many samples have no answer that can be read."""
        return self.n - self.statuses.get("ok", 0)

    @property
    def few(self) -> bool:
        """Whether the interval stands on too few clusters to say much of new ones."""
        return self.n_clusters < FEW_CLUSTERS

    @property
    def small(self) -> bool:
        """Whether there are too few samples to say much at all."""
        return self.n < SMALL_SUBGROUP

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not a number becomes null."""
        return {name: plain(value) for name, value in asdict(self).items()}


def from_json(row: Mapping[str, Any]) -> Score:
    """Read a score as to_json wrote it."""
    numbers = {name: NAN for name in ("value", "lenient", "low", "high") if row.get(name) is None}
    return Score(**{name: row[name] for name in Score.__slots__ if name in row} | numbers)


@dataclass(frozen=True, slots=True)
class Scoring:
    """A benchmark's samples in the order of their ids, and what each metric made of them: Measured, or why it could not.

    The samples are measured once; subgroups take their rows, so that what a metric learns from all samples (how rare a word is, which
    labels there are) is the same in each.
    """

    benchmark: str
    samples: tuple[Sample, ...]
    metrics: tuple[Metric, ...]
    measured: tuple[Measured | str, ...]

    def scores(self) -> list[Score]:
        """Score all samples by each metric."""
        clusters, kind = clusters_of(self.samples)
        return [
            self._score(metric, measured, range(len(self.samples)), clusters, kind)
            for metric, measured in zip(self.metrics, self.measured, strict=True)
        ]

    def subgroups(self, keys: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
        """Score each subgroup (gender=female, duration=2-5 s, ..) of keys by which samples differ, by each metric."""
        found = []
        for key in keys:
            groups: dict[str, list[int]] = {}
            for number, sample in enumerate(self.samples):
                if name := group_of(sample, key):
                    groups.setdefault(name, []).append(number)
            if len(groups) < 2:
                continue
            for name in sorted(groups, key=_by_number):
                members = groups[name]
                clusters, kind = clusters_of([self.samples[number] for number in members])
                for metric, measured in zip(self.metrics, self.measured, strict=True):
                    one = self._score(metric, measured, members, clusters, kind)
                    found.append(replace(one, subgroup=f"{key}={name}", chance=None, ceiling=None, details={}))
        return found

    def _score(self, metric: Metric, measured: Measured | str, rows: Sequence[int], clusters: Sequence[str], kind: str) -> Score:
        samples = [self.samples[number] for number in rows]
        blank = Score(
            self.benchmark, metric.name, NAN, NAN, metric.unit, metric.better, len(samples), statuses(samples, None), NAN, NAN,
            len(set(clusters)), kind, metric.signature,
        )  # fmt: skip
        if isinstance(measured, str):
            return replace(blank, not_computed=measured)
        if not samples:
            return replace(blank, not_computed="there are no samples")
        sums, parsed = measured.sums[list(rows)], measured.parsed[list(rows)]
        value = _value(measured, sums)
        if np.isnan(value):
            return replace(blank, statuses=statuses(samples, parsed), details=dict(measured.details), not_computed=NO_VALUE)
        found = interval(sums, measured.statistic, clusters, limits=measured.limits)
        return replace(
            blank, value=value, lenient=_lenient(samples, measured, sums, parsed), statuses=statuses(samples, parsed),
            low=found.low, high=found.high, chance=measured.chance, ceiling=measured.ceiling, details=dict(measured.details),
        )  # fmt: skip


def measure(benchmark: str, samples: Iterable[Sample], metrics: Sequence[Metric]) -> Scoring:
    """Measure samples by each metric; one that cannot be computed here, or not of these references, leaves its reason.

    What one metric cannot use (a reference without the part that it is about) must not cost the others their figures.
    """
    ordered = tuple(sorted(samples, key=lambda sample: sample.id))
    found: list[Measured | str] = []
    for metric in metrics:
        try:
            found.append(metric.measure(ordered) if ordered else "there are no samples")
        except (NotComputed, DataError) as error:
            found.append(str(error))
    return Scoring(benchmark, ordered, tuple(metrics), tuple(found))


def score(benchmark: str, samples: Iterable[Sample], metrics: Sequence[Metric], *, by: Sequence[str] = ()) -> list[Score]:
    """Score samples by each metric, and the subgroups of the keys in by.

    A metric that cannot be computed here gives a Score that says why.
    """
    scoring = measure(benchmark, samples, metrics)
    return scoring.scores() + scoring.subgroups(by)


def subgroups(benchmark: str, samples: Iterable[Sample], metrics: Sequence[Metric], keys: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
    """Score each subgroup of keys by which samples differ."""
    return measure(benchmark, samples, metrics).subgroups(keys)


def parts_of(benchmark: str, samples: Iterable[Sample]) -> list[tuple[str, list[Sample]]]:
    """Take samples apart by what they are measured by: the family and the language of the answer, each part under its own name.

    Returns:
        (name, samples) in the order of families and languages, the samples in that of their ids; where there is one part alone, its name
        is the benchmark's.
    """
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.id):
        groups.setdefault((sample.family, sample.language), []).append(sample)
    named = sorted(groups.items())
    return [(benchmark if len(named) == 1 else " ".join(filter(None, (benchmark, *kind))), members) for kind, members in named]


def _value(measured: Measured, sums: np.ndarray) -> float:
    return float(measured.statistic(sums.sum(0, keepdims=True))[0])


def _lenient(samples: Sequence[Sample], measured: Measured, sums: np.ndarray, parsed: np.ndarray) -> float:
    """Give the value over the samples that were answered and read; nan where there are none."""
    kept = np.array([sample.status in HEARD for sample in samples], dtype=bool) & parsed
    return _value(measured, sums[kept]) if kept.any() else NAN


def statuses(samples: Sequence[Sample], parsed: Sequence[bool] | np.ndarray | None) -> dict[str, int]:
    """Count how samples ended; an answer that the metric cannot read is a parse_fail."""
    counts = Counter(endings(samples, [True] * len(samples) if parsed is None else parsed))
    return {status: counts[status] for status in STATUSES if counts[status]}


def endings(samples: Sequence[Sample], parsed: Sequence[bool] | np.ndarray) -> list[Status]:
    """Say how each sample ended under a metric that could or could not read its answer."""
    return ["parse_fail" if sample.status in HEARD and not read else sample.status for sample, read in zip(samples, parsed, strict=True)]


def clusters_of(samples: Sequence[Sample], keys: Sequence[str] = CLUSTER_KEYS) -> tuple[list[str], str]:
    """Name each sample's cluster, and say what the clusters are.

    It is the speaker where at least half of the samples have one and there are two at all, else the source recording likewise, else the
    sample itself. Samples without the key stand for themselves.
    """
    for key in keys:
        named = [sample.meta.get(key, "") for sample in samples]
        n_named = sum(map(bool, named))
        if len({*named} - {""}) > 1 and 2 * n_named >= len(samples):
            clusters = [f"{key} {name}" if name else f"sample {sample.id}" for name, sample in zip(named, samples, strict=True)]
            return clusters, key if n_named == len(samples) else f"{key} or sample"
    return [sample.id for sample in samples], "sample"


def group_of(sample: Sample, key: str) -> str:
    """Name the subgroup of a sample: seconds and years by classes, anything else as its meta says; "" where nothing is known."""
    if key == "duration":
        return _duration(sample.audio_s)
    value = sample.meta.get(key) or (sample.language if key == "language" else "")
    if key == "age" and value.isascii() and value.isdigit():
        return f"{int(value) // 10 * 10}-{int(value) // 10 * 10 + 9}"
    return str(value)


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    below = [0.0, *(edge for edge in DURATION_EDGES_S if edge <= seconds)][-1]
    above = next((edge for edge in DURATION_EDGES_S if edge > seconds), None)
    return f"{below:g}-{above:g} s" if above else f"{below:g} s and more"


def _by_number(name: str) -> tuple[float, str]:
    """Order classes of numbers by their first number, names after them by the alphabet."""
    first = name.replace("-", " ").split(" ")[0]
    return (float(first), name) if first.isascii() and first.isdigit() else (np.inf, name)


def results_json(scores: Sequence[Score], about: Mapping[str, Any]) -> str:
    """Return the text of results.json: scores and what they are of; no time of day, no duration, no place on a disk."""
    return json_text({**about, "scores": [one.to_json() for one in scores]}, indent=1) + "\n"


def plain(value: Any) -> Any:
    """Make a value fit for JSON: numbers of numpy become Python's, what is not finite null."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
