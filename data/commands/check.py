"""Check files of rows by the training path itself: a line for each row that is lost or changed, prompts, tokens and hours per task."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data.admission import Admission, AdmissionOptions, TokenCounts, examine, render_silent
from data.commands.show import position_table, words_of
from data.groups import task_of
from data.ledger import Entry, Ledger, summary
from data.manifest import Record
from data.rows.shapes import read_rows
from data.tables import hours, table
from qwen_audio.errors import DataError
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)

Say = Callable[[str], object]
DECODED = AdmissionOptions(decode=True)
LENGTHS_S = (1, 2, 5, 10, 15, 20, 25, 30, 60, 120)  # upper bounds of the histogram's bars, in seconds of audio a row
BAR = 40  # letters of the longest bar
PROGRESS_S = 10.0


@dataclass(slots=True)
class Tally:
    """What the rows of one task sum up to."""

    rows: int = 0
    seconds: float = 0.0
    audio_tokens: int = 0
    text_tokens: int = 0
    learned_tokens: int = 0
    longest: int = 0  # tokens of the longest row

    def add(self, seconds: float, tokens: TokenCounts) -> None:
        """Count one more row."""
        self.rows += 1
        self.seconds += seconds
        self.audio_tokens += tokens.audio
        self.text_tokens += tokens.text
        self.learned_tokens += tokens.learned
        self.longest = max(self.longest, tokens.all)


@dataclass(slots=True)
class Report:
    """What a check has found so far."""

    ledger: Ledger = field(default_factory=Ledger)
    tasks: dict[str, Tally] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * (len(LENGTHS_S) + 2))  # text alone, the bars, longer

    def add(self, record: Record, tokens: TokenCounts) -> None:
        """Count an admitted row."""
        self.ledger.admit()
        seconds = record.duration_s or 0.0
        self.tasks.setdefault(task_of(record), Tally()).add(seconds, tokens)
        place = next((number for number, bound in enumerate(LENGTHS_S, 1) if seconds <= bound), len(LENGTHS_S) + 1)
        self.lengths[place if record.audio else 0] += 1


def to_stdout(text: str) -> None:
    """Write a result where results go."""
    sys.stdout.write(text + "\n")


def check(
    files: Sequence[Path | str],
    *,
    model: str = "mini",
    tags: Path | str | None = None,
    data_root: Path | str | None = None,
    options: AdmissionOptions = DECODED,
    max_lost: float = 0.0,
    show: int = 2,
    as_json: bool = False,
    say: Say = to_stdout,
) -> str:
    """Run the training path over files of rows.

    Args:
        files: rows of any shape.
        model, tags: the checkpoint whose tokenizer and window count, and new tags that it shall have; see show.words_of.
        data_root: where relative paths begin; each file's folder by default.
        options: what is let in; max_tokens is the model's window where it says nothing.
        max_lost: the share of rows that may be lost.
        show: rows of which the prompt is shown.
        as_json: return one JSON object and say nothing before it.
        say: takes lines of account and prompts as they come, and where the check fails also the tables: stdout by default.
    Returns:
        the table of tasks, the lengths and the sum of the account; one JSON object where that is asked.
    Raises:
        DataError: a file is missing, or more is lost than allowed.
    """
    tokenizer, config = words_of(model, tags)
    if options.max_tokens is None:
        options = replace(options, max_tokens=config.decoder.window)
    report = Report(Ledger(keep=None if as_json else 0))
    for where, found in _examined(files, data_root, options, tokenizer):
        for entry in found.entries:
            report.ledger.enter(entry)
            if not as_json:
                say(str(entry))
        if found.record is None or found.tokens is None:
            continue
        if report.ledger.admitted < show and not as_json:
            say(_shown(where, found.record, tokenizer))
        report.add(found.record, found.tokens)
    result = json.dumps(_as_json(report), ensure_ascii=False, indent=1) if as_json else _tables(report)
    try:
        report.ledger.check(max_lost, ", ".join(map(str, files)), see="the lines above say which")
    except DataError:
        say(result)
        raise
    return result


def _examined(
    files: Sequence[Path | str], data_root: Path | str | None, options: AdmissionOptions, tokenizer: Tokenizer
) -> Iterator[tuple[str, Admission]]:
    """Yield (where, what became of it) of each row of the files; an id that came before in its file is lost."""
    said_at, number = time.monotonic(), 0
    for file in map(Path, files):
        root = file.parent if data_root is None else Path(data_root)
        seen: dict[str, str] = {}
        for where, found in read_rows(file, tokenizer.custom):
            number += 1
            if time.monotonic() - said_at > PROGRESS_S:
                log.info("%s: %s rows", file, f"{number:,}")
                said_at = time.monotonic()
            if isinstance(found, Entry):
                yield where, Admission(None, (found,))
            elif found.id in seen:
                yield where, Admission(None, (Entry(found.id, "duplicate_id", where, f"{seen[found.id]} has the same id"),))
            else:
                seen[found.id] = where
                yield where, examine(found, where, options, root, tokenizer)


def _shown(where: str, record: Record, tokenizer: Tokenizer) -> str:
    """Render a row for people: what it hears, what is told, what is learned."""
    name = "" if record.id == where else f"  {record.id}"
    clips = [f"  clip {number}: {ref.path}  {ref.start_s:.2f}–{ref.start_s + (ref.duration_s or 0.0):.2f} s"
             for number, ref in enumerate(record.audio, 1)]  # fmt: skip
    lines = position_table(render_silent(record, tokenizer), tokenizer, ids=False)
    return "\n".join([f"{where}{name}  {task_of(record)}", *clips, *(f"  {line}" for line in lines), ""])


def _tables(report: Report) -> str:
    """Lay the sums out: a line a task, the lengths, the account."""
    sums = _added(report.tasks.values())
    ordered = sorted(report.tasks.items(), key=lambda item: -item[1].seconds)
    everything = max(1, sums.audio_tokens + sums.text_tokens)
    rows = [
        (name, f"{tally.rows:,}", hours(tally.seconds), f"{tally.audio_tokens:,}", f"{tally.text_tokens:,}",
         f"{tally.learned_tokens:,}", f"{tally.longest:,}", f"{(tally.audio_tokens + tally.text_tokens) / everything:.1%}")
        for name, tally in [*ordered, ("all", sums)]
    ]  # fmt: skip
    head = ("task", "rows", "hours", "audio tokens", "text tokens", "learned", "longest row", "share of tokens")
    parts = [table(head, rows, rule_before_last=True)] if report.ledger.admitted else []
    if report.ledger.admitted:
        parts.append("\n".join(_histogram(report.lengths)))
    return "\n\n".join([*parts, summary(report.ledger.counts, report.ledger.admitted)])


def _added(tallies: Collection[Tally]) -> Tally:
    """Add the tasks up."""
    return Tally(
        rows=sum(each.rows for each in tallies),
        seconds=sum(each.seconds for each in tallies),
        audio_tokens=sum(each.audio_tokens for each in tallies),
        text_tokens=sum(each.text_tokens for each in tallies),
        learned_tokens=sum(each.learned_tokens for each in tallies),
        longest=max((each.longest for each in tallies), default=0),
    )


def _histogram(lengths: Sequence[int]) -> list[str]:
    """Draw how many rows have how many seconds of audio, from the first bar that is not empty to the last."""
    bounds = ["text", *(f"≤ {bound} s" for bound in LENGTHS_S), f"> {LENGTHS_S[-1]} s"]
    filled = [place for place, rows in enumerate(lengths) if rows]
    scale = BAR / max(lengths)
    bars = [f"{bounds[place]:>8}  {lengths[place]:>9,}  {'█' * max(round(lengths[place] * scale), lengths[place] > 0)}"
            for place in range(filled[0], filled[-1] + 1)]  # fmt: skip
    return ["   audio       rows", *(bar.rstrip() for bar in bars)]


def _as_json(report: Report) -> dict[str, Any]:
    """Give what was found as numbers and lines of account."""
    ledger = report.ledger
    return {
        "admitted": ledger.admitted,
        "lost": ledger.lost,
        "counts": dict(ledger.counts),
        "tasks": {name: asdict(tally) for name, tally in report.tasks.items()},
        "entries": [asdict(entry) for entry in ledger.entries],
    }
