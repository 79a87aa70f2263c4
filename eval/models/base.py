"""What a benchmark asks of a model and what it gets back; every kind of model has these few names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from data.manifest import Record
from eval.metrics.sample import Status
from qwen_audio.audio import WINDOW_S, AudioClip
from qwen_audio.errors import QwenAudioError


@dataclass(frozen=True, slots=True)
class Asked:
    """One row as it is put to a model.

    Attributes:
        record: the row; the choices of a multiple-choice question stand in its text already.
        clips: for each of the record's audio references what is heard of it: one clip, or the consecutive windows of a long one.
        max_new_tokens: the longest answer.
    """

    record: Record
    clips: tuple[tuple[AudioClip, ...], ...]
    max_new_tokens: int

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def heard(self) -> tuple[AudioClip, ...]:
        """All clips in order."""
        return tuple(clip for windows in self.clips for clip in windows)


@dataclass(frozen=True, slots=True)
class Answered:
    """How one row ended.

    Attributes:
        text: the answer as the model gave it.
        status: "ok" where there is an answer.
        n_tokens: how many tokens the answer has; 0 where nobody counted.
        error: one line on why there is no answer.
        token_ids: the answer's ids, where the model tells them.
    """

    text: str = ""
    status: Status = "ok"
    n_tokens: int = 0
    error: str = ""
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a run has to know of a model.

    Attributes:
        name: what tables call it; no place on a disk.
        identity: one line that changes whenever its answers may: the weights' hash, or what stands for it.
        settings: what else its answers depend on: numbers, kind of device, sampling.
        window_s: the longest clip that it hears, seconds; None where it is not ours to say.
        hears: False where answers come without audio, which then need not be there.
        together: True where the last bits of an answer may depend on the rows that are computed with it.
        batch_size: how many rows suit it at once.
    """

    name: str
    identity: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    window_s: float | None = WINDOW_S
    hears: bool = True
    together: bool = True
    batch_size: int = 8


class Model(Protocol):
    """Answers rows. It is asked by one thread at a time."""

    @property
    def about(self) -> About:
        """What a run has to know of it."""
        ...

    def prompt(self, record: Record) -> str:
        """Return the text that the model is told, with a mark where each clip stands.

        Raises:
            QwenAudioError, TagError: the row cannot be put to this model.
        """
        ...

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Answer rows, in their order; a row that cannot be answered is told of, not raised.

        Raises:
            ModelGone: nobody can be answered any more.
            Exception: anything else is a failure of these rows together; they will be asked again one by one.
        """
        ...

    def peak_bytes(self) -> int:
        """Return the most memory that the model took on its accelerator so far; 0 where it has none."""
        ...


class ModelGone(QwenAudioError):
    """A model can answer nobody any more: a key refused, a server that is not there. The run ends, what is done is kept."""


def failed(error: Exception) -> Answered:
    """Tell of a row that could not be answered, with the reason in one line."""
    return Answered(status="infer_fail", error=reason(error))


def reason(error: BaseException) -> str:
    """Put an error in one line; what is no user's mistake is called by its class."""
    text = " ".join(str(error).split())
    if isinstance(error, QwenAudioError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
