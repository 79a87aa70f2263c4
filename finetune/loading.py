"""Shares of global batches, made ahead of the steps that take them: in this process, or in several that change nothing but the time."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from data.batching import BatchMaker, TrainingBatch
from data.examples import clip_reader, remembering
from data.ledger import Entry
from data.mixture.batches import BatchPlan, DataState, deal, global_batches, micro_batches
from data.mixture.mixture import Draw, Mixture
from data.mixture.run_ledger import RunLedger
from finetune.config import TrainConfig
from qwen_audio.command import live_with_starter
from qwen_audio.config import ModelConfig
from qwen_audio.errors import DataError
from qwen_audio.tokenizer import Tokenizer

DIED = "a process that makes batches has died; fewer of them (dataloader_num_workers) take less memory"
AHEAD = 2  # shares that are being made for every process that makes them


@dataclass(frozen=True)
class Share:
    """What a rank computes in one step: as many micro-batches as every other rank, None where it has no more rows."""

    made: list[TrainingBatch | None]
    state: DataState
    failed: bool = False  # this rank has none, and says so to the others


class Made(NamedTuple):
    """A micro-batch, and what it has cost: draws that are lost, each with its group."""

    batch: TrainingBatch | None
    admitted: int
    lost: list[tuple[Entry, str]]


class _Noting(RunLedger):
    """Notes what a process loses, for the run's own ledger to judge."""

    def __init__(self) -> None:
        super().__init__(max_lost=1.0)
        self.lost: list[tuple[Entry, str]] = []

    def lose(self, entry: Entry, group: str) -> None:
        """Note a draw that is left out."""
        self.lost.append((entry, group))


@dataclass(frozen=True)
class Loader:
    """Makes the shares of one rank.

    Attributes:
        config: of the model.
        place: rank, ranks.
        quotas: of each unit of the mixture, its draws in the run; None: without end.
    """

    settings: TrainConfig
    tokenizer: Tokenizer
    config: ModelConfig
    mixture: Mixture
    ledger: RunLedger
    place: tuple[int, int] = (0, 1)
    quotas: Sequence[int] | None = None

    def shares(self, state: DataState) -> Iterator[Share]:
        """Yield this rank's shares from a place in the data on.

        Raises:
            DataError: more rows are lost than are allowed, or a process that makes batches has died.
        """
        rank, ranks = self.place
        waiting: deque[tuple[DataState, int, list[Future[Made]]]] = deque()
        with self._makers() as make:
            for behind, draws in global_batches(self.mixture, plan_of(self.settings), state, quotas=self.quotas):
                cuts = [cut(draws, self.settings, number, ranks) for number in range(ranks)]
                waiting.append((behind, max(map(len, cuts)), [make(part, behind) for part in cuts[rank]]))
                if len(waiting) > AHEAD * self.settings.dataloader_num_workers:
                    yield self._share(*waiting.popleft())
            while waiting:
                yield self._share(*waiting.popleft())

    def _share(self, behind: DataState, turns: int, parts: Sequence[Future[Made]]) -> Share:
        """Take what was made, and enter what was lost in the order of the draws."""
        batches: list[TrainingBatch | None] = []
        for part in parts:
            try:
                made = part.result()
            except BrokenProcessPool as error:
                raise DataError(DIED) from error
            for entry, group in made.lost:
                self.ledger.lose(entry, group)
            self.ledger.admit(made.admitted)
            batches.append(made.batch)
        return Share(batches + [None] * (turns - len(batches)), behind)

    @contextmanager
    def _makers(self) -> Iterator[Callable[[list[Draw], DataState], Future[Made]]]:
        """Give what begins to make a micro-batch: at once and here, or in one of several processes."""
        workers = self.settings.dataloader_num_workers
        if not workers:
            maker = self._maker()
            yield lambda draws, behind: _done(_make(maker, draws, behind))
            return
        spawn = multiprocessing.get_context("spawn")  # a fork would copy threads that hold locks
        pool = ProcessPoolExecutor(workers, spawn, _begin, (replace(self, ledger=RunLedger()),))
        try:
            yield lambda draws, behind: _submitted(pool, draws, behind)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _maker(self) -> BatchMaker:
        """Build what makes batches in one process; it keeps its share of the memory for decoded audio."""
        room = (self.settings.cache_mb << 20) // len(self.mixture.corpora) // max(1, self.settings.dataloader_num_workers)
        readers = [remembering(clip_reader(corpus.root), room) for corpus in self.mixture.corpora]
        return BatchMaker(self.tokenizer, self.config, self.mixture, readers, self.settings.augment, self.settings.seed, _Noting())


_makers: list[BatchMaker] = []  # the one of a process that makes batches for another


def _begin(loader: Loader) -> None:
    live_with_starter()
    torch.set_num_threads(1)
    _makers[:] = [loader._maker()]


def _make_there(draws: list[Draw], behind: DataState) -> Made:
    return _make(_makers[0], draws, behind)


def _make(maker: BatchMaker, draws: list[Draw], behind: DataState) -> Made:
    noted = maker.ledger
    assert isinstance(noted, _Noting)
    noted.lost = []
    before = noted.account.admitted
    batch = maker.make(draws, behind)
    return Made(batch, noted.account.admitted - before, noted.lost)


def _submitted(pool: ProcessPoolExecutor, draws: list[Draw], behind: DataState) -> Future[Made]:
    try:
        return pool.submit(_make_there, draws, behind)
    except BrokenProcessPool as error:
        raise DataError(DIED) from error


def _done(made: Made) -> Future[Made]:
    future: Future[Made] = Future()
    future.set_result(made)
    return future


def plan_of(config: TrainConfig) -> BatchPlan:
    """Say how draws become global batches."""
    return BatchPlan(config.batch_tokens, config.batch_rows, config.patience)


def cut(draws: Sequence[Draw], config: TrainConfig, rank: int, ranks: int) -> list[list[Draw]]:
    """Cut a rank's share of a global batch into micro-batches."""
    pieces = config.gradient_accumulation_steps
    whole = sum(draw.tokens for draw in draws) + config.batch_tokens * len(draws)  # more than any share weighs
    budget = -(-config.batch_tokens // (ranks * pieces)) if pieces else whole
    return micro_batches(deal(draws, rank, ranks), budget, config.per_device_train_batch_size or len(draws))
