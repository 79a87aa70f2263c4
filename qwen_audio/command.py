"""What the commands share: flags in both spellings, how loud to be, one line for a user's mistake."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait

from qwen_audio.config import CommandParser
from qwen_audio.errors import USER_ERRORS, fail

STOPPED = 130  # exit code after Ctrl-C
AddFlags = Callable[[argparse.ArgumentParser], None]
Work = Callable[[argparse.Namespace], object]
Commands = Mapping[str, tuple[str, AddFlags, Work]]  # name -> (help, its flags, what it does and returns to be printed)


def version() -> str:
    """Return the version of the package that is installed."""
    try:
        return importlib.metadata.version("qwen-audio")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def long_flag(parser: argparse._ActionsContainer, name: str, **options: object) -> None:
    """Add a long option with its underscore spelling, which people type too."""
    parser.add_argument(*dict.fromkeys((name, f"--{name[2:].replace('-', '_')}")), **options)  # type: ignore[arg-type]


def common_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser the flags that every command has."""
    parser.add_argument("-q", "--quiet", action="store_true", help="results, warnings and errors alone")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more of what is done")
    parser.add_argument("--debug", action="store_true", help="the whole log, and tracebacks")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")


def live_with_starter() -> None:
    """Leave Ctrl-C and SIGTERM to the process that started this one, and end at once when it is gone, however it went."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_starter, daemon=True).start()


def _die_with_starter() -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        wait([starter.sentinel])
        os._exit(1)


def run_command(args: argparse.Namespace, work: Work) -> int:
    """Do a command's work, print what it returns, and return the exit code: 0 done, 1 the input's fault, 130 Ctrl-C."""
    level = logging.DEBUG if args.debug or args.verbose else logging.WARNING if args.quiet else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        if (result := work(args)) != "":  # as of a further rank, whose first one speaks for all
            print(result, flush=True)
    except BrokenPipeError:  # the reader has seen enough, as `| head` has; Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except USER_ERRORS as error:
        if args.debug:
            raise
        return fail(error)
    return 0


def run_one_of(commands: Commands, prog: str, description: str | None, argv: list[str] | None = None) -> int:
    """Parse a program's arguments, do the one of its commands that they name, and return the exit code."""
    parser = CommandParser(prog=prog, description=description)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, (text, add_flags, _) in commands.items():
        command = parsers.add_parser(name, help=text, description=text)
        add_flags(command)
        common_flags(command)
    args = parser.parse_args(argv)
    return run_command(args, commands[args.command][2])
