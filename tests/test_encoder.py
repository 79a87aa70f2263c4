"""Audio embeddings: the released code's numbers, transformers' encoder on 30 s, and independence of batch neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_model import clips, difference, golden, golden_net, released_vectors  # type: ignore[import-not-found]
from torch import Tensor
from transformers import Qwen2AudioEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

from qwen_audio.audio import AudioClip
from qwen_audio.config import EncoderConfig, ModelConfig
from qwen_audio.model.encoder import Encoder, length_groups, sinusoids
from qwen_audio.model.features import log_mel

SMALL = EncoderConfig(width=32, heads=2, layers=2, mlp_width=48)


def noise_clip(n_samples: int, seed: int = 0) -> AudioClip:
    draw = np.random.default_rng(seed)
    return AudioClip((0.2 * draw.standard_normal(n_samples)).astype(np.float32))


def randomised(encoder: Encoder, seed: int = 0) -> Encoder:
    """Draw every parameter anew, so that no bias is zero and no norm the identity."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            spread = 0.3 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=draw) + float(name.endswith("norm.weight")))
    return encoder.eval()


def small_encoder(seed: int = 0) -> Encoder:
    return randomised(Encoder(SMALL, 24, "qwen-audio"), seed)


@torch.no_grad()
def test_a_clip_alone_has_the_released_vectors() -> None:
    model = golden_net(2048)
    for clip, theirs in zip(clips(), released_vectors(), strict=True):
        (ours,) = model.encode_audio(*log_mel([clip], model.config))
        assert difference(ours, theirs) < 1e-4


@torch.no_grad()
def test_clips_side_by_side_have_the_vectors_that_each_has_alone() -> None:
    model = golden_net(2048)
    together = model.encode_audio(*log_mel(clips(), model.config))
    for ours, theirs in zip(together, released_vectors(), strict=True):
        assert difference(ours, theirs) < 1e-4
    assert difference(together[0], golden("enc/batch/out0")) > 1e-3  # the released code lets a clip hear its neighbour


@torch.no_grad()
def test_states_are_the_released_blocks_output() -> None:
    model = golden_net(2048)
    states, lengths = model.encoder.states(*log_mel(clips(), model.config))
    assert lengths.tolist() == [185, 615]
    assert difference(states[:1, :185:8], golden("enc/solo0/block1_out")) < 1e-4


def test_positions_are_sinusoids_that_travel_with_the_weights() -> None:
    assert "positions" in small_encoder().state_dict()
    angles = 7 * np.exp(-np.log(10_000) * np.arange(16) / 15)
    assert np.allclose(sinusoids(10, 32)[7], np.concatenate([np.sin(angles), np.cos(angles)]), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(480, 800, 1120), (16_000, 4000, 15_999, 480), (200_000, 3000, 2500, 160_000, 1000)])
def test_a_clips_vectors_do_not_depend_on_its_neighbours(lengths: tuple[int, ...]) -> None:
    encoder, config = small_encoder(), ModelConfig(encoder=SMALL)
    batch = [noise_clip(n, seed) for seed, n in enumerate(lengths)]
    together = encoder(*log_mel(batch, config))
    for clip, ours in zip(batch, together, strict=True):
        (alone,) = encoder(*log_mel([clip], config))
        assert difference(ours, alone) < 1e-5


def test_clips_of_unlike_length_are_computed_apart() -> None:
    assert length_groups([100, 99, 80]) == [[0, 1, 2]]  # little to save
    assert length_groups([50, 1500, 60, 1400]) == [[1, 3], [2, 0]]
    assert length_groups([25]) == [[0]]


@torch.no_grad()
def test_the_cost_follows_the_real_length() -> None:
    encoder, seen = small_encoder(), []
    encoder.conv1.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    encoder(*log_mel([noise_clip(16_000), noise_clip(8000)], ModelConfig(encoder=SMALL)))
    assert seen == [(2, 80, 100)]


def twin_encoders(seed: int) -> tuple[Encoder, Qwen2AudioEncoder, ModelConfig]:
    """Make a Qwen2-Audio encoder of random shape here and in transformers, with the same weights."""
    draw = np.random.default_rng(seed)
    heads, layers = int(draw.integers(1, 5)), int(draw.integers(1, 4))
    shape = EncoderConfig(n_mels=128, width=heads * 8, heads=heads, layers=layers, mlp_width=int(draw.integers(8, 64)))
    config = ModelConfig(family="qwen2-audio", encoder=shape)
    ours = randomised(Encoder(shape, 16, "qwen2-audio"), seed)
    theirs = Qwen2AudioEncoder(
        Qwen2AudioEncoderConfig(
            num_mel_bins=128, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=shape.mlp_width, d_model=shape.width
        )
    ).eval()
    theirs.load_state_dict({their_name(name): value for name, value in ours.state_dict().items() if not name.startswith("projection")})
    return ours, theirs, config


def their_name(name: str) -> str:
    for mine, other in (
        ("attention_norm", "self_attn_layer_norm"),
        ("attention.query", "self_attn.q_proj"),
        ("attention.key", "self_attn.k_proj"),
        ("attention.value", "self_attn.v_proj"),
        ("attention.out", "self_attn.out_proj"),
        ("mlp_norm", "final_layer_norm"),
        ("mlp_up", "fc1"),
        ("mlp_down", "fc2"),
        ("blocks.", "layers."),
    ):
        name = name.replace(mine, other)
    return {"positions": "embed_positions.weight", "norm.weight": "layer_norm.weight", "norm.bias": "layer_norm.bias"}.get(name, name)


def on_30_s(theirs: Qwen2AudioEncoder, clip: AudioClip) -> Tensor:
    """Run transformers' encoder as its model does: 3000 frames, the padding masked as a key."""
    mel = log_mel([AudioClip(np.pad(clip.samples, (0, 480_000 - len(clip.samples))))], ModelConfig(encoder=EncoderConfig(n_mels=128)))[0]
    n_states = (-(-len(clip.samples) // 160) - 1) // 2 + 1
    mask = torch.zeros(1, 1, 1500, 1500)
    mask[..., n_states:] = float("-inf")
    return theirs(mel.T[None], attention_mask=mask).last_hidden_state[0, : (n_states - 2) // 2 + 1]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_qwen2_audio_at_the_clips_length_equals_transformers_at_30_s(seed: int) -> None:
    ours, theirs, config = twin_encoders(seed)
    draw = np.random.default_rng(seed)
    lengths = [480, 16_001, 479_840, *(int(480 * 990 ** draw.random()) for _ in range(2))]
    batch = [noise_clip(n, i) for i, n in enumerate(lengths)]
    vectors = ours(*log_mel(batch, config))
    for clip, found in zip(batch, vectors, strict=True):
        assert difference(found, ours.projection(on_30_s(theirs, clip))) < 1e-4


def test_gradients_reach_every_weight_and_do_not_leak_between_clips() -> None:
    encoder = small_encoder().train()
    mels, frames = log_mel([noise_clip(8000), noise_clip(3000, 1)], ModelConfig(encoder=SMALL))
    mels.requires_grad_()
    first, second = encoder(mels, frames)
    (first.square().sum() + 0.0 * second.sum()).backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in encoder.parameters())
    assert mels.grad is not None
    assert not mels.grad[int(frames[0]) :].any()


@torch.no_grad()
def test_bfloat16_stays_near_float32() -> None:
    config = ModelConfig(encoder=SMALL)
    mels, frames = log_mel([noise_clip(8000), noise_clip(3000, 1)], config)
    exact = torch.cat(small_encoder()(mels, frames))
    rounded = torch.cat(small_encoder().to(torch.bfloat16)(mels, frames))
    assert rounded.dtype == torch.bfloat16
    assert difference(rounded.float(), exact) < 0.05 * float(exact.abs().max())
