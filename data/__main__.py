"""Prepare records: `python -m data construct -o DIR`."""

from __future__ import annotations

import argparse
import sys

from qwen_audio.command import common_flags, run_command
from qwen_audio.config import CommandParser


def main(argv: list[str] | None = None) -> int:
    """Make sets of records that training and measuring read."""
    parser = CommandParser(prog="python -m data", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    construct = commands.add_parser("construct", help="synthesise a prepared set: digits, notes, ticks, rain, beeps")
    construct.add_argument("-o", "--output", required=True, help="data root to put the folder `constructed` in")
    construct.add_argument("--count", type=int, default=300, help="clips of each kind (default: 300)")
    construct.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: 0)")
    common_flags(construct)
    return run_command(parser.parse_args(argv), _construct)


def _construct(args: argparse.Namespace) -> str:
    from data.recipes.mini_extras import construct  # audio rooms load once the flags are known good

    return f"{construct(args.output, args.count, args.seed)} rows in {args.output}/constructed"


if __name__ == "__main__":
    sys.exit(main())
