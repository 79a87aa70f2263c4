"""Recipe: where a corpus comes from, how its official layout is walked, and which rows that must give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data.ledger import Entry
from data.manifest import Record

Role = Literal["train", "dev", "test"]
Walk = Callable[[Path, "Split"], Iterator[Record | Entry]]
ReadRow = Callable[[Mapping[str, Any], str, "Split", str], Iterator[Record | Entry]]
NOT_VERIFIED = "not verified"


@dataclass(frozen=True, slots=True)
class Split:
    """One official split of a corpus.

    Attributes:
        name: as the corpus calls it; it stands in every row's meta["split"].
        role: what it may be used for; rows of "dev" and "test" are never trained on.
        count: how many different meta["source"] (utterances, clips) the split must have; None where no source says.
        verified: where the count can be read (a paper, the corpus' README, a mirror's card), or NOT_VERIFIED.
    """

    name: str
    role: Role
    count: int | None = None
    verified: str = NOT_VERIFIED


@dataclass(frozen=True, slots=True)
class Parquet:
    """A parquet copy of a corpus: its hub id, where each split's files are, and what a row becomes.

    Attributes:
        hub: OWNER/NAME of the hub.
        files: split name -> glob of its files below the corpus folder ("data/train-*.parquet").
        read_row: (row with undecoded audio, path of its audio as AudioRef.path takes it, split, FILE:ROW) -> records.
        verified: where the columns can be read, or NOT_VERIFIED.
    """

    hub: str
    files: Mapping[str, str]
    read_row: ReadRow
    verified: str = NOT_VERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A corpus.

    Attributes:
        name: as commands write it; also the dataset of its records.
        title: what it is, for people.
        source: where it is fetched from, as an address.
        licence: of recordings and labels; it stands in every row's meta["licence"].
        hours: of audio, None where no source says.
        languages: spoken, as codes; () for sound and music.
        tasks: families (of the 31) that its records serve.
        splits: the official ones, evaluation splits included.
        layout: the official tree, one path a line, as walk reads it.
        verified: where the layout can be read (the corpus' README, a loader's source), or NOT_VERIFIED.
        walk: (corpus folder, split) -> a Record for each row and task, an Entry for each row that is unusable.
        parquet: the hub's parquet copy, where there is one.
        notes: what a user must know: forms to sign, overlaps with other corpora.
    """

    name: str
    title: str
    source: str
    licence: str
    hours: float | None
    languages: tuple[str, ...]
    tasks: tuple[str, ...]
    splits: tuple[Split, ...]
    layout: str
    walk: Walk
    verified: str = NOT_VERIFIED
    parquet: Parquet | None = None
    notes: str = ""
    extras: tuple[str, ...] = field(default=())  # packages beyond the core that walk needs

    def split(self, name: str) -> Split:
        """Find a split by its name; KeyError where there is none."""
        return {split.name: split for split in self.splits}[name]
