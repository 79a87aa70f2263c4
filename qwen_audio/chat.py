"""ChatSession: a conversation about audio that keeps what it has computed, fits its window, and can be taken back.

An answer is always that of a fresh run over the same turns: the engine's memory goes on from what the next prompt shares
with the last one, and computes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.config import GenerationOptions, LongAudio, check_choice
from qwen_audio.engine import Engine, Reply, ReplyStream
from qwen_audio.errors import ConfigError, PromptError
from qwen_audio.history import Attached, AudioSource, History, Turn, read_history, read_recording, write_history
from qwen_audio.model.memory import Memory
from qwen_audio.prompt import DEFAULT_SYSTEM, Message, Prompt, render_chat
from tag_schema.timestamps import find_spans

ANSWER_SHARE = 4  # a full window leaves the answer its limit, or this part of the window where the limit is larger


@dataclass(frozen=True, slots=True, eq=False)
class AnswerSpan:
    """A stretch `<|s|>..<|e|>` of an answer: seconds from the start of Audio `audio`, and the sound itself."""

    audio: int
    start_s: float
    end_s: float
    clip: AudioClip


class ChatSession:
    """A conversation with one model. One thread may use it at a time.

    Audio keeps its number whatever leaves. When the window is full the oldest turns leave the prompt, whole, and a notice
    says so; they stay in the history. An answer that was stopped is kept as far as it was said; where nothing had been
    said yet, the question is taken back as if it had not been asked.
    """

    def __init__(
        self,
        engine: Engine,
        system: str = DEFAULT_SYSTEM,
        options: GenerationOptions | None = None,
        *,
        long_audio: LongAudio = "error",
        window: int | None = None,
    ) -> None:
        """Begin a conversation.

        Args:
            system: the system message; another one counts from the next answer on.
            options: how answers are sampled; the checkpoint's own where not given.
            long_audio: what to do with recordings over 30 s: "error" refuses them, "first" hears the first 30 s, "split" hears
                all of it in windows of 30 s under one number.
            window: positions that prompt and answer may take; the model's own where not given.
        Raises:
            ConfigError: a window that the model does not have.
        """
        check_choice("long_audio", long_audio, ("error", "first", "split"))
        if window is not None and not 1 <= window <= engine.window:
            raise ConfigError(f"window is {window}: expected 1 to {engine.window}, the positions of this model")
        self.engine, self.long_audio, self.window = engine, long_audio, window or engine.window
        self.system, self.options = system, options or engine.generation
        self._turns: list[Turn] = []
        self._pending: list[Attached] = []
        self._next_number = 1
        self._left = 0
        self._notices: list[str] = []
        self._memory = Memory()
        self._running: ChatStream | None = None

    # What is there ----------------------------------------------------------------------------------------------------

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns, the oldest first, also those that have left the window."""
        return tuple(self._turns)

    @property
    def audios(self) -> tuple[Attached, ...]:
        """All recordings in order: those of every turn, then those attached for the next."""
        return (*(audio for turn in self._turns for audio in turn.audio), *self._pending)

    @property
    def left(self) -> int:
        """How many of the oldest turns the last prompt had no room for."""
        return self._left

    @property
    def positions(self) -> int:
        """How many positions the model holds of this conversation now."""
        return len(self._memory)

    def take_notices(self) -> list[str]:
        """Return what the user should be told since this was last asked."""
        notices, self._notices = self._notices, []
        return notices

    def spans(self) -> list[AnswerSpan]:
        """Find the stretches that the last answer points at, in the last recording that the model had heard by then.

        Of a recording in windows, times count from the start of the last window; what lies past its end is left out.
        """
        heard = [audio for turn in self._turns[self._left :] for audio in turn.audio]
        if not heard:
            return []
        audio, window = heard[-1], heard[-1].windows[-1]
        offset_s = window.start_s - audio.windows[0].start_s
        found = []
        for span in find_spans(self._turns[-1].answer):
            end_s = min(span.end_s, window.duration_s)
            if round(span.start_s * SAMPLE_RATE) < round(end_s * SAMPLE_RATE):
                piece = window.cut(span.start_s, end_s)
                found.append(AnswerSpan(audio.number, offset_s + span.start_s, offset_s + end_s, piece))
        return found

    # Asking -----------------------------------------------------------------------------------------------------------

    def attach(self, source: AudioSource, *, name: str | None = None) -> Attached:
        """Read a recording for the next question and give it its number.

        Args:
            source: a clip, a file (`rain.wav#t=12.5,20` for a piece of it), or the bytes of a file.
            name: what messages call it; the path by default.
        Raises:
            AudioError: it cannot be read, or is too long and long_audio is "error".
        """
        self._settle()
        audio = read_recording(source, self._next_number, self.long_audio, name)
        self._pending.append(audio)
        self._next_number += 1
        return audio

    def ask(
        self,
        text: str = "",
        audio: AudioSource | Sequence[AudioSource] = (),
        *,
        on_text: Callable[[str], object] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reply:
        """Ask and return the answer.

        Args:
            text: the question; may be empty where there is audio that asks.
            audio: recordings of this question, behind those attached already.
            on_text: called with each piece of the answer, whole characters.
            cancelled: asked before every token; True ends the answer, and what was said is kept.
        Raises:
            PromptError: nothing was asked, or the question does not fit the window; AudioError: a recording cannot be heard.
                Then the conversation is as it was.
        """
        return self.stream(text, audio, cancelled=cancelled).drain(on_text)

    def stream(
        self, text: str = "", audio: AudioSource | Sequence[AudioSource] = (), *, cancelled: Callable[[], bool] | None = None
    ) -> ChatStream:
        """Ask and return the answer piece by piece; as in `ask`. What comes next on the session closes it."""
        self._settle()
        text = text.encode("utf-8", "replace").decode("utf-8")  # a terminal may hand over halves of characters
        pending, number = list(self._pending), self._next_number

        def take_back() -> None:
            self._pending, self._next_number = pending, number

        try:
            for source in [audio] if isinstance(audio, (AudioClip, str, Path, bytes)) else audio:
                self.attach(source)
            if not text and not self._pending:
                raise PromptError("nothing was asked: give a text, audio or both")
            before = min((heard.number for heard in pending), default=number)
            return self._begin(Turn(text, tuple(self._pending), before), cancelled, take_back)
        except BaseException:
            take_back()
            raise

    def retry(self, *, on_text: Callable[[str], object] | None = None, cancelled: Callable[[], bool] | None = None) -> Reply:
        """Answer the last question anew; as in `stream_retry` and `ask`."""
        return self.stream_retry(cancelled=cancelled).drain(on_text)

    def stream_retry(self, *, cancelled: Callable[[], bool] | None = None) -> ChatStream:
        """Answer the last question anew, piece by piece; the old answer stays where nothing new is said.

        With a seed every try draws from the next one; greedy answers stay the same.

        Raises:
            PromptError: nothing has been asked.
        """
        self._settle()
        old = self._last("retry")

        def take_back() -> None:
            self._turns.append(old)

        del self._turns[-1]
        try:
            return self._begin(Turn(old.text, old.audio, old.next_number, tries=old.tries + 1), cancelled, take_back, self._pending)
        except BaseException:
            take_back()
            raise

    # Taking back ------------------------------------------------------------------------------------------------------

    def undo(self) -> Turn:
        """Take the last question and its answer back, with its audio, whose numbers are free again.

        Raises:
            PromptError: nothing has been asked.
        """
        self._settle()
        turn = self._last("undo")
        del self._turns[-1]
        self._next_number = max([turn.next_number, *(audio.number + 1 for audio in self._pending)])
        return turn

    def drop(self, number: int) -> Attached:
        """Take Audio `number` out of the conversation; the others keep their numbers, and this one is not given again.

        Audio that was attached and not asked about yet leaves without a trace. A turn that asked nothing but this audio leaves
        with its answer.

        Raises:
            PromptError: there is no such audio.
        """
        self._settle()
        audio = next((heard for heard in self.audios if heard.number == number), None)
        if audio is None:
            there = ", ".join(str(heard.number) for heard in self.audios) or "none"
            raise PromptError(f"there is no Audio {number} in this conversation; there is {there}")
        if audio in self._pending:
            self._pending.remove(audio)
            self._next_number -= number == self._next_number - 1
            return audio
        place = next(place for place, turn in enumerate(self._turns) if audio in turn.audio)
        turn = self._turns[place]
        turn.audio, turn.positions = tuple(heard for heard in turn.audio if heard is not audio), None
        if not turn.audio and not turn.text:
            del self._turns[place]
            self._left -= place < self._left
        return audio

    def clear(self) -> None:
        """Begin anew: turns, audio and numbers go, the system message and the options stay."""
        self._settle()
        self._turns, self._pending, self._next_number, self._left = [], [], 1, 0
        self._memory.forget()

    # Keeping ----------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the conversation to a file, one JSON line of settings and one a turn; see qwen_audio/history.py."""
        turns = list(self.turns)
        history = History(
            self.system, self.options, self.long_audio, self.window, self.engine.name, self._next_number, turns, self._pending
        )
        write_history(history, Path(path))

    @classmethod
    def resume(cls, path: str | Path, engine: Engine) -> ChatSession:
        """Go on with a saved conversation; its audio is read again.

        Raises:
            DataError: the file is no saved conversation, or a recording is gone or has changed.
        """
        history = read_history(Path(path))
        window = None if history.window is None else min(history.window, engine.window)
        session = cls(engine, history.system, history.options, long_audio=history.long_audio, window=window)
        session._turns, session._pending, session._next_number = history.turns, history.pending, history.next_number
        if history.model != engine.name:
            session._notices.append(f"this chat was held with {history.model}, it goes on with {engine.name}")
        return session

    # Between turns and prompts ----------------------------------------------------------------------------------------

    def _begin(
        self, turn: Turn, cancelled: Callable[[], bool] | None, take_back: Callable[[], None], pending: Sequence[Attached] = ()
    ) -> ChatStream:
        """Start the answer of a turn; pending is what waits for the turn after it."""
        prompt = self._fit(turn)
        options = replace(self.options, max_new_tokens=min(self.options.max_new_tokens, self.window - len(prompt.token_ids)))
        if options.seed is not None:
            options = replace(options, seed=options.seed + turn.tries)
        stream = self.engine.stream(prompt, options, cancelled=cancelled, memory=self._memory)
        self._pending = list(pending)
        self._running = ChatStream(self, turn, stream, take_back)
        return self._running

    def _fit(self, turn: Turn) -> Prompt:
        """Write the prompt of a turn behind as many of the latest turns as the window has room for."""
        system = Message("system", (self.system,))
        base, asked = self._count([system]), self._count([system, turn.question()])
        if asked >= self.window:
            raise PromptError(
                f"the question takes {asked} positions with the system message, the window has {self.window}: "
                "shorten it, or give fewer or shorter clips (a second takes 25)"
            )
        free = self.window - asked - min(self.options.max_new_tokens, self.window // ANSWER_SHARE)
        first = len(self._turns)
        while first:
            earlier = self._turns[first - 1]
            if earlier.positions is None:
                earlier.positions = self._count([system, *earlier.messages()]) - base
            if earlier.positions > free:
                break
            first, free = first - 1, free - earlier.positions
        self._tell_of_leaving(first)
        told = [message for earlier in self._turns[first:] for message in earlier.messages()]
        return render_chat([system, *told, turn.question()], self.engine.tokenizer)

    def _count(self, messages: Sequence[Message]) -> int:
        """Count the positions of messages; turns are encoded apart, so that counts add up."""
        return len(render_chat(messages, self.engine.tokenizer).token_ids)

    def _tell_of_leaving(self, first: int) -> None:
        """Note that the turns before `first` have no room any more, where this is news."""
        if first > self._left:
            gone = self._turns[self._left : first]
            numbers = [str(audio.number) for turn in gone for audio in turn.audio]
            heard = f", and with them Audio {', '.join(numbers)}" if numbers else ""
            turns = "the oldest turn" if len(gone) == 1 else f"the {len(gone)} oldest turns"
            self._notices.append(f"the window of {self.window} positions is full: the model no longer knows {turns}{heard}")
        self._left = first

    def _last(self, what: str) -> Turn:
        """Return the last turn; PromptError where there is none."""
        if not self._turns:
            raise PromptError(f"nothing to {what}: no question has been answered yet")
        return self._turns[-1]

    def _settle(self) -> None:
        """End an answer that nobody has taken to its end."""
        if self._running is not None:
            self._running.close()

    def _keep(self, turn: Turn, reply: Reply, take_back: Callable[[], None]) -> None:
        """Remember an answered turn; one that was stopped before its first word is taken back."""
        self._running = None
        if reply.stop == "cancelled" and not reply.text:
            take_back()
            return
        turn.answer, turn.stop = reply.text, reply.stop
        self._turns.append(turn)


class ChatStream(Iterator[str]):
    """The pieces of one answer; the turn is remembered when they end, are closed, or the session is used again."""

    def __init__(self, session: ChatSession, turn: Turn, stream: ReplyStream, take_back: Callable[[], None]) -> None:
        self._session, self._turn, self._stream, self._take_back = session, turn, stream, take_back
        self._open = True

    def __next__(self) -> str:
        try:
            return next(self._stream)
        except BaseException:  # the end as well as Ctrl-C
            self._finish()
            raise

    @property
    def reply(self) -> Reply:
        """What has been said so far; its stop is "cancelled" until the model has ended."""
        return self._stream.reply

    def drain(self, on_text: Callable[[str], object] | None = None) -> Reply:
        """Take the pieces that are left, hand each to on_text, and return the reply."""
        try:
            for piece in self:
                if on_text is not None:
                    on_text(piece)
        finally:
            self.close()
        return self.reply

    def close(self) -> None:
        """Stop the answer where it is and remember what was said."""
        self._stream.close()
        self._finish()

    def _finish(self) -> None:
        """Hand the answer to the session, once."""
        if self._open:
            self._open = False
            self._session._keep(self._turn, self.reply, self._take_back)
