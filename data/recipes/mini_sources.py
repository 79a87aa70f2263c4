"""Walk the public repositories of sentences and passages that the bundled model is trained on, as they lie after cloning.

A recipe's name and a row's meta["source"], which is its file's path in the clone, are the two columns of data/splits/*.tsv:
by them the same rows can be kept apart for evaluation. Single words are in mini_words.py, sounds in mini_sounds.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.prepared import spoken_form
from data.recipes.stretches import stretches
from data.recipes.walking import needed, read_json, read_lines, tagged
from qwen_audio.errors import DataError
from tag_schema.answers import Entity, write_entities
from tag_schema.tasks import language_name

SPOKEN = ("asr", "language_id")  # what any clip with its words serves
ALL = (Split("all", "train"),)  # of a repository that parts nothing
NAMES = "names of files in the bundled model's data"
RUSSIAN_MISPRINTS = ("letters/d", "letters/n", "letters/x")
SLOT_QUESTIONS = {
    "coffeeDrink": "Which drink does the speaker order?",
    "milkAmount": "What does the speaker say about milk?",
    "numberOfShots": "How many shots does the speaker ask for?",
    "roast": "Which roast does the speaker ask for?",
    "size": "What size does the speaker ask for?",
    "sugarAmount": "What does the speaker say about sugar?",
}


def spoken_clip(
    source: str, path: Path, text: str, where: str, language: str, *, word: bool = False, english: str = "", **meta: Any
) -> Iterator[Record | Entry]:
    """Yield what a clip with its words may serve: recognition and language; the word itself, its English, the gender where given."""
    if not path.is_file():
        yield Entry(source, "no_file", where, str(path))
        return
    known = {"language": language, **meta}
    said = spoken_form(text)
    yield tagged(source, path, "asr", said, where=where, meta=known, language=language)
    yield tagged(source, path, "language_id", language_name(language), where=where, meta=known)
    if word:
        yield tagged(source, path, "keyword_spotting", said, where=where, meta=known, language=language)
    if english:
        yield tagged(source, path, "s2tt", english, where=where, meta=known, language=language, text_language="en")
    if "gender" in meta:
        yield tagged(source, path, "gender", meta["gender"], where=where, meta=known, language=language)


def walk_de_kerstin(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Kerstin's sentences: metadata.csv says id|text; the checked recordings are taken."""
    for where, line in read_lines(root / "metadata.csv"):
        name, _, text = line.partition("|")
        source = f"verified/{name}.flac"
        yield from spoken_clip(source, root / source, text, where, "de", speaker="kerstin", gender="female")


def walk_en_kathleen(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Kathleen's sentences: beside each recording lies its text."""
    for path in sorted(needed(root / "data", "folder").glob("*.wav")):
        table, source = path.with_suffix(".txt"), f"data/{path.name}"
        text = table.read_text(encoding="utf-8") if table.is_file() else ""
        yield from spoken_clip(
            source, path, text, str(table), "en", speaker="kathleen", gender="female", prompt=path.stem.rpartition("_")[0]
        )


def walk_en_librispeech(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the utterances of LibriSpeech that Resemblyzer carries, without transcripts: the speaker's gender, by SPEAKERS.TXT."""
    folder = needed(root / "audio_data" / f"librispeech_{split.name}", "folder")
    table = needed(root / "audio_data" / "librispeech_train-clean-100" / "SPEAKERS.TXT")
    lines = (line.split("|") for _, line in read_lines(table) if not line.startswith(";"))
    genders = {cells[0].strip(): {"M": "male", "F": "female"}.get(cells[1].strip(), "") for cells in lines}
    for path in sorted(folder.rglob("*.flac")):
        reader, source = path.stem.partition("-")[0], path.relative_to(root).as_posix()
        meta = {"speaker": f"libri{reader}", "gender": genders.get(reader, ""), "language": "en"}
        yield tagged(source, path, "gender", meta["gender"], where=str(path), meta=meta, language="en")
        yield tagged(source, path, "language_id", language_name("en"), where=str(path), meta=meta)


def walk_en_s2i_barista(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Picovoice's coffee orders: label.json says the slots of each; all have the one intent orderDrink, which is no task."""
    table = root / "data" / "label" / "label.json"
    for name, row in sorted(read_json(table).items()):
        source, where = f"data/speech/clean/{name}", f"{table}:{name}"
        path = root / source
        if not path.is_file():
            yield Entry(source, "no_file", where, str(path))
            continue
        slots = {slot: value.strip() for slot, value in sorted(row["slots"].items())}
        meta = {"language": "en", "intent": row["intent"]}
        entities = write_entities(Entity(slot, value) for slot, value in slots.items())
        yield tagged(source, path, "slot_filling", entities, where=where, meta=meta, language="en")
        for number, (slot, value) in enumerate(slots.items()):
            yield tagged(source, path, "audio_qa", value, where=where, meta=meta, number=number, question=SLOT_QUESTIONS[slot])


def walk_multi_azure(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the sample passages of Azure's Custom Speech, unpacked beside their archives: the folder names the language."""
    samples = needed(root / "sampledata" / "customspeech", "folder")
    folders = sorted(path for path in samples.glob("**/training/audio-and-trans") if path.is_dir())
    if not folders:
        raise DataError(f"{samples}: found no folder training/audio-and-trans; unpack each audio-and-trans.zip into a folder of its name")
    for path in sorted(path for folder in folders for path in folder.glob("*.wav")):
        source = f"{path.parent.relative_to(root).as_posix()}.zip!{path.name}"
        locale = path.relative_to(samples).parts[0]
        parts = stretches(source, path, str(path))
        if isinstance(parts, Entry):
            yield parts
            continue
        meta = {"speaker": f"azure-{locale}", "language": locale[:2]}
        for number, part in enumerate(parts):
            yield tagged(source, part, "language_id", language_name(locale[:2]), where=str(path), meta=meta, number=number)


def walk_ru_prompts(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Russian telephone prompts: "name: text" a line; English of the same names where core-sounds-en.txt lies beside."""
    english = {}
    if (root / "core-sounds-en.txt").is_file():
        english = dict(_prompts(root / "core-sounds-en.txt"))
    for where, line in read_lines(root / "core-sounds-ru.txt"):
        name, colon, text = line.partition(":")
        if line.startswith(";") or not colon:
            continue
        source, text = f"{name}.wav", re.sub(r"\s*\[[^]]*\]\s*$", "", text).strip()  # "Точка [.]" says the sign behind the word
        if not text or text[0] in "(<":
            yield Entry(source, "empty_text", where, "a sound or a pause, no words")
            continue
        known = english.get(name, "")
        rows = list(
            spoken_clip(source, root / source, text, where, "ru", english="" if known[:1] in "[(<" else known, speaker="ivrvoice-ru")
        )
        if _differs_from_the_sound(name, text):
            rows = [row for row in rows if not (isinstance(row, Record) and row.family == "asr")]
        yield from rows


def _prompts(table: Path) -> Iterator[tuple[str, str]]:
    for _, line in read_lines(table):
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            yield name, text.strip()


def _differs_from_the_sound(name: str, text: str) -> bool:
    """Tell prompts whose text is not what is said: digits, Latin letters, names of protocols, letters with a misprint."""
    return bool(re.search(r"[0-9A-Za-z]", text)) or name.startswith("spy-") or name in RUSSIAN_MISPRINTS


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="de_kerstin",
        title="Kerstin: German sentences by one woman",
        source="https://github.com/rhasspy/dataset-voice-kerstin",
        licence="CC0 1.0",
        hours=None,
        languages=("de",),
        tasks=(*SPOKEN, "gender"),
        splits=(Split("all", "train", 1374, "README of the corpus"),),
        layout="metadata.csv: id|text\nverified/{id}.flac",
        verified="README, DATASHEET.md and metadata.csv of the corpus",
        walk=walk_de_kerstin,
    ),
    Recipe(
        name="en_kathleen",
        title="Kathleen: CMU Arctic's sentences by one woman",
        source="https://github.com/rhasspy/dataset-voice-kathleen",
        licence="CC0 1.0",
        hours=None,
        languages=("en",),
        tasks=(*SPOKEN, "gender"),
        splits=ALL,
        layout="data/{prompt}_{time}.wav\ndata/{prompt}_{time}.txt",
        verified=f"users' code that fetches both files of a sentence, {NAMES}",
        walk=walk_en_kathleen,
        notes="Some prompts are read twice.",
    ),
    Recipe(
        name="en_librispeech",
        title="LibriSpeech's utterances in Resemblyzer: one a speaker, with the speaker's gender",
        source="https://github.com/resemble-ai/Resemblyzer",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("gender", "language_id"),
        splits=(
            Split("train-clean-100", "train", 251, "audio_data/README.md of the repository"),
            Split("test-other", "test", 100, "audio_data/README.md of the repository"),
        ),
        layout="audio_data/librispeech_{train-clean-100,test-other}/**/{utterance}.flac\naudio_data/librispeech_train-clean-100/SPEAKERS.TXT",
        verified="audio_data/README.md and demo04_clustering.py of the repository (columns of SPEAKERS.TXT)",
        walk=walk_en_librispeech,
        notes="The same utterances are in LibriSpeech proper.",
    ),
    Recipe(
        name="en_s2i_barista",
        title="Picovoice's speech-to-intent benchmark: coffee orders by more than 50 speakers",
        source="https://github.com/Picovoice/speech-to-intent-benchmark",
        licence="Apache-2.0 (the repository)",
        hours=None,
        languages=("en",),
        tasks=("slot_filling", "audio_qa"),
        splits=ALL,
        layout="data/label/label.json: file -> intent, slots\ndata/speech/clean/{file}",
        verified="label.json, README and files of the repository",
        walk=walk_en_s2i_barista,
        notes="Every order has the one intent orderDrink; speakers are not named. The questions are ours. Made to compare engines.",
    ),
    Recipe(
        name="multi_azure",
        title="Sample passages of Azure's Custom Speech in nine languages",
        source="https://github.com/Azure-Samples/cognitive-services-speech-sdk",
        licence="MIT (the repository)",
        hours=None,
        languages=("de", "en", "es", "fr", "it", "ja", "ko", "pt", "zh"),
        tasks=("language_id",),
        splits=ALL,
        layout="sampledata/customspeech/{locale}/**/training/audio-and-trans/{name}.wav (audio-and-trans.zip unpacked into a folder)",
        verified=f"files of the repository (the archives), {NAMES} (what is in them)",
        walk=walk_multi_azure,
        notes="One voice a language, perhaps synthetic: for telling languages alone.",
    ),
    Recipe(
        name="ru_prompts",
        title="Asterisk's telephone prompts in Russian, one voice",
        source="https://github.com/pbxware/asterisk-sounds",
        licence="CC BY 3.0",
        hours=None,
        languages=("ru",),
        tasks=(*SPOKEN, "s2tt"),
        splits=ALL,
        layout="core-sounds-ru.txt: name: text\n{name}.wav\ncore-sounds-en.txt (of Asterisk's English prompts, for translations)",
        verified="core-sounds-ru.txt and files of the repository; the form of core-sounds-en.txt is not verified",
        walk=walk_ru_prompts,
        notes="Prompts with digits, Latin letters or known misprints give no transcript, their text is not what is said.",
    ),
)
