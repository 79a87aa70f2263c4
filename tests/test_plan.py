"""Plans of runs: what autograd really keeps, what the shipped configs need, and that each of them can be read."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from test_flops import CONFIG, batch, model_of  # type: ignore[import-not-found]
from torch import Tensor
from training_tree import run_config  # type: ignore[import-not-found]

from finetune.config import TrainConfig, train_config
from finetune.cost.memory import Sizes, activations, memory
from finetune.cost.plan import Plan, make_plan, plan
from finetune.cost.plan_config import PlanOptions
from finetune.cost.workload import assumed
from finetune.flops import shape_of
from finetune.run import loader, prepare
from finetune.steps import take_step
from finetune.train import train
from finetune.watch.journal import read_journal
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.joint import QwenAudio

CONFIGS = Path(__file__).resolve().parent.parent / "finetune" / "configs"
MATRIX = 6_476_660_736  # the decoder's blocks: 32 x (4096 x 12288 + 12288 + 4096 x 4096 + 3 x 4096 x 11008 + 2 x 4096)


def shipped(name: str) -> TrainConfig:
    return train_config(CONFIGS / f"{name}.yaml", {"data_root": "prepared"})


@cache
def planned(name: str, device: Any, ranks: int) -> Plan:
    return make_plan(shipped(name), PlanOptions(device=device, ranks=ranks))


def kept(model: QwenAudio, made: Any) -> float:
    """Weigh what a forward pass leaves for the backward pass, each piece of memory once, the model's own left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    names = ("token_ids", "mels", "frames", "places", "segment", "positions", "labels")
    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        output = model(**{name: getattr(made, name) for name in names})
    assert output.loss is not None
    return float(sum(found.values()))


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("stage", ["pretrain", "sft", "joint"])
def test_what_the_backward_pass_keeps_is_predicted_within_three_percent(stage: str, rank: int) -> None:
    model, made = model_of(stage, rank).pack(), batch()
    shape = shape_of(made, packed=True)
    logits = shape.learned * CONFIG.decoder.vocab_size * 4  # of them only their log-softmax is kept
    assert activations(model, shape, Sizes(4, 4, 4, 4)) + logits == pytest.approx(kept(model, made), rel=0.03)


def test_blocks_that_are_computed_again_keep_their_input_alone() -> None:
    shape = shape_of(batch(), packed=True)
    whole, again = (activations(model_of("joint", again=on), shape, Sizes(4, 4, 4, 4)) for on in (False, True))
    assert 0.3 * whole < again < 0.7 * whole  # three blocks: one of them whole at a time


def test_what_learns_alone_has_gradients_and_an_optimiser_and_ranks_share_them() -> None:
    settings = TrainConfig(train_file=("rows.jsonl",), stage="sft", deepspeed="zero1", bf16=True)
    model, shape = model_of("sft"), shape_of(batch(), packed=True)
    learned, total = sum(p.numel() for p in model.decoder.parameters()), sum(p.numel() for p in model.parameters())
    one, _ = memory(model, settings, shape, 1)
    assert (one["weights"], one["gradients"], one["optimiser"]) == (2 * total, 2 * learned, 16 * learned)
    two, three = (memory(model, replace(settings, deepspeed=name), shape, 4)[0] for name in ("zero2", "zero3"))
    assert (two["weights"], two["gradients"], two["optimiser"]) == (2 * total, learned / 2, 4 * learned)
    assert three["weights"] == total / 2
    away, host = memory(model, replace(settings, deepspeed="zero3", offload=True), shape, 4)
    assert away["optimiser"] == away["weights"] == 0 and host == 4 * learned + total / 2
    alone, _ = memory(model, replace(settings, deepspeed="", bf16=False), shape, 1)
    assert (alone["weights"], alone["gradients"], alone["optimiser"]) == (4 * total, 4 * learned, 8 * learned)


def test_adapters_lie_in_float32_over_frozen_weights_in_bfloat16(tmp_path: Path) -> None:
    write_tree(tmp_path)
    run = prepare(run_config(tmp_path, model="mini", encoder=None, decoder=None, ranks="", lora_r=4, bf16=True, stage="pretrain"))
    model = run.learner.model
    kinds = {parameter.requires_grad: set() for parameter in model.parameters()}  # type: ignore[var-annotated]
    for parameter in model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    found, _ = memory(model, run.config, shape_of(batch(), packed=True), 1)
    assert found["weights"] == sum(parameter.nbytes for parameter in model.parameters())
    assert found["gradients"] == sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)


def test_adapters_learn_in_bfloat16_what_they_learn_in_float32(tmp_path: Path) -> None:
    write_tree(tmp_path)
    losses = []
    for bf16 in (True, False):
        name = str(tmp_path / f"{bf16}")
        train(run_config(
            tmp_path, model="mini", encoder=None, decoder=None, ranks="", lora_r=4, bf16=bf16, output_dir=name, max_steps=6, logging_steps=1
        ))  # fmt: skip
        losses.append([line["loss"] for line in read_journal(name)])
    assert losses[0] == pytest.approx(losses[1], rel=0.03)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_read(path: Path) -> None:
    assert shipped(path.stem).output_dir.startswith("runs/")


def test_pretraining_at_the_released_size_fits_eight_gpus_of_80_gb_without_offload() -> None:
    found = planned("pretrain_7b_zero2_8gpu", "h100", 8)
    total, learned = (sum(p.numel() for p in found.model.parameters() if p.requires_grad or not only) for only in (False, True))
    assert total == 8_394_302_464
    assert learned == total - MATRIX - 2 * 155_947 * 4096 - 4096  # but for blocks, tables and last norm
    assert learned / total == pytest.approx(0.0763, abs=1e-4)
    assert found.fits and found.needed < 60 * 2**30
    assert not planned("pretrain_7b_zero2_8gpu", "a100-40", 8).fits


def test_fine_tuning_at_the_released_size_needs_its_shares() -> None:
    found = planned("sft_7b_zero3_8gpu", "h100", 8)
    learned = sum(p.numel() for p in found.model.parameters() if p.requires_grad)
    assert learned == MATRIX + 2 * 155_947 * 4096 + 4096
    assert found.fits
    assert not planned("sft_7b_zero3_8gpu", "h100", 1).fits  # 16 bytes of optimiser for 7.75 billion weights


def test_adapters_at_the_released_size_fit_one_gpu_of_40_gb() -> None:
    found = planned("lora_7b_1gpu", "a100-40", 1)
    learned = {name: p.numel() for name, p in found.model.named_parameters() if p.requires_grad}
    layer = 64 * (4096 + 3 * 4096) + 64 * (4096 + 4096) + 3 * 64 * (4096 + 11_008)  # qkv, out; up, gate and down
    assert sum(learned.values()) == 32 * layer
    assert found.fits and found.needed < 25 * 2**30


def test_a_plan_tells_what_it_assumes_and_how_long_the_run_takes() -> None:
    text = plan(shipped("pretrain_7b_zero2_8gpu"), PlanOptions(ranks=8))
    told = ("8,394,302,464", "7.63 % learn", "40% of the device's peak (assumed)", "120 rows and 1200 s of audio a step", "fits")
    for part in (*told, "500000 steps:"):
        assert part in text
    # 3.7 PFLOP per hour of audio and 380 hours of it per H100-hour at 40 % were worked out apart from this for clips of 10 s
    found = planned("pretrain_7b_zero2_8gpu", "h100", 8)
    audio_h = found.load.audio_s / 3600
    assert found.flops.total / audio_h == pytest.approx(3.7e15, rel=0.05)
    assert audio_h / (found.step_s * 8 / 3600) == pytest.approx(380, rel=0.05)


def test_a_rank_computes_what_its_limits_let_it_at_once() -> None:
    settings = TrainConfig(train_file=("rows.jsonl",), batch_tokens=302 * 16, batch_rows=99)
    options = PlanOptions(ranks=2)
    cases: list[tuple[dict[str, Any], int, int]] = [
        ({}, 8, 1), ({"per_device_train_batch_size": 3}, 3, 3), ({"gradient_accumulation_steps": 4}, 2, 4),
    ]  # fmt: skip
    for changes, at_once, turns in cases:
        found = assumed(replace(settings, **changes), options)
        assert (found.rows, len(found.largest.samples), len(found.largest.clips), found.turns) == (16, at_once, at_once, turns)
        assert found.largest.samples[0] == 302 and found.largest.clips[0] == 1000


def test_a_plan_looks_at_the_rows_where_they_are_here(tmp_path: Path) -> None:
    write_tree(tmp_path)
    changes: dict[str, Any] = {"model": "mini", "encoder": None, "decoder": None, "ranks": "", "augment": None}
    run = prepare(run_config(tmp_path, max_steps=12, per_device_train_batch_size=3, **changes))
    found = make_plan(run.config, PlanOptions(device="cpu"))
    taken, largest = [], 0.0
    for share, _ in zip(loader(run).shares(run.data_state), range(12), strict=False):
        taken.append(take_step(run.backend, run.config, share, 0).amounts)
        largest = max(largest, *(shape_of(made.batch, packed=True).positions for made in share.made if made is not None))
    count = len(taken)
    assert (found.load.steps, found.load.n_steps, count) == (12, 12, 12)
    assert found.load.rows == sum(amounts["rows"] for amounts in taken) / count
    assert found.load.audio_s == pytest.approx(sum(amounts["audio_s"] for amounts in taken) / count, rel=0.01)
    assert found.flops.useful == pytest.approx(sum(amounts["flops"] for amounts in taken) / count, rel=0.02)
    assert found.load.largest.positions == pytest.approx(largest, rel=0.02)
    text = plan(run.config, PlanOptions(device="cpu"))
    assert "the first 12 steps of the rows themselves" in text and "12 steps: " in text
    assert "as the flags say" in plan(run.config, PlanOptions(device="cpu", clip_s=5.0))


def test_a_plan_without_the_models_words_estimates_them(tmp_path: Path) -> None:
    write_tree(tmp_path)
    rows = tmp_path / "rows.jsonl"
    row = {"audio": "digits/audio/7.wav", "task": "asr", "language": "en", "text": "seven"}
    rows.write_text("".join(json.dumps({"id": f"{n}", **row}) + "\n" for n in range(40)), encoding="utf-8")
    config = replace(shipped("lora_7b_1gpu"), train_file=(str(rows),))
    text = plan(config, PlanOptions())
    assert "the first 4 steps of the rows themselves, their texts' tokens estimated: 30 rows and 15 s" in text or "32 rows" in text
    assert "rows cannot be looked at" in plan(shipped("lora_7b_1gpu"), PlanOptions())


def test_a_plan_of_this_machine_measures_it_and_one_that_cannot_be_made_says_why() -> None:
    settings = TrainConfig(train_file=("rows.jsonl",), model="mini", bf16=False)
    found = make_plan(settings, PlanOptions(device="cpu"))
    assert 0 < found.step_s < 1000 and found.fits
    with pytest.raises(CheckpointError):
        plan(replace(settings, model="nobody/nothing"), PlanOptions())
    with pytest.raises(ConfigError, match="efficiency"):
        PlanOptions(efficiency=1.5)
