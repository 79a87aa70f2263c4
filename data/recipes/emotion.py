"""Walk sets of emotional speech: MELD, CREMA-D, RAVDESS, TESS, EmoDB, IEMOCAP.

One name stands for one emotion in all of them, that of MELD, on which the released model is evaluated; meta["label"] keeps the corpus' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.transcripts import decade, gender_of, lost_file
from data.recipes.walking import Audio, needed, read_lines, read_table, tagged
from qwen_audio.errors import DataError

MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
CREMAD_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "joy", "NEU": "neutral", "SAD": "sadness"}
RAVDESS_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "joy", "04": "sadness", "05": "anger", "06": "fear", "07": "disgust", "08": "surprise"
}  # fmt: skip
TESS_EMOTIONS = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "joy", "neutral": "neutral", "ps": "surprise", "sad": "sadness"
}  # fmt: skip
EMODB_EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "joy", "T": "sadness", "N": "neutral"
}  # fmt: skip
EMODB_SPEAKERS = {
    "03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32), "11": ("male", 26), "12": ("male", 30),
    "13": ("female", 32), "14": ("female", 35), "15": ("male", 25), "16": ("female", 31),
}  # fmt: skip
IEMOCAP_EMOTIONS = {
    "ang": "anger", "hap": "joy", "exc": "excitement", "sad": "sadness", "neu": "neutral", "fru": "frustration", "fea": "fear",
    "sur": "surprise", "dis": "disgust",
}  # fmt: skip
CREMAD_TEST_EVERY = 5  # actors whose number this divides are the test
RAVDESS_TEST_FROM = 21  # actors 21 to 24, two men and two women, are the test
EMODB_TEST = ("15", "16")  # a man and a woman
_CREMAD_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})")
_IEMOCAP_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\w+)\t")


def labelled(
    source: str, audio: Audio, answers: Mapping[str, str | None], *, where: str, language: str, meta: Mapping[str, Any]
) -> Iterator[Record | Entry]:
    """Yield a record for each family whose answer is known, or the line of account of a clip that is not there."""
    if isinstance(audio, Path) and (gone := lost_file(source, audio, where)):
        yield gone
        return
    for family, answer in answers.items():
        if answer:
            heard = None if family == "music_emotion" else language  # music is asked for in no language
            yield tagged(source, audio, family, answer, where=where, meta={**meta, "language": language}, language=heard)


def walk_meld(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MELD: a table a split, a video for each utterance of a dialogue."""
    base = next((folder for folder in (root / "MELD.Raw", root) if (folder / MELD_FOLDERS[split.name]).is_dir()), root)
    videos = needed(base / MELD_FOLDERS[split.name], "folder")
    for where, row in read_table(base / f"{split.name}_sent_emo.csv"):
        name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        meta = {"speaker": f"friends-{row['Speaker']}", "dialogue": f"{split.name}-{row['Dialogue_ID']}", "label": row["Emotion"]}
        yield from labelled(
            f"{split.name}/{name}", videos / f"{name}.mp4", {"emotion": row["Emotion"]}, where=where, language="en", meta=meta
        )  # fmt: skip


def _cremad(
    name: str, audio: Audio, where: str, split: Split, people: Mapping[str, Mapping[str, str]], gender: str | None = None
) -> Iterator[Record | Entry]:
    """Yield what the name of a clip of CREMA-D says: actor, sentence, emotion, level."""
    match = _CREMAD_NAME.search(name)
    if match is None or match[3] not in CREMAD_EMOTIONS:
        yield Entry(name, "bad_row", where, "expected a name such as 1001_IEO_NEU_XX")
        return
    actor, sentence, emotion, level = match.groups()
    if (int(actor) % CREMAD_TEST_EVERY == 0) != (split.role == "test"):
        return
    person = people.get(actor, {})
    sex, age = gender_of(person.get("Sex")) or gender, person.get("Age")
    meta = {"speaker": f"cremad-{actor}", "gender": sex, "age": age, "accent": person.get("Race"), "sentence": sentence, "level": level}
    answers = {"emotion": CREMAD_EMOTIONS[emotion], "gender": sex, "age": decade(age)}
    yield from labelled(match[0], audio, answers, where=where, language="en", meta={**meta, "label": emotion})


def walk_cremad(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk CREMA-D: the emotion that the actor was asked for, and who the actor is."""
    people = {row["ActorID"]: row for _, row in read_table(root / "VideoDemographics.csv")}
    for path in sorted(needed(root / "AudioWAV", "folder").glob("*.wav")):
        yield from _cremad(path.stem, path, str(path), split, people)


def read_cremad(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the parquet copy of CREMA-D; its one part is split by actors as the walk splits."""
    name = str(row.get("file") or (row.get("audio") or {}).get("path") or "")
    yield from _cremad(Path(name).stem, audio, where, split, {}, gender_of(row.get("gender")))


def walk_ravdess(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk RAVDESS: seven numbers in a file's name; speech is asked for the emotion of a voice, song for that of music."""
    files = sorted(needed(root, "folder").rglob("Actor_*/*.wav"), key=lambda path: path.name)
    if not files:
        needed(root / "Actor_01", "folder")
    for path in files:
        fields = path.stem.split("-")
        if len(fields) != 7 or fields[2] not in RAVDESS_EMOTIONS or not fields[6].isdigit():
            yield Entry(path.stem, "bad_row", str(path), "expected a name such as 03-01-06-01-02-01-12")
            continue
        actor, emotion, sung = int(fields[6]), RAVDESS_EMOTIONS[fields[2]], fields[1] == "02"
        if (actor >= RAVDESS_TEST_FROM) != (split.role == "test"):
            continue
        sex = "male" if actor % 2 else "female"
        meta = {"speaker": f"ravdess-{actor:02}", "gender": sex, "label": emotion, "level": fields[3], "sentence": fields[4]}
        answers = {"music_emotion": emotion} if sung else {"emotion": emotion, "gender": sex}
        yield from labelled(path.stem, path, answers, where=str(path), language="en", meta=meta)


def walk_tess(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk TESS: two actresses say 200 words in seven emotions; the older one is for training, the younger one the test."""
    found: set[str] = set()
    for path in sorted(needed(root, "folder").rglob("*.wav"), key=lambda path: path.name):
        speaker, _, rest = path.stem.partition("_")
        word, _, emotion = rest.rpartition("_")
        if speaker not in ("OAF", "OA", "YAF") or emotion not in TESS_EMOTIONS:  # one name of the release begins with OA
            yield Entry(path.stem, "bad_row", str(path), "expected a name such as OAF_back_angry")
            continue
        young = speaker == "YAF"
        if young != (split.role == "test"):
            continue
        if path.stem in found:  # copies are passed on that hold the whole set twice
            yield Entry(path.stem, "duplicate_id", str(path))
            continue
        found.add(path.stem)
        meta = {
            "speaker": "tess-YAF" if young else "tess-OAF",
            "gender": "female",
            "age": 26 if young else 64,
            "label": emotion,
            "text": word,
        }
        yield from labelled(path.stem, path, {"emotion": TESS_EMOTIONS[emotion]}, where=str(path), language="en", meta=meta)


def walk_emodb(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk EmoDB: a file's name says speaker, sentence, emotion (by its German name) and take."""
    for path in sorted(needed(root / "wav", "folder").glob("*.wav")):
        name = path.stem
        if len(name) < 7 or name[:2] not in EMODB_SPEAKERS or name[5] not in EMODB_EMOTIONS:
            yield Entry(name, "bad_row", str(path), "expected a name such as 03a01Fa")
            continue
        if (name[:2] in EMODB_TEST) != (split.role == "test"):
            continue
        sex, age = EMODB_SPEAKERS[name[:2]]
        meta = {"speaker": f"emodb-{name[:2]}", "gender": sex, "age": age, "sentence": name[2:5], "label": name[5]}
        answers = {"emotion": EMODB_EMOTIONS[name[5]], "gender": sex, "age": decade(age)}
        yield from labelled(name, path, answers, where=str(path), language="de", meta=meta)


def walk_iemocap(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk IEMOCAP: the evaluations of each dialogue; utterances on which its annotators did not agree have no answer."""
    base = next((folder for folder in (root / "IEMOCAP_full_release", root) if (folder / "Session1").is_dir()), root)
    sessions = [5] if split.role == "test" else [1, 2, 3, 4]
    for session in sessions:
        folder = needed(base / f"Session{session}", "folder")
        tables = [path for path in sorted((folder / "dialog" / "EmoEvaluation").glob("*.txt")) if not path.name.startswith(".")]
        if not tables:
            raise DataError(f"{folder / 'dialog' / 'EmoEvaluation'}: no tables here; the corpus' archive holds one a dialogue")
        for table in tables:
            yield from _iemocap_dialogue(table, folder / "sentences" / "wav" / table.stem)


def _iemocap_dialogue(table: Path, folder: Path) -> Iterator[Record | Entry]:
    for where, line in read_lines(table):
        match = _IEMOCAP_LINE.match(line)
        if match is None:
            continue  # each annotator's own judgement, below the line of an utterance
        name, label = match.groups()
        letter = name.rsplit("_", 1)[-1][:1]
        sex = {"F": "female", "M": "male"}.get(letter)
        if label not in IEMOCAP_EMOTIONS:
            yield Entry(name, "no_answer", where, f"the label is {label}: no agreement, or none of the emotions with a name")
            continue
        meta = {"speaker": f"iemocap-{name[:5]}{letter}", "gender": sex, "dialogue": table.stem, "label": label}
        answers = {"emotion": IEMOCAP_EMOTIONS[label], "gender": sex}
        yield from labelled(name, folder / f"{name}.wav", answers, where=where, language="en", meta=meta)


_MELD_README = "README of declare-lab/MELD, dataset statistics"
_RAVDESS_PAGE = "page of the corpus at Zenodo: 60 of speech by each of 24 actors, 44 of song by each of 23 (all but actor 18)"
_NO_SPLIT = "The corpus has no official split"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="meld",
        title="MELD: utterances of the series Friends",
        source="https://github.com/declare-lab/MELD",
        licence="that of the repository (labels; not verified); the recordings are those of a television series",
        hours=None,
        languages=("en",),
        tasks=("emotion",),
        splits=(
            Split("train", "train", 9_989, _MELD_README),
            Split("dev", "dev", 1_109, _MELD_README),
            Split("test", "test", 2_610, _MELD_README),
        ),
        layout=(
            "{train,dev,test}_sent_emo.csv\n"
            "train_splits/dia{d}_utt{u}.mp4\n"
            "dev_splits_complete/dia{d}_utt{u}.mp4\n"
            "output_repeated_splits_test/dia{d}_utt{u}.mp4"
        ),
        verified="README and tables of declare-lab/MELD; loaders of public trainers (names of the folders)",
        walk=walk_meld,
        notes=(
            "test is the evaluation of the released model. Almost half of it is neutral (1,256 of 2,610): look at the mean over classes "
            "too. AIR-Bench holds a part of it. Rows whose video is missing, cut off or longer than 30 s are in the ledger."
        ),
    ),
    Recipe(
        name="cremad",
        title="CREMA-D: 91 actors, 12 sentences, six emotions",
        source="https://github.com/CheyneyComputerScience/CREMA-D",
        licence="ODbL 1.0",
        hours=None,
        languages=("en",),
        tasks=("emotion", "gender", "age"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav\nVideoDemographics.csv",
        verified="README, SentenceFilenames.csv and VideoDemographics.csv of the repository",
        walk=walk_cremad,
        parquet=Parquet(
            hub="AbstractTTS/CREMA-D",
            files={"train": "data/train-*.parquet", "test": "data/train-*.parquet"},
            read_row=read_cremad,
            verified="card of AbstractTTS/CREMA-D on the hub",
        ),
        notes=(
            f"{_NO_SPLIT}: actors whose number is a multiple of 5 are the test (7,442 clips in all). Answers are the emotion that the "
            "actor was asked for, not the raters' vote; ages are decades. The parquet copy has no ages."
        ),
    ),
    Recipe(
        name="ravdess",
        title="RAVDESS: 24 actors speak and sing two sentences in eight emotions",
        source="https://zenodo.org/records/1188976",
        licence="CC BY-NC-SA 4.0",
        hours=None,
        languages=("en",),
        tasks=("emotion", "gender", "music_emotion"),
        splits=(Split("train", "train", 20 * 60 + 19 * 44, _RAVDESS_PAGE), Split("test", "test", 4 * 60 + 4 * 44, _RAVDESS_PAGE)),
        layout="**/Actor_{actor}/{modality}-{channel}-{emotion}-{level}-{sentence}-{take}-{actor}.wav",
        verified="page of the corpus at Zenodo, file naming convention, as its users quote it",
        walk=walk_ravdess,
        notes=(
            f"{_NO_SPLIT}: actors 21 to 24 are the test. Unpack Audio_Speech_Actors_01-24.zip and Audio_Song_Actors_01-24.zip into folders "
            "of their own below one. With the speech alone there are fewer clips than expected here."
        ),
    ),
    Recipe(
        name="tess",
        title="Toronto emotional speech set",
        source="https://doi.org/10.5683/SP2/E8H2MF",
        licence="CC BY-NC-ND 4.0 (not verified)",
        hours=None,
        languages=("en",),
        tasks=("emotion",),
        splits=(
            Split("train", "train", 1_400, "its page: 2,800 files of 200 words, 7 emotions, 2 actresses"),
            Split("test", "test", 1_400, "its page: 2,800 files of 200 words, 7 emotions, 2 actresses"),
        ),
        layout="**/{OAF,YAF}_{word}_{angry,disgust,fear,happy,neutral,ps,sad}.wav",
        verified="loaders of public trainers (names of the files)",
        walk=walk_tess,
        notes=f"{_NO_SPLIT}: the older actress is for training, the younger one the test. Both are women, so sex is no task here.",
    ),
    Recipe(
        name="emodb",
        title="EmoDB: ten German actors, ten sentences, seven emotions",
        source="http://emodb.bilderbar.info",
        licence="CC0 1.0, as one of its authors declares",
        hours=None,
        languages=("de",),
        tasks=("emotion", "gender", "age"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="wav/{speaker}{sentence}{emotion}{take}.wav",
        verified="documentation of audformat, EmoDB example: codes of the names, sex and age of the speakers",
        walk=walk_emodb,
        notes=(
            f"{_NO_SPLIT}: speakers 15 and 16 are the test. The bundled model is trained on a part of EmoDB: do not evaluate it here. "
            "The letters of the names are those of the German words (W: anger, A: fear)."
        ),
    ),
    Recipe(
        name="iemocap",
        title="IEMOCAP: ten actors in acted and improvised dialogues",
        source="https://sail.usc.edu/iemocap",
        licence="research, by a form that is to be signed",
        hours=None,
        languages=("en",),
        tasks=("emotion", "gender"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="Session{1..5}/dialog/EmoEvaluation/{dialogue}.txt\nSession{1..5}/sentences/wav/{dialogue}/{utterance}.wav",
        verified="torchaudio, datasets/iemocap.py; loaders of public trainers (lines of EmoEvaluation)",
        walk=walk_iemocap,
        notes=(
            f"{_NO_SPLIT}: Session5 is the test, as one of the five folds in use. Comparisons with four classes join exc to hap (here "
            "excitement and joy) and leave the rest out. Utterances without agreement (xxx) or of another emotion (oth) are lost."
        ),
    ),
)
