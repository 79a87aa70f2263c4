"""Recipes of vocal sounds, on trees in the real layouts."""

from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked


@pytest.mark.parametrize("header", ["", "spk_id,gender,age,country,native language,health condition\n"])
def test_vocalsound_gives_sound_sex_and_age(tmp_path: Path, header: str) -> None:
    rows = [
        {"wav": "/elsewhere/audio_16k/f0003_0_cough.wav", "labels": "/m/01b_21", "spk_id": "f0003"},
        {"wav": "/elsewhere/audio_16k/m0120_0_throatclearing.wav", "labels": "/m/0dl9sf8", "spk_id": "m0120"},
    ]
    text(tmp_path / "data" / "datafiles" / "te.json", {"data": rows})
    text(tmp_path / "data" / "meta" / "te_meta.csv", f"{header}f0003,female,27,United States,English,no\n")
    clip(tmp_path / "data" / "audio_16k" / "f0003_0_cough.wav")
    (lost,) = entries("vocalsound", tmp_path, "te")
    assert (lost.id, lost.reason) == ("m0120_0_throatclearing", "no_file")
    clip(tmp_path / "data" / "audio_16k" / "m0120_0_throatclearing.wav")
    records = walked("vocalsound", tmp_path, "te")
    assert [(record.meta["source"], record.family, record.target) for record in records] == [
        ("f0003_0_cough", "vocal_sound", "Cough"),
        ("f0003_0_cough", "gender", "female"),
        ("f0003_0_cough", "age", "20s"),
        ("m0120_0_throatclearing", "vocal_sound", "Throat clearing"),
        ("m0120_0_throatclearing", "gender", "male"),
    ]
    assert records[0].prefix is not None and records[0].prefix.instruction == "vocal_classification"  # the released evaluation's sentence


def test_nonspeech7k_keeps_pieces_of_the_tests_recordings_out_of_training(tmp_path: Path) -> None:
    names = "Filename,File ID,Duration in ms,Class ID,Classname,augmentation id,Augmentation type,source\n"
    train = ["108160-1_0_0.wav,1,3730,0,breath", "k8fI3Kkm3GM-1429_0_0.wav,2,4000,6,yawm", "151215_1_0.wav,3,3690,1,cough"]
    text(tmp_path / "metadata of train set .csv", names + "".join(f"{row},0,Orignal,https://freesound.org/\n" for row in train))
    text(tmp_path / "metadata of test set.csv", names + "108160-2_0_0.wav,4,4000,0,breath,0,Orignal,https://freesound.org/\n")
    for name in ("train/108160-1_0_0", "train/k8fI3Kkm3GM-1429_0_0", "test/108160-2_0_0"):
        clip(tmp_path / f"{name}.wav")
    assert [(entry.id, entry.reason) for entry in entries("nonspeech7k", tmp_path, "train")] == [
        ("108160-1_0_0.wav", "evaluation_split"),
        ("151215_1_0.wav", "no_file"),
    ]
    (record,) = walked("nonspeech7k", tmp_path, "test")
    assert (record.target, record.meta["recording"]) == ("Breathing", "108160")
    (tmp_path / "test" / "108160-2_0_0.wav").rename(tmp_path / "test" / "other_0_0.wav")
    text(tmp_path / "metadata of test set.csv", names + "other_0_0.wav,4,4000,0,breath,0,Orignal,https://freesound.org/\n")
    clip(tmp_path / "train" / "151215_1_0.wav")
    assert [record.target for record in walked("nonspeech7k", tmp_path, "train")] == ["Breathing", "Yawn", "Cough"]


def test_donateacry_knows_crying_but_no_reasons(tmp_path: Path) -> None:
    # The README explains the first name: a boy of 0 to 4 weeks; "hungry" is what his parents thought.
    names = [f"0D1AD73E-4C5E-45F3-85C4-9A3CB71E88{n:02d}-1430742197-1.0-m-04-hu" for n in range(20)]
    for name in names:
        clip(tmp_path / "donateacry_corpus_cleaned_and_updated_data" / "hungry" / f"{name}.wav")
    train, test = (walked("donateacry", tmp_path, split) for split in ("train", "test"))
    assert {record.meta["source"] for record in train + test} == set(names) and train and test
    assert not {record.meta["speaker"] for record in train} & {record.meta["speaker"] for record in test}
    assert {record.target for record in train} == {"Baby cry"}
    assert (train[0].meta["gender"], train[0].meta["age"], train[0].meta["reason"]) == ("male", "0 to 4 weeks", "hu")
