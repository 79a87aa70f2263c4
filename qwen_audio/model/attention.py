"""Attention for encoder and decoder: plain softmax over the keys that a mask leaves, or within each of several samples laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # a torch before 2.10: samples are attended to one after another on every device
    varlen_attn = None  # type: ignore[assignment]


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
    if varlen_attn is not None and q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16):
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=q.device)
        queries, keys, values = (part[0].transpose(0, 1).contiguous() for part in (q, k, v))
        longest, window, shared = max(lengths), (-1, 0 if causal else -1), q.shape[1] != k.shape[1]
        heard = varlen_attn(queries, keys, values, bounds, bounds, longest, longest, window_size=window, enable_gqa=shared)
        assert isinstance(heard, Tensor)
        return heard.flatten(1)[None]
    pieces = zip(*(part.split(list(lengths), dim=2) for part in (q, k, v)), strict=True)
    return torch.cat([attend(*piece, causal=causal and piece[0].shape[2] > 1) for piece in pieces], dim=1)
