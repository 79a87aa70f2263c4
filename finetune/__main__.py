"""Train: `python -m finetune train --config finetune/configs/mini_cpu_1_encoder.yaml --data-root DIR`."""

from __future__ import annotations

import argparse
import logging
import sys

from finetune.config import TrainConfig, train_config
from qwen_audio.config import add_flags
from qwen_audio.errors import USER_ERRORS, fail


def main(argv: list[str] | None = None) -> int:
    """Train a model on tagged and spoken data, or prepare what training needs."""
    parser = argparse.ArgumentParser(prog="python -m finetune", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, or go on where a run stopped")
    train.add_argument("--config", help="YAML file; flags lie over it")
    train.add_argument("--fresh", action="store_true", help="begin anew although output_dir holds a checkpoint")
    vocabulary = commands.add_parser("vocabulary", help="learn the byte-pair ranks of a small model from its training texts")
    vocabulary.add_argument("--data-root", required=True, help="folder of the prepared sets")
    vocabulary.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv")
    vocabulary.add_argument("--n-ranks", type=int, default=2048, help="ranks to learn, 256 bytes included (default: 2048)")
    vocabulary.add_argument("-o", "--output", required=True, help="file to write, in the tiktoken format")
    release = commands.add_parser("release", help="write a run's newest weights in bfloat16, as a checkpoint that can be shipped")
    release.add_argument("--output-dir", required=True, help="the run")
    release.add_argument("-o", "--output", required=True, help="folder to write")
    for command in (train, vocabulary, release):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_flags(train, TrainConfig, skip=("weights", "custom_tags"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except USER_ERRORS as error:
        if args.debug:
            raise
        return fail(error)


def _run(args: argparse.Namespace) -> int:
    """Load what a command needs, once its flags are known to be good, and run it."""
    if args.command == "vocabulary":
        from finetune.vocabulary import learn_vocabulary

        print(learn_vocabulary(args.data_root, args.splits, args.n_ranks, args.output))
        return 0
    from finetune.train import release, train

    if args.command == "release":
        print(release(args.output_dir, args.output))
        return 0
    print(train(train_config(args.config, vars(args)), fresh=args.fresh))
    return 0


if __name__ == "__main__":
    sys.exit(main())
