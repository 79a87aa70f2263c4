"""Ids in, ids out: against transformers' generate and samplers, and rows against themselves alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qwen_audio.audio import AudioClip
from qwen_audio.config import GenerationOptions, ModelConfig
from qwen_audio.model.decoder import KVCache
from qwen_audio.model.generate import Answer, Row, SrwtConstraint, generate, sample
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer
from tag_schema.timestamps import srwt_to_words
from tag_schema.vocabulary import SILENCE
from tests.golden_model import WIDTHS, clips, golden, golden_net, places_of

GREEDY = GenerationOptions(greedy=True, max_new_tokens=12)
NEVER: frozenset[int] = frozenset()


def answers_of(model: QwenAudio, rows: Sequence[Row], options: GenerationOptions = GREEDY, **more) -> list[Answer]:
    *_, answers = generate(model, rows, options, **{"stop_ids": NEVER, **more})
    return answers


def ids_of(answers: Sequence[Answer]) -> list[list[int]]:
    return [answer.token_ids for answer in answers]


def text_row(length: int, seed: int) -> Row:
    draw = random.Random(seed)
    return Row([draw.randrange(256) for _ in range(length)])


def audio_row(model: QwenAudio, clips: Sequence[AudioClip], length: int, seed: int) -> Row:
    """Lay clips, each behind five random ids, before a tail of random ids."""
    config, draw = model.config, random.Random(seed)
    with torch.inference_mode():
        vectors = model.encode_audio(*model.log_mel(clips))
    ids, spans = [], []
    for clip in vectors:
        ids += [draw.randrange(256) for _ in range(5)]
        spans.append(range(len(ids), len(ids) + len(clip)))
        ids += [config.audio_start_id, *[config.audio_pad_id] * (len(clip) - 2), config.audio_end_id]
    return Row(ids + [draw.randrange(256) for _ in range(length)], vectors, spans)


@pytest.fixture
def calls(tiny_model: QwenAudio) -> Iterator[list[tuple[int, int]]]:
    """Count what the decoder is fed: (rows, positions) of each call."""
    seen: list[tuple[int, int]] = []
    hook = tiny_model.decoder.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[:2])))
    yield seen
    hook.remove()


@pytest.fixture
def plain(tiny_config: ModelConfig) -> tuple[QwenAudio, Any]:
    """Make a random Qwen2 of transformers, grouped-query attention and all, and the same weights in our decoder."""
    transformers = pytest.importorskip("transformers")
    shape = replace(tiny_config.decoder, kv_heads=1, dynamic_ntk=False, logn_attention=False)
    model = QwenAudio(replace(tiny_config, decoder=shape)).eval()
    settings = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_base,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    oracle = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**settings)).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in oracle.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3 + float(parameter.dim() == 1))
    theirs = {name.removeprefix("model."): value for name, value in oracle.state_dict().items()}
    ours = {
        "embedding.weight": theirs["embed_tokens.weight"],
        "norm.weight": theirs["norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    names = {
        "attention.out": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
        "mlp.up": "mlp.up_proj",
        "mlp.gate": "mlp.gate_proj",
        "mlp.down": "mlp.down_proj",
    }
    for layer in range(shape.layers):
        ours |= {f"blocks.{layer}.{mine}.weight": theirs[f"layers.{layer}.{other}.weight"] for mine, other in names.items()}
        for kind in ("weight", "bias"):
            parts = [theirs[f"layers.{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            ours[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat(parts)
    model.decoder.load_state_dict(ours)
    return model, oracle


@pytest.mark.parametrize("seq_length", WIDTHS)
def test_greedy_ids_equal_those_of_the_released_code_alone_and_in_a_batch(seq_length: int) -> None:
    model = golden_net(seq_length)
    token_ids = golden("in/idsA")
    with torch.inference_mode():
        vectors = model.encode_audio(*model.log_mel(clips()))
    spans = [range(first, first + count) for _, first, count in places_of(token_ids, vectors).tolist()]
    row = Row(token_ids[0].tolist(), vectors, spans)
    wanted = golden(f"dec/w{seq_length}/A/greedy_ids").tolist()
    options = GenerationOptions(greedy=True, max_new_tokens=len(wanted))
    assert ids_of(answers_of(model, [row], options)) == [wanted]
    longer = Row([token % 598 for token in range(500)])
    assert ids_of(answers_of(model, [longer, row, text_row(9, 1)], options))[1] == wanted


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_ids_equal_those_of_transformers(plain: tuple[QwenAudio, Any], penalty: float) -> None:
    model, oracle = plain
    rows = [text_row(20, 1), text_row(33, 2)]
    options = GenerationOptions(greedy=True, max_new_tokens=24, repetition_penalty=penalty)
    for row, answer in zip(rows, answers_of(model, rows, options), strict=True):
        wanted = oracle.generate(
            torch.tensor([row.token_ids]), attention_mask=torch.ones(1, len(row.token_ids)), do_sample=False, max_new_tokens=24,
            repetition_penalty=penalty, pad_token_id=0,
        )  # fmt: skip
        assert answer.token_ids == wanted[0, len(row.token_ids) :].tolist()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 0, 0.5), (1.5, 7, 1.0), (1.3, 12, 0.8), (1.0, 1, 0.9), (1.0, 0, 1e-6)]
)
def test_sampling_follows_the_distribution_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    scores = torch.randn(1, 40, generator=torch.Generator().manual_seed(5)) * 2
    wanted = process.TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        wanted = process.TopKLogitsWarper(top_k)(None, wanted)
    wanted = process.TopPLogitsWarper(top_p)(None, wanted).softmax(-1)[0]
    points = (torch.arange(20_000) + 0.5) / 20_000
    options = GenerationOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = sample(scores.expand(len(points), -1), options, points)
    found = drawn.bincount(minlength=40) / len(points)
    assert torch.allclose(found, wanted, atol=2e-4)


def test_the_largest_draw_still_gives_an_allowed_id() -> None:
    scores = torch.tensor([[2.0, -torch.inf, 1.0, -torch.inf]])
    assert sample(scores, GenerationOptions(top_p=1.0), torch.tensor([1.0])).item() == 2


@pytest.mark.parametrize("temperature", [1e-44, 1e-30, 1e-5])
def test_the_coldest_answer_is_the_likeliest_id(temperature: float) -> None:
    scores = torch.tensor([[2.0, 90.0, -torch.inf, -300.0]])
    assert sample(scores, GenerationOptions(top_p=1.0, temperature=temperature), torch.tensor([0.999])).item() == 1


def test_left_padded_rows_say_what_they_say_alone(tiny_model: QwenAudio, clip: Callable[..., AudioClip]) -> None:
    rows = [
        text_row(7, 1),
        audio_row(tiny_model, [clip(1.0), clip(2.4, seed=1)], 30, 2),
        text_row(300, 3),  # past seq_length: another NTK step than its neighbours, and scaled queries
        audio_row(tiny_model, [clip(0.5, seed=3)], 9, 4),
        text_row(250, 5),  # crosses seq_length while it answers
    ]
    together = answers_of(tiny_model, rows)
    assert ids_of(together) == [ids_of(answers_of(tiny_model, [row]))[0] for row in rows]


def test_rows_end_one_by_one_and_the_others_go_on_as_alone(tiny_model: QwenAudio, calls: list[tuple[int, int]]) -> None:
    rows = [replace(text_row(10 + seed, seed), room=room) for seed, room in enumerate([2, 9, 3, 12, 5])]
    alone = [answers_of(tiny_model, [row])[0] for row in rows]
    calls.clear()
    together = answers_of(tiny_model, rows)
    assert together == alone
    assert [len(answer.token_ids) for answer in together] == [2, 9, 3, 12, 5]
    assert [batch for batch, _ in calls][-1] == 1, "ended rows are dropped from the batch"


def test_a_stop_id_ends_a_row_without_another_step(tiny_model: QwenAudio, calls: list[tuple[int, int]]) -> None:
    row = text_row(12, 1)
    free = answers_of(tiny_model, [row])[0].token_ids
    stop = next(token for place, token in enumerate(free) if place >= 4 and token not in free[:place])
    calls.clear()
    (answer,) = answers_of(tiny_model, [row], stop_ids={stop})
    assert answer == Answer(free[: free.index(stop)], "end")
    assert calls == [(1, 12)] + [(1, 1)] * len(answer.token_ids)


def test_the_last_id_at_the_limit_is_not_fed(tiny_model: QwenAudio, calls: list[tuple[int, int]]) -> None:
    (answer,) = answers_of(tiny_model, [text_row(12, 1)])
    assert answer.stop == "length" and len(answer.token_ids) == 12
    assert calls == [(1, 12)] + [(1, 1)] * 11


def test_a_row_may_end_with_its_first_id_while_another_speaks(tiny_model: QwenAudio) -> None:
    rows = [text_row(12, 1), text_row(9, 2)]
    first = answers_of(tiny_model, [rows[0]])[0].token_ids[0]
    together = answers_of(tiny_model, rows, stop_ids={first})
    assert together[0] == Answer([], "end")
    assert together[1] == answers_of(tiny_model, [rows[1]], stop_ids={first})[0]


def test_the_head_reads_only_the_last_position_of_a_prompt(tiny_model: QwenAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    head = tiny_model.decoder.logits

    def counted(hidden: Tensor) -> Tensor:
        shapes.append(tuple(hidden.shape))
        return head(hidden)

    monkeypatch.setattr(tiny_model.decoder, "logits", counted)
    answers_of(tiny_model, [text_row(50, 1), text_row(40, 2)], GenerationOptions(greedy=True, max_new_tokens=3))
    assert shapes == [(2, tiny_model.config.decoder.width)] * 3


def test_a_seeded_row_samples_the_same_wherever_it_stands(tiny_model: QwenAudio) -> None:
    options = GenerationOptions(temperature=1.5, top_p=0.95, max_new_tokens=10, seed=7)
    row, others = text_row(15, 1), [text_row(20, 2), text_row(5, 3)]
    (alone,) = answers_of(tiny_model, [row], options)
    assert answers_of(tiny_model, [row, *others], options)[0] == alone
    assert answers_of(tiny_model, [*others, row], options)[2] == alone
    assert answers_of(tiny_model, [row], replace(options, seed=8))[0] != alone


def test_without_a_seed_every_run_is_another(tiny_model: QwenAudio) -> None:
    options = GenerationOptions(temperature=2.0, top_p=1.0, max_new_tokens=10)
    runs = answers_of(tiny_model, [text_row(15, 1)] * 2, options)
    assert runs[0] != runs[1]


def test_a_penalty_counts_what_each_row_has_said(tiny_model: QwenAudio) -> None:
    options = GenerationOptions(greedy=True, max_new_tokens=20, repetition_penalty=100.0)
    rows = [text_row(30, 1), text_row(12, 2)]
    for row, answer in zip(rows, answers_of(tiny_model, rows, options), strict=True):
        assert len(set(answer.token_ids)) == 20 and not set(answer.token_ids) & set(row.token_ids)


def test_forbidden_ids_are_never_said(tiny_model: QwenAudio) -> None:
    row = text_row(12, 1)
    said = answers_of(tiny_model, [row])[0].token_ids
    forbidden = torch.zeros(tiny_model.config.decoder.vocab_size, dtype=torch.bool)
    forbidden[said] = True
    assert not set(answers_of(tiny_model, [row], forbidden=forbidden)[0].token_ids) & set(said)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_cancelling_ends_a_run_before_its_next_step(tiny_model: QwenAudio, calls: list[tuple[int, int]], after: int) -> None:
    asked = iter(range(100))
    answers = answers_of(tiny_model, [text_row(9, 1), text_row(12, 2)], cancelled=lambda: next(asked) >= after)
    assert [(len(answer.token_ids), answer.stop) for answer in answers] == [(after, "cancelled")] * 2
    assert len(calls) == after


def test_a_run_without_rows_says_nothing(tiny_model: QwenAudio) -> None:
    assert answers_of(tiny_model, []) == []


def test_steps_come_one_id_at_a_time(tiny_model: QwenAudio) -> None:
    lengths = [len(answers[0].token_ids) for answers in generate(tiny_model, [text_row(9, 1)], GREEDY, stop_ids=NEVER)]
    assert lengths == list(range(1, 13))


@pytest.mark.parametrize("kept", [1, 5, 20, 103])
def test_going_on_from_a_cache_equals_a_fresh_run(
    tiny_model: QwenAudio, clip: Callable[..., AudioClip], calls: list[tuple[int, int]], kept: int
) -> None:
    row = audio_row(tiny_model, [clip(0.5), clip(1.0, seed=1), clip(1.6, seed=2)], 20, 4)
    edges = [0, *[edge for span in row.spans for edge in (span.start, span.stop)], len(row.token_ids)]
    kept = max(edge for edge in edges if edge <= kept) or kept
    fresh = answers_of(tiny_model, [row])
    cache = KVCache(tiny_model.config.decoder, 1, 512, tiny_model.device, tiny_model.dtype)
    answers_of(tiny_model, [row], cache=cache)
    assert cache.length == len(row.token_ids) + len(fresh[0].token_ids) - 1
    cache.truncate(kept)
    calls.clear()
    assert answers_of(tiny_model, [row], cache=cache) == fresh
    assert calls[0] == (1, len(row.token_ids) - kept)


def constraint(tokenizer: Tokenizer, duration_s: float) -> SrwtConstraint:
    return SrwtConstraint(
        vocab_size=tokenizer.vocab_size, text_ids=range(tokenizer.n_ranks), silence_id=tokenizer.id_of(SILENCE),
        time_ids=tokenizer.timestamp_ids, duration_s=duration_s, stop_ids=[tokenizer.end_of_text, tokenizer.im_end],
    )  # fmt: skip


def check_srwt(tokenizer: Tokenizer, said: Sequence[int], duration_s: float) -> int:
    """Read an answer back; returns how many items it has."""
    times = [token - tokenizer.timestamp_ids[0] for token in said if token in tokenizer.timestamp_ids]
    assert times == sorted(times) and all(step <= duration_s * 100 + 1e-6 for step in times)
    assert not said or said[-1] in tokenizer.timestamp_ids, "the last word is closed"
    words = srwt_to_words(tokenizer.decode(said))
    assert all(word.end_s <= duration_s + 1e-6 for word in words)
    return len(times)


def test_constrained_answers_are_timed_transcripts_at_every_limit(tiny_model: QwenAudio, tiny_tokenizer: Tokenizer) -> None:
    stop_ids = [tiny_tokenizer.end_of_text, tiny_tokenizer.im_end]
    rows = [replace(text_row(8, seed), room=1 + seed) for seed in range(24)]
    options = GenerationOptions(temperature=3.0, top_p=1.0, max_new_tokens=64, seed=2)
    limits = [constraint(tiny_tokenizer, 0.03 + seed) for seed in range(24)]
    answers = answers_of(tiny_model, rows, options, constraints=limits, stop_ids=stop_ids)
    for seed, answer in enumerate(answers):
        check_srwt(tiny_tokenizer, answer.token_ids, 0.03 + seed)
    assert answers[0] == Answer([], "end"), "one id leaves no room for a word"


def test_whatever_the_model_wants_the_constraint_keeps_the_form(tiny_tokenizer: Tokenizer) -> None:
    draw = random.Random(4)
    kinds = [range(tiny_tokenizer.n_ranks), tiny_tokenizer.timestamp_ids, [tiny_tokenizer.id_of(SILENCE)], [tiny_tokenizer.end_of_text]]
    ids = torch.arange(tiny_tokenizer.vocab_size)
    items = 0
    for _ in range(400):
        said: list[int] = []
        duration_s, limit = draw.choice([0.03, 0.1, 2.0, 29.999, 30.0]), draw.randint(1, 12)
        rule = constraint(tiny_tokenizer, duration_s)
        while len(said) < limit:
            allowed = set(ids[rule.allowed(said, limit - len(said))].tolist())
            wanted = draw.choice([sorted(allowed.intersection(kind)) for kind in kinds if allowed.intersection(kind)])
            token = draw.choice([wanted[0], wanted[-1], draw.choice(wanted)])
            if token == tiny_tokenizer.end_of_text:
                break
            said.append(token)
        items += check_srwt(tiny_tokenizer, said, duration_s)
    assert items > 200


def test_times_of_a_transcript_end_with_the_clip_and_then_only_the_end_is_left(tiny_tokenizer: Tokenizer) -> None:
    rule, times = constraint(tiny_tokenizer, 1.239), tiny_tokenizer.timestamp_ids
    open_word = rule.allowed([65], 9)
    assert open_word[times[0]] and open_word[times[123]] and not open_word[times[124]] and open_word[66]
    later = rule.allowed([65, times[50], 66], 9)
    assert not later[times[49]] and later[times[50]]
    done = rule.allowed([65, times[123]], 9)
    assert done.nonzero().flatten().tolist() == sorted([tiny_tokenizer.end_of_text, tiny_tokenizer.im_end])
    silence = rule.allowed([tiny_tokenizer.id_of(SILENCE)], 9)
    assert not silence[:256].any() and silence[times[123]]
