"""Walk sets of speech with its translation: CoVoST 2, MuST-C, mTEDx, FLEURS across languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.languages import language_of, text_language_of
from data.recipes.speech_crowd import fleurs_rows
from data.recipes.transcripts import Speech, lost_file, speech_records, unspaced
from data.recipes.walking import needed, read_lines, read_table, tagged
from qwen_audio.errors import DataError

Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # all values as text: names of talks can look like numbers


def translated(
    source: str, audio: Path | AudioRef, where: str, spoken_code: str, written_code: str, target: str, meta: Mapping[str, Any]
) -> Record | Entry:
    """Make the record of one utterance and its translation, with the languages as the corpus writes them.

    The source's name carries the pair: one clip may be translated into several languages.
    """
    if gone := lost_file(source, audio, where):
        return gone
    kept = {**meta, "language": language_of(spoken_code), "text_language": text_language_of(written_code)}
    return tagged(
        f"{source}>{written_code}", audio, "s2tt", unspaced(target), where=where, meta=kept,
        language=language_of(spoken_code), text_language=text_language_of(written_code),
    )  # fmt: skip


def _covost_tables(root: Path) -> list[Path]:
    """Find covost_v2.SOURCE_TARGET.tsv in root or one folder below it; those already cut into splits are left aside."""
    tables = [path for path in sorted([*root.glob("covost_v2.*.tsv"), *root.glob("*/covost_v2.*.tsv")]) if path.name.count(".") == 2]
    if not tables:
        raise DataError(f"{root}: no covost_v2.SOURCE_TARGET.tsv here nor one folder below; fetch the translations of CoVoST 2")
    return tables


def in_covost_split(marked: str, split: str) -> bool:
    """Say whether a row belongs to a split: train is extended by rows marked train_covost, dev and test are Common Voice's own."""
    return marked == split or (split == "train" and marked == "train_covost")


def walk_covost2(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk CoVoST 2: translations by the name of a clip, beside release 4 of Common Voice (LANGUAGE/clips, LANGUAGE/validated.tsv)."""
    speakers: dict[str, str] = {}
    known = None
    for table in _covost_tables(root):
        spoken, written = table.name.split(".")[1].split("_")
        folder = root / spoken if (root / spoken).is_dir() else table.parent
        if folder != known:  # tables of one source stand side by side
            speakers = {row["path"]: row["client_id"][:24] for _, row in read_table(folder / "validated.tsv", "\t", quoted=False)}
            known = folder
        for where, row in read_table(table, "\t", quoted=False):
            if not in_covost_split(row["split"], split.name):
                continue
            name = row["path"]
            if name not in speakers:
                yield Entry(f"{name}>{written}", "no_file", where, "the clip is not in validated.tsv: is this release 4 of Common Voice?")
                continue
            meta = {"speaker": f"cv-{speakers[name]}"}
            yield translated(name.removesuffix(".mp3"), folder / "clips" / name, where, spoken, written, row["translation"], meta)


def read_covost2(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy; the pair is the name of the folder of its file (en_zh-CN)."""
    spoken, written = Path(audio).parent.parent.name.split("_")
    meta = {"speaker": f"cv-{row['client_id'][:24]}"}
    name = Path(row["file"] or row["id"]).stem
    yield translated(name, Path(audio), where, spoken, written, row["translation"], meta)


def aligned(folder: Path, name: str, codes: tuple[str, str]) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Yield (FILE:LINE, segment, its text in each language) of txt/NAME.yaml and txt/NAME.LANGUAGE, which go line by line.

    Raises:
        DataError: a file is missing or they do not have as many lines.
    """
    segments = [(where, _segment(line, where)) for where, line in read_lines(folder / "txt" / f"{name}.yaml")]
    texts = [needed(folder / "txt" / f"{name}.{code}").read_text(encoding="utf-8").split("\n") for code in codes]
    for code, lines in zip(codes, texts, strict=True):
        found = len(lines) - (lines[-1] == "")
        if found != len(segments):
            raise DataError(f"{folder}/txt: {name}.{code} has {found} lines, {name}.yaml has {len(segments)}; they must go line by line")
    for (where, segment), *lines in zip(segments, *texts, strict=False):
        yield where, segment, list(lines)


def _segment(line: str, where: str) -> dict[str, str]:
    """Read one line of YAML, `- {duration: 3.5, offset: 16.08, speaker_id: spk.767, wav: ted_767.wav}`, all values as text."""
    segment = yaml.load(line.removeprefix("- "), Loader)
    if not isinstance(segment, dict) or not {"wav", "offset", "duration", "speaker_id"} <= set(segment):
        raise DataError(f"{where}: {line[:80]!r} has not the form `- {{duration: .., offset: .., speaker_id: .., wav: ..}}`")
    return segment


def walk_ted(root: Path, split: Split, *, ending: str) -> Iterator[Record | Entry]:
    """Walk MuST-C and mTEDx: SOURCE-TARGET/data/SPLIT/{txt,wav}; a folder es-es has transcripts alone.

    Args:
        ending: of the recordings.
    """
    folders = sorted(root.glob(f"*-*/data/{split.name}"))
    for folder in folders or [needed(root / "en-de" / "data" / split.name, "folder")]:
        spoken, written = folder.parent.parent.name.split("-")
        for number, (where, segment, texts) in enumerate(aligned(folder, split.name, (spoken, written))):
            talk = segment["wav"].rsplit(".", 1)[0]
            source, length = f"{talk}_{number}", float(segment["duration"])
            if length <= 0:
                yield Entry(source, "empty_audio", where, f"a stretch of {length} s")
                continue
            stretch = AudioRef(str(folder / "wav" / f"{talk}{ending}"), float(segment["offset"]), length)
            meta = {"speaker": f"ted-{segment['speaker_id']}", "talk": talk}
            if spoken == written:
                yield from speech_records(Speech(source=source, audio=stretch, where=where, code=spoken, written=texts[0], meta=meta))
            else:
                yield translated(source, stretch, where, spoken, written, texts[1], meta)


def walk_fleurs_s2tt(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Pair each reading in FLEURS with the sentence of the same id in English, and English readings with German, Chinese, Japanese."""
    sentences: dict[str, dict[str, str]] = {}
    for _, code, _, row in fleurs_rows(root, split.name):
        sentences.setdefault(code, {})[row["id"]] = row["raw_transcription"]
    if "en_us" not in sentences:
        raise DataError(f"{root}: en_us/{split.name}.tsv is missing; the pairs are made through English")
    into = [code for code in FLEURS_INTO if code in sentences]
    for where, code, clip, row in fleurs_rows(root, split.name):
        for other in into if code == "en_us" else ["en_us"]:
            if text := sentences[other].get(row["id"]):
                meta = {"sentence": row["id"]}
                yield translated(f"{code}/{clip.stem}", clip, where, language_of(code), other, text, meta)
            else:
                yield Entry(f"{code}/{clip.stem}>{other}", "no_answer", where, f"{other} has no sentence {row['id']} in this split")


COVOST_LANGUAGES = (
    *("ar", "ca", "cy", "de", "en", "es", "et", "fa", "fr", "id", "it"),
    *("ja", "lv", "mn", "nl", "pt", "ru", "sl", "sv", "ta", "tr", "zh"),
)
FLEURS_INTO = ("de_de", "cmn_hans_cn", "ja_jp", "es_419", "fr_fr", "it_it", "ko_kr")
_TED_TREE = "{source}-{target}/data/{split}/txt/{split}.yaml\n{source}-{target}/data/{split}/txt/{split}.{language}\n"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="covost2",
        title="CoVoST 2: Common Voice with translations, 21 languages into English and English into 15",
        source="https://github.com/facebookresearch/covost",
        licence="CC0 1.0 (translations and clips)",
        hours=2_880.0,
        languages=COVOST_LANGUAGES,
        tasks=("s2tt",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="{source}/validated.tsv\n{source}/clips/{clip}.mp3\n{source}/covost_v2.{source}_{target}.tsv",
        verified="the corpus' README and get_covost_splits.py (columns, and which rows a split has)",
        walk=walk_covost2,
        parquet=Parquet(
            hub="fixie-ai/covost2",
            files={"train": "*/train-*.parquet", "dev": "*/validation-*.parquet", "test": "*/test-*.parquet"},
            read_row=read_covost2,
            verified="the hub's card: client_id, file, audio, sentence, translation, id; a folder a pair",
        ),
        notes="Needs release 4 of Common Voice; a later one has other splits and has lost clips. All pairs whose tables are there; test: "
        "en_de and en_zh-CN 15,531, de_en 13,511, fr_en 14,760, es_en 13,221, it_en 8,951, zh-CN_en 4,898 by the card. The test "
        "sentences can stand in train of a later common_voice: do not mix them without comparing the clips' names.",
    ),
    Recipe(
        name="must_c",
        title="MuST-C: English TED talks with translations",
        source="https://ict.fbk.eu/must-c",
        licence="CC BY-NC-ND 4.0 (not verified)",
        hours=None,
        languages=("en",),
        tasks=("s2tt",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("tst-COMMON", "test"), Split("tst-HE", "test")),
        layout=_TED_TREE + "en-{target}/data/{split}/wav/{talk}.wav",
        verified="lhotse's recipe must_c",
        walk=partial(walk_ted, ending=".wav"),
        notes="Behind a form. The English talks are the same for all targets, and tedlium3 has many of them: do not train on tedlium3 and "
        "test here (or the other way) without comparing the talks. Segments over 30 s are lost when they are admitted.",
    ),
    Recipe(
        name="mtedx",
        title="Multilingual TEDx: talks in eight languages, transcribed and in part translated",
        source="https://www.openslr.org/100",
        licence="CC BY-NC-ND 4.0 (not verified)",
        hours=None,
        languages=("ar", "de", "el", "es", "fr", "it", "pt", "ru"),
        tasks=("asr", "s2tt"),
        splits=(Split("train", "train"), Split("valid", "dev"), Split("test", "test")),
        layout=_TED_TREE + "{source}-{target}/data/{split}/wav/{talk}.flac",
        verified="fairseq's prep_mtedx_data.py",
        walk=partial(walk_ted, ending=".flac"),
        notes="A folder es-es gives transcripts, es-en translations of a part of the same talks. Arabic, Greek, Portuguese and Russian "
        "need custom language tags.",
    ),
    Recipe(
        name="fleurs_s2tt",
        title="FLEURS across languages: each reading with the same sentence in English, English in seven others",
        source="https://huggingface.co/datasets/google/fleurs",
        licence="CC BY 4.0 (not verified)",
        hours=None,
        languages=("ar", "de", "en", "es", "fr", "he", "it", "ja", "ko", "pt", "ru", "yue", "zh"),
        tasks=("s2tt",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="{language}/{train,dev,test}.tsv\n{language}/audio/{split}/{clip}.wav",
        verified="lhotse's recipe fleurs (columns); that ids are shared: the set is n-way parallel by its paper, arXiv:2205.12446",
        walk=walk_fleurs_s2tt,
        notes="The same recordings as fleurs. Needs en_us. Sentences are those of FLoRes: keep text of FLoRes out of training.",
    ),
)
