"""Draws -> Batch: clips read, rows padded to the longest, clips one after another; the one room of `data` that knows tensors."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from data.admission import reason_of
from data.augment import augment_clip, mask_mel, tilt_mel
from data.augment_config import AugmentConfig
from data.examples import ReadClip, build_prompt
from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.mixture.batches import DataState
from data.mixture.mixture import Draw, Mixture
from data.mixture.run_ledger import RunLedger
from qwen_audio.audio import MIN_SAMPLES, WINDOW_SAMPLES, AudioClip
from qwen_audio.config import ModelConfig
from qwen_audio.errors import AudioError, DataError
from qwen_audio.model.features import log_mel
from qwen_audio.model.joint import NOT_LEARNED, learned_places
from qwen_audio.prompt import Prompt
from qwen_audio.tokenizer import Tokenizer
from tag_schema.answers import Note, write_note
from tag_schema.vocabulary import TagError

T = TypeVar("T")


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
        return int(learned_places(self.labels, self.segment).sum())

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


@dataclass(frozen=True)
class TrainingBatch:
    """A batch with what it was made of: its records in row order, and the saved state that continues behind it."""

    batch: Batch
    records: list[Record]
    state: DataState


@dataclass(frozen=True)
class BatchMaker:
    """Reads, changes and lays out the draws of a mixture; the same draw is changed in the same way in every run.

    Attributes:
        readers: one for each corpus of the mixture: it knows where the clips' paths begin.
        ledger: takes rows that cannot be read or rendered any more; they are left out, and nothing takes their place.
    """

    tokenizer: Tokenizer
    config: ModelConfig
    mixture: Mixture
    readers: Sequence[ReadClip]
    augment: AugmentConfig | None = None
    seed: int = 0
    ledger: RunLedger = field(default_factory=RunLedger)

    def make(self, draws: Sequence[Draw], state: DataState) -> TrainingBatch | None:
        """Turn draws into a batch; None where all of them are lost.

        Raises:
            DataError: more rows of this run are lost than are allowed.
        """
        built = [made for draw in draws if (made := self._example(draw)) is not None]
        self.ledger.admit(len(built))
        if not built:
            return None
        batch = collate([prompt for _, prompt, _ in built], self.config, self.tokenizer.end_of_text)
        if self.augment is not None:
            rngs = [np.random.default_rng([self.seed, draw.position, 1]) for draw, _, _ in built]
            for mel, row in zip(batch.mels.split(batch.frames.tolist()), batch.places[:, 0].tolist(), strict=True):
                tilt_mel(mel.numpy(), self.augment, rngs[row])
                mask_mel(mel.numpy(), self.augment, rngs[row])
        return TrainingBatch(batch, [record for _, _, record in built], state)

    def _example(self, draw: Draw) -> tuple[Draw, Prompt, Record] | None:
        record = self.mixture.record(draw)
        if isinstance(record, Entry):
            self.ledger.lose(record, self.mixture.units[draw.unit].group)
            return None
        try:
            return (draw, *self._rendered(draw, record))
        except (DataError, TagError) as error:
            where, detail = self.mixture.corpora[draw.source].where(draw.row), str(error).removeprefix(f"record {record.id}: ")
            self.ledger.lose(Entry(record.id, _reason(error), where, detail), self.mixture.units[draw.unit].group)
            return None

    def _rendered(self, draw: Draw, record: Record) -> tuple[Prompt, Record]:
        read = self.readers[draw.source]
        if self.augment is None:
            return build_prompt(record, self.tokenizer, read), record
        rng = np.random.default_rng([self.seed, draw.position])
        heard: dict[AudioRef, AudioClip] = {}
        moved = 0
        for ref in dict.fromkeys(record.audio):
            clip = _heard(ref, record, read)
            heard[ref], moved = augment_clip(clip, record, self.augment, rng)
            if not MIN_SAMPLES <= len(heard[ref].samples) <= WINDOW_SAMPLES:  # slower than the encoder's window has room for
                heard[ref], moved = clip, 0
        if moved:
            midi = int(record.meta["midi"]) + moved
            target = write_note(Note(pitch=midi, instrument=record.meta.get("instrument")))
            record = dataclasses.replace(record, target=target, meta={**record.meta, "midi": str(midi)})
        return build_prompt(record, self.tokenizer, heard.__getitem__), record


def _heard(ref: AudioRef, record: Record, read: ReadClip) -> AudioClip:
    try:
        return read(ref)
    except AudioError as error:
        raise DataError(f"record {record.id}: {error}") from error


def _reason(error: DataError | TagError) -> str:
    """Name the ledger's reason for a row that cannot be rendered."""
    if isinstance(error, TagError):
        return "unknown_tag"
    return reason_of(error.__cause__) if isinstance(error.__cause__, AudioError) else "bad_row"


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
