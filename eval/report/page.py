"""The HTML page: one file with scores, intervals, sound and alignments that opens without a network and without a script."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.compare import Comparison
from eval.progress import clock
from eval.report.forest import panels
from eval.report.sections import sections
from eval.report.sound import Sounds
from eval.report.stored import MetricsOf, StoredRun
from eval.report.tables import FEW_NOTE, Column, Table, comparison_table, details_words
from eval.report.values import arrow, between, cluster_words, number, recipe_of, titles, written
from eval.score import Score
from eval.statistics import FEW_CLUSTERS

HERE = Path(__file__).parent
UNSEEN = ((0x7F, 0x9F), (0x61C, 0x61C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF))  # controls, surrogates
PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
PICTURES |= {code: f"[U+{code:04X}]" for first, last in UNSEEN for code in range(first, last + 1)}
FIGURE = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What stands beside the scores of a run.

    Attributes:
        name: of the other run.
        comparisons: of the two.
        scores: of the other run.
        paper: makes a table of published numbers beside those of this run, of its model's name and its scores.
    """

    name: str = ""
    comparisons: Sequence[Comparison] = ()
    scores: Sequence[Score] = ()
    paper: Callable[[str, Sequence[Score]], Table | None] | None = None


def page(runs: Sequence[StoredRun], metrics_of: MetricsOf, sounds: Sounds, *, n_worst: int = 10, beside: Beside | None = None) -> str:
    """Return the text of the page.

    Args:
        runs: one for each benchmark.
        metrics_of: which metrics a benchmark, a family and a language have.
        sounds: hands out the clips.
        n_worst: samples shown of each benchmark.
    """
    beside = beside or Beside()
    found = sections(runs, metrics_of, sounds, n_worst)
    scores = [one for section in found for one in section.scores]
    title = model_name(runs)
    names = (title, beside.name)
    anchors = {section.name: section.anchor for section in found}
    named = titles(scores)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    shown = {
        "title": title, "names": names, "two": bool(beside.name), "title_of": lambda one: named[recipe_of(one)],
        "facts": _facts(runs), "warnings": _warnings(runs), "made": made_by(runs), "few": FEW_CLUSTERS, "sections": found,
        "panels": panels([section.scores[0] for section in found if section.scores], beside.scores, anchors, named),
        "further": panels([one for section in found for one in section.scores[1:]], beside.scores, anchors, named),
        "notes": [FEW_NOTE] if any(one.few and not math.isnan(one.low) for one in scores) else [], "costs": cost_table(runs),
        "reasons": list(dict.fromkeys((one.metric, one.not_computed) for one in scores if one.not_computed)),
        "paper": beside.paper(title, scores) if beside.paper else None,
        "comparison": comparison_table(beside.comparisons, names) if beside.comparisons else None,
        "recipes": sorted({(one.metric, one.signature) for one in scores}),
        "any_lenient": any(one.lenient != one.value and not one.not_computed for one in scores),
        "any_failed": any(one.n_failed for one in scores),
        "any_chance": any(one.chance is not None for one in scores), "any_ceiling": any(one.ceiling is not None for one in scores),
        "audio_note": sounds.note, "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script), "script_hash": script_hash(script),
    }  # fmt: skip
    return _environment().get_template("page.html").render(shown)


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"visible": visible, "written": written, "arrow": arrow, "at": _at, "figure": _figure}
    made.globals |= {"between": between, "clusters": cluster_words, "details": details_words}
    return made


def visible(text: object) -> str:
    """Show control characters by their pictures, so that no answer hides what it holds or turns the text around it."""
    return str(text).translate(PICTURES)


def _at(place: float) -> str:
    """Write a place in an SVG as a per cent of its width."""
    return f"{place:.2f}%"


def _figure(cell: str) -> float | None:
    """Read the number that a cell begins with, by which its column is sorted; None where it begins with words."""
    match = FIGURE.match(cell)
    return float(match[0].replace(",", "")) if match else None


def script_hash(script: str) -> str:
    """Return what the page's content policy calls its one script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def model_name(runs: Sequence[StoredRun]) -> str:
    """Name the model of runs; several of them one after another."""
    return ", ".join(dict.fromkeys(run.model for run in runs if run.model)) or "model not named"


def _facts(runs: Sequence[StoredRun]) -> list[str]:
    samples = [sample for run in runs for sample in run.samples]
    seconds = sum(sample.audio_s for sample in samples)
    failed = sum(sample.status != "ok" for sample in samples)
    heard = [f"{clock(seconds)} of audio"] if seconds else []
    ended = f"{failed:,} without an answer" if failed else "every sample answered"
    return [f"{len(runs)} set{'' if len(runs) == 1 else 's'}", f"{len(samples):,} samples", *heard, ended]


def _warnings(runs: Sequence[StoredRun]) -> list[str]:
    drawn = [run.benchmark for run in runs if run.about.get("limit") or dict(run.about.get("account", {})).get("subset")]
    found = [f"Only a draw of the rows was run (--limit): {', '.join(drawn)}."] if drawn else []
    if len({run.about.get("identity") for run in runs if run.about}) > 1:
        found.append("These sets were answered by different weights.")
    return found


def made_by(runs: Sequence[StoredRun]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Say what made the answers: (benchmarks, (name, value) pairs), benchmarks with the same story together."""
    stories: dict[str, tuple[list[str], list[tuple[str, str]]]] = {}
    for run in runs:
        if not run.about:
            continue
        flat = [pair for name, value in run.about.items() for pair in _flat(name, value)]
        stories.setdefault(json.dumps(flat), ([], flat))[0].append(run.benchmark)
    return [(", ".join(names), flat) for names, flat in stories.values()]


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(str(key), item)]
    if isinstance(value, list):
        return _flat(name, "; ".join(map(str, value)))
    if value in ("", None, [], {}):
        return []
    words = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return [(name.replace("_", " "), words)]


COST_COLUMNS = (  # key of cost.json -> the column's name
    ("samples", "samples"), ("audio_s", "audio, s"), ("wall_s", "took, s"), ("rtfx", "RTFx"), ("tokens_per_s", "tokens/s"),
    ("latency_p50_s", "batch p50, s"), ("latency_p95_s", "batch p95, s"), ("batch_size", "batch size"), ("host_mib", "peak memory, MiB"),
    ("device_mib", "peak GPU memory, MiB"),
)  # fmt: skip


def cost_table(runs: Sequence[StoredRun]) -> Table | None:
    """Lay out what runs cost; None where nobody counted."""
    if not any(run.cost for run in runs):
        return None
    rows = tuple((run.benchmark, *(_cost(run.cost.get(key)) for key, _ in COST_COLUMNS)) for run in runs)
    columns = (Column("set"), *(Column(name, right=True) for _, name in COST_COLUMNS))
    notes = ("RTFx: seconds of audio answered in a second. p50, p95: time of a whole batch.",)
    return Table(columns, rows, notes).without_empty(*(name for _, name in COST_COLUMNS))


def _cost(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) and value else ""
