"""Walk sets of multiple-choice questions that exist for evaluation alone: MMAU, MMAR, MMSU, AIR-Bench."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record, Turn
from data.recipe import Split, Walk
from data.recipes.walking import needed, read_json, read_json_lines
from data.rows.archives import parquet_rows
from eval.benchmarks.benchmark import WITHHELD
from qwen_audio.errors import DataError

Row = Mapping[str, Any]
OPTIONS = ("choice_a", "choice_b", "choice_c", "choice_d")
_MARKS = re.compile(r"[\W_]+")
_LETTERED = re.compile(r"\(([A-Z])\)\s*")  # as MMAU's corrected release writes its choices


def asked(
    name: str,
    audio: Path | str,
    question: str,
    answer: str,
    *,
    where: str,
    choices: Sequence[str] = (),
    family: str = "audio_qa",
    references: Sequence[str] = (),
    **meta: Any,
) -> Record | Entry:
    """Make the record of a question about a clip, asked in a conversation; what has no file or no words is accounted for.

    Args:
        name: id of the row.
        audio: the clip; it is the row's source, because several questions may be about one.
        question: in words, empty where it is spoken.
        answer: the right choice as it stands among the choices, where there are any.
        meta: what is None or empty is left out.
    """
    path = Path(audio)
    if not (path.is_file() or path.parent.is_file()):  # a file, or a row of a parquet file
        return Entry(name, "no_file", where, str(path))
    if not answer.strip():
        return Entry(name, "no_answer", where)
    ref = AudioRef(str(path))
    kept = {key: str(value) for key, value in {"source": str(path.name), "language": "en", **meta}.items() if value not in (None, "", [])}
    turn = Turn("user", (ref, question.strip()) if question.strip() else (ref,))
    return Record(
        id=name, audio=(ref,), target=answer.strip(), family=None if family == "chat" else family, messages=(turn,),
        references=tuple(references), choices=tuple(choices), meta=kept,
    )  # fmt: skip


def listed(value: Any) -> list[str]:
    """Read choices that are a list, a JSON list in a text, or a Python list in a text.

    Raises:
        ValueError: they are none of these.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ast.literal_eval(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected a list, found {type(value).__name__}")
    return [str(item).strip() for item in value]


def without_letters(choices: Sequence[str], answer: str) -> tuple[list[str], str]:
    """Take the letters "(A) " off choices that all have them, and off the answer."""
    if choices and all(_LETTERED.match(choice) for choice in choices):
        return [_LETTERED.sub("", choice, count=1) for choice in choices], _LETTERED.sub("", answer, count=1)
    return list(choices), answer


def the_choice(answer: str, choices: Sequence[str]) -> str:
    """Return the choice that an answer names but for case, white space and marks; the answer itself where it names none or several."""
    alike = [choice for choice in choices if _letters(choice) == _letters(answer)]
    return answer if answer in choices or len(alike) != 1 else alike[0]


def _letters(text: str) -> str:
    return _MARKS.sub("", text.casefold())


def _about(row: Row) -> dict[str, Any]:
    """Return what a row of MMAU or MMAR says of itself, which the hub's copy keeps as JSON in one column."""
    packed = row.get("other_attributes")
    return {**row, **(json.loads(packed) if isinstance(packed, str) else packed or {})}


def mmau_row(row: Row, audio: Path | str, where: str) -> Record | Entry:
    """Make the record of one row of MMAU or MMAR, of the authors' JSON or of the hub's copy.

    A row whose answer the authors keep to themselves is asked and can be scored by nobody else.
    """
    about = _about(row)
    name = str(about.get("id") or where)
    try:
        choices, answer = without_letters(listed(about.get("choices")), str(about.get("answer") or "").strip())
    except (ValueError, SyntaxError) as error:
        return Entry(name, "bad_row", where, f"choices: {error}")
    kind = about.get("task") or about.get("modality")
    meta: dict[str, Any] = {
        "kind": kind, "difficulty": about.get("difficulty"), "skill": about.get("sub-category"), "spoken": about.get("language"),
        "corpus": about.get("dataset"), "category": _one(about.get("category")),
    }  # fmt: skip
    question = str(about.get("question") or about.get("instruction") or "")
    return asked(
        name, audio, question, the_choice(answer, choices) if answer else WITHHELD, where=where, choices=choices,
        references=() if answer else (WITHHELD,), **meta,
    )  # fmt: skip


def _one(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value or "")


def json_walk(table: str, audio_key: str) -> Walk:
    """Make the walk of a JSON list whose rows name their clips relative to its folder."""

    def walk(root: Path, split: Split) -> Iterator[Record | Entry]:
        path = needed(root / table, "table")
        rows = read_json(path) if path.suffix == ".json" else [row for _, row in read_json_lines(path)]
        for number, row in enumerate(rows):
            yield mmau_row(row, root / str(row.get(audio_key) or f"{row.get('id')}.wav"), f"{path}:[{number}]")

    return walk


def parquet_walk(pattern: str, read: Callable[[Row, Path, str], Record | Entry], without: str = "") -> Walk:
    """Make the walk of the parquet files that fit a pattern, but for those with `without` in their names."""

    def walk(root: Path, split: Split) -> Iterator[Record | Entry]:
        files = [path for path in sorted(root.glob(pattern)) if not without or without not in path.name]
        if not files:
            raise DataError(f"{root}: no file fits {pattern}")
        for file in files:
            for number, (where, row) in enumerate(parquet_rows(file)):
                yield read(row, file / str(number), where)

    return walk


def mmsu_row(row: Row, audio: Path | str, where: str) -> Record | Entry:
    """Make the record of one row of MMSU: up to four choices in columns of their own."""
    choices = [str(row[key]).strip() for key in OPTIONS if str(row.get(key) or "").strip()]
    answer = the_choice(str(row.get("answer_gt") or "").strip(), choices)
    return asked(
        str(row.get("id") or where), audio, str(row.get("question") or ""), answer, where=where, choices=choices,
        kind=row.get("task_name"), category=row.get("category"), skill=row.get("sub-category"),
    )  # fmt: skip


def walk_mmsu(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MMSU beside its audio: question/mmsu.jsonl (or mmsu.json), each row with audio_path."""
    names = ("question/mmsu.jsonl", "mmsu.jsonl", "question/mmsu.json", "mmsu.json")
    path = next((root / name for name in names if (root / name).is_file()), root / names[0])
    rows = read_json(path) if path.suffix == ".json" else [row for _, row in read_json_lines(path)]
    for number, row in enumerate(rows):
        yield mmsu_row(row, root / str(row.get("audio_path") or ""), f"{path}:[{number}]")


def walk_air_bench(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AIR-Bench: Foundation_meta.json or Chat_meta.json, the clips in a folder for each task and corpus.

    The clips of Audio_Grounding are flac, whatever their names in the table say.
    """
    folder = root / split.name if (root / split.name).is_dir() else root
    table = folder / f"{split.name}_meta.json"
    for number, row in enumerate(read_json(table)):
        where, task, corpus = f"{table}:[{number}]", str(row["task_name"]), str(row["dataset_name"])
        audio = folder / f"{task}_{corpus}" / str(row["path"])
        if task == "Audio_Grounding" and not audio.is_file():
            audio = audio.with_suffix(".flac")
        name, question = f"{task}/{corpus}/{row.get('uniq_id', number)}", str(row["question"])
        if split.name == "Chat":
            yield asked(name, audio, question, str(row["answer_gt"]), where=where, family="chat", kind=task, scene=row.get("meta_info"))
            continue
        choices = [str(row[key]).strip() for key in OPTIONS if str(row.get(key) or "").strip()]
        answer = the_choice(str(row["answer_gt"]).strip(), choices)
        yield asked(name, audio, question, answer, where=where, choices=choices, kind=task, corpus=corpus)
