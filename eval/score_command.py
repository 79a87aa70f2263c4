"""Score stored samples anew, compare two runs, and print tables: nothing is asked of a model, and torch stays where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eval.benchmarks.measures import metrics_of as metrics_of_benchmark
from eval.benchmarks.table import BENCHMARKS, VARIANT_MARK
from eval.compare import Comparison, compare_runs, to_json
from eval.metrics.edits import CHINESE, Wer, language_part
from eval.metrics.registry import COCO, OURS, PRESETS, metrics_for
from eval.metrics.sample import Metric, Sample
from eval.normalize import NORMALISERS
from eval.report.stored import MetricsOf, StoredRun, read_runs
from eval.report.tables import FEW_NOTE, Column, Table, comparison_table, scores_table, subgroups_table
from eval.report.values import arrow, between, written
from eval.score import NAN, SUBGROUP_KEYS, Score, parts_of, plain, results_json, score
from qwen_audio.config import check_choice

Form = Literal["text", "md", "json"]
FORMS: tuple[Form, ...] = ("text", "md", "json")
ALL = "all"
SLOW = COCO  # METEOR starts Java for half a minute: only who asks for the preset by its name gets it
MADE_FOR = {  # normalisers that mean nothing to other languages
    "whisper-en": {"en"}, "lmms-en": {"en"}, "chinese": CHINESE, "chinese-simplified": CHINESE, "lmms-zh": CHINESE, "lmms-yue": CHINESE,
}  # fmt: skip
FIRST, SECOND = "first", "second"


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one family and language of a benchmark, with their metrics."""

    name: str
    samples: Sequence[Sample]
    metrics: Sequence[Metric]


def parts(run: StoredRun, metrics_of: MetricsOf) -> list[Part]:
    """Take a run apart by what it is measured by."""
    return [
        Part(name, samples, metrics_of(run.measured_as, samples[0].family, samples[0].language))
        for name, samples in parts_of(run.benchmark, run.samples)
    ]


def built_in(preset: str = OURS) -> MetricsOf:
    """Return what chooses metrics: those of a built-in benchmark by its name, else those of the family and language.

    Args:
        preset: of eval.metrics.registry. "ours" adds the released way of counting where a benchmark has it.
    Raises:
        ConfigError: there is no such preset.
    """
    check_choice("preset", preset, PRESETS)

    def choose(name: str, family: str, language: str) -> Sequence[Metric]:
        benchmark = BENCHMARKS.get(name.partition(VARIANT_MARK)[0])
        if benchmark is None or (preset != OURS and not benchmark.not_computed):
            return metrics_for(family, language, preset=preset, benchmark=benchmark)
        return metrics_of_benchmark(benchmark)(family, language)

    return choose


def score_run(
    path: Path | str,
    *,
    preset: str = OURS,
    by: Sequence[str] = SUBGROUP_KEYS,
    only: Sequence[str] = (),
    form: Form = "text",
) -> str:
    """Score what a run has stored.

    Args:
        path: a file of samples, the folder of one benchmark, or a folder of such folders.
        preset: "ours" writes results.json of every benchmark, the same bytes as the run wrote. Another one writes nothing: "all" prints
            what each normaliser and each preset makes of the same answers, a preset's name what that one does.
        by: meta keys whose subgroups are scored; "duration" and "age" by classes.
        only: names of benchmarks; all by default.
        form: "text", "md" (Markdown) or "json".
    Returns:
        the text to print.
    Raises:
        DataError: nothing is there to score. ConfigError: no such preset or form.
    """
    check_choice("preset", preset, (*PRESETS, ALL))
    check_choice("form", form, FORMS)
    runs = read_runs(path, only)
    if preset == ALL:
        return ablation(runs, form)
    metrics_of = built_in(preset)
    work = rescore if preset == OURS else scores_of
    scores = [one for run in runs for one in work(run, metrics_of, by)]
    if form == "json":
        return json.dumps([one.to_json() for one in scores], ensure_ascii=False, indent=1)
    whole, groups = [one for one in scores if not one.subgroup], [one for one in scores if one.subgroup]
    tables = [scores_table(whole), *([subgroups_table(groups)] if groups else [])]
    return "\n\n".join(table.markdown() if form == "md" else table.text() for table in tables)


def scores_of(run: StoredRun, metrics_of: MetricsOf, by: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
    """Score one benchmark's samples part by part, each part's subgroups behind it."""
    return [one for part in parts(run, metrics_of) for one in score(part.name, part.samples, part.metrics, by=by)]


def rescore(run: StoredRun, metrics_of: MetricsOf, by: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
    """Score one benchmark's samples and write results.json beside them."""
    scores = scores_of(run, metrics_of, by)
    path = run.folder / run.results_name
    draft = path.with_name(path.name + ".part")
    draft.write_text(results_json(scores, {"benchmark": run.benchmark, "n": len(run.samples), **run.about}), encoding="utf-8")
    os.replace(draft, path)
    return scores


def ablation(runs: Sequence[StoredRun], form: Form = "text") -> str:
    """Print what other rules make of stored answers: every normaliser for error rates, every preset for all metrics."""
    rows = [row for run in runs for part in parts(run, built_in()) for row in _ablated(run, part)]
    if form == "json":
        return json.dumps(
            [{**row.score.to_json(), "rule": row.rule, "less_ours": plain(row.gap)} for row in rows], ensure_ascii=False, indent=1
        )
    table = _ablation_table(rows)
    return table.markdown() if form == "md" else table.text()


@dataclass(frozen=True, slots=True)
class Ablated:
    """A score under another rule; gap: less what the set's own rule gives, nan where the two are not of one kind."""

    rule: str
    score: Score
    gap: float


def _ablated(run: StoredRun, part: Part) -> list[Ablated]:
    found = {name: score(part.name, part.samples, [metric])[0] for name, metric in rules(run, part).items()}
    own = {one.metric: one.value for name, one in reversed(found.items()) if name.startswith(OURS)}
    return [
        Ablated(name.partition(" ")[0], one, NAN if name.startswith(OURS) else one.value - own.get(one.metric, NAN))
        for name, one in found.items()
    ]


def rules(run: StoredRun, part: Part) -> dict[str, Metric]:
    """List what a part can be measured by, each named by its rule first, no recipe twice.

    They are its own metrics, those of the presets, and its error rate after every normaliser.
    """
    family, language = part.samples[0].family, part.samples[0].language
    candidates: list[tuple[str, Metric]] = [(OURS, metric) for metric in part.metrics]
    for preset in PRESETS:
        if preset not in (OURS, SLOW):
            candidates += [(preset, metric) for metric in built_in(preset)(run.measured_as, family, language)]
    own = next((metric for metric in part.metrics if isinstance(metric, Wer)), None)
    if own is not None:
        mine = language_part(language)
        fitting = {name: rule for name, rule in NORMALISERS.items() if not mine or mine in MADE_FOR.get(name, {mine})}
        candidates += [(name, replace(own, normaliser=rule)) for name, rule in fitting.items()]
    found: dict[str, Metric] = {}
    for name, metric in candidates:
        if (metric.name, metric.signature) not in {(known.name, known.signature) for known in found.values()}:
            found[f"{name} {metric.name} {metric.signature}"] = metric
    return found


def _ablation_table(rows: Sequence[Ablated]) -> Table:
    columns = (
        Column("set"), Column("rule"), Column("metric"), Column("value", True), Column("95 % interval", True), Column("against ours", True),
        Column("recipe"),
    )  # fmt: skip
    cells = tuple(
        (
            row.score.benchmark, row.rule, f"{row.score.metric} {arrow(row.score.better)}", written(row.score.value, row.score.unit),
            between(row.score.low, row.score.high, row.score.unit), written(row.gap, row.score.unit, signed=True),
            row.score.not_computed or row.score.signature,
        )
        for row in rows
    )  # fmt: skip
    few = (FEW_NOTE,) if any(row.score.few for row in rows) else ()
    notes = ("The answers are the same in every row; what differs is the rule alone. Compare figures of one rule only.", *few)
    return Table(columns, cells, notes)


def compare_command(
    first: Path | str,
    second: Path | str,
    *,
    preset: str = OURS,
    only: Sequence[str] = (),
    form: Form = "text",
    names: tuple[str, str] | None = None,
) -> str:
    """Compare two stored runs on the same samples.

    Args:
        first, second: as for score_run.
        preset: whose metrics.
        only: names of benchmarks; all by default, which both must hold.
        form: "text", "md" or "json".
        names: what to call the runs; their models by default.
    Raises:
        DataError: they do not hold the same samples. ConfigError: no such form.
    """
    check_choice("form", form, FORMS)
    ones, twos = read_runs(first, only), read_runs(second, only)
    found = compared(ones, twos, built_in(preset))
    if form == "json":
        return json.dumps(to_json(found), ensure_ascii=False, indent=1)
    table = comparison_table(found, names or run_names(ones, twos, first, second))
    return table.markdown() if form == "md" else table.text()


def compared(first: Sequence[StoredRun], second: Sequence[StoredRun], metrics_of: MetricsOf) -> list[Comparison]:
    """Compare runs part by part; one set in each is a pair whatever the two are called, for its ids must be the same."""
    if len(first) == len(second) == 1:
        second = [replace(second[0], benchmark=first[0].benchmark)]
    ones, twos = ({part.name: part for run in runs for part in parts(run, metrics_of)} for runs in (first, second))
    metrics = {name: part.metrics for name, part in {**twos, **ones}.items()}
    return compare_runs({name: one.samples for name, one in ones.items()}, {name: two.samples for name, two in twos.items()}, metrics)


def run_names(first: Sequence[StoredRun], second: Sequence[StoredRun], one: Path | str, two: Path | str) -> tuple[str, str]:
    """Name two runs: by their models where these differ, else by their folders, else by their order."""
    models = tuple(", ".join(dict.fromkeys(run.model for run in runs if run.model)) for runs in (first, second))
    if all(models) and models[0] != models[1]:
        return models[0], models[1]
    stems = Path(one).resolve().stem, Path(two).resolve().stem
    return stems if stems[0] != stems[1] else (FIRST, SECOND)
