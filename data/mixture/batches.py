"""Draws -> global batches of like lengths -> a share for each rank; the batches know nothing of ranks, so that their number may change."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

from data.mixture.mixture import Draw, Mixture
from qwen_audio.config import check_positive
from qwen_audio.errors import ConfigError

log = logging.getLogger(__name__)
SHORTEST, GROWTH, LONGEST = 16, 1.12, 1 << 20  # positions: rows of one bucket differ by at most GROWTH
EDGES = tuple(edge for edge in accumulate(repeat(GROWTH, 100), lambda edge, by: int(edge * by) + 1, initial=SHORTEST) if edge < LONGEST)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How draws become global batches.

    Attributes:
        budget_tokens: positions of a batch, rows x longest row; a longer row is a batch of its own.
        max_rows: rows of a batch.
        patience: a draw is given out before so many further draws have been made, in a batch that is filled up with shorter rows.
    """

    budget_tokens: int = 4096
    max_rows: int = 64
    patience: int = 4096

    def __post_init__(self) -> None:
        check_positive(self)


@dataclass(frozen=True, slots=True)
class DataState:
    """A place in the data: all that a resume needs, whatever the number of ranks.

    Attributes:
        seed: of the mixture.
        position: the next draw.
        held: positions of the draws before it that wait in buckets.
        digest: of the mixture, so that changed data are noticed.
    """

    seed: int = 0
    position: int = 0
    held: tuple[int, ...] = ()
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; from_json takes them."""
        return {"seed": self.seed, "position": self.position, "held": list(self.held), "digest": self.digest}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataState:
        """Build a state from plain values.

        Raises:
            ConfigError: they are not those of a state.
        """
        try:
            return cls(int(values["seed"]), int(values["position"]), tuple(map(int, values["held"])), str(values["digest"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the place in the data cannot be read ({error!r}); the checkpoint is of another version") from error


class _Buckets:
    """Draws that wait, by length; in each bucket in the order in which they came."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan
        self.rows: dict[int, list[Draw]] = {}
        self.changed: set[int] = set()  # buckets that may have become full
        self.oldest = 0  # no draw before this position waits

    def fits(self, draws: Sequence[Draw], tokens: int) -> bool:
        """Tell whether a batch has room for one more row of so many positions."""
        if not draws:
            return True
        longest = max(tokens, max(draw.tokens for draw in draws))
        return len(draws) < self.plan.max_rows and (len(draws) + 1) * longest <= self.plan.budget_tokens

    def add(self, draw: Draw) -> list[Draw] | None:
        """Put a draw into its bucket; return what waited there where it has no room beside it."""
        number = bisect_left(EDGES, draw.tokens)
        waiting = self.rows.get(number, [])
        self.changed.add(number)
        if self.fits(waiting, draw.tokens):
            self.rows.setdefault(number, []).append(draw)
            return None
        self.rows[number] = [draw]
        return waiting

    def ready(self, position: int) -> list[Draw] | None:
        """Take out a bucket without room for another row as long as its longest, or one with a draw whose patience ends."""
        for number in sorted(self.changed):
            self.changed.discard(number)
            rows = self.rows.get(number, [])
            if rows and not self.fits(rows, max(draw.tokens for draw in rows)):
                return self.rows.pop(number)
        if position - self.oldest < self.plan.patience or not self.rows:
            return None
        self.oldest, number = min((rows[0].position, number) for number, rows in self.rows.items())
        return self._filled_up(number) if position - self.oldest >= self.plan.patience else None

    def rest(self) -> list[Draw] | None:
        """Take out the longest rows that wait, filled up with shorter ones; None where nothing waits."""
        return self._filled_up(max(self.rows)) if self.rows else None

    def _filled_up(self, number: int) -> list[Draw]:
        """Take out a bucket and fill the batch up with the shorter rows that come nearest."""
        batch = self.rows.pop(number)
        for below in sorted((other for other in self.rows if other < number), reverse=True):
            while self.rows[below] and self.fits(batch, self.rows[below][0].tokens):
                batch.append(self.rows[below].pop(0))
            if self.rows[below]:
                break
            del self.rows[below]
        return batch

    def held(self) -> Iterator[int]:
        """Yield the positions of all that waits."""
        return (draw.position for rows in self.rows.values() for draw in rows)


def global_batches(
    mixture: Mixture, plan: BatchPlan, state: DataState | None = None, *, quotas: Sequence[int] | None = None
) -> Iterator[tuple[DataState, list[Draw]]]:
    """Yield (the state behind this batch, its draws), from a saved state on.

    Draws go into buckets of like length, in their order; a bucket that is full is a batch. Every draw is given out once, at most
    plan.patience draws after its own.

    Args:
        quotas: of each unit, how many draws there are; behind the last one all that wait is given out. None: without end.
    Raises:
        ConfigError: the state is of another seed.
    """
    state = start_state(mixture) if state is None else checked_state(mixture, state)
    buckets, position, waiting = _Buckets(plan), state.position, list(state.held)

    def behind() -> DataState:
        return DataState(mixture.seed, position, tuple(sorted([*buckets.held(), *waiting])), mixture.digest)

    while waiting:  # into the buckets where they waited; under a smaller budget than then they may overflow
        if (batch := buckets.add(mixture.draw(waiting.pop(0)))) is not None:
            yield behind(), batch
    for draw in mixture.draws(position) if quotas is None else mixture.draws_within(quotas, position):
        while (batch := buckets.ready(position)) is not None:
            yield behind(), batch
        position = draw.position + 1
        if (batch := buckets.add(draw)) is not None:
            yield behind(), batch
    while (batch := buckets.rest()) is not None:
        yield behind(), batch


def start_state(mixture: Mixture) -> DataState:
    """Return the place before the first draw."""
    return DataState(mixture.seed, 0, (), mixture.digest)


def checked_state(mixture: Mixture, state: DataState) -> DataState:
    """Return a saved state after seeing that it is of this mixture.

    Raises:
        ConfigError: it is of another seed.
    """
    if state.seed != mixture.seed:
        raise ConfigError(f"seed is {mixture.seed}, the checkpoint's is {state.seed}: go on with that seed, or begin anew with --fresh")
    if state.digest and state.digest != mixture.digest:
        log.warning("the data or their weights have changed: the run goes on at draw %d of another order", state.position)
    return state


def deal(draws: Sequence[Draw], rank: int, ranks: int) -> list[Draw]:
    """Return a rank's share of a global batch: as many positions as the others' as nearly as greed gets, longest first.

    Every rank has a row where there are as many rows as ranks.
    """
    assert 0 <= rank < ranks, (rank, ranks)
    loads, share = [(0, 0, number) for number in range(ranks)], []
    for draw in sorted(draws, key=lambda draw: (-draw.tokens, draw.position)):
        tokens, rows, lightest = min(loads)
        loads[lightest] = (tokens + draw.tokens, rows + 1, lightest)
        if lightest == rank:
            share.append(draw)
    return share


def micro_batches(draws: Sequence[Draw], budget_tokens: int, max_rows: int) -> list[list[Draw]]:
    """Cut a rank's share into batches that a device holds: longest first, rows x longest at most the budget, never empty."""
    cut: list[list[Draw]] = []
    for draw in sorted(draws, key=lambda draw: (-draw.tokens, draw.position)):
        if cut and len(cut[-1]) < max_rows and (len(cut[-1]) + 1) * cut[-1][0].tokens <= budget_tokens:
            cut[-1].append(draw)
        else:
            cut.append([draw])
    return cut
