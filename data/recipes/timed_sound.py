"""Walk sets of sound events with their times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.clip_folders import clips_below, first_of, words, youtube_clip
from data.recipes.sound import sound_event
from data.recipes.walking import needed, read_table, tagged
from tag_schema.answers import TimedLabel, write_timed_labels
from tag_schema.vocabulary import TagError

FAMILY = "sound_event_detection"
Events = tuple[str, list[TimedLabel]]  # FILE:LINE of the clip's first row, and what is heard in it
_REAL_CLIP = re.compile(r"Y?(?P<video>[\w-]{11})_(?P<start>\d+(\.\d+)?)_\d")
DESED_PARTS = {  # split -> table and folders of audio, below metadata/ and audio/
    "synthetic": ("train/synthetic21_train/soundscapes.tsv", ("train/synthetic21_train/soundscapes", "train/synthetic21_train")),
    "strong": ("train/audioset_strong.tsv", ("train/strong_label_real", "train/weak")),
    "weak": ("train/weak.tsv", ("train/weak",)),
    "validation": ("validation/validation.tsv", ("validation/validation", "validation")),
    "public": ("eval/public.tsv", ("eval/public",)),
}


def timed_events(source: str, audio: Path | None, events: Iterable[TimedLabel], where: str, meta: Mapping[str, Any]) -> Record | Entry:
    """Make the record of what is heard when; a clip that is missing and times that run backwards are accounted for."""
    if audio is None or not audio.is_file():
        return Entry(f"{source}#{FAMILY}", "no_file", where, str(audio or ""))
    try:
        return tagged(source, audio, FAMILY, write_timed_labels(events), where=where, meta=meta)
    except TagError as error:
        return Entry(f"{source}#{FAMILY}", "bad_row", where, str(error))


def read_events(path: Path, clip: str, start: str, end: str, label: str) -> dict[str, Events]:
    """Gather the rows of a TSV by clip, in the order in which clips first come.

    Args:
        clip, start, end, label: names of its columns; a row without times says that nothing is heard.
    """
    found: dict[str, Events] = {}
    for where, row in read_table(path, "\t", quoted=False):
        _, events = found.setdefault(row[clip], (where, []))
        if row[start]:
            events.append(TimedLabel(row[label], float(row[start]), float(row[end])))
    return found


def walk_audioset_strong(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AudioSet's strong labels: a clip is named by its video and the millisecond at which it begins."""
    places = ("", "metadata/", "strong/")
    table = first_of(root, *(f"{place}audioset_{split.name}_strong.tsv" for place in places), what="table")
    spelt = first_of(root, *(f"{place}mid_to_display_name.tsv" for place in places), what="table")
    names = {row["mid"]: row["name"] for _, row in read_table(spelt, "\t", ("mid", "name"), quoted=False)}
    clips = clips_below(first_of(root, f"audio/{split.name}", "audio", split.name, "audios"))
    for name, (where, events) in read_events(table, "segment_id", "start_time_seconds", "end_time_seconds", "label").items():
        video, start_ms = name.rsplit("_", 1)
        unknown = sorted({event.label for event in events} - set(names))
        if unknown:
            yield Entry(f"{name}#{FAMILY}", "bad_row", where, f"{', '.join(unknown)}: not in {spelt.name}")
            continue
        heard = [TimedLabel(names[event.label], event.start_s, event.end_s) for event in events]
        yield timed_events(name, youtube_clip(clips, video, int(start_ms) / 1000), heard, where, {"youtube": video})


def walk_desed(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk DESED: rooms, mixed or real; the weak part has labels without times, and is sound event classification."""
    table, folders = DESED_PARTS[split.name]
    clips = clips_below(first_of(root, *(f"audio/{folder}" for folder in folders)))
    if split.name == "weak":
        yield from _desed_weak(root / "metadata" / table, clips)
        return
    kept_out = _desed_evaluation(root) if split.name == "strong" else set()
    for name, (where, events) in read_events(root / "metadata" / table, "filename", "onset", "offset", "event_label").items():
        source = Path(name).stem  # the synthetic tables may say .jams where the clip is .wav
        if _moment(source) in kept_out:
            yield Entry(f"{source}#{FAMILY}", "evaluation_split", where, "also a clip of DESED's validation or public evaluation")
            continue
        heard = [TimedLabel(words(event.label).lower(), event.start_s, event.end_s) for event in events]
        meta = {} if split.name == "synthetic" else {"youtube": _moment(source)[0]}
        yield timed_events(source, _desed_clip(clips, source), heard, where, meta)


def _desed_weak(table: Path, clips: Mapping[str, Path]) -> Iterator[Record | Entry]:
    for where, row in read_table(table, "\t", quoted=False):
        source = Path(row["filename"]).stem
        labels = [words(label).lower() for label in row["event_labels"].split(",") if label]
        clip = _desed_clip(clips, source) or table.parent / row["filename"]  # a name that is no file is accounted for
        yield sound_event(source, clip, labels, where, {"youtube": _moment(source)[0]})


def _desed_evaluation(root: Path) -> set[tuple[str, float]]:
    """Name the clips that DESED evaluates on: its strong labels of AudioSet cover some of them as well."""
    tables = [needed(root / "metadata" / DESED_PARTS["validation"][0], "table"), root / "metadata" / DESED_PARTS["public"][0]]
    return {_moment(row["filename"]) for path in tables if path.is_file() for _, row in read_table(path, "\t", quoted=False)}


def _desed_clip(clips: Mapping[str, Path], source: str) -> Path | None:
    return clips.get(source) or youtube_clip(clips, *_moment(source))


def _moment(name: str) -> tuple[str, float]:
    """Read video and first second of YOTsn73eqbfc_10.000_20.000.wav or of OTsn73eqbfc_10_20: copies differ in the Y and in the digits."""
    match = _REAL_CLIP.match(name)
    return (match["video"], float(match["start"])) if match else (name, 0.0)


def walk_urban_sed(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk URBAN-SED by its simple annotations: start, end, label, a file a clip."""
    top = root / "URBAN-SED_v2.0.0" if (root / "URBAN-SED_v2.0.0").is_dir() else root
    for path in sorted(needed(top / "annotations" / split.name, "folder").glob("*.txt")):
        rows = read_table(path, "\t", ("start", "end", "label"), quoted=False)
        heard = [TimedLabel(words(row["label"]), float(row["start"]), float(row["end"])) for _, row in rows]
        yield timed_events(path.stem, top / "audio" / split.name / f"{path.stem}.wav", heard, str(path), {})


RECIPES = (
    Recipe(
        name="audioset_strong",
        title="AudioSet, strong labels: 456 sounds with their times",
        source="https://research.google.com/audioset/download_strong.html",
        licence="labels CC BY 4.0; recordings belong to their uploaders",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("train", "train", 103_463, "the download page"),
            Split("eval", "test", 16_996, "the download page"),
        ),
        layout="audioset_{train,eval}_strong.tsv\nmid_to_display_name.tsv\n"
        "audio/{train,eval}/{video}_{start in ms}.wav, or named as for audioset",
        verified="download page: tables and their columns; the clips' names are users' own",
        walk=walk_audioset_strong,
        notes="Clips are AudioSet's: those of `eval` are of its evaluation set. WavCaps' AudioSet_SL and DESED's strong part are made of "
        "the same clips; meta has the video as `youtube`.",
    ),
    Recipe(
        name="desed",
        title="DESED, ten sounds of the home, mixed and real",
        source="https://github.com/turpaultn/DESED",
        licence="each clip its own, listed in the corpus' licence files",
        hours=None,
        languages=(),
        tasks=(FAMILY, "sound_event"),
        splits=(
            Split("synthetic", "train", 10_000, "README of the DCASE 2022 baseline (DCASE-REPO/DESED_task)"),
            Split(
                "strong", "train", 3_435, "3,470 clips in audioset_strong.tsv, 35 of them in validation, as counted by a user of the tables"
            ),
            Split("weak", "train", 1_578, "README of the corpus and of the DCASE 2022 baseline"),
            Split("validation", "dev", 1_168, "README of the corpus"),
            Split("public", "test", 692, "README of the corpus"),
        ),
        layout="metadata/{train,validation,eval}/**.tsv\naudio/train/{synthetic21_train/soundscapes,strong_label_real,weak}/*.wav\n"
        "audio/validation/validation/*.wav\naudio/eval/public/*.wav",
        verified="README of the corpus; configuration of the DCASE 2022 baseline (DCASE-REPO/DESED_task), table by table",
        walk=walk_desed,
        notes="The root is the folder that holds audio/ and metadata/ (dcase/dataset of the baseline). Real clips are AudioSet's, where "
        "they may be missing; rows of audioset_strong.tsv that are in the validation or public lists are kept out of training.",
    ),
    Recipe(
        name="urban_sed",
        title="URBAN-SED, mixed street scenes with the times of ten sounds",
        source="https://zenodo.org/record/1324404",
        licence="CC BY 4.0",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("train", "train", 6_000, "the corpus' description in soundata's loader"),
            Split("validate", "dev", 2_000, "the corpus' description in soundata's loader"),
            Split("test", "test", 2_000, "the corpus' description in soundata's loader"),
        ),
        layout="[URBAN-SED_v2.0.0/]annotations/{train,validate,test}/*.txt\n[URBAN-SED_v2.0.0/]audio/{train,validate,test}/*.wav",
        verified="loader of soundata (soundata/datasets/urbansed.py): annotation files; folders of audio by the archive's own naming",
        walk=walk_urban_sed,
        notes="Mixed of UrbanSound8K's folds: 1 to 6 in train, 7 and 8 in validate, 9 and 10 in test; urbansound8k divides alike.",
    ),
)
