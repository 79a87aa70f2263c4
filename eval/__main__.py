"""Measure: `python -m eval bundled --data-root DIR`."""

from __future__ import annotations

import argparse
import sys

from qwen_audio.errors import USER_ERRORS, fail


def main(argv: list[str] | None = None) -> int:
    """Measure a model on recordings with known answers."""
    parser = argparse.ArgumentParser(prog="python -m eval", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bundled = commands.add_parser("bundled", help="the prepared sets: dev rows, and speakers and folds left out in turn")
    bundled.add_argument("-m", "--model", default="mini", help="NAME or DIR (default: mini)")
    bundled.add_argument("--data-root", "--data_root", required=True, help="folder of the prepared sets")
    bundled.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv (default: data/splits)")
    bundled.add_argument("--fold", action="append", default=[], help="folder of a run with hold-outs, its weights in release/ (repeat)")
    bundled.add_argument("-o", "--output", help="write scores, table and every answer there, as JSON")
    bundled.add_argument("--debug", action="store_true", help="show the traceback of an error")
    speed = commands.add_parser("speed", help="a dialogue here and in transformers, the same random weights, turn by turn")
    speed.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    speed.add_argument("--new-tokens", "--new_tokens", type=int, default=32, help="tokens of an answer (default: 32)")
    speed.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up (default: 7)")
    speed.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    try:
        if args.command == "speed":
            from eval import speed as timing  # torch loads once the flags are known good

            print(timing.run(args.seconds, args.new_tokens, args.rounds))
        else:
            from eval import bundled as measuring

            print(measuring.run(args.model, args.data_root, args.splits, args.fold, args.output))
    except KeyboardInterrupt:
        return 130
    except USER_ERRORS as error:
        if args.debug:
            raise
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
