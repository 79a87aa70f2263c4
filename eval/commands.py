"""What `python -m eval run` and its neighbours do: sets are loaded, answered, scored and told, one after another."""

from __future__ import annotations

import functools
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmarks.load import Loaded, load_all
from eval.benchmarks.measures import metrics_of
from eval.benchmarks.paper import PUBLISHED, paper_table
from eval.finish import finish
from eval.models.opening import open_model, own_tags
from eval.options import ModelOptions, ParityOptions, RunOptions
from eval.parity import parity, parity_table
from eval.report.tables import scores_table
from eval.runner import run
from eval.score import Score

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is asked for.

    Attributes:
        model: as open_model takes it.
        tasks: names of benchmarks and groups, and files of rows.
        output: folder; each set gets one of its own in it.
        data_root: folder that holds a folder for each corpus.
    """

    model: str
    tasks: tuple[str, ...]
    output: str
    data_root: str | None = None


def run_sets(asked: Asked, options: RunOptions, model_options: ModelOptions, *, as_json: bool = False) -> str:
    """Answer and score sets and return their table; a set that was answered before goes on where it stopped.

    Returns:
        the table, or the scores as JSON; "" in the further ranks of torchrun.
    Raises:
        ConfigError, DataError, CheckpointError: a set, its data or the model is not there.
    """
    scores: list[Score] = []
    custom = own_tags(asked.model, model_options)
    for loaded in load_all(asked.tasks, asked.data_root, limit=options.limit or None, custom=custom):
        found = run_set(loaded, asked, options, model_options)
        if found is None:
            return ""
        scores += found
    if as_json:
        return json.dumps([one.to_json() for one in scores], ensure_ascii=False, indent=1)
    whole = [one for one in scores if not one.subgroup]  # subgroups stand in results.json, in `score` and in the report
    parts = [scores_table(whole).text()]
    if {one.benchmark for one in whole} & {row.benchmark for row in PUBLISHED}:
        parts.append(paper_table(whole, asked.model))
    return "\n\n".join(parts)


def run_set(loaded: Loaded, asked: Asked, options: RunOptions, model_options: ModelOptions) -> list[Score] | None:
    """Answer and score one set; None in the further ranks of torchrun."""
    benchmark = loaded.benchmark
    for line in loaded.account.lines():
        log.info("%s", line)
    folder = Path(asked.output) / benchmark.name
    limit = options.max_new_tokens or benchmark.max_new_tokens
    ready = replace(options, limit=0, recipe=benchmark.recipe, max_new_tokens=limit)
    opener = functools.partial(open_model, asked.model, model_options)
    done = run(opener, loaded.records, loaded.root, folder, ready)
    if done is None:
        return None
    return finish(folder, benchmark.name, done.samples, {**done.about, "account": loaded.account.to_json()}, metrics_of(benchmark))


def parity_of(asked: Asked, options: ParityOptions, model_options: ModelOptions) -> str:
    """Compare two ways of answering the same rows, set by set, and return the tables."""
    tables = []
    for loaded in load_all(asked.tasks, asked.data_root, custom=own_tags(asked.model, model_options)):
        found = parity(
            asked.model, loaded.records, loaded.root, options=options, model_options=model_options, metrics_for=metrics_of(loaded.benchmark)
        )
        tables.append(f"{loaded.benchmark.name}\n{parity_table(found)}")
    return "\n\n".join(tables)
