"""Walk sets of dialects, accents and languages: KeSpeech, MDCC, EdAcc, VoxLingua107."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.languages import language_of, name_of
from data.recipes.prepared import spoken_form
from data.recipes.transcripts import MARKUP, Speech, chinese_form, decade, gender_of, kaldi_table, label_records, speech_records
from data.recipes.walking import needed, read_lines, read_table
from qwen_audio.errors import DataError

STANDARD = "Mandarin"  # how KeSpeech labels what is said in the standard language


def walk_kespeech(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the recognition task of KeSpeech: Kaldi tables a split, and who the speakers are in Metadata/."""
    folder = needed(root / "Tasks" / "ASR" / split.name, "folder")
    texts, dialects = kaldi_table(folder / "text"), kaldi_table(folder / "utt2subdialect")
    speakers = kaldi_table(folder / "utt2spk")
    genders, ages, cities = (_if_there(root / "Metadata" / name) for name in ("spk2gender", "spk2age", "spk2city"))
    for where, line in read_lines(folder / "wav.scp"):
        name, path = line.split(maxsplit=1)
        speaker, dialect = speakers.get(name, ""), dialects.get(name, "")
        meta = {
            "speaker": f"kespeech-{speaker}", "gender": gender_of(genders.get(speaker)), "age": decade(ages.get(speaker)),
            "city": cities.get(speaker), "accent": dialect,
        }  # fmt: skip
        speech = Speech(
            source=name, audio=root / path, where=where, code="zh", spoken=chinese_form(MARKUP.sub(" ", texts.get(name, ""))), meta=meta,
            dialect=dialect not in ("", STANDARD),
        )  # fmt: skip
        yield from speech_records(speech, ("dialect_id", "gender", "age"))


def _if_there(path: Path) -> dict[str, str]:
    return kaldi_table(path) if path.is_file() else {}


def walk_mdcc(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MDCC: a table a split (audio_path, text_path, gender, duration), a text file a clip, in traditional characters."""
    for where, row in read_table(root / f"cnt_asr_{split.name}_metadata.csv"):
        clip, text = root / "audio" / Path(row["audio_path"]).name, root / row["text_path"]
        if not text.is_file():
            yield Entry(clip.stem, "no_answer", where, f"{text}: no such file")
            continue
        words = chinese_form(text.read_text(encoding="utf-8"))
        meta = {"gender": gender_of(row["gender"]), "recording": clip.stem.split("_")[0]}
        speech = Speech(source=clip.stem, audio=clip, where=where, code="yue", spoken=words, meta=meta)
        yield from speech_records(speech, ("language_id", "gender"))


EDACC_ACCENT = "How would you describe your accent in English? (e.g. Italian, Glaswegian)"
EDACC_GENDER = "What is your gender?"


def walk_edacc(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk EdAcc: Kaldi tables a split over recordings of conversations, and a questionnaire of every speaker."""
    corpus = root / "edacc_v1.0" if (root / "edacc_v1.0").is_dir() else root
    people = {row["PARTICIPANT_ID"].strip(): row for _, row in read_table(corpus / "linguistic_background.csv")}
    folder = needed(corpus / split.name, "folder")
    texts, speakers = kaldi_table(folder / "text"), kaldi_table(folder / "utt2spk")
    for where, line in read_lines(folder / "segments"):
        name, recording, start, end = line.split()
        person = people.get(speakers.get(name, ""), {})
        meta = {
            "speaker": speakers.get(name), "gender": gender_of(person.get(EDACC_GENDER)), "accent": person.get(EDACC_ACCENT, "").strip(),
            "recording": recording,
        }  # fmt: skip
        if float(end) <= float(start):
            yield Entry(name, "empty_audio", where, f"from {start} to {end} s")
            continue
        stretch = AudioRef(str(corpus / "data" / f"{recording}.wav"), float(start), round(float(end) - float(start), 3))
        yield from _edacc_records(name, stretch, where, texts.get(name, ""), meta)


def _edacc_records(
    name: str, audio: Path | AudioRef, where: str, text: str, meta: Mapping[str, Any]
) -> Iterator[Record | Entry]:  # fmt: skip
    """Yield the records of an utterance; <laugh>, <overlap> and stretches that are not scored hold no words."""
    words = "" if "IGNORE_TIME_SEGMENT_IN_SCORING" in text.upper() else spoken_form(MARKUP.sub(" ", text))
    yield from speech_records(Speech(source=name, audio=audio, where=where, code="en", spoken=words, meta=meta), ("dialect_id", "gender"))


def read_edacc(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy: speaker, text, accent, raw_accent, gender, l1, audio; rows have no name but their number."""
    meta = {"speaker": row["speaker"], "gender": gender_of(row["gender"]), "accent": row["accent"], "first_language": row["l1"]}
    path = Path(audio)
    yield from _edacc_records(f"{path.parent.stem}-{path.name}", path, where, row["text"], meta)


def walk_voxlingua107(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VoxLingua107: LANGUAGE/*.wav as the archives unpack (or train/LANGUAGE), dev/LANGUAGE/*.wav; no transcripts."""
    top = root / split.name if split.name == "dev" or (root / "train").is_dir() else root
    folders = [path for path in sorted(needed(top, "folder").iterdir()) if path.is_dir() and path.name != "dev"]
    if not folders:
        raise DataError(f"{top}: no folders of languages; expected {top.name}/en/*.wav")
    for folder in folders:
        held_out = {path.name for path in (root / "dev" / folder.name).glob("*.wav")} if split.name == "train" else set()
        for path in sorted(folder.glob("*.wav")):
            source = f"{folder.name}/{path.stem}"
            if path.name in held_out:
                yield Entry(source, "evaluation_split", str(path), "the same clip stands in dev")
            elif name_of(folder.name) is None:
                yield Entry(source, "no_answer", str(path), f"no name is known for the language {folder.name}")
            else:
                meta = {"language": language_of(folder.name), "recording": path.stem.split("__U__")[0]}
                yield from label_records(source, path, str(path), folder.name, meta, ("language_id",))


_SITE = "the set's page, as quoted by READMEs on GitHub: 1,609 segments of 33 languages"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="kespeech",
        title="KeSpeech: Mandarin and eight of its dialects, read in 34 cities",
        source="https://github.com/KeSpeech/KeSpeech",
        licence="non-commercial research, by agreement (not verified)",
        hours=1_542.0,
        languages=("zh",),
        tasks=("dialect_asr", "asr", "dialect_id", "gender", "age"),
        splits=(
            Split("train_phase1", "train"),
            Split("train_phase2", "train"),
            Split("dev_phase1", "dev"),
            Split("dev_phase2", "dev"),
            Split("test", "test"),
        ),
        layout="Tasks/ASR/{split}/{wav.scp,text,utt2spk,utt2subdialect}\nMetadata/{spk2gender,spk2age,spk2city}\n"
        "Audio/{speaker}/{phase}/{utterance}.wav",
        verified="lhotse's recipe kespeech (tables, hours); spk2gender, spk2age and spk2city: a subset's selection script on GitHub",
        walk=walk_kespeech,
        notes="A form is to be signed. What is said in the standard language becomes asr, the rest dialect_asr, written in the standard "
        "language. The same people read in both phases: hold out by speaker across them.",
    ),
    Recipe(
        name="mdcc",
        title="MDCC: Cantonese audiobooks",
        source="https://github.com/HLTCHKUST/cantonese-asr",
        licence="by agreement with the authors",
        hours=73.6,
        languages=("yue",),
        tasks=("dialect_asr", "language_id", "gender"),
        splits=(Split("train", "train"), Split("valid", "dev"), Split("test", "test")),
        layout="cnt_asr_{train,valid,test}_metadata.csv\naudio/{clip}.wav\ntranscription/{clip}.txt",
        verified="lhotse's recipe mdcc (columns, hours)",
        walk=walk_mdcc,
        notes="A form is to be signed. Cantonese has no released tag: its transcripts are dialect_asr, written in zh_tr.",
    ),
    Recipe(
        name="edacc",
        title="EdAcc: conversations in more than forty accents of English",
        source="https://datashare.ed.ac.uk/handle/10283/4836",
        licence="CC BY-SA 4.0",
        hours=None,
        languages=("en",),
        tasks=("asr", "dialect_id", "gender"),
        splits=(Split("dev", "dev"), Split("test", "test")),
        layout="edacc_v1.0/{dev,test}/{segments,text,utt2spk}\nedacc_v1.0/data/{recording}.wav\nedacc_v1.0/linguistic_background.csv",
        verified="lhotse's recipe edacc (tables, questions of the questionnaire)",
        walk=walk_edacc,
        parquet=Parquet(
            hub="edinburghcstr/edacc",
            files={"dev": "data/validation-*.parquet", "test": "data/test-*.parquet"},
            read_row=read_edacc,
            verified="the hub's card: 9,848 rows of dev, 9,289 of test, with those that hold no words",
        ),
        notes="No training split: it is for evaluation. The official tree gives each speaker's own words for the accent, the hub's copy "
        "a name out of a list. Stretches without words are accounted for as empty_text.",
    ),
    Recipe(
        name="voxlingua107",
        title="VoxLingua107: speech of YouTube in 107 languages",
        source="https://bark.phon.ioc.ee/voxlingua107",
        licence="CC BY 4.0 (labels); the recordings are their owners' (not verified)",
        hours=None,
        languages=("ar", "de", "en", "es", "fr", "he", "it", "ja", "ko", "pt", "ru", "zh"),
        tasks=("language_id",),
        splits=(Split("train", "train"), Split("dev", "dev", 1_609, _SITE)),
        layout="{language}/{video}__U__{segment}.wav\ndev/{language}/{clip}.wav",
        verified="READMEs on GitHub that unpack it (train/, dev/, a folder a language)",
        walk=walk_voxlingua107,
        notes="The list names a few of 107 languages. Training labels are found by search words, not by ear; dev is checked by people.",
    ),
)
