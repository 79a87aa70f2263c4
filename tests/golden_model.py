"""The tiny model whose numbers lie in golden/golden_model.npz (see golden/README.md), under the names that we give its weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qwen_audio.audio import AudioClip
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.model.joint import QwenAudio

ARCHIVE = Path(__file__).parent / "golden" / "golden_model.npz"
WIDTHS = (2048, 256, 64)  # the seq_length of the three runs: NTK steps 1, 3 and 15 for the 424 ids of text A
DECODER_NAMES = {
    "ln_1": "attention_norm",
    "ln_2": "mlp_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.w1": "mlp.up",
    "mlp.w2": "mlp.gate",
    "mlp.c_proj": "mlp.down",
}
ENCODER_NAMES = {
    "attn_ln": "attention_norm",
    "mlp_ln": "mlp_norm",
    "attn.": "attention.",
    "mlp.0": "mlp_up",
    "mlp.2": "mlp_down",
    "ln_post": "norm",
    "proj.": "projection.",
}
WHOLE_NAMES = {
    "wte.weight": "decoder.embedding.weight",
    "ln_f.weight": "decoder.norm.weight",
    "lm_head.weight": "decoder.head.weight",
    "audio.audio_bos_eos_token.weight": "audio_bounds.weight",
}


@cache
def archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE) as stored:
        return {name: stored[name] for name in stored.files}


def golden(name: str) -> Tensor:
    """Give one array of the archive; token ids as int64."""
    found = torch.from_numpy(archive()[name])
    return found if found.is_floating_point() else found.to(torch.int64)


def clips() -> list[AudioClip]:
    return [AudioClip(archive()[f"in/wav{i}_i16"].astype(np.float32) / 32768) for i in (0, 1)]


def released_vectors(*, batched: bool = False) -> list[Tensor]:
    """Give the released encoder's vectors of both clips, each alone; or side by side, where clip 0 hears its longer neighbour."""
    return [golden("enc/batch/out0" if batched else "enc/solo0/out0"), golden("enc/solo1/out0")]


def our_name(released: str) -> str:
    """Rename a released key."""
    key = released.removeprefix("transformer.")
    if key in WHOLE_NAMES:
        return WHOLE_NAMES[key]
    names, place = (ENCODER_NAMES, "encoder.") if key.startswith("audio.") else (DECODER_NAMES, "decoder.blocks.")
    key = key.removeprefix("audio.").removeprefix("h.")
    for theirs, ours in names.items():
        key = key.replace(theirs, ours)
    return place + key


def golden_config(seq_length: int) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(width=48, heads=3, layers=2, mlp_width=192),
        decoder=DecoderConfig(
            vocab_size=640, width=64, layers=3, heads=4, kv_heads=4, head_size=16, mlp_width=88, norm_eps=1e-6, seq_length=seq_length
        ),
        audio_start_id=600,
        audio_pad_id=599,
        audio_end_id=601,
    )


def golden_net(seq_length: int) -> QwenAudio:
    """Build the model with the golden weights; the archive leaves out the positions, which are sinusoids."""
    model = QwenAudio(golden_config(seq_length))
    weights = {our_name(key.removeprefix("sd/")): golden(key) for key in archive() if key.startswith("sd/")}
    missing, surplus = model.load_state_dict(weights, strict=False)
    assert missing == ["encoder.positions"]
    assert not surplus
    return model.eval()


def places_of(token_ids: Tensor, vectors: list[Tensor]) -> Tensor:
    """Find the spans of a batch: row, first position, count."""
    starts = (token_ids == 600).nonzero().tolist()
    return torch.tensor([[row, first, len(clip)] for (row, first), clip in zip(starts, vectors, strict=True)])


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Give the largest absolute difference."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).detach().abs().max())
