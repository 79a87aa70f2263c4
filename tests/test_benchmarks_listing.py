"""The list of benchmarks, and the metrics of each."""

from pathlib import Path

import pytest
from benchmark_tree import clotho

from eval.benchmarks.listing import ls
from eval.benchmarks.measures import metric_names, metrics_of
from eval.benchmarks.open_file import benchmark_of
from eval.benchmarks.table import BENCHMARKS, groups
from eval.metrics.sample import NotComputed, Sample
from qwen_audio.errors import ConfigError

FIRST = {  # what the tables of each set begin with
    "librispeech_test-clean": "wer", "aishell1_test": "cer", "aishell2_test_ios": "cer", "covost2_en-zh": "bleu", "clotho": "cider",
    "librispeech_alignments_test-clean": "aas", "cochlscene": "accuracy", "meld": "accuracy", "clotho_aqa": "accuracy",
    "nsynth": "instrument", "fleurs_cmn_hans_cn": "cer", "fleurs_yue_hant_hk": "cer", "common_voice_15_en": "wer", "openasr_ami": "wer",
    "mmau_v05.15.25_test-mini": "accuracy", "voicebench_advbench": "refused", "audiocaps": "cider", "muchomusic": "accuracy",
}  # fmt: skip


def test_every_benchmark_has_metrics_of_different_names() -> None:
    for benchmark in BENCHMARKS.values():
        names = [metric.name for metric in metrics_of(benchmark)(benchmark.family, benchmark.language)]
        assert names and len(set(names)) == len(names), benchmark.name
    assert {name: metric_names(BENCHMARKS[name]).split(", ")[0] for name in FIRST} == FIRST


def test_the_released_way_of_counting_stands_beside_ours() -> None:
    assert metric_names(BENCHMARKS["librispeech_test-clean"]) == "wer, wer_qwen"
    assert metric_names(BENCHMARKS["aishell2_test_mic"]) == "cer, cer_qwen"
    ours, released = metrics_of(BENCHMARKS["librispeech_test-clean"])("asr", "en")
    assert "norm:whisper-en" in ours.signature and "norm:qwen-audio" in released.signature
    said = [Sample("a", "ok", "He said so.", ("he said so",), "asr", "en")]
    assert (ours.measure(said).value, released.measure(said).value) == (0.0, pytest.approx(1 / 3))  # its rule keeps the full stop
    assert "accuracy_qwen" in metric_names(BENCHMARKS["meld"]) and "accuracy_mmau" in metric_names(BENCHMARKS["mmar"])


def test_labels_are_read_by_the_sets_own_list() -> None:
    accuracy = metrics_of(BENCHMARKS["cochlscene"])("scene", "en")[0]
    said = [Sample(str(n), "ok", answer, ("crowdedindoor",)) for n, answer in enumerate(("CrowdedIndoor", "crowded indoor", "bus"))]
    assert accuracy.measure(said).value == pytest.approx(2 / 3)
    accuracy = metrics_of(BENCHMARKS["tut2017"])("scene", "en")[0]
    said = [Sample("a", "ok", "cafe/restaurant", ("cafe or restaurant",)), Sample("b", "ok", "grocery_store", ("grocery store",))]
    assert accuracy.measure(said).value == 1.0


@pytest.mark.parametrize("name", ["air_bench_chat", "mmau_v05.15.25_test", "voicebench_ifeval", "voicebench_sd-qa_usa"])
def test_what_cannot_be_scored_here_says_why(name: str) -> None:
    (metric,) = metrics_of(BENCHMARKS[name])("chat", "en")
    with pytest.raises(NotComputed, match=r"judge|withheld|IFEval"):
        metric.measure([Sample("a", "ok", "x", ("y",))])


def test_each_family_of_a_file_has_its_own_metrics() -> None:
    choose = metrics_of(benchmark_of(Path("mine.jsonl")))
    assert [choose(family, language)[0].name for family, language in (("asr", "en"), ("asr", "zh"), ("s2tt", "de"), ("chat", ""))] == [
        "wer", "cer", "bleu", "accuracy"
    ]  # fmt: skip


def test_the_list_names_every_set_and_whether_its_data_is_there(tmp_path: Path) -> None:
    clotho(tmp_path)
    text = ls(data_root=tmp_path)
    assert all(name in text for name in BENCHMARKS) and all(f"{group} (" in text for group in groups())
    assert max(map(len, text.splitlines())) <= 160
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["clotho"].endswith("there") and "1,045" in lines["clotho"] and lines["meld"].endswith("missing")
    assert "missing" not in ls() and len(ls("openasr").splitlines()) == 2 + 12


def test_all_about_one_set_says_where_it_is_from_and_how_it_is_asked(tmp_path: Path) -> None:
    text = ls("clotho_aqa", tmp_path)
    for said in (
        "https://zenodo.org/record/6473207",
        "<|question|>{question}<|answer|>",
        "8,514",
        "77.8 %",
        "audio_files/*.wav",
        "is missing",
    ):
        assert said in text
    assert "mulab-mir/muchomusic" in ls("muchomusic") and "not scored" in ls("air_bench_chat")
    assert "released evaluation: 4" in text
    with pytest.raises(ConfigError, match="did you mean"):
        ls("clothoaqa")
