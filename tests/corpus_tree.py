"""Build corpora of two records in their real layouts, and walk them as `prepare` does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from data.catalog import CATALOG
from data.ledger import Entry
from data.manifest import Record
from data.recipes.parquet import walk_parquet
from tag_schema.tasks import TASKS

RATE = 16_000


def clip(path: Path, seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> Path:
    """Write a short tone; the file's ending says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.1 * np.sin(np.arange(int(seconds * rate)) / 10)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)
    return path


def text(path: Path, content: str | list[Any] | Mapping[str, Any]) -> Path:
    """Write a text file, or what is not text as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def walked(name: str, root: Path, split: str, *, parquet: bool = False) -> list[Record]:
    """Walk one split and check what every record must hold; a row that was lost fails."""
    recipe = CATALOG[name]
    rows = list(walk_parquet(recipe, root, recipe.split(split)) if parquet else recipe.walk(root, recipe.split(split)))
    lost = [str(row) for row in rows if isinstance(row, Entry)]
    assert not lost, lost
    records = [row for row in rows if isinstance(row, Record)]
    assert len({record.id for record in records}) == len(records), "ids must differ"
    for record in records:
        assert record.family in recipe.tasks
        assert record.meta.get("source"), record.id
        for ref in record.audio:
            inside = Path(ref.path)
            assert inside.is_file() or inside.parent.is_file(), ref.path  # a file, or a member of an archive
        if record.family in TASKS and record.target:
            TASKS[record.family].parse(record.target)  # an answer that its own reader refuses is no answer
    return records


def entries(name: str, root: Path, split: str) -> list[Entry]:
    """Walk one split and return the lines of account alone."""
    recipe = CATALOG[name]
    return [row for row in recipe.walk(root, recipe.split(split)) if isinstance(row, Entry)]
