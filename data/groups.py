"""Gather the records of a run from prepared sets and manifests, apart by split and hold-outs, in groups that can be weighed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from data.manifest import Record
from data.recipes.conversations import chat_records, pair_records, text_records
from data.recipes.prepared import UNLICENSED_SETS, prepared_rows, prepared_sets, source_key, tagged_records
from qwen_audio.errors import ConfigError, DataError

Split = Literal["train", "dev"]


def read_split(folder: Path | str, split: Split) -> frozenset[str]:
    """Return the source keys (set, tab, source path) that a split may use.

    Raises:
        DataError: the list is missing: nothing may be trained on that no list names.
    """
    path = Path(folder) / f"{split}.tsv"
    if not path.is_file():
        raise DataError(f"{path}: no such split list; --splits names the folder that holds train.tsv and dev.tsv")
    return frozenset(path.read_text(encoding="utf-8").splitlines())


def split_rows(data_root: Path | str, splits: Path | str, split: Split) -> list[dict[str, Any]]:
    """Return the rows of all prepared sets that a split's list names, set by set."""
    named = read_split(splits, split)
    names = [name for name in prepared_sets(data_root) if name not in UNLICENSED_SETS]
    return [row for name in names for row in prepared_rows(data_root, name) if source_key(row) in named]


def prepared_records(rows: Sequence[dict[str, Any]], pairs: int, seed: int) -> list[Record]:
    """Turn rows into every record they may serve as: tagged tasks, chat, conversations over two clips, text alone."""
    rng = random.Random(seed)
    records = [record for row in rows for record in (*tagged_records(row), *chat_records(row, rng))]
    return records + pair_records(rows, pairs, rng) + text_records()


def group_name(record: Record) -> str:
    """Name the group of a record: DATASET/FAMILY."""
    return f"{record.dataset or 'own'}/{record.family or 'chat'}"


def task_of(record: Record) -> str:
    """Name the task that a record counts in: its family, or chat with or without audio."""
    return record.family or ("chat" if record.audio else "text")


def family_of_group(group: str) -> str:
    """Return the family in a group's name."""
    return group.rpartition("/")[2]


def held_by(record: Record, hold_out: Iterable[str]) -> str | None:
    """Return the first of the KEY=VALUE entries that keeps a record out; KEY is a meta field, "dataset" or "family".

    A conversation over two clips is kept out when either clip is.
    """
    for entry in hold_out:
        key, _, value = entry.partition("=")
        found = {"dataset": record.dataset, "family": record.family or ""}.get(key, record.meta.get(key, ""))
        if value in found.split("\n"):
            return entry
        if key == "dataset" and any(source.startswith(f"{value}\t") for source in record.meta.get("source", "").split("\n")):
            return entry
    return None


def held_out(record: Record, hold_out: Iterable[str]) -> bool:
    """Tell whether a record belongs to what KEY=VALUE entries keep out, as held_by does."""
    return held_by(record, hold_out) is not None


def group(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records as DATASET/FAMILY."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_name(record)].append(record)
    return dict(sorted(groups.items()))


def weigh(groups: Iterable[str], patterns: Mapping[str, float]) -> dict[str, float]:
    """Give each group the weight of the first pattern that fits it, 0 where none does.

    Raises:
        ConfigError: a pattern fits no group, which is a misspelling more often than a wish.
    """
    names = list(groups)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"weights: {pattern!r} fits no group; groups: {', '.join(sorted(names))}")
    return {name: next((weight for pattern, weight in patterns.items() if fnmatchcase(name, pattern)), 0.0) for name in names}
