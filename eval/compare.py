"""Two runs on the same samples: what differs, by how much, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.metrics.sample import Metric, NotComputed, Sample
from eval.score import clusters_of
from eval.statistics import FEW_CLUSTERS, Difference, compare, holm
from qwen_audio.errors import DataError

SHOWN_IDS = 3
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one benchmark in two runs.

    Attributes:
        first, second: strict values.
        difference: second less first, with its interval and p-values; None where the metric cannot be computed.
        p_holm: the randomisation test's p-value, adjusted after Holm over all comparisons of the table.
    """

    benchmark: str
    metric: str
    unit: str
    better: str
    n: int
    clusters: str
    first: float
    second: float
    difference: Difference | None
    p_holm: float = float("nan")
    not_computed: str = ""

    @property
    def verdict(self) -> str:
        """Say which run is better, or that they cannot be told apart."""
        if self.difference is None:
            return "not computed"
        if not self.p_holm < ALPHA:
            return "not told apart"
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
        raise DataError(f"the runs hold different benchmarks ({alone}): score both on the same ones, or name them with -t")
    found = [one for name in first for one in _compare(name, *_paired(name, first[name], second[name]), metrics[name])]
    tested = [one for one in found if one.difference is not None]
    adjusted = iter(holm([one.difference.p_randomisation for one in tested if one.difference is not None]))
    return [one if one.difference is None else _with_holm(one, next(adjusted)) for one in found]


def _paired(benchmark: str, first: Sequence[Sample], second: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Bring two lists of samples into the same order; refuse unequal ones."""
    ones, twos = ({sample.id: sample for sample in samples} for samples in (first, second))
    if ones.keys() != twos.keys():
        alone = sorted(ones.keys() ^ twos.keys())
        shown = ", ".join(alone[:SHOWN_IDS]) + (", .." if len(alone) > SHOWN_IDS else "")
        raise DataError(
            f"{benchmark}: {len(alone)} ids stand in one run alone ({shown}): only the same samples can be compared; "
            "run both on all of them, without --limit"
        )
    order = sorted(ones)
    changed = [name for name in order if ones[name].references != twos[name].references]
    if changed:
        raise DataError(
            f"{benchmark}: {len(changed)} references differ between the runs ({changed[0]}): they were made from other versions"
        )
    return [ones[name] for name in order], [twos[name] for name in order]


def _compare(benchmark: str, first: list[Sample], second: list[Sample], metrics: Sequence[Metric]) -> list[Comparison]:
    clusters, kind = clusters_of(first)
    found = []
    for metric in metrics:
        try:
            one, two = metric.measure(first), metric.measure(second)
        except NotComputed as error:
            nan = float("nan")
            found.append(
                Comparison(benchmark, metric.name, metric.unit, metric.better, len(first), kind, nan, nan, None, not_computed=str(error))
            )
            continue
        gap = compare(one.sums, two.sums, one.statistic, clusters)
        found.append(Comparison(benchmark, metric.name, metric.unit, metric.better, len(first), kind, one.value, two.value, gap))
    return found


def _with_holm(one: Comparison, p_holm: float) -> Comparison:
    return Comparison(**{name: getattr(one, name) for name in one.__slots__} | {"p_holm": p_holm})


def comparison_rows(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return plain rows for JSON."""
    return [{**asdict(one), "verdict": one.verdict} for one in found]


def comparison_table(found: Sequence[Comparison], names: tuple[str, str]) -> str:
    """Return a Markdown table: values, difference with its interval, p-values, what could have been found."""
    head = f"| set | metric | n | {names[0]} | {names[1]} | difference | 95 % interval | p | p (Holm) | McNemar | detectable | verdict |"
    lines = [head, "|" + "---|" * 12]
    few = False
    for one in found:
        if one.difference is None:
            lines.append(f"| {one.benchmark} | {one.metric} | {one.n} | | | | | | | | | not computed: {one.not_computed} |")
            continue
        gap = one.difference
        few |= gap.n_clusters < FEW_CLUSTERS
        exact = "" if gap.p_mcnemar is None else _p(gap.p_mcnemar)
        mark = "*" if gap.n_clusters < FEW_CLUSTERS else ""
        lines.append(
            f"| {one.benchmark} | {one.metric} | {one.n} | {_value(one.first, one.unit)} | {_value(one.second, one.unit)} "
            f"| {_value(gap.value, one.unit, signed=True)} | {_value(gap.low, one.unit, signed=True)} to "
            f"{_value(gap.high, one.unit, signed=True)}{mark} | {_p(gap.p_randomisation)} | {_p(one.p_holm)} | {exact} "
            f"| {_value(gap.detectable, one.unit)} | {one.verdict} |"
        )
    lines.append("")
    lines.append(
        "p: approximate randomisation over clusters, two-sided; detectable: true difference found 4 times in 5 with these samples."
    )
    if few:
        lines.append(f"* fewer than {FEW_CLUSTERS} clusters: the interval says little of new speakers or recordings.")
    return "\n".join(lines)


def _value(value: float, unit: str, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if unit == "%":
        return f"{100 * value:{sign}.2f} %"
    return f"{value:{sign}.1f} ms" if unit == "ms" else f"{value:{sign}.4g}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
