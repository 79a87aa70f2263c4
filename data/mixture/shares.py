"""Shares of a mixture: weights, temperature and caps -> parts of a million draws, and how many of them each thousand brings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.groups import family_of_group
from qwen_audio.errors import ConfigError

BLOCK = 1000  # draws
MILLION = BLOCK * BLOCK  # draws after which every unit has had exactly its parts
STRIDE = 633  # of all strides the one whose runs are spread most evenly: no count is ever 3.5 from its share


@dataclass(frozen=True, slots=True)
class Unit:
    """A group of one source: what shares are given to."""

    source: int
    group: str
    rows: int
    weight: float = 1.0
    repeat: float = 1.0

    @property
    def family(self) -> str:
        """The task whose cap holds for it."""
        return family_of_group(self.group)


def shares_of(units: Sequence[Unit], temperature: float, caps: Mapping[str, float]) -> np.ndarray:
    """Return each unit's share of the draws, (U,) float64, together 1.

    Args:
        units: with the weight that is theirs, pattern's and source's.
        temperature: the exponent of the size is 1 / temperature.
        caps: family -> largest share.
    Raises:
        ConfigError: every weight is 0, a cap is for a family that is not there, or caps hold all shares below 1 together.
    """
    sizes = np.array([unit.repeat * unit.rows for unit in units], np.float64)
    raw = np.array([unit.weight for unit in units]) * np.where(sizes > 0, sizes ** (1.0 / temperature), 0.0)
    if not raw.sum() > 0:
        raise ConfigError("mixture: every weight is 0, or no row is left to draw")
    return _capped(raw / raw.sum(), [unit.family for unit in units], caps)


def _capped(shares: np.ndarray, families: Sequence[str], caps: Mapping[str, float]) -> np.ndarray:
    """Bring families down to their caps and share the excess out among the others in proportion, until none is above."""
    missing = sorted(set(caps) - set(families))
    if missing:
        raise ConfigError(f"caps: no rows of {', '.join(missing)}; there are {', '.join(sorted(set(families)))}")
    members: defaultdict[str, list[int]] = defaultdict(list)
    for number, family in enumerate(families):
        members[family].append(number)
    out, fixed = shares.copy(), np.zeros(len(shares), bool)
    while True:
        over = [family for family, cap in caps.items() if out[members[family]].sum() > cap + 1e-12 and not fixed[members[family]].all()]
        if not over:
            return out
        for family in over:
            out[members[family]] *= caps[family] / out[members[family]].sum()
            fixed[members[family]] = True
        rest = out[~fixed].sum()
        if not rest > 0:
            raise ConfigError(f"caps: together they hold all tasks to {out.sum():.3f} of the draws; raise one, or add data of another task")
        out[~fixed] *= (1.0 - out[fixed].sum()) / rest


def parts_of(shares: np.ndarray) -> np.ndarray:
    """Round shares to parts of a million: (U,) int64, together a million, at least 1 for each share above 0.

    The largest remainders get what rounding down leaves; what the smallest shares get beyond theirs, the largest gives.
    """
    exact = shares * MILLION
    parts = np.floor(exact).astype(np.int64)
    parts[(shares > 0) & (parts == 0)] = 1
    left = MILLION - int(parts.sum())
    order = np.argsort(-(exact - parts), kind="stable")
    if left > 0:
        parts[order[:left]] += 1
    else:
        parts[int(np.argmax(parts))] += left
    assert parts.sum() == MILLION
    return parts


class Calendar:
    """How many draws each unit gets in each block: its share to within one, and over a million draws exactly its parts.

    What a unit's parts leave over a whole number a block lies as a run of slots on one line of all units; slot j is served
    in block j * STRIDE mod BLOCK. A run is shorter than BLOCK, so that no block serves a unit twice, and every block serves as
    many slots; STRIDE spreads a run evenly. So the count before any block is a formula and needs no history.
    """

    def __init__(self, parts: np.ndarray) -> None:
        self.parts = parts
        self._every, over = np.divmod(parts, BLOCK)
        slots = np.arange(int(over.sum()))
        cells = np.repeat(np.arange(len(parts)), over) * BLOCK + slots * STRIDE % BLOCK
        self._extra = np.bincount(cells, minlength=len(parts) * BLOCK).reshape(len(parts), BLOCK).astype(np.int8)
        self._before = np.zeros((len(parts), BLOCK + 1), np.int16)
        np.cumsum(self._extra, axis=1, out=self._before[:, 1:])

    def counts(self, block: int) -> np.ndarray:
        """Return how many draws each unit gets in a block: (U,) int64, together BLOCK."""
        return self._every + self._extra[:, block % BLOCK]

    def before(self, block: int) -> np.ndarray:
        """Return how many draws each unit got in all blocks before: (U,) int64."""
        rounds, place = divmod(block, BLOCK)
        return rounds * self.parts + place * self._every + self._before[:, place]
