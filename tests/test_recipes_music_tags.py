"""Recipes of genres, titles and tags, on trees in the real layout."""

from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.catalog import recipe
from qwen_audio.errors import DataError
from tag_schema.answers import Song
from tag_schema.tasks import TASKS


def test_gtzan_takes_the_lists_without_faults_and_thirty_seconds_of_each(tmp_path: Path) -> None:
    clip(tmp_path / "genres/blues/blues.00029.wav", seconds=30.013, rate=4000)
    text(tmp_path / "train_filtered.txt", "blues/blues.00029.wav\n")
    text(tmp_path / "test_filtered.txt", "rock/rock.00012.wav\n")
    (record,) = walked("gtzan", tmp_path, "train")
    assert (record.target, record.duration_s) == ("blues", 30.0)
    assert [(row.id, row.reason) for row in entries("gtzan", tmp_path, "test")] == [("rock.00012", "no_file")]


FMA_TABLE = (
    ",artist,artist,set,set,track,track,track\n"
    ",id,name,split,subset,genre_top,license,title\n"
    "track_id,,,,,,,\n"
    "2,1,AWOL,training,small,Hip-Hop,CC BY,Food\n"
    '3,2,"Kurt, Vile",training,large,,CC BY-NC,"So\nLong"\n'
    "5,1,AWOL,test,medium,Hip-Hop,CC BY,This World\n"
    "1234,3,,training,medium,Rock,CC BY,\n"
)


def test_fma_reads_its_table_of_three_header_lines(tmp_path: Path) -> None:
    text(tmp_path / "fma_metadata/tracks.csv", FMA_TABLE)
    for number in (2, 3):
        clip(tmp_path / f"fma_large/000/{number:06d}.wav").rename(tmp_path / f"fma_large/000/{number:06d}.mp3")
    clip(tmp_path / "fma_large/001/001234.wav").rename(tmp_path / "fma_large/001/001234.mp3")
    rows = list(recipe("fma").walk(tmp_path, recipe("fma").split("training")))
    assert [(row.id, row.target) for row in rows if hasattr(row, "target")] == [
        ("000002#genre", "Hip-Hop"),
        ("000002#music_recognition", "Food<|delim|>AWOL"),
        ("000003#music_recognition", "So Long<|delim|>Kurt, Vile"),
        ("001234#genre", "Rock"),
    ]
    assert [(row.id, row.reason) for row in entries("fma", tmp_path, "training")] == [("001234#music_recognition", "no_answer")]
    assert TASKS["music_recognition"].parse("Food<|delim|>AWOL") == Song("Food", "AWOL")


def test_fma_walks_only_the_subset_that_is_there(tmp_path: Path) -> None:
    text(tmp_path / "fma_metadata/tracks.csv", FMA_TABLE)
    with pytest.raises(DataError, match="found no folder fma_small"):
        walked("fma", tmp_path, "training")
    clip(tmp_path / "fma_small/000/000002.wav").rename(tmp_path / "fma_small/000/000002.mp3")
    assert {record.meta["source"] for record in walked("fma", tmp_path, "training")} == {"000002"}
    assert walked("fma", tmp_path, "test") == []  # 5 is in medium


def test_mtg_jamendo_cuts_tracks_and_keeps_moods_apart_from_themes(tmp_path: Path) -> None:
    head = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    track = "track_0000948\tartist_000087\talbum_000149\t48/948.mp3\t75.0\t"
    split = tmp_path / "data/splits/split-0"
    text(split / "autotagging_moodtheme-train.tsv", head + track + "mood/theme---film\tmood/theme---happy\tmood/theme---energetic\n")
    text(split / "autotagging_genre-train.tsv", head + track + "genre---rock\tgenre---pop\n")
    text(split / "autotagging_instrument-train.tsv", head + track + "instrument---piano\n")
    clip(tmp_path / "songs/48/948.wav", seconds=75, rate=1000).rename(tmp_path / "songs/48/948.mp3")
    records = walked("mtg_jamendo", tmp_path, "train")
    moods = [record for record in records if record.family == "music_emotion"]
    assert [(record.target, record.audio[0].start_s, record.audio[0].duration_s) for record in moods] == [
        ("happy; energetic", 0.0, 25.0),
        ("happy; energetic", 25.0, 25.0),
        ("happy; energetic", 50.0, 25.0),
    ]
    assert {record.family for record in records} == {"music_emotion", "instrument"}  # two genres are no single label
    assert {record.meta["source"] for record in records} == {"track_0000948"}
