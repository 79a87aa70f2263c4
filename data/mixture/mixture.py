"""The order in which a run sees its rows: draw n is a function of the seed and n alone, so that a resume is exact and free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from data.groups import weigh
from data.index.corpus import Corpus
from data.ledger import Entry
from data.manifest import Record
from data.mixture.permutation import permute, round_keys
from data.mixture.shares import BLOCK, MILLION, Calendar, Unit, parts_of, shares_of
from qwen_audio.errors import ConfigError

KEPT_BLOCKS = 64  # what a resume asks for again lies near


class Draw(NamedTuple):
    """One draw of a run: its place in the order, the row, and what it weighs in a batch.

    Attributes:
        position: n, counted from 0.
        unit: number of the unit (a group of a source) that it is from.
        source: number of the corpus; row: its number there.
        tokens: positions of the rendered row; seconds: of audio.
    """

    position: int
    unit: int
    source: int
    row: int
    tokens: int
    seconds: float


class Mixture:
    """Corpora with weights; draw n of a run is always the same row.

    A block of BLOCK draws gives every unit its share to within one, in a shuffled order, and a million draws give it exactly.
    Inside a unit the rows come in a new shuffled order each time they have all been seen. Nothing is remembered and nothing
    is listed: memory does not depend on how many rows there are or how far a run has come.

    Args:
        corpora: what is drawn from.
        weights: DATASET/FAMILY patterns, the first that fits counts.
        temperature, caps: see MixtureConfig.
        sources: (weight, repeat) of each corpus.
    Raises:
        ConfigError: a pattern, a cap or all weights lead to nothing.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        *,
        weights: Mapping[str, float] | None = None,
        temperature: float = 1.0,
        caps: Mapping[str, float] | None = None,
        sources: Sequence[tuple[float, float]] = (),
        seed: int = 0,
    ) -> None:
        self.corpora, self.seed = tuple(corpora), seed
        known = {group for corpus in corpora for group in (*corpus.sizes, *corpus.account.held)}
        if not known:
            named = ", ".join(corpus.name for corpus in corpora) or "no source at all"
            raise ConfigError(f"mixture: no row was admitted from {named}; `python -m data check` says why")
        by_group = weigh(known, weights or {"*": 1.0})
        factors = sources or [(1.0, 1.0)] * len(corpora)
        self.units = tuple(
            Unit(number, group, rows, by_group[group] * weight, repeat)
            for number, (corpus, (weight, repeat)) in enumerate(zip(corpora, factors, strict=True))
            for group, rows in corpus.sizes.items()
        )
        self.parts = parts_of(shares_of(self.units, temperature, caps or {}))
        self.shares = self.parts / MILLION  # as they are drawn
        self._calendar = Calendar(self.parts)
        self._sizes = np.array([unit.rows for unit in self.units], np.int64)
        self._sources = np.array([unit.source for unit in self.units], np.int64)
        numbers = [{group: number for number, group in enumerate(corpus.sizes)} for corpus in corpora]
        self._groups = np.array([numbers[unit.source][unit.group] for unit in self.units], np.int64)
        self._block = lru_cache(maxsize=KEPT_BLOCKS)(self._draw_block)

    @property
    def digest(self) -> str:
        """Name the order: another seed, other shares or another number of rows give another name."""
        told = [(unit.source, unit.group, unit.rows, int(part)) for unit, part in zip(self.units, self.parts, strict=True)]
        return blake2b(repr((self.seed, told)).encode(), digest_size=8).hexdigest()

    def draw(self, position: int) -> Draw:
        """Return draw n, counted from 0."""
        block, inside = divmod(position, BLOCK)
        return self._block(block)[inside]

    def draws(self, position: int = 0) -> Iterator[Draw]:
        """Yield the draws from any position on, without end."""
        block, inside = divmod(position, BLOCK)
        while True:
            yield from self._block(block)[inside:]
            block, inside = block + 1, 0

    def draws_within(self, quotas: Sequence[int], position: int = 0) -> Iterator[Draw]:
        """Yield the draws from any position on, of each unit no more than its quota from the first draw on; they end with the last one."""
        seen = self.seen(position)
        left = sum(max(0, quota - before) for quota, before in zip(quotas, seen, strict=True))
        draws = self.draws(position)
        while left:
            draw = next(draws)
            seen[draw.unit] += 1
            if seen[draw.unit] <= quotas[draw.unit]:
                left -= 1
                yield draw

    def seen(self, position: int) -> list[int]:
        """Count each unit's draws before a position."""
        block, inside = divmod(position, BLOCK)
        counts: list[int] = self._calendar.before(block).tolist()
        for draw in self._block(block)[:inside]:
            counts[draw.unit] += 1
        return counts

    def quotas(self, draws: int) -> list[int]:
        """Share so many draws out, the largest remainders first: how many are of each unit, at least one of each that has a share."""
        exact = draws * self.parts / MILLION
        found = np.maximum(np.floor(exact), self.parts > 0).astype(np.int64)
        order = np.argsort(found - exact, kind="stable")
        found[order[: max(0, draws - int(found.sum()))]] += 1
        counts: list[int] = found.tolist()
        return counts

    def record(self, draw: Draw) -> Record | Entry:
        """Read the row of a draw; a line of account where it cannot be read any more."""
        return self.corpora[draw.source].record(draw.row)

    def epochs(self, draws: int) -> np.ndarray:
        """Return how often each unit's rows are seen in so many draws: (U,)."""
        return draws * self.parts / MILLION / np.maximum(1, self._sizes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_block"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._block = lru_cache(maxsize=KEPT_BLOCKS)(self._draw_block)

    def _draw_block(self, block: int) -> list[Draw]:
        counts = self._calendar.counts(block)
        place = np.arange(BLOCK)
        shuffled = permute(place, BLOCK, round_keys(f"{self.seed}/block/{block}"))
        units = np.repeat(np.arange(len(self.units)), counts)[shuffled]
        # Which of its unit's draws each is, in the order of the block: the draws of a unit must follow its epochs.
        nth = np.empty(BLOCK, np.int64)
        nth[np.argsort(units, kind="stable")] = place - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self._rows(units, self._calendar.before(block)[units] + nth)
        tokens, seconds = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.float64)
        sources = self._sources[units]
        for source in np.unique(sources):
            mine = sources == source
            tokens[mine], seconds[mine] = self.corpora[source].measure(rows[mine])
        columns = (place + block * BLOCK, units, sources, rows, tokens, seconds)
        return list(map(Draw, *(column.tolist() for column in columns)))

    def _rows(self, units: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Find the row of each unit's draw number `seen`."""
        epochs, places = np.divmod(seen, self._sizes[units])
        pairs, which = np.unique(np.stack([units, epochs]), axis=1, return_inverse=True)
        names = (f"{self.seed}/{self.units[unit].source}/{self.units[unit].group}/{epoch}" for unit, epoch in pairs.T.tolist())
        keys = np.stack([round_keys(name) for name in names])[which.ravel()]
        places = permute(places, self._sizes[units], keys)
        rows = np.empty(len(units), np.int64)
        for source in np.unique(self._sources[units]):
            mine = self._sources[units] == source
            rows[mine] = self.corpora[source].rows(self._groups[units[mine]], places[mine])
        return rows
