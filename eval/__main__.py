"""Measure: `python -m eval bundled --data-root DIR`, `python -m eval speed`."""

from __future__ import annotations

import argparse
import sys

from qwen_audio.command import common_flags, long_flag, run_command
from qwen_audio.config import CommandParser


def main(argv: list[str] | None = None) -> int:
    """Measure a model on recordings with known answers, or its speed against a peer's."""
    parser = CommandParser(prog="python -m eval", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bundled = commands.add_parser("bundled", help="the prepared sets: dev rows, and speakers and folds left out in turn")
    bundled.add_argument("-m", "--model", default="mini", help="NAME or DIR (default: mini)")
    long_flag(bundled, "--data-root", required=True, help="folder of the prepared sets")
    bundled.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv (default: data/splits)")
    bundled.add_argument("--fold", action="append", default=[], help="folder of a run with hold-outs, its weights in release/ (repeat)")
    bundled.add_argument("-o", "--output", help="write scores, table and every answer there, as JSON")
    speed = commands.add_parser("speed", help="a dialogue here and in transformers, the same random weights, turn by turn")
    speed.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    long_flag(speed, "--new-tokens", type=int, default=32, help="tokens of an answer (default: 32)")
    speed.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up (default: 7)")
    for command in (bundled, speed):
        common_flags(command)
    args = parser.parse_args(argv)
    return run_command(args, _bundled if args.command == "bundled" else _speed)


def _bundled(args: argparse.Namespace) -> str:
    from eval.bundled import run  # torch loads once the flags are known good

    return run(args.model, args.data_root, args.splits, args.fold, args.output)


def _speed(args: argparse.Namespace) -> str:
    from eval.speed import run

    return run(args.seconds, args.new_tokens, args.rounds)


if __name__ == "__main__":
    sys.exit(main())
