"""Recipes of sound events, with and without times, on trees in the real layouts."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.catalog import CATALOG
from data.manifest import Record
from data.recipes.clip_folders import youtube_clip
from qwen_audio.errors import DataError
from tag_schema.answers import TimedLabel, read_labels, read_timed_labels

ESC50 = "filename,fold,target,category,esc10,src_file,take\n"
ONTOLOGY = [{"id": "/m/03v3yw", "name": "Keys jangling"}, {"id": "/m/0k4j", "name": "Car"}, {"id": "/m/053hz1", "name": "Cheering"}]


def test_esc50_divides_by_fold_and_names_the_freesound_recording(tmp_path: Path) -> None:
    rows = "1-100032-A-0.wav,1,0,dog,True,100032,A\n5-9032-A-14.wav,5,14,chirping_birds,False,9032,A\n4-1-A-0.wav,4,0,dog,True,1,A\n"
    text(tmp_path / "meta" / "esc50.csv", ESC50 + rows)
    for name in ("1-100032-A-0", "5-9032-A-14"):
        clip(tmp_path / "audio" / f"{name}.wav")
    (train,), (test,) = walked("esc50", tmp_path, "train"), walked("esc50", tmp_path, "test")
    assert (train.target, train.meta["source"], train.meta["freesound"]) == ("dog", "1-100032-A-0", "100032")
    assert (test.target, test.meta["fold"]) == ("chirping birds", "5")
    assert [entry.reason for entry in entries("esc50", tmp_path, "dev")] == ["no_file"]


def test_esc10_is_the_same_from_its_first_tree_and_from_esc50(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, name in (("006 - Person sneeze", "1-26143-A"), ("001 - Dog bark", "5-203128-A")):
        clip(first / folder / f"{name}.ogg")
    rows = (
        "1-26143-A-21.wav,1,21,sneezing,True,26143,A\n5-203128-A-0.wav,5,0,dog,True,203128,A\n1-1-A-14.wav,1,14,chirping_birds,False,1,A\n"
    )
    text(second / "meta" / "esc50.csv", ESC50 + rows)
    for name in ("1-26143-A-21", "5-203128-A-0", "1-1-A-14"):
        clip(second / "audio" / f"{name}.wav")
    for split, expected in (("train", ("1-26143-A", "sneeze")), ("test", ("5-203128-A", "dog bark")), ("dev", None)):
        for root in (first, second):
            found = [(record.meta["source"], record.target) for record in walked("esc10", root, split)]
            assert found == ([expected] if expected else [])


def test_a_folder_that_is_not_the_corpus_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="001 - Dog bark: no such folder"):
        walked("esc10", tmp_path, "train")


def test_urbansound8k_divides_its_folds_as_urban_sed_does(tmp_path: Path) -> None:
    head = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    rows = "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n100263-2-0-117.wav,100263,58.5,62.5,1,9,2,children_playing\n"
    text(tmp_path / "metadata" / "UrbanSound8K.csv", head + rows)
    clip(tmp_path / "audio" / "fold5" / "100032-3-0-0.wav")
    clip(tmp_path / "audio" / "fold9" / "100263-2-0-117.wav")
    assert [record.target for record in walked("urbansound8k", tmp_path, "train")] == ["dog bark"]
    assert [record.target for record in walked("urbansound8k", tmp_path, "test")] == ["children playing"]


def test_fsd50k_takes_train_and_val_from_one_table_and_eval_from_the_other(tmp_path: Path) -> None:
    truth = tmp_path / "FSD50K.ground_truth"
    text(
        truth / "dev.csv",
        'fname,labels,mids,split\n64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train\n7,Bark,/m/05tny_,val\n',
    )
    text(truth / "eval.csv", "fname,labels,mids\n37199,Electric_guitar,/m/02sgy\n")
    for name in ("dev_audio/64760", "dev_audio/7", "eval_audio/37199"):
        clip(tmp_path / f"FSD50K.{name}.wav")
    (train,), (val,), (test,) = (walked("fsd50k", tmp_path, split) for split in ("train", "val", "eval"))
    assert train.target == "Electric guitar; Guitar; Music" and train.meta["freesound"] == "64760"
    assert train.prefix is not None and train.prefix.instruction == "audioset_ontology"
    assert (val.target, test.meta["source"]) == ("Bark", "37199")


def segments(*rows: str) -> str:
    return "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n" + "".join(
        f"{row}\n" for row in rows
    )


def test_audioset_finds_clips_however_they_are_named(tmp_path: Path) -> None:
    videos = ["-0RWZT-miFs", "--4gqARaEJE", "--BfvyPmVMo", "--U7joUcTCo"]
    rows = [f'{video}, 30.000, 40.000, "/m/03v3yw,/m/0k4j"' for video in videos]
    text(tmp_path / "metadata" / "balanced_train_segments.csv", segments(*rows))
    text(tmp_path / "ontology.json", ONTOLOGY)
    folder = tmp_path / "audios" / "balanced_train_segments"
    for name in ("Y-0RWZT-miFs", "part/--4gqARaEJE_30", "--BfvyPmVMo_30.000_40.000"):
        clip(folder / f"{name}.wav")
    records = walked_without_lost("audioset", tmp_path, "balanced_train")
    assert {read_labels(target) for target in records.values()} == {("Keys jangling", "Car")}
    assert sorted(records) == sorted(f"{video}_30" for video in videos[:3])
    (lost,) = entries("audioset", tmp_path, "balanced_train")
    assert (lost.reason, lost.where.rsplit(":", 1)[-1]) == ("no_file", "7")


def walked_without_lost(name: str, root: Path, split: str) -> dict[str, str]:
    recipe = CATALOG[name]
    rows = recipe.walk(root, recipe.split(split))
    return {row.meta["source"]: row.target for row in rows if isinstance(row, Record)}


def test_audioset_accounts_for_classes_that_the_ontology_lacks(tmp_path: Path) -> None:
    text(tmp_path / "eval_segments.csv", segments('-0RWZT-miFs, 30.000, 40.000, "/m/nothing"'))
    text(tmp_path / "class_labels_indices.csv", 'index,mid,display_name\n0,/m/0k4j,"Car"\n')
    clip(tmp_path / "audio" / "eval" / "-0RWZT-miFs.flac")
    assert [entry.reason for entry in entries("audioset", tmp_path, "eval")] == ["bad_row"]


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


def test_audiosets_parquet_copy_gives_the_names_as_they_stand(tmp_path: Path) -> None:
    sound = clip(tmp_path / "a.flac").read_bytes()
    rows = [
        {"video_id": video, "audio": {"bytes": sound, "path": "a.flac"}, "labels": ids, "human_labels": names}
        for video, ids, names in (
            ("--PJHxphWEs", ["/m/09x0r", "/t/dd00088"], ["Speech", "Gush"]),
            ("--ZhevVpy1s", ["/m/012xff"], ["Toothbrush"]),
        )
    ]
    file = write_parquet(tmp_path / "data" / "bal_train" / "00.parquet", rows)
    records = walked("audioset", tmp_path, "balanced_train", parquet=True)
    assert [record.target for record in records] == ["Speech; Gush", "Toothbrush"]
    assert records[1].audio[0].path == f"{file}/1"


def test_a_parquet_copy_that_holds_all_folds_gives_each_split_its_own(tmp_path: Path) -> None:
    sound = {"bytes": clip(tmp_path / "a.wav").read_bytes(), "path": "a.wav"}
    rows = [
        {
            "filename": "1-100032-A-0.wav",
            "fold": 1,
            "target": 0,
            "category": "dog",
            "esc10": True,
            "src_file": 100032,
            "take": "A",
            "audio": sound,
        },
        {
            "filename": "5-9032-A-14.wav",
            "fold": 5,
            "target": 14,
            "category": "chirping_birds",
            "esc10": False,
            "src_file": 9032,
            "take": "A",
            "audio": sound,
        },
    ]
    write_parquet(tmp_path / "esc" / "data" / "train-00000-of-00002.parquet", rows)
    urban = [
        {"audio": sound, "slice_file_name": f"7-0-0-{fold}.wav", "fsID": 7, "salience": 1, "fold": fold, "class": "gun_shot"}
        for fold in (6, 8)
    ]
    write_parquet(tmp_path / "urban" / "data" / "train-00000-of-00016.parquet", urban)
    found = {
        (name, split): [record.target for record in walked(name, tmp_path / folder, split, parquet=True)]
        for name, folder in (("esc50", "esc"), ("esc10", "esc"), ("urbansound8k", "urban"))
        for split in ("train", "dev", "test")
    }
    assert {key: targets for key, targets in found.items() if targets} == {
        ("esc50", "train"): ["dog"],
        ("esc50", "test"): ["chirping birds"],
        ("esc10", "train"): ["dog bark"],
        ("urbansound8k", "train"): ["gun shot"],
        ("urbansound8k", "dev"): ["gun shot"],
    }


def test_a_clip_of_a_video_is_told_from_another_of_the_same(tmp_path: Path) -> None:
    clips = {"s9d-2nhuJCQ_30000": tmp_path / "a", "s9d-2nhuJCQ_120000": tmp_path / "b", "Ys9d-2nhuJCQ_7.000_17.000": tmp_path / "c"}
    assert [youtube_clip(clips, "s9d-2nhuJCQ", start) for start in (30.0, 120.0, 7.0, 8.0)] == [
        tmp_path / "a",
        tmp_path / "b",
        tmp_path / "c",
        None,
    ]


def test_strong_labels_are_written_by_name_and_by_start(tmp_path: Path) -> None:
    head = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    rows = "s9d-2nhuJCQ_30000\t2.627\t7.237\t/m/053hz1\nb0RFKhbpFJA_30000\t0.000\t10.000\t/m/0k4j\ns9d-2nhuJCQ_30000\t0.5\t9.0\t/m/0k4j\n"
    text(tmp_path / "audioset_eval_strong.tsv", head + rows)
    text(tmp_path / "mid_to_display_name.tsv", "/m/053hz1\tCheering\n/m/0k4j\tCar\n")
    for name in ("s9d-2nhuJCQ_30000", "b0RFKhbpFJA_30"):
        clip(tmp_path / "audio" / "eval" / f"{name}.wav")
    first, second = walked("audioset_strong", tmp_path, "eval")
    assert first.target == "Car<|0.50|><|9.00|>Cheering<|2.63|><|7.24|>" and first.meta["youtube"] == "s9d-2nhuJCQ"
    assert read_timed_labels(second.target) == (TimedLabel("Car", 0.0, 10.0),)
    assert first.prefix is not None and first.prefix.timestamps


def test_desed_keeps_its_evaluation_clips_out_of_training(tmp_path: Path) -> None:
    head = "filename\tonset\toffset\tevent_label\n"
    tables = tmp_path / "metadata"
    strong = "YKK227gPpRn4_30.000_40.000.wav\t0.0\t2.1\tSpeech\nY--4gqARaEJE_10.000_20.000.wav\t1.0\t2.0\tRunning_water\n"
    text(tables / "train" / "audioset_strong.tsv", head + strong)
    text(tables / "validation" / "validation.tsv", head + "YKK227gPpRn4_30.000_40.000.wav\t0.0\t2.1\tSpeech\n")
    text(tables / "eval" / "public.tsv", head + "1Ro0FgMWTUE_120_130.wav\t\t\t\n")
    for name in (
        "train/strong_label_real/Y--4gqARaEJE_10.000_20.000",
        "validation/validation/YKK227gPpRn4_30.000_40.000",
        "eval/public/1Ro0FgMWTUE_120_130",
    ):
        clip(tmp_path / "audio" / f"{name}.wav")
    (lost,) = entries("desed", tmp_path, "strong")
    assert (lost.reason, lost.id) == ("evaluation_split", "YKK227gPpRn4_30.000_40.000#sound_event_detection")
    assert walked_without_lost("desed", tmp_path, "strong") == {"Y--4gqARaEJE_10.000_20.000": "running water<|1.00|><|2.00|>"}
    (silent,) = walked("desed", tmp_path, "public")
    assert silent.target == "<|sil|>" and silent.meta["youtube"] == "1Ro0FgMWTUE"
    assert len(walked("desed", tmp_path, "validation")) == 1


def test_desed_names_mixed_clips_by_number_and_weak_ones_without_times(tmp_path: Path) -> None:
    tables = tmp_path / "metadata" / "train"
    text(
        tables / "synthetic21_train" / "soundscapes.tsv",
        "filename\tonset\toffset\tevent_label\n1.jams\t0.1\t9.0\tElectric_shaver_toothbrush\n",
    )
    text(tables / "weak.tsv", "filename\tevent_labels\nY-BJNMHMZDcU_50.000_60.000.wav\tAlarm_bell_ringing,Dog\n")
    clip(tmp_path / "audio" / "train" / "synthetic21_train" / "soundscapes" / "1.wav")
    clip(tmp_path / "audio" / "train" / "weak" / "Y-BJNMHMZDcU_50.000_60.000.wav")
    (mixed,), (weak,) = walked("desed", tmp_path, "synthetic"), walked("desed", tmp_path, "weak")
    assert mixed.target == "electric shaver toothbrush<|0.10|><|9.00|>" and "youtube" not in mixed.meta
    assert (weak.family, weak.target, weak.meta["youtube"]) == ("sound_event", "alarm bell ringing; dog", "-BJNMHMZDcU")


def test_times_that_run_backwards_are_accounted_for(tmp_path: Path) -> None:
    for name, rows in (
        ("soundscape_train_bimodal0", "0.5\t1.5\tdog_bark\n0.2\t4.0\tcar_horn\n"),
        ("soundscape_train_bimodal1", "3.0\t2.0\tsiren\n"),
    ):
        text(tmp_path / "annotations" / "train" / f"{name}.txt", rows)
        clip(tmp_path / "audio" / "train" / f"{name}.wav")
    assert list(walked_without_lost("urban_sed", tmp_path, "train").values()) == ["car horn<|0.20|><|4.00|>dog bark<|0.50|><|1.50|>"]
    (lost,) = entries("urban_sed", tmp_path, "train")
    assert lost.reason == "bad_row" and "before its start" in lost.detail
