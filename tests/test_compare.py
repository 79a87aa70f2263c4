"""Two runs on the same samples: what is refused, what is found, what is not."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest

from eval.compare import Comparison, compare_runs, to_json
from eval.metrics.edits import wer_for
from eval.metrics.labels import Accuracy, MacroF1
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from eval.report.tables import comparison_table
from eval.statistics import holm, ratio
from qwen_audio.errors import DataError

METRICS = {"set": (Accuracy(),)}


def answered(right: Sequence[bool], clusters: int | None = None) -> list[Sample]:
    """Make yes-or-no samples, each its own speaker or dealt out to a number of them."""
    speakers = [f"p{number if clusters is None else number % clusters}" for number in range(len(right))]
    return [
        Sample(f"s{number:04d}", "ok", "yes" if good else "no", ("yes",), family="audio_qa", meta={"speaker": speakers[number]})
        for number, good in enumerate(right)
    ]


def compared(first: Sequence[Sample], second: Sequence[Sample], metrics: dict = METRICS) -> Comparison:
    (one,) = compare_runs({"set": first}, {"set": second}, metrics)
    return one


@dataclass(frozen=True)
class Shift:
    """A time of the answers that are numbers; without any of them there is no value."""

    name: str = "aas"
    unit: Literal["%", "ms", ""] = "ms"
    better: Literal["lower", "higher"] = "lower"
    signature: str = "aas|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        rows = [(float(one.answer), 1.0) if one.answer.isdigit() and one.status in HEARD else (0.0, 0.0) for one in samples]
        return Measured(np.array(rows), ratio, np.ones(len(rows), dtype=bool), np.full(len(rows), np.nan))


@dataclass(frozen=True)
class Missing(Shift):
    """A metric that is not here."""

    def measure(self, samples: Sequence[Sample]) -> Measured:
        raise NotComputed("no Java")


def test_a_run_compared_with_itself_differs_by_nothing_with_p_one() -> None:
    run = answered([number % 3 > 0 for number in range(60)])
    one = compared(run, run)
    gap = one.difference
    assert gap is not None and (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0)
    assert gap.p_randomisation == gap.p_bootstrap == gap.p_mcnemar == one.p_holm == 1.0
    assert one.verdict == "not told apart"


def test_the_order_of_the_samples_of_a_run_does_not_matter() -> None:
    first, second = answered([True, False] * 30), answered([True, True, False] * 20)
    assert compared(first, second) == compared(first[::-1], second)


def test_a_planted_gap_is_found_and_has_its_sign() -> None:
    rng = np.random.default_rng(6)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "today"]

    def run(rate: float) -> list[Sample]:
        answers = [" ".join("wrong" if rng.random() < rate else word for word in words) for _ in range(400)]
        return [
            Sample(f"s{n:03d}", "ok", answer, (" ".join(words),), family="asr", language="en", meta={"speaker": f"p{n % 40}"})
            for n, answer in enumerate(answers)
        ]

    one = compared(run(0.20), run(0.15), {"set": (wer_for("en"),)})
    gap = one.difference
    assert gap is not None and gap.low < -0.05 < gap.high < -0.02 and gap.p_randomisation < 0.001 and gap.p_mcnemar is None
    assert one.verdict == "second better" and gap.detectable < 0.03


def test_fewer_errors_and_more_right_answers_are_both_better() -> None:
    better = Comparison("s", "m", "%", "higher", 9, "speaker", "m|v1", 0.1, 0.2, None)
    gap = compared(answered([False] * 40), answered([True] * 40)).difference
    assert replace(better, difference=gap, p_holm=0.01).verdict == "second better"
    assert replace(better, better="lower", difference=gap, p_holm=0.01).verdict == "first better"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (answered([True] * 3), answered([True] * 4), "1 ids stand in one run alone (s0003)"),
        (answered([True] * 9)[:2], answered([True] * 9)[5:], "6 ids stand in one run alone (s0000, s0001, s0005, ..)"),
        (answered([True] * 3), [*answered([True] * 3), *answered([True])], "1 ids stand twice in one run (s0000)"),
        (answered([True] * 3), [replace(one, references=("no",)) for one in answered([True] * 3)], "3 references differ between the runs"),
    ],
)  # fmt: skip
def test_runs_that_do_not_hold_the_same_samples_are_refused(first: list[Sample], second: list[Sample], said: str) -> None:
    with pytest.raises(DataError) as error:
        compared(first, second)
    assert said in str(error.value) and str(error.value).startswith("set: ")


def test_runs_of_other_benchmarks_are_refused() -> None:
    run = answered([True] * 3)
    with pytest.raises(DataError, match=r"different benchmarks \(a, b\)"):
        compare_runs({"a": run}, {"b": run}, {"a": (Accuracy(),), "b": (Accuracy(),)})


def test_mcnemar_is_exact() -> None:
    first = answered([True] + [False] * 9 + [True] * 40)
    second = answered([False] + [True] * 9 + [True] * 40)
    gap = compared(first, second).difference
    assert gap is not None and gap.p_mcnemar == pytest.approx(22 / 1024)  # twice the chance of at most 1 head in 10: 2 * 11 / 2**10


def test_randomisation_agrees_with_all_exchanges_of_eight_speakers() -> None:
    rng = np.random.default_rng(1)
    first, second = (answered(list(rng.random(80) < share), clusters=8) for share in (0.5, 0.7))
    gap = compared(first, second).difference
    assert gap is not None
    moved = np.array(
        [[(b.answer == "yes") - (a.answer == "yes") for a, b in zip(first[k::8], second[k::8], strict=True)] for k in range(8)]
    )
    sums = moved.sum(1)
    far = [abs(np.dot(signs, sums)) >= abs(sums.sum()) for signs in itertools.product((-1, 1), repeat=8)]
    assert gap.p_randomisation == pytest.approx(np.mean(far), abs=0.02)


def test_holm_adjusts_over_all_sets_of_a_table() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(c(..), "holm")
    first = {name: answered([False, True] * 20) for name in "abc"}
    second = {"a": answered([True] * 40), "b": answered([False, True] * 20), "c": answered([True, True, False, True] * 10)}
    found = compare_runs(first, second, {name: (Accuracy(),) for name in "abc"})
    raw = [one.difference.p_randomisation for one in found if one.difference is not None]
    assert [one.p_holm for one in found] == pytest.approx(holm(raw)) and found[0].p_holm == pytest.approx(3 * raw[0])


def test_further_metrics_of_a_set_do_not_weaken_the_first() -> None:
    first, second = answered([False] * 9 + [True] * 31), answered([True] * 40)
    metrics = {"set": (Accuracy(), MacroF1(), Accuracy(name="accuracy_again"))}
    one, two, three = compare_runs({"set": first}, {"set": second}, metrics)
    raw = [found.difference.p_randomisation for found in (one, two, three) if found.difference is not None]
    assert one.p_holm == raw[0] and [two.p_holm, three.p_holm] == pytest.approx(holm(raw)[1:]) and three.p_holm > raw[2]


def test_a_metric_without_a_value_in_one_run_is_no_difference() -> None:
    first = [Sample(f"s{n}", "ok", "40", ("x",)) for n in range(30)]
    second = [Sample(f"s{n}", "infer_fail", "", ("x",)) for n in range(30)]
    one = compared(first, second, {"set": (Shift(),)})
    assert one.difference is None and one.verdict == "not computed" and one.first == 40.0
    assert one.not_computed == "no value in the second run: nothing was there to measure"


def test_resamples_without_a_value_speak_against_a_difference() -> None:
    first = [Sample(f"s{n}", "ok", "40" if n == 0 else "-", ("x",)) for n in range(30)]
    second = [Sample(f"s{n}", "ok", "90" if n == 0 else "-", ("x",)) for n in range(30)]
    one = compared(first, second, {"set": (Shift(),)})
    assert one.difference is not None and one.difference.value == 50.0 and one.verdict == "not told apart"


def test_exchanges_without_a_value_speak_against_a_difference() -> None:
    first = [Sample(f"s{n}", "ok", "40" if n == 0 else "-", ("x",)) for n in range(30)]
    second = [Sample(f"s{n}", "ok", "90" if n == 1 else "-", ("x",)) for n in range(30)]
    gap = compared(first, second, {"set": (Shift(),)}).difference
    assert gap is not None and gap.p_randomisation == 1.0  # half of the exchanges leave one run without any value


def test_a_metric_that_cannot_be_computed_is_said_and_takes_no_part_in_holm() -> None:
    first, second = answered([False, True] * 20), answered([True] * 40)
    one, two = compare_runs({"set": first}, {"set": second}, {"set": (Missing(), Accuracy())})
    assert one.not_computed == "no Java" and two.difference is not None and two.p_holm == two.difference.p_randomisation


def test_speakers_so_few_that_no_difference_could_show_are_said_to_be_few() -> None:
    one = compared(answered([False] * 40, clusters=4), answered([True] * 40, clusters=4))
    assert one.difference is not None and one.difference.value == 1.0 and one.few
    assert one.p_holm >= 2 / 2**4 - 0.02 and one.verdict == "too few speakers to tell"


def test_failures_of_both_runs_are_counted() -> None:
    first = [replace(one, status="infer_fail", answer="") if n < 3 else one for n, one in enumerate(answered([True] * 30))]  # type: ignore[arg-type]
    assert compared(first, answered([True] * 30)).failed == (3, 0)


def test_the_table_names_the_runs_and_says_what_the_figures_are() -> None:
    first, second = answered([False, True] * 30), answered([True] * 60)
    found = compare_runs({"a|b": first}, {"a|b": second}, {"a|b": (Accuracy(),)})
    table = comparison_table(found, ("old", "new"))
    line = table.text().splitlines()[2]
    assert line.split()[:6] == ["a|b", "accuracy", "↑", "50.00%", "100.00%", "+50.00%"] and "new better" in line
    assert "| a\\|b | accuracy ↑ | 50.00% | 100.00% | +50.00% |" in table.markdown()
    assert "approximate randomisation" in table.text() and "Holm" in table.markdown()


def test_a_comparison_is_plain_json() -> None:
    found = compare_runs({"set": answered([True, False])}, {"set": answered([True, True])}, {"set": (Accuracy(), Missing())})
    rows = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert rows[0]["difference"]["value"] == 0.5 and rows[0]["verdict"] == "too few speakers to tell"
    assert rows[1]["difference"] is None and rows[1]["first"] is None and rows[1]["not_computed"] == "no Java"
