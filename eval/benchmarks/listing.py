"""List the benchmarks: what each is, how it is measured, what it must hold, and whether its data is there."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.tables import table
from eval.benchmarks.benchmark import Benchmark, ChoicePrompt
from eval.benchmarks.measures import metric_names
from eval.benchmarks.rows import folder_of
from eval.benchmarks.table import BENCHMARKS, expand, find, groups

WIDTH = 118  # letters of a line
LABEL = 12  # letters of a label
PRESENT = {None: "", True: "there", False: "missing"}


def ls(name: str | None = None, data_root: Path | str | None = None) -> str:
    """List all benchmarks, those of a group, or all about one.

    Args:
        name: of a benchmark or a group; None lists all.
        data_root: below which the folders are looked for; None does not look.
    Raises:
        ConfigError: nothing has that name.
    """
    root = None if data_root is None else Path(data_root)
    if name is None:
        return _all(root)
    if name in groups():
        return _table([find(single) for single in expand([name])], root)
    return _one(find(name), root)


def _all(root: Path | None) -> str:
    """List every benchmark, the sets of the paper first."""
    parts = {"SETS OF THE PAPER": [], "WORDS WITH TIMES: stand-ins for the paper's closed set": [], "MODERN SETS": []}  # type: dict[str, list[Benchmark]]
    paper, times, modern = parts.values()
    for benchmark in BENCHMARKS.values():
        (times if "word_times" in benchmark.groups else modern if "modern" in benchmark.groups else paper).append(benchmark)
    lines = [f"{title}\n\n{_table(found, root)}" for title, found in parts.items()]
    named = ", ".join(f"{group} ({len(names)})" for group, names in groups().items())
    return "\n\n".join([*lines, _note(f"groups: {named}. Your own rows: -t FILE.jsonl. `python -m eval ls NAME` tells all about one.")])


def _table(found: Sequence[Benchmark], root: Path | None) -> str:
    head = ("name", "task", "metrics", "rows", "folder below the data root", "" if root is None else "data")
    return table(head, [_cells(one, root) for one in found])


def _cells(one: Benchmark, root: Path | None) -> tuple[str, ...]:
    rows = "–" if one.count is None else f"{one.count:,}"
    first, *more = metric_names(one).split(", ")
    metrics = f"{first} and {len(more)} more" if more else first
    return one.name, one.family, metrics, rows, f"{one.folder}/", PRESENT[there(one, root)]


def there(benchmark: Benchmark, root: Path | None) -> bool | None:
    """Say whether a benchmark's folder is there; None where nobody looks."""
    return None if root is None else folder_of(benchmark, root) is not None


def _one(one: Benchmark, root: Path | None) -> str:
    """Tell everything about a benchmark."""
    wording = one.ask.source if isinstance(one.ask, ChoicePrompt) else ""
    about: Mapping[str, str] = {
        "set": one.title, "source": one.source, "folder": " or ".join(f"{name}/" for name in one.folders), "task": one.family,
        "language": one.language, "asked": one.prompt.replace("\n", "\\n"), "wording": wording,
        "metrics": metric_names(one), "rows": f"{'?' if one.count is None else f'{one.count:,}'} ({one.counted_at})",
        "references": str(one.references) if one.references > 1 else "", "version": one.version, "cluster": one.cluster,
        "tokens": f"{one.max_new_tokens}" + (f" (released evaluation: {one.released_tokens})" if one.released_tokens else ""),
        "labels": ", ".join(one.labels), "also right": ", ".join(f"{alias} for {label}" for alias, label in one.aliases.items()),
        "chance": one.chance, "ceiling": one.ceiling, "not scored": one.not_computed, "notes": one.notes, "traps": one.traps,
    }  # fmt: skip
    lines = [one.name, *(line for label, value in about.items() if value for line in _labelled(label, value))]
    lines += ["", "  layout of its folder:", *(f"    {line}" for line in one.layout.splitlines())]
    if root is not None:
        found = folder_of(one, root)
        lines += ["", f"  data: {root / one.folder} is missing" if found is None else f"  data: {found}"]
    return "\n".join(lines)


def _labelled(label: str, value: str) -> list[str]:
    first, *rest = textwrap.wrap(value, WIDTH - LABEL - 2, break_on_hyphens=False, break_long_words=False) or [""]
    return [f"  {label:<{LABEL}}{first}", *(" " * (LABEL + 2) + line for line in rest)]


def _note(value: str) -> str:
    return "\n".join(textwrap.wrap(value, WIDTH, break_on_hyphens=False))
