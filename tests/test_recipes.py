"""Prepared sets, and the conversations made of them."""

import json
import random
from pathlib import Path

import pytest
from prepared_tree import DIGIT, NOTE, SENTENCE, SOUND, write_tree  # type: ignore[import-not-found]

from data.groups import group, held_out, prepared_records, split_rows, weigh
from data.recipes.conversations import TEXT_ONLY, chat_records, note_name, pair_records, with_article
from data.recipes.prepared import prepared_sets, spoken_form, tagged_records
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import TASKS


def by_family(row: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {record.family or "": record.target for record in tagged_records(row)}


def test_a_row_becomes_every_task_that_it_may_serve() -> None:
    assert by_family(DIGIT) == {"asr": "seven", "language_id": "English"}
    assert by_family(NOTE) == {"note_analysis": "<|pitch|><|midi_pitch_60|><|instrument|>cello", "instrument": "cello"}
    assert by_family(SOUND) == {"sound_event": "dog bark", "audio_caption": "A dog."}  # the last of its captions
    assert by_family(SENTENCE)["srwt_en"] == "<|0.00|><|sil|><|0.10|>it's<|0.40|><|sil|><|0.50|>late<|0.90|><|sil|><|1.00|>"


@pytest.mark.parametrize("row", [DIGIT, NOTE, SOUND, SENTENCE])
def test_every_target_is_read_by_its_own_task(row: dict) -> None:  # type: ignore[type-arg]
    for record in tagged_records(row):
        assert record.family is not None
        assert TASKS[record.family].parse(record.target)
        assert record.prefix is not None and TASKS[record.family].covers(record.prefix)


def test_a_row_over_thirty_seconds_gives_no_record() -> None:
    long = {**DIGIT, "duration_s": 31.0}
    assert tagged_records(long) == [] and chat_records(long, random.Random(0)) == []


def test_spoken_form_keeps_words_and_inner_apostrophes() -> None:
    assert spoken_form("  It\u2019s 'late', Mr. O'Neil: go!") == "it's late mr o'neil go"
    assert spoken_form("\u3053\u3093\u306b\u3061\u306f\u3002") == "\u3053\u3093\u306b\u3061\u306f"
    assert spoken_form("Re\u0301sume\u0301") == "r\u00e9sum\u00e9"


def test_note_names_are_scientific_pitch() -> None:
    assert [note_name(midi) for midi in (21, 60, 61, 69)] == ["A0", "C4", "C#4", "A4"]


def test_articles_follow_the_sound_of_a_noun() -> None:
    assert [with_article(noun) for noun in ("oboe", "cello", "one", "eight", "rain")] == ["an oboe", "a cello", "a one", "an eight", "rain"]


def test_chat_asks_what_the_labels_can_answer() -> None:
    asked = {record.messages[0].parts[1]: record.target for seed in range(40) for record in chat_records(DIGIT, random.Random(seed))}
    assert asked["What digit is said?"] == "Seven."
    assert asked["What do you hear?"] == 'Someone says "seven" in English.'
    assert asked["Which language is spoken?"] == "English."


def test_pairs_answer_by_the_clip_they_ask_for() -> None:
    rows = [DIGIT, NOTE, SOUND, {**NOTE, "id": "n2", "midi": 72}, {**DIGIT, "id": "d2", "text": "two"}]
    records = pair_records(rows, 400, random.Random(1))
    assert len(records) == 400
    which = [r for r in records if r.target in ("Audio 1.", "Audio 2.")]
    first = sum(r.target == "Audio 1." for r in which) / len(which)
    assert 0.4 < first < 0.6  # not to be guessed by always naming one
    higher = [r for r in which if "higher" in str(r.messages[-1].parts[-1])]
    assert higher and all(len(r.audio) == 2 for r in higher)


def test_questions_without_audio_are_told_so() -> None:
    assert TEXT_ONLY[0][1] == "There is no audio yet. Please add a clip."


def test_only_listed_recordings_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path)
    rows = split_rows(tmp_path, tmp_path / "splits", "train")
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in (DIGIT, NOTE, SOUND, SENTENCE))
    (tmp_path / "splits" / "train.tsv").write_text(f"digits\t{DIGIT['source_path']}\n", encoding="utf-8")
    assert [row["id"] for row in split_rows(tmp_path, tmp_path / "splits", "train")] == [DIGIT["id"]]


def test_a_missing_list_or_set_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.tsv: no such split list"):
        split_rows(tmp_path, tmp_path, "train")
    with pytest.raises(DataError, match="no prepared set here"):
        prepared_sets(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.jsonl").write_text(json.dumps({"id": "x"}) + "\n", encoding="utf-8")
    (tmp_path / "train.tsv").write_text("broken\tx\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.jsonl:1"):
        split_rows(tmp_path, tmp_path, "train")


def test_hold_outs_reach_pairs_and_source_sets(tmp_path: Path) -> None:
    write_tree(tmp_path)
    records = prepared_records(split_rows(tmp_path, tmp_path / "splits", "train"), pairs=50, seed=0)
    kept = [record for record in records if not held_out(record, ["speaker=george", "dataset=sounds"])]
    assert kept and not any("george" in record.meta.get("speaker", "") for record in kept)
    assert not any("sounds\t" in record.meta.get("source", "") for record in kept)


def test_weights_go_by_the_first_pattern_and_misspelt_ones_are_refused() -> None:
    groups = group(record for row in (DIGIT, NOTE) for record in tagged_records(row))
    assert weigh(groups, {"digits/asr": 3.0, "*": 1.0})["digits/asr"] == 3.0
    assert weigh(groups, {"digits/*": 2.0})["notes/instrument"] == 0.0
    with pytest.raises(ConfigError, match="'digit/asr' fits no group"):
        weigh(groups, {"digit/asr": 1.0})
