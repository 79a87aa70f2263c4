"""Messages and tagged tasks -> Prompt: the one renderer for chat, evaluation and training.

A chat turn is `<|im_start|>role`, a newline, the content, `<|im_end|>`; the role, the newline and the content are encoded
apart, so that a content which begins with a newline does not run into the role. A clip in a content is `Audio N:`, its
span and a newline. A tagged task is the clip's span, a tag sentence and the answer. Where a person's text or a file's
name goes in, only plain text comes out, whatever it spells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal, get_args

from qwen_audio.audio import WINDOW_S, AudioClip, audio_token_count
from qwen_audio.errors import AudioError, PromptError
from qwen_audio.tokenizer import Tokenizer
from tag_schema.prefix import TagPrefix
from tag_schema.tasks import natural_prompt
from tag_schema.timestamps import SRWT_START

Role = Literal["system", "user", "assistant"]
Numbering = Literal["conversation", "turn"]

DEFAULT_SYSTEM = "You are a helpful assistant."
FULL_WINDOW_S = WINDOW_S - 0.03  # what splitting leaves in every window but the last: at most 30 ms less than a whole one


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; only a user's turn holds clips.
        parts: text and clips in order; texts are joined as they are.
        audio_numbers: the N of `Audio N:` of each clip; the same N again means a further span of one recording. None lets
            number_audio choose.
        learned: False keeps an assistant's turn from being learned in training; of no account elsewhere.
    """

    role: Role
    parts: tuple[str | AudioClip, ...]
    audio_numbers: tuple[int, ...] | None = None
    learned: bool = True

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise PromptError(f"role is {self.role!r}: expected one of {', '.join(get_args(Role))}")
        parts: object = self.parts  # what a caller without type checks may have given
        if not isinstance(parts, tuple):
            raise PromptError(
                f"the parts of a message are a {type(parts).__name__}: expected a tuple of texts and clips, as (clip, 'What is it?')"
            )
        strange = [type(part).__name__ for part in self.parts if not isinstance(part, (str, AudioClip))]
        if strange:
            raise PromptError(
                f"a part of the {self.role}'s message is of type {strange[0]}: expected text or an AudioClip (read_audio makes one)"
            )
        if self.clips and self.role != "user":
            raise PromptError(f"a clip stands in the {self.role}'s message: only the user's can hold audio")
        if self.audio_numbers is not None and len(self.audio_numbers) != len(self.clips):
            raise PromptError(f"a message has {len(self.clips)} clips and {len(self.audio_numbers)} numbers: expected one for each")

    @property
    def clips(self) -> tuple[AudioClip, ...]:
        """The clips among the parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, AudioClip))

    @property
    def text(self) -> str:
        """The texts among the parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that the model is told.

    Attributes:
        token_ids: T ids, the audio positions included.
        spans: where clip i lies, bounds included; len(spans[i]) == audio_token_count of clip i.
        clips: A clips.
        learned: T flags, True where training puts its loss.
    """

    token_ids: list[int]
    spans: list[range]
    clips: tuple[AudioClip, ...]
    learned: list[bool]


@dataclass(slots=True)
class _Draft:
    """A prompt that is being written."""

    tokenizer: Tokenizer
    token_ids: list[int] = field(default_factory=list)
    spans: list[range] = field(default_factory=list)
    clips: list[AudioClip] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)

    def add(self, ids: Sequence[int], *, learn: bool = False) -> None:
        """Append ids."""
        self.token_ids += ids
        self.learned += [learn] * len(ids)

    def add_clip(self, clip: AudioClip) -> None:
        """Append a clip's span: its start, a place for each 40 ms, its end."""
        count = _positions(clip, self.tokenizer)
        self.spans.append(range(len(self.token_ids), len(self.token_ids) + count))
        self.clips.append(clip)
        self.add([self.tokenizer.audio_start, *[self.tokenizer.audio_pad] * (count - 2), self.tokenizer.audio_end])

    def finish(self) -> Prompt:
        """Return the prompt."""
        return Prompt(self.token_ids, self.spans, tuple(self.clips), self.learned)


def render_chat(messages: Sequence[Message], tokenizer: Tokenizer, *, numbering: Numbering = "conversation", learn: bool = False) -> Prompt:
    """Write a conversation in ChatML; where the user spoke last, the assistant's turn is opened.

    Args:
        messages: in order; without a system message in front, the default one is put there, and an empty one is written too.
        numbering: "conversation" counts clips over the whole conversation (and keeps numbers given already), "turn" begins
            with `Audio 1:` in each message as the released code does.
        learn: mark the assistant's texts and their ends as learned, but for the messages that are not to be.
    Raises:
        PromptError: there is no message, or nothing to learn; AudioError: a clip has a length that the encoder cannot hear.
    """
    if not messages:
        raise PromptError("the conversation is empty: expected at least one message")
    if learn and not any(message.role == "assistant" and message.learned for message in messages):
        raise PromptError("nothing to learn: expected an assistant's message with the answer")
    if messages[0].role != "system":
        messages = [Message("system", (DEFAULT_SYSTEM,)), *messages]
    messages = number_audio(messages) if numbering == "conversation" else [_number_alone(message) for message in messages]
    draft = _Draft(tokenizer)
    for place, message in enumerate(messages):
        if place:
            draft.add(tokenizer.encode_text("\n"))
        _open_turn(message.role, draft)
        if message.role == "assistant":
            draft.add([*tokenizer.encode_answer(message.text), tokenizer.im_end], learn=learn and message.learned)
        else:
            _add_content(message, draft)
            draft.add([tokenizer.im_end])
    if messages[-1].role == "user":
        draft.add(tokenizer.encode_text("\n"))
        _open_turn("assistant", draft)
    return draft.finish()


def _open_turn(role: Role, draft: _Draft) -> None:
    """Write the start of a turn; role and newline are encoded apart."""
    tokenizer = draft.tokenizer
    draft.add([tokenizer.im_start, *tokenizer.encode_text(role), *tokenizer.encode_text("\n")])


def _add_content(message: Message, draft: _Draft) -> None:
    """Write a person's text and clips; text between two spans is encoded in one go, as the released code does."""
    numbers = iter(message.audio_numbers or ())
    colon = ":" if draft.tokenizer.has_tags else ": "  # the two families were trained on these
    text = ""
    for is_clip, run in groupby(message.parts, lambda part: isinstance(part, AudioClip)):
        if not is_clip:
            text += "".join(str(part) for part in run)
            continue
        for number, spans in groupby([(next(numbers), part) for part in run if isinstance(part, AudioClip)], lambda pair: pair[0]):
            draft.add(draft.tokenizer.encode_text(f"{text}Audio {number}{colon}"))
            for _, clip in spans:
                draft.add_clip(clip)
            text = "\n"
    draft.add(draft.tokenizer.encode_text(text))


def number_audio(messages: Sequence[Message]) -> list[Message]:
    """Give every clip the N of its `Audio N:`; numbers that a message has already stay as they are.

    New numbers follow the highest one given, in order, so that no clip is renumbered when others come or go. The windows of
    one recording that was split share a number.
    """
    highest = max((number for message in messages for number in message.audio_numbers or ()), default=0)
    numbered = []
    for message in messages:
        if message.audio_numbers is None:
            counts = _count_recordings(message.clips)
            message = replace(message, audio_numbers=tuple(highest + count for count in counts))
            highest += max(counts, default=0)
        numbered.append(message)
    return numbered


def _number_alone(message: Message) -> Message:
    """Count the recordings of one message from 1."""
    counts = _count_recordings(message.clips)
    if message.audio_numbers is not None:  # which clips belong together is known
        order = list(dict.fromkeys(message.audio_numbers))
        counts = [order.index(number) + 1 for number in message.audio_numbers]
    return replace(message, audio_numbers=tuple(counts))


def _count_recordings(clips: Sequence[AudioClip]) -> list[int]:
    """Count recordings from 1: a window that begins where a full one of the same source ended is the same recording."""
    counts: list[int] = []
    for place, clip in enumerate(clips):
        before = clips[place - 1] if place else None
        goes_on = (
            before is not None
            and before.source == clip.source
            and before.duration_s >= FULL_WINDOW_S
            and abs(before.start_s + before.duration_s - clip.start_s) < 1e-3
        )
        counts.append(counts[-1] if goes_on else (counts[-1] + 1 if counts else 1))
    return counts


def render_task(
    clips: Sequence[AudioClip], prefix: TagPrefix, tokenizer: Tokenizer, *, target: str | None = None, chat: bool = True
) -> Prompt:
    """Write a tagged task: the clips' spans, the tag sentence, and in training the answer and its end.

    Args:
        clips: what is heard, usually one.
        prefix: what is asked.
        tokenizer: one without tags (Qwen2-Audio's) makes the request be put in words.
        target: the answer with its content tags; marked as learned together with the end of text. Where the prefix gives the
            first time already, a target that begins with it is written without it.
        chat: how a request in words is made: as a chat turn, for Instruct checkpoints, else right behind the clip.
    Raises:
        TagError: the prefix or the target cannot be written; AudioError: a clip has a length that the encoder cannot hear.
    """
    if not tokenizer.has_tags and chat:
        return _ask_in_chat(clips, prefix, tokenizer, target)
    draft = _Draft(tokenizer)
    for clip in clips:
        draft.add_clip(clip)
    pieces = prefix.pieces(tokenizer.custom) if tokenizer.has_tags else [(natural_prompt(prefix), False)]
    for text, is_tags in pieces:
        draft.add(tokenizer.encode_tags(text) if is_tags else tokenizer.encode_text(text))
    if target is not None:
        if prefix.timestamps and tokenizer.has_tags:
            target = target.removeprefix(SRWT_START)
        draft.add([*tokenizer.encode_answer(target), tokenizer.end_of_text], learn=True)
    return draft.finish()


def _ask_in_chat(clips: Sequence[AudioClip], prefix: TagPrefix, tokenizer: Tokenizer, target: str | None) -> Prompt:
    """Put a tagged task in words, as one turn of a chat; the answer ends as answers in a chat do."""
    messages = [Message("user", (*clips, natural_prompt(prefix)))]
    if target is not None:
        messages.append(Message("assistant", (target,)))
    return render_chat(messages, tokenizer, learn=target is not None)


def _positions(clip: AudioClip, tokenizer: Tokenizer) -> int:
    """Count the positions of a clip; where it is too long or too short, the error names its source."""
    try:
        return audio_token_count(len(clip.samples), tokenizer.family)
    except AudioError as error:
        raise type(error)(f"{clip.source}: {error}") from error
