"""Construct a set: any number of rows of all 31 tasks, conversations and text; same seed, same bytes, whatever the number of workers.

Row n depends on the seed and on n alone, so that a small set is the beginning of a large one. Rows are written in order behind their
audio; a run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from data.manifest import Record, read_manifest
from data.recipes.constructed import espeak
from data.recipes.constructed.checks import checks_of
from data.recipes.constructed.example import DATASET, LICENCE
from data.recipes.constructed.guess import check_guesses, guessability, table
from data.recipes.constructed.makers import MAKERS, schedule
from data.recipes.constructed.recorded import Pool
from data.recipes.constructed.waves import RATE, Wave
from qwen_audio.audio import read_audio
from qwen_audio.errors import ConfigError, DataError, QwenAudioError
from tag_schema.tasks import TASKS

log = logging.getLogger(__name__)
FORMAT = 1  # of the rows that a seed gives; raised whenever they change
DEV_SEEDS = 1_000_000  # seeds from here on give rows of the split dev, smaller ones of train
AGREEING = 0.97  # of the measured rows of each kind
_CHUNK = 25  # rows that a worker makes at a time
_PER_FOLDER = 1000
Settings = dict[str, Any]


def split_of(seed: int) -> str:
    """Say of which split the rows of a seed are."""
    return "train" if seed < DEV_SEEDS else "dev"


def construct(
    output: Path | str,
    rows: int = 10_000,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    workers: int = 2,
    recorded: Sequence[Path | str] | None = None,
) -> str:
    """Write output/constructed/records.jsonl and its audio.

    Args:
        rows: how many; a set that has fewer of the same seed and tasks is gone on with.
        seed: 0 or more; from DEV_SEEDS on the rows are of the split dev.
        tasks: of the 31, "dialogue", "text"; all where it is None.
        workers: processes; they change nothing but the time.
        recorded: manifests of recorded sounds and notes, which take the place of half of the synthesised ones.
    Returns:
        what was done, for people.
    Raises:
        ConfigError: a number or a task that makes no sense.
        DataError: espeak-ng is missing, or the folder holds another set.
    """
    if rows < 1 or seed < 0 or workers < 1:
        raise ConfigError(f"constructed: rows {rows}, seed {seed}, workers {workers}; expected at least 1, 0 and 1")
    settings: Settings = {
        "format": FORMAT,
        "seed": seed,
        "tasks": list(schedule(None if tasks is None else tuple(tasks))),
        "espeak": espeak.version() if espeak.is_installed() else None,
        "recorded": [str(Path(path).resolve()) for path in recorded or ()],
    }
    folder = Path(output) / DATASET
    draft = _open_draft(folder, settings, rows)
    if draft is None:
        return f"{folder}: has {_count_lines(folder / 'records.jsonl')} rows of seed {seed} already, {rows} were asked for"
    done, began = _count_lines(draft), time.monotonic()
    if done:
        log.info("%s: goes on behind row %d", folder, done)
    with draft.open("a", encoding="utf-8") as out:
        for first, lines in _chunks(folder, settings, range(done, rows), workers):
            out.writelines(lines)
            out.flush()
            os.fsync(out.fileno())
            made = first + len(lines)
            if made == rows or made // 500 > first // 500:
                rate = (made - done) / max(1e-9, time.monotonic() - began)
                log.info("%s: %d of %d rows, %.0f a second", folder, made, rows, rate)
    os.replace(draft, folder / "records.jsonl")
    return summary(folder, rows - done, time.monotonic() - began)


def summary(folder: Path, made: int, seconds: float) -> str:
    """Say what a set holds."""
    counts: Counter[str] = Counter()
    hours = 0.0
    for record in read_manifest(folder / "records.jsonl"):
        counts[record.family or ""] += 1
        hours += (record.duration_s or 0.0) / 3600
    size = sum(path.stat().st_size for path in (folder / "audio").rglob("*.flac")) / 1e6
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return (
        f"{folder / 'records.jsonl'}: {sum(counts.values())} rows of {len(counts)} families, {hours:.1f} h, {size:.0f} MB; "
        f"{made} made now in {seconds:.0f} s\n{listed}"
    )


def make_row(number: int, settings: Settings, pool: Pool | None) -> tuple[Record, tuple[Wave, ...]]:
    """Make one row: the record, its paths below the set's folder, and its clips.

    Raises:
        DataError: it cannot be made; the message names the row.
    """
    order: list[str] = settings["tasks"]
    rng, task = np.random.default_rng([settings["seed"], number]), order[number % len(order)]
    try:
        example = MAKERS[task](rng, pool)
    except QwenAudioError as error:
        raise DataError(f"constructed: row {number} of seed {settings['seed']} ({task}): {error}") from error
    stem = f"audio/{number // _PER_FOLDER:04d}/{number:07d}"
    paths = [f"{stem}{f'-{place}' if len(example.clips) > 1 else ''}.flac" for place in range(len(example.clips))]
    record = example.record(f"{DATASET}/{settings['seed']}/{number:07d}", paths, split_of(settings["seed"]))
    if pool is not None and example.clips:
        record = _licensed(record, pool)
    return record, example.clips


def _licensed(record: Record, pool: Pool) -> Record:
    """Name the licences of recordings that may be in a clip."""
    licences = "; ".join(dict.fromkeys((LICENCE, *pool.licences)))
    return Record(**{name: getattr(record, name) for name in Record.__slots__} | {"meta": {**record.meta, "licence": licences}})


def _open_draft(folder: Path, settings: Settings, rows: int) -> Path | None:
    """Prepare the file that rows are added to; None where the set is there in whole.

    Raises:
        DataError: the folder holds a set of other settings.
    """
    known, records, draft = folder / "settings.json", folder / "records.jsonl", folder / "records.jsonl.part"
    if known.exists():
        found = json.loads(known.read_text(encoding="utf-8"))
        other = [name for name in settings if found.get(name) != settings[name]]
        if other:
            raise DataError(
                f"{folder}: holds a set of another {', '.join(other)} ({', '.join(str(found.get(name)) for name in other)}); "
                "name another folder, or remove it"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: is not empty and holds no constructed set; name another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    if records.exists() and _count_lines(records) >= rows:
        return None
    if records.exists() and not draft.exists():
        shutil.copyfile(records, draft)
    if not known.exists():
        beginning = known.with_name(known.name + ".part")
        beginning.write_text(json.dumps(settings), encoding="utf-8")
        os.replace(beginning, known)
    draft.touch()
    _cut_to_whole_lines(draft, rows)
    return draft


def _cut_to_whole_lines(path: Path, most: int) -> None:
    """Take away a line that was not written to its end, and lines beyond those asked for."""
    kept = 0
    with path.open("rb+") as file:
        for number, line in enumerate(iter(file.readline, b"")):
            if number == most or not line.endswith(b"\n"):
                break
            kept += len(line)
        file.truncate(kept)


def _count_lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _chunks(folder: Path, settings: Settings, rows: range, workers: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (first row, lines) chunk by chunk in order, their audio being on disk."""
    firsts = range(rows.start, rows.stop, _CHUNK)
    spans = [(first, min(rows.stop, first + _CHUNK)) for first in firsts]
    if workers == 1 or len(spans) < 2:
        pool = _pool(settings)
        for first, stop in spans:
            yield first, _write_rows(folder, settings, first, stop, pool)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(folder, settings))
    try:
        for (first, _), lines in zip(spans, executor.map(_work, spans), strict=True):
            yield first, lines
    finally:
        executor.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # what a worker process keeps between chunks


def _begin(folder: Path, settings: Settings) -> None:
    """Prepare a worker process."""
    _worker.update(folder=folder, settings=settings, pool=_pool(settings))


def _work(span: tuple[int, int]) -> list[str]:
    return _write_rows(_worker["folder"], _worker["settings"], *span, _worker["pool"])


def _pool(settings: Settings) -> Pool | None:
    return Pool(settings["recorded"]) if settings["recorded"] else None


def _write_rows(folder: Path, settings: Settings, first: int, stop: int, pool: Pool | None) -> list[str]:
    """Make rows, write their audio, and return their lines."""
    lines = []
    for number in range(first, stop):
        record, clips = make_row(number, settings, pool)
        for ref, clip in zip(record.audio, clips, strict=True):
            path = folder / ref.path
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.round(clip * 32767).astype(np.int16), RATE, format="FLAC", subtype="PCM_16")
        lines.append(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
    return lines


def verify(output: Path | str, sample: int | None = None) -> str:
    """Measure labels in the written waveforms, and try to guess answers from their questions.

    Args:
        output: the folder that construct wrote below.
        sample: how many rows to measure, spread over the set; all where it is None. Guessing takes all rows in any case.
    Returns:
        two tables.
    Raises:
        DataError: there is no set, a clip or an answer is not as its row says, a kind of label agrees with too few of its waveforms, or
            answers can be guessed.
    """
    folder = Path(output) / DATASET
    records = list(read_manifest(folder / "records.jsonl"))
    step = max(1, len(records) // sample) if sample else 1
    agreed: defaultdict[str, list[bool]] = defaultdict(list)
    for record in records[::step]:
        for kind, agrees in checks_of(record, _clips(record, folder)):
            agreed[kind].append(agrees)
            if not agrees:
                log.info("%s: %s %r is not what is measured", record.id, kind, record.meta.get("label", record.target))
    guesses = guessability(records)
    report = f"{_measured(records, agreed)}\n\n{table(guesses)}"
    bad = [kind for kind, found in agreed.items() if _too_few(found)]
    if bad:
        raise DataError(f"{folder}: labels of {', '.join(bad)} are not what is measured in the waveforms\n{report}")
    check_guesses(guesses)
    return report


def _clips(record: Record, folder: Path) -> list[Wave]:
    """Read the clips of a record; each must last as long as the record says, and the answer must have the form of its task."""
    clips = []
    for ref in record.audio:
        clip = read_audio(folder / ref.path)
        if ref.duration_s is None or abs(clip.duration_s - ref.duration_s) > 1e-3:
            raise DataError(f"{folder / ref.path}: lasts {clip.duration_s:.4f} s, the row {record.id} says {ref.duration_s} s")
        clips.append(clip.samples)
    if record.family is not None and record.family in TASKS:
        TASKS[record.family].parse(record.target)
    return clips


def _too_few(found: Sequence[bool]) -> bool:
    """Say whether surely fewer than AGREEING agree: by three standard errors, where they are few."""
    return float(np.mean(found)) < AGREEING - 3 * (AGREEING * (1 - AGREEING) / len(found)) ** 0.5


def _measured(records: Sequence[Record], agreed: dict[str, list[bool]]) -> str:
    counts = Counter(kind for record in records for kind in record.meta.get("kind", "").split("\n"))
    lines = [f"{'label measured in the waveform':<34} {'rows':>6} {'checked':>8} {'agreed':>7} {'share':>7}"]
    for kind in sorted(agreed):
        found = agreed[kind]
        lines.append(f"{kind:<34} {counts[kind]:>6} {len(found):>8} {sum(found):>7} {np.mean(found):>7.1%}")
    everything = [agrees for found in agreed.values() for agrees in found]
    if everything:
        lines.append(f"{'all':<34} {len(records):>6} {len(everything):>8} {sum(everything):>7} {np.mean(everything):>7.1%}")
    return "\n".join(lines)
