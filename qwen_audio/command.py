"""What the commands share: flags in both spellings, how loud to be, one line for a user's mistake."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable

from qwen_audio.errors import USER_ERRORS, fail

STOPPED = 130  # exit code after Ctrl-C


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


def run_command(args: argparse.Namespace, work: Callable[[argparse.Namespace], object]) -> int:
    """Do a command's work, print what it returns, and return the exit code: 0 done, 1 the input's fault, 130 Ctrl-C."""
    level = logging.DEBUG if args.debug or args.verbose else logging.WARNING if args.quiet else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        print(work(args), flush=True)
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
