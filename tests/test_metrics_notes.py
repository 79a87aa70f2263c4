"""Notes of NSynth, against the released script's computation on scikit-learn (golden/notes.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from eval.metrics.labels import Accuracy
from eval.metrics.notes import (
    CHROMA,
    INSTRUMENT,
    PITCH,
    QUALITIES,
    RELEASED_INSTRUMENT,
    RELEASED_PITCH,
    RELEASED_VELOCITY,
    VELOCITY,
    MapHard,
    PitchWithin,
    qualities,
)
from eval.metrics.ranking import MapFixed, MapScored
from eval.metrics.sample import NotComputed, Sample
from qwen_audio.errors import DataError
from tag_schema.answers import Note, write_note

GOLDEN = json.loads((Path(__file__).parent / "golden" / "notes.json").read_text(encoding="utf-8"))
FIXED = MapFixed(qualities, QUALITIES, "map_hard_fixed")


def samples_of(rows: dict[str, Any]) -> list[Sample]:
    return [sample(number, *pair) for number, pair in enumerate(zip(rows["answers"], rows["references"], strict=True))]


def sample(number: int, answer: str, reference: str, **other: Any) -> Sample:
    return Sample(id=f"{number:03}", status=other.pop("status", "ok"), answer=answer, references=(reference,), meta=other)


def note(pitch: int | None = 60, velocity: int | None = 100, instrument: str | None = "guitar", *said: str) -> str:
    return write_note(Note(pitch, velocity, instrument, said))


@pytest.mark.parametrize("rows", GOLDEN["sets"])
@pytest.mark.parametrize(
    ("figure", "metric"),
    [
        ("instrument", Accuracy(RELEASED_INSTRUMENT)), ("velocity", Accuracy(RELEASED_VELOCITY)), ("pitch", Accuracy(RELEASED_PITCH)),
        ("map_hard", MapHard()),
    ],
)  # fmt: skip
def test_the_released_figures_are_reproduced(rows: dict[str, Any], figure: str, metric: Accuracy | MapHard) -> None:
    assert metric.measure(samples_of(rows)).value == pytest.approx(rows[figure], abs=1e-12)


def test_saying_nothing_scores_the_floor_and_the_floor_is_chance() -> None:
    rows = GOLDEN["sets"][0]
    nothing = [sample(number, "", truth) for number, truth in enumerate(rows["references"])]
    hard, fixed = MapHard().measure(nothing), FIXED.measure(nothing)
    assert hard.value == fixed.value == pytest.approx(GOLDEN["nothing_answered_to_the_first"])
    assert hard.chance == fixed.chance == pytest.approx(hard.value)
    assert not hard.parsed.any()


def test_a_quality_that_is_never_right_adds_a_class_to_the_released_map_and_none_to_the_fixed_one() -> None:
    toy = samples_of(GOLDEN["toy"])
    assert MapHard().measure(toy).value == pytest.approx(GOLDEN["toy"]["map_hard"]) == 0.5
    assert FIXED.measure(toy).value == 1.0


@pytest.mark.parametrize("rows", GOLDEN["sets"][:3])
def test_the_fixed_map_is_that_of_scikit_learn_over_the_qualities_of_the_truth(rows: dict[str, Any]) -> None:
    samples = samples_of(rows)
    truths, answers = (
        np.array([[quality in _read(text) for quality in QUALITIES] for text in rows[side]], dtype=int)
        for side in ("references", "answers")
    )
    there = truths.any(0)
    measured = FIXED.measure(samples)
    assert measured.value == pytest.approx(average_precision_score(truths[:, there], answers[:, there], average="macro"))
    some = np.arange(0, len(samples), 2)
    part = measured.statistic(measured.sums[some].sum(0, keepdims=True))[0]
    there = truths[some].any(0)
    assert part == pytest.approx(average_precision_score(truths[some][:, there], answers[some][:, there], average="macro"))


def _read(text: str) -> list[str]:
    return text.partition("<|sonic|>")[2].replace(", ", ",").split(",")


def test_scored_qualities_are_ranked() -> None:
    truths = [("bright",), ("dark",), ("bright", "dark"), ()]
    scores = [{"bright": 0.9, "dark": 0.8}, {"bright": 0.1, "dark": 0.7}, {"bright": 0.2, "dark": 0.9}, {"bright": 0.5, "dark": 0.1}]
    samples = [
        sample(number, note(), note(60, 100, "guitar", *said), scores=json.dumps(row))
        for number, (said, row) in enumerate(zip(truths, scores, strict=True))
    ]
    table = np.array([[quality in said for quality in ("bright", "dark")] for said in truths], dtype=int)
    ranked = np.array([[row["bright"], row["dark"]] for row in scores])
    metric = MapScored(qualities, QUALITIES)
    assert metric.measure(samples).value == pytest.approx(average_precision_score(table, ranked, average="macro"))
    with pytest.raises(NotComputed):
        metric.measure([sample(0, note(), note(60, 100, "guitar", "dark"))])


def test_chroma_is_the_class_of_the_pitch_itself() -> None:
    """The released script would see three pitches at places 0, 1 and 2 of its list, and call octaves wrong."""
    truth = [note(60), note(61), note(72)]
    answers = [note(72), note(73), note(60)]
    samples = [sample(number, *pair) for number, pair in enumerate(zip(answers, truth, strict=True))]
    assert Accuracy(CHROMA).measure(samples).value == 1.0
    assert Accuracy(PITCH).measure(samples).value == 0.0


def test_a_semitone_off_is_near_and_a_missing_pitch_is_not() -> None:
    samples = [
        sample(0, note(61), note(60)),
        sample(1, note(58), note(60)),
        sample(2, note(None), note(60)),
        sample(3, "a low tone", note(40)),
    ]
    measured = PitchWithin(1).measure(samples)
    assert measured.each.tolist() == [1, 0, 0, 0]
    assert measured.parsed.tolist() == [True, True, False, False]
    assert measured.chance == pytest.approx(3 / 4)
    with pytest.raises(DataError, match="009: the reference has no pitch"):
        PitchWithin().measure([sample(9, note(60), note(None))])


def test_each_part_is_read_for_itself() -> None:
    broken = "<|pitch|>60<|velocity|><|midi_velocity_100|><|instrument|>Synth Lead<|sonic|>Dark, fast decay"
    truth = note(60, 100, "synth_lead", "dark", "fast_decay")
    row = [sample(0, broken, truth), sample(1, truth, truth, status="bad_audio")]
    assert Accuracy(PITCH).measure(row).parsed.tolist() == [False, False]
    assert Accuracy(VELOCITY).measure(row).each.tolist() == [1, 0]
    assert Accuracy(INSTRUMENT).measure(row).each.tolist() == [1, 0]
    assert qualities(broken) == ("dark", "fast_decay")
    assert FIXED.measure([sample(0, "a dark guitar", truth)]).parsed.tolist() == [False]
    assert qualities(note(60)) == ()
