"""Attention for encoder and decoder: plain softmax over the keys that a mask leaves, or within each of several samples laid end to end.

Within samples there are three ways to the same numbers. One sample after another is the reference, and what CPUs take. On CUDA, bfloat16
and float16 go through torch's flash attention for rows of any lengths; float32, and a torch without that, through FlexAttention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Within = Callable[[Tensor, Tensor, Tensor, Sequence[int], bool], Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Let queries hear values by their keys, scores divided by the root of the head size.

    Args:
        q: (B, heads, T, head_size); k, v: (B, kv_heads, S, head_size), each shared by heads / kv_heads query heads.
        mask: (B or 1, 1, T or 1, S) bool, True where a key is heard; no row may be empty.
        causal: position t hears keys 0..t; not together with a mask.
    Returns:
        (B, T, heads * head_size) in q's numbers.
    """
    shared = q.shape[1] != k.shape[1]
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad:
        # Training on a CPU: torch's backward is two to three times as slow in bfloat16 as in float32.
        with torch.autocast("cpu", enabled=False):
            heard = functional.scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=mask, is_causal=causal, enable_gqa=shared
            ).to(q.dtype)
    else:
        heard = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=shared)
    return heard.transpose(1, 2).flatten(2)


def attend_within(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], *, causal: bool) -> Tensor:
    """Let each of several samples laid end to end hear itself alone: what `attend` gives with a mask of their blocks, without its cost.

    Args:
        q: (1, heads, N, head_size); k, v: (1, kv_heads, N, head_size).
        lengths: positions of each sample, N in all.
        causal: a position hears the earlier ones of its sample and itself.
    Returns:
        (1, N, heads * head_size) in q's numbers.
    """
    return way_within(q)(q, k, v, lengths, causal)


def way_within(q: Tensor) -> Within:
    """Choose how samples are attended to: by the device and the numbers."""
    if q.device.type != "cuda":
        return one_by_one
    return varlen if flash_attention() is not None and q.dtype in (torch.bfloat16, torch.float16) else flex


def one_by_one(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], causal: bool) -> Tensor:
    """Attend to one sample after another; as attend_within."""
    pieces = zip(*(part.split(list(lengths), dim=2) for part in (q, k, v)), strict=True)
    return torch.cat([attend(*piece, causal=causal and piece[0].shape[2] > 1) for piece in pieces], dim=1)


def varlen(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], causal: bool) -> Tensor:
    """Attend by torch's flash attention for rows of any lengths; as attend_within. CUDA, bfloat16 or float16."""
    attention = flash_attention()
    assert attention is not None
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=q.device)
    queries, keys, values = (part[0].transpose(0, 1).contiguous() for part in (q, k, v))
    longest, window, shared = max(lengths), (-1, 0 if causal else -1), q.shape[1] != k.shape[1]
    heard = attention(queries, keys, values, bounds, bounds, longest, longest, window_size=window, enable_gqa=shared)
    found: Tensor = heard.flatten(1)[None]
    return found


def flex(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], causal: bool) -> Tensor:
    """Attend by FlexAttention under a mask of the samples' blocks, of which empty ones are skipped; as attend_within."""
    blocks = _blocks(tuple(lengths), causal, q.device)
    attention: Any = _compiled_flex() if q.device.type == "cuda" else flex_attention
    heard: Any = attention(q, k, v, block_mask=blocks, enable_gqa=q.shape[1] != k.shape[1])
    found: Tensor = heard.transpose(1, 2).flatten(2)
    return found


@cache
def flash_attention() -> Callable[..., Any] | None:
    """Return torch's varlen_attn; None in a torch that has none, or another one. Loading it takes seconds, which only CUDA is worth."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"window_size", "enable_gqa"} <= signature(varlen_attn).parameters.keys() else None


@lru_cache(maxsize=4)  # all blocks of encoder and decoder ask for the same
def _blocks(lengths: tuple[int, ...], causal: bool, device: torch.device) -> BlockMask:
    """Lay out which blocks of queries and keys have anything in common."""
    counts = torch.tensor(lengths, device=device)
    sample = torch.repeat_interleave(torch.arange(len(lengths), device=device), counts)

    def heard(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = sample[query] == sample[key]
        return same & (query >= key) if causal else same

    return create_block_mask(heard, None, None, len(sample), len(sample), device=device)


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=True)
