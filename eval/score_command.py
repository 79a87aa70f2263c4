"""Score stored samples anew, compare two runs, and print tables: nothing is asked of a model, and torch stays where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eval.compare import Comparison, compare_runs, to_json
from eval.metrics.edits import PRESETS, Wer, wer_for
from eval.metrics.sample import Metric, Sample
from eval.normalize import NORMALISERS
from eval.report.stored import MetricsOf, StoredRun, read_runs
from eval.report.tables import FEW_NOTE, Column, Table, comparison_table, scores_table, subgroups_table
from eval.report.values import NOTHING, between, written
from eval.score import SUBGROUP_KEYS, Score, parts_of, results_json, score
from qwen_audio.config import check_choice
from qwen_audio.errors import DataError

Form = Literal["text", "md", "json"]
FORMS: tuple[Form, ...] = ("text", "md", "json")
OURS, ALL = "ours", "all"
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
        Part(name, samples, metrics_of(run.benchmark, samples[0].family, samples[0].language))
        for name, samples in parts_of(run.benchmark, run.samples)
    ]


def score_run(
    path: Path | str,
    metrics_of: MetricsOf,
    *,
    preset: str = OURS,
    by: Sequence[str] = SUBGROUP_KEYS,
    only: Sequence[str] = (),
    form: Form = "text",
) -> str:
    """Score what a run has stored.

    Args:
        path: a file of samples, the folder of one benchmark, or a folder of such folders.
        metrics_of: which metrics a benchmark, a family and a language have.
        preset: "ours" writes results.json of every benchmark, the same bytes as the run wrote; "all" writes nothing and prints what each
            normaliser makes of the same answers.
        by: meta keys whose subgroups are scored; "duration" and "age" by classes.
        only: names of benchmarks; all by default.
        form: "text", "md" (Markdown) or "json".
    Returns:
        the text to print.
    Raises:
        DataError: nothing is there to score. ConfigError: no such preset or form.
    """
    check_choice("preset", preset, (OURS, ALL))
    check_choice("form", form, FORMS)
    runs = read_runs(path, only)
    if preset == ALL:
        return ablation(runs, metrics_of, form)
    scores = [one for run in runs for one in rescore(run, metrics_of, by)]
    if form == "json":
        return json.dumps([one.to_json() for one in scores], ensure_ascii=False, indent=1)
    whole, groups = [one for one in scores if not one.subgroup], [one for one in scores if one.subgroup]
    tables = [scores_table(whole), *([subgroups_table(groups)] if groups else [])]
    return "\n\n".join(table.markdown() if form == "md" else table.text() for table in tables)


def rescore(run: StoredRun, metrics_of: MetricsOf, by: Sequence[str] = SUBGROUP_KEYS) -> list[Score]:
    """Score one benchmark's samples and write results.json beside them."""
    scores = [one for part in parts(run, metrics_of) for one in score(part.name, part.samples, part.metrics, by=by)]
    path = run.folder / run.results_name
    draft = path.with_name(path.name + ".part")
    draft.write_text(results_json(scores, {"benchmark": run.benchmark, "n": len(run.samples), **run.about}), encoding="utf-8")
    os.replace(draft, path)
    return scores


def ablation(runs: Sequence[StoredRun], metrics_of: MetricsOf, form: Form = "text") -> str:
    """Print the error rates of stored answers after every normaliser, and after the rules of others' harnesses.

    Raises:
        DataError: none of the sets is measured by an error rate.
    """
    rows: list[tuple[str, str, Score, float]] = []
    for run in runs:
        for part in parts(run, metrics_of):
            own = next((metric for metric in part.metrics if isinstance(metric, Wer)), None)
            if own is not None:
                found = {name: score(part.name, part.samples, [rate])[0] for name, rate in rates(own, part.samples[0].language).items()}
                base = next(one.value for one in found.values())
                rows += [(part.name, name, one, one.value - base) for name, one in found.items()]
    if not rows:
        raise DataError(f"{', '.join(run.benchmark for run in runs)}: no error rate among the metrics, so no normaliser makes a difference")
    if form == "json":
        return json.dumps([{**one.to_json(), "rule": name, "less_ours": gap} for _, name, one, gap in rows], ensure_ascii=False, indent=1)
    table = _ablation_table(rows)
    return table.markdown() if form == "md" else table.text()


def _ablation_table(rows: Sequence[tuple[str, str, Score, float]]) -> Table:
    columns = (
        Column("set"), Column("rule"), Column("value", True), Column("95 % interval", True), Column("against ours", True), Column("recipe"),
    )  # fmt: skip
    cells = tuple(
        (
            name, rule, written(one.value, one.unit), between(one.low, one.high, one.unit),
            NOTHING if rule == OURS else written(gap, one.unit, signed=True), one.not_computed or one.signature,
        )
        for name, rule, one, gap in rows
    )  # fmt: skip
    few = (FEW_NOTE,) if any(one.few for _, _, one, _ in rows) else ()
    notes = ("The answers are the same in every row; what differs is the rule alone. Compare figures of one rule only.", *few)
    return Table(columns, cells, notes)


def rates(own: Wer, language: str) -> dict[str, Wer]:
    """List the error rates that a set can be measured by: its own first, then others' presets, then every normaliser by its name."""
    found = {OURS: own}
    candidates = {name: wer_for(language, name) for name in PRESETS if name != OURS}
    candidates |= {name: Wer(rule, own.tokens, closest=own.closest) for name, rule in NORMALISERS.items()}
    for name, rate in candidates.items():
        if rate.signature not in {known.signature for known in found.values()}:
            found[name] = rate
    return found


def compare_command(
    first: Path | str,
    second: Path | str,
    metrics_of: MetricsOf,
    *,
    only: Sequence[str] = (),
    form: Form = "text",
    names: tuple[str, str] | None = None,
) -> str:
    """Compare two stored runs on the same samples.

    Args:
        first, second: as for score_run.
        metrics_of: which metrics a benchmark, a family and a language have.
        only: names of benchmarks; all by default, which both must hold.
        form: "text", "md" or "json".
        names: what to call the runs; their models by default.
    Raises:
        DataError: they do not hold the same samples. ConfigError: no such form.
    """
    check_choice("form", form, FORMS)
    ones, twos = read_runs(first, only), read_runs(second, only)
    found = compared(ones, twos, metrics_of)
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
