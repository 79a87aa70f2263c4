"""Recipes of emotional speech, on trees in the real layouts."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.manifest import Record


def answers(records: list[Record]) -> dict[str, dict[str, str]]:
    """Give source -> family -> answer."""
    found: dict[str, dict[str, str]] = {}
    for record in records:
        found.setdefault(record.meta["source"], {})[record.family or ""] = record.target
    return found


MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


def test_meld_answers_with_the_words_of_its_table_and_names_a_video_that_is_missing(tmp_path: Path) -> None:
    rows = '1,"Why do all you\'re coffee mugs have numbers, on the bottom?",Mark,surprise,positive,0,0,3,19,"00:14:38,127","00:14:40,378"\n'
    rows += '2,Oh. That\'s so Monica.,Rachel,anger,negative,0,1,3,19,"00:14:40,629","00:14:47,385"\n'
    text(tmp_path / "MELD.Raw" / "test_sent_emo.csv", MELD + rows)
    text(tmp_path / "MELD.Raw" / "output_repeated_splits_test" / "dia0_utt0.mp4", "not opened here")
    (lost,) = entries("meld", tmp_path, "test")
    assert (lost.id, lost.reason) == ("test/dia0_utt1", "no_file") and lost.where.endswith("test_sent_emo.csv:3")
    text(tmp_path / "MELD.Raw" / "output_repeated_splits_test" / "dia0_utt1.mp4", "not opened here")
    first, second = walked("meld", tmp_path, "test")
    assert (first.target, second.target) == ("surprise", "anger")
    assert (first.meta["speaker"], first.meta["dialogue"]) == ("friends-Mark", "test-0")
    assert first.prefix is not None and first.prefix.instruction == "emotion_recognition"  # the released evaluation's sentence


def cremad(root: Path) -> None:
    table = '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n1005,29,"Male","African American","x"\n'
    text(root / "VideoDemographics.csv", table)
    for name in ("1001_IEO_HAP_LO", "1005_TIE_NEU_XX", "readme"):
        clip(root / "AudioWAV" / f"{name}.wav")


def test_cremad_joins_the_name_of_a_file_to_its_actor(tmp_path: Path) -> None:
    cremad(tmp_path)
    (lost,) = entries("cremad", tmp_path, "train")
    assert lost.reason == "bad_row"
    (tmp_path / "AudioWAV" / "readme.wav").unlink()
    train = walked("cremad", tmp_path, "train")
    assert answers(train) == {"1001_IEO_HAP_LO": {"emotion": "joy", "gender": "male", "age": "50s"}}
    assert (train[0].meta["age"], train[0].meta["label"]) == ("51", "HAP")
    assert set(answers(walked("cremad", tmp_path, "test"))) == {"1005_TIE_NEU_XX"}


def test_cremads_parquet_copy_is_split_by_actors_too(tmp_path: Path) -> None:
    sound = clip(tmp_path / "a.wav").read_bytes()
    rows = [
        {"file": f"{name}.wav", "audio": {"bytes": sound, "path": f"{name}.wav"}, "gender": "female", "major_emotion": "sad"}
        for name in ("1002_IEO_ANG_HI", "1010_IEO_DIS_MD")
    ]
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data" / "train-00000-of-00002.parquet")
    assert answers(walked("cremad", tmp_path, "train", parquet=True)) == {"1002_IEO_ANG_HI": {"emotion": "anger", "gender": "female"}}
    assert set(answers(walked("cremad", tmp_path, "test", parquet=True))) == {"1010_IEO_DIS_MD"}


def test_ravdess_speech_and_song_are_two_tasks(tmp_path: Path) -> None:
    for folder, name in (("speech", "03-01-06-01-02-01-12"), ("song", "03-02-03-02-01-01-11"), ("speech", "03-01-08-01-01-01-22")):
        clip(tmp_path / folder / f"Actor_{name[-2:]}" / f"{name}.wav")
    # The corpus' page explains the first name: audio only, speech, fearful, normal intensity, "dogs", first take, actor 12, a woman.
    assert answers(walked("ravdess", tmp_path, "train")) == {
        "03-01-06-01-02-01-12": {"emotion": "fear", "gender": "female"},
        "03-02-03-02-01-01-11": {"music_emotion": "joy"},
    }
    assert answers(walked("ravdess", tmp_path, "test")) == {"03-01-08-01-01-01-22": {"emotion": "surprise", "gender": "female"}}


def test_tess_takes_one_actress_for_training_and_one_for_the_test(tmp_path: Path) -> None:
    for name in ("OAF_angry/OAF_back_angry", "OAF_neutral/OA_bite_neutral", "YAF_pleasant_surprised/YAF_jug_ps", "copy/OAF_back_angry"):
        clip(tmp_path / f"{name}.wav")
    assert [(entry.id, entry.reason) for entry in entries("tess", tmp_path, "train")] == [("OAF_back_angry", "duplicate_id")]
    (tmp_path / "copy" / "OAF_back_angry.wav").unlink()
    assert [record.target for record in walked("tess", tmp_path, "train")] == ["anger", "neutral"]
    (young,) = walked("tess", tmp_path, "test")
    assert (young.target, young.meta["speaker"], young.meta["age"], young.meta["text"]) == ("surprise", "tess-YAF", "26", "jug")


def test_emodb_reads_german_letters_and_the_table_of_speakers(tmp_path: Path) -> None:
    for name in ("03a01Fa", "10b03Wb", "16a02Ac"):
        clip(tmp_path / "wav" / f"{name}.wav")
    train = walked("emodb", tmp_path, "train")
    assert answers(train) == {
        "03a01Fa": {"emotion": "joy", "gender": "male", "age": "30s"},  # Freude; the documentation's own example
        "10b03Wb": {"emotion": "anger", "gender": "male", "age": "30s"},  # Wut
    }
    assert train[0].prefix is not None and train[0].prefix.audio_language == "de"
    assert answers(walked("emodb", tmp_path, "test"))["16a02Ac"]["emotion"] == "fear"  # Angst


@pytest.mark.parametrize("top", ["", "IEMOCAP_full_release"])
def test_iemocap_keeps_what_annotators_agreed_on(tmp_path: Path, top: str) -> None:
    lines = (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    )
    lines += "C-E2:\tNeutral;\t()\n\n[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[2.5000, 2.5000, 2.5000]\n"
    lines += "[19.2900 - 20.7875]\tSes01F_impro01_F003\txxx\t[2.5000, 3.0000, 3.0000]\n"
    base = tmp_path / top
    for session in (1, 2, 3, 4):
        text(base / f"Session{session}" / "dialog" / "EmoEvaluation" / f"Ses0{session}F_impro01.txt", lines if session == 1 else "\n")
    for name in ("F000", "M001", "F003"):
        clip(base / "Session1" / "sentences" / "wav" / "Ses01F_impro01" / f"Ses01F_impro01_{name}.wav")
    (lost,) = entries("iemocap", tmp_path, "train")
    assert (lost.id, lost.reason) == ("Ses01F_impro01_F003", "no_answer")
    table = base / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    table.write_text(lines.replace("\txxx\t", "\tang\t"))
    records = walked("iemocap", tmp_path, "train")
    assert answers(records)["Ses01F_impro01_M001"] == {"emotion": "excitement", "gender": "male"}
    assert {record.meta["speaker"] for record in records} == {"iemocap-Ses01F", "iemocap-Ses01M"}
