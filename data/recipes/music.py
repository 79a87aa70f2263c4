"""Walk sets of notes and instruments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.clip_folders import first_of, words
from data.recipes.walking import needed, read_json, read_lines, read_table, tagged
from tag_schema.answers import Note, write_labels, write_note

IRMAS_INSTRUMENTS = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "acoustic guitar", "gel": "electric guitar", "org": "organ",
    "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "human singing voice",
}  # fmt: skip
IRMAS_GENRES = {"cou_fol": "country-folk", "cla": "classical", "pop_roc": "pop-rock", "lat_sou": "latin-soul", "jaz_blu": "jazz-blues"}
HEARD = 0.5  # relevance from which OpenMIC's authors take an instrument to be heard


def walk_nsynth(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk NSynth: examples.json says pitch, velocity, family and qualities of each note."""
    folder = needed(root / f"nsynth-{split.name}", "folder")
    table = folder / "examples.json"
    for name, row in read_json(table).items():
        path = folder / "audio" / f"{name}.wav"
        if path.is_file():
            yield from _nsynth_note(name, path, row, f"{table}:{name}")
        else:
            yield Entry(name, "no_file", f"{table}:{name}", str(path))


def read_nsynth(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of NSynth's parquet copy, whose columns are the keys of examples.json."""
    yield from _nsynth_note(str(row["note_str"]), audio, row, where)


def _nsynth_note(name: str, audio: Path | str, row: Mapping[str, Any], where: str) -> Iterator[Record | Entry]:
    family = row["instrument_family_str"]
    note = Note(int(row["pitch"]), int(row["velocity"]), family, tuple(row["qualities_str"]))
    meta = {"instrument": family, "instrument_id": row["instrument_str"], "production": row["instrument_source_str"]}
    yield tagged(name, audio, "note_analysis", write_note(note), where=where, meta=meta)
    yield tagged(name, audio, "instrument", words(family), where=where, meta=meta)


def walk_tinysol(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk TinySOL: one note a file, its pitch and instrument in the table; fold 4 of the five is the test."""
    table = first_of(root, "TinySOL_metadata.csv", "annotation/TinySOL_metadata.csv", what="table")
    audio = first_of(root, "TinySOL", "audio")
    for where, row in read_table(table):
        if (row["Fold"] == "4") != (split.name == "test"):
            continue
        path, name = audio / row["Path"], Path(row["Path"]).stem
        if not path.is_file():
            yield Entry(name, "no_file", where, str(path))
            continue
        instrument = row["Instrument (in full)"]
        meta = {"instrument": instrument, "dynamics": row["Dynamics"], "fold": row["Fold"], "midi": row["Pitch ID"]}
        note = write_note(Note(pitch=int(row["Pitch ID"]), instrument=instrument))
        yield tagged(name, path, "note_analysis", note, where=where, meta=meta)
        yield tagged(name, path, "instrument", instrument, where=where, meta=meta)


def walk_medley_solos_db(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Medley-solos-DB: the table says the subset, instrument and song of each clip, and with them the file's name."""
    table = first_of(root, "Medley-solos-DB_metadata.csv", "annotation/Medley-solos-DB_metadata.csv", what="table")
    audio = first_of(root, "Medley-solos-DB", "audio")
    for where, row in read_table(table, columns=("subset", "instrument", "instrument_id", "song_id", "uuid4")):
        if row["subset"] != split.name:
            continue
        name = f"Medley-solos-DB_{row['subset']}-{row['instrument_id']}_{row['uuid4']}"
        path = audio / f"{name}.wav"
        meta = {"instrument": row["instrument"], "song": row["song_id"]}
        if path.is_file():
            yield tagged(name, path, "instrument", row["instrument"], where=where, meta=meta)
        else:
            yield Entry(name, "no_file", where, str(path))


def walk_irmas(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk IRMAS: the folder names the instrument of a training clip, its file's last bracket the genre; a .txt those of a test clip."""
    if split.name == "train":
        for path in sorted(needed(root / "IRMAS-TrainingData", "folder").glob("*/*.wav")):
            name, meta = f"{path.parent.name}/{path.stem}", {"instrument": IRMAS_INSTRUMENTS[path.parent.name]}
            yield tagged(name, path, "instrument", meta["instrument"], where=str(path), meta=meta)
            if marks := re.findall(r"\[(\w+)\]", path.stem):
                yield tagged(name, path, "genre", IRMAS_GENRES[marks[-1]], where=str(path), meta=meta)
        return
    needed(root / "IRMAS-TestingData-Part1", "folder")
    for table in sorted(root.glob("IRMAS-TestingData-Part*/*/*.txt")):
        name, path = f"{table.parent.name}/{table.stem}", table.with_suffix(".wav")
        labels = [IRMAS_INSTRUMENTS[line.strip()[:3]] for _, line in read_lines(table)]
        if path.is_file():
            yield tagged(name, path, "instrument", write_labels(labels), where=str(table))
        else:
            yield Entry(name, "no_file", str(table), str(path))


def walk_openmic2018(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk OpenMIC-2018: the instruments that were asked about and heard, and each question that was asked as yes or no."""
    table = needed(root / "openmic-2018-aggregated-labels.csv", "table")
    asked: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for _, row in read_table(table):
        asked[row["sample_key"]][words(row["instrument"])] = float(row["relevance"]) >= HEARD
    for where, key in read_lines(root / "partitions" / f"split01_{split.name}.csv"):
        path = root / "audio" / key[:3] / f"{key}.ogg"
        if not path.is_file():
            yield Entry(key, "no_file", where, str(path))
            continue
        if heard := sorted(name for name, there in asked[key].items() if there):
            yield tagged(key, path, "instrument", write_labels(heard), where=where)
        for number, (name, there) in enumerate(sorted(asked[key].items())):
            answer, question = ("yes" if there else "no"), f"Can {_a(name)} be heard in this music?"
            yield tagged(key, path, "music_qa", answer, where=where, number=number, question=question, choices=("yes", "no"))
        if not asked[key]:
            yield Entry(key, "no_answer", where, f"{table.name} has no row of it")


def _a(noun: str) -> str:
    return noun if noun.endswith(("s", "percussion")) or noun == "voice" else f"an {noun}" if noun[0] in "aeio" else f"a {noun}"


CARD = "card of jg583/NSynth: splits of 289205, 12678 and 4096"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="nsynth",
        title="NSynth: notes of sampled instruments",
        source="https://magenta.tensorflow.org/datasets/nsynth",
        licence="CC BY 4.0",
        hours=None,
        languages=(),
        tasks=("note_analysis", "instrument"),
        splits=(Split("train", "train", 289_205, CARD), Split("valid", "dev", 12_678, CARD), Split("test", "test", 4096, CARD)),
        layout="nsynth-{train,valid,test}/examples.json\nnsynth-{train,valid,test}/audio/{note_str}.wav",
        verified="sources of several loaders (Audio Flamingo's preparation among them) and the card of jg583/NSynth, which lists the keys",
        walk=walk_nsynth,
        parquet=Parquet(
            hub="jg583/NSynth",
            files={"train": "data/train/*.parquet", "valid": "data/validation/*.parquet", "test": "data/test/*.parquet"},
            read_row=read_nsynth,
            verified="columns: card of jg583/NSynth; data/train and data/test: users' loaders; data/validation is not verified",
        ),
        notes=(
            "4 s a note, 16 kHz. The answer spells family and qualities as the corpus does (synth_lead, nonlinear_env), as the released "
            "evaluation reads them; a note may have no quality. AIR-Bench and other benchmarks are cut from the test split."
        ),
    ),
    Recipe(
        name="tinysol",
        title="TinySOL: single notes of 14 instruments of the orchestra",
        source="https://zenodo.org/record/3685367",
        licence="CC BY 4.0",
        hours=None,
        languages=(),
        tasks=("note_analysis", "instrument"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="TinySOL_metadata.csv\nTinySOL/{family}/{instrument}/ordinario/{note}.wav",
        verified="source of mirdata's loader (columns, MIDI numbers, 2,913 notes, 5 folds) and of users' loaders (folder names)",
        walk=walk_tinysol,
        notes="Five folds to average over and no fixed split: fold 4 is kept as the test here, our choice. No velocity is given.",
    ),
    Recipe(
        name="medley_solos_db",
        title="Medley-solos-DB: 3 s of a solo instrument",
        source="https://zenodo.org/record/3464194",
        licence="CC BY 4.0",
        hours=None,
        languages=(),
        tasks=("instrument",),
        splits=(Split("training", "train"), Split("validation", "dev"), Split("test", "test")),
        layout="Medley-solos-DB_metadata.csv\nMedley-solos-DB/Medley-solos-DB_{subset}-{instrument_id}_{uuid4}.wav",
        verified="source of mirdata's loader (order of the columns, 8 instruments); users' loaders (names of training and test files)",
        walk=walk_medley_solos_db,
        notes="Training and validation come from MedleyDB, the test from solosDB.",
    ),
    Recipe(
        name="irmas",
        title="IRMAS: predominant instruments in mixed music",
        source="https://zenodo.org/record/1290750",
        licence="CC BY-NC-SA 3.0",
        hours=None,
        languages=(),
        tasks=("instrument", "genre"),
        splits=(
            Split("train", "train", 6705, "documentation of mirdata's loader"),
            Split("test", "test", 2874, "documentation of mirdata's loader"),
        ),
        layout=(
            "IRMAS-TrainingData/{cel,cla,flu,gac,gel,org,pia,sax,tru,vio,voi}/{name}[instrument][dru|nod][genre]{number}.wav\n"
            "IRMAS-TestingData-Part{1,2,3}/{folder}/{name}.wav\nIRMAS-TestingData-Part{1,2,3}/{folder}/{name}.txt"
        ),
        verified="source and documentation of mirdata's loader",
        walk=walk_irmas,
        notes="[cla] is clarinet as instrument and classical as genre: the last bracket is the genre. Test clips have several instruments.",
    ),
    Recipe(
        name="openmic2018",
        title="OpenMIC-2018: 20 instruments in 10 s clips of the Free Music Archive",
        source="https://zenodo.org/record/1432913",
        licence="CC BY 4.0 (labels); each clip as its artist chose, see openmic-2018-metadata.csv",
        hours=None,
        languages=(),
        tasks=("instrument", "music_qa"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout=(
            "openmic-2018-aggregated-labels.csv: sample_key,instrument,relevance,num_responses\n"
            "partitions/split01_{train,test}.csv: a sample_key a line\naudio/{first 3 digits}/{sample_key}.ogg"
        ),
        verified="sources of several users' loaders; the licence and the address of the record are not verified",
        walk=walk_openmic2018,
        notes=(
            "Listeners were asked about a few instruments of each clip only: the instrument answer names those that were heard, more may "
            "sound; the yes/no questions are exact. Cut from FMA: tracks of fma's test split may be in training here and the reverse."
        ),
    ),
)
