"""Log-mel to audio embeddings, one per 40 ms, at the cost of the real length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from qwen_audio.config import EncoderConfig, Family
from qwen_audio.model.attention import attend, attend_within

NORM_EPS = 1e-5
SHORT_SHARE = 0.7
WORTH_STATES = 500
"""A batch is split where clips are under 0.7 of its longest and at least 500 states (10 s) of padding are saved."""


class Encoder(nn.Module):
    """Whisper's encoder, then pairs averaged, a norm and a projection to the decoder's width.

    Each clip is computed as if it were alone: its mel is followed by zeros, and padding is no key to anybody.

    Source: arXiv:2212.04356 (encoder), arXiv:2311.07919 section 3.2 (pooling by two).
    """

    positions: Tensor

    def __init__(self, config: EncoderConfig, out_width: int, family: Family) -> None:
        super().__init__()
        self.config = config
        self.packed = False  # True: clips end to end, nothing computed for padding; False: padded, the reference
        self.checkpointing = False  # True: blocks are computed again in the backward pass instead of kept
        self.family = family
        self.conv1 = nn.Conv1d(config.n_mels, config.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(config.n_ctx, config.width))
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.projection = nn.Linear(config.width, out_width)

    def forward(self, mels: Tensor, frames: Tensor) -> list[Tensor]:
        """Hear clips.

        Args:
            mels: (sum of F, n_mels), clip after clip, as `log_mel` gives them.
            frames: (A,) int64, the F of each clip.
        Returns:
            A tensors (n_i, out_width), one vector per 40 ms.
        """
        vectors, counts = self.vectors(mels, frames)
        return list(vectors.split(counts.tolist()))

    def vectors(self, mels: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Hear clips as forward does; vectors (sum of n, out_width), clip after clip, and n (A,) int64 on the CPU."""
        if not self.packed:
            return self.project(*self.states(mels, frames))
        flat, lengths = self.packed_states(mels, frames)
        return self.project_packed(flat, lengths)

    def states(self, mels: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Run convolutions and blocks.

        Args:
            mels, frames: as in forward.
        Returns:
            states (A, T, width), 20 ms each, meaningless past a clip's length; lengths (A,) int64 on the CPU.
        """
        if self.packed:
            flat, lengths = self.packed_states(mels, frames)
            return pad_sequence(list(flat.split(lengths.tolist())), batch_first=True), lengths
        pieces, lengths = self._pieces(mels, frames)
        groups = length_groups(lengths.tolist())
        if len(groups) == 1:
            return self._run(self.pad(pieces), lengths), lengths
        longest = int(lengths.max())
        parts = []
        for group in groups:
            part = self._run(self.pad([pieces[i] for i in group]), lengths[group])
            parts.append(functional.pad(part, (0, 0, 0, longest - part.shape[1])))
        order = torch.tensor([i for group in groups for i in group]).argsort()
        return torch.cat(parts)[order.to(mels.device)], lengths

    def _pieces(self, mels: Tensor, frames: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Split mels into clips (F_i, n_mels) in the weights' numbers; lengths (A,) of their states."""
        sizes = [int(size) for size in frames.tolist()]
        odd_allowed = self.family == "qwen2-audio"  # one true frame more, which convolutions touch and no state stands for
        assert odd_allowed or not any(size % 2 for size in sizes), f"frames {sizes}: expected even numbers"
        lengths = torch.tensor([size // 2 for size in sizes], dtype=torch.int64)
        longest = int(lengths.max())
        assert longest <= len(self.positions), f"{longest} states do not fit the encoder's {len(self.positions)} positions"
        return mels.to(self.conv1.weight.dtype).split(sizes), lengths

    def packed_states(self, mels: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Run convolutions and blocks over clips laid end to end.

        Args:
            mels, frames: as in forward.
        Returns:
            states (sum of T_i, width), clip after clip; lengths T (A,) int64 on the CPU.
        """
        pieces, lengths = self._pieces(mels, frames)
        # Each clip begins at an even frame and has at least one frame of silence behind it. What the first convolution makes of that
        # silence is wiped out, as the second one hears nothing before a clip's first frame when the clip is alone.
        rooms = [len(piece) + 2 - len(piece) % 2 for piece in pieces]
        laid = torch.cat([functional.pad(piece, (0, 0, 0, room - len(piece))) for piece, room in zip(pieces, rooms, strict=True)])
        inside = torch.cat([torch.arange(room) < len(piece) for piece, room in zip(pieces, rooms, strict=True)]).to(laid.device)
        x = functional.gelu(self.conv1(laid.T[None])) * inside
        x = functional.gelu(self.conv2(x))[0].T
        sizes = lengths.tolist()
        begins = torch.tensor([0, *rooms[:-1]]).cumsum(0) // 2
        kept = torch.cat([torch.arange(begin, begin + size) for begin, size in zip(begins.tolist(), sizes, strict=True)])
        places = torch.cat([torch.arange(size) for size in sizes])
        x = x[kept.to(x.device)] + self.positions[places.to(x.device)]
        return self._blocks(x[None], None, sizes)[0], lengths

    def project_packed(self, flat: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, norm and project states (sum of T_i, width) laid end to end; as project otherwise."""
        counts = lengths // 2
        begins = torch.tensor([0, *lengths[:-1].tolist()]).cumsum(0).tolist()
        first = torch.cat([torch.arange(begin, begin + 2 * n, 2) for begin, n in zip(begins, counts.tolist(), strict=True)]).to(flat.device)
        return self.projection(self.norm((flat[first] + flat[first + 1]) / 2)), counts

    def _blocks(self, x: Tensor, mask: Tensor | None, lengths: Sequence[int] | None = None) -> Tensor:
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, mask, lengths, use_reentrant=False)
            else:
                x = block(x, mask, lengths)
        return x

    def pad(self, pieces: Sequence[Tensor]) -> Tensor:
        """Lay clips (F_i, n_mels) side by side as (A, n_mels, longest F); zeros follow a clip's last frame."""
        return pad_sequence(list(pieces), batch_first=True).transpose(1, 2)

    def _run(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Compute the states (A, T, width) of padded mels (A, n_mels, F) whose clips have `lengths` states."""
        longest = int(lengths.max())
        x = functional.gelu(self.conv1(mel))
        x = functional.gelu(self.conv2(x))[:, :, :longest].transpose(1, 2)
        x = x + self.positions[:longest]
        mask = None
        if int(lengths.min()) < longest:
            mask = (torch.arange(longest) < lengths[:, None])[:, None, None, :].to(x.device)
        return self._blocks(x, mask)

    def project(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Average pairs of states (an odd last one is dropped), norm them and project them.

        Returns:
            vectors (sum of n, out_width), clip after clip; counts n (A,) int64 on the CPU.
        """
        counts = lengths.cpu() // 2
        n_pairs = int(counts.max())
        pooled = states[:, : 2 * n_pairs].unflatten(1, (n_pairs, 2)).mean(2)
        if int(counts.min()) < n_pairs:
            pooled = pooled[(torch.arange(n_pairs) < counts[:, None]).to(pooled.device)]
        return self.projection(self.norm(pooled.flatten(0, -2))), counts


class EncoderBlock(nn.Module):
    """Attention and a feed-forward part, each behind a norm and added to its input."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attention = EncoderAttention(config)
        self.mlp_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp_up = nn.Linear(config.width, config.mlp_width)
        self.mlp_down = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None, lengths: Sequence[int] | None = None) -> Tensor:
        """Map states (A, T, width) to states; mask (A, 1, 1, T) is True where a key is heard; lengths: clips end to end in one row."""
        x = x + self.attention(self.attention_norm(x), mask, lengths)
        return x + self.mlp_down(functional.gelu(self.mlp_up(self.mlp_norm(x))))


class EncoderAttention(nn.Module):
    """Attention of all states to all states of a clip."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None, lengths: Sequence[int] | None = None) -> Tensor:
        """Map (A, T, width) to (A, T, width)."""
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        return self.out(attend(q, k, v, mask=mask) if lengths is None else attend_within(q, k, v, lengths, causal=False))


def length_groups(lengths: Sequence[int]) -> list[list[int]]:
    """Sort clips into groups of like length where that saves enough padding; indices into `lengths`, longest first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    groups: list[list[int]] = [[]]
    for rank, i in enumerate(order):
        longest = lengths[groups[-1][0]] if groups[-1] else lengths[i]
        saved = (longest - lengths[i]) * (len(order) - rank)
        if lengths[i] < SHORT_SHARE * longest and saved >= WORTH_STATES:
            groups.append([])
        groups[-1].append(i)
    return groups if len(groups) > 1 else [list(range(len(lengths)))]


def sinusoids(length: int, width: int) -> Tensor:
    """Build Whisper's fixed positions (length, width): sines, then cosines, of time scales from 1 to 10,000."""
    scales = torch.exp(-math.log(10_000.0) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * scales[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
