"""Labels against the truth: accuracy, yes and no, macro-F1, unweighted average recall, and F1 of entities and slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.metrics.reading import FOLDED, Reading, answer_of, folded, right_answers, shares
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from qwen_audio.errors import DataError
from tag_schema.answers import Entity, read_entities, read_intent, read_label, read_labels, read_song
from tag_schema.vocabulary import TagError

QUESTION_KEYS = ("question_id", "question")  # meta that says which rows ask the same
MOST_CLASSES = 256  # beyond, the sums of class by class would not fit an interval's arithmetic
NOTHING = "\x1f"  # stands for a part that an answer does not say


def label_key(text: str) -> str:
    """Read one label; TagError where tags stand in it or nothing does."""
    return folded(read_label(text))


def label_set_key(text: str) -> str:
    """Read labels with semicolons between as a set: their order and repetition do not count."""
    return "; ".join(sorted({folded(label) for label in read_labels(text)}))


def yes_no_key(text: str) -> str:
    """Read yes or no: the word alone, or in front of a mark ("No, it is quiet.").

    Raises:
        TagError: the answer begins with neither, or goes on without a mark.
    """
    plain = folded(text)
    if plain in ("yes", "no"):
        return plain
    said, mark, _ = _split_at_mark(text)
    if mark and folded(said) in ("yes", "no"):
        return folded(said)
    raise TagError(f"yes or no: found {text.strip()!r}")


def _split_at_mark(text: str) -> tuple[str, str, str]:
    for place, character in enumerate(text):
        if character in ",.;:!\n—–，。；：！":
            return text[:place], character, text[place + 1 :]
    return text, "", ""


def intent_key(text: str) -> str:
    """Read an intent: its scenario, where it has one, and its action."""
    intent = read_intent(text)
    return f"{folded(intent.scenario or '')}{NOTHING}{folded(intent.action)}"


def action_key(text: str) -> str:
    """Read the action of an intent."""
    return folded(read_intent(text).action)


def song_key(text: str) -> str:
    """Read a piece of music: title and artist."""
    song = read_song(text)
    return f"{folded(song.title)}{NOTHING}{folded(song.artist or '')}"


def title_key(text: str) -> str:
    """Read the title of a piece of music."""
    return folded(read_song(text).title)


LABEL = Reading("label", label_key)
LABEL_SET = Reading("labels", label_set_key)
YES_NO = Reading("yes-no", yes_no_key)
INTENT, ACTION = Reading("intent", intent_key), Reading("action", action_key)
SONG, TITLE = Reading("song", song_key), Reading("title", title_key)


@dataclass(frozen=True)
class _Share:
    """What shares of samples have in common.

    Attributes:
        reading: how answers are made comparable.
        name: as tables print it.
    """

    reading: Reading = FOLDED
    name: str = "accuracy"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"


@dataclass(frozen=True)
class Accuracy(_Share):
    """The share of answers that equal one of the right ones, after a stated reading.

    Chance is the share of the most frequent right answer; `uniform` in the details is one of the classes drawn blindly. Where several
    rows ask the same question (meta "question_id", or "question" with the same source) and their answers differ, the ceiling is what the
    best single answer to each question reaches.
    """

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|{self.reading.name}|v1"

    def read(self, sample: Sample) -> str | None:
        """Return the label that an answer is taken for; None where there is none."""
        return self.reading.found(sample)

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Compare each answer; one that is missing or cannot be read is wrong."""
        truths = [self.reading.truths(sample) for sample in samples]
        found = [self.read(sample) for sample in samples]
        classes = {key for keys in truths for key in keys}
        details = {"classes": float(len(classes)), "uniform": 1 / max(len(classes), 1)}
        return shares(
            (answer is not None and answer in keys for answer, keys in zip(found, truths, strict=True)),
            (answer is not None for answer in found),
            chance=best_constant(truths), ceiling=ceiling(samples, truths), details=details,
        )  # fmt: skip


def best_constant(truths: Sequence[Sequence[str]]) -> float | None:
    """Return the share of rows that the best single answer to all of them gets right; None without rows."""
    counts = Counter(key for keys in truths for key in set(keys))
    return max(counts.values()) / len(truths) if counts else None


def ceiling(samples: Sequence[Sample], truths: Sequence[Sequence[str]]) -> float | None:
    """Return the share of rows that the best single answer to each question gets right; None where no question comes twice."""
    questions: dict[str, list[Sequence[str]]] = {}
    for sample, keys in zip(samples, truths, strict=True):
        questions.setdefault(question_of(sample), []).append(keys)
    if len(questions) == len(samples):
        return None
    best = sum(round((best_constant(rows) or 0.0) * len(rows)) for rows in questions.values())
    return best / len(samples) if best < len(samples) else None


def question_of(sample: Sample) -> str:
    """Name the question that a row asks, by its meta; the row itself where nothing is said."""
    for key in QUESTION_KEYS:
        if sample.meta.get(key):
            source = sample.meta.get("clip") or sample.meta.get("source", "")
            return sample.meta[key] if key == "question_id" else f"{source}\n{sample.meta[key]}"
    return f"\n{sample.id}"


@dataclass(frozen=True)
class BinaryAccuracy(_Share):
    """Accuracy over the rows whose right answer is yes or no.

    Attributes:
        reading: YES_NO, or EXACT as the released evaluation compares (evaluate_aqa.py: bi_ACC).
    """

    reading: Reading = YES_NO
    name: str = "accuracy_yes_no"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|{self.reading.name}|rows:yes,no|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Compare each answer to a question of yes or no; other rows add nothing.

        Raises:
            NotComputed: no row is of yes or no.
        """
        binary = [any(text.strip().lower() in ("yes", "no") for text in right_answers(sample)) for sample in samples]
        if not any(binary):
            raise NotComputed("no right answer is yes or no")
        truths = [self.reading.truths(sample) if mine else () for sample, mine in zip(samples, binary, strict=True)]
        found = [self.reading.found(sample) if mine else "" for sample, mine in zip(samples, binary, strict=True)]
        asked = [keys for keys in truths if keys]
        members = [sample for sample, mine in zip(samples, binary, strict=True) if mine]
        return shares(
            (answer in keys for answer, keys in zip(found, truths, strict=True)), (answer is not None for answer in found),
            counted=binary, chance=best_constant(asked), ceiling=ceiling(members, asked), details={"rows": float(sum(binary))},
        )  # fmt: skip


@dataclass(frozen=True)
class _ByClass(_Share):
    """Scores of classes, whose list is that of the right answers and does not grow with the answers."""

    name: str = ""

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"{self.name}|{self.reading.name}|classes:those of the truth|v1"

    def _codes(self, samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the right class and the answered one of each sample, -1 for an answer outside the list; and how many classes."""
        truths = [self.reading.truths(sample) for sample in samples]
        number = {key: place for place, key in enumerate(sorted({keys[0] for keys in truths}))}
        if len(number) > MOST_CLASSES:
            raise NotComputed(f"{len(number)} classes; {self.name} goes class by class up to {MOST_CLASSES}, and is for closed lists")
        found = [self.reading.found(sample) for sample in samples]
        given = [keys[0] if answer in keys else answer for answer, keys in zip(found, truths, strict=True)]
        return (
            np.array([number[keys[0]] for keys in truths], dtype=np.int64),
            np.array([number.get(answer, -1) if answer is not None else -1 for answer in given], dtype=np.int64),
            len(number),
        )  # fmt: skip

    def _measured(
        self, samples: Sequence[Sample], sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], chance: float
    ) -> Measured:
        truth, answer, n_classes = self._codes(samples)
        return Measured(
            sums=sums, statistic=statistic, parsed=np.array([self.reading.found(sample) is not None for sample in samples], dtype=bool),
            each=(truth == answer).astype(np.float64), limits=(0.0, 1.0), chance=chance, details={"classes": float(n_classes)},
        )  # fmt: skip


def one_hot(codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Mark the class of each of N samples; (N, n_classes) int8, a row of zeros for -1."""
    return (codes[:, None] == np.arange(n_classes)[None, :]).astype(np.int8)


def f1_of_classes(totals: np.ndarray) -> np.ndarray:
    """Average F1 over the classes that were there or were answered; (R, 3 * C) hits, then answers, then truths, -> (R,)."""
    hits, answers, truths = np.split(totals, 3, axis=1)
    return _mean_over_classes(2 * hits, answers + truths)


def recall_of_classes(totals: np.ndarray) -> np.ndarray:
    """Average recall over the classes that were there; (R, 2 * C) hits, then truths, -> (R,)."""
    return _mean_over_classes(*np.split(totals, 2, axis=1))


def _mean_over_classes(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    there = below > 0
    parts = np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=there)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(parts.sum(1) / there.sum(1))


@dataclass(frozen=True)
class MacroF1(_ByClass):
    """F1 of each class, averaged over the classes of the truth; an answer outside them is a miss and no class of its own.

    Agrees with scikit-learn's f1_score(average="macro", labels=classes of the truth).
    """

    name: str = "macro_f1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count hits, answers and truths of each class."""
        truth, answer, n_classes = self._codes(samples)
        truths, answers = one_hot(truth, n_classes), one_hot(answer, n_classes)
        share = float(truths.sum(0).max()) / max(len(samples), 1) if n_classes else 0.0
        constant = 2 * share / (1 + share) / max(n_classes, 1)  # always the most frequent class: its F1, and 0 for the others
        return self._measured(samples, np.concatenate([truths * answers, answers, truths], axis=1), f1_of_classes, constant)


@dataclass(frozen=True)
class Uar(_ByClass):
    """Unweighted average recall: the share of each class that is found, averaged over the classes of the truth.

    Agrees with scikit-learn's recall_score(average="macro", labels=classes of the truth), that is its balanced_accuracy_score.
    """

    name: str = "uar"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count hits and truths of each class."""
        truth, answer, n_classes = self._codes(samples)
        truths = one_hot(truth, n_classes)
        sums = np.concatenate([truths * one_hot(answer, n_classes), truths], axis=1)
        return self._measured(samples, sums, recall_of_classes, 1 / max(n_classes, 1))


def f1_of_counts(totals: np.ndarray) -> np.ndarray:
    """F1 of (R, 3) hits, answers and truths; nan where there is neither an answer nor a truth."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * totals[:, 0] / (totals[:, 1] + totals[:, 2]))


@dataclass(frozen=True)
class EntityF1:
    """F1 over the (type, words) pairs of entities or slots, counted together over all samples; a pair said twice counts twice.

    Types and words are compared without capitals and marks at their ends. An answer that cannot be read has no entities.
    """

    name: str = "f1"

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
        return f"{self.name}|micro|type+words|folded|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count pairs: found rightly, found, to be found.

        Raises:
            DataError: a right answer is missing or cannot be read.
        """
        truths = [_true_pairs(sample) for sample in samples]
        found = [_read_pairs(sample) for sample in samples]
        counts = [
            [(truth & pairs).total(), pairs.total(), truth.total()]
            for truth, pairs in zip(truths, (pairs or Counter() for pairs in found), strict=True)
        ]
        sums = np.array(counts, dtype=np.float64).reshape(-1, 3)
        hits, answers, wanted = sums.sum(0).tolist()
        details = {"precision": hits / answers if answers else 0.0, "recall": hits / wanted if wanted else 0.0, "entities": wanted}
        each = np.where(sums[:, 1:].sum(1) > 0, f1_of_counts(sums), 1.0)
        parsed = np.array([pairs is not None for pairs in found], dtype=bool)
        return Measured(sums=sums, statistic=f1_of_counts, parsed=parsed, each=each, limits=(0.0, 1.0), details=details)


def _pairs(text: str) -> Counter[Entity]:
    return Counter(Entity(folded(entity.type), folded(entity.value)) for entity in read_entities(text))


def _true_pairs(sample: Sample) -> Counter[Entity]:
    try:
        return _pairs(right_answers(sample)[0])
    except TagError as error:
        raise DataError(f"{sample.id}: the reference cannot be read as entities: {error}") from error


def _read_pairs(sample: Sample) -> Counter[Entity] | None:
    if sample.status not in HEARD:
        return None
    try:
        return _pairs(answer_of(sample))
    except TagError:
        return None
