"""Tables of scores and comparisons: laid out for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.tables import width_of
from eval.compare import Comparison
from eval.report.values import NOTHING, arrow, between, cluster_words, ends, number, p_value, recipe_of, titles, written
from eval.score import SMALL_SUBGROUP, Score
from eval.statistics import FEW_CLUSTERS

FEW_NOTE = f"* fewer than {FEW_CLUSTERS} clusters: the interval says little of new speakers or recordings."
SMALL_NOTE = f"† fewer than {SMALL_SUBGROUP} samples: too small to say much."
TESTS_NOTE = (
    "p: approximate randomisation over clusters, two-sided. Holm: the first metric of each set over the sets, further ones over "
    "all rows. detectable: the true difference that would be found 4 times in 5 with these samples."
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, and whether its cells are numbers, which stand to the right."""

    name: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Cells with what explains them beneath."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def without_empty(self, *names: str) -> Table:
        """Leave out those of the named columns in which nothing stands."""
        kept = [
            place
            for place, column in enumerate(self.columns)
            if column.name not in names or any(row[place] not in ("", NOTHING) for row in self.rows)
        ]
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return Table(tuple(self.columns[place] for place in kept), rows, self.notes)

    def text(self) -> str:
        """Lay the table out for a terminal."""
        head = tuple(column.name for column in self.columns)
        widths = [max(width_of(row[place]) for row in (head, *self.rows)) for place in range(len(head))]
        lines = [self._line(row, widths) for row in (head, *self.rows)]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join([*lines, *(("", *self.notes) if self.notes else ())])

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = []
        for cell, column, width in zip(row, self.columns, widths, strict=True):
            gap = " " * (width - width_of(cell))
            cells.append(gap + cell if column.right else cell + gap)
        return "  ".join(cells).rstrip()

    def markdown(self) -> str:
        """Write the table as Markdown."""
        rule = "|" + "".join("---:|" if column.right else "---|" for column in self.columns)
        lines = [_row([column.name for column in self.columns]), rule, *map(_row, self.rows)]
        notes = [note.replace("*", "\\*") for note in self.notes]
        return "\n".join([*lines, *(line for note in notes for line in ("", note))])


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("*", "\\*") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def scores_table(scores: Sequence[Score]) -> Table:
    """Lay out scores of whole sets: a row each, what did not go well and how it was measured beneath."""
    columns = (
        Column("set"), Column("metric"), Column("value", True), Column("95 % interval", True), Column("lenient", True), Column("n", True),
        Column("failed", True), Column("chance", True), Column("ceiling", True), Column("clusters"),
    )  # fmt: skip
    rows, failures, reasons, details = [], [], [], []
    named = titles(scores)
    for one in scores:
        name = f"{named[recipe_of(one)]} {arrow(one.better)}"
        rows.append((
            one.benchmark, name, "not computed" if one.not_computed else written(one.value, one.unit), between(one.low, one.high, one.unit),
            written(one.lenient, one.unit) if one.lenient != one.value else "", f"{one.n:,}", f"{one.n_failed:,}" if one.n_failed else "",
            _known(one.chance, one.unit), _known(one.ceiling, one.unit), cluster_words(one.n_clusters, one.clusters),
        ))  # fmt: skip
        if one.n_failed:
            failures.append(f"{one.benchmark}, {name[:-2]}: failed: {ends(one.statuses)}")
        if one.not_computed:
            reasons.append(f"{one.benchmark}, {name[:-2]}: not computed: {one.not_computed}")
        if one.details:
            details.append(f"{one.benchmark}, {name[:-2]}: {details_words(one.details)}")
    few = (FEW_NOTE,) if any(one.few for one in scores) else ()
    strict = ("value: strict, what was not answered counts as wrong; lenient: over what was answered and read.",) if failures else ()
    recipes = dict.fromkeys(f"{one.metric}: {one.signature}" for one in scores)
    notes = (*few, *strict, *dict.fromkeys(failures), *dict.fromkeys(reasons), *details, *recipes)
    return Table(columns, tuple(rows), notes).without_empty("lenient", "failed", "chance", "ceiling")


def _known(value: float | None, unit: str) -> str:
    return "" if value is None else written(value, unit)


def details_words(details: Mapping[str, float]) -> str:
    """Write a metric's further figures in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in details.items())


def subgroups_table(scores: Sequence[Score]) -> Table:
    """Lay out scores of subgroups, with a mark at those that are too small."""
    columns = (
        Column("set"), Column("subgroup"), Column("metric"), Column("value", True), Column("95 % interval", True), Column("n", True),
        Column("failed", True), Column("clusters"),
    )  # fmt: skip
    named = titles(scores)
    rows = tuple(
        (
            one.benchmark, one.subgroup, f"{named[recipe_of(one)]} {arrow(one.better)}", written(one.value, one.unit),
            between(one.low, one.high, one.unit), f"{one.n:,}{'†' if one.small else ''}", f"{one.n_failed:,}" if one.n_failed else "",
            cluster_words(one.n_clusters, one.clusters),
        )
        for one in scores
    )  # fmt: skip
    small = (SMALL_NOTE,) if any(one.small for one in scores) else ()
    few = (FEW_NOTE,) if any(one.few for one in scores) else ()
    return Table(columns, rows, (*few, *small)).without_empty("failed")


def comparison_table(found: Sequence[Comparison], names: tuple[str, str]) -> Table:
    """Lay out a comparison: values, difference with its interval, what it says, p-values, what could have been found."""
    columns = (
        Column("set"), Column("metric"), Column(names[0], True), Column(names[1], True), Column("difference", True),
        Column("95 % interval", True), Column("verdict"), Column("p (Holm)", True), Column("p", True), Column("McNemar", True),
        Column("detectable", True), Column("n", True), Column("failed"),
    )  # fmt: skip
    named = titles(found)
    rows = tuple(comparison_cells(one, named[recipe_of(one)], names) for one in found)
    few = (FEW_NOTE,) if any(one.few for one in found) else ()
    reasons = dict.fromkeys(f"{one.benchmark}, {one.metric}: not computed: {one.not_computed}" for one in found if one.not_computed)
    return Table(columns, rows, (TESTS_NOTE, *few, *reasons)).without_empty("McNemar", "failed")


def comparison_cells(one: Comparison, metric: str, names: tuple[str, str]) -> tuple[str, ...]:
    """Write a row of a comparison."""
    head = (one.benchmark, f"{metric} {arrow(one.better)}", written(one.first, one.unit), written(one.second, one.unit))
    tail = (f"{one.n:,}", f"{one.failed[0]:,} and {one.failed[1]:,}" if any(one.failed) else "")
    if one.difference is None:
        return (*head, NOTHING, NOTHING, "not computed", *[NOTHING] * 4, *tail)
    gap = one.difference
    return (
        *head, written(gap.value, one.unit, signed=True), between(gap.low, gap.high, one.unit, signed=True) + ("*" if one.few else ""),
        verdict(one, names), p_value(one.p_holm), p_value(gap.p_randomisation), p_value(gap.p_mcnemar), written(gap.detectable, one.unit),
        *tail,
    )  # fmt: skip


def verdict(one: Comparison, names: tuple[str, str]) -> str:
    """Say which run is better, by its name."""
    return one.verdict.replace("first", names[0]).replace("second", names[1]) if one.verdict.endswith("better") else one.verdict


def beside_baseline(scores: Sequence[Score], baselines: Mapping[tuple[str, str], Score]) -> str:
    """Return a Markdown table of scores; beside each what the baseline reaches on the same records, where there is one."""
    lines = ["| set and task | metric | n | value | 95 % interval | log-mel regression |", "|---|---|---|---|---|---|"]
    for one in scores:
        other = baselines.get((one.benchmark, one.metric))
        beside = _short(other.value, other.unit) if other else ""
        low, high = _short(one.low, one.unit), _short(one.high, one.unit)
        lines.append(f"| {one.benchmark} | {one.metric} | {one.n} | {_short(one.value, one.unit)} | {low} to {high} | {beside} |")
    return "\n".join(lines)


def _short(value: float, unit: str) -> str:
    return f"{value:.0f} ms" if unit == "ms" else f"{value:.1%}"
