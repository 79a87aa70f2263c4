"""The account of a file: a line for each row that is lost or changed, prompts, and sums by task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_tree import clip

from data.admission import AdmissionOptions
from data.commands.check import check
from data.tables import hours, table
from qwen_audio.errors import DataError

ASR = "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"


def tagged(audio: str, text: str = "seven", **columns: Any) -> dict[str, Any]:
    """Make a row of a tagged task."""
    return {"audio": audio, "prompt": ASR, "text": text, **columns}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make recordings of every kind, sound and unsound."""
    clip(tmp_path / "good.wav", seconds=1.0)
    clip(tmp_path / "long.wav", seconds=45.0, rate=16_000)
    clip(tmp_path / "stereo.wav", channels=2)
    clip(tmp_path / "phone.wav", rate=8000)
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF but nothing of it")
    (tmp_path / "empty.wav").write_bytes(b"")
    return tmp_path


def checked(path: Path, rows: list[dict[str, Any] | str], **settings: Any) -> tuple[list[str], str]:
    """Write rows, check them with room for any loss, and return what was said and the tables."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    said: list[str] = []
    return said, check([path], **{"max_lost": 1.0, "say": said.append, "show": 0, **settings})


FAULTS: list[tuple[str, dict[str, Any] | str]] = [
    ("lost (corrupt)", tagged("corrupt.wav")),
    ("lost (empty_text)", tagged("good.wav", "")),
    ("lost (too_long)", tagged("long.wav")),
    ("changed (mono)", tagged("stereo.wav")),
    ("changed (resampled)", tagged("phone.wav")),
    ("lost (unknown_tag)", {**tagged("good.wav"), "prompt": ASR.replace("script", "scription", 1)}),
    ("lost (no_answer)", {"audio": "good.wav", "prompt": ASR}),
    ("lost (past_window)", tagged("good.wav", "never " * 5000)),
    ("lost (no_file)", tagged("gone.wav")),
    ("lost (audio_count)", {"query": "<audio><audio>?", "response": "x", "audios": ["good.wav"]}),
    ("lost (not_json)", '{"audio": "good.wav",'),
    ("lost (duplicate_id)", tagged("good.wav", id="twice")),
]  # fmt: skip


def test_a_file_of_twelve_rows_with_one_of_each_fault_gives_twelve_lines_of_account(folder: Path) -> None:
    path = folder / "rows.jsonl"
    said, tables = checked(path, [row for _, row in FAULTS[:-1]] + [tagged("good.wav", id="twice"), FAULTS[-1][1]])
    assert len(said) == 12
    numbers = [*range(1, 12), 13]  # line 12 is the sound row whose id the last one repeats
    for line, (meaning, _), number in zip(said, FAULTS, numbers, strict=True):
        assert line.startswith(f"{path}:{number}: "), line
        assert f"{meaning}: " in line
    assert tables.endswith(
        "3 admitted, 1 lost (audio_count), 1 lost (corrupt), 1 lost (duplicate_id), 1 lost (empty_text), 1 lost (no_answer), "
        "1 lost (no_file), 1 lost (not_json), 1 lost (past_window), 1 lost (too_long), 1 lost (unknown_tag), "
        "1 changed (mono), 1 changed (resampled)"
    )


OTHER_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("empty_audio", tagged("empty.wav")),
    ("evaluation_split", tagged("good.wav", split="test")),
    ("past_end", tagged("good.wav#t=0.5,3.0")),
    (
        "bad_answer",
        {**tagged("good.wav", "zero<|0.50|>one"), "prompt": ASR.replace("<|notimestamps|><|wo_itn|>", "<|timestamps|><|0.00|>")},
    ),
    ("bad_row", {"audio": "good.wav", "colour": "red"}),
]


@pytest.mark.parametrize(("reason", "row"), OTHER_FAULTS)
def test_each_further_fault_has_its_line_too(folder: Path, reason: str, row: dict[str, Any]) -> None:
    said, tables = checked(folder / "rows.jsonl", [row])
    assert [f"lost ({reason}): " in line for line in said] == [True]
    assert tables == f"0 admitted, 1 lost ({reason})"


def test_a_long_clip_is_cut_where_that_is_asked_and_said(folder: Path) -> None:
    said, tables = checked(folder / "rows.jsonl", [tagged("long.wav")], options=AdmissionOptions(long_audio="windows"))
    (line,) = said
    assert "changed (windows): long.wav: 45.0 s in 2 windows" in line
    assert tables.endswith("1 admitted, 1 changed (windows)")


def test_more_loss_than_allowed_fails_after_everything_was_said(folder: Path) -> None:
    said: list[str] = []
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(tagged("good.wav")) + "\n" + json.dumps(tagged("gone.wav")) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of 2 rows are lost \(1 no_file\), more than the 25\.0% allowed"):
        check([path], max_lost=0.25, show=0, say=said.append)
    account, tables = said
    assert "lost (no_file)" in account
    assert tables.endswith("1 admitted, 1 lost (no_file)")
    assert check([path], max_lost=0.5, show=0, say=said.append) == tables


def test_rows_hours_and_tokens_are_summed_by_task(folder: Path) -> None:
    chat = {"query": "?", "response": "yes", "audios": ["good.wav", "good.wav"]}
    rows: list[dict[str, Any] | str] = [tagged("good.wav"), tagged("good.wav", "eight"), chat, {"query": "q", "response": "r"}]
    _, text = checked(folder / "rows.jsonl", rows, as_json=True)
    report = json.loads(text)
    assert (report["admitted"], report["lost"], report["entries"]) == (4, 0, [])
    assert {name: (task["rows"], task["seconds"], task["audio_tokens"]) for name, task in report["tasks"].items()} == {
        "asr": (2, 2.0, 2 * 27),
        "chat": (1, 2.0, 2 * 27),
        "text": (1, 0.0, 0),
    }
    _, tables = checked(folder / "rows.jsonl", rows)
    lines = [line.split() for line in tables.splitlines()]
    assert ["all", "4", "0.001", "108"] in [line[:4] for line in lines]
    assert lines[8:13] == [["audio", "rows"], ["text", "1", "█" * 20], ["≤", "1", "s", "2", "█" * 40], ["≤", "2", "s", "1", "█" * 20], []]


def test_the_first_rows_are_shown_with_what_is_learned_of_them(folder: Path) -> None:
    said, _ = checked(folder / "rows.jsonl", [tagged("good.wav", f"word {number}") for number in range(3)], show=2)
    assert len(said) == 2
    assert [line.split() for line in said[0].strip().splitlines()] == [
        [f"{folder}/rows.jsonl:1", "asr"],
        ["clip", "1:", "good.wav", "0.00–1.00", "s"],
        ["positions", "text"],
        ["0–26", "[clip", "1:", "27", "positions,", "1.00", "s]"],
        ["27–32", ASR],
        [said[0].split()[-4], "learned", "word", "0<|endoftext|>"],
    ]


def test_new_tags_are_known_where_a_file_names_them(folder: Path) -> None:
    row = {"audio": "good.wav", "prompt": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|bird_species|>", "text": "wren"}
    said, tables = checked(folder / "rows.jsonl", [row])
    assert tables == "0 admitted, 1 lost (unknown_tag)" and "<|bird_species|>" in said[0]
    (folder / "train.yaml").write_text("learning_rate: 1\ncustom_tags: {instructions: [bird_species]}\n", encoding="utf-8")
    said, tables = checked(folder / "rows.jsonl", [row], tags=folder / "train.yaml", show=1)
    assert tables.endswith("1 admitted") and "bird_species" in said[0].splitlines()[0]


def test_relative_paths_begin_at_the_files_folder_or_where_it_is_said(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    assert checked(elsewhere, [tagged("good.wav")])[1].startswith("0 admitted")
    assert checked(elsewhere, [tagged("good.wav")], data_root=folder)[1].endswith("1 admitted")


def test_columns_of_numbers_are_set_to_the_right_and_wide_letters_count_twice() -> None:
    assert table(("a", "n"), [("词", "1,234"), ("x", "5")], rule_before_last=True).splitlines() == [
        "a       n",
        "──  ─────",
        "词  1,234",
        "──  ─────",
        "x       5",
    ]
    assert [hours(seconds) for seconds in (36, 5400, 3_600_000)] == ["0.010", "1.50", "1,000"]
