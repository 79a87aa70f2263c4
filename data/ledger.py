"""The ledger: every row that is not trained on as it stands has a line that says which, why and where."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from qwen_audio.errors import DataError

LOST: Mapping[str, str] = MappingProxyType(
    {
        "not_json": "the line is not JSON",
        "bad_row": "a key is missing, unknown or of the wrong kind",
        "unknown_tag": "a tag, task or language that the vocabulary does not have",
        "no_answer": "there is no answer to learn",
        "empty_text": "the text is empty",
        "bad_answer": "the answer has not the form of its task",
        "audio_count": "the places for audio in the text are not as many as the clips",
        "no_file": "there is no such audio file",
        "corrupt": "the audio cannot be decoded",
        "empty_audio": "the clip has no samples or lasts less than 30 ms",
        "past_end": "the stretch of audio goes past the end of its file",
        "too_long": "the clip is longer than the encoder hears (--long-audio windows cuts it)",
        "past_window": "the rendered row has more tokens than the model's window",
        "evaluation_split": "the row belongs to a split for evaluation, which nothing may be trained on",
        "duplicate_id": "an earlier row has the same id",
    }
)
CHANGED: Mapping[str, str] = MappingProxyType(
    {
        "mono": "channels were averaged into one",
        "resampled": "the rate was changed to 16 kHz",
        "windows": "the clip was cut into windows of 30 s",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of account: the row, the reason (a key of LOST or CHANGED), FILE:LINE, and what was found."""

    id: str
    reason: str
    where: str
    detail: str = ""

    def __post_init__(self) -> None:
        assert self.reason in LOST or self.reason in CHANGED, self.reason

    @property
    def lost(self) -> bool:
        """Whether the row is left out; a row that was changed is trained on."""
        return self.reason in LOST

    def __str__(self) -> str:
        meaning = LOST.get(self.reason) or CHANGED[self.reason]
        name = "" if self.id == self.where else f"{self.id}: "
        return f"{self.where}: {name}{'lost' if self.lost else 'changed'} ({self.reason}): {self.detail or meaning}"


class Ledger:
    """Counts admitted rows and keeps an Entry for each that was lost or changed; a file takes the lines as they come."""

    def __init__(self, path: Path | str | None = None, keep: int | None = None) -> None:
        """Begin an account.

        Args:
            path: JSONL file to write the lines to, begun anew; None keeps counts and lines in memory alone.
            keep: most lines to keep in memory; None keeps all, or the first thousand where a file takes them.
        """
        self.admitted = 0
        self._keep = math.inf if keep is None and path is None else KEPT_LINES if keep is None else keep
        self.counts: Counter[str] = Counter()
        self._kept: list[Entry] = []
        self._file = None
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  closed by close()

    def admit(self, n: int = 1) -> None:
        """Count rows that are trained on, changed or not."""
        self.admitted += n

    def enter(self, entry: Entry) -> None:
        """Write one line of account."""
        self.counts[entry.reason] += 1
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        if len(self._kept) < self._keep:
            self._kept.append(entry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The lines of account that are kept in memory."""
        return tuple(self._kept)

    @property
    def lost(self) -> int:
        """Count the rows that are left out."""
        return sum(count for reason, count in self.counts.items() if reason in LOST)

    @property
    def lost_share(self) -> float:
        """Give the share of all rows seen that is left out, in [0, 1]."""
        return self.lost / max(1, self.lost + self.admitted)

    def check(self, max_lost: float, source: str, *, see: str = "`python -m data check` lists each") -> None:
        """Refuse to go on where too much is lost.

        Args:
            max_lost: the share that may be, in [0, 1].
            source: what the rows are of, for the message.
            see: where each of them can be seen.
        Raises:
            DataError: the lost share is above max_lost; the message counts the reasons.
        """
        if self.lost_share > max_lost:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts.most_common() if reason in LOST)
            raise DataError(
                f"{source}: {self.lost} of {self.lost + self.admitted} rows are lost ({reasons}), more than the {max_lost:.1%} allowed; "
                f"{see}; mend them, or allow more with max_lost"
            )

    def close(self) -> None:
        """Write the file through to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


KEPT_LINES = 1000


def read_ledger(path: Path | str) -> Iterator[Entry]:
    """Yield the lines of an account that a file keeps."""
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            yield Entry(**json.loads(line))


def summary(counts: Mapping[str, int], admitted: int) -> str:
    """Say in one line what an account holds."""
    parts = [f"{admitted} admitted"]
    parts += [f"{count} lost ({reason})" for reason, count in sorted(counts.items()) if reason in LOST]
    parts += [f"{count} changed ({reason})" for reason, count in sorted(counts.items()) if reason in CHANGED]
    return ", ".join(parts)


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """Add accounts up: counts and admitted rows, and the lines that are kept."""
    both = Ledger()
    for ledger in ledgers:
        both.admitted += ledger.admitted
        both.counts.update(ledger.counts)
        both._kept += ledger.entries
    return both
