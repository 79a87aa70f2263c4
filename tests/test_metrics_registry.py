"""Every family has metrics, and every metric keeps the promises of the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest

from eval.metrics.registry import CHAT, PRESETS, metrics_for
from eval.metrics.sample import Measured, Metric, NotComputed, Sample
from eval.statistics import interval
from qwen_audio.errors import ConfigError
from tag_schema.tasks import TASKS

FAMILIES = (*TASKS, CHAT)
TARGETS = {
    "srwt_en": "<|0.00|>one<|0.40|>two<|0.90|>", "srwt_zh": "<|0.00|>一<|0.40|>二<|0.90|>", "speaker_verification": "yes",
    "overlapped_asr": "one two<|delim|>three", "diarization": "speaker 1<|0.00|><|1.00|>", "sound_event_detection": "dog<|0.00|><|1.00|>",
    "entity": "<|startofentityvalue|>Ada<|endofentityvalue|><|startofentitytype|>PERSON<|endofentitytype|>",
    "slot_filling": "<|startofentityvalue|>ten<|endofentityvalue|><|startofentitytype|>time<|endofentitytype|>",
    "intent": "<|scenario|>alarm<|action|>set", "music_recognition": "Blue Moon<|delim|>Ella",
    "note_analysis": "<|pitch|><|midi_pitch_60|><|velocity|><|midi_velocity_80|><|instrument|>guitar<|sonic|>dark, percussive",
}  # fmt: skip

UNEVEN = {"cider", "map_hard_fixed", "map_hard", "map_fixed", "macro_f1"}  # six equal truths: nothing is rare, there is no other class


def samples_of(family: str, answer: str | None = None, status: str = "ok") -> list[Sample]:
    """Make six samples of a family, all right where no answer is given."""
    target = TARGETS.get(family, "a dog barks at the door")
    choices = ("a dog barks at the door", "rain", "wind") if family in ("audio_qa", "music_qa", CHAT) else ()
    return [
        Sample(id=f"{number}", status=status, answer=target if answer is None else answer, references=(target,), family=family,  # type: ignore[arg-type]
               choices=choices, meta={"speaker": f"s{number}"})
        for number in range(6)
    ]  # fmt: skip


def measured(metric: Metric, samples: list[Sample]) -> Measured | None:
    try:
        return metric.measure(samples)
    except NotComputed as error:
        reason = str(error)
    assert len(reason) > 20, "a metric that is not computed says why"
    return None


@pytest.mark.parametrize("preset", [one for one in PRESETS if one != "coco"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_metrics_that_find_right_answers_right_and_missing_ones_wrong(family: str, preset: str) -> None:
    metrics = metrics_for(family, "zh" if family == "srwt_zh" else "en", preset=preset)
    assert len({metric.name for metric in metrics}) == len(metrics) == len({metric.signature for metric in metrics})
    computed = 0
    for metric in metrics:
        right, missing = measured(metric, samples_of(family)), measured(metric, samples_of(family, status="infer_fail"))
        if right is None or missing is None:
            continue
        computed += 1
        assert metric.unit in ("%", "ms", "")
        assert right.sums.shape[0] == len(right.parsed) == len(right.each) == 6
        assert right.parsed.all()
        if metric.name not in UNEVEN:
            best = {"lower": 0.0, "higher": right.limits[1] if metric.name in ("bleu", "chrf") else 1.0}[metric.better]
            assert right.value == pytest.approx(best), metric.name
            if not np.isnan(missing.value):
                assert missing.value == pytest.approx(1.0 if metric.better == "lower" else 0.0), metric.name
        found = interval(right.sums, right.statistic, [sample.id for sample in samples_of(family)], limits=right.limits, resamples=50)
        assert found.n_clusters == 6
    assert computed, f"{family}: nothing can be computed"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_that_makes_no_sense_stops_a_metric(family: str) -> None:
    for answer in ("", "nonsense", "<|0.50|><|0.10|>x<|sil|>", "<|pitch|>", "a<|delim|><|delim|>b", "（；；）\u2028\x00", "7" * 3000):
        for metric in metrics_for(family, "en"):
            found = measured(metric, samples_of(family, answer))
            assert found is None or found.sums.shape[0] == 6


@pytest.mark.parametrize("family", FAMILIES)
def test_without_samples_there_is_no_value_and_no_error(family: str) -> None:
    for metric in metrics_for(family, "en"):
        found = measured(metric, [])
        assert found is None or np.isnan(found.value), metric.name


def test_a_preset_that_does_not_exist_is_refused_and_none_is_ours() -> None:
    with pytest.raises(ConfigError, match="expected one of ours, qwen-audio"):
        metrics_for("asr", "en", preset="theirs")
    assert metrics_for("asr", "en", preset=None) == metrics_for("asr", "en")


def test_languages_choose_units_and_tokenizers() -> None:
    assert [metrics_for("asr", code)[0].name for code in ("en", "zh", "de")] == ["wer", "cer", "wer"]
    assert metrics_for("srwt_zh")[-1].name == "cer"
    assert metrics_for("overlapped_asr", "zh")[0].name == "cpcer"
    assert "tok:zh" in metrics_for("s2tt", "zh")[0].signature
    assert "tok:char" in metrics_for("audio_caption", "zh")[0].signature


def test_presets_choose_other_ways_of_counting() -> None:
    names = {preset: [metric.name for metric in metrics_for("audio_qa", "en", preset=preset)] for preset in PRESETS}
    assert names["ours"] == ["accuracy"]
    assert names["qwen-audio"] == ["accuracy_qwen", "accuracy_yes_no", "accuracy_yes_no_qwen"]
    assert names["mmau"] == ["accuracy_mmau"]
    assert [metric.name for metric in metrics_for("srwt_zh", preset="qwen-audio")] == ["aas_qwen", "cer"]
    assert [metric.name for metric in metrics_for("note_analysis", preset="qwen-audio")][:2] == ["instrument_qwen", "map_hard"]
    assert metrics_for("audio_caption", preset="coco")[-1].name == "meteor"


@dataclass
class Scenes:
    name: str = "scenes"
    labels: tuple[str, ...] = ("residential area", "bus")
    aliases: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({"coach": "bus"}))


def test_metrics_of_labels_know_the_list_of_their_benchmark() -> None:
    samples = [
        Sample(id=str(number), status="ok", answer=answer, references=(truth,))
        for number, (answer, truth) in enumerate([("ResidentialArea", "residential area"), ("Coach.", "bus"), ("tram", "bus")])
    ]
    metrics = metrics_for("scene", "en", benchmark=Scenes())
    assert metrics[0].measure(samples).each.tolist() == [1, 1, 0]
    assert "labels:scenes" in metrics[0].signature
    assert metrics_for("scene", "en")[0].measure(samples).each.tolist() == [0, 0, 0]


def test_a_family_of_the_users_own_is_compared_like_an_answer() -> None:
    assert [metric.name for metric in metrics_for("birdsong", "en")] == ["accuracy"]
