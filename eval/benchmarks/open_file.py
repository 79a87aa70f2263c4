"""Any file of rows as a benchmark: the shapes of the data house, prepared sets as they are passed on, the released evaluation's files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Split
from data.recipes.prepared import tagged_records
from data.recipes.walking import read_json_lines
from data.rows.shapes import clip_ref, read_rows
from eval.benchmarks.benchmark import Benchmark, right_answers
from eval.benchmarks.recipes import one_a_clip
from eval.benchmarks.rows import below, placed, plain_id, unique
from qwen_audio.errors import DataError
from tag_schema.custom import CustomTags, check_name
from tag_schema.tasks import prefix_for
from tag_schema.vocabulary import EXTRA_SLOTS, OFFSETS, TAG_PATTERN, TagError

Rows = Iterator[tuple[str, Record | Entry]]
ENDINGS = (".jsonl", ".json", ".tar", ".parquet")
HELD_OUT = ("dev", "test", "valid", "validation", "eval", "evaluation")
COMMON_STEMS = ("train", *HELD_OUT, "rows", "data")  # names of files that say nothing without their folder's
CAPTIONS = ("audio_caption", "music_caption")
# The released evaluation's files by the beginning of their names -> the task of their rows, and its language.
RELEASED: Mapping[str, tuple[str, str | None]] = {
    "librispeech": ("asr", "en"), "aishell": ("asr", "zh"), "covost": ("s2tt", None), "clotho_": ("audio_caption", None),
    "tut2017": ("scene", None), "cochlscene": ("scene", None), "meld": ("emotion", "en"), "clothoaqa": ("audio_qa", "en"),
    "vocalsound": ("vocal_sound", "en"), "nsynth": ("note_analysis", None),
}  # fmt: skip
_PAIR = re.compile(r"_([a-z]{2})_([a-z]{2})_[^_]+$")  # covost_en_zh_test


def is_file_of_rows(task: str) -> bool:
    """Say whether a task names a file instead of a benchmark."""
    return task.endswith(ENDINGS) or Path(task).is_file()


def benchmark_of(path: Path) -> Benchmark:
    """Make the benchmark that a file of rows is: every row of its own family and language, each measured by its own metrics."""
    folder = path.absolute().parent.name
    name = folder if path.stem == "manifest" else f"{folder}_{path.stem}" if path.stem in COMMON_STEMS else path.stem
    return Benchmark(
        name=name, title=f"rows of {path.name}", source="your own file", groups=(), folders=(path.parent.name or ".",), layout=path.name,
        walks=(), split=Split("file", "test"), family="chat", language="", prompt="as each row says", version="rows",
    )  # fmt: skip


def rows_of_file(path: Path, data_root: Path | None, custom: CustomTags | None = None) -> tuple[list[Record], list[Entry], tuple[str, ...]]:
    """Read a file of rows as records to be asked.

    Args:
        data_root: where relative paths begin that do not lie beside the file.
        custom: the model's own tags; where no model is known, whatever tags the file names.
    Returns:
        the records, a line of account for each row that is none, and notes on what was done to rows.
    Raises:
        DataError: there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of rows; `python -m eval ls` lists the benchmarks that have names")
    records: list[Record] = []
    lost: list[Entry] = []
    notes: list[str] = []
    root = path.parent if data_root is None else data_root
    for where, row in _read(path, tags_named(path) if custom is None else custom, notes):
        if isinstance(row, Entry):
            lost.append(row)
        else:
            records.append(below(placed(_complete(row, path, where), (path.parent, root)), root))
    kept, lost = unique(_captions_together(records, notes), lost)
    return kept, lost, tuple(notes)


def _read(path: Path, custom: CustomTags | None, notes: list[str]) -> Rows:
    """Read a file by what its first row is like."""
    first = _first_row(path) if path.suffix == ".jsonl" else {}
    if isinstance(first.get("tasks"), list) and {"id", "audio", "duration_s"} <= first.keys():
        notes.append("rows of a prepared set: those of its dev and test splits are asked, each for every task that it serves")
        return _prepared(path)
    if {"audio", "gt", "source"} <= first.keys() and not {"prompt", "task"} & first.keys():
        notes.append("rows of the released evaluation: asked by its sentences")
        return _released(path)
    return read_rows(path, custom)


def tags_named(path: Path) -> CustomTags:
    """Return the tags of somebody's own that stand in a file of rows: names that could be tags and are none of the vocabulary."""
    if path.suffix not in (".jsonl", ".json"):
        return CustomTags()
    found = TAG_PATTERN.finditer(path.read_text(encoding="utf-8", errors="replace"))
    named = dict.fromkeys(match.group() for match in found if match.group() not in OFFSETS)
    return CustomTags.from_names(list(filter(_could_be_a_tag, named))[:EXTRA_SLOTS])


def _could_be_a_tag(tag: str) -> bool:
    try:
        check_name(tag)
    except TagError:
        return False
    return True


def _first_row(path: Path) -> Mapping[str, Any]:
    """Return the first row of a file; nothing where it is no object, which `read_rows` will tell of."""
    with path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"{}")
    try:
        row = json.loads(first)
    except ValueError:
        return {}
    return row if isinstance(row, Mapping) else {}


def _prepared(path: Path) -> Rows:
    """Read a prepared set's manifest: the tagged tasks of every row that nothing was trained on."""
    for where, row in read_json_lines(path):
        if row.get("split") not in HELD_OUT:
            continue
        try:
            found = tagged_records({**row, "set": row.get("set", path.parent.name)})
        except (KeyError, TagError, TypeError) as error:
            yield where, Entry(str(row.get("id", where)), "bad_row", where, f"{type(error).__name__}: {error}")
            continue
        if not found:
            yield where, Entry(str(row["id"]), "too_long" if row["duration_s"] > 30 else "bad_row", where, "no task of it can be asked")
        yield from ((where, replace(record, id=record.id)) for record in found)


def _released(path: Path) -> Rows:
    """Read rows of the released evaluation: audio, gt, source and, where something is asked, question."""
    task, language = next((about for name, about in RELEASED.items() if path.name.lower().startswith(name)), (None, None))
    for number, (where, row) in enumerate(read_json_lines(path)):
        try:
            yield where, _released_row(row, number, task, language, where)
        except (KeyError, TagError, DataError) as error:
            yield where, Entry(f"{row.get('source', '')}.{number}", "bad_row", where, str(error))


def _released_row(row: Mapping[str, Any], number: int, task: str | None, language: str | None, where: str) -> Record | Entry:
    source = str(row["source"])
    if task is None:
        return Entry(f"{source}.{number}", "bad_row", where, f"what is asked? The file's name begins with none of {', '.join(RELEASED)}")
    right = [str(text) for text in (row["gt"] if isinstance(row["gt"], list) else [row["gt"]]) if str(text).strip()]
    if not right:
        return Entry(f"{source}.{number}", "no_answer", where)
    prefix: dict[str, Any] = {"language": language}
    if task == "s2tt":
        pair = _PAIR.search(source)
        if pair is None:
            return Entry(f"{source}.{number}", "bad_row", where, f"the source {source!r} does not end in _FROM_TO_SPLIT")
        prefix = {"language": pair[1], "text_language": pair[2]}
    if task == "audio_qa":
        prefix["question"] = str(row["question"])
    return Record(
        id=f"{source}.{number}", audio=(clip_ref(row["audio"]),), target=right[0], family=task, prefix=prefix_for(task, **prefix),
        references=tuple(right) if len(right) > 1 else (), meta={"source": str(row["audio"]), "dataset": source}, dataset=source,
    )  # fmt: skip


def _complete(record: Record, path: Path, where: str) -> Record:
    """Name what a row leaves open: an id that is no place on a disk, a source for clusters, a language for chats."""
    name = where.removeprefix(f"{path.parent}/") if record.id == where else record.id
    meta = dict(record.meta)
    if "source" not in meta and record.audio:
        meta["source"] = record.audio[0].path
    return replace(record, id=plain_id(name) if record.family in CAPTIONS else name, meta=meta)


def _captions_together(records: Sequence[Record], notes: list[str]) -> list[Record]:
    """Put captions of one clip that stand in rows of their own together, each clip's as references of one record."""
    captions = [record for record in records if record.family in CAPTIONS and len(right_answers(record)) == 1]
    merged = one_a_clip(captions, _heard)
    if len(merged) == len(captions):
        return list(records)
    notes.append(f"{len(captions):,} captions are the references of {len(merged):,} clips, each of which is asked once")
    return [*(record for record in records if record.family not in CAPTIONS or len(right_answers(record)) > 1), *merged]


def _heard(record: Record) -> str:
    """Name what a record hears and how it is asked."""
    asked = "" if record.prefix is None else record.prefix.text_language
    return "\n".join([str(record.family), asked, *(f"{ref.path} {ref.start_s} {ref.duration_s}" for ref in record.audio)])
