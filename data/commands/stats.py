"""Say what files of rows hold, without opening a clip: rows, hours, lengths, tasks, datasets, languages, speakers."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.ledger import Entry
from data.manifest import Record
from data.rows.archives import probe
from data.rows.shapes import read_rows
from data.tables import hours, table
from qwen_audio.errors import AudioError, DataError

SHOWN = 20  # lines of one table; the rest is summed up
NOT_SAID = "not said"


@dataclass(slots=True)
class Held:
    """What the rows of one kind sum up to."""

    rows: int = 0
    lengths: array[float] = field(default_factory=lambda: array("f"))  # seconds of each row whose length is known
    unknown: int = 0  # rows with a clip of unknown length
    speakers: set[str] = field(default_factory=set)

    def add(self, seconds: float | None, speaker: str | None) -> None:
        """Count one more row."""
        self.rows += 1
        if seconds is None:
            self.unknown += 1
        else:
            self.lengths.append(seconds)
        if speaker:
            self.speakers.update(speaker.split("\n"))


def stats(files: Sequence[Path | str], data_root: Path | str | None = None) -> str:
    """Describe files of rows as they stand; nothing is decoded, headers are read where a row does not say how long a clip is.

    Args:
        files: rows of any shape.
        data_root: where relative paths begin; each file's folder by default.
    Returns:
        tables of tasks, datasets and languages, and what could not be read.
    Raises:
        DataError: a file is missing, or there is no file at all.
    """
    if not files:
        raise DataError("no file of rows: name at least one")
    tables: dict[str, defaultdict[str, Held]] = {kind: defaultdict(Held) for kind in ("task", "dataset", "language")}
    everything, lost = Held(), Counter[str]()
    for file in map(Path, files):
        root = file.parent if data_root is None else Path(data_root)
        for _, record in read_rows(file):
            if isinstance(record, Entry):
                lost[record.reason] += 1
                continue
            seconds, speaker = _seconds(record, root), record.meta.get("speaker")
            everything.add(seconds, speaker)
            for kind, name in (("task", _task(record)), ("dataset", record.dataset or NOT_SAID), ("language", _language(record))):
                tables[kind][name].add(seconds, speaker)
    parts = [_table(kind, held.items(), everything) for kind, held in tables.items()] if everything.rows else []
    unread = [f"{rows:,} could not be read ({reason})" for reason, rows in lost.most_common()]
    return "\n\n".join([*parts, ", ".join([f"{everything.rows:,} rows", *unread])])


def _task(record: Record) -> str:
    return record.family or ("chat" if record.audio else "text")


def _language(record: Record) -> str:
    spoken = record.prefix.audio_language if record.prefix is not None else None
    return spoken or record.meta.get("language") or NOT_SAID


def _seconds(record: Record, root: Path) -> float | None:
    """Sum a row's clips up; None where one's length cannot be found."""
    total = 0.0
    for ref in record.audio:
        length = ref.duration_s
        if length is None:
            try:
                length = max(0.0, probe(root / ref.path).duration_s - ref.start_s)
            except AudioError:  # `check` says what is wrong with it; here it is counted as unknown
                return None
        total += length
    return total


def _table(kind: str, held: Iterable[tuple[str, Held]], everything: Held) -> str:
    """Lay out the kinds with the most audio; those behind them are one line."""
    ordered = sorted(held, key=lambda item: (-sum(item[1].lengths), -item[1].rows, item[0]))
    shown = ordered[:SHOWN]
    if len(ordered) > SHOWN:
        rest = Held()
        for _, one in ordered[SHOWN:]:
            rest.rows, rest.unknown = rest.rows + one.rows, rest.unknown + one.unknown
            rest.lengths.extend(one.lengths)
            rest.speakers |= one.speakers
        shown.append((f"{len(ordered) - SHOWN} more", rest))
    rows = [(name, *_cells(one)) for name, one in [*shown, ("all", everything)]]
    head = (kind, "rows", "hours", "shortest", "p5", "median", "p95", "longest", "speakers", "length unknown")
    return table(head, rows, rule_before_last=True)


def _cells(held: Held) -> tuple[str, ...]:
    lengths = np.frombuffer(held.lengths, np.float32) if held.lengths else np.zeros(0, np.float32)
    spread = [f"{value:.2f}" for value in np.percentile(lengths, (0, 5, 50, 95, 100))] if len(lengths) else ["–"] * 5
    return f"{held.rows:,}", hours(float(lengths.sum(dtype=np.float64))), *spread, f"{len(held.speakers):,}", f"{held.unknown:,}"
