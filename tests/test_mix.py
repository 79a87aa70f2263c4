"""What `mix` prints: admitted rows, losses with reasons, weights, caps, hours, tokens and shares."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data.commands.mix import mix
from qwen_audio.errors import ConfigError, DataError


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    for row in rows:
        if "seconds" in row:
            path = folder / str(row["audio"])
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(int(row.pop("seconds") * 16_000), 0.1), 16_000)
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two files: 3 transcripts of 1 s with a lost row and one held out; 6 sounds of 2 s."""
    said = {"task": "asr", "language": "en", "text": "well", "dataset": "read"}
    asr = [{"id": f"a{n}", "audio": f"a/{n}.wav", **said, "speaker": f"s{n}", "seconds": 1} for n in range(4)]
    write(tmp_path, "asr.jsonl", [*asr, {"id": "gone", "audio": "gone.wav", **said}])
    heard = {"task": "sound_event", "text": "tone", "dataset": "bells"}
    sounds = [{"id": f"s{n}", "audio": f"s/{n}.wav", **heard, "seconds": 2} for n in range(6)]
    write(tmp_path, "sounds.jsonl", sounds)
    settings = f"sources: [{tmp_path}/asr.jsonl, {{path: {tmp_path}/sounds.jsonl, weight: 2}}]\nhold_out: [speaker=s3]\nmax_lost: 0.5\n"
    (tmp_path / "mix.yaml").write_text(settings, encoding="utf-8")
    return tmp_path


def cells(text: str, first: str) -> list[str]:
    """Find the line that begins with a word and return its other cells."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])[1:]


def test_a_line_a_task_says_what_is_there_and_what_is_drawn(folder: Path) -> None:
    # Shares are as 1 * 3 rows to 2 * 6 rows; audio as 0.2 * 1 s to 0.8 * 2 s.
    text = mix(folder / "mix.yaml", draws=1800)
    rows, lost, held, hours, tokens, draws, audio = cells(text, "asr")
    assert (rows, lost, held, hours, draws, audio) == ("3", "1", "1", "0.001", "20.00%", "11.11%")
    assert cells(text, "sound_event")[:3] == ["6", "0", "0"] and cells(text, "sound_event")[-2:] == ["80.00%", "88.89%"]
    assert cells(text, "all")[:3] == ["9", "1", "1"]
    # 1800 draws: 360 s and 2880 s; each transcript is seen 120 times, each sound 240 times.
    assert "1,800 draws: 0.900 hours of audio" in text
    assert cells(text, "read/asr")[-3:] == ["1", "1", "120.00"] and cells(text, "bells/sound_event")[-3:] == ["2", "1", "240.00"]
    assert int(tokens) == 3 * (27 + 9)  # 25 spans of 40 ms and two bounds, six tags, two ranks of text, the end


def test_reasons_and_hold_outs_are_told_for_each_source(folder: Path) -> None:
    text = mix(folder / "mix.yaml", model=None)
    assert f"{folder}/asr.jsonl: 5 rows, 3 admitted" in text
    assert "lost     1 no_file: there is no such audio file" in text
    assert "held out 1 by speaker=s3" in text
    assert "an estimate" in text and "training refuses" not in text


def test_what_training_would_refuse_is_said(folder: Path) -> None:
    text = mix(folder / "mix.yaml", max_lost=0.0)
    assert "training refuses it:" in text and "1 of 4 rows are lost (1 no_file), more than the 0.0% allowed" in text


def test_caps_are_shown_and_hold(folder: Path) -> None:
    text = mix(folder / "mix.yaml", caps={"sound_event": 0.5})
    assert cells(text, "sound_event")[-3] == "50.00%" and cells(text, "sound_event")[-1] == "50.0%"
    assert cells(text, "asr")[5] == "50.00%"


def test_a_share_that_is_there_is_never_written_as_nothing(folder: Path) -> None:
    text = mix(folder / "mix.yaml", weights={"read/*": 1e-7, "*": 1})
    assert cells(text, "asr")[5] == "0.0001%"  # one draw in a million, the least that there is


def test_a_mixture_that_cannot_be_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="draws is 0"):
        mix(folder / "mix.yaml", draws=0)
    with pytest.raises(ConfigError, match="no sources"):
        mix(folder / "mix.yaml", sources=[])
    with pytest.raises(DataError, match="no such file of rows"):
        mix(folder / "mix.yaml", sources=["nowhere/*.jsonl"])
    with pytest.raises(ConfigError, match="fits no group; groups: bells/sound_event, read/asr"):
        mix(folder / "mix.yaml", weights={"song/*": 1})


def test_files_that_one_pattern_fits_are_one_source(folder: Path) -> None:
    text = mix(folder / "mix.yaml", sources=[str(folder / "*.jsonl")])
    assert f"{folder}/*.jsonl: 11 rows, 9 admitted" in text
    assert cells(text, "asr")[5] == "33.33%"
