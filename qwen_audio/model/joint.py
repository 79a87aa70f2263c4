"""QwenAudio: audio embeddings laid into the text; a loss or states to read words from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qwen_audio.audio import AudioClip
from qwen_audio.config import ModelConfig
from qwen_audio.model.decoder import Decoder
from qwen_audio.model.encoder import Encoder
from qwen_audio.model.features import log_mel

NOT_LEARNED = -100


@dataclass(frozen=True, slots=True)
class JointOutput:
    """What a forward gives: loss is None without labels; n_learned is how many positions it is the mean of."""

    loss: Tensor | None  # () fp32
    hidden: Tensor  # (B, T, D) after the final norm
    n_learned: int


class QwenAudio(nn.Module):
    """Encoder and decoder, and the two learned vectors that bound a clip where the family has them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.decoder.width
        self.encoder = Encoder(config.encoder, width, config.family)
        self.decoder = Decoder(config.decoder)
        self.audio_bounds = nn.Embedding(2, width) if config.learned_bounds else None
        self.packed = False
        self.apply(_initialise)
        for blocks in (self.encoder.blocks, self.decoder.blocks):
            _soften(blocks)

    def pack(self, packed: bool = True) -> QwenAudio:
        """Choose how batches are computed: packed, nothing is spent on padding; padded is the reference that it equals."""
        self.packed = self.encoder.packed = packed
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.norm.weight.device  # the embedding may be one that puts its table together when it is asked

    @property
    def dtype(self) -> torch.dtype:
        """In which numbers the weights are."""
        return self.decoder.norm.weight.dtype

    def log_mel(self, clips: Sequence[AudioClip]) -> tuple[Tensor, Tensor]:
        """Turn clips into mels (sum of F, n_mels) on the model's device and frames (A,); see features.log_mel."""
        mels, frames = log_mel(clips, self.config)
        return mels.to(self.device), frames

    def encode_audio(self, mels: Tensor, frames: Tensor) -> list[Tensor]:
        """Hear clips.

        Args:
            mels: (sum of F, n_mels); frames: (A,), as log_mel gives them.
        Returns:
            A tensors: (n_i + 2, D) with the learned bounds around them, or (n_i, D) in a family without.
        """
        if not len(frames):
            return []
        return self.bound(*self.encoder.vectors(mels.to(self.device), frames))

    def bound(self, vectors: Tensor, counts: Tensor) -> list[Tensor]:
        """Split what the encoder projected, (sum of n, D) and n (A,), into clips and lay the learned bounds around each."""
        clips = vectors.split(counts.tolist())
        if self.audio_bounds is None:
            return list(clips)
        first, last = self.audio_bounds.weight.to(vectors.dtype).split(1)
        return [torch.cat([first, clip, last]) for clip in clips]

    def embed(self, token_ids: Tensor, audio: Sequence[Tensor], places: Tensor) -> Tensor:
        """Embed ids and lay audio into its places, leaving every input as it is.

        Args:
            token_ids: (B, T) int64.
            audio: A tensors as encode_audio gives them, in the order of places.
            places: (A, 3) int64: row, first position and count of each span, its two bounds counted.
        Returns:
            (B, T, D).
        """
        hidden: Tensor = self.decoder.embedding(token_ids)
        if not len(audio):
            return hidden
        inset = 0 if self.audio_bounds is not None else 1  # bounds that are not learned keep their tokens' embeddings
        length = token_ids.shape[1]
        index = []
        for vectors, (row, first, count) in zip(audio, places.tolist(), strict=True):
            assert len(vectors) == count - 2 * inset, f"a clip of {len(vectors)} vectors does not fit a span of {count} positions"
            begin = row * length + first + inset
            index.append(torch.arange(begin, begin + len(vectors)))
        spots = torch.cat(index).to(hidden.device)
        flat = hidden.flatten(0, 1).index_copy(0, spots, torch.cat(list(audio)).to(hidden.dtype))
        return flat.view_as(hidden)

    def forward(
        self,
        token_ids: Tensor,
        *,
        mels: Tensor | None = None,
        frames: Tensor | None = None,
        places: Tensor | None = None,
        segment: Tensor | None = None,
        positions: Tensor | None = None,
        labels: Tensor | None = None,
        audio: Sequence[Tensor] | None = None,
    ) -> JointOutput:
        """Read a batch; with labels, give the loss.

        Args:
            token_ids: (B, T) int64; mels, frames, places: the clips, as in embed and encode_audio.
            segment, positions: (B, T) int64, as in Decoder.forward; None means whole rows without padding.
            labels: (B, T) int64, the id itself where it is learned and -100 elsewhere. The state before a position
                predicts its label; a label at a segment's first position has no state before it and is not learned.
            audio: the clips' vectors, where the caller has run the encoder already (an auxiliary loss, say).

        A packed model (`pack`) reads the same batch and gives the same loss; its hidden states are (1, N, D), the N real positions of
        the batch row by row.
        """
        hidden, segment, labels = self.read(
            token_ids, mels=mels, frames=frames, places=places, segment=segment, positions=positions, labels=labels, audio=audio
        )
        if labels is None:
            return JointOutput(None, hidden, 0)
        loss, n_learned = self.loss(hidden, labels, segment)
        return JointOutput(loss, hidden, n_learned)

    def read(
        self,
        token_ids: Tensor,
        *,
        mels: Tensor | None = None,
        frames: Tensor | None = None,
        places: Tensor | None = None,
        segment: Tensor | None = None,
        positions: Tensor | None = None,
        labels: Tensor | None = None,
        audio: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return a batch's states after the final norm with the segment and labels that belong to them; arguments as in forward."""
        lengths = None
        if self.packed and segment is not None:
            token_ids, places, segment, labels, lengths = lay_end_to_end(token_ids, places, segment, labels)
        if audio is None:
            audio = [] if mels is None or frames is None else self.encode_audio(mels, frames)
        if len(audio):
            assert places is not None, "clips need places"
            hidden = self.embed(token_ids, audio, places)
        else:
            hidden = self.decoder.embedding(token_ids)
        if lengths is not None:
            hidden = self.decoder(hidden, lengths=lengths)
        else:
            hidden = self.decoder(hidden, segment=segment, positions=positions)
        return hidden, segment, labels

    def loss(self, hidden: Tensor, labels: Tensor, segment: Tensor | None = None) -> tuple[Tensor, int]:
        """Return the mean cross-entropy over learned positions and their number."""
        losses = self.token_losses(hidden, labels, segment)
        return (losses.mean(), len(losses)) if len(losses) else (hidden.sum() * 0.0, 0)

    def token_losses(self, hidden: Tensor, labels: Tensor, segment: Tensor | None = None) -> Tensor:
        """Return the cross-entropy (n_learned,) float32 of each learned position, row by row; the head runs on those alone."""
        learned = learned_places(labels, segment)
        logits = self.decoder.logits(hidden[:, :-1][learned])
        return functional.cross_entropy(logits.float(), labels[:, 1:][learned], reduction="none")


def learned_places(labels: Tensor, segment: Tensor | None = None) -> Tensor:
    """Tell of each position but the last whether what follows it is learned: (B, T - 1) bool.

    Args:
        labels, segment: (B, T), as in QwenAudio.forward.
    """
    learned = labels[:, 1:] != NOT_LEARNED
    return learned if segment is None else learned & (segment[:, 1:] == segment[:, :-1])


def lay_end_to_end(
    token_ids: Tensor, places: Tensor | None, segment: Tensor, labels: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None, list[int]]:
    """Turn a batch into one row of its real positions.

    Args:
        token_ids, segment, labels: (B, T); places: (A, 3), as in QwenAudio.forward.
    Returns:
        ids (1, N), places (A, 3) in that row, segment (1, N), another number for every sample, labels (1, N), and the samples' lengths.
    """
    real = segment > 0
    rows = torch.arange(len(segment), device=segment.device)[:, None]
    names = (rows * (int(segment.max()) + 1) + segment)[real]
    lengths = names.unique_consecutive(return_counts=True)[1].tolist()
    if places is not None:
        spots = (real.flatten().cumsum(0) - 1).cpu()
        first = spots[places[:, 0].cpu() * segment.shape[1] + places[:, 1].cpu()]
        places = torch.stack([torch.zeros_like(first), first, places[:, 2].cpu()], dim=1)
    return token_ids[real][None], places, names[None], None if labels is None else labels[real][None], lengths


def _initialise(module: nn.Module) -> None:
    """Draw starting weights whose size follows the width (arXiv:1910.05895: variance 2 / (5 width)).

    Convolutions begin with the variance that keeps a signal's size (arXiv:1502.01852): PyTorch's own start makes what is
    heard ten times smaller than the positions laid over it, and training spends its first thousand steps on that alone.
    """
    if isinstance(module, nn.Conv1d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=math.sqrt(0.4 / module.weight.shape[1]))
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def _soften(blocks: nn.ModuleList) -> None:
    """Shrink what each block adds to its input by the depth, so that a deep stack starts with states of even size."""
    for name, weight in blocks.named_parameters():
        if name.endswith(("attention.out.weight", "mlp_down.weight", "mlp.down.weight")):
            weight.mul_(1 / math.sqrt(2 * len(blocks)))
