"""Walk prepared sets: one folder a set with `manifest.jsonl` and `audio/`, every row saying which tasks it may serve.

The form is documented in the README ("Training data of the bundled model"): `id, audio, duration_s, text, language, speaker,
split, tasks, source_path, licence` and, where they apply, `label, captions, instrument, midi, emotion, gender, words, qa, slots,
translation_en`. A row becomes several Records, one for each task that it may serve; conversations.py makes chat of it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.manifest import AudioRef, Record
from qwen_audio.audio import WINDOW_S
from qwen_audio.errors import DataError
from tag_schema.answers import Entity, Note, write_entities, write_note
from tag_schema.prefix import TagPrefix
from tag_schema.tasks import language_name, prefix_for
from tag_schema.timestamps import Word, words_to_srwt

Row = Mapping[str, Any]
# No formal licence for weights that are shipped: read only when it is named.
UNLICENSED_SETS = ("he_yesno",)


def prepared_sets(data_root: Path | str) -> list[str]:
    """Name the sets below data_root, in alphabetical order.

    Raises:
        DataError: there is none.
    """
    names = sorted(path.parent.name for path in Path(data_root).glob("*/manifest.jsonl"))
    if not names:
        raise DataError(f"{data_root}: no prepared set here; expected folders with a manifest.jsonl each (--data-root)")
    return names


def prepared_rows(data_root: Path | str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one set as they stand in its manifest, each with "set" and "audio" relative to data_root."""
    path = Path(data_root) / name / "manifest.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: no such manifest")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                yield {**row, "set": name, "audio": f"{name}/{row['audio']}"}
            except (json.JSONDecodeError, KeyError) as error:
                raise DataError(f"{path}:{number}: {error}") from error


def source_key(row: Row) -> str:
    """Return what names a row's recording for good, whatever its file is called here: the set and its source path.

    Rows that were made from other rows have no path of their own: their id serves.
    """
    return f"{row['set']}\t{row.get('source_path') or row['id']}"


def tagged_records(row: Row) -> list[Record]:
    """Turn one prepared row into its tagged tasks; rows over 30 s and tasks without a view give none."""
    if row["duration_s"] > WINDOW_S:
        return []
    return [record for task in row["tasks"] for record in VIEWS.get(task, _no_view)(row)]


def record_of(row: Row, family: str, target: str, prefix: TagPrefix, number: int = 0) -> Record:
    """Make the Record of one tagged task over a row's whole clip."""
    return Record(
        id=f"{row['id']}#{family}" + (f".{number}" if number else ""),
        audio=(AudioRef(row["audio"], 0.0, row["duration_s"]),),
        target=target,
        family=family,
        prefix=prefix,
        meta=meta_of(row),
        dataset=row["set"],
    )


def meta_of(row: Row) -> dict[str, str]:
    """Return what clusters, subgroups and hold-outs are made of, as text."""
    names = ("speaker", "gender", "age", "language", "label", "instrument", "midi", "fold", "kit", "emotion", "text", "split", "licence")
    return {name: str(row[name]) for name in names if row.get(name) is not None} | {"source": source_key(row)}


def spoken_form(text: str) -> str:
    """Return text as `wo_itn` targets have it: lower case, no punctuation but apostrophes inside words."""
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(" " if unicodedata.category(c)[0] in "PSZ" and c != "'" else c for c in text)
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)", " ", kept).split())


def _no_view(row: Row) -> list[Record]:
    return []


def _asr(row: Row) -> list[Record]:
    text = spoken_form(row["text"])
    records = [record_of(row, "asr", text, prefix_for("asr", language=row["language"]))]
    if row["set"].startswith("en_keywords"):
        records.append(record_of(row, "keyword_spotting", text, prefix_for("keyword_spotting", language="en")))
    return records


def _translation(row: Row) -> list[Record]:
    if not row.get("translation_en"):
        return []
    prefix = prefix_for("s2tt", language=row["language"], text_language="en")
    return [record_of(row, "s2tt", row["translation_en"], prefix)]


def _timed_words(row: Row) -> list[Record]:
    if not row.get("words"):
        return []
    words = [Word(spoken_form(word["word"]), word["start_s"], word["end_s"]) for word in row["words"]]
    family = "srwt_zh" if row["language"] == "zh" else "srwt_en"
    prefix = prefix_for(family, language=row["language"])
    target = words_to_srwt([word for word in words if word.text], duration_s=row["duration_s"])
    return [record_of(row, family, target, prefix)]


def _language(row: Row) -> list[Record]:
    return [record_of(row, "language_id", language_name(row["language"]), prefix_for("language_id"))]


def _field_view(family: str, name: str) -> Callable[[Row], list[Record]]:
    """Make the view whose answer is one field of the row."""

    def view(row: Row) -> list[Record]:
        return [record_of(row, family, str(row[name]), prefix_for(family))] if row.get(name) else []

    return view


def _age(row: Row) -> list[Record]:
    age = row.get("age")
    return [record_of(row, "age", f"{age // 10 * 10}s", prefix_for("age"))] if isinstance(age, int) else []


def _captions(row: Row) -> list[Record]:
    captions = row.get("captions") or [row["caption"]]
    return [record_of(row, "audio_caption", text, prefix_for("audio_caption"), n) for n, text in enumerate(captions)]


def _note(row: Row) -> list[Record]:
    if row.get("midi") is None:
        return []
    target = write_note(Note(pitch=row["midi"], instrument=row.get("instrument")))
    return [record_of(row, "note_analysis", target, prefix_for("note_analysis"))]


def _questions(row: Row) -> list[Record]:
    records = [
        record_of(row, "audio_qa", qa["answer"], prefix_for("audio_qa", question=qa["question"]), n)
        for n, qa in enumerate(row.get("qa") or ())
    ]
    if row.get("slots"):
        target = write_entities(Entity(name, value) for name, value in sorted(row["slots"].items()))
        records.append(record_of(row, "slot_filling", target, prefix_for("slot_filling", language="en")))
    return records


VIEWS: Mapping[str, Callable[[Row], list[Record]]] = {
    "ASR": _asr,
    "S2TT": _translation,
    "SRWT": _timed_words,
    "LID": _language,
    "gender": _field_view("gender", "gender"),
    "age": _age,
    "emotion": _field_view("emotion", "emotion"),
    "SEC": _field_view("sound_event", "label"),
    "ASC": _field_view("scene", "scene"),
    "VSC": _field_view("vocal_sound", "label"),
    "MIC": _field_view("instrument", "instrument"),
    "MNA": _note,
    "AAC": _captions,
    "AQA": _questions,
}
