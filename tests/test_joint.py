"""Audio laid into text, the loss and its gradients: the released code's numbers, and what training asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from golden_model import archive, clips, difference, golden, golden_net, our_name, places_of, released_vectors  # type: ignore[import-not-found]
from torch import Tensor
from torch.nn import functional

from qwen_audio.audio import AudioClip, audio_token_count
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.model.decoder import KVCache
from qwen_audio.model.features import log_mel
from qwen_audio.model.joint import QwenAudio

MakeClip = Callable[..., AudioClip]


def small_config(**changes: Any) -> ModelConfig:
    values: dict[str, Any] = {
        "encoder": EncoderConfig(width=16, heads=2, layers=1, mlp_width=24),
        "decoder": DecoderConfig(
            vocab_size=50, width=24, layers=2, heads=3, kv_heads=3, head_size=8, mlp_width=32, seq_length=64, tied_embeddings=True
        ),
        "audio_start_id": 47,
        "audio_pad_id": 48,
        "audio_end_id": 49,
    }
    return ModelConfig(**{**values, **changes})


def small_model(**changes: Any) -> QwenAudio:
    torch.manual_seed(0)
    return QwenAudio(small_config(**changes))


def spread(model: QwenAudio) -> QwenAudio:
    """Draw the vectors that start as zeros or ones too."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return model


@dataclasses.dataclass
class Sample:
    """One training sample: text, a span of a clip, text; the last `learned` ids are learned."""

    clip: AudioClip
    ids: list[int]
    span: tuple[int, int]
    learned: int

    @property
    def labels(self) -> list[int]:
        return [-100] * (len(self.ids) - self.learned) + self.ids[-self.learned :]


def sample(clip: AudioClip, seed: int, learned: int = 4) -> Sample:
    count = audio_token_count(len(clip.samples))
    text = torch.randint(40, (seed + 9,), generator=torch.Generator().manual_seed(seed)).tolist()
    before, after = text[: 2 + seed], text[2 + seed :]
    return Sample(clip, [*before, 47, *[48] * (count - 2), 49, *after], (len(before), count), learned)


def batch(rows: Sequence[Sequence[Sample]]) -> dict[str, Tensor]:
    """Lay samples into rows as data/batching does: segments from 1, positions from 0 within each, zeros and -100 behind."""
    config, length = small_config(), max(sum(len(one.ids) for one in row) for row in rows)
    names = ("token_ids", "segment", "positions", "labels")
    made = {name: torch.full((len(rows), length), -100 if name == "labels" else 0) for name in names}
    places, mels = [], log_mel([one.clip for row in rows for one in row], config)
    for number, row in enumerate(rows):
        first = 0
        for segment, one in enumerate(row, start=1):
            here = slice(first, first + len(one.ids))
            made["token_ids"][number, here] = torch.tensor(one.ids)
            made["segment"][number, here] = segment
            made["positions"][number, here] = torch.arange(len(one.ids))
            made["labels"][number, here] = torch.tensor(one.labels)
            places.append([number, first + one.span[0], one.span[1]])
            first += len(one.ids)
    return {**made, "mels": mels[0], "frames": mels[1], "places": torch.tensor(places)}


def gradient(model: QwenAudio) -> Tensor:
    """Lay all gradients end to end."""
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def three(clip: MakeClip) -> list[Sample]:
    return [sample(clip(0.5, seed=1), 1), sample(clip(0.9, seed=2), 2, learned=6), sample(clip(0.3, seed=3), 3)]


def hearing_neighbours(model: QwenAudio) -> QwenAudio:
    """Make the encoder do as the released one does in a batch: what follows the shorter clip is silence, not zeros."""
    short, long = clips()
    stretched = AudioClip(np.pad(short.samples, (0, len(long.samples) - len(short.samples))))
    mels, frames = log_mel([stretched, long], model.config)
    side_by_side = torch.stack(mels.split(frames.tolist())).transpose(1, 2)
    model.encoder.pad = lambda pieces: side_by_side  # type: ignore[method-assign]
    return model


def test_loss_and_gradient_norms_equal_the_released_codes() -> None:
    model = hearing_neighbours(golden_net(256)).train()
    token_ids, mels = golden("in/idsA"), log_mel(clips(), model.config)
    places = places_of(token_ids, released_vectors())
    out = model(token_ids, mels=mels[0], frames=mels[1], places=places, labels=golden("in/labelsA"))
    assert abs(out.loss.item() - float(archive()["train/loss"])) < 1e-5
    out.loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    names, norms = archive()["train/grad_norm_keys"], archive()["train/grad_norms"]
    assert len(names) == len(gradients) == 66
    for name, norm in zip(names, norms, strict=True):
        found = gradients[our_name(str(name))]
        assert found is not None
        assert float(found.norm()) == pytest.approx(norm, rel=1e-3)


def test_a_span_is_replaced_with_its_bounds_where_they_are_learned() -> None:
    model, token_ids = small_model(), torch.tensor([[1, 47, 48, 48, 49, 2], [47, 48, 49, 3, 4, 5]])
    audio = [torch.randn(4, 24), torch.randn(3, 24)]
    hidden = model.embed(token_ids, audio, torch.tensor([[0, 1, 4], [1, 0, 3]]))
    assert torch.equal(hidden[0, 1:5], audio[0])
    assert torch.equal(hidden[1, :3], audio[1])
    text = model.decoder.embedding(token_ids)
    assert torch.equal(hidden[0, [0, 5]], text[0, [0, 5]])
    assert torch.equal(hidden[1, 3:], text[1, 3:])


def test_a_spans_bounds_keep_their_embeddings_where_they_are_tokens() -> None:
    model, token_ids = small_model(family="qwen2-audio"), torch.tensor([[1, 47, 48, 48, 49, 2]])
    assert model.audio_bounds is None
    audio = [torch.randn(2, 24)]
    hidden = model.embed(token_ids, audio, torch.tensor([[0, 1, 4]]))
    assert torch.equal(hidden[0, 2:4], audio[0])
    assert torch.equal(hidden[0, [0, 1, 4, 5]], model.decoder.embedding(token_ids)[0, [0, 1, 4, 5]])


def test_learned_bounds_stand_around_every_clip(clip: MakeClip) -> None:
    model, pair = small_model(), [clip(0.5), clip(1.3, seed=1)]
    vectors = model.encode_audio(*model.log_mel(pair))
    assert [len(one) for one in vectors] == [audio_token_count(len(one.samples)) for one in pair]
    assert model.audio_bounds is not None
    for one in vectors:
        assert torch.equal(one[[0, -1]], model.audio_bounds.weight)


def test_a_clip_that_does_not_fit_its_span_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="3 vectors does not fit a span of 4"):
        small_model().embed(torch.zeros(1, 6, dtype=torch.int64), [torch.randn(3, 24)], torch.tensor([[0, 1, 4]]))


def test_text_without_audio_is_read(clip: MakeClip) -> None:
    model, token_ids = small_model(), torch.tensor([[1, 2, 3, 4]])
    out = model(token_ids, labels=token_ids)
    logits = model.decoder.logits(out.hidden)
    assert out.n_learned == 3
    assert out.loss.item() == pytest.approx(functional.cross_entropy(logits[0, :-1], token_ids[0, 1:]).item(), abs=1e-6)
    empty = model(token_ids, mels=torch.zeros(0, 80), frames=torch.zeros(0, dtype=torch.int64), places=torch.zeros(0, 3, dtype=torch.int64))
    assert difference(empty.hidden, out.hidden) < 1e-6
    assert empty.loss is None


def test_the_loss_is_the_mean_over_learned_positions_of_padded_rows(clip: MakeClip) -> None:
    model, samples = spread(small_model()).train(), three(clip)
    out = model(**batch([[one] for one in samples]))
    alone = [model(**batch([[one]])) for one in samples]
    assert [one.n_learned for one in alone] == [4, 6, 4]
    assert out.n_learned == 14
    mean = sum(one.loss.item() * one.n_learned for one in alone) / 14
    assert out.loss.item() == pytest.approx(mean, abs=1e-5)


def test_packed_rows_give_the_loss_and_gradients_of_padded_rows(clip: MakeClip) -> None:
    samples, found = three(clip), []
    for rows in ([[one] for one in samples], [samples[:2], samples[2:]], [samples]):
        model = spread(small_model()).train()
        out = model(**batch(rows))
        out.loss.backward()
        found.append((out.loss.item(), gradient(model)))
    for loss, slope in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-5)
        assert difference(slope, found[0][1]) < 1e-5


def test_a_label_at_the_first_position_of_a_sample_is_not_learned() -> None:
    model, token_ids = small_model(), torch.tensor([[1, 2, 3, 4, 5, 6]])
    segment = torch.tensor([[1, 1, 1, 2, 2, 2]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    assert model(token_ids, segment=segment, positions=positions, labels=token_ids).n_learned == 4


def test_nothing_learned_is_a_loss_of_zero_with_a_gradient() -> None:
    model = small_model()
    out = model(torch.tensor([[1, 2, 3]]), labels=torch.full((1, 3), -100))
    assert out.n_learned == 0
    assert out.loss.item() == 0
    out.loss.backward()
    assert not gradient(model).any()


def test_the_head_runs_on_labelled_positions_only(clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = small_model(), []
    heads = model.decoder.logits

    def count(hidden: Tensor) -> Tensor:
        rows.append(len(hidden))
        return heads(hidden)

    monkeypatch.setattr(model.decoder, "logits", count)
    model(**batch([[one] for one in three(clip)]))
    assert rows == [14]


def test_every_weight_learns_and_no_input_is_written_to(clip: MakeClip) -> None:
    model, samples = spread(small_model()).train(), three(clip)
    made = batch([[one] for one in samples])
    before = {name: value.clone() for name, value in made.items()}
    model(**made).loss.backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all(torch.equal(value, made[name]) for name, value in before.items())


def test_embeddings_that_are_leaves_can_be_trained_through(clip: MakeClip) -> None:
    # What adapters do: the base is frozen, and the embedding's output is made a leaf that asks for gradients.
    model, samples = small_model().requires_grad_(False).train(), three(clip)
    leaves: list[Tensor] = []

    def make_leaf(module: object, inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    model.decoder.embedding.register_forward_hook(make_leaf)
    made = batch([[one] for one in samples])
    audio = [vectors.detach().requires_grad_() for vectors in model.encode_audio(made.pop("mels"), made.pop("frames"))]
    model(**made, audio=audio).loss.backward()
    assert leaves[0].grad is not None
    row, first, count = made["places"][0].tolist()
    assert not leaves[0].grad[row, first : first + count].any()  # the audio took these places
    assert leaves[0].grad.any()
    assert all(vectors.grad is not None and vectors.grad.any() for vectors in audio)


def test_vectors_given_ahead_equal_vectors_made_inside(clip: MakeClip) -> None:
    model, made = small_model().train(), batch([[one] for one in three(clip)])
    inside = model(**made)
    states, lengths = model.encoder.states(made["mels"], made["frames"])
    audio = model.bound(*model.encoder.project(states, lengths))
    ahead = model(**{name: value for name, value in made.items() if name not in ("mels", "frames")}, audio=audio)
    assert ahead.loss.item() == pytest.approx(inside.loss.item(), abs=1e-6)


def test_training_under_autocast_stays_near_float32(clip: MakeClip) -> None:
    made, found = batch([[one] for one in three(clip)]), []
    for enabled in (False, True):
        model = spread(small_model()).train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = model(**made)
        out.loss.backward()
        assert out.loss.dtype == torch.float32
        found.append((out.loss.item(), gradient(model)))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.02)
    assert float(functional.cosine_similarity(found[0][1], found[1][1], dim=0)) > 0.99


def test_evaluation_through_the_cache_reads_what_training_read(clip: MakeClip) -> None:
    model, one = spread(small_model()).eval(), three(clip)[0]
    made = batch([[one]])
    with torch.no_grad():
        hidden = model(**made).hidden
        inputs = model.embed(made["token_ids"], model.encode_audio(made["mels"], made["frames"]), made["places"])
        cache = KVCache(model.config.decoder, 1, 64, "cpu", torch.float32)
        pieces = [model.decoder(piece, cache=cache) for piece in inputs.split([20, 1, inputs.shape[1] - 21], dim=1)]
    assert difference(torch.cat(pieces, dim=1), hidden) < 1e-5


def test_training_makes_the_loss_fall(clip: MakeClip) -> None:
    model, made = small_model().train(), batch([[one] for one in three(clip)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        out = model(**made)
        out.loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(out.loss.item())
    assert losses[0] == pytest.approx(torch.tensor(50.0).log().item(), abs=1.0)  # as good as a guess
    assert losses[-1] < 0.3 * losses[0]


def test_a_full_sized_model_is_described_without_its_memory() -> None:
    with torch.device("meta"):
        model = QwenAudio(ModelConfig())
    assert sum(weight.numel() for weight in model.state_dict().values()) == 8_396_222_464
