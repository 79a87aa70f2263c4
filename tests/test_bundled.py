"""The measurement of the bundled model: its intervals, its metrics, its neighbour."""

from pathlib import Path

import numpy as np
import pytest
from prepared_tree import write_tree  # type: ignore[import-not-found]

from data.manifest import AudioRef, Record
from eval.baseline import log_mel_statistics, predict
from eval.bundled import CHARACTERS, EXACT, NEAR, PITCH, TIMES, WORDS, measure, merge_captions, metrics_of, score
from eval.report.tables import beside_baseline
from eval.score import Score
from qwen_audio.engine import Engine
from tag_schema.tasks import prefix_for


def record(family: str, target: str, language: str = "en", **meta: str) -> Record:
    prefix = prefix_for(family, language=language)
    return Record(f"{family}{target}", (AudioRef("a.wav", 0.0, 1.0),), target, family, prefix, meta=meta)


def test_word_and_character_errors_follow_the_language() -> None:
    assert WORDS.add(record("asr", "it is late"), "It was late, late!") == (2.0, 3.0)
    assert CHARACTERS.add(record("asr", "\u4e94\u6708", "zh"), "\u4e94 \u65e5") == (1.0, 2.0)
    assert metrics_of(record("asr", "x", "ja")) == (CHARACTERS,)
    assert metrics_of(record("asr", "x", "de")) == (WORDS,)


def test_a_pitch_is_right_near_or_unreadable() -> None:
    note = record("note_analysis", "<|pitch|><|midi_pitch_60|>", midi="60")
    assert PITCH.add(note, "<|pitch|><|midi_pitch_60|><|instrument|>oboe") == (1.0, 1.0)
    assert PITCH.add(note, "<|pitch|><|midi_pitch_61|>") == (0.0, 1.0) and NEAR.add(note, "<|pitch|><|midi_pitch_61|>") == (1.0, 1.0)
    assert NEAR.add(note, "a cello") == (0.0, 1.0)


def test_boundary_errors_count_words_heard_rightly() -> None:
    spoken = record("srwt_en", "<|0.00|><|sil|><|0.10|>one<|0.40|>two<|0.80|>")
    total, count = TIMES.add(spoken, "<|0.00|>one<|0.40|>three<|0.90|>")
    assert total == pytest.approx(50.0) and count == 1.0  # (100 + 0) / 2 ms over the one word
    assert TIMES.add(spoken, "nothing") == (0.0, 0.0)


def test_any_caption_of_a_clip_is_right() -> None:
    one, two = record("audio_caption", "A dog."), record("audio_caption", "A dog barks.")
    same = [
        Record(**{name: getattr(r, name) for name in r.__slots__} | {"id": "x#audio_caption" + end}) for r, end in ((one, ""), (two, ".1"))
    ]
    (merged,) = merge_captions(same)
    assert EXACT.add(merged, "a dog.") == EXACT.add(merged, "A dog barks.") == (1.0, 1.0)
    assert EXACT.add(merged, "A cat.") == (0.0, 1.0)


def test_the_regression_tells_low_from_high_noise() -> None:
    rng = np.random.default_rng(0)

    def noise(smooth: int) -> np.ndarray:
        return np.convolve(rng.standard_normal(8000), np.ones(smooth) / smooth, "same").astype(np.float32)

    clips = [noise(smooth) for smooth in (40, 1) for _ in range(20)]
    labels = [name for name in ("low", "even") for _ in range(20)]
    assert predict(clips, labels, [noise(40), noise(1)]) == ["low", "even"]
    assert log_mel_statistics(np.zeros(10, np.float32)).shape == log_mel_statistics(clips[0]).shape


def test_the_table_writes_shares_and_times_each_in_its_unit() -> None:
    def made(name: str, metric: str, value: float, low: float, high: float, unit: str) -> Score:
        return Score(name, metric, value, value, unit, "higher", 10, {"ok": 10}, low, high, 10, "sample", "")

    scores = [made("a", "exact", 0.5, 0.2, 0.8, "%"), made("b", "boundary error", 31.4, 20.0, 40.0, "ms")]
    table = beside_baseline(scores, {("a", "exact"): made("a", "exact", 0.25, 0.1, 0.4, "%")})
    assert "| a | exact | 10 | 50.0% | 20.0% to 80.0% | 25.0% |" in table
    assert "| b | boundary error | 10 | 31 ms | 20 ms to 40 ms |  |" in table


def test_a_whole_measurement_covers_every_task_of_the_dev_rows(tiny_engine: Engine, tmp_path: Path) -> None:
    write_tree(tmp_path)
    report = measure(tiny_engine, tmp_path, tmp_path / "splits", [], lambda folder: tiny_engine)
    named = {one["benchmark"] for one in report["scores"]}
    assert {"digits asr, text seen", "notes note_analysis", "notes instrument", "sounds sound_event", "speech srwt_en"} <= named
    assert all(one["n"] >= 1 and one["signature"] for one in report["scores"])
    assert {answer["id"] for answer in report["answers"]} >= {"digits/7_george_0#asr", "sounds/dog#sound_event"}


def test_a_score_over_nothing_heard_is_not_a_perfect_score() -> None:
    spoken = record("srwt_en", "<|0.00|>one<|0.40|>")
    assert np.isnan(score("x", TIMES, [spoken], ["nothing"]).value)


def test_the_timed_dialogue_does_the_same_work_on_both_sides() -> None:
    from eval import speed

    assert len(speed.TURNS) == len(speed.NEW_CLIP)
    table = speed.run(seconds=0.5, new_tokens=2, rounds=1)
    assert table.count("\n") == 5 and "| 3, new clip |" in table
