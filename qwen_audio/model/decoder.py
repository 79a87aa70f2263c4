"""The language model: RMSNorm, rotary positions, attention, SwiGLU, and the cache of keys and values.

One class for Qwen-7B (NTK staircase and log-n scaling past seq_length) and Qwen2 (grouped-query attention, tied head).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from qwen_audio.config import DecoderConfig
from qwen_audio.errors import PromptError
from qwen_audio.model.attention import attend, attend_within


class Decoder(nn.Module):
    """Embeddings in, states after the final norm out; `logits` reads words from states."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False  # True: blocks are computed again in the backward pass instead of kept
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(DecoderBlock(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = None if config.tied_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map states (..., width) to logits (..., vocab_size)."""
        return functional.linear(hidden, self.embedding.weight if self.head is None else self.head.weight)

    def forward(
        self,
        hidden: Tensor,
        *,
        cache: KVCache | None = None,
        starts: Tensor | None = None,
        segment: Tensor | None = None,
        positions: Tensor | None = None,
        alpha_length: int | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Read embeddings (B, T, width) and return states (B, T, width) after the final norm.

        Args:
            cache: keys and values so far; the T columns are appended. A cached run carries no gradient to its keys.
            starts: (B,) int64, the first real column of each row (left padding). With a cache it counts only while the
                cache is empty, and is kept there.
            segment: (B, T) int64, which sample a position belongs to, 0 = padding; a position sees its own segment's
                earlier positions only. Without a cache only.
            positions: (B, T) int64, from 0 within each sample; needed where a row holds several segments.
            alpha_length: the length that chooses the NTK step, in place of each row's own. At an empty cache or none.
            lengths: positions of each of several samples laid end to end in one row (B = 1), in place of segment: the same states
                without a mask. For samples of at most seq_length positions outside train mode.

        NTK step and log-n scaling are off in train mode. The step is chosen from a row's (a segment's) real length and,
        with a cache, stays what it was when the cache was empty. Positions count from a row's first real column.
        """
        batch, n_new, _ = hidden.shape
        if cache is not None:
            assert segment is None, "a cached run has rows of one segment, padded on the left"
            assert positions is None, "positions of a cached run follow from the cache"
            cache.make_room(batch, n_new)
            if cache.length == 0:
                cache.begin(starts, self._row_alphas(batch, n_new, starts, alpha_length))
            plan = self._plan_cached(cache, n_new, hidden.device)
        elif lengths is not None:
            plan = self._plan_packed(hidden, lengths)
        else:
            plan = self._plan(hidden, starts, segment, positions, alpha_length)
        for block in self.blocks:
            if self.checkpointing and self.training:
                hidden = checkpoint(block, hidden, plan, cache, use_reentrant=False)
            else:
                hidden = block(hidden, plan, cache)
        if cache is not None:
            cache.length += n_new
        return self.norm(hidden)

    def _row_alphas(self, batch: int, length: int, starts: Tensor | None, alpha_length: int | None) -> list[float]:
        """Choose each row's NTK step from its real length."""
        config = self.config
        if not config.dynamic_ntk or self.training:
            return [1.0] * batch
        if alpha_length is not None:
            return [ntk_alpha(alpha_length, config.seq_length)] * batch
        skipped = [0] * batch if starts is None else starts.tolist()
        return [ntk_alpha(length - start, config.seq_length) for start in skipped]

    def _plan_cached(self, cache: KVCache, n_new: int, device: torch.device) -> AttentionPlan:
        """Lay out positions and mask for n_new columns behind the cache's."""
        end = cache.length + n_new
        columns = torch.arange(cache.length, end, device=device)[None]
        rows = (columns - cache.start[:, None]).clamp(min=0) if cache.padded else columns
        whole = cache.length == 0 and not cache.padded
        mask = None
        if cache.padded or not (whole or n_new == 1):
            mask = left_padded_mask(columns[0], end, cache.start if cache.padded else None)
        return self._finish_plan(rows, cache.frequencies[:, None], mask, causal=whole and n_new > 1, end=end)

    def _plan_packed(self, hidden: Tensor, lengths: Sequence[int]) -> AttentionPlan:
        """Lay out samples laid end to end: positions begin anew with each."""
        assert hidden.shape[:2] == (1, sum(lengths)), f"samples of {sum(lengths)} positions in all do not fill a row of {hidden.shape[1]}"
        assert self.training or max(lengths) <= self.config.seq_length, "samples past seq_length are scaled apart: use segment"
        positions = torch.cat([torch.arange(length) for length in lengths])[None].to(hidden.device)
        plan = self._finish_plan(positions, self.frequencies(torch.ones(1, 1), hidden.device), None, causal=True, end=0)
        return replace(plan, lengths=tuple(lengths))

    def _plan(
        self, hidden: Tensor, starts: Tensor | None, segment: Tensor | None, positions: Tensor | None, alpha_length: int | None
    ) -> AttentionPlan:
        """Lay out positions and mask of a run without a cache."""
        batch, length, _ = hidden.shape
        device = hidden.device
        columns = torch.arange(length, device=device)
        mask = None
        if segment is not None:
            assert starts is None, "a row is described by segments or by its left padding, not by both"
            if positions is None:
                positions = columns.expand(batch, length)
            if not _single_segments(segment):
                mask = segment_mask(segment)
        elif starts is not None and bool(starts.any()):
            positions = (columns - starts[:, None]).clamp(min=0)
            mask = left_padded_mask(columns, length, starts)
        elif positions is None:
            positions = columns[None]
        if segment is not None and not self.training and length > self.config.seq_length:
            alphas = self._segment_alphas(segment, alpha_length)
        else:
            row_alphas = self._row_alphas(batch, length, starts, alpha_length)
            alphas = torch.tensor(row_alphas if len(set(row_alphas)) > 1 else row_alphas[:1])[:, None]
        frequencies = self.frequencies(alphas, device)
        return self._finish_plan(positions, frequencies, mask, causal=mask is None, end=length)

    def _segment_alphas(self, segment: Tensor, alpha_length: int | None) -> Tensor:
        """Choose each position's NTK step (B, T) from the length of its segment."""
        if not self.config.dynamic_ntk:
            return torch.ones(1, 1)
        counts = torch.zeros(len(segment), int(segment.max()) + 1, dtype=torch.int64, device=segment.device)
        lengths = counts.scatter_add_(1, segment, torch.ones_like(segment)).gather(1, segment)
        found, which = lengths.cpu().unique(return_inverse=True)
        return torch.tensor([ntk_alpha(alpha_length or length, self.config.seq_length) for length in found.tolist()])[which]

    def _finish_plan(self, positions: Tensor, frequencies: Tensor, mask: Tensor | None, *, causal: bool, end: int) -> AttentionPlan:
        """Turn positions (B or 1, T) and frequencies (B or 1, T or 1, head_size / 2) into what every block reads."""
        angles = positions[..., None].to(torch.float32) * frequencies
        logn = None
        if self.config.logn_attention and not self.training and end > self.config.seq_length:
            logn = logn_factors(positions, self.config.seq_length)[..., None, None]
        return AttentionPlan(angles.cos()[:, :, None], angles.sin()[:, :, None], logn, mask, causal)

    def frequencies(self, alphas: Tensor, device: torch.device) -> Tensor:
        """Compute the rotary frequencies (*alphas.shape, head_size / 2) in fp32 for NTK steps (a CPU tensor)."""
        found = torch.empty(*alphas.shape, self.config.head_size // 2)
        for alpha in alphas.unique().tolist():
            found[alphas == alpha] = rotary_frequencies(self.config, alpha)
        return found.to(device)


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """What every block's attention reads, made once per forward."""

    cos: Tensor  # (B or 1, T, 1, head_size / 2) fp32
    sin: Tensor
    logn: Tensor | None  # (B or 1, T, 1, 1) fp32
    mask: Tensor | None  # (B or 1, 1, T, S) bool, True where a key is seen
    causal: bool
    lengths: tuple[int, ...] | None = None  # samples laid end to end, each of which hears itself alone


class KVCache:
    """Keys and values of all blocks in one allocation, filled column by column, cut back at will, used again.

    length is the number of columns filled; start (B,) the first real column of each row; alpha (B,) the rows' NTK
    steps, frozen from the first columns on until the cache is empty again.
    """

    def __init__(self, config: DecoderConfig, batch: int, capacity: int, device: torch.device | str, dtype: torch.dtype) -> None:
        shape = (config.layers, batch, config.kv_heads, capacity, config.head_size)
        self.config = config
        self.k = torch.empty(shape, device=device, dtype=dtype)
        self.v = torch.empty(shape, device=device, dtype=dtype)
        self.reset()

    @property
    def batch(self) -> int:
        """Rows."""
        return self.k.shape[1]

    @property
    def capacity(self) -> int:
        """Columns that fit."""
        return self.k.shape[3]

    def reset(self) -> None:
        """Forget everything, the NTK steps too."""
        self.length = 0
        self.padded = False
        self.start = torch.zeros(self.batch, dtype=torch.int64, device=self.k.device)
        self.alpha = torch.ones(self.batch)
        self.frequencies = torch.empty(0)

    def truncate(self, n_columns: int) -> None:
        """Keep the first n_columns columns; with 0 the cache is as new."""
        assert n_columns >= 0, f"a cache cannot keep {n_columns} columns"
        self.length = min(self.length, n_columns)
        if self.length == 0:
            self.reset()

    def make_room(self, batch: int, n_new: int) -> None:
        """Check that n_new columns of `batch` rows fit.

        Raises:
            PromptError: they do not.
        """
        assert batch == self.batch, f"the cache was made for {self.batch} rows, the run has {batch}"
        if self.length + n_new > self.capacity:
            raise PromptError(
                f"the key-value cache holds {self.capacity} positions, {self.length + n_new} are needed: "
                "shorten the conversation or make the cache larger"
            )

    def begin(self, starts: Tensor | None, alphas: list[float]) -> None:
        """Set the rows' left padding and NTK steps; they hold until the cache is empty again."""
        self.padded = starts is not None and bool(starts.any())
        self.start = torch.zeros_like(self.start) if starts is None else starts.to(self.start)
        self.alpha = torch.tensor(alphas)
        steps = alphas if len(set(alphas)) > 1 else alphas[:1]
        self.frequencies = torch.stack([rotary_frequencies(self.config, alpha) for alpha in steps]).to(self.k.device)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store a block's new columns (B, kv_heads, T, head_size) and return all its columns."""
        end = self.length + k.shape[2]
        self.k[layer, :, :, self.length : end] = k.detach()
        self.v[layer, :, :, self.length : end] = v.detach()
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]


class DecoderBlock(nn.Module):
    """Attention and SwiGLU, each behind a norm and added to its input."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = DecoderAttention(config, layer)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, plan: AttentionPlan, cache: KVCache | None) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        x = x + self.attention(self.attention_norm(x), plan, cache)
        return x + self.mlp(self.mlp_norm(x))


class DecoderAttention(nn.Module):
    """Rotary attention; several query heads may share a key head."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * config.head_size)
        self.out = nn.Linear(config.heads * config.head_size, config.width, bias=False)

    def forward(self, x: Tensor, plan: AttentionPlan, cache: KVCache | None) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        mixed = self.qkv(x).unflatten(-1, (-1, self.head_size))
        turned = rotate(mixed[:, :, : self.heads + self.kv_heads], plan.cos, plan.sin)
        q, k = turned.split((self.heads, self.kv_heads), dim=2)
        if plan.logn is not None:
            q = q * plan.logn.to(q.dtype)  # the factors are rounded to the query's numbers, as in the released model
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), mixed[:, :, self.heads + self.kv_heads :].transpose(1, 2)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        if plan.lengths is not None:
            return self.out(attend_within(q, k, v, plan.lengths, causal=True))
        return self.out(attend(q, k, v, mask=plan.mask, causal=plan.causal))


class SwiGLU(nn.Module):
    """The gated feed-forward part: down(up(x) * silu(gate(x)))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        return self.down(self.up(x) * functional.silu(self.gate(x)))


class RMSNorm(nn.Module):
    """Divide by the root mean square in fp32, round to the input's numbers, then scale."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return wide.to(x.dtype) * self.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn heads (B, T, heads, head_size) by their positions: halves are the two coordinates, in fp32, cast back."""
    first, second = x.to(torch.float32).chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def rotary_frequencies(config: DecoderConfig, alpha: float) -> Tensor:
    """Compute the angle per position of each coordinate pair (head_size / 2,) fp32, with the base raised by an NTK step."""
    size = config.head_size
    base = config.rope_base * (alpha ** (size / (size - 2)) if alpha != 1 else 1.0)
    return 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float32) / size))


def ntk_alpha(length: int, seq_length: int) -> float:
    """Return the NTK step of a text of `length` positions: 1 up to seq_length, then 3, 7, 15, ... per doubling."""
    if length <= seq_length:
        return 1.0
    return max(1.0, 2.0 ** math.ceil(math.log2(length / seq_length) + 1) - 1)


def logn_factors(positions: Tensor, seq_length: int) -> Tensor:
    """Return the log-n query factors, fp32, for 0-based positions: log of the place in base seq_length, 1 up to there."""
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    factors = torch.log((positions + 1).to(exact)) / math.log(seq_length)
    return factors.clamp(min=1.0).to(torch.float32)


def left_padded_mask(columns: Tensor, end: int, starts: Tensor | None) -> Tensor:
    """Build the mask (B or 1, 1, T, end) of query columns (T,): earlier real columns and, so that no row is empty, itself."""
    keys = torch.arange(end, device=columns.device)
    mask = keys <= columns[:, None]
    if starts is None:
        return mask[None, None]
    real = keys >= starts[:, None].to(columns.device)  # (B, end)
    return (mask & (real[:, None] | (keys == columns[:, None])))[:, None]


def segment_mask(segment: Tensor) -> Tensor:
    """Build the mask (B, 1, T, T) with which a position sees the earlier positions of its own segment and itself."""
    same = segment[:, :, None] == segment[:, None, :]
    return same.tril()[:, None]


def _single_segments(segment: Tensor) -> bool:
    """Tell whether every row is one sample with padding behind it, so that plain causality suffices."""
    later = segment[:, 1:]
    return bool(((later == segment[:, :-1]) | (later == 0)).all())
