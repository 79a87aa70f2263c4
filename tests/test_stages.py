"""What learns in each stage, at which rate; and that nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from finetune.adapters import DECODER_TARGETS, LoraSettings, inject
from finetune.config import TrainConfig
from finetune.stages import check_learning, choose, describe, parameter_groups, train_mode
from qwen_audio.errors import ConfigError
from qwen_audio.model.joint import QwenAudio


class Holder(nn.Module):
    """A model with losses of its encoder, as training wraps them."""

    def __init__(self, model: QwenAudio) -> None:
        super().__init__()
        self.model, self.heads = model, nn.Linear(3, 2)


def config(stage: Any, **changes: Any) -> TrainConfig:
    auxiliary = {"ctc_weight": 0.1} if stage == "encoder" else {}
    return TrainConfig(train_file=("rows.jsonl",), stage=stage, model="mini", **{"optim": "adamw", **auxiliary, **changes})


def learning(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_pretraining_teaches_the_encoder_and_freezes_the_language_model(tiny_model: QwenAudio) -> None:
    choose(tiny_model, config("pretrain"))
    assert learning(tiny_model) == {name for name, _ in tiny_model.named_parameters() if not name.startswith("decoder.")}
    assert "audio_bounds.weight" in learning(tiny_model) and "encoder.projection.weight" in learning(tiny_model)
    assert tiny_model.decoder.training  # a frozen decoder reads as in training: no scaling past seq_length


def test_fine_tuning_teaches_the_language_model_alone_and_keeps_the_encoder_as_in_use(tiny_model: QwenAudio) -> None:
    choose(tiny_model, config("sft"))
    assert learning(tiny_model) == {name for name, _ in tiny_model.named_parameters() if name.startswith("decoder.")}
    assert tiny_model.decoder.training and not tiny_model.encoder.training and not tiny_model.encoder.blocks[0].training
    tiny_model.eval()
    train_mode(tiny_model)
    assert tiny_model.decoder.training and not tiny_model.encoder.training


def test_joint_training_teaches_all_and_the_encoder_stage_only_what_its_losses_read(tiny_model: QwenAudio) -> None:
    holder = Holder(tiny_model)
    choose(holder, config("joint"))
    assert learning(holder) == {name for name, _ in holder.named_parameters()}
    choose(holder, config("encoder"))
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in learning(holder)} == {"heads.weight", "heads.bias", "model.encoder"}
    assert not {name for name in learning(holder) if "projection" in name or "encoder.norm" in name}


def test_each_block_of_the_encoder_learns_slower_than_the_one_above_it(tiny_model: QwenAudio) -> None:
    settings = config("pretrain", encoder_lr_decay=0.5)
    choose(tiny_model, settings)
    names = {id(parameter): name for name, parameter in tiny_model.named_parameters()}
    share = {names[id(p)]: group["share"] for group in parameter_groups(tiny_model, settings) for p in group["params"]}
    assert share["encoder.projection.weight"] == share["audio_bounds.weight"] == share["encoder.norm.bias"] == 1.0
    assert share["encoder.blocks.1.mlp_up.weight"] == 0.5
    assert share["encoder.blocks.0.attention.query.bias"] == 0.25
    assert share["encoder.conv1.weight"] == share["encoder.conv2.bias"] == 0.125
    assert share.keys() == learning(tiny_model)
    choose(tiny_model, config("joint"))
    assert {group["share"] for group in parameter_groups(tiny_model, config("joint"))} == {1.0}


def test_weight_decay_lies_on_matrices_alone(tiny_model: QwenAudio) -> None:
    settings = config("joint", weight_decay=0.05)
    choose(tiny_model, settings)
    names = {id(parameter): name for name, parameter in tiny_model.named_parameters()}
    decayed = {names[id(p)] for group in parameter_groups(tiny_model, settings) if group["weight_decay"] for p in group["params"]}
    matrices = {name for name, p in tiny_model.named_parameters() if p.ndim > 1}
    assert decayed == matrices - {"decoder.embedding.weight", "audio_bounds.weight"}


def test_a_model_that_learns_something_else_than_its_stage_says_is_refused(tiny_model: QwenAudio) -> None:
    choose(tiny_model, config("pretrain"))
    tiny_model.decoder.norm.weight.requires_grad_(True)
    with pytest.raises(ConfigError, match=r"stage pretrain: decoder\.norm\.weight must not learn"):
        check_learning(tiny_model, config("pretrain"))
    tiny_model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing learns"):
        check_learning(tiny_model, config("sft"))
    choose(tiny_model, config("sft"))
    tiny_model.decoder.head.weight.requires_grad_(False)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"decoder\.head\.weight must learn"):
        check_learning(tiny_model, config("sft"))


def test_with_adapters_they_alone_learn_and_lie_where_the_stage_learns(tiny_model: QwenAudio) -> None:
    with pytest.raises(ConfigError, match="no adapters"):
        choose(tiny_model, config("sft", lora_r=2))
    inject(tiny_model, LoraSettings(rank=2, target=DECODER_TARGETS, token_ids=(300,)))
    choose(tiny_model, config("sft", lora_r=2))
    assert all("lora_" in name or name == "decoder.embedding.rows" for name in learning(tiny_model))
    with pytest.raises(ConfigError, match="adapters lie in what this stage leaves as it is"):
        choose(tiny_model, config("pretrain", lora_r=2))


def test_the_table_counts_what_learns_and_says_at_which_rates(tiny_model: QwenAudio) -> None:
    settings = config("pretrain", encoder_lr_decay=0.5, learning_rate=1e-3)
    choose(tiny_model, settings)
    table = describe(tiny_model, settings).splitlines()
    total = sum(p.numel() for p in tiny_model.parameters())
    mine = sum(p.numel() for p in tiny_model.parameters() if p.requires_grad)
    assert f"{total:,}" in table[-1] and f"{mine:,}" in table[-1]
    row = next(line for line in table if line.startswith("encoder blocks"))
    assert row.endswith("0.00025 to 0.0005")
    assert next(line for line in table if line.startswith("decoder blocks")).endswith("-")
