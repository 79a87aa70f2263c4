"""A record is let into training as it is heard there, or is lost with a reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_tree import clip

from data.admission import AdmissionOptions, TokenCounts, admit, count_tokens, examine
from data.examples import build_prompt, clip_reader
from data.manifest import AudioRef, Record, Turn
from qwen_audio.audio import audio_token_count
from qwen_audio.errors import AudioError, ConfigError
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import prefix_for

OPEN = AdmissionOptions()
CUT = AdmissionOptions(long_audio="windows")
ASR = prefix_for("asr", language="en")
TIMED = prefix_for("srwt_en", language="en")


def asr(*clips: str | AudioRef, target: str = "seven", **changes: object) -> Record:
    """Make a record of a tagged task."""
    refs = tuple(AudioRef(ref) if isinstance(ref, str) else ref for ref in clips)
    return dataclasses.replace(Record("r", refs, target, "asr", ASR), **changes)  # type: ignore[arg-type]


def chat(*refs: AudioRef, target: str = "Rain.") -> Record:
    """Make a record of one question."""
    return Record("c", refs, target, messages=(Turn("user", (*refs, "What is it?")),))


def lost(record: Record, root: Path, options: AdmissionOptions = OPEN, tokenizer: Tokenizer | None = None) -> tuple[str, str]:
    """Give the reason and the detail of a record that is not let in."""
    found, entries = admit(record, "f:1", options, root, tokenizer)
    assert found is None
    (entry,) = entries
    assert (entry.id, entry.where, entry.lost) == (record.id, "f:1", True)
    return entry.reason, entry.detail


def test_lengths_are_filled_in_from_headers(tmp_path: Path) -> None:
    clip(tmp_path / "a.flac", seconds=1.25)
    record, entries = admit(asr("a.flac"), "f:1", OPEN, tmp_path)
    assert record == asr(AudioRef("a.flac", 0.0, 1.25))
    assert not entries
    record, _ = admit(asr(AudioRef("a.flac", 0.5)), "f:1", OPEN, tmp_path)
    assert record is not None
    assert record.audio == (AudioRef("a.flac", 0.5, 0.75),)


def test_stereo_and_another_rate_are_each_a_line_of_account_of_a_row_that_is_kept(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", rate=8000, channels=2)
    record, entries = admit(asr("a.wav"), "f:1", OPEN, tmp_path)
    assert record is not None
    assert [(entry.reason, entry.detail, entry.lost) for entry in entries] == [
        ("mono", "a.wav: 2 channels averaged into one", False),
        ("resampled", "a.wav: 8000 Hz to 16000 Hz", False),
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("gone.wav", None, "no_file"), ("empty.wav", b"", "empty_audio"), ("text.wav", b"no audio at all, but words", "corrupt")],
)
def test_audio_that_cannot_be_heard_is_lost_with_its_reason(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found, detail = lost(asr(name), tmp_path)
    assert found == reason
    assert name in detail


def test_a_clip_below_thirty_milliseconds_is_empty_and_one_of_thirty_is_not(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=479 / 16_000)
    assert lost(asr("a.wav"), tmp_path)[0] == "empty_audio"
    clip(tmp_path / "b.wav", seconds=480 / 16_000)
    assert admit(asr("b.wav"), "f:1", OPEN, tmp_path)[0] is not None


def test_a_file_that_is_damaged_behind_its_header_is_found_by_decoding(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.flac", seconds=4.0)
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000)
    soundfile.write(whole, noise, 16_000)
    data = whole.read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    assert admit(asr("cut.flac"), "f:1", OPEN, tmp_path)[0] is not None, "its header is whole"
    reason, detail = lost(asr("cut.flac"), tmp_path, AdmissionOptions(decode=True))
    assert reason == "corrupt"
    assert "cut off or damaged" in detail


# Stretches and windows ------------------------------------------------------------------------------------------------------


def test_a_stretch_past_the_end_of_its_file_is_lost_and_one_that_rounding_moved_is_not(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=2.0)
    assert lost(asr(AudioRef("a.wav", 2.0)), tmp_path)[0] == "past_end"
    reason, detail = lost(asr(AudioRef("a.wav", 1.0, 1.5)), tmp_path)
    assert (reason, detail) == ("past_end", "a.wav: from 1.00 s to 2.50 s is wanted, the file lasts 2.00 s")
    record, _ = admit(asr(AudioRef("a.wav", 1.0, 1.1)), "f:1", OPEN, tmp_path)
    assert record is not None
    assert record.audio[0].duration_s == 1.0


def test_a_reader_refuses_a_stretch_that_its_file_does_not_hold(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=2.0)
    with pytest.raises(AudioError, match=r"ends at 2\.00 s, the row's stretch at 2\.50 s"):
        clip_reader(tmp_path)(AudioRef("a.wav", 1.0, 1.5))


def test_a_stretch_of_a_long_file_sounds_as_the_same_seconds_of_the_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000 * 3)
    soundfile.write(tmp_path / "a.wav", noise, 16_000, subtype="FLOAT")
    piece = clip_reader(tmp_path)(AudioRef("a.wav", 1.25, 0.5))
    assert np.array_equal(piece.samples, noise[20_000:28_000].astype(np.float32))
    assert (piece.start_s, piece.source) == (1.25, str(tmp_path / "a.wav"))


def test_45_seconds_are_lost_or_two_windows_of_one_audio(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    clip(tmp_path / "long.wav", seconds=45.0)
    reason, detail = lost(chat(AudioRef("long.wav")), tmp_path)
    assert (reason, detail) == ("too_long", "long.wav: 45.0 s, the encoder hears 30 s per clip; --long-audio windows cuts it")
    record, entries = admit(chat(AudioRef("long.wav")), "f:1", CUT, tmp_path, tiny_tokenizer)
    windows = (AudioRef("long.wav", 0.0, 30.0), AudioRef("long.wav", 30.0, 15.0))
    assert record == chat(*windows)
    assert [(entry.reason, entry.detail) for entry in entries] == [("windows", "long.wav: 45.0 s in 2 windows")]
    prompt = build_prompt(record, tiny_tokenizer, clip_reader(tmp_path))
    text = bytes(token_id for token_id in prompt.token_ids if token_id < 256).decode()
    assert "Audio 1:" in text
    assert "Audio 2:" not in text
    assert list(map(len, prompt.spans)) == [752, audio_token_count(15 * 16_000)]
    counts = count_tokens(record, tiny_tokenizer)
    assert counts == TokenCounts(sum(map(len, prompt.spans)), len(prompt.token_ids) - sum(map(len, prompt.spans)), sum(prompt.learned))


def test_a_hair_over_thirty_seconds_is_thirty_and_a_hair_of_a_last_window_is_heard(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=30.005)
    record, entries = admit(asr("a.wav"), "f:1", OPEN, tmp_path)
    assert record is not None
    assert record.audio == (AudioRef("a.wav", 0.0, 30.0),)
    assert not entries
    clip(tmp_path / "b.wav", seconds=60.01)
    record, _ = admit(asr("b.wav"), "f:1", CUT, tmp_path)
    assert record is not None
    assert [(ref.start_s, ref.duration_s) for ref in record.audio] == [(0.0, 30.0), (30.0, 29.98), (pytest.approx(59.98), 0.03)]
    assert [len(clip_reader(tmp_path)(ref).samples) for ref in record.audio] == [480_000, 479_680, 480]


@pytest.mark.parametrize(
    "record",
    [
        asr("long.wav", prefix=TIMED, target="<|0.00|>a<|1.00|>"),
        asr("long.wav", "short.wav"),
        chat(AudioRef("long.wav"), target="at <|2.00|>"),
    ],
)
def test_what_counts_from_the_start_of_one_clip_is_never_cut(tmp_path: Path, record: Record) -> None:
    clip(tmp_path / "long.wav", seconds=31.0)
    clip(tmp_path / "short.wav")
    assert lost(record, tmp_path, CUT)[0] == "too_long"


# Tokens ---------------------------------------------------------------------------------------------------------------------


def test_tokens_are_counted_by_the_renderer_and_a_row_past_the_window_is_lost(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    clip(tmp_path / "a.wav", seconds=1.0)
    found = examine(asr("a.wav"), "f:1", AdmissionOptions(max_tokens=27 + 12), tmp_path, tiny_tokenizer)
    assert found.tokens == TokenCounts(audio=27, text=12, learned=6)  # six tags; "seven" in bytes and the end
    reason, detail = lost(asr("a.wav"), tmp_path, AdmissionOptions(max_tokens=38), tiny_tokenizer)
    assert (reason, detail) == ("past_window", "39 tokens (27 of audio, 12 of text), the window holds 38")


def test_the_count_with_silence_is_the_count_with_sound(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    rates = {"a.wav": 8000, "b.wav": 22_050, "c.wav": 44_100, "d.wav": 48_000}
    for name, rate in rates.items():
        clip(tmp_path / name, seconds=0.7371, rate=rate)
    record = examine(chat(*map(AudioRef, rates)), "f:1", OPEN, tmp_path).record
    assert record is not None
    prompt = build_prompt(record, tiny_tokenizer, clip_reader(tmp_path))
    assert count_tokens(record, tiny_tokenizer).all == len(prompt.token_ids)


# Answers and splits ---------------------------------------------------------------------------------------------------------


def test_an_answer_must_have_the_form_of_its_task(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=1.0)
    timed = asr("a.wav", prefix=TIMED, family="srwt_en")
    assert admit(dataclasses.replace(timed, target="<|0.00|><|sil|><|0.20|>seven<|0.90|>"), "f:1", OPEN, tmp_path)[0] is not None
    assert lost(dataclasses.replace(timed, target="<|0.00|>seven<|0.90|>eight"), tmp_path)[0] == "bad_answer"
    reason, detail = lost(dataclasses.replace(timed, target="<|0.00|>seven<|1.20|>"), tmp_path)
    assert (reason, detail) == ("bad_answer", "the answer tells a time of 1.20 s, its clip lasts 1.00 s")


def test_a_tag_that_nobody_knows_is_lost_in_a_tagged_answer_and_text_in_a_chat(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    clip(tmp_path / "a.wav")
    note = prefix_for("note_analysis")
    reason, detail = lost(
        asr("a.wav", prefix=note, family="note_analysis", target="<|pich|><|midi_pitch_60|>"), tmp_path, OPEN, tiny_tokenizer
    )
    assert reason == "unknown_tag"
    assert "did you mean <|pitch|>" in detail
    assert admit(chat(AudioRef("a.wav"), target="It says <|pich|>."), "f:1", OPEN, tmp_path, tiny_tokenizer)[0] is not None
    arabic = asr("a.wav", prefix=dataclasses.replace(ASR, audio_language="ar", text_language="ar"))
    assert lost(arabic, tmp_path, OPEN, tiny_tokenizer)[0] == "unknown_tag"


@pytest.mark.parametrize("meta", [{"role": "test", "split": "test-clean"}, {"role": "dev"}, {"split": "validation"}])
def test_an_evaluation_split_is_let_in_for_evaluation_alone(tmp_path: Path, meta: dict[str, str]) -> None:
    clip(tmp_path / "a.wav")
    assert lost(asr("a.wav", meta=meta), tmp_path)[0] == "evaluation_split"
    assert admit(asr("a.wav", meta=meta), "f:1", AdmissionOptions(evaluation=True), tmp_path)[0] is not None
    assert admit(asr("a.wav", meta={"role": "train", "split": "dev-is-its-name"}), "f:1", OPEN, tmp_path)[0] is not None


def test_lengths_that_rows_state_are_taken_where_they_are_trusted(tmp_path: Path) -> None:
    stated = asr(AudioRef("nowhere.wav", 0.0, 2.0))
    assert admit(stated, "f:1", AdmissionOptions(trust_durations=True), tmp_path) == (stated, [])
    assert lost(stated, tmp_path)[0] == "no_file"


def test_options_are_checked_when_they_are_made() -> None:
    with pytest.raises(ConfigError, match="long_audio"):
        AdmissionOptions(long_audio="first")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_tokens"):
        AdmissionOptions(max_tokens=0)
