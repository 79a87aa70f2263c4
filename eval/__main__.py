"""The benchmarks: `python -m eval ls | validate | run | score | compare | report | parity | speed | bundled`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from eval.options import KINDS, ModelOptions, ParityOptions, RunOptions
from qwen_audio.command import Commands, long_flag, run_one_of
from qwen_audio.config import add_flags, from_flags
from qwen_audio.errors import DataError

if TYPE_CHECKING:
    from eval.commands import Asked

FORMS = ("text", "md", "json")


def main(argv: list[str] | None = None) -> int:
    """Answer benchmarks with a model, score the answers with intervals, compare runs and write reports."""
    return run_one_of(COMMANDS, "python -m eval", main.__doc__, argv)


def _data_flags(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "-t", "--tasks", required=required, default="", help="benchmarks, groups (paper, modern, openasr) and files of rows"
    )
    long_flag(parser, "--data-root", help="folder that holds a folder for each corpus; for a file, where its relative paths begin")


def _tasks(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name.strip() for name in args.tasks.split(",") if name.strip())


def _model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", default="mini", help=f"{KINDS} (default: mini)")
    add_flags(parser, ModelOptions)


def _ls_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="everything about one benchmark, or the list of a group")
    long_flag(parser, "--data-root", help="say which of them are there")


def _ls(args: argparse.Namespace) -> str:
    from eval.benchmarks.listing import ls

    return ls(args.name, args.data_root)


def _validate_flags(parser: argparse.ArgumentParser) -> None:
    _data_flags(parser)
    parser.add_argument("-L", "--limit", type=int, help="look at so many rows of each")
    parser.add_argument("--decode", action=argparse.BooleanOptionalAction, default=True, help="decode every clip (default: yes)")


def _validate(args: argparse.Namespace) -> str:
    from eval.benchmarks.validate import validate

    text, sound = validate(_tasks(args), args.data_root, decode=args.decode, limit=args.limit)
    if not sound:
        print(text)
        raise DataError("there is something to mend; the lines above say what")
    return text


def _run_flags(parser: argparse.ArgumentParser) -> None:
    _data_flags(parser)
    _model_flags(parser)
    parser.add_argument(
        "-o", "--output", "--output-path", "--output_path", required=True, help="folder; each set gets one of its own in it"
    )
    parser.add_argument("-b", dest="batch_size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-L", dest="limit", type=int, help=argparse.SUPPRESS)
    add_flags(parser, RunOptions, skip=("recipe", "quiet"))
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def _asked(args: argparse.Namespace) -> Asked:
    from eval.commands import Asked

    return Asked(model=args.model, tasks=_tasks(args), output=getattr(args, "output", "") or "", data_root=args.data_root)


def _model_options(args: argparse.Namespace) -> ModelOptions:
    return from_flags(ModelOptions, args)


def _run(args: argparse.Namespace) -> str:
    from eval.commands import run_sets

    return run_sets(_asked(args), from_flags(RunOptions, args), _model_options(args), as_json=args.json)


def _stored_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=[], help="names of sets (default: all that the run has)")
    parser.add_argument("--format", choices=FORMS, default="text", help="text, md (Markdown) or json (default: text)")


def _score_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="folder of a run, of one of its sets, or a file of samples (id, answer, references a line)")
    parser.add_argument("--by", nargs="+", help="meta keys whose subgroups are told (default: gender, age, accent, language, duration, ..)")
    parser.add_argument("--preset", default="ours", help="ours, qwen-audio, lmms, mmau, coco; all: what each normaliser makes of them")
    _stored_flags(parser)


def _score(args: argparse.Namespace) -> str:
    from eval.score import SUBGROUP_KEYS
    from eval.score_command import score_run

    return score_run(args.run, preset=args.preset, by=args.by or SUBGROUP_KEYS, only=args.only, form=args.format)


def _compare_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", help="a run, as for score")
    parser.add_argument("second", help="another run on the same samples")
    _stored_flags(parser)


def _compare(args: argparse.Namespace) -> str:
    from eval.score_command import compare_command

    return compare_command(args.first, args.second, only=args.only, form=args.format)


def _report_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run, as for score")
    parser.add_argument("-o", "--output", default="report.html", help="one HTML file, sound included (default: report.html)")
    parser.add_argument("--against", help="another run on the same samples, compared and drawn beside")
    _data_flags(parser, required=False)
    parser.add_argument("--worst", type=int, default=None, help="samples shown of each set (default: 10)")
    long_flag(parser, "--audio-mb", type=float, default=None, help="room for sound, million bytes (default: 20)")
    parser.add_argument("--only", nargs="+", default=[], help="names of sets (default: all that the run has)")


def _report(args: argparse.Namespace) -> str:
    from eval.report.command import ReportOptions, write_report

    return write_report(
        args.run, args.output, options=from_flags(ReportOptions, args), tasks=_tasks(args), data_root=args.data_root,
        against=args.against, only=args.only,
    )  # fmt: skip


def _parity_flags(parser: argparse.ArgumentParser) -> None:
    _data_flags(parser)
    _model_flags(parser)
    parser.add_argument("-b", dest="batch_size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-L", dest="limit", type=int, help=argparse.SUPPRESS)
    add_flags(parser, ParityOptions)


def _parity(args: argparse.Namespace) -> str:
    from eval.commands import parity_of

    return parity_of(_asked(args), from_flags(ParityOptions, args), _model_options(args))


def _speed_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("dialogue", "scoring"), default="dialogue", help="default: dialogue")
    parser.add_argument("--seconds", type=float, default=5.0, help="dialogue: length of a clip (default: 5)")
    long_flag(parser, "--new-tokens", type=int, default=32, help="dialogue: tokens of an answer (default: 32)")
    parser.add_argument("--rounds", type=int, default=7, help="dialogue: rounds after the warm-up (default: 7)")
    parser.add_argument("--answers", type=int, default=1_000_000, help="scoring: how many (default: 1000000)")


def _speed(args: argparse.Namespace) -> str:
    if args.what == "scoring":
        from eval.scoring_speed import scoring_speed

        return scoring_speed(args.answers)
    from eval.speed import run

    return run(args.seconds, args.new_tokens, args.rounds)


def _bundled_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", default="mini", help="NAME or DIR (default: mini)")
    long_flag(parser, "--data-root", required=True, help="folder of the prepared sets")
    parser.add_argument("--splits", default="data/splits", help="folder with train.tsv and dev.tsv (default: data/splits)")
    parser.add_argument("--fold", action="append", default=[], help="folder of a run with hold-outs, its weights in release/ (repeat)")
    parser.add_argument("-o", "--output", help="write scores, table and every answer there, as JSON")


def _bundled(args: argparse.Namespace) -> str:
    from eval.bundled import run

    return run(args.model, args.data_root, args.splits, args.fold, args.output)


COMMANDS: Commands = {
    "ls": ("the benchmarks, what each must hold and where its data must lie", _ls_flags, _ls),
    "validate": (
        "audit sets before anything is asked: counts, audio, duplicates, what can be had without hearing",
        _validate_flags,
        _validate,
    ),
    "run": ("answer sets with a model and score them; goes on where it was stopped", _run_flags, _run),
    "score": ("score stored answers anew, without a model", _score_flags, _score),
    "compare": ("two runs on the same samples: differences, intervals, p-values", _compare_flags, _compare),
    "report": ("write one HTML file: scores, plots, worst samples with sound, failures, cost", _report_flags, _report),
    "parity": ("answers alone against answers in a batch, and against the export in transformers", _parity_flags, _parity),
    "speed": ("a dialogue here and in transformers, turn by turn; or a million answers scored", _speed_flags, _speed),
    "bundled": ("the prepared sets: dev rows, and speakers and folds left out in turn", _bundled_flags, _bundled),
}

if __name__ == "__main__":
    sys.exit(main())
