"""What was heard as what: a table of right labels against answers, for sets with closed answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.sample import HEARD, Sample

MOST_LABELS = 40  # more of them make no readable table: the commonest mistakes are listed instead
FEWEST_PER_LABEL = 2.0  # samples that a label has on average; answers that hardly ever come twice are not closed
SHOWN_PAIRS = 30
OTHER, NO_ANSWER = "other answer", "no answer"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of right labels (rows) against answers (columns).

    Attributes:
        rows: right labels, the commonest first.
        columns: the same labels, then OTHER and NO_ANSWER where they occur.
        counts: a list for each row.
        pairs: (right label, answer, how often) of the commonest mistakes; instead of a table where there are too many labels.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[str, str, int], ...]


def confusion(samples: Sequence[Sample], answers: Sequence[str] | None = None) -> Confusion | None:
    """Count what was answered for what; None where the right answers are not a closed set of labels.

    Args:
        samples: of one family.
        answers: the labels that the metric reads out of the answers; the answers themselves by default. Letters of a multiple choice
            that differs from row to row are no labels.
    """
    if any(sample.choices or not sample.references for sample in samples):
        return None
    heard = [one.answer for one in samples] if answers is None else answers
    spelt: dict[str, str] = {}
    right = [_right(sample, label_key(answer)) for sample, answer in zip(samples, heard, strict=True)]
    for label in right:
        spelt.setdefault(label_key(label), label)
    totals = Counter(label_key(label) for label in right)
    if len(totals) < 2 or len(samples) < FEWEST_PER_LABEL * len(totals):
        return None
    keys = sorted(totals, key=lambda key: (-totals[key], key))
    found = Counter((label_key(label), _column(sample, answer, spelt)) for sample, label, answer in zip(samples, right, heard, strict=True))
    if len(keys) > MOST_LABELS:
        wrong = Counter({pair: count for pair, count in found.items() if pair[0] != pair[1]})
        common = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_PAIRS]
        return Confusion((), (), (), tuple((spelt[one], spelt.get(two, two), count) for (one, two), count in common))
    ends = [end for end in (OTHER, NO_ANSWER) if any(column == end for _, column in found)]
    counts = tuple(tuple(found[row, column] for column in [*keys, *ends]) for row in keys)
    return Confusion(tuple(spelt[key] for key in keys), (*(spelt[key] for key in keys), *ends), counts, ())


def label_key(text: str) -> str:
    """Bring two spellings of a label together: case, spaces and marks at the ends do not count."""
    return " ".join(text.casefold().split()).strip(" .,!?;:\"'")


def _right(sample: Sample, answer: str) -> str:
    """Return the right label: the one of several that was answered, else the first."""
    return next((label for label in sample.references if label_key(label) == answer), sample.target)


def _column(sample: Sample, answer: str, spelt: dict[str, str]) -> str:
    if sample.status not in HEARD or not answer.strip():
        return NO_ANSWER
    key = label_key(answer)
    return key if key in spelt else OTHER
