"""The language model: the released code's logits and greedy ids, transformers' Qwen2 at random shapes, cache, padding, NTK and log-n."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from golden_model import WIDTHS, difference, golden, golden_net, places_of, released_vectors  # type: ignore[import-not-found]
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from qwen_audio.config import DecoderConfig
from qwen_audio.errors import PromptError
from qwen_audio.model.decoder import Decoder, DecoderBlock, KVCache, left_padded_mask, logn_factors, ntk_alpha, rotary_frequencies, rotate
from qwen_audio.model.joint import QwenAudio

TOLERANCE = 1e-4


def shape(**changes: Any) -> DecoderConfig:
    """Describe a small decoder whose seq_length is soon crossed."""
    small = DecoderConfig(vocab_size=61, width=32, layers=2, heads=4, kv_heads=2, head_size=8, mlp_width=40, seq_length=16)
    return dataclasses.replace(small, **changes)


def randomised(config: DecoderConfig, seed: int = 0) -> Decoder:
    """Build a decoder whose every parameter is drawn, so that no bias is zero and no norm the identity."""
    decoder, draw = Decoder(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            spread = 0.3 if parameter.dim() == 1 else 1.5 * parameter.shape[1] ** -0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=draw) + float(name.endswith("norm.weight")))
    return decoder.eval()


def ids(*size: int, seed: int = 0, vocab_size: int = 61) -> Tensor:
    return torch.randint(vocab_size, size, generator=torch.Generator().manual_seed(seed))


def new_cache(decoder: Decoder, batch: int = 1, capacity: int = 128, dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache(decoder.config, batch, capacity, "cpu", dtype)


def run(decoder: Decoder, token_ids: Tensor, **options: Any) -> Tensor:
    """Give logits (B, T, vocab_size)."""
    return decoder.logits(decoder(decoder.embedding(token_ids), **options))


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


def embedded(model: QwenAudio, token_ids: Tensor, *, batched: bool) -> Tensor:
    vectors = released_vectors(batched=batched)
    return model.embed(token_ids, vectors, places_of(token_ids, vectors))


@pytest.mark.parametrize("width", WIDTHS)
def test_logits_and_states_equal_the_released_codes(width: int) -> None:
    model, states = golden_net(width), []
    for block in model.decoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: states.append(output))
    hidden = model.decoder(embedded(model, golden("in/idsA"), batched=True))
    assert difference(model.decoder.logits(hidden)[:, ::16], golden(f"dec/w{width}/A/logits")) < TOLERANCE
    if width != 64:  # its states were not stored
        for number, ours in enumerate((states[0], states[1], hidden), start=1):
            assert difference(ours[:, ::16], golden(f"dec/w{width}/A/hidden{number}")) < TOLERANCE


@pytest.mark.parametrize("width", WIDTHS)
def test_greedy_ids_through_the_cache_equal_the_released_codes(width: int) -> None:
    model = golden_net(width)
    decoder, token_ids = model.decoder, golden("in/idsA")
    cache = new_cache(decoder, capacity=440)
    logits = decoder.logits(decoder(embedded(model, token_ids, batched=True), cache=cache)[:, -1])
    said, steps = [int(logits.argmax())], []
    for _ in range(12):
        steps.append(run(decoder, torch.tensor([[said[-1]]]), cache=cache)[0, 0])
        said.append(int(steps[-1].argmax()))
    assert said == golden(f"dec/w{width}/A/greedy_ids").tolist()
    assert difference(torch.stack(steps)[::3], golden(f"dec/w{width}/A/step_logits")) < TOLERANCE
    longer = torch.cat([token_ids, torch.tensor([said[:12]])], dim=1)
    tail = decoder.logits(decoder(embedded(model, longer, batched=True))[0, -12:])
    assert difference(tail[::3], golden(f"dec/w{width}/A/full_logits_tail")) < TOLERANCE


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_left_padded_batch_has_the_logits_of_the_released_solo_runs(width: int, cached: bool) -> None:
    model, token_ids = golden_net(width), golden("in/idsB")
    starts = (golden("in/maskB") == 0).sum(1)
    cache = new_cache(model.decoder, batch=2, capacity=320) if cached else None
    hidden = model.decoder(embedded(model, token_ids, batched=False), starts=starts, cache=cache)
    for row, stride in ((0, 9), (1, 16)):
        logits = model.decoder.logits(hidden[row : row + 1, int(starts[row]) :: stride])
        assert difference(logits, golden(f"dec/w{width}/B/solo{row}_logits")) < TOLERANCE


def twin_decoders(seed: int) -> tuple[Decoder, Qwen2ForCausalLM]:
    """Make a Qwen2 of random shape here and in transformers, with the same weights."""
    draw = np.random.default_rng(seed)
    kv_heads, groups, head_size = int(draw.integers(1, 4)), int(draw.integers(1, 4)), 2 * int(draw.integers(2, 9))
    heads = kv_heads * groups
    config = shape(
        width=heads * head_size,
        layers=int(draw.integers(1, 4)),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        mlp_width=int(draw.integers(8, 64)),
        norm_eps=float(10.0 ** draw.uniform(-6, -2)),
        rope_base=float(10.0 ** draw.uniform(2, 6)),
        dynamic_ntk=False,
        logn_attention=False,
        tied_embeddings=bool(seed % 2),
    )
    ours = randomised(config, seed)
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
            tie_word_embeddings=config.tied_embeddings,
        )
    ).eval()
    missing, surplus = theirs.load_state_dict(their_weights(ours), strict=False)
    assert missing == (["lm_head.weight"] if config.tied_embeddings else [])
    assert not surplus
    return ours, theirs


def their_weights(ours: Decoder) -> dict[str, Tensor]:
    """Rename a decoder's weights as transformers calls them; the fused projection becomes three."""
    config, renamed = ours.config, {}
    names = {"attention_norm": "input_layernorm", "attention.out": "self_attn.o_proj", "mlp_norm": "post_attention_layernorm"}
    names |= {"mlp.up": "mlp.up_proj", "mlp.gate": "mlp.gate_proj", "mlp.down": "mlp.down_proj", "blocks.": "model.layers."}
    rows = [config.heads * config.head_size, config.kv_heads * config.head_size, config.kv_heads * config.head_size]
    whole = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight", "head.weight": "lm_head.weight"}
    for name, value in ours.state_dict().items():
        theirs = whole.get(name, name)
        for mine, other in names.items() if name not in whole else ():
            theirs = theirs.replace(mine, other)
        if "attention.qkv" in theirs:
            for letter, part in zip("qkv", value.split(rows), strict=True):
                renamed[theirs.replace("attention.qkv", f"self_attn.{letter}_proj")] = part
        else:
            renamed[theirs] = value
    return renamed


@pytest.mark.parametrize("seed", range(8))
def test_logits_equal_transformers_qwen2_at_random_shapes(seed: int) -> None:
    ours, theirs = twin_decoders(seed)
    token_ids = ids(2, 23, seed=seed)
    expected = theirs(token_ids).logits
    assert difference(run(ours, token_ids), expected) < TOLERANCE
    cache = new_cache(ours, batch=2)
    pieces = [run(ours, piece, cache=cache) for piece in token_ids.split([7, 1, 9, 1, 5], dim=1)]
    assert difference(torch.cat(pieces, dim=1), expected) < TOLERANCE


@pytest.mark.parametrize("tied", [False, True])
def test_a_tied_head_is_the_embedding(tied: bool) -> None:
    decoder = randomised(shape(tied_embeddings=tied))
    assert ("head.weight" in decoder.state_dict()) is not tied
    hidden = torch.randn(3, 32)
    head = decoder.embedding.weight if decoder.head is None else decoder.head.weight
    assert torch.equal(decoder.logits(hidden), hidden @ head.T)


@pytest.mark.parametrize(
    ("length", "alpha"), [(1, 1), (2048, 1), (2049, 3), (4096, 3), (4097, 7), (8192, 7), (8193, 15), (16_384, 15), (16_385, 31)]
)
def test_the_ntk_step_climbs_at_each_doubling(length: int, alpha: float) -> None:
    assert ntk_alpha(length, 2048) == alpha


@pytest.mark.parametrize(("alpha", "base"), [(1, 10_000), (3, 30_527.74), (7, 72_195.86), (15, 156_588.3)])
def test_the_rotary_base_follows_the_ntk_step(alpha: float, base: float) -> None:
    found = rotary_frequencies(DecoderConfig(), alpha)
    assert found.dtype == torch.float32
    assert torch.allclose(found.log(), -math.log(base) * torch.arange(0, 128, 2) / 128, atol=1e-5)


def test_logn_factors_begin_past_seq_length() -> None:
    factors = logn_factors(torch.tensor([0, 2046, 2047, 2999, 4095, 8191]), 2048)
    assert torch.allclose(factors, torch.tensor([1, 1, 1, 1.0501, 1.0909, 1.1818]), atol=5e-5)
    assert factors[:3].tolist() == [1, 1, 1]


def test_the_ntk_step_of_the_prefill_stays_while_decoding_crosses_the_next() -> None:
    decoder, token_ids = randomised(shape()), ids(1, 40)
    cache = new_cache(decoder)
    pieces = [run(decoder, token_ids[:, :30], cache=cache)]  # 16 < 30 <= 32: step 3; 40 alone would be step 7
    pieces += [run(decoder, token_ids[:, i : i + 1], cache=cache) for i in range(30, 40)]
    assert cache.alpha.tolist() == [3]
    cached = torch.cat(pieces, dim=1)
    assert difference(cached, run(decoder, token_ids, alpha_length=30)) < 1e-5
    assert difference(cached, run(decoder, token_ids)) > 1e-2


def test_the_ntk_step_can_be_chosen_at_the_prefill_and_is_free_again_when_the_cache_is_empty() -> None:
    decoder, token_ids = randomised(shape()), ids(1, 40)
    cache = new_cache(decoder)
    pieces = [run(decoder, piece, cache=cache, alpha_length=40) for piece in token_ids.split([10, 30], dim=1)]
    assert cache.alpha.tolist() == [7]
    assert difference(torch.cat(pieces, dim=1), run(decoder, token_ids)) < 1e-5
    cache.truncate(0)
    assert cache.alpha.tolist() == [1]
    again = run(decoder, token_ids[:, :20], cache=cache)
    assert cache.alpha.tolist() == [3]
    assert difference(again, run(decoder, token_ids[:, :20])) < 1e-5


@pytest.mark.parametrize("kept", [1, 11, 25])
def test_a_cache_cut_back_and_fed_again_equals_a_fresh_one(kept: int) -> None:
    decoder, token_ids, other = randomised(shape()), ids(1, 26), ids(1, 26, seed=1)
    cache = new_cache(decoder)
    run(decoder, torch.cat([token_ids[:, :kept], other[:, kept:]], dim=1), cache=cache)
    cache.truncate(kept)
    assert cache.length == kept
    again = run(decoder, token_ids[:, kept:], cache=cache)
    assert difference(again, run(decoder, token_ids)[:, kept:]) < 1e-5


def test_a_cache_is_used_again_for_other_rows() -> None:
    decoder = randomised(shape())
    cache = new_cache(decoder, batch=2)
    run(decoder, ids(2, 20, seed=1), cache=cache, starts=torch.tensor([3, 0]))
    cache.reset()
    token_ids = ids(2, 14)
    assert difference(run(decoder, token_ids, cache=cache), run(decoder, token_ids)) < 1e-5
    assert cache.start.tolist() == [0, 0]


def test_a_cache_that_is_full_says_so_and_keeps_what_it_has() -> None:
    decoder = randomised(shape())
    cache = new_cache(decoder, capacity=8)
    run(decoder, ids(1, 6), cache=cache)
    with pytest.raises(PromptError, match="holds 8 positions, 9 are needed"):
        run(decoder, ids(1, 3), cache=cache)
    assert cache.length == 6


def left_padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    starts = torch.tensor([longest - len(row) for row in rows])
    return torch.stack([torch.cat([torch.full((longest - len(row),), 5), row]) for row in rows]), starts


@pytest.mark.parametrize("lengths", [(3, 16, 9), (20, 5, 40), (70, 33, 1)])
def test_left_padded_rows_equal_solo_runs_past_seq_length_too(lengths: tuple[int, ...]) -> None:
    decoder = randomised(shape())
    rows = [ids(n, seed=n) for n in lengths]
    batch, starts = left_padded(rows)
    cache = new_cache(decoder, batch=len(rows))
    together = run(decoder, batch, cache=cache, starts=starts)
    uncached = run(decoder, batch, starts=starts)
    more = ids(len(rows), 30, seed=99)
    steps = torch.cat([run(decoder, more[:, i : i + 1], cache=cache) for i in range(30)], dim=1)
    assert bool(torch.isfinite(together).all() & torch.isfinite(uncached).all())
    for row, alone in enumerate(rows):
        own = new_cache(decoder)
        expected = run(decoder, alone[None], cache=own)[0]
        assert difference(together[row, int(starts[row]) :], expected) < 1e-4
        assert difference(uncached[row, int(starts[row]) :], expected) < 1e-4
        follow = torch.cat([run(decoder, more[row : row + 1, i : i + 1], cache=own) for i in range(30)], dim=1)
        assert difference(steps[row], follow[0]) < 1e-4
        assert float(cache.alpha[row]) == float(own.alpha[0]) == ntk_alpha(len(alone), 16)


def test_a_mask_leaves_every_query_a_key_padding_too() -> None:
    # A query without keys is nan in some attention kernels, and nan spreads through the next block's values.
    mask = left_padded_mask(torch.arange(5), 5, torch.tensor([3, 0]))
    assert mask.sum(-1).tolist() == [[[1, 1, 1, 1, 2]], [[1, 2, 3, 4, 5]]]


def test_padding_that_is_all_zero_counts_as_none() -> None:
    decoder, token_ids = randomised(shape()), ids(2, 20)
    cache = new_cache(decoder, batch=2)
    assert torch.equal(run(decoder, token_ids, cache=cache, starts=torch.zeros(2, dtype=torch.int64)), run(decoder, token_ids))
    assert not cache.padded


def test_a_decoding_step_builds_no_square_mask() -> None:
    decoder = randomised(shape())
    cache = new_cache(decoder)
    run(decoder, ids(1, 50), cache=cache)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        run(decoder, ids(1, 1), cache=cache)
    shapes = [tuple(size) for event in profile.events() for size in event.input_shapes if size]
    assert shapes
    assert not [size for size in shapes if size[-2:] == (51, 51)]
    assert all(event.name not in ("aten::tril", "aten::masked_fill", "aten::where") for event in profile.events())


@pytest.mark.parametrize("dynamic", [False, True])
def test_packed_rows_equal_their_samples_alone(dynamic: bool) -> None:
    decoder = randomised(shape(dynamic_ntk=dynamic, logn_attention=dynamic))
    samples = [ids(n, seed=n) for n in (7, 20, 40, 5)]
    segment = torch.tensor([[1] * 7 + [2] * 20 + [0] * 20, [1] * 40 + [2] * 5 + [0] * 2])
    positions = torch.tensor([[*range(7), *range(20), *range(20)], [*range(40), *range(5), *range(2)]])
    padding = torch.zeros(20, dtype=torch.int64)
    packed = torch.stack([torch.cat([*samples[:2], padding]), torch.cat([*samples[2:], padding[:2]])])
    for training in (True, False):
        decoder.train(training)
        together = run(decoder, packed, segment=segment, positions=positions)
        assert bool(torch.isfinite(together).all())
        for sample, row, begin in zip(samples, (0, 0, 1, 1), (0, 7, 0, 40), strict=True):
            alone = run(decoder, sample[None])[0]
            assert difference(together[row, begin : begin + len(sample)], alone) < 1e-4


def test_right_padded_rows_take_the_causal_way_and_equal_their_samples_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, samples = randomised(shape()).train(), [ids(9, seed=1), ids(14, seed=2)]
    batch = torch.stack([torch.nn.functional.pad(sample, (0, 14 - len(sample))) for sample in samples])
    segment = torch.tensor([[1] * 9 + [0] * 5, [1] * 14])
    monkeypatch.setattr("qwen_audio.model.decoder.segment_mask", None)  # calling it would fail
    together = run(decoder, batch, segment=segment)
    for row, sample in enumerate(samples):
        assert difference(together[row, : len(sample)], run(decoder, sample[None])[0]) < 1e-5


def test_training_scales_neither_base_nor_queries() -> None:
    decoder, token_ids = randomised(shape()), ids(1, 50)
    plain = randomised(shape(dynamic_ntk=False, logn_attention=False))
    expected = run(plain, token_ids)
    assert difference(run(decoder.train(), token_ids), expected) < 1e-5
    assert difference(run(decoder.eval(), token_ids), expected) > 1e-2


def test_rotation_in_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    config = DecoderConfig()
    angles = torch.arange(3000, 3008)[:, None] * rotary_frequencies(config, 3.0)
    heads = torch.randn(1, 8, 2, 128, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    cos, sin = angles.cos()[None, :, None], angles.sin()[None, :, None]
    exact = heads.double()
    first, second = exact[..., :64], exact[..., 64:]
    wide = [first * cos.double() - second * sin.double(), second * cos.double() + first * sin.double()]
    turned = rotate(heads, cos, sin)
    assert turned.dtype == torch.bfloat16
    assert difference(turned.float(), torch.cat(wide, dim=-1).to(torch.bfloat16).float()) <= 2**-7
    assert (turned.double() == torch.cat(wide, dim=-1).to(torch.bfloat16).double()).float().mean() > 0.999


def test_casting_a_decoder_leaves_its_angles_and_rounds_its_logn_factors_to_the_querys_numbers() -> None:
    decoder, token_ids = randomised(shape()).to(torch.bfloat16), ids(1, 30)
    seen: dict[str, Tensor] = {}
    plan = decoder._plan(decoder.embedding(token_ids), None, None, None, None)
    angles = torch.arange(30)[:, None] * rotary_frequencies(decoder.config, 3.0)
    assert torch.equal(plan.cos[0, :, 0], angles.cos())
    assert plan.cos.dtype == torch.float32
    block = decoder.blocks[0]
    assert isinstance(block, DecoderBlock)
    attention = block.attention
    attention.qkv.register_forward_hook(lambda module, inputs, output: seen.update(mixed=output))

    def listen(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
        seen["q"] = q
        return q.transpose(1, 2).flatten(2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qwen_audio.model.decoder.attend", listen)
        attention(decoder.embedding(token_ids), plan, None)
    turned = rotate(seen["mixed"].unflatten(-1, (-1, 8))[:, :, :4], plan.cos, plan.sin)
    factors = torch.tensor([max(1.0, math.log(place, 16)) for place in range(1, 31)]).to(torch.bfloat16)
    assert torch.equal(seen["q"].transpose(1, 2), turned * factors[None, :, None, None])


def test_bfloat16_through_the_cache_stays_near_float32() -> None:
    exact = run(randomised(shape()), ids(1, 30))
    decoder = randomised(shape()).to(torch.bfloat16)
    cache = new_cache(decoder, dtype=torch.bfloat16)
    rounded = torch.cat([run(decoder, piece, cache=cache) for piece in ids(1, 30).split([24, 1, 1, 4], dim=1)], dim=1)
    assert rounded.dtype == torch.bfloat16
    assert difference(rounded.float(), exact) < 0.1 * float(exact.abs().max())


def test_a_cached_run_works_under_autocast() -> None:
    decoder, token_ids = randomised(shape()), ids(1, 24)
    exact = run(decoder, token_ids)
    cache = new_cache(decoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = torch.cat([run(decoder, piece, cache=cache) for piece in token_ids.split([20, 1, 3], dim=1)], dim=1)
    assert difference(rounded.float(), exact) < 0.1 * float(exact.abs().max())
