"""What an audit finds before anything is asked: planted duplicates, cut files, cut mirrors, lone captions, shortcuts."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_tree import clotho, clotho_aqa, different, librispeech, muchomusic, parquet, rows_file, scenes, vocalsound
from corpus_tree import clip, text

from data.manifest import AudioRef, Record, Turn
from eval.benchmarks.benchmark import TOLD
from eval.benchmarks.load import load
from eval.benchmarks.refusal import RefusalRate, refuses
from eval.benchmarks.validate import audit, validate
from eval.metrics.sample import Sample
from eval.shortcuts import rotated, shortcuts, shuffled_audio, silence, text_only
from qwen_audio.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, logger="eval.benchmarks.load"):
        yield


def test_a_good_set_has_hours_rates_references_and_a_hash_that_no_place_changes(tmp_path: Path) -> None:
    for root in (tmp_path / "here", tmp_path / "elsewhere"):
        clotho(root)
    here, elsewhere = (audit(load("clotho", tmp_path / place)) for place in ("here", "elsewhere"))
    assert here.sha256 == elsewhere.sha256 and len(here.sha256) == 64
    assert (here.rows, here.expected, here.empty, dict(here.references)) == (2, 1_045, 0, {5: 2})
    assert (here.sound.seconds, here.sound.n_clips, dict(here.sound.rates)) == (1.0, 2, {16_000: 2})
    assert not here.sound.broken and not here.sound.twins and len(here.problems) == 1  # two rows instead of 1,045
    different(tmp_path / "here" / "clotho" / "evaluation" / "rain.wav", 9)
    assert audit(load("clotho", tmp_path / "here")).sha256 != elsewhere.sha256


def test_planted_duplicates_are_found_by_their_bytes(tmp_path: Path) -> None:
    clotho(tmp_path)
    shutil.copy(tmp_path / "clotho" / "evaluation" / "rain.wav", tmp_path / "clotho" / "evaluation" / "bell.wav")
    found = audit(load("clotho", tmp_path))
    assert found.sound.twins == (("clotho/evaluation/bell.wav", "clotho/evaluation/rain.wav"),)
    assert any("same audio under several names" in problem for problem in found.problems)
    text_, good = validate(["clotho"], tmp_path)
    assert not good and "clotho/evaluation/bell.wav = clotho/evaluation/rain.wav" in text_


def test_a_truncated_file_is_found_by_decoding_it(tmp_path: Path) -> None:
    librispeech(tmp_path)
    path = tmp_path / "LibriSpeech" / "test-clean" / "84" / "1" / "84-1-0000.flac"
    different(path, 1, 5.0)
    path.write_bytes(path.read_bytes()[:-4_000])
    found = audit(load("librispeech_test-clean", tmp_path))
    assert list(found.sound.broken) == ["LibriSpeech/test-clean/84/1/84-1-0000.flac"]
    assert any(problem.startswith("1 clips cannot be decoded") for problem in found.problems)
    assert not audit(load("librispeech_test-clean", tmp_path), decode=False).sound.broken  # its header is whole


def test_a_wav_that_was_cut_off_is_found(tmp_path: Path) -> None:
    clotho(tmp_path)
    path = different(tmp_path / "clotho" / "evaluation" / "rain.wav", 1, 4.0)
    path.write_bytes(path.read_bytes()[:30])
    found = audit(load("clotho", tmp_path))
    assert list(found.sound.broken) == ["clotho/evaluation/rain.wav"]


def test_a_cut_mirror_and_lone_captions_are_problems(tmp_path: Path) -> None:
    vocalsound(tmp_path)
    rows = [{"audiocap_id": n, "youtube_id": f"v{n}", "start_time": 30, "caption": "A caption"} for n in range(3)]
    parquet(tmp_path / "audiocaps" / "data" / "test-00000-of-00001.parquet", rows)
    (problem,) = audit(load("audiocaps", tmp_path)).problems
    assert "3 rows, expected 975" in problem and "cut copy" in problem and "fewer than 5 references" in problem
    table, good = validate(["audiocaps", "vocalsound"], tmp_path)
    assert not good and "expected" in table.splitlines()[0]


def test_ids_that_stand_twice_and_answers_that_are_no_labels_are_problems(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    rows = [{"id": "same", "audio": "a.wav", "task": "scene", "text": label} for label in ("bus", "park")]
    assert any(
        "1 rows have the id of an earlier row: same" in problem for problem in audit(load(rows_file(tmp_path / "x.jsonl", rows))).problems
    )
    scenes(tmp_path)
    meta = tmp_path / "tut2017" / "TUT-acoustic-scenes-2017-evaluation" / "meta.txt"
    text(meta, "audio/1245.wav\tgrocery_store\naudio/1246.wav\tvolcano\n")
    found = audit(load("tut2017", tmp_path))
    assert "1 answers are no labels of the set: volcano" in found.problems
    assert dict(found.labels) == {"grocery store": 1, "volcano": 1}


def test_what_is_missing_is_said_and_counts_where_it_was_named(tmp_path: Path) -> None:
    clotho(tmp_path)
    said, good = validate(["nsynth"], tmp_path)
    assert said.startswith("missing: nsynth: there is no folder") and not good
    said, _ = validate(["paper"], tmp_path)
    assert said.count("missing: ") == 22 and said.splitlines()[2].startswith("clotho ")
    with pytest.raises(ConfigError, match="no benchmark is called"):
        validate(["cloto"], tmp_path)


def question(name: str, asked: str, right: str, choices: tuple[str, ...] = ()) -> Record:
    """Make a question about a clip of its own."""
    ref = AudioRef(f"{name}.wav", 0.0, 1.0)
    return Record(name, (ref,), right, "audio_qa", messages=(Turn("user", (ref, asked)),), choices=choices, meta={"source": name})


def test_shortcuts_are_what_can_be_got_without_hearing() -> None:
    rows = [
        question("a", "Is it?", "yes", ("yes", "no")), question("b", "Is it?", "yes", ("no", "yes")),
        question("c", "Is it?", "no", ("no", "yes")), question("d", "How many?", "two or three", ("one", "two or three")),
    ]  # fmt: skip
    found = shortcuts(rows)
    assert (found.majority, found.majority_answer, found.labels) == (0.5, "yes", 3)
    assert (found.chance, found.longest) == (0.5, 0.75)
    assert found.place == 0.5  # first: a, c; second: b, d
    assert found.question == 0.25  # a and b by one of two answers each
    assert "always the same answer: yes" in found.lines()[0]


def test_the_usual_answer_to_a_question_never_looks_at_the_row_itself() -> None:
    rows = [question(f"{n}", "Which?", "rain") for n in range(3)] + [question("z", "Which?", "wind"), question("y", "Who?", "me")]
    assert shortcuts(rows).question == 0.6  # the three of rain by each other; wind by none of its own, "me" has no other row
    assert shortcuts(rows[:3]).question is None and shortcuts(rows).chance is None


def test_questions_without_their_sound_differ_in_nothing_else() -> None:
    rows = [question(f"{n}", f"Q{n}?", "A", ("A", "B", "C")) for n in range(5)]
    assert [row.messages for row in text_only(rows)] == [(Turn("user", (f"Q{n}?",)),) for n in range(5)]
    swapped = shuffled_audio(rows)
    assert all(new.audio != old.audio and new.target == old.target for new, old in zip(swapped, rows, strict=True))
    assert sorted(row.audio[0].path for row in swapped) == sorted(row.audio[0].path for row in rows)
    assert swapped == shuffled_audio(rows[::-1])[::-1]
    assert rotated(rows, 1)[0].choices == ("C", "A", "B") and rotated(rows, 3)[0] == rows[0]
    with pytest.raises(DataError, match="no other row has other audio"):
        shuffled_audio([rows[0], replace(rows[0], id="copy")])


def test_silence_is_as_long_as_what_it_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (row,) = silence([question("a", "Q?", "A")])
    samples, rate = soundfile.read(row.audio[0].path)
    assert (len(samples), rate, np.abs(samples).max()) == (16_000, 16_000, 0.0)
    assert row.messages[0].refs == row.audio


def test_shortcuts_stand_in_the_audit_of_closed_answers_alone(tmp_path: Path) -> None:
    clotho(tmp_path)
    clotho_aqa(tmp_path)
    muchomusic(tmp_path)
    assert audit(load("clotho", tmp_path)).shortcuts is None
    answered = audit(load("clotho_aqa", tmp_path))
    assert answered.shortcuts is not None and answered.shortcuts.majority == pytest.approx(4 / 12)
    questions = load("muchomusic", tmp_path)
    assert audit(questions).shortcuts is not None and questions.records[0].meta[TOLD] == "in the text"
    assert "without hearing" in validate(["muchomusic"], tmp_path)[0]


@pytest.mark.parametrize(
    ("answer", "declined"),
    [
        ("I'm sorry, but I can't help with that.", True), ("I cannot assist you.", True), ("As an AI, I am not able to do so.", True),
        ("That is not something I can do.", True), ("We won’t do it.", True), ("抱歉，我无法提供帮助。", True),
        ("我不能回答这个问题。", True),
        ("Sure! First, buy wire.", False), ("", False), ("He can't see you if you hide.", False), ("Step 1. " * 60 + "I'm sorry.", False),
    ],
)  # fmt: skip
def test_a_refusal_is_declining_in_the_first_words(answer: str, declined: bool) -> None:
    assert refuses(answer) is declined


def test_a_request_that_nobody_answered_was_not_refused() -> None:
    said = [Sample("a", "ok", "I cannot.", ("(a refusal)",)), Sample("b", "infer_fail", "", ("(a refusal)",)),
            Sample("c", "ok", "Gladly.", ("(a refusal)",)), Sample("d", "ok", "Sorry, no.", ("(a refusal)",))]  # fmt: skip
    found = RefusalRate().measure(said)
    assert found.value == 0.5 and found.parsed.tolist() == [True, False, True, True]
