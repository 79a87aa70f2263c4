"""What metrics take from a sample: its answer, its right answers, and the shares that come of comparing them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eval.metrics.sample import HEARD, Measured, Sample
from eval.statistics import ratio
from qwen_audio.errors import ConfigError, DataError
from tag_schema.vocabulary import TAG_PATTERN, TagError

_JOINTS = re.compile(r"[_\s]+|(?<=\w)[-/](?=\w)")
_EDGES = " .,;:!?\"'`´’‘“”()[]{}*。，！？；：、「」"


def answer_of(sample: Sample) -> str:
    """Return the answer that counts: what the model said, "" where it said nothing."""
    return sample.answer if sample.status in HEARD else ""


def right_answers(sample: Sample) -> tuple[str, ...]:
    """Return the right answers.

    Raises:
        DataError: there is none.
    """
    if not sample.references:
        raise DataError(f"{sample.id}: no reference; nothing can be right or wrong")
    return sample.references


def folded(text: str) -> str:
    """Make texts comparable that say the same: no tags, no capitals, joints as spaces, no marks at the ends.

    "Residential_Area." and "residential area" are equal, "cafe/restaurant" and "Cafe Restaurant" too; the marks inside a number stay.
    """
    plain = unicodedata.normalize("NFKC", TAG_PATTERN.sub(" ", text)).casefold().replace("’", "'")
    return " ".join(_JOINTS.sub(" ", plain.strip(_EDGES)).strip(_EDGES).split())


def squashed(text: str) -> str:
    """Leave letters and digits alone, for the names of a closed list: "residentialarea"."""
    return re.sub(r"[\W_]+", "", folded(text))


@dataclass(frozen=True)
class Reading:
    """How an answer is made comparable: a name for signatures, and the key of an answer; TagError where it cannot be read."""

    name: str
    key: Callable[[str], str] = field(repr=False, compare=False)

    def truths(self, sample: Sample) -> tuple[str, ...]:
        """Return the keys of a sample's right answers.

        Raises:
            DataError: there is none, or one cannot be read.
        """
        try:
            return tuple(self.key(text) for text in right_answers(sample))
        except TagError as error:
            raise DataError(f"{sample.id}: a reference cannot be read as {self.name}: {error}") from error

    def found(self, sample: Sample) -> str | None:
        """Return the key of a sample's answer; None where there is none or it cannot be read."""
        if sample.status not in HEARD:
            return None
        try:
            return self.key(sample.answer) or None
        except TagError:
            return None


def _stripped(text: str) -> str:
    return text.strip()


EXACT = Reading("exact", _stripped)
FOLDED = Reading("folded", folded)


def closed(labels: Sequence[str], aliases: Mapping[str, str] | None = None, *, name: str = "") -> Reading:
    """Read answers as labels of a closed list, whatever their capitals, spaces and joints; other answers stay what they are.

    Args:
        labels: as the references spell them.
        aliases: other spelling -> label.
        name: of the list, for signatures.
    Raises:
        ConfigError: two labels differ in spelling alone, or an alias stands for no label.
    """
    table: dict[str, str] = {}
    for label in labels:
        other = table.setdefault(squashed(label), label)
        if other != label:
            raise ConfigError(f"labels {other!r} and {label!r} differ in spelling alone; one of them must go")
    for spelling, label in (aliases or {}).items():
        if label not in labels:
            raise ConfigError(f"alias {spelling!r} stands for {label!r}, which is none of the labels {', '.join(labels)}")
        if table.setdefault(squashed(spelling), label) != label:
            raise ConfigError(f"alias {spelling!r} of {label!r} is the label {table[squashed(spelling)]!r} already")

    def key(text: str) -> str:
        return table.get(squashed(text)) or folded(text)

    return Reading(f"labels:{name or len(labels)}", key)


def shares(
    right: Iterable[bool],
    parsed: Iterable[bool],
    *,
    counted: Sequence[bool] | None = None,
    chance: float | None = None,
    ceiling: float | None = None,
    details: Mapping[str, float] | None = None,
) -> Measured:
    """Measure the share of samples that are right; those that are not counted add nothing."""
    rights = np.fromiter(right, dtype=np.float64)
    weights = np.ones(len(rights)) if counted is None else np.asarray(counted, dtype=np.float64)
    each = np.where(weights > 0, rights, np.nan)
    return Measured(
        sums=np.stack([rights * weights, weights], axis=1), statistic=ratio, parsed=np.fromiter(parsed, dtype=bool), each=each,
        limits=(0.0, 1.0), chance=chance, ceiling=ceiling, details=details or {},
    )  # fmt: skip
