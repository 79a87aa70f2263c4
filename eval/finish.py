"""Samples -> samples.jsonl and results.json: the same samples give the same bytes, however the run went."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.metrics.sample import Metric, Sample
from eval.samples import write_samples
from eval.score import SUBGROUP_KEYS, Score, parts_of, results_json, score

Choose = Callable[[str, str], Sequence[Metric]]  # (family, language) -> its metrics


def finish(
    folder: Path | str,
    benchmark: str,
    samples: Sequence[Sample],
    about: Mapping[str, Any],
    metrics_for: Choose,
    *,
    with_subgroups: bool = True,
) -> list[Score]:
    """Score samples and write samples.jsonl and results.json into a run's folder.

    Args:
        benchmark: its name; where rows are of several families or languages, each gets its own scores, as `name asr en`.
        about: what the samples were made by (Run.about).
        metrics_for: which metrics a family and a language have.
        with_subgroups: score subgroups (gender, age, length) too.
    Returns:
        the scores, each part's with its subgroups behind.
    """
    folder = Path(folder)
    write_samples(samples, folder / "samples.jsonl")
    scores: list[Score] = []
    for name, members in parts_of(benchmark, samples):
        metrics = metrics_for(members[0].family, members[0].language)
        scores += score(name, members, metrics, by=SUBGROUP_KEYS if with_subgroups else ())
    draft = folder / "results.json.part"
    draft.write_text(results_json(scores, {"benchmark": benchmark, "n": len(samples), **about}), encoding="utf-8")
    os.replace(draft, folder / "results.json")
    return scores
