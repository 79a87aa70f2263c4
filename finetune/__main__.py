"""Train: `python -m finetune train --config finetune/configs/mini_cpu_1_encoder.yaml --data-root DIR`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from data.mixture_config import MixtureConfig
from finetune.config import MIXTURE_FLAGS, NOT_FLAGS, TrainConfig, resumed_config, train_config
from finetune.cost.plan_config import PlanOptions
from qwen_audio.command import common_flags, long_flag, run_command
from qwen_audio.config import CommandParser, add_flags, from_flags


def main(argv: list[str] | None = None) -> int:
    """Train a model on tagged and spoken data, or prepare what training needs."""
    parser = CommandParser(prog="python -m finetune", description=main.__doc__)
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # from deepspeed's launcher, which sets LOCAL_RANK too
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, or go on where a run stopped")
    train.add_argument("--config", help="YAML file; flags lie over it")
    train.add_argument("--fresh", action="store_true", help="begin anew although output_dir holds a checkpoint")
    resume = commands.add_parser("resume", help="go on where a run stopped, with the settings it has there; flags lie over them")
    vocabulary = commands.add_parser("vocabulary", help="learn the byte-pair ranks of a small model from its training texts")
    long_flag(vocabulary, "--data-root", required=True, help="folder of the prepared sets")
    vocabulary.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv")
    long_flag(vocabulary, "--n-ranks", type=int, default=2048, help="ranks to learn, 256 bytes included (default: 2048)")
    vocabulary.add_argument("-o", "--output", required=True, help="file to write, in the tiktoken format")
    release = commands.add_parser("release", help="write a run's newest weights in bfloat16, as a checkpoint that can be shipped")
    long_flag(release, "--output-dir", required=True, help="the run")
    release.add_argument("--best", action="store_true", help="its best measured weights instead")
    release.add_argument("-o", "--output", required=True, help="folder to write")
    plan = commands.add_parser("plan", help="predict memory, the time of a step and GPU-hours of a run before it is begun")
    plan.add_argument("--config", help="YAML file; flags lie over it")
    add_flags(plan, PlanOptions)
    merge = commands.add_parser("merge", help="write a whole model: an adapter laid into the model it stands beside")
    merge.add_argument("adapter", help="folder of the adapter: a step's, of a run with --lora-r")
    merge.add_argument("-o", "--output", required=True, help="folder to write")
    merge.add_argument("--base", default="", help="where the base is, if not where the adapter says")
    export = commands.add_parser("export", help="write a model, or an adapter with its base, for transformers (Qwen2Audio)")
    export.add_argument("model", help="mini, a folder or a hub id")
    export.add_argument("-o", "--output", required=True, help="folder to write")
    curves = commands.add_parser("curves", help="draw the curves of a run, or of several over each other")
    curves.add_argument("run", nargs="+", help="folders of runs")
    curves.add_argument("-o", "--output", default="curves.png", help="picture to write: .png, .svg or .pdf (default: curves.png)")
    speed = commands.add_parser("speed", help="time training steps on this CPU: packed, padded, and transformers' Qwen2-Audio")
    speed.add_argument("--rounds", type=int, default=7, help="counted steps of each; the median is told (default: 7)")
    for command in (train, resume, plan, vocabulary, release, merge, export, curves, speed):
        common_flags(command)
    for command in (train, resume, plan):
        add_flags(command, MixtureConfig, skip=tuple(spec.name for spec in fields(MixtureConfig) if spec.name not in MIXTURE_FLAGS))
        add_flags(command, TrainConfig, skip=NOT_FLAGS if command is not plan else (*NOT_FLAGS, "ranks"))  # its --ranks are processes
    args = parser.parse_args(argv)
    work = {
        "train": _train,
        "resume": _resume,
        "plan": _plan,
        "vocabulary": _vocabulary,
        "release": _release,
        "merge": _merge,
        "export": _export,
        "curves": _curves,
        "speed": _speed,
    }
    return run_command(args, work[args.command])


def _train(args: argparse.Namespace) -> str:
    flags = vars(args) | ({"resume_from_checkpoint": "none"} if args.fresh else {})
    config = train_config(args.config, flags)
    from finetune.train import train  # torch loads once the settings are known good

    return train(config)


def _resume(args: argparse.Namespace) -> str:
    config = resumed_config(vars(args))
    from finetune.train import train

    return train(config)


def _vocabulary(args: argparse.Namespace) -> str:
    from finetune.vocabulary import learn_vocabulary

    return learn_vocabulary(args.data_root, args.splits, args.n_ranks, args.output)


def _release(args: argparse.Namespace) -> str:
    from finetune.train import release

    return release(args.output_dir, args.output, best=args.best)


def _plan(args: argparse.Namespace) -> str:
    config = train_config(args.config, {name: value for name, value in vars(args).items() if name != "ranks"})
    options = from_flags(PlanOptions, args)
    from finetune.cost.plan import plan

    return plan(config, options)


def _merge(args: argparse.Namespace) -> str:
    from finetune.adapters import merge

    return merge(args.adapter, args.output, base=args.base)


def _export(args: argparse.Namespace) -> str:
    from finetune.adapters import export

    return export(args.model, args.output)


def _curves(args: argparse.Namespace) -> str:
    from finetune.watch.curves import draw

    return draw(args.run, args.output)


def _speed(args: argparse.Namespace) -> str:
    from finetune.cost.speed import measure

    return measure(rounds=args.rounds)


if __name__ == "__main__":
    sys.exit(main())
