"""samples.jsonl: what a run ends in and what scoring begins with; one Sample a line, sorted by id."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from eval.metrics.sample import Sample, Status
from qwen_audio.errors import DataError

SURROGATE = re.compile("[\ud800-\udfff]")


def write_samples(samples: Iterable[Sample], path: Path | str) -> int:
    """Write samples sorted by id, whole or not at all, and return how many; the same samples give the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    ordered = sorted(samples, key=lambda sample: sample.id)
    with draft.open("w", encoding="utf-8") as out:
        for sample in ordered:
            row = {name: value for name, value in asdict(sample).items() if value or name in ("answer", "references")}
            out.write(json_text(row) + "\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(draft, path)
    return len(ordered)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON with its keys sorted; letters as they are, but escaped where a half of one occurs, which no file can hold."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=True)
    return json.dumps(value, indent=indent, sort_keys=True) if SURROGATE.search(text) else text


def read_samples(path: Path | str) -> list[Sample]:
    """Return the samples of a file.

    A line needs id, answer and references (or one "target"); what else it holds is taken where a Sample has it.

    Raises:
        DataError: with FILE:LINE where a line is no sample, or an id stands twice.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "samples.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: no such file of samples; `python -m eval run` writes one")
    samples, lines_of = [], dict[str, int]()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                sample = _sample(json.loads(line), where)
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: not JSON ({error})") from error
            if sample.id in lines_of:
                raise DataError(f"{where}: the id {sample.id!r} stands on line {lines_of[sample.id]} already")
            lines_of[sample.id] = number
            samples.append(sample)
    return samples


def _sample(row: Any, where: str) -> Sample:
    if not isinstance(row, dict) or not {"id", "answer"} <= row.keys() or not row.keys() & {"references", "target"}:
        raise DataError(f'{where}: expected an object with "id", "answer" and "references"')
    references = row.get("references") or (row["target"],)
    status = row.get("status", "ok")
    if status not in get_args(Status):
        raise DataError(f"{where}: status is {status!r}: expected one of {', '.join(get_args(Status))}")
    known = {name: row[name] for name in ("family", "language", "audio_s", "error") if name in row}
    return Sample(
        id=str(row["id"]),
        status=status,
        answer=str(row["answer"] or ""),
        references=tuple(references),
        choices=tuple(row.get("choices", ())),
        meta=dict(row.get("meta", {})),
        **known,
    )
