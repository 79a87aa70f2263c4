"""Scores and the table they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """One figure: value in the metric's own unit, over n records, with its 95 % interval and the recipe of the metric."""

    benchmark: str
    metric: str
    value: float
    n: int
    interval: tuple[float, float]
    signature: str


def in_unit(score: Score, value: float) -> str:
    """Write a value as its metric is read: errors of time in ms, everything else as a share."""
    return f"{value:.0f} ms" if score.metric == "boundary error" else f"{value:.1%}"


def markdown_table(scores: Sequence[Score], baselines: Mapping[tuple[str, str], Score]) -> str:
    """Return a Markdown table; beside each score what the baseline reaches on the same records, where there is one."""
    lines = ["| set and task | metric | n | value | 95 % interval | log-mel regression |", "|---|---|---|---|---|---|"]
    for score in scores:
        other = baselines.get((score.benchmark, score.metric))
        beside = in_unit(other, other.value) if other else ""
        low, high = (in_unit(score, bound) for bound in score.interval)
        lines.append(f"| {score.benchmark} | {score.metric} | {score.n} | {in_unit(score, score.value)} | {low} to {high} | {beside} |")
    return "\n".join(lines)
