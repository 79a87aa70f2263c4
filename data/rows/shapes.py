"""Rows of every shape that people train on -> Records: the shape is found out row by row; what is wrong has a reason and FILE:LINE.

The shapes: our own manifest lines; a tagged task (`audio`, `prompt` or `task`, `text` or `gt`); one question and its answer
(`query`/`response`, `instruction`/`input`/`output`, `prompt`/`target`, with `history` and `system`); dialogues
(`messages`, `conversations`), which `data.dialogues` reads. Sources: the data sections of the documentation of ms-swift,
LLaMA-Factory, NeMo, SLAM-LLM, LTU, Audio Flamingo 3 and transformers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import MAY_BE_EMPTY, AudioRef, Record, from_json
from data.rows.archives import parquet_rows, tar_rows
from data.rows.dialogues import CONVERSATIONS, Said, dialogue, history_turns, spoken_turns
from data.rows.errors import RowError, as_text
from qwen_audio.errors import DataError
from tag_schema.custom import CustomTags
from tag_schema.prefix import TagPrefix, parse_sentence
from tag_schema.tasks import TASKS, family_of, prefix_for
from tag_schema.vocabulary import TagError

Row = Mapping[str, Any]
AUDIO_COLUMNS = ("audios", "audio", "sound", "speech", "audio_filepath", "audio_path", "audio_id", "wav", "path")
# A question's column, and where its answer may stand; None asks nothing: the row's task does.
QUESTIONS: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    ("query", ("response",)),
    ("instruction", ("output",)),
    ("question", ("answer",)),
    ("prompt", ("text", "gt", "target", "response", "answer", "completion")),
    (None, ("text", "gt", "target", "response", "txt", "sentence")),
)
UNHEARD = {  # columns of other tools that would change what a row means
    **dict.fromkeys(("images", "image", "videos", "video"), "this model hears and does not see"),
    **dict.fromkeys(("tools", "objects"), "there are no calls of tools and no boxes here"),
    **dict.fromkeys(("chosen", "rejected", "rejected_response", "rejected_messages"), "pairs of preferences are not learned here"),
}
LEADING_AUDIO = re.compile(r"\A\s*(<audio>[^<]*</audio>\s*)*")  # as the released evaluation writes its prompts
PIECE = re.compile(r"(?P<path>.+)#t=(?P<start>\d+(\.\d+)?),(?P<end>\d+(\.\d+)?)")
ADDRESS = re.compile(r"(https?|s3|data):")


def read_rows(path: Path | str, custom: CustomTags | None = None) -> Iterator[tuple[str, Record | Entry]]:
    """Yield (where, record or line of account) of each row of a file.

    Args:
        path: JSONL; a JSON array; a webdataset .tar; a .parquet file.
        custom: the model's own tags, which a tag sentence may hold.
    Returns:
        where is FILE:LINE, in an array FILE:[n] counted from 0, in a shard FILE:KEY or FILE:ROW.
    Raises:
        DataError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file of rows")
    if path.suffix in (".tar", ".parquet"):
        shard = path.absolute()  # its rows hear what lies in it, wherever the data root is
        for where, row in tar_rows(shard) if path.suffix == ".tar" else parquet_rows(shard):
            yield where, row if isinstance(row, Entry) else _accounted(row, where, custom)
    elif _is_array(path):
        yield from _array_rows(path, custom)
    else:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, parse_line(line, where, custom)


def parse_line(line: str | bytes, where: str, custom: CustomTags | None = None) -> Record | Entry:
    """Read one line of JSONL, or say in a line of account why it cannot be."""
    try:
        row = json.loads(line.decode("utf-8-sig") if isinstance(line, bytes) else line)
    except ValueError as error:  # neither UTF-8 nor JSON
        return Entry(where, "not_json", where, " ".join(str(error).split()))
    return _accounted(row, where, custom)


def read_row(row: Row, where: str, custom: CustomTags | None = None) -> Record:
    """Make a Record of a row of any known shape.

    Args:
        row: one decoded JSON object.
        where: FILE:LINE, for messages, and the record's id where the row has none.
        custom: the model's own tags, which a tag sentence may hold.
    Raises:
        RowError: with the reason that the ledger knows, and a message that begins with where.
    """
    try:
        if not isinstance(row, Mapping):
            raise RowError("bad_row", f"expected a JSON object, found {type(row).__name__}")
        return _named(_read_native(row, where) if _is_native(row) else _read_foreign(row, where, custom))
    except RowError as error:
        raise RowError(error.reason, error.detail, where) from error
    except (TagError, DataError) as error:
        found = isinstance(error, TagError) or isinstance(error.__cause__, TagError)
        reason = "unknown_tag" if found else "audio_count" if isinstance(error.__cause__, IndexError) else "bad_row"
        raise RowError(reason, str(error).removeprefix(f"{where}: "), where) from error


def _named(record: Record) -> Record:
    """Name the task of a tagged row that does not: one of the 31, else a user's own, which is called by its instruction."""
    if record.family is not None or record.prefix is None:
        return record
    known = family_of(record.prefix)
    return replace(record, family=known.name if known is not None else record.prefix.instruction)


def _accounted(row: Any, where: str, custom: CustomTags | None) -> Record | Entry:
    try:
        return read_row(row, where, custom)
    except RowError as error:
        return Entry(name_of(row, where), error.reason, where, error.detail)


def name_of(row: Any, where: str) -> str:
    """Give a row's id, or where it stands."""
    found = next((row[key] for key in ("id", "key") if row.get(key) not in (None, "")), where) if isinstance(row, Mapping) else where
    return str(found)


def _is_array(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _array_rows(path: Path, custom: CustomTags | None) -> Iterator[tuple[str, Record | Entry]]:
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        where = str(path)
        yield where, Entry(where, "not_json", where, str(error))
        return
    for number, row in enumerate(rows):
        where = f"{path}:[{number}]"
        yield where, _accounted(row, where, custom)


# Our own form ---------------------------------------------------------------------------------------------------------------


def _is_native(row: Row) -> bool:
    if "prefix" in row:
        return True
    turns = row.get("messages")
    return isinstance(turns, list) and any(isinstance(turn, Mapping) and "parts" in turn for turn in turns)


def _read_native(row: Row, where: str) -> Record:
    target = row.get("target")
    if target is None and row.get("family") not in MAY_BE_EMPTY:
        raise RowError("no_answer", "the target is missing")
    if isinstance(target, str) and not target.strip() and row.get("family") not in MAY_BE_EMPTY:
        raise RowError("empty_text", "the target is empty")
    return from_json({**row, "id": name_of(row, where)}, where)


# What others write ------------------------------------------------------------------------------------------------------------


def _read_foreign(row: Row, where: str, custom: CustomTags | None) -> Record:
    """Read a row by the columns that it has; those that no shape knows become its meta."""
    columns = {key: value for key, value in row.items() if value is not None}
    for key, reason in UNHEARD.items():
        if columns.get(key):
            raise RowError("bad_row", f"the column {key!r} cannot be learned from: {reason}")
    for key in ("id", "key"):
        columns.pop(key, None)
    system = as_text(columns.pop("system", ""), "system")
    said = spoken_turns(columns, clip_ref)
    clips = _take_clips(columns)
    family = _take_family(columns)
    name = name_of(row, where)
    about: dict[str, Any] = {key: _take_texts(columns, key) for key in ("choices", "references")}
    about["dataset"] = as_text(columns.pop("dataset", ""), "dataset")
    if said is None:
        answered = _read_answered(columns, clips, family, custom)
        if isinstance(answered, tuple):
            prefix, target, family = answered
            return Record(name, clips, target, family, prefix, meta=_meta(columns), **about)
        said = answered
    if system:
        said = _with_system(said, system)
    messages, target = dialogue(said, clips)
    heard = tuple(ref for turn in messages for ref in turn.refs)
    return Record(name, heard, target, family, messages=messages, meta=_meta(columns), **about)


def _read_answered(
    columns: dict[str, Any], clips: tuple[AudioRef, ...], family: str | None, custom: CustomTags | None
) -> tuple[TagPrefix, str, str | None] | list[Said]:
    """Read one question and its answer: a tagged task, or the turns of a chat with what was said before."""
    asked, answers = next((pair for pair in QUESTIONS if pair[0] is None or pair[0] in columns), QUESTIONS[-1])
    if asked is None and family is None and not any(name in columns for name in answers):
        shapes = "messages, conversations, query, instruction, or audio with prompt or task, and text"
        raise RowError("bad_row", f"no known shape; found {', '.join(sorted(columns)) or 'nothing'}, expected {shapes}")
    answer = next((as_text(columns.pop(name), name) for name in answers if name in columns), None)
    prefix, question = None, ""
    if asked is None:
        prefix = _prefix_of_task(columns, family)
    else:
        question = as_text(columns.pop(asked), asked)
        sentence = LEADING_AUDIO.sub("", question, count=1)
        prefix = parse_sentence(sentence, custom) if asked == "prompt" and sentence.startswith("<|") else None
    if prefix is not None:
        if not clips:
            raise RowError("audio_count", "a tagged task hears a clip, and the row has none")
        known = family_of(prefix)
        family = family or (known.name if known is not None else None)  # what it may answer depends on it
        return prefix, _needed(answer, answers, family), family
    if columns.get("input"):
        question += "\n" + as_text(columns.pop("input"), "input")
    columns.pop("input", None)
    return [*history_turns(columns.pop("history", [])), Said("user", [question]), Said("assistant", [_needed(answer, answers, family)])]


def _prefix_of_task(columns: dict[str, Any], family: str | None) -> TagPrefix:
    """Make the tag sentence of a row that names its task and language."""
    if family is None or family not in TASKS:
        raise RowError("bad_row", f"what is asked? Give a prompt, or one of the 31 tasks as task and its language; found task {family!r}")
    language = as_text(columns.get("language", columns.get("lang", "")), "language") or None
    if language is None and TASKS[family].answers_in_speech:
        raise RowError("bad_row", f"{family}: which language is spoken? Give it as language, a code such as en")
    written = as_text(columns.get("text_language", ""), "text_language") or None
    return prefix_for(family, language=language, text_language=written, timestamps=columns.get("timestamps") is True)


def _needed(answer: str | None, names: tuple[str, ...], family: str | None) -> str:
    if family in MAY_BE_EMPTY:
        return (answer or "").strip()
    if answer is None:
        raise RowError("no_answer", f"the answer is missing; expected {' or '.join(names[:3])}")
    if not answer.strip():
        raise RowError("empty_text", "the answer is empty")
    return answer


def _with_system(said: list[Said], system: str) -> list[Said]:
    if said and said[0].role == "system":
        raise RowError("bad_row", "the column system and a system message are both there; keep one of them")
    return [Said("system", [system]), *said]


# Columns --------------------------------------------------------------------------------------------------------------------


def _take_clips(columns: dict[str, Any]) -> tuple[AudioRef, ...]:
    """Take the clips out of whichever column lists them; a row-wide offset and duration name the stretch of an only clip."""
    names = [name for name in AUDIO_COLUMNS if name in columns]
    if not names and isinstance(columns.get("source"), str) and "target" in columns:
        names = ["source"]
    if not names:
        return ()
    value = columns.pop(names[0])
    items = value if isinstance(value, list) else [value]
    if len(items) == 1 and isinstance(items[0], str) and "offset" in columns:
        items = [{"path": items[0], "offset": columns.pop("offset"), "duration": columns.pop("duration", None)}]
    return tuple(clip_ref(item) for item in items)


def clip_ref(item: Any) -> AudioRef:
    """Read a clip: a path, `file.wav#t=2.5,4`, or an object with path, and start_s and duration_s or offset and duration."""
    path, start, length = item, None, None
    if isinstance(item, Mapping):
        path = next((item[key] for key in ("path", "audio", "audio_filepath", "url", "audio_url") if item.get(key)), None)
        start = item.get("start_s", item.get("offset"))
        length = item.get("duration_s", item.get("duration") if start is not None else None)
        if path is None:
            what = "its bytes or samples alone" if {"bytes", "array", "data"} & set(item) else f"the keys {', '.join(map(str, item))}"
            raise RowError("bad_row", f"a clip is given by {what}; write it to a file and give its path")
    if not isinstance(path, str) or not path.strip():
        raise RowError("no_file", f"the path of a clip is {path!r}")
    if ADDRESS.match(path):
        raise RowError("no_file", f"{path[:80]}: addresses are not fetched; download the file and give its path")
    if (piece := PIECE.fullmatch(path)) and start is None:
        path, start, length = piece["path"], float(piece["start"]), float(piece["end"]) - float(piece["start"])
    return AudioRef(path.removeprefix("file://"), start or 0.0, length)


def _take_family(columns: dict[str, Any]) -> str | None:
    """Take the task's name; under "task" one that is none of the 31 stays with the meta, for other tools count otherwise."""
    if "family" in columns:
        return as_text(columns.pop("family"), "family") or None
    return columns.pop("task") if str(columns.get("task")) in TASKS else None


def _take_texts(columns: dict[str, Any], key: str) -> tuple[str, ...]:
    value = columns.pop(key, ())
    if not isinstance(value, (list, tuple)):
        raise RowError("bad_row", f"{key} is {value!r}: expected a list of texts")
    return tuple(as_text(item, key) for item in value)


def _meta(columns: Mapping[str, Any]) -> dict[str, str]:
    """Keep what is left of a row as text; a column meta counts first."""
    own = columns.get("meta", {})
    if not isinstance(own, Mapping):
        raise RowError("bad_row", f"meta is {own!r}: expected an object of texts")
    left = {key: value for key, value in columns.items() if key not in ("meta", *CONVERSATIONS)} | dict(own)
    kept = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in left.items()}
    return {key: value for key, value in kept.items() if value not in ("", "[]", "{}", "null")}
