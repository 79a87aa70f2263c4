"""Intervals: how far a score would move with other recordings of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000


def bootstrap_interval(
    sums: np.ndarray, clusters: Sequence[str], statistic: Callable[[np.ndarray], np.ndarray], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of sums, resampling whole clusters.

    Args:
        sums: (N, K) what each record adds, such as errors and words.
        clusters: N names; records of one speaker or recording move together.
        statistic: (R, K) column sums of R resamples -> (R,) values.
    Source: Bisani and Ney 2004 (bootstrap for word error rates), resampled over clusters.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    per_cluster = np.zeros((len(names), sums.shape[1]))
    np.add.at(per_cluster, [names[name] for name in clusters], sums)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    values = statistic(counts @ per_cluster)
    if np.isnan(values).all():  # nothing was there to be measured
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def ratio(totals: np.ndarray) -> np.ndarray:
    """Divide the first column by the second: accuracy of (right, 1), error rate of (errors, length)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals[:, 0] / totals[:, 1]
