"""BLEU and chrF as sacrebleu computes them, from what each sentence adds, so that they can be resampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from eval.metrics.chunks import by_chunks
from eval.metrics.edits import language_part
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from eval.normalize import without_tags
from qwen_audio.errors import ConfigError, DataError

Tokenizer = Literal["13a", "zh", "ja-mecab", "ko-mecab", "char", "intl", "none"]
TOKENIZERS: tuple[Tokenizer, ...] = ("13a", "zh", "ja-mecab", "ko-mecab", "char", "intl", "none")
ORDERS = 4
CHARACTER_ORDERS = 6
BETA = 2
REMEMBERED_WORDS = 1 << 20
Pair = tuple[str, tuple[str, ...]]  # hypothesis, references


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU, 0 to 100: cased, no normalisation, exponential smoothing, as sacrebleu has it when nothing is asked for.

    Attributes:
        tokenizer: of sacrebleu; ja-mecab and ko-mecab need `pip install sacrebleu[ja]` or `[ko]`.
        n_references: how many each sample has; None takes what each has, and the signature says nrefs:var.
    """

    tokenizer: Tokenizer = "13a"
    n_references: int | None = None

    name = "bleu"

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise ConfigError(f"BLEU with tokenizer {self.tokenizer!r}: expected one of {', '.join(TOKENIZERS)}")

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """A number of its own."""
        return ""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """More of the reference's n-grams."""
        return "higher"

    @property
    def signature(self) -> str:
        """sacrebleu's, with its name before it."""
        try:
            metric = _sacrebleu(self.tokenizer)
        except NotComputed:
            metric = BLEU(tokenize="none")
            metric.tokenizer_signature = self.tokenizer
        return _signature("bleu", metric, self.n_references)

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count n-grams; a sample without an answer counts as an empty sentence.

        The sums are hypothesis length, reference length, matching n-grams of 1 to 4 words, n-grams of 1 to 4 words; `each` is
        sacrebleu's BLEU of a sentence, over the orders that the sentence has.

        Raises:
            DataError: a sample has no reference, or another number of them than the recipe says.
            NotComputed: the tokenizer's library is not installed.
        """
        _sacrebleu(self.tokenizer)
        rows = _pairs(samples, self.n_references)
        sums = by_chunks(partial(count_words, tokenizer=self.tokenizer), rows, 2 + 2 * ORDERS).astype(np.float64)
        total = sums.sum(0, keepdims=True)
        details = {f"precision_{order}": float(value) for order, value in enumerate(_precisions(total)[0], 1)}
        details |= {"brevity_penalty": float(_brevity(total)[0]), "references": _mean_references(rows)}
        return Measured(
            sums=sums, statistic=bleu_of, parsed=np.ones(len(rows), dtype=bool), each=bleu_of(sums, effective_order=True),
            limits=(0.0, 100.0), details=details,
        )  # fmt: skip


@dataclass(frozen=True)
class Chrf:
    """Corpus chrF2, 0 to 100, over characters without spaces; with word_order 2 it is chrF++.

    Attributes:
        word_order: n-grams of up to so many words count beside those of up to 6 characters.
        n_references: as for Bleu.
    """

    word_order: int = 0
    n_references: int | None = None

    @property
    def name(self) -> str:
        """One plus for words, two for pairs of words."""
        return "chrf" + "+" * self.word_order

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """A number of its own."""
        return ""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """More of the reference's n-grams."""
        return "higher"

    @property
    def signature(self) -> str:
        """sacrebleu's, with its name before it."""
        return _signature("chrf", CHRF(word_order=self.word_order), self.n_references)

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count n-grams; of several references the one with the highest chrF counts, as in sacrebleu.

        The sums are, for every order, n-grams of the hypothesis, of the reference, and of both. A sample without an answer counts as
        an empty sentence.

        Raises:
            DataError: a sample has no reference, or another number of them than the recipe says.
        """
        rows = _pairs(samples, self.n_references)
        width = 3 * (CHARACTER_ORDERS + self.word_order)
        sums = by_chunks(partial(count_characters, word_order=self.word_order), rows, width).astype(np.float64)
        precision, recall = _mean_precision_and_recall(sums.sum(0, keepdims=True))
        details = {"precision": 100 * float(precision[0]), "recall": 100 * float(recall[0]), "references": _mean_references(rows)}
        return Measured(
            sums=sums, statistic=chrf_of, parsed=np.ones(len(rows), dtype=bool), each=chrf_of(sums), limits=(0.0, 100.0), details=details,
        )  # fmt: skip


def bleu_for(text_language: str) -> Bleu:
    """Choose BLEU's tokenizer by the language written: zh, ja-mecab and ko-mecab, characters where words have no spaces, else 13a."""
    language = language_part(text_language)
    chosen: dict[str, Tokenizer] = {"zh": "zh", "yue": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
    unspaced: dict[str, Tokenizer] = dict.fromkeys(("th", "lo", "km", "my", "bo"), "char")
    return Bleu((chosen | unspaced).get(language, "13a"))


def _pairs(samples: Sequence[Sample], n_references: int | None) -> list[Pair]:
    for sample in samples:
        if not sample.references or n_references not in (None, len(sample.references)):
            expected = "at least one" if n_references is None else f"{n_references} of them"
            raise DataError(f"{sample.id}: {len(sample.references)} references, the metric expects {expected}")
    return [(without_tags(sample.answer) if sample.status in HEARD else "", sample.references) for sample in samples]


def _mean_references(rows: Sequence[Pair]) -> float:
    return sum(len(references) for _, references in rows) / len(rows) if rows else float("nan")


def _signature(name: str, metric: Any, n_references: int | None) -> str:
    metric.num_refs = -1 if n_references is None else n_references
    return f"{name}|{metric.get_signature().format()}"


@lru_cache(None)
def _sacrebleu(tokenizer: Tokenizer) -> BLEU:
    try:
        return BLEU(tokenize=tokenizer)
    except (ImportError, RuntimeError) as error:  # how sacrebleu says that MeCab or its dictionary is not installed
        extra = tokenizer.partition("-")[0]
        raise NotComputed(f"BLEU with tokenizer {tokenizer} needs MeCab and its dictionary: pip install 'sacrebleu[{extra}]'") from error


# What a sentence adds


def count_words(rows: Sequence[Pair], tokenizer: Tokenizer) -> np.ndarray:
    """Count word n-grams of (hypothesis, references); (N, 10): lengths, matches of 1 to 4 words, n-grams of 1 to 4 words."""
    metric = _sacrebleu(tokenizer)
    split = _words_13a().split if tokenizer == "13a" else lambda text: metric.tokenizer(text.rstrip()).split()
    counts = []
    for hypothesis, references in rows:
        if len(references) == 1:
            counts.append(_against_one(split(hypothesis), split(references[0])))
        else:
            known = metric._extract_reference_info([" ".join(split(reference)) for reference in references])
            counts.append(metric._compute_segment_statistics(" ".join(split(hypothesis)), known))
    return np.array(counts, dtype=np.int64).reshape(-1, 2 + 2 * ORDERS)


def _against_one(hypothesis: list[str], reference: list[str]) -> list[int]:
    """Count what sacrebleu counts, with sets where no n-gram comes twice on both sides."""
    correct, possible = [], []
    ours: list[Any] = list(hypothesis)
    theirs: list[Any] = list(reference)
    for order in range(1, ORDERS + 1):
        if order > 1:
            ours = list(zip(*(hypothesis[start:] for start in range(order)), strict=False))
            theirs = list(zip(*(reference[start:] for start in range(order)), strict=False))
        possible.append(len(ours))
        correct.append(_common(ours, theirs))
    return [len(hypothesis), len(reference), *correct, *possible]


def _common(ours: list[Any], theirs: list[Any]) -> int:
    one, two = set(ours), set(theirs)
    both = one & two
    if len(one) == len(ours) or len(two) == len(theirs):
        return len(both)
    first, second = Counter(ours), Counter(theirs)
    return sum(min(first[gram], second[gram]) for gram in both)


class _ByWord(dict[str, list[str]]):
    """Text between spaces -> its tokens: what tokenizer 13a does in one place does not depend on another place."""

    def __init__(self, tokenize: Callable[[str], str]) -> None:
        super().__init__()
        self._tokenize = tokenize

    def __missing__(self, word: str) -> list[str]:
        tokens = self._tokenize(word).split()
        if len(self) < REMEMBERED_WORDS:
            self[word] = tokens
        return tokens

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        if "\n" in text or "<skipped>" in text:  # a hyphen before a line's end joins words
            return self._tokenize(text.rstrip()).split()
        return [token for word in text.split() for token in self[word]]


@lru_cache(None)
def _words_13a() -> _ByWord:
    return _ByWord(_sacrebleu("13a").tokenizer)


def count_characters(rows: Sequence[Pair], word_order: int) -> np.ndarray:
    """Count character and word n-grams of (hypothesis, references); (N, 3 x orders): hypothesis', reference's, both's."""
    metric = CHRF(word_order=word_order)
    counts = [metric._compute_segment_statistics(hypothesis, metric._extract_reference_info(references)) for hypothesis, references in rows]
    return np.array(counts, dtype=np.int64).reshape(-1, 3 * (CHARACTER_ORDERS + word_order))


# What sums make; nothing is below half a count, so that tiny steps of a derivative do not count as n-grams.


def bleu_of(totals: np.ndarray, effective_order: bool = False) -> np.ndarray:
    """Compute BLEU of (R, 10) sums; (R,), nan where there was nothing.

    Args:
        effective_order: leave orders out of which the hypothesis has no n-gram, as for single sentences.
    """
    precisions, possible = _precisions(totals), totals[:, 2 + ORDERS :] > 0.5
    with np.errstate(divide="ignore"):
        logs = np.log(precisions)
    orders = np.maximum(possible.sum(1), 1) if effective_order else ORDERS
    if effective_order:
        logs = np.where(possible, logs, 0.0)
    matched = (totals[:, 2 : 2 + ORDERS] > 0.5).any(1)
    value = np.where(matched, _brevity(totals) * np.exp(logs.sum(1) / orders), 0.0)
    return np.where(totals[:, :2].sum(1) > 0.5, value, np.nan)


def _precisions(totals: np.ndarray) -> np.ndarray:
    """Return (R, 4) n-gram precisions in percent; the first without a match is taken as half a match, the next as a quarter, .."""
    correct, possible = totals[:, 2 : 2 + ORDERS], totals[:, 2 + ORDERS :]
    missed = correct < 0.5
    counted = np.where(missed, 0.5 ** np.cumsum(missed, axis=1), correct)
    anything = ~missed.all(1, keepdims=True)
    return np.where(anything & (possible > 0.5), 100 * counted / np.maximum(possible, 0.5), 0.0)


def _brevity(totals: np.ndarray) -> np.ndarray:
    ours, theirs = totals[:, 0], totals[:, 1]
    short = np.exp(1 - theirs / np.maximum(ours, 0.5))
    return np.where(ours >= theirs, 1.0, np.where(ours > 0.5, short, 0.0))


def chrf_of(totals: np.ndarray) -> np.ndarray:
    """Compute chrF2 of (R, 3 x orders) sums; (R,), nan where there was nothing."""
    precision, recall = _mean_precision_and_recall(totals)
    below = BETA**2 * precision + recall
    value = 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1.0)
    return np.where(totals[:, [0, 1]].sum(1) > 0.5, value, np.nan)


def _mean_precision_and_recall(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall over the orders that both sides have; both (R,), shares."""
    ours, theirs, both = (totals[:, start::3] for start in range(3))
    there = (ours > 0.5) & (theirs > 0.5)
    orders = np.maximum(there.sum(1), 1)
    precision = np.where(there, both / np.maximum(ours, 0.5), 0.0).sum(1) / orders
    recall = np.where(there, both / np.maximum(theirs, 0.5), 0.0).sum(1) / orders
    return precision, recall
