"""Make an index, or find the one that still holds: streamed, written aside and moved into its place whole."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from array import array
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from data.index.corpus import UNREAD, Account, Tally
from data.index.index import (
    ABOUT,
    COLUMNS,
    KINDS,
    LEDGER,
    ROWS,
    Index,
    IndexOptions,
    folder_name,
    index_key,
    is_index,
    split_converted,
)
from data.index.scan import CHUNK_ROWS, SCANNED, Job, convert, is_converted, lines_of, scan_chunks
from data.ledger import Entry, Ledger
from data.rows.archives import index_folders
from data.rows.shapes import name_of
from qwen_audio.errors import DataError
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
MANY_ROWS: Final = 1_000_000  # between two lines of the log
GROUPS_MOST: Final = 1 << 16


def open_index(path: Path | str, options: IndexOptions | None = None, tokenizer: Tokenizer | None = None) -> Index:
    """Open the index of a file of rows, and make it first where there is none that still holds.

    Args:
        path: .jsonl, a .json array, a webdataset .tar or a .parquet file.
        options: what is let in, and where the index lies.
        tokenizer: counts positions as training will; without it they are estimated.
    Raises:
        DataError: there is no such file, it is no shard, or nowhere to write an index to.
    """
    path, options = Path(path), options or IndexOptions()
    if not path.is_file():
        raise DataError(f"{path}: no such file of rows")
    key = index_key(path, options, tokenizer)
    custom = tokenizer.custom if tokenizer is not None else None
    places = [folder / folder_name(key) for folder in index_folders(path, options.index_dir)]
    for place in places:
        if is_index(place, key):
            return Index(place, custom)
    return Index(_build(path, options, tokenizer, key), custom)


def _build(path: Path, options: IndexOptions, tokenizer: Tokenizer | None, key: Mapping[str, Any]) -> Path:
    """Make the index in a draft folder and move it into its place, whole; returns the place."""
    parent = _writable(path, index_folders(path, options.index_dir))
    place = parent / folder_name(key)
    draft = parent / f"{place.name}.{os.getpid()}.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    began = time.monotonic()
    try:
        converted = is_converted(path)
        early = convert(path, draft / ROWS) if converted else []
        job = Job(key["path"], options, key["root"], tokenizer, converted)
        account, tallies = _fill(job, draft, early)
        about = {"key": dict(key), "rows": account.admitted, "converted": converted, "exact": tokenizer is not None}
        about |= {"account": account.to_json(), "groups": {group: list(astuple(tally)) for group, tally in tallies.items()}}
        (draft / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        _move(draft, place, key)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _forget_stale(parent, key)
    log.info("%s: %d rows indexed in %.1f s, %d lost", path, account.seen, time.monotonic() - began, account.n_lost)
    return place


def _writable(path: Path, folders: Iterable[Path]) -> Path:
    """Return the first folder that can be written to, made where it was not."""
    refused = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f"{os.getpid()}.probe"
            probe.touch()
            probe.unlink()
            return folder
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
    raise DataError(f"{path}: its index cannot be written ({'; '.join(refused)}); name a folder with --index-dir, or set QWEN_AUDIO_HOME")


def _move(draft: Path, place: Path, key: Mapping[str, Any]) -> None:
    """Rename the draft into its place; where another process was faster, its index is as good."""
    if not is_index(place, key):
        shutil.rmtree(place, ignore_errors=True)
        try:
            draft.rename(place)
        except OSError:
            if not is_index(place, key):
                raise


def _forget_stale(parent: Path, key: Mapping[str, Any]) -> None:
    """Delete indexes of the file as it was before it changed."""
    for other in parent.glob(f"*/{ABOUT}"):
        old = json.loads(other.read_text(encoding="utf-8"))["key"]
        if old["path"] == key["path"] and (old["size"], old["mtime_ns"]) != (key["size"], key["mtime_ns"]):
            shutil.rmtree(other.parent, ignore_errors=True)


# Columns --------------------------------------------------------------------------------------------------------------------


def _fill(job: Job, draft: Path, early: Iterable[Entry]) -> tuple[Account, dict[str, Tally]]:
    """Write the columns and the ledger of an index; returns the account and what each group holds."""
    account, numbers = Account(), dict[str, int]()
    ledger = Ledger(draft / LEDGER)
    for entry in early:
        _enter(entry, UNREAD, ledger, account)
    rows = draft / ROWS if job.converted else Path(job.path)
    with rows.open("rb") as stream, ExitStack() as stack:
        files = {name: stack.enter_context((draft / f"{name}.part").open("wb")) for name in SCANNED}
        for found in scan_chunks(job, lines_of(stream)):
            mine = np.array([numbers.setdefault(group, len(numbers)) for group in found.groups], np.uint32)
            groups = np.array(found.columns["group"], np.uint32)
            found.columns["group"] = array("I", mine[groups].tobytes())
            for name, column in found.columns.items():
                column.tofile(files[name])
            account.admitted += sum(found.columns["kept"])
            for entry, group in found.entries:
                _enter(entry, group, ledger, account)
            for group, entry_held in found.held:
                account.hold(group, entry_held)
            if account.seen // MANY_ROWS > (account.seen - CHUNK_ROWS) // MANY_ROWS:
                log.info("%s: %d rows", job.path, account.seen)
    if len(numbers) > GROUPS_MOST:
        raise DataError(f"{job.path}: {len(numbers)} groups DATASET/FAMILY, at most {GROUPS_MOST}; is the id in the column dataset?")
    kept = _without_doubles(job, draft, list(numbers), ledger, account)
    ledger.close()
    return account, _lay_out(draft, kept, numbers)


def _enter(entry: Entry, group: str, ledger: Ledger, account: Account) -> None:
    ledger.enter(entry)
    if entry.lost:
        account.lose(group, entry.reason)
    else:
        account.changed[entry.reason] += 1


def _without_doubles(job: Job, draft: Path, groups: list[str], ledger: Ledger, account: Account) -> np.ndarray:
    """Enter rows whose id an earlier row has, admitted or not; returns which rows are kept, (n,) bool."""
    columns = {name: _column(draft, name) for name in ("offset", "line", "group", "kept")}
    kept, names = columns["kept"].astype(bool), _column(draft, "name")
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    first = order[np.searchsorted(ordered, ordered[same])]
    if not len(same):
        return kept
    with (draft / ROWS if job.converted else Path(job.path)).open("rb") as stream:
        for row, earlier in sorted(zip(order[same].tolist(), first.tolist(), strict=True)):
            (name, where), (other, there) = (_name_at(job, stream, columns, number) for number in (row, earlier))
            if name == other and kept[row]:  # two ids may have one hash of eight bytes: a row is not lost to that
                kept[row] = False
                account.admitted -= 1
                entry = Entry(name, "duplicate_id", where, f"the row at {there} has this id")
                _enter(entry, groups[columns["group"][row]], ledger, account)
    return kept


def _name_at(job: Job, stream: BinaryIO, columns: Mapping[str, np.ndarray], row: int) -> tuple[str, str]:
    """Return the id of a row and where it stands."""
    stream.seek(int(columns["offset"][row]))
    line, where = stream.readline(), f"{job.path}:{columns['line'][row]}"
    if job.converted:
        where, line = split_converted(line)
    return name_of(json.loads(line), where), where


def _lay_out(draft: Path, kept: np.ndarray, numbers: Mapping[str, int]) -> dict[str, Tally]:
    """Write the columns of the rows that are kept into one file, groups numbered by their names; returns what each group holds."""
    names = sorted(numbers)
    renumber = np.zeros(len(names), np.uint16)
    renumber[[numbers[name] for name in names]] = np.arange(len(names))
    group = renumber[_column(draft, "group")[kept]]
    with (draft / COLUMNS).open("wb") as out:
        for name, kind in KINDS.items():
            values = np.argsort(group, kind="stable") if name == "order" else group if name == "group" else _column(draft, name)[kept]
            values.astype(kind).tofile(out)
        out.flush()
        os.fsync(out.fileno())
    counts = np.bincount(group, minlength=len(names)).tolist()
    seconds, tokens = (np.bincount(group, _column(draft, name)[kept], len(names)).tolist() for name in ("seconds", "tokens"))
    for name in SCANNED:
        (draft / f"{name}.part").unlink()
    values = zip(names, counts, seconds, tokens, strict=True)
    return {name: Tally(rows, length, round(positions)) for name, rows, length, positions in values if rows}


def _column(draft: Path, name: str) -> np.ndarray:
    """Map a column of the draft; an empty file cannot be mapped."""
    path, kind = draft / f"{name}.part", np.dtype(SCANNED[name])
    return np.memmap(path, kind, mode="r") if path.stat().st_size else np.zeros(0, kind)
