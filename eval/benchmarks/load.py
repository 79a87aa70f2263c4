"""load: a benchmark's name or a file of rows -> the benchmark, its records ready to be asked, and the account of its rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from eval.batches import first_rows
from eval.benchmarks.account import Account, warnings_of
from eval.benchmarks.benchmark import Benchmark, put_to
from eval.benchmarks.open_file import benchmark_of, is_file_of_rows, rows_of_file
from eval.benchmarks.rows import gather, with_lengths
from eval.benchmarks.table import VARIANT_MARK as VARIANT_MARK  # whoever loads reads names by it
from eval.benchmarks.table import expand, find
from eval.shortcuts import vary
from qwen_audio.errors import ConfigError, DataError
from tag_schema.custom import CustomTags

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A benchmark and its rows.

    Attributes:
        benchmark: what they are rows of; for a file of rows one that is made of the file.
        records: with the lengths of their clips, and their questions as the benchmark asks them; sorted by their ids.
        account: how many there are of how many, what is lost and why.
        root: where relative paths of clips begin.
    """

    benchmark: Benchmark
    records: list[Record]
    account: Account
    root: Path


def load(
    task: str | Path,
    data_root: Path | str | None = None,
    *,
    limit: int | None = None,
    lengths: bool = True,
    custom: CustomTags | None = None,
) -> Loaded:
    """Load a benchmark by its name, or a file of rows.

    Args:
        task: NAME of the table or a file of rows (.jsonl, .json, .tar, .parquet), and behind it +VARIANT (text-only, silence,
            shuffled-audio, rotated-1, ..).
        data_root: folder that holds a folder for each corpus; for a file, where relative paths begin that do not lie beside it.
        limit: take so many rows: the first by the hash of their ids, always the same and spread over the set. All by default.
        lengths: read the length of every clip from its file; files that cannot be read are found that way.
        custom: the model's own tags, which the tag sentences of a file may hold; where no model is known, any.
    Raises:
        ConfigError: no benchmark or variant has that name. DataError: its folder or the file is not there, or holds no row.
    """
    name, _, variant = (str(task), "", "") if Path(task).is_file() else str(task).partition(VARIANT_MARK)
    if is_file_of_rows(name):
        benchmark, root = benchmark_of(Path(name)), Path(name).parent if data_root is None else Path(data_root)
        records, lost, notes = rows_of_file(Path(name), None if data_root is None else Path(data_root), custom)
    else:
        benchmark, notes = find(name), ()
        if data_root is None:
            raise ConfigError(f"{name}: give --data-root, the folder that holds {benchmark.folder}/")
        root = Path(data_root)
        records, lost = gather(benchmark, root)
    if not records:
        raise DataError(f"{name}: no row can be asked; {_why(lost, notes)}")
    rows = _Rows(records, lost, notes)
    return _finished(benchmark, rows, root, variant, limit or 0, lengths)


def load_all(
    tasks: Sequence[str], data_root: Path | str | None = None, *, limit: int | None = None, custom: CustomTags | None = None
) -> list[Loaded]:
    """Load several benchmarks, groups ("paper", "openasr") written out; arguments as in `load`.

    Raises:
        ConfigError: two of them have one name; and as `load` does.
    """
    found = [load(task, data_root, limit=limit, custom=custom) for task in expand(tasks)]
    names = [loaded.benchmark.name for loaded in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"two tasks are called {twice!r}, and each is to have a folder of that name; rename one of the files")
    return found


def _why(lost: Sequence[Entry], notes: Sequence[str]) -> str:
    return f"of {len(lost):,} lost, the first: {lost[0]}" if lost else "; ".join(("there is none", *notes))


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a walk found: records, lines of account, notes on what was done to rows."""

    records: list[Record]
    lost: list[Entry]
    notes: tuple[str, ...]


def _finished(benchmark: Benchmark, rows: _Rows, root: Path, variant: str, limit: int, lengths: bool) -> Loaded:
    """Take the subset, ask the questions, measure the clips, and close the account."""
    records, n_rows, subset = rows.records, len(rows.records), ""
    warnings = (*rows.notes, *warnings_of(benchmark, records, rows.lost))
    if 0 < limit < n_rows:
        names = set(first_rows([record.id for record in records], limit))
        records = [record for record in records if record.id in names]
        subset = f"{limit:,} of {n_rows:,} rows, the first by the hash of their ids"
    unreadable: list[Entry] = []
    if lengths:
        records, unreadable = with_lengths(records, root)
    if variant:
        benchmark = replace(benchmark, name=f"{benchmark.name}{VARIANT_MARK}{variant}")
        records = vary(variant, records)
    records = [_in_clusters(benchmark, put_to(benchmark, record)) for record in records]
    account = Account(n_rows, benchmark.count, benchmark.counted_at, tuple(rows.lost), tuple(unreadable), warnings, subset)
    for line in account.lines()[1:]:
        log.warning("%s: %s", benchmark.name, line.removeprefix("warning: "))
    return Loaded(benchmark, records, account, root)


def _in_clusters(benchmark: Benchmark, record: Record) -> Record:
    """Make what rows are not independent in their source, where it is neither speaker nor source by name."""
    cluster = record.meta.get(benchmark.cluster, "")
    if benchmark.cluster in ("speaker", "source") or not cluster:
        return record
    return replace(record, meta={**record.meta, "clip": record.meta.get("source", record.id), "source": cluster})
