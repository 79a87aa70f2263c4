"""What a benchmark is measured by: its family's metrics in its language and for its labels, others' ways of counting beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from eval.benchmarks.benchmark import Benchmark
from eval.benchmarks.refusal import NotScored, RefusalRate
from eval.metrics.edits import Wer
from eval.metrics.registry import metrics_for
from eval.metrics.sample import Metric

Choose = Callable[[str, str], Sequence[Metric]]  # (family, language) -> metrics, as a run's end asks for them
SUFFIXES = {"qwen-audio": "qwen", "lmms": "lmms"}  # behind the name of an error rate that is counted as others count


def metrics_of(benchmark: Benchmark) -> Choose:
    """Return the choice of metrics for a benchmark's samples; for a file of rows each family and language has its own."""

    def choose(family: str, language: str) -> tuple[Metric, ...]:
        if benchmark.not_computed:
            return (NotScored(benchmark.not_computed),)
        if benchmark.refusals:
            return (RefusalRate(),)
        found = list(metrics_for(family, language, benchmark=benchmark))
        for preset in benchmark.presets:
            known = {metric.signature for metric in found}
            more = metrics_for(family, language, preset=preset, benchmark=benchmark)
            found += [_named(metric, preset) for metric in more if metric.signature not in known]
        return tuple(found)

    return choose


def _named(metric: Metric, preset: str) -> Metric:
    """Give an error rate by others' rules a name of its own, so that both stand in one table."""
    return replace(metric, name=f"{metric.name}_{SUFFIXES[preset]}") if isinstance(metric, Wer) else metric


def metric_names(benchmark: Benchmark) -> str:
    """Name the metrics of a benchmark, for people: the one that tables put first at the front."""
    return ", ".join(metric.name for metric in metrics_of(benchmark)(benchmark.family, benchmark.language))
