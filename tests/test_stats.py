"""What `stats` counts."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.commands.stats import stats
from qwen_audio.errors import DataError


def test_rows_hours_lengths_and_speakers_are_counted(tmp_path: Path) -> None:
    # 101 clips of 10.0, 10.1, .. 20.0 s: the quantiles are their own.
    languages = ["de", *["en"] * 100]
    rows = [
        {
            "id": f"r{n}", "audio": [{"path": f"{n}.wav", "duration_s": 10 + n / 10}], "target": "x", "family": "asr", "dataset": "read",
            "prefix": {"task": "transcribe", "audio_language": language, "text_language": language}, "meta": {"speaker": f"s{n % 7}"},
        }
        for n, language in enumerate(languages)
    ]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n", encoding="utf-8")
    text = stats([path])
    lines = [line.split() for line in text.splitlines()]
    assert ["asr", "101", "0.421", "10.00", "10.50", "15.00", "19.50", "20.00", "7", "0"] in lines
    assert ["de", "1", "0.003", "10.00", "10.00", "10.00", "10.00", "10.00", "1", "0"] in lines
    assert ["read", "101", "0.421", "10.00", "10.50", "15.00", "19.50", "20.00", "7", "0"] in lines
    assert text.endswith("101 rows, 1 could not be read (not_json)")


def test_a_length_that_no_row_states_is_read_from_the_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(36_000), 16_000)
    rows = [{"audio": "a.wav", "task": "scene", "text": "park"}, {"audio": "none.wav", "task": "scene", "text": "park"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    lines = [line.split() for line in stats([tmp_path / "rows.json"]).splitlines()]
    assert ["scene", "2", "0.001", "2.25", "2.25", "2.25", "2.25", "2.25", "0", "1"] in lines


def test_beyond_twenty_datasets_the_rest_is_one_line(tmp_path: Path) -> None:
    rows = [{"id": str(n), "query": "?", "response": "!", "dataset": f"d{n}"} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = stats([tmp_path / "rows.jsonl"])
    assert any(line.startswith("10 more") and line.split()[2] == "10" for line in text.splitlines())
    with pytest.raises(DataError, match="name at least one"):
        stats([])
    with pytest.raises(DataError, match="no such file"):
        stats([tmp_path / "none.jsonl"])
