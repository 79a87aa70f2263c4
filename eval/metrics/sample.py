"""Sample: one row of a benchmark with what the model answered, as scoring sees it; and what a metric makes of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from data.manifest import Record

Status = Literal["ok", "parse_fail", "infer_fail", "too_long", "bad_audio"]
HEARD: tuple[Status, ...] = ("ok", "parse_fail")  # the model answered; whether the answer can be read is the metric's to say


@dataclass(frozen=True, slots=True)
class Sample:
    """One row and its answer.

    Attributes:
        id: of the record.
        status: how the inference ended; "ok" wherever there is an answer. A metric that cannot read it makes it parse_fail.
        answer: as the model gave it, tags included; "" where there is none.
        references: the right answers, one or several.
        family: task family of the record, "chat" for conversations.
        language: code of the answer's language, which chooses normalisers and tokenizers; "" where none is known.
        choices: of a multiple-choice question.
        meta: speaker, source, gender, ...: clusters and subgroups.
        audio_s: seconds of audio in the row.
        error: one line on why there is no answer.
    """

    id: str
    status: Status
    answer: str
    references: tuple[str, ...]
    family: str = ""
    language: str = ""
    choices: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    audio_s: float = 0.0
    error: str = ""

    @property
    def target(self) -> str:
        """The first right answer."""
        return self.references[0]


def sample_of(record: Record, answer: str, *, status: Status = "ok", error: str = "", audio_s: float = 0.0) -> Sample:
    """Lay a row and its answer together."""
    language = record.prefix.text_language if record.prefix is not None else record.meta.get("language", "")
    named = {"dataset": record.dataset} if record.dataset else {}
    return Sample(
        id=record.id,
        status=status,
        answer=answer,
        references=record.references or (record.target,),
        family=record.family or "chat",
        language=language,
        choices=record.choices,
        meta={**named, **record.meta},
        audio_s=audio_s,
        error=error,
    )


@dataclass(frozen=True)
class Measured:
    """What a metric makes of N samples.

    Attributes:
        sums: (N, K) what each sample adds; a failed one adds what a wrong or empty answer adds.
        statistic: (R, K) sums over R sets of samples -> (R,) values in the metric's unit; nan where nothing was there.
        parsed: (N,) bool, False where an answer is there and cannot be read.
        each: (N,) the metric of each sample alone, for the list of the worst; nan where it has none.
        limits: the lowest and highest value that the metric can have.
        chance: what an answer without hearing gets, where that is known.
        ceiling: what the references themselves allow, where that is below the best.
        details: further figures by name, printed beneath (insertions, coverage, brevity penalty).
    """

    sums: np.ndarray
    statistic: Callable[[np.ndarray], np.ndarray]
    parsed: np.ndarray
    each: np.ndarray
    limits: tuple[float, float] = (0.0, np.inf)
    chance: float | None = None
    ceiling: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The metric over all samples."""
        return float(self.statistic(self.sums.sum(0, keepdims=True))[0])


class Metric(Protocol):
    """One metric: a name, how its value reads, its recipe in one line, and the measuring."""

    @property
    def name(self) -> str:
        """As tables print it: "wer", "bleu", "accuracy"."""
        ...

    @property
    def unit(self) -> Literal["%", "ms", ""]:
        """How a value reads: "%" for shares (1.0 is 100 %), "ms", "" for plain numbers."""
        ...

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is better."""
        ...

    @property
    def signature(self) -> str:
        """The recipe: "wer|norm:whisper-en:0.1.15|tok:word|v1"."""
        ...

    def measure(self, samples: Sequence[Sample]) -> Measured:
        """Measure samples; those without an answer count as wrong or empty.

        Raises:
            NotComputed: a program or model that the metric needs is not here.
        """
        ...


class NotComputed(Exception):
    """A metric cannot be computed here; the message says what is missing and how to get it. Reports print it, nobody skips it."""
