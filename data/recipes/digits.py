"""Walk sets of spoken digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.walking import needed, tagged

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def walk_fsdd(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Free Spoken Digit Dataset: the file's name says digit, speaker and take; takes 0 to 4 are the test."""
    for path in sorted(needed(root / "recordings", "folder").glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        if (int(take) < 5) != (split.name == "test"):
            continue
        word, meta = DIGITS[int(digit)], {"speaker": f"fsdd-{speaker}", "language": "en"}
        yield tagged(path.stem, path, "asr", word, where=str(path), meta=meta, language="en")
        yield tagged(path.stem, path, "keyword_spotting", word, where=str(path), meta=meta, language="en")


RECIPES = (
    Recipe(
        name="fsdd",
        title="Free Spoken Digit Dataset",
        source="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
        hours=None,
        languages=("en",),
        tasks=("asr", "keyword_spotting"),
        splits=(
            Split("train", "train", 2700, "README of the corpus: 3,000 recordings, takes 0 to 4 of 50 are the test"),
            Split("test", "test", 300, "README of the corpus: 3,000 recordings, takes 0 to 4 of 50 are the test"),
        ),
        layout="recordings/{digit}_{speaker}_{take}.wav",
        verified="README of the corpus, sections Organization and Usage",
        walk=walk_fsdd,
    ),
)
