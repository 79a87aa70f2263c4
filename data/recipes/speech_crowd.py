"""Walk sets of read speech in many languages that say who speaks: Common Voice and FLEURS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.transcripts import Speech, gender_of, speech_records, unspaced, wo_itn_form
from data.recipes.walking import read_table
from qwen_audio.errors import DataError

# "fourties" is how Common Voice spells it.
DECADES = {
    "teens": "10s", "twenties": "20s", "thirties": "30s", "fourties": "40s", "fifties": "50s", "sixties": "60s", "seventies": "70s",
    "eighties": "80s", "nineties": "90s",
}  # fmt: skip
ASKED = ("language_id", "gender", "age", "dialect_id")


def language_folders(root: Path, table: str) -> list[Path]:
    """Find the folders that hold a table: root itself, or those below it.

    Raises:
        DataError: there is none.
    """
    folders = [root] if (root / table).is_file() else sorted(path.parent for path in root.glob(f"*/{table}"))
    if not folders:
        raise DataError(f"{root}: no {table} here and none in the folders below; expected a language's folder, or the one that holds them")
    return folders


def one_accent(row: Mapping[str, str]) -> str:
    """Return the accent that a speaker of Common Voice names; empty where it is none or several."""
    accent = (row.get("accents") or row.get("accent") or "").strip()
    return "" if "|" in accent else accent


def unquoted(text: str) -> str:
    """Return a sentence without the marks that some releases put around one that holds quotation marks."""
    text = text.strip()
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' and '""' in text[1:-1] else text


def walk_common_voice(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Common Voice, any release: a language's folder with {split}.tsv and clips/, or a folder of such folders."""
    for folder in language_folders(root, f"{split.name}.tsv"):
        for where, row in read_table(folder / f"{split.name}.tsv", "\t", quoted=False):
            code, sentence = row.get("locale") or folder.name, unquoted(row["sentence"])
            meta = {
                "speaker": f"cv-{row['client_id'][:24]}", "gender": gender_of(row.get("gender")), "age": DECADES.get(row.get("age", "")),
                "accent": one_accent(row), "variant": row.get("variant"),
            }  # fmt: skip
            speech = Speech(
                source=row["path"].removesuffix(".mp3"), audio=folder / "clips" / row["path"], where=where, code=code, written=sentence,
                meta=meta,
            )  # fmt: skip
            yield from speech_records(speech, ASKED)


FLEURS_COLUMNS = ("id", "file_name", "raw_transcription", "transcription", "characters", "num_samples", "gender")
_FLEURS_GENDERS = {0: "male", 1: "female"}


def fleurs_rows(root: Path, split: str) -> Iterator[tuple[str, str, Path, dict[str, str]]]:
    """Yield (FILE:LINE, language code of the folder, clip, row) of the table of every language below root.

    The tables lie in LANGUAGE/ or, as lhotse stores them, in metadata/LANGUAGE/; the clips in LANGUAGE/audio/SPLIT/ or LANGUAGE/SPLIT/.
    """
    tables = sorted([*root.glob(f"*/{split}.tsv"), *root.glob(f"metadata/*/{split}.tsv")])
    if not tables:
        raise DataError(f"{root}: no {split}.tsv in the folders below (en_us/{split}.tsv); is this the folder of the languages?")
    for table in tables:
        code = table.parent.name
        places = [root / code / "audio" / split, root / code / split]
        clips = next((place for place in places if place.is_dir()), places[0])
        for where, row in read_table(table, "\t", FLEURS_COLUMNS, quoted=False):
            yield where, code, clips / row["file_name"], row


def walk_fleurs(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk FLEURS: the same sentences read in 102 languages, each as said and as written."""
    for where, code, clip, row in fleurs_rows(root, split.name):
        yield from _fleurs_records(f"{code}/{clip.stem}", clip, where, code, row, gender_of(row["gender"]))


def _fleurs_records(
    source: str, clip: Path, where: str, code: str, row: Mapping[str, Any], gender: str | None
) -> Iterator[Record | Entry]:  # fmt: skip
    spoken, written = wo_itn_form(row["transcription"], code), unspaced(row["raw_transcription"])
    meta = {"sentence": row["id"], "gender": gender}
    speech = Speech(source=source, audio=clip, where=where, code=code, spoken=spoken, written=written, meta=meta)
    yield from speech_records(speech, ("language_id", "gender"))


def read_fleurs(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy; the language is the name of the folder of its file (en_us)."""
    code = Path(audio).parent.parent.name
    name = Path(row["path"] or row["audio"]["path"]).stem
    yield from _fleurs_records(f"{code}/{name}", Path(audio), where, code, row, _FLEURS_GENDERS.get(row["gender"]))


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="common_voice",
        title="Common Voice: sentences read by volunteers, any language and release",
        source="https://commonvoice.mozilla.org",
        licence="CC0 1.0 (not verified)",
        hours=None,
        languages=("ar", "ca", "de", "en", "es", "fr", "it", "ja", "pl", "pt", "ru", "yue", "zh"),
        tasks=("asr", "dialect_asr", *ASKED),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="{language}/{train,dev,test}.tsv\n{language}/clips/{clip}.mp3",
        verified="lhotse's recipe commonvoice (columns, and that quotation marks are text)",
        walk=walk_common_voice,
        notes="All languages whose folders are there (the list names a few of more than a hundred); those without a released tag need "
        "custom ones. Taiwan's Mandarin is written in zh_tr, Cantonese (zh-HK, yue) becomes dialect_asr. An accent is an answer where "
        "the speaker names one alone. covost2 reads release 4 of the same clips: its dev and test sentences can stand in train of a later "
        "release here. Clips are withdrawn on request: an older list names clips that are gone.",
    ),
    Recipe(
        name="fleurs",
        title="FLEURS: the same sentences read in 102 languages",
        source="https://huggingface.co/datasets/google/fleurs",
        licence="CC BY 4.0 (not verified)",
        hours=None,
        languages=("ar", "de", "en", "es", "fr", "he", "it", "ja", "ko", "pt", "ru", "yue", "zh"),
        tasks=("asr", "dialect_asr", "language_id", "gender"),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="{language}/{train,dev,test}.tsv\n{language}/audio/{split}/{clip}.wav",
        verified="lhotse's recipe fleurs (columns, and its own tree, which is read too)",
        walk=walk_fleurs,
        parquet=Parquet(
            hub="google/fleurs",
            files={"train": "*/*train*.parquet", "dev": "*/*validation*.parquet", "test": "*/*test*.parquet"},
            read_row=read_fleurs,
            verified="commits of the hub's converter (en_us/fleurs-train-00000-of-00004.parquet); columns: the set's loader",
        ),
        notes="All languages whose folders are there (the list names a few of 102). Two records an utterance: as said (transcription) and "
        "as written (raw_transcription). Several people read each sentence: the sentence's id is kept in meta. fleurs_s2tt pairs the same "
        "sentences across languages.",
    ),
)
