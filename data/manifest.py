"""Records: one JSON line each, read and written with FILE:LINE in every error."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from qwen_audio.errors import DataError
from tag_schema.prefix import TagPrefix
from tag_schema.vocabulary import TagError

Role = Literal["system", "user", "assistant"]
MAY_BE_EMPTY = ("entity", "slot_filling")  # families in which "there is none" is answered by nothing


@dataclass(frozen=True, slots=True)
class AudioRef:
    """Audio on disk, not yet read: a path below the data root or absolute, and the stretch that is meant."""

    path: str
    start_s: float = 0.0
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise DataError(f"the path of a clip is {self.path!r}: expected text")
        for name, seconds, least in (("start_s", self.start_s, 0.0), ("duration_s", self.duration_s or 1.0, 1e-6)):
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not least <= seconds < math.inf:
                raise DataError(f"{self.path}: {name} is {seconds!r}: expected seconds from {least:g} on")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation on disk: text and audio references in the order they are said.

    learned: whether training learns it, where it is the assistant's.
    """

    role: Role
    parts: tuple[str | AudioRef, ...]
    learned: bool = True

    @property
    def refs(self) -> tuple[AudioRef, ...]:
        """The audio among the parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, AudioRef))


@dataclass(frozen=True, slots=True)
class Record:
    """One example: what is heard and asked, and what should be answered.

    Exactly one of prefix (a tagged task over audio) and messages (a conversation that ends with the user) is given;
    audio lists every clip in the order it is heard, () for pure text. The target is the assistant's last turn; the earlier
    ones are learned too unless they say otherwise. meta carries speaker, gender, source, licence, split: what clusters and
    subgroups are made of.
    """

    id: str
    audio: tuple[AudioRef, ...]
    target: str
    family: str | None = None
    prefix: TagPrefix | None = None
    messages: tuple[Turn, ...] = ()
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""

    def __post_init__(self) -> None:
        if (self.prefix is None) == (not self.messages):
            raise DataError(f"record {self.id}: give either a prefix or messages, and not both")
        if self.prefix is not None and not self.audio:
            raise DataError(f"record {self.id}: a tagged task needs audio")
        if not self.target and self.family not in MAY_BE_EMPTY:
            raise DataError(f"record {self.id}: the target is empty")
        if self.messages and self.messages[-1].role != "user":
            raise DataError(f"record {self.id}: the last message is the {self.messages[-1].role}'s, expected the user's")

    @property
    def duration_s(self) -> float | None:
        """Sum of the clips' lengths in seconds; None where one is not known."""
        lengths = [ref.duration_s for ref in self.audio]
        return None if None in lengths else sum(length for length in lengths if length is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the on-disk form; what is empty is left out, clips in messages are numbers into "audio"."""
        row: dict[str, Any] = {"id": self.id, "audio": [_drop_empty(asdict(ref)) for ref in self.audio]}
        if self.prefix is not None:
            row["prefix"] = _drop_empty({name: getattr(self.prefix, name) for name in self.prefix.__slots__})
        if self.messages:
            assert self.audio == tuple(ref for turn in self.messages for ref in turn.refs), f"{self.id}: audio is not that of the messages"
            numbers = iter(range(len(self.audio)))
            row["messages"] = [
                {"role": turn.role, "parts": [part if isinstance(part, str) else {"audio": next(numbers)} for part in turn.parts]}
                | ({} if turn.learned else {"learned": False})
                for turn in self.messages
            ]
        row |= {"target": self.target, "family": self.family, "references": list(self.references)}
        row |= {"choices": list(self.choices), "meta": dict(self.meta), "dataset": self.dataset}
        return {name: value for name, value in row.items() if value or name == "audio"}


def _drop_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, False)}  # 0.0 too, where a stretch starts


def from_json(row: Mapping[str, Any], where: str) -> Record:
    """Build a Record from its on-disk form.

    Args:
        row: one decoded JSON line.
        where: FILE:LINE, for the message.
    Raises:
        DataError: a key is missing, unknown or of the wrong kind; the message begins with where.
    """
    known = set(Record.__slots__)
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected a JSON object, found {type(row).__name__}")
    if surplus := sorted(set(row) - known):
        raise DataError(f"{where}: unknown key {', '.join(surplus)}; known: {', '.join(sorted(known))}")
    try:
        audio = tuple(AudioRef(**ref) for ref in row.get("audio", ()))
        prefix = TagPrefix(**{"audio_language": None, **row["prefix"]}) if row.get("prefix") else None
        messages = tuple(_turn(turn, audio) for turn in row.get("messages", ()))
        return Record(
            id=str(row["id"]),
            audio=_as_heard(audio, messages) if messages else audio,
            target=row.get("target", "") if row.get("family") in MAY_BE_EMPTY else row["target"],
            family=row.get("family"),
            prefix=prefix,
            messages=messages,
            references=tuple(row.get("references", ())),
            choices=tuple(row.get("choices", ())),
            meta=dict(row.get("meta", {})),
            dataset=row.get("dataset", ""),
        )
    except KeyError as error:
        raise DataError(f"{where}: the key {error} is missing") from error
    except (TypeError, IndexError, AttributeError, TagError, DataError) as error:
        raise DataError(f"{where}: {error}") from error


def _turn(row: Mapping[str, Any], audio: tuple[AudioRef, ...]) -> Turn:
    if row["role"] not in get_args(Role):
        raise DataError(f"role is {row['role']!r}: expected one of {', '.join(get_args(Role))}")
    learned = row.get("learned", True)
    if not isinstance(learned, bool):
        raise DataError(f"learned is {learned!r}: expected true or false")
    return Turn(row["role"], tuple(part if isinstance(part, str) else audio[part["audio"]] for part in row["parts"]), learned)


def _as_heard(audio: tuple[AudioRef, ...], messages: tuple[Turn, ...]) -> tuple[AudioRef, ...]:
    """List the clips in the order in which the messages hold them: one may be heard twice, none never."""
    heard = tuple(ref for turn in messages for ref in turn.refs)
    for number, ref in enumerate(audio):
        if ref not in heard:
            raise DataError(f"clip {number} ({ref.path}) stands in no message")
    return heard


def read_manifest(path: Path | str) -> Iterator[Record]:
    """Yield the records of a JSONL file; blank lines are passed over.

    Raises:
        DataError: with FILE:LINE where a line is not JSON or not a record.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such manifest")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON ({error})") from error
            yield from_json(row, f"{path}:{number}")


def write_manifest(records: Iterable[Record], path: Path | str) -> int:
    """Write records as JSONL, whole or not at all, and return how many."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    count = 0
    try:
        with draft.open("w", encoding="utf-8") as out:
            for record in records:
                out.write(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
                count += 1
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return count
