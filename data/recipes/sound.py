"""Walk sets of sound events without times: one clip, one or several labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.clip_folders import clips_below, first_of, words, youtube_clip
from data.recipes.walking import needed, read_json, read_lines, read_table, tagged
from tag_schema.answers import write_labels

ONTOLOGY = "audioset_ontology"  # the tag for labels spelt as in AudioSet; others are plain words under "event"

# The folds are for cross-validation; this is the division that training here uses, stated in the notes.
ESC_FOLDS = {"train": (1, 2, 3), "dev": (4,), "test": (5,)}
URBAN_FOLDS = {"train": (1, 2, 3, 4, 5, 6), "dev": (7, 8), "test": (9, 10)}  # as URBAN-SED divides the same recordings
ESC10_NAMES = {
    "dog": "dog bark", "rain": "rain", "sea_waves": "sea waves", "crying_baby": "baby cry", "clock_tick": "clock tick",
    "sneezing": "sneeze", "helicopter": "helicopter", "chainsaw": "chainsaw", "rooster": "rooster", "crackling_fire": "fire crackling",
}  # fmt: skip
AUDIOSET_FILES = {  # split -> the table, without .csv, and the folder of the hub's copy
    "balanced_train": ("balanced_train_segments", "bal_train"),
    "unbalanced_train": ("unbalanced_train_segments", "unbal_train"),
    "eval": ("eval_segments", "eval"),
}


def sound_event(
    source: str, audio: Path | str, labels: Sequence[str], where: str, meta: Mapping[str, Any], instruction: str = "event"
) -> Record | Entry:
    """Make the record of a clip's sounds; a clip that is not on disk is accounted for, one inside an archive is taken as it is named."""
    if isinstance(audio, Path) and not audio.is_file():
        return Entry(f"{source}#sound_event", "no_file", where, str(audio))
    return tagged(source, audio, "sound_event", write_labels(labels), where=where, meta=meta, instruction=instruction)


def read_esc50_row(row: Mapping[str, Any], audio: Path | str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of ESC-50, of its table or of the hub's copy: one of 50 categories."""
    if int(row["fold"]) in ESC_FOLDS[split.name]:
        yield sound_event(Path(row["filename"]).stem, audio, [words(row["category"])], where, _esc_meta(row))


def read_esc10_row(row: Mapping[str, Any], audio: Path | str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of ESC-50 as one of ESC-10, with the names that clips and classes have there."""
    if int(row["fold"]) in ESC_FOLDS[split.name] and str(row["esc10"]).lower() == "true":
        name = Path(row["filename"]).stem.rpartition("-")[0]  # without the number of the class
        yield sound_event(name, audio, [ESC10_NAMES[row["category"]]], where, _esc_meta(row))


def _esc_meta(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"fold": row["fold"], "freesound": row.get("src_file")}


def walk_esc50(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk ESC-50 by its table; five folds."""
    for where, row in read_table(root / "meta" / "esc50.csv"):
        yield from read_esc50_row(row, root / "audio" / row["filename"], split, where)


def walk_esc10(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk ESC-10 in either tree: the first one ("001 - Dog bark/1-100032-A.ogg"), or the marked rows of ESC-50.

    Both give the names of the first one, in lower case and without "person".
    """
    if (root / "meta" / "esc50.csv").is_file():
        for where, row in read_table(root / "meta" / "esc50.csv"):
            yield from read_esc10_row(row, root / "audio" / row["filename"], split, where)
        return
    folders = sorted(needed(root, "folder").glob("[0-9][0-9][0-9] - */"))
    for folder in folders or [needed(root / "001 - Dog bark", "folder")]:
        label = folder.name.split(" - ", 1)[1].lower().removeprefix("person ")
        for path in sorted(folder.glob("*.ogg")):
            fold, freesound, _ = path.stem.split("-", 2)
            if int(fold) in ESC_FOLDS[split.name]:
                yield sound_event(path.stem, path, [label], str(path), {"fold": fold, "freesound": freesound})


def read_urbansound8k_row(row: Mapping[str, Any], audio: Path | str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of UrbanSound8K, of its table or of the hub's copy."""
    if int(row["fold"]) in URBAN_FOLDS[split.name]:
        meta = {"fold": row["fold"], "freesound": row["fsID"], "salience": row["salience"]}
        yield sound_event(Path(row["slice_file_name"]).stem, audio, [words(row["class"])], where, meta)


def walk_urbansound8k(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk UrbanSound8K by its table; ten folds, slices of one recording stay in one of them."""
    for where, row in read_table(root / "metadata" / "UrbanSound8K.csv"):
        yield from read_urbansound8k_row(row, root / "audio" / f"fold{row['fold']}" / row["slice_file_name"], split, where)


def walk_fsd50k(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk FSD50K: labels with those above them in the ontology, in the table's order."""
    part = "eval" if split.name == "eval" else "dev"
    for where, row in read_table(root / "FSD50K.ground_truth" / f"{part}.csv"):
        if row.get("split", "eval") == split.name:
            labels = [words(label) for label in row["labels"].split(",") if label]
            audio = root / f"FSD50K.{part}_audio" / f"{row['fname']}.wav"
            yield sound_event(row["fname"], audio, labels, where, {"freesound": row["fname"]}, ONTOLOGY)


def audioset_names(root: Path) -> dict[str, str]:
    """Map AudioSet's class ids to their names, by ontology.json or by class_labels_indices.csv."""
    for place in (root, root / "metadata"):
        if (place / "ontology.json").is_file():
            return {row["id"]: row["name"] for row in read_json(place / "ontology.json")}
        if (place / "class_labels_indices.csv").is_file():
            return {row["mid"]: row["display_name"] for _, row in read_table(place / "class_labels_indices.csv")}
    return {row["id"]: row["name"] for row in read_json(root / "ontology.json")}  # DataError: it is not there


def walk_audioset(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AudioSet by its tables of segments; clips are found by the video's id, and by its start where the name has it."""
    table, hub = AUDIOSET_FILES[split.name]
    names = audioset_names(root)
    lines = read_lines(first_of(root, f"{table}.csv", f"metadata/{table}.csv", f"data/{table}.csv", what="table"))
    clips = clips_below(first_of(root, f"audios/{table}", f"audio/{hub}", f"audio/{table}", table, hub, "audio", "audios"))
    for where, line in lines:
        if line.startswith("#"):
            continue
        video, start, end, ids = next(csv.reader([line], skipinitialspace=True))
        source = f"{video}_{float(start):g}"
        unknown = [label for label in ids.split(",") if label not in names]
        clip = youtube_clip(clips, video, float(start), float(end))
        if unknown:
            yield Entry(f"{source}#sound_event", "bad_row", where, f"{', '.join(unknown)}: no such class in the ontology")
        elif clip is None:
            yield Entry(f"{source}#sound_event", "no_file", where, f"no clip of the video {video}")
        else:
            yield sound_event(source, clip, [names[label] for label in ids.split(",")], where, {"youtube": video}, ONTOLOGY)


def read_audioset_row(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy of AudioSet: video_id, audio, labels, human_labels."""
    yield sound_event(row["video_id"], audio, row["human_labels"], where, {"youtube": row["video_id"]}, ONTOLOGY)


_ALL_FOLDS = dict.fromkeys(("train", "dev", "test"), "data/train-*.parquet")  # read_row keeps those of its split
_ESC_NOTES = (
    "The folds are meant for cross-validation and there is no official test: here folds 1 to 3 train, 4 is dev, 5 is test. Clips are cut "
    "from Freesound recordings, which FSD50K, WavCaps, Clotho and UrbanSound8K draw on too: meta has the recording's number as `freesound`."
)
_ESC_COUNTS = 'README of the corpus: {} clips, "prearranged into 5 uniformly sized folds"'

RECIPES = (
    Recipe(
        name="esc50",
        title="ESC-50, environmental sounds in 50 classes",
        source="https://github.com/karolpiczak/ESC-50",
        licence="CC BY-NC 3.0, each clip as in the corpus' LICENSE",
        hours=None,
        languages=(),
        tasks=("sound_event",),
        splits=(
            Split("train", "train", 1200, _ESC_COUNTS.format("2,000")),
            Split("dev", "dev", 400, _ESC_COUNTS.format("2,000")),
            Split("test", "test", 400, _ESC_COUNTS.format("2,000")),
        ),
        layout="meta/esc50.csv\naudio/{fold}-{freesound id}-{take}-{target}.wav",
        verified="README of the corpus, section Repository content",
        walk=walk_esc50,
        parquet=Parquet("ashraq/esc50", _ALL_FOLDS, read_esc50_row, "dataset_infos.json and file list of the copy"),
        notes=_ESC_NOTES,
    ),
    Recipe(
        name="esc10",
        title="ESC-10, environmental sounds in 10 classes",
        source="https://github.com/karoldvl/ESC-10",
        licence="CC BY 3.0, each clip CC0 or CC BY as in the corpus' README",
        hours=None,
        languages=(),
        tasks=("sound_event",),
        splits=(
            Split("train", "train", 240, _ESC_COUNTS.format("400")),
            Split("dev", "dev", 80, _ESC_COUNTS.format("400")),
            Split("test", "test", 80, _ESC_COUNTS.format("400")),
        ),
        layout="{number} - {Class}/{fold}-{freesound id}-{take}.ogg\nor the tree of ESC-50, whose table marks these rows (esc10)",
        verified="README of ESC-50 (column esc10); paths of the first tree at commit 553c8f1743 of the corpus",
        walk=walk_esc10,
        parquet=Parquet("ashraq/esc50", _ALL_FOLDS, read_esc10_row, "dataset_infos.json and file list of the copy"),
        notes=_ESC_NOTES + " All of it is part of ESC-50, fold by fold.",
    ),
    Recipe(
        name="urbansound8k",
        title="UrbanSound8K, ten sounds of the city",
        source="https://zenodo.org/record/1203745",
        licence="CC BY-NC 3.0",
        hours=None,
        languages=(),
        tasks=("sound_event",),
        splits=(
            Split("train", "train", 5435, "clips per fold as counted by github.com/daisukelab/multi_task_learning_sound, 8,732 in all"),
            Split("dev", "dev", 1644, "as above"),
            Split("test", "test", 1653, "as above"),
        ),
        layout="metadata/UrbanSound8K.csv\naudio/fold{1..10}/{freesound id}-{class}-{occurrence}-{slice}.wav",
        verified="loader of soundata (soundata/datasets/urbansound8k.py) and the corpus' page",
        walk=walk_urbansound8k,
        parquet=Parquet("danavery/urbansound8K", _ALL_FOLDS, read_urbansound8k_row, "card of the copy"),
        notes="The folds are for cross-validation; here 1 to 6 train, 7 and 8 are dev, 9 and 10 test, as in URBAN-SED, which is mixed of "
        "these clips: training on the one does not leak into the other. Clips are of Freesound: meta has `freesound`, see esc50.",
    ),
    Recipe(
        name="fsd50k",
        title="FSD50K, Freesound clips in 200 classes of AudioSet's ontology",
        source="https://zenodo.org/record/4060432",
        licence="CC BY 4.0; each clip CC0, CC BY, CC BY-NC or CC Sampling+",
        hours=108.3,
        languages=(),
        tasks=("sound_event",),
        splits=(
            Split("train", "train", 36_796, "rows of dev.csv by its column split; with val the 40,966 of the corpus' page"),
            Split("val", "dev", 4_170, "as above"),
            Split("eval", "test", 10_231, "the corpus' page"),
        ),
        layout="FSD50K.ground_truth/dev.csv, eval.csv\nFSD50K.dev_audio/{freesound id}.wav\nFSD50K.eval_audio/{freesound id}.wav",
        verified="loader of soundata (soundata/datasets/fsd50k.py): tables, columns, hours",
        walk=walk_fsd50k,
        notes="Labels include all those above them in the ontology. File names are Freesound numbers (meta `freesound`): Clotho, WavCaps, "
        "ESC-50 and UrbanSound8K draw on Freesound too, so hold out what you evaluate on.",
    ),
    Recipe(
        name="audioset",
        title="AudioSet, ten-second clips of videos in 527 classes",
        source="https://research.google.com/audioset/download.html",
        licence="labels CC BY 4.0, ontology CC BY-SA 4.0; recordings belong to their uploaders",
        hours=None,
        languages=(),
        tasks=("sound_event",),
        splits=(
            Split("balanced_train", "train", 22_160, "README of qiuqiangkong/audioset_tagging_cnn; card of agkphysics/AudioSet"),
            Split("unbalanced_train", "train", 2_041_789, "README of qiuqiangkong/audioset_tagging_cnn"),
            Split("eval", "test", 20_371, "head of eval_segments.csv, as the download page quotes it"),
        ),
        layout="[metadata/]{balanced_train,unbalanced_train,eval}_segments.csv\n[metadata/]ontology.json or class_labels_indices.csv\n"
        "audios/{table}/**/Y{video}.wav, or audio/{bal_train,unbal_train,eval}/{video}.flac, or {video}_{start}[_{end}].wav",
        verified="download page (tables); README of qiuqiangkong/audioset_tagging_cnn and card of agkphysics/AudioSet (folders, names)",
        walk=walk_audioset,
        parquet=Parquet(
            hub="agkphysics/AudioSet",
            files={
                "balanced_train": "data/bal_train/*.parquet",
                "unbalanced_train": "data/unbal_train/*.parquet",
                "eval": "data/eval/*.parquet",
            },
            read_row=read_audioset_row,
            verified="columns: card of the copy; folders: its file list; it has 18,685, 1,738,788 and 17,142 of the clips",
        ),
        notes="Videos vanish: nobody has all the clips, and those that are missing are in the account. AudioCaps is drawn from it: to "
        "evaluate on AudioCaps leave its videos (meta `youtube`) out of training; DESED's real clips and WavCaps' AudioSet_SL are "
        "AudioSet's too.",
    ),
)
