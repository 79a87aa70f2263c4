"""Intervals and comparisons: how far a score would move with other speakers or recordings, and whether two runs differ.

Everything works on sums: a metric gives each sample a row of numbers whose totals make its value (`eval.metrics.sample`), so that a
resample costs one matrix product whatever the metric. Samples of one cluster (speaker, source recording, question) move together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Statistic = Callable[[np.ndarray], np.ndarray]
RESAMPLES = 10_000
MOST_BLOCKS = 1000  # more clusters than this are put together at random into so many blocks: the variance stays what it was
FEW_CLUSTERS = 20  # below this an interval says little of new speakers, and tables say so
LEVEL = 0.95
CHUNK = 2000  # resamples that are worked on at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval: its bounds in the metric's unit, and the clusters it was taken over."""

    low: float
    high: float
    n_clusters: int

    @property
    def few(self) -> bool:
        """Whether there are too few clusters for the interval to be trusted."""
        return self.n_clusters < FEW_CLUSTERS


def interval(
    sums: np.ndarray,
    statistic: Statistic,
    clusters: Sequence[str],
    *,
    limits: tuple[float, float] = (-np.inf, np.inf),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95 % interval of a statistic, by bootstrap over clusters.

    Args:
        sums: (N, K) what each sample adds.
        statistic: (R, K) -> (R,).
        clusters: N names.
        limits: the values that the statistic can have at all.
    Returns:
        The bootstrap-t interval, its standard errors linearised from each resample's clusters. Where resamples without any spread
        occur, the expanded percentile interval; where all resamples lie on one side of the value, Student's interval of their spread;
        where every sample is right (or every one wrong), the exact binomial bound over clusters.
    Source: resampling of clusters after Bisani and Ney 2004 (doi:10.1109/ICASSP.2004.1326009); bootstrap-t after Efron and Tibshirani
    1993, chapter 12; expanded percentiles after Hesterberg 2015 (doi:10.1080/00031305.2015.1089789).
    """
    per_cluster, n_clusters = cluster_sums(sums, clusters, seed)
    if n_clusters < 2:
        return Interval(float("nan"), float("nan"), n_clusters)
    value = float(statistic(sums.sum(0, keepdims=True))[0])
    if _all_alike(sums, value):
        tail = 1 - ((1 - LEVEL) / 2) ** (1 / n_clusters)
        return Interval(0.0, tail, n_clusters) if value == 0 else Interval(1 - tail, 1.0, n_clusters)
    values, errors = bootstrap(per_cluster, statistic, seed, resamples)
    low, high = _bounds(value, values, errors, _standard_error(per_cluster, statistic), len(per_cluster))
    return Interval(float(max(low, limits[0])), float(min(high, limits[1])), n_clusters)


def _bounds(value: float, values: np.ndarray, errors: np.ndarray, error: float, n_clusters: int) -> tuple[float, float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        studentised = (values - value) / errors
    if error > 0 and np.isfinite(studentised).all():
        below, above = np.quantile(studentised, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        low, high = value - above * error, value - below * error
    elif np.isnan(values).all():
        return float("nan"), float("nan")
    else:
        low, high = np.nanquantile(values, expanded_levels(n_clusters))
    if not low <= value <= high:  # resamples are all on one side, as where clusters hold one class each and a resample lacks classes
        reach = stats.t.ppf((1 + LEVEL) / 2, n_clusters - 1) * float(np.nanstd(values)) * np.sqrt(n_clusters / (n_clusters - 1))
        low, high = value - reach, value + reach
    return float(low), float(high)


def cluster_sums(sums: np.ndarray, clusters: Sequence[str], seed: int = 0) -> tuple[np.ndarray, int]:
    """Add up the sums of each cluster, or of each random block of clusters where there are very many.

    Returns:
        (S, K) sums; how many clusters there are.
    """
    if len(clusters) != len(sums):
        raise ValueError(f"{len(clusters)} cluster names for {len(sums)} samples")
    number = cluster_numbers(clusters)
    n_clusters = int(number.max()) + 1 if len(number) else 0
    n_blocks = n_clusters
    if n_clusters > MOST_BLOCKS:
        n_blocks = MOST_BLOCKS
        number = np.random.default_rng([seed, 1]).permutation(n_clusters)[number] % n_blocks
    per_cluster = np.stack([np.bincount(number, weights=column, minlength=n_blocks) for column in sums.T.astype(float)], axis=1)
    return per_cluster, n_clusters


def cluster_numbers(clusters: Sequence[str]) -> np.ndarray:
    """Number clusters by their first appearance; (N,) integers."""
    names: dict[str, int] = {}
    return np.fromiter((names.setdefault(name, len(names)) for name in clusters), dtype=np.int64, count=len(clusters))


def resampled_counts(n_clusters: int, seed: int, resamples: int) -> np.ndarray:
    """Draw how often each cluster stands in each resample; (resamples, n_clusters) float32."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=resamples).astype(np.float32)


def bootstrap(per_cluster: np.ndarray, statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Return the statistic of each resample and its linearised standard error; both (resamples,)."""
    counts = resampled_counts(len(per_cluster), seed, resamples)
    parts = [_resampled(chunk.astype(np.float64), per_cluster, statistic) for chunk in np.array_split(counts, max(1, resamples // CHUNK))]
    return np.concatenate([values for values, _ in parts]), np.concatenate([errors for _, errors in parts])


def _resampled(counts: np.ndarray, per_cluster: np.ndarray, statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    n_clusters = len(per_cluster)
    totals = counts @ per_cluster
    with np.errstate(invalid="ignore"):  # a resample in which there is nothing to measure has no value and no error
        influence = _gradient(totals, statistic) @ per_cluster.T  # (R, S): what a cluster more would add to the value
        mean = (counts * influence).sum(1, keepdims=True) / n_clusters
        variance = (counts * (influence - mean) ** 2).sum(1) * n_clusters / (n_clusters - 1)
        return statistic(totals), np.sqrt(variance)


def _standard_error(per_cluster: np.ndarray, statistic: Statistic) -> float:
    return float(_resampled(np.ones((1, len(per_cluster))), per_cluster, statistic)[1][0])


def _gradient(totals: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Differentiate a statistic at each of R totals, by central differences; (R, K)."""
    gradient = np.empty_like(totals)
    for column, size in enumerate(np.maximum(np.abs(totals).mean(0), 1e-9)):
        step = np.zeros(totals.shape[1])
        step[column] = 1e-4 * size
        gradient[:, column] = (statistic(totals + step) - statistic(totals - step)) / (2 * step[column])
    return gradient


def expanded_levels(n_clusters: int) -> tuple[float, float]:
    """Return the two quantile levels whose distance is that of Student's t for so many clusters."""
    reach = stats.t.ppf((1 + LEVEL) / 2, n_clusters - 1) * np.sqrt(n_clusters / (n_clusters - 1))
    return float(stats.norm.cdf(-reach)), float(stats.norm.cdf(reach))


def _all_alike(sums: np.ndarray, value: float) -> bool:
    """Tell whether sums are pairs (right or wrong, of how many) of which none varies: resampling would say the value is certain."""
    if sums.shape[1] != 2 or value not in (0.0, 1.0):
        return False
    return bool((sums[:, 0] == value * sums[:, 1]).all())


@dataclass(frozen=True, slots=True)
class Difference:
    """Run B against run A on the same samples: B's value less A's.

    Attributes:
        value, low, high: difference and its 95 % interval by paired bootstrap over clusters.
        p_bootstrap: two-sided, share of centred resamples at least as far from 0.
        p_randomisation: two-sided, share of random exchanges of the two runs, cluster by cluster, that differ as much.
        p_mcnemar: exact, for metrics that are right or wrong per sample; None for others.
        detectable: the true difference that would be found four times out of five with this many clusters.
        n_clusters: clusters resampled.
    """

    value: float
    low: float
    high: float
    p_bootstrap: float
    p_randomisation: float
    p_mcnemar: float | None
    detectable: float
    n_clusters: int


def compare(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, clusters: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare two runs over the same N samples in the same order.

    Args:
        first: (N, K) sums of run A.
        second: (N, K) sums of run B.
        statistic: (R, K) -> (R,).
        clusters: N names.
    Source: paired bootstrap after Koehn 2004 (W04-3250); approximate randomisation after Riezler and Maxwell 2005 (W05-0908).
    """
    width = first.shape[1]
    both, n_clusters = cluster_sums(np.concatenate([first, second], axis=1), clusters, seed)
    value = _gap(both.sum(0, keepdims=True), width, statistic)[0]
    if n_clusters < 2:
        return Difference(float(value), float("nan"), float("nan"), 1.0, 1.0, mcnemar(first, second), float("nan"), n_clusters)
    moved = _gap(resampled_counts(len(both), seed, resamples).astype(np.float64) @ both, width, statistic)
    low, high = np.nanquantile(moved, expanded_levels(len(both)))
    spread = float(np.nanstd(moved)) * np.sqrt(len(both) / (len(both) - 1))
    reach = stats.t.ppf((1 + LEVEL) / 2, len(both) - 1) + stats.t.ppf(0.8, len(both) - 1)
    slack = 1e-12 * max(1.0, abs(value))  # equal values may differ in their last bits
    far = ~(np.abs(moved - value) < abs(value) - slack)  # what has no value speaks against a difference, not for it
    exchanged = ~(np.abs(_exchanged(both, width, statistic, seed, resamples)) < abs(value) - slack)
    return Difference(
        value=float(value), low=float(low), high=float(high),
        p_bootstrap=float((1 + far.sum()) / (1 + resamples)),
        p_randomisation=float((1 + exchanged.sum()) / (1 + resamples)),
        p_mcnemar=mcnemar(first, second), detectable=float(reach * spread), n_clusters=n_clusters,
    )  # fmt: skip


def _gap(totals: np.ndarray, width: int, statistic: Statistic) -> np.ndarray:
    return statistic(totals[:, width:]) - statistic(totals[:, :width])


def _exchanged(both: np.ndarray, width: int, statistic: Statistic, seed: int, resamples: int) -> np.ndarray:
    """Give the differences after exchanging the two runs in a random half of the clusters; (resamples,)."""
    swap = np.random.default_rng([seed, 2]).integers(0, 2, (resamples, len(both))).astype(np.float64)
    one, two = both[:, :width], both[:, width:]
    turned = np.concatenate([one.sum(0) + swap @ (two - one), two.sum(0) + swap @ (one - two)], axis=1)
    return _gap(turned, width, statistic)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the exact two-sided p-value of McNemar's test on (right, 1) sums; None where sums are of another kind."""
    for sums in (first, second):
        if sums.shape[1] != 2 or not (sums[:, 1] == 1).all() or not np.isin(sums[:, 0], (0, 1)).all():
            return None
    only_first = int(((first[:, 0] == 1) & (second[:, 0] == 0)).sum())
    only_second = int(((first[:, 0] == 0) & (second[:, 0] == 1)).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several comparisons after Holm 1979, in their order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * float(p_values[place])))
        adjusted[place] = highest
    return adjusted


def ratio(totals: np.ndarray) -> np.ndarray:
    """Divide the first column by the second: accuracy of (right, 1), error rate of (errors, length); nan for nothing by nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, 0] / totals[:, 1])
