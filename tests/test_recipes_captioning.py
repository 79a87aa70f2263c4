"""Recipes of captions of sounds, on trees in the real layouts."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.catalog import CATALOG
from data.manifest import Record
from data.recipes.captioning import WAVCAPS_INSIDE
from qwen_audio.errors import DataError

HEAD = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"


def kept(name: str, root: Path, split: str) -> list[Record]:
    recipe = CATALOG[name]
    return [row for row in recipe.walk(root, recipe.split(split)) if isinstance(row, Record)]


def test_clotho_trains_on_each_caption_and_evaluates_against_all_five(tmp_path: Path) -> None:
    row = 'Distorted AM Radio noise.wav,"A muddled noise, of broken channel.",Two.,Three.,Four.,Five.\n'
    for split in ("development", "evaluation"):
        text(tmp_path / f"clotho_captions_{split}.csv", HEAD + row)
        clip(tmp_path / split / "Distorted AM Radio noise.wav")
    train, (test,) = walked("clotho", tmp_path, "development"), walked("clotho", tmp_path, "evaluation")
    assert [record.target for record in train] == ["A muddled noise, of broken channel.", "Two.", "Three.", "Four.", "Five."]
    assert {record.references for record in train} == {()}
    assert (test.target, len(test.references), test.meta["source"]) == (train[0].target, 5, "Distorted AM Radio noise.wav")
    assert test.prefix is not None and test.prefix.instruction == "caption_clotho"


def test_clotho_takes_the_freesound_number_from_a_table_in_latin_1(tmp_path: Path) -> None:
    text(tmp_path / "clotho_captions_validation.csv", HEAD + "a.wav,One.,Two.,Three.,Four.,Five.\n")
    head = "file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n"
    (tmp_path / "clotho_metadata_validation.csv").write_bytes((head + 'a.wav,caf\xe9,135805,u,"[0, 1]",m,CC0\n').encode("latin-1"))
    clip(tmp_path / "clotho_audio_files" / "validation" / "a.wav")
    (record,) = walked("clotho", tmp_path, "validation")
    assert (record.meta["freesound"], record.meta["clip_licence"]) == ("135805", "CC0")


def test_audiocaps_gathers_the_five_captions_of_a_clip_for_evaluation(tmp_path: Path) -> None:
    head = "audiocap_id,youtube_id,start_time,caption\n"
    captions = "".join(f"{100 + n},7fmOlUlwoNg,30,Caption {n}\n{200 + n},6BJ455B1aAs,0,Other {n}\n" for n in range(5))
    text(tmp_path / "dataset" / "test.csv", head + captions)
    text(tmp_path / "dataset" / "train.csv", head + "91139,r1nicOVtvkQ,130,A woman talks\n58146,UDGBjjwyaqE,20,Clicking\n")
    for name in ("test/7fmOlUlwoNg_30", "test/Y6BJ455B1aAs", "train/r1nicOVtvkQ_130"):
        clip(tmp_path / "audio" / f"{name}.wav")
    first, second = walked("audiocaps", tmp_path, "test")
    assert first.references == tuple(f"Caption {n}" for n in range(5)) and second.meta["youtube"] == "6BJ455B1aAs"
    assert [record.target for record in kept("audiocaps", tmp_path, "train")] == ["A woman talks"]
    assert [entry.reason for entry in entries("audiocaps", tmp_path, "train")] == ["no_file"]


def test_audiocaps_parquet_copy_is_for_training_alone(tmp_path: Path) -> None:
    sound = clip(tmp_path / "a.wav").read_bytes()
    rows = {
        "audiocap_id": [91139, 58146],
        "youtube_id": ["r1nicOVtvkQ", "UDGBjjwyaqE"],
        "start_time": [130, 20],
        "audio": [{"bytes": sound, "path": "a.wav"}] * 2,
        "caption": ["A woman talks", "Clicking"],
    }
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "data" / "train-00000-of-00001.parquet")
    records = walked("audiocaps", tmp_path, "train", parquet=True)
    assert [(record.meta["source"], record.target) for record in records] == [
        ("r1nicOVtvkQ_130", "A woman talks"),
        ("UDGBjjwyaqE_20", "Clicking"),
    ]
    with pytest.raises(DataError, match="no parquet files are known for the split test"):
        walked("audiocaps", tmp_path, "test", parquet=True)


def wavcaps_tree(root: Path) -> None:
    tables = root / "json_files"
    rows = [
        {"id": "Yr1nicOVtvkQ.wav", "caption": "A sound.", "duration": 10.0},
        {"id": "YUDGBjjwyaqE.wav", "caption": "Another.", "duration": 10.0},
    ]
    text(
        tables / "AudioSet_SL" / "as_final.json",
        {"num_captions_per_audio": 1, "data": [*rows, {"id": "Y3eJ9RynJzP8.wav", "caption": "Third."}]},
    )
    text(tables / "SoundBible" / "sb_final.json", [{"id": "2219", "caption": "An airplane is landing.", "duration": 14.1}])
    for name in ("Yr1nicOVtvkQ", "YUDGBjjwyaqE", "Y3eJ9RynJzP8"):
        clip(root / "AudioSet_SL_flac" / f"{name}.flac")
    clip(root / "Zip_files" / "SoundBible" / WAVCAPS_INSIDE / "SoundBible_flac" / "2219.flac")


def test_wavcaps_keeps_out_what_others_evaluate_on(tmp_path: Path) -> None:
    wavcaps_tree(tmp_path)
    lists = tmp_path / "json_files" / "blacklist"
    text(lists / "blacklist_exclude_test_ac.json", {"AudioSet": ["Yr1nicOVtvkQ.wav"], "FreeSound": []})
    text(lists / "blacklist_exclude_ub8k_esc50_vggsound.json", {"AudioSet": [], "FreeSound": []})
    text(
        tmp_path / "audioset_eval_strong.tsv", "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n3eJ9RynJzP8_30000\t0\t1\t/m/0k4j\n"
    )
    assert [(record.meta["youtube"], record.target) for record in kept("wavcaps", tmp_path, "AudioSet_SL")] == [("UDGBjjwyaqE", "Another.")]
    lost = entries("wavcaps", tmp_path, "AudioSet_SL")
    assert [entry.reason for entry in lost] == ["evaluation_split"] * 2
    assert "blacklist_exclude_test_ac.json" in lost[0].detail and "audioset_eval_strong.tsv" in lost[1].detail


def test_wavcaps_is_not_read_without_the_lists_that_its_source_needs(tmp_path: Path) -> None:
    wavcaps_tree(tmp_path)
    with pytest.raises(DataError, match=r"blacklist_exclude_test_ac\.json"):
        kept("wavcaps", tmp_path, "AudioSet_SL")
    (record,) = walked("wavcaps", tmp_path, "SoundBible")  # nobody evaluates on SoundBible
    assert record.target == "An airplane is landing." and record.prefix is not None and record.prefix.instruction == "caption_plain"


def test_macs_has_a_record_a_caption_and_leaves_out_the_test_clips_of_tau(tmp_path: Path) -> None:
    notes = "  annotations:\n  - annotator_id: 1\n    sentence: {}\n    tags: [birds_singing]\n"
    files = [("airport-barcelona-0-0-a.wav", "people talk"), ("park-lyon-1-1-a.wav", "birds sing")]
    text(tmp_path / "MACS.yaml", "files:\n" + "".join(f"- filename: {name}\n{notes.format(said)}" for name, said in files))
    tau = tmp_path / "TAU-urban-acoustic-scenes-2019-development"
    text(tau / "evaluation_setup" / "fold1_evaluate.csv", "filename\tscene_label\naudio/park-lyon-1-1-a.wav\tpark\n")
    for name, _ in files:
        clip(tau / "audio" / name)
    assert [(record.meta["source"], record.target) for record in kept("macs", tmp_path, "full")] == [
        ("airport-barcelona-0-0-a", "people talk")
    ]
    assert [entry.reason for entry in entries("macs", tmp_path, "full")] == ["evaluation_split"]
