"""Times of words, sounds and speakers, against the released script, sed_eval, pyannote.metrics and meeteval (golden/times.json)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eval.metrics.edits import Wer
from eval.metrics.events import EventF1, SegmentF1
from eval.metrics.sample import Sample
from eval.metrics.speakers import CONFUSED, CpWer, Der
from eval.metrics.times import Aas, AasQwen, BoundaryShare, TimedCoverage, timed_words
from eval.normalize import Normaliser
from qwen_audio.errors import DataError
from tag_schema.answers import write_speakers

GOLDEN = json.loads((Path(__file__).parent / "golden" / "times.json").read_text(encoding="utf-8"))
AAS, EVENTS, DER, CPWER = (GOLDEN[name] for name in ("aas", "events", "der", "cpwer"))
TRUTH = AAS["off_by_40ms"]["reference"]  # three words between two pauses
OFF = TRUTH.replace("0.50", "0.54").replace("0.90", "0.94").replace("1.30", "1.34").replace("1.70", "1.74")  # all their times 40 ms later


def sample(number: int, answer: str, reference: str, status: str = "ok") -> Sample:
    return Sample(id=f"{number:03}", status=status, answer=answer, references=(reference,))  # type: ignore[arg-type]


def test_aas_is_the_mean_shift_of_a_boundary_of_words() -> None:
    measured = Aas().measure([sample(0, OFF, TRUTH)])
    assert measured.value == pytest.approx(40.0)
    assert measured.details["coverage"] == 1
    assert Aas().measure([sample(0, OFF.removeprefix("<|0.00|>"), TRUTH)]).value == pytest.approx(40.0)


def test_the_released_aas_of_the_same_is_70_or_64_ms() -> None:
    """70 ms where the answer goes on behind the <|0.00|> that its question gives, 64 ms where it repeats it."""
    assert AAS["off_by_40ms"]["without"] == pytest.approx(0.070)
    assert AAS["off_by_40ms"]["with_first_time"] == pytest.approx(0.064)
    assert AasQwen().measure([sample(0, OFF.removeprefix("<|0.00|>"), TRUTH)]).value == pytest.approx(70.0)
    assert AasQwen().measure([sample(0, OFF, TRUTH)]).value == pytest.approx(64.0)


def test_the_released_aas_agrees_with_its_script() -> None:
    samples = [sample(number, *pair) for number, pair in enumerate(zip(AAS["hypotheses"], AAS["references"], strict=True))]
    measured = AasQwen().measure(samples)
    assert measured.value == pytest.approx(1000 * AAS["seconds"])
    for row, parsed, each in zip(measured.sums, measured.parsed, AAS["each"], strict=True):
        assert parsed == (each is not None)
        assert row == pytest.approx([1000 * each[0], each[1]] if each else [0, 0])
    assert len(samples) == 30


def test_words_without_times_count_in_coverage_and_do_not_end_the_run() -> None:
    answers = [OFF, "a b c", "", OFF.replace("b", "x"), "<|0.00|>a<|0.90|>b"]
    samples = [sample(number, answer, TRUTH) for number, answer in enumerate(answers)]
    samples.append(sample(9, OFF, TRUTH, status="infer_fail"))
    measured, coverage = Aas().measure(samples), TimedCoverage().measure(samples)
    assert measured.parsed.tolist() == [True, False, False, True, True, False]
    assert coverage.value == measured.details["coverage"] == pytest.approx((3 + 0 + 0 + 2 + 1 + 0) / 18)
    assert measured.value == pytest.approx((3 * 40 + 2 * 40 + (500 + 0) / 2) / 6)  # the fifth begins at 0 where 0.5 s is right
    assert np.isnan(measured.each[1])


def test_boundaries_that_are_near_are_a_share_of_all_of_them() -> None:
    samples = [sample(0, OFF, TRUTH), sample(1, TRUTH, TRUTH), sample(2, "", TRUTH)]
    assert BoundaryShare(20).measure(samples).value == pytest.approx(6 / 18)
    assert BoundaryShare(40).measure(samples).value == pytest.approx(12 / 18)
    assert BoundaryShare(100).measure(samples).value == pytest.approx(12 / 18)


def test_times_from_100_s_on_and_times_that_fall_are_read() -> None:
    words = timed_words("<|99.50|>one<|100.25|>two<|100.90|><|sil|><|100.10|>three<|101.00|>four")
    assert words is not None
    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("one", 99.5, 100.25), ("two", 100.25, 100.9), ("three", 100.1, 101.0),
    ]  # fmt: skip
    assert timed_words("nothing timed") is None
    long = "<|99.50|>one<|100.25|>two<|100.90|>"
    assert Aas().measure([sample(0, long.replace("100.25", "100.35"), long)]).value == pytest.approx(50.0)


def test_a_reference_without_times_is_an_error_that_names_the_sample() -> None:
    with pytest.raises(DataError, match="007: the reference 'a b c' has no times"):
        Aas().measure([sample(7, TRUTH, "a b c")])


@pytest.mark.parametrize(
    ("metric", "figure", "column"),
    [
        (EventF1(), "event_f1", 0), (EventF1("macro"), "event_f1_macro", 0),
        (SegmentF1(), "segment_f1", 3), (SegmentF1("macro"), "segment_f1_macro", 3),
    ],
)  # fmt: skip
def test_f1_of_sounds_agrees_with_sed_eval(metric: EventF1 | SegmentF1, figure: str, column: int) -> None:
    samples = [sample(number, found, truth) for number, (truth, found) in enumerate(EVENTS["files"])]
    measured = metric.measure(samples)
    assert measured.value == pytest.approx(EVENTS[figure], abs=1e-9)
    if measured.sums.shape[1] == 3:
        assert measured.sums.tolist() == [row[column : column + 3] for row in EVENTS["each"]]


def test_exactly_200_ms_off_is_near() -> None:
    truth, found = "dog<|0.60|><|1.60|>", "dog<|0.80|><|1.80|>"
    assert EventF1().measure([sample(0, found, truth)]).value == 1
    assert EventF1().measure([sample(0, found.replace("0.80", "0.81"), truth)]).value == 0
    long = "dog<|0.60|><|10.60|>"  # a fifth of 10 s is 2 s
    assert EventF1().measure([sample(0, long.replace("10.60", "12.60"), long)]).value == 1
    assert EventF1().measure([sample(0, long.replace("10.60", "12.61"), long)]).value == 0


def test_an_answer_that_is_no_list_of_sounds_has_found_none() -> None:
    samples = [sample(0, "a dog barks", "dog<|0.00|><|1.00|>"), sample(1, "Dog<|0.00|><|1.00|>", "dog<|0.00|><|1.00|>")]
    measured = EventF1().measure(samples)
    assert measured.parsed.tolist() == [False, True]
    assert measured.value == pytest.approx(2 / 3)  # one of two found, nothing wrong
    assert EventF1().measure([sample(0, "<|sil|>", "<|sil|>")]).each.tolist() == [1.0]


@pytest.mark.parametrize(("collar", "metric"), [("0", Der()), ("0.25", Der(0.25))])
def test_diarization_error_agrees_with_pyannote(collar: str, metric: Der) -> None:
    samples = [sample(number, found, truth) for number, (truth, found) in enumerate(DER["clips"])]
    measured = metric.measure(samples)
    assert measured.value == pytest.approx(DER["collars"][collar]["der"], abs=1e-6)
    assert measured.sums == pytest.approx(np.array(DER["collars"][collar]["each"]), abs=1e-6)


def test_other_names_of_speakers_are_no_errors_and_a_missing_answer_is_all_missed() -> None:
    truth = "speaker 1<|0.00|><|2.00|>speaker 2<|2.00|><|3.00|>"
    renamed = truth.replace("speaker 1", "A").replace("speaker 2", "speaker 1")
    measured = Der().measure([sample(0, renamed, truth), sample(1, "two people", truth), sample(2, "A<|0.00|><|3.00|>", truth)])
    assert measured.each.tolist() == pytest.approx([0, 1, 1 / 3])
    assert measured.parsed.tolist() == [True, False, True]
    assert measured.sums[:, CONFUSED].tolist() == pytest.approx([0, 0, 1])


def test_cpwer_agrees_with_meeteval() -> None:
    metric = CpWer(Wer(Normaliser("none", "1", str)))
    cases = CPWER["cases"]
    samples = [sample(number, write_speakers(case["hypotheses"]), write_speakers(case["references"])) for number, case in enumerate(cases)]
    measured = metric.measure(samples)
    assert measured.sums.tolist() == [[case["errors"], case["length"]] for case in cases]
    assert len(cases) == 30
    assert metric.name == "cpwer"


def test_cpwer_without_an_answer_counts_every_word_as_left_out() -> None:
    measured = CpWer().measure([sample(0, "", "hello there<|delim|>yes"), sample(1, "yes<|delim|>hello there", "hello there<|delim|>yes")])
    assert measured.sums.tolist() == [[3, 3], [0, 3]]
    assert measured.details["speakers_counted_right"] == 0.5
