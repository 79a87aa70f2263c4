"""Recipes of notes and instruments, on trees in the real layout."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.catalog import recipe
from qwen_audio.errors import DataError
from tag_schema.answers import Note
from tag_schema.tasks import TASKS

BASS: dict[str, Any] = {
    "note_str": "bass_synthetic_033-022-050", "instrument_str": "bass_synthetic_033", "instrument_family_str": "bass",
    "instrument_source_str": "synthetic", "pitch": 22, "velocity": 50, "qualities_str": ["dark", "nonlinear_env"],
}  # fmt: skip
LEAD = {**BASS, "note_str": "synth_lead_synthetic_001-060-127", "instrument_family_str": "synth_lead", "pitch": 60, "qualities_str": []}


def test_nsynth_writes_notes_in_the_released_form(tmp_path: Path) -> None:
    for row in (BASS, LEAD):
        clip(tmp_path / "nsynth-test/audio" / f"{row['note_str']}.wav")
    text(tmp_path / "nsynth-test/examples.json", {row["note_str"]: row for row in (BASS, LEAD)})
    records = walked("nsynth", tmp_path, "test")
    notes = [record.target for record in records if record.family == "note_analysis"]
    assert notes[0] == "<|pitch|><|midi_pitch_22|><|velocity|><|midi_velocity_50|><|instrument|>bass<|sonic|>dark, nonlinear_env"
    assert TASKS["note_analysis"].parse(notes[1]) == Note(60, 50, "synth_lead", ())
    assert [record.target for record in records if record.family == "instrument"] == ["bass", "synth lead"]


def test_a_note_without_its_sound_is_accounted_for(tmp_path: Path) -> None:
    text(tmp_path / "nsynth-valid/examples.json", {BASS["note_str"]: BASS})
    lost = entries("nsynth", tmp_path, "valid")
    assert [(row.id, row.reason) for row in lost] == [(BASS["note_str"], "no_file")]
    with pytest.raises(DataError, match=r"nsynth-train: no such folder"):
        list(recipe("nsynth").walk(tmp_path, recipe("nsynth").split("train")))


def test_nsynth_reads_the_same_from_parquet(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    sound = clip(tmp_path / "a.wav").read_bytes()
    rows = [{**row, "audio": {"bytes": sound, "path": f"{row['note_str']}.wav"}} for row in (BASS, LEAD)]
    (tmp_path / "data/test").mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data/test/test-0.parquet")
    records = walked("nsynth", tmp_path, "test", parquet=True)
    assert [record.meta["source"] for record in records] == [row["note_str"] for row in (BASS, BASS, LEAD, LEAD)]
    assert records[2].target.startswith("<|pitch|><|midi_pitch_60|>")


def test_tinysol_keeps_its_fourth_fold_for_testing(tmp_path: Path) -> None:
    header = (
        "Path,Fold,Family,Instrument (abbr.),Instrument (in full),Technique (abbr.),Technique (in full),"
        "Pitch,Pitch ID,Dynamics,Dynamics ID,Instance ID,String ID (if applicable),Needed digital retuning"
    )
    rows = [
        "Brass/Bass_Tuba/ordinario/BTb-ord-C3-ff-N-T18u.wav,0,Brass,BTb,Bass Tuba,ord,ordinario,C3,48,ff,4,0,,TRUE",
        "Strings/Violin/ordinario/Vn-ord-A4-mf-2c-N.wav,4,Strings,Vn,Violin,ord,ordinario,A4,69,mf,2,0,2.0,FALSE",
    ]
    text(tmp_path / "TinySOL_metadata.csv", "\n".join([header, *rows]) + "\n")
    for row in rows:
        clip(tmp_path / "TinySOL" / row.split(",")[0])
    assert {record.target for record in walked("tinysol", tmp_path, "train")} == {
        "<|pitch|><|midi_pitch_48|><|instrument|>Bass Tuba",
        "Bass Tuba",
    }
    assert {record.meta["source"] for record in walked("tinysol", tmp_path, "test")} == {"Vn-ord-A4-mf-2c-N"}


def test_medley_solos_db_finds_its_files_by_subset_instrument_and_number(tmp_path: Path) -> None:
    table = "subset,instrument,instrument_id,song_id,uuid4\ntest,clarinet,0,0,0e4371ac\ntraining,distorted electric guitar,1,7,6b3b7e2f\n"
    text(tmp_path / "Medley-solos-DB_metadata.csv", table)
    clip(tmp_path / "Medley-solos-DB/Medley-solos-DB_training-1_6b3b7e2f.wav")
    (record,) = walked("medley_solos_db", tmp_path, "training")
    assert (record.target, record.meta["song"]) == ("distorted electric guitar", "7")
    assert [row.reason for row in entries("medley_solos_db", tmp_path, "test")] == ["no_file"]


def test_irmas_tells_clarinet_from_classical(tmp_path: Path) -> None:
    clip(tmp_path / "IRMAS-TrainingData/cla/008__[cla][nod][cla]0058__1.wav", channels=2)
    clip(tmp_path / "IRMAS-TrainingData/gel/[gel][pop_roc]0829__2.wav", channels=2)
    found = {(record.family, record.target) for record in walked("irmas", tmp_path, "train")}
    assert found == {("instrument", "clarinet"), ("genre", "classical"), ("instrument", "electric guitar"), ("genre", "pop-rock")}
    clip(tmp_path / "IRMAS-TestingData-Part1/Part1/02 - And The Body Will Die-8.wav", channels=2)
    text(tmp_path / "IRMAS-TestingData-Part1/Part1/02 - And The Body Will Die-8.txt", "gel\t\nvoi\t\n")
    (test,) = walked("irmas", tmp_path, "test")
    assert test.target == "electric guitar; human singing voice"


def test_openmic_asks_what_its_listeners_were_asked(tmp_path: Path) -> None:
    table = "sample_key,instrument,relevance,num_responses\n000046_3840,mallet_percussion,0.1,3\n000046_3840,organ,0.9,3\n"
    text(tmp_path / "openmic-2018-aggregated-labels.csv", table)
    text(tmp_path / "partitions/split01_train.csv", "000046_3840\n000135_483840\n")
    clip(tmp_path / "audio/000/000046_3840.ogg", rate=48_000)
    lost = entries("openmic2018", tmp_path, "train")
    assert [(row.id, row.reason) for row in lost] == [("000135_483840", "no_file")]
    text(tmp_path / "partitions/split01_train.csv", "000046_3840\n")
    records = walked("openmic2018", tmp_path, "train")
    assert [record.target for record in records if record.family == "instrument"] == ["organ"]
    asked = {record.prefix.question: record.target for record in records if record.prefix and record.family == "music_qa"}
    assert asked == {"Can mallet percussion be heard in this music?": "no", "Can an organ be heard in this music?": "yes"}


def test_a_table_that_is_no_json_is_named(tmp_path: Path) -> None:
    clip(tmp_path / "nsynth-test/audio/x.wav")
    text(tmp_path / "nsynth-test/examples.json", json.dumps({"x": BASS})[:-5])
    with pytest.raises(DataError, match=r"examples\.json: not JSON"):
        walked("nsynth", tmp_path, "test")
