"""Labels against the truth, with scikit-learn as the oracle; entities by hand-counted toys."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, recall_score

from eval.metrics.labels import ACTION, INTENT, LABEL, LABEL_SET, SONG, TITLE, YES_NO, Accuracy, BinaryAccuracy, EntityF1, MacroF1, Uar
from eval.metrics.ranking import SCORES, MacroF1OfLabels, MapFixed, MapScored, MicroF1
from eval.metrics.reading import EXACT, FOLDED, closed, folded
from eval.metrics.sample import NotComputed, Sample
from qwen_audio.errors import ConfigError, DataError
from tag_schema.answers import Entity, write_entities, write_labels

RNG = np.random.default_rng(7)
EMOTIONS = ("anger", "joy", "neutral", "sadness", "surprise")
SCENES = ("bus", "cafe or restaurant", "residential area")


def sample(number: int, answer: str, *references: str, status: str = "ok", **meta: str) -> Sample:
    return Sample(id=f"{number:04}", status=status, answer=answer, references=references, meta=meta)  # type: ignore[arg-type]


def drawn(n_samples: int = 400) -> tuple[list[str], list[str]]:
    """Draw right and answered emotions; some answers are none of them."""
    truth = RNG.choice(EMOTIONS, n_samples, p=[0.1, 0.2, 0.45, 0.15, 0.1])
    answers = np.where(RNG.random(n_samples) < 0.5, truth, RNG.choice([*EMOTIONS, "boredom", "I cannot tell"], n_samples))
    return truth.tolist(), answers.tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("residential_area", "Residential area."), ("cafe/restaurant", "Cafe Restaurant"), ("throat-clearing", "Throat clearing"),
        ("<|en|>Dog<|endoftext|>", "dog"), ("  two   words ", "Two words"), ("1.5", "1.5."), ("ＤＯＧ", "dog"), ("it's", "IT'S!"),
    ],
)  # fmt: skip
def test_labels_that_say_the_same_are_equal(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("1.5", "15"), ("-5", "5"), ("cat", "cats"), ("no", "not"), ("a/b", "ab")])
def test_labels_that_say_different_things_stay_different(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_closed_list_knows_its_labels_in_every_spelling() -> None:
    reading = closed(SCENES, {"cafe/restaurant": "cafe or restaurant"})
    assert [reading.key(text) for text in ("ResidentialArea", "residential_area", "Cafe/Restaurant", "BUS.", "Bus stop")] == [
        "residential area", "residential area", "cafe or restaurant", "bus", "bus stop",
    ]  # fmt: skip
    measured = Accuracy(reading).measure([sample(0, "residentialarea", "residential area"), sample(1, "a bus", "bus")])
    assert measured.each.tolist() == [1, 0]


def test_a_list_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="differ in spelling alone"):
        closed(("hip hop", "Hip-Hop"))
    with pytest.raises(ConfigError, match="none of the labels"):
        closed(SCENES, {"train": "tram"})
    with pytest.raises(ConfigError, match="is the label 'bus' already"):
        closed((*SCENES, "tram"), {"Bus": "tram"})


def test_the_released_comparison_is_exact_and_ours_is_not() -> None:
    samples = [sample(0, "Joy", "joy"), sample(1, "joy", "joy"), sample(2, "joy.", "joy"), sample(3, "<|joy|>joy", "joy")]
    assert Accuracy(EXACT).measure(samples).each.tolist() == [0, 1, 0, 0]
    assert Accuracy(FOLDED).measure(samples).each.tolist() == [1, 1, 1, 1]
    assert Accuracy(LABEL).measure(samples).parsed.tolist() == [True, True, True, False]  # a tag is no label
    assert "exact" in Accuracy(EXACT).signature


def test_one_of_several_right_answers_is_enough_and_a_failed_sample_is_wrong() -> None:
    samples = [sample(0, "wind", "rain", "wind"), sample(1, "rain", "rain", status="too_long"), sample(2, "", "rain")]
    measured = Accuracy().measure(samples)
    assert measured.sums.tolist() == [[1, 1], [0, 1], [0, 1]]
    assert measured.parsed.tolist() == [True, False, False]
    assert measured.chance == 1.0  # "rain" is among the right answers of every row


def test_chance_is_the_most_frequent_answer() -> None:
    truth, answers = drawn()
    measured = Accuracy().measure([sample(number, *pair) for number, pair in enumerate(zip(answers, truth, strict=True))])
    assert measured.chance == pytest.approx(truth.count("neutral") / 400)
    assert measured.details["uniform"] == pytest.approx(1 / 5)
    assert measured.ceiling is None


def test_where_annotators_disagree_the_ceiling_is_what_one_answer_to_each_question_reaches() -> None:
    said = {"Is it loud?": ("yes", "yes", "no"), "Is it near?": ("no", "no", "no"), "What is it?": ("dog", "cat", "fox")}
    samples = [
        sample(number, "yes", truth, source="a.wav", question=question)
        for number, (question, truth) in enumerate((question, truth) for question, truths in said.items() for truth in truths)
    ]
    assert Accuracy().measure(samples).ceiling == pytest.approx((2 + 3 + 1) / 9)
    binary = BinaryAccuracy().measure(samples)
    assert binary.ceiling == pytest.approx(5 / 6)
    assert binary.value == pytest.approx(2 / 6)
    assert binary.chance == pytest.approx(4 / 6)
    assert np.isnan(binary.each[-1])


@pytest.mark.parametrize(
    ("answer", "read"),
    [("Yes", "yes"), ("no.", "no"), ("No, it is quiet.", "no"), ("yes - clearly", None), ("Yes it is", None), ("maybe", None), ("", None),
     ("Not yes", None), ("Yes! There is no doubt", "yes")],
)  # fmt: skip
def test_yes_and_no_are_read_at_the_beginning_alone(answer: str, read: str | None) -> None:
    assert YES_NO.found(sample(0, answer, "yes")) == read


def test_the_released_binary_accuracy_compares_exactly() -> None:
    samples = [sample(0, "yes", "yes"), sample(1, "Yes", "yes"), sample(2, "dog", "dog")]
    assert BinaryAccuracy(EXACT).measure(samples).value == 0.5
    with pytest.raises(NotComputed, match="yes or no"):
        BinaryAccuracy().measure(samples[2:])


def test_macro_f1_and_average_recall_agree_with_scikit_learn() -> None:
    truth, answers = drawn()
    samples = [sample(number, *pair) for number, pair in enumerate(zip(answers, truth, strict=True))]
    macro, uar = MacroF1().measure(samples), Uar().measure(samples)
    assert macro.value == pytest.approx(f1_score(truth, answers, labels=list(EMOTIONS), average="macro"))
    assert uar.value == pytest.approx(recall_score(truth, answers, labels=list(EMOTIONS), average="macro"))
    assert uar.chance == pytest.approx(0.2)
    constant = f1_score(truth, ["neutral"] * 400, labels=list(EMOTIONS), average="macro", zero_division=0)
    assert macro.chance == pytest.approx(constant)
    rows = RNG.integers(0, 400, 400)  # a resample, from the sums alone
    assert macro.statistic(macro.sums[rows].sum(0, keepdims=True))[0] == pytest.approx(
        f1_score([truth[row] for row in rows], [answers[row] for row in rows], labels=list(EMOTIONS), average="macro")
    )


def test_open_answers_have_no_score_by_class() -> None:
    with pytest.raises(NotComputed, match="300 classes"):
        MacroF1().measure([sample(number, "x", f"answer {number}") for number in range(300)])


def _events(n_samples: int = 300) -> tuple[np.ndarray, np.ndarray, list[str]]:
    names = ["dog bark", "rain", "siren", "speech", "wind"]
    truths = (RNG.random((n_samples, 5)) < [0.2, 0.4, 0.1, 0.6, 0.3]).astype(int)
    truths[truths.sum(1) == 0, 3] = 1
    return truths, np.where(RNG.random(truths.shape) < 0.75, truths, 1 - truths), names


def _written(rows: np.ndarray, names: Sequence[str]) -> list[str]:
    return [write_labels(name for name, there in zip(names, row, strict=True) if there) for row in rows]


def test_f1_and_map_of_several_labels_agree_with_scikit_learn() -> None:
    truths, answers, names = _events()
    samples = [
        sample(number, *pair) for number, pair in enumerate(zip(_written(answers, names), _written(truths, names), strict=True))
    ]  # fmt: skip
    assert MicroF1().measure(samples).value == pytest.approx(f1_score(truths, answers, average="micro"))
    assert MacroF1OfLabels().measure(samples).value == pytest.approx(f1_score(truths, answers, average="macro"))
    hard = MapFixed().measure(samples)
    assert hard.value == pytest.approx(average_precision_score(truths, answers, average="macro"))
    assert hard.chance == pytest.approx(average_precision_score(truths, np.zeros_like(answers), average="macro"))


def test_map_of_scores_agrees_with_scikit_learn_ties_and_all() -> None:
    truths, _, names = _events()
    scores = np.round(RNG.random(truths.shape) + 0.5 * truths, 1)  # tenths: many are equal
    samples = [
        sample(number, "rain", truth, **{SCORES: json.dumps(dict(zip(names, row, strict=True)))})
        for number, (truth, row) in enumerate(zip(_written(truths, names), scores.tolist(), strict=True))
    ]  # fmt: skip
    assert MapScored().measure(samples).value == pytest.approx(average_precision_score(truths, scores, average="macro"))
    without = [*samples[:-1], sample(299, "rain", _written(truths, names)[-1])]
    measured = MapScored().measure(without)
    scores[-1] = -9
    assert measured.value == pytest.approx(average_precision_score(truths, scores, average="macro"))
    assert not measured.parsed[-1]


def test_map_of_scores_without_scores_says_that_there_are_none() -> None:
    with pytest.raises(NotComputed, match="no sample has scores"):
        MapScored().measure([sample(0, "rain", "rain")])
    with pytest.raises(DataError, match="expected a JSON object of numbers"):
        MapScored().measure([sample(0, "rain", "rain", scores="[1, 2]")])


def test_a_label_that_no_truth_has_adds_no_class_and_costs_precision() -> None:
    samples = [sample(0, "rain; martian", "rain"), sample(1, "rain", "wind")]
    assert MapFixed().measure(samples).details["classes"] == 2
    assert MicroF1().measure(samples).value == pytest.approx(2 * 1 / (3 + 2))


def test_f1_of_entities_counts_pairs_of_type_and_words() -> None:
    truth = write_entities([Entity("PERSON", "Ada"), Entity("PLACE", "Rome"), Entity("PLACE", "Rome")])
    answers = [
        write_entities([Entity("person", "ada"), Entity("PLACE", "rome")]),  # two of three, nothing wrong
        write_entities([Entity("PLACE", "Ada"), Entity("PLACE", "Rome"), Entity("PLACE", "Rome"), Entity("PLACE", "Rome")]),  # two of four
        "Ada went to Rome",
        "",
    ]
    samples = [sample(number, answer, truth) for number, answer in enumerate(answers)]
    measured = EntityF1().measure(samples)
    assert measured.sums.tolist() == [[2, 2, 3], [2, 4, 3], [0, 0, 3], [0, 0, 3]]
    assert measured.value == pytest.approx(2 * 4 / (6 + 12))
    assert measured.details["precision"] == pytest.approx(4 / 6)
    assert measured.parsed.tolist() == [True, True, False, True]
    assert EntityF1().measure([sample(0, "", "")]).each.tolist() == [1.0]
    with pytest.raises(DataError, match="0005: the reference cannot be read as entities"):
        EntityF1().measure([sample(5, "", "Ada")])


def test_intents_songs_and_sets_of_labels_are_compared_by_their_parts() -> None:
    intent = [sample(0, "<|scenario|>alarm<|action|>Set", "<|scenario|>alarm<|action|>set"),
              sample(1, "<|scenario|>music<|action|>set", "<|scenario|>alarm<|action|>set"), sample(2, "set", "<|action|>set")]  # fmt: skip
    assert Accuracy(INTENT).measure(intent).each.tolist() == [1, 0, 0]
    assert Accuracy(ACTION).measure(intent).each.tolist() == [1, 1, 0]
    song = [sample(0, "Blue Moon<|delim|>Ella", "Blue moon<|delim|>Ella"), sample(1, "Blue Moon", "Blue moon<|delim|>Ella")]
    assert Accuracy(SONG).measure(song).each.tolist() == [1, 0]
    assert Accuracy(TITLE).measure(song).each.tolist() == [1, 1]
    labels = [sample(0, "piano; Guitar", "guitar; piano"), sample(1, "piano", "guitar; piano")]
    assert Accuracy(LABEL_SET).measure(labels).each.tolist() == [1, 0]


def test_a_reference_that_cannot_be_read_is_an_error_and_so_is_none() -> None:
    with pytest.raises(DataError, match="0003: a reference cannot be read as intent"):
        Accuracy(INTENT).measure([sample(3, "", "set the alarm")])
    with pytest.raises(DataError, match="0004: no reference"):
        Accuracy().measure([sample(4, "x")])


def test_f1_of_entities_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    pairs = [Entity(kind, word) for kind in ("PERSON", "PLACE", "DATE") for word in ("ada", "rome", "monday", "ten")]
    truth, found = (rng.random((120, len(pairs))) < share for share in (0.15, 0.2))
    found |= truth & (rng.random(truth.shape) < 0.6)
    written = [[write_entities([pairs[place] for place in np.flatnonzero(row)]) for row in rows] for rows in (found, truth)]
    measured = EntityF1().measure([sample(number, *both) for number, both in enumerate(zip(*written, strict=True))])
    assert measured.value == pytest.approx(f1_score(truth, found, average="micro"), abs=1e-12)
