"""Scores: the honest denominator, clusters, subgroups, and results.json as a pure function of samples."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jiwer
import numpy as np
import pytest

from eval.metrics.choice import Mcq
from eval.metrics.edits import wer_for
from eval.metrics.labels import YES_NO, Accuracy
from eval.metrics.sample import Measured, NotComputed, Sample
from eval.samples import read_samples, write_samples
from eval.score import Score, clusters_of, from_json, group_of, measure, parts_of, results_json, score, subgroups
from eval.statistics import bootstrap, cluster_sums, ratio, resampled_counts

WORDS = ("rain", "falls", "over", "green", "hills")


def sample(number: int, answer: str = "yes", *references: str, status: str = "ok", **fields) -> Sample:
    return Sample(f"s{number:03d}", status, answer, references or ("yes",), **fields)  # type: ignore[arg-type]


def spoken(count: int, **meta: str) -> list[Sample]:
    """Make transcripts of five words, of which every other sample has one wrong; ten speakers."""
    words = " ".join(WORDS)
    answers = [words if number % 2 else words.replace("over", "under") for number in range(count)]
    return [
        sample(number, answer, words, family="asr", language="en", meta={"speaker": f"p{number % 10}", **meta}, audio_s=1.0)
        for number, answer in enumerate(answers)
    ]


@dataclass(frozen=True)
class Missing:
    """A metric that cannot be computed here."""

    name: str = "spice"
    unit: Literal["%", "ms", ""] = ""
    better: Literal["lower", "higher"] = "higher"
    signature: str = "spice|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        raise NotComputed("SPICE needs stanford-corenlp: fetch it")


@dataclass(frozen=True)
class Rarity:
    """A metric whose sums depend on all samples, as CIDEr's do: a right answer is worth the more the rarer it is."""

    name: str = "rarity"
    unit: Literal["%", "ms", ""] = ""
    better: Literal["lower", "higher"] = "higher"
    signature: str = "rarity|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        targets = [one.target for one in samples]
        worth = np.array([float(one.answer == one.target) / targets.count(one.target) for one in samples])
        return Measured(np.stack([worth, np.ones(len(worth))], 1), ratio, np.ones(len(worth), dtype=bool), worth)


def test_a_set_with_three_unreadable_answers_of_ten_is_at_most_seven_tenths_right() -> None:
    samples = [sample(number, "yes" if number < 7 else "who knows") for number in range(10)]
    found = [score("set", samples, [Accuracy(YES_NO)])[0] for _ in range(3)]
    assert all(one == found[0] for one in found)
    assert (found[0].value, found[0].lenient, found[0].n) == (0.7, 1.0, 10)
    assert found[0].statuses == {"ok": 7, "parse_fail": 3} and found[0].n_failed == 3


def test_multiple_choice_answers_that_name_no_choice_are_wrong_and_never_guessed() -> None:
    answers = ("B", "the answer is (B)", "hm")
    samples = [sample(number, answer, "dog", choices=("cat", "dog", "cow", "hen")) for number, answer in enumerate(answers)]
    (one,) = score("set", samples, [Mcq()])
    assert one.value == pytest.approx(2 / 3) and one.lenient == 1.0 and one.statuses == {"ok": 2, "parse_fail": 1} and one.chance == 0.25


def test_every_end_of_a_sample_counts_as_wrong_and_is_counted_once() -> None:
    ends = ("ok", "infer_fail", "too_long", "bad_audio", "infer_fail")
    samples = [sample(number, "yes" if end == "ok" else "", status=end) for number, end in enumerate(ends)]
    (one,) = score("set", samples, [Accuracy()])
    assert one.statuses == {"ok": 1, "infer_fail": 2, "too_long": 1, "bad_audio": 1}
    assert sum(one.statuses.values()) == one.n == 5 and one.value == 0.2 and one.lenient == 1.0


def test_a_transcript_that_never_came_counts_as_one_of_deletions() -> None:
    samples = spoken(8)
    samples[3] = replace(samples[3], status="too_long", answer="")
    (one,) = score("set", samples, [wer_for("en")])
    references, answers = [item.target for item in samples], [item.answer for item in samples]
    assert one.value == pytest.approx(jiwer.wer(references, answers))
    assert one.lenient == pytest.approx(jiwer.wer(references[:3] + references[4:], answers[:3] + answers[4:]))


def test_no_answer_at_all_has_no_lenient_value() -> None:
    (one,) = score("set", [sample(0, "", status="infer_fail"), sample(1, "", status="infer_fail")], [Accuracy()])
    assert one.value == 0.0 and math.isnan(one.lenient)


def test_a_metric_that_cannot_be_computed_says_why_and_the_others_stand() -> None:
    one, two = score("set", [sample(0), sample(1)], [Missing(), Accuracy()])
    assert math.isnan(one.value) and one.not_computed == "SPICE needs stanford-corenlp: fetch it" and one.n == 2
    assert two.value == 1.0 and not two.not_computed


def test_a_reference_that_one_metric_cannot_read_does_not_cost_the_others_their_figures() -> None:
    samples = [sample(0, "yes", "yes"), sample(1, "loud", "loud")]
    one, two = score("set", samples, [Accuracy(YES_NO), Accuracy()])
    assert "s001" in one.not_computed and "cannot be read as yes-no" in one.not_computed and two.value == 1.0


def test_no_samples_give_no_value_and_no_crash() -> None:
    (one,) = score("set", [], [Accuracy()])
    assert one.n == 0 and math.isnan(one.value) and one.not_computed == "there are no samples"


def test_the_order_of_samples_does_not_show_in_a_single_byte() -> None:
    samples = spoken(40, gender="female")
    shuffled = random.Random(3).sample(samples, len(samples))
    texts = {
        results_json(score("set", some, [wer_for("en")], by=("gender", "duration")), {"benchmark": "set"}) for some in (samples, shuffled)
    }
    assert len(texts) == 1


def test_resampled_counts_give_what_rescoring_the_resampled_texts_gives() -> None:
    samples = spoken(30)
    samples[4] = replace(samples[4], answer="snow snow snow")
    measured = measure("set", samples, [wer_for("en")]).measured[0]
    assert not isinstance(measured, str)
    names = [f"speaker {one.meta['speaker']}" for one in samples]
    per_cluster, _ = cluster_sums(measured.sums, names)
    values, _ = bootstrap(per_cluster, measured.statistic, resamples=20)
    order = list(dict.fromkeys(names))
    for counts, value in zip(resampled_counts(len(order), 0, 20), values, strict=True):
        times = dict(zip(order, counts.astype(int), strict=True))
        drawn = [one for one, name in zip(samples, names, strict=True) for _ in range(times[name])]
        assert value == pytest.approx(jiwer.wer([one.target for one in drawn], [one.answer for one in drawn]))


def test_samples_of_one_speaker_move_together() -> None:
    samples = [sample(number, "yes" if number < 100 else "no", meta={"speaker": f"p{number // 20}"}) for number in range(200)]
    (together,) = score("set", samples, [Accuracy()])
    (alone,) = score("set", [replace(one, meta={}) for one in samples], [Accuracy()])
    assert (together.n_clusters, together.clusters, together.few) == (10, "speaker", True)
    assert (alone.n_clusters, alone.clusters, alone.few) == (200, "sample", False)
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("metas", "kind", "count"),
    [
        ([{"speaker": "a", "source": "1"}, {"speaker": "b", "source": "2"}, {"speaker": "a", "source": "3"}], "speaker", 2),
        ([{"speaker": "a", "source": "1"}, {"speaker": "a", "source": "2"}, {"speaker": "a", "source": "2"}], "source", 2),  # one voice
        ([{"speaker": "a"}, {"speaker": "b"}, {}], "speaker or sample", 3),
        ([{"speaker": "a"}, {}, {}], "sample", 3),  # too few have one
        ([{"source": "x"}, {"source": "x"}, {"source": "x"}], "sample", 3),  # windows of one recording
        ([], "sample", 0),
    ],
)  # fmt: skip
def test_clusters_are_speakers_else_sources_else_samples(metas: list[dict[str, str]], kind: str, count: int) -> None:
    names, found = clusters_of([sample(number, meta=meta) for number, meta in enumerate(metas)])
    assert (found, len(set(names)), len(names)) == (kind, count, len(metas))


def test_a_speaker_called_like_a_sample_is_not_taken_for_it() -> None:
    names, _ = clusters_of([sample(0, meta={"speaker": "s002"}), sample(1, meta={"speaker": "b"}), sample(2)])
    assert len(set(names)) == 3


def test_a_subgroup_is_scored_as_its_samples_alone_would_be() -> None:
    samples = [replace(one, meta={**one.meta, "gender": "f" if number < 12 else "m"}) for number, one in enumerate(spoken(40))]
    found = {one.subgroup: one for one in subgroups("set", samples, [wer_for("en")], ["gender"])}
    (alone,) = score("set", samples[:12], [wer_for("en")])
    mine = found["gender=f"]
    assert (mine.value, mine.low, mine.high, mine.n, mine.n_clusters) == (alone.value, alone.low, alone.high, 12, 10)
    assert mine.small and not replace(mine, n=30).small


def test_what_a_metric_learns_from_all_samples_holds_in_every_subgroup() -> None:
    answers = ["cat", "cat", "cat", "owl"]
    samples = [sample(number, word, word, meta={"gender": "f" if number == 0 else "m"}) for number, word in enumerate(answers)]
    found = subgroups("set", samples, [Rarity()], ["gender"])
    assert [one.value for one in found] == pytest.approx([1 / 3, (1 / 3 + 1 / 3 + 1) / 3])


def test_subgroups_stand_in_the_order_of_their_numbers_and_one_alone_is_none() -> None:
    lengths = (0.5, 25.0, 3.0, 12.0, 7.0)
    samples = [sample(number, audio_s=length, meta={"gender": "f"}) for number, length in enumerate(lengths)]
    found = subgroups("set", samples, [Accuracy()], ["duration", "gender", "accent"])
    names = ["0-2 s", "2-5 s", "5-10 s", "10-20 s", "20 s and more"]
    assert [one.subgroup for one in found] == [f"duration={name}" for name in names]


@pytest.mark.parametrize(("age", "group"), [("23", "20-29"), ("7", "0-9"), ("twenties", "twenties"), ("", ""), ("²", "²")])
def test_ages_in_years_are_put_into_decades(age: str, group: str) -> None:
    assert group_of(sample(0, meta={"age": age}), "age") == group


def test_subgroups_tell_no_chance_or_ceiling_of_the_whole_set() -> None:
    samples = [sample(number, meta={"gender": "fm"[number % 2]}) for number in range(6)]
    whole, *parts = score("set", samples, [Accuracy()], by=["gender"])
    assert whole.chance == 1.0 and [one.chance for one in parts] == [None, None]


def test_families_and_languages_are_scored_apart_under_their_own_names() -> None:
    samples = [sample(0, family="asr", language="zh"), sample(1, family="asr", language="en"), sample(2, family="emotion")]
    assert [name for name, _ in parts_of("mine", samples)] == ["mine asr en", "mine asr zh", "mine emotion"]
    assert [(name, len(members)) for name, members in parts_of("mine", samples[:1])] == [("mine", 1)]


def test_results_json_holds_plain_values_and_reads_back() -> None:
    scores = score("set", [sample(0), sample(1, "no")], [Missing(), Accuracy()])
    text = results_json(scores, {"model": "m"})
    assert "NaN" not in text and "Infinity" not in text
    rows = json.loads(text)["scores"]
    assert rows[0]["value"] is None and rows[1]["value"] == 0.5 and json.loads(text)["model"] == "m"
    back = [from_json(row) for row in rows]
    assert math.isnan(back[0].value) and back[1] == scores[1]


def test_half_a_letter_in_an_answer_costs_no_file(tmp_path: Path) -> None:
    samples = [sample(0, "caf\u00e9"), sample(1, "\ud800\u00e9")]
    write_samples(samples, tmp_path / "samples.jsonl")
    assert read_samples(tmp_path) == samples and "caf\u00e9" in (tmp_path / "samples.jsonl").read_text(encoding="utf-8")
    assert json.loads(results_json([], {"model": "\ud800"}).encode("utf-8"))["model"] == "\ud800"


def test_numbers_of_numpy_become_plain_ones() -> None:
    details: dict = {"n": np.int64(4), "x": np.float32(0.5)}
    one = Score("s", "m", float("inf"), 0.5, "%", "lower", 3, {"ok": 3}, 0.1, 0.2, 3, "sample", "", details=details)
    assert json.loads(json.dumps(one.to_json()))["details"] == {"n": 4, "x": 0.5} and one.to_json()["value"] is None


def test_scoring_needs_no_torch() -> None:
    code = "import sys, eval.score, eval.compare, eval.score_command, eval.report.page, eval.report.tables; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
