"""Walk sets of acoustic scenes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split, Walk
from data.recipes.clip_folders import first_of, words
from data.recipes.walking import needed, read_table, tagged

TUT_LABELS = {"cafe/restaurant": "cafe or restaurant"}  # the one label that is more than words joined by underscores
COCHL_PARTS = {"train": "Train", "val": "Val", "test": "Test"}


def scene(source: str, path: Path, label: str, where: str, meta: dict[str, Any]) -> Record | Entry:
    """Make the record of a recording's place; a file that is missing is accounted for."""
    if not path.is_file():
        return Entry(f"{source}#scene", "no_file", where, str(path))
    return tagged(source, path, "scene", label, where=where, meta=meta)


def walk_tut2017(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk TUT Acoustic Scenes 2017: fold 1 of the development set, and the evaluation set.

    Labels are words ("grocery store", "cafe or restaurant"), as the scorers of the released evaluation's rows spell them.
    """
    top = root / f"TUT-acoustic-scenes-2017-{'evaluation' if split.name == 'evaluation' else 'development'}"
    if split.name == "evaluation":
        table = first_of(top, "meta.txt", "evaluation_setup/evaluate.txt", what="table")
    else:
        table = top / "evaluation_setup" / f"fold1_{'train' if split.name == 'train' else 'evaluate'}.txt"
    for where, row in read_table(table, "\t", ("path", "label", "recording"), quoted=False):
        source, label = Path(row["path"]).stem, TUT_LABELS.get(row["label"], words(row["label"]))
        # A development clip is named RECORDING_START_END; evaluation clips are numbered.
        recording = source.split("_")[0] if "_" in source else None
        yield scene(source, top / row["path"], label, where, {"recording": recording})


def walk_cochlscene(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk CochlScene: the folder is the class, whose name the released evaluation writes in lower case ("crowdedindoor")."""
    top = root / "CochlScene" if (root / "CochlScene").is_dir() else root
    for folder in sorted(path for path in needed(top / COCHL_PARTS[split.name], "folder").iterdir() if path.is_dir()):
        for path in sorted(folder.glob("*.wav")):
            user = next((part for part in path.stem.split("_") if part.startswith("user")), None)
            meta = {"recordist": f"cochlscene-{user}" if user else None}
            yield scene(path.stem, path, folder.name.lower(), str(path), meta)


def _walk_tau(year: int) -> Walk:
    """Make the walk of one year's TAU Urban Acoustic Scenes Mobile, development set."""
    name = f"TAU-urban-acoustic-scenes-{year}-mobile-development"

    def walk(root: Path, split: Split) -> Iterator[Record | Entry]:
        """Walk it by its own division; a clip is named SCENE-CITY-PLACE-SEGMENT-DEVICE."""
        top = root / name if (root / name).is_dir() else root
        place = {row["filename"]: row["identifier"] for _, row in read_table(top / "meta.csv", "\t", quoted=False)}
        for where, row in read_table(top / "evaluation_setup" / f"fold1_{split.name}.csv", "\t", quoted=False):
            path = Path(row["filename"])
            identifier = place.get(row["filename"], "")
            meta = {"recording": identifier, "city": identifier.split("-")[0], "device": path.stem.rsplit("-", 1)[-1]}
            yield scene(path.stem, top / path, words(row["scene_label"]), where, meta)

    return walk


def _tau(year: int, seconds: int, record: int) -> Recipe:
    """Make the recipe of one year's TAU Urban Acoustic Scenes Mobile."""
    return Recipe(
        name=f"tau{year}",
        title=f"TAU Urban Acoustic Scenes {year} Mobile, ten places in ten cities by nine devices, {seconds} s a clip",
        source=f"https://zenodo.org/record/{record}",
        licence="non-commercial, Tampere University",
        hours=64,
        languages=(),
        tasks=("scene",),
        splits=(Split("train", "train"), Split("evaluate", "test")),
        layout=f"TAU-urban-acoustic-scenes-{year}-mobile-development/meta.csv\n"
        f"TAU-urban-acoustic-scenes-{year}-mobile-development/evaluation_setup/fold1_train.csv, fold1_evaluate.csv\n"
        f"TAU-urban-acoustic-scenes-{year}-mobile-development/audio/{{scene}}-{{city}}-{{place}}-{{segment}}-{{device}}.wav",
        verified=f"loader of soundata (soundata/datasets/tau{year}uas_mobile.py): tables, columns, hours",
        walk=_walk_tau(year),
        notes="The evaluation set has no public labels; the development set's own division serves instead. TAU 2020 and 2022 are the same "
        "recordings, whole and cut into seconds, and MACS captions the 2019 edition of them: do not train on one to test on another.",
    )


RECIPES = (
    Recipe(
        name="tut2017",
        title="TUT Acoustic Scenes 2017, fifteen places",
        source="https://zenodo.org/record/400515 and https://zenodo.org/record/1040168",
        licence="non-commercial, Tampere University of Technology",
        hours=None,
        languages=(),
        tasks=("scene",),
        splits=(
            Split("train", "train"),
            Split("dev", "dev"),
            Split("evaluation", "test", 1_620, "inferred: published accuracies per class are multiples of 1/108, and there are 15 classes"),
        ),
        layout="TUT-acoustic-scenes-2017-development/evaluation_setup/fold1_train.txt, fold1_evaluate.txt\n"
        "TUT-acoustic-scenes-2017-development/audio/{recording}_{start}_{end}.wav\n"
        "TUT-acoustic-scenes-2017-evaluation/meta.txt\nTUT-acoustic-scenes-2017-evaluation/audio/{number}.wav",
        verified="dcase_util (dcase_util/datasets/tut.py and dcase2017.py); downloader of MoonshotAI/Kimi-Audio-Evalkit; "
        "label spelling: scorer of DAMO-NLP-SG/VideoLLaMA2 for the released rows",
        walk=walk_tut2017,
        notes="Development clips are of four folds; fold 1 divides them into train and dev, recording by recording.",
    ),
    Recipe(
        name="cochlscene",
        title="CochlScene, thirteen places recorded by 831 people",
        source="https://zenodo.org/record/7080122",
        licence="as stated at Zenodo 7080122 (not verified here)",
        hours=None,
        languages=(),
        tasks=("scene",),
        splits=(Split("train", "train"), Split("val", "dev"), Split("test", "test")),
        layout="[CochlScene/]{Train,Val,Test}/{Class}/{Class}_user{number}_{number}_{number}.wav",
        verified="downloader of MoonshotAI/Kimi-Audio-Evalkit (folders); clips of AIR-Bench (file names); paper (76k clips, 831 people)",
        walk=walk_cochlscene,
        notes="Several clips are cut of one person's recordings: meta has the person as `recordist`.",
    ),
    _tau(2020, 10, 3819968),
    _tau(2022, 1, 6337421),
)
