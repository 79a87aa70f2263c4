"""Walk a corpus by its recipe into manifests: a file a split, a ledger beside it, counts held against the recipe's."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from data.admission import AdmissionOptions, measured
from data.catalog import recipe as find_recipe
from data.ledger import LOST, Entry, Ledger
from data.manifest import AudioRef, Record, write_manifest
from data.recipe import Recipe, Split
from data.recipes.parquet import walk_parquet
from data.rows.errors import RowError
from data.tables import hours, table
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import TASKS

log = logging.getLogger(__name__)

PROGRESS_S = 10.0
LOOKED_AT = AdmissionOptions(evaluation=True)
Rows = Iterator[Record | Entry]


@dataclass(slots=True)
class Counted:
    """What a split came to."""

    split: Split
    ledger: Ledger
    sources: set[int] = field(default_factory=set)  # hashes: of a corpus with millions of rows the names would fill the memory
    clips: set[int] = field(default_factory=set)
    seconds: float = 0.0

    def add(self, record: Record) -> None:
        """Count an admitted record; a clip that serves several tasks is heard once."""
        self.ledger.admit()
        for ref in record.audio:
            if hash(ref) not in self.clips:
                self.clips.add(hash(ref))
                self.seconds += ref.duration_s or 0.0


def prepare(name: str, corpus: Path | str, output: Path | str, *, splits: Sequence[str] = (), relative_to: Path | str | None = None) -> str:
    """Walk a corpus and write OUTPUT/NAME/SPLIT.jsonl and SPLIT.ledger.jsonl for each of its splits.

    Args:
        name: of the recipe.
        corpus: folder that holds the corpus in its official layout, or its parquet copy.
        output: folder of prepared corpora.
        splits: those to walk; without any, all that are there.
        relative_to: folder below which the clips' paths are written; absolute by default.
    Returns:
        a table of what was found.
    Raises:
        DataError: the folder holds nothing of the corpus, or a split that was named is missing; ConfigError: no such recipe or split.
    """
    found = find_recipe(name)
    wanted = _wanted(found, splits)
    root, folder = Path(corpus), Path(output) / name
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the corpus {name} in it (`python -m data list {name}` shows its layout)")
    counted, missing = [], []
    for split in wanted:
        try:
            rows = _rows(found, root, split)
        except DataError as error:
            if splits:
                raise
            missing.append((split, error))
            continue
        counted.append(_write_split(found, split, rows, folder, relative_to))
    if not counted:
        raise missing[0][1]
    return _summary(found, folder, counted, [split.name for split, _ in missing])


def _wanted(recipe: Recipe, names: Sequence[str]) -> list[Split]:
    known = {split.name: split for split in recipe.splits}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{recipe.name}: no split {', '.join(unknown)}; it has {', '.join(known)}")
    return [known[name] for name in names] if names else list(recipe.splits)


def _rows(recipe: Recipe, root: Path, split: Split) -> Rows:
    """Begin to walk a split: by the official layout, else by the parquet files that lie there.

    Raises:
        DataError: the folder holds neither.
    """
    try:
        return _begun(recipe.walk(root, split), recipe, root, split)
    except DataError:
        pattern = None if recipe.parquet is None else recipe.parquet.files.get(split.name)
        if pattern is None or not any(root.glob(pattern)):
            raise
    return _begun(walk_parquet(recipe, root, split), recipe, root, split)


def _begun(rows: Rows, recipe: Recipe, root: Path, split: Split) -> Rows:
    first = next(rows, None)
    if first is None:
        raise DataError(f"{root}: nothing of {recipe.name}, split {split.name}; `python -m data list {recipe.name}` shows the layout")
    return chain([first], rows)


def _write_split(recipe: Recipe, split: Split, rows: Rows, folder: Path, relative_to: Path | str | None) -> Counted:
    """Write the manifest of one split and its ledger, whole or not at all."""
    stem = split.name.replace("/", "-")
    draft = folder / f"{stem}.ledger.jsonl.part"
    counted = Counted(split, Ledger(draft))
    try:
        write_manifest(_completed(recipe, split, rows, counted, relative_to), folder / f"{stem}.jsonl")
        counted.ledger.close()
        os.replace(draft, folder / f"{stem}.ledger.jsonl")
    finally:
        counted.ledger.close()
        draft.unlink(missing_ok=True)
    if split.count is not None and len(counted.sources) != split.count:
        log.warning(
            "%s %s: %s sources, expected %s (%s)", recipe.name, split.name, f"{len(counted.sources):,}", f"{split.count:,}", split.verified
        )
    return counted


def _completed(recipe: Recipe, split: Split, rows: Rows, counted: Counted, relative_to: Path | str | None) -> Iterator[Record]:
    """Yield the records of a split with lengths, names and meta; what is lost goes to the ledger."""
    seen: set[int] = set()
    said_at = time.monotonic()
    for row in rows:
        found = row if isinstance(row, Entry) else _complete(recipe, split, row, relative_to)
        if isinstance(found, Record) and hash(found.id) in seen:
            found = Entry(found.id, "duplicate_id", str(row.audio[0].path) if isinstance(row, Record) and row.audio else recipe.name)
        counted.sources.add(hash(_source_of(row)))
        if isinstance(found, Entry):
            counted.ledger.enter(found)
        else:
            seen.add(hash(found.id))
            counted.add(found)
            yield found
        if time.monotonic() - said_at > PROGRESS_S:
            log.info("%s %s: %s records, %s h", recipe.name, split.name, f"{counted.ledger.admitted:,}", hours(counted.seconds))
            said_at = time.monotonic()


def _complete(recipe: Recipe, split: Split, record: Record, relative_to: Path | str | None) -> Record | Entry:
    """Fill in what a walk leaves open: lengths by the files' headers, absolute paths, split, role, licence, the name of the corpus."""
    name = f"{recipe.name}/{record.id}"
    heard: dict[AudioRef, AudioRef] = {}
    for ref in record.audio:
        path = os.path.abspath(ref.path)
        try:
            exact, _ = measured(replace(ref, path=path), LOOKED_AT, Path())
        except RowError as error:
            return Entry(name, error.reason, path, error.detail)
        heard[ref] = exact if relative_to is None else replace(exact, path=os.path.relpath(path, relative_to))
    turns = tuple(
        replace(turn, parts=tuple(part if isinstance(part, str) else heard[part] for part in turn.parts)) for turn in record.messages
    )
    meta = {"licence": recipe.licence, **record.meta, "split": split.name, "role": split.role}
    audio = tuple(heard[ref] for ref in record.audio)
    return replace(record, id=name, audio=audio, messages=turns, meta=meta, dataset=recipe.name)


def _source_of(row: Record | Entry) -> str:
    """Name the utterance or clip of a row; a lost one's id is its source and its family."""
    if isinstance(row, Record):
        return row.meta.get("source", row.id)
    source, _, family = row.id.rpartition("#")
    return source if source and family.partition(".")[0] in TASKS else row.id


def _summary(recipe: Recipe, folder: Path, counted: Sequence[Counted], missing: Sequence[str]) -> str:
    """Lay out what was found, split by split."""
    rows = []
    for each in counted:
        expected = "" if each.split.count is None else f"{each.split.count:,}"
        numbers = (each.ledger.admitted, len(each.clips), hours(each.seconds), len(each.sources))
        cells = [number if isinstance(number, str) else f"{number:,}" for number in numbers]
        rows.append((each.split.name, each.split.role, *cells, expected, f"{each.ledger.lost:,}"))
    parts = [table(("split", "for", "records", "clips", "hours", "sources", "expected", "lost"), rows)]
    for each in counted:
        lost = [
            f"  {each.split.name}: {count:,} {reason}: {LOST[reason]}"
            for reason, count in each.ledger.counts.most_common()
            if reason in LOST
        ]
        parts += [*lost, f"  {folder / each.split.name.replace('/', '-')}.ledger.jsonl lists them"] if lost else []
    if missing:
        parts.append(f"not in this folder: {', '.join(missing)}")
    return "\n".join([*parts, f"{recipe.title}, {recipe.licence}: {folder}"])
