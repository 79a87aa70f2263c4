"""Index: a file of rows on disk, with where each admitted row begins and what it weighs in arrays that are mapped, never loaded.

An index is a folder beside the file (or in a folder of indexes): `index.json` says what was indexed and how, `columns.bin` holds the
arrays one after another, `ledger.jsonl` has a line for every row that was lost or changed, and `rows.jsonl` the rows of files that
are no JSONL. It is good as long as the file has the size and time that it had, and is made anew otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from data.admission import AdmissionOptions, examine
from data.index.corpus import Account, Tally, starts_of
from data.ledger import Entry
from data.manifest import Record
from data.rows.shapes import parse_line
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import CustomTags

VERSION: Final = 2
ABOUT, COLUMNS, LEDGER, ROWS = "index.json", "columns.bin", "ledger.jsonl", "rows.jsonl"
# Every admitted row has one of each, 26 bytes in all; order lists the rows group after group.
KINDS: Final = {"offset": "<u8", "line": "<u4", "seconds": "<f4", "tokens": "<u4", "order": "<u4", "group": "<u2"}
LINE_BYTES: Final = 1 << 14  # read at once; a longer line takes further reads


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """What an index depends on beside its file.

    Attributes:
        admission: which rows are let in.
        hold_out: KEY=VALUE entries that keep rows out, counted apart.
        root: where relative audio paths begin; the file's folder by default.
        index_dir: folder of indexes; by default the index lies beside its file, else below $QWEN_AUDIO_HOME.
        workers: processes that make it.
    """

    admission: AdmissionOptions = AdmissionOptions()
    hold_out: tuple[str, ...] = ()
    root: str = ""
    index_dir: str = ""
    workers: int = 1


class Index:
    """The rows of one file as a Corpus; opened in the time of reading one small file, however many rows there are."""

    def __init__(self, folder: Path, custom: CustomTags | None = None) -> None:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        key = about["key"]
        self.folder, self.name, self.root, self.exact = folder, key["path"], key["root"], about["exact"]
        self.account = Account.from_json(about["account"])
        self._tallies = {name: Tally(*values) for name, values in about["groups"].items()}
        self.sizes: Mapping[str, int] = {name: tally.rows for name, tally in self._tallies.items()}
        self._admission = AdmissionOptions(**key["admission"])
        self._custom, self._starts, self._n_rows = custom, starts_of(self.sizes), about["rows"]
        self._converted: bool = about["converted"]
        self._file: int | None = None
        self._columns: dict[str, np.ndarray] = {}

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """The mapped arrays, one value a row."""
        if not self._columns:
            whole = np.memmap(self.folder / COLUMNS, np.uint8, mode="r") if self._n_rows else np.zeros(0, np.uint8)
            first = 0
            for name, kind in KINDS.items():
                last = first + self._n_rows * np.dtype(kind).itemsize
                self._columns[name], first = whole[first:last].view(kind), last
        return self._columns

    @property
    def ledger(self) -> Path:
        """The file with a line of account for every row that was lost or changed."""
        return self.folder / LEDGER

    def __len__(self) -> int:
        return self._n_rows

    def rows(self, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) of the rows that stand at places (n,) of groups (n,), both counted from 0."""
        return self.columns["order"][self._starts[groups] + places].astype(np.int64)

    def measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions (n,) and the seconds of audio (n,) of rows (n,)."""
        return self.columns["tokens"][rows], self.columns["seconds"][rows]

    def tallies(self) -> dict[str, Tally]:
        """Return what each group holds."""
        return dict(self._tallies)

    def record(self, row: int) -> Record | Entry:
        """Read a row as it was admitted; a line of account where its line or its clips have changed since."""
        where, line = self._line(row)
        record = parse_line(line, where, self._custom)
        if isinstance(record, Entry):
            return record
        found = examine(record, where, self._admission, Path(self.root))
        return found.entries[0] if found.record is None else found.record

    def where(self, row: int) -> str:
        """Say where a row stands: FILE:LINE."""
        return self._line(row)[0]

    def _line(self, row: int) -> tuple[str, bytes]:
        """Read where a row stands and its line; reads have no place of their own, so that processes may share the file."""
        if self._file is None:
            self._file = os.open(self.folder / ROWS if self._converted else self.name, os.O_RDONLY)
        line, offset = b"", int(self.columns["offset"][row])
        while chunk := os.pread(self._file, LINE_BYTES, offset + len(line)):
            end = chunk.find(b"\n")
            line += chunk[:end] if end >= 0 else chunk
            if end >= 0:
                break
        return split_converted(line) if self._converted else (f"{self.name}:{self.columns['line'][row]}", line)

    def close(self) -> None:
        """Close the file of rows and let go of the arrays; what is asked next opens them again."""
        self._columns = {}
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": {}, "_file": None}


def split_converted(line: bytes) -> tuple[str, bytes]:
    """Take a line of rows.jsonl apart: where the row stood, and the row."""
    where, _, row = line.partition(b"\t")
    return json.loads(where), row


def index_key(path: Path, options: IndexOptions, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Return all that an index depends on, as plain values."""
    found = path.stat()
    counted = None
    if tokenizer is not None:
        counted = {"ranks": tokenizer.ranks_sha256, "custom": tokenizer.custom.to_mapping(), "family": tokenizer.family}
    return {
        "version": VERSION,
        "path": os.path.abspath(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "root": os.path.abspath(options.root or path.parent),
        "admission": asdict(options.admission),
        "hold_out": list(options.hold_out),
        "tokens": counted,
    }


def folder_name(key: Mapping[str, Any]) -> str:
    """Name the folder of an index by what it depends on."""
    return blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()


def is_index(folder: Path, key: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds a whole index with a key."""
    try:
        return bool(json.loads((folder / ABOUT).read_text(encoding="utf-8"))["key"] == key)
    except (OSError, ValueError, KeyError):
        return False
