"""Several labels at once (sound events, qualities of a note): F1 and mean average precision, from hard answers and from scores.

Average precision is made for scores. Of hard answers it is precision times recall plus the rest of the recall times the share of
samples that have the label: an empty answer scores that share, not nothing. So the floor is given as chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.metrics.labels import MOST_CLASSES, f1_of_classes, f1_of_counts
from eval.metrics.reading import answer_of, folded, right_answers
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from qwen_audio.errors import DataError
from tag_schema.answers import read_labels
from tag_schema.vocabulary import TagError

SCORES = "scores"  # meta of a sample: a JSON object of label -> score, where the model gave them
Labels = Callable[[str], Sequence[str]]


def folded_labels(text: str) -> tuple[str, ...]:
    """Read labels with semicolons between, without capitals."""
    return tuple(folded(label) for label in read_labels(text))


@dataclass(frozen=True, slots=True)
class Marked:
    """Right and answered labels of N samples as (N, C) tables, the classes, and which answers could be read."""

    classes: tuple[str, ...]
    truths: np.ndarray
    answers: np.ndarray
    parsed: np.ndarray


def marked(samples: Sequence[Sample], read: Labels, classes: Sequence[str] = ()) -> Marked:
    """Mark the labels of each sample; those outside the classes are left out.

    Args:
        read: text -> labels, TagError where it cannot be read.
        classes: a fixed list; without it, the labels of the right answers.
    Raises:
        DataError: a right answer is missing or cannot be read.
    """
    truths = [_truth(sample, read) for sample in samples]
    names = tuple(classes) or tuple(sorted(set().union(*truths))) if truths else tuple(classes)
    found = [_found(sample, read) for sample in samples]
    return Marked(names, _table(truths, names), _table([labels or () for labels in found], names),
                  np.array([labels is not None for labels in found], dtype=bool))  # fmt: skip


def _truth(sample: Sample, read: Labels) -> Sequence[str]:
    try:
        return read(right_answers(sample)[0])
    except TagError as error:
        raise DataError(f"{sample.id}: the reference cannot be read: {error}") from error


def _found(sample: Sample, read: Labels) -> Sequence[str] | None:
    if sample.status not in HEARD:
        return None
    try:
        return read(answer_of(sample))
    except TagError:
        return None


def _table(rows: Sequence[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    number = {label: place for place, label in enumerate(classes)}
    table = np.zeros((len(rows), len(classes)), dtype=np.int8)
    for row, labels in enumerate(rows):
        table[row, [number[label] for label in labels if label in number]] = 1
    return table


def precision_of_hard(totals: np.ndarray) -> np.ndarray:
    """Return average precision of each class from hard answers.

    Args:
        totals: (R, 3 * C + 1) samples with the label rightly answered, answered with it, having it; and how many samples.
    Returns:
        (R, C), nan where no sample has the label.
    """
    hits, answers, truths = np.split(totals[:, :-1].astype(np.float64), 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / truths
        precision = np.where(answers > 0, hits / answers, 0.0)
        return np.asarray(precision * recall + (1 - recall) * truths / totals[:, -1:])


def hard_sums(table: Marked) -> np.ndarray:
    """Return what precision_of_hard takes; (N, 3 * C + 1) int8."""
    ones = np.ones((len(table.truths), 1), dtype=np.int8)
    return np.concatenate([table.truths * table.answers, table.answers, table.truths, ones], axis=1)


def mean_over_present(parts: np.ndarray) -> np.ndarray:
    """Average (R, C) over the classes that are no nan; nan where none is left."""
    there = ~np.isnan(parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(there, parts, 0.0).sum(1) / there.sum(1))


def hard_map(totals: np.ndarray) -> np.ndarray:
    """Average precision of hard answers over the classes that samples have; (R, 3 * C + 1) -> (R,)."""
    return mean_over_present(precision_of_hard(totals))


def floor_of(table: Marked) -> float:
    """Return what answering nothing scores: the share of samples with a label, averaged over the labels that occur."""
    shares = table.truths.mean(0) if len(table.truths) else np.zeros(0)
    return float(shares[shares > 0].mean()) if (shares > 0).any() else 0.0


def scored_sums(truths: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return what each sample adds to the average precision of each class, the ranking of all samples held fixed.

    Args:
        truths: (N, C) 0 or 1.
        scores: (N, C); -inf where there is none.
    Returns:
        (N, 2 * C): the precision among the samples with at least this score, for those that have the label; and having it.
    """
    precision = np.zeros(truths.shape, dtype=np.float64)
    for place in range(truths.shape[1]):
        order = np.argsort(-scores[:, place], kind="stable")
        ranked, hits = scores[order, place], np.cumsum(truths[order, place])
        last = np.searchsorted(-ranked, -ranked, side="right")  # how many have at least this score, equals included
        precision[order, place] = hits[last - 1] / last
    return np.concatenate([precision * truths, truths], axis=1)


def scored_map(totals: np.ndarray) -> np.ndarray:
    """Average precision over the classes that samples have; (R, 2 * C) of scored_sums -> (R,)."""
    above, below = np.split(totals.astype(np.float64), 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean_over_present(above / below)


def scores_of(samples: Sequence[Sample], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the scores that the model gave.

    Returns:
        (N, C), -inf where there is none; (N,) whether a sample has any.
    Raises:
        NotComputed: no sample has scores.
        DataError: scores are no JSON object of numbers.
    """
    table = np.full((len(samples), len(classes)), -np.inf)
    given = np.zeros(len(samples), dtype=bool)
    for row, sample in enumerate(samples):
        text = sample.meta.get(SCORES) if sample.status in HEARD else None
        if text is None:
            continue
        given[row] = True
        found = _scores(text, sample.id)
        table[row] = [found.get(label, -np.inf) for label in classes]
    if not given.any():
        raise NotComputed(f'no sample has scores of the labels (meta "{SCORES}", a JSON object); the model gave words alone')
    return table, given


def _scores(text: str, name: str) -> Mapping[str, float]:
    try:
        return {folded(label): float(score) for label, score in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{name}: meta "{SCORES}" is {text[:60]!r}: expected a JSON object of numbers') from error


@dataclass(frozen=True)
class _Several:
    """What metrics of several labels have in common.

    Attributes:
        read: text -> labels.
        classes: a fixed list; empty: the labels of the right answers.
        name: as tables print it.
    """

    read: Labels = folded_labels
    classes: tuple[str, ...] = ()
    name: str = ""

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|classes:{len(self.classes) or 'those of the truth'}|folded|v1"

    def _marked(self, samples: Sequence[Sample]) -> Marked:
        table = marked(samples, self.read, self.classes)
        if len(table.classes) > MOST_CLASSES:
            raise NotComputed(f"{len(table.classes)} labels; {self.name} goes label by label up to {MOST_CLASSES}")
        return table

    def _measured(self, table: Marked, sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], chance: float | None) -> Measured:
        counts = np.stack([(table.truths & table.answers).sum(1), table.answers.sum(1), table.truths.sum(1)], axis=1)
        each = np.where(counts[:, 1:].sum(1) > 0, f1_of_counts(counts), 1.0)  # of a sample alone there is no more than its F1
        return Measured(sums=sums, statistic=statistic, parsed=table.parsed, each=each, limits=(0.0, 1.0), chance=chance,
                        details={"classes": float(len(table.classes))})  # fmt: skip


@dataclass(frozen=True)
class MicroF1(_Several):
    """F1 over all labels of all samples together; agrees with scikit-learn's f1_score(average="micro")."""

    name: str = "f1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count labels; answers outside the classes count as wrong."""
        truths = [set(_truth(sample, self.read)) for sample in samples]
        found = [_found(sample, self.read) for sample in samples]
        answers = [set(labels or ()) for labels in found]
        counts = [[len(mine & theirs), len(mine), len(theirs)] for mine, theirs in zip(answers, truths, strict=True)]
        sums = np.array(counts, dtype=np.float64).reshape(-1, 3)
        each = np.where(sums[:, 1:].sum(1) > 0, f1_of_counts(sums), 1.0)
        parsed = np.array([labels is not None for labels in found], dtype=bool)
        return Measured(sums=sums, statistic=f1_of_counts, parsed=parsed, each=each, limits=(0.0, 1.0))


@dataclass(frozen=True)
class MacroF1OfLabels(_Several):
    """F1 of each label averaged over the classes; agrees with scikit-learn's f1_score(average="macro")."""

    name: str = "macro_f1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count each label's hits, answers and truths."""
        table = self._marked(samples)
        sums = np.concatenate([table.truths * table.answers, table.answers, table.truths], axis=1)
        return self._measured(table, sums, f1_of_classes, None)


@dataclass(frozen=True)
class MapFixed(_Several):
    """Mean average precision of hard answers over a list of classes that never grows: the fixed one, or that of the truth.

    Agrees with scikit-learn's average_precision_score on 0 and 1; chance is what an empty answer scores.
    """

    name: str = "map_fixed"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count each label's hits, answers and truths; a missing answer is empty."""
        table = self._marked(samples)
        return self._measured(table, hard_sums(table), hard_map, floor_of(table))


@dataclass(frozen=True)
class MapScored(_Several):
    """Mean average precision of the scores that the model gave each label (meta "scores"); agrees with scikit-learn.

    Intervals hold the ranking of all samples fixed. A sample without scores stands at the end of every ranking.
    """

    name: str = "map_scored"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Rank samples by each label's scores.

        Raises:
            NotComputed: the model gave no scores.
        """
        table = self._marked(samples)
        scores, given = scores_of(samples, table.classes)
        table = Marked(table.classes, table.truths, table.answers, given)
        return self._measured(table, scored_sums(table.truths, scores), scored_map, floor_of(table))
