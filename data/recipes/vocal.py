"""Walk sets of sounds that people make with their mouths and noses, but for speech.

Labels are written as AudioSet writes them, in all of the sets alike: so does VocalSound, on which the released model is evaluated.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.transcripts import decade, gender_of, lost_file
from data.recipes.walking import needed, read_json, read_table, tagged

VOCALSOUND_LABELS = {
    "/m/01j3sz": "Laughter", "/m/07plz5l": "Sigh", "/m/01b_21": "Cough", "/m/0dl9sf8": "Throat clearing", "/m/01hsr_": "Sneeze",
    "/m/07ppn3j": "Sniff",
}  # fmt: skip
NONSPEECH_LABELS = {
    "breath": "Breathing", "cough": "Cough", "crying": "Crying", "laugh": "Laughter", "screaming": "Screaming", "sneeze": "Sneeze",
    "yawn": "Yawn", "yawm": "Yawn",
}  # fmt: skip
BABY_CRY = "Baby cry"
BABY_AGES = {"04": "0 to 4 weeks", "48": "4 to 8 weeks", "26": "2 to 6 months", "72": "7 months to 2 years", "22": "over 2 years"}
BABY_TEST_EVERY = 5  # one app of so many, by a hash, is the test
_BABY_NAME = re.compile(r"([0-9A-Fa-f-]{36})-(\d+)-[\d.]+-([mf])-(\d\d)-([a-z]{2})")
_NONSPEECH_NAME = re.compile(r"(.+?)(?:-\d+)?_\d+_\d+\.wav")  # recording, piece of it, class, augmentation


def walk_vocalsound(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VocalSound: a list a split, the sex in a file's name, the age in a table of speakers."""
    base = root if (root / "datafiles").is_dir() else root / "data"
    table = base / "datafiles" / f"{split.name}.json"
    ages = _vocalsound_ages(base / "meta" / f"{split.name}_meta.csv")
    audio = next((base / name for name in ("audio_16k", "audio_44k", "data_44k") if (base / name).is_dir()), base / "audio_16k")
    for number, row in enumerate(read_json(table)["data"]):
        name, where = PurePosixPath(row["wav"]).name, f"{table}:[{number}]"
        source, speaker = Path(name).stem, name.split("_")[0]
        if gone := lost_file(source, audio / name, where):
            yield gone
            continue
        if row["labels"] not in VOCALSOUND_LABELS:
            yield Entry(source, "no_answer", where, f"the label {row['labels']} is none of the six")
            continue
        sex, age = gender_of(speaker[0]), ages.get(speaker)
        meta = {"speaker": f"vocalsound-{speaker}", "gender": sex, "age": age}
        for family, answer in (("vocal_sound", VOCALSOUND_LABELS[row["labels"]]), ("gender", sex), ("age", decade(age))):
            if answer:
                yield tagged(source, audio / name, family, answer, where=where, meta=meta)


def _vocalsound_ages(path: Path) -> dict[str, str]:
    """Read a table of speakers (id, sex, age, country, language, health), with or without a line of names; {} where it is missing."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return {row[0].strip(): row[2].strip() for row in csv.reader(lines) if len(row) > 2 and row[2].strip().isdigit()}


def walk_nonspeech7k(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Nonspeech7k: a table a split; what is cut from a recording of the test is kept out of training."""
    tables = {"train": "metadata of train set .csv", "test": "metadata of test set.csv"}  # the blank is theirs
    clips = {path.name: path for path in sorted(needed(root / split.name, "folder").rglob("*.wav"))}
    held_out: set[str] = set()
    if split.name == "train":
        held_out = {_recording(name) for _, name, _ in _nonspeech_rows(root / tables["test"])}
    for where, name, label_there in _nonspeech_rows(root / tables[split.name]):
        label = NONSPEECH_LABELS.get(label_there.lower())
        if name not in clips:
            yield Entry(name, "no_file", where, f"no {name} below {root / split.name}")
        elif label is None:
            yield Entry(name, "no_answer", where, f"the class {label_there!r} is none of the seven")
        elif _recording(name) in held_out:
            yield Entry(name, "evaluation_split", where, "another piece of the same recording is in the test")
        else:
            meta = {"recording": _recording(name), "label": label_there}
            yield tagged(Path(name).stem, clips[name], "vocal_sound", label, where=where, meta=meta)


def _nonspeech_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (FILE:LINE, file, class); the names of the columns are written with and without blanks."""
    for where, row in read_table(path):
        plain = {re.sub(r"[\s_]", "", key).lower(): value.strip() for key, value in row.items()}
        yield where, plain["filename"], plain["classname"]


def _recording(name: str) -> str:
    """Return which recording a clip is cut from: 108160-2_0_0.wav is the second piece of 108160."""
    match = _NONSPEECH_NAME.fullmatch(name)
    return match[1] if match else name


def walk_donateacry(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the cleaned part of the donateacry corpus: all of it is babies that cry, their reasons are their parents' guesses."""
    for path in sorted(needed(root / "donateacry_corpus_cleaned_and_updated_data", "folder").glob("*/*.wav")):
        match = _BABY_NAME.match(path.stem)
        if match is None:
            yield Entry(path.stem, "bad_row", str(path), "expected APP-TIME-VERSION-SEX-AGE-REASON")
            continue
        app, _, sex, age, reason = match.groups()
        if (zlib.crc32(app.lower().encode()) % BABY_TEST_EVERY == 0) == (split.role == "test"):
            meta = {"speaker": f"donateacry-{app.lower()}", "gender": gender_of(sex), "age": BABY_AGES.get(age), "reason": reason}
            yield tagged(path.stem, path, "vocal_sound", BABY_CRY, where=str(path), meta=meta)


_NO_SPLIT = "The corpus has no official split"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="vocalsound",
        title="VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs of 3,365 people",
        source="https://github.com/YuanGongND/vocalsound",
        licence="CC BY-SA 4.0",
        hours=None,
        languages=(),
        tasks=("vocal_sound", "gender", "age"),
        splits=(Split("tr", "train"), Split("val", "dev"), Split("te", "test")),
        layout=("audio_16k/{f,m}{person}_{session}_{sound}.wav\ndatafiles/{tr,val,te}.json\nmeta/{tr,val,te}_meta.csv"),
        verified="README of YuanGongND/vocalsound; its README calls meta .json, users of the archive read .csv",
        walk=walk_vocalsound,
        notes=(
            "te is the evaluation of the released model; AIR-Bench holds a part of it. 21,024 clips in all three. How the "
            "released evaluation spells its labels is not known here: compare without regard to case."
        ),
    ),
    Recipe(
        name="nonspeech7k",
        title="Nonspeech7k: breathing, coughs, crying, laughter, screams, sneezes, yawns",
        source="https://zenodo.org/records/6967442",
        licence="that of its page at Zenodo (not verified)",
        hours=None,
        languages=(),
        tasks=("vocal_sound",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="metadata of train set .csv\nmetadata of test set.csv\n{train,test}/**/*.wav (train.zip and test.zip)",
        verified="scripts of its users (tables, columns, classes); CLAPv2/Nonspeech7k on the hub (names of the files)",
        walk=walk_nonspeech7k,
        notes=(
            "Train and test hold pieces of the same recordings, told by their names: those of training are in the ledger. Clips come "
            "from Freesound, YouTube and a third site, as those of ESC-50, FSD50K and AudioSet do."
        ),
    ),
    Recipe(
        name="donateacry",
        title="donateacry corpus: babies that cry",
        source="https://github.com/gveres/donateacry-corpus",
        licence="ODbL 1.0, contents DbCL 1.0",
        hours=None,
        languages=(),
        tasks=("vocal_sound",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="donateacry_corpus_cleaned_and_updated_data/{reason}/{app}-{time}-{version}-{sex}-{age}-{reason}.wav",
        verified="README of gveres/donateacry-corpus (names); scripts of its users (cleaned folder)",
        walk=walk_donateacry,
        notes=(
            f"Every answer is {BABY_CRY!r}: use it beside other sounds, never alone. {_NO_SPLIT}: one app of five, by a hash, is the test. "
            "The reasons in the names are guesses and no answer; the folders of 3gp and caf files hold the same recordings, unchecked."
        ),
    ),
)
