"""Operations of a step, counted by torch's own counter as they are done, against what is predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from data.batching import Batch
from finetune.adapters import inject, lora_settings
from finetune.config import TrainConfig
from finetune.flops import CostModel, StepShape, mfu, peak_of, shape_of
from finetune.stages import choose
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.model.checkpoints.load import empty_model
from qwen_audio.model.joint import QwenAudio

FRAMES = (400, 400, 198)  # of 10 ms
SAMPLES = tuple(frames // 4 + 2 + 20 for frames in FRAMES)
CONFIG = ModelConfig(
    encoder=EncoderConfig(width=48, heads=3, layers=3, mlp_width=128),
    decoder=DecoderConfig(vocab_size=400, width=64, layers=3, heads=4, kv_heads=2, head_size=16, mlp_width=96),
    audio_start_id=300, audio_pad_id=301, audio_end_id=302,
)  # fmt: skip


def model_of(stage: Any, rank: int = 0, *, config: ModelConfig = CONFIG, again: bool = False, meta: bool = False) -> QwenAudio:
    settings = TrainConfig(train_file=("rows.jsonl",), stage=stage, model="mini", lora_r=rank)
    torch.manual_seed(0)
    model = empty_model(config) if meta else QwenAudio(config)
    if rank:
        inject(model, lora_settings(settings))
    model.encoder.checkpointing = model.decoder.checkpointing = again
    choose(model, settings)
    return model


def batch() -> Batch:
    width = max(SAMPLES)
    ids, segment = torch.randint(0, 200, (3, width)), torch.zeros(3, width, dtype=torch.int64)
    labels = torch.full((3, width), -100)
    for row, length in enumerate(SAMPLES):
        segment[row, :length] = 1
        labels[row, length - 7 : length] = 5
    places = torch.tensor([[row, 0, frames // 4 + 2] for row, frames in enumerate(FRAMES)])
    return Batch(ids, segment, torch.arange(width).expand(3, width), labels, torch.randn(sum(FRAMES), 80), torch.tensor(FRAMES), places)


def counted(model: QwenAudio, made: Batch) -> float:
    """Count a forward and a backward pass; attention as plain products, which the counter knows on a CPU."""
    names = ("token_ids", "mels", "frames", "places", "segment", "positions", "labels")
    given: dict[str, Tensor] = {name: getattr(made, name) for name in names}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**given).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("stage", ["pretrain", "sft", "joint"])
def test_the_operations_of_a_step_are_those_that_are_done(stage: str, rank: int, again: bool, packed: bool) -> None:
    model = model_of(stage, rank, again=again).pack(packed)
    made = batch()
    assert CostModel(model).step(shape_of(made, packed=packed)).total == pytest.approx(counted(model, made), rel=0.005)


def test_a_batch_is_counted_at_its_real_lengths_where_it_is_packed() -> None:
    made = batch()
    assert shape_of(made, packed=True) == StepShape(list(SAMPLES), list(FRAMES), 21)
    assert shape_of(made, packed=False) == StepShape([max(SAMPLES)] * 3, [max(FRAMES)] * 3, 21)
    text = replace(made, mels=torch.zeros(0, 80), frames=torch.zeros(0, dtype=torch.int64))
    assert shape_of(text, packed=False).clips == []


def test_frozen_parts_cost_one_forward_or_two_and_learning_ones_three() -> None:
    # attention apart, which has no weights: one position of text, and clips so short that pairs hardly count
    shape = StepShape([1] * 50, [8] * 50, 50)
    steps = {stage: CostModel(model_of(stage, config=ModelConfig(), meta=True)).step(shape) for stage in ("pretrain", "sft")}
    assert steps["pretrain"].encoder_backward / steps["pretrain"].encoder_forward == pytest.approx(2, abs=0.02)
    assert steps["pretrain"].decoder_backward / steps["pretrain"].decoder_forward == pytest.approx(1, abs=0.001)
    assert steps["sft"].encoder_backward == 0
    assert steps["sft"].decoder_backward / steps["sft"].decoder_forward == pytest.approx(2, abs=0.001)
    lora = CostModel(model_of("sft", 8, config=ModelConfig(), meta=True)).step(shape)
    assert lora.decoder_backward / lora.decoder_forward == pytest.approx(1, abs=0.02)
    again = CostModel(model_of("sft", config=ModelConfig(), again=True, meta=True)).step(shape)
    assert again.useful == steps["sft"].total and again.again / again.decoder_forward == pytest.approx(0.7, abs=0.1)


def test_utilisation_is_a_share_of_a_known_peak() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3") == peak_of("NVIDIA H200") == 989e12
    assert peak_of("NVIDIA H100 PCIe") == 756e12 and peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_of("AMD EPYC") is None and mfu(1e12, 1.0, None) is None
    assert mfu(156e12, 1.0, peak_of("NVIDIA A100-SXM4-40GB")) == 0.5
