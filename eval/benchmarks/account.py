"""The account of a benchmark's rows: how many there are, how many there ought to be, what is lost and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.ledger import LOST, Entry
from data.manifest import Record
from data.recipe import NOT_VERIFIED
from eval.benchmarks.benchmark import Benchmark, right_answers

CUT_SHARE = 0.5  # with less than this share of its rows, a copy is taken to be cut on purpose


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows of a benchmark.

    Attributes:
        rows: with a question, an answer and a file, before any subset was taken.
        expected: how many there must be, and where that was counted; None where no source says.
        lost: rows without a record, each with its reason; they are in no score.
        unreadable: rows that are asked all the same and will end as bad_audio, because their file cannot be read.
        warnings: what a reader of the scores must know; they name no place on a disk.
        subset: which part of the rows was taken; empty for all.
    """

    rows: int
    expected: int | None = None
    counted_at: str = NOT_VERIFIED
    lost: tuple[Entry, ...] = ()
    unreadable: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()
    subset: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what stands in results: counts and warnings, no place on a disk."""
        found: dict[str, Any] = {"rows": self.rows, "expected": self.expected, "counted_at": self.counted_at}
        found |= {"lost": reasons(self.lost), "unreadable": reasons(self.unreadable)}
        return {**found, "warnings": list(self.warnings), "subset": self.subset}

    def lines(self) -> list[str]:
        """Say it for people, a line each."""
        of = "" if self.expected is None else f" of {self.expected:,} ({self.counted_at})"
        found = [f"{self.rows:,} rows{of}" + (f"; {self.subset}" if self.subset else "")]
        for entries, fate in ((self.lost, "lost"), (self.unreadable, "asked, though the file cannot be read")):
            found += [f"{count:,} {fate}: {reason}, {LOST[reason]}" for reason, count in reasons(entries).items()]
        return found + [f"warning: {warning}" for warning in self.warnings]


def reasons(entries: Sequence[Entry]) -> dict[str, int]:
    """Count entries by their reasons, most frequent first."""
    return dict(Counter(entry.reason for entry in entries).most_common())


def warnings_of(benchmark: Benchmark, records: Sequence[Record], lost: Sequence[Entry]) -> tuple[str, ...]:
    """Say in what a benchmark's rows are not what they ought to be."""
    return tuple(filter(None, (_counts(benchmark, records, lost), _references(benchmark, records), _choices(records), _roles(records))))


def _counts(benchmark: Benchmark, records: Sequence[Record], lost: Sequence[Entry]) -> str:
    expected, found = benchmark.count, len(records)
    if expected is None or found == expected:
        return ""
    missing = f", {len(lost):,} of them lost" if 0 < found < expected and lost else ""
    cut = f"; it looks like a cut copy: {benchmark.traps or 'compare the source'}" if found < CUT_SHARE * expected else ""
    return f"{found:,} rows, expected {expected:,} ({benchmark.counted_at}){missing}{cut}; the score is not that of {benchmark.name}"


def _references(benchmark: Benchmark, records: Sequence[Record]) -> str:
    few = sum(len(right_answers(record)) < benchmark.references for record in records)
    if not few:
        return ""
    trap = f"; {benchmark.traps}" if benchmark.traps else ""
    return f"{few:,} of {len(records):,} rows have fewer than {benchmark.references} references{trap}"


def _choices(records: Sequence[Record]) -> str:
    odd = sum(bool(record.choices) and record.target not in record.choices for record in records)
    return f"{odd:,} rows whose answer is none of their choices: they count, and cannot be answered by a letter" if odd else ""


def _roles(records: Sequence[Record]) -> str:
    trained = sum(record.meta.get("role", record.meta.get("split", "")) == "train" for record in records)
    return f"{trained:,} rows are of a training split" if trained else ""
