"""Example: what a maker gives, clips in memory and all of a record but its paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from data.manifest import AudioRef, Record, Role, Turn
from data.recipes.constructed.sounds import SOUNDS, VOCAL_SOUNDS
from data.recipes.constructed.timeline import Placed, trimmed
from data.recipes.constructed.waves import RATE, Wave, faded
from data.recipes.constructed.wordings import Asked, Fact, ask
from qwen_audio.audio import WINDOW_S
from tag_schema.tasks import prefix_for

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

Generator = np.random.Generator
LICENCE = "CC0-1.0"
DATASET = "constructed"
SHORTEST_S = 0.3  # of a clip; shorter ones are padded with silence


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a conversation: texts, and clips by their number."""

    role: Role
    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example before it is written.

    Attributes:
        family: one of the 31, or chat, chat_text.
        clips: (n,) float32 each, in the order they are heard.
        target: the answer.
        prefix: what `prefix_for` takes beside the family, for a tagged task; None for a conversation.
        lines: the conversation.
        kind, label: what is asked and the bare answer, one for each answer of a conversation; what `guess` and `verify` go by. A label
            that is the target itself is left out of the record.
        meta: what is known besides, as text.
    """

    family: str
    clips: tuple[Wave, ...]
    target: str
    prefix: Mapping[str, Any] | None = None
    lines: tuple[Line, ...] = ()
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    kind: tuple[str, ...]
    label: tuple[str, ...]
    meta: Mapping[str, str] = field(default_factory=dict)

    def record(self, name: str, paths: Sequence[str], split: str) -> Record:
        """Make the record, its clips lying at paths."""
        refs = tuple(AudioRef(path, 0.0, round(len(clip) / RATE, 4)) for path, clip in zip(paths, self.clips, strict=True))
        turns = tuple(Turn(line.role, tuple(refs[part] if isinstance(part, int) else part for part in line.parts)) for line in self.lines)
        known = {"source": name, "licence": LICENCE, "split": split, "kind": "\n".join(self.kind)}
        if self.label != (self.target,):
            known["label"] = "\n".join(self.label)
        return Record(
            id=name,
            audio=refs,
            target=self.target,
            family=self.family,
            prefix=None if self.prefix is None else prefix_for(self.family, **self.prefix),
            messages=turns,
            references=self.references,
            choices=self.choices,
            meta={**known, **self.meta},
            dataset=DATASET,
        )


Maker = Callable[[Generator, "Pool | None"], Example]


def tagged(
    family: str,
    clips: Wave | Sequence[Wave],
    target: str,
    *,
    kind: str = "",
    label: str | None = None,
    references: Sequence[str] = (),
    choices: Sequence[str] = (),
    meta: Mapping[str, str] | None = None,
    **prefix: Any,
) -> Example:
    """Make an example of a tagged task.

    Args:
        kind: of the question where the family has several, written behind it; rows of one kind have the same labels.
        label: the bare answer, the target where it is not given.
        prefix: what `prefix_for` takes: language, text_language, question, instruction.
    """
    heard = (clips,) if isinstance(clips, np.ndarray) else tuple(clips)
    name = f"{family}.{kind}" if kind else family
    return Example(
        family=family, clips=tuple(playable(clip) for clip in heard), target=target, prefix=prefix, references=tuple(references),
        choices=tuple(choices), kind=(name,), label=(target if label is None else label,), meta=dict(meta or {}),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heard:
    """Clips that belong together, and what can be asked about them; the facts tell nothing of one another."""

    clips: tuple[Wave, ...]
    facts: tuple[Fact, ...]
    meta: Mapping[str, str] = field(default_factory=dict)


def question(family: str, heard: Heard, rng: Generator) -> Example:
    """Ask one of the facts of what is heard, as a tagged question."""
    fact = heard.facts[int(rng.integers(len(heard.facts)))]
    asked = ask(fact, rng)
    made = tagged(
        family, heard.clips, asked.answer, label=fact.label, references=asked.references, choices=fact.options,
        meta=heard.meta, question=asked.question, **_languages(family, asked),
    )  # fmt: skip
    return replace(made, kind=(fact.kind,), meta={**made.meta, "language": asked.language})


def _languages(family: str, asked: Asked) -> dict[str, str]:
    """Say in the tags in which language is asked; the music's task has no language that is spoken."""
    return {"language": asked.language} | ({"text_language": asked.language} if family == "audio_qa" else {})


def sound(label: str, rng: Generator, pool: Pool | None) -> Wave:
    """Make one sound, of things or of a person: a recording where there are some of it, for half of the draws, else a synthesised one."""
    if pool is not None and label in pool.sounds and rng.random() < 0.5:
        return trimmed(pool.sound(label, rng))
    return trimmed((SOUNDS.get(label) or VOCAL_SOUNDS[label]).make(rng))


def playable(clip: Wave) -> Wave:
    """Check that a clip is one that the encoder hears, pad one that is very short, and keep it within full scale."""
    assert len(clip) <= WINDOW_S * RATE, f"a clip of {len(clip) / RATE:.2f} s"
    short = round(SHORTEST_S * RATE) - len(clip)
    whole = np.pad(clip, (0, max(0, short))).astype(np.float32)
    return np.clip(whole, -1.0, 1.0)


def events_meta(events: Sequence[Placed]) -> dict[str, str]:
    """Write what is heard when, for the check of labels against the waveform."""
    return {"events": json.dumps([[item.label, round(item.start_s, 3), round(item.end_s, 3)] for item in events], ensure_ascii=False)}


def with_silence(clip: Wave, before_s: float, behind_s: float) -> Wave:
    """Put silence around a clip."""
    return np.pad(faded(clip, 0.002, 0.005), (round(before_s * RATE), round(behind_s * RATE)))


def pick(items: Sequence[Any], rng: Generator) -> Any:
    """Draw one of several."""
    return items[int(rng.integers(len(items)))]


def draw_several(items: Sequence[Any], count: int, rng: Generator) -> list[Any]:
    """Draw different ones of several, in the order drawn."""
    return [items[int(place)] for place in rng.permutation(len(items))[:count]]
