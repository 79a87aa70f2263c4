"""Prompts -> Batch: rows padded to the longest, clips one after another; batches are made of like lengths."""

from __future__ import annotations

import dataclasses
import queue
import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from data.augment import augment_clip, mask_mel, tilt_mel
from data.augment_config import AugmentConfig
from data.examples import ReadClip, build_prompt
from data.manifest import AudioRef, Record
from data.mixture import Mixture
from qwen_audio.audio import AudioClip
from qwen_audio.config import ModelConfig
from qwen_audio.model.features import log_mel
from qwen_audio.model.joint import NOT_LEARNED
from qwen_audio.prompt import Prompt
from qwen_audio.tokenizer import Tokenizer
from tag_schema.answers import Note, write_note

T = TypeVar("T")
State = tuple[int, int]  # (chunk, batches of it that were given out)
Draws = list[tuple[int, Record]]
CHUNK = 1024  # draws that are sorted by length at a time
TEXT_S = 1.2  # a row's text weighs about as much as this many seconds of audio


@dataclass(slots=True)
class Batch:
    """B rows of T positions with A clips in all; a padded row's tail has segment 0.

    token_ids, segment, positions, labels: (B, T) int64; segment says which sample a position belongs to, positions count
    from 0 within it, labels are the ids to learn and -100 elsewhere. mels: (sum of F, n_mels) float32, clips one after
    another; frames: (A,) int64, 10 ms each; places: (A, 3) int64: row, first position, count.
    """

    token_ids: Tensor
    segment: Tensor
    positions: Tensor
    labels: Tensor
    mels: Tensor
    frames: Tensor
    places: Tensor

    @property
    def learned(self) -> int:
        """Count the positions that carry loss."""
        return int((self.labels != NOT_LEARNED).sum())

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(**{spec.name: getattr(self, spec.name).to(device) for spec in dataclasses.fields(self)})


def collate(prompts: Sequence[Prompt], config: ModelConfig, pad_id: int) -> Batch:
    """Lay prompts into one padded batch and compute the features of their clips."""
    length = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.full((len(prompts), length), pad_id)
    segment, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    labels = torch.full_like(ids, NOT_LEARNED)
    places: list[tuple[int, int, int]] = []
    for row, prompt in enumerate(prompts):
        n = len(prompt.token_ids)
        ids[row, :n] = torch.tensor(prompt.token_ids)
        segment[row, :n] = 1
        positions[row, :n] = torch.arange(n)
        labels[row, :n] = torch.where(torch.tensor(prompt.learned), ids[row, :n], NOT_LEARNED)
        places += [(row, span.start, len(span)) for span in prompt.spans]
    clips = [clip for prompt in prompts for clip in prompt.clips]
    if clips:
        mels, frames = log_mel(clips, config)
    else:
        mels, frames = torch.zeros(0, config.encoder.n_mels), torch.zeros(0, dtype=torch.int64)
    return Batch(ids, segment, positions, labels, mels, frames, torch.tensor(places, dtype=torch.int64).reshape(-1, 3))


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How draws become batches: at most budget_s seconds (rows x longest row, text weighed in) and max_rows rows."""

    budget_s: float = 40.0
    max_rows: int = 48


def plan_batches(mixture: Mixture, plan: BatchPlan, start: State = (0, 0)) -> Iterator[tuple[State, Draws]]:
    """Yield (state after this batch, its draws) without end, from a saved state on.

    A chunk of draws is sorted by length, cut into batches, and the batches are shuffled. The state is (chunk, batches
    of it that were given out): all that a resume needs.
    """
    chunk, given = start
    while True:
        draws = list(islice(mixture.draws(chunk * CHUNK), CHUNK))
        draws.sort(key=lambda draw: (draw[1].duration_s or 0.0, draw[0]))
        batches: list[Draws] = [[]]
        for draw in draws:
            longest = (draw[1].duration_s or 0.0) + TEXT_S  # sorted: the newest is the longest
            rows = len(batches[-1]) + 1
            if batches[-1] and (rows * longest > plan.budget_s or rows > plan.max_rows):
                batches.append([])
            batches[-1].append(draw)
        random.Random(f"{mixture.seed}/batches/{chunk}").shuffle(batches)
        for number in range(given, len(batches)):
            last = number + 1 == len(batches)
            yield ((chunk + 1, 0) if last else (chunk, number + 1)), batches[number]
        chunk, given = chunk + 1, 0


@dataclass(frozen=True)
class TrainingBatch:
    """A batch with what it was made of: its records in row order, and the saved state that continues behind it."""

    batch: Batch
    records: list[Record]
    state: State


@dataclass(frozen=True)
class BatchMaker:
    """Reads, changes and lays out the draws of a mixture; the same draw is changed in the same way in every run."""

    tokenizer: Tokenizer
    config: ModelConfig
    read: ReadClip
    augment: AugmentConfig | None = None
    seed: int = 0

    def make(self, draws: Sequence[tuple[int, Record]], state: State = (0, 0)) -> TrainingBatch:
        """Turn (position, record) draws into a batch."""
        built = [self._example(position, record) for position, record in draws]
        batch = collate([prompt for prompt, _ in built], self.config, self.tokenizer.end_of_text)
        if self.augment is not None and len(batch.frames):
            rng = np.random.default_rng([self.seed, draws[0][0], 1])
            for mel in batch.mels.split(batch.frames.tolist()):
                tilt_mel(mel.numpy(), self.augment, rng)
                mask_mel(mel.numpy(), self.augment, rng)
        return TrainingBatch(batch, [record for _, record in built], state)

    def _example(self, position: int, record: Record) -> tuple[Prompt, Record]:
        if self.augment is None:
            return build_prompt(record, self.tokenizer, self.read), record
        rng = np.random.default_rng([self.seed, position])
        augment, moved = self.augment, 0
        heard: dict[AudioRef, AudioClip] = {}
        for ref in dict.fromkeys(record.audio):
            heard[ref], moved = augment_clip(self.read(ref), record, augment, rng)
        if moved:
            midi = int(record.meta["midi"]) + moved
            target = write_note(Note(pitch=midi, instrument=record.meta.get("instrument")))
            record = dataclasses.replace(record, target=target, meta={**record.meta, "midi": str(midi)})
        return build_prompt(record, self.tokenizer, heard.__getitem__), record


def prefetch(make: Callable[[], Iterable[T]], depth: int = 4) -> Generator[T, None, None]:
    """Run an iterator in a thread, depth items ahead; its error is raised where its item would have come. Close it when done."""
    items: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                items.put((item, error), timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in make():
                if not put(item, None):
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    worker = threading.Thread(target=work, daemon=True, name="prefetch")
    worker.start()
    try:
        while True:
            item, error = items.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:  # also where the caller stops early: a thread left running would be cut off inside a library at exit
        stopped.set()
        worker.join()
