"""Learner: the model with the losses of a micro-batch; the one module that every backend wraps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.batching import Batch, TrainingBatch
from data.manifest import Record
from finetune.auxiliary import Auxiliary
from finetune.config import TrainConfig
from qwen_audio.config import ModelConfig
from qwen_audio.model.joint import NOT_LEARNED, QwenAudio

IDLE_FRAMES = 8  # 80 ms: two vectors


class Micro(NamedTuple):
    """What one forward takes; owners says per clip which tagged record it belongs to."""

    batch: Batch
    owners: list[Record | None]
    idle: bool = False  # computed because other ranks compute: it counts for nothing


class Learner(nn.Module):
    """Losses of a micro-batch.

    Every forward runs the same parts in the same order, whatever the micro-batch holds: a batch of text alone gets a short clip in a
    row of its own, and a rank without rows computes such a row for nothing. Ranks that wait for each other's gradients or weights
    part by part would otherwise wait for ever.

    Args:
        heads: the encoder's own losses, None without.
        autocast: the numbers to multiply in, None for the weights' own.
    """

    def __init__(self, model: QwenAudio, heads: Auxiliary | None, config: TrainConfig, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model, self.heads, self.autocast = model, heads, autocast
        self.speaks = config.stage != "encoder"

    def forward(self, micro: Micro, scales: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss to go back from and, without gradients, the sums of the three losses, (3,), and the loss of each
        learned position, (n,), row by row.

        Args:
            scales: what the sums of the language, CTC and classification losses are multiplied by in the loss.
        """
        batch = micro.batch
        with torch.autocast(batch.token_ids.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            audio, ctc, classified = self._hear(micro)
            each = self._speak(batch, audio) if self.speaks else ctc.new_zeros(0)
        sums = torch.stack([each.sum(), ctc.float(), classified.float()])
        loss = (sums * torch.tensor(scales, device=sums.device)).sum()
        if micro.idle:
            return loss * 0.0, sums.detach() * 0.0, each.detach()[:0]
        return loss, sums.detach(), each.detach()

    def _hear(self, micro: Micro) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the encoder: vectors for the decoder, sums of the CTC and the classification loss."""
        batch, encoder = micro.batch, self.model.encoder
        if self.heads is None:
            nothing = batch.token_ids.new_zeros((), dtype=torch.float32)
            return self.model.bound(*encoder.vectors(batch.mels, batch.frames)), nothing, nothing
        states, lengths = encoder.states(batch.mels, batch.frames)
        ctc, classified = self.heads(states, lengths, micro.owners)
        return (self.model.bound(*encoder.project(states, lengths)) if self.speaks else []), ctc, classified

    def _speak(self, batch: Batch, audio: Sequence[Tensor]) -> Tensor:
        """Return the language loss of each learned position, (n,)."""
        # Not by calling the model: DeepSpeed finds the tensors of what a module returns in plain tuples alone.
        hidden, segment, labels = self.model.read(
            batch.token_ids, audio=audio, places=batch.places, segment=batch.segment, positions=batch.positions, labels=batch.labels
        )
        assert labels is not None
        return self.model.token_losses(hidden, labels, segment)


def micro_of(made: TrainingBatch | None, config: ModelConfig) -> Micro:
    """Turn what the loader made into what a forward takes; None is a rank's turn without rows."""
    if made is None:
        return Micro(idle_row(config, learned=True), [None], idle=True)
    batch = made.batch
    rows = [made.records[row] for row in batch.places[:, 0].tolist()]
    owners = [record if record.prefix is not None else None for record in rows]
    return Micro(batch, owners) if len(batch.frames) else Micro(with_row(batch, idle_row(config, learned=False)), [None])


def idle_row(config: ModelConfig, *, learned: bool) -> Batch:
    """Make a row of one short silent clip; with `learned` its last position has a label, so that the head is run too."""
    pads = IDLE_FRAMES // 4
    ids = torch.tensor([[config.audio_start_id, *[config.audio_pad_id] * pads, config.audio_end_id, 0]])
    labels = torch.full_like(ids, NOT_LEARNED)
    labels[0, -1] = 0 if learned else NOT_LEARNED
    return Batch(
        token_ids=ids, segment=torch.ones_like(ids), positions=torch.arange(ids.shape[1])[None], labels=labels,
        mels=torch.zeros(IDLE_FRAMES, config.encoder.n_mels), frames=torch.tensor([IDLE_FRAMES]), places=torch.tensor([[0, 0, pads + 2]]),
    )  # fmt: skip


def with_row(batch: Batch, row: Batch) -> Batch:
    """Add a row to a batch without clips."""
    assert not len(batch.frames), "clips come in the order of their rows"
    width = max(batch.token_ids.shape[1], row.token_ids.shape[1])

    def joined(name: str, fill: int) -> Tensor:
        parts = [getattr(part, name) for part in (batch, row)]
        return torch.cat([functional.pad(part, (0, width - part.shape[1]), value=fill) for part in parts])

    places = row.places.clone()
    places[:, 0] += len(batch.token_ids)
    return replace(
        row, token_ids=joined("token_ids", 0), segment=joined("segment", 0), positions=joined("positions", 0),
        labels=joined("labels", NOT_LEARNED), places=places,
    )  # fmt: skip


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device, but for the frames and places, which are read as numbers."""
    return replace(batch.to(device), frames=batch.frames, places=batch.places)
