"""Recipes of questions about sounds, on trees in the real layouts."""

import json
from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.recipes import answering
from data.recipes.answering import json_array
from qwen_audio.errors import DataError


def test_clotho_aqa_keeps_all_rows_and_says_how_many_agree(tmp_path: Path) -> None:
    head = "file_name,QuestionText,answer,confidence\n"
    raining = "".join(f"rain.wav,Is it raining?,{answer}\n" for answer in ("yes,yes", "yes,maybe", "no,no"))
    rows = f"{raining}rain.wav,What falls?,water,yes\n"
    text(tmp_path / "clotho_aqa_test.csv", head + rows + "gone.wav,What?,dog,yes\n")
    clip(tmp_path / "audio_files" / "rain.wav")
    lost = entries("clotho_aqa", tmp_path, "test")
    assert [(entry.reason, entry.where.rsplit(":", 1)[-1]) for entry in lost] == [("no_file", "6")]
    text(tmp_path / "clotho_aqa_test.csv", head + rows)
    records = walked("clotho_aqa", tmp_path, "test")
    assert [(record.target, record.meta["agreement"], record.meta["kind"]) for record in records] == [
        ("yes", "2", "yes/no"),
        ("yes", "2", "yes/no"),
        ("no", "1", "yes/no"),
        ("water", "1", "word"),
    ]
    assert len({record.id for record in records}) == 4 and {record.meta["source"] for record in records} == {"rain.wav"}


def test_a_question_stands_in_the_sentence_of_the_released_evaluation(tmp_path: Path) -> None:
    text(tmp_path / "clotho_aqa_train.csv", "file_name,QuestionText,answer,confidence\nrain.wav,Is it raining?,yes,yes\n")
    clip(tmp_path / "audio_files" / "rain.wav")
    (record,) = walked("clotho_aqa", tmp_path, "train")
    assert record.prefix is not None
    assert record.prefix.sentence() == "<|startofanalysis|><|en|><|question|>Is it raining?<|answer|>"


def test_openaqa_finds_clips_by_name_and_takes_off_the_mark_of_closed_questions(tmp_path: Path) -> None:
    row = {"input": "", "audio_id": "/data/sls/audioset/dave_version/audio/LZq4Neh-oWU.flac", "dataset": "as_strong_train"}
    rows = [
        row | {"instruction": "Why is there crying?", "task": "open-ended question", "output": "Someone is sad."},
        row | {"instruction": "Closed-ended question: What is heard?", "task": "cla_label", "output": "crying"},
        row | {"audio_id": "gone.flac", "instruction": "What?", "output": "x"},
        row | {"instruction": "What?", "output": None},
        row | {"dataset": "vggsound_test", "instruction": "What?", "output": "x"},
        row | {"instruction": " ", "output": "x"},
    ]
    text(tmp_path / "openaqa_5.6M.json", rows[:2])
    clip(tmp_path / "audio" / "audioset" / "LZq4Neh-oWU.wav")
    first, second = walked("openaqa", tmp_path, "train")
    assert second.prefix is not None and (second.prefix.question, second.target) == ("What is heard?", "crying")
    assert (first.meta["corpus"], first.meta["kind"]) == ("as_strong_train", "open-ended question")
    text(tmp_path / "openaqa_5.6M.json", rows)
    assert [entry.reason for entry in entries("openaqa", tmp_path, "train")] == ["no_file", "bad_row", "evaluation_split", "empty_text"]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_an_array_is_read_the_same_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    rows = [{"a": "é] , {", "n": n, "deep": [{"b": [1, 2]}]} for n in range(5)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(answering, "CHUNK", chunk)
    assert list(json_array(path)) == rows


@pytest.mark.parametrize(
    ("content", "said"), [('{"a": 1}', "expected a JSON array"), ('[{"a": 1}, {"a"', "not closed"), ("[1]", "found int")]
)
def test_what_is_no_array_of_objects_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(json_array(path))
