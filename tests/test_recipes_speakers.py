"""Recipes of speaker verification, on trees in the real layouts."""

from collections import Counter
from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.manifest import Record
from data.recipes.speakers import pairs
from qwen_audio.errors import DataError


def compared(records: list[Record]) -> list[Record]:
    return [record for record in records if record.family == "speaker_verification"]


def voxceleb1(root: Path) -> None:
    rows = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\n"
    rows += "id10002\tA.R._Rahman\tm\tIndia\tdev\nid10003\tAamir_Khan\tf\tIndia\tdev\nid10270\tEartha_Kitt\tf\tUSA\ttest\n"
    text(root / "vox1_meta.csv", rows)
    for speaker in ("id10001", "id10002"):
        for video in ("1zcIwhmdeo4", "7gWzIy6yIIk"):
            for number in ("00001", "00002"):
                clip(root / "wav" / speaker / video / f"{number}.wav")
    clip(root / "wav" / "id10270" / "x6uYqmx31kE" / "00001.wav")
    clip(root / "wav" / "id10270" / "8jEAjG6SegY" / "00008.wav")


def test_voxceleb1_pairs_are_balanced_across_videos_and_the_same_each_time(tmp_path: Path) -> None:
    voxceleb1(tmp_path)
    text(tmp_path / "vox1_meta.csv", (tmp_path / "vox1_meta.csv").read_text().replace("id10003\tAamir_Khan\tf\tIndia\tdev\n", ""))
    records = compared(walked("voxceleb1", tmp_path, "dev"))
    assert Counter(record.target for record in records) == {"yes": 4, "no": 4}
    assert len({record.meta["source"] for record in records}) == 8  # each clip once
    for record in records:
        first, second = (Path(ref.path).parent for ref in record.audio)
        assert (first.parent == second.parent) == (record.target == "yes")
        assert record.target == "no" or first.name != second.name  # of one speaker, but never of one video
    assert records == compared(walked("voxceleb1", tmp_path, "dev"))
    assert {record.meta["speaker"] for record in records} == {"voxceleb1-id10001", "voxceleb1-id10002"}


def test_voxceleb1_gives_the_sex_of_each_clip_and_accounts_for_a_speaker_without_a_folder(tmp_path: Path) -> None:
    voxceleb1(tmp_path)
    (lost,) = entries("voxceleb1", tmp_path, "dev")
    assert (lost.id, lost.reason) == ("id10003", "no_file")
    assert {(record.family, record.target) for record in walked("voxceleb1", tmp_path, "test")} == {("gender", "female")}


def test_voxceleb1_tests_on_the_official_list(tmp_path: Path) -> None:
    voxceleb1(tmp_path)
    text(
        tmp_path / "veri_test.txt",
        "1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav\n0 id10270/x6uYqmx31kE/00001.wav id10001/1zcIwhmdeo4/00001.wav\n",
    )
    same, other = walked("voxceleb1", tmp_path, "veri_test")
    assert (same.target, other.target) == ("yes", "no")
    assert [Path(ref.path).name for ref in same.audio] == ["00001.wav", "00008.wav"]
    text(tmp_path / "veri_test.txt", "1 id10270/x6uYqmx31kE/00001.wav\n")
    with pytest.raises(DataError, match=r"veri_test\.txt:1"):
        walked("voxceleb1", tmp_path, "veri_test")


def test_voxceleb2_reads_its_table_with_blanks_around_the_values(tmp_path: Path) -> None:
    text(tmp_path / "vox2_meta.csv", "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev\nid00017 ,n000017 ,m ,test\n")
    for video in ("21Uxsk56VDQ", "2DLq_Kkc1r8"):
        text(tmp_path / "dev" / "aac" / "id00012" / video / "00001.m4a", "not opened here")
    records = walked("voxceleb2", tmp_path, "dev")
    assert [record.target for record in compared(records)] == ["yes", "yes"]  # nobody else to compare with
    assert [record.target for record in records if record.family == "gender"] == ["male", "male"]


def test_agevoxceleb_joins_ages_to_clips_of_either_part(tmp_path: Path) -> None:
    text(tmp_path / "utt2age.test", "id09272/7N6hunqFlDk/00003 37\nid09272/H0XKvvTYxgo/00004 37\n")
    text(tmp_path / "dev" / "aac" / "id09272" / "7N6hunqFlDk" / "00003.m4a", "not opened here")
    (lost,) = entries("agevoxceleb", tmp_path, "test")
    assert lost.reason == "no_file"
    text(tmp_path / "test" / "aac" / "id09272" / "H0XKvvTYxgo" / "00004.m4a", "not opened here")
    assert [(record.target, record.meta["age"]) for record in walked("agevoxceleb", tmp_path, "test")] == [("30s", "37")] * 2


def test_cnceleb_pairs_the_speakers_of_dev_lst_and_reads_trials_of_flac_files(tmp_path: Path) -> None:
    base = tmp_path / "CN-Celeb_flac"
    text(base / "dev" / "dev.lst", "id00000\nid00001\n")
    for name in ("id00000/singing-01-001", "id00000/singing-01-002", "id00000/speech-02-001", "id00001/vlog-01-001", "id00800/vlog-01-001"):
        clip(base / "data" / f"{name}.flac")
    records = walked("cnceleb", tmp_path, "dev")
    assert {record.meta["source"] for record in records} == {
        "id00000/singing-01-001", "id00000/singing-01-002", "id00000/speech-02-001", "id00001/vlog-01-001"
    }  # fmt: skip
    for record in records:
        kinds = {Path(ref.path).parent.name + Path(ref.path).stem.rsplit("-", 1)[0] for ref in record.audio}
        assert len(kinds) == 2  # two sessions, or two speakers
    clip(base / "eval" / "enroll" / "id00800-enroll.flac")
    clip(base / "eval" / "test" / "id00800-singing-01-005.flac")
    text(base / "eval" / "lists" / "trials.lst", "id00800-enroll test/id00800-singing-01-005.wav 1\n")
    (trial,) = walked("cnceleb", tmp_path, "eval")
    assert (trial.target, trial.meta["genre"]) == ("yes", "singing")
    assert trial.prefix is not None and trial.prefix.audio_language == "zh"


def test_himia_compares_different_sayings(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "SPEECHDATA"
    names = ["SV0001_2_00_F0041", "SV0001_3_01_F0041", "SV0001_2_00_S0042", "SV0002_2_00_F0001"]
    for name in names:
        clip(folder / name[:6] / f"{name}.wav")
    text(folder / "train.scp", "".join(f"{name[:6]}/{name}.wav\n" for name in [*names, "SV0002_2_00_F0002"]))
    (lost,) = entries("himia", tmp_path, "train")
    assert lost.id == "SV0002_2_00_F0002"
    text(folder / "train.scp", "".join(f"{name[:6]}/{name}.wav\n" for name in names))
    for record in walked("himia", tmp_path, "train"):
        first, second = (Path(ref.path).stem.split("_") for ref in record.audio)
        assert (first[0] == second[0]) == (record.target == "yes")
        assert record.target == "no" or first[-1] != second[-1]


def test_pairs_keep_to_a_group_and_put_the_clip_first_and_second() -> None:
    speakers = {f"s{n}": {"a": [Path(f"s{n}/a/{k}") for k in range(20)], "b": [Path(f"s{n}/b/{k}") for k in range(20)]} for n in range(6)}
    sexes = {name: "female" if number % 2 else "male" for number, name in enumerate(speakers)}
    made = list(pairs(speakers, sexes))
    assert len(made) == 240 and sum(pair.same for pair in made) == 120
    clips = [pair.clips for pair in made if pair.clips is not None]
    assert len(clips) == len(made) and all(sexes[str(one)[:2]] == sexes[str(two)[:2]] for one, two in clips)
    assert 80 < sum(pair.clips is not None and pair.clips[0] == pair.clip for pair in made) < 160


def test_a_clip_that_nothing_can_be_compared_with_is_accounted_for(tmp_path: Path) -> None:
    text(tmp_path / "dev" / "dev.lst", "id00000\n")
    clip(tmp_path / "data" / "id00000" / "singing-01-001.flac")
    (lost,) = entries("cnceleb", tmp_path, "dev")
    assert (lost.id, lost.reason) == ("id00000/singing-01-001", "no_answer")
