"""A constructed set: the same bytes for a seed, gone on with where it stopped, checked by ear and by guessing."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.examples import build_prompt, clip_reader
from data.manifest import read_manifest
from data.recipes.constructed import build, espeak
from data.recipes.constructed.build import construct, verify
from data.recipes.constructed.makers import schedule
from data.recipes.constructed.recorded import Pool
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import TASKS

QUICK = ("audio_caption", "sound_event_detection", "note_analysis", "text")  # neither voices nor long clips
needs_voices = pytest.mark.skipif(not espeak.is_installed(), reason="espeak-ng is not installed")


def contents(folder: Path) -> dict[str, bytes]:
    root = folder / "constructed"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def lines(folder: Path) -> list[str]:
    return (folder / "constructed" / "records.jsonl").read_text(encoding="utf-8").splitlines()


@needs_voices
def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    tasks = ("asr", "s2tt", "emotion", "note_analysis", "music_qa", "text")
    construct(tmp_path / "one", 26, seed=3, tasks=tasks, workers=1)
    construct(tmp_path / "two", 26, seed=3, tasks=tasks, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@needs_voices
def test_one_round_makes_rows_of_every_task_that_are_rendered_as_training_does(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    rows = len(schedule())
    construct(tmp_path, rows, seed=1, workers=1)
    folder = tmp_path / "constructed"
    records = list(read_manifest(folder / "records.jsonl"))
    assert {record.family for record in records} == {*TASKS, "chat", "chat_text"} and len({record.id for record in records}) == rows
    for record in records:
        for ref in record.audio:
            info = soundfile.info(folder / ref.path)
            assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
            assert info.duration == pytest.approx(ref.duration_s, abs=1e-3)
        assert any(build_prompt(record, tiny_tokenizer, clip_reader(folder)).learned)


def test_a_small_set_is_the_beginning_of_a_large_one(tmp_path: Path) -> None:
    construct(tmp_path / "large", 40, seed=5, tasks=QUICK, workers=1)
    construct(tmp_path / "small", 10, seed=5, tasks=QUICK, workers=1)
    assert lines(tmp_path / "small") == lines(tmp_path / "large")[:10]
    assert "10 rows" in construct(tmp_path / "small", 10, seed=5, tasks=QUICK, workers=1)
    construct(tmp_path / "small", 40, seed=5, tasks=QUICK, workers=1)
    assert contents(tmp_path / "small") == contents(tmp_path / "large")


def test_a_run_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    construct(tmp_path / "whole", 60, seed=2, tasks=QUICK, workers=1)
    make_row, made = build.make_row, []

    def dying(number: int, *rest):
        made.append(number)
        if number == 40:
            raise KeyboardInterrupt
        return make_row(number, *rest)

    monkeypatch.setattr(build, "make_row", dying)
    with pytest.raises(KeyboardInterrupt):
        construct(tmp_path / "cut", 60, seed=2, tasks=QUICK, workers=1)
    assert not (tmp_path / "cut" / "constructed" / "records.jsonl").exists()
    with (tmp_path / "cut" / "constructed" / "records.jsonl.part").open("a") as torn:
        torn.write('{"id": "constructed/2/00000')
    made.clear()
    monkeypatch.setattr(build, "make_row", make_row)
    construct(tmp_path / "cut", 60, seed=2, tasks=QUICK, workers=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_folder_with_another_set_or_something_else_is_left_alone(tmp_path: Path) -> None:
    construct(tmp_path, 4, seed=2, tasks=QUICK, workers=1)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"holds a set of another seed \(2\)"):
        construct(tmp_path, 4, seed=3, tasks=QUICK, workers=1)
    assert contents(tmp_path) == before
    (tmp_path / "other" / "constructed").mkdir(parents=True)
    (tmp_path / "other" / "constructed" / "notes.txt").touch()
    with pytest.raises(DataError, match="holds no constructed set"):
        construct(tmp_path / "other", 4, tasks=QUICK, workers=1)
    with pytest.raises(ConfigError, match="expected at least"):
        construct(tmp_path / "none", 0)


def test_seeds_divide_train_from_dev_and_give_different_rows(tmp_path: Path) -> None:
    construct(tmp_path / "a", 8, seed=0, tasks=QUICK, workers=1)
    construct(tmp_path / "b", 8, seed=build.DEV_SEEDS, tasks=QUICK, workers=1)
    first, second = ([json.loads(line) for line in lines(tmp_path / name)] for name in "ab")
    assert {row["meta"]["split"] for row in first} == {"train"} and {row["meta"]["split"] for row in second} == {"dev"}
    assert [row["target"] for row in first] != [row["target"] for row in second]


def test_verification_agrees_with_what_was_made_and_finds_a_wrong_label(tmp_path: Path) -> None:
    construct(tmp_path, 24, tasks=("note_analysis", "sound_event_detection"), workers=1)
    report = verify(tmp_path)
    assert any(line.split()[:4] == ["note_analysis", "12", "12", "12"] for line in report.splitlines())
    path = tmp_path / "constructed" / "records.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("midi_pitch_", "midi_pitch_1"), encoding="utf-8")
    with pytest.raises((DataError, ValueError)):
        verify(tmp_path)
    path.write_text(text.replace("midi_velocity_6", "midi_velocity_9").replace("midi_velocity_7", "midi_velocity_4"), encoding="utf-8")
    with pytest.raises(DataError, match="labels of note_analysis are not what is measured"):
        verify(tmp_path)


def test_verification_finds_answers_that_the_question_gives_away(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    construct(tmp_path, 40, tasks=("sound_event",), workers=1)
    path = tmp_path / "constructed" / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row |= {"family": "audio_qa", "prefix": {"task": "question", "audio_language": "en", "text_language": "en"}}
        row["prefix"]["question"] = "Is it a street?" if number % 2 else "Is it a forest?"
        row["target"] = row["meta"]["label"] = "yes" if number % 2 else "no"
        row["meta"]["kind"] = "street"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"street: 100\.0% of 40 right unheard"):
        verify(tmp_path)


def test_a_clip_that_is_not_as_long_as_its_row_says_is_found(tmp_path: Path) -> None:
    construct(tmp_path, 4, tasks=("note_analysis",), workers=1)
    soundfile.write(tmp_path / "constructed" / "audio" / "0000" / "0000002.flac", np.zeros(8000), 16_000)
    with pytest.raises(DataError, match=r"0000002\.flac: lasts 0\.5000 s"):
        verify(tmp_path)


def test_a_row_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(*_):
        raise DataError("espeak-ng is not installed")

    monkeypatch.setattr("data.recipes.constructed.makers_speech.speak", mute)
    with pytest.raises(DataError, match=r"row 0 of seed 7 \(asr\): espeak-ng is not installed"):
        construct(tmp_path, 4, seed=7, tasks=("asr", "scene"), workers=1)


def test_recordings_take_part_and_their_licence_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "dog.wav", 0.5 * np.sin(np.arange(16_000) * 0.3) * np.exp(-np.arange(16_000) / 2000), 16_000)
    row = {"audio": "dog.wav", "label": "dog", "split": "train", "licence": "CC-BY-4.0", "tasks": ["SEC"]}
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert set(Pool([manifest]).sounds) == {"dog bark"}
    construct(tmp_path / "with", 12, tasks=("sound_event",), workers=1, recorded=[manifest])
    construct(tmp_path / "without", 12, tasks=("sound_event",), workers=1)
    licences = {json.loads(line)["meta"]["licence"] for line in lines(tmp_path / "with")}
    assert licences == {"CC0-1.0; CC-BY-4.0"}
    with pytest.raises(DataError, match="another recorded"):
        construct(tmp_path / "with", 12, tasks=("sound_event",), workers=1)
