"""What a terminal needs: lines that can be edited, paths that can be completed, and text that cannot harm it."""

from __future__ import annotations

import glob
import logging
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.output import create_output

FENCE = '"""'  # opens and closes a message of several lines
AUDIO_ENDINGS = r".*\.(wav|w64|flac|mp3|ogg|oga|opus|aiff?|au|caf|m4[ab]|mp4|mov|aac|3gp|webm|mk[av]|ac3|amr|wma)"
# C0 and C1 controls (line feed and tab are harmless in an answer), and halves of surrogate pairs, which no encoding can write.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# In a name also line feed, tab, and what turns the direction of writing: a name is one line and reads as it is.
NAME_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COLOURS = {"dim": "2", "warning": "33", "error": "31"}


def clean(text: str) -> str:
    """Show control characters as escapes, so that a model's answer cannot steer the terminal; lines stay lines."""
    return CONTROLS.sub(_escape, text)


def clean_name(text: str) -> str:
    """Show a file's name or a message on one line, with nothing in it that steers the terminal or misleads the eye."""
    return NAME_CONTROLS.sub(_escape, text)


def clean_json(text: str) -> str:
    r"""Escape what json.dumps(ensure_ascii=False) leaves: controls and lone surrogates as \uHHHH, which JSON reads back."""
    return NAME_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class Screen:
    """Results go to stdout, everything else to stderr; nothing reaches either that could steer a terminal."""

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        """Write to sys.stdout and sys.stderr unless told otherwise; quiet leaves only warnings and errors on stderr."""
        self._out, self._err = out or sys.stdout, err or sys.stderr
        self.quiet = quiet
        self._colour = self._err.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        for stream, errors in ((self._out, "backslashreplace"), (self._err, "backslashreplace"), (sys.stdin, "replace")):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors=errors)  # a letter that cannot be written or read is no reason to stop

    def say(self, text: str, end: str = "\n") -> None:
        """Write a result, at once."""
        self._out.write(clean(text) + end)
        self._out.flush()

    def say_json(self, text: str) -> None:
        """Write one JSON object on its line."""
        self._out.write(clean_json(text) + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        """Tell the person something that is no result, unless quiet."""
        if not self.quiet:
            self.tell(text)

    def tell(self, text: str) -> None:
        """Tell the person something that was asked for and is no result."""
        self._tell(clean(text), "dim")

    def warn(self, text: str) -> None:
        """Tell of something that is likely not what was meant."""
        self._tell(f"warning: {clean_name(text)}", "warning")

    def fail(self, error: BaseException) -> None:
        """Tell in one line why something did not work."""
        self._tell(f"error: {clean_name(' '.join(str(error).split()) or type(error).__name__)}", "error")

    def _tell(self, text: str, kind: str) -> None:
        self._err.write(f"\x1b[{COLOURS[kind]}m{text}\x1b[0m\n" if self._colour else text + "\n")
        self._err.flush()


class ScreenLog(logging.Handler):
    """Bring the library's warnings to the screen, and more of its log where asked."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._screen.warn(text)
        else:
            self._screen.note(clean_name(f"{record.name}: {text}"))


class Interrupt:
    """Turn Ctrl-C into a question that is asked before every token; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        self.pressed = False
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def __call__(self) -> bool:
        """Tell whether Ctrl-C was pressed since this was entered."""
        return self.pressed

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


class Lines:
    """Messages as a person writes them: edited and completed on a terminal, line by line from a pipe."""

    def __init__(self, commands: Iterable[str], path_commands: Iterable[str], editor: PromptSession[str] | None = None) -> None:
        """Read from sys.stdin.

        Args:
            commands: what Tab completes at the beginning of a line, as "/audio".
            path_commands: those behind which Tab completes paths.
            editor: a line editor; one is made where stdin is a terminal.
        """
        if editor is None and sys.stdin.isatty():
            # Where stdout is a file, the line being edited still belongs on the terminal.
            output = create_output(stdout=sys.stdout if sys.stdout.isatty() else sys.stderr)
            editor = PromptSession(completer=ChatCompleter(commands, path_commands), complete_while_typing=False, output=output)
        self._editor = editor

    @property
    def interactive(self) -> bool:
        """Whether a person sits at the other end."""
        return self._editor is not None

    def read(self, prompt: str = "> ") -> str:
        """Read one line.

        Raises:
            EOFError: there is no more (Ctrl-D); KeyboardInterrupt: Ctrl-C.
        """
        return input().rstrip("\r") if self._editor is None else self._editor.prompt(prompt)

    def read_message(self) -> str:
        """Read a message: one line, or all between two lines that open and close with three quotes."""
        line = self.read()
        if not line.lstrip().startswith(FENCE):
            return line
        pieces = [line.lstrip()[len(FENCE) :]]
        while not pieces[-1].rstrip().endswith(FENCE):
            try:
                pieces.append(self.read("... "))
            except EOFError:
                return "\n".join(pieces).strip("\n")
        pieces[-1] = pieces[-1].rstrip()[: -len(FENCE)]
        return "\n".join(pieces).strip("\n")

    def confirm(self, question: str) -> bool:
        """Ask a person yes or no; yes where only Enter is pressed, no where nobody can be asked."""
        if self._editor is None:
            return False
        try:
            return self._editor.prompt(f"{clean_name(question)} [Y/n] ").strip().lower() in ("", "y", "yes")
        except (EOFError, KeyboardInterrupt):
            return False


class ChatCompleter(Completer):
    """Complete commands at the beginning of a line and paths behind those that take some."""

    def __init__(self, commands: Iterable[str], path_commands: Iterable[str]) -> None:
        self._commands, self._path_commands = sorted(commands), frozenset(path_commands)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield what the word before the cursor may become."""
        text = document.text_before_cursor
        command, space, rest = text.partition(" ")
        if not space and command.startswith("/"):
            yield from (Completion(name, -len(command)) for name in self._commands if name.startswith(command))
        elif command in self._path_commands:
            word = re.split(r"(?<!\\) ", rest)[-1]
            yield from (Completion(path, -len(word), display=os.path.basename(path.rstrip("/"))) for path in matching_paths(word))


def matching_paths(word: str) -> list[str]:
    """List the files and folders whose path begins with a word, as they are typed: spaces escaped, folders with a slash."""
    typed = word.replace("\\ ", " ")
    found = sorted(glob.glob(glob.escape(os.path.expanduser(typed)) + "*"))
    home = os.path.expanduser("~")
    paths = [path + "/" if os.path.isdir(path) else path for path in found]
    if typed.startswith("~"):
        paths = [path.replace(home, "~", 1) for path in paths]
    return [path.replace(" ", "\\ ") for path in paths if not CONTROLS.search(path)]


def split_paths(text: str) -> list[str]:
    """Split what stands behind /audio into paths: quoted, with escaped spaces, or one name with bare spaces that exists."""
    whole = os.path.expanduser(text.strip())
    if os.path.exists(whole):
        return [whole]
    return [os.path.expanduser(word) for word in _words(text)]


def audio_paths(text: str) -> tuple[list[str], bool]:
    """Find the audio files that a message names, and whether it says nothing else.

    Only names that end as audio files do, and that exist, count.
    """
    whole = os.path.expanduser(text.strip().strip("'\""))
    if _is_audio(whole):
        return [whole], True
    words = [os.path.expanduser(word.rstrip("?!.,;:)").lstrip("(")) for word in _words(text)]
    found = [word for word in dict.fromkeys(words) if _is_audio(word)]
    return found, len(found) == len(words) > 0


def _is_audio(path: str) -> bool:
    name = path if os.path.lexists(path) else re.sub(r"#t=[npt\d:.,]*$", "", path)
    return re.fullmatch(AUDIO_ENDINGS, name, re.IGNORECASE | re.DOTALL) is not None and os.path.isfile(name)


def _words(text: str) -> Sequence[str]:
    """Split as a shell does; where quotes do not match (it's raining), at white space."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def watch(log_level: int, screen: Screen) -> Callable[[], None]:
    """Send the log of this package and Python's own warnings to the screen; call what is returned to end that."""
    handler = ScreenLog(screen)
    loggers = [logging.getLogger(name) for name in ("qwen_audio", "py.warnings")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger, level in zip(loggers, (log_level, logging.ERROR if log_level > logging.DEBUG else logging.WARNING), strict=True):
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    logging.captureWarnings(True)

    def end() -> None:
        logging.captureWarnings(False)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    return end
