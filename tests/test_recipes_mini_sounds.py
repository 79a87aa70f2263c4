"""Recipes of the notes, strokes and sounds that the bundled model learned, on trees as their repositories have them."""

from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.recipes.mini_sounds import midi_number
from qwen_audio.errors import DataError


def as_mp3(path: Path) -> None:
    clip(path.with_suffix(".wav")).rename(path)


def test_drum_strokes_are_told_by_their_names(tmp_path: Path) -> None:
    names = (
        "DM/TR-505/samples/tr505-hihat-closed",
        "DM/LM-2/samples/stick-m",
        "DRUMS/avl-drumkits-1.1/46-SabianRockHatSemiOpen-2",
        "DRUMS/avl-drumkits-1.1/61-RotoTomHi-1",
        "DM/TR-808/samples/01.CB.808",  # a kit without a licence
    )
    for name in names:
        clip(tmp_path / f"{name}.wav")
    records = walked("music_drums", tmp_path, "all")
    assert {record.meta["source"]: (record.target, record.meta["clip_licence"]) for record in records} == {
        f"{names[0]}.wav": ("closed hi-hat", "public domain"),
        f"{names[1]}.wav": ("rim shot", "public domain"),
        f"{names[2]}.wav": ("half-open hi-hat", "CC BY-SA"),
        f"{names[3]}.wav": ("roto-tom", "CC BY-SA"),
    }
    with pytest.raises(DataError, match="found none of the kits"):
        walked("music_drums", tmp_path / "DM", "all")


@pytest.mark.parametrize(("note", "midi"), [("A4", 69), ("As4", 70), ("C4", 60), ("B0", 23), ("Cs5", 73), ("", None), ("H3", None)])
def test_notes_have_their_midi_numbers(note: str, midi: int | None) -> None:
    assert midi_number(note) == midi


def test_philharmonia_gives_notes_only_where_one_pitch_is_heard(tmp_path: Path) -> None:
    for name in (
        "cor anglais/english-horn_Fs3_1_forte_normal",
        "clarinet/clarinet_F4_long_mezzo-forte_minor-trill",
        "percussion/tam-tam/tam-tam__long_forte_scraped",
    ):
        as_mp3(tmp_path / "audio" / f"{name}.mp3")
    records = walked("music_philharmonia", tmp_path, "all")
    assert [record.target for record in records if record.family == "note_analysis"] == [
        "<|pitch|><|midi_pitch_54|><|instrument|>english horn",
    ]
    assert {record.target for record in records if record.family == "instrument"} == {"english horn", "clarinet", "tam-tam"}
    as_mp3(tmp_path / "audio/flute/odd.mp3")
    assert [row.reason for row in entries("music_philharmonia", tmp_path, "all")] == ["bad_row"]


def test_sonic_pi_accounts_for_samples_without_a_name(tmp_path: Path) -> None:
    for name in ("bd_808", "loop_tabla", "perc_snap2", "glitch_perc1"):
        clip(tmp_path / f"etc/samples/{name}.flac")
    text(tmp_path / "etc/samples/README.md", "# Samples")
    assert [(row.id, row.reason) for row in entries("sfx_sonicpi", tmp_path, "all")] == [
        ("etc/samples/glitch_perc1.flac#instrument", "no_answer"),
    ]
    (tmp_path / "etc/samples/glitch_perc1.flac").unlink()
    found = {(record.family, record.target) for record in walked("sfx_sonicpi", tmp_path, "all")}
    assert found == {("instrument", "bass drum"), ("instrument", "tabla"), ("sound_event", "finger snap")}


def test_blanket_cuts_its_long_recordings(tmp_path: Path) -> None:
    clip(tmp_path / "data/resources/sounds/city.ogg", seconds=61, rate=8000)
    lost = entries("env_blanket", tmp_path, "all")
    assert {row.reason for row in lost} == {"no_file"} and len(lost) == 10
    for name in ("birds", "boat", "coffee-shop", "fireplace", "rain", "storm", "summer-night", "train", "waves", "wind"):
        clip(tmp_path / f"data/resources/sounds/{name}.ogg", rate=8000)
    records = [record for record in walked("env_blanket", tmp_path, "all") if "city" in record.meta["source"]]
    assert [record.target for record in records if record.family == "scene"] == ["city street"] * 3
    assert sum(record.audio[0].duration_s or 0 for record in records if record.family == "sound_event") == pytest.approx(61, abs=0.01)
