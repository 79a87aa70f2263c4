"""What recipes share: rows of tables with FILE:LINE, records of tagged tasks, files that ought to be there."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import MAY_BE_EMPTY, AudioRef, Record
from qwen_audio.errors import DataError
from tag_schema.tasks import prefix_for

Audio = Path | str | AudioRef
csv.field_size_limit(1 << 24)  # captions and transcripts of long recordings pass csv's own limit


def tagged(
    source: str,
    audio: Audio | Sequence[Audio],
    family: str,
    target: str,
    *,
    where: str,
    meta: Mapping[str, Any] | None = None,
    references: Sequence[str] = (),
    choices: Sequence[str] = (),
    number: int = 0,
    **prefix: Any,
) -> Record | Entry:
    """Make the record of one tagged task, or the line of account of a row that has no answer.

    Args:
        source: the corpus' own name of the utterance or clip: what clusters and counts are made of.
        audio: one clip or several, as paths or as stretches of one.
        family: one of the 31; prefix takes what `prefix_for` takes (language, text_language, question, instruction, timestamps).
        target: the answer, in the form of the family (`tag_schema.answers` writes those that are not plain text).
        where: FILE:LINE of the row.
        meta: speaker, gender, age, accent, ...; what is None or empty is left out.
        number: tells apart several records of one source and family, from 0.
    """
    name = f"{source}#{family}" + (f".{number}" if number else "")
    target = " ".join(target.split())
    if not target and family not in MAY_BE_EMPTY:
        return Entry(name, "no_answer", where)
    clips = [audio] if isinstance(audio, (Path, str, AudioRef)) else audio
    refs = tuple(ref if isinstance(ref, AudioRef) else AudioRef(str(ref)) for ref in clips)
    kept = {key: str(value) for key, value in {"source": source, **(meta or {})}.items() if value not in (None, "")}
    return Record(
        id=name, audio=refs, target=target, family=family, prefix=prefix_for(family, **prefix),
        references=tuple(references), choices=tuple(choices), meta=kept,
    )  # fmt: skip


def needed(path: Path, what: str = "file") -> Path:
    """Return path where it exists.

    Raises:
        DataError: it does not: the folder named is not the corpus, or not all of it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such {what}; is this the corpus' folder? `python -m data list NAME` shows the layout it must have")
    return path


def read_table(
    path: Path, delimiter: str = ",", columns: Sequence[str] | None = None, *, quoted: bool = True
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (FILE:LINE, row) of a CSV or TSV file.

    Args:
        columns: names of the columns where the file has no line of names.
        quoted: whether quotation marks wrap values; False takes them as they stand.
    """
    with needed(path, "table").open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, columns, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        for row in table:
            yield f"{path}:{table.line_num}", {key: value or "" for key, value in row.items() if isinstance(key, str)}


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (FILE:LINE, line) of a text file, blank lines passed over."""
    with needed(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}:{number}", line.rstrip("\r\n")


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (FILE:LINE, object) of a JSONL file.

    Raises:
        DataError: a line is not JSON.
    """
    for where, line in read_lines(path):
        try:
            yield where, json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON ({error})") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it is missing or not JSON.
    """
    try:
        return json.loads(needed(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
