"""Dialogues as others write them -> turns: OpenAI's and transformers' messages, ms-swift's and LLaMA-Factory's `<audio>`, ShareGPT,
Audio Flamingo's `<sound>`, NeMo's typed turns.

The rules are those of the formats' owners: a row whose texts hold no `<audio>` at all hears its clips in front of the first
question (ms-swift); typed turns of one speaker that follow each other are one (NeMo); all of the assistant's turns are learned
but those with `"loss": false` (ms-swift).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.manifest import AudioRef, Role, Turn
from data.rows.errors import RowError, as_text

CONVERSATIONS = ("messages", "conversations", "conversation")
ROLES: Mapping[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant",
    "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip
PLACE = re.compile(r"(?:<audio>|<sound>|<speech>)\n?")  # the renderer writes the newline behind a clip itself
AUDIO_KEYS = ("audio", "audio_url", "path", "url", "value")


@dataclass(frozen=True, slots=True)
class Clip:
    """Where a message holds audio: a clip of its own, or (None) the next one that the row lists."""

    ref: AudioRef | None = None


@dataclass(slots=True)
class Said:
    """One turn as a row gives it: texts and clips in order, and whether training learns it."""

    role: Role
    parts: list[str | Clip]
    learned: bool = True

    @property
    def text(self) -> str:
        """The texts among the parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither a text nor a clip."""
        return not self.text.strip() and not any(isinstance(part, Clip) for part in self.parts)


ReadRef = Callable[[Any], AudioRef]


def spoken_turns(columns: dict[str, Any], read_ref: ReadRef) -> list[Said] | None:
    """Take the dialogue out of a row's columns; None where it has none.

    Args:
        read_ref: makes an AudioRef of what a message gives as its audio.
    Raises:
        RowError: it is no list of turns, or a turn has another form.
    """
    name = next((name for name in CONVERSATIONS if name in columns), None)
    if name is None:
        return None
    listed = columns.pop(name)
    if not isinstance(listed, list) or not all(isinstance(turn, Mapping) for turn in listed):
        raise RowError("bad_row", f"{name} is {str(listed)[:60]!r}: expected a list of turns")
    said: list[Said] = []
    for turn in listed:
        if "type" in turn and not isinstance(turn.get("content"), list):
            _add_typed(said, turn, read_ref)
        elif {"human", "assistant"} <= set(turn):
            said += [Said("user", _parts(turn["human"], read_ref)), Said("assistant", _parts(turn["assistant"], read_ref))]
        else:
            said.append(Said(_role(turn), _parts(turn.get("content", turn.get("value")), read_ref), _is_learned(turn)))
    return said


def history_turns(history: Any) -> list[Said]:
    """Read earlier rounds: pairs of a question and its answer.

    Raises:
        RowError: it is something else.
    """
    if not isinstance(history, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in history):
        raise RowError("bad_row", f"history is {str(history)[:60]!r}: expected pairs of a question and its answer")
    said = []
    for question, answer in history:
        said += [Said("user", [as_text(question, "history")]), Said("assistant", [as_text(answer, "history")])]
    return said


def dialogue(said: Sequence[Said], clips: Sequence[AudioRef]) -> tuple[tuple[Turn, ...], str]:
    """Lay a row's clips into its turns, and part the last answer that is learned from what stands before it.

    What follows that answer is left out: nothing of it is learned, and no answer hears what comes later.

    Returns:
        the turns before the answer, and the answer.
    Raises:
        RowError: places and clips are not as many, a turn is empty, audio stands outside the user's turns, or nothing is learned.
    """
    turns = _with_clips(said, clips)
    learned = [place for place, turn in enumerate(said) if turn.role == "assistant" and turn.learned]
    if not learned or said[-1].role != "assistant":
        found = 'every answer has "loss": false' if said and said[-1].role == "assistant" else "the dialogue ends without one"
        raise RowError("no_answer", f"the assistant's answer is missing: {found}")
    for turn in said[: learned[-1] + 1]:
        if turn.says_nothing and turn.role != "system" and turn.learned:
            raise RowError("empty_text", f"the {turn.role}'s turn is empty")
    return tuple(turns[: learned[-1]]), said[learned[-1]].text


def _with_clips(said: Sequence[Said], clips: Sequence[AudioRef]) -> list[Turn]:
    """Turn placeholders into clips; a text is searched for them only where its row lists clips, or has no typed ones."""
    own = any(isinstance(part, Clip) and part.ref is not None for turn in said for part in turn.parts)
    asked = [turn for turn in said if turn.role == "user"]
    if clips or not own:
        for turn in asked:
            turn.parts = [piece for part in turn.parts for piece in (_split(part) if isinstance(part, str) else [part])]
    places = sum(part == Clip() for turn in asked for part in turn.parts)
    if clips and not places and asked:
        asked[0].parts = [*[Clip()] * len(clips), *asked[0].parts]
        places = len(clips)
    if places != len(clips):
        raise RowError("audio_count", f"{places} places for audio in the user's text, {len(clips)} clips")
    following = iter(clips)
    turns = []
    for turn in said:
        if turn.role != "user" and any(isinstance(part, Clip) for part in turn.parts):
            raise RowError("bad_row", f"audio stands in the {turn.role}'s turn: this model hears and does not speak")
        parts = (part if isinstance(part, str) else part.ref or next(following) for part in turn.parts)
        turns.append(Turn(turn.role, tuple(part for part in parts if part != ""), turn.learned))
    return turns


def _split(text: str) -> list[str | Clip]:
    """Split a text at its placeholders."""
    pieces: list[str | Clip] = []
    done = 0
    for match in PLACE.finditer(text):
        pieces += [text[done : match.start()], Clip()]
        done = match.end()
    return [piece for piece in (*pieces, text[done:]) if piece != ""]


def _add_typed(said: list[Said], turn: Mapping[str, Any], read_ref: ReadRef) -> None:
    """Add a turn that is one text or one clip; it joins the same speaker's before it, texts with a space between."""
    role, learned = _role(turn), _is_learned(turn)
    value = turn.get("value", turn.get("content"))
    if turn["type"] == "audio":
        part: str | Clip = Clip(read_ref({"path": value, "offset": turn.get("offset") or 0.0, "duration": turn.get("duration")}))
    elif turn["type"] == "text":
        part = as_text(value, "value")
    else:
        raise RowError("bad_row", f"a turn is of type {turn['type']!r}: expected text or audio")
    if said and said[-1].role == role:
        between = [" "] if isinstance(part, str) and said[-1].parts and isinstance(said[-1].parts[-1], str) else []
        said[-1].parts += [*between, part]
        said[-1].learned = said[-1].learned and learned
    else:
        said.append(Said(role, [part], learned))


def _role(turn: Mapping[str, Any]) -> Role:
    name = turn.get("role", turn.get("from"))
    found = ROLES.get(str(name).lower())
    if found is None:
        raise RowError("bad_row", f"a turn's role is {name!r}: expected system, user (human) or assistant (gpt)")
    return found


def _is_learned(turn: Mapping[str, Any]) -> bool:
    """Tell whether an answer is learned; a scale other than 0 and 1 would not be what the row asks for."""
    loss, scale = turn.get("loss"), turn.get("loss_scale")
    if loss not in (None, True, False):
        raise RowError("bad_row", f"loss is {loss!r}: expected true or false")
    if scale not in (None, 0, 1):
        raise RowError("bad_row", f"loss_scale is {scale!r}: an answer is learned (1) or not (0)")
    return (True if loss is None else bool(loss)) and scale != 0


def _parts(content: Any, read_ref: ReadRef) -> list[str | Clip]:
    """Read the content of a message: a text, or a list of typed parts."""
    if content is None:
        return []
    if not isinstance(content, list):
        return [as_text(content, "content")]
    return [part if isinstance(part, str) else _typed(part, read_ref) for part in content]


def _typed(part: Any, read_ref: ReadRef) -> str | Clip:
    """Read one part: text; audio as transformers (`audio`, `audio_url`) or OpenAI (`audio_url`: {url}) give it, or its mere place."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return as_text(part.get("text"), "text")
    if kind in ("audio", "audio_url"):
        given = next((part[key] for key in AUDIO_KEYS if part.get(key)), None)
        return Clip() if given is None else Clip(read_ref(given))
    if kind == "input_audio":
        raise RowError("bad_row", "a message holds the bytes of its audio (input_audio): write them to a file and give its path")
    raise RowError("bad_row", f"a part of a message is {str(part)[:60]!r}: expected type text or audio")
