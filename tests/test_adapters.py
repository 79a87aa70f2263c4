"""LoRA: what is put in, saved, loaded, laid over and merged computes the same; oracle: peft's own merge."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from data.batching import collate
from finetune.adapters import (
    DECODER_TARGETS,
    ENCODER_TARGETS,
    LoraSettings,
    export,
    find_base,
    inject,
    load_adapter,
    lora_settings,
    merge,
    new_tag_ids,
    save_adapter,
    targets,
)
from finetune.config import TrainConfig
from finetune.stages import choose
from qwen_audio.engine import load
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.load import load_checkpoint, read_settings
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.model.joint import QwenAudio
from qwen_audio.prompt import render_task
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import CustomTags
from tag_schema.tasks import prefix_for

BOTH = LoraSettings(rank=3, alpha=6.0, target=ENCODER_TARGETS + DECODER_TARGETS)


@pytest.fixture
def base(tmp_path: Path, tiny_model: QwenAudio, tiny_tokenizer: Tokenizer) -> Path:
    save(tiny_model, tmp_path / "base", ranks_sha256=tiny_tokenizer.ranks_sha256)
    tiny_tokenizer.write_tiktoken(tmp_path / "base" / "ranks.tiktoken")
    return tmp_path / "base"


def fresh(base: Path) -> QwenAudio:
    return load_checkpoint(base).model


def config(stage: Any = "sft", **changes: Any) -> TrainConfig:
    return TrainConfig(train_file=("rows.jsonl",), stage=stage, model="mini", lora_r=3, **changes)


def batch(model: QwenAudio, tokenizer: Tokenizer, clip: Any) -> dict[str, Tensor]:
    prompts = [render_task([clip(s, seed=i)], prefix_for("asr"), tokenizer, target="good day") for i, s in enumerate((0.5, 0.9))]
    made = collate(prompts, model.config, tokenizer.end_of_text)
    names = ("token_ids", "mels", "frames", "places", "segment", "positions", "labels")
    return {name: getattr(made, name) for name in names}


def learn(model: QwenAudio, given: dict[str, Tensor], steps: int = 3) -> None:
    """Move what learns far enough that its effect shows."""
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.3)
    for _ in range(steps):
        model(**given).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


@torch.no_grad()
def logits(model: QwenAudio, given: dict[str, Tensor]) -> Tensor:
    model.eval()
    inputs = {name: value for name, value in given.items() if name != "labels"}
    return model.decoder.logits(model(**inputs).hidden)


def trained(base: Path, tokenizer: Tokenizer, clip: Any, folder: Path, stage: str = "joint") -> tuple[QwenAudio, dict[str, Tensor]]:
    torch.manual_seed(1)
    model = inject(fresh(base), lora_settings(config(stage)))
    choose(model, config(stage))
    given = batch(model, tokenizer, clip)
    learn(model, given)
    save_adapter(model, folder, base=find_base(str(base)), tokenizer=tokenizer)
    return model, given


def test_a_model_with_new_adapters_computes_what_it_did(tiny_tokenizer: Tokenizer, clip: Any, base: Path) -> None:
    given = batch(fresh(base), tiny_tokenizer, clip)
    assert torch.equal(logits(inject(fresh(base), BOTH), given), logits(fresh(base), given))


def test_merged_loaded_and_adapted_give_the_same_logits_and_the_base_is_untouched(
    tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path
) -> None:
    before = (base / "model.safetensors").read_bytes()
    model, given = trained(base, tiny_tokenizer, clip, tmp_path / "adapter")
    wanted = logits(model, given)
    assert (wanted - logits(fresh(base), given)).abs().max() > 0.1
    merge(tmp_path / "adapter", tmp_path / "merged")
    for folder in ("adapter", "merged"):
        engine = load(tmp_path / folder, device="cpu")
        assert torch.allclose(logits(engine.model, given), wanted, atol=1e-5)
    assert (base / "model.safetensors").read_bytes() == before
    assert not any("lora" in name for name in load_checkpoint(tmp_path / "merged").model.state_dict())


def test_the_files_are_pefts_and_peft_merges_them_to_the_same_weights(
    tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path
) -> None:
    trained(base, tiny_tokenizer, clip, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(fresh(base), str(tmp_path / "adapter")).merge_and_unload().state_dict()
    ours = load_checkpoint(tmp_path / "adapter").model.state_dict()
    assert theirs.keys() == ours.keys()
    moved = [name for name in ours if not torch.equal(ours[name], fresh(base).state_dict()[name])]
    assert len(moved) == 2 * 4 + 2 * 5
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=1e-6), name


def test_training_goes_on_from_an_adapter_as_it_was_saved(tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path) -> None:
    model, _ = trained(base, tiny_tokenizer, clip, tmp_path / "adapter", "sft")
    again = load_adapter(fresh(base), tmp_path / "adapter")  # puts the adapters in that the folder describes
    filled = load_adapter(inject(fresh(base), lora_settings(config("sft"))), tmp_path / "adapter")
    for other in (again, filled):
        assert other.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(other.state_dict()[name], value) for name, value in model.state_dict().items())
    with pytest.raises(CheckpointError, match="differ from this run's"):
        load_adapter(inject(fresh(base), LoraSettings(rank=2)), tmp_path / "adapter")


def test_what_a_stage_teaches_beside_its_adapters_is_saved_whole(tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path) -> None:
    model, given = trained(base, tiny_tokenizer, clip, tmp_path / "adapter", "pretrain")
    assert not torch.equal(model.encoder.projection.weight, fresh(base).encoder.projection.weight)
    assert torch.allclose(logits(load_checkpoint(tmp_path / "adapter").model, given), logits(model, given), atol=1e-5)
    resumed = load_adapter(inject(fresh(base), lora_settings(config("pretrain"))), tmp_path / "adapter")
    assert torch.equal(logits(resumed, given), logits(model, given))


@pytest.mark.parametrize("tied", [False, True])
def test_rows_of_new_tags_learn_and_no_other_row_does(
    tied: bool, tiny_config: Any, tiny_tokenizer: Tokenizer, clip: Any, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    model = QwenAudio(replace(tiny_config, decoder=replace(tiny_config.decoder, tied_embeddings=tied)))
    base = tmp_path / "base"
    save(model, base)
    tiny_tokenizer.write_tiktoken(base / "ranks.tiktoken")
    ours = Tokenizer(tiny_tokenizer._ranks, custom=CustomTags.from_names(["bird_species"]))
    ids = new_tag_ids(ours, find_base(str(base)))
    assert ids == (ours.id_of("<|bird_species|>"),)
    model = inject(fresh(base), lora_settings(config(), ids))
    choose(model, config())
    given = batch(model, ours, clip)
    given["token_ids"][:, given["places"][:, 1].max() + given["places"][:, 2].max() + 1] = ids[0]
    learn(model, given)
    save_adapter(model, tmp_path / "adapter", base=find_base(str(base)), tokenizer=ours)
    engine = load(tmp_path / "adapter", device="cpu")
    moved = (engine.model.decoder.embedding.weight != fresh(base).decoder.embedding.weight).any(1).nonzero().flatten()
    assert tuple(moved.tolist()) == ids
    assert engine.tokenizer.id_of("<|bird_species|>") == ids[0]
    assert torch.allclose(logits(engine.model, given), logits(model, given), atol=1e-5)
    merge(tmp_path / "adapter", tmp_path / "merged")
    assert Tokenizer.from_directory(tmp_path / "merged").custom == ours.custom
    resumed = load_adapter(fresh(base), tmp_path / "adapter")
    assert torch.equal(logits(resumed, given), logits(model, given))


@pytest.mark.parametrize("packed", [False, True])
def test_adapters_learn_through_recomputed_blocks_where_everything_else_is_frozen(
    packed: bool, tiny_tokenizer: Tokenizer, clip: Any, base: Path
) -> None:
    torch.manual_seed(3)
    model = inject(fresh(base), lora_settings(config()))
    choose(model, config())
    given = batch(model, tiny_tokenizer, clip)
    learn(model, given, 1)  # B is no longer zero, so that A has a gradient
    gradients = []
    for recomputed in (False, True):
        model.pack(packed).decoder.checkpointing = recomputed
        model.zero_grad()
        model(**given).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(gradients[1][name], gradient, atol=1e-6), name


def test_an_adapter_of_other_weights_or_of_a_base_that_is_gone_is_refused(
    tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path
) -> None:
    trained(base, tiny_tokenizer, clip, tmp_path / "adapter", "sft")
    assert read_settings(tmp_path / "adapter") == read_settings(base)
    shutil.copytree(base, tmp_path / "moved")
    other = fresh(base)
    with torch.no_grad():
        other.decoder.norm.weight[0] += 1
    save(other, base)
    with pytest.raises(CheckpointError, match="trained on weights with sha256"):
        load(tmp_path / "adapter")
    shutil.rmtree(base)
    with pytest.raises(CheckpointError, match="which is not to be found"):
        load(tmp_path / "adapter")
    assert "with" in merge(tmp_path / "adapter", tmp_path / "merged", base=str(tmp_path / "moved"))
    with pytest.raises(CheckpointError, match="no folder of an adapter"):
        merge(tmp_path / "merged", tmp_path / "twice")
    with pytest.raises(CheckpointError, match="an adapter; train on a whole model"):
        find_base(str(tmp_path / "adapter"))


def test_an_adapter_of_another_kind_or_shape_is_refused(tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path) -> None:
    trained(base, tiny_tokenizer, clip, tmp_path / "adapter", "sft")
    path = tmp_path / "adapter" / "adapter_config.json"
    values = json.loads(path.read_text())
    for change in ({"use_dora": True}, {"bias": "all"}, {"rank_pattern": {"qkv": 4}}, {"peft_type": "LOHA"}):
        path.write_text(json.dumps(values | change))
        with pytest.raises(CheckpointError, match=f"{next(iter(change))} is"):
            load(tmp_path / "adapter")
    path.write_text(json.dumps(values))
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load(tmp_path / "adapter")


def test_an_adapter_chats_and_is_exported_like_a_whole_model(tiny_tokenizer: Tokenizer, clip: Any, base: Path, tmp_path: Path) -> None:
    trained(base, tiny_tokenizer, clip, tmp_path / "adapter", "sft")
    merge(tmp_path / "adapter", tmp_path / "merged")
    replies = [load(tmp_path / name, device="cpu").task(clip(1.0), "asr").text for name in ("adapter", "merged")]
    assert replies[0] == replies[1]
    export(str(tmp_path / "adapter"), tmp_path / "exported")
    assert json.loads((tmp_path / "exported" / "config.json").read_text())["model_type"] == "qwen2_audio"


def test_patterns_name_linear_layers_and_one_that_fits_none_is_an_error(tiny_model: QwenAudio) -> None:
    assert targets(tiny_model, ("decoder.blocks.*",)) == targets(tiny_model, DECODER_TARGETS)
    assert targets(tiny_model, ("*.query", "encoder.projection")) == [
        "encoder.blocks.0.attention.query", "encoder.blocks.1.attention.query", "encoder.projection",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"'q_proj' fits no linear layer.*decoder\.blocks\.\*\.attention\.qkv"):
        targets(tiny_model, ("q_proj",))
    with pytest.raises(ConfigError, match="lora_r is 0"):
        LoraSettings(rank=0)
