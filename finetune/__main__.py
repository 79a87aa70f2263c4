"""Train: `python -m finetune train --config finetune/configs/mini_lora.yaml --train-file rows.jsonl`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from data.mixture.config import MixtureConfig
from finetune.config import MIXTURE_FLAGS, NOT_FLAGS, TrainConfig, resumed_config, train_config
from finetune.cost.plan_config import PlanOptions
from qwen_audio.command import Commands, long_flag, run_one_of
from qwen_audio.config import add_flags, from_flags

RANK_FLAG = "--local_rank"  # from deepspeed's launcher, which sets LOCAL_RANK too


def main(argv: list[str] | None = None) -> int:
    """Train a model on tagged and spoken data, and do what belongs to it."""
    given = sys.argv[1:] if argv is None else argv
    return run_one_of(COMMANDS, "python -m finetune", main.__doc__, [word for word in given if not word.startswith(RANK_FLAG)])


def _settings(parser: argparse.ArgumentParser, skip: tuple[str, ...] = ()) -> None:
    """Add a flag for every setting of a run that can be one."""
    add_flags(parser, MixtureConfig, skip=tuple(spec.name for spec in fields(MixtureConfig) if spec.name not in MIXTURE_FLAGS))
    add_flags(parser, TrainConfig, skip=(*NOT_FLAGS, *skip))


def _train_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="YAML file; flags lie over it")
    parser.add_argument("--fresh", action="store_true", help="begin anew although output_dir holds a checkpoint, which is set aside")
    _settings(parser)


def _train(args: argparse.Namespace) -> str:
    flags = vars(args) | ({"resume_from_checkpoint": "none"} if args.fresh else {})
    config = train_config(args.config, flags)
    from finetune.train import train  # torch loads once the settings are known good

    return train(config)


def _resume(args: argparse.Namespace) -> str:
    config = resumed_config(vars(args))
    from finetune.train import train

    return train(config)


def _merge_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("adapter", help="folder of the adapter: a checkpoint of a run with --lora-r, as RUN/best")
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    parser.add_argument("--base", default="", help="where the base is, if not where the adapter says")


def _merge(args: argparse.Namespace) -> str:
    from finetune.adapters import merge

    return merge(args.adapter, args.output, base=args.base)


def _export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="mini, a folder or a hub id")
    parser.add_argument("-o", "--output", required=True, help="folder to write")


def _export(args: argparse.Namespace) -> str:
    from finetune.adapters import export

    return export(args.model, args.output)


def _plan_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="YAML file; flags lie over it")
    add_flags(parser, PlanOptions)
    _settings(parser, skip=("ranks",))  # here --ranks are processes


def _plan(args: argparse.Namespace) -> str:
    config = train_config(args.config, {name: value for name, value in vars(args).items() if name != "ranks"})
    options = from_flags(PlanOptions, args)
    from finetune.cost.plan import plan

    return plan(config, options)


def _curves_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="+", help="folders of runs")
    parser.add_argument("-o", "--output", default="curves.png", help="picture to write: .png, .svg or .pdf (default: curves.png)")


def _curves(args: argparse.Namespace) -> str:
    from finetune.watch.curves import draw

    return draw(args.run, args.output)


def _speed_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="counted steps of each; the median is told (default: 7)")


def _speed(args: argparse.Namespace) -> str:
    from finetune.cost.speed import measure

    return measure(rounds=args.rounds)


def _release_flags(parser: argparse.ArgumentParser) -> None:
    long_flag(parser, "--output-dir", required=True, help="the run")
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    parser.add_argument("--best", action="store_true", help="its best measured weights instead")


def _release(args: argparse.Namespace) -> str:
    from finetune.release import release

    return release(args.output_dir, args.output, best=args.best)


def _vocabulary_flags(parser: argparse.ArgumentParser) -> None:
    long_flag(parser, "--data-root", required=True, help="folder of the prepared sets")
    parser.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv")
    long_flag(parser, "--n-ranks", type=int, default=2048, help="ranks to learn, 256 bytes included (default: 2048)")
    parser.add_argument("-o", "--output", required=True, help="file to write, in the tiktoken format")


def _vocabulary(args: argparse.Namespace) -> str:
    from finetune.vocabulary import learn_vocabulary

    return learn_vocabulary(args.data_root, args.splits, args.n_ranks, args.output)


COMMANDS: Commands = {
    "train": ("train, or go on where a run stopped", _train_flags, _train),
    "resume": ("go on where a run stopped, with the settings it has there; flags lie over them", _settings, _resume),
    "merge": ("write a whole model: an adapter laid into the model it stands beside", _merge_flags, _merge),
    "export": ("write a model, or an adapter with its base, for transformers (Qwen2Audio)", _export_flags, _export),
    "plan": ("predict memory, the time of a step and GPU-hours of a run before it is begun", _plan_flags, _plan),
    "curves": ("draw the curves of a run, or of several over each other", _curves_flags, _curves),
    "speed": ("time training steps on this CPU: packed, padded, and transformers' Qwen2-Audio", _speed_flags, _speed),
    "release": ("write a run's newest weights in bfloat16, as a checkpoint that can be shipped", _release_flags, _release),
    "vocabulary": ("learn the byte-pair ranks of a small model from its training texts", _vocabulary_flags, _vocabulary),
}

if __name__ == "__main__":
    sys.exit(main())
