"""Records -> samples: rows in batches that only depend on the rows, every whole batch logged, so that a killed run goes on where it was.

A run of several processes deals whole batches out; each of them logs its own, and the first one puts the samples together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.examples import most_tokens
from data.manifest import Record
from eval.batches import first_rows, plan
from eval.cost import MIB, BatchCost, CostLog, host_peak_mib, write_cost
from eval.hearing import Hearing, joined
from eval.log import Line, LogWriter, line_key, part_name, read_log
from eval.metrics.sample import Sample, sample_of
from eval.models.asking import asked
from eval.models.base import Answered, Asked, Model, ModelGone, failed, reason
from eval.options import RunOptions
from eval.progress import Progress
from eval.workers import Place, Workers, share_cores
from qwen_audio.errors import USER_ERRORS, ConfigError, DataError

log = logging.getLogger(__name__)

RUN_VERSION = "run 1"  # raise the number when the same row is answered in another way
AHEAD = 2  # batches whose audio is read while the model answers


@dataclass(frozen=True, slots=True)
class Run:
    """What came out: a sample for each row, in the order of their ids, and what they were made by (no times, no places on a disk)."""

    samples: list[Sample]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What every process of a run is given; it travels between processes."""

    opener: Callable[[], Model]
    records: Sequence[Record]
    data_root: Path
    folder: Path
    options: RunOptions


@dataclass(slots=True)
class Batch:
    """Rows that are answered together.

    Attributes:
        rows: the records, their choices in their questions.
        keys: of their lines in the log.
        parts: for each row what to ask, or how it ends; empty where nothing is to do.
    """

    rows: list[Record]
    keys: list[str]
    parts: list[list[Asked] | Answered] = field(default_factory=list)


def run(
    opener: Callable[[], Model], records: Sequence[Record], data_root: Path | str, folder: Path | str, options: RunOptions
) -> Run | None:
    """Answer the rows of a set and log them in its folder; what is logged already is not asked again.

    Args:
        opener: opens the model; with several workers it is pickled and called in each.
        records: rows with different ids.
        data_root: where relative paths of clips begin.
        folder: of this run and this set: log.jsonl, cost.jsonl, cost.json.
    Returns:
        the samples; None in the further ranks of torchrun.
    Raises:
        DataError: an id stands twice, the folder is written by another run, or a worker failed.
        ModelGone: the model answers nobody any more.
    """
    job = Job(opener, records, Path(data_root), Path(folder), options)
    place = Place.of_environment()
    if place is not None:
        if place.ranks > 1 and (options.overwrite or options.retry_failed):
            flag, mend = ("--overwrite", f"delete {folder} first") if options.overwrite else ("--retry-failed", "use --workers")
            raise ConfigError(f"{flag} under torchrun: its ranks do not begin together; {mend}")
        return _rank(job, place, None)
    if options.workers == 1:
        return _rank(job, Place(0, 1), None)
    share_cores(options.workers)
    return _rank(job, Place(0, options.workers), Workers(options.workers, _further_rank, job))


def _further_rank(job: Job, place: Place) -> None:
    """Work as one of the further processes that a run has started."""
    _rank(job, place, None)


def _rank(job: Job, place: Place, workers: Workers | None) -> Run | None:
    """Do one rank's share; the first one waits for the others and returns the samples."""
    with LogWriter(job.folder, place.rank) as writer:
        costs = CostLog(job.folder, place.rank)
        try:
            if job.options.overwrite and place.rank == 0:
                _clear(job.folder, writer, costs)
            if workers is not None:
                workers.start()
            shift = Shift(job, place, job.opener(), writer, costs)
            shift.work(workers)
            if place.rank:
                return None
            if workers is not None:
                workers.join()
            samples = shift.samples(wait=place.ranks > 1 and workers is None)
        finally:
            costs.close()
            if workers is not None:
                workers.stop()
    write_cost(job.folder)
    _tell_of_failures(samples)
    return Run(samples, shift.about())


def _clear(folder: Path, writer: LogWriter, costs: CostLog) -> None:
    """Throw away what earlier runs left."""
    writer.clear()
    costs.clear()
    kept = {part_name(0), part_name(0, "cost")}
    stale = [*folder.glob("log.*.jsonl"), *folder.glob("cost*.json*"), folder / "samples.jsonl", folder / "results.json"]
    for path in stale:
        if path.name not in kept:
            path.unlink(missing_ok=True)


class Shift:
    """One rank at work."""

    def __init__(self, job: Job, place: Place, model: Model, writer: LogWriter, costs: CostLog) -> None:
        self.job, self.place, self.model, self.writer, self.costs = job, place, model, writer, costs
        self.options = options = job.options
        about = model.about
        self.hearing = Hearing(job.data_root, about.window_s, options.long_audio, about.hears)
        self.batch_size = options.batch_size or about.batch_size
        self.records = {record.id: record for record in job.records}
        ids = first_rows([record.id for record in job.records], options.limit)
        self.seconds = {name: self.hearing.seconds(self.records[name]) for name in ids}
        self.plan = plan(ids, self.seconds, self.batch_size)
        self.known = read_log(job.folder)
        if options.retry_failed:
            self.known = {key: line for key, line in self.known.items() if line.status != "infer_fail"}
        self._keys: dict[str, str] = {}

    def about(self) -> dict[str, Any]:
        """Say what the samples were made by."""
        about = self.model.about
        return {
            "model": about.name,
            "identity": about.identity,
            "settings": {**about.settings, **self._settings()},
            "recipe": self.options.recipe,
            "version": RUN_VERSION,
            "limit": self.options.limit,
        }

    def work(self, workers: Workers | None = None) -> None:
        """Answer this rank's batches that are not in the log."""
        mine = self.plan[self.place.rank :: self.place.ranks]
        names = [name for batch in mine for name in batch]
        label = f"worker 1 of {self.place.ranks}: " if self.place.ranks > 1 else ""
        progress = Progress(len(names), sum(map(self.seconds.__getitem__, names)), self.options.quiet or self.place.rank > 0, label)
        for batch, wait_s in _ahead(self._read, mine):
            audio_s = sum(self.seconds[row.id] for row in batch.rows)
            if batch.parts:
                self._answer(batch, audio_s, wait_s)
            progress.add(len(batch.rows), audio_s, fresh=bool(batch.parts))
            if workers is not None:
                workers.check()
        progress.close()

    def samples(self, *, wait: bool) -> list[Sample]:
        """Put the samples together from the log alone.

        Args:
            wait: for the batches of ranks that nobody here has started.
        """
        batches = [self._batch(names) for names in self.plan]
        lines = read_log(self.job.folder)
        while wait and any(key not in lines for batch in batches for key in batch.keys):
            time.sleep(1.0)
            lines = read_log(self.job.folder)
        if lost := [row.id for batch in batches for row, key in zip(batch.rows, batch.keys, strict=True) if key not in lines]:
            raise DataError(f"{lost[0]} and {len(lost) - 1} other rows changed while the run was at work; run again, the rest is kept")
        found = []
        for row, key in ((row, key) for batch in batches for row, key in zip(batch.rows, batch.keys, strict=True)):
            record, line, audio_s = self.records[row.id], lines[key], self.seconds[row.id]
            found.append(sample_of(record, line.answer, status=line.status, error=line.error, audio_s=audio_s))
        return sorted(found, key=lambda sample: sample.id)

    def _batch(self, names: Sequence[str]) -> Batch:
        """Lay out a batch and name its lines."""
        rows = [asked(self.records[name]) for name in names]
        if any(row.id not in self._keys for row in rows):
            told = {row.id: (self.hearing.digests(row), self._prompt(row)) for row in rows}
            together = repr([(row.id, *told[row.id]) for row in rows]) if self.model.about.together else ""
            for row in rows:
                about, settings = self.model.about, self._settings() | {"max_new_tokens": self._most_tokens(row)}
                recipe = f"{RUN_VERSION}; {self.options.recipe}"
                self._keys[row.id] = line_key(row.id, *told[row.id], about.identity, {**about.settings, **settings}, recipe, together)
        return Batch(rows, [self._keys[row.id] for row in rows])

    def _read(self, names: Sequence[str]) -> Batch:
        """Lay out a batch and read its audio, unless all of it is answered already."""
        batch = self._batch(names)
        if any(key not in self.known for key in batch.keys):
            batch.parts = [self._parts(row) for row in batch.rows]
        return batch

    def _parts(self, row: Record) -> list[Asked] | Answered:
        return self.hearing.parts(row, self._most_tokens(row))

    def _prompt(self, row: Record) -> str:
        """Return what a row is told; where it cannot be told, why."""
        try:
            return self.model.prompt(row)
        except USER_ERRORS as error:
            return reason(error)

    def _settings(self) -> dict[str, Any]:
        """Return what of this run's options an answer depends on."""
        return {"long_audio": self.options.long_audio} | ({"batch_size": self.batch_size} if self.model.about.together else {})

    def _most_tokens(self, row: Record) -> int:
        return self.options.max_new_tokens or most_tokens(row)

    def _answer(self, batch: Batch, audio_s: float, wait_s: float) -> None:
        """Answer a batch, and log it once all of it is answered."""
        start = time.perf_counter()
        flat = [part for parts in batch.parts if not isinstance(parts, Answered) for part in parts]
        said, again = answer_rows(self.model, flat, self.batch_size)
        answers = iter(said)
        ends = [parts if isinstance(parts, Answered) else joined([next(answers) for _ in parts]) for parts in batch.parts]
        answer_s = time.perf_counter() - start
        named = zip(batch.keys, batch.rows, ends, strict=True)
        self.writer.append(Line(key, row.id, end.status, end.text, end.error) for key, row, end in named)
        took = BatchCost(
            n=len(ends), audio_s=audio_s, tokens=sum(end.n_tokens for end in ends), answer_s=answer_s, wait_s=wait_s,
            host_mib=round(host_peak_mib(), 1), device_mib=round(self.model.peak_bytes() / MIB, 1),
            rank=self.place.rank, ranks=self.place.ranks, again=again,
        )  # fmt: skip
        self.costs.append(took)


def answer_all(model: Model, rows: Sequence[Asked], batch_size: int) -> list[Answered]:
    """Answer rows that are at hand, those of like length together, and return the answers in the order of the rows."""
    lengths = [sum(len(clip.samples) for clip in row.heard) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: (-lengths[number], number))
    answers, _ = answer_rows(model, [rows[number] for number in order], batch_size)
    found = dict(zip(order, answers, strict=True))
    return [found[number] for number in range(len(rows))]


def answer_rows(model: Model, rows: Sequence[Asked], batch_size: int) -> tuple[list[Answered], int]:
    """Ask a model batch by batch; where a batch fails, its rows are asked one by one, and those that fail alone are infer_fail.

    Returns:
        the answers, and how many rows were asked again.
    Raises:
        ModelGone: the model answers nobody any more.
    """
    answers: list[Answered] = []
    again = 0
    for first in range(0, len(rows), batch_size):
        some = rows[first : first + batch_size]
        try:
            found = model.answer(some)
        except ModelGone:
            raise
        except Exception as error:  # whatever a model or its driver throws: the rows are accounted for, each with its reason
            log.warning("%d rows together: %s", len(some), reason(error))
            log.debug("where it happened", exc_info=error)
            found = [] if len(some) > 1 else [failed(error)]
        if not found and some:
            again += len(some)
            found = [_answer_alone(model, row) for row in some]
        assert len(found) == len(some), f"{model.about.name}: {len(found)} answers to {len(some)} rows"
        answers += found
    return answers, again


def _answer_alone(model: Model, row: Asked) -> Answered:
    try:
        (answer,) = model.answer([row])
    except ModelGone:
        raise
    except Exception as error:
        return failed(error)
    return answer


def _ahead(read: Callable[[Sequence[str]], Batch], names: Iterable[Sequence[str]]) -> Iterator[tuple[Batch, float]]:
    """Read batches in a thread, AHEAD of the one that is answered; with each the seconds that it was waited for."""
    waiting: list[Future[Batch]] = []
    left = iter(names)
    with ThreadPoolExecutor(1, thread_name_prefix="audio") as pool:
        try:
            while True:
                while len(waiting) <= AHEAD and (following := next(left, None)) is not None:
                    waiting.append(pool.submit(read, following))
                if not waiting:
                    return
                start = time.perf_counter()
                batch = waiting.pop(0).result()
                yield batch, time.perf_counter() - start
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _tell_of_failures(samples: Sequence[Sample]) -> None:
    """Say how many rows have no answer, and why the first of each kind has none."""
    for status in ("infer_fail", "too_long", "bad_audio"):
        found = [sample for sample in samples if sample.status == status]
        if found:
            log.warning("%d of %d rows are %s; the first, %s: %s", len(found), len(samples), status, found[0].id, found[0].error)
