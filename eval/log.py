"""The log of a run: a line for every finished sample, appended a whole batch at a time and forced to disk; what a resumed run reads.

Rank 0 writes log.jsonl, rank 1 log.1.jsonl and so on; reading takes all of them. A line that a kill or a full disk cut off is
dropped, and cut away before anything is appended. Lines whose keys nobody asks for stay and are not used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from eval.metrics.sample import Status
from qwen_audio.errors import DataError

PART = re.compile(r"log(?:\.(\d+))?\.jsonl")
LOCK_PATIENCE_S = 10.0  # the workers of a run that was killed notice it and let go


@dataclass(frozen=True, slots=True)
class Line:
    """One finished sample; key says of what exactly it is the answer."""

    key: str
    id: str
    status: Status
    answer: str = ""
    error: str = ""


def line_key(name: str, audio: Sequence[str], prompt: str, identity: str, settings: Mapping[str, Any], recipe: str, batch: str = "") -> str:
    """Hash all that an answer depends on.

    Args:
        name: the row's id, as a file of predictions knows nothing else of it.
        audio: what tells each clip's bytes.
        prompt: the text that the model is told.
        identity: the weights' hash, or what stands for it.
        settings: of the generation.
        recipe: versions of the run and of the benchmark.
        batch: what tells the rows that were computed together, where that may show in the last bits.
    """
    parts = [name, list(audio), prompt, identity, dict(settings), recipe, batch]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def part_name(rank: int, stem: str = "log") -> str:
    """Name the file that a rank appends to."""
    return f"{stem}.jsonl" if rank == 0 else f"{stem}.{rank}.jsonl"


def read_log(folder: Path | str) -> dict[str, Line]:
    """Return the lines of all parts by key, part by part in order.

    Of two lines with one key the first counts, unless it is an infer_fail that was tried again later.

    Raises:
        DataError: FILE:LINE of a line in the middle that is none.
    """
    folder = Path(folder)
    parts = sorted((int(match[1] or 0), path) for path in folder.glob("log*.jsonl") if (match := PART.fullmatch(path.name)))
    found: dict[str, Line] = {}
    for _, path in parts:
        for where, row in whole_lines(path):
            line = _line(row, where)
            if line.key not in found or (found[line.key].status == "infer_fail" and line.status != "infer_fail"):
                found[line.key] = line
    return found


def whole_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (FILE:LINE, value) of a JSONL file that is appended to; a last line that was cut off is dropped.

    Raises:
        DataError: a line before the last is not JSON.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield f"{path}:{number}", json.loads(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise DataError(f"{path}:{number}: not JSON ({error}); delete the line, its sample is answered again") from error


def _line(row: Any, where: str) -> Line:
    if not isinstance(row, dict) or not {"key", "id", "status"} <= row.keys() or row["status"] not in get_args(Status):
        raise DataError(f"{where}: expected an object with key, id, status, answer, error; delete the line, its sample is answered again")
    return Line(row["key"], row["id"], row["status"], row.get("answer", ""), row.get("error", ""))


class Appender:
    """Appends lines to a JSONL file, each group of them in one write and on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        """Open the file, made where it is not there; a cut-off last line is removed."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        _mend(self._file)
        _sync_folder(path.parent)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append a line for each row."""
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def clear(self) -> None:
        """Throw away what stands in the file."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class LogWriter:
    """What one rank appends to the log of a folder; nobody else can, as long as it is open."""

    def __init__(self, folder: Path | str, rank: int = 0, *, patience_s: float = LOCK_PATIENCE_S) -> None:
        """Lock the rank's part and open it.

        Args:
            patience_s: how long to wait for a writer that is there.
        Raises:
            DataError: another run writes it.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder / f".{part_name(rank)}.lock", patience_s)
        self._lines = Appender(self.folder / part_name(rank))

    def append(self, lines: Iterable[Line]) -> None:
        """Append a batch; it is on disk when this returns."""
        self._lines.append(asdict(line) for line in lines)

    def clear(self) -> None:
        """Throw away this rank's lines."""
        self._lines.clear()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        path, file = self._lock
        path.unlink(missing_ok=True)
        os.close(file)


def _mend(file: int) -> None:
    """Bring a file to whole lines: a last one that is whole but for its line break gets it, a cut-off one goes."""
    end = os.fstat(file).st_size
    tail, start = b"", end
    while start and b"\n" not in tail:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(file, step, start) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        json.loads(last)
    except ValueError:
        os.ftruncate(file, end - len(last))
    else:
        os.write(file, b"\n")
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    """Force a new file's name to disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _locked(path: Path, patience_s: float) -> tuple[Path, int]:
    """Take a lock that the system lets go of when its process dies, however it dies; so a file left behind locks nobody out."""
    until = time.monotonic() + patience_s
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(file, 200, 0).decode("utf-8", "replace") or "not known"
            os.close(file)
            if time.monotonic() > until:
                raise DataError(f"{path.parent}: another run ({holder}) writes here; wait for it, or choose another -o") from None
            time.sleep(0.1)
            continue
        if _is_same(path, file):
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return path, file
        os.close(file)  # its holder removed it between opening and locking


def _is_same(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
