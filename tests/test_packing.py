"""A packed model computes nothing for padding and gives what the padded one gives."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention

from qwen_audio.config import DecoderConfig, EncoderConfig, Family, ModelConfig
from qwen_audio.model import attention
from qwen_audio.model.attention import Within, attend, attend_within, flex, one_by_one, varlen, way_within
from qwen_audio.model.decoder import segment_mask
from qwen_audio.model.joint import NOT_LEARNED, QwenAudio

SIZES = (100, 38, 64, 2, 52)  # frames of 10 ms; 38 / 2 states are an odd number, 2 frames give no vector


def tiny(family: Family = "qwen-audio") -> QwenAudio:
    torch.manual_seed(3)
    decoder = DecoderConfig(vocab_size=60, width=16, layers=2, heads=4, kv_heads=2, head_size=4, mlp_width=24, seq_length=64)
    encoder = EncoderConfig(n_mels=8, n_ctx=60, width=16, heads=2, layers=2, mlp_width=32)
    config = ModelConfig(family=family, encoder=encoder, decoder=decoder, audio_start_id=50, audio_pad_id=51, audio_end_id=52)
    model = QwenAudio(config)
    for parameter in model.parameters():  # biases and norms that are not trivial: what leaks from neighbours would show
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.train()


def batch(model: QwenAudio) -> dict[str, Tensor]:
    """Lay six samples into three rows, some of them two to a row, padding behind."""
    inset = 2
    mels = torch.randn(sum(SIZES[i] for i in (0, 1, 2, 4)), 8)
    frames = torch.tensor([SIZES[i] for i in (0, 1, 2, 4)])
    counts = [int(f) // 4 + inset for f in frames]
    rows: list[list[tuple[int, int | None]]] = [
        [(5 + counts[0], 0), (7, None)],
        [(4 + counts[1], 1), (6 + counts[2], 2), (3, None)],
        [(2 + counts[3], 3)],
    ]
    width = max(sum(length for length, _ in row) for row in rows) + 2
    ids, segment, positions = (torch.zeros(3, width, dtype=torch.int64) for _ in range(3))
    labels = torch.full((3, width), NOT_LEARNED)
    places: list[tuple[int, int, int]] = []
    for number, row in enumerate(rows):
        at = 0
        for name, (length, clip) in enumerate(row, 1):
            part = slice(at, at + length)
            ids[number, part] = torch.randint(1, 40, (length,))
            segment[number, part] = name
            positions[number, part] = torch.arange(length)
            labels[number, at : at + length][-3:] = ids[number, part][-3:]
            labels[number, at] = 7  # at a sample's first position: nothing before it may predict it
            if clip is not None:
                places.append((number, at + 1, counts[clip]))
                ids[number, at + 1 : at + 1 + counts[clip]] = 51
            at += length
    return {
        "token_ids": ids, "mels": mels, "frames": frames, "places": torch.tensor(places), "segment": segment,
        "positions": positions, "labels": labels,
    }  # fmt: skip


def gradients(model: QwenAudio, given: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], int]:
    model.zero_grad()
    output = model(**given)
    output.loss.backward()
    return output.loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, output.n_learned


def flash_as_documented(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int, *, window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """Compute what torch's documentation says of varlen_attn, whose kernel needs CUDA: (T, heads, size) in and out."""
    assert cu_seq_q.dtype == torch.int32 and torch.equal(cu_seq_q, cu_seq_k) and query.shape[0] == int(cu_seq_q[-1])
    assert max_q == max_k == int(cu_seq_q.diff().max()) and enable_gqa == (query.shape[1] != key.shape[1])
    times = query.shape[1] // key.shape[1]
    heard = []
    for first, last in pairwise(cu_seq_q.tolist()):
        q, k, v = query[first:last], *(part[first:last].repeat_interleave(times, 1) for part in (key, value))
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        if window_size == (-1, 0):
            scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -math.inf)
        else:
            assert window_size == (-1, -1)
        heard.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
    return torch.cat(heard)


@pytest.fixture(params=[one_by_one, varlen, flex], ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Within:
    """Take each way of attending within samples in turn; what their kernels compute on CUDA is computed plainly here."""
    monkeypatch.setattr(attention, "way_within", lambda q: request.param)
    monkeypatch.setattr(attention, "flash_attention", lambda: flash_as_documented)
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *parts: None)  # it refuses to go back on a CPU, fused or not
    attention._blocks.cache_clear()
    found: Within = request.param
    return found


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_packed_and_padded_have_the_same_loss_and_gradients(way: Within) -> None:
    model = tiny()
    given = batch(model)
    loss, wanted, learned = gradients(model, given)
    packed_loss, found, packed_learned = gradients(model.pack(), given)
    assert learned == packed_learned > 10
    assert packed_loss.item() == pytest.approx(loss.item(), abs=1e-6)
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, atol=1e-5, rtol=1e-4), name


def test_the_way_is_chosen_by_device_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def tensor(kind: str, dtype: torch.dtype) -> Any:
        return SimpleNamespace(device=torch.device(kind), dtype=dtype)

    monkeypatch.setattr(attention, "flash_attention", lambda: flash_as_documented)
    assert way_within(tensor("cpu", torch.bfloat16)) is way_within(tensor("mps", torch.float16)) is one_by_one
    assert way_within(tensor("cuda", torch.bfloat16)) is way_within(tensor("cuda", torch.float16)) is varlen
    assert way_within(tensor("cuda", torch.float32)) is flex
    monkeypatch.setattr(attention, "flash_attention", lambda: None)
    assert way_within(tensor("cuda", torch.bfloat16)) is flex


def test_torchs_flash_attention_is_taken_where_it_is_the_one_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = attention.flash_attention.__wrapped__()
    assert found is None or found.__module__ == "torch.nn.attention.varlen"
    other = SimpleNamespace(varlen_attn=lambda query, key, value, is_causal=False: None)  # as an earlier torch had it
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", other)
    assert attention.flash_attention.__wrapped__() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernels need CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernels_on_cuda_give_what_padding_gives(dtype: torch.dtype) -> None:
    lengths, causal = [300, 1, 77], True
    parts = q, k, v = [torch.randn(1, heads, 378, 64, device="cuda", dtype=dtype, requires_grad=True) for heads in (4, 2, 2)]
    wanted, found = one_by_one(q, k, v, lengths, causal), way_within(q)(q, k, v, lengths, causal)
    near = 1e-4 if dtype == torch.float32 else 2e-2
    assert torch.allclose(found, wanted, atol=near)
    for one, other in zip(torch.autograd.grad(wanted.sum(), parts), torch.autograd.grad(found.sum(), parts), strict=True):
        assert torch.allclose(one, other, atol=10 * near)


def test_a_packed_sample_is_what_it_is_alone() -> None:
    model = tiny().pack()
    given = batch(model)
    together = model(**{**given, "labels": None}).hidden[0]
    row = given["segment"][0] == 2  # the second sample of the first row, text alone
    alone = model(given["token_ids"][:1, row[: given["token_ids"].shape[1]]], segment=torch.ones(1, 7, dtype=torch.int64)).hidden[0]
    begin = int((given["segment"][0] == 1).sum())
    assert torch.allclose(together[begin : begin + 7], alone, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen-audio", "qwen2-audio"])
def test_packed_clips_are_what_they_are_alone(family: Family) -> None:
    model = tiny(family)
    odd = family == "qwen2-audio"
    frames = torch.tensor([size + odd for size in SIZES if size > 2])
    mels = torch.randn(int(frames.sum()), 8)
    alone = [model.encoder(mel, frames[i : i + 1])[0] for i, mel in enumerate(mels.split(frames.tolist()))]
    model.pack()
    for one, other in zip(alone, model.encoder(mels, frames), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    states, lengths = model.encoder.states(mels, frames)
    assert states.shape[:2] == (len(frames), int(lengths.max()))


def test_a_neighbour_changes_nothing_in_a_packed_batch() -> None:
    model = tiny().pack()
    frames = torch.tensor([40, 24])
    mels = torch.randn(64, 8)
    louder = mels.clone()
    louder[40:] *= 100
    assert torch.equal(model.encoder(mels, frames)[0], model.encoder(louder, frames)[0])


def test_attention_within_samples_is_masked_attention() -> None:
    lengths = [5, 1, 7]
    q, k, v = torch.randn(1, 4, 13, 8), torch.randn(1, 2, 13, 8), torch.randn(1, 2, 13, 8)
    segment = torch.repeat_interleave(torch.arange(1, 4), torch.tensor(lengths))[None]
    assert torch.allclose(attend_within(q, k, v, lengths, causal=True), attend(q, k, v, mask=segment_mask(segment)), atol=1e-6)
    whole = (segment[:, :, None] == segment[:, None, :])[:, None]
    assert torch.allclose(attend_within(q, k, v, lengths, causal=False), attend(q, k, v, mask=whole), atol=1e-6)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    model = tiny().pack()
    given = batch(model)
    _, wanted, _ = gradients(model, given)
    model.encoder.checkpointing = model.decoder.checkpointing = True
    _, found, _ = gradients(model, given)
    assert all(torch.allclose(found[name], gradient, atol=1e-7) for name, gradient in wanted.items())


def test_a_batch_of_text_alone_packs_too() -> None:
    model = tiny()
    ids = torch.randint(1, 40, (2, 9))
    segment = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    positions = torch.arange(9).expand(2, 9) * (segment > 0)
    given = {"token_ids": ids, "segment": segment, "positions": positions, "labels": torch.where(segment > 0, ids, NOT_LEARNED)}
    loss = gradients(model, given)[0]
    assert gradients(model.pack(), given)[0].item() == pytest.approx(loss.item(), abs=1e-6)
