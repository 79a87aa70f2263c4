"""A ChatSession at a terminal: recordings attached, questions asked, answers shown, and the commands of a chat."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen_audio.audio import AudioClip
from qwen_audio.chat import ChatSession
from qwen_audio.config import GenerationOptions, from_mapping
from qwen_audio.engine import Engine, Reply
from qwen_audio.errors import USER_ERRORS, ConfigError, PromptError
from qwen_audio.history import Attached
from qwen_audio.terminal.display import (
    Answering,
    Manner,
    answer_json,
    audio_values,
    describe,
    describe_engine,
    heard_of,
    show_answer,
    span_values,
    tell_about,
    write_clips,
)
from qwen_audio.terminal.screen import FENCE, Interrupt, Screen, audio_paths, clean_name, split_paths


class Dialogue:
    """A conversation and the screen it is shown on."""

    def __init__(self, session: ChatSession, screen: Screen, manner: Manner) -> None:
        self.session, self.screen, self.manner = session, screen, manner
        self.interrupt = Interrupt()

    @property
    def waiting(self) -> list[Attached]:
        """The recordings that are attached for the next question."""
        asked = {audio.number for turn in self.session.turns for audio in turn.audio}
        return [audio for audio in self.session.audios if audio.number not in asked]

    # Asking -----------------------------------------------------------------------------------------------------------

    def attach(self, source: AudioClip | str) -> Attached:
        """Read a recording for the next question and say what it is."""
        audio = self.session.attach(source)
        self.screen.note(describe(audio))
        return audio

    def ask(self, text: str) -> Reply:
        """Ask, show the answer, keep it."""
        return self._show(lambda: self.session.stream(text, cancelled=self.interrupt))

    def retry(self) -> Reply:
        """Answer the last question anew."""
        return self._show(lambda: self.session.stream_retry(cancelled=self.interrupt))

    def _show(self, begin: Callable[[], Answering]) -> Reply:
        """Let an answer come, show it as it was asked for, and do with it what was asked for."""
        session, manner = self.session, self.manner
        reply = show_answer(begin, self.interrupt, self.screen, manner, session.engine)
        kept = bool(reply.text) or reply.stop != "cancelled"  # where nothing was said, the session has taken the question back
        spans = session.spans() if kept else []
        if manner.as_json:
            heard = [(audio, place >= session.left) for place, turn in enumerate(session.turns) for audio in turn.audio]
            audio = [audio_values(audio.source, audio.seconds, audio.heard_seconds if there else 0.0) for audio, there in heard]
            self.screen.say_json(answer_json(reply, audio, [span_values(span) for span in spans], session.engine, manner))
        for notice in session.take_notices():
            self.screen.warn(notice)
        new = session.turns[-1].audio if kept else ()
        if new:
            self.screen.note("heard: " + ", ".join(heard_of(audio) for audio in new))
        tell_about(reply, self.screen, manner, sum(audio.heard_seconds for audio in new))
        if manner.clips_dir is not None:
            write_clips(spans, manner.clips_dir, self.screen)
        if manner.save is not None:
            session.save(manner.save)
        return reply

    def message(self, text: str, confirm: Callable[[str], bool]) -> None:
        """Ask what a person typed; where it names audio files, offer to attach them first."""
        there = {audio.source for audio in self.session.audios}
        paths, nothing_else = audio_paths(text)
        attached = 0
        for path in paths:
            if path in there:
                continue
            if confirm(f"attach {path}?"):
                self.attach(path)
                attached += 1
            else:
                self.screen.note(f"{clean_name(path)} is an audio file; /audio attaches it")
        if attached and nothing_else:
            self.screen.note("ask about it, or press Enter where it asks by itself")
        else:
            self.ask(text)

    def warn_of_unheard(self, text: str) -> None:
        """Tell of audio files that a question names and nobody attached: the model would answer as if it had heard them."""
        there = {audio.source for audio in self.session.audios}
        for path in audio_paths(text)[0]:
            if path not in there:
                self.screen.warn(f"{path} is an audio file and is not heard; -a {path} attaches it")

    # Commands ---------------------------------------------------------------------------------------------------------

    def is_command(self, line: str) -> bool:
        """Tell a command from a message, which may begin with a path."""
        word = line.strip().partition(" ")[0]
        return word in COMMANDS or word in QUIT or (word.startswith("/") and not audio_paths(line)[0])

    def command(self, line: str) -> bool:
        """Do what a line that begins with a slash says.

        Returns:
            False where it ends the chat.
        Raises:
            QwenAudioError: it cannot be done; the message says why.
        """
        name, _, rest = line.strip().partition(" ")
        if name in QUIT:
            return False
        if name not in COMMANDS:
            raise PromptError(f"there is no command {name}; /help lists them")
        COMMANDS[name].do(self, rest.strip())
        return True

    def audio(self, rest: str) -> None:
        """Attach recordings; one that cannot be read does not stop the others."""
        paths = split_paths(rest)
        if not paths:
            raise PromptError("/audio: which file? Write /audio PATH; Tab completes it")
        errors = []
        for path in paths:
            try:
                self.attach(path)
            except USER_ERRORS as error:
                errors.append(error)
        for earlier in errors[:-1]:
            self.screen.fail(earlier)
        if errors:
            raise errors[-1]

    def audios(self, rest: str) -> None:
        """List the recordings of the conversation."""
        waiting = {audio.number for audio in self.waiting}
        for audio in self.session.audios:
            self.screen.tell(describe(audio) + ("  (for the next question)" if audio.number in waiting else ""))
        if not self.session.audios:
            self.screen.tell("no recordings yet; /audio PATH attaches one")

    def drop(self, rest: str) -> None:
        """Take a recording out."""
        audio = self.session.drop(_number(rest, "/drop", "the N of Audio N"))
        self.screen.tell(f"dropped Audio {audio.number}: {clean_name(audio.source)}")

    def clear(self, rest: str) -> None:
        """Begin anew."""
        self.session.clear()
        self.screen.tell("a new conversation; the system message and the settings stay")

    def again(self, rest: str) -> None:
        """Answer the last question anew."""
        self.retry()

    def undo(self, rest: str) -> None:
        """Take the last question and its answer back."""
        turn = self.session.undo()
        self.screen.tell(f"taken back: {clean_name(turn.text) or 'a question without text'}")

    def clip(self, rest: str) -> None:
        """Write the stretches that the last answer points at, all or the Nth."""
        spans = self.session.spans()
        if not spans:
            raise PromptError("/clip: the last answer points at no stretch <|start|>..<|end|> of a recording")
        if rest:
            number = _number(rest, "/clip", "which stretch")
            if not 1 <= number <= len(spans):
                raise PromptError(f"/clip: the last answer points at {len(spans)} stretches, found {number}")
            spans = [spans[number - 1]]
        write_clips(spans, self.manner.clips_dir or Path(), self.screen)

    def system(self, rest: str) -> None:
        """Show the system message, or change it."""
        if rest:
            self.session.system = rest
        self.screen.tell(f"system: {self.session.system}")

    def set(self, rest: str) -> None:
        """Show the settings of answers, or change one."""
        name, _, value = rest.partition(" ")
        name = name.lstrip("-").replace("-", "_")
        before = dataclasses.asdict(self.session.options)
        if name:
            self.session.options = changed(self.session.options, name, value.strip())
        for key, setting in dataclasses.asdict(self.session.options).items():
            if name in ("", key) or setting != before[key]:
                self.screen.tell(f"{key} {setting}")

    def status(self, rest: str) -> None:
        """Show the model and how full its window is."""
        session = self.session
        self.screen.tell(describe_engine(session.engine))
        left = f", {session.left} of them have left the window" if session.left else ""
        self.screen.tell(f"{len(session.turns)} turns{left}, {len(session.audios)} recordings")
        self.screen.tell(f"{session.positions} of {session.window} positions; long audio: {session.long_audio}")

    def save(self, rest: str) -> None:
        """Write the conversation to a file."""
        path = _path(rest, "/save")
        self.session.save(path)
        self.screen.tell(f"saved {len(self.session.turns)} turns to {clean_name(str(path))}")

    def load(self, rest: str) -> None:
        """Go on with a conversation that was saved."""
        self.session = resume(_path(rest, "/load"), self.session.engine, self.screen)

    def help(self, rest: str) -> None:
        """List the commands."""
        lines = [(f"{name} {command.takes}", command.help) for name, command in COMMANDS.items()]
        lines.append((" ".join(QUIT), "leave, as Ctrl-D does; Ctrl-C stops an answer"))
        lines.append((FENCE, "begins and ends a message of several lines"))
        width = max(len(usage) for usage, _ in lines) + 2
        for usage, text in lines:
            self.screen.tell(f"{usage:{width}}{text}")


@dataclass(frozen=True, slots=True)
class Command:
    """What can be typed behind a slash."""

    do: Callable[[Dialogue, str], None]
    takes: str
    help: str


QUIT = ("/quit", "/exit", "/bye")
PATH_COMMANDS = ("/audio", "/save", "/load")
COMMANDS: Mapping[str, Command] = {
    "/audio": Command(Dialogue.audio, "PATH [PATH ..]", "attach recordings to the next question; FILE#t=12.5,20 is a piece of one"),
    "/audios": Command(Dialogue.audios, "", "list the recordings"),
    "/drop": Command(Dialogue.drop, "N", "take Audio N out of the conversation"),
    "/clear": Command(Dialogue.clear, "", "begin a new conversation"),
    "/retry": Command(Dialogue.again, "", "answer the last question anew"),
    "/undo": Command(Dialogue.undo, "", "take the last question and its answer back"),
    "/clip": Command(Dialogue.clip, "[N]", "write the stretches <|s|>..<|e|> of the last answer, or the Nth, as WAV files"),
    "/system": Command(Dialogue.system, "[TEXT]", "show or change the system message"),
    "/set": Command(Dialogue.set, "[NAME VALUE]", "show or change how answers are sampled: /set temperature 0.2"),
    "/status": Command(Dialogue.status, "", "show the model and how full its window is"),
    "/save": Command(Dialogue.save, "FILE", "write the conversation to a file"),
    "/load": Command(Dialogue.load, "FILE", "go on with a conversation that was saved"),
    "/help": Command(Dialogue.help, "", "this list"),
}


# What is read and written ---------------------------------------------------------------------------------------------


def resume(path: Path, engine: Engine, screen: Screen) -> ChatSession:
    """Go on with a saved conversation and say how far it had come."""
    session = ChatSession.resume(path, engine)
    screen.note(f"resumed {len(session.turns)} turns from {clean_name(str(path))}")
    for audio in session.audios:
        screen.note(describe(audio))
    for notice in session.take_notices():
        screen.warn(notice)
    return session


def changed(options: GenerationOptions, name: str, text: str) -> GenerationOptions:
    """Change one setting of how answers are sampled; one that greedy answers would not heed makes them sampled.

    Raises:
        ConfigError: there is no such setting, or it cannot have that value.
    """
    values = dataclasses.asdict(options)
    if name not in values:
        raise ConfigError(f"/set: there is no setting {name!r}; there are {', '.join(values)}")
    if not text:
        raise ConfigError(f"/set: which value? {name} is {values[name]}; write /set {name} VALUE")
    words = {"on": True, "off": False, "none": None}
    try:
        value = words[text.lower()] if text.lower() in words else json.loads(text.lower())
    except ValueError:
        value = text
    return from_mapping(GenerationOptions, {**values, name: value}, "/set").heeding([name])


def _number(text: str, command: str, what: str) -> int:
    """Read the number behind a command."""
    try:
        return int(text)
    except ValueError:
        raise PromptError(f"{command}: found {text!r}, expected {what}") from None


def _path(text: str, command: str) -> Path:
    """Read the one path behind a command."""
    paths = split_paths(text)
    if len(paths) != 1:
        raise PromptError(f"{command}: found {len(paths)} names, expected one file (write spaces as '\\ ')")
    return Path(paths[0])
