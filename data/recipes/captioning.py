"""Walk sets of sounds described in sentences."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.clip_folders import clips_below, first_of, youtube_clip
from data.recipes.walking import needed, read_json, read_lines, read_table, tagged
from qwen_audio.errors import DataError

FAMILY = "audio_caption"
CLOTHO, AUDIOCAPS, PLAIN = "caption_clotho", "caption_audiocaps", "caption_plain"
WAVCAPS_FILES = {"AudioSet_SL": "as_final", "BBC_Sound_Effects": "bbc_final", "FreeSound": "fsd_final", "SoundBible": "sb_final"}
# Of WavCaps' three lists, those of clips that others evaluate on; the third has AudioCaps' and Clotho's training clips too.
WAVCAPS_BLACKLISTS = ("blacklist_exclude_test_ac.json", "blacklist_exclude_ub8k_esc50_vggsound.json")
WAVCAPS_INSIDE = "mnt/fast/nobackup/scratch4weeks/xm00178/WavCaps/data/waveforms"  # the folders that its archives unpack to


def captioned(
    split: Split, source: str, audio: Path | None, captions: Sequence[str], where: str, meta: Mapping[str, Any], style: str
) -> Iterator[Record | Entry]:
    """Make a record of each caption for training; for evaluation one record that has them all as references."""
    if audio is None or not audio.is_file():
        yield Entry(f"{source}#{FAMILY}", "no_file", where, str(audio or ""))
    elif split.role == "train":
        for number, caption in enumerate(captions):
            yield tagged(source, audio, FAMILY, caption, where=where, meta=meta, number=number, instruction=style)
    else:
        kept = [" ".join(caption.split()) for caption in captions if caption.strip()]
        yield tagged(source, audio, FAMILY, kept[0] if kept else "", where=where, meta=meta, references=kept, instruction=style)


def walk_clotho(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Clotho 2.1: five captions a clip; the Freesound number and the clip's licence come from the table beside, where it is there."""
    folder = first_of(root, split.name, f"clotho_audio_files/{split.name}", f"clotho_audio_{split.name}")
    tables = root / "clotho_csv_files" if (root / "clotho_csv_files").is_dir() else root
    about = _clotho_metadata(tables / f"clotho_metadata_{split.name}.csv")
    for where, row in read_table(tables / f"clotho_captions_{split.name}.csv"):
        name = row["file_name"].strip()
        captions = [row[f"caption_{number}"] for number in range(1, 6)]
        yield from captioned(split, name, folder / name, captions, where, about.get(name, {}), CLOTHO)


def _clotho_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Map file names to Freesound number and licence; the table is in Latin-1, unlike the captions. Empty where there is none."""
    if not path.is_file():
        return {}
    with path.open(encoding="iso-8859-1", newline="") as lines:
        rows = csv.DictReader(lines)
        return {
            row["file_name"].strip(): {"freesound": row.get("sound_id") or "", "clip_licence": row.get("license") or ""} for row in rows
        }


def walk_audiocaps(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AudioCaps by its table: one caption a clip in train, five rows a clip in val and test."""
    table = first_of(root, f"{split.name}.csv", f"dataset/{split.name}.csv", what="table")
    clips = clips_below(first_of(root, f"audio_32000Hz/{split.name}", f"audio/{split.name}", split.name, "audio"))
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for where, row in read_table(table):
        found.setdefault((row["youtube_id"], row["start_time"]), (where, []))[1].append(row["caption"])
    for (video, start), (where, captions) in found.items():
        clip = youtube_clip(clips, video, float(start))
        yield from captioned(split, f"{video}_{start}", clip, captions, where, {"youtube": video}, AUDIOCAPS)


def read_audiocaps_row(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the hub's copy of AudioCaps: audiocap_id, youtube_id, start_time, audio, caption."""
    source, meta = f"{row['youtube_id']}_{row['start_time']}", {"youtube": row["youtube_id"]}
    yield tagged(source, audio, FAMILY, row["caption"], where=where, meta=meta, instruction=AUDIOCAPS)


def walk_wavcaps(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk one source of WavCaps; clips that other corpora evaluate on are kept out, as WavCaps' own lists say."""
    tables = first_of(root, "json_files", "data/json_files")
    path = tables / split.name / f"{WAVCAPS_FILES[split.name]}.json"
    content = read_json(path)
    rows = content["data"] if isinstance(content, dict) else content
    kept_out = _wavcaps_evaluation(root, tables, split.name)
    folder = _wavcaps_folder(root, split.name)
    for number, row in enumerate(rows):
        name, where = _stem(str(row["id"])), f"{path}:[{number}]"
        source = f"{split.name}/{name}"
        if name in kept_out:
            yield Entry(f"{source}#{FAMILY}", "evaluation_split", where, f"named by {kept_out[name]}")
            continue
        origin = {"AudioSet_SL": "youtube", "FreeSound": "freesound"}.get(split.name)
        meta = {origin: name.removeprefix("Y") if origin == "youtube" else name} if origin else {}
        yield from captioned(split, source, folder / f"{name}.flac", [row["caption"] or ""], where, meta, PLAIN)


def _wavcaps_evaluation(root: Path, tables: Path, part: str) -> dict[str, str]:
    """Map the clips that must not be trained on to the list that says so.

    Raises:
        DataError: the lists are not there, though this source needs them.
    """
    key = {"AudioSet_SL": "AudioSet", "FreeSound": "FreeSound"}.get(part)
    if key is None:
        return {}
    found: dict[str, str] = {}
    for name in WAVCAPS_BLACKLISTS:
        path = needed(tables / "blacklist" / name, "list of clips that others evaluate on; it comes with WavCaps")
        found |= dict.fromkeys(map(_stem, map(str, read_json(path)[key])), name)
    if part == "AudioSet_SL":  # it has more clips than AudioSet's strong training set: some are of the evaluation set
        for name in ("audioset_eval_strong.tsv", "eval_segments.csv"):
            if (root / name).is_file():
                found |= {"Y" + line[:11]: name for _, line in read_lines(root / name) if not line.startswith("#")}
    return found


def _stem(name: str) -> str:
    return name.removesuffix(".wav").removesuffix(".flac")


def _wavcaps_folder(root: Path, part: str) -> Path:
    inside = f"{WAVCAPS_INSIDE}/{part}_flac"
    return first_of(root, f"{part}_flac", f"Audio/{part}", f"waveforms/{part}_flac", f"Zip_files/{part}/{inside}", inside)


def walk_macs(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MACS: two to five captions a clip of TAU Urban Acoustic Scenes 2019, whose test clips are kept out where its table is there."""
    try:
        rows = yaml.safe_load(needed(root / "MACS.yaml").read_text(encoding="utf-8"))["files"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(f"{root / 'MACS.yaml'}: expected a YAML file with a list `files` ({error})") from error
    tau = "TAU-urban-acoustic-scenes-2019-development"
    folder = first_of(root, "audio", f"{tau}/audio")
    test = root / tau / "evaluation_setup" / "fold1_evaluate.csv"
    kept_out = {Path(row["filename"]).name for _, row in read_table(test, "\t", quoted=False)} if test.is_file() else set()
    for number, row in enumerate(rows):
        name, where = row["filename"], f"{root / 'MACS.yaml'}:files[{number}]"
        if name in kept_out:
            yield Entry(f"{name}#{FAMILY}", "evaluation_split", where, f"named by {test.name} of TAU Urban Acoustic Scenes")
            continue
        captions = [note["sentence"] for note in row["annotations"]]
        yield from captioned(split, Path(name).stem, folder / name, captions, where, {}, PLAIN)


RECIPES = (
    Recipe(
        name="clotho",
        title="Clotho 2.1, sounds of 15 to 30 s with five captions each",
        source="https://zenodo.org/record/4783391",
        licence="captions: Tampere University, non-commercial; clips Creative Commons, each its own",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("development", "train", 3_839, "the corpus' description in soundata's loader, version 2.1"),
            Split("validation", "dev", 1_045, "the corpus' description in soundata's loader, version 2.1"),
            Split("evaluation", "test", 1_045, "the corpus' description in soundata's loader, version 2.1"),
        ),
        layout="clotho_captions_{development,validation,evaluation}.csv\n"
        "clotho_metadata_{development,validation,evaluation}.csv (optional)\n"
        "{development,validation,evaluation}/*.wav, also below clotho_audio_files/",
        verified="loaders of aac-datasets (functional/clotho.py) and soundata (soundata/datasets/clotho.py)",
        walk=walk_clotho,
        notes="Clips are of Freesound: with the metadata tables meta has `freesound`, the number by which FSD50K, WavCaps, ESC-50 and "
        "UrbanSound8K name theirs too. ClothoAQA asks about clips of Clotho by its own division: do not train on the one to test on the "
        "other.",
    ),
    Recipe(
        name="audiocaps",
        title="AudioCaps 1, ten-second clips of AudioSet with captions",
        source="https://github.com/cdjkim/audiocaps",
        licence="captions for academic use; recordings belong to their uploaders",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("train", "train", 49_838, "README of aac-datasets; card of d0rj/audiocaps"),
            Split("val", "dev", 495, "card of d0rj/audiocaps: 2,475 captions, five a clip"),
            Split("test", "test", 975, "card of d0rj/audiocaps: 4,875 captions, five a clip"),
        ),
        layout="[dataset/]{train,val,test}.csv\naudio/{train,val,test}/{video}_{start}.wav, or {video}.wav, also below audio_32000Hz/",
        verified="loader of aac-datasets (functional/audiocaps.py): columns, folders, names",
        walk=walk_audiocaps,
        parquet=Parquet(
            hub="jp1924/AudioCaps",
            files={"train": "data/train-*.parquet"},
            read_row=read_audiocaps_row,
            verified="card of the copy; it has 45,087 of the clips",
        ),
        notes="Clips are AudioSet's (meta `youtube`), WavCaps' AudioSet_SL has some of them. The hub's copy has a row a caption, so that "
        "its val and test would score against one reference instead of five: evaluate from the tables. Videos vanish; those missing are "
        "in the account.",
    ),
    Recipe(
        name="wavcaps",
        title="WavCaps, sounds of four sources with captions written by a language model",
        source="https://huggingface.co/datasets/cvssp/WavCaps",
        licence="academic use; clips under the terms of their sources",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("AudioSet_SL", "train"),
            Split("BBC_Sound_Effects", "train", 31_201, "aac-datasets (functional/wavcaps.py)"),
            Split("FreeSound", "train"),
            Split("SoundBible", "train", 1_232, "card of the corpus"),
        ),
        layout="json_files/{AudioSet_SL/as_final,BBC_Sound_Effects/bbc_final,FreeSound/fsd_final,SoundBible/sb_final}.json\n"
        "json_files/blacklist/*.json\n{source}_flac/{id}.flac, also where the archives unpack it or below Audio/",
        verified="card and README of the corpus; loader of aac-datasets; recipes that read the unpacked archives",
        walk=walk_wavcaps,
        notes="There is no evaluation split. Clips that AudioCaps, Clotho, ESC-50, UrbanSound8K or VGGSound evaluate on are kept out by "
        "the corpus' lists, without which AudioSet_SL (108,317 before that) and FreeSound (262,300) are not read. AudioSet_SL has more "
        "clips than AudioSet's strong training set: put audioset_eval_strong.tsv or eval_segments.csv beside json_files and its "
        "evaluation clips are kept out too. Many clips of FreeSound and BBC are longer than 30 s.",
    ),
    Recipe(
        name="macs",
        title="MACS, airports, parks and squares described by several people",
        source="https://zenodo.org/record/5114771",
        licence="LICENSE.txt of the corpus; recordings non-commercial, Tampere University",
        hours=10.9,
        languages=(),
        tasks=(FAMILY,),
        splits=(Split("full", "train", 3_930, "README of aac-datasets"),),
        layout="MACS.yaml\naudio/*.wav, or TAU-urban-acoustic-scenes-2019-development/audio/*.wav\n"
        "TAU-urban-acoustic-scenes-2019-development/evaluation_setup/fold1_evaluate.csv (optional: those clips are kept out)",
        verified="loader of aac-datasets (functional/macs.py)",
        walk=walk_macs,
        notes="There is no official division. Clips are of TAU Urban Acoustic Scenes 2019, which TAU 2020 and 2022 contain.",
    ),
)
