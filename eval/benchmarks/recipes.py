"""Benchmarks out of the catalog of corpora: the split of a recipe, one family of its records, in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.catalog import recipe as find_recipe
from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split, Walk
from data.rows.archives import parquet_rows
from eval.benchmarks.benchmark import Benchmark, right_answers
from qwen_audio.errors import DataError
from tag_schema.tasks import TASKS, prefix_for

Mine = Callable[[Record | Entry], bool]


def of_recipe(
    name: str,
    corpus: str,
    split: str,
    family: str,
    *,
    inside: str = "",
    files: str = "",
    also: str = "",
    mine: Mine | None = None,
    prefix: dict[str, Any] | None = None,
    **about: Any,
) -> Benchmark:
    """Make the benchmark of one split of a corpus.

    Args:
        name: of the benchmark.
        corpus, split: names of the recipe and of its split.
        family: which of the recipe's records it takes.
        inside: folder of a language, walked alone where it is there.
        files: of the parquet copy, where they are fewer than the recipe's own.
        also: name of the folder that the corpus unpacks to, accepted below the data root too.
        mine: which rows of the family; those with the instruction of prefix by default.
        prefix: what `prefix_for` takes beside the family: the tag sentence that every row must have.
        about: further fields of Benchmark; title, source and count are the recipe's unless they are given.
    """
    recipe = find_recipe(corpus)
    part, asked = recipe.split(split), {"question": "{question}"} if family in ("audio_qa", "music_qa") else {}
    sentence = prefix_for(family, **{**asked, **(prefix or {})})
    fields: dict[str, Any] = {
        "prompt": sentence.sentence(),
        "title": f"{recipe.title}; {split}",
        "source": recipe.source,
        "folders": (corpus, *((also, f"{corpus}/{also}") if also else ())),
        "layout": recipe.layout,
        "language": sentence.text_language,
        "count": part.count,
        "counted_at": part.verified,
        "notes": recipe.notes,
    }
    return Benchmark(
        name=name, walks=_walks(recipe, split, inside, files), split=part, family=family,
        mine=mine or of_form(family, sentence.instruction), **{**fields, **about},
    )  # fmt: skip


def _walks(recipe: Recipe, split: str, inside: str, files: str) -> tuple[Walk, ...]:
    """Make the walks of a split: by the official layout, and by the hub's parquet copy where there is one."""

    def layout(root: Path, part: Split) -> Iterator[Record | Entry]:
        return recipe.walk(root / inside if inside and (root / inside).is_dir() else root, part)

    copy, pattern = recipe.parquet, "" if recipe.parquet is None else files or recipe.parquet.files.get(split, "")
    if copy is None or not pattern:
        return (layout,)

    def parquet(root: Path, part: Split) -> Iterator[Record | Entry]:
        found = sorted(root.glob(pattern))
        if not found:
            raise DataError(f"{root}: no file fits {pattern}, a file of {copy.hub}")
        for file in found:
            for number, (where, row) in enumerate(parquet_rows(file)):
                yield from _read(copy, {**row, "audio": {"path": None}}, f"{file}/{number}", part, where)

    return (parquet, layout) if ".parquet" in recipe.layout else (layout, parquet)  # some corpora are published as parquet alone


def _read(copy: Parquet, row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read one row of a parquet copy; one that lacks a column is lost."""
    try:
        yield from copy.read_row(row, audio, split, where)
    except (KeyError, TypeError) as error:
        yield Entry(where, "bad_row", where, f"{type(error).__name__}: {error}")


def family_named(entry: Entry) -> str:
    """Return the family that a line of account names behind the source; empty where the whole row is lost."""
    family = entry.id.rpartition("#")[2].partition(".")[0]
    return family if family in TASKS and "#" in entry.id else ""


def of_form(family: str, instruction: str | None) -> Mine:
    """Take the records of a family that are written in one form, and what is lost of the family."""

    def mine(row: Record | Entry) -> bool:
        if isinstance(row, Entry):
            return family_named(row) in ("", family)
        return row.family == family and row.prefix is not None and row.prefix.instruction == instruction

    return mine


def both(first: Mine, second: Mine) -> Mine:
    """Take what both take."""
    return lambda row: first(row) and second(row)


def source_of(record: Record) -> str:
    """Name the clip of a record."""
    return record.meta.get("source", record.id)


def one_a_clip(records: list[Record], clip_of: Callable[[Record], str] = source_of) -> list[Record]:
    """Put the captions of one clip together: one record that has them all as references."""
    found: dict[str, Record] = {}
    for record in records:
        before = found.get(clip := clip_of(record))
        found[clip] = record if before is None else replace(before, references=(*right_answers(before), *right_answers(record)))
    return list(found.values())
