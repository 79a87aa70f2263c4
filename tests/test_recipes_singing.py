"""Recipes of singers and of the emotions of music, on trees in the real layout."""

from pathlib import Path

from corpus_tree import clip, entries, text, walked


def mp3(path: Path, seconds: float = 0.5) -> None:
    """Write a clip under the name of an mp3 file: readers look at the bytes."""
    clip(path.with_suffix(".wav"), seconds=seconds, rate=4000).rename(path)


def test_vocalset_names_the_singer_by_the_folder_and_keeps_songs_for_testing(tmp_path: Path) -> None:
    clip(tmp_path / "FULL/female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav")
    clip(tmp_path / "FULL/male8/excerpts/vibrato/m9_caro_vibrato.wav", seconds=31, rate=4000)
    (train,) = walked("vocalset", tmp_path, "train")
    assert (train.target, train.meta["gender"], train.meta["technique"]) == ("female1", "female", "breathy")
    test = walked("vocalset", tmp_path, "test")
    assert [(record.target, record.audio[0].start_s) for record in test] == [("male8", 0.0), ("male8", 15.5)]


def test_m4singer_holds_out_whole_songs(tmp_path: Path) -> None:
    names = [f"Alto-1#song{number:02d}#0000" for number in range(10)] + ["Tenor-2#newboy#0001"]
    text(tmp_path / "meta.json", [{"item_name": name, "txt": "感受，停在", "phs": []} for name in names])
    for name in names:
        song, _, number = name.rpartition("#")
        clip(tmp_path / song / f"{number}.wav")
    test = walked("m4singer", tmp_path, "test")
    assert [(record.family, record.target) for record in test] == [("singer_id", "Alto-1"), ("asr", "感受 停在")]
    assert {record.meta["song"] for record in test} == {"song09"}
    assert len(walked("m4singer", tmp_path, "train")) == 20


def test_opencpop_reads_words_and_names_no_singer(tmp_path: Path) -> None:
    text(tmp_path / "segments/test.txt", "2044001628|感受停在我发端的指尖|g an|C4|0.2|0.1|0\n2044001629|无|w u|C4|0.2|0.1|0\n")
    clip(tmp_path / "segments/wavs/2044001628.wav")
    assert [(row.id, row.reason) for row in entries("opencpop", tmp_path, "test")] == [("2044001629", "no_file")]
    clip(tmp_path / "segments/wavs/2044001629.wav")
    records = walked("opencpop", tmp_path, "test")
    assert [(record.family, record.target) for record in records] == [("asr", "感受停在我发端的指尖"), ("asr", "无")]


def test_artist20_goes_by_its_lists_and_cuts_its_tracks(tmp_path: Path) -> None:
    text(tmp_path / "lists/a20-trn-tracks.list", "green_day/Dookie/07-Basket_Case\n")
    mp3(tmp_path / "mp3s-32k/green_day/Dookie/07-Basket_Case.mp3", seconds=40)
    records = walked("artist20", tmp_path, "trn")
    assert [record.target for record in records if record.family == "singer_id"] == ["green day", "green day"]
    assert {record.target for record in records if record.family == "music_recognition"} == {"Basket Case<|delim|>green day"}
    assert {record.meta["source"] for record in records} == {"green_day/Dookie/07-Basket_Case"}


def test_emopia_names_the_quadrant_and_accounts_for_clips_not_fetched(tmp_path: Path) -> None:
    text(tmp_path / "split/val_clip.csv", ",clip_name,DominantQ\n0,Q3_a_b-c_0.mid,3\n1,Q1_xyz_2.mid,1\n")
    mp3(tmp_path / "audio/Q3_a_b-c_0.mp3")
    assert [(row.id, row.reason) for row in entries("emopia", tmp_path, "val")] == [("Q1_xyz_2", "no_file")]
    mp3(tmp_path / "audio/Q1_xyz_2.mp3")
    records = walked("emopia", tmp_path, "val")
    assert [(record.target, record.meta["speaker"]) for record in records] == [("sad", "a_b-c"), ("happy", "xyz")]


def test_deam_puts_songs_into_quadrants(tmp_path: Path) -> None:
    tables = tmp_path / "annotations/annotations averaged per song/song_level"
    head = "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
    text(tables / "static_annotations_averaged_songs_1_2000.csv", head + "2,3.1,0.94,3,0.63\n10,6.2,1,4.9,1\n")
    text(tables / "static_annotations_averaged_songs_2000_2058.csv", head + "2001,4.2,1,7.0,1\n")
    for name, seconds in (("2", 45.0), ("10", 1.0), ("2001", 1.0)):
        mp3(tmp_path / f"MEMD_audio/{name}.mp3", seconds)
    train = walked("deam", tmp_path, "train")
    assert [(record.meta["source"], record.target, record.duration_s) for record in train] == [
        ("2", "sad", 22.5),
        ("2", "sad", 22.5),
        ("10", "calm", None),
    ]
    assert [record.target for record in walked("deam", tmp_path, "test")] == ["angry"]


def test_a_recording_that_cannot_be_opened_is_accounted_for(tmp_path: Path) -> None:
    text(tmp_path / "FULL/female1/scales/belt/f1_scales_belt_a.wav", "no sound")
    text(tmp_path / "FULL/female1/scales/belt/f1_scales_belt_e.wav", "")
    assert [row.reason for row in entries("vocalset", tmp_path, "train")] == ["corrupt", "empty_audio"]
