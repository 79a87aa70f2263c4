"""Look at the rows of a file one by one, in as many processes as asked for: each is admitted, kept out by a hold-out, or lost."""

from __future__ import annotations

import json
import multiprocessing
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from data.admission import examine
from data.groups import group_name, held_by
from data.index.corpus import UNREAD
from data.index.index import IndexOptions, split_converted
from data.ledger import Entry
from data.rows.archives import parquet_rows, tar_rows
from data.rows.lengths import estimate_positions
from data.rows.shapes import parse_line
from qwen_audio.tokenizer import Tokenizer

CHUNK_ROWS: Final = 4096  # rows that one worker looks at in one go
# One of each for every row that could be read, admitted or not; the codes are those of array.
SCANNED: Final = {"offset": "Q", "line": "I", "seconds": "f", "tokens": "I", "group": "I", "name": "Q", "kept": "B"}

Line = tuple[int, int, bytes]  # where it begins, its number from 1, itself


@dataclass(frozen=True, slots=True)
class Job:
    """What looking at a row takes."""

    path: str
    options: IndexOptions
    root: str
    tokenizer: Tokenizer | None
    converted: bool


@dataclass(slots=True)
class Scanned:
    """What a chunk of rows turned out to be, and what is to be said of those that are not admitted as they are.

    Attributes:
        columns: "name" is a hash of the row's id, "group" counts as groups does, "kept" is 1 where the row is admitted.
        groups: name -> number in this chunk.
        entries: lines of account, each with the group of its row or UNREAD.
        held: (group, KEY=VALUE) of rows that are kept out.
    """

    columns: dict[str, array[Any]] = field(default_factory=lambda: {name: array(code) for name, code in SCANNED.items()})
    groups: dict[str, int] = field(default_factory=dict)
    entries: list[tuple[Entry, str]] = field(default_factory=list)
    held: list[tuple[str, str]] = field(default_factory=list)


# Lines ----------------------------------------------------------------------------------------------------------------------


def is_converted(path: Path) -> bool:
    """Tell whether a file's rows are no lines that can be read from the middle."""
    if path.suffix in (".tar", ".parquet"):
        return True
    with path.open("rb") as stream:
        return stream.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def convert(path: Path, output: Path) -> list[Entry]:
    """Write a file's rows as lines, each behind where it stood; returns what could not be read at all."""
    lost = []
    with output.open("w", encoding="utf-8") as out:
        for where, row in _raw_rows(path.absolute()):
            if isinstance(row, Entry):
                lost.append(row)
            else:
                out.write(f"{json.dumps(where)}\t{json.dumps(row, ensure_ascii=False, default=_plain)}\n")
    return lost


def _raw_rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix in (".tar", ".parquet"):
        yield from tar_rows(path) if path.suffix == ".tar" else parquet_rows(path)
        return
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        yield str(path), Entry(str(path), "not_json", str(path), str(error))
        return
    yield from ((f"{path}:[{number}]", row) for number, row in enumerate(rows))


def _plain(value: Any) -> str:
    """Write what JSON has no form for, as parquet columns hold it: dates, decimals, bytes."""
    return f"<{len(value)} bytes>" if isinstance(value, (bytes, bytearray)) else str(value)


def lines_of(stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines that are not blank."""
    offset = 0
    for number, line in enumerate(stream, 1):
        if not line.isspace():
            yield offset, number, line
        offset += len(line)


# Looking at rows ------------------------------------------------------------------------------------------------------------


def scan(job: Job, lines: Iterable[Line]) -> Scanned:
    """Look at rows as training would; each is admitted, held out or lost."""
    found = Scanned()
    columns, options, root = list(found.columns.values()), job.options, Path(job.root)
    custom = job.tokenizer.custom if job.tokenizer is not None else None
    for offset, number, line in lines:
        where = f"{job.path}:{number}"
        if job.converted:
            where, line = split_converted(line)
        record = parse_line(line, where, custom)
        if isinstance(record, Entry):
            found.entries.append((record, UNREAD))
            continue
        group = group_name(record)
        number_of_group = found.groups.setdefault(group, len(found.groups))
        name = int.from_bytes(blake2b(record.id.encode(), digest_size=8).digest(), "little")
        tokens, seconds, kept = 0, 0.0, False
        if (entry := held_by(record, options.hold_out)) is not None:
            found.held.append((group, entry))
        else:
            admission = examine(record, where, options.admission, root, job.tokenizer)
            found.entries += ((entry, group) for entry in admission.entries)
            if admission.record is not None:
                tokens = estimate_positions(admission.record) if admission.tokens is None else admission.tokens.all
                seconds, kept = admission.record.duration_s or 0.0, True
        for column, value in zip(columns, (offset, number, seconds, tokens, number_of_group, name, kept), strict=True):
            column.append(value)
    return found


_job: Job | None = None  # a worker process looks at the rows of one file


def _begin(job: Job) -> None:
    global _job
    _job = job


def _scan_in_worker(lines: list[Line]) -> Scanned:
    assert _job is not None
    return scan(_job, lines)


def _chunks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while chunk := list(islice(lines, CHUNK_ROWS)):
        yield chunk


def scan_chunks(job: Job, lines: Iterator[Line]) -> Iterator[Scanned]:
    """Yield what the chunks are, in order, looked at by as many processes as asked for."""
    workers = job.options.workers
    if workers == 1:
        yield from (scan(job, chunk) for chunk in _chunks(lines))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy threads that hold locks
    with ProcessPoolExecutor(workers, context, _begin, (job,)) as pool:
        waiting: deque[Future[Scanned]] = deque()
        for chunk in _chunks(lines):
            waiting.append(pool.submit(_scan_in_worker, chunk))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
