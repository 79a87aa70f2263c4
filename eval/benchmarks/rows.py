"""The rows of a benchmark on disk: the official layout first, the hub's parquet copy second, what `data prepare` wrote third."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data.admission import AdmissionOptions, measured
from data.ledger import Entry
from data.manifest import AudioRef, Record, read_manifest
from data.rows.archives import shard_of
from data.rows.errors import RowError
from eval.benchmarks.benchmark import Benchmark
from qwen_audio.errors import DataError
from tag_schema.tasks import TASKS

LOOKED_AT = AdmissionOptions(evaluation=True)
Rows = Iterator[Record | Entry]


def gather(benchmark: Benchmark, data_root: Path) -> tuple[list[Record], list[Entry]]:
    """Read all rows of a benchmark.

    Returns:
        its records, sorted by their ids; a line of account for each row that is none.
    Raises:
        DataError: its folder is not there, or holds none of its rows; the message names address and layout.
    """
    rows = list(_mine(benchmark, _rows(benchmark, data_root)))
    lost = [row for row in rows if isinstance(row, Entry)]
    chosen = benchmark.choose([row for row in rows if isinstance(row, Record)])
    return unique([below(record, data_root) for record in chosen], lost)


def unique(records: Sequence[Record], lost: Sequence[Entry]) -> tuple[list[Record], list[Entry]]:
    """Sort records by their ids; a second one with the same id is lost."""
    found, gone = dict[str, Record](), list(lost)
    for record in records:
        if record.id in found:
            gone.append(Entry(record.id, "duplicate_id", record.audio[0].path if record.audio else record.id))
        else:
            found[record.id] = record
    return [found[name] for name in sorted(found)], gone


def folder_of(benchmark: Benchmark, data_root: Path) -> Path | None:
    """Find the folder of a benchmark below the data root; None where there is none."""
    return next((data_root / name for name in benchmark.folders if (data_root / name).is_dir()), None)


def _rows(benchmark: Benchmark, data_root: Path) -> Rows:
    """Begin to read a benchmark by the first of its walks for which there are rows of it.

    Raises:
        DataError: there is no folder, or no walk finds anything in it.
    """
    folder, first_error = folder_of(benchmark, data_root), None
    if folder is None:
        raise DataError(f"{benchmark.name}: there is no folder {data_root / benchmark.folder}; {where_from(benchmark)}")
    for walk in benchmark.walks:
        try:
            return _begun(walk(folder, benchmark.split))
        except DataError as error:
            first_error = first_error or error
    prepared = folder / f"{benchmark.split.name.replace('/', '-')}.jsonl"
    if prepared.is_file():
        return _begun(_prepared(prepared, data_root))
    raise DataError(f"{benchmark.name}: {first_error}; {where_from(benchmark)}") from first_error


def where_from(benchmark: Benchmark) -> str:
    """Say where a benchmark is fetched from and what its folder must hold, in one line."""
    layout = "; ".join(line.strip() for line in benchmark.layout.splitlines())
    return f"fetch it from {benchmark.source} so that {benchmark.folder}/ below the data root holds {layout}"


def _begun(rows: Rows) -> Rows:
    first = next(rows, None)
    if first is None:
        raise DataError("the folder holds nothing of it")
    return chain([first], rows)


def _prepared(manifest: Path, data_root: Path) -> Rows:
    """Read what `python -m data prepare` wrote; relative paths begin at the manifest's folder, else at the data root."""
    for record in read_manifest(manifest):
        plain = record.id.removeprefix(f"{record.dataset}/")
        yield placed(replace(record, id=plain), (manifest.parent, data_root))


def placed(record: Record, roots: Sequence[Path]) -> Record:
    """Make relative paths of a record's clips absolute: below the first of the roots that has them, else below the first."""
    return with_clips(record, {ref: replace(ref, path=_found(ref.path, roots)) for ref in record.audio})


def _found(path: str, roots: Sequence[Path]) -> str:
    if os.path.isabs(path):
        return path
    for root in roots:
        shard = shard_of(root / path)
        if (shard[0] if shard else root / path).exists():
            return os.path.abspath(root / path)
    return os.path.abspath(roots[0] / path)


def below(record: Record, root: Path) -> Record:
    """Name a record's clips by where they lie below a root, so that no result depends on where the root is; others stay absolute."""
    top = os.path.abspath(root)

    def short(path: str) -> str:
        whole = os.path.abspath(path)
        return os.path.relpath(whole, top) if whole.startswith(top + os.sep) else whole

    return with_clips(record, {ref: replace(ref, path=short(ref.path)) for ref in record.audio})


def with_clips(record: Record, clips: Mapping[AudioRef, AudioRef]) -> Record:
    """Put other clips in the place of a record's."""
    turns = tuple(
        replace(turn, parts=tuple(part if isinstance(part, str) else clips[part] for part in turn.parts)) for turn in record.messages
    )
    return replace(record, audio=tuple(clips[ref] for ref in record.audio), messages=turns)


def _mine(benchmark: Benchmark, rows: Rows) -> Rows:
    """Keep the rows of the benchmark, under names without the family's, with the split that they are of."""
    for row in rows:
        if not benchmark.mine(row):
            continue
        if isinstance(row, Entry):
            yield row
            continue
        meta = {**row.meta, "split": benchmark.split.name, "role": benchmark.split.role}
        yield replace(row, id=plain_id(row.id), meta=meta, dataset=row.dataset or benchmark.folder)


def plain_id(name: str) -> str:
    """Take the family out of a record's id: 61-7-0001#asr becomes 61-7-0001, clip#audio_qa.2 becomes clip.2."""
    source, mark, rest = name.rpartition("#")
    family, dot, number = rest.partition(".")
    return f"{source}{dot}{number}" if mark and family in TASKS else name


def with_lengths(records: Sequence[Record], root: Path) -> tuple[list[Record], list[Entry]]:
    """Read the length of every clip from its file.

    Args:
        root: where relative paths begin.
    Returns:
        the records, those whose files cannot be read as they were; and a line of account for each of these.
    """
    found, unreadable = [], []
    for record in records:
        try:
            clips = {ref: measured(ref, LOOKED_AT, root)[0] for ref in record.audio}
            found.append(with_clips(record, clips))
        except RowError as error:
            found.append(record)
            unreadable.append(Entry(record.id, error.reason, record.audio[0].path, error.detail))
    return found, unreadable
