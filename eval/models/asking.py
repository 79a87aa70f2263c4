"""How a row is asked: the choices of a multiple-choice question in its text, tagged tasks in words where a model has no tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from data.manifest import AudioRef, Record, Role, Turn
from eval.benchmarks.benchmark import LETTERS, TOLD
from tag_schema.tasks import natural_prompt

CHOOSE = "Answer with the letter of one option."


def with_choices(question: str, choices: Sequence[str]) -> str:
    """Write a multiple-choice question: the question, an option a line (`A. rain`), and what to answer with."""
    lettered = len(choices) <= len(LETTERS)
    options = [f"{LETTERS[place] if lettered else place + 1}. {choice}" for place, choice in enumerate(choices)]
    return "\n".join([question, *options, CHOOSE if lettered else CHOOSE.replace("letter", "number")])


def asked(record: Record) -> Record:
    """Put the choices of a row into its question.

    A tag sentence without a question has no room for them: its labels are the task's own, and the row stays as it is; so it does where
    its benchmark has told the choices already, in its own wording or aloud.
    """
    if not _untold(record):
        return record
    if record.prefix is not None:
        if record.prefix.question is None:
            return record
        return replace(record, prefix=replace(record.prefix, question=with_choices(record.prefix.question, record.choices)))
    *before, last = record.messages
    texts = [place for place, part in enumerate(last.parts) if isinstance(part, str)]
    parts = list(last.parts)
    if texts:
        parts[texts[-1]] = with_choices(str(parts[texts[-1]]), record.choices)
    else:  # the question is spoken
        parts.append(with_choices("", record.choices).lstrip("\n"))
    return replace(record, messages=(*before, replace(last, parts=tuple(parts))))


def _untold(record: Record) -> bool:
    return bool(record.choices) and not record.meta.get(TOLD)


def in_words(record: Record) -> tuple[Turn, ...]:
    """Return the conversation that asks a row of a model without tags.

    Raises:
        TagError: a tagged task that nobody has put into words.
    """
    if record.prefix is None:
        return record.messages
    question = natural_prompt(record.prefix)
    if _untold(record) and record.prefix.question is None:
        question = with_choices(question, record.choices)
    return (Turn("user", (*record.audio, question)),)


@dataclass(frozen=True, slots=True)
class Clip:
    """A place in a conversation where the clip with this number is heard."""

    number: int


def numbered(turns: Sequence[Turn]) -> list[tuple[Role, list[str | Clip]]]:
    """List (role, parts) of turns, each clip by its number in the row's audio."""
    found: list[tuple[Role, list[str | Clip]]] = []
    number = 0
    for turn in turns:
        parts: list[str | Clip] = []
        for part in turn.parts:
            if isinstance(part, AudioRef):
                parts.append(Clip(number))
                number += 1
            else:
                parts.append(part)
        found.append((turn.role, parts))
    return found


def told(turns: Sequence[Turn]) -> str:
    """Write a conversation as one text, [audio] where a clip is heard: what distinguishes one prompt from another."""
    lines = [f"{role}: {''.join('[audio]' if isinstance(part, Clip) else part for part in parts)}" for role, parts in numbered(turns)]
    return "\n".join(lines)
