"""Audit the data of benchmarks before anything is asked: rows, hours, decoding, duplicates, references, labels, shortcuts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.examples import clip_reader
from data.manifest import AudioRef, Record
from data.rows.archives import probe, source_of
from data.tables import hours, table
from eval.benchmarks.benchmark import WITHHELD, right_answers
from eval.benchmarks.load import Loaded, load
from eval.benchmarks.table import expand
from eval.models.identity import file_digest
from eval.shortcuts import Shortcuts, shortcuts
from qwen_audio.errors import AudioError, DataError

SHOWN = 3  # examples of a problem
LABELS_SHOWN = 16
CLOSED = ("scene", "emotion", "vocal_sound", "gender", "language_id", "keyword_spotting", "audio_qa", "music_qa", "genre", "instrument")


@dataclass(frozen=True, slots=True)
class Sound:
    """What the audio of some rows is like.

    Attributes:
        seconds: of all clips; n_clips: different stretches.
        rates: Hz -> files. broken: clip -> why it cannot be decoded. twins: files with the same bytes under different names.
    """

    seconds: float = 0.0
    n_clips: int = 0
    rates: Mapping[int, int] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    twins: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found out about a benchmark's data.

    Attributes:
        sha256: of its rows as they are asked: ids, questions, answers, choices and the bytes of their audio; "" where it was not decoded.
        references: how many right answers a row has -> rows.
        labels: different answers -> rows, most frequent first, where the answers are labels.
        empty: rows whose answer is empty or white space.
        problems: what must be mended, a line each; warnings: what a reader must know.
    """

    name: str
    rows: int
    expected: int | None
    lost: Mapping[str, int]
    sound: Sound
    sha256: str
    references: Mapping[int, int]
    labels: Mapping[str, int]
    empty: int
    shortcuts: Shortcuts | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def validate(
    tasks: Sequence[str], data_root: Path | str | None = None, *, decode: bool = True, limit: int | None = None
) -> tuple[str, bool]:
    """Audit benchmarks and files of rows, and lay out what was found.

    Args:
        tasks: names, groups, files.
        decode: decode every clip from end to end and compare the bytes of files; False reads headers alone.
        limit: look at so many rows of each.
    Returns:
        the text for people; whether there is nothing to mend: no problems, and every set that was named itself is there.
    Raises:
        ConfigError: no benchmark has that name.
    """
    audits, missing = [], {}
    for task in expand(tasks):
        try:
            audits.append(audit(load(task, data_root, limit=limit), decode=decode))
        except DataError as error:
            missing[task] = f"missing: {error}"
    text = "\n\n".join([*([_table(audits)] if audits else []), *map(_told, audits), *missing.values()])
    return text, not any(found.problems for found in audits) and not set(missing) & set(tasks)


def audit(loaded: Loaded, *, decode: bool = True) -> Audit:
    """Look at the rows of a benchmark and at their audio."""
    records, account, benchmark = loaded.records, loaded.account, loaded.benchmark
    sound, digests = listen(records, loaded.root, decode=decode)
    references = Counter(len(right_answers(record)) for record in records)
    answers = Counter(record.target for record in records)
    families = {record.family for record in records}
    closed = bool(families & set(CLOSED)) and answers.keys() != {WITHHELD}
    labels = dict(answers.most_common()) if closed and not any(record.choices for record in records) else {}
    empty = sum(not any(text.strip() for text in right_answers(record)) for record in records)
    return Audit(
        name=benchmark.name, rows=account.rows, expected=account.expected, lost=dict(Counter(entry.reason for entry in account.lost)),
        sound=sound, sha256=_sha256(records, digests) if decode else "", references=dict(sorted(references.items())),
        labels=labels, empty=empty, shortcuts=shortcuts(records, benchmark.labels) if closed else None,
        problems=_problems(loaded, sound, empty), warnings=account.warnings,
    )  # fmt: skip


def _problems(loaded: Loaded, sound: Sound, empty: int) -> tuple[str, ...]:
    """Say what must be mended."""
    twice = [entry.id for entry in loaded.account.lost if entry.reason == "duplicate_id"]
    found = [
        _examples("clips cannot be decoded", [f"{name}: {why}" for name, why in sound.broken.items()]),
        _examples("files have the same audio under several names", [" = ".join(names) for names in sound.twins]),
        _examples("rows have the id of an earlier row", twice),
        f"{empty:,} rows have an empty answer" if empty else "",
        _examples("rows are lost", [str(entry) for entry in loaded.account.lost if entry.reason not in ("duplicate_id", "empty_text")]),
        _labels(loaded.benchmark.labels, loaded.records),
        "; ".join(warning for warning in loaded.account.warnings if "expected" in warning or "references" in warning),
    ]
    return tuple(filter(None, found))


def _examples(what: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    more = f"; and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    return f"{len(items):,} {what}: {'; '.join(items[:SHOWN])}{more}"


def _labels(known: Sequence[str], records: Sequence[Record]) -> str:
    """Hold the answers against the labels that the set has; of a multiple choice the places are labels and say nothing."""
    if not known or any(record.choices for record in records):
        return ""
    found = {record.target for record in records}
    return _examples("answers are no labels of the set", sorted(found - set(known)))


def listen(records: Sequence[Record], root: Path, *, decode: bool) -> tuple[Sound, dict[AudioRef, str]]:
    """Read the header of every file, and where asked decode every clip and hash every file.

    Returns:
        what the audio is like; the hash of each clip's file, for those that can be read.
    """
    read = clip_reader(root)
    rates, broken, digests = Counter[int](), dict[str, str](), dict[AudioRef, str]()
    named: dict[str, set[str]] = {}
    seconds, files = 0.0, set[str]()
    clips = dict.fromkeys(ref for record in records for ref in record.audio)
    for ref in clips:
        try:
            if ref.path not in files:
                rates[probe(root / ref.path).rate] += 1
                files.add(ref.path)
            if decode:
                seconds += read(ref).duration_s
                digests[ref] = file_hash(root / ref.path)
                named.setdefault(digests[ref], set()).add(ref.path)
            else:
                seconds += ref.duration_s or 0.0
        except AudioError as error:
            broken[ref.path] = str(error).removeprefix(f"{root / ref.path}: ")
    twins = tuple(sorted(tuple(sorted(names)) for names in named.values() if len(names) > 1))
    return Sound(seconds, len(clips), dict(rates.most_common()), broken, twins), digests


def file_hash(path: Path) -> str:
    """Hash the bytes of a file, or of a member of a shard."""
    source = source_of(path)
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_digest(source)


def _sha256(records: Sequence[Record], digests: Mapping[AudioRef, str]) -> str:
    """Hash rows as they are asked, with the bytes of their audio in the place of its path."""
    whole = hashlib.sha256()
    for record in sorted(records, key=lambda record: record.id):
        row = record.to_json() | {"audio": [[digests.get(ref, "?"), ref.start_s, ref.duration_s] for ref in record.audio]}
        whole.update(json.dumps({**row, "meta": None}, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return whole.hexdigest()


def _table(audits: Sequence[Audit]) -> str:
    rows = []
    for found in audits:
        expected = "–" if found.expected is None else f"{found.expected:,}"
        rates = ", ".join(f"{rate:,}" for rate in found.sound.rates)
        references = ", ".join(map(str, found.references))
        cells = (found.name, f"{found.rows:,}", expected, f"{sum(found.lost.values()):,}", hours(found.sound.seconds), rates, references)
        rows.append((*cells, str(len(found.problems)), found.sha256[:12]))
    return table(("set", "rows", "expected", "lost", "hours", "Hz", "references", "problems", "sha256"), rows)


def _told(found: Audit) -> str:
    """Say what is to be said of one set beneath the table."""
    lines = [f"{found.name}:"]
    lines += [f"  problem: {problem}" for problem in found.problems]
    lines += [f"  warning: {warning}" for warning in found.warnings if not any(warning in problem for problem in found.problems)]
    if found.labels:
        shown = ", ".join(f"{label} {n:,}" for label, n in list(found.labels.items())[:LABELS_SHOWN])
        more = len(found.labels) - LABELS_SHOWN
        lines.append(f"  {len(found.labels):,} labels: {shown}{f' and {more:,} more' if more > 0 else ''}")
    if found.shortcuts is not None:
        lines += ["  without hearing:", *(f"    {line}" for line in found.shortcuts.lines())]
    return "\n".join(lines) if len(lines) > 1 else f"{found.name}: nothing to mend"
