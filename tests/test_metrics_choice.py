"""Multiple choice: what is read, what is left unread, and MMAU's own match (golden/string_match.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.metrics.choice import Mcq, MmauMatch, parse_choice, right_choice, rotated, rotations, string_match
from eval.metrics.sample import NotComputed, Sample
from eval.score import statuses
from qwen_audio.errors import DataError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "string_match.json").read_text(encoding="utf-8"))["cases"]
SOUNDS = ("dog", "cat", "bird", "car engine")


def asked(number: int, answer: str, right: str = "cat", choices: tuple[str, ...] = SOUNDS, status: str = "ok") -> Sample:
    return Sample(id=f"{number:03}", status=status, answer=answer, references=(right,), choices=choices)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        "B", "b", "(B)", "(b)", "B.", "B)", "B:", "**B**", " B \n", "（B）", "B。", "<|en|>B<|endoftext|>",
        "B. cat", "B) cat", "(B) cat", "B: cat", "B - cat", "**B. cat**", "B.\nThe cat meows, there is no dog.",
        "cat", "Cat.", "The cat", "It is a cat meowing.", '"cat"', "It is not the dog but the cat",
        "Answer: B", "Answer: (B)", "**Answer:** B", "answer is b.", "The answer is B", "The answer is: B",
        "The correct answer is (B) cat.",
        "the correct option is B because it meows", "the answer is cat", "The answer is the cat", "Sure! The answer is B) cat.",
        "I choose B.", "I would go with option B", "Option B", "option (B) is correct", "B is correct", "B is the correct answer.",
        "It must be (B).", "\\boxed{B}", "$\\boxed{\\text{B}}$", "Answer: B\nBecause A is a dog", "not (A) but (B)",
        "The answer is A. Wait. Final answer: B", "Option A mentions a dog. Option B mentions a cat. Final answer: B",
        "<think>maybe A? The answer is A</think> B", "<thinking>dog</thinking>The answer is B", "dog? </think> cat",
        "答案是B", "答案：B。", "选B", "应选：B", "选项B",
    ],
)  # fmt: skip
def test_an_answer_that_names_the_cat_is_read_as_b(answer: str) -> None:
    assert parse_choice(answer, SOUNDS) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "", " ", "...", "I don't know", "none of the above", "My answer: the second one", "engine", "hot", "13",
        "A or B", "A, B", "A and B", "B/C", "(B) and (C)", "Answer: A or B", "Answer: A, B", "Answer: B/C", "The answer is A and B.",
        "I hear a dog, then a cat", "A dog or a cat", "A) dog B) cat C) bird", "A. dog\nB. cat\nC. bird",
        "A. cat", "(A) cat", "The answer is D, cat",  # the letter says one thing, the words another
        "I think it's not A but B", "The answer is not B", "The answer isn't B.", "I don't think the answer is B", "neither dog nor cat",
        "not a cat", "E", "(E)", "The answer is E", "The answer is A. Wait, no. The answer is B.",
        "<think>the answer is B", "<think>I hear a cat",  # thought that was cut off
        "B because of the meow and A because of the bark",
    ],
)  # fmt: skip
def test_an_answer_that_names_none_or_several_is_not_read(answer: str) -> None:
    assert parse_choice(answer, SOUNDS) is None


@pytest.mark.parametrize(
    ("answer", "choices", "place"),
    [
        ("A dog", SOUNDS, 0), ("The answer is a dog", SOUNDS, 0), ("the car engine", SOUNDS, 3), ("Car_engine", SOUNDS, 3),
        ("hot dog", ("dog", "hot dog"), 1), ("It is a hot dog.", ("dog", "hot dog"), 1), ("hot dog", SOUNDS, 0),
        ("No, there is no dog.", ("Yes", "No"), 1), ("Yes, there is no dog.", ("Yes", "No"), 0), ("There is no dog", ("Yes", "No"), None),
        ("0.5", ("0.5", "5"), 0), ("13", ("1", "3"), None), ("3 times", ("2", "3"), 1),
        ("The answer is B flat", ("A flat", "B flat"), 1), ("B flat", ("A flat", "B flat"), 1),
        ("A", ("C", "A", "B"), None), ("C", ("C", "D", "E"), None),  # a note's name or a letter? B's words, or the choice A
        ("A", ("A", "B", "C"), 0), ("y", ("(A) x", "(B) y"), 1), ("B", ("(A) x", "(B) y"), 1), ("(B) y", ("(A) x", "(B) y"), 1),
        ("狗在叫", ("狗", "猫"), 0), ("狗和猫", ("狗", "猫"), None), ("B", (), None),
        ("residential area", ("residential_area", "park"), 0),
    ],
)  # fmt: skip
def test_letters_and_words_are_told_apart(answer: str, choices: tuple[str, ...], place: int | None) -> None:
    assert parse_choice(answer, choices) == place


def test_ten_answers_of_which_three_say_nothing_score_seven_tenths_every_time() -> None:
    samples = [asked(number, "B") for number in range(7)] + [asked(7, "purr"), asked(8, "A or B"), asked(9, "")]
    values = {Mcq().measure(samples).value for _ in range(50)}
    assert values == {0.7}
    measured = Mcq().measure(samples)
    assert statuses(samples, measured.parsed) == {"ok": 7, "parse_fail": 3}
    assert measured.details["read"] == pytest.approx(0.7)


def test_samples_that_failed_are_wrong_and_chance_is_that_of_drawing_a_choice() -> None:
    samples = [asked(0, "B"), asked(1, "B", status="infer_fail"), asked(2, "no", "Yes", ("Yes", "No"))]
    measured = Mcq().measure(samples)
    assert measured.value == pytest.approx(1 / 3)
    assert measured.chance == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3)
    assert Mcq().read(samples[0]) == "B"


def test_rows_without_choices_are_compared_with_their_right_answers() -> None:
    samples = [asked(0, "Paris.", "paris", ()), asked(1, "In Paris", "paris", ()), asked(2, "B")]
    assert Mcq().measure(samples).each.tolist() == [1, 0, 1]


@pytest.mark.parametrize("right", ["cat", "Cat", "B", "(B) cat", "b. cat"])
def test_the_right_choice_is_given_by_its_words_or_its_letter(right: str) -> None:
    assert right_choice(asked(0, "", right)) == 1


@pytest.mark.parametrize("right", ["mouse", "E", "(A) cat"])
def test_a_reference_that_is_none_of_the_choices_is_an_error(right: str) -> None:
    with pytest.raises(DataError, match="000: the reference"):
        right_choice(asked(0, "", right))


def test_the_string_match_of_mmau_is_reproduced() -> None:
    assert len(GOLDEN) == 60
    assert [string_match(right, said, choices) for right, said, choices, _ in GOLDEN] == [accepted for *_, accepted in GOLDEN]


def test_by_mmaus_match_a_letter_alone_is_wrong_and_that_is_its_rule() -> None:
    samples = [asked(0, "B"), asked(1, "cat"), asked(2, "cat, not a dog"), asked(3, "")]
    measured = MmauMatch().measure(samples)
    assert measured.each.tolist() == [0, 1, 0, 0]
    assert measured.parsed.tolist() == [True, True, True, False]
    with pytest.raises(NotComputed, match="choices of every row"):
        MmauMatch().measure([asked(0, "cat", choices=())])


def test_turning_the_choices_puts_every_choice_at_every_letter_once() -> None:
    turned = rotations(SOUNDS)
    assert turned[0] == SOUNDS
    assert rotated(SOUNDS, 1) == ("car engine", "dog", "cat", "bird")
    assert all({order[place] for order in turned.values()} == set(SOUNDS) for place in range(4))
    assert rotated((), 3) == ()
