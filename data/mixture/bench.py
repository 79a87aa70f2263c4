"""Measure the index on rows that are made up: `python -m data.mixture.bench --rows 10000000`.

Each part runs in a process of its own, so that its peak of memory is its own. The rows state the lengths of clips that do not exist;
everything else about them is checked as it always is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from data.admission import AdmissionOptions
from data.index.build import open_index
from data.index.index import Index, IndexOptions
from data.manifest import AudioRef, Record
from data.mixture.batches import BatchPlan, DataState, global_batches
from data.mixture.mixture import Draw, Mixture
from qwen_audio.command import common_flags, run_command
from qwen_audio.config import CommandParser
from qwen_audio.errors import ConfigError
from tag_schema.tasks import prefix_for

T = TypeVar("T")
ROWS: Final = 10_000_000
PLACE: Final = 0.7654321  # of all rows, where a run is killed and resumed
WRITTEN: Final = 20_000  # rows written at a time
SAMPLES: Final = 1000  # compared after the resume
PLAN: Final = BatchPlan(budget_tokens=32_768, max_rows=256)


@dataclass(frozen=True, slots=True)
class Rows:
    """A file of rows and how it is indexed."""

    path: str
    count: int
    workers: int

    @property
    def place(self) -> int:
        """The row and the draw at which a run is resumed."""
        return round(self.count * PLACE)

    def open(self) -> Index:
        """Open the index; make it where there is none."""
        return open_index(self.path, IndexOptions(admission=AdmissionOptions(trust_durations=True), workers=self.workers))


@dataclass(frozen=True, slots=True)
class Part:
    """What one process found.

    Attributes:
        seconds: on the clock; cpu_s: of processor time, that of its own processes included.
        peak_mb: of memory, with the pages of the index that are mapped, which the system takes back when it needs them.
        told: what else there is to say.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    told: Any = None


def bench(rows: int = ROWS, workers: int = 1, folder: Path | str | None = None) -> str:
    """Make rows, index them, let a run come to a place, and resume it there from the index and its state alone.

    Args:
        rows: how many.
        workers: processes that make the index.
        folder: where the files are put, and removed again; by default the system's folder for temporary files.
    Returns:
        the figures, one a line.
    Raises:
        ConfigError: fewer rows than can be measured.
    """
    if rows < 10 * SAMPLES:
        raise ConfigError(f"rows is {rows}: expected at least {10 * SAMPLES}")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        job = Rows(str(Path(made) / "rows.jsonl"), rows, workers)
        _write(job)
        built, run = _apart(_build, job), _apart(_run, job)
        resumed = _apart(_resume, job, run.told["state"])
        size = Path(job.path).stat().st_size
    pace, state = f"{1e6 * built.cpu_s / rows:.1f} s of processor time a million rows", run.told["state"]
    same = "equal" if resumed.told["samples"] == run.told["samples"] else "DIFFER from"
    figures = {
        "rows": f"{rows:,} in {size / 1e6:,.0f} MB of JSONL, {built.told['admitted']:,} admitted",
        "index on disk": f"{built.told['bytes'] / 1e6:,.1f} MB",
        "index made in": f"{built.seconds:,.1f} s, {pace} (processes: {workers})",
        "peak memory, making it": f"{built.peak_mb:,.0f} MB",
        "draws, in batches": f"{state['position'] / run.cpu_s:,.0f} a second of processor time",
        "peak memory, a run": f"{run.peak_mb:,.0f} MB with mapped pages, after {state['position']:,} draws",
        f"opened, row {job.place:,} read": f"{resumed.told['row_s']:.3f} s",
        f"resumed at draw {state['position']:,}": f"{resumed.seconds:.3f} s from opening to the first batch, its rows read",
        "peak memory, resumed": f"{resumed.peak_mb:,.0f} MB",
        "rows read": f"{resumed.told['rows_per_s']:,.0f} a second of processor time",
        f"next {SAMPLES} samples": f"{same} those of the run that was not stopped",
    }
    return "\n".join(f"{name:<32}{value}" for name, value in figures.items())


def _apart(work: Callable[..., Part], *given: Any) -> Part:
    """Do a part in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def _part(began: float, told: Any) -> Part:
    """Take this process' figures: clock from `began` on, processor time and memory from its start."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes on Linux
    return Part(time.monotonic() - began, cpu_s, own.ru_maxrss / unit, told)


# Rows -----------------------------------------------------------------------------------------------------------------------


def _write(job: Rows) -> None:
    """Write the rows: twelve data sets of two tasks, clips of 1 to 29 s."""
    forms = [_form(f"set{number}", family) for number in range(12) for family in ("asr", "sound_event")]
    with open(job.path, "w", encoding="utf-8") as out:
        for first in range(0, job.count, WRITTEN):
            lines = (forms[n * 7919 % 24] % (n, n, 1 + n * 104_729 % 2800 / 100, n) for n in range(first, min(first + WRITTEN, job.count)))
            out.writelines(lines)


def _form(dataset: str, family: str) -> str:
    """Return a line with places for the number, the number, the seconds and the number."""
    prefix = prefix_for(family, language="en" if family == "asr" else None)
    record = Record("row-@", (AudioRef("clips/@.flac", 0.0, 7.5),), "this is number @", family, prefix, dataset=dataset)
    line = json.dumps(record.to_json())
    assert "%" not in line and line.count("@") == 3 and line.count("7.5") == 1
    return line.replace("@", "%d").replace("7.5", "%.2f") + "\n"


# Parts ----------------------------------------------------------------------------------------------------------------------


def _build(job: Rows) -> Part:
    began = time.monotonic()
    index = job.open()
    return _part(began, {"bytes": sum(path.stat().st_size for path in index.folder.iterdir()), "admitted": len(index)})


def _run(job: Rows) -> Part:
    """Run without a stop to the first batch behind the place, and note the state there and the samples that come next."""
    mixture, began = Mixture([job.open()]), time.monotonic()
    batches = global_batches(mixture, PLAN)
    state = next(state for state, _ in batches if state.position >= job.place)
    part = _part(began, {"state": state.to_json()})
    part.told["samples"] = _samples(mixture, batches)
    return part


def _resume(job: Rows, state: dict[str, Any]) -> Part:
    """Open everything anew and go on from a state."""
    began = time.monotonic()
    index = job.open()
    assert isinstance(index.record(job.place), Record)
    row_s = time.monotonic() - began
    index.close()

    began = time.monotonic()
    mixture = Mixture([job.open()])
    read = [mixture.record(draw) for draw in next(global_batches(mixture, PLAN, DataState.from_json(state)))[1]]
    part = _part(began, {"row_s": row_s})
    assert all(isinstance(record, Record) for record in read)

    began = time.process_time()
    part.told["samples"] = _samples(mixture, global_batches(mixture, PLAN, DataState.from_json(state)))
    part.told["rows_per_s"] = SAMPLES / (time.process_time() - began)
    return part


def _samples(mixture: Mixture, batches: Iterator[tuple[DataState, list[Draw]]]) -> list[Any]:
    """Read the next samples of a run, each as the plain values of its record."""
    draws = islice((draw for _, draws in batches for draw in draws), SAMPLES)
    return [asdict(record) for record in map(mixture.record, draws)]


def main(argv: list[str] | None = None) -> int:
    """Measure how an index is made, opened and resumed from."""
    parser = CommandParser(prog="python -m data.mixture.bench", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows to make up (default: {ROWS})")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the index (default: 1)")
    parser.add_argument("--folder", help="where files are put, 300 bytes a row (default: the system's folder for temporary files)")
    common_flags(parser)
    return run_command(parser.parse_args(argv), _bench)


def _bench(args: argparse.Namespace) -> str:
    return bench(args.rows, args.workers, args.folder)


if __name__ == "__main__":
    sys.exit(main())
