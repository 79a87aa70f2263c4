"""Answers that can be guessed unheard are found, and answers that cannot are not blamed."""

import random

import pytest

from data.manifest import AudioRef, Record, Turn
from data.recipes.constructed.guess import OVERALL, Guess, check_guesses, guessability, questions_of
from qwen_audio.errors import DataError
from tag_schema.tasks import prefix_for

pytest.importorskip("sklearn")
CLIP = AudioRef("a.flac", 0.0, 1.0)
EVENTS = ("dog", "bell", "rain", "car", "bird", "door", "cough")
WORDINGS = ("Do you hear a {}?", "Is there a {}?", "Can a {} be heard?")


def asked(number: int, question: str, answer: str, kind: str = "presence") -> Record:
    return Record(str(number), (CLIP,), answer, "audio_qa", prefix_for("audio_qa", question=question), meta={"kind": kind, "label": answer})


def balanced(n: int, rng: random.Random) -> list[Record]:
    return [asked(i, rng.choice(WORDINGS).format(rng.choice(EVENTS)), rng.choice(("yes", "no"))) for i in range(n)]


def test_answers_that_the_wording_gives_away_are_a_leak() -> None:
    rng = random.Random(0)
    rows = []
    for number in range(240):
        wording = rng.choice(WORDINGS)
        answer = "yes" if (wording is WORDINGS[0]) ^ (rng.random() < 0.1) else "no"
        rows.append(asked(number, wording.format(rng.choice(EVENTS)), answer))
    found = guessability(rows)
    assert found["presence"].accuracy > 0.8 and found["presence"].leaks
    with pytest.raises(DataError, match=r"presence: \d+\.\d% of 240 right unheard"):
        check_guesses(found)


def test_answers_that_one_event_gives_away_are_a_leak() -> None:
    rng = random.Random(1)
    rows = []
    for number in range(300):
        event = rng.choice(EVENTS)
        rows.append(asked(number, rng.choice(WORDINGS).format(event), "yes" if event in EVENTS[:3] else "no"))
    assert guessability(rows)["presence"].leaks


def test_an_answer_that_is_nearly_always_right_is_a_leak_whatever_the_wording() -> None:
    rng = random.Random(2)
    rows = [asked(i, rng.choice(WORDINGS).format(rng.choice(EVENTS)), "yes" if rng.random() < 0.8 else "no") for i in range(200)]
    found = guessability(rows)["presence"]
    assert found.excess < 0.03 and found.leaks


@pytest.mark.parametrize("seed", range(4))
def test_balanced_answers_are_no_leak_at_any_size(seed: int) -> None:
    rng = random.Random(seed)
    for n in (12, 40, 200):
        check_guesses(guessability(balanced(n, rng)))


def test_a_small_leak_in_every_kind_shows_in_the_mean() -> None:
    weak = {f"kind {number}": Guess(0.56, 0.50, 300, 0.03) for number in range(40)}
    assert not any(guess.leaks for guess in weak.values())
    with pytest.raises(DataError, match=r"all: 56\.0%"):
        check_guesses({**weak, OVERALL: Guess(0.56, 0.50, 12_000, 0.005)})


def test_texts_that_are_all_different_are_beyond_guessing() -> None:
    rows = [Record(str(i), (CLIP,), f"sentence {i}", "asr", prefix_for("asr")) for i in range(60)]
    found = guessability(rows)
    assert found["asr"].accuracy == found["asr"].chance == pytest.approx(1 / 60)
    check_guesses(found)


def test_each_answer_of_a_conversation_is_a_question_and_sees_what_was_said_before() -> None:
    turns = (
        Turn("user", (CLIP, "What is it?")),
        Turn("assistant", ("A dog.",)),
        Turn("user", ("Thank you.",)),
        Turn("assistant", ("You are welcome.",)),
        Turn("user", (CLIP, "And this?")),
    )
    row = Record("c", (CLIP, CLIP), "A bell.", messages=turns, meta={"kind": "sound\ntext.thanks\nsound", "label": "dog\n\nbell"})
    first, last = questions_of(row)
    assert (first.kind, first.label, last.label) == ("sound", "dog", "bell")
    assert "A dog." in last.text and "A dog." not in first.text and "A bell." not in last.text


def test_rows_without_audio_are_passed_over() -> None:
    assert guessability([Record("t", (), "Hello!", messages=(Turn("user", ("Hi",)),))]) == {}
