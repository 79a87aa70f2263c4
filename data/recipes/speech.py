"""Walk sets of read and spoken text with transcripts: LibriSpeech, MLS, VoxPopuli, TED-LIUM 3, GigaSpeech."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.large_json import listed_under
from data.recipes.prepared import spoken_form
from data.recipes.transcripts import MARKUP, Speech, gender_of, speech_records
from data.recipes.walking import needed, read_lines, read_table

LIBRISPEECH_CARD = "card of openslr/librispeech_asr on the hub, num_examples"
LIBRISPEECH_SPLITS = (
    Split("train-clean-100", "train", 28_539, LIBRISPEECH_CARD),
    Split("train-clean-360", "train", 104_014, LIBRISPEECH_CARD),
    Split("train-other-500", "train", 148_688, LIBRISPEECH_CARD),
    Split("dev-clean", "dev", 2_703, LIBRISPEECH_CARD),
    Split("dev-other", "dev", 2_864, LIBRISPEECH_CARD),
    Split("test-clean", "test", 2_620, LIBRISPEECH_CARD),
    Split("test-other", "test", 2_939, LIBRISPEECH_CARD),
)


def librispeech_genders(root: Path) -> dict[str, str | None]:
    """Read SPEAKERS.TXT (ID | SEX | SUBSET | MINUTES | NAME, comments behind ;); no genders where it is not there."""
    path = root / "SPEAKERS.TXT"
    rows = [line.split("|") for _, line in read_lines(path) if not line.startswith(";")] if path.is_file() else []
    return {row[0].strip(): gender_of(row[1]) for row in rows if len(row) > 1}


def walk_librispeech(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk LibriSpeech: a transcript file a chapter, upper case without punctuation."""
    genders = librispeech_genders(root)
    for transcript in sorted(needed(root / split.name, "folder").glob("*/*/*.trans.txt")):
        for where, line in read_lines(transcript):
            name, _, text = line.partition(" ")
            speaker, chapter = name.split("-")[:2]
            meta = {"speaker": f"librispeech-{speaker}", "chapter": chapter, "gender": genders.get(speaker)}
            audio = transcript.with_name(f"{name}.flac")
            speech = Speech(source=name, audio=audio, where=where, code="en", spoken=spoken_form(text), meta=meta)
            yield from speech_records(speech, ("gender",))


def read_librispeech(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy: file, audio, text, speaker_id, chapter_id, id."""
    meta = {"speaker": f"librispeech-{row['speaker_id']}", "chapter": row["chapter_id"]}
    yield from speech_records(
        Speech(source=row["id"], audio=Path(audio), where=where, code="en", spoken=spoken_form(row["text"]), meta=meta)
    )  # fmt: skip


MLS_LANGUAGES = {
    "english": "en", "german": "de", "dutch": "nl", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt", "polish": "pl"
}  # fmt: skip


def walk_mls(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Multilingual LibriSpeech: every folder mls_LANGUAGE (or mls_LANGUAGE_opus) below root."""
    folders = [path for path in sorted(root.glob("mls_*")) if "_lm_" not in path.name and (path / split.name).is_dir()]
    for folder in folders or [needed(root / "mls_german", "folder")]:
        code = MLS_LANGUAGES[folder.name.split("_")[1]]
        people = [line.split("|") for _, line in read_lines(folder / "metainfo.txt")]
        genders = {row[0].strip(): gender_of(row[1]) for row in people}
        for where, line in read_lines(folder / split.name / "transcripts.txt"):
            name, _, text = line.partition("\t")
            speaker, book = name.split("_")[:2]
            stem = folder / split.name / "audio" / speaker / book / name
            audio = next((found for ending in (".flac", ".opus") if (found := stem.with_name(name + ending)).is_file()), stem)
            meta = {"speaker": f"librivox-{speaker}", "gender": genders.get(speaker), "book": book}
            speech = Speech(source=f"{code}/{name}", audio=audio, where=where, code=code, spoken=spoken_form(text), meta=meta)
            yield from speech_records(speech, ("gender",))


def walk_voxpopuli(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the transcribed part of VoxPopuli as its own get_asr_data cuts it, every language below transcribed_data/."""
    tables = sorted(root.glob(f"transcribed_data/*/asr_{split.name}.tsv"))
    for table in tables or [needed(root / "transcribed_data" / "en" / f"asr_{split.name}.tsv", "table")]:
        code = table.parent.name
        for where, row in read_table(table, "\t", quoted=False):
            name = row["id"]
            speaker = f"voxpopuli-{row['speaker_id']}" if row["speaker_id"] not in ("", "None") else None
            meta = {"speaker": speaker, "gender": gender_of(row["gender"])}
            speech = Speech(
                source=f"{code}/{name}", audio=table.parent / name[:4] / f"{name}.ogg", where=where, code=code,
                spoken=spoken_form(row["normalized_text"]), written=row["raw_text"], meta=meta,
            )  # fmt: skip
            yield from speech_records(speech, ("gender", "language_id"))


_APART = re.compile(r"(\w) '(\w)")  # they 're


def walk_tedlium3(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the legacy partition of TED-LIUM 3: lines of STM (talk, channel, speaker, start, end, <o,f0,gender>, words)."""
    folder = root / "legacy" / split.name
    for stm in sorted(needed(folder / "stm", "folder").glob("*.stm")):
        for where, line in read_lines(stm):
            talk, _, speaker, start, end, label, *words = line.split()
            source = f"{talk}-{float(start):09.2f}"
            if "ignore_time_segment_in_scoring" in words or float(end) <= float(start):
                yield Entry(source, "empty_text", where, "the corpus marks the stretch as not to be scored")
                continue
            text = MARKUP.sub(" ", _APART.sub(r"\1'\2", " ".join(words)).replace("{NOISE}", " "))
            gender = gender_of(label.strip("<>").split(",")[-1])
            stretch = AudioRef(str(folder / "sph" / f"{stm.stem}.sph"), float(start), round(float(end) - float(start), 3))
            meta = {"speaker": f"ted-{speaker}", "gender": gender}
            speech = Speech(source=source, audio=stretch, where=where, code="en", spoken=spoken_form(text), meta=meta)
            yield from speech_records(speech, ("gender",))


GIGASPEECH_GARBAGE = {"<SIL>", "<NOISE>", "<MUSIC>", "<OTHER>"}


def walk_gigaspeech(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the segments of one subset of GigaSpeech.json; punctuation is spelled <COMMA>, <PERIOD>; <MUSIC> and its like are no words."""
    subset = f"{{{split.name}}}"
    for where, talk in listed_under(root / "GigaSpeech.json", "audios"):
        path = root / talk["path"]
        segments = [segment for segment in talk["segments"] if subset in segment["subsets"]]
        there = bool(segments) and path.is_file()
        for segment in segments:
            yield from _gigaspeech_segment(segment, path, where, there)


def _gigaspeech_segment(segment: Mapping[str, Any], path: Path, where: str, there: bool) -> Iterator[Record | Entry]:
    """Yield the records of one segment of a long recording."""
    words = segment["text_tn"].split()
    if garbage := GIGASPEECH_GARBAGE.intersection(words):
        yield Entry(segment["sid"], "empty_text", where, f"marked {', '.join(sorted(garbage))}: no words to learn")
        return
    text = spoken_form(MARKUP.sub(" ", " ".join(words)))
    stretch = AudioRef(str(path), float(segment["begin_time"]), round(segment["end_time"] - segment["begin_time"], 3))
    meta = {"recording": path.stem}
    speech = Speech(source=segment["sid"], audio=stretch, where=where, code="en", spoken=text, meta=meta)
    yield from speech_records(speech, checked=there)


_RESULTS = "sentences in ESPnet's table of results (egs2/{}/asr1/README.md)"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="librispeech",
        title="LibriSpeech: read audiobooks",
        source="https://www.openslr.org/12",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("asr", "gender"),
        splits=LIBRISPEECH_SPLITS,
        layout="{split}/{speaker}/{chapter}/{speaker}-{chapter}-{number}.flac\n{split}/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt\n"
        "SPEAKERS.TXT",
        verified="lhotse's recipe librispeech (tree and transcripts); SPEAKERS.TXT: speaker | sex | subset | minutes | name",
        walk=walk_librispeech,
        parquet=Parquet(
            hub="openslr/librispeech_asr",
            files={
                "train-clean-100": "all/train.clean.100-*.parquet",
                "train-clean-360": "all/train.clean.360-*.parquet",
                "train-other-500": "all/train.other.500-*.parquet",
                "dev-clean": "all/validation.clean-*.parquet",
                "dev-other": "all/validation.other-*.parquet",
                "test-clean": "all/test.clean-*.parquet",
                "test-other": "all/test.other-*.parquet",
            },
            read_row=read_librispeech,
            verified="the hub's card (columns) and file list of its conversion to parquet (all/)",
        ),
        notes="root is the folder LibriSpeech/. Its test sets are also in librispeechmix and librimix, and readers of it are in mls.",
    ),
    Recipe(
        name="mls",
        title="Multilingual LibriSpeech: read audiobooks in eight languages",
        source="https://www.openslr.org/94",
        licence="CC BY 4.0",
        hours=None,
        languages=tuple(sorted(MLS_LANGUAGES.values())),
        tasks=("asr", "gender"),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="mls_{language}/{split}/transcripts.txt\nmls_{language}/{split}/audio/{speaker}/{book}/{speaker}_{book}_{number}.flac|opus\n"
        "mls_{language}/metainfo.txt",
        verified="lhotse's recipe mls",
        walk=walk_mls,
        notes="All languages whose folders are there. Dutch, Polish and Portuguese need custom language tags. mls_english and LibriSpeech "
        "are both read from LibriVox: do not train on mls_english and test on LibriSpeech without comparing books.",
    ),
    Recipe(
        name="voxpopuli",
        title="VoxPopuli: speeches in the European Parliament, transcribed part",
        source="https://github.com/facebookresearch/voxpopuli",
        licence="CC0 1.0 (not verified)",
        hours=None,
        languages=("cs", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "it", "lt", "nl", "pl", "ro", "sk", "sl"),
        tasks=("asr", "gender", "language_id"),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="transcribed_data/{language}/asr_{split}.tsv\ntranscribed_data/{language}/{year}/{id}.ogg",
        verified="the corpus' own voxpopuli/get_asr_data.py, which writes this tree",
        walk=walk_voxpopuli,
        notes="Run the corpus' `python -m voxpopuli.get_asr_data` first: it cuts the sessions. Two records an utterance: as said and as "
        "written. Languages without a released tag need custom ones.",
    ),
    Recipe(
        name="tedlium3",
        title="TED-LIUM 3: TED talks, legacy partition",
        source="https://www.openslr.org/51",
        licence="CC BY-NC-ND 3.0",
        hours=452.0,
        languages=("en",),
        tasks=("asr", "gender"),
        splits=(
            Split("train", "train"),
            Split("dev", "dev", 507, _RESULTS.format("tedlium3")),
            Split("test", "test", 1_155, _RESULTS.format("tedlium3")),
        ),
        layout="legacy/{split}/stm/{talk}.stm\nlegacy/{split}/sph/{talk}.sph",
        verified="lhotse's recipe tedlium, which quotes the corpus' README (452 hours)",
        walk=walk_tedlium3,
        notes="root is TEDLIUM_release-3/. MuST-C is made of TED talks too: its test talks can be among these training talks.",
    ),
    Recipe(
        name="gigaspeech",
        title="GigaSpeech: audiobooks, podcasts and YouTube",
        source="https://github.com/SpeechColab/GigaSpeech",
        licence="non-commercial research and education, by agreement",
        hours=10_000.0,
        languages=("en",),
        tasks=("asr",),
        splits=(
            *(Split(name, "train") for name in ("XS", "S", "M", "L", "XL")),
            Split("DEV", "dev", 5_715, _RESULTS.format("gigaspeech")),
            Split("TEST", "test", 19_930, _RESULTS.format("gigaspeech")),
        ),
        layout="GigaSpeech.json\naudio/{source}/{folder}/{recording}.opus",
        verified="the corpus' own toolkits/wenet/extract_meta.py (fields) and utils/gigaspeech_scoring.py (tags)",
        walk=walk_gigaspeech,
        notes="A form is to be signed. Each training subset holds the smaller ones: prepare one of them. Segments marked <SIL>, <MUSIC>, "
        "<NOISE>, <OTHER> are accounted for as empty_text.",
    ),
)
