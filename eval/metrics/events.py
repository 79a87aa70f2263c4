"""Sounds and when they are heard: event-based and segment-based F1, as sed_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from eval.metrics.labels import MOST_CLASSES, f1_of_classes, f1_of_counts
from eval.metrics.reading import answer_of, folded, right_answers
from eval.metrics.sample import HEARD, Measured, NotComputed, Sample
from qwen_audio.errors import DataError
from tag_schema.answers import TimedLabel, read_timed_labels
from tag_schema.vocabulary import TagError

Average = Literal["micro", "macro"]
Count = Callable[[Sequence[TimedLabel], Sequence[TimedLabel]], tuple[int, int, int]]
ONSET_S = 0.2  # how far a start may be off
OFFSET_S, OFFSET_SHARE = 0.2, 0.2  # how far an end may be off: so much, or this share of the sound's length where that is more
ROUNDING_S = 1e-9  # exactly 200 ms off is near, though 0.8 - 0.6 is more in floating point


def read_events(text: str) -> tuple[TimedLabel, ...]:
    """Read timed labels without capitals in their names; TagError where they have not their form."""
    return tuple(TimedLabel(folded(event.label), event.start_s, event.end_s) for event in read_timed_labels(text))


def true_events(sample: Sample) -> tuple[TimedLabel, ...]:
    """Read the right answer.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return read_events(right_answers(sample)[0])
    except TagError as error:
        raise DataError(f"{sample.id}: the reference cannot be read: {error}") from error


def found_events(sample: Sample) -> tuple[TimedLabel, ...] | None:
    """Read the answer; None where there is none or it cannot be read."""
    if sample.status not in HEARD:
        return None
    try:
        return read_events(answer_of(sample))
    except TagError:
        return None


def matched_events(truth: Sequence[TimedLabel], found: Sequence[TimedLabel]) -> int:
    """Count the events of one label that can be matched one to one, start and end near enough."""
    if not truth or not found:
        return 0
    near = np.array([[_near(one, two) for two in found] for one in truth], dtype=np.int64)
    rows, columns = linear_sum_assignment(near, maximize=True)
    return int(near[rows, columns].sum())


def _near(truth: TimedLabel, found: TimedLabel) -> bool:
    reach = max(OFFSET_S, OFFSET_SHARE * (truth.end_s - truth.start_s))
    return abs(truth.start_s - found.start_s) <= ONSET_S + ROUNDING_S and abs(truth.end_s - found.end_s) <= reach + ROUNDING_S


def count_events(truth: Sequence[TimedLabel], found: Sequence[TimedLabel]) -> tuple[int, int, int]:
    """Count events of one label: matched, found, true."""
    return matched_events(truth, found), len(found), len(truth)


def count_segments(truth: Sequence[TimedLabel], found: Sequence[TimedLabel]) -> tuple[int, int, int]:
    """Count the whole seconds in which a label is heard at all: in both, found, true."""
    mine, theirs = _seconds(found), _seconds(truth)
    return len(mine & theirs), len(mine), len(theirs)


def _seconds(events: Sequence[TimedLabel]) -> set[int]:
    return {second for event in events for second in range(math.floor(event.start_s), math.ceil(event.end_s))}


@dataclass(frozen=True)
class _Detection:
    """F1 over what is counted label by label.

    Attributes:
        average: "micro" counts all labels together, "macro" averages F1 over the labels of the truth.
    """

    average: Average = "micro"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Higher."""
        return "higher"

    def _measure(self, samples: Sequence[Sample], count: Count) -> Measured:
        truths = [true_events(sample) for sample in samples]
        found = [found_events(sample) for sample in samples]
        classes = sorted({event.label for events in truths for event in events})
        micro = np.zeros((len(samples), 3))
        by_class = np.zeros((len(samples), 3, len(classes)))
        for row, (truth, answer) in enumerate(zip(truths, found, strict=True)):
            for label in {event.label for event in (*truth, *(answer or ()))}:
                counts = count([event for event in truth if event.label == label], [one for one in answer or () if one.label == label])
                micro[row] += counts
                if label in classes:
                    by_class[row, :, classes.index(label)] = counts
        if self.average == "macro" and len(classes) > MOST_CLASSES:
            raise NotComputed(f"{len(classes)} labels; an average over them is taken up to {MOST_CLASSES}")
        hits, answers, wanted = micro.sum(0).tolist()
        details = {"precision": hits / answers if answers else 0.0, "recall": hits / wanted if wanted else 0.0}
        each = np.where(micro[:, 1:].sum(1) > 0, f1_of_counts(micro), 1.0)
        return Measured(
            sums=micro if self.average == "micro" else by_class.reshape(len(samples), 3 * len(classes)),
            statistic=f1_of_counts if self.average == "micro" else f1_of_classes,
            parsed=np.array([events is not None for events in found], dtype=bool), each=each, limits=(0.0, 1.0),
            details=details | {"classes": float(len(classes))},
        )  # fmt: skip


@dataclass(frozen=True)
class EventF1(_Detection):
    """Event-based F1: a sound is found where its start is at most 200 ms off and its end 200 ms or a fifth of its length.

    Events are matched one to one as well as can be. A missing or unreadable answer has found nothing; an answer's label that no
    reference has is wrong in the micro average and nothing in the macro one.

    Source: Mesaros et al. 2016 (doi:10.3390/app6060162); agrees with sed_eval 0.2.1 (EventBasedMetrics, optimal matching), which counts
    exactly 200 ms as near or far by its floating-point error.
    """

    @property
    def name(self) -> str:
        """As tables print it."""
        return "event_f1" if self.average == "micro" else "event_f1_macro"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"event_f1|{self.average}|onset:{ONSET_S:g}s|offset:max({OFFSET_S:g}s,{OFFSET_SHARE:.0%})|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count events: matched, found, true."""
        return self._measure(samples, count_events)


@dataclass(frozen=True)
class SegmentF1(_Detection):
    """Segment-based F1: which sounds are heard in each whole second of the clip.

    Source: Mesaros et al. 2016 (doi:10.3390/app6060162); agrees with sed_eval 0.2.1 (SegmentBasedMetrics, 1 s).
    """

    @property
    def name(self) -> str:
        """As tables print it."""
        return "segment_f1" if self.average == "micro" else "segment_f1_macro"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"segment_f1|{self.average}|1s|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count seconds: in both, found, true."""
        return self._measure(samples, count_segments)
