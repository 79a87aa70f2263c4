"""Constructed clips: their labels hold in the waveform, and the same seed gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest

from data.__main__ import main
from data.recipes import mini_extras
from data.recipes.conversations import DIGITS
from data.recipes.mini_extras import SET, alarm_clock, construct, plucked_note, rain, source_keys, ticking_clock
from data.recipes.prepared import prepared_rows, source_key, tagged_records
from qwen_audio.audio import read_audio
from qwen_audio.errors import DataError

RATE = 16_000


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tone in the synthesiser's place: the tests need no system package."""
    monkeypatch.setattr(mini_extras, "speak", lambda voice, speed, pitch, text: 0.3 * np.sin(np.arange(6000) * 0.1))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("voice")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert construct(tmp_path / folder, 2, seed) == 10

    def contents(folder: str) -> dict[str, bytes]:
        root = tmp_path / folder / SET
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    assert contents("a") == contents("b") != contents("c")


@pytest.mark.usefixtures("voice")
def test_constructed_rows_are_prepared_rows(tmp_path: Path) -> None:
    construct(tmp_path, 3)
    rows = list(prepared_rows(tmp_path, SET))
    assert [source_key(row) for row in rows] == list(source_keys(3))
    families = {record.family for row in rows for record in tagged_records(row)}
    assert families == {"asr", "language_id", "note_analysis", "instrument", "sound_event", "audio_caption"}
    for row in rows:
        assert read_audio(tmp_path / row["audio"]).duration_s == pytest.approx(row["duration_s"], abs=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_a_plucked_note_sounds_at_its_pitch(seed: int) -> None:
    sound, labels = plucked_note(np.random.default_rng(seed))
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
    hertz = 440 * 2 ** ((labels["midi"] - 69) / 12)
    near = np.abs(np.fft.rfftfreq(1 << 17, 1 / RATE)[:, None] / hertz - np.arange(1, 15)) < 0.02
    assert (spectrum[near.any(1)] ** 2).sum() > 0.9 * (spectrum**2).sum()  # all that sounds are its harmonics
    assert (spectrum[near[:, 0]] ** 2).sum() > 0.05 * (spectrum**2).sum()


def test_a_clock_is_silent_between_ticks_and_rain_is_not() -> None:
    for seed in range(6):
        clock, wet = (make(np.random.default_rng(seed))[0] for make in (ticking_clock, rain))
        assert np.mean(np.abs(clock) < 0.01 * np.abs(clock).max()) > 0.5
        middle = wet[len(wet) // 4 : -len(wet) // 4]
        assert np.mean(np.abs(middle) < 0.001 * np.abs(wet).max()) < 0.2


def test_an_alarm_beeps_at_one_pitch() -> None:
    for seed in range(6):
        sound, _ = alarm_clock(np.random.default_rng(seed))
        spectrum = np.abs(np.fft.rfft(sound))
        loudest = float(spectrum.argmax() * RATE / len(sound))
        assert 850 < loudest < 3600


def test_every_digit_is_said_sooner_or_later(voice: None) -> None:
    said = {mini_extras.digit(np.random.default_rng(seed))[1]["text"] for seed in range(200)}
    assert said == set(DIGITS)


def test_a_set_is_never_overwritten_and_a_missing_voice_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["construct", "--mini", "-o", str(tmp_path)]) == 1
    assert "espeak-ng is not installed" in capsys.readouterr().err
    (tmp_path / SET).mkdir()
    (tmp_path / SET / "manifest.jsonl").touch()
    with pytest.raises(DataError, match="holds a set already"):
        construct(tmp_path, 1)
