"""Who speaks when, and what each of several speakers says: diarization error rate and cpWER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from eval.metrics.edits import Wer, wer_for
from eval.metrics.events import found_events, true_events
from eval.metrics.reading import answer_of, right_answers
from eval.metrics.sample import Measured, Sample
from eval.statistics import ratio
from tag_schema.answers import TimedLabel, read_speakers

MISSED, FALSE_ALARM, CONFUSED, SPOKEN = range(4)  # columns of seconds


def error_rate(totals: np.ndarray) -> np.ndarray:
    """Divide missed, wrongly heard and confused seconds by those spoken; (R, 4) -> (R,)."""
    return ratio(np.stack([totals[:, :SPOKEN].sum(1), totals[:, SPOKEN]], axis=1))


def diarization_seconds(truth: Sequence[TimedLabel], found: Sequence[TimedLabel], collar_s: float = 0.0) -> tuple[float, ...]:
    """Return the seconds of one clip that were missed, wrongly heard, given to the wrong speaker, and spoken.

    Each second counts once for every speaker in it. Speakers are paired one to one so that most seconds agree.

    Args:
        collar_s: left out on either side of where a true turn begins or ends.
    """
    edges = np.array(sorted(_edges(truth, found, collar_s)))
    if len(edges) < 2:
        return 0.0, 0.0, 0.0, 0.0
    middles, lengths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    for moment in {moment for turn in truth for moment in (turn.start_s, turn.end_s)}:
        lengths = np.where(np.abs(middles - moment) < collar_s, 0.0, lengths)
    spoken, heard = _active(truth, middles), _active(found, middles)
    together = (spoken * lengths) @ heard.T
    rows, columns = linear_sum_assignment(together, maximize=True)
    n_spoken, n_heard = spoken.sum(0), heard.sum(0)
    agreed = float(together[rows, columns].sum())
    both = float((np.minimum(n_spoken, n_heard) * lengths).sum())
    return (
        float((np.maximum(n_spoken - n_heard, 0) * lengths).sum()), float((np.maximum(n_heard - n_spoken, 0) * lengths).sum()),
        max(both - agreed, 0.0), float((n_spoken * lengths).sum()),
    )  # fmt: skip


def _edges(truth: Sequence[TimedLabel], found: Sequence[TimedLabel], collar_s: float) -> set[float]:
    mine = {moment for turn in truth for moment in (turn.start_s, turn.end_s)}
    return {
        *mine, *(moment - collar_s for moment in mine), *(moment + collar_s for moment in mine),
        *(moment for turn in found for moment in (turn.start_s, turn.end_s)),
    }  # fmt: skip


def _active(turns: Sequence[TimedLabel], moments: np.ndarray) -> np.ndarray:
    """Mark who speaks at each moment; (speakers, moments). A speaker's turns that overlap are one."""
    speakers = sorted({turn.label for turn in turns})
    active = np.zeros((len(speakers), len(moments)))
    for turn in turns:
        active[speakers.index(turn.label)][(turn.start_s < moments) & (moments < turn.end_s)] = 1
    return active


@dataclass(frozen=True)
class Der:
    """Diarization error rate: seconds missed, wrongly heard and confused, divided by the seconds spoken, overlaps included.

    Source: NIST's definition (md-eval), speakers paired clip by clip; agrees with pyannote.metrics 4.2.0 (whose collar is both sides
    together: 0.5 for 0.25 here).

    Attributes:
        collar_s: left out on either side of where a true turn begins or ends; 0 counts everything, 0.25 forgives hasty labels.
    """

    collar_s: float = 0.0

    @property
    def name(self) -> str:
        """As tables print it."""
        return "der" if not self.collar_s else f"der_{self.collar_s:g}s"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Fewer errors."""
        return "lower"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"der|collar:{self.collar_s:g}s each side|overlap:counted|mapping:optimal per clip|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count seconds; a clip without an answer that can be read is missed whole."""
        found = [found_events(sample) for sample in samples]
        rows = [diarization_seconds(true_events(sample), turns or (), self.collar_s) for sample, turns in zip(samples, found, strict=True)]
        sums = np.array(rows, dtype=np.float64).reshape(-1, 4)
        totals, spoken = sums.sum(0), max(sums[:, SPOKEN].sum(), 1e-9)
        names = ("missed", "false_alarm", "confused")
        details = {name: float(totals[column] / spoken) for column, name in enumerate(names)} | {"spoken_s": float(totals[SPOKEN])}
        each = sums[:, :SPOKEN].sum(1) / np.maximum(sums[:, SPOKEN], 1e-9)
        return Measured(sums=sums, statistic=error_rate, parsed=np.array([turns is not None for turns in found], dtype=bool),
                        each=np.where(sums[:, SPOKEN] > 0, each, np.nan), details=details)  # fmt: skip


@dataclass(frozen=True)
class CpWer:
    """Concatenated minimum-permutation word error rate: each speaker's words against those of the answer that fit best.

    Speakers are paired so that the errors are fewest; one too many is all insertions, one too few all deletions.

    Source: Watanabe et al. 2020 (arXiv:2004.09249), section 4; agrees with meeteval 0.4.3 (cp_word_error_rate).

    Attributes:
        wer: how words are normalised, cut and named.
    """

    wer: Wer = field(default_factory=lambda: wer_for("en"))

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"cp{self.wer.name}"

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """Shares."""
        return "%"

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Fewer errors."""
        return "lower"

    @property
    def signature(self) -> str:
        """The recipe."""
        return f"cp|{self.wer.signature}"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Count edits; the sums are (errors, reference length). A sample without an answer counts as one where all was left out."""
        rows, speakers = [], []
        for sample in samples:
            truth = [self.wer.split(text) for text in read_speakers(right_answers(sample)[0])]
            found = [self.wer.split(text) for text in read_speakers(answer_of(sample))]
            rows.append((permuted_errors(truth, found), sum(map(len, truth))))
            speakers.append(len(truth) == len(found))
        sums = np.array(rows, dtype=np.float64).reshape(-1, 2)
        details = {"speakers_counted_right": float(np.mean(speakers)) if speakers else float("nan"), "reference_length": sums[:, 1].sum()}
        return Measured(sums=sums, statistic=ratio, parsed=np.ones(len(rows), dtype=bool), each=sums[:, 0] / np.maximum(sums[:, 1], 1),
                        details=details)  # fmt: skip


def permuted_errors(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> int:
    """Count the edits between speakers' words under the pairing that has the fewest."""
    size = max(len(truth), len(found))
    mine = [*truth, *([()] * (size - len(truth)))]
    theirs = [*found, *([()] * (size - len(found)))]
    edits = np.array([[Levenshtein.distance(one, two) for two in theirs] for one in mine], dtype=np.int64).reshape(size, size)
    rows, columns = linear_sum_assignment(edits)
    return int(edits[rows, columns].sum())
