"""Two runs on the same samples: what differs, by how much, and whether that is more than chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eval.metrics.sample import Metric, Sample
from eval.score import NAN, Scoring, clusters_of, measure, plain, statuses
from eval.statistics import FEW_CLUSTERS, Difference, compare, holm
from qwen_audio.errors import DataError

SHOWN_IDS = 3
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one benchmark in two runs.

    Attributes:
        first, second: strict values.
        failed: how many samples of each run have no answer that can be read.
        difference: second less first, with its interval and p-values; None where the metric cannot be computed.
        p_holm: the randomisation test's p-value, adjusted after Holm: the first metric of each benchmark over the benchmarks, further
            ones over all comparisons of the table.
        lowest: the smallest p_holm that so few clusters could give if it were the only difference of the table.
    """

    benchmark: str
    metric: str
    unit: str
    better: str
    n: int
    clusters: str
    signature: str
    first: float
    second: float
    difference: Difference | None
    p_holm: float = NAN
    lowest: float = 0.0
    not_computed: str = ""
    failed: tuple[int, int] = (0, 0)

    @property
    def few(self) -> bool:
        """Whether the interval stands on too few clusters to say much of new ones."""
        return self.difference is not None and self.difference.n_clusters < FEW_CLUSTERS

    @property
    def verdict(self) -> str:
        """Say which run is better, or that they cannot be told apart."""
        if self.difference is None:
            return "not computed"
        if not self.p_holm < ALPHA:
            return "not told apart" if self.lowest < ALPHA else f"too few {self.clusters}s to tell"
        return "second better" if (self.difference.value > 0) == (self.better == "higher") else "first better"


def compare_runs(
    first: Mapping[str, Sequence[Sample]], second: Mapping[str, Sequence[Sample]], metrics: Mapping[str, Sequence[Metric]]
) -> list[Comparison]:
    """Compare two runs on each benchmark.

    Args:
        first, second: benchmark -> samples.
        metrics: benchmark -> its metrics.
    Raises:
        DataError: the two hold other benchmarks, or other ids or references within one: no paired test is possible.
    """
    if first.keys() != second.keys():
        alone = ", ".join(sorted(first.keys() ^ second.keys()))
        raise DataError(f"the runs hold different benchmarks ({alone}): run both on the same ones, or name those of both with --only")
    parts = [_compare(name, *_paired(name, first[name], second[name]), metrics[name]) for name in first]
    every = [one for part in parts for one in part]
    heads = [part[0] for part in parts if part]
    adjusted = {**_after_holm(every), **_after_holm(heads)}
    return [adjusted.get(id(one), one) for one in every]


def _after_holm(found: Sequence[Comparison]) -> dict[int, Comparison]:
    """Adjust p-values over some comparisons; by the identity of what was adjusted."""
    tested = [(one, one.difference) for one in found if one.difference is not None]
    p_values = holm([difference.p_randomisation for _, difference in tested])
    return {id(one): _adjusted(one, gap, p_holm, len(tested)) for (one, gap), p_holm in zip(tested, p_values, strict=True)}


def _adjusted(one: Comparison, difference: Difference, p_holm: float, n_tests: int) -> Comparison:
    """Put an adjusted p-value in; two of the 2^S ways to exchange S clusters always differ as much as the runs do."""
    return replace(one, p_holm=p_holm, lowest=min(1.0, n_tests * 2.0 ** (1 - difference.n_clusters)))


def _paired(benchmark: str, first: Sequence[Sample], second: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Bring two lists of samples into the same order; refuse unequal ones."""
    ones, twos = _by_id(benchmark, first), _by_id(benchmark, second)
    if ones.keys() != twos.keys():
        alone = sorted(ones.keys() ^ twos.keys())
        raise DataError(
            f"{benchmark}: {len(alone)} ids stand in one run alone ({_some(alone)}): only the same samples can be compared; "
            "run both on all of them, without --limit"
        )
    order = sorted(ones)
    changed = [name for name in order if ones[name].references != twos[name].references]
    if changed:
        raise DataError(
            f"{benchmark}: {len(changed)} references differ between the runs ({_some(changed)}): they were made from other versions"
        )
    return [ones[name] for name in order], [twos[name] for name in order]


def _by_id(benchmark: str, samples: Sequence[Sample]) -> dict[str, Sample]:
    found = {sample.id: sample for sample in samples}
    if len(found) < len(samples):
        twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
        raise DataError(f"{benchmark}: {len(twice)} ids stand twice in one run ({_some(twice)}): samples are paired by their ids")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_IDS]) + (", .." if len(names) > SHOWN_IDS else "")


def _compare(benchmark: str, first: list[Sample], second: list[Sample], metrics: Sequence[Metric]) -> list[Comparison]:
    clusters, kind = clusters_of(first)
    scorings = measure(benchmark, first, metrics), measure(benchmark, second, metrics)
    return [_metric(scorings, number, clusters, kind) for number in range(len(metrics))]


def _metric(scorings: tuple[Scoring, Scoring], number: int, clusters: Sequence[str], kind: str) -> Comparison:
    """Compare two runs by one of their metrics."""
    one, two = (scoring.measured[number] for scoring in scorings)
    metric, benchmark, n = scorings[0].metrics[number], scorings[0].benchmark, len(clusters)
    blank = Comparison(benchmark, metric.name, metric.unit, metric.better, n, kind, metric.signature, NAN, NAN, None)
    if isinstance(one, str) or isinstance(two, str):
        return replace(blank, not_computed=one if isinstance(one, str) else str(two))
    failed = [n - statuses(scoring.samples, found.parsed).get("ok", 0) for scoring, found in zip(scorings, (one, two), strict=True)]
    blank = replace(blank, first=one.value, second=two.value, failed=(failed[0], failed[1]))
    nowhere = [which for which, found in (("first", one), ("second", two)) if math.isnan(found.value)]
    if nowhere:
        return replace(blank, not_computed=f"no value in the {' and the '.join(nowhere)} run: nothing was there to measure")
    assert one.sums.shape == two.sums.shape, f"{metric.name}: sums of {one.sums.shape} and {two.sums.shape} for the same samples"
    return replace(blank, difference=compare(one.sums, two.sums, one.statistic, clusters))


def to_json(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return plain rows; what is not a number becomes null."""
    return [{name: plain(value) for name, value in (asdict(one) | {"verdict": one.verdict}).items()} for one in found]
