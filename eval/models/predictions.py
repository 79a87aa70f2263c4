"""Answers that somebody else's program gave: a JSONL file of ids and answers, or one JSON object of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.manifest import Record
from eval.models.base import About, Answered, Asked
from eval.models.identity import file_digest
from qwen_audio.errors import DataError

ANSWER_KEYS = ("answer", "prediction", "hypothesis", "response", "text", "output")


class PredictionsModel:
    """Replays a file; a row that it does not hold is an infer_fail."""

    def __init__(self, path: Path | str) -> None:
        """Read the file.

        Raises:
            DataError: there is none, a line is no prediction, or an id stands twice.
        """
        self.path = Path(path)
        self.answers = dict(_read(self.path))
        digest = file_digest(self.path)
        self.about = About(name=self.path.name, identity=digest, window_s=None, hears=False, together=False, batch_size=256)

    def prompt(self, record: Record) -> str:
        """Return nothing: what the other program was told is not known."""
        return ""

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Return what the file says."""
        return [self._answer(row.id) for row in rows]

    def peak_bytes(self) -> int:
        """Return 0."""
        return 0

    def _answer(self, name: str) -> Answered:
        if name not in self.answers:
            return Answered(status="infer_fail", error=f"{self.path.name} has no answer for this id")
        return Answered(self.answers[name])


def _read(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file of predictions")
    seen: dict[str, str] = {}
    for where, row in _rows(path):
        found = [key for key in ANSWER_KEYS if isinstance(row, dict) and key in row]
        if not found or "id" not in row:
            raise DataError(f'{where}: expected an object with "id" and one of {", ".join(ANSWER_KEYS)}')
        name = str(row["id"])
        if name in seen:
            raise DataError(f"{where}: the id {name!r} stands at {seen[name]} already")
        seen[name] = where
        yield name, str(row[found[0]] if row[found[0]] is not None else "")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (FILE:LINE, row); a file that is one object of ids and answers gives a row for each."""
    text = path.read_text(encoding="utf-8")
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        yield from ((f"{path}:[{number}]", row) for number, row in enumerate(whole))
    elif isinstance(whole, dict) and "id" not in whole:
        yield from ((f"{path}:{name}", {"id": name, "answer": answer}) for name, answer in whole.items())
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                yield f"{path}:{number}", json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON ({error})") from error
