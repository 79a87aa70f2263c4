"""The commands of the benchmarks, from the flags to the files that they write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from benchmark_tree import build

from eval.__main__ import main
from eval.benchmarks.load import load
from eval.benchmarks.table import BENCHMARKS

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ROWS = (
    {"id": "seven", "audio": [{"path": "seven.wav"}], "family": "asr", "target": "seven", "language": "en"},
    {"id": "not nine", "audio": [{"path": "three.flac"}], "family": "asr", "target": "nine", "language": "en"},
    {"id": "rain", "audio": [{"path": "rain.ogg"}], "family": "sound_event", "target": "rain"},
    {"id": "clock", "audio": [{"path": "clock.ogg"}], "family": "sound_event", "target": "clock tick"},
)
PROMPTS = {
    "asr": {"task": "transcribe", "audio_language": "en", "text_language": "en", "instruction": "wo_itn"},
    "sound_event": {"task": "keyword", "text_language": "en", "instruction": "event"},
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "heard.jsonl"
    lines = [{key: value for key, value in row.items() if key != "language"} | {"prefix": PROMPTS[str(row["family"])]} for row in ROWS]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("samples.jsonl", "results.json")}


def test_every_built_in_set_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = build(tmp_path / "data")
    answers = {record.id: record.target for name in BENCHMARKS for record in load(name, data).records}
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"id": name, "answer": answer}) + "\n" for name, answer in answers.items()), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["run", "-m", str(file), "-t", ",".join(BENCHMARKS), "--data-root", str(data), "-o", str(out), "-q"]) == 0
    told = capsys.readouterr().out
    for name in BENCHMARKS:
        results = json.loads((out / name / "results.json").read_text(encoding="utf-8"))
        assert results["scores"] and results["n"] >= 1, name
        assert name in told
    assert "Qwen-Audio" in told  # the paper's table stands beside
    assert main(["score", str(out), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= len(BENCHMARKS)


def test_mini_answers_rows_and_the_run_is_scored_compared_and_reported(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", "-m", "mini", "-t", str(rows), "--data-root", str(EXAMPLES), "-o", str(out), "-q"]
    assert main(run) == 0
    first = digests(out / "heard")
    scores = json.loads((out / "heard" / "results.json").read_text(encoding="utf-8"))["scores"]
    found = {(one["benchmark"], one["metric"]): one["value"] for one in scores if not one["subgroup"]}
    assert found["heard asr en", "wer"] == 0.5  # one of two words, for the other row's truth is wrong
    assert main(run) == 0  # nothing is left to ask
    assert digests(out / "heard") == first
    assert main(["score", str(out)]) == 0
    assert digests(out / "heard") == first
    capsys.readouterr()
    assert main(["compare", str(out), str(out), "--format", "json"]) == 0
    assert {one["difference"]["p_randomisation"] for one in json.loads(capsys.readouterr().out) if one["difference"]} == {1.0}
    page = tmp_path / "report.html"
    assert main(["report", str(out), "-t", str(rows), "--data-root", str(EXAMPLES), "-o", str(page)]) == 0
    assert "data:audio" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["parity", "-m", "mini", "-t", str(rows), "--data-root", str(EXAMPLES), "--against", "none", "-b", "2"]) == 0
    assert "100" in capsys.readouterr().out


def test_sets_are_audited_and_listed(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-t", str(rows), "--data-root", str(EXAMPLES)]) == 0
    assert main(["ls"]) == 0
    assert "librispeech_test-clean" in capsys.readouterr().out


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-t", "nosuch", "-o", str(tmp_path)]) == 1
    assert main(["run", "-t", "clotho", "-o", str(tmp_path), "--data-root", str(tmp_path)]) == 1
    assert main(["score", str(tmp_path / "nowhere")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3 and all(line.startswith("error: ") for line in told)
