"""What recipes of speech share: the two forms of a transcript, and the records of one utterance."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipes.languages import CANTONESE, language_of, name_of, text_language_of
from data.recipes.prepared import spoken_form
from data.recipes.walking import needed, read_lines, tagged

# Scripts written without spaces: ideographs, kana, and the marks between them.
_UNSPACED = r"[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_LOOSE = re.compile(rf"(?<={_UNSPACED})\s+|\s+(?={_UNSPACED})")
MARKUP = re.compile(r"<[^<>]*>")  # <UNK>, <SPOKEN_NOISE>, <laugh>: no words
GENDERS: Mapping[str, str] = {
    "m": "male", "male": "male", "male_masculine": "male", "f": "female", "female": "female", "female_feminine": "female"
}  # fmt: skip


def unspaced(text: str) -> str:
    """Return text without spaces beside Chinese characters and kana: corpora write them as segmented words."""
    return _LOOSE.sub("", text)


def chinese_form(text: str) -> str:
    """Return Chinese text as `wo_itn` targets have it: no spaces, no punctuation, full-width letters as plain ones, lower case."""
    return unspaced(spoken_form(unicodedata.normalize("NFKC", text)))


def wo_itn_form(text: str, code: str) -> str:
    """Return text in a corpus' language as `wo_itn` targets have it."""
    return chinese_form(text) if language_of(code) in ("zh", "ja", CANTONESE) else spoken_form(text)


def gender_of(value: str | None) -> str | None:
    """Return male or female; None for what a corpus leaves open or calls otherwise."""
    return GENDERS.get((value or "").strip().lower())


def decade(years: str | float | None) -> str | None:
    """Return an age as its decade, "30s"; None where it is not a plausible number of years."""
    text = str(years or "").strip()
    return f"{int(float(text)) // 10 * 10}s" if re.fullmatch(r"[1-9]\d?(\.0*)?", text) and float(text) >= 10 else None


def kaldi_table(path: Path) -> dict[str, str]:
    """Read KEY VALUE lines; a key alone has the empty value.

    Raises:
        DataError: there is no such file.
    """
    pairs = (line.strip().partition(" ") for _, line in read_lines_of(path))
    return {key: value.strip() for key, _, value in pairs}


def read_lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (FILE:LINE, line) with tabs as spaces: tables of the same corpus mix both."""
    return ((where, line.replace("\t", " ")) for where, line in read_lines(needed(path, "table")))


def lost_file(source: str, audio: Path | AudioRef, where: str) -> Entry | None:
    """Return the line of account of a clip that is not there; None where it is (a file, or a row inside an archive)."""
    path = Path(audio.path) if isinstance(audio, AudioRef) else audio
    return None if path.is_file() or path.parent.is_file() else Entry(source, "no_file", where, str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One utterance and what its corpus says of it.

    Attributes:
        source: the corpus' own name of it.
        audio: the clip, or the stretch of a longer one.
        where: FILE:LINE.
        code: the language as the corpus writes it.
        spoken: the words as they are said, lower case without punctuation (`wo_itn`); empty where the corpus has no such text.
        written: the text with punctuation, case and numbers (`itn`); empty where the corpus has no such text.
        meta: speaker, gender, age, accent; kept in every record and asked for by `also`.
        dialect: said in a dialect that has no tag of its own, written in the standard language.
    """

    source: str
    audio: Path | AudioRef
    where: str
    code: str
    spoken: str = ""
    written: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    dialect: bool = False


def speech_records(speech: Speech, also: Sequence[str] = (), *, checked: bool = False) -> Iterator[Record | Entry]:
    """Yield what one utterance teaches: its transcript in each form, and the labels in `also` that the corpus has for it.

    Args:
        also: of gender, age, dialect_id, language_id.
        checked: whether the file is known to be there.
    """
    if not checked and (gone := lost_file(speech.source, speech.audio, speech.where)):
        yield gone
        return
    if not (speech.spoken.strip() or speech.written.strip()):
        yield Entry(speech.source, "empty_text", speech.where)
        return
    language = language_of(speech.code)
    meta = {**speech.meta, "language": language}
    dialect = speech.dialect or language == CANTONESE
    family = "dialect_asr" if dialect else "asr"
    prefix = {"text_language": text_language_of(speech.code)} if dialect else spoken_prefix(speech.code)
    forms = [(text, form) for text, form in ((speech.spoken, "wo_itn"), (speech.written, "itn")) if text.strip()]
    for number, (text, form) in enumerate(forms):
        yield tagged(
            speech.source, speech.audio, family, text, where=speech.where, meta=meta, number=number, instruction=form, **prefix
        )  # fmt: skip
    yield from label_records(speech.source, speech.audio, speech.where, speech.code, meta, also)


def spoken_prefix(code: str) -> dict[str, str]:
    """Return the languages of a transcript's prefix; Mandarin in traditional characters is written in zh_tr."""
    return {"language": language_of(code), "text_language": text_language_of(code)}


def label_records(
    source: str, audio: Path | AudioRef, where: str, code: str, meta: Mapping[str, Any], families: Sequence[str]
) -> Iterator[Record | Entry]:
    """Yield the records of those families whose answer meta (gender, age, accent) or the language's code gives."""
    answers = {"gender": meta.get("gender"), "age": meta.get("age"), "dialect_id": meta.get("accent"), "language_id": name_of(code)}
    spoken = "zh" if language_of(code) == CANTONESE else language_of(code)  # no tag of its own, and no need for one: who, not what
    for family in families:
        if answer := answers[family]:
            prefix: dict[str, Any] = {} if family == "language_id" else {"language": spoken}
            yield tagged(source, audio, family, str(answer), where=where, meta=meta, **prefix)
