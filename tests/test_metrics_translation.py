from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from eval.metrics.sample import NotComputed, Sample
from eval.metrics.translation import Bleu, Chrf, Tokenizer, bleu_for
from eval.score import score
from eval.statistics import compare
from qwen_audio.errors import ConfigError, DataError

TEXT = (
    "the cat sat on a dog, house. (and) 3.5 1,000 don't &amp; &quot;x well-known -5 5- ... .5 5. , . ! <skipped> a<skipped>b $5.00 50% "
    "今天 天气 。 é 「好」"
)
WORDS = TEXT.split()


def corpus(seed: int, n: int = 60, n_references: int = 1) -> tuple[list[str], list[tuple[str, ...]]]:
    """Make hypotheses and references; one in twenty has a hyphen at a line's end or a tab."""
    rng = random.Random(seed)

    def sentence() -> str:
        text = " ".join(rng.choices(WORDS, k=rng.choice([1, 2, 3, 5, 9, 15])))
        return text.replace(" ", rng.choice(["-\n", "\t"]), 1) if rng.random() < 0.1 else text

    references = [tuple(sentence() for _ in range(n_references)) for _ in range(n)]
    kept = [" ".join(word for word in rng.choice(texts).split() if rng.random() < 0.8) for texts in references]
    return [text if rng.random() < 0.9 else sentence() for text in kept], references


def samples_of(hypotheses: list[str], references: list[tuple[str, ...]]) -> list[Sample]:
    return [Sample(f"{place:04d}", "ok", *pair) for place, pair in enumerate(zip(hypotheses, references, strict=True))]


@pytest.mark.parametrize("n_references", [1, 3])
@pytest.mark.parametrize("tokenizer", ["13a", "zh", "char", "intl", "none"])
def test_bleu_is_that_of_sacrebleu_in_value_counts_and_parts(tokenizer: Tokenizer, n_references: int) -> None:
    hypotheses, references = corpus(1, n_references=n_references)
    found = Bleu(tokenizer).measure(samples_of(hypotheses, references))
    theirs = BLEU(tokenize=tokenizer)
    streams = list(zip(*references, strict=True))
    assert found.sums.tolist() == theirs._extract_corpus_statistics(hypotheses, streams)
    expected = theirs.corpus_score(hypotheses, streams)
    assert found.value == pytest.approx(expected.score, abs=1e-9)
    assert [found.details[f"precision_{order}"] for order in range(1, 5)] == pytest.approx(expected.precisions, abs=1e-9)
    assert found.details["brevity_penalty"] == pytest.approx(expected.bp, abs=1e-12)
    assert found.value == pytest.approx(sacrebleu.corpus_bleu(hypotheses, streams, tokenize=tokenizer).score, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_bleu_of_a_single_sentence_is_that_of_sacrebleu(seed: int) -> None:
    hypotheses, references = corpus(seed, n=30)
    single = BLEU(effective_order=True)
    expected = [single.sentence_score(*pair).score for pair in zip(hypotheses, references, strict=True)]
    assert Bleu().measure(samples_of(hypotheses, references)).each == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bleu_of_very_few_sentences_is_smoothed_as_sacrebleu_smooths_it(n: int) -> None:
    for seed in range(30):
        hypotheses, references = corpus(seed, n=n)
        expected = BLEU().corpus_score(hypotheses, list(zip(*references, strict=True))).score
        assert Bleu().measure(samples_of(hypotheses, references)).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_references", [1, 2])
@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_that_of_sacrebleu(word_order: int, n_references: int) -> None:
    hypotheses, references = corpus(2, n_references=n_references)
    found = Chrf(word_order).measure(samples_of(hypotheses, references))
    theirs = CHRF(word_order=word_order)
    assert found.value == pytest.approx(theirs.corpus_score(hypotheses, list(zip(*references, strict=True))).score, abs=1e-9)
    expected = [theirs.sentence_score(*pair).score for pair in zip(hypotheses, references, strict=True)]
    assert found.each == pytest.approx(expected, abs=1e-9)
    assert Chrf(word_order).name == "chrf" + "+" * word_order


def test_samples_may_have_unequal_numbers_of_references() -> None:
    hypotheses, references = corpus(3, n=20, n_references=2)
    fewer = [texts[: 1 + place % 2] for place, texts in enumerate(references)]
    streams = [[texts[0] for texts in fewer], [texts[1] if len(texts) > 1 else None for texts in fewer]]
    for metric, theirs in ((Bleu(), BLEU()), (Chrf(), CHRF())):
        found = metric.measure(samples_of(hypotheses, fewer))
        assert found.value == pytest.approx(theirs.corpus_score(hypotheses, streams).score, abs=1e-9)  # type: ignore[arg-type]
        assert found.details["references"] == 1.5
        assert metric.signature == f"{metric.name}|{theirs.get_signature()}"


def test_a_resample_of_counts_has_the_value_of_the_texts_it_stands_for() -> None:
    hypotheses, references = corpus(4)
    chosen = np.random.default_rng(0).integers(0, len(hypotheses), (10, len(hypotheses)))
    for metric, theirs in ((Bleu(), BLEU()), (Chrf(), CHRF())):
        found = metric.measure(samples_of(hypotheses, references))
        again = [theirs.corpus_score([hypotheses[p] for p in row], [[references[p][0] for p in row]]).score for row in chosen]
        assert found.statistic(found.sums[chosen].sum(1)) == pytest.approx(again, abs=1e-9)


def test_an_answer_that_failed_counts_as_an_empty_sentence() -> None:
    hypotheses, references = corpus(5, n=20)
    samples = samples_of(hypotheses, references)
    failed = [Sample(one.id, "infer_fail" if place < 5 else "ok", one.answer, one.references) for place, one in enumerate(samples)]
    streams = list(zip(*references, strict=True))
    expected = BLEU().corpus_score(["" if place < 5 else text for place, text in enumerate(hypotheses)], streams).score
    found = score("set", failed, [Bleu()])[0]
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.lenient > found.value
    assert (found.unit, found.better, found.statuses) == ("", "higher", {"ok": 15, "infer_fail": 5})
    assert 0 <= found.low < found.value < found.high <= 100


def test_tags_of_an_answer_are_no_words() -> None:
    sample = Sample("a", "ok", "<|de|>Das ist ein guter Tag.<|endoftext|>", ("Das ist ein guter Tag.",))
    assert Bleu().measure([sample]).value == pytest.approx(100)


def test_a_tokenizer_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(tokenize: str) -> BLEU:
        raise RuntimeError("requires extra dependencies")

    assert Bleu("ja-mecab", 1).signature.startswith("bleu|nrefs:1|case:mixed|eff:no|tok:ja-mecab")
    monkeypatch.setattr("eval.metrics.translation.BLEU", missing)
    with pytest.raises(NotComputed, match=r"pip install 'sacrebleu\[ko\]'"):
        Bleu("ko-mecab").measure(samples_of(["그"], [("그",)]))


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("zh", "zh"),
        ("zh_tr", "zh"),
        ("zh-CN", "zh"),
        ("yue", "zh"),
        ("ja", "ja-mecab"),
        ("ko", "ko-mecab"),
        ("th", "char"),
        ("de", "13a"),
        ("", "13a"),
    ],
)
def test_a_language_has_the_tokenizer_that_suits_its_writing(language: str, tokenizer: str) -> None:
    assert bleu_for(language).tokenizer == tokenizer


def test_a_recipe_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of 13a, zh"):
        Bleu("flores200")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0000: 2 references, the metric expects 1 of them"):
        Bleu(n_references=1).measure(samples_of(["a"], [("a", "b")]))
    with pytest.raises(DataError, match="at least one"):
        Chrf().measure(samples_of(["a"], [()]))


@pytest.mark.parametrize(("metric", "theirs"), [(Bleu(), BLEU()), (Chrf(), CHRF())])
def test_a_paired_comparison_says_what_that_of_sacrebleu_says(metric: Bleu | Chrf, theirs: BLEU | CHRF) -> None:
    first, references = corpus(6, n=120)
    rng = random.Random(6)
    second = [" ".join(word for word in text.split() if rng.random() < 0.97) for text in first]
    streams = list(zip(*references, strict=True))
    _, results = PairedTest([("first", first), ("second", second)], {"metric": theirs}, streams, "bs", 2000)()
    expected: Any = next(both[1] for name, both in results.items() if name != "System")
    one, two = (metric.measure(samples_of(texts, references)) for texts in (first, second))
    ours = compare(one.sums, two.sums, one.statistic, [str(place) for place in range(len(first))])
    assert ours.p_bootstrap == pytest.approx(expected.p_value, abs=0.05)
    assert ours.value == pytest.approx(expected.score - one.value, abs=1e-9)
