"""Times of words: how far the boundaries of rightly heard words are off (AAS), by the published definition and by the released script's.

The two differ by a factor of about two and in what they count, so each has its own name. Words that were not heard, or have no times,
have no shift: coverage, and the share of boundaries that are near enough, say what that leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

from eval.metrics.reading import answer_of, folded, right_answers
from eval.metrics.sample import Measured, Sample
from eval.statistics import ratio
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word
from tag_schema.vocabulary import SILENCE, TAG_PATTERN

NEAR_MS = (20, 50, 100)
_TIME = re.compile(r"<\|(\d+(?:\.\d+)?)\|>")
_RELEASED_TIME = re.compile(r"<\|\d{1,2}\.\d+\|>")
ROUNDING_MS = 1e-6  # times are sums of hundredths: 0.3 - 0.28 is 20 ms


def timed_words(text: str) -> list[Word] | None:
    """Read the words of a timed transcript with their times in seconds, pauses left out; None where no word has times.

    More is taken than a clip of 30 s can hold: any number of seconds, times that fall, a last word that is not closed (it has no end,
    and is left out). The first time may be missing, as it is where the question gave <|0.00|>. Tags that are no times are left out.
    """
    marks = list(_TIME.finditer(text))
    if not marks:
        return None
    words, start, cursor = [], 0.0, 0
    for mark in marks:
        said = _item(text[cursor : mark.start()])
        end = float(mark[1])
        if said:
            words.append(Word(said, start, end))
        start, cursor = end, mark.end()
    return words


def _item(text: str) -> str:
    return "" if SILENCE in text else TAG_PATTERN.sub(" ", text).strip()


def _true_words(sample: Sample) -> list[Word]:
    words = timed_words(right_answers(sample)[0])
    if words is None:
        raise DataError(f"{sample.id}: the reference {sample.target[:60]!r} has no times; expected <|0.00|>word<|0.23|>..")
    return [word for word in words if folded(word.text)]


def shifts(truth: Sequence[Word], found: Sequence[Word]) -> np.ndarray:
    """Return (M, 2) ms that start and end of each matched word are off; words are matched by an alignment with the fewest edits."""
    pairs = Levenshtein.opcodes([folded(word.text) for word in truth], [folded(word.text) for word in found])
    rows = []
    for code in pairs:
        if code.tag == "equal":
            for one, two in zip(truth[code.src_start : code.src_end], found[code.dest_start : code.dest_end], strict=True):
                rows.append((1000 * abs(one.start_s - two.start_s), 1000 * abs(one.end_s - two.end_s)))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class _Matched:
    """The shifts of a sample's matched words, how many words there are, and whether the answer has times."""

    shifts: np.ndarray
    n_words: int
    timed: bool


def _matched(sample: Sample) -> _Matched:
    truth = _true_words(sample)
    found = timed_words(answer_of(sample))
    heard = [word for word in found or [] if folded(word.text)]
    return _Matched(shifts(truth, heard), len(truth), found is not None)


class _OfWords:
    """What metrics of word times have in common."""

    @property
    def _words(self) -> str:
        return "words without pauses, folded, fewest edits"


@dataclass(frozen=True)
class Aas(_OfWords):
    """Average alignment shift in ms: how far a boundary of a rightly heard word is off, the mean of start and end.

    `coverage` in the details is the share of words that were matched with times; words without count there and nowhere else.

    Source: Shi et al. 2023 (arXiv:2301.12343): AAS = sum over words (|start shift| + |end shift|) / 2 / number of words, as others
    quote it; the number is taken over matched words.
    """

    name: str = "aas"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Milliseconds."""
        return "ms"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Nearer."""
        return "lower"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"aas|{self._words}|halved|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Add up the shifts of matched words; the sums are (ms, words matched, words).

        Raises:
            DataError: a reference has no times.
        """
        rows = [_matched(sample) for sample in samples]
        sums = np.array([(row.shifts.sum() / 2, len(row.shifts), row.n_words) for row in rows], dtype=np.float64).reshape(-1, 3)
        total = max(sums[:, 2].sum(), 1)
        with np.errstate(invalid="ignore"):
            each = np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)
        details = {"coverage": float(sums[:, 1].sum() / total), "words": float(sums[:, 2].sum())}
        return Measured(sums=sums, statistic=ratio, parsed=_timed(rows), each=each, details=details)


def _timed(rows: Sequence[_Matched]) -> np.ndarray:
    return np.array([row.timed for row in rows], dtype=bool)


@dataclass(frozen=True)
class TimedCoverage(_OfWords):
    """The share of words that were heard rightly and given times."""

    name: str = "timed_coverage"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """More."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"timed_coverage|{self._words}|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count matched words and words."""
        rows = [_matched(sample) for sample in samples]
        return _share(np.array([(len(row.shifts), row.n_words) for row in rows], dtype=np.float64), rows)


def _share(sums: np.ndarray, rows: Sequence[_Matched]) -> Measured:
    sums = sums.reshape(-1, 2)
    each = np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)
    return Measured(sums=sums, statistic=ratio, parsed=_timed(rows), each=each, limits=(0.0, 1.0))


@dataclass(frozen=True)
class BoundaryShare(_OfWords):
    """The share of all word boundaries that are at most so many ms off; boundaries of words that were not matched are not near.

    Attributes:
        near_ms: how far off is near.
    """

    near_ms: int = 50

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"boundaries_{self.near_ms}ms"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """More."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|{self._words}|of all boundaries|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count boundaries that are near, and boundaries."""
        rows = [_matched(sample) for sample in samples]
        counts = [((row.shifts <= self.near_ms + ROUNDING_MS).sum(), 2 * row.n_words) for row in rows]
        return _share(np.array(counts, dtype=np.float64), rows)


@dataclass(frozen=True)
class AasQwen:
    """AAS as the released script computes it, in ms: both shifts added and not halved, pauses counted as words.

    The script prints seconds. The first word is lost where the answer does not repeat the <|0.00|> that its question gives, times from
    100 s on are read as words. One answer without times ends the script; here it is left out and counted as not read.

    Source: QwenLM/Qwen-Audio, eval_audio/evaluate_srwt.py (AverageShiftCalculator), the same as FunASR's.
    """

    name: str = "aas_qwen"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Milliseconds."""
        return "ms"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Nearer."""
        return "lower"

    @property
    def signature(self) -> str:
        """The recipe."""
        return "aas_qwen|tokens with <|sil|>|start+end, not halved|ms (the script prints s)|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Add up the shifts of equal tokens; the sums are (ms, tokens)."""
        rows, parsed = [], []
        for sample in samples:
            truth, found = released_tokens(right_answers(sample)[0]), released_tokens(answer_of(sample))
            parsed.append(found is not None)
            rows.append(_released_shift(truth, found) if truth and found else (0.0, 0.0))
        sums = np.array(rows, dtype=np.float64).reshape(-1, 2)
        each = np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)
        return Measured(sums=sums, statistic=ratio, parsed=np.array(parsed, dtype=bool), each=each,
                        details={"tokens": float(sums[:, 1].sum())})  # fmt: skip


def released_tokens(text: str) -> list[tuple[str, float, float]] | None:
    """Read what stands between two times as the released script does: pauses too, white space kept; None where it reads nothing."""
    for tag in ("<|startoftranscript|>", "<|transcribe|>", "<|en|>" if "<|en|>" in text else "<|zh|>"):
        text = text.replace(tag, "")
    times = [float(mark[2:-2]) for mark in _RELEASED_TIME.findall(text)]
    items = _RELEASED_TIME.split(text)[1:-1]
    if len(times) != len(items) + 1:
        return None
    return list(zip(items, times, times[1:], strict=False))


def _released_shift(truth: Sequence[tuple[str, float, float]], found: Sequence[tuple[str, float, float]]) -> tuple[float, float]:
    pairs = equal_pairs([item[0] for item in truth], [item[0] for item in found])
    total = sum(abs(truth[one][1] - found[two][1]) + abs(truth[one][2] - found[two][2]) for one, two in pairs)
    return 1000 * total, float(len(pairs))


def equal_pairs(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Match two sequences by the fewest edits; of paths equally short the one that replaces, then inserts, seen from the end.

    That is the choice of the package edit_distance, by which the released script aligns.
    """
    costs = [list(range(len(second) + 1))]
    for one, item in enumerate(first, 1):
        row = [one]
        for two, other in enumerate(second, 1):
            row.append(min(costs[-1][two - 1] + (item != other), row[-1] + 1, costs[-1][two] + 1))
        costs.append(row)
    pairs, one, two = [], len(first), len(second)
    while one and two:
        differs = first[one - 1] != second[two - 1]
        if costs[one][two] == costs[one - 1][two - 1] + differs:
            one, two = one - 1, two - 1
            if not differs:
                pairs.append((one, two))
        elif costs[one][two] == costs[one][two - 1] + 1:
            two -= 1
        else:
            one -= 1
    return pairs[::-1]
