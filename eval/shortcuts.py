"""What a benchmark gives away without its audio: majority, chance, place and length of the right choice; and rows that test it.

Variants of a benchmark (NAME+text-only, +silence, +shuffled-audio, +rotated-1) ask the same questions with nothing to hear, with silence,
with another row's audio, or with the choices in another order: a model that hears loses by the first three, and nothing by the last.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile

from data.manifest import AudioRef, Record, Turn
from eval.batches import draw_order
from eval.benchmarks.benchmark import question_of
from eval.metrics.choice import rotated as turned
from qwen_audio.audio import SAMPLE_RATE
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import natural_prompt

ROTATED = re.compile(r"rotated-([1-9])")
CLOSED_SHARE = 0.05  # with fewer different answers than this share of the rows, an answer is a label


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """What can be got without hearing; shares of the rows, None where the benchmark has no such thing.

    Attributes:
        majority, majority_answer: always giving the most frequent answer.
        chance: drawing one of the choices, or of the labels, blindly.
        longest: taking the longest choice.
        place: taking always the same place among the choices.
        question: giving the answer that the same question most often has in other rows.
        labels: how many different answers there are.
    """

    majority: float
    majority_answer: str
    chance: float | None
    longest: float | None
    place: float | None
    question: float | None
    labels: int

    def lines(self) -> list[str]:
        """Say it for people, a line each."""
        said = [("always the same answer", self.majority), ("a choice drawn blindly", self.chance), ("the longest choice", self.longest),
                ("always the same place", self.place), ("the usual answer to the same question", self.question)]  # fmt: skip
        return [f"{share:6.1%}  {what}" + (f": {self.majority_answer}" if number == 0 else "")
                for number, (what, share) in enumerate(said) if share is not None]  # fmt: skip


def shortcuts(records: Sequence[Record], labels: Sequence[str] = ()) -> Shortcuts:
    """Compute what a set of closed answers gives away.

    Args:
        labels: that the set has, where that is known; those that occur otherwise.
    """
    answers = Counter(record.target for record in records)
    majority, n_majority = answers.most_common(1)[0]
    asked = [record for record in records if record.choices]
    n_labels = len(labels) or len(answers)
    closed = bool(labels) or n_labels <= max(2, CLOSED_SHARE * len(records))
    chance = float(np.mean([1 / len(record.choices) for record in asked])) if asked else 1 / n_labels if closed else None
    return Shortcuts(
        n_majority / len(records), majority, chance, _longest(asked), _place(asked), _same_question(records), n_labels
    )  # fmt: skip


def _longest(asked: Sequence[Record]) -> float | None:
    return float(np.mean([max(record.choices, key=len) == record.target for record in asked])) if asked else None


def _place(asked: Sequence[Record]) -> float | None:
    places = Counter(record.choices.index(record.target) for record in asked if record.target in record.choices)
    return places.most_common(1)[0][1] / len(asked) if places else None


def _same_question(records: Sequence[Record]) -> float | None:
    """Give the share that is right by the answer which the same question most often has in the other rows; None without repetition."""
    by_question: dict[str, Counter[str]] = {}
    for record in records:
        by_question.setdefault(question_of(record), Counter())[record.target] += 1
    if len(by_question) in (1, len(records)):
        return None
    right = 0.0
    for record in records:
        others = by_question[question_of(record)] - Counter([record.target])
        usual = [answer for answer, n in others.items() if n == max(others.values())]
        right += record.target in usual and 1 / len(usual)  # several that are as frequent: one of them is drawn
    return right / len(records)


# Rows that test it ------------------------------------------------------------------------------------------------------------


def text_only(records: Sequence[Record]) -> list[Record]:
    """Ask the same questions with nothing to hear.

    Raises:
        DataError: a question is spoken, so that nothing is left of it.
    """
    found = []
    for record in records:
        words = question_of(record) or ("" if record.prefix is None else natural_prompt(record.prefix))
        if not words:
            raise DataError(f"{record.id}: its question is spoken; without audio nothing is asked")
        found.append(replace(record, audio=(), prefix=None, messages=(Turn("user", (words,)),)))
    return found


def silence(records: Sequence[Record]) -> list[Record]:
    """Ask the same with silence of the same lengths; the files lie in the folder for temporary ones."""
    folder = Path(tempfile.gettempdir()) / "qwen_audio_silence"
    folder.mkdir(exist_ok=True)

    def silent(ref: AudioRef) -> AudioRef:
        seconds = round(ref.duration_s or 1.0, 2)
        path = folder / f"{seconds:.2f}.wav"
        if not path.is_file():
            soundfile.write(path, np.zeros(round(seconds * SAMPLE_RATE), np.int16), SAMPLE_RATE)
        return AudioRef(str(path), 0.0, seconds)

    return [_hearing(record, tuple(silent(ref) for ref in record.audio)) for record in records]


def shuffled_audio(records: Sequence[Record]) -> list[Record]:
    """Ask every row about the audio of another one: the next by the hash of the ids that has other audio.

    Raises:
        DataError: all rows have the same audio.
    """
    order = sorted(records, key=lambda record: draw_order(record.id))
    found = {}
    for place, record in enumerate(order):
        others = (order[(place + step) % len(order)] for step in range(1, len(order)))
        other = next((one for one in others if one.audio != record.audio and len(one.audio) == len(record.audio)), None)
        if other is None:
            raise DataError(f"{record.id}: no other row has other audio; there is nothing to exchange")
        found[record.id] = _hearing(record, other.audio)
    return [found[record.id] for record in records]


def rotated(records: Sequence[Record], by: int) -> list[Record]:
    """Ask with the order of the choices turned by so many places."""
    return [replace(record, choices=turned(record.choices, by)) for record in records]


def _hearing(record: Record, audio: tuple[AudioRef, ...]) -> Record:
    """Give a record other audio, clip for clip."""
    clips = iter(audio)
    turns = tuple(
        replace(turn, parts=tuple(part if isinstance(part, str) else next(clips) for part in turn.parts)) for turn in record.messages
    )
    return replace(record, audio=audio, messages=turns)


VARIANTS: Mapping[str, Callable[[Sequence[Record]], list[Record]]] = MappingProxyType(
    {"text-only": text_only, "silence": silence, "shuffled-audio": shuffled_audio}
)


def vary(variant: str, records: Sequence[Record]) -> list[Record]:
    """Make a variant of a benchmark's rows: text-only, silence, shuffled-audio or rotated-N.

    Raises:
        ConfigError: there is no such variant.
    """
    if found := ROTATED.fullmatch(variant):
        return rotated(records, int(found[1]))
    if variant not in VARIANTS:
        raise ConfigError(f"no variant is called {variant!r}; there are {', '.join(VARIANTS)} and rotated-1 to rotated-9")
    return VARIANTS[variant](records)
