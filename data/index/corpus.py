"""Corpus: rows that a mixture draws from, in groups, with an account of those that it has not; in memory here, on disk in `index`."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from data.groups import group_name, held_by
from data.ledger import Entry, Ledger
from data.manifest import Record
from data.rows.lengths import estimate_positions

OPEN_MOST = 200  # files of one source that are open at a time, two handles each
UNREAD = "?"  # stands for the group of a row that could not be read


@dataclass(frozen=True, slots=True)
class Tally:
    """What a group holds: admitted rows, seconds of audio, positions of the rendered rows."""

    rows: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, self.seconds + other.seconds, self.tokens + other.tokens)


@dataclass(slots=True)
class Account:
    """What became of the rows of a source, each counted once; changed rows are admitted ones.

    Attributes:
        held: group -> rows that a hold-out keeps out; held_by: KEY=VALUE -> the same rows.
        lost: group -> reason -> rows; UNREAD where the group is not known.
        changed: reason -> rows.
    """

    admitted: int = 0
    held: Counter[str] = field(default_factory=Counter)
    held_by: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)

    @property
    def n_lost(self) -> int:
        """Count the rows that are lost."""
        return sum(sum(reasons.values()) for reasons in self.lost.values())

    @property
    def n_held(self) -> int:
        """Count the rows that hold-outs keep out."""
        return sum(self.held.values())

    @property
    def seen(self) -> int:
        """Count the rows that the source has."""
        return self.admitted + self.n_lost + self.n_held

    def lose(self, group: str, reason: str, rows: int = 1) -> None:
        """Count rows that are lost."""
        self.lost.setdefault(group, Counter())[reason] += rows

    def hold(self, group: str, entry: str, rows: int = 1) -> None:
        """Count rows that a hold-out keeps out."""
        self.held[group] += rows
        self.held_by[entry] += rows

    def reasons(self) -> Counter[str]:
        """Count lost rows by reason."""
        return sum((reasons for reasons in self.lost.values()), Counter[str]())

    def add(self, other: Account) -> None:
        """Count in what another part of the source holds."""
        self.admitted += other.admitted
        self.held.update(other.held)
        self.held_by.update(other.held_by)
        self.changed.update(other.changed)
        for group, reasons in other.lost.items():
            for reason, rows in reasons.items():
                self.lose(group, reason, rows)

    def to_json(self) -> dict[str, object]:
        """Return plain values; from_json takes them."""
        return {
            "admitted": self.admitted,
            "held": dict(self.held),
            "held_by": dict(self.held_by),
            "lost": {group: dict(reasons) for group, reasons in self.lost.items()},
            "changed": dict(self.changed),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Account:
        """Build an account from plain values."""
        counters = {name: Counter(values[name]) for name in ("held", "held_by", "changed")}  # type: ignore[call-overload]
        lost = {group: Counter(reasons) for group, reasons in values["lost"].items()}  # type: ignore[attr-defined]
        return cls(admitted=values["admitted"], lost=lost, **counters)  # type: ignore[arg-type]


class Corpus(Protocol):
    """Rows in groups. A row is known by its number; memory does not depend on how many there are.

    Attributes:
        name: what messages call it.
        root: folder that relative audio paths are relative to.
        account: what became of every row of the source.
        sizes: DATASET/FAMILY -> admitted rows; the order of the groups numbers them from 0.
        exact: whether positions are counted by the true renderer rather than estimated.
    """

    name: str
    root: str
    account: Account
    sizes: Mapping[str, int]
    exact: bool

    def __len__(self) -> int:
        """Count the admitted rows."""

    def rows(self, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) of the rows that stand at places (n,) of groups (n,), both counted from 0."""

    def measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions (n,) and the seconds of audio (n,) of rows (n,)."""

    def tallies(self) -> dict[str, Tally]:
        """Return what each group holds."""

    def record(self, row: int) -> Record | Entry:
        """Read a row; a line of account where it cannot be read any more."""

    def where(self, row: int) -> str:
        """Say where a row stands: FILE:LINE."""

    def close(self) -> None:
        """Close what is open; what is asked next opens it again."""


class MemoryCorpus:
    """Records that are held in memory: small sets and tests.

    Args:
        records: admitted ones, and those that hold_out keeps out.
        account: of the source they come from; what hold_out keeps out and what is left are counted into it.
        count: gives the positions of a record; asked when a row is drawn first.
        exact: whether count renders, rather than estimates.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        name: str = "memory",
        root: str = "",
        account: Account | None = None,
        hold_out: Sequence[str] = (),
        count: Callable[[Record], int] = estimate_positions,
        exact: bool = False,
    ) -> None:
        self.name, self.root, self.exact, self._count = name, root, exact, count
        self.account = account or Account()
        self._records: list[Record] = []
        by_group: dict[str, list[int]] = {}
        for record in records:
            if (entry := held_by(record, hold_out)) is not None:
                self.account.hold(group_name(record), entry)
                continue
            by_group.setdefault(group_name(record), []).append(len(self._records))
            self._records.append(record)
        self.account.admitted += len(self._records)
        self.sizes: Mapping[str, int] = {group: len(rows) for group, rows in sorted(by_group.items())}
        self._order = np.array([row for group in self.sizes for row in by_group[group]], np.int64)
        self._starts = starts_of(self.sizes)
        self._seconds = np.array([record.duration_s or 0.0 for record in self._records], np.float32)
        self._tokens = np.zeros(len(self._records), np.uint32)

    def __len__(self) -> int:
        return len(self._records)

    def rows(self, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) of the rows that stand at places (n,) of groups (n,), both counted from 0."""
        return self._order[self._starts[groups] + places]

    def measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions (n,) and the seconds of audio (n,) of rows (n,)."""
        for row in rows[self._tokens[rows] == 0]:
            self._tokens[row] = self._count(self._records[row])
        return self._tokens[rows], self._seconds[rows]

    def tallies(self) -> dict[str, Tally]:
        """Return what each group holds; every row's positions are counted for it."""
        tokens, seconds = self.measure(self._order)
        parts = zip(self.sizes, np.split(tokens, self._starts[1:-1]), np.split(seconds, self._starts[1:-1]), strict=True)
        return {group: Tally(len(of), float(lasting.sum()), int(of.sum(dtype=np.int64))) for group, of, lasting in parts}

    def record(self, row: int) -> Record:
        """Return a row."""
        return self._records[row]

    def where(self, row: int) -> str:
        """Say which row it is: these have no lines of their own."""
        return f"{self.name}:{self._records[row].id}"

    def close(self) -> None:
        """Do nothing: nothing is open."""


class JoinedCorpus:
    """Several corpora as one, the files of a source one after another."""

    def __init__(self, parts: Sequence[Corpus], name: str) -> None:
        self.name, self.root = name, parts[0].root
        self.exact = all(part.exact for part in parts)
        self.account = Account()
        for part in parts:
            self.account.add(part.account)
        self._parts, self._used = parts, OrderedDict[int, None]()
        self._firsts = np.cumsum([0, *(len(part) for part in parts)])  # a part's first row
        names = sorted({group for part in parts for group in part.sizes})
        counts = np.array([[part.sizes.get(group, 0) for part in parts] for group in names], np.int64).reshape(len(names), len(parts))
        self.sizes: Mapping[str, int] = dict(zip(names, counts.sum(1).tolist(), strict=True))
        self._ends = counts.cumsum(1)  # (groups, parts): a group's places up to and with a part
        self._numbers = [{group: number for number, group in enumerate(part.sizes)} for part in parts]
        self._names = names

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def rows(self, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) of the rows that stand at places (n,) of groups (n,), both counted from 0."""
        out, owners = np.empty(len(groups), np.int64), np.empty(len(groups), np.int64)
        for group in np.unique(groups):
            owners[groups == group] = np.searchsorted(self._ends[group], places[groups == group], side="right")
        for part in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == part)
            before = self._ends[groups[mine], part - 1] if part else 0
            inside = np.array([self._numbers[part][self._names[group]] for group in groups[mine]], np.int64)
            out[mine] = self._firsts[part] + self._part(part).rows(inside, places[mine] - before)
        return out

    def measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions (n,) and the seconds of audio (n,) of rows (n,)."""
        tokens, seconds = np.empty(len(rows), np.uint32), np.empty(len(rows), np.float32)
        owners = np.searchsorted(self._firsts, rows, side="right") - 1
        for part in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == part)
            tokens[mine], seconds[mine] = self._part(part).measure(rows[mine] - self._firsts[part])
        return tokens, seconds

    def tallies(self) -> dict[str, Tally]:
        """Return what each group holds."""
        sums = dict.fromkeys(self.sizes, Tally())
        for part in self._parts:
            for group, tally in part.tallies().items():
                sums[group] += tally
        return sums

    def record(self, row: int) -> Record | Entry:
        """Read a row; a line of account where it cannot be read any more."""
        part, inside = self._owner(row)
        return part.record(inside)

    def where(self, row: int) -> str:
        """Say where a row stands: FILE:LINE."""
        part, inside = self._owner(row)
        return part.where(inside)

    def _owner(self, row: int) -> tuple[Corpus, int]:
        number = int(np.searchsorted(self._firsts, row, side="right")) - 1
        return self._part(number), row - int(self._firsts[number])

    def _part(self, number: int) -> Corpus:
        """Return a part and close the one that was not asked for longest: a process may have so many files open."""
        self._used[number] = None
        self._used.move_to_end(number)
        if len(self._used) > OPEN_MOST:
            self._parts[self._used.popitem(last=False)[0]].close()
        return self._parts[number]

    def close(self) -> None:
        """Close what is open; what is asked next opens it again."""
        for number in self._used:
            self._parts[number].close()
        self._used.clear()


def starts_of(sizes: Mapping[str, int]) -> np.ndarray:
    """Return where each group begins when groups follow one another, and behind them where they end: (groups + 1,)."""
    return np.cumsum([0, *sizes.values()])


def check_lost(account: Account, max_lost: float, name: str) -> None:
    """Refuse to go on where too much of a source is lost.

    Raises:
        DataError: with the reasons counted.
    """
    ledger = Ledger()
    ledger.admit(account.admitted)
    ledger.counts.update(account.reasons())
    ledger.check(max_lost, name)
