"""Recorded sounds: training rows of any manifest by label, single events where they are counted, notes at their pitch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.recipes.constructed.measure import count_events
from data.recipes.constructed.recorded import Pool
from qwen_audio.errors import DataError

RATE = 16_000


def tone(seconds: float, hertz: float) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Write a prepared set of six recordings, one of them not for training, and one Record."""
    barks = np.concatenate([np.pad(tone(0.2, 600), (0, 4800)) for _ in range(4)])
    clips = {
        "barks": barks,
        "rain": tone(6.0, 300),
        "flute": tone(1.0, 440),
        "wrong": tone(1.0, 880),
        "test": tone(1.0, 500),
        "cat": tone(0.5, 700),
    }
    for name, wave in clips.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE)
    rows: list[dict] = [
        {"audio": "barks.wav", "label": "dog bark", "split": "train", "licence": "CC0"},
        {"audio": "rain.wav", "label": "rain", "split": "train", "licence": "CC-BY"},
        {"audio": "test.wav", "label": "rain", "split": "dev", "licence": "CC-BY"},
        {"audio": "flute.wav", "label": "flute", "instrument": "flute", "midi": 69, "tasks": ["MNA"], "licence": "CC0"},
        {"audio": "wrong.wav", "label": "clarinet", "instrument": "clarinet", "midi": 69, "tasks": ["MNA"], "licence": "CC0"},
        {"audio": "rain.wav", "label": "chainsaw", "split": "train", "licence": "CC0"},
        {"audio": [{"path": "cat.wav"}], "family": "sound_event", "target": "cat", "meta": {"role": "train", "licence": "MIT"}},
        {"audio": [{"path": "cat.wav"}], "family": "sound_event", "target": "cat; rain", "meta": {"role": "train"}},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_training_rows_are_found_by_our_labels_and_the_rest_is_counted(manifest: Path) -> None:
    pool = Pool([manifest])
    assert {label: len(clips) for label, clips in pool.sounds.items()} == {"cat meow": 1, "dog bark": 1, "rain": 1}
    assert {label: len(clips) for label, clips in pool.notes.items()} == {"clarinet": 1, "flute": 1}
    assert pool.unused == {"chainsaw": 1}
    assert pool.licences == ("CC-BY", "CC0", "MIT")


def test_countable_sounds_are_handed_out_one_at_a_time_and_long_ones_cut(manifest: Path) -> None:
    pool = Pool([manifest], manifest.parent)
    bark = pool.sound("dog bark", np.random.default_rng(0))
    assert count_events(np.pad(bark, 1600)) == 1 and len(bark) / RATE == pytest.approx(0.2, abs=0.02)
    assert len(pool.sound("rain", np.random.default_rng(0))) == 4 * RATE


def test_a_note_is_handed_out_where_it_is_heard_at_the_pitch_of_its_label(manifest: Path) -> None:
    wave, midi = Pool([manifest]).note("flute", np.random.default_rng(0))
    assert midi == 69 and len(wave) / RATE == pytest.approx(1.0, abs=0.02)
    with pytest.raises(DataError, match="none is heard at the pitch of its label"):
        Pool([manifest]).note("clarinet", np.random.default_rng(0))


def test_what_is_missing_is_named(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such manifest of recordings"):
        Pool([tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="'siren': there are cat meow, dog bark, rain"):
        Pool([manifest]).sound("siren", np.random.default_rng(0))
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"label": "rain"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.jsonl:1: expected a row with audio"):
        Pool([broken])
