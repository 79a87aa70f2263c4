"""What was heard as what: a table of right labels against answers, for sets with closed answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from eval.metrics.choice import LETTERS, Mcq, right_choice
from eval.metrics.labels import NOTHING as PART
from eval.metrics.labels import Accuracy
from eval.metrics.reading import answer_of, folded
from eval.metrics.sample import Sample
from eval.score import Scoring

MOST_LABELS = 40  # more of them make no readable table: the commonest mistakes are listed instead
FEWEST_PER_LABEL = 2.0  # samples that a label has on average; answers that hardly ever come twice are not closed
SHOWN_PAIRS = 30
OTHER, NO_ANSWER = "other answer", "not read"
TAG = "<|"  # answers made of tags are no labels


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of right labels (rows) against answers (columns).

    Attributes:
        rows: right labels, the commonest first.
        columns: the same labels, then OTHER and NO_ANSWER where they occur.
        counts: a list for each row.
        pairs: (right label, answer, how often) of the commonest mistakes; instead of a table where there are too many labels.
        letters: the labels are the letters of multiple-choice questions.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[str, str, int], ...]
    letters: bool = False


@dataclass(frozen=True, slots=True)
class _Heard:
    """One sample: the keys of its right labels with their spelling, and the key of what was answered, "" where nothing was."""

    keys: tuple[str, ...]
    spelt: tuple[str, ...]
    answer: str

    @property
    def place(self) -> int:
        """Which of the right labels counts: the one that was answered, else the first."""
        return self.keys.index(self.answer) if self.answer in self.keys else 0


def confusion(scoring: Scoring) -> Confusion | None:
    """Count what was answered for what; None where the right answers are not a closed set of labels.

    Labels are read as the accuracy among the metrics reads them; of multiple-choice questions it is the letters that are counted, which
    shows whether a model favours a place.
    """
    if any(not sample.references for sample in scoring.samples):
        return None
    heard, letters = _heard(scoring)
    spelt: dict[str, str] = {}
    for one in heard:
        spelt.setdefault(one.keys[one.place], one.spelt[one.place])
    if len(spelt) < 2 or len(heard) < FEWEST_PER_LABEL * len(spelt) or any(TAG in label for label in spelt.values()):
        return None
    totals = Counter(one.keys[one.place] for one in heard)
    keys = sorted(totals) if letters else sorted(totals, key=lambda key: (-totals[key], key))
    found = Counter((one.keys[one.place], _column(one.answer, spelt)) for one in heard)
    if len(keys) > MOST_LABELS:
        wrong = Counter({pair: count for pair, count in found.items() if pair[0] != pair[1]})
        common = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_PAIRS]
        return Confusion((), (), (), tuple((spelt[one], spelt.get(two, two), count) for (one, two), count in common))
    ends = [end for end in (OTHER, NO_ANSWER) if any(column == end for _, column in found)]
    counts = tuple(tuple(found[row, column] for column in [*keys, *ends]) for row in keys)
    return Confusion(tuple(spelt[key] for key in keys), (*(spelt[key] for key in keys), *ends), counts, (), letters)


def _heard(scoring: Scoring) -> tuple[list[_Heard], bool]:
    """Read every sample's labels; True where they are letters."""
    usable = [metric for metric, found in zip(scoring.metrics, scoring.measured, strict=True) if not isinstance(found, str)]
    choice = next((metric for metric in usable if isinstance(metric, Mcq)), None)
    if choice is not None and all(sample.choices for sample in scoring.samples):
        letters = [LETTERS[right_choice(sample)] for sample in scoring.samples]
        pairs = zip(letters, scoring.samples, strict=True)
        return [_Heard((letter,), (letter,), choice.read(sample) or "") for letter, sample in pairs], True
    rate = next((metric for metric in usable if isinstance(metric, Accuracy)), None)
    if rate is not None:
        return [_label(rate, sample) for sample in scoring.samples], False
    plain = [_Heard(tuple(map(folded, sample.references)), sample.references, folded(answer_of(sample))) for sample in scoring.samples]
    return plain, False


def _label(rate: Accuracy, sample: Sample) -> _Heard:
    """Read a label; where the answers are made of tags, it is called by what the metric takes out of them."""
    keys = rate.reading.truths(sample)
    spelt = tuple(key.replace(PART, " ").strip() if TAG in text else text for key, text in zip(keys, sample.references, strict=True))
    return _Heard(keys, spelt, rate.read(sample) or "")


def _column(answer: str, spelt: dict[str, str]) -> str:
    if not answer:
        return NO_ANSWER
    return answer if answer in spelt else OTHER
