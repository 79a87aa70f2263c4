"""The order in which a run sees its records: a pure function of (seed, position), so that a resume is exact and free."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from data.manifest import Record
from qwen_audio.errors import ConfigError

BLOCK = 1000  # draws after which each group has had exactly its share


@dataclass(frozen=True)
class Mixture:
    """Groups of records with weights; draw n of a run is always the same record.

    A block of BLOCK draws gives every group its share, rounded, in a shuffled order; inside a group the records come
    in a new shuffled order each time they have all been seen.
    """

    groups: Mapping[str, Sequence[Record]]
    weights: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in self.groups:
                raise ConfigError(f"mixture: no records in the group {name!r}; groups: {', '.join(sorted(self.groups))}")
            if weight < 0:
                raise ConfigError(f"mixture: the weight of {name} is {weight}: expected 0 or more")
        if not sum(self.weights.get(name, 0.0) for name in self.groups if self.groups[name]):
            raise ConfigError("mixture: every weight is 0")

    def shares(self) -> dict[str, int]:
        """Return how many of BLOCK draws each group gets (largest remainders get what rounding leaves)."""
        weights = {name: self.weights.get(name, 0.0) for name, records in self.groups.items() if records}
        total = sum(weights.values())
        exact = {name: BLOCK * weight / total for name, weight in weights.items()}
        shares = {name: int(value) for name, value in exact.items()}
        by_remainder = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
        for name in by_remainder[: BLOCK - sum(shares.values())]:
            shares[name] += 1
        return shares

    def draws(self, position: int = 0) -> Iterator[tuple[int, Record]]:
        """Yield (position, record) from any position on, without end."""
        shares = self.shares()
        while True:
            block, inside = divmod(position, BLOCK)
            order = _block_order(self.seed, block, tuple(sorted(shares.items())))
            seen: dict[str, int] = {name: block * share for name, share in shares.items()}
            for index, name in enumerate(order):
                if index >= inside:
                    yield position, self._record(name, seen[name])
                    position += 1
                seen[name] += 1

    def _record(self, name: str, draw: int) -> Record:
        records = self.groups[name]
        epoch, index = divmod(draw, len(records))
        return records[_permutation(f"{self.seed}/{name}/{epoch}", len(records))[index]]


@lru_cache(maxsize=4)
def _block_order(seed: int, block: int, shares: tuple[tuple[str, int], ...]) -> list[str]:
    order = [name for name, share in shares for _ in range(share)]
    random.Random(f"{seed}/block/{block}").shuffle(order)
    return order


@lru_cache(maxsize=256)
def _permutation(key: str, length: int) -> list[int]:
    order = list(range(length))
    random.Random(key).shuffle(order)
    return order
