"""Captions against their references: CIDEr-D, ROUGE-L, METEOR, SPICE and SPIDEr, on the words of `eval.metrics.ptb`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rapidfuzz.distance import LCSseq

from eval.metrics import ptb
from eval.metrics.edits import BY_CHARACTERS, language_part
from eval.metrics.java import meteor_statistics, spice_scores
from eval.metrics.reading import answer_of, right_answers
from eval.metrics.sample import Measured, NotComputed, Sample
from eval.statistics import ratio
from tag_schema.answers import read_text

Words = tuple[str, ...]
Grams = Mapping[Words, int]
LONGEST_GRAM = 4
SIGMA = 6.0  # words: how fast CIDEr-D falls with a difference in length
BETA = 1.2  # how much more recall counts than precision in ROUGE-L
COUNTS = 23  # numbers that METEOR's program gives for a caption
# METEOR 1.5's parameters for English: weights of exact, stem, synonym and paraphrase matches, and what makes a score of them.
MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
ALPHA, PENALTY_POWER, PENALTY, CONTENT = 0.85, 0.2, 0.6, 0.75


def by_characters(language: str) -> bool:
    """Tell whether a language's captions count by characters, as its error rate does."""
    return language_part(language) in BY_CHARACTERS


def words_of(text: str, language: str = "en") -> Words:
    """Cut a caption into the words that count; characters in languages written without spaces. Tags are no words."""
    plain = read_text(text)
    return tuple("".join(plain.split())) if by_characters(language) else tuple(" ".join(ptb.words(plain)).split())


@dataclass(frozen=True)
class _Caption:
    """What metrics of captions have in common.

    Attributes:
        language: of the captions; words are cut as the Penn Treebank's; Chinese, Japanese and Korean count by characters.
    """

    language: str = "en"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Plain numbers."""
        return ""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"

    @property
    def _words(self) -> str:
        return "tok:char" if by_characters(self.language) else f"tok:{ptb.VERSION}"

    def _cut(self, samples: Sequence[Sample]) -> list[tuple[Words, list[Words]]]:
        return [
            (words_of(answer_of(sample), self.language), [words_of(text, self.language) for text in right_answers(sample)])
            for sample in samples
        ]  # fmt: skip

    def _joined(self, samples: Sequence[Sample], name: str) -> list[tuple[str, list[str]]]:
        if language_part(self.language) != "en":
            raise NotComputed(f"{name} knows English alone, and these captions are in {self.language!r}")
        return [(" ".join(caption), [" ".join(words) for words in references]) for caption, references in self._cut(samples)]


def _mean(scores: Sequence[float], top: float, **details: float) -> Measured:
    """Measure a mean of scores that each sample has by itself."""
    each = np.array(scores, dtype=np.float64)
    return Measured(
        sums=np.stack([each, np.ones_like(each)], axis=1), statistic=ratio, parsed=np.ones(len(each), dtype=bool), each=each,
        limits=(0.0, top), details=details,
    )  # fmt: skip


@dataclass(frozen=True)
class CiderD(_Caption):
    """CIDEr-D: how alike caption and references are in their n-grams, rare ones weighing more; 0 to 10.

    How rare an n-gram is (the documents that hold it) is learnt from the references of all samples measured: so the value depends on
    how many there are, a single one scores 0, and a part of a benchmark scores differently from the whole, which `documents` in the
    details tells. Intervals and subgroups hold that weight fixed.

    Source: Vedantam et al. 2015 (arXiv:1411.5726) with n up to 4, sigma 6 and factor 10; agrees with pycocoevalcap 1.2 (CIDEr).
    """

    @property
    def name(self) -> str:
        """CIDEr-D, as captioning of sound reports it."""
        return "cider"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"cider-d|n:{LONGEST_GRAM}|sigma:{SIGMA:g}|{self._words}|df:refs of all samples|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Score each caption; one that is missing scores 0."""
        cut = [(grams(caption), [grams(words) for words in references]) for caption, references in self._cut(samples)]
        documents: Counter[Words] = Counter()
        for _, references in cut:
            documents.update(set().union(*references))
        everything = math.log(max(len(cut), 1))
        weight = {gram: everything - math.log(count) for gram, count in documents.items()}
        scores = [_cider(_weighted(caption, weight, everything), [_weighted(one, weight, everything) for one in references])
                  for caption, references in cut]  # fmt: skip
        n_references = float(np.mean([len(references) for _, references in cut])) if cut else float("nan")
        return _mean(scores, 10.0, documents=float(len(cut)), references_each=n_references)


def grams(words: Words) -> Counter[Words]:
    """Count the n-grams of one to four words."""
    return Counter(words[start : start + size] for size in range(1, LONGEST_GRAM + 1) for start in range(len(words) - size + 1))


@dataclass(frozen=True, slots=True)
class _Weighted:
    """N-grams of a text by size with their weights, the norm of each size, and how many pairs of words there are."""

    vectors: tuple[dict[Words, float], ...]
    norms: tuple[float, ...]
    length: int


def _weighted(counts: Grams, weight: Mapping[Words, float], unseen: float) -> _Weighted:
    vectors: tuple[dict[Words, float], ...] = tuple({} for _ in range(LONGEST_GRAM))
    for gram, count in counts.items():
        vectors[len(gram) - 1][gram] = count * weight.get(gram, unseen)
    norms = tuple(math.sqrt(sum(value * value for value in vector.values())) for vector in vectors)
    return _Weighted(vectors, norms, sum(count for gram, count in counts.items() if len(gram) == 2))


def _cider(caption: _Weighted, references: Sequence[_Weighted]) -> float:
    total = 0.0
    for reference in references:
        fit = math.exp(-((caption.length - reference.length) ** 2) / (2 * SIGMA**2))
        for mine, theirs, norm, other in zip(caption.vectors, reference.vectors, caption.norms, reference.norms, strict=True):
            if norm and other:
                product = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs)
                total += fit * product / (norm * other)
    return 10.0 * total / LONGEST_GRAM / len(references)


@dataclass(frozen=True)
class RougeL(_Caption):
    """ROUGE-L of captions: the longest common subsequence, best precision and best recall over the references, recall weighing more.

    Source: Lin 2004 (W04-1013) as the COCO captions' scorer has it (beta 1.2); agrees with pycocoevalcap 1.2.
    """

    @property
    def name(self) -> str:
        """ROUGE-L."""
        return "rouge_l"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"rouge-l|beta:{BETA:g}|{self._words}|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Score each caption; one that is missing scores 0."""
        return _mean([_rouge(caption, references) for caption, references in self._cut(samples)], 1.0)


def _rouge(caption: Words, references: Sequence[Words]) -> float:
    common = [(LCSseq.similarity(caption, words), len(words)) for words in references if words]
    best = max((shared for shared, _ in common), default=0)
    if not best:
        return 0.0
    precision, recall = best / len(caption), max(shared / length for shared, length in common)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


@dataclass(frozen=True)
class Meteor(_Caption):
    """METEOR 1.5 over the corpus: words matched exactly, by stem, synonym or paraphrase, less a penalty for their order; 0 to 1.

    The value is METEOR of the counts added up over all samples, as its program reports it, not the mean of single scores.

    Source: Denkowski and Lavie 2014 (W14-3348); the counts are the program's (in pycocoevalcap, run by Java), the formula is checked
    against its scores.
    """

    @property
    def name(self) -> str:
        """METEOR."""
        return "meteor"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"meteor|1.5|en|norm|{self._words}|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count matches of each caption; one that is missing matches nothing."""
        counts = np.array(meteor_statistics(self._joined(samples, "METEOR")), dtype=np.float64).reshape(-1, COUNTS)
        sums = without_whole_chunks(counts)
        return Measured(
            sums=sums, statistic=meteor_of, parsed=np.ones(len(samples), dtype=bool), each=np.nan_to_num(meteor_of(sums)), limits=(0.0, 1.0)
        )


def without_whole_chunks(counts: np.ndarray) -> np.ndarray:
    """Take away the one chunk of each caption that is matched whole, as the program does before it adds up; (N, 23)."""
    whole = (counts[:, 21] == counts[:, 0]) & (counts[:, 22] == counts[:, 1]) & (counts[:, 20] == 1)
    counts = counts.copy()
    counts[whole, 20] = 0
    return counts


def meteor_of(totals: np.ndarray) -> np.ndarray:
    """Score METEOR's counts.

    Args:
        totals: (R, 23): words of caption and reference, function words of both, then for each kind of match the content words and the
            function words matched in caption and reference, then chunks, and all words matched in both.
    Returns:
        (R,), nan where there was nothing to be said.
    """
    said, right, said_function, right_function = totals[:, :4].T
    kinds = totals[:, 4:20].reshape(len(totals), 4, 4)  # kind, (content in caption, in reference, function in caption, in reference)
    matched = CONTENT * kinds[:, :, :2] + (1 - CONTENT) * kinds[:, :, 2:]
    weighted = (MATCH_WEIGHTS[None, :, None] * matched).sum(1)
    chunks, said_matched, right_matched = totals[:, 20:23].T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = weighted[:, 0] / (CONTENT * (said - said_function) + (1 - CONTENT) * said_function)
        recall = weighted[:, 1] / (CONTENT * (right - right_function) + (1 - CONTENT) * right_function)
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        scattered = chunks / ((said_matched + right_matched) / 2)
        scores = mean * (1 - PENALTY * scattered**PENALTY_POWER)
    return np.where((right > 0) & ~(scores > 0), 0.0, scores)


@dataclass(frozen=True)
class Spice(_Caption):
    """SPICE: F1 over what a caption and its references say of things, their qualities and relations; 0 to 1.

    Source: Anderson et al. 2016 (arXiv:1607.08822), the jar in pycocoevalcap, which needs models of Stanford CoreNLP 3.6.0.
    """

    memory_gb: int = 8

    @property
    def name(self) -> str:
        """SPICE."""
        return "spice"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"spice|1.0|{self._words}|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Score each caption; one that is missing scores 0."""
        return _mean(spice_scores(self._joined(samples, "SPICE"), memory_gb=self.memory_gb), 1.0)


@dataclass(frozen=True)
class Spider(_Caption):
    """SPIDEr: the mean of CIDEr-D and SPICE, in which captioning of sound is ranked.

    Source: Liu et al. 2017 (arXiv:1612.00370).
    """

    memory_gb: int = 8

    @property
    def name(self) -> str:
        """SPIDEr."""
        return "spider"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"spider|({CiderD(self.language).signature}+{Spice(self.language).signature})/2|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Score each caption; one that is missing scores 0."""
        spice = Spice(self.language, self.memory_gb).measure(samples)
        cider = CiderD(self.language).measure(samples)
        details = {**cider.details, "cider": cider.value, "spice": spice.value}
        return _mean(((cider.each + spice.each) / 2).tolist(), 5.5, **details)
