"""Recipes of captions of music and of questions about it, on trees in the real layout."""

import json
from pathlib import Path

from corpus_tree import clip, entries, text, walked

from data.catalog import recipe

CAPS = (
    "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"
    '-0Gj8-vB1q4,30,40,"/m/0140xf","[\'low quality\']","The low quality recording features a ballad song, slow.",4,False,True\n'
    "-0SdAVK79lg,30,40,/m/0155w,['guitar song'],This song features an electric guitar.,0,False,False\n"
)


def mp3(path: Path, seconds: float = 0.5) -> None:
    clip(path.with_suffix(".wav"), seconds=seconds, rate=2000).rename(path)


def test_musiccaps_keeps_the_evaluation_part_for_testing(tmp_path: Path) -> None:
    text(tmp_path / "musiccaps-public.csv", CAPS)
    clip(tmp_path / "audio/[-0Gj8-vB1q4]-[30-40].wav")
    clip(tmp_path / "audio/unrelated.wav")
    (test,) = walked("musiccaps", tmp_path, "eval")
    assert (test.meta["source"], test.target) == ("-0Gj8-vB1q4", "The low quality recording features a ballad song, slow.")
    assert [(row.id, row.reason) for row in entries("musiccaps", tmp_path, "train")] == [("-0SdAVK79lg", "no_file")]
    clip(tmp_path / "audio/-0SdAVK79lg.wav")
    assert [record.target for record in walked("musiccaps", tmp_path, "train")] == ["This song features an electric guitar."]


SDD = (
    "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n"
    "1,415600,A ska tune.,True,0,a1,b1,00/415600.mp3,202.5\n2,415600,Horns and organ.,False,1,a1,b1,00/415600.mp3,202.5\n"
)


def test_song_describer_gives_one_row_a_track_with_all_its_captions(tmp_path: Path) -> None:
    text(tmp_path / "song_describer.csv", SDD)
    mp3(tmp_path / "audio/00/415600.2min.mp3", seconds=60.5)
    (record,) = walked("song_describer", tmp_path, "test")
    assert record.references == ("A ska tune.", "Horns and organ.")
    assert [ref.start_s for ref in record.audio] == [0.0, 20.167, 40.333]
    assert {split.role for split in recipe("song_describer").splits} == {"test"}


def test_musicbench_never_trains_on_copies_of_evaluation_clips(tmp_path: Path) -> None:
    rows = [
        {
            "location": "data_aug2/-0SdAVK79lg_1.wav",
            "main_caption": "A guitar, fast.",
            "alt_caption": "A guitar.",
            "is_audioset_eval_mcaps": False,
        },
        {"location": "data_aug2/-0Gj8-vB1q4_2.wav", "main_caption": "A ballad.", "alt_caption": "", "is_audioset_eval_mcaps": True},
    ]
    text(tmp_path / "MusicBench_train.json", "".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        clip(tmp_path / "datashare" / str(row["location"]))
    assert [record.target for record in walked("musicbench", tmp_path, "train")] == ["A guitar, fast.", "A guitar."]
    assert [record.target for record in walked("musicbench", tmp_path, "train_of_eval")] == ["A ballad."]
    assert recipe("musicbench").split("train_of_eval").role == "test"


def test_music_avqa_keeps_questions_for_the_ear_and_fills_them_in(tmp_path: Path) -> None:
    row = {"video_id": "00000272", "question_id": 38, "question_deleted": 0}
    listening = {
        "type": '["Audio", "Comparative"]',
        "question_content": "Is the <Object> louder than the <Object>\uff1f",
        "templ_values": '["piano", "ukulele"]',
    }
    rows = [
        {**row, **listening, "anser": "no"},
        {**row, "question_id": 39, "type": '["Visual", "Counting"]', "question_content": "How many?", "templ_values": "[]", "anser": "two"},
        {**row, **listening, "question_id": 40, "question_deleted": 1, "anser": "yes"},
    ]
    text(tmp_path / "data/json/avqa-train.json", rows)
    clip(tmp_path / "audio/00000272.wav", seconds=60, rate=1000)
    assert [row.reason for row in entries("music_avqa", tmp_path, "train")] == ["no_answer"]
    text(tmp_path / "data/json/avqa-train.json", rows[:2])
    (record,) = walked("music_avqa", tmp_path, "train")
    assert record.prefix is not None and record.prefix.question == "Is the piano louder than the ukulele?"
    assert (record.target, [ref.start_s for ref in record.audio]) == ("no", [0.0, 30.0])


def test_musicqa_gives_a_row_a_question(tmp_path: Path) -> None:
    def row(asked: str, answered: str) -> dict[str, object]:
        return {"audio_name": "013291.wav", "conversation": [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]}

    text(tmp_path / "EvalMusicQA.json", [row(" What is the mood?", "Calm."), row("Describe the audio", "A slow song.\nSoft.")])
    clip(tmp_path / "audios/013291.wav")
    records = walked("musicqa", tmp_path, "EvalMusicQA")
    assert [(record.prefix.question, record.target) for record in records if record.prefix] == [
        ("What is the mood?", "Calm."),
        ("Describe the audio", "A slow song. Soft."),
    ]
    assert {split.name: split.role for split in recipe("musicqa").splits} == {
        "FinetuneMusicQA": "train",
        "EvalMusicQA": "test",
        "PretrainMusicQA": "test",
    }


def test_muchomusic_finds_both_kinds_of_clips_and_hides_the_right_place(tmp_path: Path) -> None:
    head = "question,correct_answer,distractor_1_answer,distractor_2_answer,distractor_3_answer,genre,dataset,dataset_identifier\n"
    rows = (
        "Which style?,Reggae,Ska,Pop music,Latin rock,Reggae,sdd,415600.json\n"
        "Which tempo?,Slow,Fast,Loud,Green,,musiccaps,-0Gj8-vB1q4_30.json\n"
    )
    text(tmp_path / "muchomusic.csv", head + rows)
    text(tmp_path / "sdd/song_describer.csv", SDD)
    text(tmp_path / "musiccaps/musiccaps-public.csv", CAPS)
    mp3(tmp_path / "sdd/audio/00/415600.2min.mp3", seconds=31)
    clip(tmp_path / "musiccaps/audio/[-0Gj8-vB1q4]-[30-40].wav")
    records = walked("muchomusic", tmp_path, "test")
    assert [(record.target, record.choices, len(record.audio)) for record in records] == [
        ("Reggae", ("Latin rock", "Pop music", "Reggae", "Ska"), 2),
        ("Slow", ("Fast", "Green", "Loud", "Slow"), 1),
    ]
