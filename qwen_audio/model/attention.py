"""One call of attention for encoder and decoder: plain softmax over the keys that a mask leaves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
