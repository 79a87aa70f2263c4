"""Chat about audio in a terminal, ask one question, or run a tagged task: python chat_cli.py --help."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_audio.command import STOPPED, common_flags, long_flag
from qwen_audio.config import CommandParser, GenerationOptions, LoadOptions, LongAudio, add_flags, from_flags, sampling_from_flags
from qwen_audio.errors import USER_ERRORS, ConfigError
from tag_schema.prefix import TagPrefix
from tag_schema.tasks import TASKS, is_sentence, prefix_for, read_task
from tag_schema.vocabulary import TagError

if TYPE_CHECKING:
    from qwen_audio.audio import AudioClip
    from qwen_audio.engine import Engine
    from qwen_audio.terminal.dialogue import Dialogue
    from qwen_audio.terminal.display import Manner
    from qwen_audio.terminal.screen import Lines, Screen

EXAMPLES = """examples:
  python chat_cli.py                                           chat with the bundled model
  python chat_cli.py -a rain.wav -p "What is this?"            one question; the answer goes to stdout
  python chat_cli.py -a q.webm                                 a spoken question, no text
  python chat_cli.py -a long.wav#t=12.5,20 --task asr          a tagged task about a piece of a file
  cat x.m4a | python chat_cli.py -a - -p "Transcribe" --json
exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C"""
PAIR_TASK = "speaker_verification"  # the one task that hears two recordings at once


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's flags."""
    parser = CommandParser(
        prog="chat_cli.py",
        description=main.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-a", "--audio", action="append", default=[], metavar="FILE", help="recording to ask about; - is stdin; repeat for more"
    )
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="the question; - reads it from stdin")
    parser.add_argument("-s", "--system", metavar="TEXT", help="system message")
    parser.add_argument("-m", "--model", default="mini", metavar="NAME|DIR|HUB_ID", help="the model (default: mini, the bundled one)")
    add_flags(parser, LoadOptions)
    long_flag(
        parser,
        "--long-audio",
        choices=("error", "first", "split"),
        help="recordings over 30 s: refuse them (default), hear the first 30 s, or hear all in windows",
    )
    tasks = parser.add_argument_group(
        "tagged tasks, answered greedily",
        f"NAME is one of {', '.join(TASKS)}; or a whole tag sentence, as <|startofanalysis|>.., in which tags of the model's own may stand",
    )
    tasks.add_argument("--task", metavar="NAME", help="a tagged task instead of a chat turn; -p is the question of audio_qa and music_qa")
    tasks.add_argument("--language", metavar="L", help="language that is spoken: en zh de es ko fr ja it, or one of the model's own")
    long_flag(tasks, "--text-language", metavar="L", help="language of the answer")
    tasks.add_argument("--timestamps", action=argparse.BooleanOptionalAction, help="ask for word times (default: as the task says)")
    sampling = parser.add_argument_group("how answers are sampled; a checkpoint may have defaults of its own")
    add_flags(sampling, GenerationOptions)  # type: ignore[arg-type]  # a group takes flags as a parser does
    add_output_flags(parser)
    return parser


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser the flags that say what is shown and kept."""
    shown = parser.add_argument_group("what is shown and kept")
    shown.add_argument("--stream", action=argparse.BooleanOptionalAction, default=True, help="show answers as they come (default: yes)")
    shown.add_argument("--raw", action="store_true", help="show every token of the answer, one a line")
    shown.add_argument("--json", action="store_true", help="one JSON object an answer")
    long_flag(shown, "--extract-clips", type=Path, metavar="DIR", help="write every <|s|>..<|e|> stretch of an answer as a WAV file")
    shown.add_argument("--save", type=Path, metavar="F.jsonl", help="keep the conversation in this file, after every answer")
    shown.add_argument("--resume", type=Path, metavar="F.jsonl", help="go on with a conversation that was kept")
    common_flags(parser)


@dataclass(frozen=True, slots=True)
class Request:
    """What the flags ask for, checked: what is still wrong from here on is a matter of files and models."""

    args: argparse.Namespace
    load: LoadOptions
    task: TagPrefix | str | None  # a sentence is read once the model's own tags are known

    @property
    def one_shot(self) -> bool:
        """Whether one question is asked instead of a chat."""
        return bool(self.args.audio) or self.args.prompt is not None

    @property
    def long_audio(self) -> LongAudio:
        """What to do with recordings over 30 s."""
        return self.args.long_audio or "error"

    def manner(self) -> Manner:
        """Say how answers are shown and kept."""
        from qwen_audio.terminal.display import Manner

        args = self.args
        return Manner(
            stream=args.stream, raw=args.raw, as_json=args.json, verbose=args.verbose, clips_dir=args.extract_clips, save=args.save
        )


def read_flags(argv: Sequence[str] | None) -> Request:
    """Parse and check the flags; leaves with exit code 2 where they are at fault."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.audio.count("-") + (args.prompt == "-") > 1:
        parser.error("stdin can be read once: give one - for -a or -p")
    detailed = args.language or args.text_language or args.timestamps is not None
    if args.task is None and detailed:
        parser.error("--language, --text-language and --timestamps belong to --task NAME")
    if args.task is not None and is_sentence(args.task) and (detailed or args.prompt is not None):
        parser.error("a tag sentence says languages, times and question itself: leave --language, --text-language, --timestamps and -p out")
    if args.task is not None and not args.audio:
        parser.error(f"--task {args.task} needs a recording: add -a FILE")
    if args.task is not None and (args.save or args.resume or args.system is not None):
        parser.error("--save, --resume and --system belong to a chat, not to --task")
    if args.task == PAIR_TASK and len(args.audio) != 2:
        parser.error(f"--task {PAIR_TASK} compares two recordings, found {len(args.audio)}: give -a twice")
    try:
        from_flags(GenerationOptions, args)
        load = from_flags(LoadOptions, args)
        args.prompt = read_question() if args.prompt == "-" else args.prompt
        return Request(args, load, None if args.task is None else task_prefix(args))
    except (ConfigError, TagError) as error:
        parser.error(str(error))


def read_question() -> str:
    """Read a question from stdin; bytes that are no text are no reason to stop."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return sys.stdin.read().strip("\r\n")


def task_prefix(args: argparse.Namespace) -> TagPrefix | str:
    """Build the tag sentence that the flags ask for, or leave the one that they spell out to the model's own tags.

    Typed text that is no tag is only ever the question in it.
    """
    if is_sentence(args.task):
        return str(args.task)
    spoken, written = args.language, args.text_language
    prefix = prefix_for(args.task, language=spoken, text_language=written, timestamps=bool(args.timestamps), question=args.prompt)
    if prefix.timestamps and args.timestamps is False:
        raise TagError(f"{args.task}: word times are what it is about, found --no-timestamps; leave it out, or take --task asr")
    return prefix


def main(argv: Sequence[str] | None = None) -> int:
    """Chat about audio in a terminal, ask one question, or run a tagged task."""
    try:
        request = read_flags(argv)
        from qwen_audio.terminal.screen import Screen, watch  # line editing loads once the flags are known good
    except KeyboardInterrupt:  # while a question is typed on stdin, or while modules load
        print("stopped", file=sys.stderr)
        return STOPPED
    args = request.args
    screen = Screen(quiet=args.quiet)
    end_watch = watch(logging.DEBUG if args.debug else logging.WARNING, screen)
    try:
        return run(request, screen)
    except USER_ERRORS as error:
        if args.debug:
            raise
        screen.fail(error)
        return 1
    except KeyboardInterrupt:
        if args.debug:
            raise
        screen.note("stopped")
        return STOPPED
    except BrokenPipeError:  # as in `| head -1`: nobody reads on, and nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.debug:
            raise
        screen.fail(RuntimeError(f"{type(error).__name__}: {error}; --debug shows where"))
        return 1
    finally:
        end_watch()


def run(request: Request, screen: Screen) -> int:
    """Read what is to be heard, load the model, and do what was asked."""
    from qwen_audio.audio import fit_window

    clips = [read_source(source) for source in request.args.audio]
    for clip in clips:
        if request.long_audio == "error":
            fit_window(clip)  # a clip that is too long is refused before a model is loaded for it
    engine = load_model(request, screen)
    if request.task is not None:
        from qwen_audio.terminal.tagged import TaskRun

        options = sampling_from_flags(request.args, engine.task_options)
        groups = [clips] if request.args.task == PAIR_TASK else [[clip] for clip in clips]
        task = read_task(request.task, engine.tokenizer.custom) if isinstance(request.task, str) else request.task
        task_run = TaskRun(engine, task, options, request.long_audio, screen, request.manner())
        return STOPPED if any(task_run.answer(group).stop == "cancelled" for group in groups) else 0
    dialogue = begin(request, engine, screen)
    if request.one_shot:
        for clip in clips:
            dialogue.attach(clip)
        dialogue.warn_of_unheard(request.args.prompt or "")
        return STOPPED if dialogue.ask(request.args.prompt or "").stop == "cancelled" else 0
    return chat(dialogue, screen)


def read_source(source: str) -> AudioClip:
    """Read a recording named on the command line; - is stdin."""
    from qwen_audio.audio import read_audio

    if source == "-":
        return read_audio(sys.stdin.buffer, name="<stdin>")
    return read_audio(os.path.expanduser(source))


def load_model(request: Request, screen: Screen) -> Engine:
    """Load the model and say which and where."""
    from qwen_audio.engine import load
    from qwen_audio.terminal.display import describe_engine

    started = time.perf_counter()
    place = request.load
    engine = load(request.args.model, device=place.device, dtype=place.dtype, allow_download=place.allow_download)
    seconds = time.perf_counter() - started
    if request.args.verbose or not request.one_shot:
        screen.note(f"{describe_engine(engine)}  loaded in {seconds:.1f} s  hears 30 s per clip" + ("" if request.one_shot else "  /help"))
    return engine


def begin(request: Request, engine: Engine, screen: Screen) -> Dialogue:
    """Begin a conversation, or go on with one; what the flags say wins over what was kept."""
    from qwen_audio.chat import ChatSession
    from qwen_audio.terminal.dialogue import Dialogue, resume

    args = request.args
    session = ChatSession(engine, long_audio=request.long_audio) if args.resume is None else resume(args.resume, engine, screen)
    session.options = sampling_from_flags(args, session.options)
    session.long_audio = args.long_audio or session.long_audio
    session.system = session.system if args.system is None else args.system
    return Dialogue(session, screen, request.manner())


def chat(dialogue: Dialogue, screen: Screen) -> int:
    """Read messages and commands until they end; mistakes are told and the chat goes on.

    Returns:
        0; where nobody sits at the other end, 1 if anything failed and 130 after Ctrl-C.
    """
    from qwen_audio.terminal.dialogue import COMMANDS, PATH_COMMANDS, QUIT
    from qwen_audio.terminal.screen import Lines

    lines = Lines((*COMMANDS, *QUIT), PATH_COMMANDS)
    failed = False
    while True:
        try:
            if not answer_line(dialogue, lines):
                break
        except EOFError:
            break
        except KeyboardInterrupt:
            if not lines.interactive:
                raise
            screen.note("Ctrl-D or /quit leaves the chat")
        except BrokenPipeError:
            raise
        except (*USER_ERRORS, OSError, MemoryError, RuntimeError) as error:  # out of memory, for one: the next clip may be shorter
            screen.fail(error)
            failed = True
    return 1 if failed and not lines.interactive else 0


def answer_line(dialogue: Dialogue, lines: Lines) -> bool:
    """Read one message and answer it, or do what a command says; False where the chat ends."""
    text = lines.read_message()
    if dialogue.is_command(text):
        return dialogue.command(text)
    if text.strip():
        dialogue.message(text, lines.confirm)
    elif dialogue.waiting:
        dialogue.ask("")
    return True


if __name__ == "__main__":
    sys.exit(main())
