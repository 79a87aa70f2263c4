"""Write the report of a run: `python -m eval report`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmarks.load import load
from eval.benchmarks.paper import PUBLISHED, paper_cells
from eval.metrics.registry import OURS
from eval.report.page import Beside, page
from eval.report.sound import Rows, Sounds, rows_of
from eval.report.stored import MetricsOf, StoredRun, read_runs
from eval.report.tables import Column, Table
from eval.score import Score, score
from eval.score_command import built_in, compared, parts, run_names
from qwen_audio.config import option
from qwen_audio.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What goes into a report."""

    worst: int = option(10, "samples shown of each set, the worst first")
    audio_mb: float = option(20.0, "room for sound in the page, million bytes; 0 leaves it out")

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise ConfigError(f"worst is {self.worst}: expected 0 or more")
        if not self.audio_mb >= 0:
            raise ConfigError(f"audio_mb is {self.audio_mb}: expected 0 or more")


def write_report(
    path: Path | str,
    output: Path | str,
    *,
    options: ReportOptions | None = None,
    tasks: Sequence[str] = (),
    data_root: Path | str | None = None,
    against: Path | str | None = None,
    only: Sequence[str] = (),
    preset: str = OURS,
) -> str:
    """Write the page of a run and say what is in it.

    Args:
        path: a file of samples, the folder of one benchmark, or a folder of such folders.
        output: the HTML file.
        tasks: the sets or files of rows that were run, for their sound and questions; by default the sets that path names, where
            data_root is given.
        data_root: as for the run.
        against: another run on the same samples, compared and drawn beside.
        only: names of benchmarks; all by default.
        preset: whose metrics.
    Raises:
        DataError: nothing is there, or the runs do not hold the same samples.
    """
    options = options or ReportOptions()
    metrics_of = built_in(preset)
    runs = read_runs(path, only)
    sounds = Sounds(rows_for(runs, tasks, data_root) if options.audio_mb else {}, options.audio_mb)
    beside = Beside(paper=paper_of)
    if against is not None:
        beside = _beside(runs, read_runs(against, only), path, against, metrics_of)
    text = page(runs, metrics_of, sounds, n_worst=options.worst, beside=beside)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(output.name + ".part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, output)
    size = len(text.encode()) / 1e6
    return f"{output}: {len(runs)} sets, {sum(len(run.samples) for run in runs):,} samples, {size:.1f} MB. {sounds.note}".strip()


def rows_for(runs: Sequence[StoredRun], tasks: Sequence[str], data_root: Path | str | None) -> dict[str, Rows]:
    """Load the rows that runs were made of, by benchmark.

    Sets that nobody named are tried where there is a data root; what is not found is said in the log, and shown without sound.

    Raises:
        DataError, ConfigError: one of the tasks cannot be loaded.
    """
    names = [run.benchmark for run in runs]
    found = {}
    for task in tasks:
        loaded = load(task, data_root, lengths=False)
        name = names[0] if len(names) == len(tasks) == 1 else loaded.benchmark.name
        if name in names:
            found[name] = rows_of(loaded.records, loaded.root)
        else:
            log.warning("%s: the run has no samples of %s; it has %s", task, name, ", ".join(names))
    if tasks or data_root is None:
        return found
    for name in names:
        try:
            loaded = load(name, data_root, lengths=False)
        except (DataError, ConfigError) as error:
            log.warning("%s is shown without sound: %s", name, error)
        else:
            found[name] = rows_of(loaded.records, loaded.root)
    return found


def paper_of(model: str, scores: Sequence[Score]) -> Table | None:
    """Lay the paper's figures beside scores; None where none of its sets was run."""
    known = {row.benchmark for row in PUBLISHED}
    if not any(one.benchmark in known for one in scores):
        return None
    cells = paper_cells(scores, model)
    words = ("set", "metric", "note")
    columns = tuple(Column(name, right=name not in words) for name in cells.head)
    notes = (*(f"{number}. {note}" for number, note in enumerate(cells.notes, 1)), *cells.remarks)
    return Table(columns, cells.rows, notes)


def _beside(runs: Sequence[StoredRun], others: Sequence[StoredRun], path: Path | str, against: Path | str, metrics_of: MetricsOf) -> Beside:
    """Compare a run with another one."""
    found = compared(runs, others, metrics_of)
    scores = [
        one
        for run, other in zip(runs, others, strict=True)
        for part in parts(replace(other, benchmark=run.benchmark), metrics_of)
        for one in score(part.name, part.samples, part.metrics)
    ]
    return Beside(name=run_names(runs, others, path, against)[1], comparisons=found, scores=scores, paper=paper_of)
