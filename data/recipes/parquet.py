"""Read a parquet copy of a corpus through `datasets`: no loading script, no decoding; audio stays where it is, as FILE.parquet/ROW."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from qwen_audio.errors import DataError


def walk_parquet(recipe: Recipe, root: Path, split: Split) -> Iterator[Record | Entry]:
    """Yield the records of a split from the parquet files below root.

    Raises:
        DataError: the recipe has no parquet copy, no file fits the split, or `datasets` is not installed.
    """
    if recipe.parquet is None or split.name not in recipe.parquet.files:
        raise DataError(f"{recipe.name}: no parquet files are known for the split {split.name}")
    files = sorted(root.glob(recipe.parquet.files[split.name]))
    if not files:
        raise DataError(f"{root}: no file fits {recipe.parquet.files[split.name]!r}; expected the files of {recipe.parquet.hub}")
    for file in files:
        for number, row in enumerate(_rows(file)):
            yield from recipe.parquet.read_row(row, f"{file}/{number}", split, f"{file}:{number}")


def _rows(file: Path) -> Iterator[dict[str, object]]:
    try:
        from datasets import Audio, load_dataset
    except ImportError as error:
        raise DataError("parquet needs the package `datasets`: pip install -e '.[data]'") from error
    rows = load_dataset("parquet", data_files=[str(file)], split="train", streaming=True)
    for name, feature in (rows.features or {}).items():
        if isinstance(feature, Audio):
            rows = rows.cast_column(name, Audio(decode=False))
    yield from rows
