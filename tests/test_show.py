"""One row as training sees it: its positions and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_tree import clip as write_clip

from data.commands.picture import draw, timed_labels
from data.commands.show import show, words_of
from data.manifest import AudioRef, Record, Turn
from qwen_audio.errors import DataError
from tag_schema.tasks import prefix_for

ASR = "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"
ROWS: list[Any] = [
    {"id": "one", "audio": "a.wav", "prompt": ASR, "text": "seven"},
    {"id": "two", "query": "<audio>Which is louder, this or <audio>?", "response": "喵 is.", "audios": ["a.wav", "b.wav"]},
    {"id": "three", "query": "Hi", "response": "Hello."},
    {"id": "four", "audio": "gone.wav", "prompt": ASR, "text": "x"},
    {"colour": "red"},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Write rows and their clips."""
    write_clip(tmp_path / "a.wav", seconds=1.0)
    write_clip(tmp_path / "b.wav", seconds=45.0, rate=8000, channels=2)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_a_tagged_row_is_laid_out_position_by_position(rows: Path) -> None:
    tokenizer, _ = words_of("mini")
    lines = show(rows, 1).splitlines()
    answer = tokenizer.encode_answer("seven")
    total = 27 + 6 + len(answer) + 1  # 27 places for one second, six tags, the answer and the end of text
    assert lines[0] == f"{rows}:1  one  asr"
    assert lines[1] == f"  {total} positions: 27 audio, {total - 27} text, {len(answer) + 1} of them learned"
    assert lines[2].endswith("a.wav  0.00–1.00 s  (16 kHz)")
    table = [line.split() for line in lines[4:]]
    assert table[1] == ["0–26", str(tokenizer.audio_start), "..", str(tokenizer.audio_end), "[clip", "1:", "27", "positions,", "1.00", "s]"]
    assert table[2] == ["27–32", *(str(token_id) for token_id in tokenizer.encode_tags(ASR)), ASR.replace("><", ">│<")]
    learned = [*answer, tokenizer.end_of_text]
    assert table[3][: len(learned) + 2] == [f"33–{total - 1}", *map(str, learned), "learned"]
    assert lines[-1].replace("│", "").endswith("seven<|endoftext|>")


def test_a_row_is_found_by_its_line_its_place_or_its_id(rows: Path) -> None:
    assert show(rows, 3) == show(rows, "three") == show(rows, f"{rows}:3")
    with pytest.raises(DataError, match=r"no row 6; expected the number of a line, FILE:LINE or an id"):
        show(rows, 6)


def test_what_is_learned_of_a_dialogue_is_marked_and_windows_are_said(rows: Path) -> None:
    text = show(rows, "two")
    assert "changed (mono)" in text
    assert "b.wav: 45.0 s in 2 windows" in text
    marked = [line for line in text.splitlines() if " learned " in line]
    assert len(marked) == 1
    assert "<|im_end|>" in marked[0]
    assert marked[0].count("\\x") + marked[0].count("喵") >= 1, "a letter of several tokens is shown by its bytes"
    assert [line.partition("clip ")[2][:2] for line in text.splitlines() if "positions, " in line] == ["1:", "2:", "3:"]


def test_a_row_that_cannot_be_trained_on_is_answered_with_the_line_of_account(rows: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:4: four: lost \(no_file\)"):
        show(rows, "four")
    with pytest.raises(DataError, match=r"rows\.jsonl:5: lost \(bad_row\)"):
        show(rows, 5)


def test_a_picture_of_every_clip_is_written_and_text_alone_has_none(rows: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = rows.parent / "deep" / "two.png"
    assert show(rows, "two", picture=picture).endswith(f"picture: {picture}")
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    height = int.from_bytes(data[20:24], "big")
    show(rows, "one", picture=picture)
    assert height > 2 * int.from_bytes(picture.read_bytes()[20:24], "big"), "three clips are higher than one"
    with pytest.raises(DataError, match="a row of text alone has no picture"):
        show(rows, "three", picture=picture)


def test_words_are_drawn_one_after_another_and_events_that_overlap_in_lanes() -> None:
    clips = (AudioRef("a.wav"),)
    words = Record("w", clips, "<|0.00|><|sil|><|0.20|>one<|0.50|>two<|0.90|>", "srwt_en", prefix_for("srwt_en"))
    assert [(label.text, label.start_s, label.end_s, label.lane) for label in timed_labels(words)] == [
        ("one", 0.2, 0.5, 0),
        ("two", 0.5, 0.9, 0),
    ]
    events = Record(
        "e",
        clips,
        "dog<|0.10|><|0.60|>rain<|0.30|><|0.90|>dog<|0.60|><|0.70|>",
        "sound_event_detection",
        prefix_for("sound_event_detection"),
    )
    assert [(label.text, label.lane) for label in timed_labels(events)] == [("dog", 0), ("rain", 1), ("dog", 0)]
    chat = Record("c", clips, "It barks from <|0.10|> to <|0.40|>.", messages=(Turn("user", (*clips, "When?")),))
    assert [(label.text, label.start_s, label.end_s) for label in timed_labels(chat)] == [("", 0.1, 0.4)]


def test_letters_that_no_font_has_do_not_hinder_a_picture(tmp_path: Path, clip) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("matplotlib")
    _, config = words_of("mini")
    record = Record("w", (AudioRef("a.wav"),), "<|0.00|>\U0001f9a4<|0.50|>$x^2$<|0.90|>", "srwt_en", prefix_for("srwt_en"))
    draw(record, [clip(1.0)], config, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
