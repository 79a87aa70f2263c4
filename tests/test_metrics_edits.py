from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path

import jiwer
import numpy as np
import pytest

from eval.metrics.chunks import by_chunks
from eval.metrics.edits import LENGTH, Wer, alignment, count_edits, wer_for
from eval.metrics.sample import Sample
from eval.normalize import NORMALISERS
from eval.score import score
from eval.scoring_speed import made_up, scoring_speed
from eval.statistics import interval
from qwen_audio.errors import ConfigError, DataError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scoring_lmms.json").read_text(encoding="utf-8"))["languages"]
PAIRS = [(language, preset, pair) for language, table in GOLDEN.items() for preset in ("lmms", "qwen-audio") for pair in table["pairs"]]
VERBATIM = Wer(NORMALISERS["none"])


def heard(reference: str, answer: str, status: str = "ok", name: str = "a") -> Sample:
    return Sample(name, status, answer, (reference,))  # type: ignore[arg-type]


def random_pairs(seed: int, letters: str = "abcdef", longest: int = 12) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    made = [[" ".join(rng.choices(letters, k=rng.randint(least, longest))) for least in (1, 0)] for _ in range(400)]
    return [(reference, hypothesis) for reference, hypothesis in made]


@pytest.mark.parametrize(("language", "preset", "pair"), PAIRS)
def test_a_preset_scores_as_its_original_does(language: str, preset: str, pair: dict) -> None:
    found = wer_for(language, preset).measure([heard(pair["reference"], pair["hypothesis"])])
    assert found.value == pytest.approx(pair[preset], abs=1e-12)


@pytest.mark.parametrize("language", GOLDEN)
@pytest.mark.parametrize("preset", ["lmms", "qwen-audio"])
def test_a_preset_scores_a_corpus_as_its_original_does(language: str, preset: str) -> None:
    samples = [heard(pair["reference"], pair["hypothesis"]) for pair in GOLDEN[language]["pairs"]]
    assert wer_for(language, preset).measure(samples).value == pytest.approx(GOLDEN[language][preset], abs=1e-12)


def test_words_are_counted_as_jiwer_counts_them() -> None:
    pairs = random_pairs(1)
    counts = VERBATIM.counts([heard(*pair) for pair in pairs])
    for (reference, hypothesis), row in zip(pairs, counts, strict=True):
        theirs = jiwer.process_words(reference, hypothesis)
        assert row.tolist() == [theirs.substitutions, theirs.deletions, theirs.insertions, len(reference.split())]


def test_characters_are_counted_as_jiwer_counts_them_where_there_is_no_space() -> None:
    pairs = [(reference.replace(" ", ""), hypothesis.replace(" ", "")) for reference, hypothesis in random_pairs(2, "我你他好a")]
    counts = Wer(NORMALISERS["none"], "char").counts([heard(*pair) for pair in pairs])
    for (reference, hypothesis), row in zip(pairs, counts, strict=True):
        theirs = jiwer.process_characters(reference, hypothesis)
        assert row.tolist() == [theirs.substitutions, theirs.deletions, theirs.insertions, len(reference)]


def test_a_corpus_has_the_rate_that_jiwer_gives_it_and_its_kinds_of_errors_add_up_to_it() -> None:
    pairs = random_pairs(3)
    found = VERBATIM.measure([heard(*pair) for pair in pairs])
    assert found.value == pytest.approx(jiwer.wer([pair[0] for pair in pairs], [pair[1] for pair in pairs]), abs=1e-12)
    assert sum(found.details[kind] for kind in ("substitutions", "deletions", "insertions")) == pytest.approx(found.value)
    assert found.each[:5] == pytest.approx([jiwer.wer(*pair) for pair in pairs[:5]])


def test_an_interval_from_counts_is_that_of_scoring_the_texts_again() -> None:
    pairs, rng = random_pairs(4), np.random.default_rng(0)
    found = VERBATIM.measure([heard(*pair) for pair in pairs])
    chosen = rng.integers(0, len(pairs), (20, len(pairs)))
    again = [jiwer.wer([pairs[place][0] for place in row], [pairs[place][1] for place in row]) for row in chosen]
    assert found.statistic(found.sums[chosen].sum(1)) == pytest.approx(again, abs=1e-12)
    bounds = interval(found.sums, found.statistic, [str(place % 50) for place in range(len(pairs))], limits=found.limits)
    assert bounds.low < found.value < bounds.high


@pytest.mark.parametrize("status", ["infer_fail", "too_long", "bad_audio"])
def test_a_sample_without_an_answer_counts_as_every_word_left_out(status: str) -> None:
    samples = [heard("a b c d", "a b c d", name="1"), heard("a b c d", "what was left in the answer's place", status, name="2")]
    found = VERBATIM.measure(samples)
    assert (found.value, found.details["deletions"], found.each.tolist()) == (0.5, 0.5, [0.0, 1.0])
    assert score("set", samples, [VERBATIM])[0].lenient == 0.0


def test_words_said_where_nothing_was_to_be_said_are_insertions_without_length() -> None:
    found = VERBATIM.measure([heard("a b", "a b", name="1"), heard("", "c d e", name="2"), heard("", "", name="3")])
    assert found.sums.tolist() == [[0, 2], [3, 0], [0, 0]]
    assert (found.value, found.each.tolist(), found.details["empty_references"]) == (1.5, [0, 3, 0], 2)
    assert np.isnan(VERBATIM.measure([heard("", "")]).value)


def test_of_several_references_the_first_counts_unless_the_recipe_says_the_closest() -> None:
    samples = [Sample("a", "ok", "a b d", ("a b c", "a b d e", "a b d")), Sample("b", "ok", "x", ("x y", "x z"))]
    assert VERBATIM.measure(samples).sums.tolist() == [[1, 3], [1, 2]]
    closest = Wer(NORMALISERS["none"], closest=True)
    assert closest.measure(samples).sums.tolist() == [[0, 3], [1, 2]]
    assert closest.signature == "wer|norm:none:1|tok:word|refs:closest|v1"


def test_a_signature_names_the_whole_recipe() -> None:
    assert wer_for("en").signature == "wer|norm:whisper-en:0.1.15|tok:word|v1"
    assert wer_for("zh_tr").signature == "cer|norm:chinese:1|tok:char|v1"
    assert Wer(NORMALISERS["spoken"], "char", name="letters", version=2).signature == "cer|norm:spoken:1|tok:char|v2"


@pytest.mark.parametrize(
    ("language", "name", "rule"),
    [
        ("en-US", "wer", "whisper-en"), ("cmn_hans_cn", "cer", "chinese"), ("yue", "cer", "chinese"), ("ja", "cer", "whisper-basic"),
        ("ko", "cer", "whisper-basic"), ("th", "cer", "whisper-marks"), ("hi", "wer", "whisper-marks"), ("de", "wer", "whisper-basic"),
        ("", "wer", "whisper-basic"),
    ],
)  # fmt: skip
def test_a_language_has_the_rate_and_the_rule_that_suit_its_writing(language: str, name: str, rule: str) -> None:
    chosen = wer_for(language)
    assert (chosen.name, chosen.normaliser.name) == (name, rule)


def test_an_alignment_says_what_became_of_every_word() -> None:
    assert alignment(["the", "cat", "sat"], ["a", "cat", "sat", "there"]) == [
        ("substitution", "the", "a"), ("equal", "cat", "cat"), ("equal", "sat", "sat"), ("insertion", None, "there"),
    ]  # fmt: skip
    assert alignment(["a", "b"], []) == [("deletion", "a", None), ("deletion", "b", None)]
    assert wer_for("en").split("<|en|>He's 5!") == ["he", "is", "5"]


def test_several_processes_count_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.metrics.chunks.CHUNK", 150)
    pairs = random_pairs(5)
    count = partial(count_edits, normalise=NORMALISERS["spoken"].apply, tokens="word")
    assert (by_chunks(count, pairs, 4, processes=2) == by_chunks(count, pairs, 4, processes=1)).all()


def test_what_cannot_be_counted_is_refused_with_its_name() -> None:
    with pytest.raises(DataError, match="clip-7: no reference"):
        VERBATIM.measure([Sample("clip-7", "ok", "a", ())])
    with pytest.raises(ConfigError, match="expected one of ours, qwen-audio, lmms"):
        wer_for("en", "kimi")
    with pytest.raises(ConfigError, match="expected word or char"):
        Wer(NORMALISERS["none"], "phone")  # type: ignore[arg-type]
    assert VERBATIM.counts([]).shape == (0, 1 + LENGTH)


def test_the_speed_of_scoring_is_told_with_what_was_scored() -> None:
    table = scoring_speed(60)
    assert table.startswith("60 answers of 2,000 speakers") and "| wer | " in table and "| bleu | " in table
    assert [sample.answer for sample in made_up(5)] == [sample.answer for sample in made_up(5)]
