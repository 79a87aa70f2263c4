"""Say what a run will see: rows, losses, weights, hours, tokens and shares, for each group, each task and each source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.commands.show import words_of
from data.groups import family_of_group
from data.index.corpus import UNREAD, Tally, check_lost
from data.ledger import LOST
from data.mixture.config import MixtureConfig, read_mixture_config
from data.mixture.mixture import Mixture
from data.mixture.sources import open_mixture
from data.tables import hours, table
from qwen_audio.errors import ConfigError, DataError

HEAD = ("rows", "lost", "held out", "hours", "tokens", "of draws", "of audio")


@dataclass(slots=True)
class Line:
    """One line of a table: what is there, and what of it is drawn."""

    tally: Tally = field(default_factory=Tally)
    lost: int = 0
    held: int = 0
    share: float = 0.0  # of the draws
    seconds: float = 0.0  # of audio a draw of the mixture gives on the average
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, other: Line) -> None:
        """Count another line in."""
        self.tally += other.tally
        self.lost, self.held = self.lost + other.lost, self.held + other.held
        self.share, self.seconds = self.share + other.share, self.seconds + other.seconds


def mix(path: Path | str, *, model: str | None = "mini", draws: int = 100_000, seed: int = 0, **changes: Any) -> str:
    """Describe the mixture of a YAML file, its own or the section of a training configuration.

    Args:
        path: the file.
        model: the checkpoint whose tokenizer counts tokens and whose window bounds rows; None estimates them.
        draws: how many draws to tell hours, tokens and repeats of.
        seed: where the file names none.
        changes: settings of the mixture that lie over the file's, as data_root.
    Returns:
        tables of the groups, the tasks and the sources, and what training would refuse.
    Raises:
        ConfigError, DataError: settings that fit nothing, a source that cannot be read.
    """
    if draws < 1:
        raise ConfigError(f"draws is {draws}: expected 1 or more")
    config = read_mixture_config(path, **changes)
    tokenizer = None
    if model is not None:
        tokenizer, about = words_of(model, path)
        config = replace(config, max_tokens=config.max_tokens or about.decoder.window)
    return describe(open_mixture(config, tokenizer, seed=seed, refuse=False), config, draws)


def describe(mixture: Mixture, config: MixtureConfig, draws: int) -> str:
    """Lay out what so many draws of a mixture bring."""
    groups = _groups(mixture, draws)
    everything = _sum(groups.values())
    tasks: defaultdict[str, Line] = defaultdict(Line)
    for (_, group), line in groups.items():
        tasks[family_of_group(group)].add(line)
    for task, line in tasks.items():
        line.notes = {"cap": f"{config.caps[task]:.1%}" if task in config.caps else ""}
    several = len(mixture.corpora) > 1
    names = {(source, group): f"{group} in {mixture.corpora[source].name}" if several else group for source, group in groups}
    named = {names[key].replace(UNREAD, "(not read)"): line for key, line in groups.items()}
    ordered = {task.replace(UNREAD, "(not read)"): line for task, line in sorted(tasks.items(), key=lambda item: -item[1].share)}
    tables = [
        _table("group", named, everything, ("weight", "repeat", f"epochs in {draws:,}")),
        _table("task", ordered, everything, ("cap",) if config.caps else ()),
        *_sources(mixture, config),
        _sum_up(mixture, everything, draws),
    ]
    return "\n\n".join(tables)


def _groups(mixture: Mixture, draws: int) -> dict[tuple[int, str], Line]:
    """Make a line for each group of each source, those of which nothing is left among them."""
    lines: defaultdict[tuple[int, str], Line] = defaultdict(Line)
    for number, corpus in enumerate(mixture.corpora):
        for group, tally in corpus.tallies().items():
            lines[number, group].tally = tally
        for group, rows in corpus.account.held.items():
            lines[number, group].held = rows
        for group, reasons in corpus.account.lost.items():
            lines[number, group].lost = sum(reasons.values())
    epochs = mixture.epochs(draws).tolist()
    for unit, share, seen in zip(mixture.units, mixture.shares.tolist(), epochs, strict=True):
        line = lines[unit.source, unit.group]
        line.share, line.seconds = share, share * line.tally.seconds / line.tally.rows
        line.notes = {"weight": f"{unit.weight:g}", "repeat": f"{unit.repeat:g}", f"epochs in {draws:,}": f"{seen:,.2f}"}
    return dict(sorted(lines.items()))


def _sum(lines: Iterable[Line]) -> Line:
    total = Line()
    for line in lines:
        total.add(line)
    return total


def _table(name: str, lines: dict[str, Line], everything: Line, notes: Sequence[str]) -> str:
    rows = [
        (
            label, f"{line.tally.rows:,}", f"{line.lost:,}", f"{line.held:,}", hours(line.tally.seconds), f"{line.tally.tokens:,}",
            _percent(line.share), _percent(line.seconds / everything.seconds if everything.seconds else 0.0),
            *(line.notes.get(note, "") for note in notes),
        )
        for label, line in [*lines.items(), ("all", everything)]
    ]  # fmt: skip
    return table((name, *HEAD, *notes), rows, rule_before_last=True)


def _percent(share: float) -> str:
    """Write a share; one that is there is never written as nothing."""
    return f"{share:.4%}" if 0 < share < 0.00005 else f"{share:.2%}"


def _sources(mixture: Mixture, config: MixtureConfig) -> list[str]:
    """Tell of each source what was lost and why, what was held out and by what, and whether training refuses it."""
    told = []
    for corpus in mixture.corpora:
        account = corpus.account
        lines = [f"{corpus.name}: {account.seen:,} rows, {account.admitted:,} admitted"]
        lines += [f"  lost     {rows:,} {reason}: {LOST[reason]}" for reason, rows in account.reasons().most_common()]
        lines += [f"  changed  {rows:,} {reason}" for reason, rows in account.changed.most_common()]
        lines += [f"  held out {rows:,} by {entry}" for entry, rows in account.held_by.most_common()]
        try:
            check_lost(account, config.max_lost, corpus.name)
        except DataError as error:
            lines.append(f"  training refuses it: {error}")
        told.append("\n".join(lines))
    return told


def _sum_up(mixture: Mixture, everything: Line, draws: int) -> str:
    tallies = [corpus.tallies() for corpus in mixture.corpora]
    tokens = sum(
        share * tally.tokens / tally.rows
        for unit, share in zip(mixture.units, mixture.shares.tolist(), strict=True)
        for tally in [tallies[unit.source][unit.group]]
    )
    guess = "" if all(corpus.exact for corpus in mixture.corpora) else " (an estimate: no tokenizer was given)"
    seen = f"{hours(draws * everything.seconds)} hours of audio, {round(draws * tokens):,} tokens{guess}"
    return f"{draws:,} draws: {seen}; seed {mixture.seed}"
