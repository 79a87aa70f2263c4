"""The workshop of records: `python -m data list | prepare | construct | check | show | stats | mix`."""

from __future__ import annotations

import argparse
import sys

from qwen_audio.command import Commands, long_flag, run_one_of


def main(argv: list[str] | None = None) -> int:
    """Make, check and mix the rows that training and measuring read."""
    return run_one_of(COMMANDS, "python -m data", main.__doc__, argv)


def _list_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="everything about one corpus")
    parser.add_argument("-t", "--task", help="the corpora that serve one of the 31 tasks")


def _list(args: argparse.Namespace) -> str:
    from data.commands.listing import listing

    return listing(args.name, args.task)


def _prepare_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="corpus, as `list` names it")
    parser.add_argument("corpus", help="folder of the corpus in its official layout, or of its parquet files")
    parser.add_argument("-o", "--output", required=True, help="folder for NAME/SPLIT.jsonl")
    parser.add_argument("--splits", nargs="+", default=[], help="official splits to write (default: all that are there)")
    long_flag(parser, "--relative-to", help="write audio paths relative to this folder (default: absolute)")


def _prepare(args: argparse.Namespace) -> str:
    from data.commands.prepare import prepare

    return prepare(args.name, args.corpus, args.output, splits=args.splits, relative_to=args.relative_to)


def _model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", default="mini", help="checkpoint whose vocabulary and window count (default: mini)")
    long_flag(parser, "--data-root", help="where relative audio paths begin (default: the file's folder)")


def _tags_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tags", metavar="YAML", help="file whose custom_tags the rows may use too, such as a training configuration")


def _check_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", help="rows in any of the known shapes: .jsonl, .json, .tar, .parquet")
    _model_flags(parser)
    long_flag(
        parser, "--long-audio", choices=("ledger", "windows"), default="ledger", help="clips over 30 s: left out, or cut into windows"
    )
    long_flag(parser, "--max-lost", type=float, default=0.0, help="largest share of rows that may be lost (default: 0)")
    long_flag(parser, "--evaluation", action="store_true", help="accept rows of evaluation splits, as a benchmark does")
    _tags_flag(parser)
    parser.add_argument("--show", type=int, default=2, help="rendered prompts to print (default: 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _check(args: argparse.Namespace) -> str:
    from data.admission import AdmissionOptions
    from data.commands.check import check

    options = AdmissionOptions(long_audio=args.long_audio, evaluation=args.evaluation, decode=True)
    return check(
        args.files,
        model=args.model,
        tags=args.tags,
        data_root=args.data_root,
        options=options,
        max_lost=args.max_lost,
        show=args.show,
        as_json=args.json,
    )


def _show_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="rows")
    parser.add_argument("row", help="line number, or the row's id")
    _tags_flag(parser)
    parser.add_argument("--picture", help="write waveform and log-mel of the row's clips there, as PNG")
    _model_flags(parser)


def _show(args: argparse.Namespace) -> str:
    from data.commands.show import show

    return show(args.file, args.row, model=args.model, tags=args.tags, data_root=args.data_root, picture=args.picture)


def _stats_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", help="rows")
    long_flag(parser, "--data-root", help="where relative audio paths begin (default: the file's folder)")


def _stats(args: argparse.Namespace) -> str:
    from data.commands.stats import stats

    return stats(args.files, args.data_root)


def _mix_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file with the mixture, or a training configuration that holds one")
    parser.add_argument("--draws", type=int, default=100_000, help="draws to tell hours, tokens and repeats of (default: 100000)")
    parser.add_argument("--seed", type=int, default=0, help="of the order, where the file names none (default: 0)")
    _model_flags(parser)


def _mix(args: argparse.Namespace) -> str:
    from data.commands.mix import mix

    changes = {"data_root": args.data_root} if args.data_root else {}
    return mix(args.config, model=args.model, draws=args.draws, seed=args.seed, **changes)


def _construct_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, help="folder to put the folder `constructed` in")
    parser.add_argument("--rows", type=int, default=10_000, help="how many; a smaller set of the same seed grows (default: 10000)")
    parser.add_argument(
        "--seed", type=int, default=0, help="same seed, same bytes; from 1000000 on the rows are for evaluation (default: 0)"
    )
    parser.add_argument("-t", "--tasks", nargs="+", help="of the 31, `dialogue`, `text` (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes; they change nothing but the time (default: 2)")
    parser.add_argument("--recorded", nargs="+", help="rows of recorded sounds and notes, which take the place of half of the synthesised")
    parser.add_argument("--verify", action="store_true", help="measure the labels of what is there in its waveforms, and try to guess them")
    parser.add_argument("--mini", action="store_true", help="instead make the small prepared set that the bundled model has also heard")
    parser.add_argument("--count", type=int, default=300, help="with --mini: clips of each kind (default: 300)")


def _construct(args: argparse.Namespace) -> str:
    if args.mini:
        from data.recipes.mini_extras import construct as construct_for_mini

        return f"{construct_for_mini(args.output, args.count, args.seed)} rows in {args.output}/constructed"
    from data.recipes.constructed.build import construct, verify

    if args.verify:
        return verify(args.output)
    return construct(args.output, args.rows, args.seed, args.tasks, args.workers, args.recorded)


COMMANDS: Commands = {
    "list": ("the 31 tasks and the corpora that serve them", _list_flags, _list),
    "prepare": ("walk a corpus in its official layout and write its rows", _prepare_flags, _prepare),
    "construct": ("make examples with exact labels of all 31 tasks, from nothing or from recordings", _construct_flags, _construct),
    "check": ("run the training path over rows: a line for each that is lost or changed, tokens and hours per task", _check_flags, _check),
    "show": ("print one row as the model reads it, ids and what is learned; draw its audio", _show_flags, _show),
    "stats": ("hours, rows and lengths of files of rows, per task, dataset and language", _stats_flags, _stats),
    "mix": ("what a run will see: admitted and lost rows, weights, caps, repeats, hours and tokens per task", _mix_flags, _mix),
}

if __name__ == "__main__":
    sys.exit(main())
