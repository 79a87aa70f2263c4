"""Prepare records: `python -m data construct -o DIR`."""

from __future__ import annotations

import argparse
import sys

from qwen_audio.errors import USER_ERRORS, fail


def main(argv: list[str] | None = None) -> int:
    """Make sets of records that training and measuring read."""
    parser = argparse.ArgumentParser(prog="python -m data", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    construct = commands.add_parser("construct", help="synthesise a prepared set: digits, notes, ticks, rain, beeps")
    construct.add_argument("-o", "--output", required=True, help="data root to put the folder `constructed` in")
    construct.add_argument("--count", type=int, default=300, help="clips of each kind (default: 300)")
    construct.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: 0)")
    construct.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    try:
        from data.recipes.constructed import construct as make  # audio rooms load once the flags are known good

        print(f"{make(args.output, args.count, args.seed)} rows in {args.output}/constructed")
    except KeyboardInterrupt:
        return 130
    except USER_ERRORS as error:
        if args.debug:
            raise
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
