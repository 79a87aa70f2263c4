"""The paper's figures beside a run's: what stands where, and what is said of it."""

import math

import pytest

from eval.benchmarks.measures import metrics_of
from eval.benchmarks.paper import NOTES, PUBLISHED, figure_of, paper_table
from eval.benchmarks.table import BENCHMARKS, groups
from eval.score import Score


def scored(benchmark: str, metric: str, value: float, **changed: object) -> Score:
    fields = {
        "benchmark": benchmark, "metric": metric, "value": value, "lenient": value, "unit": "%", "better": "lower", "n": 2_620,
        "statuses": {"ok": 2_620}, "low": value * 0.9, "high": value * 1.1, "n_clusters": 40, "clusters": "speaker",
        "signature": "wer|norm:qwen-audio:1|tok:word|v1",
    }  # fmt: skip
    return Score(**{**fields, **changed})  # type: ignore[arg-type]


def line_of(table: str, start: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(start))


# README of QwenLM/Qwen-Audio, typed in here from its tables.
README = {
    "LibriSpeech": [1.8, 4.0, 2.0, 4.2], "AISHELL": [1.2, 1.3, 3.3, 3.1, 3.3], "CoVoST": [25.1, 33.9, 41.5, 15.7, 39.7, 38.5, 36.0],
    "Clotho ": [0.441, 0.136, 0.288], "Cochl": [79.5], "TUT": [64.9], "MELD": [55.7], "ClothoAQA": [57.9, 74.9], "Vocal": [92.89],
    "NSynth": [47.42, 78.82], "industrial": [51.5],
}  # fmt: skip


def test_every_figure_of_the_readme_is_there() -> None:
    for name, values in README.items():
        assert [row.value for row in PUBLISHED if f"{row.set} ".startswith(name)] == values
    assert len(PUBLISHED) == sum(map(len, README.values()))
    assert {row.benchmark for row in PUBLISHED if row.benchmark} == set(groups()["paper"]) <= set(BENCHMARKS)
    for row in PUBLISHED:  # the first of its metrics is what the set is measured by, counted as released
        if row.benchmark:
            benchmark = BENCHMARKS[row.benchmark]
            assert row.measured[0] in [metric.name for metric in metrics_of(benchmark)(benchmark.family, benchmark.language)]
    assert {row.note for row in PUBLISHED} == set(NOTES)


def test_a_figure_of_the_run_stands_beside_the_papers_with_its_interval() -> None:
    table = paper_table([scored("librispeech_test-clean", "wer_qwen", 0.0312)], "mini")
    assert line_of(table, "set").split() == ["set", "metric", "Qwen-Audio", "best", "before", "mini", "95", "%", "note"]
    assert line_of(table, "LibriSpeech test-clean").split() == [
        "LibriSpeech",
        "test-clean",
        "WER",
        "%",
        "2.0",
        "2.1",
        "3.1",
        "2.8",
        "to",
        "3.4",
        "1",
    ]
    assert line_of(table, "LibriSpeech dev-clean").split()[-3:] == ["not", "run", "1"]
    assert "closed set" in line_of(table, "industrial") and "the factor is about 2" in table and "828 classes" in table


def test_the_released_way_of_counting_is_taken_where_there_is_one() -> None:
    ours = scored("librispeech_test-clean", "wer", 0.02, signature="wer|norm:whisper-en:0.1.15|tok:word|v1")
    released, part = (
        scored("librispeech_test-clean", "wer_qwen", 0.03),
        scored("librispeech_test-clean", "wer", 0.01, subgroup="gender=female"),
    )
    (row,) = [row for row in PUBLISHED if row.benchmark == "librispeech_test-clean"]
    assert figure_of(row, [part, ours, released]) is released
    assert "LibriSpeech test-clean, WER %: counted otherwise than released: wer|norm:whisper-en" in paper_table([ours])
    assert figure_of(row, [scored("librispeech_test-other", "wer", 0.5)]) is None


def test_what_is_not_computed_or_of_other_rows_is_said() -> None:
    spice = scored("clotho", "spice", math.nan, not_computed="SPICE needs Java", low=math.nan, high=math.nan)
    table = paper_table([spice, scored("nsynth", "map_hard", 0.4, n=100)])
    assert "not computed" in line_of(table, "Clotho  ") or "not computed" in table
    assert "Clotho, SPICE: SPICE needs Java" in table
    assert "NSynth qualities, mAP %: over 100 rows instead of 4,096" in table
    assert line_of(table, "NSynth qualities").split()[5:8] == ["38.60", "40.00", "36.00"]


@pytest.mark.parametrize(("pair", "value"), [("en-zh", 41.5), ("zh-en", 15.7)])
def test_bleu_is_in_its_own_scale(pair: str, value: float) -> None:
    table = paper_table(
        [scored(f"covost2_{pair}", "bleu", 12.34, unit="", signature="bleu|tok:zh", n=BENCHMARKS[f"covost2_{pair}"].count or 0)]
    )
    assert line_of(table, f"CoVoST 2 {pair}").split()[4:7] == [str(value), "33.1" if pair == "en-zh" else "12.3", "12.3"]
